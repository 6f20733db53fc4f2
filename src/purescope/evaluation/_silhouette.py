"""Exact cosine silhouette of pruned embeddings, for every k at once and without distances between samples.

It needs class sums only. With ``u_i = x_iS / |x_iS|`` over the neurons S that are kept, ``R_c`` the sum of u over class
c and n_c its size, the mean cosine distance of i to class c is ``1 - u_i.R_c / n_c``, and to its own class without
itself ``a_i = 1 - (u_i.R_c - u_i.u_i) / (n_c - 1)``. With b_i the smallest such distance to another class,
``s_i = (b_i - a_i) / max(a_i, b_i)``, and 0 for a class of one. That is O(N C k) in place of O(N^2 k), and exact.

A distance is 1 less a cosine, so it loses the digits that the cosine shares with 1. In float32 six places are left
where embeddings point all ways, and none where they fill a narrow cone, as those of a model at the first step of its
training do. So cells in which a sample has only small distances are measured once more, in float64.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.evaluation import _cells

_CLASS_SUM_BYTES = 16 << 20  # of class sums; more orders than that are evaluated in turns

_NARROW = 2.0**-6  # where a and b are below it, the rounding of a float32 cosine moves a sample's score by 1e-4


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

    Equal to scikit-learn's ``silhouette_samples(metric="cosine")`` (Rousseeuw 1987) in float64, zero vectors included:
    one is at distance 1 from everything but itself. Classes without samples play no part. Distances that are less than
    the rounding of the features are 0.

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
    group = max(1, _CLASS_SUM_BYTES // (8 * len(ks) * len(sizes) * image.shape[1]))
    for first in range(0, len(orders), group):
        masks = _cells.masks(orders[first : first + group], ks, image.dtype)
        narrow = _measure(scores[first : first + group], image, labels, sizes, masks)
        if image.dtype == torch.float64:
            continue
        for place in narrow.any(1).nonzero()[:, 0].tolist():
            cells = narrow[place].nonzero()[:, 0]
            wide = torch.empty(1, len(cells), len(image), dtype=torch.float64)
            _measure(wide, image, labels, sizes, masks[place, cells][None].double())
            scores[first + place, cells] = wide[0].to(scores.dtype)
    return scores


def _measure(
    scores: Float[Tensor, "order k sample"],
    image: Float[Tensor, "sample neuron"],
    labels: Int64[Tensor, " sample"],
    sizes: Int64[Tensor, " class"],
    masks: Float[Tensor, "order k neuron"],
) -> Bool[Tensor, "order k"]:
    """Write the silhouettes of some orders into `scores`, in its dtype, and tell in which cells distances are small."""
    rows, dtype = masks.shape[0] * masks.shape[1] * len(sizes), scores.dtype
    by_class = labels.argsort(stable=True)
    means = torch.zeros(*masks.shape[:2], len(sizes), image.shape[1], dtype=torch.float64)
    for block in _cells.blocks(len(image), rows, scores.element_size()):
        samples = by_class[block]
        features = image.index_select(0, samples).to(dtype)
        inverse = _inverse_norms(masks, features)
        _add_class_sums(means, inverse, features, labels[samples])
        scores[:, :, samples] = inverse  # for the second pass, where the scores will stand
    means = means.div_(sizes[:, None]).to(dtype).mul_(masks[:, :, None])
    narrow = torch.zeros(masks.shape[:2], dtype=torch.bool)
    # In float64 what rounding leaves is that of the features: two rows of one direction are as far apart as that.
    floor = 8 * torch.finfo(dtype).eps if image.dtype == dtype else torch.finfo(image.dtype).eps ** 2
    for block in _cells.blocks(len(image), rows, scores.element_size()):
        features = image[block].to(dtype).contiguous()
        a, b = _distances(means, scores[:, :, block], features, labels[block], sizes)
        # Distances below rounding are 0, as they are between vectors that point the same way.
        a, b = a.masked_fill(a < floor, 0), b.masked_fill(b < floor, 0)
        larger, alone = torch.maximum(a, b), sizes[labels[block]] == 1
        scores[:, :, block] = ((b - a) / larger).nan_to_num_(nan=0.0).masked_fill_(alone, 0)
        narrow |= ((larger < _NARROW) & ~alone).any(2)
    return narrow


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


def _distances(
    means: Float[Tensor, "order k class neuron"],
    inverse: Float[Tensor, "order k sample"],
    features: Float[Tensor, "sample neuron"],
    labels: Int64[Tensor, " sample"],
    sizes: Int64[Tensor, " class"],
) -> tuple[Float[Tensor, "order k sample"], Float[Tensor, "order k sample"]]:
    """Mean distances of each sample to its own class and to the nearest other one; alone in its class, one of none."""
    cosines = (means.flatten(0, 2) @ features.T).unflatten(0, means.shape[:3])
    own = labels.expand(*means.shape[:2], 1, -1)
    size = sizes[labels].to(cosines.dtype)
    to_own = cosines.gather(2, own)[:, :, 0] * inverse * size
    to_other = cosines.scatter_(2, own, -torch.inf).amax(2) * inverse
    return 1 - (to_own - (inverse > 0).to(cosines.dtype)) / (size - 1), 1 - to_other


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
