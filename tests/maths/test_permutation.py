"""Values among draws: counting by hand, and as scipy counts."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from purescope.errors import InputError
from purescope.maths.significance import percentile_of, permutation_p


def test_p_counts_the_value_among_the_draws() -> None:
    """3 draws below 3, one at it, one above: 2 + 1 of 6 as large, 4 + 1 of 6 as small."""
    draws, value = torch.tensor([1.0, 2.0, 2.0, 3.0, 7.0]), torch.tensor(3.0)
    assert permutation_p(value, draws, "greater").item() == pytest.approx(3 / 6)
    assert permutation_p(value, draws, "less").item() == pytest.approx(5 / 6)
    assert permutation_p(value, draws).item() == 1
    assert permutation_p(torch.tensor(9.0), draws).item() == pytest.approx(2 / 6)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_p_is_scipys(alternative: str) -> None:
    """scipy gives the draws that it made; of them p is its p."""
    generator = np.random.default_rng(0)
    for shift in (0.0, 0.6, -1.5):
        samples = generator.normal(size=12), generator.normal(size=9) + shift
        theirs = scipy.stats.permutation_test(
            samples,
            lambda a, b, axis: a.mean(axis) - b.mean(axis),
            alternative=alternative,
            vectorized=True,
            n_resamples=499,
            rng=generator,
        )
        draws = torch.from_numpy(theirs.null_distribution)
        p = permutation_p(torch.tensor(theirs.statistic), draws, alternative)  # type: ignore[arg-type]
        assert p.item() == pytest.approx(theirs.pvalue)


def test_percentile_is_scipys() -> None:
    draws = torch.randint(9, (200, 3, 2), generator=torch.Generator().manual_seed(0)).double()
    value = torch.tensor([[0.0, 4.0], [8.0, -1.0], [9.0, 3.5]], dtype=torch.float64)
    found = percentile_of(value, draws)
    assert found.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        theirs = scipy.stats.percentileofscore(draws[:, i, j], value[i, j], kind="mean")
        assert found[i, j].item() == pytest.approx(theirs)


def test_values_that_rounding_sets_apart_are_equal() -> None:
    draws = torch.tensor([0.1 + 0.2, 0.3 - 1e-17, 0.3], dtype=torch.float64)
    assert percentile_of(torch.tensor(0.3, dtype=torch.float64), draws).item() == 50
    tiny = torch.tensor([1e-15, 3e-15], dtype=torch.float64)
    assert percentile_of(torch.tensor(2e-15, dtype=torch.float64), tiny).item() == 50
    assert permutation_p(
        torch.tensor(2e-15, dtype=torch.float64), tiny, "less"
    ).item() == pytest.approx(2 / 3)


def test_infinity_is_a_value_like_others() -> None:
    draws = torch.tensor([1.0, 2.0, math.inf, math.inf])
    assert percentile_of(torch.tensor(math.inf), draws).item() == 75
    assert percentile_of(torch.tensor(2.5), draws).item() == 50


def test_nan_stays_in_its_cell() -> None:
    draws = torch.ones(4, 3)
    draws[2, 1] = math.nan
    value = torch.tensor([1.0, 1.0, math.nan])
    for result in (permutation_p(value, draws), percentile_of(value, draws)):
        assert result.isnan().tolist() == [False, True, True]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("value", "draws"), [((3,), (0, 3)), ((3,), (5, 2)), ((3,), (5,)), ((), ())]
)
def test_what_cannot_be_counted_is_refused(value: tuple[int, ...], draws: tuple[int, ...]) -> None:
    for function in (permutation_p, percentile_of):
        with pytest.raises(InputError, match="draws"):
            function(torch.zeros(value), torch.zeros(draws))


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_alternative_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'greater'"):
        permutation_p(torch.tensor(1.0), torch.ones(3), "grater")  # type: ignore[arg-type]
