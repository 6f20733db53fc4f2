"""Two halves of the images, one to fit on and one to judge on."""

import torch
from jaxtyping import Int, Int64
from torch import Tensor


def halves(labels: Int[Tensor, " image"]) -> Int64[Tensor, " image"]:
    """0 and 1 in turns within each class, starting with 0: the same for everybody, whatever the seed.

    Examples:
        >>> halves(torch.tensor([7, 7, 3, 7, 3]))
        tensor([0, 1, 0, 0, 1])
    """
    by_class = labels.argsort(stable=True)
    ordered = labels[by_class]
    place = torch.arange(len(labels)) - torch.searchsorted(ordered, ordered)
    half = torch.empty_like(place)
    half[by_class] = place % 2
    return half
