"""Compare strategies pair by pair, and describe their curves: of captions, and of images alone."""

from dataclasses import replace

from purescope.tables.columns import (
    COMPARISON_COLUMNS,
    CURVE_COLUMNS,
    DATASET,
    DRAWS,
    HIGH,
    IMAGE_LOW,
    MODEL,
)
from purescope.tables.metrics import OF_IMAGES, RETRIEVAL_METRICS
from purescope.tables.schema import Column, Rule, Schema, real, text

_METRIC = text("a recall or nDCG of retrieval", *RETRIEVAL_METRICS)

RETRIEVAL_COMPARISON_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "metric": _METRIC,
    **{name: COMPARISON_COLUMNS[name] for name in ("first", "second", "k")},
    "difference": real("value of the first minus that of the second", -1, 1),
    **{name: COMPARISON_COLUMNS[name] for name in ("low", "high", "deviation")},
    "paired_p": real(
        "two-sided p-value over images: McNemar's exact test where two orders are compared at one "
        "k and each image is right or wrong, otherwise the bootstrap",
        0,
        1,
    ),
    "paired_holm": real(
        "that p-value adjusted by Holm over the ks and datasets of this model, comparison and "
        "metric; for areas, over datasets",
        0,
        1,
    ),
    "paired_bh": real("that p-value adjusted by Benjamini and Hochberg", 0, 1),
    **{
        name: COMPARISON_COLUMNS[name]
        for name in ("percentile", "permutation_p", "permutation_holm", "permutation_bh")
    },
    "draws": DRAWS,
}

RETRIEVAL_CURVE_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "metric": _METRIC,
    "strategy": CURVE_COLUMNS["strategy"],
    "area": real("mean value over the ks, by the trapezoid rule", 0, 1),
    "area_low": IMAGE_LOW,
    "area_high": HIGH,
    "needed": real(
        "number of neurons for 95 % of what all neurons reach: where the closest curve that never "
        "falls reaches it, linear between the ks and all neurons",
        1,
        missing=True,
        infinite=True,
    ),
    **{name: CURVE_COLUMNS[name] for name in ("needed_low", "needed_high", "half")},
    "kept": real("share of what all neurons reach that is kept at that k", 0, missing=True),
    "kept_low": IMAGE_LOW,
    "kept_high": HIGH,
    "area_first": real("area on every second image, from the first on", 0, 1),
    "area_second": real("area on the other images", 0, 1),
}

RETRIEVAL_COMPARISONS = Schema(
    "retrieval_comparisons",
    "comparison",
    RETRIEVAL_COMPARISON_COLUMNS,
    ("model", "dataset", "metric", "first", "second", "k"),
    (Rule("low <= high", lambda of: of["low"] > of["high"] + 1e-9),),
)
RETRIEVAL_CURVES = Schema(
    "retrieval_curves", "curve", RETRIEVAL_CURVE_COLUMNS, ("model", "dataset", "metric", "strategy")
)

RETRIEVAL_TABLES = (RETRIEVAL_COMPARISONS, RETRIEVAL_CURVES)
"""The tables that only a run with captions has."""

_OF_IMAGES = {"metric": text("a metric of --metrics", *OF_IMAGES)}
IMAGE_COMPARISONS = replace(
    RETRIEVAL_COMPARISONS,
    name="image_comparisons",
    described=RETRIEVAL_COMPARISON_COLUMNS | _OF_IMAGES,
)
IMAGE_CURVES = replace(
    RETRIEVAL_CURVES, name="image_curves", described=RETRIEVAL_CURVE_COLUMNS | _OF_IMAGES
)

IMAGE_TABLES = (IMAGE_COMPARISONS, IMAGE_CURVES)
"""The tables that only a run with ``--metrics`` has."""
