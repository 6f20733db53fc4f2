"""What each neuron contributes: accuracy, loss and margin without it, for all d neurons in one
pass.

Leaving out neuron j changes one summand of each logit and nothing else. Let ``r_ij = x_ij - v_ij``,
v being the value that an ablation puts in its place. Then the logit of class c becomes ``logit_ic -
r_ij t_cj``. So the logits are computed once. Then each class in turn updates, for all neurons and a
block of samples, the gap between the logit of the true class and its own: ``gap_ic + r_ij (t_cj -
t_own,j)``. The smallest gap is the margin, and its sign says right or wrong. The log of one plus
the sum of ``exp(-scale gap)`` is the cross-entropy. Everything is computed in float64, whatever the
dtype of the features.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells as _cells
from purescope.maths.accuracy import apart
from purescope.maths.cells import ablation_values
from purescope.parallel import on_each_core

# Arrays [sample, neuron] of a block that fit the byte limit of a block: the few in use at a time
# then stay in the cache.
_ARRAYS = 16


@dataclass(frozen=True)
class LeaveOneOut:
    """Results with all neurons together, and how they change without each neuron; float64.

    Args:
        accuracy: with all neurons, a fraction.
        loss: mean cross-entropy with all neurons, in nats.
        margin: mean, with all neurons, of the true class's logit minus the largest other logit.
        accuracy_drop: accuracy minus the accuracy without the neuron, -1 to 1: positive if it
            helps.
        loss_change: loss without the neuron minus the loss with all: positive if it helps.
        margin_change: margin without the neuron minus the margin with all: negative if it helps.
        recall_drop: the accuracy drop over the samples of each class; NaN for a class without
            samples.
        lost: pairs (neuron, sample) that are right with all neurons and wrong without this one,
            sorted by neuron.
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
    """Compute accuracy, loss and margin without each neuron, as d evaluations with one ablated
    would.

    A sample is right as in `ranks_by_k`: no class has a larger logit, and no class of lower index
    an equal one. Here logits are equal if float64 sums of that many products cannot distinguish
    them.

    Args:
        image: image features, float32 or float64.
        text: one feature for each class, of the same dtype and width; at least two classes.
        labels: class of each sample, from 0 to the number of classes - 1.
        ablation: what the neuron's image feature is set to, see `ablation_values`.
        seed: seed of an ablation that draws.
        scale: factor of the logits in the loss; CLIP's learned scale ends at 100.
        loss: compute the loss too. It takes most of the time, one exponential for each sample,
            neuron and class; without it the loss and its changes are NaN.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label is out of
            range, there is only one class, or the ablation is unknown.

    Examples:
        Neuron 0 distinguishes the images. Neuron 1 does not, and reduces the second's margin:

        >>> image = torch.tensor([[1.0, 0.0], [-1.0, 0.5]])
        >>> text = torch.tensor([[0.6, 0.8], [-0.6, 0.6]])
        >>> without = leave_one_out(image, text, torch.tensor([0, 1]))
        >>> without.accuracy, without.accuracy_drop.tolist(), without.lost.tolist()
        (1.0, [0.5, 0.0], [[0, 1]])
    """
    neurons = image.shape[-1]
    _cells.check(image, text, labels, torch.arange(neurons), [neurons])
    if len(text) < 2:
        raise InputError("text features of one class", expected="at least two classes")
    samples, values = len(image), ablation_values(image, ablation, seed=seed)
    text, labels = apart(text.double()), labels.long()  # a part of all classes changes no gap
    # Written in place: small results of each block between its large arrays would leave holes in
    # memory that the next block does not fit into.
    right = torch.empty(samples, dtype=torch.bool)

    def measure(block: slice) -> tuple[Tensor, Tensor, Tensor]:
        features, own = image[block].double(), text[labels[block]]
        removed = features
        if values is not None:
            removed = features - (values if len(values) == 1 else values[block])
        gaps = _gaps(features, removed, text, labels[block])
        margins, least = _margins(gaps, removed, own, text), gaps.amin(1)
        totals = torch.full((2,), torch.nan, dtype=torch.float64)
        changes = torch.full((2, neurons), torch.nan, dtype=torch.float64)
        totals[1], changes[1] = least.sum(), (margins - least[:, None]).sum(0)
        if loss:
            before = torch.nn.functional.softplus((-scale * gaps).logsumexp(1))
            after = _losses(gaps, margins, removed, own, text, scale)
            totals[0], changes[0] = before.sum(), (after - before[:, None]).sum(0)
        right[block] = least > 0
        flipped = (margins > 0) != right[block, None]
        neuron, sample = flipped.T.nonzero(as_tuple=True)
        return totals, changes, neuron * samples + (sample + block.start)

    # Row 0 is the loss, row 1 the margin.
    totals = torch.zeros(2, dtype=torch.float64)
    changes = torch.zeros(2, neurons, dtype=torch.float64)
    flips = [torch.empty(0, dtype=torch.int64)]
    blocks = _cells.blocks(samples, _ARRAYS * neurons, 8)
    for block_totals, block_changes, block_flips in on_each_core(measure, blocks):
        totals += block_totals
        changes += block_changes
        if len(block_flips):
            flips.append(block_flips)
    # A pair of neuron and sample is one number here, because there are millions of them.
    pairs = torch.cat(flips).sort().values
    was_right = right[pairs % samples]
    lost, gained = (
        torch.stack([numbers // samples, numbers % samples], 1)
        for numbers in (pairs[was_right], pairs[~was_right])
    )
    classes = len(text)
    drops = _per_class(lost, labels, neurons, classes)
    drops -= _per_class(gained, labels, neurons, classes)
    mean_loss, mean_margin = (totals / samples).tolist()
    loss_change, margin_change = changes / samples
    return LeaveOneOut(
        accuracy=float(right.double().mean()),
        loss=mean_loss,
        margin=mean_margin,
        accuracy_drop=drops.sum(1) / samples,
        loss_change=loss_change,
        margin_change=margin_change,
        recall_drop=drops / labels.bincount(minlength=classes),
        lost=lost,
        gained=gained,
    )


def _gaps(
    image: Float[Tensor, "sample neuron"],
    removed: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
    labels: Int64[Tensor, " sample"],
) -> Float[Tensor, "sample class"]:
    """Return the logit of the own class minus each other one; infinite for the own class.

    A sample is right if all its gaps are above zero. Rounding changes a gap by less than `level`.
    So `level` is added where an equal logit does not beat the true class, and subtracted where it
    does. Exact ties then have the right sign, and the change is far below any digit that matters.
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
    """Return the smallest gap without each neuron."""
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
    """Compute the cross-entropy without each neuron: the log of ``exp(0) + sum_c exp(-scale
    gap_c)``.

    The largest term is factored out. Its exponent is 0 or -scale times the margin.
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
    """Count how many samples of each class flip without each neuron."""
    cells = flips[:, 0] * classes + labels[flips[:, 1]]
    return cells.bincount(minlength=neurons * classes).double().view(neurons, classes)
