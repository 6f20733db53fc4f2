"""Strategies: functions from the projections to one order of all neurons, first = kept first.

Keeping k neurons is taking the first k of the order, so one order serves every k. Rules for all strategies: equal
scores stand by index, lower first; a neuron that is dead in either tower stands last, dead ones by index.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.errors import InputError, did_you_mean
from purescope.purity import Projections, dead_neurons, total_overlap

Order: TypeAlias = Int64[Tensor, " neuron"]
Strategy: TypeAlias = Callable[[Projections, int], Order]

# Totals that differ by less than this are equal: duplicates of a neuron must tie, whatever order a sum was taken in.
_TIE_DECIMALS = 9


def high_purity(projections: Projections, seed: int = 0) -> Order:
    """Smallest total overlap first: the experiment's "Min Sparse". `seed` is not used."""
    return _ascending(total_overlap(projections))


def low_purity(projections: Projections, seed: int = 0) -> Order:
    """Largest total overlap first: the experiment's "Max Sparse". `seed` is not used."""
    return _ascending(-total_overlap(projections))


def random(projections: Projections, seed: int = 0) -> Order:
    """A uniformly drawn order of the live neurons, the same for the same seed on every machine."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randperm(projections.neurons, generator=generator)
    dead = _dead(projections)
    return torch.cat([draw[~dead[draw]], dead.nonzero()[:, 0]])


STRATEGIES: dict[str, Strategy] = {
    "high_purity": high_purity,
    "low_purity": low_purity,
    "random": random,
}


def order_neurons(projections: Projections, strategy: str = "high_purity", *, seed: int = 0) -> Order:
    """The order of a strategy named in `STRATEGIES`: ``[neuron]`` int64, a permutation of 0 .. d-1.

    Args:
        projections: both towers' projections.
        strategy: ``high_purity``, ``low_purity`` or ``random``.
        seed: which random order; the other strategies have one order only.

    Raises:
        InputError: the strategy is unknown.

    Examples:
        >>> image = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
        >>> order_neurons(Projections(image, image), "high_purity")
        tensor([2, 0, 1])
    """
    if strategy not in STRATEGIES:
        raise InputError(f"unknown strategy {strategy!r}", expected=did_you_mean(strategy, STRATEGIES))
    dead = int(_dead(projections).sum())
    if dead:
        warnings.warn(f"{dead} of {projections.neurons} neurons have norm zero and rank last", stacklevel=2)
    return STRATEGIES[strategy](projections, seed)


def check_keep(keep: int | Iterable[int], neurons: int) -> list[int]:
    """The ks to evaluate: ascending, without repeats, each from 1 to `neurons`.

    Raises:
        InputError: there is no k, or one is not a whole number in that range.

    Examples:
        >>> check_keep([300, 200, 200], neurons=512)
        [200, 300]
    """
    plain: object = keep.tolist() if hasattr(keep, "tolist") else keep  # of an array, or of its numbers
    ks: list[Any] = list(plain) if isinstance(plain, Iterable) and not isinstance(plain, str) else [plain]
    for k in ks:
        if isinstance(k, bool) or not hasattr(k, "__index__") or k not in range(1, neurons + 1):
            raise InputError(
                f"k = {k!r} neurons to keep",
                expected=f"a whole number from 1 to {neurons}, the number of neurons of this model",
                fix="change --keep (keep=)",
            )
    if not ks:
        raise InputError("no k to evaluate", expected=f"at least one from 1 to {neurons}", fix="change --keep (keep=)")
    return sorted({int(k) for k in ks})


def default_keep(neurons: int) -> list[int]:
    """The experiment's ks, 200 to 500 in steps of 50 at d = 512, and the same fractions of any other d.

    Examples:
        >>> default_keep(512)
        [200, 250, 300, 350, 400, 450, 500]
        >>> default_keep(768)
        [300, 375, 450, 525, 600, 675, 750]
    """
    return sorted({max(1, round(k * neurons / 512)) for k in range(200, 501, 50)})


def parse_keep(text: str) -> list[int]:
    """The ks that a text names: numbers and inclusive ranges ``first:last:step``, separated by commas.

    Raises:
        InputError: a part is neither.

    Examples:
        >>> parse_keep("16, 200:500:100")
        [16, 200, 300, 400, 500]
    """
    ks: list[int] = []
    for part in text.split(","):
        try:
            numbers = [int(number) for number in part.split(":")]
            first, last, step = {1: (numbers * 2 + [1])[:3], 2: [*numbers, 1], 3: numbers}[len(numbers)]
            if step < 1 or last < first:
                raise ValueError("a range that counts down or stands still")
            ks += range(first, last + 1, step)
        except (ValueError, KeyError) as error:
            raise InputError(
                f"--keep {text!r}: {part.strip()!r} is neither a whole number nor a rising range",
                expected="numbers and ranges first:last:step, such as 200:500:50 or 64,128,256",
            ) from error
    return ks


def _ascending(score: Float[Tensor, " neuron"]) -> Order:
    rounded = score.round(decimals=_TIE_DECIMALS).nan_to_num(nan=torch.inf)
    return rounded.argsort(stable=True)


def _dead(projections: Projections) -> Tensor:
    return dead_neurons(projections.image) | dead_neurons(projections.text)
