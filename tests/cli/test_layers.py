"""`purescope layers` and `purescope track` as a user types them, and the figure of a training."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from bundle.model import VOCABULARY_FILE, half_weights, make_model
from bundle.publish import write_model
from purescope.cli.layers import track as command
from purescope.errors import InputError, PurescopeError
from purescope.models import load_model
from purescope.plots.dynamics import plot_dynamics, write_dynamics
from purescope.studies.training.tracking import TrackSettings, track
from purescope.tables.results import read_track
from tests.cli.calls import run
from tests.studies.training import made

BUNDLE = Path(__file__).parents[2] / "bundle"
MERGES = Path(__file__).parents[2] / "src/purescope/bundled/models/clip" / VOCABULARY_FILE


@pytest.mark.slow
def test_the_command_follows_the_bundled_snapshots(tmp_path: Path) -> None:
    models = [f"{BUNDLE}/snapshots/clip-*", "@4000=bundled:clip"]
    arguments = [*models, "--no-report", "--out", str(tmp_path)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    table = read_track(tmp_path)
    assert table.model.tolist() == ["clip"] * 3 and table.step.tolist() == [400, 1500, 4000]
    for step in ("400", "1,500", "4,000"):
        assert step in result.output
    last = table.iloc[-1]
    assert f"to {last.image_relative_overlap:.2f}" in re.sub(r"\s+", " ", result.output)
    assert {"dynamics.png", "dynamics.svg", "track.csv", "track.parquet"} <= {
        p.name for p in tmp_path.iterdir()
    }


@pytest.mark.slow
def test_the_command_measures_accuracy_on_data(tmp_path: Path) -> None:
    options = [
        "--data",
        "bundled:flags",
        "--keep",
        "100,512",
        "--draws",
        "3",
        "--no-figures",
        "--no-report",
        "--out",
        str(tmp_path),
    ]
    result = CliRunner().invoke(command, ["@4000=bundled:clip", *options], catch_exceptions=False)
    assert result.exit_code == 0
    row = read_track(tmp_path).iloc[0]
    assert row.high_purity_512 == row.low_purity_512 == row.accuracy
    shown = re.sub(r"\s+", " ", result.output)
    assert (
        f"ends {100 * row.gap:+.1f} points from low" in shown
        and f"{100 * row.accuracy:.1f}" in shown
    )


def test_a_wrong_call_is_reported(tmp_path: Path) -> None:
    for arguments in (
        ["bundled:clip"],
        ["@1=bundled:clip", "--space", "centred"],
        ["@1=bundled:clip", "--data", "x"],
    ):
        result = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path)])
        assert isinstance(result.exception, PurescopeError), arguments


@pytest.mark.slow
def test_the_untrained_model_is_a_checkpoint_of_step_0(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        write_model(half_weights(make_model(seed=0)), MERGES, tmp_path / "clip-00000")
    row = track([tmp_path], load=load_model).iloc[0]
    assert (row.model, row.step) == ("clip", 0)
    assert 0.95 < row.image_relative_overlap < 1.05  # in units of random weights


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    pairs = [(step, made.make_model(step, label)) for label in ("a", "b") for step in (1, 20)]
    return track(pairs, [made.make_dataset("x")], settings=TrackSettings(keep=[3, 6], draws=4))


def test_lines_are_the_columns_of_the_table(table: pd.DataFrame) -> None:
    rows = table[table.model == "b"]
    columns = {
        "overlap": {
            "overlap, image tower": rows.image_relative_overlap,
            "overlap, text tower": rows.text_relative_overlap,
        },
        "order": {"order by purity, with that of the last step": rows.rank_last},
        "accuracy": {
            "all neurons": 100 * rows.accuracy,
            "highest purity kept, mean over k": 100 * rows.high_purity,
        },
        "gap": {
            "highest purity kept, mean over k": 100 * rows.gap_to_random,
            "lowest purity kept, mean over k": 100 * (rows.low_purity - rows.random),
        },
    }
    for show, expected in columns.items():
        lines = {
            str(line.get_label()): line for line in plot_dynamics(table, show, model="b").lines
        }
        for label, values in expected.items():
            assert list(lines[label].get_xdata()) == [1, 20]  # type: ignore[arg-type]
            assert list(lines[label].get_ydata()) == pytest.approx(values.tolist())  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_figure_takes_any_table(table: pd.DataFrame, tmp_path: Path) -> None:
    alone = track([(1, made.make_model(1))])
    undrawn = track(
        [(1, made.make_model(1))], [made.make_dataset()], settings=TrackSettings(keep=[3], draws=0)
    )
    for i, each in enumerate((table, alone, undrawn, pd.concat([table, alone]))):
        assert [path.name for path in write_dynamics(each, tmp_path / str(i), ["svg"])] == [
            "dynamics.svg"
        ]
    for show, of, message in (
        ("acuracy", table, "did you mean 'accuracy'"),
        ("overlap", table, "2 models"),
        ("accuracy", alone, "0 datasets"),
        ("gap", undrawn, "without random orders"),
    ):
        with pytest.raises(InputError, match=message):
            plot_dynamics(of, show)


@pytest.mark.slow
def test_layers_end_with_how_figures_are_drawn(tmp_path, capsys) -> None:
    assert run("layers", "bundled:clip", "--out", tmp_path / "depths") == 0
    *_, look, tables, figures = capsys.readouterr().out.splitlines()
    assert look == f"Look:    {tmp_path / 'depths' / 'report.html'}"
    assert (tables, figures) == (
        f"Tables:  {tmp_path / 'depths'}",
        f"Figures: purescope plot {tmp_path / 'depths'}",
    )
    assert not list((tmp_path / "depths").rglob("*.png"))
    assert run("plot", tmp_path / "depths") == 0
    assert list((tmp_path / "depths").rglob("*.png"))
