"""What each neuron is worth: accuracy, loss and margin without it, for all d neurons in one pass
over the samples.

Leaving neuron j out changes one summand of each logit and nothing else. With ``r_ij = x_ij -
v_ij``, v being the value that an ablation puts in its place, the logit of class c becomes
``logit_ic - r_ij t_cj``. So the logits are computed once, and one class at a time changes the gap
between the true class's logit and its own for all neurons of a block of samples: ``gap_ic + r_ij
(t_cj - t_own,j)``. The least gap is the margin, whose sign is right or wrong; the log of one plus
the sum of ``exp(-scale gap)`` is the cross-entropy. Everything is in float64, whatever comes in.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells as _cells
from purescope.maths.cells import ablation_values
from purescope.parallel import on_each_core

_ARRAYS = 16  # as many of a block's [sample, neuron] as the block budget holds: the few in use stay in cache


@dataclass(frozen=True)
class LeaveOneOut:
    """What all neurons reach together, and how that changes without each one of them; float64.

    Args:
        accuracy: with all neurons, a fraction.
        loss: mean cross-entropy with all neurons, in nats.
        margin: mean with all neurons of the true class's logit less the largest other one.
        accuracy_drop: accuracy less the accuracy without the neuron, -1 to 1: positive if it helps.
        loss_change: loss without the neuron less the loss with all: positive if it helps.
        margin_change: margin without the neuron less the margin with all: negative if it helps.
        recall_drop: the accuracy drop over the samples of each class; NaN for a class without any.
        lost: pairs (neuron, sample) that are right with all neurons and wrong without this one,
            neuron by neuron.
        gained: pairs that are wrong with all neurons and right without this one.
    """

    accuracy: float
    loss: float
    margin: float
    accuracy_drop: Float[Tensor, " neuron"]
    loss_change: Float[Tensor, " neuron"]
    margin_change: Float[Tensor, " neuron"]
    recall_drop: Float[Tensor, "neuron class"]
    lost: Int64[Tensor, "lost 2"]
    gained: Int64[Tensor, "gained 2"]


def leave_one_out(
    image: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
    labels: Int[Tensor, " sample"],
    *,
    ablation: str = "zero",
    seed: int = 0,
    scale: float = 100.0,
    loss: bool = True,
) -> LeaveOneOut:
    """Accuracy, loss and margin without each neuron: what d evaluations with one neuron ablated
    each give.

    A sample is right as in `ranks_by_k`: no class has a larger logit, and none of lower index an
    equal one. Logits are equal here if float64 sums of as many products cannot tell them apart.

    Args:
        image: image features, float32 or float64.
        text: one feature a class, of the same dtype and width; two classes or more.
        labels: class of each sample, from 0 to the number of classes - 1.
        ablation: what the neuron's image feature is set to, see `ablation_values`.
        seed: of an ablation that draws.
        scale: what logits are multiplied by in the loss; 100 is where CLIP's learned scale ends.
        loss: measure it too. It takes most of the time, one exponential for each sample, neuron and
            class; without it the loss and its changes are NaN.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label is out of
            range, there is one class only, or the ablation is unknown.

    Examples:
        Neuron 0 tells the images apart; neuron 1 does nothing for that, and blurs the second:

        >>> image, text = torch.tensor([[1.0, 0.0], [-1.0, 0.5]]), torch.tensor([[0.6, 0.8], [-0.6, 0.6]])
        >>> without = leave_one_out(image, text, torch.tensor([0, 1]))
        >>> without.accuracy, without.accuracy_drop.tolist(), without.lost.tolist()
        (1.0, [0.5, 0.0], [[0, 1]])
    """
    neurons = image.shape[-1]
    _cells.check(image, text, labels, torch.arange(neurons), [neurons])
    if len(text) < 2:
        raise InputError("text features of one class", expected="at least two to choose between")
    samples, values = len(image), ablation_values(image, ablation, seed=seed)
    text, labels = text.double(), labels.long()

    def measure(block: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        features, own = image[block].double(), text[labels[block]]
        removed = (
            features
            if values is None
            else features - (values if len(values) == 1 else values[block])
        )
        gaps = _gaps(features, removed, text, labels[block])
        margins, least = _margins(gaps, removed, own, text), gaps.amin(1)
        with_all, changes = (
            torch.full((2,), torch.nan).double(),
            torch.full((2, neurons), torch.nan).double(),
        )
        with_all[1], changes[1] = least.sum(), (margins - least[:, None]).sum(0)
        if loss:
            before = torch.nn.functional.softplus((-scale * gaps).logsumexp(1))
            with_all[0] = before.sum()
            changes[0] = (_losses(gaps, margins, removed, own, text, scale) - before[:, None]).sum(
                0
            )
        right = least > 0
        flipped = (margins > 0) != right[:, None]
        neuron, sample = flipped.T.nonzero(as_tuple=True)
        return with_all, changes, right, neuron * samples + (sample + block.start)

    with_all, changes = (
        torch.zeros(2, dtype=torch.float64),
        torch.zeros(2, neurons, dtype=torch.float64),
    )
    rights, flips = [], []
    for of_all, of_each, right_here, flips_here in on_each_core(
        measure, _cells.blocks(samples, _ARRAYS * neurons, 8)
    ):
        with_all += of_all
        changes += of_each
        rights.append(right_here)
        flips.append(flips_here)
    right = torch.cat(rights)
    pairs = torch.cat(flips).sort().values  # one number each: there are millions
    was_right = right[pairs % samples]
    lost, gained = (
        torch.stack([some // samples, some % samples], 1)
        for some in (pairs[was_right], pairs[~was_right])
    )
    drops = _per_class(lost, labels, neurons, len(text)) - _per_class(
        gained, labels, neurons, len(text)
    )
    mean_loss, mean_margin = (with_all / samples).tolist()
    loss_change, margin_change = changes / samples
    return LeaveOneOut(
        accuracy=float(right.double().mean()),
        loss=mean_loss,
        margin=mean_margin,
        accuracy_drop=drops.sum(1) / samples,
        loss_change=loss_change,
        margin_change=margin_change,
        recall_drop=drops / labels.bincount(minlength=len(text)),
        lost=lost,
        gained=gained,
    )


def _gaps(
    image: Float[Tensor, "sample neuron"],
    removed: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
    labels: Int64[Tensor, " sample"],
) -> Float[Tensor, "sample class"]:
    """Own logit less each other one; infinite for the own class. A sample is right if all are above
    zero.

    Rounding moves a gap by less than `level`, so that much is added where an equal logit does not
    beat the true class, and taken away where it does: exact ties fall as they must, and far less
    than a digit that counts is lost.
    """
    logits = image @ text.T
    rounding = 2 * image.shape[1] * torch.finfo(torch.float64).eps
    lengths = image.norm(dim=1, keepdim=True) + removed.norm(dim=1, keepdim=True)
    level = (rounding * lengths * text.norm(dim=1).max()).clamp(min=torch.finfo(torch.float64).tiny)
    own = labels[:, None]
    higher = torch.arange(len(text)) > own
    gaps: Tensor = logits.gather(1, own) - logits + torch.where(higher, level, -level)
    return gaps.scatter_(1, own, torch.inf)


def _margins(
    gaps: Float[Tensor, "sample class"],
    removed: Float[Tensor, "sample neuron"],
    own: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
) -> Float[Tensor, "sample neuron"]:
    """The least gap without each neuron."""
    least, gap = torch.full_like(removed, torch.inf), torch.empty_like(removed)
    for before, row in zip(gaps.T[:, :, None], text, strict=True):
        torch.minimum(least, torch.addcmul(before, removed, row, out=gap), out=least)
    return least.addcmul_(removed, own, value=-1)


def _losses(
    gaps: Float[Tensor, "sample class"],
    margins: Float[Tensor, "sample neuron"],
    removed: Float[Tensor, "sample neuron"],
    own: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
    scale: float,
) -> Float[Tensor, "sample neuron"]:
    """Cross-entropy without each neuron: the log of ``exp(0) + sum_c exp(-scale gap_c)``, the
    largest one factored out.

    The largest exponent is 0, or -scale times the margin.
    """
    largest = (-scale * margins).clamp_(min=0)
    sums, exponent = (-largest).exp(), torch.empty_like(removed)
    start, change = scale * removed * own - largest, -scale * removed
    for before, row in zip(scale * gaps.T[:, :, None], text, strict=True):
        sums += torch.addcmul(start, change, row, out=exponent).sub_(before).exp_()
    losses: Tensor = sums.log_().add_(largest)
    return losses


def _per_class(
    flips: Int64[Tensor, "flip 2"], labels: Int64[Tensor, " sample"], neurons: int, classes: int
) -> Float[Tensor, "neuron class"]:
    """How many samples of each class flip without each neuron."""
    cells = flips[:, 0] * classes + labels[flips[:, 1]]
    return cells.bincount(minlength=neurons * classes).double().view(neurons, classes)
