"""Name the metrics that are measured beside those of classes, in the order of the tables."""

import pandas as pd

RETRIEVAL_METRICS = (
    *(f"image_retrieval_recall@{n}" for n in (1, 5, 10)),
    *(f"text_retrieval_recall@{n}" for n in (1, 5, 10)),
    *(f"text_retrieval_true_recall@{n}" for n in (1, 5, 10)),
    "image_retrieval_ndcg@10",
    "text_retrieval_ndcg@10",
)
"""The metrics of captions, see `purescope.maths.retrieval.retrieval_metrics`."""

IMAGE_METRICS = {
    "knn": tuple(f"knn_accuracy@{n}" for n in (1, 5, 20)),
    "map": ("mean_average_precision",),
    "probe": ("linear_probe_accuracy",),
}
"""The metrics of images alone that a sweep of classes measures if it is asked, by their option.

See `purescope.maths.neighbours` and `purescope.maths.probe`.
"""

OF_IMAGES = tuple(name for names in IMAGE_METRICS.values() for name in names)
"""All metrics of `IMAGE_METRICS`."""

SHOWN = ("image_retrieval_recall@5", "text_retrieval_recall@5")
"""The metrics of captions that figures and the terminal show first."""


def has_captions(table: pd.DataFrame) -> bool:
    """Tell whether a table with a column of metrics has rows of captions.

    Examples:
        >>> has_captions(pd.DataFrame({"metric": ["accuracy", "text_retrieval_ndcg@10"]}))
        True
    """
    return bool(table.metric.isin(RETRIEVAL_METRICS).any())
