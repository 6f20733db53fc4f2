"""Comparisons of strategies: from masked features, with numpy, scipy and statsmodels, step by
step.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.stats
import torch
from sklearn.isotonic import IsotonicRegression
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from purescope.features.features import Features
from purescope.maths.intervals import bootstrap_means
from purescope.maths.strategies import order_neurons
from purescope.studies.comparisons import (
    adjust,
    compare_strategies,
    curve_table,
    pooled_difference,
    pooled_p,
)
from purescope.studies.settings import Options
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.studies.synthetic import plant
from purescope.tables.columns import AREA
from purescope.tables.files import check_table
from purescope.tables.schemas import COMPARISONS, CURVES
from tests.studies.test_synthetic import accuracies, data_sets

NEURONS, DRAWS, RESAMPLES, SEED = 24, 12, 4000, 7
KEEP = [4, 9, 16]
MADE = plant(0.4, neurons=NEURONS, images=300, classes=5, signal=0.3, seed=2)
SETS = data_sets(MADE, 3)
PAIRS = [("high_purity", "random"), ("low_purity", "random"), ("high_purity", "low_purity")]

Array = npt.NDArray[Any]


def measure(features: Features, **changes: Any) -> Measured:
    options = {"keep": KEEP, "draws": DRAWS, "resamples": RESAMPLES, "seed": SEED, **changes}
    return measure_strategies(features, MADE.projections, Options(**options))


@pytest.fixture(scope="module")
def measured() -> list[Measured]:
    return [measure(features) for features in SETS]


@pytest.fixture(scope="module")
def table(measured: list[Measured]) -> pd.DataFrame:
    return adjust(pd.concat([compare_strategies(one) for one in measured]))


def overlaps() -> Array:
    total = np.zeros(NEURONS)
    for tower in (MADE.projections.image.numpy(), MADE.projections.text.numpy()):
        unit = tower / np.linalg.norm(tower, axis=1, keepdims=True)
        total += np.abs(unit @ unit.T).sum(1)
    return total


def right(features: Features, order: Array) -> Array:
    """``[k, image]``, from embeddings with all but k neurons set to zero."""
    image, text = features.image.double().numpy(), features.text.double().numpy()
    rows = []
    for k in KEEP:
        masked = np.zeros_like(image)
        masked[:, order[:k]] = image[:, order[:k]]
        rows.append((masked @ text.T).argmax(1) == features.labels.numpy())
    return np.array(rows)


def answers(features: Features) -> dict[str, Array]:
    """Of each strategy ``[k, image]``, of random orders ``[draw, k, image]``."""
    order = np.argsort(overlaps(), kind="stable")
    random = [
        order_neurons(MADE.projections, "random", seed=SEED + draw).numpy() for draw in range(DRAWS)
    ]
    return {
        "high_purity": right(features, order),
        "low_purity": right(features, order[::-1]),
        "random": np.array([right(features, one) for one in random]),
    }


def area(curve: Array) -> Any:
    return np.trapezoid(curve, KEEP, axis=-1) / (KEEP[-1] - KEEP[0])


def mean_answers(given: dict[str, Array], name: str) -> Array:
    return given[name].mean(0) if name == "random" else given[name].astype(float)


@pytest.mark.slow
def test_every_comparison_is_there_once(table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(check_table(table, COMPARISONS), table)
    assert list(table) == list(COMPARISONS.columns)
    found = set(table[["dataset", "first", "second", "k"]].itertuples(index=False, name=None))
    assert found == {
        (f.dataset, *pair, k) for f in SETS for pair in PAIRS for k in ("4", "9", "16", AREA)
    }
    assert set(table.draws) == {DRAWS}


@pytest.mark.parametrize("place", range(3))
def test_differences_and_intervals_are_of_masked_features(table: pd.DataFrame, place: int) -> None:
    """The resamples are the bootstrap's own, of answers found here; their spread is the
    textbook's.
    """
    features, given = SETS[place], answers(SETS[place])
    for first, second in PAIRS:
        rows = table[
            (table.dataset == features.dataset)
            & (table["first"] == first)
            & (table.second == second)
        ]
        by_image = mean_answers(given, first) - mean_answers(given, second)
        cells = np.vstack([by_image, area(by_image.T)])
        assert rows.difference.tolist() == pytest.approx(cells.mean(1).tolist(), abs=1e-12)
        resampled = bootstrap_means(
            torch.from_numpy(cells), features.labels, resamples=RESAMPLES, seed=SEED
        ).numpy()
        low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
        assert rows.low.tolist() == pytest.approx(low.tolist(), abs=1e-9)
        assert rows.high.tolist() == pytest.approx(high.tolist(), abs=1e-9)
        assert rows.deviation.tolist() == pytest.approx(resampled.std(0, ddof=1).tolist(), abs=1e-9)
        labels = features.labels.numpy()
        variances = sum(
            cells[:, labels == c].var(1, ddof=1) * (labels == c).sum() for c in range(5)
        )
        errors = np.sqrt(variances) / len(labels)
        assert rows.deviation.tolist() == pytest.approx(errors.tolist(), rel=0.05)


@pytest.mark.parametrize("place", range(3))
def test_mcnemar_is_statsmodels_and_random_is_its_order_of_median_accuracy(
    table: pd.DataFrame, place: int
) -> None:
    features, given = SETS[place], answers(SETS[place])
    typical = []
    for at_k in range(len(KEEP)):
        by_accuracy = sorted(range(DRAWS), key=lambda draw: given["random"][draw, at_k].sum())
        typical.append(given["random"][by_accuracy[(DRAWS - 1) // 2], at_k])
    single = {**given, "random": np.array(typical)}
    for first, second in PAIRS:
        rows = table[
            (table.dataset == features.dataset)
            & (table["first"] == first)
            & (table.second == second)
        ]
        expected = []
        for one, other in zip(single[first], single[second], strict=True):
            counts = [[(one == a)[other == b].sum() for b in (True, False)] for a in (True, False)]
            expected.append(mcnemar(counts, exact=True).pvalue)
        assert rows.mcnemar_p[:-1].tolist() == pytest.approx(expected, rel=1e-9)
        assert math.isnan(rows.mcnemar_p.iloc[-1])


@pytest.mark.parametrize("place", range(3))
def test_standing_among_random_orders(table: pd.DataFrame, place: int) -> None:
    """By counting; in whole images, where ties are ties."""
    features, given = SETS[place], answers(SETS[place])
    for first in ("high_purity", "low_purity"):
        rows = table[
            (table.dataset == features.dataset)
            & (table["first"] == first)
            & (table.second == "random")
        ]
        value, draws = given[first].sum(1), given["random"].sum(2)
        weights = np.array([5, 12, 7])  # twice the trapezoid rule at ks 4, 9, 16
        value, draws = np.append(value, value @ weights), np.column_stack([draws, draws @ weights])
        for at, row in enumerate(rows.itertuples()):
            standing = scipy.stats.percentileofscore(draws[:, at], value[at], kind="mean")
            assert row.percentile == pytest.approx(standing)
            extreme = min((draws[:, at] >= value[at]).sum(), (draws[:, at] <= value[at]).sum())
            assert row.permutation_p == pytest.approx(min(1, 2 * (1 + extreme) / (1 + DRAWS)))
    nothing = table[table.second == "low_purity"][
        ["percentile", "permutation_p", "permutation_holm", "permutation_bh"]
    ]
    assert nothing.isna().all(axis=None)


@pytest.mark.slow
def test_p_values_are_adjusted_over_ks_and_data_sets_and_areas_over_data_sets(
    table: pd.DataFrame,
) -> None:
    for first, second in PAIRS:
        pair = table[(table["first"] == first) & (table.second == second)]
        for rows in (pair[pair.k == AREA], pair[pair.k != AREA]):
            for test in ("mcnemar", "permutation"):
                p = rows[f"{test}_p"]
                if p.isna().any():
                    assert p.isna().all() and rows[[f"{test}_holm", f"{test}_bh"]].isna().all(
                        axis=None
                    )
                    continue
                assert len(p) in (3, 9)
                for name, method in (("holm", "holm"), ("bh", "fdr_bh")):
                    expected = multipletests(p, method=method)[1]
                    assert rows[f"{test}_{name}"].tolist() == pytest.approx(
                        expected.tolist(), rel=1e-12
                    )


def test_models_are_adjusted_apart_and_again_changes_nothing(table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(adjust(table), table)
    other = table.assign(model="other", mcnemar_p=0.5, permutation_p=0.5)
    # Concatenated as they are: rows that share a label of the index are rows none the less.
    both = adjust(pd.concat([table, other]).astype(table.dtypes))
    pd.testing.assert_frame_equal(both[both.model == "planted"], table)
    shuffled = adjust(table.sample(frac=1, random_state=0)).set_index(list(COMPARISONS.key))
    in_order = shuffled.loc[pd.MultiIndex.from_frame(table[[*COMPARISONS.key]])].reset_index()
    pd.testing.assert_frame_equal(in_order[list(table)], table)


def test_what_there_is_to_compare() -> None:
    without_draws = compare_strategies(measure(SETS[0], draws=0, resamples=50))
    assert set(zip(without_draws["first"], without_draws.second, strict=True)) == {
        ("high_purity", "low_purity")
    }
    assert set(without_draws.draws) == {0}
    one = compare_strategies(measure(SETS[0], strategies=["weight_norm"], resamples=50))
    assert set(zip(one["first"], one.second, strict=True)) == {("weight_norm", "random")}
    none = compare_strategies(measure(SETS[0], strategies=["weight_norm"], draws=0, resamples=50))
    assert len(none) == 0 and list(none) == list(COMPARISONS.columns)


def test_at_one_k_the_area_is_the_difference_there() -> None:
    table = compare_strategies(measure(SETS[0], keep=9, resamples=50))
    for _, rows in table.groupby(["first", "second"]):
        columns = ["difference", "low", "high", "deviation", "percentile", "permutation_p"]
        np.testing.assert_allclose(rows[columns].iloc[0], rows[columns].iloc[1], rtol=1e-12)


# --- curves


def needed_from(ks: list[int], curve: Array, target: float) -> float:
    """From the last k down, segment by segment: where the curve first dips below the target."""
    if curve[-1] < target:
        return math.inf
    for i in range(len(ks) - 1, 0, -1):
        if curve[i - 1] < target:
            return ks[i - 1] + (target - curve[i - 1]) / (curve[i] - curve[i - 1]) * (
                ks[i] - ks[i - 1]
            )
    return float(ks[0])


@pytest.mark.parametrize("keep", [KEEP, [*KEEP, NEURONS]])
def test_curves_are_areas_and_needed_neurons_with_all_neurons_as_the_last_point(
    keep: list[int],
) -> None:
    features, given = SETS[0], answers(SETS[0])
    measured = measure(features, keep=keep, resamples=400)
    table = curve_table(measured)
    assert list(table) == list(CURVES.columns)
    assert table.strategy.tolist() == ["high_purity", "low_purity", "random"]
    image, text = features.image.double().numpy(), features.text.double().numpy()
    full = ((image @ text.T).argmax(1) == features.labels.numpy()).astype(float)
    for row in table.itertuples():
        by_image = np.vstack([mean_answers(given, str(row.strategy)), full])
        resampled = bootstrap_means(
            torch.from_numpy(by_image), features.labels, resamples=400, seed=SEED
        ).numpy()
        ks = [*KEEP, NEURONS]
        over = by_image.mean(1) - 0.95 * by_image.mean(1)[-1]
        below, above = np.quantile(resampled - 0.95 * resampled[:, -1:], [0.025, 0.975], axis=0)
        least, most = needed_from(ks, np.maximum.accumulate(above), 0), needed_from(ks, below, 0)
        assert (row.needed_low, row.needed_high) == pytest.approx((least, most), abs=1e-6)
        fitted = IsotonicRegression().fit_transform(ks, over)
        assert row.needed == pytest.approx(
            min(max(needed_from(ks, fitted, 0), least), most), abs=1e-6
        )
        middle = np.abs(np.array(keep) - NEURONS / 2).argmin()
        assert row.half == keep[middle]
        shares = [
            by_image.mean(1)[middle] / full.mean(),
            *(resampled[:, middle] / resampled[:, -1]),
        ]
        assert row.kept == pytest.approx(shares[0], abs=1e-9)
        assert (row.kept_low, row.kept_high) == pytest.approx(
            tuple(np.quantile(shares[1:], [0.025, 0.975]))
        )
        first = np.concatenate(
            [np.flatnonzero(features.labels == label)[::2] for label in features.labels.unique()]
        )
        second = np.setdiff1d(np.arange(len(full)), first)
        for part, area in ((first, row.area_first), (second, row.area_second)):
            on_part = by_image[: len(keep), part].mean(1)
            assert area == pytest.approx(
                np.trapezoid(on_part, keep) / (keep[-1] - keep[0]), abs=1e-9
            )
        upto = len(keep)
        areas = np.trapezoid([by_image.mean(1)[:upto], *resampled[:, :upto]], keep, axis=-1) / (
            keep[-1] - keep[0]
        )
        assert row.area == pytest.approx(areas[0], abs=1e-9)
        assert (row.area_low, row.area_high) == pytest.approx(
            tuple(np.quantile(areas[1:], [0.025, 0.975]))
        )
    assert (table.needed > KEEP[0]).any() and (table.needed <= NEURONS).all()


# --- several data sets as one


def areas_of(differences: Array, deviations: Array) -> pd.DataFrame:
    low, high = differences - 2 * deviations, differences + 2 * deviations
    return pd.DataFrame(
        {"difference": differences, "deviation": deviations, "low": low, "high": high}
    )


def test_one_data_set_has_its_own_interval() -> None:
    found = pooled_difference(areas_of(np.array([0.03]), np.array([0.01])))
    assert (found.value, found.low, found.high) == pytest.approx((0.03, 0.01, 0.05))
    assert str(found) == "+3.00 points (+1.00 to +5.00)"


@pytest.mark.slow
def test_the_interval_of_a_mean_over_data_sets_covers_what_it_is_to_cover() -> None:
    truth, deviations = np.array([0.01, -0.02, 0.05, 0.0]), np.array([0.01, 0.03, 0.02, 0.005])
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        found = pooled_difference(areas_of(generator.normal(truth, deviations), deviations))
        covered += found.low <= truth.mean() <= found.high
    assert 0.93 <= covered / 2000 <= 0.97


def test_it_is_the_bootstrap_of_all_images_together(table: pd.DataFrame) -> None:
    areas = table[
        (table["first"] == "high_purity") & (table.second == "random") & (table.k == AREA)
    ]
    resampled = []
    for place, features in enumerate(SETS):
        given = answers(features)
        by_image = torch.from_numpy(
            area((mean_answers(given, "high_purity") - mean_answers(given, "random")).T)
        )
        resampled.append(
            bootstrap_means(by_image, features.labels, resamples=RESAMPLES, seed=100 + place)
        )
    low, high = np.quantile(torch.stack(resampled).mean(0), [0.025, 0.975])
    found = pooled_difference(areas)
    assert found.value == pytest.approx(areas.difference.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_the_pooled_p_is_by_rank_of_the_mean_area(measured: list[Measured]) -> None:
    table = pd.concat([one.table for one in measured], ignore_index=True)
    decoy = table.assign(model="other", value=table.value * 0.1)
    pd.testing.assert_series_equal(
        measured[0]
        .table.query("metric == 'accuracy' and k <= 16")
        .value.sort_values(ignore_index=True),
        accuracies(measured[0]).value.sort_values(ignore_index=True),
    )
    for strategy in ("high_purity", "low_purity"):
        value = np.mean([area(answers(features)[strategy].mean(1)) for features in SETS])
        draws = np.mean([area(answers(features)["random"].mean(2)) for features in SETS], axis=0)
        extreme = min((draws >= value - 1e-12).sum(), (draws <= value + 1e-12).sum())
        found = pooled_p(pd.concat([table, decoy]), model="planted", strategy=strategy)
        assert found == pytest.approx(min(1, 2 * (1 + extreme) / (1 + DRAWS)))


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_the_pooled_p_is_uniform_where_a_strategy_is_one_more_random_order() -> None:
    """Three data sets on which an order's worth is much the same: as three tests it would be far
    from one.
    """
    generator = np.random.default_rng(1)
    index = pd.MultiIndex.from_product(
        [range(20), range(3), [4, 9]], names=["draw", "dataset", "k"]
    )
    found = []
    for _ in range(200):
        worth = generator.normal(size=(20, 1, 1)) + 0.1 * generator.normal(size=(20, 3, 2))
        table = pd.DataFrame({"value": worth.ravel()}, index=index).reset_index()
        table = table.assign(model="m", metric="accuracy", strategy="random")
        table.loc[table.draw == 19, ["strategy", "draw"]] = "mine", 0
        found.append(pooled_p(table, model="m", strategy="mine"))
    # 20 ranks, two of them at each p: 0.1, 0.2, ... 1.
    counts = np.bincount(np.round(np.array(found) * 10).astype(int), minlength=11)
    assert counts[0] == 0 and counts.sum() == 200
    assert scipy.stats.chisquare(counts[1:]).pvalue > 0.01
