"""Is a difference real? Intervals, paired tests, corrections for many tests, a curve over k in one number.

Cells (strategies, k, draws) stand in front and samples, k or items last; resamples and draws stand before the cells.
Results are float64. A cell with a NaN in it gives NaN and leaves the other cells alone.
"""

from purescope.statistics._bootstrap import Part, bootstrap_each, bootstrap_means, bootstrap_p, percentile_interval
from purescope.statistics._chance import against_chance
from purescope.statistics._correlation import partial_spearman, spearman, spearman_interval
from purescope.statistics._curves import area_between, mean_over_k, neurons_needed, rising
from purescope.statistics._halves import halves
from purescope.statistics._mcnemar import mcnemar
from purescope.statistics._multiplicity import benjamini_hochberg, holm
from purescope.statistics._permutation import percentile_of, permutation_p
from purescope.statistics._recall import mean_recall_interval
from purescope.statistics._wilson import NORMAL_975, wilson_interval

__all__ = [
    "NORMAL_975",
    "Part",
    "against_chance",
    "area_between",
    "benjamini_hochberg",
    "bootstrap_each",
    "bootstrap_means",
    "bootstrap_p",
    "halves",
    "holm",
    "mcnemar",
    "mean_over_k",
    "mean_recall_interval",
    "neurons_needed",
    "partial_spearman",
    "percentile_interval",
    "percentile_of",
    "permutation_p",
    "rising",
    "spearman",
    "spearman_interval",
    "wilson_interval",
]
