"""Many tests: p-values adjusted so that each can be held against the level wanted for all."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from purescope.errors import InputError


def holm(p: Float[Tensor, "*test"]) -> Float64[Tensor, "*test"]:
    """Adjusted p over all entries: rejecting those <= q makes one wrong rejection or more with probability <= q.

    Whatever the dependence among the tests (Holm, Scand. J. Statist. 6, 1979): the i-th smallest of m is
    ``max over j <= i of (m - j + 1) p_(j)``, at most 1. NaN is no test: it stays NaN and does not count in m.

    Raises:
        InputError: a p is below 0 or above 1.

    Examples:
        >>> holm(torch.tensor([0.04, 0.01, 0.03], dtype=torch.float64))
        tensor([0.0600, 0.0300, 0.0600], dtype=torch.float64)
    """
    ascending, back = _ascending(p)
    left = len(ascending) - torch.arange(len(ascending))
    return _restore((ascending * left).cummax(0).values, back, p)


def benjamini_hochberg(p: Float[Tensor, "*test"]) -> Float64[Tensor, "*test"]:
    """Adjusted p over all entries: of those <= q that are rejected, an expected share <= q is rejected wrongly.

    For tests that are independent or depend positively (Benjamini and Hochberg, J. R. Statist. Soc. B 57, 1995): the
    i-th smallest of m is ``min over j >= i of m p_(j) / j``. NaN is no test: it stays NaN and does not count in m.

    Raises:
        InputError: a p is below 0 or above 1.

    Examples:
        >>> benjamini_hochberg(torch.tensor([0.04, 0.01, 0.03], dtype=torch.float64))
        tensor([0.0400, 0.0300, 0.0400], dtype=torch.float64)
    """
    ascending, back = _ascending(p)
    rank = 1 + torch.arange(len(ascending))
    return _restore((ascending * len(ascending) / rank).flip(0).cummin(0).values.flip(0), back, p)


def _ascending(p: Float[Tensor, "*test"]) -> tuple[Tensor, Tensor]:
    """The p-values that are there, in ascending order, and where each stands in `p`, flattened."""
    flat = p.double().flatten()
    if bool(((flat < 0) | (flat > 1)).any()):
        wrong = flat[(flat < 0) | (flat > 1)][0]
        raise InputError(f"p = {wrong:g}", expected="probabilities, from 0 to 1, or NaN for no test")
    known = (~flat.isnan()).nonzero()[:, 0]
    ascending, order = flat[known].sort(stable=True)
    return ascending, known[order]


def _restore(adjusted: Tensor, places: Tensor, p: Float[Tensor, "*test"]) -> Float64[Tensor, "*test"]:
    flat = torch.full((p.numel(),), torch.nan, dtype=torch.float64)
    flat[places] = adjusted.clamp(max=1)
    return flat.view(p.shape)
