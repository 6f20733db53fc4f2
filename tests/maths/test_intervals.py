"""Stratified resamples for cells of any shape, type and number, and Wilson's interval, compared
with the definitions, numpy and scipy.
"""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import intervals
from purescope.maths.intervals import (
    bootstrap_each,
    bootstrap_means,
    bootstrap_p,
    percentile_interval,
    wilson_interval,
)

# --- bootstrap


def random_values(cells: int, samples: int) -> Tensor:
    return torch.randn(
        cells, samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


def test_every_resample_comes_as_often_as_its_draws() -> None:
    """Classes of 3 and 2: two draws from the three with weight 3/2, one draw from the two with
    weight 2.
    """
    values, groups = [1.0, 10.0, 100.0, 1000.0, 7000.0], [4, 9, 4, 9, 4]
    first, second = [1.0, 100.0, 7000.0], [10.0, 1000.0]
    expected = Counter(
        round((3 / 2 * (a + b) + 2 * c) / 5, 6)
        for a, b, c in itertools.product(first, first, second)
    )
    means = bootstrap_means(torch.tensor(values), torch.tensor(groups), resamples=20_000)
    measured = Counter(round(mean, 6) for mean in means.tolist())
    assert measured.keys() == expected.keys()
    counts = [(measured[mean], 20_000 * n / 18) for mean, n in expected.items()]
    assert scipy.stats.chisquare(*zip(*counts, strict=True)).pvalue > 0.001


@pytest.mark.parametrize(
    "sizes", [[3] * 20, [2, 2, 2, 5, 9, 30], [1, 7, 7], [1, 1, 1, 4], [1] * 12]
)
def test_variance_and_covariance_are_the_unbiased_ones(sizes: list[int]) -> None:
    """``sum over strata of (n / N)^2 S / n``, where S is the unbiased covariance and classes of one
    form one stratum.
    """
    values = random_values(2, sum(sizes))
    ends = list(itertools.accumulate(sizes))
    strata = [list(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    alone = [stratum for stratum in strata if len(stratum) == 1]
    together = alone + [stratum for stratum in strata if len(stratum) > 1][: len(alone) == 1]
    strata = [stratum for stratum in strata if stratum not in together]
    strata += [[i for stratum in together for i in stratum]] * bool(together)
    expected = sum(len(s) / sum(sizes) ** 2 * np.cov(values[:, s].numpy()) for s in strata)
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    means = bootstrap_means(values, groups, resamples=40_000)
    assert means.mean(0).tolist() == pytest.approx(
        values.mean(1).tolist(), abs=5 * math.sqrt(expected.max() / 40_000)
    )
    assert np.cov(means.T.numpy()) == pytest.approx(expected, abs=0.04 * expected.max())


def test_one_class_is_scipys_bootstrap_of_a_sample() -> None:
    values = random_values(1, 200)[0].exp()
    low, high = percentile_interval(bootstrap_means(values, torch.zeros(200, dtype=torch.int64)))
    theirs = scipy.stats.bootstrap(
        (values.numpy(),), np.mean, method="percentile", rng=0
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (low.item(), high.item()) == pytest.approx((theirs.low, theirs.high), abs=0.04 * width)


def test_each_class_keeps_its_share() -> None:
    groups = torch.tensor([0] * 5 + [1] * 30 + [2] * 2 + [3, 4, 5])
    members = torch.stack([groups == 0, groups == 1, groups == 2, groups > 2])
    means = bootstrap_means(members, groups, resamples=50)
    assert means.eq(members.double().mean(1)).all()


@pytest.mark.parametrize(
    "groups", [[0] * 4 + [1] * 4 + [2] * 8, [0, 1] + [2] * 6 + [3] * 8, [0] + [1] * 2 + [2] * 13]
)
def test_parts_are_resampled_together_and_weighted(groups: list[int]) -> None:
    """Weights may also differ within a stratum: a class of one is resampled with another class."""
    right, other, labels = random_values(3, 16) > 0, random_values(2, 16), torch.tensor(groups)
    weight = (1 / labels.bincount().double())[labels]
    resampled = bootstrap_each(
        [(right, None), (right, weight), (other, None)], labels, resamples=50, seed=3
    )
    alone = [right.double(), right * weight, other]
    for means, values in zip(resampled, alone, strict=True):
        torch.testing.assert_close(
            means, bootstrap_means(values, labels, resamples=50, seed=3), rtol=0, atol=1e-12
        )


def test_classes_may_have_any_numbers_and_order() -> None:
    values, groups = random_values(1, 40)[0], torch.arange(40) % 4
    renamed = torch.tensor([-7, 3, 50, 999])[groups]
    assert bootstrap_means(values, renamed, resamples=20).equal(
        bootstrap_means(values, groups, resamples=20)
    )


def test_a_cell_is_resampled_as_if_alone_whatever_its_shape() -> None:
    values, groups = random_values(6, 30), torch.arange(30) % 7
    together = bootstrap_means(values.view(2, 3, 30), groups, resamples=40, seed=3)
    assert together.shape == (40, 2, 3)
    for cell, alone in zip(together.flatten(1).T, values, strict=True):
        torch.testing.assert_close(cell, bootstrap_means(alone, groups, resamples=40, seed=3))
    assert bootstrap_means(values[:0], groups, resamples=40).shape == (40, 0)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_right_and_wrong_may_be_of_any_type(dtype: torch.dtype) -> None:
    right, groups = random_values(3, 50) > 0, torch.arange(50) % 4
    expected = bootstrap_means(right.double(), groups, resamples=60)
    assert expected.dtype == torch.float64
    assert bootstrap_means(right.to(dtype), groups, resamples=60).equal(expected)


@pytest.mark.parametrize("number", [2**24 + 1, -(2**24) - 1])
def test_whole_numbers_too_large_for_float32_are_exact(number: int) -> None:
    values = torch.tensor([number, number, number])
    assert bootstrap_means(values, torch.zeros(3, dtype=torch.int64), resamples=5).eq(number).all()


def test_equal_cells_differ_by_nothing_in_any_resample() -> None:
    right = (random_values(1, 997) > 0).expand(37, -1)
    means = bootstrap_means(right, torch.arange(997) % 13, resamples=200)
    assert means.eq(means[:, :1]).all()


def test_seed_decides_and_threads_do_not() -> None:
    right, groups = random_values(5, 400) > 0, torch.arange(400) % 3
    first = bootstrap_means(right, groups, resamples=300, seed=1)
    torch.set_num_threads(2)
    again = bootstrap_means(right, groups, resamples=300, seed=1)
    torch.set_num_threads(1)
    assert first.equal(again)
    assert not first.equal(bootstrap_means(right, groups, resamples=300, seed=2))


@pytest.mark.parametrize("members", [30, 20, 10])
def test_blocks_are_independent_of_one_another(
    members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strata of ten samples, of which three, two or one are copied at a time."""
    monkeypatch.setattr(intervals, "_BLOCK", 100)
    monkeypatch.setattr(intervals, "_TURN", 70)
    monkeypatch.setattr(intervals, "_SAMPLES", 7)
    monkeypatch.setattr(intervals, "_MEMBERS", members)
    groups = torch.arange(30) % 3
    shares = bootstrap_means(torch.nn.functional.one_hot(groups).T.bool(), groups, resamples=20)
    torch.testing.assert_close(shares, torch.full_like(shares, 1 / 3), rtol=0, atol=1e-15)
    means = bootstrap_means(random_values(1, 30)[0], groups, resamples=5000)
    assert len(means.unique()) > 4990
    assert means.std().item() == pytest.approx(
        math.sqrt(sum(10 / 900 * random_values(1, 30)[0, c::3].var().item() for c in range(3))),
        rel=0.05,
    )


def test_nan_stays_in_its_cell() -> None:
    values = random_values(3, 20)
    values[1, 4] = torch.nan
    low, high = percentile_interval(bootstrap_means(values, torch.arange(20) % 2, resamples=50))
    assert low.isnan().tolist() == high.isnan().tolist() == [False, True, False]
    once = torch.zeros(50, 2)
    once[7, 1] = torch.nan
    assert [end.isnan().tolist() for end in percentile_interval(once)] == [[False, True]] * 2


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("values", "groups", "resamples"),
    [((3, 4), 5, 9), ((), 1, 9), ((1,), 1, 9), ((2, 0), 0, 9), ((4,), 4, 0)],
)
def test_what_cannot_be_resampled_is_refused(
    values: tuple[int, ...], groups: int, resamples: int
) -> None:
    with pytest.raises(InputError, match=r"samples|values|resamples"):
        bootstrap_means(
            torch.zeros(values), torch.zeros(groups, dtype=torch.int64), resamples=resamples
        )


def test_cells_that_are_sorted_by_turns_have_the_same_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resampled = random_values(50, 12).view(50, 3, 4)
    resampled[7, 1, 2] = torch.nan
    at_once = percentile_interval(resampled)
    monkeypatch.setattr(intervals, "_SORTED", 250)  # five cells at a time, and two at the end
    by_turns = percentile_interval(resampled)
    for end, other in zip(at_once, by_turns, strict=True):
        assert end.shape == (3, 4) and int(end.isnan().sum()) == 1
        torch.testing.assert_close(end, other, rtol=0, atol=0, equal_nan=True)
    assert [end.shape for end in percentile_interval(torch.zeros(5, 0, 2))] == [(0, 2), (0, 2)]


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("resamples", [1, 2, 40, 1001])
def test_interval_is_numpys_quantiles(level: float, resamples: int) -> None:
    resampled = random_values(resamples, 6).view(resamples, 2, 3)
    ends = percentile_interval(resampled, level)
    expected = np.quantile(resampled.numpy(), [(1 - level) / 2, (1 + level) / 2], axis=0)
    for end, quantile in zip(ends, expected, strict=True):
        np.testing.assert_allclose(end.numpy(), quantile, atol=1e-12)


def test_interval_may_end_at_infinity_but_is_never_made_of_it() -> None:
    resampled = torch.arange(101.0)
    resampled[96:] = torch.inf
    assert [end.item() for end in percentile_interval(resampled, 0.9)] == [pytest.approx(5), 95]
    assert percentile_interval(resampled, 0.92)[1].item() == math.inf
    mostly = torch.tensor([3.0, 4.0] + [math.inf] * 39)
    assert (
        percentile_interval(mostly, 0.95)[0].item() == 4
    )  # the second of 41 exactly: no share of the third


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_level_is_a_share(level: float) -> None:
    with pytest.raises(InputError, match="level"):
        percentile_interval(torch.zeros(3), level)


def test_no_resamples_have_no_interval() -> None:
    with pytest.raises(InputError, match="no resamples"):
        percentile_interval(torch.zeros(0, 2))
    with pytest.raises(InputError, match="draws"):
        bootstrap_p(torch.zeros(0, 2))


def test_bootstrap_p_is_the_level_at_which_the_interval_reaches_zero() -> None:
    resampled = random_values(999, 4) + torch.tensor([0.0, 1.5, -2.0, 9.0])
    for p, cell in zip(bootstrap_p(resampled).tolist(), resampled.T, strict=True):
        wide, narrow = (
            percentile_interval(cell, 1 - share)
            for share in (max(p - 0.003, 1e-4), min(p + 0.003, 0.999))
        )
        assert wide[0] <= 0 <= wide[1] or p == pytest.approx(0.002)
        assert not narrow[0] <= 0 <= narrow[1] or p > 0.99


def test_bootstrap_p_of_no_difference_is_one() -> None:
    assert bootstrap_p(torch.zeros(99, 2)).tolist() == [1, 1]


# --- Wilson's interval


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


def test_mean_recall_of_many_cells_is_that_of_each() -> None:
    sizes = torch.tensor([3, 0, 7, 1])
    hits = torch.tensor([[[3.0, 0.0, 2.0, 0.0], [0.0, 0.0, 7.0, 1.0], [1.0, 0.0, 4.0, 0.0]]] * 2)
    low, high = intervals.mean_recall_interval(hits, sizes)
    assert low.shape == high.shape == (2, 3)
    for row in range(3):
        alone = intervals.mean_recall_interval(hits[0, row], sizes)
        assert (low[1, row].item(), high[1, row].item()) == (alone[0].item(), alone[1].item())
