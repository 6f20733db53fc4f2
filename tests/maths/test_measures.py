"""Every measure: the definition as loops, invariances, and known values."""

import math
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.layer_measures import LAYER_MEASURES
from purescope.maths.measures import (
    MEASURES,
    dimensionality,
    interference,
    monosemanticity,
    pearson,
    r2,
    under_covariance,
    variance,
    welch_bound,
)
from purescope.maths.overlaps import Projections, cosine_gram, dead_neurons, overlap
from purescope.studies.neurons import neuron_table
from tests import oracles
from tests.maths.test_overlaps import MATRICES, matrices, plain, seeds, signed

Rows = Sequence[Sequence[float]]

BOUNDS = {
    "l1": (0, 1),
    "l2": (0, 1),
    "linf": (0, 1),
    "median": (0, 1),
    "signed_mean": (-1, 1),
    "r2": (0, 1),
    "interference": (0, math.inf),
    "superposition": (0, 1),
    "pearson": (0, 1),
    "polysemanticity": (0, 2),
}
# Measures that do not depend on the length of a single neuron.
BY_DIRECTION = {"l1", "l2", "linf", "median", "signed_mean", "r2"}
UNSIGNED = {*BOUNDS} - {"signed_mean", "polysemanticity"}
# Measures that do not depend on a rotation of the width, which has no meaning for activations.
TURNED = {*BOUNDS} - {"pearson", "polysemanticity"}
OF_WEIGHTS = sorted(TURNED)


def test_every_measure_is_covered_here() -> None:
    assert BOUNDS.keys() == MEASURES.keys() == ORACLES.keys()
    assert {measure.needs for measure in MEASURES.values()} == {"weights", "activations"}
    assert {name for name, measure in MEASURES.items() if measure.needs == "weights"} == TURNED
    assert not MEASURES.keys() & LAYER_MEASURES.keys()
    assert all(measure.what for measure in MEASURES.values())


# --- definitions, over plain rows; a neuron is dead where its row is zero


def by_cosines(reduce: Callable[[list[float]], float]) -> Callable[[Rows], list[float]]:
    def measure(rows: Rows) -> list[float]:
        values = []
        for j, row in enumerate(rows):
            cosines = [oracles.cosine(row, other) for i, other in enumerate(rows) if i != j] or [
                0.0
            ]
            values.append(reduce(cosines) if any(row) else math.nan)
        return values

    return measure


def explained_at_ridge(rows: Rows) -> list[float]:
    """Fit each unit row by ridge regression on the others: numpy's least squares on rows with the
    ridge appended.
    """
    units, values = np.array([oracles.unit(row) for row in rows]), []
    for j, row in enumerate(units):
        others = np.delete(units, j, axis=0).T
        regressors = np.vstack([others, math.sqrt(0.01) * np.eye(others.shape[1])])
        target = np.concatenate([row, np.zeros(others.shape[1])])
        fit = regressors @ np.linalg.lstsq(regressors, target)[0] if others.shape[1] else 0 * target
        values.append(1 - float(np.square(target - fit).sum()) if row.any() else math.nan)
    return values


def received(rows: Rows) -> list[float]:
    """Sum the squares of the parts that the other rows have along each row's direction."""
    return [
        math.fsum(
            oracles.dot(oracles.unit(row), other) ** 2 for i, other in enumerate(rows) if i != j
        )
        for j, row in enumerate(rows)
    ]


def relative_interference(rows: Rows) -> list[float]:
    squares = [oracles.dot(row, row) for row in rows if any(row)]
    mean = math.fsum(squares) / max(1, len(squares))
    return [
        value / mean if any(row) else math.nan
        for row, value in zip(rows, received(rows), strict=True)
    ]


def shared_dimension(rows: Rows) -> list[float]:
    values = []
    for row, others in zip(rows, received(rows), strict=True):
        own = oracles.dot(row, row)
        values.append(1 - own / (own + others) if any(row) else math.nan)
    return values


def mean_correlation(rows: Rows) -> list[float]:
    varied = [max(row) > min(row) for row in rows]
    values = []
    for j, row in enumerate(rows):
        correlations = [
            abs(scipy.stats.pearsonr(row, other).statistic) if varied[i] and varied[j] else 0.0
            for i, other in enumerate(rows)
            if i != j
        ]
        values.append(
            math.fsum(correlations) / max(1, len(correlations)) if varied[j] else math.nan
        )
    return values


def one_minus_monosemanticity(rows: Rows) -> list[float]:
    return [1 - score for score in pairwise_monosemanticity(rows, list(zip(*rows, strict=True)))]


def pairwise_monosemanticity(rows: Rows, embeddings: Rows) -> list[float]:
    scores = []
    for row in rows:
        low, high = min(row), max(row)
        weights = [(value - low) / (high - low) if high > low else 0.0 for value in row]
        pairs = [(n, m) for n in range(len(row)) for m in range(len(row)) if n != m]
        total = math.fsum(weights[n] * weights[m] for n, m in pairs)
        alike = math.fsum(
            weights[n] * weights[m] * oracles.cosine(embeddings[n], embeddings[m]) for n, m in pairs
        )
        scores.append(alike / total if total > 1e-9 else math.nan)
    return scores


ORACLES: dict[str, Callable[[Rows], list[float]]] = {
    "l1": oracles.overlap,
    "l2": by_cosines(lambda cosines: math.sqrt(math.fsum(c * c for c in cosines) / len(cosines))),
    "linf": by_cosines(lambda cosines: max(map(abs, cosines))),
    "median": by_cosines(lambda cosines: float(np.median(np.abs(cosines)))),
    "signed_mean": by_cosines(lambda cosines: math.fsum(cosines) / len(cosines)),
    "r2": explained_at_ridge,
    "interference": relative_interference,
    "superposition": shared_dimension,
    "pearson": mean_correlation,
    "polysemanticity": one_minus_monosemanticity,
}
# For measures that depend on lengths, and for activations: no entries whose squares underflow.
ORDINARY = {
    name: rows for name, rows in MATRICES.items() if name not in ("tiny and huge", "subnormal")
}


@pytest.mark.parametrize("measure", sorted(BY_DIRECTION))
@pytest.mark.parametrize("name", MATRICES)
def test_measures_of_directions_are_their_definition(name: str, measure: str) -> None:
    rows = MATRICES[name]
    assert MEASURES[measure].of(rows).tolist() == pytest.approx(
        ORACLES[measure](plain(rows)), abs=1e-10, nan_ok=True
    )


@pytest.mark.parametrize("measure", sorted(MEASURES.keys() - BY_DIRECTION))
@pytest.mark.parametrize("name", ORDINARY)
def test_measures_of_rows_are_their_definition(name: str, measure: str) -> None:
    rows = ORDINARY[name]
    if MEASURES[measure].needs == "activations":
        rows = torch.cat([rows, rows[:, :1] + 1], dim=1)  # two samples at least
    assert MEASURES[measure].of(rows).tolist() == pytest.approx(
        ORACLES[measure](rows.tolist()), abs=1e-9, nan_ok=True
    )


# --- what holds for every measure


@pytest.mark.parametrize("measure", MEASURES)
@settings(max_examples=25)
@given(rows=matrices())
def test_measures_stay_within_bounds_and_dead_neurons_have_none(measure: str, rows: Tensor) -> None:
    rows = torch.cat([rows, -rows[:, :1]], dim=1)
    values = MEASURES[measure].of(rows)
    low, high = BOUNDS[measure]
    assert values.dtype == torch.float64
    assert values[dead_neurons(rows)].isnan().all()
    if MEASURES[measure].needs == "weights":
        assert not values[~dead_neurons(rows)].isnan().any()
    known = values[~values.isnan()]
    assert ((known >= low) & (known <= high)).all()


@pytest.mark.parametrize("measure", MEASURES)
@settings(max_examples=25)
@given(seed=seeds, neurons=st.integers(1, 7), width=st.integers(2, 6))
def test_permuting_neurons_permutes_every_measure(
    measure: str, seed: int, neurons: int, width: int
) -> None:
    rows, of = signed(neurons, width, seed), MEASURES[measure].of
    permutation = torch.randperm(neurons, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(of(rows[permutation]), of(rows)[permutation], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("measure", MEASURES)
@settings(max_examples=25)
@given(seed=seeds, scale=st.sampled_from([1e-200, 1e-3, 7.0, 1e200]))
def test_the_scale_of_a_layer_changes_no_measure(measure: str, seed: int, scale: float) -> None:
    rows, of = signed(6, 4, seed), MEASURES[measure].of
    np.testing.assert_allclose(of(rows * scale), of(rows), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("measure", sorted(BY_DIRECTION))
@settings(max_examples=25)
@given(seed=seeds, scales=st.lists(st.floats(1e-3, 1e3), min_size=6, max_size=6))
def test_the_length_of_a_neuron_changes_no_measure_of_directions(
    measure: str, seed: int, scales: list[float]
) -> None:
    rows, of = signed(6, 4, seed), MEASURES[measure].of
    scaled = rows * torch.tensor(scales, dtype=torch.float64)[:, None]
    np.testing.assert_allclose(of(scaled), of(rows), rtol=0, atol=1e-10)


@pytest.mark.parametrize("measure", sorted(UNSIGNED))
@settings(max_examples=25)
@given(seed=seeds, flips=st.lists(st.sampled_from([-1.0, 1.0]), min_size=6, max_size=6))
def test_the_sign_of_a_neuron_changes_no_unsigned_measure(
    measure: str, seed: int, flips: list[float]
) -> None:
    rows, of = signed(6, 4, seed), MEASURES[measure].of
    flipped = rows * torch.tensor(flips, dtype=torch.float64)[:, None]
    np.testing.assert_allclose(of(flipped), of(rows), rtol=0, atol=1e-10)


@pytest.mark.parametrize("measure", OF_WEIGHTS)
@settings(max_examples=25)
@given(seed=seeds)
def test_turning_the_input_space_changes_no_measure_of_weights(measure: str, seed: int) -> None:
    rows, of = signed(6, 4, seed), MEASURES[measure].of
    turn = torch.linalg.qr(signed(4, 4, seed + 1)).Q
    np.testing.assert_allclose(of(rows @ turn), of(rows), rtol=0, atol=1e-8)


@pytest.mark.parametrize("measure", MEASURES)
def test_no_measure_changes_its_argument_or_asks_for_a_precision(measure: str) -> None:
    rows = signed(8, 5).float()
    before = rows.clone()
    assert MEASURES[measure].of(rows).equal(MEASURES[measure].of(rows.double()))
    assert rows.equal(before)


# --- known values


@pytest.mark.parametrize("measure", OF_WEIGHTS)
def test_orthogonal_neurons_are_pure_by_every_measure_of_weights(measure: str) -> None:
    lengths = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    np.testing.assert_allclose(MEASURES[measure].of(torch.diag(lengths)), 0, atol=1e-12)


@pytest.mark.parametrize("measure", OF_WEIGHTS)
def test_a_twin_is_less_pure_than_a_neuron_alone(measure: str) -> None:
    rows = torch.eye(4, dtype=torch.float64)
    rows[3] = rows[2]
    values = MEASURES[measure].of(rows)
    assert values[2].item() == pytest.approx(values[3].item())
    assert values[0].item() == pytest.approx(0, abs=1e-12)
    if measure != "median":  # one of three cosines is 1, which does not change the median
        assert values[2] > 0.3


def test_twins_have_known_values() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    expected = {"l1": 1, "l2": 1, "linf": 1, "median": 1, "signed_mean": 1, "r2": 1 / 1.01}
    expected |= {"interference": 1, "superposition": 0.5}
    for measure, value in expected.items():
        assert MEASURES[measure].of(rows).tolist() == pytest.approx([value, value])


def test_opposites_cancel_in_the_signed_mean_alone() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert MEASURES["signed_mean"].of(rows).tolist() == pytest.approx([0, 0, -1])
    assert MEASURES["l1"].of(rows).tolist() == pytest.approx([1, 1, 1])


def test_dimensions_are_shared_out_among_the_neurons() -> None:
    """Elhage et al.'s tetrahedron, pentagon and pair have 3/4, 2/5 and 1/2 of a dimension for each
    neuron.
    """
    pentagon = torch.tensor(
        [[math.cos(2 * math.pi * j / 5), math.sin(2 * math.pi * j / 5)] for j in range(5)]
    ).double()
    tetrahedron = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]).double()
    pair = torch.tensor([[1.0], [-1.0]]).double()
    for rows, share in ((pentagon, 2 / 5), (tetrahedron, 3 / 4), (pair, 1 / 2)):
        np.testing.assert_allclose(dimensionality(rows), share, atol=1e-6)
        np.testing.assert_allclose(interference(rows), 1 / share - 1, atol=1e-5)


def test_r2_is_that_of_least_squares_where_neurons_are_fewer_than_width() -> None:
    rows = signed(5, 9)
    for j, value in enumerate(r2(rows, ridge=1e-13).tolist()):
        others = np.delete(rows.numpy(), j, axis=0).T
        residual = np.linalg.lstsq(others, rows[j].numpy())[1][0]
        assert value == pytest.approx(1 - residual / float(rows[j].square().sum()), abs=1e-9)


def test_r2_orders_neurons_against_their_ridge_leverage_however_many_they_are() -> None:
    rows = torch.nn.functional.normalize(signed(30, 8), dim=1)
    leverage = (rows @ torch.linalg.inv(rows.T @ rows + 0.01 * torch.eye(8)) * rows).sum(dim=1)
    assert r2(rows).argsort().equal(leverage.argsort(descending=True))
    assert r2(rows).std() > 1e-4


def test_monosemanticity_is_the_mean_over_pairs_by_another_models_embeddings() -> None:
    activations, embeddings = signed(12, 5), signed(12, 3, seed=1)
    expected = pairwise_monosemanticity(activations.T.tolist(), embeddings.tolist())
    assert monosemanticity(activations, embeddings).tolist() == pytest.approx(expected, abs=1e-12)
    shifted = 5 * activations - 100  # scaled to the same 0..1
    np.testing.assert_allclose(monosemanticity(shifted, 2 * embeddings), expected, atol=1e-9)


def test_monosemanticity_of_a_neuron_without_two_images_is_not_known() -> None:
    activations = torch.tensor([[0.0, 3.0, 1.0], [0.0, 3.0, 0.0], [1.0, 3.0, 0.5]])
    assert monosemanticity(activations, signed(3, 2)).isnan().tolist() == [True, True, False]


@pytest.mark.usefixtures("unchecked")
def test_activations_and_embeddings_are_of_the_same_images() -> None:
    with pytest.raises(InputError, match="activations of 3 images, embeddings of 4"):
        monosemanticity(signed(3, 2), signed(4, 2))


def test_one_sample_has_no_correlation() -> None:
    with pytest.raises(InputError, match="1 activations to centre"):
        pearson(signed(3, 1))


def test_cosines_under_a_covariance_are_correlations_of_activations() -> None:
    inputs = signed(200, 4) @ signed(4, 4, seed=1) + 3
    weights = signed(6, 4, seed=2)
    weighted = under_covariance(weights, torch.from_numpy(np.cov(inputs.T.numpy())))
    activations = weights @ inputs.T
    np.testing.assert_allclose(cosine_gram(weighted), np.corrcoef(activations.numpy()), atol=1e-9)
    np.testing.assert_allclose(overlap(weighted), pearson(activations), atol=1e-9)


def test_cosines_under_a_covariance_of_lower_rank() -> None:
    """Neurons that differ only in directions without input are the same neuron."""
    covariance = torch.diag(torch.tensor([1.0, 2.0, 0.0]).double())
    weights = torch.tensor([[1.0, 1.0, 5.0], [1.0, 1.0, -9.0]]).double()
    assert overlap(under_covariance(weights, covariance)).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("neurons", "width", "bound"), [(4, 3, 1 / 3), (2, 1, 1), (3, 2, 1 / 2), (3, 3, 0), (1, 5, 0)]
)
def test_welch_bound_of_simplices(neurons: int, width: int, bound: float) -> None:
    assert welch_bound(neurons, width) == pytest.approx(bound)


def test_the_neuron_table_takes_any_measure_as_columns() -> None:
    projections = Projections(signed(6, 4), signed(6, 5, seed=1))
    table = neuron_table(projections, measures=["l1", "r2"])
    np.testing.assert_allclose(table.image_l1, table.image_overlap)
    np.testing.assert_allclose(table.text_r2, r2(projections.text)[table.neuron.tolist()])
    with pytest.raises(InputError, match=r"unknown measure 'medin'(?s:.*)did you mean 'median'"):
        neuron_table(projections, measures=["medin"])


def test_turns_of_images_and_neurons_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    rows[:, 3] = 2
    others = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    at_once = monosemanticity(rows, others), variance(rows)
    module = sys.modules["purescope.maths.measures"]
    monkeypatch.setattr(module, "_IMAGES", 8)
    monkeypatch.setattr(module, "_NUMBERS", 150)
    torch.testing.assert_close(
        monosemanticity(rows, others), at_once[0], atol=1e-12, rtol=0, equal_nan=True
    )
    assert at_once[0].isnan().tolist() == [neuron == 3 for neuron in range(7)]
    torch.testing.assert_close(variance(rows), at_once[1], atol=1e-12, rtol=0)
    np.testing.assert_allclose(at_once[1], rows.double().numpy().var(axis=0), atol=1e-12)
