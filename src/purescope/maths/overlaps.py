"""Feature purity: how orthogonal each neuron of a projection is to the others.

A projection is a tensor ``[neuron, width]``; neuron j is its row P_j, and::

    overlap_j = mean over i != j of |cos(P_i, P_j)|        (d - 1 terms)
    purity_j  = 1 / overlap_j

as in Sun, Zhang, Li and Wang, "Contrastive Learning with Data Misalignment" (NeurIPS 2025).
Everything is computed in float64, whatever the input: at d = 512 it takes milliseconds, and a
ranking must not depend on rounding.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells

_WIDE = 1 << 13  # columns; weights have fewer
_BLOCK = 1 << 10  # columns of a wider matrix that are converted to float64 at a time


@dataclass(frozen=True)
class Projections:
    """The last linear map of each tower. Rows are neurons; row j of both gives embedding dimension
    j.

    Args:
        image: ``[neuron, image width]``, floating-point and finite.
        text: ``[neuron, text width]``; the widths may differ.

    Raises:
        InputError: the towers have different numbers of neurons, one is not a matrix, or a weight
            is NaN or infinite.

    Examples:
        Three neurons, orthogonal in the image tower and parallel in the text tower:

        >>> projections = Projections(image=torch.eye(3), text=torch.ones(3, 1))
        >>> projections.neurons
        3
        >>> purity(projections.text)
        tensor([1., 1., 1.], dtype=torch.float64)
    """

    image: Float[Tensor, "neuron image_width"]
    text: Float[Tensor, "neuron text_width"]

    def __post_init__(self) -> None:
        for tower, projection in (("image", self.image), ("text", self.text)):
            _check(projection, f"{tower} projection")
        if len(self.image) != len(self.text):
            raise InputError(
                f"{len(self.image)} neurons in the image projection, {len(self.text)} in the text "
                f"projection",
                expected="the same number: row j of both makes embedding dimension j",
                fix=f"store projections as [neuron, width]; transpose {self._transposed_tower()}",
            )

    def tower_overlaps(self) -> dict[str, tuple[list[float], int, float]]:
        """Return, for each tower, the data of a figure of its overlaps.

        These are the overlaps of its live neurons, its width, and the expected overlap of random
        neurons of that width.
        """
        towers = {"image": self.image, "text": self.text}
        return {
            tower: (
                [value for value in overlap(rows).tolist() if not math.isnan(value)],
                rows.shape[1],
                random_overlap(rows.shape[1]),
            )
            for tower, rows in towers.items()
        }

    def _transposed_tower(self) -> str:
        """Name the tower that must be transposed, as far as the shapes show it."""
        agree_if_transposed = {
            "the image projection": self.image.shape[1] == len(self.text),
            "the text projection": len(self.image) == self.text.shape[1],
            "both": self.image.shape[1] == self.text.shape[1],
        }
        towers = [tower for tower, agree in agree_if_transposed.items() if agree]
        return towers[0] if len(towers) == 1 else "the one that is [width, neuron]"

    @property
    def neurons(self) -> int:
        """The number of neurons d."""
        return len(self.image)


def fix_for(projections: Projections, neurons: int) -> str:
    """Say how to fix projections that do not have `neurons` neurons, if their shapes show it; else
    "".

    Examples:
        >>> fix_for(Projections(image=torch.ones(4, 3), text=torch.ones(4, 3)), 3)
        'transpose both projections: they are [width, neuron] and must be [neuron, width]'
    """
    if projections.image.shape[1] == projections.text.shape[1] == neurons:
        return "transpose both projections: they are [width, neuron] and must be [neuron, width]"
    return ""


def cosine_gram(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, "neuron neuron"]:
    """Compute the cosine of every pair of neurons, float64, in [-1, 1].

    A neuron of norm zero has no direction: its row and column are 0, also its diagonal entry.

    Examples:
        >>> cosine_gram(torch.tensor([[2.0, 0.0], [0.0, -3.0], [0.0, 0.0]]))
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 0.]], dtype=torch.float64)
    """
    if projection.ndim != 2 or projection.shape[1] <= _WIDE:
        unit = unit_rows(projection)
        return (unit @ unit.T).clamp(-1, 1)
    # Activations may cover a hundred thousand images: process some columns at a time, so that there
    # is no float64 copy of all of them.
    _check(projection, "projection")
    blocks = [projection[:, columns].detach() for columns in _column_blocks(projection)]
    largest = _largest_by_row(projection)
    scale = largest.double().masked_fill(largest == 0, 1)[:, None]
    neurons = len(projection)
    gram = torch.zeros(neurons, neurons, dtype=torch.float64, device=projection.device)
    for block in blocks:
        rows = block.double() / scale  # not in place: float64 blocks share the caller's memory
        gram.addmm_(rows, rows.T)
    norms = gram.diagonal().sqrt()
    norms = norms.masked_fill(norms == 0, 1)
    return gram.div_(norms).div_(norms[:, None]).clamp_(-1, 1)


def dead_neurons(projection: Float[Tensor, "neuron width"]) -> Bool[Tensor, " neuron"]:
    """Mark each neuron of norm zero with True.

    Examples:
        >>> dead_neurons(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
        tensor([ True, False])
    """
    return _largest_by_row(projection) == 0


def overlap(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
    """Compute the mean absolute cosine of each neuron with the d - 1 others: 0 to 1.

    0 means orthogonal to all, 1 parallel to all. ``overlap_j = sum_{i != j} |cos(P_i, P_j)| / (d -
    1)``, as Sun, Zhang, Li and Wang (NeurIPS 2025) define it.

    Args:
        projection: row j is neuron j, of any norm; weights, or activations as `activation_space`
            returns them.

    Returns:
        ``[neuron]``, float64. A dead neuron has no overlap (NaN) and counts as 0 in the means of
        the others. The only neuron of a layer has overlap 0.

    Raises:
        InputError: it is not a floating-point matrix, or a weight is NaN or infinite.

    Examples:
        Neurons 0 and 1 enclose 45 degrees, neuron 2 is orthogonal to both:

        >>> overlap(torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]]))
        tensor([0.3536, 0.3536, 0.0000], dtype=torch.float64)
    """
    others = max(len(projection) - 1, 1)
    total = cosine_gram(projection).abs().fill_diagonal_(0).sum(dim=1)
    return (total / others).masked_fill(dead_neurons(projection), math.nan)


def purity(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
    """Compute ``1 / overlap``: 1 (parallel to all others) to infinity (orthogonal to all).

    NaN for a dead neuron.

    Args:
        projection: as in `overlap`.

    Returns:
        ``[neuron]``, float64.

    Raises:
        InputError: as in `overlap`.

    Examples:
        Two neurons at 45 degrees, whose cosine is 0.7071:

        >>> purity(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        tensor([1.4142, 1.4142], dtype=torch.float64)
    """
    return 1 / overlap(projection)


def total_overlap(projections: Projections) -> Float[Tensor, " neuron"]:
    """Compute the experiment's score: absolute cosines summed over both towers, 0 to 2 (d - 1).

    ``total_j = sum_{i != j} |cos(I_i, I_j)| + sum_{i != j} |cos(T_i, T_j)|``. NaN for a neuron that
    is dead in either tower: it has no cosine there and cannot be ranked.

    Examples:
        >>> total_overlap(Projections(image=torch.eye(2), text=torch.ones(2, 3)))
        tensor([1., 1.], dtype=torch.float64)
    """
    return neuron_scores(projections)["total_overlap"]


def neuron_scores(projections: Projections) -> dict[str, Float[Tensor, " neuron"]]:
    """Compute the overlap and purity of each neuron in each tower, and their `total_overlap`.

    The cosines are taken once for all five.

    Examples:
        >>> scores = neuron_scores(Projections(image=torch.ones(2, 1), text=torch.ones(2, 3)))
        >>> {name: values.tolist() for name, values in scores.items() if "text" not in name}
        {'image_overlap': [1.0, 1.0], 'total_overlap': [2.0, 2.0], 'image_purity': [1.0, 1.0]}
    """
    image, text = overlap(projections.image), overlap(projections.text)
    return {
        "image_overlap": image,
        "text_overlap": text,
        "total_overlap": (image + text) * (projections.neurons - 1),
        "image_purity": 1 / image,
        "text_purity": 1 / text,
    }


def activation_space(
    image: Float[Tensor, "sample neuron"],
    text: Float[Tensor, "class neuron"],
    *,
    centred: bool = False,
) -> Projections:
    """Describe neurons by their activations instead of their weights: row j holds neuron j's,
    float64.

    Overlap, purity and every strategy accept the result in place of weights. Use it for models that
    end without a projection, or to ask of any other model whether neurons with different directions
    also respond to different images. The cosine of two rows is the cosine of two neurons'
    activations over the images, or over the class prompts.

    Args:
        image: features of the images, ``[image, neuron]``, as `Features.image`.
        text: features of the class prompts, ``[class, neuron]``, as `Features.text`.
        centred: subtract each neuron's mean activation first; the cosine is then Pearson's
            correlation r. A neuron whose activation is constant has none and becomes a dead neuron.

    Returns:
        Projections of image ``[neuron, image]`` and text ``[neuron, class]``, float64.

    Raises:
        InputError: there are no activations, or fewer than two to centre; one is NaN or infinite;
            or the towers have different numbers of neurons.

    Examples:
        Over these three images neuron 1 is neuron 0 plus 10. Uncentred they look different,
        although they carry the same information:

        >>> image = torch.tensor([[1.0, 11.0], [-1.0, 9.0], [0.0, 10.0]])
        >>> overlap(activation_space(image, image).image)
        tensor([0.0814, 0.0814], dtype=torch.float64)
        >>> overlap(activation_space(image, image, centred=True).image).round(decimals=6)
        tensor([1., 1.], dtype=torch.float64)
    """
    if centred:
        return Projections(
            image=centre(image.T, "image features"), text=centre(text.T, "text features")
        )
    return Projections(
        image=image.detach().double().T.contiguous(), text=text.detach().double().T.contiguous()
    )


def random_overlap(width: int) -> float:
    """Return the expected overlap of independent Gaussian neurons, about ``sqrt(2 / (pi width))``.

    ``E|cos| = Gamma(w/2) / (sqrt(pi) Gamma((w+1)/2))``. Compare a measured overlap with it to see
    whether the overlap is small for its width.

    Examples:
        >>> round(random_overlap(512), 5)
        0.03528
    """
    return math.exp(math.lgamma(width / 2) - math.lgamma((width + 1) / 2)) / math.sqrt(math.pi)


def relative_overlap(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
    """Return the overlap as a multiple of that of random weights: 1 is as pure as chance, at any
    width.

    ``overlap / random_overlap(width)`` over the live neurons, from 0 up; NaN for a dead neuron. It
    makes models of different widths, and with different numbers of dead neurons, comparable.

    Examples:
        Two neurons at 45 degrees in the plane, where random directions have E|cos| = 2 / pi:

        >>> relative_overlap(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        tensor([1.1107, 1.1107], dtype=torch.float64)
    """
    overlaps = overlap(projection)
    # Overlap averages over all other neurons and counts dead ones as 0; average over live ones.
    others, live_others = len(overlaps) - 1, int((~overlaps.isnan()).sum()) - 1
    return overlaps * (others / max(live_others, 1)) / random_overlap(projection.shape[1])


def centre(
    activations: Float[Tensor, "neuron sample"], name: str = "activations"
) -> Float[Tensor, "neuron sample"]:
    """Subtract each neuron's mean activation, float64: the cosine of two rows is then Pearson's r.

    A neuron whose activation is constant becomes exactly zero, a dead neuron. `name` is the name of
    the activations in an error.

    Raises:
        InputError: there are fewer than two samples.

    Examples:
        >>> centre(torch.tensor([[1.0, 3.0], [0.1, 0.1]]))
        tensor([[-1.,  1.],
                [ 0.,  0.]], dtype=torch.float64)
    """
    if activations.shape[1] < 2:
        raise InputError(
            f"{activations.shape[1]} {name} to centre",
            expected="at least 2: a single one is its own mean",
            fix="measure over more images or classes, or do not centre (centred=False)",
        )
    rows = activations.detach().double()
    # Subtract the first value before the mean: a constant activation is then exactly 0, without a
    # rounding error.
    rows = rows - rows[:, :1]
    return rows.sub_(rows.mean(dim=1, keepdim=True))


def side_by_side(projections: Projections) -> Float[Tensor, "neuron width"]:
    """Join both towers' rows in one matrix, float64, each tower scaled to Frobenius norm 1.

    So both towers have equal weight.

    Examples:
        >>> image, text = torch.tensor([[3.0], [4.0]]), torch.tensor([[0.0, 0.0], [0.0, 7.0]])
        >>> side_by_side(Projections(image, text))
        tensor([[0.6000, 0.0000, 0.0000],
                [0.8000, 0.0000, 1.0000]], dtype=torch.float64)
    """
    towers = []
    for tower in (projections.image, projections.text):
        rows = tower.detach().double()
        # Divide by the largest entry first: squares of very small or very large weights underflow
        # or overflow.
        rows = rows / rows.abs().max().clamp(min=torch.finfo(rows.dtype).tiny)
        towers.append(rows / rows.norm().clamp(min=torch.finfo(rows.dtype).tiny))
    return torch.cat(towers, dim=1)


def unit_rows(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, "neuron width"]:
    """Scale each row to length 1, float64; a row of zeros stays zero.

    Raises:
        InputError: it is not a matrix, or a weight is NaN or infinite.

    Examples:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]], dtype=torch.float64)
    """
    _check(projection, "projection")
    return cells.unit_rows(projection.detach())


def _largest_by_row(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
    """Return the largest absolute value of each neuron, 0 without columns.

    It is updated in place: small results that are kept between large ones leave holes in memory.
    """
    largest = torch.zeros(len(projection), dtype=projection.dtype, device=projection.device)
    for columns in _column_blocks(projection):
        low, high = projection[:, columns].detach().aminmax(dim=1)
        torch.maximum(largest, torch.maximum(high, -low), out=largest)
    return largest


def _column_blocks(projection: Tensor) -> Iterator[slice]:
    """Split all columns into slices of a few thousand."""
    return (slice(first, first + _BLOCK) for first in range(0, projection.shape[1], _BLOCK))


def _check(projection: Tensor, name: str) -> None:
    if projection.ndim != 2 or 0 in projection.shape or not projection.is_floating_point():
        raise InputError(
            f"the {name} is {projection.dtype} of shape {list(projection.shape)}",
            expected="a floating-point matrix [neuron, width]",
        )
    blocks = _column_blocks(projection)
    if not all(bool(projection[:, columns].isfinite().all()) for columns in blocks):
        row = int((~projection.isfinite()).any(dim=1).nonzero()[0, 0])
        raise InputError(
            f"the {name} has a weight that is NaN or infinite, first in neuron {row}",
            expected="finite weights",
            fix="use a checkpoint from before the training diverged",
        )
