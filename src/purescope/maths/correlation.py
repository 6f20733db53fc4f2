"""Rank correlation, also with what else explains it held fixed."""

from statistics import NormalDist

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from purescope.errors import InputError

# What is left of ranks is nothing, if it is shorter than this share of them: rounding.
_NOTHING = 1e-9


def spearman(
    x: Float[Tensor, "*cell item"], y: Float[Tensor, "*#cell item"]
) -> Float64[Tensor, "*cell"]:
    """Spearman's rank correlation: Pearson's of the ranks, -1 to 1; equal values share the mean of
    their ranks.

    NaN where one of the two never changes. `y` may lack the cells of `x` and serves each of them
    then.

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
    """Spearman's correlation of x and y given covariates: -1 to 1, Pearson's of what their ranks
    keep.

    All ranks are centred, and from those of x and y is taken what is a linear function of those of
    `given`. NaN where nothing remains: x or y never changes or follows from the covariates.
    Covariates may repeat one another.

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
    _check(x, y, given)
    known = _orthonormal(_ranks(given))
    left, right = (_residuals(_ranks(values), known) for values in (x, y))
    return (left * right).sum(-1).clamp(-1, 1)


def spearman_interval(
    r: Float[Tensor, "*cell"], items: int, *, covariates: int = 0, level: float = 0.95
) -> tuple[Float64[Tensor, "*cell"], Float64[Tensor, "*cell"]]:
    """Interval of a rank correlation over independent items, by Fisher's z.

    ``tanh(atanh(r) ± z sqrt((1 + r^2 / 2) / (items - covariates - 3)))`` (Bonett and Wright,
    Psychometrika 65, 2000): for 10 items or more and a correlation within ±0.95.

    Raises:
        InputError: there are not four items beyond the covariates, or the level is not between 0
            and 1.

    Examples:
        >>> low, high = spearman_interval(torch.tensor(0.3), items=512)
        >>> round(low.item(), 4), round(high.item(), 4)
        (0.2172, 0.3785)
    """
    freedom = items - covariates - 3
    if freedom < 1:
        raise InputError(
            f"{items} items and {covariates} covariates", expected="four items or more beyond them"
        )
    if not 0 < level < 1:
        raise InputError(f"level = {level}", expected="a share between 0 and 1, such as 0.95")
    r = r.double()
    half = NormalDist().inv_cdf((1 + level) / 2) * ((1 + r.square() / 2) / freedom).sqrt()
    return (r.atanh() - half).tanh(), (r.atanh() + half).tanh()


def _check(x: Tensor, y: Tensor, given: Tensor) -> None:
    fits = (
        y.shape in (x.shape, x.shape[-1:]) and given.ndim == 2 and given.shape[1:] == x.shape[-1:]
    )
    if not fits or not x.ndim or x.shape[-1] < 2:
        raise InputError(
            f"x {list(x.shape)}, y {list(y.shape)}, given {list(given.shape)}",
            expected="x [*cell, item], y of that shape or [item], given [covariate, item], of two "
            "items or more",
        )


def _ranks(values: Float[Tensor, "*cell item"]) -> Float64[Tensor, "*cell item"]:
    """Ranks around 0, equal values sharing theirs; NaN all along where one value is."""
    ordered = values.sort(dim=-1).values.contiguous()
    values = values.contiguous()
    below = torch.searchsorted(ordered, values)
    not_above = torch.searchsorted(ordered, values, right=True)
    ranks = (below + not_above - values.shape[-1]).double() / 2
    ranks[values.isnan().any(-1)] = torch.nan
    return ranks


def _orthonormal(rows: Float64[Tensor, "covariate item"]) -> Float64[Tensor, "direction item"]:
    if bool(rows.isnan().any()):
        return rows
    _, lengths, directions = torch.linalg.svd(rows, full_matrices=False)
    known: Tensor = directions[lengths > _NOTHING * rows.norm()]
    return known


def _residuals(
    ranks: Float64[Tensor, "*cell item"], known: Float64[Tensor, "direction item"]
) -> Float64[Tensor, "*cell item"]:
    """Unit vectors of what of the ranks is orthogonal to the known directions; NaN where that is
    nothing.
    """
    left = ranks - (ranks @ known.T) @ known
    length = left.norm(dim=-1, keepdim=True)
    unit: Tensor = left / length.masked_fill(
        length <= _NOTHING * ranks.norm(dim=-1, keepdim=True), torch.nan
    )
    return unit
