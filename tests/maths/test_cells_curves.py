"""Curves over k as one number: worked by hand, and by small steps along the curve."""

import math

import numpy as np
import pytest
import torch

from purescope.errors import InputError
from purescope.maths.cells import area_between, mean_over_k, neurons_needed, rising

KS = [200, 250, 300, 400, 512]


def curves(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(
        *shape, len(KS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def test_a_curve_with_a_gap_is_unknown_and_no_other_is() -> None:
    curves = torch.tensor([[0.1, torch.nan, 0.3], [0.2, 0.4, 0.3]])
    assert rising(curves).isnan().tolist() == [[True] * 3, [False] * 3]
    torch.testing.assert_close(
        rising(curves)[1], torch.tensor([0.2, 0.35, 0.35]).double(), rtol=0, atol=1e-7
    )


def test_area_is_the_mean_of_the_difference_over_all_k() -> None:
    first, second = curves(2, 3), curves(2, 3, seed=1)
    fine = np.linspace(KS[0], KS[-1], 312 * 4 + 1)
    measured = area_between(first, second, KS)
    assert measured.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        difference = np.interp(fine, KS, first[i, j]) - np.interp(fine, KS, second[i, j])
        expected = np.mean((difference[1:] + difference[:-1]) / 2)
        assert measured[i, j].item() == pytest.approx(expected)


def test_area_keeps_unit_and_sign() -> None:
    curve = curves(4)
    torch.testing.assert_close(
        area_between(curve + 0.25, curve, KS), torch.full((4,), 0.25, dtype=torch.float64)
    )
    assert area_between(curve, curve.flip(0), KS).equal(-area_between(curve.flip(0), curve, KS))


def test_small_differences_of_curves_are_not_rounded_away() -> None:
    curve = torch.full((len(KS),), 0.5, dtype=torch.float64)
    assert area_between(curve + 1e-12, curve, KS).item() == pytest.approx(1e-12, rel=1e-3, abs=0)
    assert (mean_over_k(curve + 1e-12, KS) - 0.5).item() == pytest.approx(1e-12, rel=1e-3, abs=0)


def test_one_k_has_the_difference_there() -> None:
    assert area_between(
        torch.tensor([[0.5], [0.25]]), torch.tensor([[0.25], [0.75]]), [64]
    ).tolist() == [0.25, -0.5]


@pytest.mark.parametrize(
    ("curve", "target", "expected"),
    [
        ([0.1, 0.2, 0.4, 0.6, 0.7], 0.3, 275.0),  # half way from 250 to 300
        ([0.1, 0.2, 0.4, 0.6, 0.7], 0.4, 300.0),  # at a measured k, exactly
        ([0.1, 0.2, 0.4, 0.6, 0.7], 0.7, 512.0),
        ([0.1, 0.2, 0.4, 0.6, 0.7], 0.71, math.inf),
        ([0.1, 0.2, 0.4, 0.6, 0.7], 0.1, 200.0),
        ([0.1, 0.2, 0.4, 0.6, 0.7], -1.0, 200.0),
        ([0.9, 0.9, 0.1, 0.9, 0.9], 0.5, 350.0),  # early success does not count: it was lost again
        ([0.9, 0.9, 0.9, 0.9, 0.1], 0.5, math.inf),
        ([0.5, 0.5, 0.5, 0.5, 0.5], 0.5, 200.0),
        ([0.5, math.nan, 0.5, 0.5, 0.5], 0.5, math.nan),
        ([0.5, 0.5, 0.5, 0.5, 0.5], math.nan, math.nan),
    ],
)
def test_neurons_needed_by_hand(curve: list[float], target: float, expected: float) -> None:
    measured = neurons_needed(
        torch.tensor(curve, dtype=torch.float64), KS, torch.tensor(target, dtype=torch.float64)
    ).item()
    assert measured == pytest.approx(expected, nan_ok=True)


def test_neurons_needed_stepping_back_from_the_last_k() -> None:
    curve, target = (
        curves(50, 4),
        0.8 * torch.rand(50, 4, generator=torch.Generator().manual_seed(2)).double(),
    )
    measured = neurons_needed(curve, KS, target)
    assert measured.shape == (50, 4)
    assert measured.isinf().any()
    step = 0.25
    fine = np.arange(KS[0], KS[-1] + step, step)
    for place in np.ndindex(50, 4):
        below = np.flatnonzero(np.interp(fine, KS, curve[place]) < target[place].item())
        last = below[-1] if len(below) else -1
        if last == len(fine) - 1:
            assert measured[place] == math.inf
        else:
            assert measured[place].item() == pytest.approx(fine[last + 1], abs=step)


def test_one_k_needs_it_or_is_not_enough() -> None:
    assert neurons_needed(
        torch.tensor([[0.5], [0.4]]), [64], torch.tensor([0.45, 0.45])
    ).tolist() == [64, math.inf]


@pytest.mark.parametrize("ks", [[], [200, 200, 300], [300, 200, 250], [200, 300]])
def test_ks_rise_and_fit(ks: list[int]) -> None:
    curve = torch.zeros(2, 3)
    with pytest.raises(InputError, match="ks"):
        area_between(curve, curve, ks)
    with pytest.raises(InputError, match="ks"):
        neurons_needed(curve, ks, torch.zeros(2))


@pytest.mark.usefixtures("unchecked")
def test_curves_of_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="curves"):
        area_between(torch.zeros(2, 3), torch.zeros(3), [1, 2, 3])
    with pytest.raises(InputError, match="target"):
        neurons_needed(torch.zeros(2, 3), [1, 2, 3], torch.zeros(3))
