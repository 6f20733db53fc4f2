"""How independent the neurons of a layer are, in one number, and the value for random weights.

`LAYER_MEASURES` holds functions from a layer to one number. They leave out dead neurons, and give
NaN if all neurons are dead.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from purescope.errors import InputError, near_miss
from purescope.maths.measures import MEASURES, largest_cosine
from purescope.maths.overlaps import dead_neurons

LayerMeasure: TypeAlias = Callable[[Float[Tensor, "neuron width"]], float]


def effective_rank(projection: Float[Tensor, "neuron width"]) -> float:
    """Return ``exp(entropy of the singular values over their sum)``: 1 to the rank.

    Source: Roy and Vetterli 2007.

    Examples:
        >>> round(effective_rank(torch.eye(3)), 4)
        3.0
    """
    shares = _singular_values(projection)
    shares = shares / shares.sum()
    return float(torch.special.entr(shares).sum().exp()) if len(shares) else math.nan


def participation_ratio(projection: Float[Tensor, "neuron width"]) -> float:
    """Return ``(sum of s^2)^2 / sum of s^4`` of the singular values s: 1 to the rank.

    It is the number of dimensions that carry the variance.

    Examples:
        >>> round(participation_ratio(torch.diag(torch.tensor([2.0, 1.0]))), 4)  # 5^2 / 17
        1.4706
    """
    squares = _singular_values(projection).square()
    return float(squares.sum().square() / squares.square().sum()) if len(squares) else math.nan


def stable_rank(projection: Float[Tensor, "neuron width"]) -> float:
    """Return the squared Frobenius norm over the squared spectral norm: 1 to the rank.

    Source: Rudelson and Vershynin 2007.

    Examples:
        >>> round(stable_rank(torch.diag(torch.tensor([2.0, 1.0]))), 4)  # 5 / 4
        1.25
    """
    squares = _singular_values(projection).square()
    return float(squares.sum() / squares.max()) if len(squares) else math.nan


def orthogonality_defect(projection: Float[Tensor, "neuron width"]) -> float:
    """Return the log of the product of row lengths over the volume that the rows span, in nats.

    It is 0 for orthogonal rows and infinite for dependent rows. It is the defect of a lattice basis
    (Schnorr 1987), and does not depend on the lengths of the rows.

    Examples:
        Two rows at 45 degrees span sin 45 = 0.7071 of what orthogonal rows would; its -log is

        >>> round(orthogonality_defect(torch.tensor([[1.0, 0.0], [1.0, 1.0]])), 4)
        0.3466
    """
    directions = _live(projection)
    if not len(directions):
        return math.nan
    unit = torch.nn.functional.normalize(directions, dim=1)
    values = torch.linalg.svdvals(unit)
    if len(unit) > unit.shape[1] or values[-1] <= _rounding(unit) * values[0]:
        return math.inf
    return max(0.0, -float(values.log().sum()))


def condition_number(projection: Float[Tensor, "neuron width"]) -> float:
    """Return the largest over the smallest singular value, from 1 up.

    It is infinite where both the rows and the columns are dependent.

    Examples:
        >>> round(condition_number(torch.diag(torch.tensor([2.0, 0.5]))), 4)
        4.0
    """
    values = _singular_values(projection)
    if not len(values):
        return math.nan
    singular = values[-1] <= _rounding(projection) * values[0]
    return math.inf if singular else float(values[0] / values[-1])


def mutual_coherence(projection: Float[Tensor, "neuron width"]) -> float:
    """Return the largest absolute cosine of two neurons, from `welch_bound` to 1.

    Source: Donoho and Huo 2001.

    Examples:
        >>> round(mutual_coherence(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])), 4)
        0.7071
    """
    live = _live(projection)
    return float(largest_cosine(live).max()) if len(live) else math.nan


LAYER_MEASURES: dict[str, LayerMeasure] = {
    "effective_rank": effective_rank,
    "participation_ratio": participation_ratio,
    "stable_rank": stable_rank,
    "orthogonality_defect": orthogonality_defect,
    "condition_number": condition_number,
    "mutual_coherence": mutual_coherence,
}


def _live(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, "live width"]:
    """Return the rows that are not zero, scaled to a largest entry of 1; no layer measure depends
    on it.
    """
    dead = dead_neurons(projection)
    rows = projection.detach().double()
    return rows[~dead] / rows.abs().max()


def _singular_values(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " rank"]:
    """Return the singular values of the live neurons, largest first; none if all are dead."""
    live = _live(projection)
    return torch.linalg.svdvals(live) if len(live) else live.new_empty(0)


def _rounding(matrix: Float[Tensor, "neuron width"]) -> float:
    """Return the share of the largest singular value that counts as zero: LAPACK's and numpy's
    rule.
    """
    return max(matrix.shape) * torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Reference:
    """A measure of Gaussian weights: its mean, and the standard deviations of a layer and of a
    neuron.

    `neuron_sd` is NaN for a measure of whole layers; `draws` is the number of simulated layers.
    """

    mean: float
    sd: float
    neuron_sd: float
    draws: int


@cache
def gaussian_reference(
    measure: str, neurons: int, width: int, *, draws: int = 20, seed: int = 0
) -> Reference:
    """Simulate mean and spread of a measure over layers of independent Gaussian weights of one
    shape.

    For a measure in `MEASURES`, the value of a layer is the mean over its neurons. ``(value - mean)
    / sd`` is the z-score of a layer, ``(value - mean) / neuron_sd`` the z-score of a neuron.

    Args:
        measure: a name in `MEASURES` or `LAYER_MEASURES`.
        neurons, width: the shape.
        draws: number of layers, at least 2.
        seed: seed of the weights.

    Raises:
        InputError: the measure is unknown, or there are fewer than two draws.

    Examples:
        A Gaussian neuron of width 2 has E|cos| = 2 / pi = 0.6366 with another:

        >>> round(gaussian_reference("l1", neurons=30, width=2, draws=50).mean, 2)
        0.64
    """
    known = [*MEASURES, *LAYER_MEASURES]
    if measure not in known:
        raise InputError(f"unknown measure {measure!r}", **near_miss(measure, known))
    if draws < 2:
        raise InputError(f"{draws} draws", expected="at least 2, to measure how much they vary")
    generator = torch.Generator().manual_seed(seed)
    layers = (
        torch.randn(neurons, width, generator=generator, dtype=torch.float64) for _ in range(draws)
    )
    if measure in LAYER_MEASURES:
        by_layer = [[LAYER_MEASURES[measure](layer)] for layer in layers]
        values = torch.tensor(by_layer, dtype=torch.float64)
    else:
        values = torch.stack([MEASURES[measure].of(layer) for layer in layers])
    means = values.mean(dim=1)
    neuron_sd = float(values.std()) if measure in MEASURES else math.nan
    return Reference(
        mean=float(means.mean()), sd=float(means.std()), neuron_sd=neuron_sd, draws=draws
    )
