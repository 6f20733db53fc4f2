"""All strategies of a sweep, best first."""

from dataclasses import dataclass

import pandas as pd

from purescope.comparison import AREA, Difference, pooled_difference, pooled_p


@dataclass(frozen=True)
class Standing:
    """One strategy over all ks and data sets of a model.

    Args:
        strategy: its name.
        area: mean accuracy over the ks, and then over the data sets.
        needed: neurons for 95 % of full accuracy, the mean over the data sets.
        over_random: the area minus that of the random orders; None for random itself.
        p: permutation p-value among the random orders, two-sided, of all data sets together; None likewise.
    """

    strategy: str
    area: float
    needed: float
    over_random: Difference | None
    p: float | None


def leaderboard(table: pd.DataFrame, comparisons: pd.DataFrame, curves: pd.DataFrame, *, model: str) -> list[Standing]:
    """Each strategy and the random orders, largest area first.

    Args:
        table, comparisons, curves: of a run, as `purescope.runs.run_sweep` writes them.
        model: its label.
    """
    curves = curves[curves.model == model]
    areas = comparisons[(comparisons.model == model) & (comparisons.second == "random") & (comparisons.k == AREA)]
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
            )
        )
    return sorted(standings, key=lambda standing: -standing.area)
