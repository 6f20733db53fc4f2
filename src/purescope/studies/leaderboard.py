"""All strategies of a sweep, best first; what half of the neurons keeps, and what the best is worth
on other images.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd
import torch

from purescope.maths.significance import holm
from purescope.maths.strategies import STRATEGIES
from purescope.studies.comparisons import AREA, Difference, points, pooled_difference, pooled_p
from purescope.studies.judging import above_chance


@dataclass(frozen=True)
class Standing:
    """One strategy over all ks and data sets of a model.

    Args:
        strategy: its name.
        area: mean accuracy over the ks, and then over the data sets.
        needed: neurons for 95 % of full accuracy, the mean over the data sets.
        over_random: the area minus that of the random orders; None for random itself.
        p: permutation p-value among the random orders, two-sided, of all data sets together, Holm's
            over the strategies; None likewise.
        labels: whether it looks at labels, of the half of the images that it is not judged on.
    """

    strategy: str
    area: float
    needed: float
    over_random: Difference | None
    p: float | None
    labels: bool


@dataclass(frozen=True)
class Winner:
    """The strategy of largest area, which is largest by luck as well.

    Args:
        strategy: its name.
        here: its area minus that of the random orders, on the images that it was chosen by.
        elsewhere: the same for the best on either half of the images, on the other half: the mean
            of both.
    """

    strategy: str
    here: float
    elsewhere: float

    def __str__(self) -> str:
        return (
            f"Best by these images: {self.strategy}, {points(self.here)} points over random. "
            f"Chosen on half of the "
            f"images and judged on the other half, the best is {points(self.elsewhere)}."
        )


_KEPT = {
    "high_purity": "the {} purest",
    "low_purity": "the {} least pure",
    "random": "{} random ones",
}


def leaderboard(
    table: pd.DataFrame, comparisons: pd.DataFrame, curves: pd.DataFrame, *, model: str
) -> list[Standing]:
    """Each strategy and the random orders, largest area first, over the data sets on which the
    model is above chance.

    Args:
        table, comparisons, curves: of a run, as `purescope.runs.run.run_sweep` writes them.
        model: its label.
    """
    counted = above_chance(table, model)
    curves, table = _counted(table, curves, model), table[table.dataset.isin(counted)]
    areas = comparisons[
        (comparisons.model == model) & (comparisons.second == "random") & (comparisons.k == AREA)
    ]
    areas = areas[areas.dataset.isin(counted)]
    standings = []
    for name, part in curves.groupby("strategy", sort=False):
        found, strategy = areas[areas["first"] == name], str(name)
        tested = not found.empty
        standings.append(
            Standing(
                strategy=strategy,
                area=float(part.area.mean()),
                needed=float(part.needed.mean()),
                over_random=pooled_difference(found) if tested else None,
                p=pooled_p(table, model=model, strategy=strategy) if tested else None,
                labels=uses_labels(strategy),
            )
        )
    tested_ps = [standing.p for standing in standings if standing.p is not None]
    adjusted = iter(holm(torch.tensor(tested_ps, dtype=torch.float64)).tolist())
    standings = [
        standing if standing.p is None else replace(standing, p=next(adjusted))
        for standing in standings
    ]
    return sorted(standings, key=lambda standing: -standing.area)


def uses_labels(strategy: str) -> bool:
    """Whether a strategy looks at labels."""
    return strategy in STRATEGIES and STRATEGIES[strategy].needs == "labels"


def winner(table: pd.DataFrame, curves: pd.DataFrame, *, model: str) -> Winner | None:
    """The best strategy, judged on images that it was not chosen by; None without random orders or
    anything to choose.

    Args:
        table, curves, model: as of `leaderboard`.
    """
    curves = _counted(table, curves, model)
    means = curves.groupby("strategy", sort=False)[["area", "area_first", "area_second"]].mean()
    if "random" not in means.index or len(means) < 3:
        return None
    over_random = means.drop(index="random") - means.loc["random"]
    if over_random.isna().any(axis=None):
        return None
    best = {name: str(over_random[name].idxmax()) for name in over_random}
    elsewhere = (
        over_random.area_second[best["area_first"]] + over_random.area_first[best["area_second"]]
    )
    return Winner(best["area"], float(over_random.area.max()), float(elsewhere) / 2)


def half_kept(
    table: pd.DataFrame,
    curves: pd.DataFrame,
    *,
    model: str,
    called: Callable[[str], str] = lambda name: name,
) -> str:
    """What about half of the neurons keeps, in a sentence.

    It names random ones, both ends of purity, and the best other choice that looks at no labels.
    Shares are means over the data sets on which the model is above chance; their intervals are over
    images.

    Args:
        table, curves, model: as of `leaderboard`.
        called: gives the name of another strategy in words.

    Returns:
        Nothing where that was not measured.
    """
    curves = _counted(table, curves, model)
    full = table[(table.model == model) & (table.metric == "accuracy") & (table.strategy == "full")]
    full = full[full.dataset.isin(curves.dataset)]
    blind = curves[~curves.strategy.map(uses_labels).astype(bool)]
    found = {
        str(name): share
        for name, part in blind.groupby("strategy", sort=False)
        if (share := _share(part))
    }
    if full.empty or not found:
        return ""
    best = max(found, key=lambda name: found[name].value)
    named = sorted(
        (name for name in found if name in _KEPT or name == best),
        key=lambda name: -found[name].value,
    )
    k, chance = int(curves.half.iloc[0]), full.chance.mean()
    told = [
        f"{_KEPT.get(name, f'the first {{}} by {called(name)}').format(f'{k:,}')}{'' if place else ' keep'} "
        f"{_percent(found[name])}"
        for place, name in enumerate(named)
    ]
    by_guessing = "" if math.isnan(chance) else f" (chance: {100 * chance:.1f} %)"
    right, neurons = 100 * full.value.mean(), int(full.neurons.iloc[0])
    return f"Of the {right:.1f} % that all {neurons:,} neurons get right{by_guessing}, {', '.join(told)}."


def _counted(table: pd.DataFrame, curves: pd.DataFrame, model: str) -> pd.DataFrame:
    return curves[(curves.model == model) & curves.dataset.isin(above_chance(table, model))]


def _share(part: pd.DataFrame) -> Difference | None:
    """The mean over data sets, whose images differ: their intervals add in squares."""
    if part.kept.isna().any():
        return None
    below, above = (
        math.sqrt(((part[end] - part.kept) ** 2).sum()) / len(part)
        for end in ("kept_low", "kept_high")
    )
    mean = float(part.kept.mean())
    return Difference(mean, mean - below, mean + above)


def _percent(share: Difference) -> str:
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"
