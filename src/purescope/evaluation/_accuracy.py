"""Zero-shot accuracy of pruned embeddings, for every k at once.

One pass over the neurons, stopping at each k to count the classes that beat the true one, gives accuracy at all k for
the price of the largest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int32, Int64
from torch import Tensor

from purescope.evaluation import _cells
from purescope.evaluation._logits import logits_by_k

_NARROW = 2.0**-6  # share of the class features' squares that is not their mean's


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
    dropped: Float[Tensor, "#sample neuron"] | None = None,
) -> AccuracyByK:
    """Zero-shot accuracy with the first k neurons of each order, for every k, in one pass over the samples.

    A sample is right where its true class has the largest logit, the product of image and class feature over the
    neurons kept; of equal logits the lower class wins, as argmax has it. `ranks_by_k` says it sample by sample.

    Args:
        image: ``[sample, neuron]`` image features, float32 or float64; their norms change nothing.
        text: ``[class, neuron]``, one feature a class, of the same dtype.
        labels: ``[sample]``, the class of each, from 0 to the number of classes - 1.
        orders: one order ``[neuron]`` or several ``[order, neuron]``, as `purescope.order_neurons` makes them.
        ks: how many neurons to keep, each from 1 to d; results stand in ascending k, each k once.
        renormalise: give the text features unit norm again over the neurons kept.
        dropped: ``[1, neuron]`` or ``[sample, neuron]``, what the neurons not kept are set to in the image features,
            see `ablation_values`; zero by default.

    Returns:
        ``top1``, ``top5`` and ``recall`` (mean over classes), each ``[order, k]`` float64, fractions from 0 to 1.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out of range, an order
            is no permutation, or `renormalise` and `dropped` are both given.

    Examples:
        Neuron 0 alone cannot tell the classes apart (a tie goes to the lower class), neurons 0 and 1 can:

        >>> image = torch.tensor([[0.6, 0.8, 0.0], [0.6, -0.8, 0.0]])
        >>> text = torch.tensor([[0.6, 0.8, 0.0], [0.6, -0.8, 0.0]])
        >>> accuracy_by_k(image, text, torch.tensor([0, 1]), torch.arange(3), ks=[1, 2]).top1
        tensor([[0.5000, 1.0000]], dtype=torch.float64)
    """
    ranks = ranks_by_k(image, text, labels, orders, ks, renormalise=renormalise, dropped=dropped)
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
    dropped: Float[Tensor, "#sample neuron"] | None = None,
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
        dropped: what the neurons not kept are set to in the image features, see `ablation_values`; zero by default.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out of range, or class
            features are to lose the dropped neurons (`renormalise`) and to meet their values (`dropped`) too.
    """
    orders, ks = _cells.check(image, text, labels, orders, ks)
    ranks = torch.empty(len(orders), len(ks), len(image), dtype=torch.int32)
    labels = labels.long()
    text = text if renormalise else _apart(text)
    for turn, block, logits in logits_by_k(image, text, orders, ks, renormalise=renormalise, dropped=dropped):
        ranks[turn, :, block] = _ranks(logits, labels[block]).unflatten(0, (-1, len(ks)))
    return ranks


def _apart(text: Float[Tensor, "class neuron"]) -> Float[Tensor, "class neuron"]:
    """Class features less their mean, where they differ from it by little.

    What all classes have in common moves no rank, but the rounding of its products would, once that is as large as the
    differences: with classes in a cone of width 3e-4 float32 took two of three right answers for wrong ones.
    """
    mean = text.double().mean(0)
    apart = text.double() - mean
    narrow = bool(apart.square().sum() < _NARROW * text.double().square().sum())
    return apart.to(text.dtype) if narrow else text


def _ranks(logits: Float[Tensor, "cell class sample"], labels: Int64[Tensor, " sample"]) -> Int32[Tensor, "k sample"]:
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
