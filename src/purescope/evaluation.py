"""Zero-shot accuracy and cosine silhouette of pruned embeddings, for every k at once.

Keeping the first k neurons of an order and zeroing the rest changes nothing but which columns are summed over, so

* logits add over neurons: ``logit_ic(k) = sum_{j in first k} x_ij t_cj``. One pass over the neurons, stopping at each k
  to count the classes that beat the true one, gives accuracy at all k for the price of the largest;
* the cosine silhouette needs class sums only. With ``u_i = x_iS / |x_iS|``, ``R_c`` the sum of u over class c and n_c
  its size, the mean cosine distance of i to class c is ``1 - u_i.R_c / n_c``, and to its own class without itself
  ``a_i = 1 - (u_i.R_c - u_i.u_i) / (n_c - 1)``. With b_i the smallest such distance to another class,
  ``s_i = (b_i - a_i) / max(a_i, b_i)``, and 0 for a class of one. That is O(N C k) in place of O(N^2 k), and exact.

Samples are read in blocks, so memory is bounded by a block, the class sums and the results: one number for each order,
k and sample. Inside a block logits are laid out ``[class, sample]``: a reduction over classes runs over whole rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int32, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.ordering import check_keep

_BLOCK_SAMPLES = 2048  # at 512 neurons four megabytes: a block is worth most while it stays in cache
_BLOCK_BYTES = 32 << 20  # of logits of one order
_CLASS_SUM_BYTES = 128 << 20  # of class sums; more orders than that are evaluated in turns


@dataclass(frozen=True)
class AccuracyByK:
    """Accuracy at each k; every field is ``[order, k]`` float64, a fraction from 0 to 1.

    `recall` is the mean over the classes that have samples of the share of their samples that are right.
    """

    top1: Float[Tensor, "order k"]
    top5: Float[Tensor, "order k"]
    recall: Float[Tensor, "order k"]


def accuracy_by_k(
    image: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
    labels: Int[Tensor, " sample"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
    *,
    renormalise: bool = False,
) -> AccuracyByK:
    """Zero-shot accuracy with the first k neurons of each order, for every k, in one pass over the samples.

    The mean over samples of what `ranks_by_k` returns; arguments and errors as there.

    Examples:
        Neuron 0 alone cannot tell the classes apart (a tie goes to the lower class), neurons 0 and 1 can:

        >>> image = torch.tensor([[0.6, 0.8, 0.0], [0.6, -0.8, 0.0]])
        >>> text = torch.tensor([[0.6, 0.8, 0.0], [0.6, -0.8, 0.0]])
        >>> accuracy_by_k(image, text, torch.tensor([0, 1]), torch.arange(3), ks=[1, 2]).top1
        tensor([[0.5000, 1.0000]], dtype=torch.float64)
    """
    ranks = ranks_by_k(image, text, labels, orders, ks, renormalise=renormalise)
    sizes = torch.bincount(labels, minlength=len(text))
    right = torch.zeros(*ranks.shape[:2], len(text), dtype=torch.float64)
    for by_class, rank in zip(right, ranks, strict=True):  # in turns: a float64 copy of all ranks is large
        by_class.index_add_(1, labels.long(), (rank == 0).double())
    return AccuracyByK(
        top1=right.sum(2) / len(labels),
        top5=torch.stack([(rank < 5).double().mean(1) for rank in ranks]),
        recall=(right[:, :, sizes > 0] / sizes[sizes > 0]).mean(2),
    )


def ranks_by_k(
    image: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
    labels: Int[Tensor, " sample"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
    *,
    renormalise: bool = False,
) -> Int32[Tensor, "order k sample"]:
    """How many classes beat the true class of each sample with the first k neurons: 0 is a right answer.

    A class beats the true one by a larger logit, or by an equal one and a lower index, as argmax has it.

    Args:
        image: image features, float32 or float64; their norms cannot change a rank.
        text: one feature a class, of the same dtype and width.
        labels: class of each sample, from 0 to the number of classes - 1.
        orders: one order ``[neuron]`` or several ``[order, neuron]``, as `purescope.ordering` makes them.
        ks: how many neurons to keep, each from 1 to d; results stand in ascending k, each k once.
        renormalise: give the text features unit norm again over the neurons kept.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out of range.
    """
    orders, ks = _check(image, text, labels, orders, ks)
    ranks = torch.empty(len(orders), len(ks), len(image), dtype=torch.int32)
    masks = _masks(orders, ks, image.dtype)
    # Few logits are soonest made by one large product with zeros in it, many by running sums over the neurons.
    at_once = renormalise or len(ks) * len(text) <= image.shape[1] // 4
    for block in _blocks(image, labels, torch.arange(len(image)), len(ks) * len(text)):
        for row, order in enumerate(orders[:, : ks[-1]]):
            if at_once:
                kept = text * masks[row, :, None]
                weights = _unit_rows(kept) if renormalise else kept
                logits = (weights.flatten(0, 1) @ block.features.T).unflatten(0, weights.shape[:2])
            else:
                logits = _prefix_products(text[:, order], block.ordered(order), ks)
            ranks[row, :, block.samples] = _ranks(logits, block.labels)
    return ranks


def silhouette_by_k(
    image: Float[Tensor, "sample neuron"],
    labels: Int[Tensor, " sample"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
) -> Float[Tensor, "order k"]:
    """Mean cosine silhouette with the first k neurons of each order: -1 (wrong clusters) to 1 (tight ones), float64.

    The mean over samples of `silhouette_samples_by_k`; arguments and errors as there.

    Examples:
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
    orders, ks = _check(image, None, labels, orders, ks)
    labels, sizes = _present_classes(labels)
    scores = image.new_empty(len(orders), len(ks), len(image))
    by_class = labels.argsort(stable=True)
    cells = len(ks) * len(sizes)  # for each order
    group = max(1, _CLASS_SUM_BYTES // (8 * cells * image.shape[1]))
    for first in range(0, len(orders), group):
        turn = slice(first, first + group)
        masks = _masks(orders[turn], ks, image.dtype)
        sums = image.new_zeros(*masks.shape[:2], len(sizes), image.shape[1], dtype=torch.float64)
        for block in _blocks(image, labels, by_class, len(masks) * cells):
            inverse = _inverse_norms(masks, block.features)
            _add_class_sums(sums, inverse, block)
            scores[turn, :, block.samples] = inverse  # for the second pass, where the scores will stand
        means = (sums / sizes[:, None]).to(image.dtype) * masks[:, :, None]
        for block in _blocks(image, labels, by_class, len(masks) * cells):
            inverse = scores[turn, :, block.samples]
            scores[turn, :, block.samples] = _silhouettes(means, inverse, block, sizes)
    return scores


@dataclass(frozen=True)
class _Block:
    """Some samples: their indices, features and labels."""

    samples: Int64[Tensor, " sample"]
    features: Float[Tensor, "sample neuron"]
    labels: Int64[Tensor, " sample"]

    def ordered(self, kept: Int64[Tensor, " kept"]) -> Float[Tensor, "kept sample"]:
        """The features of some neurons in order; `gather` is the fastest way to take columns."""
        return self.features.gather(1, kept.expand(len(self.samples), -1)).T


def _blocks(image: Tensor, labels: Tensor, samples: Int64[Tensor, " sample"], rows: int) -> Iterator[_Block]:
    """All `samples`, in blocks for which `rows` numbers a sample stay within the block budget."""
    length = max(1, min(_BLOCK_SAMPLES, _BLOCK_BYTES // (rows * image.element_size())))
    for block in samples.split(length):
        yield _Block(block, image.index_select(0, block), labels[block].long())


def _prefix_products(
    weights: Float[Tensor, "row neuron"], features: Float[Tensor, "kept sample"], ks: list[int]
) -> Float[Tensor, "k row sample"]:
    """``weights[:, :k] @ features[:k]`` for every k; each neuron is multiplied once."""
    products = features.new_empty(len(ks), len(weights), features.shape[1])
    torch.mm(weights[:, : ks[0]], features[: ks[0]], out=products[0])
    for i in range(1, len(ks)):
        kept = slice(ks[i - 1], ks[i])
        torch.addmm(products[i - 1], weights[:, kept], features[kept], out=products[i])
    return products


def _ranks(logits: Float[Tensor, "k class sample"], labels: Int64[Tensor, " sample"]) -> Int32[Tensor, "k sample"]:
    own = logits.gather(1, labels.expand(len(logits), 1, -1))
    beaten = torch.empty_like(logits)  # floats: counting them is a vectorised sum, counting booleans is not
    ranks = torch.gt(logits, own, out=beaten).sum(1).to(torch.int32)
    level = torch.eq(logits, own, out=beaten).sum(1) > 1
    if level.any():
        k, sample = level.nonzero(as_tuple=True)
        tied = logits[k, :, sample] == own[k, 0, sample][:, None]
        lower = torch.arange(logits.shape[1]) < labels[sample][:, None]
        ranks[k, sample] += (tied & lower).sum(1, dtype=torch.int32)
    return ranks


def _unit_rows(kept: Float[Tensor, "k class neuron"]) -> Float[Tensor, "k class neuron"]:
    """Each row at norm 1: exactly 1 or -1 where one neuron is all there is, and zeros where there is none.

    Scaling the logits instead would be cheaper, and break the many ties at small k by rounding.
    """
    norms = kept.square().sum(2, keepdim=True).sqrt()
    return kept / norms.masked_fill(norms == 0, 1)


def _masks(orders: Int64[Tensor, "order neuron"], ks: list[int], dtype: torch.dtype) -> Float[Tensor, "order k neuron"]:
    """1 for each neuron that a cell keeps, else 0."""
    ranks = orders.argsort(dim=1)
    return (ranks[:, None] < torch.tensor(ks)[:, None]).to(dtype)


def _inverse_norms(
    masks: Float[Tensor, "order k neuron"], features: Float[Tensor, "sample neuron"]
) -> Float[Tensor, "order k sample"]:
    """``1 / |neurons kept|`` of each sample in each cell, 0 where the norm is 0."""
    squares = (masks.flatten(0, 1) @ features.square().T).unflatten(0, masks.shape[:2])
    inverse: Tensor = squares.rsqrt().masked_fill_(squares == 0, 0)
    return inverse


def _add_class_sums(
    sums: Float[Tensor, "order k class neuron"], inverse: Float[Tensor, "order k sample"], block: _Block
) -> None:
    """Add to each class the unit vectors of its samples, in float64; neurons that a cell does not keep mean nothing."""
    classes, counts = block.labels.unique_consecutive(return_counts=True)
    start = 0
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        members = slice(start, start + count)
        sums[:, :, label] += inverse[:, :, members] @ block.features[members]
        start += count


def _silhouettes(
    means: Float[Tensor, "order k class neuron"],
    inverse: Float[Tensor, "order k sample"],
    block: _Block,
    sizes: Int64[Tensor, " class"],
) -> Float[Tensor, "order k sample"]:
    cosines = (means.flatten(0, 2) @ block.features.T).unflatten(0, means.shape[:3])
    own = block.labels.expand(*means.shape[:2], 1, -1)
    size = sizes[block.labels].to(cosines.dtype)
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


def _check(
    image: Tensor, text: Tensor | None, labels: Tensor, orders: Tensor, ks: Sequence[int]
) -> tuple[Tensor, list[int]]:
    """Validated ``[order, neuron]`` orders and ascending ks."""
    for name, features in (("image", image), ("text", text)):
        if features is None:
            continue
        if features.dtype not in (torch.float32, torch.float64) or features.ndim != 2 or 0 in features.shape:
            raise InputError(
                f"{name} features are {features.dtype} of shape {list(features.shape)}",
                expected="float32 or float64, [rows, neuron]",
            )
        if features.shape[1] != image.shape[1] or features.dtype != image.dtype:
            raise InputError(
                f"image {image.dtype} {list(image.shape)}, text {features.dtype} {list(features.shape)}",
                expected="the same number of neurons and the same dtype",
            )
        if not features.sum().isfinite() and not features.isfinite().all():  # the sum settles it in one quick pass
            row = int((~features.isfinite()).any(1).nonzero()[0, 0])
            raise InputError(
                f"{name} features have a NaN or infinite value, first in row {row}", expected="finite values"
            )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f"labels are {labels.dtype}", expected="whole numbers: the index of each sample's class")
    if labels.shape != image.shape[:1]:
        raise InputError(f"{labels.numel()} labels for {len(image)} samples", expected="one label a sample")
    classes = len(text) if text is not None else int(labels.max()) + 1
    outside = ((labels < 0) | (labels >= classes)).nonzero()
    if len(outside):
        raise InputError(
            f"label {int(labels[outside[0, 0]])} of sample {int(outside[0, 0])}",
            expected=f"0 to {classes - 1}; {len(outside)} labels are outside",
        )
    neurons = image.shape[1]
    if orders.dtype != torch.int64 or orders.ndim not in (1, 2) or orders.shape[-1] != neurons or not len(orders):
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
