"""The neurons of a model as a table: what each overlaps with, and where it ranks."""

from collections.abc import Iterable

import pandas as pd

from purescope.errors import InputError, near_miss
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import Projections, overlap, purity, total_overlap
from purescope.maths.strategies import order_neurons


def neuron_table(projections: Projections, *, measures: Iterable[str] = ()) -> pd.DataFrame:
    """One row a neuron, purest first, in the experiment's order.

    Columns: ``rank`` (1 = purest), ``neuron`` (index), ``image_overlap``, ``text_overlap`` (0 to 1), ``total_overlap``
    (the experiment's score), ``image_purity``, ``text_purity`` (from 1 up). NaN where a neuron is dead.

    Args:
        projections: both towers'.
        measures: more columns, ``image_NAME`` and ``text_NAME`` of each name in `purescope.maths.measures.MEASURES`.

    Raises:
        InputError: a measure is unknown.

    Examples:
        >>> import torch
        >>> table = neuron_table(Projections(torch.eye(2), torch.ones(2, 3)), measures=["linf"])
        >>> table.neuron.tolist(), table.image_linf.tolist(), table.text_linf.tolist()
        ([0, 1], [0.0, 0.0], [1.0, 1.0])
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
    for name in measures:
        if name not in MEASURES:
            raise InputError(f"unknown measure {name!r}", **near_miss(name, MEASURES))
        columns |= {f"image_{name}": MEASURES[name].of(image), f"text_{name}": MEASURES[name].of(text)}
    table = pd.DataFrame({name: values[order].numpy() for name, values in columns.items()})
    table.insert(0, "neuron", order.numpy())
    table.insert(0, "rank", range(1, len(order) + 1))
    return table
