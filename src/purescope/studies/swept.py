"""What a sweep of classes and one of captions have in common: its bench, names and pairs."""

from dataclasses import dataclass

from purescope.studies.orders import Ranked
from purescope.studies.settings import PURITY, Options


@dataclass(frozen=True, eq=False)
class Swept:
    """A sweep of one model on one dataset.

    Args:
        bench: features, neurons, orders and options.
    """

    bench: Ranked

    @property
    def options(self) -> Options:
        """The options of the sweep."""
        return self.bench.options

    @property
    def ks(self) -> list[int]:
        """The numbers of neurons kept, in ascending order."""
        return self.bench.ks

    @property
    def strategies(self) -> tuple[str, ...]:
        """Names of the strategies and of the user's own orders, without random."""
        return self.options.names

    @property
    def curve_names(self) -> tuple[str, ...]:
        """Names of all curves: the strategies, and random if there are random orders."""
        return (*self.strategies, *(["random"] if self.options.draws else []))

    @property
    def compared(self) -> list[tuple[str, str]]:
        """Pairs to compare: each strategy with random orders, and high with low purity."""
        pairs = [(name, "random") for name in self.strategies if self.options.draws]
        return [*pairs, PURITY] if set(PURITY) <= set(self.strategies) else pairs
