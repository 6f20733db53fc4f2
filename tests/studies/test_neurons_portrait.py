"""The tables of neurons and classes against their definitions, as loops."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from purescope.datasets.dataset import make_names_unique
from purescope.features.features import Features, unit_rows
from purescope.maths.accuracy import best_other_by_k, ranks_by_k
from purescope.maths.cells import ablation_values
from purescope.maths.leave_one_out import leave_one_out
from purescope.maths.overlaps import Projections, activation_space
from purescope.maths.strategies import order_neurons
from purescope.studies.importance import class_importance, neuron_importance
from purescope.studies.neurons import PORTRAIT, example_table, order_table, portrait, word_table
from purescope.studies.sanity import confusion_table
from purescope.studies.settings import Options
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.tables.files import check_table
from tests import oracles

NEURONS, IMAGES, CLASSES = 20, 60, 5
NAMES = ("ant", "bee", "cat", "dog", "elk")
OPTIONS = Options(keep=(3, 8, 15, 20), draws=3, resamples=10, seed=4)


def gaussian(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(seed: int = 0) -> Features:
    labels = torch.arange(IMAGES) % CLASSES
    text = unit_rows(gaussian(CLASSES, NEURONS, seed=seed))
    image = unit_rows(text[labels] + 0.4 * gaussian(IMAGES, NEURONS, seed=seed + 1))
    return Features(image, text, labels, NAMES, "clip", "animals")


def whole_numbers() -> Features:
    """Few different values: many logits are equal, at every k."""
    image, text = (
        gaussian(rows, NEURONS, seed=seed).round() for rows, seed in ((IMAGES, 5), (CLASSES, 6))
    )
    return Features(image, text, torch.arange(IMAGES) % CLASSES, NAMES, "clip", "ties")


PROJECTIONS = Projections(gaussian(NEURONS, 9, seed=2), gaussian(NEURONS, 7, seed=3))


def swept(
    features: Features,
    options: Options = OPTIONS,
    projections: Projections | None = PROJECTIONS,
) -> Measured:
    return measure_strategies(features, projections, options)


def matrix(confusions: pd.DataFrame, strategy: str, k: int) -> np.ndarray:
    rows = confusions[(confusions.strategy == strategy) & (confusions.k == k)]
    found = np.zeros((CLASSES, CLASSES), dtype=int)
    for truth, predicted, count in rows[["truth", "predicted", "count"]].itertuples(index=False):
        found[NAMES.index(truth), NAMES.index(predicted)] = count
    return found


# --- confusions


# Renormalised logits that should be equal differ by rounding, so ties are exact without it only.
@pytest.mark.parametrize(
    ("features", "renormalise"),
    [(made(), False), (made(), True), (whole_numbers(), False)],
    ids=["spread", "renormalised", "ties"],
)
def test_confusions_are_scikit_learn_s_of_the_masked_evaluation(
    features: Features, renormalise: bool
) -> None:
    features = replace(features, image=features.image.double(), text=features.text.double())
    measured = swept(features, replace(OPTIONS, renormalise=renormalise))
    confusions = portrait(measured)["confusions"]
    orders = {
        name: order_neurons(PROJECTIONS, name, seed=OPTIONS.seed)
        for name in ("high_purity", "low_purity", "random")
    }
    cells = [(name, k) for name in orders for k in measured.ks] + [("full", NEURONS)]
    for name, k in cells:
        kept = orders.get(name, torch.arange(NEURONS))[:k].tolist()
        predicted = [
            oracles.ranking(row, features.text.tolist(), kept, renormalise=renormalise)[0]
            for row in features.image.tolist()
        ]
        expected = confusion_matrix(features.labels, predicted, labels=range(CLASSES))
        np.testing.assert_array_equal(matrix(confusions, name, k), expected)
    assert set(confusions.groupby(["strategy", "k"]).groups) == set(cells)
    assert (confusions["count"] > 0).all()


@pytest.mark.parametrize("classes", [16, 182])
def test_confusions_of_more_pairs_of_classes_than_one_and_two_bytes_hold(classes: int) -> None:
    labels = torch.arange(2 * classes) % classes
    text = unit_rows(gaussian(classes, NEURONS, seed=7))
    image = unit_rows(text[labels] + 0.4 * gaussian(len(labels), NEURONS, seed=8))
    features = Features(image, text, labels)
    confusions = confusion_table(swept(features))
    rows = confusions[confusions.strategy == "full"]
    found = zip(*(rows[name] for name in ("truth", "predicted", "count")), strict=True)
    pairs = zip(labels.tolist(), (image @ text.T).argmax(1).tolist(), strict=True)
    expected = Counter((f"class {own}", f"class {taken}") for own, taken in pairs)
    assert {(own, taken): count for own, taken, count in found} == expected
    assert len(rows) > classes


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("features", [made(), whole_numbers()], ids=["spread", "ties"])
def test_the_diagonal_is_the_accuracy_of_the_results(features: Features, ablation: str) -> None:
    measured = swept(features, replace(OPTIONS, ablation=ablation))
    results = measured.table[(measured.table.metric == "accuracy") & (measured.table.draw == 0)]
    confusions = portrait(measured)["confusions"]
    assert len(results) == 3 * len(measured.ks) + 1
    for row in results.itertuples():
        found = matrix(confusions, row.strategy, row.k)
        assert np.trace(found) / IMAGES == row.value
        np.testing.assert_array_equal(found.sum(1), torch.bincount(features.labels).numpy())


def test_a_mistake_is_the_largest_logit_with_the_ablation_s_values() -> None:
    features = made()
    dropped = ablation_values(features.image, "mean")
    measured = swept(features, replace(OPTIONS, ablation="mean"))
    order = order_neurons(PROJECTIONS, "low_purity")
    masked = dropped.expand_as(features.image).clone()
    masked[:, order[:8]] = features.image[:, order[:8]]
    predicted = (masked.double() @ features.text.double().T).argmax(1)
    expected = confusion_matrix(features.labels, predicted, labels=range(CLASSES))
    np.testing.assert_array_equal(
        matrix(portrait(measured)["confusions"], "low_purity", 8), expected
    )


@given(st.data())
def test_who_is_wrong_is_taken_for_the_class_that_stands_first(data: st.DataObject) -> None:
    neurons, classes, images = (data.draw(st.integers(low, 6)) for low in (1, 2, 1))
    values = st.integers(-2, 2)
    draw = lambda rows: torch.tensor(  # noqa: E731
        data.draw(
            st.lists(
                st.lists(values, min_size=neurons, max_size=neurons), min_size=rows, max_size=rows
            )
        )
    ).double()
    image, text = draw(images), draw(classes)
    labels = torch.tensor(
        data.draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    )
    order, ks = (
        torch.tensor(data.draw(st.permutations(range(neurons)))),
        list(range(1, neurons + 1)),
    )
    others = best_other_by_k(image, text, labels, order, ks)[0]
    right = ranks_by_k(image, text, labels, order, ks)[0] == 0
    for at, k in enumerate(ks):
        for i, label in enumerate(labels.tolist()):
            ranked = oracles.ranking(image[i].tolist(), text.tolist(), order[:k].tolist())
            assert others[at, i] == next(c for c in ranked if c != label)
            assert right[at, i] == (ranked[0] == label)


def test_strategies_that_were_not_swept_and_bases_have_no_confusions() -> None:
    bare = portrait(swept(made(), replace(OPTIONS, strategies=("svd", "low_purity"), draws=0)))
    assert set(bare["confusions"].strategy) == {"full", "low_purity"}


def test_a_model_without_projections_is_shown_in_its_activations() -> None:
    tables = portrait(swept(made(), replace(OPTIONS, space="centred"), None))
    assert tables["importance"].total_overlap.isna().all()
    assert set(tables["confusions"].strategy) == {"full", "high_purity", "low_purity", "random"}


# --- importance


@pytest.mark.parametrize("ablation", ["zero", "resample"])
def test_importance_is_that_of_the_run_s_ablation_and_seed(ablation: str) -> None:
    features = replace(
        made(), labels=torch.arange(IMAGES) % (CLASSES - 1)
    )  # a class without images
    tables = portrait(swept(features, replace(OPTIONS, ablation=ablation)))
    expected = neuron_importance(features, PROJECTIONS, ablation=ablation, seed=OPTIONS.seed)
    pd.testing.assert_frame_equal(
        tables["importance"], expected, check_dtype=False, check_column_type=False, check_exact=True
    )
    classes = class_importance(features, ablation=ablation, seed=OPTIONS.seed)
    expected = classes[classes.recall_drop.abs() > 0].reset_index(drop=True)
    assert 0 < len(expected) < len(classes)
    pd.testing.assert_frame_equal(
        tables["class_importance"],
        expected,
        check_dtype=False,
        check_column_type=False,
        check_exact=True,
    )


# --- examples


@pytest.mark.parametrize("images", [3, 7, IMAGES])
@pytest.mark.parametrize("features", [made(), whole_numbers()], ids=["spread", "ties"])
def test_examples_are_the_first_and_the_last_in_order(features: Features, images: int) -> None:
    features = replace(features, image=features.image[:images], labels=features.labels[:images])
    table = example_table(features)
    expected = []
    for neuron, values in enumerate(features.image.T.tolist()):
        most = sorted(range(images), key=lambda i, values=values: (-values[i], i))[:5]
        least = sorted(range(images), key=lambda i, values=values: (values[i], i))[:5]
        for sign, ends in ((1, most), (-1, least)):
            for place, i in enumerate(ends, 1):
                name = NAMES[features.labels[i]]
                expected.append(
                    ("clip", features.dataset, neuron, sign * place, i, name, values[i])
                )
    assert list(table.itertuples(index=False, name=None)) == expected


# --- words


def test_words_stand_by_how_far_they_are_from_all_words() -> None:
    text = gaussian(11, 4, seed=8)
    text[:, 2] = 0.3  # tells no words apart
    text[6] = text[1]
    words = [*"abcdefghijk"]
    table = word_table(text, words, model="clip", dataset="letters")
    assert sorted(set(table.neuron)) == [0, 1, 3]
    for neuron in (0, 1, 3):
        values = text[:, neuron].double().tolist()
        mean = math.fsum(values) / len(values)
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
        best = sorted(range(11), key=lambda w, values=values: (-values[w], w))[:8]
        rows = table[table.neuron == neuron]
        assert rows.place.tolist() == list(range(1, 9))
        assert rows.word.tolist() == [words[w] for w in best]
        assert rows.score.tolist() == pytest.approx([(values[w] - mean) / spread for w in best])


# --- names


def test_classes_that_share_a_name_get_unique_names_in_every_table() -> None:
    assert make_names_unique(["a", "a", "a (2)", "a"]) == ("a", "a (3)", "a (2)", "a (4)")
    features = replace(made(), classes=("crane", "bee", "crane", "<b>", "&"))
    tables = portrait(swept(features))
    names = {"crane", "bee", "crane (2)", "<b>", "&"}
    for table, column in (("confusions", "truth"), ("examples", "class"), ("words", "word")):
        assert set(tables[table][column]) == names
    for schema in PORTRAIT:
        check_table(tables[schema.name], schema)


def test_orders_are_those_of_the_strategies() -> None:
    features = made()
    options = Options(
        keep=5,
        draws=1,
        resamples=10,
        seed=4,
        strategies=("low_purity", "importance", "svd", "first_k"),
    )
    table = order_table(swept(features, options))
    assert table.strategy.unique().tolist() == ["low_purity", "importance", "first_k"], (
        "a basis has no neurons to name"
    )
    for _, rows in table.groupby("strategy"):
        assert rows.place.tolist() == [*range(1, NEURONS + 1)] and sorted(rows.neuron) == [
            *range(NEURONS)
        ]
    expected = order_neurons(PROJECTIONS, "low_purity").tolist()
    assert table.neuron[table.strategy == "low_purity"].tolist() == expected
    assert table.neuron[table.strategy == "first_k"].tolist() == [*range(NEURONS)]
    alone = leave_one_out(features.image, features.text, features.labels).loss_change
    kept = table.neuron[table.strategy == "importance"].tolist()
    assert kept == alone.argsort(descending=True, stable=True).tolist(), "fitted on all images"


def test_orders_are_there_without_a_model_and_without_strategies() -> None:
    features = made()
    activations = swept(features, replace(OPTIONS, space="activations"), None)
    table = order_table(activations)
    expected = order_neurons(activation_space(features.image, features.text), "high_purity")
    assert table.neuron[table.strategy == "high_purity"].tolist() == expected.tolist()
    assert order_table(swept(features, replace(OPTIONS, strategies=()))).empty
