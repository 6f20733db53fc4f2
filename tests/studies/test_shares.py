"""Shares of the accuracy on each half of the images, against a count by hand."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from purescope.maths.cells import halves
from purescope.maths.shares import share_interval
from purescope.studies import swept
from purescope.studies.comparisons import curve_table
from purescope.studies.importance import drop_interval
from purescope.studies.settings import Options
from purescope.studies.shares import share_table
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.studies.synthetic import plant

PLANTED = plant(effect=0.5, neurons=16, images=61, classes=3)


def measure(draws: int) -> Measured:
    options = Options(keep=[4, 8], strategies=("high_purity", "svd"), draws=draws, resamples=10)
    return measure_strategies(PLANTED.features, PLANTED.projections, options)


def test_each_half_is_counted_by_itself() -> None:
    measured = measure(draws=3)
    table = share_table(measured)
    half = halves(PLANTED.features.labels)
    assert len(table) == 2 * 3 * 2 and set(table.strategy) == {"high_purity", "svd", "random"}
    for place, name in enumerate(("choose", "judge")):
        inside = half == place
        full = measured.full_right[inside]
        rows = table[(table.half == name) & (table.strategy == "svd")]
        for row, k in zip(rows.itertuples(), (4, 8), strict=True):
            right = measured.right[1, measured.ks.index(k)][inside]
            kept, both, all_right = int(right.sum()), int((right & full).sum()), int(full.sum())
            assert (row.k, row.n, row.neurons) == (k, int(inside.sum()), 16)
            assert row.value == pytest.approx(kept / row.n)
            assert row.full == pytest.approx(all_right / row.n)
            assert row.share == pytest.approx(kept / all_right)
            low, high = share_interval(*map(torch.tensor, (kept, both, all_right)))
            assert (row.low, row.high) == (low.item(), high.item())
            random = measured.rightness("random")[measured.ks.index(k)][inside]
            differences = right.double() - random
            assert row.over_random == pytest.approx(differences.mean().item())
            spread = 1.96 * differences.std().item() / row.n**0.5
            assert row.over_random_high - row.over_random == pytest.approx(spread, rel=1e-3)


def test_raw_truncation_is_compared_image_by_image() -> None:
    options = Options(keep=[4, 8], strategies=("svd", "first_k"), draws=2, resamples=10)
    measured = measure_strategies(PLANTED.features, PLANTED.projections, options)
    table = share_table(measured)
    inside = halves(PLANTED.features.labels) == 1
    judged = table[table.half == "judge"].set_index(["strategy", "k"])
    for place, k in enumerate((4, 8)):
        ours, raw = (measured.right[number, place][inside] for number in (0, 1))
        better, worse = (ours & ~raw).sum(), (raw & ~ours).sum()
        images = int(inside.sum())
        row = judged.loc["svd", k]
        assert row.over_first_k == pytest.approx((better - worse).item() / images)
        low, high = drop_interval(better, worse, images)
        ends = (row.over_first_k_low, row.over_first_k_high)
        assert ends == pytest.approx((low.item(), high.item()))
    # Neither is anything over itself, and random orders are no choice.
    assert judged.loc[["first_k", "random"]].over_first_k.isna().all()
    assert judged.loc["first_k"].over_random.notna().all()
    assert share_table(measure(draws=3)).over_first_k.isna().all()


def test_no_changed_image_is_no_proof_that_nothing_differs() -> None:
    """Of two orders that keep the same neurons, the difference is 0, but not for certain."""
    order = torch.arange(16)
    options = Options(keep=[8], strategies=("first_k",), orders={"mine": order}, draws=0)
    measured = measure_strategies(PLANTED.features, PLANTED.projections, options)
    rows = share_table(measured)
    mine = rows[rows.strategy == "mine"]
    assert (mine.over_first_k == 0).all()
    assert (mine.over_first_k_low < -0.05).all() and (mine.over_first_k_high > 0.05).all()


def test_random_orders_have_a_mean_share() -> None:
    measured = measure(draws=3)
    table = share_table(measured)
    inside = halves(PLANTED.features.labels) == 1
    rows = table[(table.half == "judge") & (table.strategy == "random")]
    shares = measured.rightness("random")[:, inside].sum(1) / measured.full_right[inside].sum()
    assert rows.share.tolist() == pytest.approx(shares.tolist())
    assert rows.over_random.isna().all() and (rows.low < rows.share).all()


def test_without_random_orders_there_is_nothing_to_be_over() -> None:
    table = share_table(measure(draws=0))
    assert "random" not in set(table.strategy) and table.over_random.isna().all()


def test_some_ks_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = measure(draws=3)
    tables = share_table(measured), curve_table(measured)
    monkeypatch.setattr(swept, "_BLOCK", 61)
    assert [len(measured.ks[some]) for some in measured.some_ks] == [1] * len(measured.ks)
    for table, whole in zip((share_table(measured), curve_table(measured)), tables, strict=True):
        pd.testing.assert_frame_equal(table, whole, rtol=1e-12)


def test_classes_of_one_image_have_two_halves() -> None:
    """As where each picture is a class, by its name."""
    planted = plant(effect=0.5, neurons=16, images=5, classes=5)
    features = replace(planted.features, labels=torch.arange(5))
    options = Options(keep=[4, 8], strategies=("svd",), draws=2, resamples=10)
    with pytest.warns(UserWarning, match="no silhouette"):
        table = share_table(measure_strategies(features, planted.projections, options))
    assert table.groupby("half").n.first().to_dict() == {"choose": 3, "judge": 2}
