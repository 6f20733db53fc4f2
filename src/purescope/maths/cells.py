"""What accuracy and silhouette share: cells of orders and ks, checked arguments, blocks of samples.

Samples are processed in blocks. So memory is bounded by a block and the results, which are one
number for each order, k and sample. Inside a block, results have the shape ``[row, sample]``, so a
reduction over rows adds whole rows.

A neuron that is not kept is set to zero, to its mean, or to its value on another image. The
experiment uses zero. The other two keep a pruned embedding closer to the embeddings that the class
features were made for: a mean removes only what distinguishes images, and a value of another image
also keeps the neuron's distribution.

Curves over k become one number here: the area under them, or the neurons that a share of the full
accuracy needs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from purescope.errors import InputError, near_miss
from purescope.parallel import per_turn

BLOCK_SAMPLES = 1024  # two megabytes at 512 neurons: blocks are fast while they fit in the cache
BLOCK_BYTES = 2 << 20  # of results, before they are reduced


def blocks(samples: int, rows: int, itemsize: int) -> Iterator[slice]:
    """Split all samples into blocks that hold at most `BLOCK_BYTES` at `rows` numbers for each
    sample.
    """
    length = per_turn(BLOCK_BYTES, rows * itemsize, most=BLOCK_SAMPLES)
    return (slice(first, first + length) for first in range(0, samples, length))


def count_dtype(most: int) -> torch.dtype:
    """Return the smallest dtype of whole numbers from 0 to `most`.

    Examples:
        >>> count_dtype(255), count_dtype(256), count_dtype(40_000)
        (torch.uint8, torch.int16, torch.int32)
    """
    dtypes = torch.uint8, torch.int16, torch.int32, torch.int64
    return next(dtype for dtype in dtypes if most <= torch.iinfo(dtype).max)


def masks(
    orders: Int64[Tensor, "order neuron"], ks: list[int], dtype: torch.dtype
) -> Float[Tensor, "order k neuron"]:
    """Return 1 for each neuron that a cell keeps, else 0."""
    ranks = orders.argsort(dim=1)
    return (ranks[:, None] < torch.tensor(ks)[:, None]).to(dtype)


def check(
    image: Tensor, text: Tensor | None, labels: Tensor, orders: Tensor, ks: Sequence[int]
) -> tuple[Tensor, list[int]]:
    """Check the arguments of an evaluation.

    Returns:
        The orders as ``[order, neuron]``, and the ks ascending.
    """
    _check_features("image", image, image)
    if text is not None:
        _check_features("text", text, image)
    _check_labels(labels, len(image), None if text is None else len(text))
    neurons = image.shape[1]
    is_matrix = orders.ndim in (1, 2) and orders.shape[-1] == neurons and len(orders) > 0
    if orders.dtype != torch.int64 or not is_matrix:
        raise InputError(
            f"orders are {orders.dtype} of shape {list(orders.shape)}",
            expected=f"int64, [{neurons}] or [order, {neurons}]",
            fix="use purescope.order_neurons",
        )
    orders = orders if orders.ndim == 2 else orders[None]
    if not (orders.sort(dim=1).values == torch.arange(neurons)).all():
        raise InputError(
            f"an order that is not a permutation of the {neurons} neurons",
            expected="each neuron once",
            fix="use purescope.order_neurons",
        )
    return orders, check_keep(ks, neurons)


def _check_features(name: str, features: Tensor, image: Tensor) -> None:
    is_matrix = features.ndim == 2 and 0 not in features.shape
    if features.dtype not in (torch.float32, torch.float64) or not is_matrix:
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
    # A finite sum proves in one quick pass that all values are finite.
    if not features.sum().isfinite() and not features.isfinite().all():
        row = int((~features.isfinite()).any(1).nonzero()[0, 0])
        raise InputError(
            f"{name} features have a NaN or infinite value, first in row {row}",
            expected="finite values",
        )


def _check_labels(labels: Tensor, samples: int, classes: int | None) -> None:
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(
            f"labels are {labels.dtype}", expected="whole numbers: the index of each sample's class"
        )
    if labels.shape != (samples,):
        raise InputError(
            f"{labels.numel()} labels for {samples} samples",
            expected="one label for each sample",
        )
    classes = classes or int(labels.max()) + 1
    outside = ((labels < 0) | (labels >= classes)).nonzero()
    if len(outside):
        raise InputError(
            f"label {int(labels[outside[0, 0]])} of sample {int(outside[0, 0])}",
            expected=f"0 to {classes - 1}; {len(outside)} labels are outside",
        )


def check_keep(keep: int | Iterable[int], neurons: int) -> list[int]:
    """Return the ks to evaluate: ascending, without repeats, each from 1 to `neurons`.

    Raises:
        InputError: there is no k, or one is not a whole number in that range.

    Examples:
        >>> check_keep([300, 200, 200], neurons=512)
        [200, 300]
    """
    # An array, of NumPy or torch, becomes a number or a list of numbers.
    plain: object = keep.tolist() if hasattr(keep, "tolist") else keep
    ks = set()
    for k in plain if isinstance(plain, Iterable) and not isinstance(plain, str) else [plain]:
        if isinstance(k, bool) or not hasattr(k, "__index__") or k not in range(1, neurons + 1):
            raise InputError(
                f"k = {k!r} neurons to keep",
                expected=f"a whole number from 1 to {neurons}, the number of neurons of this model",
                fix="change --keep KS (keep=KS)",
            )
        ks.add(int(k))
    if not ks:
        raise InputError(
            "no k to evaluate",
            expected=f"at least one from 1 to {neurons}",
            fix="--keep KS (keep=KS)",
        )
    return sorted(ks)


def default_keep(neurons: int) -> list[int]:
    """Return the experiment's ks, 200 to 500 in steps of 50 at d = 512, as fractions of any d.

    Examples:
        >>> default_keep(512)
        [200, 250, 300, 350, 400, 450, 500]
        >>> default_keep(768)
        [300, 375, 450, 525, 600, 675, 750]
    """
    return sorted({max(1, round(k * neurons / 512)) for k in range(200, 501, 50)})


def ablation_values(
    image: Float[Tensor, "sample neuron"], ablation: str = "zero", *, seed: int = 0
) -> Float[Tensor, "#sample neuron"] | None:
    """Return the value that each neuron gets when it is dropped, for `ranks_by_k`; None for zero.

    Args:
        image: image features.
        ablation: ``zero``; ``mean``, each neuron's mean over the images; or ``resample``, the whole
            embedding of one other image, drawn once for each image (a derangement by a random
            cycle).
        seed: seed of the random cycle.

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
    # Some neurons at a time, so that there is no float64 copy of all features.
    groups = image.split(per_turn(1 << 22, len(image)), dim=1)
    means = torch.cat([group.double().mean(0, keepdim=True) for group in groups], dim=1)
    return means.to(image.dtype)


def _resample(image: Tensor, seed: int) -> Tensor:
    if len(image) < 2:
        raise InputError(
            "only one image to resample from",
            expected="at least two",
            fix="use ablation 'mean'",
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


def area_between(
    first: Float[Tensor, "*cell k"], second: Float[Tensor, "*cell k"], ks: Sequence[int]
) -> Float64[Tensor, "*cell"]:
    """Return the mean of ``first - second`` over k: positive where the first curve is above.

    The curves are linear between the ks. The result is the area by the trapezoid rule divided by
    the range of k, so it has the unit of the curves. With one k it is the difference there.

    Raises:
        InputError: the ks do not increase, or their number is not that of the curves' values.

    Examples:
        >>> first, second = torch.tensor([0.5, 0.7, 0.8]), torch.tensor([0.3, 0.6, 0.8])
        >>> area_between(first, second, ks=[100, 200, 400])
        tensor(0.0833, dtype=torch.float64)
    """
    _check(ks, first, second)
    return mean_over_k(first.double() - second.double(), ks)


def mean_over_k(curve: Float[Tensor, "*cell k"], ks: Sequence[int]) -> Float64[Tensor, "*cell"]:
    """Return the mean of a curve over k, linear between the ks, in the unit of the curve.

    It is the area below the curve divided by the range of k.

    Raises:
        InputError: the ks do not increase, or their number is not that of the curve's values.

    Examples:
        >>> mean_over_k(torch.tensor([0.5, 0.7, 0.8]), ks=[100, 200, 400]).round(decimals=4)
        tensor(0.7000, dtype=torch.float64)
    """
    positions = _check(ks, curve)
    if len(positions) == 1:
        return curve[..., 0].double()
    return torch.trapezoid(curve.double(), positions) / (positions[-1] - positions[0])


def rising(curve: Float[Tensor, "*cell k"]) -> Float64[Tensor, "*cell k"]:
    """Fit the curve that never falls and is closest in squares: isotonic regression with equal
    weights.

    The value at each k is the largest, over all starts up to k, of the smallest mean from the start
    to any end from k on (Robertson, Wright and Dykstra, "Order Restricted Statistical Inference",
    1988).

    Examples:
        >>> rising(torch.tensor([0.1, 0.5, 0.3, 0.6]))
        tensor([0.1000, 0.4000, 0.4000, 0.6000], dtype=torch.float64)
    """
    count = curve.shape[-1]
    sums = torch.nn.functional.pad(curve.double().cumsum(-1), (1, 0))
    start, end = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
    means = (sums[..., end + 1] - sums[..., start]) / (end - start + 1)
    # The smallest mean from each start to any end from k on.
    lowest = means.masked_fill(end < start, torch.inf).flip(-1).cummin(-1).values.flip(-1)
    highest: Tensor = lowest.masked_fill(end < start, -torch.inf).amax(-2)
    return highest.masked_fill(curve.isnan().any(-1, keepdim=True), torch.nan)


def neurons_needed(
    curve: Float[Tensor, "*cell k"], ks: Sequence[int], target: Float[Tensor, "*cell"]
) -> Float64[Tensor, "*cell"]:
    """Return the smallest k from which on the curve stays at or above the target.

    The curve is linear between the ks. The result is infinity where the curve is below the target
    at the last k. The first k is the smallest possible result: where the curve is never below,
    fewer neurons may be enough.

    Raises:
        InputError: the ks do not increase, their number is not that of the curve's values, or there
            is not one target for each curve.

    Examples:
        The curve reaches the target at first, falls below it at 200, and reaches it for good half
        way from 200 to 300:

        >>> curve = torch.tensor([0.5, 0.25, 0.75, 0.75])
        >>> neurons_needed(curve, [100, 200, 300, 400], torch.tensor(0.5))
        tensor(250., dtype=torch.float64)
    """
    at = _check(ks, curve)
    if target.shape != curve.shape[:-1]:
        raise InputError(
            f"targets of shape {list(target.shape)} for curves of shape {list(curve.shape)}",
            expected="one target for each curve",
        )
    curve, target = curve.double(), target.double()[..., None]
    # The last k at which the curve is below the target, -1 for none.
    last = torch.arange(len(at)).where(curve < target, -1).amax(-1, keepdim=True)
    left, right = last.clamp(min=0), (last + 1).clamp(max=len(at) - 1)
    from_value, to_value = curve.gather(-1, left), curve.gather(-1, right)
    needed = at[left] + (target - from_value) / (to_value - from_value) * (at[right] - at[left])
    needed = needed.where(last >= 0, at[0]).where(last < len(at) - 1, torch.inf)
    unknown = curve.isnan().any(-1, keepdim=True) | target.isnan()
    return needed.masked_fill(unknown, torch.nan)[..., 0]


def _check(ks: Sequence[int], *curves: Tensor) -> Float64[Tensor, " k"]:
    at = torch.tensor(list(ks), dtype=torch.float64)
    if not len(at) or bool((at.diff() <= 0).any()):
        raise InputError(f"ks = {list(ks)}", expected="increasing numbers of neurons, at least one")
    if any(curve.shape[-1:] != at.shape or curve.shape != curves[0].shape for curve in curves):
        raise InputError(
            f"curves {' and '.join(str(list(curve.shape)) for curve in curves)} at {len(at)} ks",
            expected="curves of the same shape [*cell, k], with a value for each k",
        )
    return at


def halves(labels: Int[Tensor, " image"]) -> Int64[Tensor, " image"]:
    """Assign 0 and 1 in turns within each class, starting with 0: the same for everybody and every
    seed. Where each class has one image, all images take turns.

    Examples:
        >>> halves(torch.tensor([7, 7, 3, 7, 3])), halves(torch.tensor([4, 1, 9]))
        (tensor([0, 1, 0, 0, 1]), tensor([0, 1, 0]))
    """
    by_class = labels.argsort(stable=True)
    ordered = labels[by_class]
    if not (ordered[1:] == ordered[:-1]).any():
        return torch.arange(len(labels)) % 2
    position_in_class = torch.arange(len(labels)) - torch.searchsorted(ordered, ordered)
    half = torch.empty_like(position_in_class)
    half[by_class] = position_in_class % 2
    return half


def unit_rows(rows: Float[Tensor, "row neuron"]) -> Float64[Tensor, "row neuron"]:
    """Scale rows to norm 1 in float64; a zero row stays."""
    # The largest value first, so that no square overflows or vanishes.
    rows = rows.double()
    largest = rows.abs().amax(1, keepdim=True)
    rows = rows / largest.masked_fill(largest == 0, 1)
    norms = rows.norm(dim=1, keepdim=True)
    scaled: Tensor = rows / norms.masked_fill(norms == 0, 1)
    return scaled
