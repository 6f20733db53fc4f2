"""The table over checkpoints: what stands in a row, and that a stopped run goes on."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from purescope.errors import InputError, ModelError, OutputError
from purescope.features.extraction import extract
from purescope.features.features import Features
from purescope.maths.overlaps import Projections, random_overlap
from purescope.maths.strategies import order_neurons
from purescope.models.model import Model
from purescope.studies.training.tracking import TrackSettings, track
from purescope.tables.results import read_track
from purescope.tables.schemas import TRACK
from tests import oracles
from tests.studies.training.made import IMAGES, NEURONS, make_dataset, make_model

KEEP, DRAWS = [3, 7, 12], 6
SETTINGS = TrackSettings(keep=KEEP, draws=DRAWS, seed=5)
MODELS = {step: make_model(step) for step in (10, 200, 3000)}


class Loads:
    """`load_model` for files named by their step, counting; some are damaged."""

    def __init__(self, *damaged: int) -> None:
        self.damaged, self.encoded = damaged, list[str]()

    def __call__(self, spec: str) -> Model:
        step = int(Path(spec).stem.rpartition("-")[2])
        if step in self.damaged:
            raise ModelError(f"{spec}: cut short")
        return MODELS[step]

    def encode(self, model: Model, dataset: Any, *, protocol: str) -> Features:
        self.encoded.append(f"{model.label} on {dataset.name}")
        return extract(model, dataset, protocol=protocol)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    for step in MODELS:
        (folder / f"clip-{step}.pt").touch()
    return folder


def test_a_row_is_what_the_definitions_say() -> None:
    model, dataset = MODELS[200], make_dataset()
    row = track([(200, model)], [dataset], settings=SETTINGS).iloc[0]
    features = extract(model, dataset)
    for tower in ("image", "text"):
        matrix = getattr(model.projections, tower)
        scores = oracles.overlap(matrix.tolist())
        purities = [1 / score for score in scores]
        singular = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
        expected = {
            "overlap": np.mean(scores),
            "relative_overlap": np.mean(scores) / random_overlap(matrix.shape[1]),
            "purity": np.mean(purities),
            "purity_sd": np.std(purities),
            "effective_rank": math.exp(stats.entropy(singular)),
        }
        for name, value in expected.items():
            assert row[f"{tower}_{name}"] == pytest.approx(value), (tower, name)

    totals = oracles.total_overlap(
        model.projections.image.tolist(), model.projections.text.tolist()
    )
    orders = {
        "high_purity": [oracles.order(totals)],
        "low_purity": [oracles.order(totals, largest=True)],
    }
    orders["random"] = [
        order_neurons(model.projections, "random", seed=5 + draw).tolist() for draw in range(DRAWS)
    ]
    assert list(row.order) == orders["high_purity"][0]

    def accuracy(kept: list[int]) -> float:
        rankings = [
            oracles.ranking(image, features.text.tolist(), kept)
            for image in features.image.tolist()
        ]
        return oracles.accuracy(rankings, features.labels.tolist())[0]

    curves = {
        name: [[accuracy(order[:k]) for k in KEEP] for order in drawn]
        for name, drawn in orders.items()
    }
    medians = {name: np.median(drawn, axis=0) for name, drawn in curves.items()}
    for name, curve in medians.items():
        assert [row[f"{name}_{k}"] for k in KEEP] == pytest.approx(list(curve))
        assert row[name] == pytest.approx(area(curve))
    assert row.accuracy == pytest.approx(accuracy(list(range(NEURONS))))
    assert row.gap == pytest.approx(area(medians["high_purity"]) - area(medians["low_purity"]))
    assert row.gap_to_random == pytest.approx(
        area(medians["high_purity"]) - area(medians["random"])
    )
    draws = [area(curve) for curve in curves["random"]]
    assert [row.random_low, row.random_high] == pytest.approx(
        list(np.quantile(draws, [0.05, 0.95]))
    )
    assert row.silhouette == pytest.approx(
        np.mean(oracles.silhouette(features.image.tolist(), features.labels.tolist())), abs=1e-6
    )
    assert (row.n, row.classes, row.neurons, row.dataset) == (IMAGES, 4, NEURONS, "colours")


def area(curve: Any) -> float:
    """Of trapezoids over k, by the range of k."""
    parts = [(b - a) * (curve[i] + curve[i + 1]) / 2 for i, (a, b) in enumerate(pairwise(KEEP))]
    return float(sum(parts) / (KEEP[-1] - KEEP[0]))


def test_orders_are_compared_with_the_last_and_the_one_before() -> None:
    table = track([(step, model) for step, model in reversed(MODELS.items())], settings=SETTINGS)
    assert table.step.tolist() == [10, 200, 3000]
    places = [np.argsort(order) for order in table.order]
    expected = [stats.spearmanr(place, places[-1]).statistic for place in places]
    assert table.rank_last.tolist() == pytest.approx(expected)
    assert expected[0] != pytest.approx(expected[1])
    before = [stats.spearmanr(places[i], places[i + 1]).statistic for i in range(2)]
    assert math.isnan(table.rank_previous[0]) and table.rank_previous[1:].tolist() == pytest.approx(
        before
    )


def test_series_and_datasets_stay_apart() -> None:
    pairs = [(step, make_model(step, label)) for label in ("b", "a") for step in (2, 1)]
    table = track(pairs, [make_dataset("x"), make_dataset("y", 1)], settings=SETTINGS)
    assert list(zip(table.model, table.step, table.dataset, strict=True)) == [
        (label, step, name) for label in ("b", "a") for step in (1, 2) for name in ("x", "y")
    ]
    ends = table[table.step == 2]
    assert ends.rank_last.tolist() == pytest.approx([1.0] * 4)
    assert (
        table.dtypes[list(TRACK.described)].astype(str)
        == pd.Series({name: column.dtype for name, column in TRACK.described.items()})
    ).all()


def test_without_data_there_is_purity_alone() -> None:
    table = track([(1, MODELS[10])])
    assert table.dataset.tolist() == [""] and table.n.tolist() == [0]
    assert table[["accuracy", "gap", "silhouette"]].isna().all(axis=None)
    assert table.image_purity.notna().all()


def test_a_dead_neuron_has_no_part_in_the_means() -> None:
    image, text = (
        matrix.clone() for matrix in (MODELS[10].projections.image, MODELS[10].projections.text)
    )
    image[4] = 0
    with pytest.warns(UserWarning, match="norm zero"):
        row = track([(1, make_model(1, projections=Projections(image, text)))]).iloc[0]
    scores = oracles.overlap(image.tolist())
    assert row.image_overlap == pytest.approx(np.nanmean(scores))
    assert list(row.order)[-1] == 4


@pytest.mark.parametrize("space", ["activations", "centred"])
def test_other_spaces_rank_by_activations(space: str) -> None:
    settings = TrackSettings(keep=KEEP, draws=1, space=space)
    features = extract(MODELS[10], make_dataset())
    row = track([(1, MODELS[10])], [make_dataset()], settings=settings).iloc[0]
    columns = features.image.double().T
    columns = columns - columns.mean(1, keepdim=True) if space == "centred" else columns
    assert row.image_overlap == pytest.approx(np.mean(oracles.overlap(columns.tolist())))
    with pytest.raises(InputError, match=f"overlap of {space}"):
        track([(1, MODELS[10])], settings=settings)


def test_a_run_that_is_called_again_measures_what_is_missing(run: Path, tmp_path: Path) -> None:
    whole = track([run], [make_dataset()], settings=SETTINGS, load=Loads())
    loads, out = Loads(), tmp_path / "out"
    arguments: dict[str, Any] = {
        "settings": SETTINGS,
        "out": out,
        "load": loads,
        "encode": loads.encode,
    }
    track([run / "clip-200.pt"], [make_dataset()], **arguments)
    again = track([run], [make_dataset()], **arguments)
    assert loads.encoded == ["clip 200 on colours", "clip 10 on colours", "clip 3000 on colours"]
    for table in (again, read_track(out)):
        pd.testing.assert_frame_equal(table.drop(columns="order"), whole.drop(columns="order"))
        assert [list(order) for order in table.order] == [list(order) for order in whole.order]
    written = pd.read_csv(out / "track.csv", keep_default_na=True)
    assert list(written) == [name for name in whole if name != "order"] and len(written) == 3
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.json",
        "track.csv",
        "track.parquet",
    ]
    (run / "clip-10.pt").unlink()
    assert len(track([run], [make_dataset()], **arguments)) == 3  # what was measured stays
    assert len(loads.encoded) == 3


def test_notes_of_data_stand_in_the_manifest(run: Path, tmp_path: Path) -> None:
    loads = Loads()
    arguments: dict[str, Any] = {
        "settings": SETTINGS,
        "out": tmp_path,
        "load": loads,
        "encode": loads.encode,
    }
    for notes in (("half of it",), (), ("half of it", "grey")):
        track([run / "clip-200.pt"], [replace(make_dataset(), notes=notes)], **arguments)
    assert json.loads((tmp_path / "manifest.json").read_text())["notes"] == ["half of it", "grey"]
    track([run / "clip-200.pt"], [make_dataset()], overwrite=True, **arguments)
    assert "notes" not in json.loads((tmp_path / "manifest.json").read_text())


def test_what_has_changed_is_measured_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = Loads()
    arguments: dict[str, Any] = {
        "settings": SETTINGS,
        "out": tmp_path,
        "load": loads,
        "encode": loads.encode,
    }
    first = track([run], [make_dataset()], **arguments)
    track([run], [make_dataset(seed=1)], **arguments)
    assert len(loads.encoded) == 6
    monkeypatch.setitem(MODELS, 200, make_model(77))
    second = track([run], [make_dataset(seed=1)], **arguments)
    assert len(loads.encoded) == 7 and len(second) == 3
    assert (second.image_overlap != first.image_overlap).tolist() == [False, True, False]


def test_purity_alone_gives_way_to_a_row_with_data(run: Path, tmp_path: Path) -> None:
    track([run], out=tmp_path, settings=SETTINGS, load=Loads())
    assert (
        track(
            [run], [make_dataset()], out=tmp_path, settings=SETTINGS, load=Loads()
        ).dataset.tolist()
        == ["colours"] * 3
    )


def test_a_damaged_checkpoint_is_told_after_the_others_are_kept(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"1 of 3 checkpoints cannot be measured: .*clip-200\.pt: cut short"
    ) as error:
        track([run], out=tmp_path, settings=SETTINGS, load=Loads(200))
    assert "2 others are measured" in error.value.expected
    assert read_track(tmp_path).step.tolist() == [10, 3000]
    assert track([run], out=tmp_path, settings=SETTINGS, load=Loads()).step.tolist() == [
        10,
        200,
        3000,
    ]


def test_what_no_checkpoint_can_satisfy_is_told_as_it_is(run: Path) -> None:
    with pytest.raises(InputError, match="k = 13 neurons"):
        track([run], [make_dataset()], settings=TrackSettings(keep=[13]), load=Loads())


def test_rows_of_other_settings_are_not_mixed(run: Path, tmp_path: Path) -> None:
    track([run], out=tmp_path, settings=SETTINGS, load=Loads())
    other = TrackSettings(keep=KEEP, draws=DRAWS, seed=6)
    with pytest.raises(OutputError, match="other settings"):
        track([run], out=tmp_path, settings=other, load=Loads())
    assert (
        len(track([run / "clip-10.pt"], out=tmp_path, settings=other, load=Loads(), overwrite=True))
        == 1
    )
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(OutputError, match=r"holds track\.parquet, of no known training"):
        track([run], out=tmp_path, settings=other, load=Loads())


def test_a_table_that_cannot_be_read_is_an_error(run: Path, tmp_path: Path) -> None:
    track([run], out=tmp_path, settings=SETTINGS, load=Loads())
    path = tmp_path / "track.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read"):
        track([run], out=tmp_path, settings=SETTINGS, load=Loads())
    with pytest.raises(InputError, match=r"no track\.parquet in"):
        read_track(tmp_path / "none")


def test_settings_are_checked() -> None:
    for wrong in ({"space": "weigths"}, {"draws": -1}):
        with pytest.raises(InputError):
            TrackSettings(**wrong)


def test_no_draws_leave_the_random_columns_empty() -> None:
    row = track(
        [(1, MODELS[10])], [make_dataset()], settings=TrackSettings(keep=KEEP, draws=0)
    ).iloc[0]
    assert math.isnan(row.random) and math.isnan(row.gap_to_random) and not math.isnan(row.gap)
