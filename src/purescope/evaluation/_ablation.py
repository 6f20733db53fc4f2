"""What a neuron that is not kept is set to: zero, its mean, or its value on another image.

Zero is the experiment's. The others leave a pruned embedding nearer to those the class features were made for: a mean
takes away what tells images apart and no more, and a value of another image keeps even the neuron's distribution.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from purescope.errors import InputError, near_miss


def ablation_values(
    image: Float[Tensor, "sample neuron"], ablation: str = "zero", *, seed: int = 0
) -> Float[Tensor, "#sample neuron"] | None:
    """The value that each neuron has once it is dropped, for `ranks_by_k`; None where that is zero.

    Args:
        image: image features.
        ablation: ``zero``; ``mean``, each neuron's mean over the images; or ``resample``, the whole embedding of one
            other image, drawn once for each image (a derangement by a random cycle).
        seed: of the drawing.

    Raises:
        InputError: the ablation is unknown, or there is no other image to draw.

    Examples:
        >>> ablation_values(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), "mean")
        tensor([[0.5000, 0.0000]])
    """
    if ablation not in ABLATIONS:
        raise InputError(f"unknown ablation {ablation!r}", **near_miss(ablation, ABLATIONS))
    return ABLATIONS[ablation](image, seed)


def _zero(image: Tensor, seed: int) -> None:
    return None


def _mean(image: Tensor, seed: int) -> Tensor:
    some = image.split(max(1, (1 << 22) // len(image)), dim=1)  # neurons at a time: no second copy of all features
    return torch.cat([block.double().mean(0, keepdim=True) for block in some], dim=1).to(image.dtype)


def _resample(image: Tensor, seed: int) -> Tensor:
    if len(image) < 2:
        raise InputError("one image alone to resample from", expected="at least two", fix="use ablation 'mean'")
    cycle = torch.randperm(len(image), generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(cycle)
    other[cycle] = cycle.roll(1)
    return image[other]


ABLATIONS: dict[str, Callable[[Tensor, int], Tensor | None]] = {"zero": _zero, "mean": _mean, "resample": _resample}
