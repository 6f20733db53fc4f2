"""Wilson's interval: scipy's, and its own definition."""

import math

import pytest
import scipy.stats
import torch

from purescope.maths.intervals import wilson_interval


@pytest.mark.parametrize(
    ("right", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (3, 7), (4580, 10_000), (1, 25_250)]
)
def test_interval_is_scipys(right: int, n: int) -> None:
    low, high = wilson_interval(torch.tensor(right / n, dtype=torch.float64), n)
    expected = scipy.stats.binomtest(right, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert (low.item(), high.item()) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_ends_are_the_fractions_that_a_test_would_just_not_reject() -> None:
    low, high = wilson_interval(torch.tensor([0.2, 0.97], dtype=torch.float64), 40)
    for fraction, ends in zip((0.2, 0.97), torch.stack([low, high], 1).tolist(), strict=True):
        for end in ends:
            assert abs(fraction - end) == pytest.approx(
                1.959964 * math.sqrt(end * (1 - end) / 40), rel=1e-6
            )


def test_any_shape_and_nan_pass_through() -> None:
    low, high = wilson_interval(torch.tensor([[0.5, math.nan], [0.0, 1.0]]), 10)
    assert low.shape == high.shape == (2, 2)
    assert low.isnan().tolist() == high.isnan().tolist() == [[False, True], [False, False]]
    assert low[1, 0] == 0
    assert high[1, 1] == 1
