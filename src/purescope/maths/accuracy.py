"""Zero-shot accuracy of pruned embeddings, for every k at once, and what a sample is taken for.

Keeping the first k neurons of an order and zeroing the rest changes nothing but which columns are
summed over, so logits add over neurons: ``logit_ic(k) = sum_{j in first k} x_ij t_cj``. Each neuron
is multiplied once. One pass over the neurons, stopping at each k to count the classes that beat the
true one, gives accuracy at all k for the price of the largest.

"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int32, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells

_PRODUCT_ROWS = 512  # of one matrix product: orders are taken together up to here


def logits_by_k(
    image: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
    orders: Int64[Tensor, "order neuron"],
    ks: list[int],
    *,
    renormalise: bool = False,
    dropped: Float[Tensor, "#sample neuron"] | None = None,
) -> Iterator[tuple[slice, slice, Float[Tensor, "cell class block"]]]:
    """Some orders and a block of samples at a time, with their logits; a cell is an order and a k,
    order by order.

    Arguments as in `ranks_by_k`, and checked as there.

    Raises:
        InputError: class features are to lose the dropped neurons (`renormalise`) and to meet their
            values (`dropped`) too.
    """
    if dropped is not None and renormalise:
        raise InputError(
            "class features renormalised over the kept neurons, and dropped neurons that have "
            "values",
            expected="one of the two: a neuron that class features have lost adds nothing to a "
            "logit",
            fix="leave out renormalise, or use ablation 'zero'",
        )
    distinct, place = distinct_rows(text)
    if len(distinct) < len(
        text
    ):  # the product of two matrices rounds by where a row stands: equal ones are made once
        some = logits_by_k(
            image, text[distinct], orders, ks, renormalise=renormalise, dropped=dropped
        )
        yield from ((turn, block, logits.index_select(1, place)) for turn, block, logits in some)
        return
    rows = len(ks) * len(text)  # for each order
    # Few logits are soonest made by one large product with zeros in it, many by running sums over
    # the neurons.
    at_once = renormalise or rows <= image.shape[1] // 4
    group = max(1, _PRODUCT_ROWS // rows) if at_once else 1
    for first in range(0, len(orders), group):
        turn = slice(first, first + group)
        kept = (
            text * cells.masks(orders[turn], ks, image.dtype).flatten(0, 1)[:, None]
            if at_once
            else None
        )
        weights = _unit_rows(kept) if kept is not None and renormalise else kept
        for block in cells.blocks(len(image), group * rows, image.element_size()):
            features = image[block].contiguous()  # whatever the layout: the same rounding
            values = dropped if dropped is None or len(dropped) == 1 else dropped[block]
            features = features if values is None else features - values
            if weights is not None:
                logits = (weights.flatten(0, 1) @ features.T).unflatten(0, weights.shape[:2])
            else:
                order = orders[first, : ks[-1]]
                logits = _prefix_products(text[:, order], _columns(features, order), ks)
            if values is not None:  # x_S t_S + v_rest t_rest = (x - v)_S t_S + v t
                logits += text @ values.T
            yield turn, block, logits


def distinct_rows(
    text: Float[Tensor, "class neuron"],
) -> tuple[Int64[Tensor, " distinct"], Int64[Tensor, " class"]]:
    """The first of all classes that share a feature, in their order, and the place of each class
    among them.

    Examples:
        >>> distinct_rows(torch.tensor([[1.0], [2.0], [1.0]]))
        (tensor([0, 1]), tensor([0, 1, 0]))
    """
    own = torch.arange(len(text))
    # Rows whose bits add up to different numbers differ; to sort whole rows takes ten times as
    # long.
    bits = (
        (text + 0.0)
        .contiguous()
        .view(torch.int32 if text.element_size() == 4 else torch.int64)
        .long()
    )
    if len((bits * torch.arange(1, 2 * text.shape[1], 2)).sum(1).unique()) == len(text):
        return own, own
    _, group = torch.unique(text, dim=0, return_inverse=True)
    first = torch.full_like(own, len(text)).scatter_reduce_(0, group, own, "amin")[group]
    kept = (first == own).nonzero()[:, 0]
    return kept, torch.searchsorted(kept, first)


def _columns(
    features: Float[Tensor, "sample neuron"], kept: Int64[Tensor, " kept"]
) -> Float[Tensor, "kept sample"]:
    """Some neurons in order; `gather` is the fastest way to take columns."""
    return features.gather(1, kept.expand(len(features), -1)).T


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


def _unit_rows(kept: Float[Tensor, "k class neuron"]) -> Float[Tensor, "k class neuron"]:
    """Each row at norm 1: exactly 1 or -1 where one neuron is all there is, and zeros where there
    is none.

    Scaling the logits instead would be cheaper, and break the many ties at small k by rounding.
    """
    norms = kept.square().sum(2, keepdim=True).sqrt()
    return kept / norms.masked_fill(norms == 0, 1)


_NARROW = 2.0**-6  # share of the class features' squares that is not their mean's


@dataclass(frozen=True)
class AccuracyByK:
    """Accuracy at each k; every field is ``[order, k]`` float64, a fraction from 0 to 1.

    `recall` is the mean over the classes that have samples of the share of their samples that are
    right.
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
    """Zero-shot accuracy with the first k neurons of each order, for every k, in one pass over the
    samples.

    A sample is right where its true class has the largest logit, the product of image and class
    feature over the neurons kept; of equal logits the lower class wins, as argmax has it.
    `ranks_by_k` says it sample by sample.

    Args:
        image: ``[sample, neuron]`` image features, float32 or float64; their norms change nothing.
        text: ``[class, neuron]``, one feature a class, of the same dtype.
        labels: ``[sample]``, the class of each, from 0 to the number of classes - 1.
        orders: one order ``[neuron]`` or several ``[order, neuron]``, as `purescope.order_neurons`
            makes them.
        ks: how many neurons to keep, each from 1 to d; results stand in ascending k, each k once.
        renormalise: give the text features unit norm again over the neurons kept.
        dropped: ``[1, neuron]`` or ``[sample, neuron]``, what the neurons not kept are set to in
            the image features, see `ablation_values`; zero by default.

    Returns:
        ``top1``, ``top5`` and ``recall`` (mean over classes), each ``[order, k]`` float64,
        fractions from 0 to 1.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out
            of range, an order is no permutation, or `renormalise` and `dropped` are both given.

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
    for by_class, rank in zip(
        right, ranks, strict=True
    ):  # in turns: a float64 copy of all ranks is large
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
    dropped: Float[Tensor, "#sample neuron"] | None = None,
) -> Int32[Tensor, "order k sample"]:
    """How many classes beat the true class of each sample with the first k neurons: 0 is a right
    answer.

    A class beats the true one by a larger logit, or by an equal one and a lower index, as argmax
    has it.

    Args:
        image: image features, float32 or float64; their norms cannot change a rank.
        text: one feature a class, of the same dtype and width.
        labels: class of each sample, from 0 to the number of classes - 1.
        orders: one order ``[neuron]`` or several ``[order, neuron]``, as
            `purescope.maths.strategies` makes them.
        ks: how many neurons to keep, each from 1 to d; results stand in ascending k, each k once.
        renormalise: give the text features unit norm again over the neurons kept.
        dropped: what the neurons not kept are set to in the image features, see `ablation_values`;
            zero by default.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out
            of range, or class features are to lose the dropped neurons (`renormalise`) and to meet
            their values (`dropped`) too.
    """
    orders, ks = cells.check(image, text, labels, orders, ks)
    ranks = torch.empty(len(orders), len(ks), len(image), dtype=torch.int32)
    labels = labels.long()
    text = text if renormalise else _apart(text)
    for turn, block, logits in logits_by_k(
        image, text, orders, ks, renormalise=renormalise, dropped=dropped
    ):
        ranks[turn, :, block] = _ranks(logits, labels[block]).unflatten(0, (-1, len(ks)))
    return ranks


def _apart(text: Float[Tensor, "class neuron"]) -> Float[Tensor, "class neuron"]:
    """Class features less their mean, where they differ from it by little.

    What all classes have in common moves no rank, but the rounding of its products would, once that
    is as large as the differences: with classes in a cone of width 3e-4 float32 took two of three
    right answers for wrong ones.
    """
    mean = text.double().mean(0)
    apart = text.double() - mean
    narrow = bool(apart.square().sum() < _NARROW * text.double().square().sum())
    return apart.to(text.dtype) if narrow else text


def _ranks(
    logits: Float[Tensor, "cell class sample"], labels: Int64[Tensor, " sample"]
) -> Int32[Tensor, "k sample"]:
    own = logits.gather(1, labels.expand(len(logits), 1, -1))
    beaten = torch.empty_like(
        logits
    )  # floats: counting them is a vectorised sum, counting booleans is not
    ranks = torch.gt(logits, own, out=beaten).sum(1).to(torch.int32)
    level = torch.eq(logits, own, out=beaten).sum(1) > 1
    if level.any():
        k, sample = level.nonzero(as_tuple=True)
        tied = logits[k, :, sample] == own[k, 0, sample][:, None]
        lower = torch.arange(logits.shape[1]) < labels[sample][:, None]
        ranks[k, sample] += (tied & lower).sum(1, dtype=torch.int32)
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
) -> Int64[Tensor, "order k sample"]:
    """The class, other than its own, that each sample is most like with the first k neurons; the
    lower one of equals.

    It is what a sample of another rank than 0 is taken for, see `ranks_by_k`; of rank 0, what it is
    next like. Own classes are left out, so whether a sample is right is decided in one place,
    there.

    Args:
        image, text, labels, orders, ks, renormalise, dropped: as in `ranks_by_k`; two classes or
            more.

    Raises:
        InputError: as `ranks_by_k`, or there is one class only.

    Examples:
        >>> image, text = torch.tensor([[0.6, 0.8, 0.0]]), torch.eye(3)
        >>> best_other_by_k(image, text, torch.tensor([1]), torch.arange(3), ks=[3])
        tensor([[[0]]])
    """
    orders, ks = cells.check(image, text, labels, orders, ks)
    if len(text) < 2:
        raise InputError("text features of one class", expected="at least two to choose between")
    others = torch.empty(len(orders), len(ks), len(image), dtype=torch.int64)
    labels = labels.long()
    for turn, block, logits in logits_by_k(
        image, text, orders, ks, renormalise=renormalise, dropped=dropped
    ):
        own = labels[block].expand(len(logits), 1, -1)
        best = logits.scatter_(1, own, -torch.inf).argmax(1)  # of equal ones the first
        others[turn, :, block] = best.unflatten(0, (-1, len(ks)))
    return others
