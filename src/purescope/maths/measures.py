"""Measures of redundancy of each neuron beside the experiment's overlap: by its weights, or by what
it responds to.

`MEASURES` holds functions from one tower's matrix ``[neuron, width]`` to one number a neuron, all
read like overlap: larger is less pure, and a dead neuron has none (NaN) and adds nothing to the
others. Everything is float64. Every measure of weights also takes activations ``[neuron, sample]``,
see `purescope.maths.overlaps.activation_space`; those that `needs` says take nothing else.
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

NeuronMeasure: TypeAlias = Callable[[Float[Tensor, "neuron width"]], Float[Tensor, " neuron"]]

RIDGE = 0.01


def _of_cosines(
    reduce: Callable[[Float[Tensor, "neuron other"]], Float[Tensor, " neuron"]],
) -> NeuronMeasure:
    """The measure that reduces each neuron's cosines with the d - 1 others, 0 with dead ones; NaN
    for a dead one.

    Examples:
        >>> _of_cosines(lambda cosines: cosines.amax(dim=1))(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
        tensor([0.7071, 0.7071, 0.7071], dtype=torch.float64)
    """

    def measure(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
        return reduce(_others(cosine_gram(projection))).masked_fill(
            dead_neurons(projection), math.nan
        )

    return measure


def _others(gram: Float[Tensor, "neuron neuron"]) -> Float[Tensor, "neuron other"]:
    """Each row without its diagonal entry; a neuron alone is beside one that it has nothing in
    common with.
    """
    neurons = len(gram)
    if neurons == 1:
        return torch.zeros_like(gram)
    # Past the first entry, every (d + 1)-th is on the diagonal.
    return gram.flatten()[1:].view(neurons - 1, neurons + 1)[:, :-1].reshape(neurons, neurons - 1)


def _median(cosines: Float[Tensor, "neuron other"]) -> Float[Tensor, " neuron"]:
    """Of the absolute values; the mean of the middle two where their number is even."""
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
    """How much of each neuron the others explain together: 0 (orthogonal to all) to 1 (a
    combination of them).

    ``1 - min over b of |u_j - sum_{i != j} b_i u_i|^2 + ridge |b|^2`` over unit rows u. At ``ridge
    = 0`` it is the R^2 of a regression without intercept, which is 1 for every neuron as soon as
    there are more neurons than width; ridge regression (Hoerl and Kennard 1970) still tells neurons
    apart that need large or small coefficients. By the inverse M of ``cosine gram + ridge`` it is
    ``1 + ridge - 1 / M_jj``, so it falls as the ridge leverage ``1 - ridge M_jj`` rises: neurons
    with little leverage are those that the others explain. `ridge` is positive; a tiny one gives
    the R^2 of ordinary regression.

    Examples:
        A twin explains its twin, up to the ridge: 1 / (1 + 0.01).

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
    """What the other neurons put on each one's direction: 0 (nothing) up to d, when the others are
    long and parallel.

    ``sum_{i != j} (W_j/|W_j| . W_i)^2`` of Elhage et al., "Toy Models of Superposition" (2022), in
    units of the mean ``|W_i|^2`` of the live neurons, so that the scale of a checkpoint does not
    matter.

    Examples:
        The mean square is (1 + 4 + 1) / 3 = 2; neuron 0 bears 4 of its twin, which bears 1 in turn:

        >>> interference(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        tensor([2.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    squares, received = _squares_and_interference(projection)
    return received / squares[~squares.isnan()].mean()


def dimensionality(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
    """The share of a dimension each neuron has to itself: 1 (orthogonal to all) down to 0; larger
    is purer.

    ``D_j = |W_j|^2 / sum_i (W_j/|W_j| . W_i)^2``, the sum with i = j (Elhage et al., "Toy Models of
    Superposition", 2022; Scherlis et al., "Polysemanticity and Capacity", 2022, call it capacity).
    Lengths count: beside a long neighbour little is left. NaN for a dead neuron.

    Examples:
        Of the direction they share, neuron 0 has 1 / (1 + 4) and its longer twin 4 / (4 + 1):

        >>> dimensionality(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        tensor([0.2000, 0.8000, 1.0000], dtype=torch.float64)
    """
    squares, received = _squares_and_interference(projection)
    return torch.where(received == 0, 1.0, squares / (squares + received)).masked_fill(
        squares.isnan(), math.nan
    )


def welch_bound(neurons: int, width: int) -> float:
    """The least mutual coherence that many neurons can have in few dimensions (Welch 1974); 0 where
    all fit.

    ``sqrt((d - w) / (w (d - 1)))`` for d neurons in w dimensions.

    Examples:
        Three directions in the plane are 60 degrees apart at best:

        >>> round(welch_bound(3, 2), 4)
        0.5
    """
    return math.sqrt(max(0, neurons - width) / (width * max(1, neurons - 1)))


def _squares_and_interference(
    projection: Float[Tensor, "neuron width"],
) -> tuple[Float[Tensor, " neuron"], Float[Tensor, " neuron"]]:
    """``|W_j|^2`` and ``sum_{i != j} (W_j/|W_j| . W_i)^2`` in a common unit that keeps them in
    range; NaN if dead.
    """
    dead = dead_neurons(projection)
    cosines = cosine_gram(projection).fill_diagonal_(0)
    rows = projection.detach().double()
    squares = (rows / rows.abs().max().clamp(min=torch.finfo(rows.dtype).tiny)).square().sum(dim=1)
    received = cosines.square() @ squares
    return squares.masked_fill(dead, math.nan), received.masked_fill(dead, math.nan)


_IMAGES = 1 << 11  # that are taken in float64 at a time
_NUMBERS = 1 << 20  # the same of neurons, over all images


def pearson(activations: Float[Tensor, "neuron sample"]) -> Float[Tensor, " neuron"]:
    """Mean absolute Pearson correlation of each neuron's activations with those of the d - 1
    others: 0 to 1.

    For activations that are linear in the weights, it is the overlap of the weights under the
    covariance of their input, see `under_covariance`. A neuron that never changes has no
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
    """How alike the images are that each neuron responds to: -1 to 1, larger is purer.

    ``sum_{n != m} a_n a_m cos(e_n, e_m) / sum_{n != m} a_n a_m`` over pairs of images, a being the
    neuron's activations brought to 0..1 by their least and largest one, and e embeddings of the
    images: the MonoSemanticity score of Pach et al., "Sparse Autoencoders Learn Monosemantic
    Features in Vision-Language Models" (NeurIPS 2025). With unit e the sum over pairs is ``|sum_n
    a_n e_n|^2 - sum_n a_n^2``, so it costs O(images) a neuron. NaN where no two images respond.

    Args:
        activations: of the neurons.
        embeddings: of the same images, best by another encoder: a neuron is part of its own model's
            similarities.

    Raises:
        InputError: the two differ in images.

    Examples:
        Neuron 0 responds to the two images that are alike, neuron 1 to two that are not:

        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> monosemanticity(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), embeddings)
        tensor([1., 0.], dtype=torch.float64)
    """
    if len(activations) != len(embeddings):
        raise InputError(
            f"activations of {len(activations)} images, embeddings of {len(embeddings)}",
            expected="both of the same images, in the same order",
        )
    low, high = (ends.double() for ends in activations.detach().aminmax(dim=0))
    span = torch.where(high > low, high - low, math.nan)
    sums, squared, own = torch.zeros(3, activations.shape[1], dtype=torch.float64)
    along = torch.zeros(activations.shape[1], embeddings.shape[1], dtype=torch.float64)
    for rows, others in zip(
        activations.detach().split(_IMAGES), embeddings.split(_IMAGES), strict=True
    ):
        weights, unit = (rows.double() - low) / span, unit_rows(others)
        squares = weights.square()
        sums, squared = sums + weights.sum(dim=0), squared + squares.sum(dim=0)
        along, own = along + weights.T @ unit, own + unit.square().sum(dim=1) @ squares
    pairs, alike = sums.square() - squared, along.square().sum(dim=1) - own
    # One image alone leaves 0 of pairs, or what rounding makes of it.
    score: Tensor = (alike / pairs.masked_fill(pairs <= 1e-12 * squared, math.nan)).clamp(-1, 1)
    return score


def variance(activations: Float[Tensor, "sample neuron"]) -> Float[Tensor, " neuron"]:
    """Variance of each neuron over the samples, float64, some neurons at a time.

    Examples:
        >>> variance(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        tensor([1., 0.], dtype=torch.float64)
    """
    neurons = max(1, _NUMBERS // len(activations))
    return torch.cat(
        [some.double().var(dim=0, correction=0) for some in activations.split(neurons, dim=1)]
    )


def polysemanticity(activations: Float[Tensor, "neuron sample"]) -> Float[Tensor, " neuron"]:
    """``1 - monosemanticity``, 0 to 2, the images being embedded by these same neurons.

    Examples:
        Neurons 0 and 2 respond to images that are the same to them, neuron 1 to one image:

        >>> activations = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [2.0, 2.0, 0.0]])
        >>> polysemanticity(activations).round(decimals=6)
        tensor([0., nan, 0.], dtype=torch.float64)
    """
    return 1 - monosemanticity(activations.T, activations.T)


def under_covariance(
    projection: Float[Tensor, "neuron width"], covariance: Float[Tensor, "width width"]
) -> Float[Tensor, "neuron width"]:
    """The projection times the square root of its input's covariance S, float64.

    Rows of the result have the cosines ``P_i S P_j / sqrt(P_i S P_i . P_j S P_j)``: every measure
    of it is weighted by the covariance, and its overlap is what `pearson` finds in activations
    whose input has that covariance. Directions that no input takes count for nothing.

    Args:
        projection: one tower's.
        covariance: symmetric, of the vectors that the projection is applied to.

    Examples:
        Orthogonal weights, and an input in which both dimensions go together:

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
        needs: ``weights``, which activations may stand in for, or ``activations``.
        what: one line for readers, with its source.
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
        f"share the others explain together, at ridge {RIDGE} (Hoerl and Kennard 1970)",
    ),
    "interference": Measure(
        interference,
        "weights",
        "squared weight of the others on a neuron's direction (Elhage et al. 2022)",
    ),
    "superposition": Measure(
        lambda projection: 1 - dimensionality(projection),
        "weights",
        "1 - feature dimensionality, what of its dimension a neuron shares (Elhage et al., "
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
        "1 - MonoSemanticity, how unlike the images it responds to (Pach et al. 2025)",
    ),
}
