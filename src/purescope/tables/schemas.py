"""The tidy tables of a run: their names, columns and keys. Everything that is shown is read from
them.
"""

from dataclasses import replace
from math import inf

from purescope.tables.columns import (
    METRICS,
    OF_ATTRIBUTIONS,
    OF_CLASS_IMPORTANCE,
    OF_COMPARISONS,
    OF_CONFUSIONS,
    OF_CORRELATIONS,
    OF_CURVES,
    OF_EXAMPLES,
    OF_IMPORTANCE,
    OF_NEURONS,
    OF_NULLS,
    OF_ORDERS,
    OF_RESULTS,
    OF_RIVALS,
    OF_VARIANTS,
    OF_VERDICTS,
    OF_WORDS,
    SPACES,
)
from purescope.tables.schema import Column, Rule, Schema, flag, real, text, whole

# The points of the curves that figures show: one row for each strategy and k.
_CURVE_POINTS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the dataset's name; empty for the mean over the datasets above chance"),
    "metric": text("accuracy, top5_accuracy, mean_class_recall, silhouette", *METRICS),
    "strategy": text("full, random, or a name in purescope.maths.strategies.STRATEGIES"),
    "k": whole("neurons kept", 1),
    "value": real(
        "of a strategy its value; of the random orders their median", -1, 1, missing=True
    ),
    "low": real(
        "of a strategy its 95 % interval; of the random orders their 5 % quantile", missing=True
    ),
    "high": real("upper end of that interval; 95 % quantile", missing=True),
    "least": real("of the random orders the smallest value", -1, 1, missing=True),
    "greatest": real("of the random orders the largest value", -1, 1, missing=True),
    "draws": whole("random orders; 1 for the others"),
    "chance": real("accuracy of guessing; NaN for the silhouette", 0, 1, missing=True),
    "n": whole("images; 0 for the mean over datasets"),
    "classes": whole("classes; 0 for the mean over datasets"),
    "neurons": whole("neurons of the model, d", 1),
}

# All strategies of a model over its datasets, the largest mean accuracy first.
_STANDINGS: dict[str, Column] = {
    "model": text("the model's label"),
    "strategy": text("full, random, or a name in purescope.maths.strategies.STRATEGIES"),
    "place": whole("1 is the largest area; 0 for full, which is not ranked"),
    "sets": whole("datasets that count: above chance"),
    "neurons": whole("neurons of the model, d", 1),
    "labels": flag("whether it looks at labels, of the half of the images it is not judged on"),
    "chance": real("accuracy of guessing, the mean over the datasets", 0, 1, missing=True),
    "area": real("mean accuracy over the ks, and then over the datasets", 0, 1, missing=True),
    "needed": real(
        "neurons for 95 % of full accuracy, the mean over the datasets",
        1,
        missing=True,
        infinite=True,
    ),
    "over_random": real("its area minus that of the random orders", -1, 1, missing=True),
    "over_random_low": real("95 % bootstrap interval over images", missing=True),
    "over_random_high": real("upper end of that interval", missing=True),
    "p": real(
        "permutation p among the random orders over all datasets; Holm's over the strategies",
        0,
        1,
        missing=True,
    ),
    "half": whole("the k nearest to half of the neurons"),
    "kept": real(
        "share of full accuracy that is kept at that k, the mean over the datasets", 0, missing=True
    ),
    "kept_low": real("95 % bootstrap interval over images", missing=True),
    "kept_high": real("upper end of that interval", missing=True),
    "elsewhere": real(
        "of the first strategy: area minus random of the best of one half of the images, on the other half",
        -1,
        1,
        missing=True,
    ),
}

_THUMBNAILS: dict[str, Column] = {
    "dataset": text("the data set's name"),
    "image": whole("index in the data set; those that the examples name"),
    "thumbnail": Column("object", "the image as a WebP file, its longer side 48 pixels at most"),
}

# The experiment's published figures, and our numbers beside them.
_REPRODUCTION: dict[str, Column] = {
    "dataset": text("the data set's name"),
    "metric": text("accuracy or silhouette", "accuracy", "silhouette"),
    "strategy": text(
        "full, which the figures do not show; high_purity; random, ours the mean; low_purity"
    ),
    "k": whole("neurons kept", 1),
    "published": real("as the figures show it; NaN where they show nothing", -1, 1, missing=True),
    "marker_partly_hidden": flag(
        "another marker covers part of the published one: its reading is uncertain"
    ),
    "paper": real("ours, under protocol paper", -1, 1, missing=True),
    "native": real("ours, under protocol native", -1, 1, missing=True),
    "paper_difference": real(
        "ours under protocol paper less what is published", -2, 2, missing=True
    ),
    "native_difference": real(
        "ours under protocol native less what is published", -2, 2, missing=True
    ),
}

# A training, a row for each checkpoint and data set. After these come high_purity_K, low_purity_K
# and random_K.
_OF_TOWER = {
    "overlap": real("mean over the neurons that live", 0, 1, missing=True),
    "relative_overlap": real(
        "overlap in units of what random weights of that width have", 0, missing=True
    ),
    "purity": real("mean over the neurons that live", 1, missing=True, infinite=True),
    "purity_sd": real("standard deviation over the neurons that live", 0, missing=True),
    "effective_rank": real("of the projection", 0, missing=True),
}
_TRACK: dict[str, Column] = {
    "model": text("the label of the series"),
    "step": whole("step or epoch", -inf),
    "checkpoint": text("what was named; empty in a training loop"),
    "dataset": text("empty where purity alone was measured"),
    "identity": text(
        "a hash of all that the row depends on besides the settings; empty in a training loop"
    ),
    "neurons": whole("neurons of the model, d", 1),
    **{
        f"{tower}_{name}": replace(column, about=f"{tower} tower: {column.about}")
        for tower in ("image", "text")
        for name, column in _OF_TOWER.items()
    },
    "n": whole("images"),
    "classes": whole("classes"),
    "accuracy": real("all neurons", 0, 1, missing=True),
    "silhouette": real("all neurons", -1, 1, missing=True),
    "high_purity": real(
        "accuracy, mean over k: the area below the curve by the range of k", 0, 1, missing=True
    ),
    "low_purity": real("the same of low purity", 0, 1, missing=True),
    "random": real("the same of the median draw at each k", 0, 1, missing=True),
    "random_low": real("5 % quantile of the draws' means", 0, 1, missing=True),
    "random_high": real("95 % quantile of the draws' means", 0, 1, missing=True),
    "gap": real("high_purity - low_purity", -1, 1, missing=True),
    "gap_to_random": real("high_purity - random", -1, 1, missing=True),
    "rank_previous": real(
        "Spearman's rho of the neurons' order with that of the step before", -1, 1, missing=True
    ),
    "rank_last": real("the same with that of the last step", -1, 1, missing=True),
    "order": Column("object", "the neurons, purest first; not in the CSV file"),
}

# What `purescope purity` and `purescope layers` write, one CSV file a model.
_PURITY: dict[str, Column] = {
    "model": text("the model's label, and with activations the space and the data set"),
    "rank": whole("1 is the purest", 1),
    "neuron": whole("its index, from 0"),
    "image_overlap": real(
        "mean absolute cosine with the others, image tower; NaN if dead there", 0, 1, missing=True
    ),
    "text_overlap": real("the same in the text tower", 0, 1, missing=True),
    "total_overlap": real(
        "the sum of its absolute cosines in both towers: what it is ranked by", 0, missing=True
    ),
    "image_purity": real("1 / image_overlap", 1, missing=True, infinite=True),
    "text_purity": real("1 / text_overlap", 1, missing=True, infinite=True),
}
_MEASURED = {
    "": "measured",
    "random_": "of independent Gaussian neurons of that shape",
    "relative_": "measured over random",
}
_LAYERS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name; empty for weights"),
    "tower": text("image or text", "image", "text"),
    "depth": whole("the block, from 0", -inf),
    "kind": text("what of the block"),
    "name": text("the module's name"),
    "space": text("weights, activations, or centred activations", *SPACES),
    "token": text(
        "how activations became one row a sample: a token, or their mean; empty for weights"
    ),
    "neurons": whole("rows", 1),
    "width": whole("inputs of a neuron, or samples", 1),
    "dead": whole("rows of norm zero"),
    **{
        f"{start}{name}": real(about, 0, missing=True, infinite=start == "relative_")
        for name in ("overlap", "effective_rank", "participation_ratio")
        for start, about in _MEASURED.items()
    },
}


def _ends(low: str, high: str) -> Rule:
    return Rule(f"{low} <= {high}", lambda table: table[low] > table[high] + 1e-9)


RESULTS = Schema(
    "results",
    "cell",
    OF_RESULTS,
    ("model", "dataset", "strategy", "draw", "k", "metric"),
    (
        Rule(
            "an accuracy is a number from 0 to 1",
            lambda table: (table.metric != "silhouette") & ~(table.value >= -1e-6),
        ),
        Rule("k <= neurons", lambda table: table.k > table.neurons),
        _ends("low", "high"),
        _ends("binomial_low", "binomial_high"),
    ),
)
COMPARISONS = Schema(
    "comparisons",
    "comparison",
    OF_COMPARISONS,
    ("model", "dataset", "first", "second", "k"),
    (_ends("low", "high"),),
)
CURVES = Schema("curves", "curve", OF_CURVES, ("model", "dataset", "strategy"))
NULLS = Schema("nulls", "null", OF_NULLS, ("model", "dataset", "null", "statistic"))
ATTRIBUTIONS = Schema("attributions", "draw", OF_ATTRIBUTIONS, ("model", "dataset", "null", "draw"))
CURVE_POINTS = Schema(
    "curve_points",
    "point",
    _CURVE_POINTS,
    ("model", "dataset", "metric", "strategy", "k"),
    (_ends("low", "high"), _ends("least", "greatest")),
)
MEAN_POINTS = replace(CURVE_POINTS, name="mean_points")
STANDINGS = Schema("standings", "strategy", _STANDINGS, ("model", "strategy"))
VERDICTS = Schema("verdicts", "verdict", OF_VERDICTS, ("model", "dataset"))
VARIANTS = Schema("variants", "variant", OF_VARIANTS, ("model", "dataset", "option", "choice"))
IMPORTANCE = Schema(
    "importance", "neuron", OF_IMPORTANCE, ("model", "dataset", "ablation", "neuron")
)
CORRELATIONS = Schema(
    "correlations",
    "correlation",
    OF_CORRELATIONS,
    ("model", "dataset", "ablation", "importance", "purity"),
)
RIVALS = Schema(
    "rivals", "comparison", OF_RIVALS, ("first", "second", "dataset", "strategy", "k", "metric")
)
NEURONS = Schema("neurons", "neuron", OF_NEURONS, ("model", "neuron"))
EXAMPLES = Schema("examples", "example", OF_EXAMPLES, ("model", "dataset", "neuron", "place"))
WORDS = Schema("words", "word", OF_WORDS, ("model", "dataset", "neuron", "place"))
ORDERS = Schema("orders", "neuron", OF_ORDERS, ("model", "dataset", "strategy", "place"))
CONFUSIONS = Schema(
    "confusions",
    "confusion",
    OF_CONFUSIONS,
    ("model", "dataset", "strategy", "k", "truth", "predicted"),
)
CLASS_IMPORTANCE = Schema(
    "class_importance",
    "class",
    OF_CLASS_IMPORTANCE,
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

OF_RUNS = (
    RESULTS,
    COMPARISONS,
    CURVES,
    CURVE_POINTS,
    MEAN_POINTS,
    STANDINGS,
    ATTRIBUTIONS,
    VERDICTS,
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
)
"""The tables that the folder of a run can hold, each in a file of its own."""
