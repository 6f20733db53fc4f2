"""Logits of pruned embeddings, for every k at once.

Keeping the first k neurons of an order and zeroing the rest changes nothing but which columns are summed over, so
logits add over neurons: ``logit_ic(k) = sum_{j in first k} x_ij t_cj``. Each neuron is multiplied once.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.evaluation import _cells

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
    """Some orders and a block of samples at a time, with their logits; a cell is an order and a k, order by order.

    Arguments as in `ranks_by_k`, and checked as there.

    Raises:
        InputError: class features are to lose the dropped neurons (`renormalise`) and to meet their values
            (`dropped`) too.
    """
    if dropped is not None and renormalise:
        raise InputError(
            "class features renormalised over the kept neurons, and dropped neurons that have values",
            expected="one of the two: a neuron that class features have lost adds nothing to a logit",
            fix="leave out renormalise, or use ablation 'zero'",
        )
    distinct, place = distinct_rows(text)
    if len(distinct) < len(text):  # the product of two matrices rounds by where a row stands: equal ones are made once
        some = logits_by_k(image, text[distinct], orders, ks, renormalise=renormalise, dropped=dropped)
        yield from ((turn, block, logits.index_select(1, place)) for turn, block, logits in some)
        return
    rows = len(ks) * len(text)  # for each order
    # Few logits are soonest made by one large product with zeros in it, many by running sums over the neurons.
    at_once = renormalise or rows <= image.shape[1] // 4
    group = max(1, _PRODUCT_ROWS // rows) if at_once else 1
    for first in range(0, len(orders), group):
        turn = slice(first, first + group)
        kept = text * _cells.masks(orders[turn], ks, image.dtype).flatten(0, 1)[:, None] if at_once else None
        weights = _unit_rows(kept) if kept is not None and renormalise else kept
        for block in _cells.blocks(len(image), group * rows, image.element_size()):
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
    """The first of all classes that share a feature, in their order, and the place of each class among them.

    Examples:
        >>> distinct_rows(torch.tensor([[1.0], [2.0], [1.0]]))
        (tensor([0, 1]), tensor([0, 1, 0]))
    """
    own = torch.arange(len(text))
    # Rows whose bits add up to different numbers differ; to sort whole rows takes ten times as long.
    bits = (text + 0.0).contiguous().view(torch.int32 if text.element_size() == 4 else torch.int64).long()
    if len((bits * torch.arange(1, 2 * text.shape[1], 2)).sum(1).unique()) == len(text):
        return own, own
    _, group = torch.unique(text, dim=0, return_inverse=True)
    first = torch.full_like(own, len(text)).scatter_reduce_(0, group, own, "amin")[group]
    kept = (first == own).nonzero()[:, 0]
    return kept, torch.searchsorted(kept, first)


def _columns(features: Float[Tensor, "sample neuron"], kept: Int64[Tensor, " kept"]) -> Float[Tensor, "kept sample"]:
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
    """Each row at norm 1: exactly 1 or -1 where one neuron is all there is, and zeros where there is none.

    Scaling the logits instead would be cheaper, and break the many ties at small k by rounding.
    """
    norms = kept.square().sum(2, keepdim=True).sqrt()
    return kept / norms.masked_fill(norms == 0, 1)
