"""Zero-shot accuracy of pruned embeddings for every k at once, and the class each sample resembles.

Keeping the first k neurons of an order and setting the rest to zero only changes which columns are
summed over. So logits add over neurons: ``logit_ic(k) = sum_{j in first k} x_ij t_cj``. Each neuron
is multiplied once. One pass over the neurons stops at each k and counts the classes that beat the
true one. This gives the accuracy at all k for the cost of the largest k.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int, Int32, Int64, Integer
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells
from purescope.parallel import per_turn

_PRODUCT_ROWS = 512  # in one matrix product: orders are processed together up to this number
# Class features are close together in a neuron if less than this share of their squares is around
# the mean.
_NARROW = 2.0**-6
_UNIT = 1e-6  # norms that differ less from 1 are those of unit rows, rounded


def logits_by_k(
    image: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
    orders: Int64[Tensor, "order neuron"],
    ks: list[int],
    *,
    renormalise: bool,
    dropped: Float[Tensor, "#sample neuron"] | None,
) -> Iterator[tuple[slice, slice, Float[Tensor, "cell class block"]]]:
    """Yield the logits of some orders and a block of samples at a time.

    A cell is an order and a k; cells are sorted by order, then by k. Arguments are those of
    `ranks_by_k`, and are checked there.

    Raises:
        InputError: `renormalise` and `dropped` are both given.
    """
    if dropped is not None and renormalise:
        raise InputError(
            "renormalised class features together with values for dropped neurons",
            expected="one of the two: a neuron that is removed from the class features adds "
            "nothing to a logit",
            fix="leave out renormalise, or use ablation 'zero'",
        )
    text = text if renormalise else apart(text)
    # The rounding of a matrix product depends on the position of a row, so logits of equal class
    # features are computed once and copied.
    distinct, position = distinct_rows(text)
    has_twins = len(distinct) < len(text)
    text = text[distinct] if has_twins else text
    rows = len(ks) * len(text)  # for each order
    # Few logits are fastest as one large product with zeros in it, many as running sums over the
    # neurons.
    one_product = renormalise or rows <= image.shape[1] // 4
    chunk_size = per_turn(_PRODUCT_ROWS, rows) if one_product else 1
    for first in range(0, len(orders), chunk_size):
        chunk = slice(first, first + chunk_size)
        weights = None
        if one_product:
            kept = cells.masks(orders[chunk], ks, image.dtype)
            # One k after another: a float64 copy of all weights would be large.
            weights = torch.stack([_weights(text, at_k, renormalise) for at_k in kept.unbind(1)], 1)
            weights = weights.flatten(0, 1)
        for block in cells.blocks(len(image), chunk_size * rows, image.element_size()):
            features = image[block].contiguous()  # so that any layout rounds alike
            values = dropped if dropped is None or len(dropped) == 1 else dropped[block]
            features = features if values is None else features - values
            if weights is not None:
                logits = (weights.flatten(0, 1) @ features.T).unflatten(0, weights.shape[:2])
            else:
                order = orders[first, : ks[-1]]
                logits = _prefix_products(text[:, order], _columns(features, order), ks)
            if values is not None:  # x_S t_S + v_rest t_rest = (x - v)_S t_S + v t
                logits += text @ values.T
            yield chunk, block, logits.index_select(1, position) if has_twins else logits


def distinct_rows(
    text: Float[Tensor, "class neuron"],
) -> tuple[Int64[Tensor, " distinct"], Int64[Tensor, " class"]]:
    """Find classes that share a feature.

    Returns:
        The first class of each group of equal features, in ascending order, and for each class the
        position of its group among them.

    Examples:
        >>> distinct_rows(torch.tensor([[1.0], [2.0], [1.0]]))
        (tensor([0, 1]), tensor([0, 1, 0]))
    """
    own = torch.arange(len(text))
    # Rows differ if the weighted sums of their bits differ. Sorting whole rows takes ten times as
    # long.
    whole = torch.int32 if text.element_size() == 4 else torch.int64
    bits = (text + 0.0).contiguous().view(whole).long()
    if len((bits * torch.arange(1, 2 * text.shape[1], 2)).sum(1).unique()) == len(text):
        return own, own
    _, group = torch.unique(text, dim=0, return_inverse=True)
    first = torch.full_like(own, len(text)).scatter_reduce_(0, group, own, "amin")[group]
    kept = (first == own).nonzero()[:, 0]
    return kept, torch.searchsorted(kept, first)


def _columns(
    features: Float[Tensor, "sample neuron"], kept: Int64[Tensor, " kept"]
) -> Float[Tensor, "kept sample"]:
    """Return some neurons in order, one row each; `gather` is the fastest way to take columns."""
    return features.gather(1, kept.expand(len(features), -1)).T


def _prefix_products(
    weights: Float[Tensor, "row neuron"], features: Float[Tensor, "kept sample"], ks: list[int]
) -> Float[Tensor, "k row sample"]:
    """Compute ``weights[:, :k] @ features[:k]`` for every k; each neuron is multiplied once."""
    products = features.new_empty(len(ks), len(weights), features.shape[1])
    torch.mm(weights[:, : ks[0]], features[: ks[0]], out=products[0])
    for i in range(1, len(ks)):
        kept = slice(ks[i - 1], ks[i])
        torch.addmm(products[i - 1], weights[:, kept], features[kept], out=products[i])
    return products


def _weights(
    text: Float[Tensor, "class neuron"], kept: Float[Tensor, "order neuron"], renormalise: bool
) -> Float[Tensor, "order class neuron"]:
    """Set the neurons that are not kept to zero, and scale each class to norm 1 again if asked:
    exactly 1 or -1 where one neuron is left, zeros where none is left.

    Scaling the logits instead would be cheaper, but rounding would then break the many ties at
    small k.
    """
    weights = text * kept[:, None]
    if not renormalise:
        return weights
    rows = weights.double()  # without the largest value of `unit_rows`, a tenth of the time here
    norms = rows.square().sum(2, keepdim=True).sqrt()
    return _without_common(rows / norms.masked_fill(norms == 0, 1)).to(text.dtype)


def apart(text: Float[Tensor, "class neuron"]) -> Float[Tensor, "class neuron"]:
    """Subtract the mean of the class features in the neurons where they differ little from it.

    Rows of norm 1 are scaled again in float64 before, because the rounding of their norms decides
    in a cone of width 1e-4.

    Examples:
        >>> apart(torch.tensor([[1.0, 0.5, 3.0], [1.0, -0.5, 3.5]]))
        tensor([[ 0.0000,  0.5000, -0.2500],
                [ 0.0000, -0.5000,  0.2500]])
    """
    rows = text.double()
    norms = rows.square().sum(1, keepdim=True).sqrt()
    rows = rows / norms if bool((norms - 1).abs().max() < _UNIT) else rows
    centred = _without_common(rows)
    return text if centred is rows else centred.to(text.dtype)


def _without_common(
    rows: Float64[Tensor, "*cell class neuron"],
) -> Float64[Tensor, "*cell class neuron"]:
    """Subtract the mean over classes in each neuron where the classes differ little from it.

    What all classes have in common changes no rank. But the rounding of its products does, once it
    is as large as the differences: with classes in a cone of width 3e-4, float32 called two of
    three right answers wrong.
    """
    centred = rows - rows.mean(-2, keepdim=True)
    around, whole = (values.square().sum(-2, keepdim=True) for values in (centred, rows))
    narrow = around < _NARROW * whole
    return torch.where(narrow, centred, rows) if bool(narrow.any()) else rows


@dataclass(frozen=True)
class AccuracyByK:
    """Accuracy at each k; every field is ``[order, k]`` float64, a fraction from 0 to 1.

    `recall` is the mean, over the classes that have samples, of the fraction of their samples that
    is right.
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
    dropped: Float[Tensor, "#sample neuron"] | None = None,
) -> AccuracyByK:
    """Compute zero-shot accuracy with the first k neurons of each order, for every k in one pass.

    A sample is right if its true class has the largest logit: the product of image feature and
    class feature over the kept neurons. Of equal logits the lower class wins, as in argmax.
    `ranks_by_k` gives the result sample by sample.

    Args:
        image: ``[sample, neuron]`` image features, float32 or float64; their norms have no effect.
        text: ``[class, neuron]``, one feature for each class, of the same dtype.
        labels: ``[sample]``, the class of each sample, from 0 to the number of classes - 1.
        orders: one order ``[neuron]`` or several ``[order, neuron]``, as `purescope.order_neurons`
            makes them.
        ks: how many neurons to keep, each from 1 to d; results are sorted by ascending k, each k
            once.
        renormalise: scale the text features to unit norm again over the kept neurons.
        dropped: ``[1, neuron]`` or ``[sample, neuron]``, the values that dropped neurons get in the
            image features, see `ablation_values`; zero by default.

    Returns:
        ``top1``, ``top5`` and ``recall`` (mean over classes), each ``[order, k]`` float64,
        fractions from 0 to 1.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out
            of range, an order is not a permutation, or `renormalise` and `dropped` are both given.

    Examples:
        Neuron 0 alone cannot tell the classes apart (a tie goes to the lower class), neurons 0 and
        1 can:

        >>> image = torch.tensor([[0.6, 0.8, 0.0], [0.6, -0.8, 0.0]])
        >>> text = torch.tensor([[0.6, 0.8, 0.0], [0.6, -0.8, 0.0]])
        >>> accuracy_by_k(image, text, torch.tensor([0, 1]), torch.arange(3), ks=[1, 2]).top1
        tensor([[0.5000, 1.0000]], dtype=torch.float64)
    """
    ranks = ranks_by_k(image, text, labels, orders, ks, renormalise=renormalise, dropped=dropped)
    sizes = torch.bincount(labels, minlength=len(text))
    right = torch.zeros(*ranks.shape[:2], len(text), dtype=torch.float64)
    # One order after another: a float64 copy of all ranks would be large.
    for right_by_class, rank in zip(right, ranks, strict=True):
        right_by_class.index_add_(1, labels.long(), (rank == 0).double())
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
    dropped: Float[Tensor, "#sample neuron"] | None = None,
) -> Integer[Tensor, "order k sample"]:
    """Count the classes that beat the true class of each sample with the first k neurons.

    0 means that the sample is right. A class beats the true one by a larger logit, or by an equal
    logit and a lower index, as in argmax.

    Args:
        image: image features, float32 or float64; their norms cannot change a rank.
        text: one feature for each class, of the same dtype and width.
        labels: class of each sample, from 0 to the number of classes - 1.
        orders: one order ``[neuron]`` or several ``[order, neuron]``, as
            `purescope.maths.strategies` makes them.
        ks: how many neurons to keep, each from 1 to d; results are sorted by ascending k, each k
            once.
        renormalise: scale the text features to unit norm again over the kept neurons.
        dropped: the values that dropped neurons get in the image features, see `ablation_values`;
            zero by default.

    Returns:
        ``[order, k, sample]``, from 0 to the number of classes - 1, in as few bytes as that needs.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out
            of range, an order is not a permutation, or `renormalise` and `dropped` are both given.
    """
    orders, ks = cells.check(image, text, labels, orders, ks)
    ranks = torch.empty(len(orders), len(ks), len(image), dtype=cells.count_dtype(len(text)))
    labels = labels.long()
    for chunk, block, logits in logits_by_k(
        image, text, orders, ks, renormalise=renormalise, dropped=dropped
    ):
        ranks[chunk, :, block] = _ranks(logits, labels[block]).unflatten(0, (-1, len(ks)))
    return ranks


def _ranks(
    logits: Float[Tensor, "cell class sample"], labels: Int64[Tensor, " sample"]
) -> Int32[Tensor, "cell sample"]:
    """Count the classes that beat the true one."""
    own = logits.gather(1, labels.expand(len(logits), 1, -1))
    # In floats, because the sum of floats is vectorised and that of booleans is not.
    compared = torch.empty_like(logits)
    ranks = torch.gt(logits, own, out=compared).sum(1).to(torch.int32)
    has_tie = torch.eq(logits, own, out=compared).sum(1) > 1
    if has_tie.any():
        cell, sample = has_tie.nonzero(as_tuple=True)
        tied = logits[cell, :, sample] == own[cell, 0, sample][:, None]
        lower = torch.arange(logits.shape[1]) < labels[sample][:, None]
        ranks[cell, sample] += (tied & lower).sum(1, dtype=torch.int32)
    return ranks


def best_other_by_k(
    image: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
    labels: Int[Tensor, " sample"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
    *,
    renormalise: bool = False,
    dropped: Float[Tensor, "#sample neuron"] | None = None,
) -> Integer[Tensor, "order k sample"]:
    """Return the class that each sample is most similar to, besides its own, with the first k
    neurons.

    Of equal classes it is the lower one. For a sample of rank above 0, see `ranks_by_k`, this is
    the class that it is mistaken for; for rank 0, the second most similar class. The own class is
    excluded here, so `ranks_by_k` alone decides whether a sample is right.

    Args:
        image, text, labels, orders, ks, renormalise, dropped: as in `ranks_by_k`; at least two
            classes.

    Returns:
        ``[order, k, sample]``, in as few bytes as the number of classes needs.

    Raises:
        InputError: as in `ranks_by_k`, or there is only one class.

    Examples:
        >>> image, text = torch.tensor([[0.6, 0.8, 0.0]]), torch.eye(3)
        >>> best_other_by_k(image, text, torch.tensor([1]), torch.arange(3), ks=[3])
        tensor([[[0]]], dtype=torch.uint8)
    """
    orders, ks = cells.check(image, text, labels, orders, ks)
    if len(text) < 2:
        raise InputError("text features of one class", expected="at least two classes")
    others = torch.empty(len(orders), len(ks), len(image), dtype=cells.count_dtype(len(text)))
    labels = labels.long()
    for chunk, block, logits in logits_by_k(
        image, text, orders, ks, renormalise=renormalise, dropped=dropped
    ):
        own = labels[block].expand(len(logits), 1, -1)
        best = logits.scatter_(1, own, -torch.inf).argmax(1)  # the first of equal ones
        others[chunk, :, block] = best.unflatten(0, (-1, len(ks)))
    return others
