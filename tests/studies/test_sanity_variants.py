"""Variants are sweeps with one option changed."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from purescope.maths.cells import ABLATIONS
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import Projections
from purescope.maths.scores import TOWERS
from purescope.studies.sanity import VARIANT_DRAWS, variant_table
from purescope.studies.settings import SPACES, Options
from purescope.studies.sweeps import Measured, measure_strategies, sweep
from purescope.studies.synthetic import plant
from purescope.tables.schemas import VARIANTS

SEED, KEEP = 9, [4, 9, 16]
MADE = plant(1.0, neurons=24, images=120, classes=5, signal=0.3, seed=2)


def measure(projections: Projections | None = MADE.projections, **changes: Any) -> Measured:
    options = {"keep": KEEP, "draws": 19, "resamples": 20, "seed": SEED, **changes}
    return measure_strategies(MADE.features, projections, Options(**options))


def test_no_variant_is_missing() -> None:
    table = variant_table(measure())
    expected = [("as swept", ""), ("renormalise", "true")]
    for option, names, swept in (
        ("measure", MEASURES, "l1"),
        ("towers", TOWERS, "both"),
        ("space", SPACES, "weights"),
        ("ablation", ABLATIONS, "zero"),
    ):
        expected += [(option, name) for name in names if name != swept]
    assert list(table) == list(VARIANTS.columns)
    assert sorted(table[["option", "choice"]].itertuples(index=False, name=None)) == sorted(
        expected
    )


SWEPT = {"plainly": {}, "otherwise": {"measure": "l2", "towers": "z_sum", "space": "centred"}}


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("swept", SWEPT)
def test_every_variant_is_a_sweep_with_that_option(swept: str) -> None:
    options: dict[str, Any] = {"keep": KEEP, "resamples": 2, "seed": SEED, **SWEPT[swept]}
    measured = measure(**SWEPT[swept])
    for row in variant_table(measured).itertuples():
        other = row.option in ("ablation", "renormalise")
        changed = (
            {}
            if row.option == "as swept"
            else {str(row.option): True if row.choice == "true" else row.choice}
        )
        draws = VARIANT_DRAWS if other else 19
        table = sweep(MADE.features, MADE.projections, **{**options, "draws": draws, **changed})
        table = table[(table.metric == "accuracy") & (table.strategy != "full")]
        wide = table.pivot(index=["strategy", "draw"], columns="k", values="value")
        areas = pd.Series(np.trapezoid(wide, KEEP, axis=1) / (KEEP[-1] - KEEP[0]), index=wide.index)
        assert row.high == pytest.approx(areas["high_purity", 0])
        assert row.low == pytest.approx(areas["low_purity", 0])
        assert row.random == pytest.approx(areas["random"].mean())
        assert row.draws == draws
        random, high = areas["random"].round(9), round(areas["high_purity", 0], 9)
        assert row.percentile == pytest.approx(scipy.stats.percentileofscore(random, high, "mean"))
        extreme = min((random >= high).sum(), (random <= high).sum())
        assert row.permutation_p == pytest.approx(min(1, 2 * (1 + extreme) / (1 + draws)))


def test_the_first_variant_is_the_sweep_itself() -> None:
    for options in (
        {},
        {"ablation": "resample"},
        {"renormalise": True},
        {"measure": "pearson", "towers": "image"},
    ):
        measured = measure(**options)
        first = variant_table(measured).iloc[0]
        high, low = np.trapezoid(measured.values[:, :, 0], KEEP, axis=1) / (KEEP[-1] - KEEP[0])
        random = np.trapezoid(measured.draws[:, :, 0], KEEP, axis=1) / (KEEP[-1] - KEEP[0])
        assert (first.option, first.draws) == ("as swept", 19)
        assert (first.high, first.low, first.random) == pytest.approx((high, low, random.mean()))


def test_a_sweep_without_random_orders_has_variants_without_them() -> None:
    table = variant_table(measure(draws=0))
    evaluated = table.option.isin(["ablation", "renormalise"])
    assert (table.draws == np.where(evaluated, VARIANT_DRAWS, 0)).all()
    assert table[~evaluated][["random", "percentile", "permutation_p"]].isna().all(axis=None)
    assert table[evaluated][["random", "percentile", "permutation_p"]].notna().all(axis=None)


@pytest.mark.parametrize("space", ["activations", "centred"])
def test_a_model_without_weights_has_no_variant_of_them(space: str) -> None:
    variants = variant_table(measure(None, space=space))
    assert set(variants[variants.option == "space"].choice) == {*SPACES} - {space, "weights"}
