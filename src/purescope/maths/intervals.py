"""Intervals: the bootstrap over samples, stratified by class, and Wilson's interval of a fraction.

A resample of a class of n samples is n - 1 of them, drawn with replacement, and counts with weight
n: the bootstrap of Rao and Wu ("Resampling inference with complex survey data", JASA 83, 1988, with
m = n - 1). Its variance is the unbiased ``sum over classes of (n/N)^2 s^2 / n``. The plain
bootstrap draws n of n and gives (n - 1)/n of that: a fifth too little at five samples in a class. A
class of one sample has no variation to resample, so all such classes form one stratum ("collapsed
strata", Cochran, Sampling Techniques, 1977, 5A.12). This is exact if those classes represent many
others, and gives intervals that are too wide if they are all the classes there are.

A block of resamples is a matrix of how often each sample was drawn. Its product with the values
gives the sums of all cells at once. One seed gives the same draws to every cell, so differences of
cells are paired.

A mean over classes, some of which have very few samples, has its own interval,
`mean_recall_interval`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64, Real, Shaped
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.significance import permutation_p
from purescope.parallel import per_turn

Part: TypeAlias = tuple[Tensor, Tensor | None]
"""Values of samples, and the weight of each sample."""

_BLOCK = 1 << 18  # draws in one product, of 4 bytes each
_TURN = 1 << 17  # draws that are made at a time, of 16 bytes each
_SAMPLES = 1 << 13  # samples in one product
_MEMBERS = 1 << 14  # samples whose values are copied at a time
_EXACT_IN_FLOAT32 = 1 << 24
_SORTED = 1 << 19  # resamples of some cells that are sorted at a time, of 24 bytes each


def bootstrap_means(
    values: Real[Tensor, "*cell sample"] | Bool[Tensor, "*cell sample"],
    groups: Int[Tensor, " sample"],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Float64[Tensor, " resample *cell"]:
    """Compute means over samples in resamples stratified by `groups`, the same resamples for all
    cells.

    The draws depend only on `groups`, `resamples` and `seed`. So differences of cells are paired,
    even if the cells come from two calls. Equal cells have equal means to the last bit if the
    values are whole numbers (right or wrong). For other values, make the difference itself a cell
    where it must be exactly 0.

    Args:
        values: one value for each sample, 0 and 1 or any numbers.
        groups: class of each sample; a class keeps its fraction of the samples in every resample.
            Classes of one sample are resampled together; a single such class is resampled with the
            next smallest class.
        resamples: number of resamples; the result takes 8 bytes for each resample and cell.
        seed: seed of the draws.

    Raises:
        InputError: there are fewer than two samples, not one group for each sample, or no
            resamples.

    Examples:
        Two models on the same images, the second right wherever the first is:

        >>> right = torch.tensor([[1, 0, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0]])
        >>> means = bootstrap_means(right, torch.tensor([0, 0, 0, 1, 1, 1]), resamples=1000)
        >>> means.shape, bool((means[:, 0] <= means[:, 1]).all())
        (torch.Size([1000, 2]), True)
    """
    return bootstrap_each([(values, None)], groups, resamples=resamples, seed=seed)[0]


def bootstrap_each(
    parts: Sequence[Part], groups: Int[Tensor, " sample"], *, resamples: int = 10_000, seed: int = 0
) -> list[Tensor]:
    """Compute `bootstrap_means` of several tensors in the same resamples, with optional sample
    weights.

    Args:
        parts: pairs of values ``[*cell, sample]`` and weights ``[sample]``, in float64 or None. The
            same tensor may occur twice, with weights and without.
        groups, resamples, seed: as in `bootstrap_means`.

    Returns:
        ``[resample, *cell]`` in float64 for each pair.

    Raises:
        InputError: as in `bootstrap_means`.

    Examples:
        >>> right, groups = torch.tensor([1, 0, 0, 1]), torch.tensor([0, 0, 1, 1])
        >>> twice = torch.full((4,), 2.0, dtype=torch.float64)
        >>> plain, weighted = bootstrap_each([(right, None), (right, twice)], groups, resamples=10)
        >>> bool((weighted == 2 * plain).all())
        True
    """
    for values, _ in parts:
        _check(values, groups, resamples)
    rows = [values.flatten(0, -2) if values.ndim > 1 else values[None] for values, _ in parts]
    whole = [_is_whole(cells) for cells in rows]
    generator = np.random.default_rng(seed)
    means = [torch.zeros(resamples, len(cells), dtype=torch.float64) for cells in rows]
    for members in _strata(groups):
        size = members.shape[1]
        # Where all samples have the same weight, the weighted sums are a multiple of the unweighted
        # sums, which are then computed only once.
        weights = [None if weight is None else weight[members] for _, weight in parts]
        factors = [_common(weight) for weight in weights]
        keys: list[tuple[int, int | None]] = []
        columns: dict[tuple[int, int | None], _Columns] = {}
        for i, (values, _) in enumerate(parts):
            has_own_sums = factors[i] is None
            key = (id(values), i if has_own_sums else None)
            keys.append(key)
            if key not in columns:
                weight = weights[i] if has_own_sums else None
                columns[key] = _Columns.from_cells(rows[i], members, whole=whole[i], weight=weight)
        length = per_turn(_BLOCK, members.numel())
        for first in range(0, resamples, length):
            block = slice(first, min(first + length, resamples))
            counts = _counts(block.stop - first, members, generator)
            sums = {key: column.drawn(counts) for key, column in columns.items()}
            for i, key in enumerate(keys):
                factor = factors[i]
                weighted = sums[key] if factor is None else sums[key] * factor
                means[i][block] += weighted * size / (size - 1)
    return [
        mean.div_(len(groups)).view(resamples, *values.shape[:-1])
        for mean, (values, _) in zip(means, parts, strict=True)
    ]


def percentile_interval(
    resampled: Float[Tensor, " resample *cell"], level: float = 0.95
) -> tuple[Float64[Tensor, "*cell"], Float64[Tensor, "*cell"]]:
    """Return the central `level` of the resamples (Efron 1979), interpolated as numpy's quantile.

    A cell whose resamples are all equal, such as accuracy 1, has an interval of width 0. That says
    nothing about its population; use `wilson_interval` there. Resamples may be infinite
    (`neurons_needed`), and then an end of the interval may be infinite too.

    Raises:
        InputError: there are no resamples, or the level is not between 0 and 1.

    Examples:
        >>> low, high = percentile_interval(torch.arange(101.0), level=0.9)
        >>> low.item(), high.item()
        (5.0, 95.0)
    """
    if not 0 < level < 1:
        raise InputError(f"level = {level}", expected="a number between 0 and 1, such as 0.95")
    if not len(resampled):
        raise InputError("no resamples", expected="at least one: [resample, *cell]")
    ends = []
    columns = resampled.flatten(1) if resampled.ndim > 1 else resampled[:, None]
    for cells in columns.split(max(1, _SORTED // len(resampled)), dim=1):
        ordered = cells.double().sort(dim=0).values
        low, high = _quantile(ordered, (1 - level) / 2), _quantile(ordered, (1 + level) / 2)
        # NaN sorts last.
        ends.append(torch.stack([low, high]).masked_fill(ordered[-1].isnan(), torch.nan))
    low, high = torch.cat(ends, dim=1).view(2, *resampled.shape[1:])
    return low, high


def bootstrap_p(differences: Float[Tensor, " resample *cell"]) -> Float64[Tensor, "*cell"]:
    """Compute the two-sided p of the hypothesis that a difference is 0, from its resamples.

    Use it where no exact test exists. ``2 min((1 + #<=0) / (1 + R), (1 + #>=0) / (1 + R))``, at
    most 1: the smallest fraction that a percentile interval can leave out while it contains 0
    (Davison and Hinkley, Bootstrap Methods, 1997, 5.2 and 4.2.5).

    Raises:
        InputError: there are no resamples.

    Examples:
        >>> bootstrap_p(torch.tensor([0.1, 0.2, 0.3, 0.2, -0.1, 0.1, 0.2, 0.1, 0.1]))
        tensor(0.4000, dtype=torch.float64)
    """
    return permutation_p(torch.zeros_like(differences.sum(0)), differences)


def _check(values: Tensor, groups: Tensor, resamples: int) -> None:
    if groups.ndim != 1 or values.ndim < 1 or values.shape[-1] != len(groups):
        raise InputError(
            f"values {list(values.shape)} and groups {list(groups.shape)}",
            expected="values [*cell, sample] and one group for each sample",
        )
    if len(groups) < 2:
        raise InputError(
            f"{len(groups)} samples to resample",
            expected="at least two: a single sample has no variation",
        )
    if resamples < 1:
        raise InputError(
            f"resamples = {resamples}", expected="at least 1; 10,000 for a 95 % interval"
        )


def _common(weight: Float64[Tensor, "stratum member"] | None) -> float | None:
    """Return the weight that all samples have: 1 without weights, None if weights differ."""
    if weight is None:
        return 1.0
    return float(weight[0, 0]) if bool((weight == weight[0, 0]).all()) else None


def _is_whole(cells: Real[Tensor, "cell sample"] | Bool[Tensor, "cell sample"]) -> bool:
    """Tell whether every sum of a resample is a whole number that float32 holds exactly: half the
    work.
    """
    if cells.dtype == torch.bool or not len(cells):
        return cells.shape[1] < _EXACT_IN_FLOAT32
    lowest, highest = cells.aminmax()
    if not max(-float(lowest), float(highest)) * cells.shape[1] < _EXACT_IN_FLOAT32:
        return False
    return not cells.is_floating_point() or all(bool((row == row.round()).all()) for row in cells)


def _strata(groups: Int[Tensor, " sample"]) -> Iterator[Int64[Tensor, "stratum member"]]:
    """Yield the samples of the strata, one tensor for each stratum size, which is at least 2.

    Many samples are several tensors, since their values are copied in this order.
    """
    labels, sizes = groups.unique(return_inverse=True, return_counts=True)[1:]
    pooled = sizes == 1
    if pooled.sum() == 1:
        pooled[sizes.masked_fill(pooled, len(groups)).argmin()] = True
    labels = torch.where(pooled[labels], len(sizes), labels).unique(return_inverse=True)[1]
    by_stratum, sizes = labels.argsort(stable=True), labels.bincount()
    del labels  # as long as all samples
    firsts = sizes.cumsum(0) - sizes
    for size in sizes.unique().tolist():
        for part in firsts[sizes == size].split(per_turn(_MEMBERS, size)):
            yield by_stratum[part[:, None] + torch.arange(size)]


@dataclass(frozen=True)
class _Columns:
    """The values of some cells, one row for each sample that can be drawn."""

    values: Shaped[Tensor, "drawable cell"]
    whole: bool

    @classmethod
    def from_cells(
        cls,
        cells: Real[Tensor, "cell sample"] | Bool[Tensor, "cell sample"],
        members: Int64[Tensor, "stratum member"],
        *,
        whole: bool,
        weight: Float64[Tensor, "stratum member"] | None = None,
    ) -> "_Columns":
        """Copy the samples of some strata.

        Truths and integers stay what they are, in few bytes; other values are float32 if they are
        whole numbers or float32 already.
        """
        whole = whole and weight is None
        single = weight is None and (whole or cells.dtype == torch.float32)
        dtype = torch.float32 if single else torch.float64
        if whole and not cells.is_floating_point():
            dtype = cells.dtype
        values = torch.empty(members.numel(), len(cells), dtype=dtype)
        for column, cell in enumerate(cells):
            values[:, column] = cell[members.flatten()]
        if weight is not None:
            values.mul_(weight.flatten()[:, None])
        return cls(values, whole)

    def drawn(
        self, counts: Float32[Tensor, "resample drawable"]
    ) -> Float64[Tensor, "resample cell"]:
        """Sum over the samples, each as often as it was drawn."""
        dtype = torch.float32 if self.whole else torch.float64
        sums = torch.zeros(len(counts), self.values.shape[1], dtype=dtype)
        blocks = zip(counts.split(_SAMPLES, dim=1), self.values.split(_SAMPLES), strict=True)
        for counts_block, values_block in blocks:
            sums.addmm_(counts_block.to(dtype), values_block.to(dtype))
        return sums.double()


def _counts(
    resamples: int, members: Int64[Tensor, "stratum member"], generator: np.random.Generator
) -> Float32[Tensor, "resample drawable"]:
    """Count how often each sample is drawn: from a stratum of n samples, n - 1 draws."""
    strata, size = members.shape
    counts = torch.empty(resamples, members.numel())
    for block in counts.split(per_turn(_TURN, members.numel())):
        rows = len(block) * strata
        drawn = generator.integers(size, size=(rows, size - 1))
        drawn += size * np.arange(rows)[:, None]
        counted = torch.from_numpy(np.bincount(drawn.ravel(), minlength=rows * size))
        block.copy_(counted.view_as(block))
    return counts


def _quantile(
    ordered: Float64[Tensor, " resample *cell"], share: float
) -> Float64[Tensor, "*cell"]:
    place = round(share * (len(ordered) - 1), 9)
    first = int(place)
    below, above, rest = ordered[first], ordered[min(first + 1, len(ordered) - 1)], place - first
    # Infinity times 0 is NaN, so values are weighted only where they differ and the quantile lies
    # between them.
    return torch.where((below == above) | (rest == 0), below, (1 - rest) * below + rest * above)


NORMAL_975 = 1.959963984540054  # the 97.5 % quantile of a normal distribution


def wilson_interval(
    fraction: Float[Tensor, "*cell"], n: int
) -> tuple[Float[Tensor, "*cell"], Float[Tensor, "*cell"]]:
    """Compute the 95 % interval of a binomial fraction of `n` independent samples, within [0, 1].

    Wilson (1927): the fractions p0 for which ``|p - p0| <= z sqrt(p0 (1 - p0) / n)``.

    Examples:
        >>> import torch
        >>> low, high = wilson_interval(torch.tensor(0.5), 100)
        >>> round(low.item(), 4), round(high.item(), 4)
        (0.4038, 0.5962)
    """
    z2 = NORMAL_975**2
    centre = (fraction + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_975 / (1 + z2 / n) * (fraction * (1 - fraction) / n + z2 / (4 * n * n)).sqrt()
    return (centre - half).clamp(0, 1), (centre + half).clamp(0, 1)


def mean_recall_interval(
    hits: Float[Tensor, "*cell class"], sizes: Int64[Tensor, " class"]
) -> tuple[Float64[Tensor, "*cell"], Float64[Tensor, "*cell"]]:
    """Compute the 95 % interval of mean class recall; it also holds for classes of one to three
    samples.

    It is a normal interval with the variance ``sum_c p_c (1 - p_c) / n_c`` divided by the squared
    number of classes. p_c is Laplace's ``(hits + 1) / (n + 2)``, because the fraction of one sample
    is 0 or 1 and says nothing about its variance. In simulations it covers 94 to 97 % where recalls
    are moderate, and more, never less, where they are near 0 or 1.

    Args:
        hits: number of samples of each class that are right.
        sizes: number of samples of each class; classes without samples are ignored.

    Examples:
        Two classes of one sample each, one of them right:

        >>> import torch
        >>> low, high = mean_recall_interval(torch.tensor([1.0, 0.0]), torch.tensor([1, 1]))
        >>> low.item(), round(high.item(), 2)
        (0.0, 1.0)
    """
    present = sizes > 0
    n, right = sizes[present].double(), hits[..., present].double()
    mean, share = (right / n).mean(-1), (right + 1) / (n + 2)
    half = NORMAL_975 * (share * (1 - share) / n).sum(-1).sqrt() / len(n)
    return (mean - half).clamp(0, 1), (mean + half).clamp(0, 1)
