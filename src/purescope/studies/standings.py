"""Rank all strategies of each model over its datasets, and average its curves over them.

Only datasets count on which the accuracy of all neurons is above chance.
"""

import math

import pandas as pd
import torch

from purescope.maths.significance import holm
from purescope.maths.strategies import STRATEGIES
from purescope.studies.comparisons import pooled_difference, pooled_p
from purescope.studies.judging import above_chance
from purescope.tables.columns import ALL, AREA
from purescope.tables.files import check_table
from purescope.tables.result_table import curve_points
from purescope.tables.schemas import MEAN_POINTS, STANDINGS

_DIFFERENCE = ("over_random", "over_random_low", "over_random_high")


def standings_table(
    results: pd.DataFrame, comparisons: pd.DataFrame, curves: pd.DataFrame
) -> pd.DataFrame:
    """Return all strategies of each model, the largest mean accuracy first.

    Areas are tested among the random orders, all datasets together, with Holm's p-values over the
    strategies. The best strategy is the best by luck as well, so it also gets the value that
    choosing has elsewhere: the best strategy of one half of the images, judged on the other half,
    as the mean of both directions.

    Args:
        results, comparisons, curves: of a run, see `purescope.tables.schemas`.

    Returns:
        The table `purescope.tables.schemas.STANDINGS`.
    """
    tables = [pd.DataFrame(columns=list(STANDINGS.columns))]
    for model in curves.model.unique():
        parts = [table[table.model == model] for table in (results, comparisons, curves)]
        counted = above_chance(results, str(model))
        board = _model_standings(*(part[part.dataset.isin(counted)] for part in parts))
        if len(board):
            tables.append(board.assign(model=model))
    filled = tables[1:] or tables
    return check_table(pd.concat(filled, ignore_index=True), STANDINGS)


def uses_labels(strategy: str) -> bool:
    """Tell whether a strategy looks at labels."""
    return strategy in STRATEGIES and STRATEGIES[strategy].needs == "labels"


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
    accuracies = results[results.metric == "accuracy"]
    parts = [pd.DataFrame(columns=list(MEAN_POINTS.columns))]
    for model in results.model.unique():
        rows = accuracies[accuracies.model == model]
        rows = rows[rows.dataset.isin(above_chance(results, str(model)))]
        if rows.dataset.nunique() > 1:
            rows = _mean_over_datasets(rows)
        if (rows.strategy != "full").any():
            parts.append(curve_points(rows.assign(dataset=ALL)))
    return check_table(pd.concat(parts[1:] or parts, ignore_index=True), MEAN_POINTS)


def _mean_over_datasets(rows: pd.DataFrame) -> pd.DataFrame:
    cells = rows.groupby(["strategy", "draw", "k"], sort=False).value.agg(["mean", "count"])
    everywhere = cells[cells["count"] == rows.dataset.nunique()]["mean"]
    return (
        everywhere.rename("value")
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


def _model_standings(
    results: pd.DataFrame, comparisons: pd.DataFrame, curves: pd.DataFrame
) -> pd.DataFrame:
    """Rank the strategies of one model on the datasets that count."""
    areas = comparisons[(comparisons.second == "random") & (comparisons.k == AREA)]
    rows = []
    for name, part in curves.groupby("strategy", sort=False):
        strategy = str(name)
        row = {
            "strategy": strategy,
            "labels": uses_labels(strategy),
            "area": part.area.mean(),
            "needed": part.needed.mean(),
            "half": part.half.iloc[0],
            **_kept_share(part),
        }
        differences = areas[areas["first"] == strategy]
        if len(differences):
            over_random = pooled_difference(differences)
            ends = (over_random.value, over_random.low, over_random.high)
            row |= dict(zip(_DIFFERENCE, ends, strict=True))
            row["p"] = pooled_p(results, model=str(part.model.iloc[0]), strategy=strategy)
        rows.append(row)
    if not rows:
        return pd.DataFrame()
    board = pd.DataFrame(rows).sort_values("area", ascending=False, kind="stable")
    board = board.reindex(columns=list(STANDINGS.columns)).assign(place=range(1, len(rows) + 1))
    tested = board.p.notna()
    if tested.any():
        board.loc[tested, "p"] = _holm(board.p[tested])
    best = board.strategy.ne("random").to_numpy().argmax()
    board["elsewhere"] = [
        _elsewhere(curves) if place == best else math.nan for place in range(len(board))
    ]
    full = results[(results.metric == "accuracy") & (results.strategy == "full")]
    board = pd.concat([_full_row(board, full), board], ignore_index=True)
    first = results.iloc[0]
    return board.assign(
        sets=curves.dataset.nunique(), neurons=first.neurons, chance=full.chance.mean()
    )


def _holm(p: "pd.Series[float]") -> list[float]:
    adjusted: list[float] = holm(torch.tensor(p.tolist(), dtype=torch.float64)).tolist()
    return adjusted


def _full_row(board: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    row = {"strategy": "full", "place": 0, "labels": False, "area": full.value.mean()}
    return pd.DataFrame([row | {"half": board.half.iloc[0]}], columns=board.columns)[: len(full)]


def _kept_share(part: pd.DataFrame) -> dict[str, float]:
    """Return the mean over the datasets, whose images differ: their intervals add in squares."""
    if part.kept.isna().any():
        return {}
    below, above = (
        math.sqrt(((part[end] - part.kept) ** 2).sum()) / len(part)
        for end in ("kept_low", "kept_high")
    )
    mean = float(part.kept.mean())
    return {"kept": mean, "kept_low": mean - below, "kept_high": mean + above}


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
    judged = (
        over_random.area_second[best["area_first"]],
        over_random.area_first[best["area_second"]],
    )
    return float(sum(judged)) / 2
