"""What a sweep of classes and one of captions have in common: its bench, names, pairs and rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from purescope.maths.bases import is_basis, whole_basis
from purescope.parallel import per_turn
from purescope.studies.orders import Ranked
from purescope.studies.settings import PURITY, Options
from purescope.tables.files import check_table
from purescope.tables.result_table import ResultTable

# The bootstrap fails below so many right or wrong images.
FEW_IMAGES = 15

_BLOCK = 1 << 18  # numbers of images at some ks that are worked on at a time


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

    def rows(
        self,
        metrics: Sequence[str],
        full: Sequence[Tensor],
        values: Sequence[Tensor],
        draws: Tensor,
    ) -> pd.DataFrame:
        """Return a row for each strategy, draw, k and metric; random orders have no intervals.

        Args:
            metrics: names of the metrics.
            full: values of all neurons and both ends of their intervals, each ``[metric]``.
            values: the same of the strategies, each ``[strategy, k, metric]``.
            draws: values of the random orders, ``[draw, k, metric]``.
        """
        no_interval = torch.full_like(draws, torch.nan)
        named = [(strategy, 0) for strategy in self.strategies]
        drawn = [("random", draw) for draw in range(len(draws))]
        blocks = [
            _columns([("full", 0)], [self.bench.neurons], metrics, *full),
            _columns(named, self.ks, metrics, *values),
            _columns(drawn, self.ks, metrics, draws, no_interval, no_interval),
        ]
        return pd.DataFrame(
            {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
        )

    def finished(self, table: pd.DataFrame) -> ResultTable:
        """Return `rows` with the columns that all share: names, sizes, options.

        The table is `purescope.tables.schemas.RESULTS`.
        """
        features, options = self.bench.features, self.options
        table = table.assign(
            model=features.model,
            dataset=features.dataset,
            n=len(features.image),
            neurons=self.bench.neurons,
            seed=options.seed + table.draw,
            protocol=features.identity.get("protocol", ""),
            space=options.space,
            measure=options.measure,
            towers=options.towers,
            ablation=options.ablation,
        )
        return ResultTable(check_table(table))


def _columns(
    orders: list[tuple[str, int]],
    ks: list[int],
    metrics: Sequence[str],
    values: Tensor,
    low: Tensor,
    high: Tensor,
) -> dict[str, np.ndarray]:
    """Return columns with a row for each order, k and metric; `orders` are strategy and draw."""
    strategies, draws = ([order[place] for order in orders] for place in (0, 1))
    rows = len(ks) * len(metrics)
    return {
        "strategy": np.repeat(np.array(strategies, dtype=object), rows),
        "draw": np.repeat(np.array(draws, dtype=np.int64), rows),
        "k": np.tile(np.repeat(np.array(ks), len(metrics)), len(orders)),
        "metric": np.tile(np.array(metrics, dtype=object), len(orders) * len(ks)),
        "value": values.flatten().numpy(),
        "low": low.flatten().numpy(),
        "high": high.flatten().numpy(),
    }
