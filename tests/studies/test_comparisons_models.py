"""Two models on the same images: each row against the plain computation, and what pairs them."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k
from purescope.maths.overlaps import Projections, overlap, random_overlap
from purescope.maths.strategies import order_neurons
from purescope.studies.comparisons import adjust_models, compare_models, compare_purity
from purescope.studies.settings import Options
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.studies.synthetic import Planted, plant

KS, NEURONS = (16, 32, 48), 64
OPTIONS = Options(keep=KS, draws=5, resamples=400)


def measured(planted: Planted, model: str, options: Options = OPTIONS, **changes: Any) -> Measured:
    fields = {"model": model, "dataset": "shapes", **changes}
    kept = {
        name: getattr(planted.features, name) for name in ("image", "text", "labels", "classes")
    }
    return measure_strategies(Features(**{**kept, **fields}), planted.projections, options)


FIRST, SECOND = plant(1.0, images=120, seed=1), plant(0.0, images=120, signal=0.15, seed=2)


@pytest.fixture(scope="module")
def pair() -> tuple[Measured, Measured]:
    return measured(FIRST, "one"), measured(SECOND, "two")


@pytest.fixture(scope="module")
def table(pair: tuple[Measured, Measured]) -> pd.DataFrame:
    return compare_models(*pair)


def right(planted: Planted, strategy: str, k: int) -> np.ndarray[Any, Any]:
    order, features = order_neurons(planted.projections, strategy), planted.features
    logits = (features.image[:, order[:k]] @ features.text[:, order[:k]].T).numpy()
    return np.asarray(logits.argmax(1) == features.labels.numpy())


def row(table: pd.DataFrame, *key: str) -> pd.Series:
    return table.set_index(["strategy", "k", "metric"]).loc[[key]].iloc[0]


@pytest.mark.parametrize("strategy", ["high_purity", "low_purity"])
@pytest.mark.parametrize("k", KS)
def test_each_k_is_mcnemars_test_of_the_images_that_one_gets_right(
    table: pd.DataFrame, strategy: str, k: int
) -> None:
    one, two = right(FIRST, strategy, k), right(SECOND, strategy, k)
    found = row(table, strategy, str(k), "accuracy")
    assert found.first_value == pytest.approx(one.mean(), abs=1e-12)
    assert found.second_value == pytest.approx(two.mean(), abs=1e-12)
    assert found.difference == pytest.approx(one.mean() - two.mean(), abs=1e-12)
    only_one, only_two = int((one & ~two).sum()), int((two & ~one).sum())
    expected = (
        scipy.stats.binomtest(only_one, only_one + only_two).pvalue if only_one + only_two else 1.0
    )
    assert found.p == pytest.approx(expected, rel=1e-9)
    assert found.low <= found.difference <= found.high


def test_areas_and_gap_are_those_of_the_curves(table: pd.DataFrame) -> None:
    areas = {}
    for name, planted in (("first", FIRST), ("second", SECOND)):
        for strategy in ("high_purity", "low_purity"):
            curve = [right(planted, strategy, k).mean() for k in KS]
            areas[name, strategy] = np.trapezoid(curve, KS) / (KS[-1] - KS[0])
    for strategy in ("high_purity", "low_purity"):
        found = row(table, strategy, "area", "accuracy")
        assert (found.first_value, found.second_value) == pytest.approx(
            (areas["first", strategy], areas["second", strategy])
        )
    gap = row(table, "gap", "area", "accuracy")
    expected = [
        areas[name, "high_purity"] - areas[name, "low_purity"] for name in ("first", "second")
    ]
    assert (gap.first_value, gap.second_value) == pytest.approx(expected)
    assert gap.p < 0.05, "one was planted to carry by purity, the other not"


def test_the_full_embedding_is_compared_in_every_metric(table: pd.DataFrame) -> None:
    everything = torch.arange(NEURONS)
    for planted, column in ((FIRST, "first_value"), (SECOND, "second_value")):
        features = planted.features
        found = accuracy_by_k(features.image, features.text, features.labels, everything, [NEURONS])
        for metric, value in (
            ("accuracy", found.top1),
            ("top5_accuracy", found.top5),
            ("mean_class_recall", found.recall),
        ):
            assert row(table, "full", "all", metric)[column] == pytest.approx(
                value.item(), abs=1e-9
            )
    assert not np.isnan(row(table, "full", "all", "silhouette").difference)


def test_a_model_and_itself_do_not_differ(pair: tuple[Measured, Measured]) -> None:
    table = compare_models(pair[0], measured(FIRST, "again"))
    assert (table.difference == 0).all()
    assert (table[["low", "high"]] == 0).all(axis=None), "both are resampled alike"
    assert (table.p == 1).all()


def test_models_swept_at_other_ks_are_compared_by_areas() -> None:
    others = measured(SECOND, "two", Options(keep=(20, 40), draws=2, resamples=50))
    table = compare_models(measured(FIRST, "one", Options(keep=KS, draws=2, resamples=50)), others)
    assert set(table.k) == {"all", "area"}


def test_labels_without_a_silhouette_are_compared_in_the_rest() -> None:
    lonely = plant(1.0, images=10, classes=10, seed=3)
    options = Options(keep=KS, draws=1, resamples=20)
    with pytest.warns(UserWarning, match="no silhouette"):
        table = compare_models(measured(lonely, "one", options), measured(lonely, "two", options))
    assert "silhouette" not in set(table.metric)
    assert "accuracy" in set(table.metric)


def test_other_images_are_refused(pair: tuple[Measured, Measured]) -> None:
    with pytest.raises(InputError, match=r"two on others, 120 images\n.*the same images"):
        compare_models(pair[0], measured(SECOND, "two", dataset="others"))
    fewer = plant(0.0, images=110, seed=2)
    with pytest.raises(InputError, match="110 images"):
        compare_models(pair[0], measured(fewer, "two"))


def test_p_values_are_adjusted_over_the_data_sets(table: pd.DataFrame) -> None:
    three = pd.concat([table.assign(dataset=name) for name in ("a", "b", "c")], ignore_index=True)
    adjusted = adjust_models(three)
    expected = (3 * three.p).clip(upper=1)
    assert adjusted.p_holm.tolist() == pytest.approx(expected.tolist())
    assert table.p_holm.tolist() == pytest.approx(table.p.tolist()), "one data set is one test"


def test_purity_is_compared_over_the_neurons_of_each() -> None:
    one, two = FIRST.projections, SECOND.projections
    mixed = Projections(one.image + 2, one.text)
    table = compare_purity(("one", one), ("mixed", mixed), resamples=2000).set_index("metric")
    chance = random_overlap(one.image.shape[1])
    values, others = overlap(one.image).numpy() / chance, overlap(mixed.image).numpy() / chance
    image, text = (table.loc[f"{tower}_relative_overlap"] for tower in ("image", "text"))
    assert image.difference == pytest.approx(values.mean() - others.mean())
    assert image.p < 0.01
    error = 2 * np.sqrt(values.var(ddof=1) / len(values) + others.var(ddof=1) / len(others))
    assert image.high - image.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert text.difference == 0
    assert text.low < 0 < text.high, "neurons are resampled apart"
    assert set(compare_purity(("one", one), ("two", two), resamples=50).dataset) == {"all"}


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_overlaps_of_models_drawn_alike_differ_as_often_as_5_percent() -> None:
    """Also of two widths, and with a direction that all neurons share by chance: the pairs are not
    independent.
    """

    def drawn(seed: int, width: int) -> Projections:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(48, width, generator=generator) + 0.3 * torch.randn(
            48, 1, generator=generator
        )
        return Projections(rows, rows)

    counts = Counter[bool]()
    for seed in range(250):
        pair = ("a", drawn(seed, 64)), ("b", drawn(10_000 + seed, 64))
        counts[bool(compare_purity(*pair, resamples=400, seed=seed).p.iloc[0] <= 0.05)] += 1
    assert 0.02 <= counts[True] / 250 <= 0.08, counts
