"""A curve over k in one number, and two halves of the images, one to fit on and one to judge on."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from purescope.errors import InputError


def area_between(
    first: Float[Tensor, "*cell k"], second: Float[Tensor, "*cell k"], ks: Sequence[int]
) -> Float64[Tensor, "*cell"]:
    """Mean of ``first - second`` over k, the curves being linear between the ks: positive where the
    first is above.

    The area by the trapezoid rule over the range of k, so it is in the curves' unit; with one k,
    the difference there.

    Raises:
        InputError: the ks do not rise, or are not as many as the curves have values.

    Examples:
        >>> area_between(torch.tensor([0.5, 0.7, 0.8]), torch.tensor([0.3, 0.6, 0.8]), ks=[100, 200, 400])
        tensor(0.0833, dtype=torch.float64)
    """
    _check(ks, first, second)
    return mean_over_k(first.double() - second.double(), ks)


def mean_over_k(curve: Float[Tensor, "*cell k"], ks: Sequence[int]) -> Float64[Tensor, "*cell"]:
    """Mean of a curve over k, linear between the ks: the area below it by the range of k, in the
    curve's unit.

    Raises:
        InputError: the ks do not rise, or are not as many as the curve has values.

    Examples:
        >>> mean_over_k(torch.tensor([0.5, 0.7, 0.8]), ks=[100, 200, 400]).round(decimals=4)
        tensor(0.7000, dtype=torch.float64)
    """
    at = _check(ks, curve)
    if len(at) == 1:
        return curve[..., 0].double()
    return torch.trapezoid(curve.double(), at) / (at[-1] - at[0])


def rising(curve: Float[Tensor, "*cell k"]) -> Float64[Tensor, "*cell k"]:
    """The curve that never falls and is closest to it in squares: isotonic regression, all ks of
    equal weight.

    At each k, the largest over all starts of the smallest mean up to any end (Robertson, Wright and
    Dykstra, "Order Restricted Statistical Inference", 1988).

    Examples:
        >>> rising(torch.tensor([0.1, 0.5, 0.3, 0.6]))
        tensor([0.1000, 0.4000, 0.4000, 0.6000], dtype=torch.float64)
    """
    count = curve.shape[-1]
    sums = torch.nn.functional.pad(curve.double().cumsum(-1), (1, 0))
    start, end = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
    means = (sums[..., end + 1] - sums[..., start]) / (end - start + 1)
    lowest = (
        means.masked_fill(end < start, torch.inf).flip(-1).cummin(-1).values.flip(-1)
    )  # to any end from here on
    highest: Tensor = lowest.masked_fill(end < start, -torch.inf).amax(-2)
    return highest.masked_fill(curve.isnan().any(-1, keepdim=True), torch.nan)


def neurons_needed(
    curve: Float[Tensor, "*cell k"], ks: Sequence[int], target: Float[Tensor, "*cell"]
) -> Float64[Tensor, "*cell"]:
    """The smallest k from which on the curve stays at the target or above, linear between the ks.

    Infinity where the curve is below at the last k. The first k is the smallest answer there is:
    where the curve never is below, fewer neurons may do.

    Raises:
        InputError: the ks do not rise, or are not as many as the curve has values, or there is not
            one target for each curve.

    Examples:
        Reached at first, lost again at 200, reached for good half way from there to 300:

        >>> neurons_needed(torch.tensor([0.5, 0.25, 0.75, 0.75]), [100, 200, 300, 400], torch.tensor(0.5))
        tensor(250., dtype=torch.float64)
    """
    at = _check(ks, curve)
    if target.shape != curve.shape[:-1]:
        raise InputError(
            f"a target {list(target.shape)} for curves {list(curve.shape)}",
            expected="one for each curve",
        )
    curve, target = curve.double(), target.double()[..., None]
    place = (
        torch.arange(len(at)).where(curve < target, -1).amax(-1, keepdim=True)
    )  # the last that is below
    left, right = place.clamp(min=0), (place + 1).clamp(max=len(at) - 1)
    from_value, to_value = curve.gather(-1, left), curve.gather(-1, right)
    needed = at[left] + (target - from_value) / (to_value - from_value) * (at[right] - at[left])
    needed = needed.where(place >= 0, at[0]).where(place < len(at) - 1, torch.inf)
    return needed.masked_fill(curve.isnan().any(-1, keepdim=True) | target.isnan(), torch.nan)[
        ..., 0
    ]


def _check(ks: Sequence[int], *curves: Tensor) -> Float64[Tensor, " k"]:
    at = torch.tensor(list(ks), dtype=torch.float64)
    if not len(at) or bool((at.diff() <= 0).any()):
        raise InputError(f"ks = {list(ks)}", expected="rising numbers of neurons, one or more")
    if any(curve.shape[-1:] != at.shape or curve.shape != curves[0].shape for curve in curves):
        raise InputError(
            f"curves {' and '.join(str(list(curve.shape)) for curve in curves)} at {len(at)} ks",
            expected="curves of one shape [*cell, k], with a value for each k",
        )
    return at


def halves(labels: Int[Tensor, " image"]) -> Int64[Tensor, " image"]:
    """0 and 1 in turns within each class, starting with 0: the same for everybody, whatever the
    seed.

    Examples:
        >>> halves(torch.tensor([7, 7, 3, 7, 3]))
        tensor([0, 1, 0, 0, 1])
    """
    by_class = labels.argsort(stable=True)
    ordered = labels[by_class]
    place = torch.arange(len(labels)) - torch.searchsorted(ordered, ordered)
    half = torch.empty_like(place)
    half[by_class] = place % 2
    return half
