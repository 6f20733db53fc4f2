"""Zero-shot accuracy and cosine silhouette of pruned embeddings, for every strategy and k at once."""

from purescope.evaluation._accuracy import AccuracyByK, accuracy_by_k, ranks_by_k
from purescope.evaluation._silhouette import has_silhouette, silhouette_by_k, silhouette_samples_by_k

__all__ = [
    "AccuracyByK",
    "accuracy_by_k",
    "has_silhouette",
    "ranks_by_k",
    "silhouette_by_k",
    "silhouette_samples_by_k",
]
