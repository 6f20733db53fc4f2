"""Exact cosine silhouette of pruned embeddings, for every k at once and without distances between samples.

It needs class sums only. With ``u_i = x_iS / |x_iS|`` over the neurons S that are kept, ``R_c`` the sum of u over class
c and n_c its size, the mean cosine distance of i to class c is ``1 - u_i.R_c / n_c``, and to its own class without
itself ``a_i = 1 - (u_i.R_c - u_i.u_i) / (n_c - 1)``. With b_i the smallest such distance to another class,
``s_i = (b_i - a_i) / max(a_i, b_i)``, and 0 for a class of one. That is O(N C k) in place of O(N^2 k), and exact.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.evaluation import _cells

_CLASS_SUM_BYTES = 128 << 20  # of class sums; more orders than that are evaluated in turns


def silhouette_by_k(
    image: Float[Tensor, "sample neuron"],
    labels: Int[Tensor, " sample"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
) -> Float[Tensor, "order k"]:
    """Mean cosine silhouette with the first k neurons of each order: -1 (wrong clusters) to 1 (tight ones), float64.

    Of each sample ``(b - a) / max(a, b)``, a being its mean cosine distance to its own class and b that to the nearest
    other class (Rousseeuw 1987); here their mean, from `silhouette_samples_by_k`, exact and without distances.

    Args:
        image: ``[sample, neuron]`` image features, float32 or float64; norms do not matter.
        labels: ``[sample]``, the class of each; at least two different ones, and fewer than there are samples.
        orders: one order ``[neuron]`` or several ``[order, neuron]``, as `purescope.order_neurons` makes them.
        ks: how many neurons to keep, each from 1 to d; results stand in ascending k, each k once.

    Returns:
        ``[order, k]``, float64.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out of range, an order
            is no permutation, or the labels make one class, or one class for each sample.

    Examples:
        Two classes along two axes, tight and far apart:

        >>> image = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> silhouette_by_k(image, torch.tensor([0, 0, 1, 1]), torch.arange(2), ks=[2])
        tensor([[0.9945]], dtype=torch.float64)
    """
    scores = silhouette_samples_by_k(image, labels, orders, ks)
    return torch.stack([score.double().mean(1) for score in scores])


def silhouette_samples_by_k(
    image: Float[Tensor, "sample neuron"],
    labels: Int[Tensor, " sample"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
) -> Float[Tensor, "order k sample"]:
    """Cosine silhouette of each sample with the first k neurons of each order, in the dtype of the features.

    Equal to scikit-learn's ``silhouette_samples(metric="cosine")`` (Rousseeuw 1987), zero vectors included: one is at
    distance 1 from everything but itself. Classes without samples play no part. A distance carries the rounding of a
    cosine, so where all distances are below 1e-3 ask for float64.

    Args:
        image: image features, float32 or float64; norms do not matter.
        labels: class of each sample, at least two different ones, and fewer than there are samples.
        orders: one order ``[neuron]`` or several ``[order, neuron]``.
        ks: how many neurons to keep, each from 1 to d; results stand in ascending k, each k once.

    Raises:
        InputError: as in `ranks_by_k`, or the labels make one class, or one class for each sample.
    """
    orders, ks = _cells.check(image, None, labels, orders, ks)
    labels, sizes = _present_classes(labels)
    scores = image.new_empty(len(orders), len(ks), len(image))
    by_class = labels.argsort(stable=True)
    cells = len(ks) * len(sizes)  # for each order
    group = max(1, _CLASS_SUM_BYTES // (8 * cells * image.shape[1]))
    for first in range(0, len(orders), group):
        turn = slice(first, first + group)
        masks = _cells.masks(orders[turn], ks, image.dtype)
        rows = len(masks) * cells
        sums = image.new_zeros(*masks.shape[:2], len(sizes), image.shape[1], dtype=torch.float64)
        for block in _cells.blocks(len(image), rows, image.element_size()):
            samples = by_class[block]
            features = image.index_select(0, samples)
            inverse = _inverse_norms(masks, features)
            _add_class_sums(sums, inverse, features, labels[samples])
            scores[turn, :, samples] = inverse  # for the second pass, where the scores will stand
        means = (sums / sizes[:, None]).to(image.dtype) * masks[:, :, None]
        for block in _cells.blocks(len(image), rows, image.element_size()):
            inverse = scores[turn, :, block]
            scores[turn, :, block] = _silhouettes(means, inverse, image[block].contiguous(), labels[block], sizes)
    return scores


def _inverse_norms(
    masks: Float[Tensor, "order k neuron"], features: Float[Tensor, "sample neuron"]
) -> Float[Tensor, "order k sample"]:
    """``1 / |neurons kept|`` of each sample in each cell, 0 where the norm is 0."""
    squares = (masks.flatten(0, 1) @ (features * features).T).unflatten(0, masks.shape[:2])
    inverse: Tensor = squares.rsqrt().masked_fill_(squares == 0, 0)
    return inverse


def _add_class_sums(
    sums: Float[Tensor, "order k class neuron"],
    inverse: Float[Tensor, "order k sample"],
    features: Float[Tensor, "sample neuron"],
    labels: Int64[Tensor, " sample"],
) -> None:
    """Add to each class the unit vectors of its samples, which stand together, in float64.

    Neurons that a cell does not keep mean nothing.
    """
    classes, counts = labels.unique_consecutive(return_counts=True)
    start = 0
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        members = slice(start, start + count)
        sums[:, :, label] += inverse[:, :, members] @ features[members]
        start += count


def _silhouettes(
    means: Float[Tensor, "order k class neuron"],
    inverse: Float[Tensor, "order k sample"],
    features: Float[Tensor, "sample neuron"],
    labels: Int64[Tensor, " sample"],
    sizes: Int64[Tensor, " class"],
) -> Float[Tensor, "order k sample"]:
    cosines = (means.flatten(0, 2) @ features.T).unflatten(0, means.shape[:3])
    own = labels.expand(*means.shape[:2], 1, -1)
    size = sizes[labels].to(cosines.dtype)
    to_own = cosines.gather(2, own)[:, :, 0] * inverse * size
    to_other = cosines.scatter_(2, own, -torch.inf).amax(2) * inverse
    a = 1 - (to_own - (inverse > 0).to(cosines.dtype)) / (size - 1)
    b = 1 - to_other
    # Distances below rounding are 0, as they are between vectors that point the same way.
    floor = 8 * torch.finfo(cosines.dtype).eps
    a, b = a.masked_fill(a < floor, 0), b.masked_fill(b < floor, 0)
    scores: Tensor = (b - a) / torch.maximum(a, b)
    return scores.nan_to_num(nan=0.0).masked_fill(size == 1, 0)


def has_silhouette(labels: Int[Tensor, " sample"]) -> bool:
    """Whether labels admit a silhouette: there are two classes, and one of them has two samples.

    Examples:
        >>> has_silhouette(torch.tensor([0, 0, 1])), has_silhouette(torch.tensor([0, 1, 2]))
        (True, False)
    """
    return 2 <= len(labels.unique()) < len(labels)


def _present_classes(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Labels renumbered without gaps, and the size of each class."""
    classes, renumbered, sizes = labels.unique(return_inverse=True, return_counts=True)
    if not has_silhouette(labels):
        raise InputError(
            f"{len(classes)} classes among {len(labels)} samples",
            expected="at least two classes, one of them with two samples: distances within and between are compared",
            fix="leave the silhouette out for this dataset, or use coarser classes",
        )
    return renumbered, sizes
