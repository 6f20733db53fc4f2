"""The options of a sweep, with their defaults: everything that changes its numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from purescope.errors import InputError, near_miss
from purescope.maths.bases import BASES, is_basis
from purescope.maths.measures import MEASURES
from purescope.maths.strategies import STRATEGIES
from purescope.tables.columns import ABLATIONS, SPACES, TOWERS
from purescope.tables.metrics import IMAGE_METRICS

DRAWS = 50
RESAMPLES = 10_000
OwnOrder: TypeAlias = Sequence[int] | Tensor | npt.NDArray[np.int64]
PURITY = ("high_purity", "low_purity")

_RESERVED = ("full", "random", "gap", "chance", "")  # names that have a meaning in the tables


@dataclass(frozen=True)
class Options:
    """The options of a sweep; every field changes numbers. `purescope.sweep` explains them.

    Args:
        renormalise: None scales captions, and images for `metrics`, again over the kept neurons,
            but not classes.
        orders: the user's own orders by name; each is a permutation of the neurons, and its first
            neurons are kept first.
        metrics: more metrics of images, names in `purescope.tables.metrics.IMAGE_METRICS`.

    Raises:
        InputError: an option is unknown or out of range, or two do not go together.

    Examples:
        >>> Options(towers="image").draws
        50
        >>> Options(orders={"mine": [2, 0, 1]}).names
        ('high_purity', 'low_purity', 'mine')
    """

    keep: int | Iterable[int] | None = None
    strategies: Sequence[str] = PURITY
    draws: int = DRAWS
    seed: int = 0
    space: str = "weights"
    measure: str = "l1"
    towers: str = "both"
    ablation: str = "zero"
    renormalise: bool | None = None
    resamples: int = RESAMPLES
    orders: Mapping[str, OwnOrder] = field(default_factory=dict)
    metrics: Sequence[str] = ()

    def __post_init__(self) -> None:
        choices: list[tuple[str, str, Iterable[str]]] = [
            ("space", self.space, SPACES),
            ("measure", self.measure, MEASURES),
            ("towers", self.towers, TOWERS),
            ("ablation", self.ablation, ABLATIONS),
            *(("strategy", name, all_strategies()) for name in self.strategies),
            *(("metric", name, IMAGE_METRICS) for name in self.metrics),
        ]
        for option, name, known in choices:
            if name not in known and not (option == "strategy" and is_basis(name)):
                raise InputError(f"unknown {option} {name!r}", **near_miss(name, known))
        for option, names in (("strategies", self.strategies), ("metrics", self.metrics)):
            if len(set(names)) < len(names):
                raise InputError(f"{option} {', '.join(names)}", expected="each of them once")
        for option, count, least in (("draws", self.draws, 0), ("resamples", self.resamples, 1)):
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                raise InputError(f"{option} = {count}", expected=f"{least} or more")
        if self.renormalise and self.ablation != "zero":
            raise InputError(
                f"renormalise, and ablation {self.ablation!r}",
                expected="one of the two: a neuron dropped from class features adds nothing to a "
                "logit",
                fix="leave out renormalise, or use ablation 'zero'",
            )
        orders = {name: _checked_order(name, order) for name, order in self.orders.items()}
        object.__setattr__(self, "orders", orders)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the strategies and of the user's own orders."""
        return (*self.strategies, *self.orders)


def _checked_order(name: str, order: Any) -> tuple[int, ...]:
    """Return the user's own order as plain numbers.

    Raises:
        InputError: its name is reserved or that of a strategy, or it is no permutation.
    """
    if not isinstance(name, str) or name in (*_RESERVED, *all_strategies()) or is_basis(name):
        raise InputError(
            f"an order called {name!r}",
            expected="a name that no strategy has",
            fix="choose another name: orders={'mine': order}",
        )
    plain: Any = order.tolist() if hasattr(order, "tolist") else order
    numbers = list(plain) if isinstance(plain, Iterable) else [plain]
    whole = all(isinstance(neuron, int) and not isinstance(neuron, bool) for neuron in numbers)
    if not whole or sorted(numbers) != list(range(len(numbers))) or not numbers:
        raise InputError(
            f"the order {name!r}, which is no permutation of 0 to {max(len(numbers) - 1, 0):,}",
            expected="each neuron once, by its index, the first kept first",
            fix="a ranking by scores, best first: scores.argsort(descending=True)",
        )
    return tuple(numbers)


def all_strategies() -> list[str]:
    """Return the strategies that a sweep can measure besides random orders and all neurons.

    Examples:
        >>> all_strategies()[:2]
        ['high_purity', 'low_purity']
    """
    return [name for name in (*STRATEGIES, *BASES) if name != "random"]
