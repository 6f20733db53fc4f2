"""Nulls take away what they say and nothing else."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from torch import Tensor

from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k
from purescope.maths.bases import BASES, random_rotations, rotate
from purescope.maths.layer_measures import LAYER_MEASURES, gaussian_reference
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import Projections, activation_space, overlap
from purescope.maths.scores import StrategyInput
from purescope.maths.strategies import STRATEGIES, order_neurons
from purescope.studies.nulls import Rotations, null_table, rotate_model
from purescope.studies.settings import Options
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.studies.synthetic import plant
from purescope.tables.schemas import NULLS

NEURONS, DRAWS, SEED = 24, 40, 9
KEEP = [4, 9, 16]
MADE = plant(1.0, neurons=NEURONS, images=120, classes=5, signal=0.3, seed=2)
OVERLAPS = (
    "image overlap",
    "text overlap",
    "image overlap's spread",
    "text overlap's spread",
    "towers' spearman",
)
AREAS = ("high", "low", "gap")


def measure(projections: Projections | None = MADE.projections, **changes: Any) -> Measured:
    options = {"keep": KEEP, "draws": 19, "resamples": 20, "seed": SEED, **changes}
    return measure_strategies(MADE.features, projections, Options(**options))


@pytest.fixture(scope="module")
def nulls() -> pd.DataFrame:
    return null_table(measure(), draws=DRAWS)


def gaussian(seed: int) -> Projections:
    generator = torch.Generator().manual_seed(seed)
    return Projections(
        torch.randn(NEURONS, 60, generator=generator), torch.randn(NEURONS, 40, generator=generator)
    )


def area(order: Tensor, features: Features = MADE.features, **options: Any) -> float:
    """Mean accuracy over the ks, by numpy."""
    curve = accuracy_by_k(
        features.image, features.text, features.labels, order, KEEP, **options
    ).top1[0]
    return float(np.trapezoid(curve, KEEP) / (KEEP[-1] - KEEP[0]))


def by_plain_steps(projections: Projections, features: Features) -> dict[str, float]:
    """Every statistic of one model on one data set."""
    image, text = overlap(projections.image).numpy(), overlap(projections.text).numpy()
    high, low = (
        area(order_neurons(projections, name), features) for name in ("high_purity", "low_purity")
    )
    return {
        "image overlap": image.mean(),
        "text overlap": text.mean(),
        "image overlap's spread": image.std(ddof=1),
        "text overlap's spread": text.std(ddof=1),
        "towers' spearman": scipy.stats.spearmanr(image, text).statistic,
        "high": high,
        "low": low,
        "gap": high - low,
    }


def in_basis(basis: Tensor) -> dict[str, float]:
    features = MADE.features
    turned = replace(
        features, image=rotate(features.image, basis), text=rotate(features.text, basis)
    )
    return by_plain_steps(rotate(MADE.projections, basis), turned)


def check_row(row: Any, value: float, draws: list[float]) -> None:
    """Against numpy and scipy. Orders in float32 and in float64 features may differ in one
    image.
    """
    assert row.value == pytest.approx(value, abs=1e-6)
    assert row.draws == len(draws)
    assert row.null_mean == pytest.approx(np.mean(draws), abs=1e-5)
    assert (row.null_low, row.null_high) == pytest.approx(
        tuple(np.quantile(draws, [0.025, 0.975])), abs=1e-5
    )
    assert row.percentile == pytest.approx(
        scipy.stats.percentileofscore(np.round(draws, 9), round(value, 9), "mean")
    )
    if len(draws) == 1:
        assert math.isnan(row.null_deviation) and math.isnan(row.z)
        return
    assert row.null_deviation == pytest.approx(np.std(draws, ddof=1), abs=1e-5)
    assert row.z == pytest.approx((value - np.mean(draws)) / np.std(draws, ddof=1), rel=1e-3)
    extreme = min(sum(d >= value - 1e-9 for d in draws), sum(d <= value + 1e-9 for d in draws))
    assert row.p == pytest.approx(min(1, 2 * (1 + extreme) / (1 + len(draws))))


# --- every row by plain steps


def test_every_null_is_there_once(nulls: pd.DataFrame) -> None:
    of_weights = [
        *(name for name, measure in MEASURES.items() if measure.needs == "weights"),
        *LAYER_MEASURES,
    ]
    expected = {
        ("gaussian weights", f"{tower} {name}")
        for tower in ("image", "text")
        for name in of_weights
    }
    expected |= {(null, name) for null in ("rotation", "svd basis") for name in (*OVERLAPS, *AREAS)}
    expected |= {("shuffled purity", "gap"), ("shuffled towers", "towers' spearman")}
    assert list(nulls) == list(NULLS.columns)
    assert set(nulls[["null", "statistic"]].itertuples(index=False, name=None)) == expected
    assert len(nulls) == len(expected)
    assert set(nulls.model) == {"planted"} and set(nulls.dataset) == {"effect 1"}


def test_rotation_rows(nulls: pd.DataFrame) -> None:
    value = by_plain_steps(MADE.projections, MADE.features)
    given = StrategyInput(MADE.projections)
    drawn = [in_basis(basis.double()) for basis in random_rotations(NEURONS, DRAWS, SEED)]
    svd = in_basis(BASES["svd"].of(given, 0))
    for null, draws in (("rotation", drawn), ("svd basis", [svd])):
        rows = nulls[nulls.null == null].set_index("statistic")
        for statistic in (*OVERLAPS, *AREAS):
            check_row(rows.loc[statistic], value[statistic], [draw[statistic] for draw in draws])


def test_shuffled_purity_row(nulls: pd.DataFrame) -> None:
    value = by_plain_steps(MADE.projections, MADE.features)["gap"]
    orders = [order_neurons(MADE.projections, "random", seed=SEED + draw) for draw in range(DRAWS)]
    row = nulls[nulls.null == "shuffled purity"].iloc[0]
    check_row(row, value, [area(order) - area(order.flip(0)) for order in orders])


def test_shuffled_towers_row(nulls: pd.DataFrame) -> None:
    """Where towers do not agree Spearman's correlation has mean 0 and deviation 1 / sqrt(d - 1)."""
    row = nulls[nulls.null == "shuffled towers"].iloc[0]
    image, text = (
        overlap(tower).numpy() for tower in (MADE.projections.image, MADE.projections.text)
    )
    assert row.value == pytest.approx(scipy.stats.spearmanr(image, text).statistic)
    assert row.draws == 1000
    assert abs(row.null_mean) < 4 / math.sqrt(1000 * (NEURONS - 1))
    assert row.null_deviation == pytest.approx(1 / math.sqrt(NEURONS - 1), rel=0.1)
    assert row.value > row.null_high  # planted: both towers of a neuron share alike


def test_gaussian_rows(nulls: pd.DataFrame) -> None:
    rows = nulls[nulls.null == "gaussian weights"].set_index("statistic")
    for tower in ("image", "text"):
        projection = getattr(MADE.projections, tower)
        row = rows.loc[f"{tower} l1"]
        reference = gaussian_reference("l1", *projection.shape, draws=int(row.draws))
        assert row.value == pytest.approx(overlap(projection).mean().item())
        assert row.z == pytest.approx((row.value - reference.mean) / reference.sd)
        assert row.null_mean == pytest.approx(
            math.sqrt(2 / math.pi / projection.shape[1]), rel=0.01
        )
        assert row.z > 10  # planted: neurons share a direction
        values = np.linalg.svd(projection.numpy(), compute_uv=False)
        assert rows.value[f"{tower} stable_rank"] == pytest.approx(
            (values**2).sum() / values[0] ** 2
        )
        assert rows.value[f"{tower} condition_number"] == pytest.approx(values[0] / values[-1])


# --- where a null holds, it is not rejected


def test_a_joint_rotation_leaves_accuracy_at_full_width_as_it_is() -> None:
    model = rotate_model(MADE.projections, draws=3, seed=1)
    features, every = MADE.features, torch.arange(NEURONS)
    image, text = features.image, features.text
    plain = accuracy_by_k(image, text, features.labels, every, [NEURONS]).top1
    for basis in model.bases:
        torch.testing.assert_close(basis @ basis.T, torch.eye(NEURONS), atol=1e-6, rtol=0)
        turned = accuracy_by_k(image @ basis, text @ basis, features.labels, every, [NEURONS]).top1
        assert turned.equal(plain)
    assert len({round(found["image overlap"], 9) for found in model.overlaps}) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_gaussian_projections_are_one_more_rotation_of_themselves() -> None:
    """Their law is the same in any basis: p-values are uniform, percentiles spread, z about
    standard normal.
    """
    features = replace(
        MADE.features, image=MADE.features.image[:10], labels=MADE.features.labels[:10]
    )  # not looked at
    found = []
    for seed in range(25):
        projections = gaussian(1000 + seed)
        options = Options(keep=KEEP, draws=0, resamples=1, seed=seed * 100)
        measured = measure_strategies(features, projections, options)
        table = null_table(measured, draws=19)
        rotation = table[table.null == "rotation"].set_index("statistic")
        towers = table[table.null == "shuffled towers"].set_index("statistic")
        weights = table[table.null == "gaussian weights"].set_index("statistic")
        found.append(
            {
                **{name: rotation.percentile[name] / 100 for name in OVERLAPS},
                "shuffled towers": towers.percentile["towers' spearman"] / 100,
                "p": rotation.p["image overlap"],
                "z": weights.z["image l1"],
            }
        )
    drawn = pd.DataFrame(found)
    for name in (*OVERLAPS, "shuffled towers"):
        assert scipy.stats.kstest(drawn[name], "uniform").pvalue > 0.01, name
    assert (drawn.p <= 0.1).mean() < 0.25 and drawn.p.min() >= 0.1 - 1e-12
    # The deviation is itself estimated, from few layers.
    assert abs(drawn.z.median()) < 0.7 and drawn.z.abs().median() < 2


def test_planted_purity_is_beyond_its_nulls(nulls: pd.DataFrame) -> None:
    rows = nulls.set_index(["null", "statistic"])
    assert rows.value["shuffled purity", "gap"] > rows.null_high["shuffled purity", "gap"]
    assert rows.p["shuffled purity", "gap"] <= 0.05
    assert rows.p["rotation", "gap"] <= 0.05


def test_dead_neurons_stand_last_in_shuffled_orders_too() -> None:
    image = MADE.projections.image.clone()
    image[[2, 7, 11, 20]] = 0
    projections = Projections(image, MADE.projections.text)
    with pytest.warns(UserWarning, match="4 of 24 neurons have norm zero"):
        measured = measure(projections)
    table = null_table(measured, draws=DRAWS)
    gaps = []
    for draw in range(DRAWS):
        order = STRATEGIES["random"].order(StrategyInput(projections), SEED + draw)
        gaps.append(area(order) - area(torch.cat([order[:-4].flip(0), order[-4:]])))
    row = table[table.null == "shuffled purity"].iloc[0]
    assert row.null_mean == pytest.approx(np.mean(gaps), abs=1e-9)
    assert row.null_deviation == pytest.approx(np.std(gaps, ddof=1), abs=1e-9)


# --- what is given


def test_rotations_at_hand_are_used() -> None:
    model = rotate_model(MADE.projections, draws=DRAWS, seed=SEED)
    assert isinstance(model, Rotations) and model.orders.shape == (DRAWS, 2, NEURONS)
    first = random_rotations(NEURONS, 2, 0)[0]
    assert (
        rotate_model(MADE.projections, draws=2).bases[0].equal(first)
    )  # the seed is 0, if none is given
    measured = measure()
    given = null_table(measured, model, draws=DRAWS)
    pd.testing.assert_frame_equal(given, null_table(measured, draws=DRAWS))
    fewer = null_table(measured, rotate_model(MADE.projections, draws=5, seed=1), draws=DRAWS)
    assert set(fewer[fewer.null == "rotation"].draws) == {5}


@pytest.mark.parametrize(
    "options", [{"ablation": "mean"}, {"ablation": "resample"}, {"renormalise": True}]
)
def test_curves_are_evaluated_as_the_sweep_evaluates_them(options: dict[str, Any]) -> None:
    measured = measure(**options)
    rows = null_table(measured, draws=5).set_index(["null", "statistic"])
    curves = measured.values[:, :, 0].numpy()
    high, low = np.trapezoid(curves, KEEP, axis=1) / (KEEP[-1] - KEEP[0])
    assert rows.value["rotation", "high"] == pytest.approx(high)
    assert rows.value["rotation", "low"] == pytest.approx(low)
    assert rows.value["shuffled purity", "gap"] == pytest.approx(high - low)


@pytest.mark.parametrize("space", ["activations", "centred"])
def test_a_model_without_weights_is_held_against_nulls_of_its_activations(space: str) -> None:
    measured = measure(None, space=space)
    table = null_table(measured, draws=10)
    assert set(table.null) == {"rotation", "svd basis", "shuffled purity", "shuffled towers"}
    activations = activation_space(
        MADE.features.image, MADE.features.text, centred=space == "centred"
    )
    rows = table[table.null == "rotation"].set_index("statistic")
    for statistic, value in by_plain_steps(activations, MADE.features).items():
        assert rows.value[statistic] == pytest.approx(value, abs=1e-6)
    # Rotations of the weights say nothing about activations.
    of_weights = rotate_model(MADE.projections, draws=3)
    pd.testing.assert_frame_equal(null_table(measured, of_weights, draws=10), table)


@pytest.mark.filterwarnings("ignore:.*have norm zero")
@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_neuron_dead_in_one_tower_counts_as_without_overlap_there(tower: str) -> None:
    dead = getattr(MADE.projections, tower).clone()
    dead[3] = 0
    projections = replace(MADE.projections, **{tower: dead})
    table = null_table(measure(projections), draws=2).set_index(["null", "statistic"]).value
    overlaps = overlap(dead).nan_to_num()
    assert table["rotation", f"{tower} overlap"] == pytest.approx(overlaps.mean().item(), abs=1e-6)
    assert table["rotation", f"{tower} overlap's spread"] == pytest.approx(
        overlaps.std().item(), abs=1e-6
    )
