"""What measures are of random weights: the null that says whether a value is small for its shape."""

import math
from dataclasses import dataclass
from functools import cache

import torch

from purescope.errors import InputError, near_miss
from purescope.measures._layers import LAYER_MEASURES
from purescope.measures._table import MEASURES


@dataclass(frozen=True)
class Reference:
    """A measure of Gaussian weights: mean, and standard deviation of a layer's value and of one neuron's.

    `neuron_sd` is NaN for a measure that is of layers only; `draws` layers were made.
    """

    mean: float
    sd: float
    neuron_sd: float
    draws: int


@cache
def gaussian_reference(measure: str, neurons: int, width: int, *, draws: int = 20, seed: int = 0) -> Reference:
    """Mean and spread of a measure over layers of independent Gaussian weights of one shape, simulated.

    A layer's value of a measure in `MEASURES` is its mean over neurons. ``(value - mean) / sd`` is the z-score of a
    layer, ``(value - mean) / neuron_sd`` that of a neuron.

    Args:
        measure: a name in `MEASURES` or `LAYER_MEASURES`.
        neurons, width: the shape.
        draws: how many layers, at least 2.
        seed: of the weights.

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
        raise InputError(f"{draws} draws", expected="at least 2: a spread is measured between them")
    generator = torch.Generator().manual_seed(seed)
    layers = (torch.randn(neurons, width, generator=generator, dtype=torch.float64) for _ in range(draws))
    if measure in LAYER_MEASURES:
        values = torch.tensor([[LAYER_MEASURES[measure](layer)] for layer in layers], dtype=torch.float64)
    else:
        values = torch.stack([MEASURES[measure].of(layer) for layer in layers])
    means = values.mean(dim=1)
    neuron_sd = float(values.std()) if measure in MEASURES else math.nan
    return Reference(mean=float(means.mean()), sd=float(means.std()), neuron_sd=neuron_sd, draws=draws)
