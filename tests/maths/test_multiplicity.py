"""Holm and Benjamini-Hochberg: statsmodels', and their definitions as a sequence of rejections."""

import math
from collections.abc import Callable

import pytest
import torch
from statsmodels.stats.multitest import multipletests
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.significance import benjamini_hochberg, holm

METHODS = {"holm": holm, "fdr_bh": benjamini_hochberg}
each = pytest.mark.parametrize(("name", "adjust"), METHODS.items())


def random_p(tests: int, seed: int) -> Tensor:
    """Some small, some tied, 0 and 1 among them."""
    p = torch.rand(tests, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3
    p[: tests // 3] = p[: tests // 3].round(decimals=1)
    return p[torch.randperm(tests, generator=torch.Generator().manual_seed(seed))]


@pytest.mark.slow
@each
@pytest.mark.parametrize("tests", [1, 2, 7, 56])
def test_adjusted_p_is_that_of_statsmodels(
    name: str, adjust: Callable[[Tensor], Tensor], tests: int
) -> None:
    for seed in range(5):
        p = random_p(tests, seed)
        assert adjust(p).tolist() == pytest.approx(
            multipletests(p.numpy(), method=name)[1].tolist(), abs=1e-15
        )


def test_holm_rejects_one_after_another_until_the_first_that_stands() -> None:
    p, level = random_p(40, 3), 0.3
    rejected = [False] * 40
    for left, i in zip(range(40, 0, -1), p.argsort(stable=True).tolist(), strict=True):
        if p[i] > level / left:
            break
        rejected[i] = True
    assert (holm(p) <= level).tolist() == rejected
    assert 0 < sum(rejected) < 40


def test_benjamini_hochberg_rejects_up_to_the_last_below_the_line() -> None:
    p, level = random_p(40, 3), 0.3
    ordered = p.sort().values
    last = max(i for i in range(40) if ordered[i] <= level * (i + 1) / 40)
    assert (benjamini_hochberg(p) <= level).tolist() == (p <= ordered[last]).tolist()
    assert 0 < last < 39


@each
def test_nan_is_no_test_and_any_shape_is_one_family(
    name: str, adjust: Callable[[Tensor], Tensor]
) -> None:
    p = random_p(12, 0)
    with_nan = torch.full((3, 6), math.nan, dtype=torch.float64)
    places = torch.tensor([0, 1, 2, 4, 5, 7, 9, 11, 13, 15, 16, 17])
    with_nan.view(-1)[places] = p
    adjusted = adjust(with_nan)
    assert adjusted.shape == (3, 6)
    assert adjusted.view(-1)[places].equal(adjust(p))
    assert adjusted.isnan().sum() == 6
    assert adjust(torch.tensor([math.nan])).isnan().all()
    assert adjust(torch.ones(0)).shape == (0,)
    assert adjust(torch.tensor(0.25)).item() == 0.25


@each
@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.inf])
def test_what_is_no_probability_is_refused(
    name: str, adjust: Callable[[Tensor], Tensor], wrong: float
) -> None:
    with pytest.raises(InputError, match="p = "):
        adjust(torch.tensor([0.5, wrong]))
