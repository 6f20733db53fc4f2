"""Redundancy of neurons by their weights, or by activations in their place."""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from purescope.purity import cosine_gram, dead_neurons

NeuronMeasure: TypeAlias = Callable[[Float[Tensor, "neuron width"]], Float[Tensor, " neuron"]]

RIDGE = 0.01


def _of_cosines(reduce: Callable[[Float[Tensor, "neuron other"]], Float[Tensor, " neuron"]]) -> NeuronMeasure:
    """The measure that reduces each neuron's cosines with the d - 1 others, 0 with dead ones; NaN for a dead one.

    Examples:
        >>> _of_cosines(lambda cosines: cosines.amax(dim=1))(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
        tensor([0.7071, 0.7071, 0.7071], dtype=torch.float64)
    """

    def measure(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
        return reduce(_others(cosine_gram(projection))).masked_fill(dead_neurons(projection), math.nan)

    return measure


def _others(gram: Float[Tensor, "neuron neuron"]) -> Float[Tensor, "neuron other"]:
    """Each row without its diagonal entry; a neuron alone is beside one that it has nothing in common with."""
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


def r2(projection: Float[Tensor, "neuron width"], *, ridge: float = RIDGE) -> Float[Tensor, " neuron"]:
    """How much of each neuron the others explain together: 0 (orthogonal to all) to 1 (a combination of them).

    ``1 - min over b of |u_j - sum_{i != j} b_i u_i|^2 + ridge |b|^2`` over unit rows u. At ``ridge = 0`` it is the R^2
    of a regression without intercept, which is 1 for every neuron as soon as there are more neurons than width; ridge
    regression (Hoerl and Kennard 1970) still tells neurons apart that need large or small coefficients. By the inverse
    M of ``cosine gram + ridge`` it is ``1 + ridge - 1 / M_jj``, so it falls as the ridge leverage ``1 - ridge M_jj``
    rises: neurons with little leverage are those that the others explain. `ridge` is positive; a tiny one gives the R^2
    of ordinary regression.

    Examples:
        A twin explains its twin, up to the ridge: 1 / (1 + 0.01).

        >>> r2(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])).round(decimals=4)
        tensor([0.9901, 0.9901, 0.0000], dtype=torch.float64)
    """
    gram = cosine_gram(projection)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), dtype=gram.dtype)))
    explained = (1 + ridge - 1 / inverse.diagonal()).clamp(0, 1)
    return explained.masked_fill(dead_neurons(projection), math.nan)


def interference(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
    """What the other neurons put on each one's direction: 0 (nothing) up to d, when the others are long and parallel.

    ``sum_{i != j} (W_j/|W_j| . W_i)^2`` of Elhage et al., "Toy Models of Superposition" (2022), in units of the mean
    ``|W_i|^2`` of the live neurons, so that the scale of a checkpoint does not matter.

    Examples:
        The mean square is (1 + 4 + 1) / 3 = 2; neuron 0 bears 4 of its twin, which bears 1 in turn:

        >>> interference(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        tensor([2.0000, 0.5000, 0.0000], dtype=torch.float64)
    """
    squares, received = _squares_and_interference(projection)
    return received / squares[~squares.isnan()].mean()


def dimensionality(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
    """The share of a dimension each neuron has to itself: 1 (orthogonal to all) down to 0; larger is purer.

    ``D_j = |W_j|^2 / sum_i (W_j/|W_j| . W_i)^2``, the sum with i = j (Elhage et al., "Toy Models of Superposition",
    2022; Scherlis et al., "Polysemanticity and Capacity", 2022, call it capacity). Lengths count: beside a long
    neighbour little is left. NaN for a dead neuron.

    Examples:
        Of the direction they share, neuron 0 has 1 / (1 + 4) and its longer twin 4 / (4 + 1):

        >>> dimensionality(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        tensor([0.2000, 0.8000, 1.0000], dtype=torch.float64)
    """
    squares, received = _squares_and_interference(projection)
    return torch.where(received == 0, 1.0, squares / (squares + received)).masked_fill(squares.isnan(), math.nan)


def welch_bound(neurons: int, width: int) -> float:
    """The least mutual coherence that many neurons can have in few dimensions (Welch 1974); 0 where all fit.

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
    """``|W_j|^2`` and ``sum_{i != j} (W_j/|W_j| . W_i)^2`` in a common unit that keeps them in range; NaN if dead."""
    dead = dead_neurons(projection)
    cosines = cosine_gram(projection).fill_diagonal_(0)
    rows = projection.detach().double()
    squares = (rows / rows.abs().max().clamp(min=torch.finfo(rows.dtype).tiny)).square().sum(dim=1)
    received = cosines.square() @ squares
    return squares.masked_fill(dead, math.nan), received.masked_fill(dead, math.nan)
