"""The standings: each strategy once, best first, with the numbers of the tables; and in words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from purescope.maths.bases import BASES
from purescope.maths.strategies import STRATEGIES as ALL_STRATEGIES
from purescope.studies.comparisons import (
    adjust,
    compare_strategies,
    curve_table,
    pooled_difference,
    pooled_p,
)
from purescope.studies.judging import mean_points, standings_table, uses_labels
from purescope.studies.settings import Options
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.studies.synthetic import plant
from purescope.tables.result_table import curve_points
from purescope.tables.schema import each_row
from purescope.tables.schemas import COMPARISONS, CURVES
from purescope.tables.verdicts import best_sentence, half_sentence
from tests.studies.test_synthetic import data_sets

KS = [8, 16, 24]
STRATEGIES = ("low_purity", "high_purity", "weight_norm", "svd")


@pytest.fixture(scope="module")
def measured() -> list[Measured]:
    made = plant(1.0, neurons=32, images=240, classes=4, seed=0)
    options = Options(keep=KS, strategies=STRATEGIES, draws=19, resamples=200, seed=50)
    sets = data_sets(made, 2)
    # Another model, worse in all, whose rows stand among those of the first.
    other = replace(sets[0], image=sets[0].image.flip(0), model="other")
    return [
        measure_strategies(features, made.projections, options)
        for features in (sets[0], other, sets[1])
    ]


def accuracy_rows(measured: Measured) -> pd.DataFrame:
    table = measured.table
    return table[table.metric == "accuracy"]


def without_full(measured: Measured) -> pd.DataFrame:
    """Accuracies that nobody knows to be at chance."""
    table = accuracy_rows(measured)
    return table[table.strategy != "full"]


def board(measured: list[Measured], model: str) -> pd.DataFrame:
    """The ranked strategies of a model."""
    table = standings_table(
        pd.concat([without_full(one) for one in measured]),
        adjust(pd.concat([compare_strategies(one) for one in measured])),
        pd.concat([curve_table(one) for one in measured]),
    )
    return table[(table.model == model) & (table.place > 0)].reset_index(drop=True)


def test_all_strategies_stand_once_largest_area_first(measured: list[Measured]) -> None:
    found = board(measured, "planted")
    assert sorted(found.strategy) == sorted([*STRATEGIES, "random"])
    assert found.place.tolist() == [1, 2, 3, 4, 5]
    assert found.area.is_monotonic_decreasing and set(found.sets) == {2}
    places = found.set_index("strategy").place
    assert places["high_purity"] < places["random"] < places["low_purity"]  # as planted


def test_numbers_are_means_over_data_sets(measured: list[Measured]) -> None:
    first, _, second = measured
    table = pd.concat([accuracy_rows(first), accuracy_rows(second)])
    areas = pd.concat([compare_strategies(first), compare_strategies(second)]).query("k == 'area'")
    found = board(measured, "planted")
    raw = {name: pooled_p(table, model="planted", strategy=name) for name in STRATEGIES}
    for standing in each_row(found):
        values = [
            one.draws[:, :, 0].mean(0)
            if standing.strategy == "random"
            else one.values[one.strategies.index(standing.strategy), :, 0]
            for one in (first, second)
        ]
        area = np.mean([np.trapezoid(value, KS) / (KS[-1] - KS[0]) for value in values])
        assert standing.area == pytest.approx(area, abs=1e-12)
        needed = [
            curve_table(one).set_index("strategy").needed[standing.strategy]
            for one in (first, second)
        ]
        assert standing.needed == pytest.approx(np.mean(needed))
        if standing.strategy == "random":
            assert np.isnan([standing.over_random, standing.p]).all()
            continue
        mine = areas[(areas["first"] == standing.strategy) & (areas.second == "random")]
        pooled = pooled_difference(mine)
        ends = (standing.over_random, standing.over_random_low, standing.over_random_high)
        assert ends == (pooled.value, pooled.low, pooled.high)
        random = np.mean(
            [
                np.trapezoid(one.draws[:, :, 0].mean(0), KS) / (KS[-1] - KS[0])
                for one in (first, second)
            ]
        )
        assert standing.over_random == pytest.approx(area - random, abs=1e-12)
        # Holm's: the smallest of m times m, the next times m - 1, and none smaller than one before
        # it.
        ranked = sorted(raw.values())
        place = ranked.index(raw[standing.strategy])
        assert standing.p == min(
            1, max((len(raw) - i) * p for i, p in enumerate(ranked[: place + 1]))
        )


@pytest.mark.slow
def test_a_model_has_its_own(measured: list[Measured]) -> None:
    mine, other = board(measured, "planted"), board(measured, "other")
    assert set(other.strategy) == set(mine.strategy)
    assert other.area.max() < mine.area.min()
    pd.testing.assert_frame_equal(other, board([measured[1]], "other"))


def test_without_random_orders_there_are_areas_and_no_tests() -> None:
    made = plant(1.0, neurons=16, images=60, classes=3, seed=0)
    one = measure_strategies(
        made.features, made.projections, Options(keep=[4, 8], draws=0, resamples=50)
    )
    found = standings_table(one.table, compare_strategies(one), curve_table(one))
    assert found.strategy.tolist() == ["full", "high_purity", "low_purity"]
    assert found[["over_random", "p", "elsewhere"]].isna().all(axis=None)


def from_curves(table: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The standings where nothing was tested: what curves lack is missing."""
    none = pd.DataFrame(columns=list(COMPARISONS.columns))
    filled = curves.reindex(columns=list(CURVES.columns)).assign(half=curves.get("half", 32))
    return standings_table(table, none, filled)


def test_the_best_is_judged_on_images_that_it_was_not_chosen_on() -> None:
    """On the first half a, on the second b is best; each is worth little on the other half."""
    table = pd.DataFrame(
        {"model": "m", "dataset": ["one", "two"], "metric": "accuracy", "strategy": "full"}
    )
    table = table.assign(value=0.9, chance=0.1, n=200, neurons=64)
    rows = [
        ("random", 0.5, 0.5, 0.5),
        ("a", 0.55, 0.7, 0.52),
        ("b", 0.54, 0.51, 0.6),
        ("c", 0.5, 0.4, 0.4),
    ]
    curves = pd.DataFrame(rows, columns=["strategy", "area", "area_first", "area_second"])
    curves = pd.concat([curves.assign(model="m", dataset=name) for name in ("one", "two")])
    found = from_curves(table, curves)
    judged = found[found.elsewhere.notna()]
    assert judged.strategy.tolist() == ["a"]
    assert judged.elsewhere.item() == pytest.approx((0.02 + 0.01) / 2)
    sentence = best_sentence(found.assign(over_random=found.area - 0.5))
    assert "a, +5.00 points" in sentence and sentence.endswith("the best is +1.50.")
    two = from_curves(table, curves[curves.strategy != "c"])
    assert two[two.elsewhere.notna()].strategy.tolist() == ["a"], "two are enough to choose from"
    nothing_to_choose = (
        curves[curves.strategy != "random"],
        curves[curves.strategy.isin(["a", "random"])],
        curves.assign(area_first=np.nan),
    )
    for few in nothing_to_choose:
        assert best_sentence(from_curves(table, few)) == ""
    assert from_curves(table.assign(value=0.1), curves).empty, "no better than chance"


def test_strategies_that_look_at_labels_are_known() -> None:
    assert [name for name in (*ALL_STRATEGIES, *BASES) if uses_labels(name)] == ["importance"]


# --- what half of the neurons keeps


def halves_kept(kept: dict[str, tuple[float, float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two data sets with accuracies 0.5 and 0.7 of all neurons, and what half of them keep there,
    each +- 0.1.
    """
    full = [
        ("m", f"set {place}", "full", "accuracy", value) for place, value in enumerate((0.5, 0.7))
    ]
    table = pd.DataFrame(full, columns=["model", "dataset", "strategy", "metric", "value"])
    rows = [
        ("m", f"set {place}", name, 32, value, value - 0.1, value + 0.1)
        for name, values in kept.items()
        for place, value in enumerate(values)
    ]
    columns = ["model", "dataset", "strategy", "half", "kept", "kept_low", "kept_high"]
    return table.assign(neurons=64, chance=0.1, n=1000), pd.DataFrame(rows, columns=columns)


def test_half_keeps_the_mean_over_sets_and_the_best_looks_at_no_labels() -> None:
    """Of two independent shares, each +- 10 points, the mean is +- 10 / sqrt(2)."""
    kept = {
        "high_purity": (0.6, 0.7),
        "random": (0.9, 0.8),
        "importance": (1.2, 1.1),
        "svd": (1.0, 0.96),
        "pca": (1, 0),
    }
    table, curves = halves_kept(kept)
    table = pd.concat(
        [
            table,
            table.assign(model="another", value=0.9),
            table.assign(strategy="random", value=0.3),
        ]
    )
    curves = pd.concat([curves, curves.assign(model="another", kept=0.1)])
    found = from_curves(table, curves)
    assert half_sentence(found[found.model == "m"], str.upper) == (
        "Of the 60.0 % that all 64 neurons get right (chance: 10.0 %), the first 32 by SVD keep "
        "98 % (91 to 105), 32 random ones 85 % (78 to 92), the 32 purest 65 % (58 to 72)."
    )


def test_nothing_is_said_of_a_half_that_was_not_measured() -> None:
    table, curves = halves_kept({"importance": (1.2, 1.1)})
    assert half_sentence(from_curves(table, curves)) == "", "it alone looks at labels"
    for nothing in (curves[:0], curves.assign(strategy="svd", kept=np.nan)):
        assert half_sentence(from_curves(table, nothing)) == ""


# --- curves over several datasets


def test_mean_points_are_means_over_the_datasets_above_chance(measured: list[Measured]) -> None:
    first, _, second = measured
    both = pd.concat([accuracy_rows(first), accuracy_rows(second)])
    points = mean_points(both)
    assert set(points.dataset) == {""} and set(points.model) == {"planted"}
    drawn = (first.draws[:, :, 0] + second.draws[:, :, 0]).numpy() / 2
    random = points[points.strategy == "random"]
    for name, values in (
        ("value", np.median(drawn, axis=0)),
        ("low", np.quantile(drawn, 0.05, axis=0)),
        ("high", np.quantile(drawn, 0.95, axis=0)),
        ("least", drawn.min(axis=0)),
        ("greatest", drawn.max(axis=0)),
    ):
        np.testing.assert_allclose(random[name], values, rtol=0, atol=1e-12, err_msg=name)
    svd = (first.values[3, :, 0] + second.values[3, :, 0]).numpy() / 2
    np.testing.assert_allclose(points[points.strategy == "svd"].value, svd, rtol=0, atol=1e-12)
    by_guessing = accuracy_rows(second).assign(dataset="weak")
    by_guessing.loc[by_guessing.strategy == "full", "value"] = 0.25
    alone = mean_points(pd.concat([accuracy_rows(first), by_guessing]))
    of_one = curve_points(accuracy_rows(first).assign(dataset=""))
    pd.testing.assert_frame_equal(alone, of_one)
    assert mean_points(by_guessing).empty


def test_strategies_of_one_area_stand_in_the_order_of_the_tables() -> None:
    table, curves = halves_kept({"svd": (0.9, 0.8), "high_purity": (0.7, 0.6), "pca": (0.5, 0.4)})
    level = from_curves(table, curves.assign(area=0.5))
    assert level.strategy.tolist() == ["full", "svd", "high_purity", "pca"]
    assert level.place.tolist() == [0, 1, 2, 3]
