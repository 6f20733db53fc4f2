"""The tidy tables of a run: their columns, types and keys. Everything that is shown is read from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Column: what it holds. The order is the order in the files.
_RESULTS: dict[str, str] = {
    "model": "string",  # the model's label
    "dataset": "string",
    "strategy": "string",  # full, or a name in purescope.ordering.STRATEGIES
    "draw": "int64",  # which random order; 0 for the others
    "k": "int64",  # neurons kept
    "metric": "string",  # accuracy, top5_accuracy, mean_class_recall, silhouette
    "value": "float64",  # fractions; the silhouette from -1 to 1; NaN where the labels admit none
    "low": "float64",  # 95 % bootstrap interval over images; NaN for random orders
    "high": "float64",
    "binomial_low": "float64",  # 95 % binomial interval of an accuracy (Wilson); NaN for the other metrics
    "binomial_high": "float64",
    "chance": "float64",  # accuracy of guessing; NaN for the silhouette
    "n": "int64",  # images
    "classes": "int64",
    "neurons": "int64",  # d
    "seed": "int64",  # of the random order
    "space": "string",  # where overlap is measured: weights, activations, centred
    "measure": "string",  # of overlap, a name in purescope.measures.MEASURES
    "towers": "string",  # how the towers' measures become one: both, image, text, z_sum, rank_mean
    "ablation": "string",  # what a dropped neuron is set to: zero, mean, resample
    "renormalise": "bool",
    "protocol": "string",
}
METRICS = ("accuracy", "top5_accuracy", "mean_class_recall", "silhouette")

# One strategy's accuracy minus another's on the same images: at each k, and over all of them.
_COMPARISONS: dict[str, str] = {
    "model": "string",
    "dataset": "string",
    "first": "string",  # strategy
    "second": "string",  # strategy; random is the mean over the random orders
    "k": "string",  # neurons kept; "area" is the mean over the ks, by the trapezoid rule
    "difference": "float64",  # first - second
    "low": "float64",  # 95 % bootstrap interval over images, paired
    "high": "float64",
    "deviation": "float64",  # standard deviation of the bootstrap
    "mcnemar_p": "float64",  # exact, two-sided; against random: the order of median accuracy; NaN for the area
    "mcnemar_holm": "float64",  # adjusted over the ks and datasets of this model and comparison
    "mcnemar_bh": "float64",
    "percentile": "float64",  # of the first among the random orders, 0 to 100; NaN unless the second is random
    "permutation_p": "float64",  # two-sided, among the random orders; NaN unless the second is random
    "permutation_holm": "float64",  # over ks and datasets; of areas, over datasets
    "permutation_bh": "float64",
    "draws": "int64",  # random orders
}
_CURVES: dict[str, str] = {
    "model": "string",
    "dataset": "string",
    "strategy": "string",  # random is the mean over the random orders
    "area": "float64",  # mean accuracy over the ks, by the trapezoid rule
    "area_low": "float64",  # 95 % bootstrap interval over images
    "area_high": "float64",
    "needed": "float64",  # neurons for 95 % of full accuracy, linear between the ks and all neurons
    "needed_low": "float64",
    "needed_high": "float64",
}


_NULLS: dict[str, str] = {
    "model": "string",
    "dataset": "string",
    "null": "string",  # what the value is held against, a name in purescope.nulls.NULLS
    "statistic": "string",  # of the model as it is
    "value": "float64",
    "null_mean": "float64",
    "null_deviation": "float64",  # standard deviation; NaN for a single draw
    "null_low": "float64",  # 2.5 % and 97.5 % quantile
    "null_high": "float64",
    "z": "float64",  # (value - null_mean) / null_deviation
    "percentile": "float64",  # of the value among the draws, 0 to 100
    "p": "float64",  # two-sided, by rank among the draws
    "draws": "int64",
}

_VARIANTS: dict[str, str] = {
    "model": "string",
    "dataset": "string",
    "option": "string",  # which choice of the experiment is made differently
    "choice": "string",
    "high": "float64",  # mean accuracy over the ks of high purity
    "low": "float64",  # of low purity
    "random": "float64",  # of the random orders, their mean
    "percentile": "float64",  # of high purity among the random orders, 0 to 100
    "permutation_p": "float64",  # two-sided
    "draws": "int64",
}


_IMPORTANCE: dict[str, str] = {
    "model": "string",
    "dataset": "string",
    "ablation": "string",  # what the neuron that is left out is set to
    "neuron": "int64",
    "accuracy_drop": "float64",  # accuracy with all neurons less accuracy without this one
    "low": "float64",  # its 95 % interval over images
    "high": "float64",
    "loss_change": "float64",  # mean cross-entropy without it less that with all, in nats
    "margin_change": "float64",  # mean margin likewise; below 0, the neuron helps
    "variance": "float64",  # of its activation over the images
    "image_norm": "float64",  # of its weights; NaN, as what follows, for a model without projections
    "text_norm": "float64",
    "image_purity": "float64",
    "text_purity": "float64",
    "total_overlap": "float64",
}

_CORRELATIONS: dict[str, str] = {
    "model": "string",
    "dataset": "string",
    "ablation": "string",
    "importance": "string",  # accuracy_drop, loss_change or margin_change, signed so that more matters more
    "purity": "string",  # of both towers, as the experiment ranks by it, or of one
    "neurons": "int64",
    "rho": "float64",  # Spearman's
    "low": "float64",  # 95 % interval over neurons
    "high": "float64",
    "partial": "float64",  # given the norms of the neuron's weights and the variance of its activation
    "partial_low": "float64",
    "partial_high": "float64",
}

_RIVALS: dict[str, str] = {
    "first": "string",  # model
    "second": "string",  # model
    "dataset": "string",
    "strategy": "string",  # full, a strategy, random (the mean of the random orders), or gap: high less low purity
    "k": "string",  # neurons kept; "area" is the mean over the ks; "all" neurons
    "metric": "string",  # as in the results; image_overlap and text_overlap are of the weights
    "first_value": "float64",
    "second_value": "float64",
    "difference": "float64",  # first - second
    "low": "float64",  # 95 % bootstrap interval over the images, paired; of an overlap over the neurons
    "high": "float64",
    "p": "float64",  # two-sided: McNemar's exact one for accuracies of single ks, the bootstrap's for all else
    "p_holm": "float64",  # over all data sets, for the same strategy, k and metric
}

# What a reader asks of one neuron, and of one class: for the report.
_NEURONS: dict[str, str] = {
    "model": "string",
    "neuron": "int64",
    "rank": "int64",  # by total overlap; 1 is the purest
    "image_overlap": "float64",  # NaN, as what follows, for a neuron dead in that tower
    "text_overlap": "float64",
    "total_overlap": "float64",
    "image_purity": "float64",
    "text_purity": "float64",
    "image_random": "float64",  # overlaps of as many Gaussian neurons of that width, in rising order: no pairs with the
    "text_random": "float64",  # row's neuron
}
_EXAMPLES: dict[str, str] = {
    "model": "string",
    "dataset": "string",
    "neuron": "int64",
    "place": "int64",  # 1, 2, ... activates it most; -1, -2, ... least
    "image": "int64",  # index in the data set
    "class": "string",  # its true class
    "activation": "float64",  # of the unit feature, so -1 to 1
}
_WORDS: dict[str, str] = {
    "model": "string",
    "dataset": "string",  # whose class names; or VOCABULARY
    "neuron": "int64",
    "place": "int64",  # 1 is the closest
    "word": "string",
    "score": "float64",  # activation by the word less its mean over all words, in their standard deviations
}
VOCABULARY = "(vocabulary)"
_CONFUSIONS: dict[str, str] = {
    "model": "string",
    "dataset": "string",
    "strategy": "string",  # full, high_purity, low_purity; random is the first random order
    "k": "int64",
    "truth": "string",  # classes
    "predicted": "string",
    "count": "int64",  # images; pairs without any are left out
}
_CLASS_IMPORTANCE: dict[str, str] = {
    "model": "string",
    "dataset": "string",
    "ablation": "string",
    "neuron": "int64",
    "class": "string",
    "recall_drop": "float64",  # the class's recall with all neurons less its recall without this one; 0 is left out
}


@dataclass(frozen=True)
class Schema:
    """The columns of a tidy table, and those that tell its rows apart.

    Args:
        name: of its files.
        row: what a row is.
        columns: name and type, in the order in the files.
        key: columns that no two rows share.
    """

    name: str
    row: str
    columns: Mapping[str, str]
    key: Sequence[str]


RESULTS = Schema("results", "cell", _RESULTS, ("model", "dataset", "strategy", "draw", "k", "metric"))
COMPARISONS = Schema("comparisons", "comparison", _COMPARISONS, ("model", "dataset", "first", "second", "k"))
CURVES = Schema("curves", "curve", _CURVES, ("model", "dataset", "strategy"))
NULLS = Schema("nulls", "null", _NULLS, ("model", "dataset", "null", "statistic"))
VARIANTS = Schema("variants", "variant", _VARIANTS, ("model", "dataset", "option", "choice"))
IMPORTANCE = Schema("importance", "neuron", _IMPORTANCE, ("model", "dataset", "ablation", "neuron"))
CORRELATIONS = Schema(
    "correlations", "correlation", _CORRELATIONS, ("model", "dataset", "ablation", "importance", "purity")
)
RIVALS = Schema("rivals", "comparison", _RIVALS, ("first", "second", "dataset", "strategy", "k", "metric"))
NEURONS = Schema("neurons", "neuron", _NEURONS, ("model", "neuron"))
EXAMPLES = Schema("examples", "example", _EXAMPLES, ("model", "dataset", "neuron", "place"))
WORDS = Schema("words", "word", _WORDS, ("model", "dataset", "neuron", "place"))
CONFUSIONS = Schema("confusions", "confusion", _CONFUSIONS, ("model", "dataset", "strategy", "k", "truth", "predicted"))
CLASS_IMPORTANCE = Schema(
    "class_importance", "class", _CLASS_IMPORTANCE, ("model", "dataset", "ablation", "neuron", "class")
)
