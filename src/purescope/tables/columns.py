"""The columns of a run's tables: what each holds, and in which range."""

from math import inf

from purescope.tables.schema import Column, flag, real, text, whole

METRICS = ("accuracy", "top5_accuracy", "mean_class_recall", "silhouette")
SPACES = ("weights", "activations", "centred")
TOWERS = ("both", "image", "text", "z_sum", "rank_mean")
ABLATIONS = ("zero", "mean", "resample")
PROTOCOLS = ("native", "paper")
ALL = ""  # in the column dataset: all datasets of a model together; no single dataset has this name
AREA = "area"  # in the column k: the mean over the ks, which is the area under the curve

# In the order in the files.
OF_RESULTS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "strategy": text("full, or a name in purescope.maths.strategies.STRATEGIES"),
    "draw": whole("which random order; 0 for the others"),
    "k": whole("neurons kept", 1),
    "metric": text("accuracy, top5_accuracy, mean_class_recall, silhouette", *METRICS),
    "value": real(
        "fractions; the silhouette from -1 to 1; NaN where the labels admit none",
        -1,
        1,
        missing=True,
    ),
    "low": real("95 % bootstrap interval over images; NaN for random orders", missing=True),
    "high": real("upper end of that interval", missing=True),
    "binomial_low": real(
        "95 % binomial interval of an accuracy (Wilson); NaN for the other metrics",
        0,
        1,
        missing=True,
    ),
    "binomial_high": real("upper end of that interval", 0, 1, missing=True),
    "chance": real("accuracy of guessing; NaN for the silhouette", 0, 1, missing=True),
    "n": whole("images", 1),
    "classes": whole("classes", 2),
    "neurons": whole("neurons of the model, d", 1),
    "seed": whole("of the random order", -inf),
    "space": text("where overlap is measured: weights, activations, centred", *SPACES),
    "measure": text("of overlap, a name in purescope.maths.measures.MEASURES"),
    "towers": text(
        "how the towers' measures become one: both, image, text, z_sum, rank_mean", *TOWERS
    ),
    "ablation": text("what a dropped neuron is set to: zero, mean, resample", *ABLATIONS),
    "renormalise": flag("whether class features were given unit norm again over the kept neurons"),
    "protocol": text("of preprocess and prompts: native or paper", *PROTOCOLS, ""),
}

# One strategy's accuracy minus another's on the same images: at each k, and over all of them.
OF_COMPARISONS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "first": text("strategy"),
    "second": text("strategy; random is the mean over the random orders"),
    "k": text("neurons kept; 'area' is the mean over the ks, by the trapezoid rule"),
    "difference": real("first - second", -1, 1, missing=True),
    "low": real("95 % bootstrap interval over images, paired", missing=True),
    "high": real("upper end of that interval", missing=True),
    "deviation": real("standard deviation of the bootstrap", 0, missing=True),
    "mcnemar_p": real(
        "exact, two-sided; against random: the order of median accuracy; NaN for the area",
        0,
        1,
        missing=True,
    ),
    "mcnemar_holm": real(
        "adjusted over the ks and datasets of this model and comparison, by Holm",
        0,
        1,
        missing=True,
    ),
    "mcnemar_bh": real("the same by Benjamini and Hochberg", 0, 1, missing=True),
    "percentile": real(
        "of the first among the random orders, 0 to 100; NaN unless the second is random",
        0,
        100,
        missing=True,
    ),
    "permutation_p": real(
        "two-sided, among the random orders; NaN unless the second is random", 0, 1, missing=True
    ),
    "permutation_holm": real(
        "adjusted by Holm over ks and datasets; of areas, over datasets", 0, 1, missing=True
    ),
    "permutation_bh": real("the same by Benjamini and Hochberg", 0, 1, missing=True),
    "draws": whole("random orders"),
}
OF_CURVES: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "strategy": text("random is the mean over the random orders"),
    "area": real("mean accuracy over the ks, by the trapezoid rule", 0, 1, missing=True),
    "area_low": real("95 % bootstrap interval over images", missing=True),
    "area_high": real("upper end of that interval", missing=True),
    "needed": real(
        "neurons for 95 % of full accuracy: where the closest curve that never falls reaches it, "
        "linear between the ks "
        "and all neurons",
        1,
        missing=True,
        infinite=True,
    ),
    "needed_low": real(
        "with fewer it is missed in 97.5 % of resamples", 1, missing=True, infinite=True
    ),
    "needed_high": real(
        "from here on it is reached in 97.5 % of resamples", 1, missing=True, infinite=True
    ),
    "half": whole("the k nearest to half of the neurons"),
    "kept": real("share of full accuracy that is kept at that k", 0, missing=True),
    "kept_low": real("95 % bootstrap interval over images", missing=True),
    "kept_high": real("upper end of that interval", missing=True),
    "area_first": real(
        "the area on every second image of each class, from the first on", 0, 1, missing=True
    ),
    "area_second": real("the area on the others", 0, 1, missing=True),
}


OF_NULLS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "null": text("what the value is held against, a name in purescope.studies.nulls.NULLS"),
    "statistic": text("what is measured"),
    "value": real("of the model as it is", missing=True),
    "null_mean": real("mean over the draws of the null", missing=True),
    "null_deviation": real("standard deviation; NaN for a single draw", 0, missing=True),
    "null_low": real("2.5 % quantile of the draws", missing=True),
    "null_high": real("97.5 % quantile of the draws", missing=True),
    "z": real("(value - null_mean) / null_deviation", missing=True),
    "percentile": real("of the value among the draws, 0 to 100", 0, 100, missing=True),
    "p": real("two-sided, by rank among the draws", 0, 1, missing=True),
    "draws": whole("random draws from the null", 1),
}

# Is it purity? The verdict's statistic as it is, and under two nulls draw by draw.
NULLS_OF_PURITY = ("none", "rotation", "norms")
OF_ATTRIBUTIONS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "null": text(
        "none, the difference as it is; rotation, on random axes of the same embedding; norms, in "
        "random orders with a "
        "neuron of about the same norm at each place",
        *NULLS_OF_PURITY,
    ),
    "draw": whole("which draw of the null; 0 for none"),
    "difference": real(
        "mean accuracy over the ks of high purity minus that of random orders", -1, 1
    ),
}

# What a sweep says of the experiment's claim: of each data set, and of those of a model together.
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
OF_VERDICTS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name; empty for those that count together"),
    "sets": whole("data sets that count: above chance", 0),
    "outcome": text(
        "what the data says of the claim that high purity keeps more accuracy", *OUTCOMES
    ),
    "attribution": text("whether purity is what does it", *ATTRIBUTED),
    "over_random": real(
        "mean accuracy over the ks of high purity minus that of random orders", -1, 1, missing=True
    ),
    "over_random_low": real("95 % bootstrap interval over images", missing=True),
    "over_random_high": real("upper end of that interval", missing=True),
    "over_low": real("high purity minus low purity likewise", -1, 1, missing=True),
    "over_low_low": real("95 % bootstrap interval over images", missing=True),
    "over_low_high": real("upper end of that interval", missing=True),
    "low_over_random": real("low purity minus random orders likewise", -1, 1, missing=True),
    "low_over_random_low": real("95 % bootstrap interval over images", missing=True),
    "low_over_random_high": real("upper end of that interval", missing=True),
    "p": real(
        "permutation p of high purity among the random orders, two-sided; Holm's over sets",
        0,
        1,
        missing=True,
    ),
    "low_p": real("the same of low purity", 0, 1, missing=True),
    "ends_p": real(
        "of high minus low purity, among random orders and their reverses", 0, 1, missing=True
    ),
    "detectable": real(
        "difference from random that is found in 80 % of such data", 0, missing=True
    ),
    "rotation_mean": real("high minus random on random axes: mean", -1, 1, missing=True),
    "rotation_p": real("of the difference among those, two-sided", 0, 1, missing=True),
    "norms_mean": real("high minus random in orders of the same norms: mean", -1, 1, missing=True),
    "norms_p": real("of the difference among those, two-sided", 0, 1, missing=True),
    "draws": whole("random orders"),
    "rotations": whole("random axes, and orders of the same norms; 0 where that was not asked"),
}

OF_VARIANTS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "option": text("which choice of the experiment is made differently"),
    "choice": text("what was chosen instead"),
    "high": real("mean accuracy over the ks of high purity", 0, 1, missing=True),
    "low": real("the same of low purity", 0, 1, missing=True),
    "random": real("the same of the random orders, their mean", 0, 1, missing=True),
    "percentile": real("of high purity among the random orders, 0 to 100", 0, 100, missing=True),
    "permutation_p": real("two-sided", 0, 1, missing=True),
    "draws": whole("random orders"),
}


OF_IMPORTANCE: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "ablation": text("what the neuron that is left out is set to", *ABLATIONS),
    "neuron": whole("its index, from 0"),
    "accuracy_drop": real("accuracy with all neurons less accuracy without this one", -1, 1),
    "low": real("its 95 % interval over images", -1, 1),
    "high": real("upper end of that interval", -1, 1),
    "loss_change": real("mean cross-entropy without it less that with all, in nats"),
    "margin_change": real("mean margin likewise; below 0, the neuron helps"),
    "variance": real("of its activation over the images", 0),
    "image_norm": real(
        "of its weights in the image tower; NaN, as what follows, for a model without projections",
        0,
        missing=True,
    ),
    "text_norm": real("of its weights in the text tower", 0, missing=True),
    "image_purity": real("1 / overlap in the image tower", 1, missing=True, infinite=True),
    "text_purity": real("1 / overlap in the text tower", 1, missing=True, infinite=True),
    "total_overlap": real(
        "sum of its absolute cosines with the others, both towers: the ranking's score",
        0,
        missing=True,
    ),
}

OF_CORRELATIONS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "ablation": text("what the neuron that is left out is set to", *ABLATIONS),
    "importance": text(
        "accuracy_drop, loss_change or margin_change, signed so that more matters more",
        "accuracy_drop",
        "loss_change",
        "margin_change",
    ),
    "purity": text(
        "of both towers, as the experiment ranks by it, or of one", "both", "image", "text"
    ),
    "neurons": whole("neurons of the model", 1),
    "rho": real("Spearman's", -1, 1, missing=True),
    "low": real("95 % interval over neurons", -1, 1, missing=True),
    "high": real("upper end of that interval", -1, 1, missing=True),
    "partial": real(
        "given the norms of the neuron's weights and the variance of its activation, linearly in "
        "ranks",
        -1,
        1,
        missing=True,
    ),
    "partial_low": real("95 % interval over neurons", -1, 1, missing=True),
    "partial_high": real("upper end of that interval", -1, 1, missing=True),
}

OF_RIVALS: dict[str, Column] = {
    "first": text("model"),
    "second": text("model"),
    "dataset": text("the data set's name"),
    "strategy": text(
        "full, a strategy, random (the mean of the random orders), or gap: high less low purity"
    ),
    "k": text("neurons kept; 'area' is the mean over the ks; 'all' neurons"),
    "metric": text(
        "as in the results; the overlaps are of the weights, in units of what random weights of "
        "that width have",
        *METRICS,
        "image_relative_overlap",
        "text_relative_overlap",
    ),
    "first_value": real("the first model's", -1, missing=True),
    "second_value": real("the second model's", -1, missing=True),
    "difference": real("first - second", missing=True),
    "low": real(
        "95 % bootstrap interval over the images, paired; of an overlap over the neurons",
        missing=True,
    ),
    "high": real("upper end of that interval", missing=True),
    "p": real(
        "two-sided: McNemar's exact one for accuracies of single ks, the bootstrap's for all else",
        0,
        1,
        missing=True,
    ),
    "p_holm": real("over all data sets, for the same strategy, k and metric", 0, 1, missing=True),
}

# What a reader asks of one neuron, and of one class: for the report.
OF_NEURONS: dict[str, Column] = {
    "model": text("the model's label"),
    "neuron": whole("its index, from 0"),
    "rank": whole("by total overlap; 1 is the purest", 1),
    "image_overlap": real(
        "mean absolute cosine with the others, image tower; NaN, as what follows, for a neuron "
        "dead there",
        0,
        1,
        missing=True,
    ),
    "text_overlap": real("the same in the text tower", 0, 1, missing=True),
    "total_overlap": real(
        "sum of its absolute cosines with the others, both towers: what neurons are ranked by",
        0,
        missing=True,
    ),
    "image_purity": real("1 / image_overlap", 1, missing=True, infinite=True),
    "text_purity": real("1 / text_overlap", 1, missing=True, infinite=True),
    "image_random": real(
        "overlaps of as many Gaussian neurons of that width, in rising order; they belong to no "
        "row's neuron",
        0,
        1,
        missing=True,
    ),
    "text_random": real("the same in the text tower", 0, 1, missing=True),
}
OF_EXAMPLES: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "neuron": whole("its index, from 0"),
    "place": whole("1, 2, ... activates it most; -1, -2, ... least", -inf),
    "image": whole("index in the data set"),
    "class": text("its true class"),
    "activation": real("of the unit feature, so -1 to 1"),
}
OF_WORDS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text(
        "the data set whose class names these are; or VOCABULARY, for the words of a general "
        "vocabulary"
    ),
    "neuron": whole("its index, from 0"),
    "place": whole("1 is the closest", 1),
    "word": text("the class name or word"),
    "score": real(
        "activation by the word less its mean over all words, in their standard deviations"
    ),
}
VOCABULARY = "(vocabulary)"
OF_ORDERS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name; orders by weights are the same on all"),
    "strategy": text(
        "each that was swept and keeps neurons as they are: neither random nor a basis"
    ),
    "place": whole("1 is kept first: keeping k is keeping the places up to k", 1),
    "neuron": whole("its index, from 0"),
}
OF_CONFUSIONS: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "strategy": text("full, high_purity, low_purity; random is the first random order"),
    "k": whole("neurons kept", 1),
    "truth": text("the true class"),
    "predicted": text("the class that was predicted"),
    "count": whole("images; pairs without any are left out", 1),
}
OF_CLASS_IMPORTANCE: dict[str, Column] = {
    "model": text("the model's label"),
    "dataset": text("the data set's name"),
    "ablation": text("what the neuron that is left out is set to", *ABLATIONS),
    "neuron": whole("its index, from 0"),
    "class": text("the class"),
    "recall_drop": real(
        "the class's recall with all neurons less its recall without this one; 0 is left out",
        -1,
        1,
        missing=True,
    ),
}
