"""Exact McNemar: statsmodels', scipy's binomial test, and shapes."""

import numpy as np
import pytest
import scipy.stats
import torch
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.significance import mcnemar


def answers(both: int, first: int, second: int, neither: int) -> tuple[Tensor, Tensor]:
    counts = torch.tensor([both, first, second, neither])
    return (
        torch.tensor(column).repeat_interleave(counts)
        for column in ([True, True, False, False], [True, False] * 2)
    )


@pytest.mark.parametrize(
    "table",
    [
        (3, 0, 0, 1),
        (0, 1, 0, 0),
        (5, 6, 6, 1),
        (5, 6, 7, 1),
        (5, 3, 11, 2),
        (9, 40, 70, 9),
        (0, 1500, 1601, 0),
        (0, 0, 1300, 1),
    ],
)
def test_p_is_that_of_statsmodels_and_of_the_binomial_test(
    table: tuple[int, int, int, int],
) -> None:
    both, first, second, neither = table
    p = mcnemar(*answers(*table)).item()
    assert p == pytest.approx(
        statsmodels_mcnemar([[both, first], [second, neither]], exact=True).pvalue, rel=1e-9
    )
    if first + second:
        assert p == pytest.approx(scipy.stats.binomtest(first, first + second).pvalue, rel=1e-9)
    else:
        assert p == 1


def test_sides_may_be_exchanged_and_cells_have_any_shape() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.rand(2, 3, 4, 50, generator=generator) < torch.tensor([0.7, 0.4])[:, None, None, None]
    )
    p = mcnemar(first, second)
    assert p.shape == (3, 4)
    assert p.dtype == torch.float64
    assert p.equal(mcnemar(second, first))
    for i, j in np.ndindex(3, 4):
        assert p[i, j] == mcnemar(first[i, j], second[i, j])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shapes", [((3,), (4,)), ((2, 3), (3,)), ((2, 0), (2, 0)), ((), ())])
def test_answers_to_other_questions_are_refused(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    with pytest.raises(InputError, match="answers"):
        mcnemar(*(torch.zeros(shape, dtype=torch.bool) for shape in shapes))
