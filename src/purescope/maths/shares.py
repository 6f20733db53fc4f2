"""The share of a metric that some of the neurons keep of what all keep, with an interval.

Both are measured on the same samples, so the share is a ratio of paired values.
"""

import torch
from jaxtyping import Bool, Float, Float64, Real
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.intervals import NORMAL_975


def share_interval(
    kept: Real[Tensor, "*cell"], both: Real[Tensor, "*cell"], full: Real[Tensor, "*cell"]
) -> tuple[Float64[Tensor, "*cell"], Float64[Tensor, "*cell"]]:
    """Return a 95 % confidence interval of ``kept / full``, the ratio of two paired fractions.

    It is the score interval of Bonett and Price, "Confidence intervals for a ratio of binomial
    proportions based on paired data" (Statistics in Medicine 2006). It also holds where all samples
    agree: 30 of 30 right before and after say little, and a bootstrap would say that nothing is
    lost for certain.

    Args:
        kept: number of samples that are right with the kept neurons.
        both: number of samples that are right with these and with all neurons.
        full: number of samples that are right with all neurons. All three are whole numbers, or
            are scaled to the number of independent samples.

    Returns:
        The lower and the upper end; NaN where no sample is right with all neurons.

    Raises:
        InputError: more samples are right with both than with one of the two.

    Examples:
        Of 100 images that all neurons get right, 98 stay right, and 1 becomes right:

        >>> low, high = share_interval(torch.tensor(99), torch.tensor(98), torch.tensor(100))
        >>> round(low.item(), 3), round(high.item(), 3)
        (0.952, 1.03)
    """
    if bool((both > torch.minimum(kept, full)).any()) or bool((both < 0).any()):
        raise InputError(
            "more samples that are right with both than with one of the two",
            expected="counts of the same samples",
        )
    kept, both, full = (count.double() for count in (kept, both, full))
    changed = kept + full - 2 * both
    shown = kept + full - both  # samples that are right at least once
    ours, theirs = kept + 1, full + 1
    width = ((changed + 2) / (ours * theirs)).sqrt()
    sides = [((1 - side / (shown + 2)) / side).sqrt() for side in (ours, theirs)]
    # Without a sample that is right only once both sides are 0 over 0 in the limit of many samples.
    z = NORMAL_975 * width / (sides[0] + sides[1])
    (kept_low, kept_high), (full_low, full_high) = (
        _wilson(count, shown, z) for count in (kept, full)
    )
    unknown = full == 0
    low, high = kept_low / full_high, kept_high / full_low
    return low.masked_fill(unknown, torch.nan), high.masked_fill(unknown, torch.nan)


def mean_share_interval(
    kept: Float[Tensor, "*cell sample"], full: Bool[Tensor, " sample"] | Float[Tensor, " sample"]
) -> tuple[Float64[Tensor, "*cell"], Float64[Tensor, "*cell"], Float64[Tensor, "*cell"]]:
    """Return the share that values between 0 and 1 keep, and a 95 % interval by the delta method.

    The values may be means, such as the fraction of random orders that get a sample right.

    Args:
        kept: values of the samples with the kept neurons.
        full: which samples are right with all neurons, or their values with all neurons.

    Returns:
        The share and its ends; NaN where no sample is right with all neurons.

    Examples:
        >>> share, low, high = mean_share_interval(
        ...     torch.tensor([[0.5, 1.0, 1.0, 0.0]]), torch.tensor([True, True, True, False])
        ... )
        >>> round(share.item(), 3), round(low.item(), 3), round(high.item(), 3)
        (0.833, 0.525, 1.141)
    """
    samples, whole = kept.shape[-1], full.double()
    kept, right = kept.double(), whole.sum()
    share = torch.where(right > 0, kept.sum(-1) / right, torch.nan)
    effects = kept - share[..., None] * whole
    deviation = effects.square().sum(-1).sqrt() / right
    deviation = deviation * (samples / max(1, samples - 1)) ** 0.5
    return share, share - NORMAL_975 * deviation, share + NORMAL_975 * deviation


def _wilson(
    count: Float64[Tensor, "*cell"], samples: Float64[Tensor, "*cell"], z: Float64[Tensor, "*cell"]
) -> tuple[Float64[Tensor, "*cell"], Float64[Tensor, "*cell"]]:
    """Return the score interval of a fraction at a given z (Wilson 1927)."""
    square = z.square()
    missing = torch.where(samples > 0, count * (1 - count / samples.clamp(min=1)), 0)
    root = z * (square + 4 * missing).sqrt()
    scale = 2 * (samples + square)
    return (2 * count + square - root) / scale, (2 * count + square + root) / scale
