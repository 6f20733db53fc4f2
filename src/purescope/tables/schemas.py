"""Define the tidy tables: their names, columns and keys.

Everything that a reader sees is read from these tables.
"""

from dataclasses import replace
from math import inf

from purescope.tables.columns import (
    ATTRIBUTION_COLUMNS,
    CLASS_IMPORTANCE_COLUMNS,
    COMPARISON_COLUMNS,
    CONFUSION_COLUMNS,
    CORRELATION_COLUMNS,
    CURVE_COLUMNS,
    DATASET,
    HIGH,
    IMAGE_LOW,
    IMAGE_PURITY,
    IMPORTANCE_COLUMNS,
    INDEX,
    MODEL,
    NULL_COLUMNS,
    RESULT_COLUMNS,
    RIVAL_COLUMNS,
    SPACES,
    TEXT_PURITY,
    VARIANT_COLUMNS,
    VERDICT_COLUMNS,
    K,
)
from purescope.tables.retrieval import IMAGE_TABLES, RETRIEVAL_TABLES
from purescope.tables.schema import Column, Rule, Schema, flag, real, text, whole
from purescope.tables.searches import SEARCHES
from purescope.tables.shares import CHOICES, SHARES

_STRATEGY = RESULT_COLUMNS["strategy"]
_NEURONS = RESULT_COLUMNS["neurons"]
_CHANCE = RESULT_COLUMNS["chance"]
_TEXT_OVERLAP = real("the same in the text tower", 0, 1, missing=True)
_TOTAL_OVERLAP = IMPORTANCE_COLUMNS["total_overlap"]

# The points of the curves that figures show: one row for each strategy and k.
_CURVE_POINTS: dict[str, Column] = {
    "model": MODEL,
    "dataset": text("name of the dataset; empty for the mean over the datasets above chance"),
    "metric": RESULT_COLUMNS["metric"],
    "strategy": _STRATEGY,
    "k": K,
    "value": real("value of a strategy; median of the random orders", -1, 1, missing=True),
    "low": real(
        "lower end of a strategy's 95 % confidence interval; 5 % quantile of the random orders",
        missing=True,
    ),
    "high": real("upper end of that interval; 95 % quantile", missing=True),
    "least": real("smallest value of the random orders", -1, 1, missing=True),
    "greatest": real("largest value of the random orders", -1, 1, missing=True),
    "draws": whole("number of random orders; 1 for the other strategies"),
    "chance": _CHANCE,
    "n": whole("number of images; 0 for the mean over datasets"),
    "classes": whole("number of classes; 0 for the mean over datasets"),
    "neurons": _NEURONS,
}

# All strategies of a model over its datasets, the largest mean accuracy first.
_STANDINGS: dict[str, Column] = {
    "model": MODEL,
    "strategy": _STRATEGY,
    "place": whole("place by the area, 1 is the largest; 0 for full, which is not ranked"),
    "sets": whole("number of datasets that count: those above chance"),
    "neurons": _NEURONS,
    "labels": flag(
        "whether the strategy uses labels, those of the half of the images that it is not judged on"
    ),
    "chance": real("accuracy of guessing, the mean over the datasets", 0, 1, missing=True),
    "area": real("mean accuracy over the ks, and then over the datasets", 0, 1, missing=True),
    "needed": real(
        "number of neurons for 95 % of the full accuracy, the mean over the datasets",
        1,
        missing=True,
        infinite=True,
    ),
    "over_random": real("its area minus that of the random orders", -1, 1, missing=True),
    "over_random_low": IMAGE_LOW,
    "over_random_high": HIGH,
    "p": real(
        "permutation p-value among the random orders over all datasets, adjusted by Holm over the "
        "strategies",
        0,
        1,
        missing=True,
    ),
    "half": whole("the k nearest to half of the neurons"),
    "kept": real(
        "share of the full accuracy that is kept at that k, the mean over the datasets",
        0,
        missing=True,
    ),
    "kept_low": IMAGE_LOW,
    "kept_high": HIGH,
    "elsewhere": real(
        "in the row of the first strategy: area minus random of the strategy that is best on one "
        "half of the images, measured on the other half",
        -1,
        1,
        missing=True,
    ),
}

# Single neurons and classes, for the report.
_NEURON_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "neuron": INDEX,
    "rank": whole("rank by total overlap; 1 is the purest", 1),
    "image_overlap": real(
        "mean absolute cosine with the other neurons in the image tower; NaN, like the next "
        "columns, for a neuron that is dead there",
        0,
        1,
        missing=True,
    ),
    "text_overlap": _TEXT_OVERLAP,
    "total_overlap": _TOTAL_OVERLAP,
    "image_purity": IMAGE_PURITY,
    "text_purity": TEXT_PURITY,
    "image_random": real(
        "overlaps of as many Gaussian neurons of the same width, in ascending order; they do not "
        "belong to the neuron of the row",
        0,
        1,
        missing=True,
    ),
    "text_random": _TEXT_OVERLAP,
}
_EXAMPLES: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "neuron": INDEX,
    "place": whole(
        "1, 2, ... for the images that activate it most; -1, -2, ... for those that activate it "
        "least",
        -inf,
    ),
    "image": whole("index of the image in the dataset"),
    "class": text("true class of the image"),
    "activation": real("activation of the neuron in the unit feature, from -1 to 1"),
}
_WORDS: dict[str, Column] = {
    "model": MODEL,
    "dataset": text("name of the dataset of a class name; (vocabulary) for general words"),
    "neuron": INDEX,
    "place": whole("place of the word; 1 is the closest", 1),
    "word": text("class name or word"),
    "score": real(
        "activation by the word minus the mean over all words, in standard deviations over them"
    ),
}
_ORDERS: dict[str, Column] = {
    "model": MODEL,
    "dataset": text("name of the dataset; orders by weights are the same on all datasets"),
    "strategy": text("strategy of the sweep that keeps neurons: neither random nor a basis"),
    "place": whole("place in the order; to keep k neurons, keep the places 1 to k", 1),
    "neuron": INDEX,
}
_THUMBNAILS: dict[str, Column] = {
    "dataset": DATASET,
    "image": whole("index of the image in the dataset, for images that the examples name"),
    "thumbnail": Column("object", "image as a WebP file, at most 48 pixels wide or high"),
}

# The published figures of the experiment, and our numbers beside them.
_REPRODUCTION: dict[str, Column] = {
    "dataset": DATASET,
    "metric": text("accuracy or silhouette", "accuracy", "silhouette"),
    "strategy": text(
        "high_purity, low_purity, random (ours is the mean), or full, which the figures do not show"
    ),
    "k": K,
    "published": real(
        "value read off the published figure; NaN if it shows none", -1, 1, missing=True
    ),
    "marker_partly_hidden": flag(
        "whether another marker covers part of the published one: its reading is uncertain"
    ),
    "paper": real("our value under protocol paper", -1, 1, missing=True),
    "native": real("our value under protocol native", -1, 1, missing=True),
    "paper_difference": real(
        "our value under protocol paper minus the published one", -2, 2, missing=True
    ),
    "native_difference": real(
        "our value under protocol native minus the published one", -2, 2, missing=True
    ),
}

# A training: one row for each checkpoint and dataset. Columns high_purity_K, low_purity_K and
# random_K follow.
_TOWER = {
    "overlap": real("mean overlap of the neurons that are not dead", 0, 1, missing=True),
    "relative_overlap": real(
        "overlap divided by that of random weights of the same width", 0, missing=True
    ),
    "purity": real("mean purity of the neurons that are not dead", 1, missing=True, infinite=True),
    "purity_sd": real("standard deviation of the purity of those neurons", 0, missing=True),
    "effective_rank": real("effective rank of the projection", 0, missing=True),
}
_TRACK: dict[str, Column] = {
    "model": text("label of the series of checkpoints"),
    "step": whole("step or epoch", -inf),
    "checkpoint": text("name of the checkpoint; empty in a training loop"),
    "dataset": text("name of the dataset; empty if only purity was measured"),
    "identity": text(
        "hash of everything that the row depends on beside the settings; empty in a training loop"
    ),
    "neurons": _NEURONS,
    **{
        f"{tower}_{name}": replace(column, about=f"{tower} tower: {column.about}")
        for tower in ("image", "text")
        for name, column in _TOWER.items()
    },
    "n": whole("number of images"),
    "classes": whole("number of classes"),
    "accuracy": real("accuracy of all neurons", 0, 1, missing=True),
    "silhouette": real("silhouette of all neurons", -1, 1, missing=True),
    "high_purity": real(
        "mean accuracy over k of high purity, by the trapezoid rule", 0, 1, missing=True
    ),
    "low_purity": real("the same for low purity", 0, 1, missing=True),
    "random": real("the same for the median random order at each k", 0, 1, missing=True),
    "random_low": real("5 % quantile of the means of the random orders", 0, 1, missing=True),
    "random_high": real("95 % quantile of the means of the random orders", 0, 1, missing=True),
    "gap": real("high_purity - low_purity", -1, 1, missing=True),
    "gap_to_random": real("high_purity - random", -1, 1, missing=True),
    "rank_previous": real(
        "Spearman's correlation of the order of neurons with that of the step before",
        -1,
        1,
        missing=True,
    ),
    "rank_last": real("the same with that of the last step", -1, 1, missing=True),
    "order": Column("object", "neurons, purest first; not in the CSV file"),
}

# What `purescope purity` and `purescope layers` write, one CSV file for each model.
_PURITY: dict[str, Column] = {
    "model": text("label of the model; for activations also the space and the dataset"),
    **{name: _NEURON_COLUMNS[name] for name in ("rank", "neuron")},
    "image_overlap": real(
        "mean absolute cosine with the other neurons in the image tower; NaN for a dead neuron",
        0,
        1,
        missing=True,
    ),
    "text_overlap": _TEXT_OVERLAP,
    "total_overlap": _TOTAL_OVERLAP,
    "image_purity": IMAGE_PURITY,
    "text_purity": TEXT_PURITY,
}
_LAYER_MEASURES = {
    "overlap": "mean overlap",
    "effective_rank": "effective rank",
    "participation_ratio": "participation ratio",
}
_LAYER_FORMS = {
    "": "{} of the rows",
    "random_": "{} of independent Gaussian neurons of that shape",
    "relative_": "{} divided by that of Gaussian neurons",
}
_LAYERS: dict[str, Column] = {
    "model": MODEL,
    "dataset": text("name of the dataset; empty for weights"),
    "tower": text("image or text", "image", "text"),
    "depth": whole("number of the block, from 0", -inf),
    "kind": text("part of the block"),
    "name": text("name of the module"),
    "space": text("weights, activations, or centred activations", *SPACES),
    "token": text("token whose activations are the row of a sample, or mean; empty for weights"),
    "neurons": whole("number of rows", 1),
    "width": whole("inputs of a neuron, or samples", 1),
    "dead": whole("number of rows of norm zero"),
    **{
        f"{start}{name}": real(form.format(words), 0, missing=True, infinite=start == "relative_")
        for name, words in _LAYER_MEASURES.items()
        for start, form in _LAYER_FORMS.items()
    },
}


def _ends(low: str, high: str) -> Rule:
    return Rule(f"{low} <= {high}", lambda of: of[low] > of[high] + 1e-9)


RESULTS = Schema(
    "results",
    "cell",
    RESULT_COLUMNS,
    ("model", "dataset", "strategy", "draw", "k", "metric"),
    (
        Rule(
            "an accuracy is a number from 0 to 1",
            lambda of: (of["metric"] != "silhouette") & ~(of["value"] >= -1e-6),
        ),
        Rule("k <= neurons", lambda of: of["k"] > of["neurons"]),
        _ends("low", "high"),
        _ends("binomial_low", "binomial_high"),
    ),
)
COMPARISONS = Schema(
    "comparisons",
    "comparison",
    COMPARISON_COLUMNS,
    ("model", "dataset", "first", "second", "k"),
    (_ends("low", "high"),),
)
CURVES = Schema("curves", "curve", CURVE_COLUMNS, ("model", "dataset", "strategy"))
NULLS = Schema("nulls", "null", NULL_COLUMNS, ("model", "dataset", "null", "statistic"))
ATTRIBUTIONS = Schema(
    "attributions", "draw", ATTRIBUTION_COLUMNS, ("model", "dataset", "null", "draw")
)
CURVE_POINTS = Schema(
    "curve_points",
    "point",
    _CURVE_POINTS,
    ("model", "dataset", "metric", "strategy", "k"),
    (_ends("low", "high"), _ends("least", "greatest")),
)
MEAN_POINTS = replace(CURVE_POINTS, name="mean_points")
STANDINGS = Schema("standings", "strategy", _STANDINGS, ("model", "strategy"))
VERDICTS = Schema("verdicts", "verdict", VERDICT_COLUMNS, ("model", "dataset"))
VARIANTS = Schema("variants", "variant", VARIANT_COLUMNS, ("model", "dataset", "option", "choice"))
IMPORTANCE = Schema(
    "importance", "neuron", IMPORTANCE_COLUMNS, ("model", "dataset", "ablation", "neuron")
)
CORRELATIONS = Schema(
    "correlations",
    "correlation",
    CORRELATION_COLUMNS,
    ("model", "dataset", "ablation", "importance", "purity"),
)
RIVALS = Schema(
    "rivals", "comparison", RIVAL_COLUMNS, ("first", "second", "dataset", "strategy", "k", "metric")
)
NEURONS = Schema("neurons", "neuron", _NEURON_COLUMNS, ("model", "neuron"))
EXAMPLES = Schema("examples", "example", _EXAMPLES, ("model", "dataset", "neuron", "place"))
WORDS = Schema("words", "word", _WORDS, ("model", "dataset", "neuron", "place"))
ORDERS = Schema("orders", "neuron", _ORDERS, ("model", "dataset", "strategy", "place"))
CONFUSIONS = Schema(
    "confusions",
    "confusion",
    CONFUSION_COLUMNS,
    ("model", "dataset", "strategy", "k", "truth", "predicted"),
)
CLASS_IMPORTANCE = Schema(
    "class_importance",
    "class",
    CLASS_IMPORTANCE_COLUMNS,
    ("model", "dataset", "ablation", "neuron", "class"),
)
THUMBNAILS = Schema("thumbnails", "thumbnail", _THUMBNAILS, ("dataset", "image"))
REPRODUCTION = Schema("reproduction", "cell", _REPRODUCTION, ("dataset", "metric", "strategy", "k"))
TRACK = Schema(
    "track",
    "checkpoint",
    _TRACK,
    ("model", "step", "dataset"),
    more=real("accuracy at one k", 0, 1, missing=True),
)
PURITY = Schema(
    "purity",
    "neuron",
    _PURITY,
    ("model", "neuron"),
    more=real("another measure", missing=True, infinite=True),
)
LAYERS = Schema("layers", "place", _LAYERS, ("model", "dataset", "tower", "name", "space"))

RUN_TABLES = (
    RESULTS,
    COMPARISONS,
    CURVES,
    CURVE_POINTS,
    MEAN_POINTS,
    STANDINGS,
    ATTRIBUTIONS,
    VERDICTS,
    SHARES,
    CHOICES,
    *RETRIEVAL_TABLES,
    *IMAGE_TABLES,
    NULLS,
    VARIANTS,
    IMPORTANCE,
    CORRELATIONS,
    RIVALS,
    NEURONS,
    EXAMPLES,
    WORDS,
    ORDERS,
    CONFUSIONS,
    CLASS_IMPORTANCE,
    THUMBNAILS,
    REPRODUCTION,
    SEARCHES,
)
"""The tables that the folder of a run can hold, each in a file of its own."""
