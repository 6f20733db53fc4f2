"""Permutation tests, McNemar's test, adjusted p-values and rank correlations, compared with values
by hand, scipy, statsmodels and the definitions.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.tools import add_constant
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import significance
from purescope.maths.significance import (
    benjamini_hochberg,
    holm,
    mcnemar,
    partial_spearman,
    percentile_of,
    permutation_p,
    spearman,
    spearman_interval,
)

# --- values among draws


def test_p_counts_the_value_among_the_draws() -> None:
    """3 draws below 3, one at it, one above: 2 + 1 of 6 as large, 4 + 1 of 6 as small."""
    draws, value = torch.tensor([1.0, 2.0, 2.0, 3.0, 7.0]), torch.tensor(3.0)
    assert permutation_p(value, draws, "greater").item() == pytest.approx(3 / 6)
    assert permutation_p(value, draws, "less").item() == pytest.approx(5 / 6)
    assert permutation_p(value, draws).item() == 1
    assert permutation_p(torch.tensor(9.0), draws).item() == pytest.approx(2 / 6)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_p_is_scipys(alternative: str) -> None:
    """scipy returns the draws that it made; their p must equal scipy's p."""
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
    measured = percentile_of(value, draws)
    assert measured.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        theirs = scipy.stats.percentileofscore(draws[:, i, j], value[i, j], kind="mean")
        assert measured[i, j].item() == pytest.approx(theirs)


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


# --- McNemar


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


# --- many tests


METHODS = {"holm": holm, "fdr_bh": benjamini_hochberg}
each = pytest.mark.parametrize(("name", "adjust"), METHODS.items())


def random_p(tests: int, seed: int) -> Tensor:
    """Draw p-values: some small, some tied, with 0 and 1 among them."""
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


# --- rank correlations


def draw(*shape: int, seed: int = 0, ties: bool = False) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.round() if ties else values


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("items", [2, 3, 40])
def test_spearman_is_scipys(ties: bool, items: int) -> None:
    x = draw(3, 2, items, ties=ties)
    x[..., 0] += 9  # rounded alike, two or three items would have no correlation
    y = x / 2 + draw(3, 2, items, seed=1, ties=ties)
    measured = spearman(x, y)
    assert measured.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        assert measured[i, j].item() == pytest.approx(
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
    design = add_constant(scipy.stats.rankdata(given, axis=1).T)
    left = [OLS(scipy.stats.rankdata(values), design).fit().resid for values in (x, y)]
    expected = scipy.stats.pearsonr(*left).statistic
    measured = partial_spearman(x, y, given)
    assert measured.shape == ()
    assert measured.item() == pytest.approx(expected, abs=1e-12)
    assert abs(measured - spearman(x, y)) > 0.05


def test_covariates_may_repeat_one_another_or_never_change() -> None:
    x, y, given = draw(30), draw(30, seed=1), draw(2, 30, seed=2)
    repeated = torch.cat([given, given.exp(), torch.ones(1, 30, dtype=torch.float64)])
    torch.testing.assert_close(partial_spearman(x, y, repeated), partial_spearman(x, y, given))


def test_nothing_left_is_no_correlation() -> None:
    x, y = draw(30), draw(30, seed=1)
    assert spearman(torch.ones(30), y.float()).isnan()
    assert partial_spearman(x, y, x.exp()[None]).isnan()
    assert partial_spearman(x, y, draw(40, 30, seed=2)).isnan()


def test_nan_stays_in_its_cell_of_a_correlation() -> None:
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
    """At r = 0: ``tanh(1.959964 / sqrt(97))``, and a level of 68.27 % is one standard error."""
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


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_what_rows_have_in_common_is_one_direction_at_any_scale(scale: float) -> None:
    rows = scale * torch.randn(2, 50, generator=torch.Generator().manual_seed(0)).double()
    twice = torch.stack([rows[0], rows[1], rows[0] - 3 * rows[1], 0 * rows[0]])
    directions = significance._orthonormal(twice)
    assert directions.shape == (2, 50)
    torch.testing.assert_close(directions @ directions.T, torch.eye(2).double())
    torch.testing.assert_close(rows @ directions.T @ directions, rows, rtol=0, atol=1e-9 * scale)
