"""A run that is stopped goes on: what it finished is kept, and the end is the same as without a stop."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from purescope import runs
from purescope.errors import ModelError, OutputError
from purescope.features import Features
from purescope.models import Model, Preprocess
from purescope.purity import Projections
from purescope.runs import Settings, run_sweep

# Random features are no better than chance, and told so.
pytestmark = pytest.mark.filterwarnings("ignore:.*(told from chance|recall is 0)")

NEURONS = 6
SETTINGS = Settings(keep=(2, 5), draws=2)


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, NEURONS, generator=torch.Generator().manual_seed(seed))


def model(label: str, seed: int) -> Model:
    return Model(
        label=label,
        spec="made by hand",
        weight_space=Projections(rows(NEURONS, seed), rows(NEURONS, seed + 1)),
        neurons=NEURONS,
        preprocess=Preprocess(2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        encode_image=lambda pixels: pixels.flatten(1)[:, :NEURONS],
        encode_text=lambda texts: rows(len(texts), 9),
        identity={"weights": label},
    )


def data(name: str, seed: int) -> Features:
    return Features(rows(12, seed), rows(3, seed + 1), torch.arange(12) % 3, ("a", "b", "c"), "unknown", name)


MODELS = [model("One", 0), model("Two", 2)]
DATA = [data("first", 10), data("second", 20), data("third", 30)]


def content(out: Path) -> dict[str, bytes]:
    """Every file but the manifest, which holds times."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files if path.suffix != ".svg"}


class StopHere(BaseException): ...


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn from the table alone, and take longer than all the rest."""
    monkeypatch.setattr("purescope.plots.write_figures", lambda table, out: None)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The pairs that are measured, as they are."""
    pairs: list[tuple[str, str]] = []
    sweep = runs._sweep

    def listed(features: Features, model: Model, settings: Settings) -> pd.DataFrame:
        pairs.append((model.label, features.dataset))
        return sweep(features, model, settings)

    monkeypatch.setattr(runs, "_sweep", listed)
    return pairs


def stop_after(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, count = runs._sweep, [0]

    def stopping(*arguments: Any) -> pd.DataFrame:
        count[0] += 1
        if count[0] > pairs:
            raise StopHere
        return sweep(*arguments)

    monkeypatch.setattr(runs, "_sweep", stopping)


@pytest.mark.parametrize("pairs", [0, 1, 3, 5])
def test_a_stopped_run_goes_on_where_it_stopped(pairs: int, tmp_path: Path, measured: list[Any]) -> None:
    expected = run_sweep(MODELS, DATA, tmp_path / "whole", settings=SETTINGS)
    measured.clear()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopHere):
        stop_after(pairs, patch)
        run_sweep(MODELS, DATA, tmp_path / "stopped", settings=SETTINGS)
    assert len(measured) == pairs
    table = run_sweep(MODELS, DATA, tmp_path / "stopped", settings=SETTINGS)
    assert len(measured) == len(set(measured)) == 6, "each pair once"
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")
    told = json.loads((tmp_path / "stopped" / "manifest.json").read_text())
    assert [(timing["model"], timing["dataset"]) for timing in told["timings"]] == measured
    assert "finished" in told


def test_notes_of_what_was_done_before_are_told_again(tmp_path: Path) -> None:
    lonely = replace(DATA[0], labels=torch.arange(12), text=rows(12, 1), classes=tuple("abcdefghijkl"))
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(StopHere),
    ):
        stop_after(1, patch)
        run_sweep(MODELS, [lonely], tmp_path, settings=SETTINGS)
    with pytest.warns(UserWarning, match="no silhouette") as told:
        run_sweep(MODELS, [lonely], tmp_path, settings=SETTINGS)
    sentences = [str(warning.message) for warning in told]
    assert sorted(s[:12] for s in sentences if "no silhouette" in s) == ["One on first", "Two on first"]


@pytest.mark.parametrize("how", ["overwrite", "another version", "no table"])
def test_everything_is_measured_anew(how: str, tmp_path: Path, measured: list[Any]) -> None:
    run_sweep(MODELS[:1], DATA[:2], tmp_path, settings=SETTINGS)
    measured.clear()
    manifest = tmp_path / "manifest.json"
    if how == "another version":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"purescope": "0.0.1"}))
    if how == "no table":
        (tmp_path / "results.parquet").unlink()
        with pytest.warns(UserWarning, match=r"measured anew, since no results\.parquet"):
            run_sweep(MODELS[:1], DATA[:2], tmp_path, settings=SETTINGS)
    else:
        run_sweep(MODELS[:1], DATA[:2], tmp_path, settings=SETTINGS, overwrite=how == "overwrite")
    assert len(measured) == 2


def test_a_finished_run_is_read_again(tmp_path: Path, measured: list[Any]) -> None:
    first = run_sweep(MODELS, DATA, tmp_path, settings=SETTINGS)
    before = content(tmp_path)
    measured.clear()
    pd.testing.assert_frame_equal(run_sweep(MODELS, DATA, tmp_path, settings=SETTINGS), first, check_exact=True)
    assert measured == []
    assert content(tmp_path) == before
    with pytest.raises(OutputError, match="its settings differ"):
        run_sweep(MODELS, DATA, tmp_path, settings=replace(SETTINGS, seed=3))


def test_progress_is_not_shown_for_what_needs_no_encoding(tmp_path: Path) -> None:
    def progress(iterable: Iterable[Any], label: str, total: int) -> Iterator[Any]:
        raise AssertionError(label)

    run_sweep(MODELS, DATA[:1], tmp_path, settings=SETTINGS, progress=progress)


def test_a_model_without_projection_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    bare = replace(MODELS[0], weight_space="its image tower ends in a pooling")
    with pytest.raises(ModelError, match=r"One: its image tower ends in a pooling\n.*\n.*--space activations"):
        run_sweep([bare], DATA, tmp_path / "out", settings=SETTINGS)
    assert not (tmp_path / "out").exists()
    table = run_sweep([bare], DATA, tmp_path / "out", settings=replace(SETTINGS, space="centred"))
    assert set(table.space) == {"centred"}


def test_a_doubtful_result_is_told_and_recorded(tmp_path: Path) -> None:
    shifted = replace(DATA[0], image=torch.eye(3, NEURONS).repeat(20, 1), text=torch.eye(3, NEURONS)[[1, 2, 0]],
                      labels=torch.arange(60) % 3)  # fmt: skip
    with pytest.warns(UserWarning, match=r"One on first: .*are the class names in the right order\?"):
        run_sweep(MODELS[:1], [shifted], tmp_path, settings=SETTINGS)
    assert "right order?" in " ".join(json.loads((tmp_path / "manifest.json").read_text())["notes"])
