"""What a sweep says about the experiment's claim, in numbers and in one sentence.

The claim: high-purity neurons keep more accuracy than random ones, and low-purity neurons less. A cell here is one
dataset and k; high and low purity are held against the median of the random draws, and against their 5 to 95 % band.
"""

from dataclasses import dataclass

import pandas as pd

from purescope.errors import InputError


@dataclass(frozen=True)
class Verdict:
    """How one model's accuracy cells compare.

    Args:
        model: the model's label.
        cells: (dataset, k) pairs compared.
        high_over_random: cells in which high purity is above the median random draw.
        high_over_low: cells in which high purity is above low purity.
        high_beyond_random: cells in which high purity is above 95 % of the random draws.
        high_below_random: cells in which high purity is below 95 % of the random draws.
        gap: mean over the cells of high - low, in percentage points.
        over_random: mean over the cells of high - median random, in percentage points.
    """

    model: str
    cells: int
    high_over_random: int
    high_over_low: int
    high_beyond_random: int
    high_below_random: int
    gap: float
    over_random: float

    @property
    def sentence(self) -> str:
        """The verdict in words; it weighs counts and makes no claim of significance."""
        against_random = _in_words(self.high_over_random / self.cells)
        against_low = _in_words(self.high_over_low / self.cells)
        borne_out = against_random == against_low == "better than"
        finding = (
            f"high-purity neurons did {against_random} random ones and {against_low} low-purity ones, "
            f"{'as the experiment claims' if borne_out else 'so the claim that they do better is not borne out here'}"
        )
        return (
            f"{self.model}: {finding}. High purity beat the median random draw in {self.high_over_random} of "
            f"{self.cells} cells (mean {self.over_random:+.2f} points; above 95 % of the draws in "
            f"{self.high_beyond_random}, below 95 % in {self.high_below_random}) and low purity in "
            f"{self.high_over_low} (mean {self.gap:+.2f} points)."
        )


def _in_words(share: float) -> str:
    """More than two cells in three one way is a direction; less is none."""
    return "better than" if share > 2 / 3 else "worse than" if share < 1 / 3 else "about as well as"


def compare_strategies(table: pd.DataFrame, *, model: str) -> Verdict:
    """Count the accuracy cells of one model for and against the claim.

    Raises:
        InputError: the table has no random draws of that model to compare with.
    """
    rows = table[(table.model == model) & (table.metric == "accuracy")]
    cells = rows[rows.strategy != "full"].groupby(["strategy", "dataset", "k"]).value
    if "random" not in set(rows.strategy):
        raise InputError(f"no random draws of {model!r} in this table", fix="run the sweep with --draws 1 or more")
    high, low = cells.median().loc["high_purity"], cells.median().loc["low_purity"]
    draws = {q: cells.quantile(q).loc["random"] for q in (0.05, 0.5, 0.95)}
    return Verdict(
        model=model,
        cells=len(high),
        high_over_random=int((high > draws[0.5]).sum()),
        high_over_low=int((high > low).sum()),
        high_beyond_random=int((high > draws[0.95]).sum()),
        high_below_random=int((high < draws[0.05]).sum()),
        gap=100 * float((high - low).mean()),
        over_random=100 * float((high - draws[0.5]).mean()),
    )
