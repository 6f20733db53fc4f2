"""The sweep: which rows there are, and that each says what masking by the definition says."""

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.evaluation import accuracy_by_k
from purescope.features import Features
from purescope.ordering import STRATEGIES, default_keep
from purescope.purity import Projections
from purescope.statistics import wilson_interval
from purescope.sweep import sweep
from purescope.tables import COLUMNS, METRICS, check_table
from tests import oracles

NEURONS, CLASSES, IMAGES = 12, 6, 40
KEEP, DRAWS = [3, 7, 12], 4


def rows(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def make_features(labels: Tensor | None = None, **changes: Any) -> Features:
    if labels is None:
        labels = torch.randint(CLASSES, (IMAGES,), generator=torch.Generator().manual_seed(1))
    text = torch.nn.functional.normalize(rows(CLASSES, NEURONS, 2), dim=1)
    image = torch.nn.functional.normalize(rows(len(labels), NEURONS, 3) + 3 * text[labels], dim=1)
    names = tuple(f"class {c}" for c in range(CLASSES))
    fields = {"model": "CC3M LaCLIP", "dataset": "cifar10", "identity": {"protocol": "paper"}, **changes}
    return Features(image, text, labels, names, **fields)


FEATURES = make_features()
PROJECTIONS = Projections(rows(NEURONS, 9, 4), rows(NEURONS, 5, 5))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return sweep(FEATURES, PROJECTIONS, keep=KEEP, draws=DRAWS, seed=11)


def test_there_is_one_row_for_each_cell(table: pd.DataFrame) -> None:
    assert list(table) == list(COLUMNS)
    check_table(table)
    assert len(table) == (1 + (2 + DRAWS) * len(KEEP)) * len(METRICS)
    cells = set(table[["strategy", "draw", "k", "metric"]].itertuples(index=False, name=None))
    runs = [("full", 0, NEURONS)]
    runs += [(strategy, 0, k) for strategy in ("high_purity", "low_purity") for k in KEEP]
    runs += [("random", draw, k) for draw in range(DRAWS) for k in KEEP]
    assert cells == {(*run, metric) for run in runs for metric in METRICS}


def test_every_strategy_is_swept(table: pd.DataFrame) -> None:
    assert set(table.strategy) == {"full", *STRATEGIES}


@pytest.mark.parametrize("renormalise", [False, True])
def test_values_are_masking_by_the_definition(renormalise: bool) -> None:
    table = sweep(FEATURES, PROJECTIONS, keep=KEEP, draws=2, seed=11, renormalise=renormalise)
    image, text, labels = FEATURES.image.tolist(), FEATURES.text.tolist(), FEATURES.labels.tolist()
    totals = oracles.total_overlap(PROJECTIONS.image.tolist(), PROJECTIONS.text.tolist())
    orders = {
        ("full", 0): list(range(NEURONS)),
        ("high_purity", 0): oracles.order(totals),
        ("low_purity", 0): oracles.order(totals, largest=True),
        **{("random", draw): STRATEGIES["random"](PROJECTIONS, 11 + draw).tolist() for draw in range(2)},
    }
    for (strategy, draw, k), part in table.groupby(["strategy", "draw", "k"]):
        kept = orders[strategy, draw][:k]
        found = dict(zip(part.metric, part.value, strict=True))
        rankings = [oracles.ranking(row, text, kept, renormalise=renormalise) for row in image]
        accuracy = found["accuracy"], found["top5_accuracy"], found["mean_class_recall"]
        assert accuracy == pytest.approx(oracles.accuracy(rankings, labels), abs=1e-12)
        silhouettes = oracles.silhouette([oracles.masked(row, kept) for row in image], labels)
        assert found["silhouette"] == pytest.approx(math.fsum(silhouettes) / IMAGES, abs=1e-6)


def test_pruning_changes_the_numbers_that_are_compared(table: pd.DataFrame) -> None:
    # Else every test above could pass on a sweep that ignores its orders.
    at_three = table[(table.k == 3) & (table.metric == "accuracy")]
    assert at_three.value.nunique() > 2
    assert set(at_three.value) != set(table[(table.strategy == "full") & (table.metric == "accuracy")].value)


def test_full_is_every_strategy_at_full_width(table: pd.DataFrame) -> None:
    full = table[table.strategy == "full"].set_index("metric").value
    for _, part in table[(table.k == NEURONS) & (table.strategy != "full")].groupby(["strategy", "draw"]):
        np.testing.assert_allclose(part.set_index("metric").value[full.index], full, rtol=0, atol=1e-6)


def test_intervals_are_wilsons_and_of_counted_fractions_only(table: pd.DataFrame) -> None:
    counted = table[table.metric.isin(["accuracy", "top5_accuracy"])]
    low, high = wilson_interval(torch.tensor(counted.value.to_numpy()), IMAGES)
    assert counted.low.tolist() == low.tolist()
    assert counted.high.tolist() == high.tolist()
    assert table[~table.index.isin(counted.index)][["low", "high"]].isna().all(axis=None)


def test_every_row_says_what_it_was_measured_on(table: pd.DataFrame) -> None:
    said = {"model": "CC3M LaCLIP", "dataset": "cifar10", "n": IMAGES, "classes": CLASSES, "neurons": NEURONS}
    for column, expected in (said | {"renormalise": False, "protocol": "paper"}).items():
        assert set(table[column]) == {expected}
    assert (table.seed == 11 + table.draw).all()
    assert sweep(FEATURES, PROJECTIONS, keep=3, draws=0, renormalise=True).renormalise.all()


def test_the_same_seed_gives_the_same_table(table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(sweep(FEATURES, PROJECTIONS, keep=reversed(KEEP), draws=DRAWS, seed=11), table)


def test_a_draw_depends_on_its_seed_alone(table: pd.DataFrame) -> None:
    # Draw 2 of seed 11 is draw 0 of seed 13: a run can be continued.
    later = sweep(FEATURES, PROJECTIONS, keep=KEEP, draws=1, seed=13)
    drawn = table[(table.strategy == "random") & (table.draw == 2)]
    # Alike but for rounding: how many orders share a matrix product changes the last digits of a float32 silhouette.
    assert later[later.strategy == "random"].value.tolist() == pytest.approx(drawn.value.tolist(), abs=1e-7)
    assert drawn.value.tolist() != table[(table.strategy == "random") & (table.draw == 1)].value.tolist()


def test_no_draws_are_no_random_rows() -> None:
    table = sweep(FEATURES, PROJECTIONS, keep=KEEP, draws=0)
    assert set(table.strategy) == {"full", "high_purity", "low_purity"}


def test_the_ks_are_the_experiments_unless_given() -> None:
    table = sweep(FEATURES, PROJECTIONS, draws=0)
    assert sorted(set(table[table.strategy != "full"].k)) == default_keep(NEURONS)


@pytest.mark.parametrize("labels", [torch.arange(CLASSES), torch.zeros(5, dtype=torch.int64)])
def test_labels_without_a_silhouette_leave_it_out_with_one_warning(labels: Tensor) -> None:
    features = make_features(labels)
    with pytest.warns(UserWarning, match="no silhouette: it needs two classes") as caught:
        table = sweep(features, PROJECTIONS, keep=KEEP, draws=1)
    assert len(caught) == 1
    assert table[table.metric == "silhouette"].value.isna().all()
    assert table[table.metric != "silhouette"].value.notna().all()


@pytest.mark.parametrize("seed", [0, 5])
def test_dead_neurons_are_warned_of_once(seed: int) -> None:
    image = PROJECTIONS.image.clone()
    image[3] = 0
    with pytest.warns(UserWarning, match="1 of 12 neurons have norm zero") as caught:
        sweep(FEATURES, Projections(image, PROJECTIONS.text), keep=KEEP, draws=3, seed=seed)
    assert len(caught) == 1


def test_nothing_is_warned_of_otherwise() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep(FEATURES, PROJECTIONS, keep=KEEP, draws=2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": 0}, "k = 0 neurons to keep\n.*from 1 to 12"),
        ({"keep": [3, 13]}, "k = 13 neurons"),
        ({"keep": 2.5}, r"k = 2\.5 neurons"),
        ({"keep": "3"}, "k = '3' neurons"),
        ({"keep": []}, "no k to evaluate"),
        ({"draws": -1}, "draws = -1\n.*0 or more"),
        ({"draws": 2.5}, r"draws = 2\.5\n.*0 or more"),
        ({"draws": True}, r"draws = True\n.*0 or more"),
        (
            {"projections": Projections(rows(9, 3, 0), rows(9, 3, 1))},
            "features of 12 neurons, projections of 9\n.*one model",
        ),
        ({"projections": None}, "features of 12 neurons, no projections\n.*\n.*space='activations'"),
        ({"space": "activation"}, "did you mean 'activations'"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sweep(**{"features": FEATURES, "projections": PROJECTIONS, "keep": KEEP, "draws": 1, **changes})


@pytest.mark.parametrize("space", ["activations", "centred"])
def test_neurons_are_ranked_in_the_space_asked_for(space: str) -> None:
    """The order from numpy's cosines of columns, or its correlations; the values those of that order in any space."""
    totals = np.zeros(12)
    for rows_of_tower in (FEATURES.image, FEATURES.text):
        columns = rows_of_tower.double().numpy().T
        if space == "centred":
            cosines = np.corrcoef(columns)
        else:
            unit = columns / np.linalg.norm(columns, axis=1, keepdims=True)
            cosines = unit @ unit.T
        totals += np.abs(cosines).sum(axis=1) - 1
    order = torch.from_numpy(np.argsort(totals, kind="stable").copy())
    table = sweep(FEATURES, keep=KEEP, draws=1, space=space)
    assert set(table.space) == {space}
    cells = table[(table.strategy == "high_purity") & (table.metric == "accuracy")].sort_values("k")
    expected = accuracy_by_k(FEATURES.image, FEATURES.text, FEATURES.labels, order, cells.k.tolist()).top1
    assert cells.value.tolist() == expected[0].tolist()
