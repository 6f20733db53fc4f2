"""Comparisons, curves and shares of retrieval, against counts by hand and the tests of classes."""

import pandas as pd
import pytest
import torch
from scipy.stats import binomtest

from purescope.maths.cells import mean_over_k
from purescope.maths.shares import share_interval
from purescope.studies.retrieval import MeasuredRetrieval, measure_retrieval
from purescope.studies.retrieval_tables import (
    adjust_retrieval,
    compare_retrieval,
    retrieval_curve_table,
    retrieval_share_table,
)
from purescope.studies.settings import Options
from purescope.tables.columns import AREA
from purescope.tables.metrics import RETRIEVAL_METRICS, SHOWN
from tests.studies.test_retrieval import IMAGES, KS, OPTIONS, SEVERAL, SINGLE, WEIGHTS

IMAGE, TEXT = (RETRIEVAL_METRICS.index(name) for name in SHOWN)
NAMES = ["high_purity", "low_purity", "svd", "random"]


@pytest.fixture(scope="module")
def measured() -> MeasuredRetrieval:
    return measure_retrieval(SEVERAL, WEIGHTS, OPTIONS)


@pytest.fixture(scope="module")
def shares(measured: MeasuredRetrieval) -> pd.DataFrame:
    return retrieval_share_table(measured)


def test_differences_are_those_of_the_values(measured: MeasuredRetrieval) -> None:
    table = compare_retrieval(measured)
    assert len(table) == len(RETRIEVAL_METRICS) * 4 * (len(KS) + 1)
    random = measured.draws[:, :, IMAGE]
    rows = table[(table.metric == SHOWN[0]) & (table.second == "random")]
    for strategy, own in rows.groupby("first"):
        values = measured.values[measured.strategies.index(str(strategy)), :, IMAGE]
        differences = (values - random.mean(0)).tolist()
        assert own.difference.tolist()[:-1] == pytest.approx(differences)
        area = mean_over_k(values, KS) - mean_over_k(random, KS).mean()
        assert own[own.k == AREA].difference.item() == pytest.approx(area.item())
        at_least = (random[:, 0] >= values[0]).sum().item()
        at_most = (random[:, 0] <= values[0]).sum().item()
        p = min(1, 2 * (1 + min(at_least, at_most)) / 5)
        assert own.permutation_p.iloc[0] == pytest.approx(p)
    assert rows.low.le(rows.difference + 1e-9).all() and rows.draws.eq(4).all()


def test_right_and_wrong_images_are_compared_exactly(measured: MeasuredRetrieval) -> None:
    table = compare_retrieval(measured)
    ends = table[(table["first"] == "high_purity") & (table.second == "low_purity")]
    for place in range(len(KS)):
        high, low = (measured.by_image[TEXT, strategy, place] > 0 for strategy in (0, 1))
        only_high, only_low = int((high & ~low).sum()), int((low & ~high).sum())
        p = binomtest(only_high, only_high + only_low).pvalue if only_high + only_low else 1.0
        row = ends[(ends.metric == SHOWN[1]) & (ends.k == str(KS[place]))]
        assert row.paired_p.item() == pytest.approx(p)
    # An image with several captions is not right or wrong: the bootstrap has its p-values.
    several = ends[ends.metric == SHOWN[0]]
    assert several.paired_p.between(0, 1).all()
    single = measure_retrieval(SINGLE, WEIGHTS, OPTIONS)
    high, low = (single.by_image[IMAGE, strategy, 0] > 0 for strategy in (0, 1))
    only_high, only_low = int((high & ~low).sum()), int((low & ~high).sum())
    table = compare_retrieval(single)
    row = table[(table["first"] == "high_purity") & (table.second == "low_purity")]
    row = row[(row.metric == SHOWN[0]) & (row.k == str(KS[0]))]
    expected = binomtest(only_high, only_high + only_low).pvalue
    assert row.paired_p.item() == pytest.approx(expected)


def test_p_values_are_adjusted_over_datasets(measured: MeasuredRetrieval) -> None:
    table = compare_retrieval(measured)
    table = table[table.second == "random"]
    both = adjust_retrieval(pd.concat([table, table.assign(dataset="other")]))
    one = table[table.k == AREA].permutation_p
    two = both[(both.k == AREA) & (both.dataset == "captions")].permutation_holm
    assert two.tolist() == pytest.approx([min(1.0, 2 * p) for p in one])


def test_curves_are_described(measured: MeasuredRetrieval) -> None:
    table = retrieval_curve_table(measured)
    assert table.groupby("metric").strategy.apply(list).map(lambda own: own == NAMES).all()
    row = table[(table.metric == SHOWN[0]) & (table.strategy == "svd")].iloc[0]
    values = measured.values[2, :, IMAGE]
    assert row.area == pytest.approx(mean_over_k(values, KS).item())
    assert row.area_low <= row.area <= row.area_high
    assert row.half == 6 and row.kept == pytest.approx((values[1] / measured.full[IMAGE]).item())
    counts, sums = measured.bench.counts[IMAGE], measured.by_image[IMAGE, 2].double()
    first = [sums[place, ::2].sum() / counts[::2].sum() for place in range(len(KS))]
    assert row.area_first == pytest.approx(float(sum(first)) / 2)
    assert (table.needed_low <= table.needed).all() and (table.needed <= table.needed_high).all()


def test_shares_of_right_and_wrong_images_are_exact(
    measured: MeasuredRetrieval, shares: pd.DataFrame
) -> None:
    rows = shares[(shares.metric == SHOWN[1]) & (shares.half == "judge")]
    full = measured.full_by_image[TEXT, 1::2] > 0
    for place, k in enumerate(KS):
        right = measured.by_image[TEXT, 0, place, 1::2] > 0
        row = rows[(rows.strategy == "high_purity") & (rows.k == k)].iloc[0]
        counts = (right.sum(), (right & full).sum(), full.sum())
        low, high = share_interval(*counts)
        assert row.share == pytest.approx(float(counts[0] / counts[2]))
        assert (row.low, row.high) == (low.item(), high.item())
        random = measured.random_by_image[TEXT, place, 1::2]
        differences = right.double() - random
        assert row.over_random == pytest.approx(differences.mean().item())
        error = 1.96 * differences.std().item() / len(full) ** 0.5
        assert row.over_random_high - row.over_random == pytest.approx(error, rel=1e-3)
    assert (rows.n == IMAGES // 2).all() and (rows.neurons == 12).all()


def test_shares_of_captions_are_ratios_of_sums(
    measured: MeasuredRetrieval, shares: pd.DataFrame
) -> None:
    rows = shares[(shares.metric == SHOWN[0]) & (shares.half == "choose")]
    counts, full = (
        rows_of[::2].double()
        for rows_of in (measured.bench.counts[IMAGE], measured.full_by_image[IMAGE])
    )
    for strategy, place in (("svd", 2), ("high_purity", 0)):
        row = rows[(rows.strategy == strategy) & (rows.k == KS[0])].iloc[0]
        kept = measured.by_image[IMAGE, place, 0, ::2].double()
        assert row.value == pytest.approx((kept.sum() / counts.sum()).item())
        assert row.full == pytest.approx((full.sum() / counts.sum()).item())
        assert row.share == pytest.approx((kept.sum() / full.sum()).item())
        assert row.low < row.share < row.high
    random = rows[(rows.strategy == "random") & (rows.k == KS[0])].iloc[0]
    mean = measured.random_by_image[IMAGE, 0, ::2].sum() / full.sum()
    assert random.share == pytest.approx(mean.item()) and pd.isna(random.over_random)


def test_where_nothing_is_lost_the_share_is_not_certain() -> None:
    options = Options(keep=[12], draws=0, resamples=5, strategies=("high_purity",))
    table = retrieval_share_table(measure_retrieval(SEVERAL, WEIGHTS, options))
    assert (table.share == 1).all() and table.over_random.isna().all()
    assert (table.low < 0.99).all() and (table.high > 1.01).all()


def test_without_random_orders_there_is_less_to_compare() -> None:
    options = Options(keep=KS, draws=0, resamples=10, strategies=("high_purity",))
    measured = measure_retrieval(SEVERAL, WEIGHTS, options)
    assert compare_retrieval(measured).empty
    assert set(retrieval_curve_table(measured).strategy) == {"high_purity"}
    assert torch.isnan(torch.tensor(retrieval_share_table(measured).over_random.tolist())).all()
