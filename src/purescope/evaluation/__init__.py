"""Zero-shot accuracy and cosine silhouette of pruned embeddings, every k or left-out neuron at once."""

from purescope.evaluation._ablation import ABLATIONS, ablation_values
from purescope.evaluation._accuracy import AccuracyByK, accuracy_by_k, ranks_by_k
from purescope.evaluation._leave_out import LeaveOneOut, leave_one_out
from purescope.evaluation._logits import distinct_rows
from purescope.evaluation._mistakes import best_other_by_k
from purescope.evaluation._silhouette import (
    has_silhouette,
    silhouette_by_k,
    silhouette_pseudovalues_by_k,
    silhouette_samples_by_k,
    silhouette_strata,
)

__all__ = [
    "ABLATIONS",
    "AccuracyByK",
    "LeaveOneOut",
    "ablation_values",
    "accuracy_by_k",
    "best_other_by_k",
    "distinct_rows",
    "has_silhouette",
    "leave_one_out",
    "ranks_by_k",
    "silhouette_by_k",
    "silhouette_pseudovalues_by_k",
    "silhouette_samples_by_k",
    "silhouette_strata",
]
