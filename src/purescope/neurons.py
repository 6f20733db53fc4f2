"""The neurons of a model as a table: what each overlaps with, and where it ranks."""

import pandas as pd

from purescope.ordering import order_neurons
from purescope.purity import Projections, overlap, purity, total_overlap


def neuron_table(projections: Projections) -> pd.DataFrame:
    """One row a neuron, purest first, in the experiment's order.

    Columns: ``rank`` (1 = purest), ``neuron`` (index), ``image_overlap``, ``text_overlap`` (0 to 1), ``total_overlap``
    (the experiment's score), ``image_purity``, ``text_purity`` (from 1 up). NaN where a neuron is dead.

    Examples:
        >>> import torch
        >>> neuron_table(Projections(torch.eye(2), torch.ones(2, 3))).neuron.tolist()
        [0, 1]
    """
    order = order_neurons(projections, "high_purity")
    image, text = projections.image, projections.text
    columns = {
        "image_overlap": overlap(image),
        "text_overlap": overlap(text),
        "total_overlap": total_overlap(projections),
        "image_purity": purity(image),
        "text_purity": purity(text),
    }
    table = pd.DataFrame({name: values[order].numpy() for name, values in columns.items()})
    table.insert(0, "neuron", order.numpy())
    table.insert(0, "rank", range(1, len(order) + 1))
    return table
