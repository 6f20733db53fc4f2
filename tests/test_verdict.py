"""The verdict counts what the table says, whichever way it comes out."""

import pandas as pd
import pytest

from purescope.errors import InputError
from purescope.verdict import compare_strategies


def table(high: list[float], low: list[float], draws: list[list[float]]) -> pd.DataFrame:
    """Cells k = 1, 2, ... of one dataset."""
    rows = [("high_purity", 0, k, value) for k, value in enumerate(high, 1)]
    rows += [("low_purity", 0, k, value) for k, value in enumerate(low, 1)]
    rows += [("random", draw, k, value) for draw, values in enumerate(draws) for k, value in enumerate(values, 1)]
    frame = pd.DataFrame(rows, columns=["strategy", "draw", "k", "value"])
    return frame.assign(model="m", dataset="d", metric="accuracy")


def test_counts_by_hand() -> None:
    verdict = compare_strategies(table([0.9, 0.5, 0.2], [0.1, 0.6, 0.2], [[0.4] * 3, [0.5] * 3, [0.6] * 3]), model="m")
    assert (verdict.cells, verdict.high_over_random, verdict.high_over_low) == (3, 1, 1)
    assert (verdict.high_beyond_random, verdict.high_below_random) == (1, 1)
    assert verdict.gap == pytest.approx(100 * (0.8 - 0.1 + 0.0) / 3)
    assert verdict.over_random == pytest.approx(100 * (0.4 + 0.0 - 0.3) / 3)
    assert "about as well as random" in verdict.sentence and "not borne out" in verdict.sentence


def test_both_directions_are_said() -> None:
    draws = [[0.5] * 3] * 2
    better = compare_strategies(table([0.9] * 3, [0.1] * 3, draws), model="m").sentence
    assert "better than random" in better and "as the experiment claims" in better
    worse = compare_strategies(table([0.1] * 3, [0.9] * 3, draws), model="m").sentence
    assert "worse than random" in worse and "worse than low-purity" in worse and "not borne out" in worse


def test_without_draws_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(InputError, match="no random draws"):
        compare_strategies(table([0.9], [0.1], []), model="m")
