"""The tidy tables of a run: their columns, types and keys. Everything that is shown is read from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        dtype: pandas' name of its type.
        about: what it holds, in a few words, for readers of the files.
    """

    dtype: str
    about: str


# In the order in the files.
_RESULTS: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name"),
    "strategy": Column("string", "full, or a name in purescope.ordering.STRATEGIES"),
    "draw": Column("int64", "which random order; 0 for the others"),
    "k": Column("int64", "neurons kept"),
    "metric": Column("string", "accuracy, top5_accuracy, mean_class_recall, silhouette"),
    "value": Column("float64", "fractions; the silhouette from -1 to 1; NaN where the labels admit none"),
    "low": Column("float64", "95 % bootstrap interval over images; NaN for random orders"),
    "high": Column("float64", "upper end of that interval"),
    "binomial_low": Column("float64", "95 % binomial interval of an accuracy (Wilson); NaN for the other metrics"),
    "binomial_high": Column("float64", "upper end of that interval"),
    "chance": Column("float64", "accuracy of guessing; NaN for the silhouette"),
    "n": Column("int64", "images"),
    "classes": Column("int64", "classes"),
    "neurons": Column("int64", "neurons of the model, d"),
    "seed": Column("int64", "of the random order"),
    "space": Column("string", "where overlap is measured: weights, activations, centred"),
    "measure": Column("string", "of overlap, a name in purescope.measures.MEASURES"),
    "towers": Column("string", "how the towers' measures become one: both, image, text, z_sum, rank_mean"),
    "ablation": Column("string", "what a dropped neuron is set to: zero, mean, resample"),
    "renormalise": Column("bool", "whether class features were given unit norm again over the kept neurons"),
    "protocol": Column("string", "of preprocess and prompts: native or paper"),
}
METRICS = ("accuracy", "top5_accuracy", "mean_class_recall", "silhouette")

# One strategy's accuracy minus another's on the same images: at each k, and over all of them.
_COMPARISONS: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name"),
    "first": Column("string", "strategy"),
    "second": Column("string", "strategy; random is the mean over the random orders"),
    "k": Column("string", "neurons kept; 'area' is the mean over the ks, by the trapezoid rule"),
    "difference": Column("float64", "first - second"),
    "low": Column("float64", "95 % bootstrap interval over images, paired"),
    "high": Column("float64", "upper end of that interval"),
    "deviation": Column("float64", "standard deviation of the bootstrap"),
    "mcnemar_p": Column("float64", "exact, two-sided; against random: the order of median accuracy; NaN for the area"),
    "mcnemar_holm": Column("float64", "adjusted over the ks and datasets of this model and comparison, by Holm"),
    "mcnemar_bh": Column("float64", "the same by Benjamini and Hochberg"),
    "percentile": Column("float64", "of the first among the random orders, 0 to 100; NaN unless the second is random"),
    "permutation_p": Column("float64", "two-sided, among the random orders; NaN unless the second is random"),
    "permutation_holm": Column("float64", "adjusted by Holm over ks and datasets; of areas, over datasets"),
    "permutation_bh": Column("float64", "the same by Benjamini and Hochberg"),
    "draws": Column("int64", "random orders"),
}
_CURVES: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name"),
    "strategy": Column("string", "random is the mean over the random orders"),
    "area": Column("float64", "mean accuracy over the ks, by the trapezoid rule"),
    "area_low": Column("float64", "95 % bootstrap interval over images"),
    "area_high": Column("float64", "upper end of that interval"),
    "needed": Column("float64", "neurons for 95 % of full accuracy, linear between the ks and all neurons"),
    "needed_low": Column("float64", "95 % bootstrap interval over images"),
    "needed_high": Column("float64", "upper end of that interval"),
}


_NULLS: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name"),
    "null": Column("string", "what the value is held against, a name in purescope.nulls.NULLS"),
    "statistic": Column("string", "what is measured"),
    "value": Column("float64", "of the model as it is"),
    "null_mean": Column("float64", "mean over the draws of the null"),
    "null_deviation": Column("float64", "standard deviation; NaN for a single draw"),
    "null_low": Column("float64", "2.5 % quantile of the draws"),
    "null_high": Column("float64", "97.5 % quantile of the draws"),
    "z": Column("float64", "(value - null_mean) / null_deviation"),
    "percentile": Column("float64", "of the value among the draws, 0 to 100"),
    "p": Column("float64", "two-sided, by rank among the draws"),
    "draws": Column("int64", "random draws from the null"),
}

_VARIANTS: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name"),
    "option": Column("string", "which choice of the experiment is made differently"),
    "choice": Column("string", "what was chosen instead"),
    "high": Column("float64", "mean accuracy over the ks of high purity"),
    "low": Column("float64", "the same of low purity"),
    "random": Column("float64", "the same of the random orders, their mean"),
    "percentile": Column("float64", "of high purity among the random orders, 0 to 100"),
    "permutation_p": Column("float64", "two-sided"),
    "draws": Column("int64", "random orders"),
}


_IMPORTANCE: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name"),
    "ablation": Column("string", "what the neuron that is left out is set to"),
    "neuron": Column("int64", "its index, from 0"),
    "accuracy_drop": Column("float64", "accuracy with all neurons less accuracy without this one"),
    "low": Column("float64", "its 95 % interval over images"),
    "high": Column("float64", "upper end of that interval"),
    "loss_change": Column("float64", "mean cross-entropy without it less that with all, in nats"),
    "margin_change": Column("float64", "mean margin likewise; below 0, the neuron helps"),
    "variance": Column("float64", "of its activation over the images"),
    "image_norm": Column(
        "float64", "of its weights in the image tower; NaN, as what follows, for a model without projections"
    ),
    "text_norm": Column("float64", "of its weights in the text tower"),
    "image_purity": Column("float64", "1 / overlap in the image tower"),
    "text_purity": Column("float64", "1 / overlap in the text tower"),
    "total_overlap": Column("float64", "sum of its absolute cosines with the others, both towers: the ranking's score"),
}

_CORRELATIONS: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name"),
    "ablation": Column("string", "what the neuron that is left out is set to"),
    "importance": Column("string", "accuracy_drop, loss_change or margin_change, signed so that more matters more"),
    "purity": Column("string", "of both towers, as the experiment ranks by it, or of one"),
    "neurons": Column("int64", "neurons of the model"),
    "rho": Column("float64", "Spearman's"),
    "low": Column("float64", "95 % interval over neurons"),
    "high": Column("float64", "upper end of that interval"),
    "partial": Column("float64", "given the norms of the neuron's weights and the variance of its activation"),
    "partial_low": Column("float64", "95 % interval over neurons"),
    "partial_high": Column("float64", "upper end of that interval"),
}

_RIVALS: dict[str, Column] = {
    "first": Column("string", "model"),
    "second": Column("string", "model"),
    "dataset": Column("string", "the data set's name"),
    "strategy": Column(
        "string", "full, a strategy, random (the mean of the random orders), or gap: high less low purity"
    ),
    "k": Column("string", "neurons kept; 'area' is the mean over the ks; 'all' neurons"),
    "metric": Column("string", "as in the results; image_overlap and text_overlap are of the weights"),
    "first_value": Column("float64", "the first model's"),
    "second_value": Column("float64", "the second model's"),
    "difference": Column("float64", "first - second"),
    "low": Column("float64", "95 % bootstrap interval over the images, paired; of an overlap over the neurons"),
    "high": Column("float64", "upper end of that interval"),
    "p": Column("float64", "two-sided: McNemar's exact one for accuracies of single ks, the bootstrap's for all else"),
    "p_holm": Column("float64", "over all data sets, for the same strategy, k and metric"),
}

# What a reader asks of one neuron, and of one class: for the report.
_NEURONS: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "neuron": Column("int64", "its index, from 0"),
    "rank": Column("int64", "by total overlap; 1 is the purest"),
    "image_overlap": Column(
        "float64", "mean absolute cosine with the others, image tower; NaN, as what follows, for a neuron dead there"
    ),
    "text_overlap": Column("float64", "the same in the text tower"),
    "total_overlap": Column(
        "float64", "sum of its absolute cosines with the others, both towers: what neurons are ranked by"
    ),
    "image_purity": Column("float64", "1 / image_overlap"),
    "text_purity": Column("float64", "1 / text_overlap"),
    "image_random": Column(
        "float64", "overlaps of as many Gaussian neurons of that width, in rising order; they belong to no row's neuron"
    ),
    "text_random": Column("float64", "the same in the text tower"),
}
_EXAMPLES: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name"),
    "neuron": Column("int64", "its index, from 0"),
    "place": Column("int64", "1, 2, ... activates it most; -1, -2, ... least"),
    "image": Column("int64", "index in the data set"),
    "class": Column("string", "its true class"),
    "activation": Column("float64", "of the unit feature, so -1 to 1"),
}
_WORDS: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column(
        "string", "the data set whose class names these are; or VOCABULARY, for the words of a general vocabulary"
    ),
    "neuron": Column("int64", "its index, from 0"),
    "place": Column("int64", "1 is the closest"),
    "word": Column("string", "the class name or word"),
    "score": Column("float64", "activation by the word less its mean over all words, in their standard deviations"),
}
VOCABULARY = "(vocabulary)"
_ORDERS: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name; orders by weights are the same on all"),
    "strategy": Column("string", "each that was swept and keeps neurons as they are: neither random nor a basis"),
    "place": Column("int64", "1 is kept first: keeping k is keeping the places up to k"),
    "neuron": Column("int64", "its index, from 0"),
}
_CONFUSIONS: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name"),
    "strategy": Column("string", "full, high_purity, low_purity; random is the first random order"),
    "k": Column("int64", "neurons kept"),
    "truth": Column("string", "the true class"),
    "predicted": Column("string", "the class that was predicted"),
    "count": Column("int64", "images; pairs without any are left out"),
}
_CLASS_IMPORTANCE: dict[str, Column] = {
    "model": Column("string", "the model's label"),
    "dataset": Column("string", "the data set's name"),
    "ablation": Column("string", "what the neuron that is left out is set to"),
    "neuron": Column("int64", "its index, from 0"),
    "class": Column("string", "the class"),
    "recall_drop": Column(
        "float64", "the class's recall with all neurons less its recall without this one; 0 is left out"
    ),
}
_THUMBNAILS: dict[str, Column] = {
    "dataset": Column("string", "the data set's name"),
    "image": Column("int64", "index in the data set; those that the examples name"),
    "thumbnail": Column("object", "the image as a WebP file, its longer side 48 pixels at most"),
}

# The experiment's published figures, and our numbers beside them.
_REPRODUCTION: dict[str, Column] = {
    "dataset": Column("string", "the data set's name"),
    "metric": Column("string", "accuracy or silhouette"),
    "strategy": Column("string", "full, which the figures do not show; high_purity; random, ours the mean; low_purity"),
    "k": Column("int64", "neurons kept"),
    "published": Column("float64", "as the figures show it; NaN where they show nothing"),
    "marker_partly_hidden": Column("bool", "another marker covers part of the published one: its reading is uncertain"),
    "paper": Column("float64", "ours, under protocol paper"),
    "native": Column("float64", "ours, under protocol native"),
    "paper_difference": Column("float64", "ours under protocol paper less what is published"),
    "native_difference": Column("float64", "ours under protocol native less what is published"),
}


@dataclass(frozen=True)
class Schema:
    """The columns of a tidy table, and those that tell its rows apart.

    Args:
        name: of its files.
        row: what a row is.
        described: the columns by name, in the order in the files.
        key: columns that no two rows share.
    """

    name: str
    row: str
    described: Mapping[str, Column]
    key: Sequence[str]

    @property
    def columns(self) -> dict[str, str]:
        """Name and type of each column."""
        return {name: column.dtype for name, column in self.described.items()}


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
ORDERS = Schema("orders", "neuron", _ORDERS, ("model", "dataset", "strategy", "place"))
CONFUSIONS = Schema("confusions", "confusion", _CONFUSIONS, ("model", "dataset", "strategy", "k", "truth", "predicted"))
CLASS_IMPORTANCE = Schema(
    "class_importance", "class", _CLASS_IMPORTANCE, ("model", "dataset", "ablation", "neuron", "class")
)
THUMBNAILS = Schema("thumbnails", "thumbnail", _THUMBNAILS, ("dataset", "image"))
REPRODUCTION = Schema("reproduction", "cell", _REPRODUCTION, ("dataset", "metric", "strategy", "k"))
