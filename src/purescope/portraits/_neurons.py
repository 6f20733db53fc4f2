"""A model's neurons in their weights, a row each."""

import warnings

import pandas as pd
import torch

from purescope.maths.overlaps import Projections, overlap
from purescope.neurons import neuron_table
from purescope.tables.files import check_table
from purescope.tables.schemas import NEURONS


def neuron_portraits(label: str, projections: Projections | None, *, seed: int = 0) -> pd.DataFrame:
    """The model's neurons, purest first, beside what random weights overlap: `purescope.tables.schemas.NEURONS`.

    Args:
        label: the model's.
        projections: None gives no rows.
        seed: of the random weights.
    """
    if projections is None:
        return check_table(pd.DataFrame(columns=list(NEURONS.columns)), NEURONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dead neurons, which the sweep has told
        table = neuron_table(projections)
    generator = torch.Generator().manual_seed(seed)
    for tower, weights in (("image", projections.image), ("text", projections.text)):
        drawn = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
        table[f"{tower}_random"] = overlap(drawn).sort().values.numpy()
    return check_table(table.assign(model=label), NEURONS)
