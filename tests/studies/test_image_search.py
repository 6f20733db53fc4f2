"""Metrics of images in a sweep, against scikit-learn on the features of a smaller model."""

import itertools
import warnings
from dataclasses import replace

import pandas as pd
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from purescope.errors import InputError
from purescope.features.captions import CaptionFeatures
from purescope.features.features import Features
from purescope.maths.bases import make_basis, rotate
from purescope.maths.cells import halves
from purescope.maths.intervals import wilson_interval
from purescope.maths.overlaps import Projections
from purescope.maths.strategies import order_neurons
from purescope.studies.bench import Bench
from purescope.studies.image_search import chance_of_precision, measure_images
from purescope.studies.retrieval_tables import (
    compare_retrieval,
    retrieval_curve_table,
    retrieval_share_table,
)
from purescope.studies.settings import Options
from purescope.studies.summed import Summed
from purescope.studies.sweeps import sweep
from purescope.tables.columns import AREA
from purescope.tables.metrics import OF_IMAGES
from purescope.tables.retrieval import IMAGE_COMPARISONS, IMAGE_CURVES

NEURONS, IMAGES, LABELS, KS = 12, 48, 4, [3, 7]
STRATEGIES = ("high_purity", "importance", "svd", "svd@2")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1)


def made(labels: Tensor) -> Features:
    text = torch.randn(LABELS, NEURONS, generator=generator(0))
    noise = torch.randn(len(labels), NEURONS, generator=generator(1))
    return Features(unit(text[labels] + 1.5 * noise), unit(text), labels, model="made")


FEATURES = made(torch.randint(LABELS, (IMAGES,), generator=generator(2)))
WEIGHTS = Projections(*torch.randn(2, NEURONS, 20, generator=generator(3)))
OPTIONS = Options(
    keep=KS, draws=3, resamples=80, strategies=STRATEGIES, metrics=("knn", "map", "probe")
)


@pytest.fixture(scope="session")
def searched() -> list[Summed]:
    return measure_images(Bench.make(FEATURES, WEIGHTS, OPTIONS))


def of_a_smaller_model(image: Tensor, kept: Tensor, *, scaled: bool = True) -> dict[str, list]:
    """Judge each image by scikit-learn: votes, average precision, and the probe."""
    rows, labels = unit(image.double())[:, kept], FEATURES.labels
    rows = unit(rows) if scaled else rows
    judged: dict[str, list] = {name: [] for name in OF_IMAGES}
    scores = rows @ rows.T
    for index in range(len(rows)):
        others = torch.arange(len(rows)) != index
        for n in (1, 5, 20):
            nearest = scores[index][others].argsort(descending=True)[:n]
            votes = labels[others][nearest].bincount(minlength=LABELS)
            judged[f"knn_accuracy@{n}"].append(float(votes.argmax() == labels[index]))
        same = labels[others] == labels[index]
        precision = average_precision_score(same.numpy(), scores[index][others].numpy())
        judged["mean_average_precision"].append(precision)
    fitted = halves(labels) == 0
    probe = RidgeClassifier(alpha=1.0).fit(rows[fitted].numpy(), labels[fitted].numpy())
    right = probe.predict(rows.numpy()) == labels.numpy()
    judged["linear_probe_accuracy"] = right.astype(float).tolist()
    return judged


def mean(judged: dict[str, list], metric: str, of: Tensor) -> float:
    of = of & (halves(FEATURES.labels) == 1) if metric == "linear_probe_accuracy" else of
    return float(torch.tensor(judged[metric], dtype=torch.float64)[of].mean())


ALL = torch.ones(IMAGES, dtype=torch.bool)


@pytest.mark.parametrize("scaled", [True, False])
def test_values_are_those_of_a_smaller_model(searched: list[Summed], scaled: bool) -> None:
    if not scaled:
        options = replace(OPTIONS, renormalise=False)
        searched = measure_images(Bench.make(FEATURES, WEIGHTS, options))
    table = pd.concat([one.table for one in searched])
    values = table[table.draw == 0].set_index(["strategy", "k", "metric"]).value
    assert (table.renormalise == scaled).all()
    data = Bench.make(FEATURES, WEIGHTS, OPTIONS).strategy_input
    everything = torch.arange(NEURONS)
    for strategy, k, image, kept in (
        ("high_purity", 3, FEATURES.image, order_neurons(WEIGHTS, "high_purity")[:3]),
        ("svd", 7, rotate(FEATURES.image, make_basis("svd", data)), everything[:7]),
        ("svd@2", 7, rotate(FEATURES.image, make_basis("svd", data)), everything[2:9]),
        ("random", 3, FEATURES.image, order_neurons(WEIGHTS, "random", seed=0)[:3]),
        ("full", NEURONS, FEATURES.image, everything),
    ):
        judged = of_a_smaller_model(image, kept, scaled=scaled)
        for metric in OF_IMAGES:
            expected = mean(judged, metric, ALL)
            assert values[strategy, k, metric] == pytest.approx(expected, abs=1e-6), metric


def test_votes_are_scikit_learns(searched: list[Summed]) -> None:
    rows = FEATURES.image[:, order_neurons(WEIGHTS, "high_purity")[:7]].numpy()
    right = searched[0].by_image[1, 0, 1]
    for index in range(IMAGES):
        others = torch.arange(IMAGES) != index
        model = KNeighborsClassifier(5, metric="cosine", algorithm="brute")
        model.fit(rows[others], FEATURES.labels[others].numpy())
        predicted = model.predict(rows[index : index + 1])[0]
        assert (predicted == FEATURES.labels[index]) == bool(right[index])


def test_a_strategy_that_uses_labels_is_judged_on_others(searched: list[Summed]) -> None:
    bench = Bench.make(FEATURES, WEIGHTS, OPTIONS)
    half, orders = halves(FEATURES.labels), bench.held_out_orders("importance")
    judged = [of_a_smaller_model(FEATURES.image, order[:3]) for order in orders]
    table = pd.concat([one.table for one in searched])
    table = table[(table.strategy == "importance") & (table.k == 3)].set_index("metric")
    for metric in OF_IMAGES:
        both = {metric: [judged[h][metric][i] for i, h in enumerate(half.tolist())]}
        assert table.value[metric] == pytest.approx(mean(both, metric, ALL), abs=1e-6), metric


def test_every_cell_has_a_row_and_an_interval(searched: list[Summed]) -> None:
    table = sweep(
        FEATURES, WEIGHTS, keep=KS, draws=3, resamples=80, strategies=STRATEGIES,
        metrics=OPTIONS.metrics,
    )  # fmt: skip
    alone = sweep(FEATURES, WEIGHTS, keep=KS, draws=3, resamples=80, strategies=STRATEGIES)
    assert pd.DataFrame(table.head(len(alone))).equals(pd.DataFrame(alone))
    more = table.iloc[len(alone) :]
    assert len(more) == len(OF_IMAGES) * (1 + (len(STRATEGIES) + 3) * len(KS))
    assert more.renormalise.all() and not alone.renormalise.any()
    assert (more.n == IMAGES).all() and (more.classes == LABELS).all()
    named = more[more.strategy != "random"]
    assert (named.low <= named.value + 1e-9).all() and (named.value <= named.high + 1e-9).all()
    assert more[more.strategy == "random"].low.isna().all()
    chance = more.groupby("metric").chance.first()
    assert chance["knn_accuracy@5"] == chance["linear_probe_accuracy"] == 1 / LABELS
    assert chance["mean_average_precision"] == chance_of_precision(FEATURES.labels)


def test_intervals_are_of_the_images_that_count() -> None:
    options = replace(OPTIONS, resamples=4000, draws=0, strategies=("high_purity",))
    for one in measure_images(Bench.make(FEATURES, WEIGHTS, options)):
        values = one.by_image[-1, 0, 0].double()
        within = torch.zeros(LABELS, dtype=torch.float64)
        for label in range(LABELS):
            own = values[one.groups == label]
            within[label] = own.var() * len(own) if len(own) > 1 else 0
        spread = within.sum().sqrt() / len(values)
        assert one.resampled[:, 0, 0, -1].std().item() == pytest.approx(spread.item(), rel=0.15)


def test_a_band_is_compared_with_its_basis(searched: list[Summed]) -> None:
    precision = searched[1]
    table = compare_retrieval(precision, IMAGE_COMPARISONS)
    rows = table[(table["first"] == "svd@2") & (table.second == "svd")]
    basis, band = (precision.values[STRATEGIES.index(name), :, 0] for name in ("svd", "svd@2"))
    assert rows.difference.tolist()[:-1] == pytest.approx((band - basis).tolist())
    assert rows.k.tolist() == [*map(str, KS), AREA]
    assert rows.paired_p.between(0, 1).all() and rows.percentile.isna().all()
    pairs = set(zip(table["first"], table.second, strict=True))
    assert pairs == {(name, "random") for name in STRATEGIES} | {("svd@2", "svd")}


def test_curves_and_shares_are_of_the_images_that_count(searched: list[Summed]) -> None:
    judged = halves(FEATURES.labels) == 1
    for one, images in zip(searched, (ALL, ALL, judged), strict=True):
        by_label = FEATURES.labels[images].argsort(stable=True)
        first, second = set(by_label[::2].tolist()), by_label[1::2].tolist()
        assert len(first) - len(second) in (0, 1) and not first & set(second)
        curves = retrieval_curve_table(one, IMAGE_CURVES)
        assert set(curves.strategy) == {*STRATEGIES, "random"}
        assert curves.area_first.between(0, 1).all() and curves.area_second.between(0, 1).all()
        shares = retrieval_share_table(one)
        half = torch.tensor([place not in first for place in range(len(by_label))]).long()
        for name, place in (("choose", 0), ("judge", 1)):
            rows = shares[(shares.half == name) & (shares.metric == one.metrics[-1])]
            assert (rows.n == int((half == place).sum())).all()
            values = one.by_image[-1, 0, 0, half == place].double()
            row = rows[(rows.strategy == "high_purity") & (rows.k == KS[0])]
            assert row.value.item() == pytest.approx(values.mean().item())


def test_only_some_random_orders_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("purescope.studies.image_search.SILHOUETTE_DRAWS", 2)
    monkeypatch.setattr("purescope.studies.image_search._BATCH_BYTES", 1)
    options = replace(OPTIONS, strategies=(), metrics=("probe",))
    (one,) = measure_images(Bench.make(FEATURES, WEIGHTS, options))
    assert len(one.draws) == 2 and one.by_image.shape[1] == 0
    mean_by_image = one.random_by_image.mean(-1)
    assert mean_by_image[0].tolist() == pytest.approx(one.draws[:, :, 0].mean(0).tolist())


def test_guessing_is_the_mean_over_all_rankings() -> None:
    for labels in ([0, 0, 1, 1], [0, 0, 0, 1, 2], [0, 0, 0, 0], [0, 0]):
        expected = []
        for index, label in enumerate(labels):
            same = [other == label for place, other in enumerate(labels) if place != index]
            if not any(same):
                continue
            for ranking in itertools.permutations(same):
                hits = [place for place, is_same in enumerate(ranking, 1) if is_same]
                expected.append(sum(n / place for n, place in enumerate(hits, 1)) / len(hits))
        images = [labels.count(label) > 1 for label in labels]
        assert len(expected) % sum(images) == 0
        chance = chance_of_precision(torch.tensor(labels))
        assert chance == pytest.approx(sum(expected) / len(expected))


def test_metrics_that_labels_do_not_admit_are_left_out() -> None:
    options = replace(OPTIONS, strategies=("high_purity",))
    lonely = made(torch.arange(LABELS))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        (votes,) = measure_images(Bench.make(lonely, WEIGHTS, options))
    assert [str(one.message).partition(":")[0] for one in told] == [
        "no mean_average_precision",
        "no linear_probe_accuracy",
    ]
    assert votes.metrics[0] == "knn_accuracy@1"
    assert retrieval_curve_table(votes, IMAGE_CURVES).area_second.between(0, 1).all()
    assert set(retrieval_share_table(votes).half) == {"choose", "judge"}
    some = made(torch.tensor([0, 0, 1, 1, 2]))
    few = measure_images(Bench.make(some, WEIGHTS, options))
    assert [len(one.groups) for one in few] == [5, 4, 2]
    for one in few:  # each label has one image that the probe is judged on
        assert retrieval_curve_table(one, IMAGE_CURVES).area_second.between(0, 1).all()


def test_what_cannot_be_measured_is_refused() -> None:
    captions = CaptionFeatures(FEATURES.image, FEATURES.image, torch.arange(IMAGES))
    with pytest.raises(InputError, match="the metric 'knn' for captions"):
        sweep(captions, WEIGHTS, metrics=["knn"])
    with pytest.raises(InputError, match=r"unknown metric 'mapp'(?s:.*)'map'"):
        Options(metrics=["mapp"])
    with pytest.raises(InputError, match="metrics knn, knn"):
        Options(metrics=["knn", "knn"])


def test_intervals_are_binomial_where_fewer_than_15_images_are_right_or_wrong(
    searched: list[Summed],
) -> None:
    votes = searched[0]
    values = (torch.tensor([14.0, 15.0, 33.0, 34.0], dtype=torch.float64) / IMAGES)[:, None]
    values = values.expand(-1, len(votes.metrics))
    resampled = torch.full((10, *values.shape), 0.5, dtype=torch.float64)
    low, high = votes._interval(resampled, values)
    ends = wilson_interval(values, IMAGES)
    for found, binomial in zip((low, high), ends, strict=True):
        assert found[1:3].eq(0.5).all() and found[[0, 3]].equal(binomial[[0, 3]])
