"""The shares of a metric that one model keeps, and the fewest dimensions that keep enough.

Of several datasets, the worst or the mean counts. The share is known with its interval on each half
of the images, see `purescope.tables.shares`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeAlias

import pandas as pd

from purescope.reduce.commands import Named, export_command
from purescope.studies.comparisons import pooled_mean
from purescope.tables.schema import each_row

_UNCOUNTED = ("at chance", "below chance")

Cell: TypeAlias = tuple[str, int]
"""A strategy and a k."""


@dataclass(frozen=True)
class Share:
    """A share that is kept, with the ends of its 95 % confidence interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Point:
    """A strategy, a number of dimensions, and the share that they keep.

    Args:
        strategy, k: the dimensions.
        share: what they keep of the half of the images that chooses.
        judged: the same of the other half.
    """

    strategy: str
    k: int
    share: Share
    judged: Share


@dataclass(frozen=True)
class Choice:
    """The fewest dimensions of one model that keep a share of a metric.

    Args:
        model: label of the model.
        spec: what the model was called in the sweep, such as a path; empty if that is not known.
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
        over_random: how much more than the mean of random orders, judged at k, as a difference of
            the metric: mean over the datasets, with its interval; None without random orders.
        over_first_k: the same over raw truncation, the first k dimensions as they are; None if
            ``first_k`` was not measured, or is the choice itself.
        closest: what comes closest to the target where no measured k is enough.
        uncounted: datasets whose accuracy cannot be told from chance, which take no part.
        as_deployed: whether features were scaled again over the kept neurons.
        command: the command that makes the smaller model; empty without k, or if no single command
            does, as for neurons that were ordered on each dataset anew.
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
    over_first_k: Share | None
    closest: Point | None
    uncounted: Sequence[str]
    as_deployed: bool
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain numbers, texts, lists and dictionaries."""
        return asdict(self)


@dataclass(frozen=True)
class MetricShares:
    """The shares of one metric that the strategies of one model keep.

    Args:
        model, metric: of which model and of what.
        over: ``worst`` or ``mean`` of the datasets.
        shares, results, verdicts: tables; the first has only rows of this model and metric.
        named: what the models and datasets were called.
    """

    model: str
    metric: str
    over: str
    shares: pd.DataFrame
    results: pd.DataFrame
    verdicts: pd.DataFrame
    named: Named

    @cached_property
    def own(self) -> pd.DataFrame:
        """The results of the model on the datasets."""
        results = self.results[self.results.metric == self.metric]
        is_own = results.dataset.isin(set(self.shares.dataset))
        return results[(results.model == self.model) & is_own]

    @cached_property
    def uncounted(self) -> set[str]:
        """The datasets on which all neurons cannot be told from chance."""
        if self.metric != "accuracy":
            full = self.own[self.own.strategy == "full"]
            return set(full.dataset[~(full.low > full.chance)])
        verdicts = self.verdicts[self.verdicts.model == self.model]
        return set(verdicts[verdicts.outcome.isin(_UNCOUNTED)].dataset)

    @cached_property
    def datasets(self) -> list[str]:
        """The datasets that count."""
        return [name for name in self.shares.dataset.unique() if name not in self.uncounted]

    @cached_property
    def cells(self) -> dict[Cell, dict[str, list[Any]]]:
        """The rows of each strategy and k on the datasets that count, by the half of the images."""
        found: dict[Cell, dict[str, list[Any]]] = {}
        for row in each_row(self.shares):
            if row.dataset not in self.uncounted:
                halves = found.setdefault((row.strategy, row.k), {"choose": [], "judge": []})
                halves[row.half].append(row)
        return found

    @cached_property
    def points(self) -> dict[str, dict[Cell, Share]]:
        """The share of each strategy and k on each half, on the worst dataset or in the mean."""
        join = _worst if self.over == "worst" else _mean
        return {
            half: {
                cell: join([_share(row) for row in rows[half]])
                for cell, rows in self.cells.items()
                if rows[half]
            }
            for half in ("choose", "judge")
        }

    def judged(self, strategy: str | None, k: int | None) -> list[Any]:
        """Return the judged shares of one strategy and k, dataset by dataset."""
        return self.cells[strategy, k]["judge"] if strategy and k else []

    def command(self, strategy: str, k: int) -> str:
        """Return the command that makes the smaller model; empty for all dimensions."""
        if k == self.shares.neurons.iloc[0]:
            return ""
        own = self.own[self.own.dataset.isin(self.datasets)]
        return export_command(self.named, self.model, strategy, k, own)


def choose_fewest(given: MetricShares, target: float) -> Choice:
    """Choose the fewest dimensions whose lower end reaches the target, on the half that chooses."""
    shares, points = given.shares, given.points
    strategies = dict.fromkeys(strategy for strategy, _ in given.cells)
    needed = {strategy: _fewest(points["choose"], strategy, target) for strategy in strategies}
    enough = {strategy: k for strategy, k in needed.items() if k and strategy != "random"}
    k = min(enough.values(), default=None)
    at_k = {name: points["judge"][name, k] for name in strategies} if k else {}
    best = max(
        (name for name, fewest in enough.items() if fewest == k),
        key=lambda name: at_k[name].share,
        default=None,
    )
    judged = given.judged(best, k)
    datasets = {row.dataset: Share(row.share, row.low, row.high) for row in judged}
    return Choice(
        model=given.model,
        spec=given.named.models.get(given.model, ""),
        metric=given.metric,
        target=target,
        over=given.over,
        neurons=int(shares.neurons.iloc[0]),
        k=k,
        strategy=best,
        chosen=points["choose"][best, k] if best and k else None,
        judged=points["judge"][best, k] if best and k else None,
        counted=given.datasets,
        datasets=datasets,
        worst=min(datasets, key=lambda name: datasets[name].share, default=None),
        needed=needed,
        at_k=at_k,
        over_random=mean_over(judged, "random"),
        over_first_k=mean_over(judged, "first_k"),
        closest=None if k else _closest(points),
        uncounted=sorted(given.uncounted & set(shares.dataset)),
        as_deployed=bool(given.own.renormalise.all()),
        command=given.command(best, k) if best and k else "",
    )


def _share(row: Any) -> Share:
    """Return the share of a row. Without a right image nothing is known, and nothing is certain."""
    return Share(row.share, 0.0 if math.isnan(row.low) else row.low, row.high)


def _worst(shares: Sequence[Share]) -> Share:
    """Return the smallest share, with the smallest lower end: each has to be high enough."""
    smallest = min(shares, key=lambda share: share.share)
    return Share(smallest.share, min(share.low for share in shares), smallest.high)


def _mean(shares: Sequence[Share]) -> Share:
    """Return the mean of independent values, with the interval of independent errors."""
    value, low, high = (
        pd.Series([getattr(share, end) for share in shares]) for end in ("share", "low", "high")
    )
    mean = pooled_mean(value, value - low, high - value)
    return Share(mean.value, mean.low, mean.high)


def _fewest(points: Mapping[Cell, Share], strategy: str, target: float) -> int | None:
    reached = [k for (name, k), share in points.items() if name == strategy and share.low >= target]
    return min(reached, default=None)


def _closest(points: Mapping[str, Mapping[Cell, Share]]) -> Point | None:
    own = [
        Point(name, k, share, points["judge"][name, k])
        for (name, k), share in points["choose"].items()
        if name != "random"
    ]
    return max(own, key=lambda point: (point.share.low, -point.k), default=None)


def mean_over(judged: Sequence[Any], other: str) -> Share | None:
    """Return how much more is kept than by random orders or raw truncation, in the mean.

    Args:
        judged: rows of `purescope.tables.shares.SHARES`.
        other: ``random`` or ``first_k``.
    """
    names = [f"over_{other}{end}" for end in ("", "_low", "_high")]
    known = [row for row in judged if not pd.isna(getattr(row, names[0]))]
    ends = [[float(getattr(row, name)) for name in names] for row in known]
    return _mean([Share(*values) for values in ends]) if ends else None
