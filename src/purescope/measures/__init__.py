"""Measures of redundancy beside the experiment's overlap: of each neuron, and of a whole layer.

`MEASURES` holds functions from one tower's matrix ``[neuron, width]`` to one number a neuron, all read like overlap:
larger is less pure, and a dead neuron has none (NaN) and adds nothing to the others. `LAYER_MEASURES` holds functions
to one number for the layer, dead neurons left out. Everything is float64. Every measure of weights also takes
activations ``[neuron, sample]``, see `purescope.purity.activation_space`; those that `needs` says take nothing else.
"""

from purescope.measures._activations import monosemanticity, pearson, polysemanticity, under_covariance, variance
from purescope.measures._layers import (
    LAYER_MEASURES,
    condition_number,
    effective_rank,
    mutual_coherence,
    orthogonality_defect,
    participation_ratio,
    stable_rank,
)
from purescope.measures._reference import Reference, gaussian_reference
from purescope.measures._table import MEASURES, Measure
from purescope.measures._weights import dimensionality, interference, r2, welch_bound

__all__ = [
    "LAYER_MEASURES",
    "MEASURES",
    "Measure",
    "Reference",
    "condition_number",
    "dimensionality",
    "effective_rank",
    "gaussian_reference",
    "interference",
    "monosemanticity",
    "mutual_coherence",
    "orthogonality_defect",
    "participation_ratio",
    "pearson",
    "polysemanticity",
    "r2",
    "stable_rank",
    "under_covariance",
    "variance",
    "welch_bound",
]
