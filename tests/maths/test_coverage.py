"""The guarantees of intervals and tests, in 2,000 simulated experiments with a known truth."""

import math

import pytest
import scipy.stats
import torch
from torch import Tensor

from purescope.maths.intervals import (
    bootstrap_means,
    bootstrap_p,
    percentile_interval,
    wilson_interval,
)
from purescope.maths.significance import (
    benjamini_hochberg,
    holm,
    mcnemar,
    permutation_p,
    spearman,
    spearman_interval,
)

pytestmark = pytest.mark.slow

EXPERIMENTS = 2000
SIZES = {
    "10 classes of 200": [200] * 10,
    "100 classes of 5": [5] * 100,
    "200 classes of 2": [2] * 200,
    "400 classes of one": [1] * 400,
    "unbalanced": [1, 1, 1, 2, 2, 3, 5, 8, 13, 20, 40, 80, 160, 320],
    "unbalanced, a single class of one": [1, 3, 5, 20, 50, 100, 200],
}


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def answers(first: Tensor, second: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw answers that are right with these probabilities ``[experiment, sample]``.

    Most samples are as hard for the second as for the first.
    """
    hard, other, same = torch.rand(3, *first.shape, generator=generator)
    return hard < first, torch.where(same < 0.7, hard, other) < second


def covered(ends: tuple[Tensor, Tensor], truth: Tensor | float) -> float:
    low, high = ends
    return ((low <= truth) & (truth <= high)).double().mean().item()


@pytest.mark.parametrize("name", SIZES)
def test_bootstrap_covers_a_mean_and_a_paired_difference(
    name: str, generator: torch.Generator
) -> None:
    """Accuracies of classes differ widely. Classes of one sample are drawn again each time, because
    they represent many others.
    """
    sizes = torch.tensor(SIZES[name])
    classes = len(sizes)
    spread = torch.linspace(-0.4, 0.4, classes).expand(EXPERIMENTS, classes)
    if classes == sizes.sum():
        spread = 0.8 * torch.rand(EXPERIMENTS, classes, generator=generator) - 0.4
    labels = torch.arange(classes).repeat_interleave(sizes)
    chances = 0.55 + spread[:, labels], 0.5 + 0.8 * spread[:, labels]
    truths = (
        (0.55, 0.05)
        if classes == sizes.sum()
        else (chances[0][0].mean(), (chances[0] - chances[1])[0].mean())
    )
    # Experiments are cells: each has its own data, and all may use the same draws.
    first, second = (
        bootstrap_means(right, labels, resamples=1000) for right in answers(*chances, generator)
    )
    for resampled, truth in zip((first, first - second), truths, strict=True):
        assert 0.93 <= covered(percentile_interval(resampled), truth) <= 0.97


def test_classes_of_one_that_are_all_there_is_are_covered_more_often(
    generator: torch.Generator,
) -> None:
    chances = torch.linspace(0.15, 0.95, 400).expand(EXPERIMENTS, 400)
    right, _ = answers(chances, chances, generator)
    ends = percentile_interval(bootstrap_means(right, torch.arange(400), resamples=1000))
    assert covered(ends, 0.55) >= 0.95


def test_bootstrap_p_is_below_a_level_as_often_as_it_says(generator: torch.Generator) -> None:
    first, second = torch.randn(2, EXPERIMENTS, 300, generator=generator)
    p = bootstrap_p(bootstrap_means(first - second, torch.arange(300) % 10, resamples=1000))
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).double().mean().item() == pytest.approx(
            level, abs=4 * math.sqrt(level / EXPERIMENTS)
        )


@pytest.mark.parametrize("chance", [0.02, 0.3, 0.9])
def test_wilson_covers(chance: float, generator: torch.Generator) -> None:
    right = torch.rand(EXPERIMENTS, 500, generator=generator) < chance
    assert 0.93 <= covered(wilson_interval(right.double().mean(1), 500), chance) <= 0.97


@pytest.mark.parametrize("rho", [0.0, 0.4, -0.8])
def test_rank_correlation_of_normal_variables_is_covered(
    rho: float, generator: torch.Generator
) -> None:
    x, noise = torch.randn(2, EXPERIMENTS, 128, generator=generator)
    y = rho * x + math.sqrt(1 - rho**2) * noise
    truth = 6 / math.pi * math.asin(rho / 2)  # Pearson (1907)
    assert 0.93 <= covered(spearman_interval(spearman(x, y), 128), truth) <= 0.97


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_permutation_p_is_uniform_if_the_value_is_a_draw(
    alternative: str, generator: torch.Generator
) -> None:
    draws = torch.randn(1000, EXPERIMENTS, generator=generator)
    p = permutation_p(draws[0], draws[1:], alternative)  # type: ignore[arg-type]
    assert scipy.stats.kstest(p.numpy(), "uniform").pvalue > 0.01
    assert rejected(p, 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / EXPERIMENTS)


def test_permutation_p_errs_on_the_safe_side_with_ties_and_few_draws(
    generator: torch.Generator,
) -> None:
    draws = torch.randint(4, (30, 20_000), generator=generator).double()
    for level in (0.05, 0.1, 0.3):
        assert rejected(permutation_p(draws[0], draws[1:]), level) <= level + 3 * math.sqrt(
            level / 20_000
        )


@pytest.mark.parametrize("samples", [10, 60, 500])
def test_mcnemar_rejects_equals_at_most_as_often_as_it_says(
    samples: int, generator: torch.Generator
) -> None:
    chances = torch.full((EXPERIMENTS, samples), 0.6)
    p = mcnemar(*answers(chances, chances, generator))
    assert rejected(p, 0.05) <= 0.05
    assert p.min() < 1


def test_holm_rejects_any_null_wrongly_in_at_most_five_of_a_hundred_families(
    generator: torch.Generator,
) -> None:
    """There are 28 tests, half of them true nulls, that share part of their noise."""
    p, null = families(generator)
    wrong = torch.stack([(holm(family) <= 0.05) & null for family in p]).any(1)
    unadjusted = ((p <= 0.05) & null).any(1)
    assert wrong.double().mean() <= 0.05
    assert unadjusted.double().mean() > 0.2


def test_benjamini_hochberg_keeps_the_share_of_wrong_rejections(generator: torch.Generator) -> None:
    p, null = families(generator)
    rejections = torch.stack([benjamini_hochberg(family) <= 0.1 for family in p])
    share = (rejections & null).sum(1) / rejections.sum(1).clamp(min=1)
    assert share.double().mean() <= 0.1
    assert rejections.sum() > 1.2 * sum(int((holm(family) <= 0.1).sum()) for family in p)


def families(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    null = torch.arange(28) % 2 == 0
    shared, own = (
        torch.randn(EXPERIMENTS, 1, generator=generator),
        torch.randn(EXPERIMENTS, 28, generator=generator),
    )
    z = (0.5 * shared + own) / math.sqrt(1.25) + torch.where(null, 0.0, 2.5)
    return 1 - torch.special.ndtr(z.double()), null


def rejected(p: Tensor, level: float) -> float:
    return (p <= level).double().mean().item()
