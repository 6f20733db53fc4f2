"""Say in words how the strategies of a model stand: what half of the neurons keeps, and the best.

`purescope.studies.judging` computes the table; this module only describes it.
"""

import math
from collections.abc import Callable

import pandas as pd

from purescope.formats import signed_points
from purescope.tables.schema import each_row

_KEPT = {
    "high_purity": "the {} purest",
    "low_purity": "the {} least pure",
    "random": "{} random ones",
}


def half_sentence(standings: pd.DataFrame, name: Callable[[str], str] = str) -> str:
    """Say what about half of the neurons keeps of the full accuracy.

    The sentence names random neurons, both ends of purity, and the best other strategy that does
    not look at labels, with 95 % confidence intervals over images.

    Args:
        standings: the rows of one model, see `purescope.tables.schemas.STANDINGS`.
        name: returns the name of another strategy in words.

    Returns:
        The sentence; empty where this was not measured.
    """
    full = standings[standings.strategy == "full"]
    unlabelled = standings[standings.place.gt(0) & ~standings.labels & standings.kept.notna()]
    if full.empty or unlabelled.empty:
        return ""
    by_share = unlabelled.sort_values("kept", ascending=False, kind="stable")
    named = by_share[
        by_share.strategy.isin(_KEPT) | (by_share.kept.rank(method="first", ascending=False) == 1)
    ]
    shares: list[str] = []
    for row in each_row(named):
        strategy = str(row.strategy)
        words = _KEPT.get(strategy, f"the first {{}} by {name(strategy)}").format(f"{row.half:,}")
        verb = "" if shares else " keep"
        shares.append(
            f"{words}{verb} {100 * row.kept:.0f} % ({100 * row.kept_low:.0f} to {100 * row.kept_high:.0f})"
        )
    everything = full.iloc[0]
    chance = "" if math.isnan(everything.chance) else f" (chance: {100 * everything.chance:.1f} %)"
    return (
        f"Of the {100 * everything.area:.1f} % that all {everything.neurons:,} neurons get right"
        f"{chance}, {', '.join(shares)}."
    )


def best_sentence(standings: pd.DataFrame) -> str:
    """Say which strategy is the best by these images, and what choosing the best is worth on others.

    Args:
        standings: the rows of one model.

    Returns:
        The sentence; empty without random orders, or with a single strategy.
    """
    best = standings[standings.elsewhere.notna()]
    if best.empty:
        return ""
    row = best.iloc[0]
    return (
        f"Best by these images: {row.strategy}, {signed_points(row.over_random)} points over random."
        f" Chosen on half of the images and judged on the other half, the best is "
        f"{signed_points(row.elsewhere)}."
    )
