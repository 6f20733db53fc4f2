"""Judge each model from the tables of a run: its verdict, and the ranking of its strategies.

Only datasets count on which the accuracy of all neurons is above chance.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.formats import Difference
from purescope.maths.intervals import NORMAL_975
from purescope.maths.significance import against_chance, holm, permutation_p
from purescope.maths.strategies import STRATEGIES
from purescope.studies.comparisons import mean_areas, pooled_difference, pooled_mean, pooled_p
from purescope.tables.columns import ALL, AREA
from purescope.tables.files import check_table
from purescope.tables.result_table import curve_points
from purescope.tables.schema import stack_tables
from purescope.tables.schemas import MEAN_POINTS, STANDINGS
from purescope.tables.verdicts import LEVEL, NOT_ASKED, Finding, Null, Verdict

_NORMAL_80 = 0.8416212335729143  # 80 % quantile of the normal distribution, for a power of 80 %
_PAIRS = (("high_purity", "random"), ("high_purity", "low_purity"), ("low_purity", "random"))


# --- the verdict


def judge(
    table: pd.DataFrame,
    comparisons: pd.DataFrame,
    attributions: pd.DataFrame | None = None,
    *,
    model: str,
) -> Verdict:
    """Return the verdict on one model.

    Args:
        table: results as `purescope.sweep` returns them, with the random orders.
        comparisons: comparisons as `purescope.studies.comparisons.compare_strategies` returns them,
            adjusted over the datasets.
        attributions: attributions as `purescope.studies.nulls.attribution_table` returns them;
            without them the attribution is *not asked*.
        model: label of the model.

    Raises:
        InputError: the tables hold no comparison of high purity with random orders and with low
            purity.
    """
    areas = comparisons[(comparisons.model == model) & (comparisons.k == AREA)]
    if not set(_PAIRS) <= set(zip(areas["first"], areas["second"], strict=True)):
        raise InputError(
            f"no comparison of high purity with random orders and with low purity for {model!r}",
            fix="run the sweep with both strategies and with --draws 1 or more",
        )
    table = table[(table.model == model) & (table.metric == "accuracy")]
    positions = chance_of(table, model)
    counted = [name for name, position in positions.items() if position == "above"]
    evidence = _Evidence(table, areas, attributions, model, counted)
    findings = {
        name: evidence.finding(name, [name]) if position == "above" else _at_chance(name, position)
        for name, position in positions.items()
    }
    if len(counted) > 1:
        overall = evidence.finding(ALL, counted)
    else:
        overall = findings[counted[0] if counted else next(iter(findings))]
    return Verdict(model, overall, tuple(findings.values()))


def chance_of(table: pd.DataFrame, model: str) -> dict[str, str]:
    """Tell for each dataset whether the accuracy of all neurons is above, at or below chance.

    See `purescope.maths.significance.against_chance`. Without rows of all neurons it is "above" for
    every dataset.
    """
    rows = table[(table.model == model) & (table.metric == "accuracy")]
    positions = dict.fromkeys(map(str, rows.dataset.unique()), "above")
    full = rows[rows.strategy == "full"]
    if full.empty:
        return positions
    columns = (full[name].tolist() for name in ("dataset", "value", "chance", "n"))
    for dataset, value, chance, images in zip(*columns, strict=True):
        positions[str(dataset)] = against_chance(float(value), float(chance), int(images))
    return positions


def above_chance(table: pd.DataFrame, model: str) -> list[str]:
    """Return the datasets that count: those with an accuracy of all neurons above chance."""
    return [name for name, position in chance_of(table, model).items() if position == "above"]


def verdicts_of(
    table: pd.DataFrame, comparisons: pd.DataFrame, attributions: pd.DataFrame | None = None
) -> list[Verdict]:
    """Return the verdict on each model; none where random orders or a purity are missing."""
    table = table[table.metric == "accuracy"]  # the claim is about classes, not captions
    if not {"random", "high_purity", "low_purity"} <= set(table.strategy):
        return []
    return [
        judge(table, comparisons, attributions, model=str(model)) for model in table.model.unique()
    ]


@dataclass(frozen=True)
class _Evidence:
    """The tables of one model, from which its datasets are judged alone or together."""

    table: pd.DataFrame
    areas: pd.DataFrame
    attributions: pd.DataFrame | None
    model: str
    counted: list[str]

    @cached_property
    def _areas_of_pairs(self) -> dict[tuple[str, str], pd.DataFrame]:
        return {
            (str(first), str(second)): rows
            for (first, second), rows in self.areas.groupby(["first", "second"])
        }

    def finding(self, about: str, datasets: list[str]) -> Finding:
        """Judge these datasets together."""
        over_random, over_low, low_over_random = (
            pooled_difference(self._areas(first, second, datasets)) for first, second in _PAIRS
        )
        p, low_p = (self._p(name, datasets) for name in ("high_purity", "low_purity"))
        accuracies = self.table[self.table.dataset.isin(datasets)]
        random = mean_areas(accuracies[accuracies.strategy == "random"])
        # For neurons of equal worth, a random order and its reverse differ by twice what the order
        # differs from the mean.
        gap = torch.tensor(over_low.value).double()
        ends_p = float(permutation_p(gap, 2 * (random - random.mean())))
        rotation, norms = self._null("rotation", datasets), self._null("norms", datasets)
        return Finding(
            about=about,
            sets=len(datasets),
            outcome=_outcome(over_random, over_low, low_over_random, p, low_p, ends_p),
            attribution=_attribution(over_random.value, rotation, norms),
            over_random=over_random,
            over_low=over_low,
            low_over_random=low_over_random,
            p=p,
            low_p=low_p,
            ends_p=ends_p,
            detectable=_detectable(over_random, random),
            draws=int(self._areas("high_purity", "random", datasets).draws.min()),
            rotation=rotation,
            norms=norms,
        )

    def _areas(self, first: str, second: str, datasets: list[str]) -> pd.DataFrame:
        rows = self._areas_of_pairs[first, second]
        return rows[rows.dataset.isin(datasets)]

    def _p(self, strategy: str, datasets: list[str]) -> float:
        """Return the p-value of the mean of several datasets; of one, Holm's p over all counted."""
        if len(datasets) > 1:
            rows = self.table[self.table.dataset.isin(datasets)]
            return pooled_p(rows, model=self.model, strategy=strategy)
        rows = self._areas(strategy, "random", self.counted)
        return _holm(rows.permutation_p)[rows.dataset.tolist().index(datasets[0])]

    def _null(self, null: str, datasets: list[str]) -> Null | None:
        """Compare the mean difference over the datasets with its draws under a null."""
        if self.attributions is None:
            return None
        rows = self.attributions[
            (self.attributions.model == self.model) & self.attributions.dataset.isin(datasets)
        ]
        means = []
        for name in ("none", null):
            by_draw = rows[rows.null == name].groupby("draw").difference.agg(["mean", "count"])
            if by_draw.empty or bool((by_draw["count"] < len(datasets)).any()):
                return None
            means.append(torch.tensor(by_draw["mean"].tolist(), dtype=torch.float64))
        value, draws = means
        return Null(float(draws.mean()), float(permutation_p(value[0], draws)), len(draws))


def _holm(p: "pd.Series[float]") -> list[float]:
    adjusted: list[float] = holm(torch.tensor(p.tolist(), dtype=torch.float64)).tolist()
    return adjusted


def _detectable(difference: Difference, random: Tensor) -> float:
    """Return the difference that would be detected with a power of 80 %.

    Both tests have to detect it: the one over orders and the one over images.
    """
    images = (difference.high - difference.low) / 2 / NORMAL_975
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
    low_above = low_p <= LEVEL and low_over_random.low > 0
    low_below = low_p <= LEVEL and low_over_random.high < 0
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

    def is_beyond(null: Null) -> bool:
        return null.p <= LEVEL and (value - null.mean) * value > 0

    if not is_beyond(rotation):
        return "any axes do the same"
    return "beyond both" if is_beyond(norms) else "explained by norms"


def _at_chance(about: str, outcome: str) -> Finding:
    """Return the finding on a dataset that does not count: nothing is known."""
    nan, unknown = math.nan, Difference(math.nan, math.nan, math.nan)
    return Finding(
        about, 0, outcome, NOT_ASKED, unknown, unknown, unknown, nan, nan, nan, nan, draws=0
    )


# --- the standings of strategies


def standings_table(
    results: pd.DataFrame, comparisons: pd.DataFrame, curves: pd.DataFrame
) -> pd.DataFrame:
    """Return all strategies of each model, the largest mean accuracy first.

    Areas are tested among the random orders, all datasets together, with Holm's p-values over the
    strategies. The best strategy is the best by luck as well, so it also gets the value that
    choosing has elsewhere: the best strategy of one half of the images, judged on the other half,
    as the mean of both directions.

    Args:
        results, comparisons, curves: tables of a run, see `purescope.tables.schemas`.

    Returns:
        The table `purescope.tables.schemas.STANDINGS`.
    """

    def rank(model: str) -> pd.DataFrame:
        counted = above_chance(results, model)
        own = (table[table.model == model] for table in (results, comparisons, curves))
        return _rank(*(rows[rows.dataset.isin(counted)] for rows in own)).assign(model=model)

    return check_table(_of_each_model(curves, rank, list(STANDINGS.columns)), STANDINGS)


def mean_points(results: pd.DataFrame) -> pd.DataFrame:
    """Return the points of each model's accuracy as the mean over the datasets.

    The mean is taken at the ks that all datasets have. The same random orders are drawn for every
    dataset, so a random order has a mean just as a strategy has. Means over several datasets have
    no confidence intervals.

    Args:
        results: the table `purescope.tables.schemas.RESULTS`.

    Returns:
        The table `purescope.tables.schemas.MEAN_POINTS`.
    """

    def points(model: str) -> pd.DataFrame:
        rows = results[(results.metric == "accuracy") & (results.model == model)]
        rows = rows[rows.dataset.isin(above_chance(results, model))]
        if rows.dataset.nunique() > 1:
            rows = _mean_over_datasets(rows)
        has_curves = bool((rows.strategy != "full").any())
        return curve_points(rows.assign(dataset=ALL)) if has_curves else pd.DataFrame()

    return check_table(_of_each_model(results, points, list(MEAN_POINTS.columns)), MEAN_POINTS)


def _of_each_model(
    table: pd.DataFrame, make: Callable[[str], pd.DataFrame], columns: list[str]
) -> pd.DataFrame:
    """Return the rows of each model, one below the other; only the columns without any row."""
    tables = [make(str(model)) for model in table.model.unique()]
    return stack_tables([pd.DataFrame(columns=columns), *tables])


def uses_labels(strategy: str) -> bool:
    """Tell whether a strategy looks at labels."""
    return strategy in STRATEGIES and STRATEGIES[strategy].needs == "labels"


def _mean_over_datasets(rows: pd.DataFrame) -> pd.DataFrame:
    cells = rows.groupby(["strategy", "draw", "k"], sort=False).value.agg(["mean", "count"])
    means = cells[cells["count"] == rows.dataset.nunique()]["mean"]
    return (
        means.rename("value")
        .reset_index()
        .assign(
            model=rows.model.iloc[0],
            metric="accuracy",
            low=math.nan,
            high=math.nan,
            chance=rows.groupby("dataset").chance.first().mean(),
            neurons=rows.neurons.iloc[0],
            n=0,
            classes=0,
        )
    )


def _rank(results: pd.DataFrame, comparisons: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Rank the strategies of one model on the datasets that count; above them stands "full"."""
    if curves.empty:
        return pd.DataFrame()
    areas = comparisons[(comparisons.second == "random") & (comparisons.k == AREA)]
    rows = []
    for name, own in curves.groupby("strategy", sort=False):
        strategy = str(name)
        row = {
            "strategy": strategy,
            "labels": uses_labels(strategy),
            "area": own.area.mean(),
            "needed": own.needed.mean(),
            "half": own.half.iloc[0],
        }
        if own.kept.notna().all():
            kept = pooled_mean(own.kept, own.kept_low - own.kept, own.kept_high - own.kept)
            row |= _ends("kept", kept)
        differences = areas[areas["first"] == strategy]
        if len(differences):
            row |= _ends("over_random", pooled_difference(differences))
            row["p"] = pooled_p(results, model=str(own.model.iloc[0]), strategy=strategy)
        rows.append(row)
    board = pd.DataFrame(rows).sort_values("area", ascending=False, kind="stable")
    board = board.reindex(columns=list(STANDINGS.columns)).assign(place=range(1, len(rows) + 1))
    tested = board.p.notna()
    if tested.any():
        board.loc[tested, "p"] = _holm(board.p[tested])
    best = board.strategy.ne("random").to_numpy().argmax()
    elsewhere = [math.nan] * len(board)
    elsewhere[best] = _elsewhere(curves)
    board["elsewhere"] = elsewhere
    full = results[(results.metric == "accuracy") & (results.strategy == "full")]
    first = {"strategy": "full", "place": 0, "labels": False, "area": full.value.mean()}
    first |= {"half": board.half.iloc[0]}
    full_row = pd.DataFrame([first], columns=board.columns)[: len(full)]
    return pd.concat([full_row, board]).assign(
        sets=curves.dataset.nunique(),
        neurons=results.neurons.iloc[0],
        chance=full.chance.mean(),
    )


def _ends(name: str, difference: Difference) -> dict[str, float]:
    low, high = difference.low, difference.high
    return {name: difference.value, f"{name}_low": low, f"{name}_high": high}


def _elsewhere(curves: pd.DataFrame) -> float:
    """Return what the best strategy of one half of the images gains on the other half.

    NaN without random orders or with fewer than two other strategies.
    """
    means = curves.groupby("strategy", sort=False)[["area_first", "area_second"]].mean()
    if "random" not in means.index or len(means) < 3:
        return math.nan
    over_random = means.drop(index="random") - means.loc["random"]
    if over_random.isna().any(axis=None):
        return math.nan
    best = {half: str(over_random[half].idxmax()) for half in over_random}
    on_second = over_random.area_second[best["area_first"]]
    on_first = over_random.area_first[best["area_second"]]
    return float(on_second + on_first) / 2
