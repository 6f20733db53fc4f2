"""What a sweep of classes and one of captions have in common: its bench, names and pairs."""

from dataclasses import dataclass

from purescope.maths.bases import is_basis, whole_basis
from purescope.parallel import per_turn
from purescope.studies.orders import Ranked
from purescope.studies.settings import PURITY, Options

_BLOCK = 1 << 20  # numbers of images at some ks that are worked on at a time


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
    def some_ks(self) -> list[slice]:
        """The places of all ks in a few parts, to work on all images at some ks at a time."""
        count = per_turn(_BLOCK, len(self.bench.features.image))
        return [slice(start, start + count) for start in range(0, len(self.ks), count)]

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
        """Pairs to compare: each strategy with random orders, high with low purity, and each band
        of a basis with the whole basis.
        """
        names = self.strategies
        pairs = [(name, "random") for name in names if self.options.draws]
        pairs += [PURITY] if set(PURITY) <= set(names) else []
        wholes = {name: whole_basis(name) for name in names if is_basis(name)}
        return pairs + [
            (name, whole) for name, whole in wholes.items() if name != whole and whole in names
        ]
