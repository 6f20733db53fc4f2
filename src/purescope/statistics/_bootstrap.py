"""The bootstrap over samples, stratified by class.

A resample of a class of n samples is n - 1 of them, drawn with replacement, and counts with weight n: the bootstrap of
Rao and Wu ("Resampling inference with complex survey data", JASA 83, 1988, with m = n - 1). Its variance is the
unbiased ``sum over classes of (n/N)^2 s^2 / n``. Drawing n of n, the plain way, gives (n - 1)/n of that: a fifth too
little at five samples a class. A class of one sample has no spread to resample, so all such classes make one stratum
("collapsed strata", Cochran, Sampling Techniques, 1977, 5A.12). That is exact if those classes stand for many others,
and errs on the wide side if they are all there is.

In numbers: a block of resamples is a matrix of how often each sample was drawn, and its product with the values is the
sums of all cells at once. One seed gives the same draws to every cell, so that differences of cells are paired.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64, Real
from torch import Tensor

from purescope.errors import InputError
from purescope.statistics._permutation import permutation_p

_BLOCK = 1 << 21  # draws at a time, of 20 bytes; another number gives other resamples
_EXACT_IN_FLOAT32 = 1 << 24


def bootstrap_means(
    values: Real[Tensor, "*cell sample"] | Bool[Tensor, "*cell sample"],
    groups: Int[Tensor, " sample"],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Float64[Tensor, " resample *cell"]:
    """Means over samples, in `resamples` resamples stratified by `groups`; the same resamples for all cells.

    The draws depend on `groups`, `resamples` and `seed` alone. So differences of cells, also of cells from two calls,
    are paired, and equal cells have equal means to the last bit if the values are whole numbers (right or wrong). For
    other values make the difference itself a cell where it must be exactly 0.

    Args:
        values: of each sample, 0 and 1 or any numbers.
        groups: class of each sample; a class keeps its share of the samples in every resample. Classes of one sample
            are resampled together, and with the next smallest class if there is but one.
        resamples: how many; the result takes 8 bytes for each and each cell.
        seed: of the draws.

    Raises:
        InputError: there are fewer than two samples, or not one group for each, or no resamples.

    Examples:
        Two models on the same images, the second right wherever the first is:

        >>> right = torch.tensor([[1, 0, 0, 1, 0, 0], [1, 1, 0, 1, 1, 0]])
        >>> means = bootstrap_means(right, torch.tensor([0, 0, 0, 1, 1, 1]), resamples=1000)
        >>> means.shape, bool((means[:, 0] <= means[:, 1]).all())
        (torch.Size([1000, 2]), True)
    """
    _check(values, groups, resamples)
    rows = values.flatten(0, -2) if values.ndim > 1 else values[None]
    whole = torch.tensor([_whole(row) for row in rows], dtype=torch.bool)
    kinds = [(whole.nonzero()[:, 0], torch.float32), ((~whole).nonzero()[:, 0], torch.float64)]
    generator = np.random.default_rng(seed)
    means = torch.zeros(resamples, len(rows), dtype=torch.float64)
    for members in _strata(groups):
        size = members.shape[1]
        parts = [(cells, _columns(rows, cells, members, dtype)) for cells, dtype in kinds if len(cells)]
        for block in means.split(max(1, _BLOCK // members.numel())):
            counts = _counts(len(block), members, generator)
            for cells, columns in parts:
                drawn = counts.to(columns.dtype) @ columns
                block[:, cells] += drawn.double() * size / (size - 1)
    return means.div_(len(groups)).view(resamples, *values.shape[:-1])


def percentile_interval(
    resampled: Float[Tensor, " resample *cell"], level: float = 0.95
) -> tuple[Float64[Tensor, "*cell"], Float64[Tensor, "*cell"]]:
    """The central `level` of the resamples (Efron 1979); between two of them linearly, as numpy's quantile.

    A cell of which no resample differs, such as accuracy 1, has an interval of width 0, which says nothing about its
    population: `wilson_interval` does. Resamples may be infinite (`neurons_needed`); an end of the interval then may
    be, too.

    Raises:
        InputError: there are no resamples, or the level is not between 0 and 1.

    Examples:
        >>> low, high = percentile_interval(torch.arange(101.0), level=0.9)
        >>> low.item(), high.item()
        (5.0, 95.0)
    """
    if not 0 < level < 1:
        raise InputError(f"level = {level}", expected="a share between 0 and 1, such as 0.95")
    if not len(resampled):
        raise InputError("no resamples", expected="one or more: [resample, *cell]")
    ordered = resampled.double().sort(dim=0).values
    unknown = ordered[-1].isnan()  # NaN sorts last
    low, high = (
        _quantile(ordered, share).masked_fill(unknown, torch.nan) for share in ((1 - level) / 2, (1 + level) / 2)
    )
    return low, high


def bootstrap_p(differences: Float[Tensor, " resample *cell"]) -> Float64[Tensor, "*cell"]:
    """Two-sided p of the hypothesis that a difference is 0, from its resamples; for what has no exact test.

    ``2 min((1 + #<=0) / (1 + R), (1 + #>=0) / (1 + R))``, at most 1: the smallest share that a percentile interval
    leaves out while it holds 0 (Davison and Hinkley, Bootstrap Methods, 1997, 5.2 and 4.2.5).

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
            expected="values [*cell, sample] and a group for each sample",
        )
    if len(groups) < 2:
        raise InputError(f"{len(groups)} samples to resample", expected="two or more: one alone shows no spread")
    if resamples < 1:
        raise InputError(f"resamples = {resamples}", expected="1 or more; 10,000 for a 95 % interval")


def _whole(rows: Real[Tensor, " sample"] | Bool[Tensor, " sample"]) -> bool:
    """Whether every sum of a resample is a whole number that float32 holds: it is exact, and half the work."""
    lowest, highest = rows.aminmax()
    held = max(-float(lowest), float(highest)) * len(rows) < _EXACT_IN_FLOAT32
    return held and (not rows.is_floating_point() or bool((rows == rows.round()).all()))


def _strata(groups: Int[Tensor, " sample"]) -> Iterator[Int64[Tensor, "stratum member"]]:
    """The samples of each stratum, those strata together that have one size; no stratum of one."""
    labels, sizes = groups.unique(return_inverse=True, return_counts=True)[1:]
    pooled = sizes == 1
    if pooled.sum() == 1:
        pooled[sizes.masked_fill(pooled, len(groups)).argmin()] = True
    labels = torch.where(pooled[labels], len(sizes), labels).unique(return_inverse=True)[1]
    sizes = labels.bincount()
    by_stratum = labels.argsort(stable=True)
    for size in sizes.unique().tolist():
        yield by_stratum[(sizes == size)[labels[by_stratum]]].view(-1, size)


def _columns(
    rows: Real[Tensor, "cell sample"] | Bool[Tensor, "cell sample"],
    cells: Int64[Tensor, " cells"],
    members: Int64[Tensor, "stratum member"],
    dtype: torch.dtype,
) -> Float[Tensor, "drawable cells"]:
    """The values of some cells beside each other, a row a sample that can be drawn; no other copy of them is made."""
    columns, drawable = torch.empty(members.numel(), len(cells), dtype=dtype), members.flatten()
    for place, cell in enumerate(cells.tolist()):
        columns[:, place] = rows[cell][drawable]
    return columns


def _counts(
    resamples: int, members: Int64[Tensor, "stratum member"], generator: np.random.Generator
) -> Int64[Tensor, "resample drawable"]:
    """How often each sample of these strata is drawn: all but one as many as there are, from each stratum."""
    rows, size = resamples * len(members), members.shape[1]
    drawn = generator.integers(size, size=(rows, size - 1))
    drawn += size * np.arange(rows)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=rows * size)
    return torch.from_numpy(counts.reshape(resamples, -1))


def _quantile(ordered: Float64[Tensor, " resample *cell"], share: float) -> Float64[Tensor, "*cell"]:
    place = round(share * (len(ordered) - 1), 9)
    first = int(place)
    below, above, rest = ordered[first], ordered[min(first + 1, len(ordered) - 1)], place - first
    # Infinity times 0 is NaN: where nothing lies between, nothing is weighted.
    return torch.where((below == above) | (rest == 0), below, (1 - rest) * below + rest * above)
