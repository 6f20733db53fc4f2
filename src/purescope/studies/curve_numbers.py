"""Describe a curve over k by numbers with intervals, from its resamples."""

import torch
from jaxtyping import Float
from torch import Tensor

from purescope.maths.cells import mean_over_k, neurons_needed, rising
from purescope.maths.intervals import percentile_interval

ENOUGH = 0.95  # fraction of what all neurons reach


def describe_curve(
    curves: Float[Tensor, "resample_and_value k"],
    full: Float[Tensor, " resample_and_value"],
    ks: list[int],
    neurons: int,
) -> list[float | int]:
    """Return the area, the neurons needed, the middle k and the share kept there, with intervals.

    Args:
        curves, full: the curve and the value of all neurons in the resamples, and in the last row
            as measured.
        ks, neurons: the ks of the curve, and the number of all neurons.
    """
    middle = min(range(len(ks)), key=lambda place: abs(ks[place] - neurons / 2))
    return [
        *value_and_interval(mean_over_k(curves, ks)),
        *needed_with_interval(curves, full, ks, neurons),
        ks[middle],
        *value_and_interval(curves[:, middle] / full.masked_fill(full == 0, torch.nan)),
    ]


def value_and_interval(
    values: Float[Tensor, " resample_and_value"],
) -> tuple[float, float, float]:
    """Return the last value, and the interval of the others."""
    low, high = percentile_interval(values[:-1])
    return values[-1].item(), low.item(), high.item()


def needed_with_interval(
    curves: Float[Tensor, "resample_and_value k"],
    full: Float[Tensor, " resample_and_value"],
    ks: list[int],
    neurons: int,
) -> tuple[float, float, float]:
    """Return the number of neurons for 95 % of what all reach, and its interval.

    Curves wander about the target, so the last k below it says too much: the value is read off the
    rising curve, which never falls. The value is larger than every k at which the curve is below
    the target in 97.5 % of the resamples, up to the first k at which it is not. From the upper end
    on, the curve reaches the target in 97.5 % of them at every k. Each end needs one test at one k
    to be right, so both hold in 95 % of samples or more.
    """
    if ks[-1] != neurons:
        curves, ks = torch.cat([curves, full[:, None]], dim=1), [*ks, neurons]
    over = curves - ENOUGH * full[:, None]
    below, above = percentile_interval(over[:-1])
    zero = torch.zeros((), dtype=torch.float64)
    least, most = neurons_needed(above.cummax(0).values, ks, zero), neurons_needed(below, ks, zero)
    value = neurons_needed(rising(over[-1]), ks, zero)
    return torch.maximum(least, torch.minimum(value, most)).item(), least.item(), most.item()
