"""Curves over k as one number, and the two halves of the images, to fit on and to test on."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from purescope.errors import InputError


def area_between(
    first: Float[Tensor, "*cell k"], second: Float[Tensor, "*cell k"], ks: Sequence[int]
) -> Float64[Tensor, "*cell"]:
    """Return the mean of ``first - second`` over k: positive where the first curve is above.

    The curves are linear between the ks. The result is the area by the trapezoid rule divided by
    the range of k, so it has the unit of the curves. With one k it is the difference there.

    Raises:
        InputError: the ks do not increase, or their number is not that of the curves' values.

    Examples:
        >>> first, second = torch.tensor([0.5, 0.7, 0.8]), torch.tensor([0.3, 0.6, 0.8])
        >>> area_between(first, second, ks=[100, 200, 400])
        tensor(0.0833, dtype=torch.float64)
    """
    _check(ks, first, second)
    return mean_over_k(first.double() - second.double(), ks)


def mean_over_k(curve: Float[Tensor, "*cell k"], ks: Sequence[int]) -> Float64[Tensor, "*cell"]:
    """Return the mean of a curve over k, linear between the ks, in the unit of the curve.

    It is the area below the curve divided by the range of k.

    Raises:
        InputError: the ks do not increase, or their number is not that of the curve's values.

    Examples:
        >>> mean_over_k(torch.tensor([0.5, 0.7, 0.8]), ks=[100, 200, 400]).round(decimals=4)
        tensor(0.7000, dtype=torch.float64)
    """
    positions = _check(ks, curve)
    if len(positions) == 1:
        return curve[..., 0].double()
    return torch.trapezoid(curve.double(), positions) / (positions[-1] - positions[0])


def rising(curve: Float[Tensor, "*cell k"]) -> Float64[Tensor, "*cell k"]:
    """Fit the curve that never falls and is closest in squares: isotonic regression with equal
    weights.

    The value at each k is the largest, over all starts up to k, of the smallest mean from the start
    to any end from k on (Robertson, Wright and Dykstra, "Order Restricted Statistical Inference",
    1988).

    Examples:
        >>> rising(torch.tensor([0.1, 0.5, 0.3, 0.6]))
        tensor([0.1000, 0.4000, 0.4000, 0.6000], dtype=torch.float64)
    """
    count = curve.shape[-1]
    sums = torch.nn.functional.pad(curve.double().cumsum(-1), (1, 0))
    start, end = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
    means = (sums[..., end + 1] - sums[..., start]) / (end - start + 1)
    # The smallest mean from each start to any end from k on.
    lowest = means.masked_fill(end < start, torch.inf).flip(-1).cummin(-1).values.flip(-1)
    highest: Tensor = lowest.masked_fill(end < start, -torch.inf).amax(-2)
    return highest.masked_fill(curve.isnan().any(-1, keepdim=True), torch.nan)


def neurons_needed(
    curve: Float[Tensor, "*cell k"], ks: Sequence[int], target: Float[Tensor, "*cell"]
) -> Float64[Tensor, "*cell"]:
    """Return the smallest k from which on the curve stays at or above the target.

    The curve is linear between the ks. The result is infinity where the curve is below the target
    at the last k. The first k is the smallest possible result: where the curve is never below,
    fewer neurons may be enough.

    Raises:
        InputError: the ks do not increase, their number is not that of the curve's values, or there
            is not one target for each curve.

    Examples:
        The curve reaches the target at first, falls below it at 200, and reaches it for good half
        way from 200 to 300:

        >>> curve = torch.tensor([0.5, 0.25, 0.75, 0.75])
        >>> neurons_needed(curve, [100, 200, 300, 400], torch.tensor(0.5))
        tensor(250., dtype=torch.float64)
    """
    at = _check(ks, curve)
    if target.shape != curve.shape[:-1]:
        raise InputError(
            f"targets of shape {list(target.shape)} for curves of shape {list(curve.shape)}",
            expected="one target for each curve",
        )
    curve, target = curve.double(), target.double()[..., None]
    # The last k at which the curve is below the target, -1 for none.
    last = torch.arange(len(at)).where(curve < target, -1).amax(-1, keepdim=True)
    left, right = last.clamp(min=0), (last + 1).clamp(max=len(at) - 1)
    from_value, to_value = curve.gather(-1, left), curve.gather(-1, right)
    needed = at[left] + (target - from_value) / (to_value - from_value) * (at[right] - at[left])
    needed = needed.where(last >= 0, at[0]).where(last < len(at) - 1, torch.inf)
    unknown = curve.isnan().any(-1, keepdim=True) | target.isnan()
    return needed.masked_fill(unknown, torch.nan)[..., 0]


def _check(ks: Sequence[int], *curves: Tensor) -> Float64[Tensor, " k"]:
    at = torch.tensor(list(ks), dtype=torch.float64)
    if not len(at) or bool((at.diff() <= 0).any()):
        raise InputError(f"ks = {list(ks)}", expected="increasing numbers of neurons, at least one")
    if any(curve.shape[-1:] != at.shape or curve.shape != curves[0].shape for curve in curves):
        raise InputError(
            f"curves {' and '.join(str(list(curve.shape)) for curve in curves)} at {len(at)} ks",
            expected="curves of the same shape [*cell, k], with a value for each k",
        )
    return at


def halves(labels: Int[Tensor, " image"]) -> Int64[Tensor, " image"]:
    """Assign 0 and 1 in turns within each class, starting with 0: the same for everybody and every
    seed.

    Examples:
        >>> halves(torch.tensor([7, 7, 3, 7, 3]))
        tensor([0, 1, 0, 0, 1])
    """
    by_class = labels.argsort(stable=True)
    ordered = labels[by_class]
    position_in_class = torch.arange(len(labels)) - torch.searchsorted(ordered, ordered)
    half = torch.empty_like(position_in_class)
    half[by_class] = position_in_class % 2
    return half
