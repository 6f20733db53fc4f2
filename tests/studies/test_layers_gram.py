"""Measures by Gram matrices: those of the matrices themselves, and random ones where the references
say.
"""

import math

import pytest
import torch
from torch import Tensor

from purescope.maths import layer_measures
from purescope.maths.overlaps import overlap
from purescope.studies import layers
from tests import oracles


def gaussian(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(
        rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


MATRICES = {
    "wide": gaussian(12, 40),
    "tall": gaussian(40, 12),
    "correlated": gaussian(20, 30, 1) + 3 * gaussian(1, 30, 2),
    "with dead neurons": gaussian(9, 15).index_fill(0, torch.tensor([0, 4]), 0),
    "one neuron": gaussian(1, 5),
    "tiny": 1e-12 * gaussian(8, 8),
}


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_measures_of_the_gram_matrix_are_those_of_the_matrix(matrix: Tensor) -> None:
    gram = matrix @ matrix.T
    live = [value for value in oracles.overlap(matrix.tolist()) if not math.isnan(value)]
    assert layers.mean_overlap(gram) == pytest.approx(
        math.fsum(live) / len(live), rel=1e-9, abs=1e-12
    )
    assert layers.mean_overlap(gram) == pytest.approx(
        float(overlap(matrix).nanmean()), rel=1e-9, abs=1e-12
    )
    assert layers.effective_rank(gram) == pytest.approx(
        layer_measures.effective_rank(matrix), rel=1e-5
    )
    assert layers.participation_ratio(gram) == pytest.approx(
        layer_measures.participation_ratio(matrix), rel=1e-9
    )


def test_nothing_is_measured_of_dead_neurons() -> None:
    zeros = torch.zeros(3, 3, dtype=torch.float64)
    for measure in (layers.mean_overlap, layers.effective_rank, layers.participation_ratio):
        assert math.isnan(measure(zeros))


@pytest.mark.parametrize(("neurons", "width"), [(24, 48), (48, 24), (64, 64), (30, 600)])
def test_references_are_what_random_matrices_have(neurons: int, width: int) -> None:
    drawn = [gaussian(neurons, width, seed) for seed in range(60)]
    rank = sum(map(layer_measures.effective_rank, drawn)) / len(drawn)
    ratio = sum(map(layer_measures.participation_ratio, drawn)) / len(drawn)
    assert layers.random_effective_rank(neurons, width) == pytest.approx(rank, rel=0.01)
    assert layers.random_participation_ratio(neurons, width) == pytest.approx(ratio, rel=0.01)
