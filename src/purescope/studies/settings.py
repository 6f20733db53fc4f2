"""What a study measures: the settings that change numbers, and what they are by default."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from purescope.errors import InputError, near_miss
from purescope.maths.bases import BASES
from purescope.maths.cells import ABLATIONS
from purescope.maths.measures import MEASURES
from purescope.maths.scores import TOWERS
from purescope.maths.strategies import STRATEGIES

DRAWS = 50
RESAMPLES = 10_000

SPACES = ("weights", "activations", "centred")
PURITY = ("high_purity", "low_purity")


@dataclass(frozen=True)
class Options:
    """What a sweep measures; every field changes numbers. What they mean says `sweep`.

    Raises:
        InputError: one is unknown or out of range, or two do not go together.

    Examples:
        >>> Options(towers="image").draws
        50
    """

    keep: int | Iterable[int] | None = None
    strategies: Sequence[str] = PURITY
    draws: int = DRAWS
    seed: int = 0
    space: str = "weights"
    measure: str = "l1"
    towers: str = "both"
    ablation: str = "zero"
    renormalise: bool = False
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        named: list[tuple[str, str, Iterable[str]]] = [
            ("space", self.space, SPACES),
            ("measure", self.measure, MEASURES),
            ("towers", self.towers, TOWERS),
            ("ablation", self.ablation, ABLATIONS),
            *(("strategy", name, all_strategies()) for name in self.strategies),
        ]
        for what, name, known in named:
            if name not in known:
                raise InputError(f"unknown {what} {name!r}", **near_miss(name, known))
        if len(set(self.strategies)) < len(self.strategies):
            raise InputError(
                f"strategies {', '.join(self.strategies)}", expected="each of them once"
            )
        for what, count, least in (("draws", self.draws, 0), ("resamples", self.resamples, 1)):
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                raise InputError(f"{what} = {count}", expected=f"{least} or more")
        if self.renormalise and self.ablation != "zero":
            raise InputError(
                f"renormalise, and ablation {self.ablation!r}",
                expected="one of the two: a neuron that class features have lost adds nothing to a "
                "logit",
                fix="leave out renormalise, or use ablation 'zero'",
            )


def all_strategies() -> list[str]:
    """What can be swept beside random orders and the full embedding, which always are.

    Examples:
        >>> all_strategies()[:2]
        ['high_purity', 'low_purity']
    """
    return [name for name in (*STRATEGIES, *BASES) if name != "random"]
