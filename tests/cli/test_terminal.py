"""A run prints one screen, with curves that follow the numbers and names as they are."""

import io
import logging
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from purescope.cli import output, terminal
from purescope.formats import Difference
from purescope.tables.result_table import curve_points
from purescope.tables.results import Results
from purescope.tables.schemas import STANDINGS
from purescope.tables.verdicts import Finding, Verdict

KS = [200, 250, 300, 350, 400, 450, 500]
SETS = ("emoji", "flags", "icons", "clipart", "fashion-mnist", "openmoji")


def made(
    models: tuple[str, ...] = ("Bundled CLIP", "Bundled LaCLIP"), sets: tuple[str, ...] = SETS
) -> pd.DataFrame:
    rows = [
        (model, dataset, strategy, draw, k, "accuracy", value + 0.0001 * k, 1399, 66, 512, 1 / 66)
        for model in models
        for dataset in sets
        for strategy, value in (("high_purity", 0.5), ("low_purity", 0.4), ("random", 0.45))
        for draw in range(3 if strategy == "random" else 1)
        for k in KS
    ]
    full = [
        (model, dataset, "full", 0, 512, "accuracy", 0.6, 1399, 66, 512, 1 / 66)
        for model in models
        for dataset in sets
    ]
    columns = [
        "model",
        "dataset",
        "strategy",
        "draw",
        "k",
        "metric",
        "value",
        "n",
        "classes",
        "neurons",
        "chance",
    ]
    return pd.DataFrame(rows + full, columns=columns).assign(low=np.nan, high=np.nan)


def results(table: pd.DataFrame | None = None) -> Results:
    """Return the results of a run, as far as accuracies are printed from them."""
    return Results(Path(), {"curve_points": curve_points(made() if table is None else table)})


def printed(show, **options: object) -> str:
    screen = Console(file=io.StringIO(), width=100, highlight=False, **options)  # type: ignore[arg-type]
    show(screen)
    return screen.file.getvalue()  # type: ignore[attr-defined]


def test_two_models_on_six_sets_are_half_a_screen_of_100_columns() -> None:
    lines = printed(lambda screen: terminal.print_accuracies(screen, results())).splitlines()
    assert len(lines) <= 22 and max(map(len, lines)) <= 100
    # From 42 to 55, the eighth of 13 points that a value is nearest to: 52 is 5.4 of 7 above the
    # least.
    row = next(line for line in lines if line.startswith("flags"))
    curves = ["52.0", "▆▇▇▇▇██", "55.0", "47.0", "▄▄▄▄▅▅▅", "50.0", "42.0", "▁▁▂▂▂▂▃", "45.0"]
    assert row.split() == ["flags", "1,399", "1.5", "60.0", *curves]


def test_colours_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = printed(
        lambda screen: terminal.print_accuracies(screen, results()),
        force_terminal=True,
        color_system="truecolor",
    )
    assert "\x1b[38;2;0;114;178m▆" in coloured and "\x1b[38;2;0;114;178m52" not in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = printed(
        lambda screen: terminal.print_accuracies(screen, results()), force_terminal=True
    )
    assert "\x1b[3" not in plain and "▆▇▇▇▇██" in plain


def test_a_terminal_of_80_columns_cuts_no_number() -> None:
    screen = Console(file=io.StringIO(), width=80, highlight=False)
    terminal.print_accuracies(screen, results())
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80 and "…" not in "".join(lines)
    row = next(line for line in lines if line.startswith("fashion-mnist"))
    assert row.split()[1:4] == ["60.0", "52.0", "▆▇▇▇▇██"]


def test_steps_are_printed_on_standard_error_a_line_each(capfd: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("purescope.runs.run")
    with output.show_messages():
        log.info("%d of %d", 1, 2)
        warnings.warn("a doubt", UserWarning, stacklevel=1)
    log.info("not printed")
    assert capfd.readouterr().err == "1 of 2\nnote: a doubt\n"


def test_on_a_terminal_a_step_passes_and_a_note_stays(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with output.show_messages():
        logging.getLogger("purescope").info("first")
        warnings.warn("a doubt", UserWarning, stacklevel=1)
    err = capfd.readouterr().err
    assert err.index("first ...") < err.index("note: a doubt\n") and err.endswith(
        "\r\x1b[K" if "\x1b" in err else "\r"
    )


def test_names_are_no_markup() -> None:
    table = made(models=("[red]M[/red]",), sets=("[bold]D[/bold]", "a[/]b"))
    shown = printed(lambda screen: terminal.print_accuracies(screen, results(table)))
    assert "[red]M[/red]" in shown and "[bold]D[/bold]" in shown and "a[/]b" in shown
    difference = Difference(0.01, -0.01, 0.03)
    finding = Finding(
        "[i]D[/i]",
        1,
        "not decided",
        "not asked",
        difference,
        difference,
        difference,
        0.5,
        0.5,
        0.5,
        0.02,
        50,
    )
    line = printed(
        lambda screen: screen.print(terminal.verdict_line(Verdict("[b]M[/b]", finding, (finding,))))
    )
    assert (
        "[b]M[/b]" in line
        and "[i]D[/i]" in line
        and "not decided" in line
        and "+1.00 points" in line
    )


@pytest.mark.parametrize(
    ("values", "shown"),
    [([0.0, 1.0], "▁█"), ([1.0, 1.0], "▄▄"), (np.arange(40.0).tolist(), 14), ([0.5], "▄")],
)
def test_a_curve_fits_its_scale_and_is_not_long(values: list[float], shown: str | int) -> None:
    line = terminal.sparkline(values, min(values), max(values))
    assert (len(line) if isinstance(shown, int) else line) == shown
    assert list(line) == sorted(line)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a purescope below the working folder, which is the running one; PATH has none."""
    script = tmp_path / "my env" / "bin" / "purescope"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\necho $*\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["my env/bin/purescope", "demo"])
    monkeypatch.setenv("PATH", os.defpath)
    assert shutil.which("purescope") is None
    return script


def test_a_command_to_type_works_as_it_is_printed(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = terminal.runnable("purescope purity bundled:clip")
    assert line == "'my env/bin/purescope' purity bundled:clip"
    assert (
        subprocess.run(line, shell=True, capture_output=True, text=True).stdout
        == "purity bundled:clip\n"
    )
    elsewhere = installed.parents[2] / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(sys, "argv", [str(installed), "demo"])
    monkeypatch.chdir(elsewhere)
    assert terminal.runnable("purescope models") == f"'{installed}' models"


def test_a_command_on_the_path_is_called_by_its_name(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(installed.parent))
    assert terminal.runnable("purescope models") == "purescope models"
    other = installed.parents[2] / "bin" / "purescope"  # PATH has another one
    other.parent.mkdir()
    shutil.copy(installed, other)
    monkeypatch.setenv("PATH", str(other.parent))
    assert terminal.runnable("purescope models") == "'my env/bin/purescope' models"


def test_python_that_runs_a_module_is_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/purescope/__main__.py"])
    assert terminal.runnable("purescope models") == "purescope models"


@pytest.mark.parametrize(("sets", "words"), [(1, "1 dataset"), (2, "2 datasets")])
def test_one_dataset_is_one(sets: int, words: str) -> None:
    row = {name: np.nan for name in STANDINGS.columns} | {
        "model": "M",
        "strategy": "svd",
        "place": 1,
        "sets": sets,
        "labels": False,
        "area": 0.5,
        "needed": 200.0,
    }
    table = terminal.strategy_table(pd.DataFrame([row]), 200)
    assert table.title == f"M: strategies, over all k and {words}"


def test_notes_beyond_the_most_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with output.show_messages(most=2):
        for i in range(5):
            warnings.warn(f"number {i}", stacklevel=1)
    notes = capsys.readouterr().err.splitlines()
    assert notes == ["note: number 0", "note: number 1", "note: 3 more, all in manifest.json"]


def test_a_table_of_one_k_or_one_choice_has_no_curve() -> None:
    table = made()
    one = table[(table.k.isin([200, 512])) & (table.strategy != "low_purity")]
    shown = printed(lambda screen: terminal.print_accuracies(screen, results(one)))
    assert "keeping 200 of 512" in shown and "low purity" not in shown and "▁" not in shown
    assert not np.isnan(one.value).any()
