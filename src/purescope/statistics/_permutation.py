"""Where a value stands among draws of what chance gives."""

from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from purescope.errors import InputError, near_miss

Alternative = Literal["two-sided", "greater", "less"]

# Values as near as this share of the largest are equal, whatever rounding made of them: a missed tie is a p too small.
_TIE = 1e-12


def permutation_p(
    value: Float[Tensor, "*cell"], draws: Float[Tensor, " draw *cell"], alternative: Alternative = "two-sided"
) -> Float64[Tensor, "*cell"]:
    """Share of draws as extreme as the value, the value itself among them: ``(1 + as extreme) / (1 + draws)``.

    Never 0 (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9(1):39, 2010), and at most 5 % of values drawn like the
    draws have p <= 0.05. "greater" counts draws at or above the value, "less" those at or below; "two-sided" is twice
    the smaller of the two, at most 1.

    Raises:
        InputError: there are no draws, or their cells are not the value's, or the alternative is unknown.

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
    sides = {"two-sided": (2 * torch.minimum(less, greater)).clamp(max=1), "greater": greater, "less": less}
    if alternative not in sides:
        raise InputError(f"alternative {alternative!r}", **near_miss(alternative, sides))
    return _known(sides[alternative], value, draws)


def percentile_of(value: Float[Tensor, "*cell"], draws: Float[Tensor, " draw *cell"]) -> Float64[Tensor, "*cell"]:
    """Share of draws below the value, in percent: 0 (below all) to 100 (above all); a draw equal to it counts half.

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


def _known(result: Float64[Tensor, "*cell"], value: Tensor, draws: Tensor) -> Float64[Tensor, "*cell"]:
    return result.masked_fill(value.isnan() | draws.isnan().any(0), torch.nan)
