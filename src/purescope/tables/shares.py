"""The share of a metric that each strategy keeps at each k, on each half of the images.

What is chosen on one half is judged on the other.
"""

from purescope.tables.columns import DATASET, HIGH, MODEL, RESULT_COLUMNS, K
from purescope.tables.metrics import OF_IMAGES, RETRIEVAL_METRICS
from purescope.tables.schema import Column, Schema, real, text, whole

HALVES = ("choose", "judge")

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
    "n": whole("number of images in the half that count", 1),
    "neurons": RESULT_COLUMNS["neurons"],
}

SHARES = Schema(
    "shares", "share", SHARE_COLUMNS, ("model", "dataset", "strategy", "k", "metric", "half")
)
