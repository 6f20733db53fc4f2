"""From what a sweep measured to a verdict: the tests, and the outcome that they say."""

import math
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.formats import Difference
from purescope.maths.curves import mean_over_k
from purescope.maths.intervals import NORMAL_975
from purescope.maths.significance import against_chance, holm, permutation_p
from purescope.studies.comparisons import pooled_difference, pooled_p
from purescope.tables.columns import ALL, AREA
from purescope.tables.verdicts import LEVEL, NOT_ASKED, Finding, Null, Verdict

_NORMAL_80 = 0.8416212335729143  # quantile of the normal distribution: four of five are found


def judge(
    table: pd.DataFrame,
    comparisons: pd.DataFrame,
    attributions: pd.DataFrame | None = None,
    *,
    model: str,
) -> Verdict:
    """The verdict on one model from a result table, its comparisons and its attributions.

    Args:
        table: as `purescope.sweep` makes it; the random orders are read from it.
        comparisons: as `purescope.studies.comparisons.compare_strategies` makes them, adjusted over
            the data sets.
        attributions: as `purescope.studies.attribution.attribution_table` makes them; without them
            the attribution is *not asked*.
        model: its label.

    Raises:
        InputError: the tables hold no comparison of high purity with random orders and with low
            purity.
    """
    areas = comparisons[(comparisons.model == model) & (comparisons.k == AREA)]
    wanted = {("high_purity", "random"), ("high_purity", "low_purity"), ("low_purity", "random")}
    if not wanted <= set(zip(areas["first"], areas["second"], strict=True)):
        raise InputError(
            f"no comparison of high purity with random orders and with low purity for {model!r}",
            fix="run the sweep with both strategies and with --draws 1 or more",
        )
    table = table[(table.model == model) & (table.metric == "accuracy")]
    stands = chance_of(table, model)
    counted = [name for name, where in stands.items() if where == "above"]
    found = _Areas(table, areas, attributions, model, counted)
    findings = tuple(
        found.finding(name, [name]) if where == "above" else _at_chance(name, where)
        for name, where in stands.items()
    )
    if len(counted) == 1:
        return Verdict(model, findings[list(stands).index(counted[0])], findings)
    if not counted:
        return Verdict(model, findings[0], findings)
    return Verdict(model, found.finding(ALL, counted), findings)


def chance_of(table: pd.DataFrame, model: str) -> dict[str, str]:
    """Where the accuracy of all neurons stands on each data set: above chance, at chance or below
    chance.

    See `purescope.maths.significance.against_chance`; a table without rows of all neurons says
    "above" of every set.
    """
    rows = table[(table.model == model) & (table.metric == "accuracy")]
    stands = dict.fromkeys(map(str, rows.dataset.unique()), "above")
    for row in rows[rows.strategy == "full"].itertuples():
        stands[str(row.dataset)] = against_chance(float(row.value), float(row.chance), int(row.n))  # type: ignore[arg-type]
    return stands


def above_chance(table: pd.DataFrame, model: str) -> list[str]:
    """The data sets that count: those on which the accuracy of all neurons is above chance."""
    return [name for name, where in chance_of(table, model).items() if where == "above"]


def verdicts_of(
    table: pd.DataFrame, comparisons: pd.DataFrame, attributions: pd.DataFrame | None = None
) -> list[Verdict]:
    """The verdict on each model of a table that has random orders and both purities."""
    if not {"random", "high_purity", "low_purity"} <= set(table.strategy):
        return []
    return [
        judge(table, comparisons, attributions, model=str(model)) for model in table.model.unique()
    ]


@dataclass(frozen=True)
class _Areas:
    """One model's areas, to be judged alone or together."""

    table: pd.DataFrame
    areas: pd.DataFrame
    attributions: pd.DataFrame | None
    model: str
    counted: list[str]

    @cached_property
    def _pairs(self) -> dict[tuple[str, str], pd.DataFrame]:
        """The areas of each pair of strategies."""
        return {
            (str(first), str(second)): rows
            for (first, second), rows in self.areas.groupby(["first", "second"])
        }

    @cached_property
    def _random(self) -> pd.DataFrame:
        """Accuracy of the random orders: a row for each data set and draw, a column for each k."""
        rows = self.table[self.table.strategy == "random"]
        return rows.pivot(index=["dataset", "draw"], columns="k", values="value")

    def finding(self, about: str, sets: list[str]) -> Finding:
        """What these data sets say together."""
        over_random, over_low, low_over_random = (
            pooled_difference(self._rows(first, second, sets))
            for first, second in (
                ("high_purity", "random"),
                ("high_purity", "low_purity"),
                ("low_purity", "random"),
            )
        )
        p, low_p = (self._p(name, sets) for name in ("high_purity", "low_purity"))
        random = self._random_areas(sets)
        ends_p = float(
            permutation_p(torch.tensor(over_low.value).double(), 2 * (random - random.mean()))
        )
        rotation, norms = self._null("rotation", sets), self._null("norms", sets)
        return Finding(
            about=about,
            sets=len(sets),
            outcome=_outcome(over_random, over_low, low_over_random, p, low_p, ends_p),
            attribution=_attribution(over_random.value, rotation, norms),
            over_random=over_random,
            over_low=over_low,
            low_over_random=low_over_random,
            p=p,
            low_p=low_p,
            ends_p=ends_p,
            detectable=_detectable(over_random, random),
            draws=int(self._rows("high_purity", "random", sets).draws.min()),
            rotation=rotation,
            norms=norms,
        )

    def _rows(self, first: str, second: str, sets: list[str]) -> pd.DataFrame:
        rows = self._pairs[first, second]
        return rows[rows.dataset.isin(sets)]

    def _p(self, strategy: str, sets: list[str]) -> float:
        """Of one data set Holm's p over all that count; of several that of their mean."""
        if len(sets) > 1:
            rows = self.table[self.table.dataset.isin(sets)]
            return pooled_p(rows, model=self.model, strategy=strategy)
        rows = self._rows(strategy, "random", self.counted)
        adjusted = holm(torch.tensor(rows.permutation_p.tolist(), dtype=torch.float64))
        return float(adjusted[rows.dataset.tolist().index(sets[0])])

    def _null(self, null: str, sets: list[str]) -> Null | None:
        """One of the nulls: the mean over the data sets, draw by draw."""
        if self.attributions is None:
            return None
        rows = self.attributions[
            (self.attributions.model == self.model) & self.attributions.dataset.isin(sets)
        ]
        means = {
            which: rows[rows.null == which].groupby("draw").difference.agg(["mean", "count"])
            for which in ("none", null)
        }
        if any(len(of) == 0 or bool((of["count"] < len(sets)).any()) for of in means.values()):
            return None
        value, draws = (
            torch.tensor(of["mean"].tolist(), dtype=torch.float64) for of in means.values()
        )
        return Null(float(draws.mean()), float(permutation_p(value[0], draws)), len(draws))

    def _random_areas(self, sets: list[str]) -> Tensor:
        """Mean accuracy over the ks and the data sets, of each random order."""
        wide = self._random[self._random.index.get_level_values("dataset").isin(sets)]
        areas = pd.Series(
            mean_over_k(torch.tensor(wide.to_numpy(float)), [int(k) for k in wide.columns]),
            wide.index,
        )
        on_sets = areas.groupby("draw").agg(["mean", "count"])
        return torch.tensor(on_sets["mean"][on_sets["count"] == len(sets)].to_numpy(float))


def _detectable(found: Difference, random: Tensor) -> float:
    """The difference that is found in 80 % of such data: both tests, over orders and over images,
    must see it.
    """
    images = (found.high - found.low) / 2 / NORMAL_975
    orders = float(random.std()) if len(random) > 1 else 0.0
    return NORMAL_975 * max(images, orders) + _NORMAL_80 * math.hypot(images, orders)


def _outcome(
    over_random: Difference,
    over_low: Difference,
    low_over_random: Difference,
    p: float,
    low_p: float,
    ends_p: float,
) -> str:
    high_above, high_below = p <= LEVEL and over_random.low > 0, p <= LEVEL and over_random.high < 0
    low_above, low_below = (
        low_p <= LEVEL and low_over_random.low > 0,
        low_p <= LEVEL and low_over_random.high < 0,
    )
    if high_below and low_below:
        return "both ends lose"
    if high_above and low_above:
        return "both ends win"
    if high_above and over_low.low > 0 and ends_p <= LEVEL:
        return "supported"
    if high_below and over_low.high < 0 and ends_p <= LEVEL:
        return "contradicted"
    return "not decided"


def _attribution(value: float, rotation: Null | None, norms: Null | None) -> str:
    if rotation is None or norms is None:
        return NOT_ASKED

    def beyond(null: Null) -> bool:
        return null.p <= LEVEL and (value - null.mean) * value > 0

    if not beyond(rotation):
        return "any axes do the same"
    return "beyond both" if beyond(norms) else "explained by norms"


def _at_chance(about: str, where: str) -> Finding:
    unknown = Difference(math.nan, math.nan, math.nan)
    return Finding(
        about,
        0,
        where,
        NOT_ASKED,
        unknown,
        unknown,
        unknown,
        math.nan,
        math.nan,
        math.nan,
        math.nan,
        0,
    )
