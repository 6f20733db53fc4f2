"""Statistical tests: permutation tests, McNemar's test, rank correlations, many tests at once."""

import math
from statistics import NormalDist
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from purescope.errors import InputError, near_miss

Alternative = Literal["two-sided", "greater", "less"]

# Values that differ by less than this share of the largest are equal up to rounding. A missed tie
# would make p too small.
_TIE = 1e-12
_STANDARD_ERRORS = 3  # between an accuracy and chance; fewer are "at chance"
# A remainder of ranks is zero if its length is below this share of theirs: it is only rounding.
_NOTHING = 1e-9


def permutation_p(
    value: Float[Tensor, "*cell"],
    draws: Float[Tensor, " draw *cell"],
    alternative: Alternative = "two-sided",
) -> Float64[Tensor, "*cell"]:
    """Return the share of draws as extreme as the value: ``(1 + as extreme) / (1 + draws)``.

    The value itself counts among the draws, so p is never 0 (Phipson and Smyth, Stat. Appl. Genet.
    Mol. Biol. 9(1):39, 2010). At most 5 % of values with the distribution of the draws have p <=
    0.05. "greater" counts draws at or above the value, "less" those at or below; "two-sided" is
    twice the smaller of the two, at most 1.

    Raises:
        InputError: there are no draws, their cells are not those of the value, or the alternative
            is unknown.

    Examples:
        >>> draws = torch.arange(99.0)
        >>> permutation_p(torch.tensor(97.0), draws, "greater")
        tensor(0.0300, dtype=torch.float64)
        >>> permutation_p(torch.tensor(97.0), draws)
        tensor(0.0600, dtype=torch.float64)
    """
    below, equal, above = _count_draws(value, draws)
    total = 1 + len(draws)
    less, greater = (1 + below + equal) / total, (1 + above + equal) / total
    sides = {
        "two-sided": (2 * torch.minimum(less, greater)).clamp(max=1),
        "greater": greater,
        "less": less,
    }
    if alternative not in sides:
        raise InputError(f"alternative {alternative!r}", **near_miss(alternative, sides))
    return _mask_unknown(sides[alternative], value, draws)


def percentile_of(
    value: Float[Tensor, "*cell"], draws: Float[Tensor, " draw *cell"]
) -> Float64[Tensor, "*cell"]:
    """Return the share of draws below the value, in percent: 0 (below all) to 100 (above all).

    A draw equal to the value counts half.

    Raises:
        InputError: there are no draws, or their cells are not those of the value.

    Examples:
        >>> draws = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]])
        >>> percentile_of(torch.tensor([3.0, 9.0]), draws)
        tensor([ 62.5000, 100.0000], dtype=torch.float64)
    """
    below, equal, _ = _count_draws(value, draws)
    return _mask_unknown(100 * (below + equal / 2) / len(draws), value, draws)


def _count_draws(
    value: Float[Tensor, "*cell"], draws: Float[Tensor, " draw *cell"]
) -> tuple[Float64[Tensor, "*cell"], Float64[Tensor, "*cell"], Float64[Tensor, "*cell"]]:
    """Count the draws below, at and above the value."""
    if draws.ndim < 1 or not len(draws) or draws.shape[1:] != value.shape:
        raise InputError(
            f"a value {list(value.shape)} and draws {list(draws.shape)}",
            expected="draws [draw, *cell], at least one, with the cells of the value",
        )
    value, draws = value.double(), draws.double()
    # Infinity is a possible value (`neurons_needed`), but no scale for a difference.
    largest = torch.cat([value[None], draws]).nan_to_num(nan=0, posinf=0, neginf=0).abs().amax(0)
    equal = (draws == value) | ((draws - value).abs() <= _TIE * largest)
    masks = ((draws < value) & ~equal, equal, (draws > value) & ~equal)
    below, at, above = (mask.sum(0).double() for mask in masks)
    return below, at, above


def _mask_unknown(
    result: Float64[Tensor, "*cell"], value: Tensor, draws: Tensor
) -> Float64[Tensor, "*cell"]:
    """Set the result to NaN where the value or a draw is NaN."""
    return result.masked_fill(value.isnan() | draws.isnan().any(0), torch.nan)


def mcnemar(
    first: Bool[Tensor, "*cell sample"], second: Bool[Tensor, "*cell sample"]
) -> Float64[Tensor, "*cell"]:
    """Compute the exact two-sided p of the hypothesis that both are right equally often.

    It uses the n samples on which the two differ; the first is right on b of them. Under the
    hypothesis b is binomial (n, 1/2): ``p = min(1, 2 P(B <= min(b, n - b)))``, and 1 without such
    samples (McNemar, Psychometrika 12, 1947, in the exact form). Samples count as independent;
    classes are ignored.

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
            expected="two of the same shape [*cell, sample], with at least one sample",
        )
    only_first, only_second = (first & ~second).sum(-1), (second & ~first).sum(-1)
    fewer, differing = torch.minimum(only_first, only_second), only_first + only_second
    pairs = zip(fewer.flatten().tolist(), differing.flatten().tolist(), strict=True)
    p = torch.tensor([_two_sided(b, n) for b, n in pairs], dtype=torch.float64)
    return p.view(fewer.shape)


def _two_sided(b: int, n: int) -> float:
    """Compute ``min(1, 2 P(B <= b))`` of the binomial (n, 1/2).

    It sums logarithms, because 2^-n underflows from n = 1075 on.
    """
    i = torch.arange(b + 1, dtype=torch.float64)
    logs = (
        math.lgamma(n + 1) - torch.lgamma(i + 1) - torch.lgamma(n - i + 1) - (n - 1) * math.log(2)
    )
    return min(1.0, logs.logsumexp(0).exp().item())


def holm(p: Float[Tensor, "*test"]) -> Float64[Tensor, "*test"]:
    """Adjust p over all entries so that any wrong rejection among p <= q has probability <= q.

    This holds whatever the dependence of the tests (Holm, Scand. J. Statist. 6, 1979). The i-th
    smallest of m is ``max over j <= i of (m - j + 1) p_(j)``, at most 1. NaN means no test: it
    stays NaN and does not count in m.

    Raises:
        InputError: a p is below 0 or above 1.

    Examples:
        >>> holm(torch.tensor([0.04, 0.01, 0.03], dtype=torch.float64))
        tensor([0.0600, 0.0300, 0.0600], dtype=torch.float64)
    """
    ascending, positions = _ascending(p)
    remaining = len(ascending) - np.arange(len(ascending))
    return _restore(np.maximum.accumulate(ascending * remaining), positions, p)


def benjamini_hochberg(p: Float[Tensor, "*test"]) -> Float64[Tensor, "*test"]:
    """Adjust p over all entries so that the expected share of wrong rejections among p <= q is <=
    q.

    This holds for tests that are independent or depend positively (Benjamini and Hochberg, J. R.
    Statist. Soc. B 57, 1995). The i-th smallest of m is ``min over j >= i of m p_(j) / j``. NaN
    means no test: it stays NaN and does not count in m.

    Raises:
        InputError: a p is below 0 or above 1.

    Examples:
        >>> benjamini_hochberg(torch.tensor([0.04, 0.01, 0.03], dtype=torch.float64))
        tensor([0.0400, 0.0300, 0.0400], dtype=torch.float64)
    """
    ascending, positions = _ascending(p)
    rank = 1 + np.arange(len(ascending))
    largest_first = (ascending * len(ascending) / rank)[::-1]
    return _restore(np.minimum.accumulate(largest_first)[::-1], positions, p)


def _ascending(
    p: Float[Tensor, "*test"],
) -> tuple[Float64[np.ndarray, " known"], Int64[np.ndarray, " known"]]:
    """Return the p-values that are not NaN in ascending order, and the position of each in flat
    `p`.

    In NumPy, as these families are small and many: torch takes five times as long.
    """
    flat = p.double().flatten().numpy()
    wrong = flat[(flat < 0) | (flat > 1)]
    if len(wrong):
        raise InputError(
            f"p = {wrong[0]:g}", expected="probabilities, from 0 to 1, or NaN for no test"
        )
    known = np.flatnonzero(~np.isnan(flat))
    order = flat[known].argsort(kind="stable")
    return flat[known[order]], known[order]


def _restore(
    adjusted: Float64[np.ndarray, " known"],
    positions: Int64[np.ndarray, " known"],
    p: Float[Tensor, "*test"],
) -> Float64[Tensor, "*test"]:
    """Put adjusted p-values back to their positions, at most 1; NaN elsewhere."""
    flat = np.full(p.numel(), np.nan)
    flat[positions] = np.minimum(adjusted, 1)
    return torch.from_numpy(flat).view(p.shape)


def against_chance(accuracy: float, chance: float, images: int) -> str:
    """Compare an accuracy with chance: "above", "at chance" or "below chance".

    "at chance" means within three standard errors of it.

    Args:
        accuracy: fraction of the images that are right.
        chance: accuracy of guessing, one divided by the number of classes.
        images: number of images.

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


def spearman(
    x: Float[Tensor, "*cell item"], y: Float[Tensor, "*#cell item"]
) -> Float64[Tensor, "*cell"]:
    """Compute Spearman's rank correlation, -1 to 1: Pearson's correlation of the ranks.

    Equal values share the mean of their ranks. NaN where x or y is constant. If `y` has no cell
    dimensions, every cell of `x` is compared with the same `y`.

    Raises:
        InputError: there are fewer than two items, or the shapes do not fit.

    Examples:
        >>> spearman(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([10.0, 30.0, 20.0, 900.0]))
        tensor(0.8000, dtype=torch.float64)
    """
    return partial_spearman(x, y, x.new_empty(0, x.shape[-1]))


def partial_spearman(
    x: Float[Tensor, "*cell item"],
    y: Float[Tensor, "*#cell item"],
    given: Float[Tensor, "covariate item"],
) -> Float64[Tensor, "*cell"]:
    """Compute Spearman's correlation of x and y given covariates: -1 to 1.

    It is Pearson's correlation of what remains of the ranks: all ranks are centred, and the part of
    the ranks of x and y that is a linear function of the ranks of `given` is subtracted. NaN where
    nothing remains: x or y is constant or follows from the covariates. Covariates may depend on one
    another.

    Raises:
        InputError: there are fewer than two items, or the shapes do not fit.

    Examples:
        x and y rise together, but only because both follow z:

        >>> z = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
        >>> x = torch.tensor([2.0, 1.0, 4.0, 3.0, 6.0, 5.0, 8.0, 7.0])
        >>> y = torch.tensor([3.0, 4.0, 1.0, 2.0, 7.0, 8.0, 5.0, 6.0])
        >>> spearman(x, y), partial_spearman(x, y, z[None])
        (tensor(0.5238, dtype=torch.float64), tensor(-0.1085, dtype=torch.float64))
    """
    _check_ranked(x, y, given)
    known = _orthonormal(_ranks(given))
    x_rest, y_rest = _residuals(_ranks(x), known), _residuals(_ranks(y), known)
    return (x_rest * y_rest).sum(-1).clamp(-1, 1)


def spearman_interval(
    r: Float[Tensor, "*cell"], items: int, *, covariates: int = 0, level: float = 0.95
) -> tuple[Float64[Tensor, "*cell"], Float64[Tensor, "*cell"]]:
    """Compute the interval of a rank correlation over independent items, by Fisher's z.

    ``tanh(atanh(r) ± z sqrt((1 + r^2 / 2) / (items - covariates - 3)))`` (Bonett and Wright,
    Psychometrika 65, 2000), for at least 10 items and a correlation within ±0.95.

    Raises:
        InputError: there are fewer than four items more than covariates, or the level is not
            between 0 and 1.

    Examples:
        >>> low, high = spearman_interval(torch.tensor(0.3), items=512)
        >>> round(low.item(), 4), round(high.item(), 4)
        (0.2172, 0.3785)
    """
    freedom = items - covariates - 3
    if freedom < 1:
        raise InputError(
            f"{items} items and {covariates} covariates",
            expected="at least four items more than covariates",
        )
    if not 0 < level < 1:
        raise InputError(f"level = {level}", expected="a number between 0 and 1, such as 0.95")
    r = r.double()
    half = NormalDist().inv_cdf((1 + level) / 2) * ((1 + r.square() / 2) / freedom).sqrt()
    return (r.atanh() - half).tanh(), (r.atanh() + half).tanh()


def _check_ranked(x: Tensor, y: Tensor, given: Tensor) -> None:
    y_fits = y.shape in (x.shape, x.shape[-1:])
    given_fits = given.ndim == 2 and given.shape[1:] == x.shape[-1:]
    if not y_fits or not given_fits or not x.ndim or x.shape[-1] < 2:
        raise InputError(
            f"x {list(x.shape)}, y {list(y.shape)}, given {list(given.shape)}",
            expected="x [*cell, item], y of that shape or [item], given [covariate, item], at "
            "least two items",
        )


def _ranks(values: Float[Tensor, "*cell item"]) -> Float64[Tensor, "*cell item"]:
    """Return ranks centred at 0, equal values sharing theirs; a row with a NaN is NaN."""
    ordered = values.sort(dim=-1).values.contiguous()
    values = values.contiguous()
    below = torch.searchsorted(ordered, values)
    not_above = torch.searchsorted(ordered, values, right=True)
    ranks = (below + not_above - values.shape[-1]).double() / 2
    ranks[values.isnan().any(-1)] = torch.nan
    return ranks


def _orthonormal(rows: Float64[Tensor, "covariate item"]) -> Float64[Tensor, "direction item"]:
    """Return orthonormal directions that span the rows; the rows themselves if one is NaN."""
    if bool(rows.isnan().any()):
        return rows
    _, lengths, directions = torch.linalg.svd(rows, full_matrices=False)
    spanning: Tensor = directions[lengths > _NOTHING * rows.norm()]
    return spanning


def _residuals(
    ranks: Float64[Tensor, "*cell item"], known: Float64[Tensor, "direction item"]
) -> Float64[Tensor, "*cell item"]:
    """Return unit vectors of the part of the ranks that is orthogonal to the known directions.

    NaN where nothing remains.
    """
    rest = ranks - (ranks @ known.T) @ known
    length = rest.norm(dim=-1, keepdim=True)
    is_zero = length <= _NOTHING * ranks.norm(dim=-1, keepdim=True)
    unit: Tensor = rest / length.masked_fill(is_zero, torch.nan)
    return unit
