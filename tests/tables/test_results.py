"""An opened folder of results: what it says of itself, and which files it refuses or warns of."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from purescope.errors import InputError
from purescope.files.manifest import hash_of, write_manifest
from purescope.files.npz import write_cosines
from purescope.tables import schemas
from purescope.tables.columns import METRICS, VOCABULARY
from purescope.tables.files import check_table, write_csv, write_table
from purescope.tables.result_table import ResultTable
from purescope.tables.results import Results, open_results, write_results
from purescope.tables.schema import Schema
from tests.plots.made import layer_table, neurons_table
from tests.tables.test_files import result_table

EYE = np.eye(2, dtype=np.float16)


def several() -> pd.DataFrame:
    """Two models of two datasets, in no alphabetical order, with a strategy that comes first."""
    cells = [("z", "flags"), ("z", "birds"), ("a", "flags"), ("a", "birds")]
    table = pd.concat([result_table(*cell) for cell in cells], ignore_index=True)
    own = table[table.strategy == "high_purity"].assign(strategy="average", value=0.5)
    return pd.concat([own, table], ignore_index=True)


def results_of(**tables: pd.DataFrame) -> Results:
    return Results(Path("out"), tables)


def test_names_are_those_of_the_run_in_its_order() -> None:
    neurons = pd.concat([neurons_table("only neurons", 3), neurons_table("z", 3)])
    results = results_of(results=several(), neurons=neurons)
    assert results.models == ["z", "a", "only neurons"]
    assert results.datasets == ["flags", "birds"]
    assert results.strategies == ["high_purity", "low_purity", "random", "average"]
    assert results.metrics == [*METRICS]
    assert repr(results) == "Results('out': results, neurons)"
    assert "accuracy" in str(results._repr_html_()).lower()
    nothing = results_of()
    assert nothing.models == nothing.datasets == nothing.metrics == nothing.strategies == []
    assert nothing._repr_html_() is None


def test_a_metric_without_a_value_is_none() -> None:
    table = several()
    table.loc[table.metric == "silhouette", "value"] = np.nan
    assert results_of(results=table).metrics == [name for name in METRICS if name != "silhouette"]


def test_tables_are_given_by_name_or_said_to_be_missing() -> None:
    results = results_of(results=several())
    assert results.table("results").equals(results.rows(schemas.RESULTS))
    for name, message in (
        ("result", r"no table is called 'result'(?s:.*)did you mean 'results'"),
        ("curves", r"out has no table curves(?s:.*)one of results(?s:.*)purescope evidence"),
    ):
        with pytest.raises(InputError, match=message):
            results.table(name)
    empty = results.rows(schemas.CURVES)
    assert empty.empty and list(empty.columns) == list(schemas.CURVES.columns)


def test_rows_of_a_pair() -> None:
    results = results_of(results=several())
    pair = results.pair(schemas.RESULTS, "a", "birds")
    assert set(pair.model) == {"a"} and set(pair.dataset) == {"birds"} and len(pair) == 64
    for schema, cell in ((schemas.RESULTS, ("a", "x")), (schemas.CURVES, ("a", "birds"))):
        empty = results.pair(schema, *cell)
        assert empty.empty and list(empty.columns) == list(results.rows(schema).columns)


# --- a folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of results and neurons of one model."""
    write_results(result_table(), tmp_path)
    write(neurons_table("CC3M LaCLIP", 2), tmp_path, schemas.NEURONS)
    return tmp_path


def write(table: pd.DataFrame, folder: Path, schema: Schema) -> None:
    write_table(check_table(table, schema), folder, schema)


def test_a_folder_is_opened_with_its_files(folder: Path) -> None:
    results = open_results(folder)
    assert isinstance(results.table("results"), ResultTable)
    assert {*results.tables} == {"results", "neurons", "curve_points"}
    assert results.report is None and results.figures == results.notes == []
    assert dict(results.manifest) == dict(results.runs) == dict(results.cosines) == {}
    assert results.layers.empty and results.track.empty and not results.verdicts
    (folder / "report.html").write_text("page")
    for name in ("b.png", "a/c.svg", "a/b.svg"):
        (folder / "figures" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "figures" / name).write_text("figure")
    names = [path.relative_to(folder).as_posix() for path in open_results(folder).figures]
    assert names == ["figures/a/b.svg", "figures/a/c.svg", "figures/b.png"]
    assert open_results(folder).report == folder / "report.html"


def test_points_of_curves_are_made_where_an_earlier_version_wrote_none(folder: Path) -> None:
    made = open_results(folder).table("curve_points")
    write(made.assign(n=7), folder, schemas.CURVE_POINTS)
    assert (open_results(folder).table("curve_points").n == 7).all()
    assert (made.n == 10_000).all()


def test_a_folder_of_both_protocols_holds_two_runs(tmp_path: Path) -> None:
    for name in ("paper", "native", "other"):
        write_results(result_table(protocol="paper"), tmp_path / name)
    write_results(result_table(), tmp_path)
    assert list(open_results(tmp_path).runs) == ["paper", "native"]
    (tmp_path / "native" / "results.parquet").unlink()
    assert list(open_results(tmp_path).runs) == ["paper"]


def test_layers_of_all_models_stand_one_below_the_other(tmp_path: Path) -> None:
    for model in ("b", "a"):
        write_csv(layer_table(model), tmp_path / f"layers_{model}.csv")
    layers = open_results(tmp_path).layers
    assert layers.model.unique().tolist() == ["a", "b"]
    assert layers.index.tolist() == list(range(2 * len(layer_table())))


def test_neurons_that_purity_wrote_are_read_where_there_are_no_others(folder: Path) -> None:
    purity = pd.DataFrame({"rank": [1, 2], "neuron": [1, 0], "total_overlap": [0.1, 0.2]}).reindex(
        columns=[name for name in schemas.PURITY.columns if name != "model"]
    )
    for name in ("b", "a"):
        write_csv(purity, folder / f"purity_{name}.csv")
    assert open_results(folder).table("neurons").model.unique().tolist() == ["CC3M LaCLIP"]
    (folder / "neurons.parquet").unlink()
    (folder / "results.parquet").unlink()
    neurons = open_results(folder).table("neurons")
    assert neurons.model.tolist() == ["a", "a", "b", "b"] and neurons.index.tolist() == [0, 1, 2, 3]
    assert list(neurons.columns) == list(schemas.NEURONS.columns)
    assert open_results(folder).models == ["a", "b"]


def test_a_folder_without_results_names_those_that_have_some(tmp_path: Path) -> None:
    write_results(result_table(), tmp_path / "mine")
    write_csv(layer_table(), tmp_path / "depth" / "layers_a.csv")
    (tmp_path / "empty").mkdir()
    write(several()[:0], tmp_path / "empty", schemas.RESULTS)
    for path, message in (
        (tmp_path, "did you mean .*depth or .*empty or .*mine"),
        (tmp_path / "mime", "there is no folder (?s:.*)did you mean .*mine"),
        (tmp_path / "empty", "no results in"),
    ):
        with pytest.raises(InputError, match=message):
            open_results(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "other"}, "names the model 'other'"),
        ({"dataset": "other"}, "names the dataset 'other'"),
        ({}, None),
        ({"dataset": VOCABULARY}, None),
    ],
    ids=str,
)
def test_a_table_of_another_run_is_refused(
    change: dict[str, str], message: str | None, folder: Path
) -> None:
    points = open_results(folder).table("curve_points").assign(**change)
    write(points, folder, schemas.CURVE_POINTS)
    if message is None:
        open_results(folder)
    else:
        with pytest.raises(InputError, match=f"curve_points.parquet {message}"):
            open_results(folder)


# --- manifest


def manifest(**entries: Any) -> dict[str, Any]:
    return {"purescope": "0.1.0", **entries}


def test_a_manifest_of_purescope_is_shown(folder: Path) -> None:
    write_manifest(manifest(notes=["one", "two"]), folder)
    results = open_results(folder)
    assert results.notes == ["one", "two"] and results.manifest["purescope"] == "0.1.0"
    (folder / "manifest.json").write_text(json.dumps({"name": "my site"}))
    with pytest.warns(UserWarning, match=r"manifest\.json is not purescope's, and is left out"):
        assert dict(open_results(folder).manifest) == {}


def test_a_table_that_is_not_the_runs_is_said(folder: Path) -> None:
    right = hash_of(folder / "results.parquet")
    (folder.parent / "beside").write_bytes(b"beside")
    for hashes, message in (
        ({"results.parquet": [right], "gone.parquet": ["0"], "../beside": ["0"]}, None),
        ({"results.parquet": ["0"]}, r"results\.parquet is not the file .*; it is shown as it is"),
    ):
        write_manifest(manifest(hashes=hashes), folder)
        if message is None:
            open_results(folder)
        else:
            with pytest.warns(UserWarning, match=message):
                open_results(folder)


# --- pictures


def test_cosines_are_of_the_neurons_of_the_table(folder: Path) -> None:
    write_cosines({"image": EYE, "text": EYE}, folder, "CC3M LaCLIP")
    cosines = open_results(folder).cosines
    assert cosines["CC3M LaCLIP"]["text"].tolist() == [[1, 0], [0, 1]]
    write_cosines({"image": EYE, "text": np.eye(3, dtype=np.float16)}, folder, "CC3M LaCLIP")
    with pytest.raises(InputError, match=r"cosines of CC3M LaCLIP .* of 3 neurons in the text"):
        open_results(folder)
    (folder / "neurons.parquet").unlink()  # nothing to compare with
    assert len(open_results(folder).cosines["CC3M LaCLIP"]["text"]) == 3


WEBP = b"RIFF\0\0\0\0WEBPVP8 "


@pytest.mark.parametrize(
    ("picture", "is_shown"),
    [
        (WEBP, True),
        (WEBP.ljust(100_000), True),
        (WEBP.ljust(100_001), False),
        (b"RIFF\0\0\0\0WAVE", False),
        (b"XXXX\0\0\0\0WEBP", False),
        (b"<script>", False),
        (b"", False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_thumbnails_are_small_webp_files(picture: bytes, is_shown: bool, folder: Path) -> None:
    table = pd.DataFrame({"dataset": ["cifar10"] * 2, "image": [3, 5]})
    write(table.assign(thumbnail=[WEBP, picture]), folder, schemas.THUMBNAILS)
    if is_shown:
        thumbnails = open_results(folder).thumbnails
        assert dict(thumbnails) == {("cifar10", 3): WEBP, ("cifar10", 5): picture}
    else:
        with pytest.raises(InputError, match="thumbnail of image 5 of cifar10 is no small WebP"):
            open_results(folder)
