"""Choose how many neurons or axes to keep: the fewest that keep a share of the metric.

The share is known with its interval on each half of the images, see `purescope.tables.shares`. The
choice is made on one half and judged on the other, so that the best of many is not judged by the
images that made it the best.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import pandas as pd

from purescope.errors import InputError, near_miss
from purescope.specs import to_path
from purescope.tables.metrics import IMAGE_METRICS, OF_IMAGES, RETRIEVAL_METRICS
from purescope.tables.results import Results, open_results
from purescope.tables.schema import each_row
from purescope.tables.schemas import VERDICTS
from purescope.tables.shares import SHARES

METRICS = ("accuracy", *OF_IMAGES, *RETRIEVAL_METRICS)
OVER = ("worst", "mean")

_DATA = (
    {"accuracy": "DATASET --renormalise"}
    | dict.fromkeys(RETRIEVAL_METRICS, "captions:PATH")
    | {
        name: f"DATASET --metrics {option}"
        for option in IMAGE_METRICS
        for name in IMAGE_METRICS[option]
    }
)
_UNCOUNTED = ("at chance", "below chance")

_Cell: TypeAlias = tuple[str, int]  # a strategy and a k


@dataclass(frozen=True)
class Share:
    """A share that is kept, with the ends of its 95 % confidence interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Point:
    """A strategy, a number of dimensions, and the share that they keep."""

    strategy: str
    k: int
    share: Share


@dataclass(frozen=True)
class Choice:
    """The fewest dimensions of one model that keep a share of a metric.

    Args:
        model: label of the model.
        spec: what the model was called in the sweep, such as a path.
        metric: the metric of which a share is kept.
        target: the share that the lower end of the interval reaches.
        over: ``worst``: on each dataset; ``mean``: in the mean over the datasets.
        neurons: number of dimensions of the whole embedding.
        k: the fewest dimensions; None if no measured k is enough.
        strategy: the strategy that needs the fewest; the best in judgement of those that need as
            few.
        chosen: the share on the half of the images that chose, on the worst dataset or in the mean.
        judged: the same on the other half.
        counted: names of the datasets that take part.
        datasets: judged share on each of them, by its name; empty without k.
        worst: name of the dataset with the smallest judged share.
        needed: the fewest dimensions of each strategy, by its name; None if no k is enough.
        at_k: judged share of each strategy at k, by its name.
        over_random: how many points more than the mean of random orders, judged at k, as a fraction
            of all images: mean over the datasets, with its interval; None without random orders.
        closest: what comes closest to the target where no measured k is enough.
        uncounted: datasets whose accuracy cannot be told from chance, which take no part.
        as_deployed: whether features were scaled again over the kept neurons.
    """

    model: str
    spec: str
    metric: str
    target: float
    over: str
    neurons: int
    k: int | None
    strategy: str | None
    chosen: Share | None
    judged: Share | None
    counted: Sequence[str]
    datasets: Mapping[str, Share]
    worst: str | None
    needed: Mapping[str, int | None]
    at_k: Mapping[str, Share]
    over_random: Share | None
    closest: Point | None
    uncounted: Sequence[str]
    as_deployed: bool

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain numbers, texts, lists and dictionaries."""
        return asdict(self)


def choose(
    results: Results | str | os.PathLike[str],
    *,
    keep_at_least: float = 0.99,
    of: str = "accuracy",
    over: str = "worst",
    multiple_of: int = 1,
) -> list[Choice]:
    """Choose the fewest dimensions of each model that keep a share of a metric.

    It is the smallest measured k at which the lower end of the 95 % confidence interval of the
    share reaches the target, on one half of the images. Its share on the other half is the one to
    quote.

    Args:
        results: the results of a sweep, or their folder.
        keep_at_least: the share, above 0 and at most 1.
        of: the metric: ``accuracy``, one of images such as ``mean_average_precision``, or one of
            captions such as ``image_retrieval_recall@5``.
        over: ``worst``: the target is reached on every dataset; ``mean``: in the mean over them.
        multiple_of: consider only ks that this number divides.

    Raises:
        InputError: an argument is out of range, or the results have no table of shares.

    Examples:
        >>> import purescope as ps
        >>> from purescope.studies.synthetic import plant
        >>> planted = plant(effect=1.0, neurons=16, images=600, classes=3)
        >>> from purescope.studies.shares import share_table
        >>> from purescope.studies.settings import Options
        >>> from purescope.studies.sweeps import measure_strategies
        >>> measured = measure_strategies(
        ...     planted.features, planted.projections, Options(keep=[4, 8, 12], draws=2)
        ... )
        >>> tables = {"results": measured.table, "shares": share_table(measured)}
        >>> (choice,) = choose(Results(to_path("out"), tables), keep_at_least=0.8)
        >>> choice.k, choice.strategy
        (8, 'high_purity')
    """
    if not 0 < keep_at_least <= 1:
        raise InputError(
            f"keep_at_least = {keep_at_least:g}", expected="a share above 0 and at most 1"
        )
    if multiple_of < 1:
        raise InputError(f"multiple_of = {multiple_of}", expected="1 or more")
    for option, name, known in (("of", of, METRICS), ("over", over, OVER)):
        if name not in known:
            raise InputError(f"unknown {option} {name!r}", **near_miss(name, known))
    opened = results if isinstance(results, Results) else open_results(to_path(results))
    shares = opened.rows(SHARES)
    shares = shares[(shares.metric == of) & (shares.k % multiple_of == 0)]
    if not len(shares):
        multiples = f" at a multiple of {multiple_of}" if multiple_of > 1 else ""
        raise InputError(
            f"{opened.path} has no shares of {of}{multiples}",
            expected="the folder of a sweep of this version of purescope",
            fix=f"measure again: `purescope sweep MODEL --data {_DATA[of]} --out DIR`"
            ", with --keep for other numbers of neurons",
        )
    request = _Request(keep_at_least, of, over)
    return [
        _choose(opened, str(model), rows, request)
        for model, rows in shares.groupby("model", sort=False)
    ]


@dataclass(frozen=True)
class _Request:
    target: float
    metric: str
    over: str


def _choose(results: Results, model: str, shares: pd.DataFrame, request: _Request) -> Choice:
    own = results.table("results")
    own = own[(own.model == model) & own.dataset.isin(set(shares.dataset))]
    uncounted = _uncounted(results, own, model, request.metric)
    counted = shares[~shares.dataset.isin(uncounted)]
    points = {
        half: _points(rows, request.over) for half, rows in counted.groupby("half", sort=False)
    }
    strategies = list(dict.fromkeys(counted.strategy))
    choosing = points.get("choose", {})
    needed = {
        strategy: _fewest(points.get("choose", {}), strategy, request.target)
        for strategy in strategies
    }
    enough = {strategy: k for strategy, k in needed.items() if k and strategy != "random"}
    k = min(enough.values(), default=None)
    at_k = {name: points["judge"][name, k] for name in strategies} if k else {}
    best = max(
        (name for name, fewest in enough.items() if fewest == k),
        key=lambda name: at_k[name].share,
        default=None,
    )
    judged = counted[
        (counted.half == "judge") & (counted.strategy == best) & (counted.k == (k or 0))
    ]
    datasets = {row.dataset: Share(row.share, row.low, row.high) for row in each_row(judged)}
    return Choice(
        model=model,
        spec=_spec(results, model),
        metric=request.metric,
        target=request.target,
        over=request.over,
        neurons=int(shares.neurons.iloc[0]),
        k=k,
        strategy=best,
        chosen=points["choose"][best, k] if best and k else None,
        judged=points["judge"][best, k] if best and k else None,
        counted=list(dict.fromkeys(counted.dataset)),
        datasets=datasets,
        worst=min(datasets, key=lambda name: datasets[name].share, default=None),
        needed=needed,
        at_k=at_k,
        over_random=_over_random(judged),
        closest=None if k else _closest(choosing),
        uncounted=sorted(uncounted - {""}),
        as_deployed=bool(own.renormalise[own.metric == request.metric].all()),
    )


def _uncounted(results: Results, own: pd.DataFrame, model: str, metric: str) -> set[str]:
    """Return the datasets on which all neurons cannot be told from chance."""
    if metric != "accuracy":
        full = own[(own.strategy == "full") & (own.metric == metric)]
        return set(full.dataset[~(full.low > full.chance)])
    verdicts = results.rows(VERDICTS)
    return set(verdicts[(verdicts.model == model) & verdicts.outcome.isin(_UNCOUNTED)].dataset)


def _spec(results: Results, model: str) -> str:
    """Return what a model was called in the sweep; its label if the manifest does not say it."""
    models = results.manifest.get("models", [])
    return next((str(one["spec"]) for one in models if one.get("label") == model), model)


def _points(rows: pd.DataFrame, over: str) -> dict[_Cell, Share]:
    """Return the share of each strategy and k: on the worst dataset, or in the mean."""
    cells: dict[_Cell, list[Share]] = {}
    for row in each_row(rows):
        # Without a right image nothing is known, and nothing is certain.
        low = 0.0 if math.isnan(row.low) else float(row.low)
        share = Share(float(row.share), low, float(row.high))
        cells.setdefault((str(row.strategy), int(row.k)), []).append(share)
    join = _worst if over == "worst" else _mean
    return {cell: join(shares) for cell, shares in cells.items()}


def _worst(shares: Sequence[Share]) -> Share:
    """Return the smallest share, with the smallest lower end: each has to be high enough."""
    smallest = min(shares, key=lambda share: share.share)
    return Share(smallest.share, min(share.low for share in shares), smallest.high)


def _mean(shares: Sequence[Share]) -> Share:
    """Return the mean of independent values, with the interval of independent errors."""
    count = len(shares)
    mean = sum(share.share for share in shares) / count
    below = math.hypot(*(share.share - share.low for share in shares)) / count
    above = math.hypot(*(share.high - share.share for share in shares)) / count
    return Share(mean, mean - below, mean + above)


def _fewest(points: Mapping[_Cell, Share], strategy: str, target: float) -> int | None:
    reached = [k for (name, k), share in points.items() if name == strategy and share.low >= target]
    return min(reached, default=None)


def _closest(points: Mapping[_Cell, Share]) -> Point | None:
    own = [Point(name, k, share) for (name, k), share in points.items() if name != "random"]
    return max(own, key=lambda point: (point.share.low, -point.k), default=None)


def _over_random(judged: pd.DataFrame) -> Share | None:
    rows = judged[judged.over_random.notna()]
    if not len(rows):
        return None
    return _mean(
        [
            Share(float(row.over_random), float(row.over_random_low), float(row.over_random_high))
            for row in each_row(rows)
        ]
    )
