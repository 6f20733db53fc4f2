"""The cosines of all pairs of a model's neurons."""

import numpy as np
from jaxtyping import Float16

from purescope.maths.overlaps import Projections, cosine_gram
from purescope.tables.cosines import TOWERS


def cosine_maps(projections: Projections) -> dict[str, Float16[np.ndarray, "neuron neuron"]]:
    """Cosines of the neurons of each tower, ``image`` and ``text``, in their own numbering; 0 for a dead one.

    Half precision: a thousandth of a cosine is more than a picture shows.

    Examples:
        >>> import torch
        >>> cosine_maps(Projections(torch.eye(2), torch.ones(2, 3)))["text"].tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    return {tower: cosine_gram(getattr(projections, tower)).half().numpy() for tower in TOWERS}
