"""Is a difference real? Permutation tests, McNemar's test, accuracy against guessing, and
corrections for many tests.
"""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from purescope.errors import InputError, near_miss

Alternative = Literal["two-sided", "greater", "less"]

# Values as near as this share of the largest are equal, whatever rounding made of them: a missed
# tie is a p too small.
_TIE = 1e-12


def permutation_p(
    value: Float[Tensor, "*cell"],
    draws: Float[Tensor, " draw *cell"],
    alternative: Alternative = "two-sided",
) -> Float64[Tensor, "*cell"]:
    """Share of draws as extreme as the value, the value itself among them: ``(1 + as extreme) / (1
    + draws)``.

    Never 0 (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9(1):39, 2010), and at most 5 % of
    values drawn like the draws have p <= 0.05. "greater" counts draws at or above the value, "less"
    those at or below; "two-sided" is twice the smaller of the two, at most 1.

    Raises:
        InputError: there are no draws, or their cells are not the value's, or the alternative is
            unknown.

    Examples:
        >>> draws = torch.arange(99.0)
        >>> permutation_p(torch.tensor(97.0), draws, "greater")
        tensor(0.0300, dtype=torch.float64)
        >>> permutation_p(torch.tensor(97.0), draws)
        tensor(0.0600, dtype=torch.float64)
    """
    below, equal, above = _stand(value, draws)
    total = 1 + len(draws)
    less, greater = (1 + below + equal) / total, (1 + above + equal) / total
    sides = {
        "two-sided": (2 * torch.minimum(less, greater)).clamp(max=1),
        "greater": greater,
        "less": less,
    }
    if alternative not in sides:
        raise InputError(f"alternative {alternative!r}", **near_miss(alternative, sides))
    return _known(sides[alternative], value, draws)


def percentile_of(
    value: Float[Tensor, "*cell"], draws: Float[Tensor, " draw *cell"]
) -> Float64[Tensor, "*cell"]:
    """Share of draws below the value, in percent: 0 (below all) to 100 (above all); a draw equal to
    it counts half.

    Raises:
        InputError: there are no draws, or their cells are not the value's.

    Examples:
        >>> percentile_of(torch.tensor([3.0, 9.0]), torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]))
        tensor([ 62.5000, 100.0000], dtype=torch.float64)
    """
    below, equal, _ = _stand(value, draws)
    return _known(100 * (below + equal / 2) / len(draws), value, draws)


def _stand(
    value: Float[Tensor, "*cell"], draws: Float[Tensor, " draw *cell"]
) -> tuple[Float64[Tensor, "*cell"], Float64[Tensor, "*cell"], Float64[Tensor, "*cell"]]:
    """How many draws lie below, at and above the value."""
    if draws.ndim < 1 or not len(draws) or draws.shape[1:] != value.shape:
        raise InputError(
            f"a value {list(value.shape)} and draws {list(draws.shape)}",
            expected="draws [draw, *cell], one or more, of the cells of the value",
        )
    value, draws = value.double(), draws.double()
    # Infinity is a value (`neurons_needed`) but no scale.
    largest = torch.cat([value[None], draws]).nan_to_num(nan=0, posinf=0, neginf=0).abs().amax(0)
    equal = (draws == value) | ((draws - value).abs() <= _TIE * largest)
    counted = ((draws < value) & ~equal, equal, (draws > value) & ~equal)
    below, level, above = (mask.sum(0).double() for mask in counted)
    return below, level, above


def _known(
    result: Float64[Tensor, "*cell"], value: Tensor, draws: Tensor
) -> Float64[Tensor, "*cell"]:
    return result.masked_fill(value.isnan() | draws.isnan().any(0), torch.nan)


def mcnemar(
    first: Bool[Tensor, "*cell sample"], second: Bool[Tensor, "*cell sample"]
) -> Float64[Tensor, "*cell"]:
    """Exact two-sided p of the hypothesis that both are right equally often, from samples on which
    one of them is.

    Of the n samples on which the two differ, the first is right on b; under the hypothesis b is
    binomial (n, 1/2): ``p = min(1, 2 P(B <= min(b, n - b)))``, and 1 without such samples (McNemar,
    Psychometrika 12, 1947, in the exact form). Samples count as independent; classes play no part.

    Raises:
        InputError: the two differ in shape, or there are no samples.

    Examples:
        The first is right on five samples on which the second is wrong, and never the other way:
        ``2 / 2^5``.

        >>> mcnemar(torch.tensor([True] * 5 + [False]), torch.tensor([False] * 6))
        tensor(0.0625, dtype=torch.float64)
    """
    if first.shape != second.shape or first.ndim < 1 or not first.shape[-1]:
        raise InputError(
            f"answers {list(first.shape)} and {list(second.shape)}",
            expected="two of one shape [*cell, sample], with one sample or more",
        )
    only_first, only_second = (first & ~second).sum(-1), (second & ~first).sum(-1)
    fewer, differing = torch.minimum(only_first, only_second), only_first + only_second
    pairs = zip(fewer.flatten().tolist(), differing.flatten().tolist(), strict=True)
    p = torch.tensor([_two_sided(b, n) for b, n in pairs], dtype=torch.float64)
    return p.view(fewer.shape)


def _two_sided(b: int, n: int) -> float:
    """``min(1, 2 P(B <= b))`` of the binomial (n, 1/2), summed as logarithms: 2^-n underflows from
    n = 1075 on.
    """
    i = torch.arange(b + 1, dtype=torch.float64)
    logs = (
        math.lgamma(n + 1) - torch.lgamma(i + 1) - torch.lgamma(n - i + 1) - (n - 1) * math.log(2)
    )
    return min(1.0, logs.logsumexp(0).exp().item())


def holm(p: Float[Tensor, "*test"]) -> Float64[Tensor, "*test"]:
    """Adjusted p over all entries: rejecting those <= q makes one wrong rejection or more with
    probability <= q.

    Whatever the dependence among the tests (Holm, Scand. J. Statist. 6, 1979): the i-th smallest of
    m is ``max over j <= i of (m - j + 1) p_(j)``, at most 1. NaN is no test: it stays NaN and does
    not count in m.

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
    """Adjusted p over all entries: of those <= q that are rejected, an expected share <= q is
    rejected wrongly.

    For tests that are independent or depend positively (Benjamini and Hochberg, J. R. Statist. Soc.
    B 57, 1995): the i-th smallest of m is ``min over j >= i of m p_(j) / j``. NaN is no test: it
    stays NaN and does not count in m.

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
        raise InputError(
            f"p = {wrong:g}", expected="probabilities, from 0 to 1, or NaN for no test"
        )
    known = (~flat.isnan()).nonzero()[:, 0]
    ascending, order = flat[known].sort(stable=True)
    return ascending, known[order]


def _restore(
    adjusted: Tensor, places: Tensor, p: Float[Tensor, "*test"]
) -> Float64[Tensor, "*test"]:
    flat = torch.full((p.numel(),), torch.nan, dtype=torch.float64)
    flat[places] = adjusted.clamp(max=1)
    return flat.view(p.shape)


_STANDARD_ERRORS = 3


def against_chance(accuracy: float, chance: float, images: int) -> str:
    """Tell where an accuracy stands: "above", "at chance" (within three standard errors of it), or
    "below chance".

    Args:
        accuracy: a fraction of the images.
        chance: accuracy of guessing, one in the number of classes.
        images: how many.

    Examples:
        >>> against_chance(0.30, 0.10, images=200)
        'above'
        >>> against_chance(0.11, 0.10, images=200)
        'at chance'
        >>> against_chance(0.052, 0.10, images=1812)
        'below chance'
    """
    error = math.sqrt(chance * (1 - chance) / images)
    if abs(accuracy - chance) <= _STANDARD_ERRORS * error:
        return "at chance"
    return "above" if accuracy > chance else "below chance"
