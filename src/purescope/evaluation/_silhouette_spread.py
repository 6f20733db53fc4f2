"""How a mean silhouette would vary with other samples: pseudo-values, whose means can be resampled.

A sample's silhouette is a number about all samples: each moves the mean distances of the others. Resampling the
silhouettes as they are leaves that out, and intervals come out far too narrow. To first order the mean silhouette is a
mean over samples of ``s_i + h_i``, h_i being what sample i does to the silhouettes of all others (the infinitesimal
jackknife, Jaeckel 1972; Efron 1982). With ``d_ji`` the cosine distance of j to i, a_j and b_j the mean distances of j
to its own class and to the nearest other one,

``h_i = sum_{j in c, j != i} ds_j/da_j (d_ji - a_j) / (n_c - 1) + sum_{j next to c} ds_j/db_j (d_ji - b_j) / n_c``,

c being the class of i, and j next to c where c is its nearest other class. Sums over j are class sums, so it costs as
much as the silhouette. In each class the h_i add up to 0, so the mean stays what it is.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from purescope.evaluation._silhouette import _present_classes

_FLOOR = 8 * torch.finfo(torch.float64).eps  # distances below are 0
_ROWS = 1 << 13  # samples that are taken in float64 at a time


def silhouette_pseudovalues(
    image: Float[Tensor, "sample neuron"],
    labels: Int[Tensor, " sample"],
    neurons: Int64[Tensor, " kept"] | None = None,
) -> Float64[Tensor, " sample"]:
    """What each sample adds to the mean cosine silhouette, with what it does to that of the others.

    Their mean is the mean silhouette; resampled within the groups of `silhouette_strata`, their means vary as it does.
    Within a class of two nothing says how much its one distance varies, so such classes are one group, and their
    values lie sqrt(2) times as far from its mean: two values of one distance count once.

    Args:
        image: features, of any norms.
        labels: class of each sample, at least two different ones, and fewer than there are samples.
        neurons: which are kept; without, all are.

    Examples:
        >>> image = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.4], [0.0, 1.0], [0.1, 1.0], [0.5, 1.0]])
        >>> silhouette_pseudovalues(image, torch.tensor([0, 0, 0, 1, 1, 1])).mean()
        tensor(0.9152, dtype=torch.float64)
    """
    labels, sizes = _present_classes(labels)
    units = _Units(image, neurons)
    count, size = len(sizes), sizes[labels].double()
    sums = units.class_sums(labels, count)
    squares, own, other, nearest = units.cosines(sums, labels, sizes)
    a = 1 - (own - squares) / (size - 1).clamp(min=1)
    b = 1 - other
    a, b = a.masked_fill(a < _FLOOR, 0), b.masked_fill(b < _FLOOR, 0)
    alone = size == 1
    score = ((b - a) / torch.maximum(a, b)).nan_to_num(nan=0.0).masked_fill(alone, 0)
    by_own = torch.where(a < b, -1 / b, -b / a.square()).nan_to_num(0, 0, 0).masked_fill(alone, 0)
    by_other = torch.where(a < b, a / b.square(), 1 / a).nan_to_num(0, 0, 0).masked_fill(alone, 0)

    def moved(weight: Tensor, distance: Tensor, classes: Tensor) -> Tensor:
        """For each sample i: the sum over the j of its class, by `classes`, of weight_j (d_ji - distance_j)."""
        constant = torch.zeros(count, dtype=torch.float64).index_add_(0, classes, weight * (1 - distance))
        return constant[labels] - units.along(units.class_sums(classes, count, weight), labels)

    itself = by_own * (1 - squares - a)
    value = score + (moved(by_own, a, labels) - itself) / (size - 1).clamp(min=1) + moved(by_other, b, nearest) / size
    pairs = size == 2
    if pairs.any():
        mean = value[pairs].mean()
        of_class = torch.zeros(count, dtype=torch.float64).index_add_(0, labels, value) / sizes
        value = torch.where(pairs, mean + math.sqrt(2) * (of_class[labels] - mean), value)
    return value


class _Units:
    """The samples at unit length in float64, some at a time where they are many: all would be twice the features."""

    def __init__(self, image: Float[Tensor, "sample neuron"], neurons: Int64[Tensor, " kept"] | None) -> None:
        self._image, self._neurons = image, neurons
        self._kept = [self._unit(image)] if len(image) <= _ROWS else []

    def __iter__(self) -> Iterator[Float64[Tensor, "row neuron"]]:
        return iter(self._kept) if self._kept else map(self._unit, self._image.split(_ROWS))

    def _unit(self, rows: Tensor) -> Tensor:
        rows = rows if self._neurons is None else rows[:, self._neurons]
        return torch.nn.functional.normalize(rows.double(), dim=1, eps=0).nan_to_num(nan=0.0)

    def class_sums(
        self, classes: Int64[Tensor, " sample"], count: int, weight: Float64[Tensor, " sample"] | None = None
    ) -> Float64[Tensor, "class neuron"]:
        """Sums of the samples of each class, each times its weight."""
        sums: Tensor | None = None
        at = 0
        for unit in self:
            there = slice(at, at := at + len(unit))
            rows = unit if weight is None else weight[there, None] * unit
            sums = unit.new_zeros(count, unit.shape[1]) if sums is None else sums
            sums.index_add_(0, classes[there], rows)
        assert sums is not None
        return sums

    def cosines(self, sums: Tensor, labels: Int64[Tensor, " sample"], sizes: Tensor) -> tuple[Tensor, ...]:
        """Squares, products with the sum of the own class, the largest mean cosine with another one, and which."""
        found: list[tuple[Tensor, ...]] = []
        at = 0
        for unit in self:
            there = labels[at : (at := at + len(unit)), None]
            products = unit @ sums.T
            other, nearest = (products / sizes).scatter(1, there, -torch.inf).max(1)
            found.append((unit.square().sum(1), products.gather(1, there)[:, 0], other, nearest))
        return tuple(map(torch.cat, zip(*found, strict=True)))

    def along(self, rows: Tensor, labels: Int64[Tensor, " sample"]) -> Float64[Tensor, " sample"]:
        """Products of the samples with the rows of their classes."""
        at, found = 0, []
        for unit in self:
            found.append((unit * rows[labels[at : (at := at + len(unit))]]).sum(1))
        return torch.cat(found)


def silhouette_strata(labels: Int[Tensor, " sample"]) -> Int64[Tensor, " sample"]:
    """Groups in which pseudo-values are resampled: the classes, those of one or two samples together.

    Examples:
        >>> silhouette_strata(torch.tensor([0, 0, 0, 1, 2, 2]))
        tensor([0, 0, 0, 1, 1, 1])
    """
    classes, renumbered, sizes = labels.unique(return_inverse=True, return_counts=True)
    small = sizes <= 2
    merged = torch.where(small, len(classes), torch.arange(len(classes)))
    strata: Tensor = merged[renumbered].unique(return_inverse=True)[1]
    return strata
