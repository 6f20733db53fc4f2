"""The sweep: which rows there are, and that each says what masking by the definition says."""

import dataclasses
import inspect
import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k, ranks_by_k
from purescope.maths.bases import BASES
from purescope.maths.cells import ablation_values, default_keep, halves
from purescope.maths.intervals import bootstrap_means, mean_recall_interval, wilson_interval
from purescope.maths.overlaps import Projections
from purescope.maths.scores import StrategyInput
from purescope.maths.strategies import STRATEGIES, order_neurons
from purescope.studies.settings import Options
from purescope.studies.sweeps import Measured, measure_strategies, sweep
from purescope.tables.columns import METRICS
from purescope.tables.files import check_table
from purescope.tables.schemas import RESULTS
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
    fields = {
        "model": "CC3M LaCLIP",
        "dataset": "cifar10",
        "identity": {"protocol": "paper"},
        **changes,
    }
    return Features(image, text, labels, names, **fields)


FEATURES = make_features()
PROJECTIONS = Projections(rows(NEURONS, 9, 4), rows(NEURONS, 5, 5))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return sweep(FEATURES, PROJECTIONS, keep=KEEP, draws=DRAWS, seed=11, resamples=2000)


def test_there_is_one_row_for_each_cell(table: pd.DataFrame) -> None:
    assert list(table) == list(RESULTS.columns)
    check_table(table)
    assert len(table) == (1 + (2 + DRAWS) * len(KEEP)) * len(METRICS)
    cells = set(table[["strategy", "draw", "k", "metric"]].itertuples(index=False, name=None))
    runs = [("full", 0, NEURONS)]
    runs += [(strategy, 0, k) for strategy in ("high_purity", "low_purity") for k in KEEP]
    runs += [("random", draw, k) for draw in range(DRAWS) for k in KEEP]
    assert cells == {(*run, metric) for run in runs for metric in METRICS}


@pytest.mark.parametrize("renormalise", [False, True])
def test_values_are_masking_by_the_definition(renormalise: bool) -> None:
    table = sweep(
        FEATURES, PROJECTIONS, keep=KEEP, draws=2, seed=11, renormalise=renormalise, resamples=50
    )
    image, text, labels = FEATURES.image.tolist(), FEATURES.text.tolist(), FEATURES.labels.tolist()
    totals = oracles.total_overlap(PROJECTIONS.image.tolist(), PROJECTIONS.text.tolist())
    orders = {
        ("full", 0): list(range(NEURONS)),
        ("high_purity", 0): oracles.order(totals),
        ("low_purity", 0): oracles.order(totals, largest=True),
        **{
            ("random", draw): order_neurons(PROJECTIONS, "random", seed=11 + draw).tolist()
            for draw in range(2)
        },
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
    assert set(at_three.value) != set(
        table[(table.strategy == "full") & (table.metric == "accuracy")].value
    )


def test_full_is_every_strategy_at_full_width(table: pd.DataFrame) -> None:
    full = table[table.strategy == "full"].set_index("metric").value
    for _, part in table[(table.k == NEURONS) & (table.strategy != "full")].groupby(
        ["strategy", "draw"]
    ):
        np.testing.assert_allclose(
            part.set_index("metric").value[full.index], full, rtol=0, atol=1e-6
        )


def test_binomial_intervals_are_wilsons_and_of_counted_fractions_only(table: pd.DataFrame) -> None:
    counted = table[table.metric.isin(["accuracy", "top5_accuracy"])]
    low, high = wilson_interval(torch.tensor(counted.value.to_numpy()), IMAGES)
    assert counted.binomial_low.tolist() == low.tolist()
    assert counted.binomial_high.tolist() == high.tolist()
    others = table[~table.index.isin(counted.index)]
    assert others[["binomial_low", "binomial_high"]].isna().all(axis=None)


def test_intervals_are_of_the_bootstrap_over_images(table: pd.DataFrame) -> None:
    """Against the metric itself on resampled images, and absent from random orders."""
    drawn = table.strategy == "random"
    assert table[drawn][["low", "high"]].isna().all(axis=None)
    assert table[~drawn][["low", "high"]].notna().all(axis=None)
    assert ((table.low <= table.value) & (table.value <= table.high))[~drawn].all()
    cell = table[(table.strategy == "high_purity") & (table.k == 7)].set_index("metric")
    kept = order_neurons(PROJECTIONS)
    right = (
        ranks_by_k(FEATURES.image, FEATURES.text, FEATURES.labels, kept, [7])[0, 0] == 0
    ).double()
    of_class = [right[FEATURES.labels == c] for c in range(CLASSES)]
    # The standard error of a stratified mean, by the textbook, and of the mean over classes.
    share = [(len(members) / IMAGES) ** 2 for members in of_class]
    variances = [members.var().item() / len(members) for members in of_class]
    error = math.sqrt(sum(s * v for s, v in zip(share, variances, strict=True)))
    width = (cell.high - cell.low).accuracy
    assert width == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert (cell.high - cell.low).mean_class_recall == pytest.approx(
        2 * 1.96 * math.sqrt(sum(variances)) / CLASSES, rel=0.1
    )


def test_one_small_class_is_enough_for_recalls_to_have_their_own_interval() -> None:
    labels = FEATURES.labels.repeat(3)
    kept = torch.cat([(labels == 0).nonzero()[:3, 0], (labels != 0).nonzero()[:, 0]])
    features = replace(FEATURES, image=FEATURES.image.repeat(3, 1)[kept], labels=labels[kept])
    sizes = features.labels.bincount()
    assert sizes.min() == 3 and sizes.max() >= 10
    table = sweep(features, PROJECTIONS, keep=KEEP, draws=0, resamples=50)
    cells = table[(table.strategy == "high_purity") & (table.metric == "mean_class_recall")]
    ranks = ranks_by_k(
        features.image, features.text, features.labels, order_neurons(PROJECTIONS), KEEP
    )[0]
    of_class = torch.stack(
        [(ranks == 0)[:, features.labels == c].sum(1) for c in range(CLASSES)], dim=1
    )
    low, high = mean_recall_interval(of_class.double(), sizes)
    assert (cells.low.tolist(), cells.high.tolist()) == (low.tolist(), high.tolist())


def test_chance_is_one_in_the_classes(table: pd.DataFrame) -> None:
    chance = table.groupby("metric").chance.unique().map(list)
    assert chance["accuracy"] == chance["mean_class_recall"] == [1 / CLASSES]
    assert chance["top5_accuracy"] == [5 / CLASSES]
    assert math.isnan(chance["silhouette"][0])


def test_draws_beyond_fifty_have_no_silhouette() -> None:
    table = sweep(FEATURES, PROJECTIONS, keep=3, draws=53, resamples=100)
    drawn = table[table.strategy == "random"].groupby("metric").draw.max()
    assert drawn["accuracy"] == 52
    assert drawn["silhouette"] == 49
    alone = sweep(FEATURES, PROJECTIONS, keep=3, draws=1, seed=52, resamples=100)
    last = table[table.draw == 52].set_index("metric").value
    assert (
        last.to_dict()
        == alone[alone.strategy == "random"].set_index("metric").value[last.index].to_dict()
    )


@pytest.mark.parametrize("strategy", [name for name in (*STRATEGIES, *BASES) if name != "random"])
def test_every_strategy_can_be_swept(strategy: str) -> None:
    table = sweep(
        FEATURES, PROJECTIONS, keep=[6, NEURONS], strategies=[strategy], draws=0, resamples=50
    )
    assert set(table.strategy) == {"full", strategy}
    # Of all neurons there is one choice, and in any basis they say the same.
    whole = table[table.k == NEURONS].pivot(index="metric", columns="strategy", values="value")
    assert whole[strategy].tolist() == pytest.approx(whole["full"].tolist(), abs=1e-6)


def test_a_strategy_that_looks_at_labels_is_judged_on_images_it_has_not_seen() -> None:
    """Labels of pure noise: importance found on the images themselves would lift accuracy far above
    chance.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (200,), generator=generator)
    image = torch.nn.functional.normalize(torch.randn(200, 300, generator=generator), dim=1)
    text = torch.nn.functional.normalize(torch.randn(2, 300, generator=generator), dim=1)
    noise = Features(image, text, labels, ("a", "b"), model="m", dataset="noise")
    projections = Projections(rows(300, 30, 0), rows(300, 30, 1))
    leaked = order_neurons(projections, "importance", image=image, text=text, labels=labels)
    on_the_same = accuracy_by_k(image, text, labels, leaked, [60]).top1.item()
    table = sweep(noise, projections, keep=60, strategies=["importance"], draws=0, resamples=50)
    held_out = table[(table.strategy == "importance") & (table.metric == "accuracy")].value.item()
    assert on_the_same > 0.65
    assert abs(held_out - 0.5) < 0.1


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_dropped_neurons_take_the_values_asked_for(ablation: str) -> None:
    table = sweep(
        FEATURES, PROJECTIONS, keep=KEEP, draws=0, ablation=ablation, seed=3, resamples=50
    )
    dropped = ablation_values(FEATURES.image, ablation, seed=3)
    assert dropped is not None
    order = order_neurons(PROJECTIONS)
    for k in KEEP:
        masked = dropped.expand_as(FEATURES.image).clone()
        masked[:, order[:k]] = FEATURES.image[:, order[:k]]
        expected = accuracy_by_k(
            masked, FEATURES.text, FEATURES.labels, torch.arange(NEURONS), [NEURONS]
        ).top1.item()
        found = table[
            (table.strategy == "high_purity") & (table.k == k) & (table.metric == "accuracy")
        ].value.item()
        assert found == pytest.approx(expected, abs=1e-12)
    assert set(table.ablation) == {ablation}


def test_every_row_says_what_it_was_measured_on(table: pd.DataFrame) -> None:
    said = {
        "model": "CC3M LaCLIP",
        "dataset": "cifar10",
        "n": IMAGES,
        "classes": CLASSES,
        "neurons": NEURONS,
    }
    for column, expected in (
        said
        | {
            "measure": "l1",
            "towers": "both",
            "ablation": "zero",
            "renormalise": False,
            "protocol": "paper",
        }
    ).items():
        assert set(table[column]) == {expected}
    assert (table.seed == 11 + table.draw).all()
    assert sweep(
        FEATURES, PROJECTIONS, keep=3, draws=0, renormalise=True, resamples=50
    ).renormalise.all()


def test_the_same_seed_gives_the_same_table(table: pd.DataFrame) -> None:
    again = sweep(FEATURES, PROJECTIONS, keep=reversed(KEEP), draws=DRAWS, seed=11, resamples=2000)
    pd.testing.assert_frame_equal(again, table)


def test_a_draw_depends_on_its_seed_alone(table: pd.DataFrame) -> None:
    # Draw 2 of seed 11 is draw 0 of seed 13: a run can be continued.
    later = sweep(FEATURES, PROJECTIONS, keep=KEEP, draws=1, seed=13, resamples=50)
    drawn = table[(table.strategy == "random") & (table.draw == 2)]
    # Alike but for rounding: how many orders share a matrix product changes the last digits of a
    # float32 silhouette.
    assert later[later.strategy == "random"].value.tolist() == pytest.approx(
        drawn.value.tolist(), abs=1e-7
    )
    assert (
        drawn.value.tolist()
        != table[(table.strategy == "random") & (table.draw == 1)].value.tolist()
    )


def test_no_draws_are_no_random_rows() -> None:
    table = sweep(FEATURES, PROJECTIONS, keep=KEEP, draws=0, resamples=50)
    assert set(table.strategy) == {"full", "high_purity", "low_purity"}


def test_the_ks_are_the_experiments_unless_given() -> None:
    table = sweep(FEATURES, PROJECTIONS, draws=0, resamples=50)
    assert sorted(set(table[table.strategy != "full"].k)) == default_keep(NEURONS)


@pytest.mark.parametrize("labels", [torch.arange(CLASSES), torch.zeros(5, dtype=torch.int64)])
def test_labels_without_a_silhouette_leave_it_out_with_one_warning(labels: Tensor) -> None:
    features = make_features(labels)
    with pytest.warns(UserWarning, match="no silhouette: it needs two classes") as caught:
        table = sweep(features, PROJECTIONS, keep=KEEP, draws=1, resamples=50)
    assert len(caught) == 1
    assert table[table.metric == "silhouette"].value.isna().all()
    assert table[table.metric != "silhouette"].value.notna().all()


@pytest.mark.parametrize("seed", [0, 5])
def test_dead_neurons_are_warned_of_once(seed: int) -> None:
    image = PROJECTIONS.image.clone()
    image[3] = 0
    with pytest.warns(UserWarning, match="1 of 12 neurons have norm zero") as caught:
        sweep(
            FEATURES,
            Projections(image, PROJECTIONS.text),
            keep=KEEP,
            draws=3,
            seed=seed,
            resamples=50,
        )
    assert len(caught) == 1


def test_nothing_is_warned_of_otherwise() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sweep(FEATURES, PROJECTIONS, keep=KEEP, draws=2, resamples=50)


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
        (
            {"projections": Projections(rows(3, 12, 0), rows(3, 12, 1))},
            "features of 12 neurons, projections of 3\n.*\n.*transpose both projections",
        ),
        (
            {"projections": None},
            "features of 12 neurons, no projections\n.*\n.*space='activations'",
        ),
        ({"space": "activation"}, "did you mean 'activations'"),
        ({"measure": "l3"}, "unknown measure 'l3'"),
        ({"towers": "images"}, "did you mean 'image'"),
        ({"ablation": "means"}, "did you mean 'mean'"),
        ({"strategies": ["high_purty"]}, "did you mean 'high_purity'"),
        ({"strategies": ["random"]}, "strategy 'random'"),
        ({"resamples": 0}, "resamples = 0\n.*1 or more"),
        ({"strategies": ["svd", "svd"]}, "strategies svd, svd\n.*each of them once"),
        ({"renormalise": True, "ablation": "mean"}, "renormalise, and ablation .mean."),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sweep(
            **{
                "features": FEATURES,
                "projections": PROJECTIONS,
                "keep": KEEP,
                "draws": 1,
                **changes,
            }
        )


@pytest.mark.parametrize("space", ["activations", "centred"])
def test_neurons_are_ranked_in_the_space_asked_for(space: str) -> None:
    """The order from numpy's cosines of columns, or its correlations; the values those of that
    order in any space.
    """
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
    table = sweep(FEATURES, keep=KEEP, draws=1, space=space, resamples=50)
    assert set(table.space) == {space}
    cells = table[(table.strategy == "high_purity") & (table.metric == "accuracy")].sort_values("k")
    expected = accuracy_by_k(
        FEATURES.image, FEATURES.text, FEATURES.labels, order, cells.k.tolist()
    ).top1
    assert cells.value.tolist() == expected[0].tolist()


# --- what a sweep measured, image by image


@pytest.fixture(scope="module")
def measured() -> Measured:
    strategies = ["high_purity", "ape", "svd"]
    return measure_strategies(
        FEATURES, PROJECTIONS, Options(KEEP, strategies, draws=5, seed=11, resamples=300)
    )


def answers(order: Tensor, basis: Tensor | None = None) -> Tensor:
    """``[k, image]``: which images are right with all but the first k neurons, or axes, set to
    zero.
    """
    image, text = FEATURES.image.double(), FEATURES.text.double()
    image, text = (image, text) if basis is None else (image @ basis, text @ basis)
    right = []
    for k in KEEP:
        masked = torch.zeros_like(image)
        masked[:, order[:k]] = image[:, order[:k]]
        right.append((masked @ text.T).argmax(1) == FEATURES.labels)
    return torch.stack(right)


def test_each_strategy_is_measured_by_its_own_order_or_axes(measured: Measured) -> None:
    given = StrategyInput(PROJECTIONS, FEATURES.image, FEATURES.text)
    expected = [
        answers(order_neurons(PROJECTIONS)),
        answers(order_neurons(PROJECTIONS, "ape", text=FEATURES.text, image=FEATURES.image)),
        answers(torch.arange(NEURONS), BASES["svd"].of(given, 11)),
    ]
    assert measured.strategies == ("high_purity", "ape", "svd") and measured.ks == KEEP
    assert measured.right.equal(torch.stack(expected))
    assert measured.rightness("ape").equal(expected[1].double())
    assert measured.rightness("ape").dtype == torch.float64
    torch.testing.assert_close(
        measured.values[:, :, 0], measured.right.double().mean(2), rtol=0, atol=1e-12
    )
    assert measured.full_right.equal(answers(torch.arange(NEURONS))[-1])
    assert measured.full[0].item() == measured.full_right.double().mean()


def test_random_orders_are_their_share_and_the_one_of_median_accuracy(measured: Measured) -> None:
    drawn = torch.stack(
        [answers(order_neurons(PROJECTIONS, "random", seed=11 + draw)) for draw in range(5)]
    )
    torch.testing.assert_close(
        measured.rightness("random"), drawn.double().mean(0), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(measured.draws[:, :, 0], drawn.double().mean(2), rtol=0, atol=1e-12)
    assert measured.random.first_right.equal(drawn[0])
    for place in range(len(KEEP)):
        middle = sorted(range(5), key=lambda draw: int(drawn[draw, place].sum()))[2]
        assert measured.random.median_right[place].equal(drawn[middle, place])


def test_resamples_are_paired(measured: Measured) -> None:
    """All that is resampled is so by the same images: as one call of the bootstrap on the
    answers.
    """
    cells = torch.cat(
        [
            measured.right.double().flatten(0, 1),
            measured.rightness("random"),
            measured.right[:1, -1].double(),
        ]
    )
    means = bootstrap_means(cells, FEATURES.labels, resamples=300, seed=11)
    strategies, drawn, full = means.split([9, 3, 1], dim=1)
    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(measured.resampled[..., 0].flatten(1), strategies, **close)
    torch.testing.assert_close(measured.resampled_random, drawn, **close)
    torch.testing.assert_close(measured.resampled_full[:, 0], full[:, 0], **close)


def test_a_table_is_the_sweeps(measured: Measured) -> None:
    table = sweep(
        FEATURES,
        PROJECTIONS,
        keep=KEEP,
        strategies=measured.strategies,
        draws=5,
        seed=11,
        resamples=300,
    )
    pd.testing.assert_frame_equal(measured.table, table)


def test_no_random_orders_have_no_share(measured: Measured) -> None:
    none = measure_strategies(FEATURES, PROJECTIONS, Options(KEEP, draws=0, resamples=10))
    assert none.draws.shape == (0, len(KEEP), len(METRICS))
    assert none.rightness("random").isnan().all() and none.resampled_random.isnan().all()


def test_no_strategies_are_random_orders_and_all_neurons() -> None:
    table = sweep(FEATURES, PROJECTIONS, keep=KEEP, strategies=[], draws=2, resamples=10)
    assert set(table.strategy) == {"full", "random"}


def test_options_are_the_sweeps() -> None:
    """One list of options, with one default each."""
    parameters = inspect.signature(sweep).parameters
    named = {
        name: p.default for name, p in parameters.items() if name not in ("features", "projections")
    }
    named["orders"] = dataclasses.MISSING  # none, made anew for each
    assert {field.name: field.default for field in dataclasses.fields(Options)} == named


def test_orders_of_ones_own_stand_beside_the_strategies() -> None:
    """The reverse of low purity is high purity but for ties: what is given is what is measured."""
    low = order_neurons(PROJECTIONS, "low_purity")
    table = sweep(
        FEATURES,
        PROJECTIONS,
        keep=KEEP,
        draws=2,
        resamples=20,
        orders={"mine": low, "by index": np.arange(NEURONS), "a list": low.tolist()},
    )
    rows = table.set_index(["strategy", "k", "metric"]).sort_index()
    for name in ("mine", "a list"):
        pd.testing.assert_frame_equal(
            rows.loc[name].reset_index(), rows.loc["low_purity"].reset_index()
        )
    first = sweep(FEATURES, PROJECTIONS, keep=KEEP, strategies=["first_k"], draws=2, resamples=20)
    first = first[first.strategy == "first_k"].set_index(["k", "metric"]).sort_index()
    assert rows.loc["by index"].value.tolist() == first.value.tolist()


@pytest.mark.parametrize(
    ("orders", "says"),
    [
        ({"mine": [0, 1]}, "the order 'mine' of 2 neurons"),
        ({"mine": [0] * NEURONS}, "no permutation of 0 to"),
        ({"mine": torch.arange(NEURONS) / 1.0}, "no permutation"),
        ({"mine": []}, "no permutation"),
        ({"high_purity": range(NEURONS)}, "an order called 'high_purity'"),
        ({"random": range(NEURONS)}, "an order called 'random'"),
        ({"": range(NEURONS)}, "an order called ''"),
    ],
)
def test_an_order_that_is_none_is_refused(orders: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        sweep(FEATURES, PROJECTIONS, orders=orders)


def test_a_strategy_that_looks_at_labels_is_fitted_on_the_other_half() -> None:
    half = halves(FEATURES.labels)
    expected = torch.zeros(len(KEEP), IMAGES, dtype=torch.bool)
    for judged in (0, 1):
        fit = half != judged
        order = order_neurons(
            PROJECTIONS,
            "importance",
            image=FEATURES.image[fit],
            text=FEATURES.text,
            labels=FEATURES.labels[fit],
        )
        expected[:, half == judged] = answers(order)[:, half == judged]
    found = measure_strategies(
        FEATURES, PROJECTIONS, Options(KEEP, ["importance"], draws=0, resamples=10)
    )
    assert found.right[0].equal(expected)
