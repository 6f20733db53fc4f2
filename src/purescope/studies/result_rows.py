"""Put the results of a sweep into rows of the table `purescope.tables.schemas.RESULTS`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from purescope.studies.orders import Ranked
from purescope.tables.files import check_table
from purescope.tables.result_table import ResultTable

# The bootstrap fails below so many right or wrong images.
FEW_IMAGES = 15


def result_columns(
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


def finished_table(table: pd.DataFrame, ranked: Ranked) -> ResultTable:
    """Return results with the columns that all rows share: names, sizes and options.

    Args:
        table: the other columns.
        ranked: the features and options that were measured.
    """
    features, options = ranked.features, ranked.options
    table = table.assign(
        model=features.model,
        dataset=features.dataset,
        n=len(features.image),
        neurons=ranked.neurons,
        seed=options.seed + table.draw,
        protocol=features.identity.get("protocol", ""),
        space=options.space,
        measure=options.measure,
        towers=options.towers,
        ablation=options.ablation,
    )
    return ResultTable(check_table(table))
