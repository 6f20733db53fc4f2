"""``purescope index`` as a user types it: options, the printed frontier, and errors."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from purescope.runs import indexes
from purescope.studies.spectra import Spectrum, make_embeddings
from purescope.tables.files import check_table
from purescope.tables.results import Results
from purescope.tables.searches import SEARCHES
from tests.cli.calls import fails, run

MADE = make_embeddings(60, spectrum=Spectrum(neurons=8), topics=4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "mine.npy", MADE.image.numpy())
    return tmp_path / "mine.npy"


@pytest.mark.slow
def test_the_frontier_is_printed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "out"
    options = ("--queries", 10, "--resamples", 100, "--codes", "f32,int8", "--candidates", 10)
    assert run("index", file, "--keep", "4,8", *options, "--no-figures", "--out", out) == 0
    assert not (out / "figures").exists() and (out / "report.html").stat().st_size > 100_000
    printed, steps = capsys.readouterr()
    table = pd.read_csv(out / "searches.csv")
    assert len(table) == 8 and "mine: 8 dimensions, int8" in steps
    assert "mine: 50 vectors of 8, 10 queries" in printed
    whole = table[(table.k == 8) & (table.code == "f32") & (table.stage == "single")].iloc[0]
    assert whole.recall == 1 and whole.bytes == 32
    lines = [line.split() for line in printed.splitlines() if " to 100.0" in line]
    assert lines and str(out / "searches.csv") in printed


def test_every_option_arrives(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []
    columns = {name: [_sample(column)] for name, column in SEARCHES.described.items()}
    table = check_table(pd.DataFrame(columns), SEARCHES)

    def index(data: list[str], **options: Any) -> Results:
        calls.append((data, options))
        return Results(Path("out"), {"searches": table})

    monkeypatch.setattr(indexes, "index", index)
    options = {
        "keep": ("2,4:8:2", [2, 4, 6, 8]),
        "codes": ("f16", "f16"),
        "axes": ("pca", "pca"),
        "by": (str(file.parent), str(file.parent)),
        "ask": ("text", "text"),
        "queries": (7, 7),
        "rows": (90, 90),
        "candidates": (20, 20),
        "column": ("c", "c"),
        "array": ("a", "a"),
        "seed": (5, 5),
        "resamples": (50, 50),
        "model": ("bundled:clip", "bundled:clip"),
    }
    words = [word for name, (typed, _) in options.items() for word in (f"--{name}", typed)]
    flags = ("--no-normalise", "--no-figures", "--no-report", "--no-cache", "--batch-size", 3)
    out = file.parent / "out"
    assert run("index", file, "features:other", *words, *flags, "--out", out) == 0
    ((data, given),) = calls
    assert data == [str(file), "features:other"]
    assert {name: given[name] for name in options} == {n: v for n, (_, v) in options.items()}
    assert (given["normalise"], given["figures"], given["out"]) == (False, False, out)
    assert not given["report"]
    assert given["sources"].cache is None and given["sources"].batch_size == 3
    calls.clear()
    assert run("index", file, "--out", out) == 0
    ((_, given),) = calls
    assert (given["keep"], given["by"], given["ask"], given["rows"]) == (None, None, "", 100_000)
    assert (
        given["normalise"]
        and given["figures"]
        and given["report"]
        and given["codes"] == "f32,f16,int8,binary,pq"
    )


def _sample(column: Any) -> object:
    samples = {"int64": 2, "float64": 0.5, "bool": True, "string": "f32"}
    return column.choices[0] if column.choices else samples[column.dtype]


def test_a_wrong_path_is_answered_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from purescope.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    np.save(tmp_path / "mine.npy", MADE.image.numpy())
    for words in (("gone.npy",), ("mine.npy", "--by", "gone")):
        done = subprocess.run(
            [sys.executable, "-c", code, "index", *words, "--out", "out"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert done.stdout.split() == ["2", "False"] and "gone" in done.stderr


def test_mistakes_are_answered(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", file.parent / "out")
    for words, message in (
        (("gone.npy", *out), "there is no file or folder gone.npy"),
        (("features:gone.npy", *out), "there is no file gone.npy"),
        ((file, "--codes", "int4", *out), "did you mean 'int8'?"),
        ((file, "--keep", "8-4", *out), "--keep '8-4'"),
        ((file, "--by", "nowhere", *out), "there is no file or folder nowhere"),
        ((file, "--axes", "cross", *out), "--by DIR"),
        ((file, "--out", file.parent), "holds mine.npy"),
        (("bundled:flags", *out), "no model to encode flags"),
    ):
        assert message in fails(capsys, "index", *words)
