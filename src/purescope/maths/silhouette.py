"""Exact cosine silhouette of pruned embeddings for every k at once, without pairwise distances.

Class sums are enough. Let S be the kept neurons and ``u_i = x_iS / |x_iS|``. Let ``R_c`` be the sum
of u over class c and n_c its size. Then the mean cosine distance of i to class c is ``1 - u_i.R_c /
n_c``, and to its own class without itself ``a_i = 1 - (u_i.R_c - u_i.u_i) / (n_c - 1)``. With b_i
the smallest such distance to another class, ``s_i = (b_i - a_i) / max(a_i, b_i)``, and 0 for a
class of one. This costs O(N C k) instead of O(N^2 k), and is exact.

A distance is 1 minus a cosine, so it loses the digits in which the cosine agrees with 1. In float32
six digits remain where embeddings point in all directions. None remain where they fill a narrow
cone, as the embeddings of a model at the first step of its training do. So cells in which a sample
has only small distances are measured again in float64.

The pseudo-values show how the mean silhouette would vary with other samples. A sample's silhouette
depends on all samples, because each sample changes the mean distances of the others. Resampling the
silhouettes themselves ignores this and gives intervals that are far too narrow. To first order the
mean silhouette is a mean over samples of the pseudo-values ``s_i + h_i``, where h_i is the effect
of sample i on the silhouettes of all others (the infinitesimal jackknife, Jaeckel 1972; Efron
1982). With ``d_ji`` the cosine distance of j to i,

``h_i = sum_{j in c, j != i} ds_j/da_j (d_ji - a_j) / (n_c - 1) + sum_{j next to c} ds_j/db_j (d_ji
- b_j) / n_c``,

where c is the class of i, and j is next to c if c is its nearest other class. As ``d_ji = 1 -
u_j.u_i``, both sums over j are one class sum of weighted unit vectors, multiplied once with each
sample. In each class the h_i add up to 0, so the mean silhouette does not change.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells as _cells
from purescope.parallel import per_turn

_GROUP_BYTES = 16 << 20  # class sums and scores of the orders that are evaluated at a time
# If a and b are below this, the rounding of a float32 cosine changes a sample's score by 1e-4.
_NARROW = 2.0**-6


def silhouette_by_k(
    image: Float[Tensor, "sample neuron"],
    labels: Int[Tensor, " sample"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
) -> Float[Tensor, "order k"]:
    """Compute the mean cosine silhouette with the first k neurons of each order, float64.

    It runs from -1 (wrong clusters) to 1 (tight clusters). The silhouette of a sample is ``(b - a)
    / max(a, b)``, where a is its mean cosine distance to its own class and b that to the nearest
    other class (Rousseeuw 1987). This is the mean of `silhouette_samples_by_k`, exact and without
    pairwise distances.

    Args:
        image: ``[sample, neuron]`` image features, float32 or float64; norms do not matter.
        labels: ``[sample]``, the class of each sample; at least two different classes, and fewer
            classes than samples.
        orders: one order ``[neuron]`` or several ``[order, neuron]``, as `purescope.order_neurons`
            makes them.
        ks: how many neurons to keep, each from 1 to d; results are sorted by ascending k, each k
            once.

    Returns:
        ``[order, k]``, float64.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out
            of range, an order is not a permutation, or the labels are one class, or one class for
            each sample.

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
    """Compute the cosine silhouette of each sample with the first k neurons of each order.

    Results have the dtype of the features. In float64 they are equal to scikit-learn's
    ``silhouette_samples(metric="cosine")`` (Rousseeuw 1987), including zero vectors: a zero vector
    has distance 1 from everything but itself. Classes without samples are ignored. Distances below
    the rounding of the features are 0.

    Args:
        image, labels, orders, ks: as in `silhouette_by_k`.

    Raises:
        InputError: as in `silhouette_by_k`.
    """
    return _measure_all(image, labels, orders, ks)[0]


def silhouette_pseudovalues_by_k(
    image: Float[Tensor, "sample neuron"],
    labels: Int[Tensor, " sample"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
) -> tuple[Float[Tensor, "order k sample"], Float[Tensor, "order k sample"]]:
    """Compute `silhouette_samples_by_k`, and each sample's pseudo-values of the mean silhouette.

    A pseudo-value is the sample's silhouette plus the sample's effect on the others. The mean of
    the pseudo-values is the mean silhouette. Resampled within the groups of `silhouette_strata`,
    their means vary as the mean silhouette does. A class of two has only one distance, so it does
    not show how much that distance varies. Such classes form one group, and their values are moved
    away from its mean by a factor of sqrt(2), because the two values of one distance count once.

    Args:
        image, labels, orders, ks: as in `silhouette_by_k`.

    Raises:
        InputError: as in `silhouette_by_k`.

    Examples:
        >>> axes = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.4], [0.0, 1.0], [0.1, 1.0], [0.5, 1.0]]
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> scores, values = silhouette_pseudovalues_by_k(
        ...     torch.tensor(axes), labels, torch.arange(2), ks=[2]
        ... )
        >>> scores.mean(), values.mean()
        (tensor(0.9152), tensor(0.9152))
    """
    scores, values = _measure_all(image, labels, orders, ks, pseudovalues=True)
    assert values is not None
    return scores, values


def silhouette_strata(labels: Int[Tensor, " sample"]) -> Int64[Tensor, " sample"]:
    """Return the groups in which pseudo-values are resampled.

    They are the classes; classes of one or two samples form one group.

    Examples:
        >>> silhouette_strata(torch.tensor([0, 0, 0, 1, 2, 2]))
        tensor([0, 0, 0, 1, 1, 1])
    """
    classes, renumbered, sizes = labels.unique(return_inverse=True, return_counts=True)
    small = sizes <= 2
    merged = torch.where(small, len(classes), torch.arange(len(classes)))
    strata: Tensor = merged[renumbered].unique(return_inverse=True)[1]
    return strata


def _measure_all(
    image: Tensor, labels: Tensor, orders: Tensor, ks: Sequence[int], *, pseudovalues: bool = False
) -> tuple[Float[Tensor, "order k sample"], Float[Tensor, "order k sample"] | None]:
    """Compute scores, and pseudo-values if asked for.

    Some orders are processed at a time, and cells with small distances again in float64.
    """
    orders, ks = _cells.check(image, None, labels, orders, ks)
    labels, sizes = _present_classes(labels)
    scores = image.new_empty(len(orders), len(ks), len(image))
    values = torch.empty_like(scores) if pseudovalues else None
    group = per_turn(_GROUP_BYTES, 8 * len(ks) * (len(sizes) * image.shape[1] + len(image)))
    for first in range(0, len(orders), group):
        chunk = slice(first, first + group)
        masks = _cells.masks(orders[chunk], ks, image.dtype)
        chunk_values = None if values is None else values[chunk]
        narrow = _measure(scores[chunk], chunk_values, image, labels, sizes, masks)
        if image.dtype == torch.float64:
            continue
        for row in narrow.any(1).nonzero()[:, 0].tolist():
            cells = narrow[row].nonzero()[:, 0]
            exact = torch.empty(1, len(cells), len(image), dtype=torch.float64)
            exact_values = None if values is None else torch.empty_like(exact)
            _measure(exact, exact_values, image, labels, sizes, masks[row, cells][None].double())
            scores[first + row, cells] = exact[0].to(scores.dtype)
            if values is not None:
                assert exact_values is not None
                values[first + row, cells] = exact_values[0].to(values.dtype)
    return scores, values


def _measure(
    scores: Float[Tensor, "order k sample"],
    values: Float[Tensor, "order k sample"] | None,
    image: Float[Tensor, "sample neuron"],
    labels: Int64[Tensor, " sample"],
    sizes: Int64[Tensor, " class"],
    masks: Float[Tensor, "order k neuron"],
) -> Bool[Tensor, "order k"]:
    """Write the silhouettes of some orders, and their pseudo-values, in the dtype of `scores`.

    Returns:
        The cells in which distances are small.
    """
    rows, dtype = masks.shape[0] * masks.shape[1] * len(sizes), scores.dtype
    by_class = labels.argsort(stable=True)
    blocks = [by_class[block] for block in _cells.blocks(len(image), rows, scores.element_size())]
    means = torch.zeros(*masks.shape[:2], len(sizes), image.shape[1], dtype=torch.float64)
    # The inverse norms stand where a result comes later. The last pass makes them again: that costs
    # as much as the distances to one more class.
    inverse = scores if values is None else values
    for samples in blocks:
        features = image.index_select(0, samples).to(dtype)
        inverse[:, :, samples] = _inverse_norms(masks, features)
        _add_class_sums(means, inverse[:, :, samples], features, labels[samples])
    means = means.div_(sizes[:, None]).to(dtype).mul_(masks[:, :, None])
    influence = None if values is None else _Influence(masks, sizes, dtype)
    narrow = torch.zeros(masks.shape[:2], dtype=torch.bool)
    # Distances below the floor are rounding errors and count as 0, the distance of vectors with the
    # same direction. Of float32 features in float64 it is the rounding of the features.
    floor = torch.finfo(image.dtype).eps ** 2
    if image.dtype == dtype:
        floor = 8 * torch.finfo(dtype).eps
    for samples in blocks:
        features, own = image.index_select(0, samples).to(dtype), labels[samples]
        lengths = inverse[:, :, samples]
        to_own, to_other, nearest = _distances(
            means, lengths, features, own, sizes, with_nearest=values is not None
        )
        alone = sizes[own] == 1
        a = to_own.masked_fill((to_own < floor) | alone, 0)
        b = to_other.masked_fill(to_other < floor, 0)
        larger = torch.maximum(a, b)
        score = ((b - a) / larger).nan_to_num_(nan=0.0).masked_fill_(alone, 0)
        scores[:, :, samples] = score
        narrow |= ((larger < _NARROW) & ~alone).any(2)
        if values is not None:
            assert influence is not None
            own_part = influence.add(_Distances(a, b, nearest), own, lengths, features)
            values[:, :, samples] = score - own_part
    if values is not None:
        assert influence is not None
        for samples in blocks:
            features, own = image.index_select(0, samples).to(dtype), labels[samples]
            lengths = _inverse_norms(masks, features)
            values[:, :, samples] += influence.on_others(features, own, lengths)
        _count_pairs_once(values, labels, sizes)
    return narrow


class _Influence:
    """Effects of samples on the silhouettes of others, as sums over classes."""

    def __init__(
        self,
        masks: Float[Tensor, "order k neuron"],
        sizes: Int64[Tensor, " class"],
        dtype: torch.dtype,
    ) -> None:
        self._masks, self._sizes, self._dtype = masks, sizes, dtype
        shape = *masks.shape[:2], len(sizes)
        self._constants = torch.zeros(shape, dtype=torch.float64)
        self._sums = torch.zeros(*shape, masks.shape[2], dtype=torch.float64)

    def add(
        self,
        distances: "_Distances",
        labels: Int64[Tensor, " sample"],
        inverse: Float[Tensor, "order k sample"],
        features: Float[Tensor, "sample neuron"],
    ) -> Float[Tensor, "order k sample"]:
        """Add samples by their distances; return each one's own part of the sum of its class."""
        a, b, nearest = distances
        assert nearest is not None
        size = self._sizes[labels].to(self._dtype)
        # The derivatives of the silhouette by a and by b.
        by_a = torch.where(a < b, -1 / b, -b / a.square())
        by_b = torch.where(a < b, a / b.square(), 1 / a)
        for derivative in (by_a, by_b):
            derivative.nan_to_num_(0, 0, 0).masked_fill_(size == 1, 0)
        weights = torch.cat([by_a / (size - 1).clamp(min=1), by_b / self._sizes[nearest]], dim=2)
        classes = torch.cat([labels.expand_as(nearest), nearest], dim=2)
        constants = weights * (1 - torch.cat([a, b], dim=2))
        self._constants.scatter_add_(2, classes, constants.double())
        # A bag is a cell and a class: its sum is that of the weighted unit vectors in it.
        cells = torch.arange(classes[:, :, 0].numel()).view(*classes.shape[:2], 1)
        bags = (cells * len(self._sizes) + classes).flatten()
        by_bag = bags.argsort()
        ends = bags.bincount(minlength=self._constants.numel()).cumsum(0)
        rows = by_bag % (2 * len(features)) % len(features)
        lengths = (weights * inverse.repeat(1, 1, 2)).flatten()[by_bag]
        starts = torch.cat([ends.new_zeros(1), ends[:-1]])
        summed = torch.nn.functional.embedding_bag(
            rows, features, starts, mode="sum", per_sample_weights=lengths
        )
        self._sums += summed.view_as(self._sums)
        return weights[:, :, : len(features)] * (1 - (inverse > 0).to(self._dtype) - a)

    def on_others(
        self,
        features: Float[Tensor, "sample neuron"],
        labels: Int64[Tensor, " sample"],
        inverse: Float[Tensor, "order k sample"],
    ) -> Float[Tensor, "order k sample"]:
        """Return the effect of samples, sorted by class, on all samples that were added."""
        products = torch.empty_like(inverse)
        for label, members in _class_slices(labels):
            sums = (self._sums[:, :, label] * self._masks).to(self._dtype)
            products[:, :, members] = sums @ features[members].T
        return self._constants.to(self._dtype)[:, :, labels] - inverse * products


def _count_pairs_once(
    values: Float[Tensor, "order k sample"],
    labels: Int64[Tensor, " sample"],
    sizes: Int64[Tensor, " class"],
) -> None:
    """Move the values of classes of two away from the mean of all such classes."""
    pairs = (sizes[labels] == 2).nonzero()[:, 0]
    if len(pairs):
        classes = labels[pairs].unique(return_inverse=True)[1]
        sums = values.new_zeros(*values.shape[:2], len(pairs) // 2)
        pair_means = sums.index_add_(2, classes, values[:, :, pairs]) / 2
        mean = pair_means.mean(2, keepdim=True)
        values[:, :, pairs] = mean + math.sqrt(2) * (pair_means[:, :, classes] - mean)


def _inverse_norms(
    masks: Float[Tensor, "order k neuron"], features: Float[Tensor, "sample neuron"]
) -> Float[Tensor, "order k sample"]:
    """Return ``1 / |kept neurons|`` of each sample in each cell, 0 where the norm is 0."""
    squares = (masks.flatten(0, 1) @ (features * features).T).unflatten(0, masks.shape[:2])
    inverse: Tensor = squares.rsqrt().masked_fill_(squares == 0, 0)
    return inverse


def _add_class_sums(
    sums: Float[Tensor, "order k class neuron"],
    inverse: Float[Tensor, "order k sample"],
    features: Float[Tensor, "sample neuron"],
    labels: Int64[Tensor, " sample"],
) -> None:
    """Add the unit vectors of samples, sorted by class, to the sums of their classes, in float64.

    Sums of neurons that a cell does not keep have no meaning.
    """
    for label, members in _class_slices(labels):
        sums[:, :, label] += inverse[:, :, members] @ features[members]


def _class_slices(labels: Int64[Tensor, " sample"]) -> Iterator[tuple[int, slice]]:
    """Yield each class and the slice of its samples; samples are sorted by class."""
    classes, counts = labels.unique_consecutive(return_counts=True)
    start = 0
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        yield label, slice(start, start := start + count)


class _Distances(NamedTuple):
    """Mean distances to the own and the nearest other class; `nearest` is None if not needed."""

    own: Float[Tensor, "order k sample"]
    other: Float[Tensor, "order k sample"]
    nearest: Int64[Tensor, "order k sample"] | None


def _distances(
    means: Float[Tensor, "order k class neuron"],
    inverse: Float[Tensor, "order k sample"],
    features: Float[Tensor, "sample neuron"],
    labels: Int64[Tensor, " sample"],
    sizes: Int64[Tensor, " class"],
    *,
    with_nearest: bool,
) -> _Distances:
    """Measure the distances; a sample alone in its class has no valid distance to it."""
    cosines = (means.flatten(0, 2) @ features.T).unflatten(0, means.shape[:3])
    own = labels.expand(*means.shape[:2], 1, -1)
    size = sizes[labels].to(cosines.dtype)
    to_own = cosines.gather(2, own)[:, :, 0] * inverse * size
    others = cosines.scatter_(2, own, -torch.inf)
    # `amax` takes a third of the time of `max`.
    largest, nearest = others.max(2) if with_nearest else (others.amax(2), None)
    own_cosine = (to_own - (inverse > 0).to(cosines.dtype)) / (size - 1)
    return _Distances(1 - own_cosine, 1 - largest * inverse, nearest)


def has_silhouette(labels: Int[Tensor, " sample"]) -> bool:
    """Tell whether labels allow a silhouette: at least two classes, one of them with two samples.

    Examples:
        >>> has_silhouette(torch.tensor([0, 0, 1])), has_silhouette(torch.tensor([0, 1, 2]))
        (True, False)
    """
    return 2 <= len(labels.unique()) < len(labels)


def _present_classes(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Renumber the labels without gaps, and count the samples of each class."""
    classes, renumbered, sizes = labels.unique(return_inverse=True, return_counts=True)
    if not has_silhouette(labels):
        raise InputError(
            f"{len(classes)} classes among {len(labels)} samples",
            expected="at least two classes, one of them with at least two samples, to compare "
            "distances within and between classes",
            fix="leave the silhouette out for this dataset, or use coarser classes",
        )
    return renumbered, sizes
