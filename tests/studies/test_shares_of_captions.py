"""The interval of a share where images weigh differently: of counts where few change."""

import pytest
import torch

from purescope.maths.shares import mean_share_interval, share_interval
from purescope.studies.shares import _interval
from purescope.studies.summed import independent_images
from purescope.studies.swept import FEW_IMAGES

COUNTS = torch.tensor([1.0, 2.0, 5.0, 2.0] * 10, dtype=torch.float64)
FULL = (COUNTS * torch.tensor([1.0, 0.5, 0.8, 0.0] * 10, dtype=torch.float64)).contiguous()


def changed(images: int) -> torch.Tensor:
    """A tenth of a caption less for each of the first images that has any, at one k."""
    sums = FULL.clone()
    some = FULL.nonzero()[:images, 0]
    sums[some] -= 0.1
    return sums[None]


@pytest.mark.parametrize("images", [0, 3, FEW_IMAGES - 1])
def test_few_changes_are_counted_as_of_independent_images(images: int) -> None:
    sums = changed(images)
    low, high = _interval(sums, FULL, COUNTS, exact=False)
    scale = independent_images(COUNTS[None])[0] / float(COUNTS.sum())
    kept, whole = sums.sum(1) * scale, FULL.sum()[None] * scale
    expected = share_interval(kept, torch.minimum(kept, whole), whole)
    assert low.item() == pytest.approx(expected[0].item(), rel=1e-9)
    assert high.item() == pytest.approx(expected[1].item(), rel=1e-9)


def test_gains_and_losses_are_told_apart() -> None:
    """The same sum by other images: what both have is less, and the interval wider."""
    sums = FULL.clone()
    sums[0], sums[4], sums[3] = 0.0, 0.0, 2.0
    low, high = _interval(sums[None], FULL, COUNTS, exact=False)
    scale = independent_images(COUNTS[None])[0] / float(COUNTS.sum())
    kept, both = sums.sum()[None] * scale, (sums.sum()[None] - 2) * scale
    expected = share_interval(kept, both, FULL.sum()[None] * scale)
    assert (low.item(), high.item()) == pytest.approx([end.item() for end in expected], rel=1e-9)


def test_many_changes_have_the_interval_of_means() -> None:
    sums = changed(FEW_IMAGES)
    low, high = _interval(sums, FULL, COUNTS, exact=False)
    _, normal_low, normal_high = mean_share_interval(sums, FULL)
    assert (low.item(), high.item()) == (normal_low.item(), normal_high.item())


def test_right_and_wrong_images_are_counted_as_they_are() -> None:
    ones = torch.ones(40, dtype=torch.float64)
    full, sums = ones.clone(), ones.clone()
    full[:5], sums[3:30] = 0, 0
    low, high = _interval(sums[None], full, ones, exact=True)
    expected = share_interval(*(torch.tensor([count]) for count in (13, 10, 35)))
    assert (low.item(), high.item()) == pytest.approx([end.item() for end in expected], rel=1e-12)
