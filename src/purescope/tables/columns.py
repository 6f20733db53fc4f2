"""Describe the columns of the tables of a run: what each holds, and its range.

The descriptions are the documentation of the files.
"""

from math import inf

from purescope.tables.metrics import OF_IMAGES, RETRIEVAL_METRICS
from purescope.tables.schema import Column, flag, real, text, whole

METRICS = ("accuracy", "top5_accuracy", "mean_class_recall", "silhouette")
SPACES = ("weights", "activations", "centred")
TOWERS = ("both", "image", "text", "z_sum", "rank_mean")
ABLATIONS = ("zero", "mean", "resample")
PROTOCOLS = ("native", "paper")
ALL = ""  # in the column dataset: all datasets of a model together; no single dataset has this name
AREA = "area"  # in the column k: the mean over the ks, which is the area under the curve
VOCABULARY = "(vocabulary)"  # in the column dataset: words that belong to no dataset

MODEL = text("label of the model")
DATASET = text("name of the dataset")
K = whole("number of neurons kept", 1)
INDEX = whole("index of the neuron, from 0")
IMAGE_LOW = real(
    "lower end of the 95 % bootstrap confidence interval over images; NaN if there is none",
    missing=True,
)
HIGH = real("upper end of that interval", missing=True)
ABLATION = text("value of the neuron that is left out: zero, mean or resample", *ABLATIONS)
DRAWS = whole("number of random orders")
IMAGE_PURITY = real("1 / overlap in the image tower", 1, missing=True, infinite=True)
TEXT_PURITY = real("1 / overlap in the text tower", 1, missing=True, infinite=True)

# Every dictionary has the columns in their order in the files.
RESULT_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "strategy": text(
        "full (all neurons), random, a strategy of purescope, or the name of an order of your own"
    ),
    "draw": whole("number of the random order, from 0; 0 for the other strategies"),
    "k": K,
    "metric": text(
        "accuracy, top5_accuracy, mean_class_recall, silhouette; with --metrics knn_accuracy@N, "
        "mean_average_precision, linear_probe_accuracy; of captions a recall or an nDCG",
        *METRICS,
        *OF_IMAGES,
        *RETRIEVAL_METRICS,
    ),
    "value": real(
        "value of the metric: a fraction, or a silhouette from -1 to 1; NaN if the labels do not "
        "allow a silhouette",
        -1,
        1,
        missing=True,
    ),
    "low": real(
        "lower end of the 95 % bootstrap confidence interval over images; NaN for random orders",
        missing=True,
    ),
    "high": HIGH,
    "binomial_low": real(
        "lower end of the 95 % binomial confidence interval (Wilson) of an accuracy; NaN for the "
        "other metrics",
        0,
        1,
        missing=True,
    ),
    "binomial_high": real("upper end of that interval", 0, 1, missing=True),
    "chance": real("value of guessing; NaN for the silhouette", 0, 1, missing=True),
    "n": whole("number of images", 1),
    "classes": whole("number of classes, or of captions", 2),
    "neurons": whole("number of neurons of the model, d", 1),
    "seed": whole("seed of the random order", -inf),
    "space": text("space of the overlaps: weights, activations or centred", *SPACES),
    "measure": text("measure of overlap, such as l1"),
    "towers": text(
        "combination of the measures of both towers: both, image, text, z_sum or rank_mean",
        *TOWERS,
    ),
    "ablation": text("value of a dropped neuron: zero, mean or resample", *ABLATIONS),
    "renormalise": flag("whether features were scaled to norm 1 again over the kept neurons"),
    "protocol": text("protocol of preprocess and prompts: native or paper", *PROTOCOLS, ""),
}

# The accuracy of one strategy minus that of another on the same images.
COMPARISON_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "first": text("first strategy"),
    "second": text("second strategy; random is the mean over the random orders"),
    "k": text("number of neurons kept; area is the mean over the ks by the trapezoid rule"),
    "difference": real("accuracy of the first minus that of the second", -1, 1, missing=True),
    "low": real(
        "lower end of the 95 % bootstrap confidence interval over images, paired", missing=True
    ),
    "high": HIGH,
    "deviation": real("standard deviation of the bootstrap", 0, missing=True),
    "mcnemar_p": real(
        "p-value of McNemar's test, exact and two-sided; against random it takes the order of "
        "median accuracy; NaN for the area",
        0,
        1,
        missing=True,
    ),
    "mcnemar_holm": real(
        "that p-value adjusted by Holm over the ks and datasets of this model and comparison",
        0,
        1,
        missing=True,
    ),
    "mcnemar_bh": real("that p-value adjusted by Benjamini and Hochberg", 0, 1, missing=True),
    "percentile": real(
        "percentile of the first among the random orders, 0 to 100; NaN if the second is another",
        0,
        100,
        missing=True,
    ),
    "permutation_p": real(
        "two-sided p-value among the random orders; NaN if the second is not random",
        0,
        1,
        missing=True,
    ),
    "permutation_holm": real(
        "that p-value adjusted by Holm over ks and datasets; for areas, over datasets",
        0,
        1,
        missing=True,
    ),
    "permutation_bh": real("that p-value adjusted by Benjamini and Hochberg", 0, 1, missing=True),
    "draws": DRAWS,
}

CURVE_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "strategy": text("strategy; random is the mean over the random orders"),
    "area": real("mean accuracy over the ks, by the trapezoid rule", 0, 1, missing=True),
    "area_low": IMAGE_LOW,
    "area_high": HIGH,
    "needed": real(
        "number of neurons for 95 % of the full accuracy: where the closest curve that never falls "
        "reaches it, linear between the ks and all neurons",
        1,
        missing=True,
        infinite=True,
    ),
    "needed_low": real(
        "with fewer neurons it is missed in 97.5 % of the resamples", 1, missing=True, infinite=True
    ),
    "needed_high": real(
        "from this number on it is reached in 97.5 % of the resamples",
        1,
        missing=True,
        infinite=True,
    ),
    "half": whole("the k nearest to half of the neurons"),
    "kept": real("share of the full accuracy that is kept at that k", 0, missing=True),
    "kept_low": IMAGE_LOW,
    "kept_high": HIGH,
    "area_first": real(
        "area on every second image of each class, from the first on", 0, 1, missing=True
    ),
    "area_second": real("area on the other images", 0, 1, missing=True),
}

NULL_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "null": text("null model that the value is compared with"),
    "statistic": text("name of the measured statistic"),
    "value": real("value of the statistic for the model as it is", missing=True),
    "null_mean": real("mean over the draws of the null model", missing=True),
    "null_deviation": real(
        "standard deviation over the draws; NaN for a single draw", 0, missing=True
    ),
    "null_low": real("2.5 % quantile of the draws", missing=True),
    "null_high": real("97.5 % quantile of the draws", missing=True),
    "z": real("(value - null_mean) / null_deviation", missing=True),
    "percentile": real("percentile of the value among the draws, 0 to 100", 0, 100, missing=True),
    "p": real("two-sided p-value, by the rank among the draws", 0, 1, missing=True),
    "draws": whole("number of random draws from the null model", 1),
}

# Is purity the reason? The statistic of the verdict as it is, and in each draw of two null models.
PURITY_NULLS = ("none", "rotation", "norms")
ATTRIBUTION_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "null": text(
        "none: the difference as it is; rotation: on random axes of the same embedding; norms: in "
        "random orders that have a neuron of about the same norm at each place",
        *PURITY_NULLS,
    ),
    "draw": whole("number of the draw of the null model; 0 for none"),
    "difference": real(
        "mean accuracy over the ks of high purity minus that of random orders", -1, 1
    ),
}

# The verdict of a sweep on the experiment's claim, for each dataset and for all of a model.
OUTCOMES = (
    "supported",
    "contradicted",
    "both ends lose",
    "both ends win",
    "not decided",
    "at chance",
    "below chance",
)
ATTRIBUTED = ("beyond both", "explained by norms", "any axes do the same", "not asked")
VERDICT_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": text("name of the dataset; empty for all datasets that count together"),
    "sets": whole("number of datasets that count: those above chance", 0),
    "outcome": text("outcome of the claim that high purity keeps more accuracy", *OUTCOMES),
    "attribution": text("whether purity is the reason", *ATTRIBUTED),
    "over_random": real(
        "mean accuracy over the ks of high purity minus that of random orders", -1, 1, missing=True
    ),
    "over_random_low": IMAGE_LOW,
    "over_random_high": HIGH,
    "over_low": real("the same for high minus low purity", -1, 1, missing=True),
    "over_low_low": IMAGE_LOW,
    "over_low_high": HIGH,
    "low_over_random": real("the same for low purity minus random orders", -1, 1, missing=True),
    "low_over_random_low": IMAGE_LOW,
    "low_over_random_high": HIGH,
    "p": real(
        "two-sided permutation p-value of high purity among the random orders, adjusted by Holm "
        "over the datasets",
        0,
        1,
        missing=True,
    ),
    "low_p": real("the same for low purity", 0, 1, missing=True),
    "ends_p": real(
        "p-value of high minus low purity, among random orders and their reverses",
        0,
        1,
        missing=True,
    ),
    "detectable": real(
        "difference from random that would be found in 80 % of such datasets", 0, missing=True
    ),
    "rotation_mean": real("mean of high minus random on random axes", -1, 1, missing=True),
    "rotation_p": real("two-sided p-value of the difference among those", 0, 1, missing=True),
    "norms_mean": real(
        "mean of high minus random in orders of the same norms", -1, 1, missing=True
    ),
    "norms_p": real("two-sided p-value of the difference among those", 0, 1, missing=True),
    "draws": DRAWS,
    "rotations": whole(
        "number of random axes, and of orders of the same norms; 0 if the attribution was not asked"
    ),
}

VARIANT_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "option": text("option of the experiment that is changed"),
    "choice": text("value that it has instead"),
    "high": real("mean accuracy over the ks of high purity", 0, 1, missing=True),
    "low": real("the same for low purity", 0, 1, missing=True),
    "random": real("the same for random orders, their mean", 0, 1, missing=True),
    "percentile": real(
        "percentile of high purity among the random orders, 0 to 100", 0, 100, missing=True
    ),
    "permutation_p": real("two-sided p-value among the random orders", 0, 1, missing=True),
    "draws": DRAWS,
}

IMPORTANCE_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "ablation": ABLATION,
    "neuron": INDEX,
    "accuracy_drop": real("accuracy with all neurons minus accuracy without this one", -1, 1),
    "low": real("lower end of its 95 % confidence interval over images (Tango)", -1, 1),
    "high": real("upper end of that interval", -1, 1),
    "loss_change": real(
        "mean cross-entropy without this neuron minus that with all neurons, in nats"
    ),
    "margin_change": real("the same for the mean margin; below 0 the neuron helps"),
    "variance": real("variance of its activation over the images", 0),
    "image_norm": real(
        "norm of its weights in the image tower; NaN without projections, like the next columns",
        0,
        missing=True,
    ),
    "text_norm": real("norm of its weights in the text tower", 0, missing=True),
    "image_purity": IMAGE_PURITY,
    "text_purity": TEXT_PURITY,
    "total_overlap": real(
        "sum of its absolute cosines with the other neurons in both towers: the score of the "
        "ranking",
        0,
        missing=True,
    ),
}

CORRELATION_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "ablation": ABLATION,
    "importance": text(
        "accuracy_drop, loss_change or margin_change, with the sign that gives more important "
        "neurons a larger value",
        "accuracy_drop",
        "loss_change",
        "margin_change",
    ),
    "purity": text(
        "purity of both towers together, as in the ranking of the experiment, or of one tower",
        "both",
        "image",
        "text",
    ),
    "neurons": whole("number of neurons", 1),
    "rho": real("Spearman's rank correlation", -1, 1, missing=True),
    "low": real("lower end of its 95 % confidence interval over neurons", -1, 1, missing=True),
    "high": real("upper end of that interval", -1, 1, missing=True),
    "partial": real(
        "partial rank correlation, given the norms of the neuron's weights and the variance of its "
        "activation (linear in ranks)",
        -1,
        1,
        missing=True,
    ),
    "partial_low": real(
        "lower end of its 95 % confidence interval over neurons", -1, 1, missing=True
    ),
    "partial_high": real("upper end of that interval", -1, 1, missing=True),
}

RIVAL_COLUMNS: dict[str, Column] = {
    "first": text("label of the first model"),
    "second": text("label of the second model"),
    "dataset": DATASET,
    "strategy": text(
        "full, a strategy, random (the mean of the random orders), or gap (high minus low purity)"
    ),
    "k": text("number of neurons kept; area is the mean over the ks; all is all neurons"),
    "metric": text(
        "a metric of the results; or the overlap of the weights, relative to that of random "
        "weights of the same width",
        *METRICS,
        "image_relative_overlap",
        "text_relative_overlap",
    ),
    "first_value": real("value of the first model", -1, missing=True),
    "second_value": real("value of the second model", -1, missing=True),
    "difference": real("first minus second", missing=True),
    "low": real(
        "lower end of the 95 % bootstrap confidence interval over the images, paired; of an "
        "overlap over the neurons",
        missing=True,
    ),
    "high": HIGH,
    "p": real(
        "two-sided p-value: McNemar's exact test for an accuracy at one k, the bootstrap for all "
        "others",
        0,
        1,
        missing=True,
    ),
    "p_holm": real(
        "that p-value adjusted by Holm over the datasets, for the same strategy, k and metric",
        0,
        1,
        missing=True,
    ),
}

CONFUSION_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "strategy": text("full, high_purity, low_purity, or random: the first random order"),
    "k": K,
    "truth": text("true class"),
    "predicted": text("predicted class"),
    "count": whole("number of images; pairs of classes without images are left out", 1),
}

CLASS_IMPORTANCE_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "ablation": ABLATION,
    "neuron": INDEX,
    "class": text("name of the class"),
    "recall_drop": real(
        "recall of the class with all neurons minus its recall without this one; rows of 0 are "
        "left out",
        -1,
        1,
        missing=True,
    ),
}
