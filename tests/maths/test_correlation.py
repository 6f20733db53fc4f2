"""Rank correlations: scipy's, and the partial one as a regression of ranks."""

import math

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.significance import partial_spearman, spearman, spearman_interval


def draw(*shape: int, seed: int = 0, ties: bool = False) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.round() if ties else values


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("items", [2, 3, 40])
def test_spearman_is_scipys(ties: bool, items: int) -> None:
    x = draw(3, 2, items, ties=ties)
    x[..., 0] += 9  # rounded alike, two or three items would have no correlation
    y = x / 2 + draw(3, 2, items, seed=1, ties=ties)
    found = spearman(x, y)
    assert found.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        assert found[i, j].item() == pytest.approx(
            scipy.stats.spearmanr(x[i, j], y[i, j]).statistic, abs=1e-12
        )


def test_one_y_serves_every_cell() -> None:
    x, y = draw(4, 30), draw(30, seed=1)
    torch.testing.assert_close(spearman(x, y), torch.stack([spearman(row, y) for row in x]))


def test_only_ranks_matter() -> None:
    x, y, given = draw(30), draw(30, seed=1), draw(2, 30, seed=2)
    torch.testing.assert_close(
        partial_spearman(x.exp(), y**3, given.sigmoid()), partial_spearman(x, y, given)
    )
    torch.testing.assert_close(spearman(-x, y), -spearman(x, y))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("covariates", [1, 3])
def test_partial_is_pearsons_of_what_regressions_on_ranks_leave(
    ties: bool, covariates: int
) -> None:
    given = draw(covariates, 50, ties=ties)
    x = given.sum(0) + draw(50, seed=1, ties=ties)
    y = given.sum(0) - draw(50, seed=2, ties=ties)
    design = sm.add_constant(scipy.stats.rankdata(given, axis=1).T)
    left = [sm.OLS(scipy.stats.rankdata(values), design).fit().resid for values in (x, y)]
    expected = scipy.stats.pearsonr(*left).statistic
    found = partial_spearman(x, y, given)
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, abs=1e-12)
    assert abs(found - spearman(x, y)) > 0.05


def test_covariates_may_repeat_one_another_or_never_change() -> None:
    x, y, given = draw(30), draw(30, seed=1), draw(2, 30, seed=2)
    repeated = torch.cat([given, given.exp(), torch.ones(1, 30, dtype=torch.float64)])
    torch.testing.assert_close(partial_spearman(x, y, repeated), partial_spearman(x, y, given))


def test_nothing_left_is_no_correlation() -> None:
    x, y = draw(30), draw(30, seed=1)
    assert spearman(torch.ones(30), y.float()).isnan()
    assert partial_spearman(x, y, x.exp()[None]).isnan()
    assert partial_spearman(x, y, draw(40, 30, seed=2)).isnan()


def test_nan_stays_in_its_cell() -> None:
    x, y = draw(3, 20), draw(20, seed=1)
    x[1, 5] = math.nan
    assert spearman(x, y).isnan().tolist() == [False, True, False]
    assert partial_spearman(y, y, x).isnan()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "shapes",
    [
        ((1,), (1,), (1, 1)),
        ((4,), (5,), (1, 4)),
        ((4,), (4,), (4,)),
        ((4,), (4,), (1, 5)),
        ((), (), (0, 0)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(InputError, match="expected: x"):
        partial_spearman(*(torch.zeros(shape) for shape in shapes))


def test_interval_by_hand_and_at_the_ends() -> None:
    """r = 0: ``tanh(1.959964 / sqrt(97))``, and a level of 68.27 % is one standard error."""
    low, high = spearman_interval(torch.tensor([0.0, 1.0, -1.0, math.nan]), 100)
    assert (
        high[0].item()
        == -low[0].item()
        == pytest.approx(math.tanh(1.959964 / math.sqrt(97)), abs=1e-7)
    )
    assert (low[1], high[1], low[2], high[2]) == (1, 1, -1, -1)
    assert low[3].isnan()
    _, near = spearman_interval(torch.tensor(0.5), 105, covariates=2, level=0.682689492)
    assert near.item() == pytest.approx(
        math.tanh(math.atanh(0.5) + math.sqrt(1.125 / 100)), abs=1e-7
    )


@pytest.mark.parametrize(
    ("items", "covariates", "level"), [(3, 0, 0.95), (6, 3, 0.95), (50, 0, 1.0)]
)
def test_interval_needs_items_and_a_level(items: int, covariates: int, level: float) -> None:
    with pytest.raises(InputError, match=r"items|level"):
        spearman_interval(torch.tensor(0.5), items, covariates=covariates, level=level)
