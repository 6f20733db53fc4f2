"""Exact cosine silhouette of pruned embeddings, for every k at once and without distances between
samples.

It needs class sums only. With ``u_i = x_iS / |x_iS|`` over the neurons S that are kept, ``R_c`` the
sum of u over class c and n_c its size, the mean cosine distance of i to class c is ``1 - u_i.R_c /
n_c``, and to its own class without itself ``a_i = 1 - (u_i.R_c - u_i.u_i) / (n_c - 1)``. With b_i
the smallest such distance to another class, ``s_i = (b_i - a_i) / max(a_i, b_i)``, and 0 for a
class of one. That is O(N C k) in place of O(N^2 k), and exact.

A distance is 1 less a cosine, so it loses the digits that the cosine shares with 1. In float32 six
places are left where embeddings point all ways, and none where they fill a narrow cone, as those of
a model at the first step of its training do. So cells in which a sample has only small distances
are measured once more, in float64.

How would the mean silhouette vary with other samples? A sample's silhouette is a number about all
samples: each moves the mean distances of the others. Resampling the silhouettes as they are leaves
that out, and intervals come out far too narrow. To first order the mean silhouette is a mean over
samples of the pseudo-values ``s_i + h_i``, h_i being what sample i does to the silhouettes of all
others (the infinitesimal jackknife, Jaeckel 1972; Efron 1982). With ``d_ji`` the cosine distance of
j to i,

``h_i = sum_{j in c, j != i} ds_j/da_j (d_ji - a_j) / (n_c - 1) + sum_{j next to c} ds_j/db_j (d_ji
- b_j) / n_c``,

c being the class of i, and j next to c where c is its nearest other class. As ``d_ji = 1 -
u_j.u_i``, both sums over j are one class sum of weighted unit vectors, and one product of it with
each sample. In each class the h_i add up to 0, so the mean stays what it is.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells as _cells

_CLASS_SUM_BYTES = 16 << 20  # of class sums; more orders than that are evaluated in turns

_NARROW = (
    2.0**-6
)  # where a and b are below it, the rounding of a float32 cosine moves a sample's score by 1e-4


def silhouette_by_k(
    image: Float[Tensor, "sample neuron"],
    labels: Int[Tensor, " sample"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
) -> Float[Tensor, "order k"]:
    """Mean cosine silhouette with the first k neurons of each order: -1 (wrong clusters) to 1
    (tight ones), float64.

    Of each sample ``(b - a) / max(a, b)``, a being its mean cosine distance to its own class and b
    that to the nearest other class (Rousseeuw 1987); here their mean, from
    `silhouette_samples_by_k`, exact and without distances.

    Args:
        image: ``[sample, neuron]`` image features, float32 or float64; norms do not matter.
        labels: ``[sample]``, the class of each; at least two different ones, and fewer than there
            are samples.
        orders: one order ``[neuron]`` or several ``[order, neuron]``, as `purescope.order_neurons`
            makes them.
        ks: how many neurons to keep, each from 1 to d; results stand in ascending k, each k once.

    Returns:
        ``[order, k]``, float64.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out
            of range, an order is no permutation, or the labels make one class, or one class for
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
    """Cosine silhouette of each sample with the first k neurons of each order, in the dtype of the
    features.

    Equal to scikit-learn's ``silhouette_samples(metric="cosine")`` (Rousseeuw 1987) in float64,
    zero vectors included: one is at distance 1 from everything but itself. Classes without samples
    play no part. Distances that are less than the rounding of the features are 0.

    Args:
        image: image features, float32 or float64; norms do not matter.
        labels: class of each sample, at least two different ones, and fewer than there are samples.
        orders: one order ``[neuron]`` or several ``[order, neuron]``.
        ks: how many neurons to keep, each from 1 to d; results stand in ascending k, each k once.

    Raises:
        InputError: as in `ranks_by_k`, or the labels make one class, or one class for each sample.
    """
    return _in_turns(image, labels, orders, ks)[0]


def silhouette_pseudovalues_by_k(
    image: Float[Tensor, "sample neuron"],
    labels: Int[Tensor, " sample"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
) -> tuple[Float[Tensor, "order k sample"], Float[Tensor, "order k sample"]]:
    """`silhouette_samples_by_k`, and what each sample adds to the mean silhouette by what it does
    to the others too.

    The mean of the pseudo-values is the mean silhouette; resampled within the groups of
    `silhouette_strata`, their means vary as it does. Within a class of two nothing says how much
    its one distance varies, so such classes are one group, and their values lie sqrt(2) times as
    far from its mean: two values of one distance count once.

    Args:
        image, labels, orders, ks: as in `silhouette_samples_by_k`.

    Raises:
        InputError: as there.

    Examples:
        >>> image = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.4], [0.0, 1.0], [0.1, 1.0], [0.5, 1.0]])
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> scores, values = silhouette_pseudovalues_by_k(image, labels, torch.arange(2), ks=[2])
        >>> scores.mean(), values.mean()
        (tensor(0.9152), tensor(0.9152))
    """
    scores, values = _in_turns(image, labels, orders, ks, pseudovalues=True)
    assert values is not None
    return scores, values


def silhouette_strata(labels: Int[Tensor, " sample"]) -> Int64[Tensor, " sample"]:
    """Groups in which pseudo-values are resampled: the classes, those of one or two samples
    together.

    Examples:
        >>> silhouette_strata(torch.tensor([0, 0, 0, 1, 2, 2]))
        tensor([0, 0, 0, 1, 1, 1])
    """
    classes, renumbered, sizes = labels.unique(return_inverse=True, return_counts=True)
    small = sizes <= 2
    merged = torch.where(small, len(classes), torch.arange(len(classes)))
    strata: Tensor = merged[renumbered].unique(return_inverse=True)[1]
    return strata


def _in_turns(
    image: Tensor, labels: Tensor, orders: Tensor, ks: Sequence[int], *, pseudovalues: bool = False
) -> tuple[Float[Tensor, "order k sample"], Float[Tensor, "order k sample"] | None]:
    """Scores, and pseudo-values if they are wanted: some orders at a time, and in float64 where
    distances are small.
    """
    orders, ks = _cells.check(image, None, labels, orders, ks)
    labels, sizes = _present_classes(labels)
    scores = image.new_empty(len(orders), len(ks), len(image))
    values = torch.empty_like(scores) if pseudovalues else None
    group = max(1, _CLASS_SUM_BYTES // (8 * len(ks) * len(sizes) * image.shape[1]))
    for first in range(0, len(orders), group):
        turn = slice(first, first + group)
        masks = _cells.masks(orders[turn], ks, image.dtype)
        narrow = _measure(
            scores[turn], None if values is None else values[turn], image, labels, sizes, masks
        )
        if image.dtype == torch.float64:
            continue
        for place in narrow.any(1).nonzero()[:, 0].tolist():
            cells = narrow[place].nonzero()[:, 0]
            wide = torch.empty(1, len(cells), len(image), dtype=torch.float64)
            wide_values = None if values is None else torch.empty_like(wide)
            _measure(wide, wide_values, image, labels, sizes, masks[place, cells][None].double())
            scores[first + place, cells] = wide[0].to(scores.dtype)
            if values is not None and wide_values is not None:
                values[first + place, cells] = wide_values[0].to(values.dtype)
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
        In which cells distances are small.
    """
    rows, dtype = masks.shape[0] * masks.shape[1] * len(sizes), scores.dtype
    by_class = labels.argsort(stable=True)
    blocks = [by_class[block] for block in _cells.blocks(len(image), rows, scores.element_size())]
    means = torch.zeros(*masks.shape[:2], len(sizes), image.shape[1], dtype=torch.float64)
    inverse = scores if values is None else torch.empty_like(scores)
    for samples in blocks:
        features = image.index_select(0, samples).to(dtype)
        inverse[:, :, samples] = _inverse_norms(masks, features)
        _add_class_sums(means, inverse[:, :, samples], features, labels[samples])
    means = means.div_(sizes[:, None]).to(dtype).mul_(masks[:, :, None])
    influence = None if values is None else _Influence(masks, sizes, dtype)
    narrow = torch.zeros(masks.shape[:2], dtype=torch.bool)
    # In float64 what rounding leaves is that of the features: two rows of one direction are as far
    # apart as that.
    floor = (
        8 * torch.finfo(dtype).eps if image.dtype == dtype else torch.finfo(image.dtype).eps ** 2
    )
    for samples in blocks:
        features, own, lengths = (
            image.index_select(0, samples).to(dtype),
            labels[samples],
            inverse[:, :, samples],
        )
        found = _distances(means, lengths, features, own, sizes, nearest=values is not None)
        alone = sizes[own] == 1
        # Distances below rounding are 0, as they are between vectors that point the same way.
        a, b = (
            found.own.masked_fill((found.own < floor) | alone, 0),
            found.other.masked_fill(found.other < floor, 0),
        )
        larger = torch.maximum(a, b)
        score = ((b - a) / larger).nan_to_num_(nan=0.0).masked_fill_(alone, 0)
        scores[:, :, samples] = score
        narrow |= ((larger < _NARROW) & ~alone).any(2)
        if values is not None and influence is not None:
            values[:, :, samples] = score - influence.add(
                _Distances(a, b, found.nearest), own, lengths, features
            )
    if values is not None and influence is not None:
        for samples in blocks:
            features, own = image.index_select(0, samples).to(dtype), labels[samples]
            values[:, :, samples] += influence.of(features, own, inverse[:, :, samples])
        _count_pairs_once(values, labels, sizes)
    return narrow


class _Influence:
    """What samples do to the silhouettes of others, as sums over the classes that they are in and
    next to.
    """

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
        """Take in some samples by their distances; returned is what their own part in the sum of
        their class is.
        """
        a, b, nearest = distances
        assert nearest is not None
        size = self._sizes[labels].to(self._dtype)
        by_own = (
            torch.where(a < b, -1 / b, -b / a.square())
            .nan_to_num_(0, 0, 0)
            .masked_fill_(size == 1, 0)
        )
        by_other = (
            torch.where(a < b, a / b.square(), 1 / a)
            .nan_to_num_(0, 0, 0)
            .masked_fill_(size == 1, 0)
        )
        weights = torch.cat(
            [by_own / (size - 1).clamp(min=1), by_other / self._sizes[nearest]], dim=2
        )
        classes = torch.cat([labels.expand_as(nearest), nearest], dim=2)
        constants = weights * (1 - torch.cat([a, b], dim=2))
        self._constants.scatter_add_(2, classes, constants.double())
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

    def of(
        self,
        features: Float[Tensor, "sample neuron"],
        labels: Int64[Tensor, " sample"],
        inverse: Float[Tensor, "order k sample"],
    ) -> Float[Tensor, "order k sample"]:
        """What samples, which stand by classes, do to all that was taken in."""
        products = torch.empty_like(inverse)
        for label, members in _runs(labels):
            along = (self._sums[:, :, label] * self._masks).to(self._dtype)
            products[:, :, members] = along @ features[members].T
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
        of_pair = (
            values.new_zeros(*values.shape[:2], len(pairs) // 2).index_add_(
                2, classes, values[:, :, pairs]
            )
            / 2
        )
        mean = of_pair.mean(2, keepdim=True)
        values[:, :, pairs] = mean + math.sqrt(2) * (of_pair[:, :, classes] - mean)


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
    for label, members in _runs(labels):
        sums[:, :, label] += inverse[:, :, members] @ features[members]


def _runs(labels: Int64[Tensor, " sample"]) -> Iterator[tuple[int, slice]]:
    """Each class, and where its samples stand, which stand together."""
    classes, counts = labels.unique_consecutive(return_counts=True)
    start = 0
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        yield label, slice(start, start := start + count)


class _Distances(NamedTuple):
    """Mean distances of samples to their own class and to the nearest other one, and which that is,
    if it was asked.
    """

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
    nearest: bool,
) -> _Distances:
    """Measure the distances; that of a sample to its own class means nothing where it is alone in
    it.
    """
    cosines = (means.flatten(0, 2) @ features.T).unflatten(0, means.shape[:3])
    own = labels.expand(*means.shape[:2], 1, -1)
    size = sizes[labels].to(cosines.dtype)
    to_own = cosines.gather(2, own)[:, :, 0] * inverse * size
    others = cosines.scatter_(2, own, -torch.inf)
    largest, place = (
        others.max(2) if nearest else (others.amax(2), None)
    )  # the latter takes a third of the time
    return _Distances(
        1 - (to_own - (inverse > 0).to(cosines.dtype)) / (size - 1), 1 - largest * inverse, place
    )


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
            expected="at least two classes, one of them with two samples: distances within and "
            "between are compared",
            fix="leave the silhouette out for this dataset, or use coarser classes",
        )
    return renumbered, sizes
