"""Measures of each neuron's redundancy besides the overlap, from its weights or its activations.

`MEASURES` holds functions from one tower's matrix ``[neuron, width]`` to one number for each
neuron. All are read like overlap: larger is less pure. A dead neuron gets NaN and adds nothing to
the others. Everything is float64. Every measure of weights also takes activations ``[neuron,
sample]``, see `purescope.maths.overlaps.activation_space`. Measures with `needs` ``activations``
take nothing else.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.overlaps import centre, cosine_gram, dead_neurons, overlap, unit_rows
from purescope.parallel import per_turn

NeuronMeasure: TypeAlias = Callable[[Float[Tensor, "neuron width"]], Float[Tensor, " neuron"]]

RIDGE = 0.01


def _of_cosines(
    reduce: Callable[[Float[Tensor, "neuron other"]], Float[Tensor, " neuron"]],
) -> NeuronMeasure:
    """Make a measure that reduces each neuron's cosines with the d - 1 others.

    The cosine with a dead neuron is 0, and a dead neuron gets NaN.

    Examples:
        >>> largest = _of_cosines(lambda cosines: cosines.amax(dim=1))
        >>> largest(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
        tensor([0.7071, 0.7071, 0.7071], dtype=torch.float64)
    """

    def measure(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
        return reduce(_others(cosine_gram(projection))).masked_fill(
            dead_neurons(projection), math.nan
        )

    return measure


def _others(gram: Float[Tensor, "neuron neuron"]) -> Float[Tensor, "neuron other"]:
    """Return each row without its diagonal entry; a single neuron gets one other of cosine 0."""
    neurons = len(gram)
    if neurons == 1:
        return torch.zeros_like(gram)
    # Past the first entry, every (d + 1)-th is on the diagonal.
    return gram.flatten()[1:].view(neurons - 1, neurons + 1)[:, :-1].reshape(neurons, neurons - 1)


def _median(cosines: Float[Tensor, "neuron other"]) -> Float[Tensor, " neuron"]:
    """Return the median of absolute values, the mean of the middle two for an even number."""
    ordered = cosines.abs().sort(dim=1).values
    others = ordered.shape[1]
    return (ordered[:, (others - 1) // 2] + ordered[:, others // 2]) / 2


root_mean_square = _of_cosines(lambda cosines: cosines.square().mean(dim=1).sqrt())
largest_cosine = _of_cosines(lambda cosines: cosines.abs().amax(dim=1))
median_cosine = _of_cosines(_median)
signed_mean = _of_cosines(lambda cosines: cosines.mean(dim=1))


def r2(
    projection: Float[Tensor, "neuron width"], *, ridge: float = RIDGE
) -> Float[Tensor, " neuron"]:
    """Return how much of each neuron the others together explain: 0 (orthogonal to all) to 1.

    At 1 it is a combination of the others. ``1 - min over b of |u_j - sum_{i != j} b_i u_i|^2 +
    ridge |b|^2`` over unit rows u. At ``ridge = 0`` it is the R^2 of a regression without
    intercept, which is 1 for every neuron as soon as there are more neurons than width. Ridge
    regression (Hoerl and Kennard 1970) still separates neurons that need large coefficients from
    those that need small ones. With the inverse M of ``cosine gram + ridge`` it is ``1 + ridge - 1
    / M_jj``, so it falls as the ridge leverage ``1 - ridge M_jj`` rises: the others explain the
    neurons that have little leverage. `ridge` is positive; a tiny value gives the R^2 of ordinary
    regression.

    Examples:
        One of two parallel neurons explains the other, up to the ridge: 1 / (1 + 0.01).

        >>> r2(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])).round(decimals=4)
        tensor([0.9901, 0.9901, 0.0000], dtype=torch.float64)
    """
    gram = cosine_gram(projection)
    inverse = torch.cholesky_inverse(
        torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), dtype=gram.dtype))
    )
    explained = (1 + ridge - 1 / inverse.diagonal()).clamp(0, 1)
    return explained.masked_fill(dead_neurons(projection), math.nan)


def interference(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
    """Return the squared weight of the other neurons along each one's direction: 0 up to d.

    It is d where the others are long and parallel. ``sum_{i != j} (W_j/|W_j| . W_i)^2`` of Elhage
    et al., "Toy Models of Superposition" (2022), in units of the mean ``|W_i|^2`` of the live
    neurons, so that the scale of a checkpoint does not matter.

    Examples:
        The mean square is (1 + 4 + 1) / 3 = 2. Neuron 0 gets 4 from the parallel neuron 1, and
        neuron 1 gets 1 from neuron 0:

        >>> interference(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        tensor([2.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    squares, received = _squares_and_interference(projection)
    return received / squares[~squares.isnan()].mean()


def dimensionality(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
    """Return the share of a dimension that each neuron has to itself: 1 (orthogonal to all) down to
    0.

    Larger is purer. ``D_j = |W_j|^2 / sum_i (W_j/|W_j| . W_i)^2``, where the sum includes i = j
    (Elhage et al., "Toy Models of Superposition", 2022; Scherlis et al., "Polysemanticity and
    Capacity", 2022, call it capacity). Lengths count: a neuron parallel to a longer one has a small
    share. NaN for a dead neuron.

    Examples:
        Neurons 0 and 1 are parallel. Neuron 0 has 1 / (1 + 4) of their direction, and the longer
        neuron 1 has 4 / (4 + 1):

        >>> dimensionality(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        tensor([0.2000, 0.8000, 1.0000], dtype=torch.float64)
    """
    squares, received = _squares_and_interference(projection)
    return torch.where(received == 0, 1.0, squares / (squares + received)).masked_fill(
        squares.isnan(), math.nan
    )


def welch_bound(neurons: int, width: int) -> float:
    """Return the smallest mutual coherence that d neurons can have in w dimensions; 0 for d up to
    w.

    ``sqrt((d - w) / (w (d - 1)))`` (Welch 1974).

    Examples:
        Three directions in the plane are 60 degrees apart at best:

        >>> round(welch_bound(3, 2), 4)
        0.5
    """
    return math.sqrt(max(0, neurons - width) / (width * max(1, neurons - 1)))


def _squares_and_interference(
    projection: Float[Tensor, "neuron width"],
) -> tuple[Float[Tensor, " neuron"], Float[Tensor, " neuron"]]:
    """Return ``|W_j|^2`` and ``sum_{i != j} (W_j/|W_j| . W_i)^2``; NaN for a dead neuron.

    Both are in a common unit that keeps them in range.
    """
    dead = dead_neurons(projection)
    cosines = cosine_gram(projection).fill_diagonal_(0)
    rows = projection.detach().double()
    squares = (rows / rows.abs().max().clamp(min=torch.finfo(rows.dtype).tiny)).square().sum(dim=1)
    received = cosines.square() @ squares
    return squares.masked_fill(dead, math.nan), received.masked_fill(dead, math.nan)


_IMAGES = 1 << 11  # images that are converted to float64 at a time
_NUMBERS = 1 << 20  # activations that are converted at a time, of some neurons over all images


def pearson(activations: Float[Tensor, "neuron sample"]) -> Float[Tensor, " neuron"]:
    """Return the mean absolute Pearson correlation of each neuron with the d - 1 others: 0 to 1.

    For activations that are linear in the weights, it is the overlap of the weights under the
    covariance of their input, see `under_covariance`. A neuron whose activation is constant has no
    correlation: NaN.

    Raises:
        InputError: there are fewer than two samples.

    Examples:
        >>> pearson(torch.tensor([[1.0, 2.0, 3.0], [9.0, 8.0, 7.0], [4.0, 4.0, 4.0]]))
        tensor([0.5000, 0.5000,    nan], dtype=torch.float64)
    """
    return overlap(centre(activations))


def monosemanticity(
    activations: Float[Tensor, "image neuron"], embeddings: Float[Tensor, "image dimension"]
) -> Float[Tensor, " neuron"]:
    """Return how similar the images are that each neuron responds to: -1 to 1, larger is purer.

    ``sum_{n != m} a_n a_m cos(e_n, e_m) / sum_{n != m} a_n a_m`` over pairs of images. Here a are
    the neuron's activations, scaled to 0..1 by their smallest and largest value, and e are
    embeddings of the images. This is the MonoSemanticity score of Pach et al., "Sparse Autoencoders
    Learn Monosemantic Features in Vision-Language Models" (NeurIPS 2025). With unit e the sum over
    pairs is ``|sum_n a_n e_n|^2 - sum_n a_n^2``, so the cost is O(images) for each neuron. NaN
    where no two images respond.

    Args:
        activations: activations of the neurons.
        embeddings: embeddings of the same images, preferably by another encoder: each neuron
            contributes to the similarities of its own model.

    Raises:
        InputError: the two have different numbers of images.

    Examples:
        Neuron 0 responds to the two images that are alike, neuron 1 to two that are not:

        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> monosemanticity(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), embeddings)
        tensor([1., 0.], dtype=torch.float64)
    """
    if len(activations) != len(embeddings):
        raise InputError(
            f"activations of {len(activations)} images, embeddings of {len(embeddings)}",
            expected="the same images in the same order",
        )
    low, high = (ends.double() for ends in activations.detach().aminmax(dim=0))
    span = torch.where(high > low, high - low, math.nan)
    sums, squared, own = torch.zeros(3, activations.shape[1], dtype=torch.float64)
    along = torch.zeros(activations.shape[1], embeddings.shape[1], dtype=torch.float64)
    blocks = zip(activations.detach().split(_IMAGES), embeddings.split(_IMAGES), strict=True)
    for rows, embedded in blocks:
        weights, unit = (rows.double() - low) / span, unit_rows(embedded)
        squares = weights.square()
        sums, squared = sums + weights.sum(dim=0), squared + squares.sum(dim=0)
        along, own = along + weights.T @ unit, own + unit.square().sum(dim=1) @ squares
    pairs, alike = sums.square() - squared, along.square().sum(dim=1) - own
    # If only one image responds, the sum over pairs is 0 up to rounding.
    score: Tensor = (alike / pairs.masked_fill(pairs <= 1e-12 * squared, math.nan)).clamp(-1, 1)
    return score


def variance(activations: Float[Tensor, "sample neuron"]) -> Float[Tensor, " neuron"]:
    """Compute the variance of each neuron over the samples, in float64, some neurons at a time.

    Examples:
        >>> variance(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        tensor([1., 0.], dtype=torch.float64)
    """
    neurons = per_turn(_NUMBERS, len(activations))
    groups = activations.split(neurons, dim=1)
    return torch.cat([group.double().var(dim=0, correction=0) for group in groups])


def polysemanticity(activations: Float[Tensor, "neuron sample"]) -> Float[Tensor, " neuron"]:
    """Return ``1 - monosemanticity``, 0 to 2, with the same neurons as embeddings of the images.

    Examples:
        Neurons 0 and 2 respond to images that they cannot distinguish, neuron 1 to only one image:

        >>> activations = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [2.0, 2.0, 0.0]])
        >>> polysemanticity(activations).round(decimals=6)
        tensor([0., nan, 0.], dtype=torch.float64)
    """
    return 1 - monosemanticity(activations.T, activations.T)


def under_covariance(
    projection: Float[Tensor, "neuron width"], covariance: Float[Tensor, "width width"]
) -> Float[Tensor, "neuron width"]:
    """Multiply the projection by the square root of the covariance S of its input, in float64.

    Rows of the result have the cosines ``P_i S P_j / sqrt(P_i S P_i . P_j S P_j)``. So every
    measure of the result is weighted by the covariance, and its overlap is what `pearson` gives for
    activations whose input has that covariance. Directions that no input takes count for nothing.

    Args:
        projection: projection of one tower.
        covariance: symmetric covariance of the vectors that the projection is applied to.

    Examples:
        Orthogonal weights, and an input whose two dimensions are correlated:

        >>> overlap(under_covariance(torch.eye(2), torch.tensor([[1.0, 0.6], [0.6, 1.0]])))
        tensor([0.6000, 0.6000], dtype=torch.float64)
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    rows: Tensor = projection.detach().double() @ root
    return rows


@dataclass(frozen=True)
class Measure:
    """A row of `MEASURES`.

    Args:
        of: the function.
        needs: ``weights``, which activations can replace, or ``activations``.
        what: a description in one line, with its source.
    """

    of: NeuronMeasure
    needs: str
    what: str


MEASURES: dict[str, Measure] = {
    "l1": Measure(overlap, "weights", "mean |cosine| with the others: the experiment's overlap"),
    "l2": Measure(root_mean_square, "weights", "root mean square cosine"),
    "linf": Measure(
        largest_cosine,
        "weights",
        "largest |cosine|; mutual coherence for a neuron (Donoho and Huo 2001)",
    ),
    "median": Measure(median_cosine, "weights", "median |cosine|"),
    "signed_mean": Measure(signed_mean, "weights", "mean cosine: opposite neurons cancel"),
    "r2": Measure(
        r2,
        "weights",
        f"share that the others together explain, at ridge {RIDGE} (Hoerl and Kennard 1970)",
    ),
    "interference": Measure(
        interference,
        "weights",
        "squared weight of the others on a neuron's direction (Elhage et al. 2022)",
    ),
    "superposition": Measure(
        lambda projection: 1 - dimensionality(projection),
        "weights",
        "1 - feature dimensionality, the share of its dimension that others take (Elhage et al., "
        "Scherlis et al. 2022)",
    ),
    "pearson": Measure(
        pearson,
        "activations",
        "mean |correlation| of activations: cosine under the covariance of the input",
    ),
    "polysemanticity": Measure(
        polysemanticity,
        "activations",
        "1 - MonoSemanticity, how different the images are that it responds to (Pach et al. 2025)",
    ),
}
