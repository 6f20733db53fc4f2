"""The share of a metric that each strategy keeps at each k, on each half of the images; and the
fewest dimensions that keep enough.

What is chosen on one half is judged on the other.
"""

from purescope.tables.columns import DATASET, HIGH, MODEL, RESULT_COLUMNS, K
from purescope.tables.metrics import OF_IMAGES, RETRIEVAL_METRICS
from purescope.tables.schema import Column, Schema, flag, real, text, whole

HALVES = ("choose", "judge")

OTHERS = ("random", "first_k")
"""What every strategy is compared with: random dimensions, and the first k as they are."""

SHARE_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "strategy": text("a strategy, or random: the mean of the random orders"),
    "k": K,
    "metric": text(
        "accuracy, a metric of --metrics, or a metric of captions",
        "accuracy",
        *OF_IMAGES,
        *RETRIEVAL_METRICS,
    ),
    "half": text("half of the images, drawn within each class: choose or judge", *HALVES),
    "value": real("value with the kept neurons", 0, 1),
    "full": real("value with all neurons", 0, 1),
    "share": real("value / full; NaN if full is 0", 0, missing=True),
    "low": real("lower end of its 95 % confidence interval over the images", missing=True),
    "high": HIGH,
    "over_random": real(
        "value minus the mean value of the random orders; NaN without them", -1, 1, missing=True
    ),
    "over_random_low": real("lower end of its 95 % confidence interval", missing=True),
    "over_random_high": HIGH,
    "over_first_k": real(
        "value minus that of the first k dimensions as they are; NaN if first_k was not measured",
        -1,
        1,
        missing=True,
    ),
    "over_first_k_low": real("lower end of its 95 % confidence interval", missing=True),
    "over_first_k_high": HIGH,
    "n": whole("number of images in the half that count", 1),
    "neurons": RESULT_COLUMNS["neurons"],
}

TARGETS = (0.99, 0.95)
"""The shares to keep for which a run writes its choices."""

_JUDGED = "on the half of the images that judges"

# Of several datasets, numbers are of the one with the smallest share, and ends the lowest of all.
CHOICE_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": text("name of the dataset; empty for the worst of all datasets that count"),
    "metric": SHARE_COLUMNS["metric"],
    "target": real("share of the metric to keep", 0, 1),
    "enough": flag(
        "whether a measured k is enough: the lower end of the interval reaches the target on the "
        "half of the images that chooses"
    ),
    "k": whole("the fewest dimensions that are enough; if none are, those that come closest", 1),
    "strategy": text("the strategy that needs the fewest"),
    "chosen": real("share that it keeps on the half of the images that chooses", 0, missing=True),
    "chosen_low": real("lower end of its 95 % confidence interval", missing=True),
    "chosen_high": HIGH,
    "share": real(f"share that it keeps {_JUDGED}", 0, missing=True),
    "low": real("lower end of its 95 % confidence interval", missing=True),
    "high": HIGH,
    "first_k": real(
        f"share that the first k dimensions as they are keep {_JUDGED}; NaN if first_k was not "
        f"measured",
        0,
        missing=True,
    ),
    "over_first_k": real(
        f"value minus theirs {_JUDGED}; the mean over several datasets", -1, 1, missing=True
    ),
    "over_first_k_low": real("lower end of its 95 % confidence interval", missing=True),
    "over_first_k_high": HIGH,
    "random": real(
        f"share that as many random dimensions keep {_JUDGED}, the mean; NaN without random orders",
        0,
        missing=True,
    ),
    "over_random": real(
        f"value minus theirs {_JUDGED}; the mean over several datasets", -1, 1, missing=True
    ),
    "over_random_low": real("lower end of its 95 % confidence interval", missing=True),
    "over_random_high": HIGH,
    "sets": whole("number of datasets that count: those above chance", 1),
    "neurons": RESULT_COLUMNS["neurons"],
    "deployed": flag("whether features were scaled again over what is kept, as in a smaller model"),
    "command": text("command that makes the smaller model; empty if no single command does"),
}

SHARES = Schema(
    "shares", "share", SHARE_COLUMNS, ("model", "dataset", "strategy", "k", "metric", "half")
)
CHOICES = Schema("choices", "choice", CHOICE_COLUMNS, ("model", "dataset", "metric", "target"))
