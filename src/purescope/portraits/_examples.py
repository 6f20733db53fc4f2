"""The images that activate a neuron most and least."""

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.features.features import Features
from purescope.parallel import on_each_core
from purescope.tables.files import check_table
from purescope.tables.schema import STRINGS
from purescope.tables.schemas import EXAMPLES

EACH = 5  # images at either end

_NUMBERS = 1 << 20  # that a core takes at a time, of a copy of some neurons' activations


def example_table(features: Features) -> pd.DataFrame:
    """The `EACH` images at either end of each neuron: `purescope.tables.schemas.EXAMPLES`; of equal ones the lower
    index.

    Of fewer images, all stand at both ends.
    """
    images, neurons = features.image.shape
    each = min(EACH, images)
    found = _ends(features.image, each)
    activation = features.image.T[torch.arange(neurons)[:, None, None], found]
    places = torch.arange(1, each + 1)
    index = pd.MultiIndex.from_product(
        [range(neurons), torch.stack([places, -places]).flatten().tolist()], names=["neuron", "place"]
    )
    chosen = found.flatten()
    table = pd.DataFrame({"image": chosen, "activation": activation.flatten().double()}, index=index).reset_index()
    names = pd.array(features.classes, dtype=STRINGS)
    table["class"] = names[features.labels[chosen].numpy()]
    return check_table(table.assign(model=features.model, dataset=features.dataset), EXAMPLES)


def _ends(image: Float[Tensor, "image neuron"], each: int) -> Int64[Tensor, "neuron 2 each"]:
    """The images at the upper and at the lower end of each neuron."""

    def of_some(block: Tensor) -> Tensor:
        rows = block.T.contiguous()
        return torch.stack([_largest(rows, each), _largest(-rows, each)], dim=1)

    neurons = max(1, min(64, _NUMBERS // len(image)))
    return torch.cat([*on_each_core(of_some, image.split(neurons, dim=1))])


def _largest(rows: Float[Tensor, "neuron image"], count: int) -> Int64[Tensor, "neuron count"]:
    """Where they are in each row, from the largest on; of equal ones the lower index, which topk does not promise."""
    near = rows >= rows.topk(count).values[:, -1:]
    if near.sum() == count * len(rows):
        columns = near.nonzero()[:, 1].view(-1, count)
        return columns.gather(1, rows.gather(1, columns).argsort(dim=1, descending=True, stable=True))
    return rows.argsort(dim=1, descending=True, stable=True)[:, :count]
