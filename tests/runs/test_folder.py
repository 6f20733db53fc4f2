"""Whose folder it is: one writer at a time, nothing behind a link, nothing of others, and no other
run's tables.
"""

import json
import os
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from purescope.cli.run import cli
from purescope.errors import DatasetError, InputError, OutputError, PurescopeError
from purescope.features.files import save_features
from purescope.files.manifest import read_manifest
from purescope.files.writing import lock_folder
from purescope.plots.folder import draw_folder
from purescope.report.summary import facts, title
from purescope.report.writing import write_report
from purescope.runs.inputs import Settings
from purescope.specs import to_folder, to_path
from purescope.studies.synthetic import plant
from purescope.tables.files import parquet_name
from purescope.tables.results import open_results
from purescope.tables.schemas import LAYERS, RUN_TABLES
from tests.tables.test_schema import sample
from tests.undrawn import run_sweep

pytestmark = pytest.mark.slow

MADE = plant(effect=1.0, neurons=16, images=60, classes=3)
OTHER = plant(effect=1.0, neurons=16, images=60, classes=3, seed=5)
SETTINGS = Settings(keep=[4, 8], draws=2, space="activations", resamples=50)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    run_sweep([], [MADE.features], out, settings=SETTINGS)
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "out")


def again(out: Path, **options: Any) -> pd.DataFrame:
    return run_sweep([], [MADE.features], out, settings=SETTINGS, **options).table("results")


# --- one way in for paths


def test_home_is_home_whatever_the_shell_did(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--out=~/z` comes as it is typed: everything stands in the home folder, nothing in one called
    "~".
    """
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    table = again("~/z")  # type: ignore[arg-type]
    assert open_results(tmp_path / "home" / "z").table("results").equals(table)
    assert not any((tmp_path / "work").iterdir())


def test_a_folder_called_tilde_is_no_home(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pandas takes a relative path that begins with "~" for home: what is read is what was written
    here.
    """
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run_sweep([], [OTHER.features], tmp_path / "home" / "z", settings=SETTINGS)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(out, tmp_path / "~" / "z")
    before = open_results(out).table("results")
    for spelt in ("./~/z", str(tmp_path / "~" / "z")):
        assert again(to_path(spelt)).equals(before)
    assert to_path(to_path("./~/z")) == tmp_path / "~" / "z"


@pytest.mark.parametrize("name", ["", " ", "a\0b", "caf\udce9"])
def test_a_folder_without_a_usable_name_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for use in (to_folder, again):
        with pytest.raises(OutputError, match=r"a folder (without a name|called)"):
            use(name)  # type: ignore[operator]
    assert not any(tmp_path.iterdir())


# --- one writer


def test_a_second_run_into_a_folder_is_refused(out: Path) -> None:
    before = open_results(out).table("results")
    with lock_folder(out):
        for options in ({}, {"overwrite": True}):
            with pytest.raises(
                OutputError, match=r"another run is writing into .*(?s:.)*choose another --out"
            ):
                again(out, **options)
    assert again(out).equals(before)
    assert not (out / ".lock").exists()


def test_the_lock_of_a_killed_process_is_taken_back(tmp_path: Path) -> None:
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        with lock_folder(tmp_path):
            os.write(done, b"x")
            signal.pause()
    os.read(ready, 1)
    with pytest.raises(OutputError, match="another run"), lock_folder(tmp_path):
        pass
    os.kill(child, 9)
    os.waitpid(child, 0)
    with lock_folder(tmp_path, wait=5.0):
        pass


@pytest.mark.parametrize("kind", ["loop", "nowhere", "file", "below a file"])
def test_a_folder_that_cannot_be_says_why(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    match kind:
        case "loop":
            path.symlink_to(path)
        case "nowhere":
            path.symlink_to(tmp_path / "gone")
        case "file":
            path.write_text("x")
        case "below a file":
            path.write_text("x")
            path = path / "deeper"
    with pytest.raises(
        OutputError,
        match=r"it(, or its parent folder,)? is a|leads back to itself",
    ):
        again(path)


# --- nothing behind a link, nothing of others


def test_what_links_lead_to_stays(out: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    names = (
        "neuron_pruning_planted.png",
        "purity_gap_planted.svg",
        "planted_planted_accuracy_vs_sam.csv",
    )
    for name in names:
        (elsewhere / name).write_text("mine")
    (out / "figures").symlink_to(elsewhere)
    shutil.rmtree(out / "result_planted")
    (out / "result_planted").symlink_to(elsewhere)
    (out / "results.csv").unlink()
    (out / "results.csv").symlink_to(elsewhere / names[0])
    with pytest.raises(OutputError, match=r"figures is a link to .*elsewhere"):
        again(out)
    again(out, overwrite=True)
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == dict.fromkeys(
        names, "mine"
    )
    assert not (out / "results.csv").is_symlink() and not (out / "result_planted").is_symlink()


FOREIGN = {
    "a manifest of somebody else's": lambda out: (out / "manifest.json").write_text(
        '{"name": "my site"}'
    ),
    "no manifest": lambda out: (out / "manifest.json").unlink(),
    "a damaged one": lambda out: (out / "manifest.json").write_text('{"name": "my'),
    "a list": lambda out: (out / "manifest.json").write_text("[1]"),
    "one of somebody else's, alone": lambda out: (
        shutil.rmtree(out),
        out.mkdir(),
        (out / "manifest.json").write_text('{"icons": []}'),
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("overwrite", [False, True])
def test_only_a_folder_with_our_manifest_is_ours(kind: str, overwrite: bool, out: Path) -> None:
    FOREIGN[kind](out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(
        OutputError,
        match=r"of no known run|purescope did not write|"
        r"manifest\.json (cannot be read|holds a list)",
    ):
        again(out, overwrite=overwrite)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_what_is_left_of_our_manifest_can_be_replaced(out: Path) -> None:
    """Cut in half it is refused by run and report, in the same words; --overwrite measures anew."""
    manifest = out / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[: manifest.stat().st_size // 2])
    for use in (again, write_report):
        with pytest.raises(
            OutputError, match=r"manifest\.json cannot be read: .*(?s:.)*--overwrite"
        ):
            use(out)  # type: ignore[operator]
    again(out, overwrite=True)
    assert "finished" in (read_manifest(out) or {})


# --- what a run goes on with


def test_the_manifest_vouches_for_every_table(out: Path) -> None:
    kinds = json.loads((out / "manifest.json").read_text())["tables"]
    assert (read_manifest(out) or {})["hashes"].keys() == {f"{name}.parquet" for name in kinds}


@pytest.mark.parametrize("name", ["results", "importance", "orders"])
def test_a_table_of_another_run_is_not_gone_on_with(name: str, out: Path, tmp_path: Path) -> None:
    """As when results.parquet was read from another folder than it was written to."""
    run_sweep([], [OTHER.features], tmp_path / "other", settings=SETTINGS)
    before = (out / f"{name}.parquet").read_bytes()
    shutil.copy(tmp_path / "other" / f"{name}.parquet", out)
    with pytest.warns(
        UserWarning,
        match=rf"measured anew, since .*{name}\.parquet is not the file that its run wrote",
    ):
        again(out)
    assert (out / f"{name}.parquet").read_bytes() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again(out)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda manifest: manifest["versions"].update(torch="1.0"),
            "its versions differ: torch 1.0 there, ",
        ),
        (
            lambda manifest: manifest["versions"].pop("numpy"),
            "its versions differ: numpy none there, ",
        ),
        (lambda manifest: manifest.pop("timings"), "does not say which pairs"),
        (lambda manifest: manifest.pop("hashes"), "the manifest has no hash of it"),
    ],
)
def test_why_a_run_is_measured_anew_is_said(
    change: Callable[[dict[str, Any]], object], says: str, out: Path
) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    change(manifest)
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match=f"measured anew, since .*{says}"):
        again(out)


# --- every file of a folder is read by one reader

WRONG = {"value": 7.5, "k": -5, "n": 0, "metric": "f1", "neurons": 0}


@pytest.mark.parametrize("column", WRONG)
def test_results_that_cannot_be_are_shown_nowhere(column: str, out: Path) -> None:
    path = out / "results.parquet"
    table = pd.read_parquet(path)
    table.loc[3, column] = WRONG[column]
    table.to_parquet(path, index=False)
    for use in (open_results, write_report, lambda out: draw_folder(out, out / "figures")):
        with pytest.raises(InputError) as caught:
            use(out)  # type: ignore[operator]
        assert (
            str(path) in caught.value.came
            and column in caught.value.came
            and "--overwrite" in caught.value.fix
        )


def damaged(schema_file: str) -> dict[str, Callable[[Path], object]]:
    return {
        "cut": lambda out: (out / schema_file).write_bytes((out / schema_file).read_bytes()[:-9]),
        "empty": lambda out: (out / schema_file).write_bytes(b""),
        "text": lambda out: (out / schema_file).write_bytes(b"hello"),
        "another table": lambda out: pd.DataFrame({"a": [1]}).to_parquet(out / schema_file),
        "a folder": lambda out: ((out / schema_file).unlink(), (out / schema_file).mkdir()),
        "a pipe": lambda out: ((out / schema_file).unlink(), os.mkfifo(out / schema_file)),
        "endless": lambda out: (
            (out / schema_file).unlink(),
            (out / schema_file).symlink_to("/dev/zero"),
        ),
    }


@pytest.mark.parametrize("how", damaged(""))
def test_a_damaged_table_is_one_sentence_with_its_path(how: str, out: Path) -> None:
    for schema in RUN_TABLES:
        name = parquet_name(schema)
        if not (out / name).is_file():
            continue
        copy = shutil.copytree(out, out.parent / schema.name)
        damaged(name)[how](copy)
        with pytest.raises(InputError) as caught, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_report(copy)
        assert str(copy / name) in str(caught.value), caught.value
        assert caught.value.fix


@pytest.mark.parametrize("pattern", ["layers_a.csv", "purity_a.csv"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\n",
        b"model,rank\na,b\n",
        b"\xff\xfe\0",
        b'"',
        b"a,b\n1,2,3\n4,5\n",
        b"model\n" + b"x" * 10**6,
    ],
)
def test_a_damaged_csv_file_is_one_sentence_with_its_path(
    pattern: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / pattern).write_bytes(content)
    with pytest.raises(InputError) as caught:
        write_report(tmp_path)
    assert str(tmp_path / pattern) in caught.value.came and caught.value.fix


TYPES = [None, 3, "abc", [3], {"a": [1]}, {"a": {}}, [{"label": 3}]]
PARTS = (
    "purescope",
    "versions",
    "tables",
    "settings",
    "models",
    "datasets",
    "timings",
    "notes",
    "hashes",
    "threads",
)


def test_a_manifest_of_any_types_is_shown_or_refused(tmp_path: Path) -> None:
    """Never a traceback: what a page takes from the manifest is what the manifest is checked
    for.
    """
    write_manifest_of_layers(tmp_path)
    refused = 0
    for key in (*PARTS, "started", "finished"):
        for value in TYPES:
            (tmp_path / "manifest.json").write_text(json.dumps({"purescope": "0.1.0", key: value}))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    folder = open_results(tmp_path)
                except PurescopeError as error:
                    refused += str(tmp_path / "manifest.json") in str(error)
                else:
                    assert title(folder) == "a" and facts(folder)
                    assert all(isinstance(note, str) for note in folder.manifest.get("notes", []))
    assert refused > 60


def write_manifest_of_layers(folder: Path) -> None:
    row = {name: [sample(column)] for name, column in LAYERS.described.items()}
    pd.DataFrame(row).to_csv(folder / "layers_a.csv", index=False)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, '"\\ud800"', "\0", "NaN"]
)
def test_a_manifest_that_hurts_is_refused(text: str, out: Path) -> None:
    (out / "manifest.json").write_text(text)
    for use in (write_report, again):
        with pytest.raises(OutputError, match=r"manifest\.json (cannot be read|holds a)"):
            use(out)  # type: ignore[operator]


def test_somebody_elses_manifest_is_said_and_left_out(out: Path) -> None:
    (out / "manifest.json").write_text('{"models": "all of them", "notes": 3}')
    with pytest.warns(UserWarning, match=r"manifest\.json is not purescope's, and is left out"):
        write_report(out)


def test_a_changed_table_is_said(out: Path) -> None:
    table = pd.read_parquet(out / "importance.parquet")
    table.assign(variance=0.5).to_parquet(out / "importance.parquet", index=False)
    with pytest.warns(
        UserWarning, match=r"importance\.parquet is not the file that its run wrote.*shown as it is"
    ):
        write_report(out)


def test_many_rows_in_few_bytes_are_refused(tmp_path: Path, out: Path) -> None:
    rows = 3_000_000
    codes = np.zeros(rows, np.int8)
    table = pd.DataFrame(
        {name: pd.Categorical.from_codes(codes, ["a"]) for name in ("model", "dataset", "word")}
    )
    table.to_parquet(out / "words.parquet", index=False)
    assert (out / "words.parquet").stat().st_size < 500_000
    with pytest.raises(InputError, match=r"words\.parquet declares .* in a file of"):
        write_report(out)


def test_plot_of_a_folder_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results in"):
        draw_folder(tmp_path, tmp_path / "figures")


# --- files of one model and dataset each

CLASHES = [  # two calls whose files have one name, on some file system at least
    (("a", "b c"), ("a b", "c")),
    (("A", "x"), ("a", "x")),
    (("caf\u00e9", "x"), ("cafe\u0301", "x")),
    (("Stra\u00dfe", "x"), ("STRASSE", "x")),
    (("a", "x y"), ("a", "x_y")),
]


@pytest.mark.parametrize(("first", "second"), CLASHES)
def test_a_file_of_another_model_or_dataset_is_not_replaced(
    first: tuple[str, str], second: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for model, dataset in (first, second):
        features = replace(MADE.features, model=model, dataset=dataset)
        save_features(features, tmp_path / f"{len(list(tmp_path.iterdir()))}.npz")
    files = sorted(tmp_path.glob("*.npz"))
    command = ["importance", "--per-class", "--out", str(out), "--data"]
    assert CliRunner().invoke(cli, [*command, f"features:{files[0]}"]).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert len(before) == 2
    with pytest.raises(OutputError, match=r"importance_.*\.csv holds .*, and would be replaced by"):
        CliRunner().invoke(cli, [*command, f"features:{files[1]}"], catch_exceptions=False)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert CliRunner().invoke(cli, [*command, f"features:{files[0]}"]).exit_code == 0, (
        "its own are made again"
    )


@pytest.mark.parametrize(("one", "other"), [("A", "a"), ("\u00df", "ss"), ("\u00e9", "e\u0301")])
def test_names_that_a_file_system_may_take_for_one_are_refused_in_a_run(
    one: str, other: str, tmp_path: Path
) -> None:
    sets = [replace(MADE.features, dataset=name) for name in (one, other)]
    with pytest.raises(DatasetError, match="share a name"):
        run_sweep([], sets, tmp_path / "out", settings=SETTINGS)
