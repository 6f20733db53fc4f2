"""What a sample is taken for in place of its own class, for every k at once."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.evaluation import _cells
from purescope.evaluation._logits import logits_by_k


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
    """The class, other than its own, that each sample is most like with the first k neurons; the lower one of equals.

    It is what a sample of another rank than 0 is taken for, see `ranks_by_k`; of rank 0, what it is next like. Own
    classes are left out, so whether a sample is right is decided in one place, there.

    Args:
        image, text, labels, orders, ks, renormalise, dropped: as in `ranks_by_k`; two classes or more.

    Raises:
        InputError: as `ranks_by_k`, or there is one class only.

    Examples:
        >>> image, text = torch.tensor([[0.6, 0.8, 0.0]]), torch.eye(3)
        >>> best_other_by_k(image, text, torch.tensor([1]), torch.arange(3), ks=[3])
        tensor([[[0]]])
    """
    orders, ks = _cells.check(image, text, labels, orders, ks)
    if len(text) < 2:
        raise InputError("text features of one class", expected="at least two to choose between")
    others = torch.empty(len(orders), len(ks), len(image), dtype=torch.int64)
    labels = labels.long()
    for turn, block, logits in logits_by_k(image, text, orders, ks, renormalise=renormalise, dropped=dropped):
        own = labels[block].expand(len(logits), 1, -1)
        best = logits.scatter_(1, own, -torch.inf).argmax(1)  # of equal ones the first
        others[turn, :, block] = best.unflatten(0, (-1, len(ks)))
    return others
