"""Which neurons each strategy keeps."""

import pandas as pd
import torch

from purescope.maths.overlaps import Projections
from purescope.maths.strategies import STRATEGIES
from purescope.sweep import Measured, strategy_input
from purescope.tables.files import check_table
from purescope.tables.schema import STRINGS
from purescope.tables.schemas import ORDERS


def order_table(measured: Measured, projections: Projections | None) -> pd.DataFrame:
    """The neurons in the order of each strategy that was swept: `purescope.tables.schemas.ORDERS`.

    A strategy that looks at labels is fitted on all images here; the sweep fits it on one half and judges it on the
    other.

    Args:
        measured: the sweep of a model on a data set.
        projections: by which its neurons were ranked, if they were by weights.
    """
    features, options = measured.features, measured.options
    seen = strategy_input(features, projections, options)
    names = [name for name in measured.strategies if name in STRATEGIES]
    orders = [STRATEGIES[name].order(seen, options.seed) for name in names]
    table = pd.DataFrame(
        {
            "model": features.model,
            "dataset": features.dataset,
            "strategy": pd.array(names, dtype=STRINGS).repeat(seen.neurons),
            "place": torch.arange(1, seen.neurons + 1).repeat(len(names)).numpy(),
            "neuron": torch.cat([torch.empty(0, dtype=torch.int64), *orders]).numpy(),
        }
    )
    return check_table(table, ORDERS)
