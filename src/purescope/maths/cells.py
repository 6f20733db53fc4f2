"""What accuracy and silhouette share: checked arguments, masks of the cells, and blocks of samples.

Samples are read in blocks, so memory is bounded by a block and the results: one number for each
order, k and sample. Inside a block results are laid out ``[row, sample]``: a reduction over rows
runs over whole rows.

A neuron that is not kept is set to zero, to its mean, or to its value on another image. Zero is the
experiment's. The others leave a pruned embedding nearer to those the class features were made for:
a mean takes away what tells images apart and no more, and a value of another image keeps even the
neuron's distribution.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.errors import InputError, near_miss
from purescope.maths.keep import check_keep

BLOCK_SAMPLES = 2048  # at 512 neurons four megabytes: a block is worth most while it stays in cache
BLOCK_BYTES = 8 << 20  # of results, before they are reduced


def blocks(samples: int, rows: int, itemsize: int) -> Iterator[slice]:
    """All samples in turn, in blocks for which `rows` numbers a sample stay within the block
    budget.
    """
    length = max(1, min(BLOCK_SAMPLES, BLOCK_BYTES // (rows * itemsize)))
    return (slice(first, first + length) for first in range(0, samples, length))


def masks(
    orders: Int64[Tensor, "order neuron"], ks: list[int], dtype: torch.dtype
) -> Float[Tensor, "order k neuron"]:
    """1 for each neuron that a cell keeps, else 0."""
    ranks = orders.argsort(dim=1)
    return (ranks[:, None] < torch.tensor(ks)[:, None]).to(dtype)


def check(
    image: Tensor, text: Tensor | None, labels: Tensor, orders: Tensor, ks: Sequence[int]
) -> tuple[Tensor, list[int]]:
    """Validated ``[order, neuron]`` orders and ascending ks."""
    for name, features in (("image", image), ("text", text)):
        if features is None:
            continue
        if (
            features.dtype not in (torch.float32, torch.float64)
            or features.ndim != 2
            or 0 in features.shape
        ):
            raise InputError(
                f"{name} features are {features.dtype} of shape {list(features.shape)}",
                expected="float32 or float64, [rows, neuron]",
            )
        if features.shape[1] != image.shape[1] or features.dtype != image.dtype:
            raise InputError(
                f"image {image.dtype} {list(image.shape)}, text {features.dtype} "
                f"{list(features.shape)}",
                expected="the same number of neurons and the same dtype",
            )
        if (
            not features.sum().isfinite() and not features.isfinite().all()
        ):  # the sum settles it in one quick pass
            row = int((~features.isfinite()).any(1).nonzero()[0, 0])
            raise InputError(
                f"{name} features have a NaN or infinite value, first in row {row}",
                expected="finite values",
            )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(
            f"labels are {labels.dtype}", expected="whole numbers: the index of each sample's class"
        )
    if labels.shape != image.shape[:1]:
        raise InputError(
            f"{labels.numel()} labels for {len(image)} samples", expected="one label a sample"
        )
    classes = len(text) if text is not None else int(labels.max()) + 1
    outside = ((labels < 0) | (labels >= classes)).nonzero()
    if len(outside):
        raise InputError(
            f"label {int(labels[outside[0, 0]])} of sample {int(outside[0, 0])}",
            expected=f"0 to {classes - 1}; {len(outside)} labels are outside",
        )
    neurons = image.shape[1]
    if (
        orders.dtype != torch.int64
        or orders.ndim not in (1, 2)
        or orders.shape[-1] != neurons
        or not len(orders)
    ):
        raise InputError(
            f"orders are {orders.dtype} of shape {list(orders.shape)}",
            expected=f"int64, [{neurons}] or [order, {neurons}]",
            fix="use purescope.order_neurons",
        )
    orders = orders if orders.ndim == 2 else orders[None]
    if not (orders.sort(dim=1).values == torch.arange(neurons)).all():
        raise InputError(
            f"an order that is no permutation of the {neurons} neurons",
            expected="each neuron once",
            fix="use purescope.order_neurons",
        )
    return orders, check_keep(ks, neurons)


def ablation_values(
    image: Float[Tensor, "sample neuron"], ablation: str = "zero", *, seed: int = 0
) -> Float[Tensor, "#sample neuron"] | None:
    """The value that each neuron has once it is dropped, for `ranks_by_k`; None where that is zero.

    Args:
        image: image features.
        ablation: ``zero``; ``mean``, each neuron's mean over the images; or ``resample``, the whole
            embedding of one other image, drawn once for each image (a derangement by a random
            cycle).
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
    some = image.split(
        max(1, (1 << 22) // len(image)), dim=1
    )  # neurons at a time: no second copy of all features
    return torch.cat([block.double().mean(0, keepdim=True) for block in some], dim=1).to(
        image.dtype
    )


def _resample(image: Tensor, seed: int) -> Tensor:
    if len(image) < 2:
        raise InputError(
            "one image alone to resample from", expected="at least two", fix="use ablation 'mean'"
        )
    cycle = torch.randperm(len(image), generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(cycle)
    other[cycle] = cycle.roll(1)
    return image[other]


ABLATIONS: dict[str, Callable[[Tensor, int], Tensor | None]] = {
    "zero": _zero,
    "mean": _mean,
    "resample": _resample,
}
