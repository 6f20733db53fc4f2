"""Shares are ratios of paired values; their intervals hold what they say."""

import math

import pytest
import torch

from purescope.errors import InputError
from purescope.maths.shares import mean_share_interval, share_interval


def by_hand(kept: int, both: int, full: int) -> tuple[float, float]:
    """The formulas of Bonett and Price (2006), with their names."""
    n11, n12, n21, z = both, kept - both, full - both, 1.959963984540054
    n = n11 + n12 + n21
    p1, p2 = (n11 + n12 + 1) / (n + 2), (n11 + n21 + 1) / (n + 2)
    a = math.sqrt((n12 + n21 + 2) / ((n11 + n12 + 1) * (n11 + n21 + 1)))
    b = math.sqrt((1 - p1) / (n11 + n12 + 1))
    c = math.sqrt((1 - p2) / (n11 + n21 + 1))
    k = a / (b + c) * z

    def wilson(x: int) -> tuple[float, float]:
        root = k * math.sqrt(k**2 + 4 * x * (1 - x / n))
        return (2 * x + k**2 - root) / (2 * (n + k**2)), (2 * x + k**2 + root) / (2 * (n + k**2))

    (low1, high1), (low2, high2) = wilson(n11 + n12), wilson(n11 + n21)
    return low1 / high2, high1 / low2


@pytest.mark.parametrize("counts", [(99, 98, 100), (30, 30, 30), (3, 0, 5), (60, 41, 47)])
def test_an_interval_is_that_of_the_formulas(counts: tuple[int, int, int]) -> None:
    low, high = share_interval(*map(torch.tensor, counts))
    assert (low.item(), high.item()) == pytest.approx(by_hand(*counts), rel=1e-12)
    assert low < counts[0] / counts[2] < high


@pytest.mark.parametrize(
    ("images", "right", "lost", "gained"),
    [(100, 0.6, 0.05, 0.02), (500, 0.5, 0.02, 0.01), (30, 0.9, 0.05, 0.02), (50, 0.99, 0.0, 0.0)],
)
def test_intervals_hold_the_true_share_in_at_least_93_percent(
    images: int, right: float, lost: float, gained: float
) -> None:
    draws, generator = 4000, torch.Generator().manual_seed(0)
    full = torch.rand(draws, images, generator=generator) < right
    change = torch.rand(draws, images, generator=generator)
    kept = torch.where(full, change >= lost, change < gained)
    low, high = share_interval(kept.sum(1), (kept & full).sum(1), full.sum(1))
    true = 1 - lost + gained * (1 - right) / right
    assert ((low <= true) & (true <= high)).double().mean() > 0.93
    if not lost:  # 50 of 50 images are no proof that nothing is lost
        assert low.max() < 0.97


def test_without_a_right_image_there_is_no_share() -> None:
    low, high = share_interval(torch.tensor([0, 5]), torch.tensor([0, 0]), torch.tensor([0, 0]))
    assert low.isnan().all() and high.isnan().all()
    share, low, high = mean_share_interval(torch.ones(1, 4), torch.zeros(4, dtype=torch.bool))
    assert share.isnan().all() and low.isnan().all() and high.isnan().all()


@pytest.mark.parametrize("counts", [(3, 4, 5), (5, 4, 3), (2, -1, 2)])
def test_counts_that_contradict_each_other_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="more samples that are right with both"):
        share_interval(*map(torch.tensor, counts))


def test_the_share_of_means_is_a_ratio_and_holds_what_it_says() -> None:
    """Each image is right in a fraction of the random orders that is drawn for it."""
    draws, images, generator = 2000, 150, torch.Generator().manual_seed(1)
    full = torch.rand(draws, images, generator=generator) < 0.7
    kept = torch.rand(draws, images, generator=generator) * (0.4 + 0.6 * full)
    held = 0
    for row, whole in zip(kept, full, strict=True):
        share, low, high = mean_share_interval(row[None], whole)
        held += bool(low <= (0.7 * 0.5 + 0.3 * 0.2) / 0.7 <= high)
    assert share.item() == pytest.approx(float(row.sum() / whole.sum()))
    assert 0.93 < held / draws < 0.97


def test_the_share_of_means_has_the_digits_of_float64() -> None:
    generator = torch.Generator().manual_seed(2)
    full, kept = torch.rand(2, 90, generator=generator, dtype=torch.float64)
    share, low, high = (end.item() for end in mean_share_interval(kept, full))
    expected = math.fsum(kept.tolist()) / math.fsum(full.tolist())
    errors = [(a - expected * b) ** 2 for a, b in zip(kept.tolist(), full.tolist(), strict=True)]
    half = 1.959963984540054 * math.sqrt(math.fsum(errors) * 90 / 89) / math.fsum(full.tolist())
    assert share == pytest.approx(expected, rel=1e-13)
    assert (low, high) == pytest.approx((expected - half, expected + half), rel=1e-13)


def test_one_sample_has_a_share_and_no_spread() -> None:
    share, low, high = mean_share_interval(torch.tensor([[0.25]]), torch.tensor([True]))
    assert share.item() == low.item() == high.item() == 0.25
