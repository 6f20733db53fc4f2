"""Measures of whole layers: the definition by numpy, invariances, and values of random weights."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.layer_measures import LAYER_MEASURES, gaussian_reference
from purescope.maths.measures import (
    MEASURES,
    welch_bound,
)
from purescope.maths.overlaps import dead_neurons, random_overlap
from tests import oracles
from tests.maths.test_overlaps import matrices, signed


def singular(rows: Tensor) -> np.ndarray:
    return np.linalg.svd(rows.numpy(), compute_uv=False)


def entropy_rank(rows: Tensor) -> float:
    return math.exp(scipy.stats.entropy(singular(rows)))


def defect(rows: Tensor) -> float:
    volume = math.sqrt(np.linalg.det((rows @ rows.T).numpy()))
    return math.log(math.prod(math.hypot(*row) for row in rows.tolist()) / volume)


LAYER_ORACLES: dict[str, Callable[[Tensor], float]] = {
    "effective_rank": entropy_rank,
    "participation_ratio": lambda rows: float(
        (singular(rows) ** 2).sum() ** 2 / (singular(rows) ** 4).sum()
    ),
    "stable_rank": lambda rows: float(
        np.linalg.norm(rows.numpy()) ** 2 / np.linalg.norm(rows.numpy(), 2) ** 2
    ),
    "orthogonality_defect": defect,
    "condition_number": lambda rows: float(np.linalg.cond(rows.numpy())),
    "mutual_coherence": lambda rows: max(
        abs(oracles.cosine(a, b)) for i, a in enumerate(rows.tolist()) for b in rows.tolist()[:i]
    ),
}
ORTHOGONAL = {"orthogonality_defect": 0, "mutual_coherence": 0, "condition_number": 1}


def test_every_layer_measure_is_covered_here() -> None:
    assert LAYER_MEASURES.keys() == LAYER_ORACLES.keys()


@pytest.mark.parametrize("measure", LAYER_MEASURES)
@pytest.mark.parametrize("shape", [(5, 8), (4, 4), (2, 7)])
def test_layer_measures_are_their_definition(shape: tuple[int, int], measure: str) -> None:
    rows = signed(*shape)
    assert LAYER_MEASURES[measure](rows) == pytest.approx(LAYER_ORACLES[measure](rows), rel=1e-9)


@pytest.mark.parametrize("measure", sorted(LAYER_MEASURES.keys() - {"orthogonality_defect"}))
def test_layer_measures_of_more_neurons_than_width(measure: str) -> None:
    rows = signed(9, 4)
    assert LAYER_MEASURES[measure](rows) == pytest.approx(LAYER_ORACLES[measure](rows), rel=1e-9)


@pytest.mark.parametrize("measure", LAYER_MEASURES)
def test_layer_measures_ignore_scale_permutation_rotation_and_dead_neurons(measure: str) -> None:
    rows, of = signed(5, 8), LAYER_MEASURES[measure]
    turn = torch.linalg.qr(signed(8, 8, seed=1)).Q
    changed = 1e200 * torch.cat([rows, torch.zeros(2, 8)])[[6, 3, 0, 5, 1, 4, 2]] @ turn
    assert of(changed) == pytest.approx(of(rows), rel=1e-9)


@pytest.mark.parametrize("measure", LAYER_MEASURES)
def test_layer_measures_of_orthogonal_neurons(measure: str) -> None:
    assert LAYER_MEASURES[measure](-3 * torch.eye(4, 6)) == pytest.approx(
        ORTHOGONAL.get(measure, 4)
    )


@pytest.mark.parametrize("measure", LAYER_MEASURES)
def test_layer_measures_of_duplicates_of_one_neuron(measure: str) -> None:
    """They have rank 1, no volume, and cosine 1."""
    rows = signed(1, 6).repeat(3, 1)
    expected = {"orthogonality_defect": math.inf, "condition_number": math.inf}.get(measure, 1)
    assert LAYER_MEASURES[measure](rows) == pytest.approx(expected)


@pytest.mark.parametrize("measure", LAYER_MEASURES)
def test_layer_measures_of_nothing_alive(measure: str) -> None:
    assert math.isnan(LAYER_MEASURES[measure](torch.zeros(3, 2)))


def test_what_is_as_good_as_zero_is_a_share_of_the_largest_singular_value() -> None:
    """LAPACK's and numpy's rule: the longer side of the matrix times the rounding of numbers."""
    eps = torch.finfo(torch.float64).eps
    for shape in (
        (2, 100),
        (100, 2),
    ):  # 100 eps counts as zero, whichever side is the longer one
        rows = torch.zeros(shape, dtype=torch.float64)
        rows[0, 0], rows[1, 1] = 1, 40 * eps
        assert LAYER_MEASURES["condition_number"](rows) == math.inf
        rows[1, 1] = 400 * eps
        assert LAYER_MEASURES["condition_number"](rows) == pytest.approx(1 / (400 * eps))
    middle = torch.diag(torch.tensor([1.0, 1e-10, 2 * eps], dtype=torch.float64))
    assert LAYER_MEASURES["condition_number"](middle) == math.inf


def test_more_neurons_than_width_span_no_volume() -> None:
    assert LAYER_MEASURES["orthogonality_defect"](signed(4, 3)) == math.inf


def test_row_lengths_are_nothing_to_the_orthogonality_defect() -> None:
    rows = signed(4, 6)
    lengths = torch.tensor([1e-5, 1.0, 30.0, 1e4], dtype=torch.float64)[:, None]
    of = LAYER_MEASURES["orthogonality_defect"]
    assert of(lengths * rows) == pytest.approx(of(rows))


@settings(max_examples=25)
@given(rows=matrices())
def test_ranks_order_as_they_must(rows: Tensor) -> None:
    """Stable rank <= participation ratio <= rank, and effective rank within 1 and the rank."""
    if dead_neurons(rows).all():
        return
    stable, participation, effective = (
        LAYER_MEASURES[name](rows)
        for name in ("stable_rank", "participation_ratio", "effective_rank")
    )
    rank = int(np.linalg.matrix_rank(rows.numpy()))
    assert 1 - 1e-9 <= stable <= participation + 1e-9 <= rank + 1e-6
    assert 1 - 1e-9 <= effective <= rank + 1e-6


# --- against random weights


def test_gaussian_references_are_what_is_known_in_closed_form() -> None:
    """E|cos| is `random_overlap`. E cos^2 = 1/w, so D has a mean near 1 / (1 + (d - 1) / w). The
    mean cosine is 0.
    """
    l1 = gaussian_reference("l1", 40, 16)
    assert abs(l1.mean - random_overlap(16)) < 3 * l1.sd / math.sqrt(20)
    signed_mean = gaussian_reference("signed_mean", 40, 16)
    assert abs(signed_mean.mean) < 4 * signed_mean.sd / math.sqrt(20)
    # A signed mean over 39 cosines of variance 1/16, which are nearly independent of each other.
    assert signed_mean.neuron_sd == pytest.approx(math.sqrt(1 / 16 / 39), rel=0.15)
    assert gaussian_reference("superposition", 40, 16).mean == pytest.approx(
        1 - 1 / (1 + 39 / 16), abs=0.03
    )


@pytest.mark.parametrize("measure", MEASURES | LAYER_MEASURES)
def test_gaussian_layers_have_z_scores_about_zero(measure: str) -> None:
    reference = gaussian_reference(measure, 8, 12, draws=60)
    others = gaussian_reference(measure, 8, 12, draws=60, seed=1)
    assert abs(reference.mean - others.mean) < 5 * reference.sd / math.sqrt(30)
    assert reference.sd > 0
    assert math.isnan(reference.neuron_sd) == (measure in LAYER_MEASURES)
    assert measure in LAYER_MEASURES or reference.neuron_sd > 0


def test_gaussian_references_are_drawn_by_their_seed() -> None:
    assert gaussian_reference("l2", 5, 4, seed=3) == gaussian_reference("l2", 5, 4, seed=3)
    assert gaussian_reference("l2", 5, 4, seed=3) != gaussian_reference("l2", 5, 4, seed=4)


def test_what_has_no_reference() -> None:
    with pytest.raises(
        InputError, match=r"unknown measure 'effective_rnk'(?s:.*)did you mean 'effective_rank'"
    ):
        gaussian_reference("effective_rnk", 3, 3)
    with pytest.raises(InputError, match=r"1 draws(?s:.*)at least 2"):
        gaussian_reference("l1", 3, 3, draws=1)


def test_a_reference_tells_the_spread_of_layers_from_that_of_neurons() -> None:
    """The mean over 40 neurons of a layer varies far less than one neuron."""
    reference = gaussian_reference("l1", 40, 16)
    assert 0 < reference.sd < reference.neuron_sd / 2


@settings(max_examples=25)
@given(rows=matrices())
def test_no_layer_is_below_the_welch_bound(rows: Tensor) -> None:
    live = rows[~dead_neurons(rows)]
    if len(live) > 1:
        assert (
            LAYER_MEASURES["mutual_coherence"](rows) >= welch_bound(len(live), rows.shape[1]) - 1e-9
        )
