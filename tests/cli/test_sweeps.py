"""``purescope sweep`` as a user types it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from purescope.tables.schemas import RESULTS
from tests.cli.calls import QUICK, fails, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vocabulary")]


def test_sweep_writes_every_result_file(folder, models, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    image, text = (np.random.default_rng(0).normal(size=(rows, 24)) for rows in (30, 3))
    np.savez(tmp_path / "mine.npz", image=image, text=text, labels=np.arange(30) % 3)
    data = ["--data", f"folder:{folder}", "--data", f"features:{tmp_path / 'mine.npz'}"]
    assert (
        run(
            "sweep",
            models[0],
            f"A B={models[1]}",
            *data,
            "--keep",
            "6,24",
            "--draws",
            2,
            "--resamples",
            100,
            "--rotations",
            2,
            "--out",
            out,
        )
        == 0
    )
    screen = capsys.readouterr().out
    assert "A B" in screen and "Protocol native" in screen and "Purity of weights" in screen
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    wide = {
        f"result_{label}/{name}_{tag}_{metric}_vs_sam.csv"
        for label, tag in (("clip", "clip"), ("a_b", "b"))
        for name in ("pets", "mine")
        for metric in ("accuracy", "silhouette")
    }
    figures = {
        f"figures/{kind}_{name}.{suffix}"
        for kind in ("neuron_pruning", "purity_gap")
        for name in ("pets", "mine")
        for suffix in ("png", "svg")
    }
    swept = ("results", "comparisons", "curves", "attributions", "verdicts", "standings", "shares")
    points = ("curve_points", "mean_points", "choices")
    neurons = ("importance", "class_importance", "confusions", "examples", "orders", "words")
    names = (*swept, *points, *neurons, "neurons")
    tables = {f"{name}.{end}" for name in names for end in ("csv", "parquet")} | {
        "thumbnails.parquet"
    }
    cosines = {f"cosines_{label}.npz" for label in ("clip", "a_b")}
    assert files == wide | figures | tables | cosines | {"manifest.json", "report.html"}
    table = pd.read_csv(out / "results.csv")
    assert list(table.columns) == list(RESULTS.columns)
    assert len(table) == 2 * 2 * (1 + (2 + 2) * 2) * 4
    whole = table[(table.k == 24) & (table.dataset == "mine")].groupby(["model", "metric"]).value
    assert (whole.max() - whole.min()).lt(1e-6).all()


def test_the_same_run_again_gives_the_same_bytes_and_another_is_refused(
    folder, models, tmp_path, capsys
) -> None:
    out = tmp_path / "out"
    command = [
        "sweep",
        models[0],
        "--data",
        f"folder:{folder}",
        "--draws",
        1,
        *QUICK,
        "--out",
        out,
    ]
    assert run(*command) == 0
    first = (out / "results.csv").read_bytes()
    assert run(*command) == 0
    assert (out / "results.csv").read_bytes() == first
    capsys.readouterr()
    message = fails(capsys, *command, "--seed", 5)
    assert (
        "another run: its settings differ (seed 0 there, 5 here)" in message
        and "--overwrite" in message
    )
    assert (out / "results.csv").read_bytes() == first
    assert run(*command, "--seed", 5, "--overwrite") == 0
    assert (out / "results.csv").read_bytes() != first


def test_results_without_a_manifest_are_left_alone(folder, tmp_path, capsys) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.csv").write_text("precious")
    message = fails(
        capsys, "sweep", "bundled:clip", "--data", f"folder:{folder}", "--out", tmp_path / "out"
    )
    assert "results.csv" in message
    assert (tmp_path / "out" / "results.csv").read_text() == "precious"
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"keep": "0"}, r"k = 0 .*\n.*1 to 512"),
        ({"keep": "513"}, r"k = 513 .*\n.*1 to 512"),
        ({"keep": "2.5"}, r"'2\.5' is neither a whole number"),
        ({"data": "bundled:flag"}, r"did you mean 'flags'"),
        ({"data": "cifar1O"}, r"did you mean 'cifar10"),
        ({"data": "cifar10"}, r"cifar10(?s:.*)to fix:   --data-root DIR"),
        ({"keep": "100-500"}, r"to fix:   did you mean 100:500:50\?"),
        ({"model": "bundled:lclip"}, r"did you mean 'laclip'"),
        ({"model": "missing.pt"}, r"missing\.pt"),
        ({"data": "folder:nowhere"}, r"nowhere"),
        ({"data": "features:nowhere.npz"}, r"nowhere\.npz"),
        ({"device": "abacus"}, r"abacus"),
    ],
)
def test_bad_input_is_one_screen_and_leaves_nothing(change, says, tmp_path, capsys) -> None:
    given = {
        "model": "bundled:clip",
        "data": "bundled:flags",
        "keep": "256",
        "device": "cpu",
    } | change
    out = tmp_path / "out"
    options = [part for name in ("data", "keep", "device") for part in (f"--{name}", given[name])]
    message = fails(capsys, "sweep", given["model"], *options, "--out", out)
    assert re.search(says, message), message
    assert not out.exists()


def test_files_of_different_architectures_go_into_one_run(folder, tmp_path, capsys) -> None:
    text = {"context_length": 8, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "patch_size": 16}
    first, second = (
        {"embed_dim": 12, "vision_cfg": {**vision, "width": width}, "text_cfg": text}
        for width in (64, 128)
    )
    models = [f"open_clip:{name}/{tmp_path / name}.pt" for name in ("tiny-a", "tiny-b")]
    with registered(tmp_path, {"tiny-a": first, "tiny-b": second}):
        command = ["--data", f"folder:{folder}", "--keep", 6, "--draws", 1, "--no-cache", *QUICK]
        command += ["--out", tmp_path / "out"]
        assert run("sweep", *models, *command) == 0
        assert pd.read_csv(tmp_path / "out" / "results.csv").model.unique().tolist() == [
            "tiny a",
            "tiny b",
        ]
        message = fails(capsys, "sweep", *models, *command, "--arch", "tiny-a")
    assert "bare file only" in message and "open_clip:tiny-a/FILE" in message


@contextmanager
def registered(folder: Path, configs: dict[str, dict]) -> Iterator[None]:
    """Register architectures with open_clip, and write a file of random weights for each."""
    import open_clip
    from open_clip import factory

    paths, known = list(factory._MODEL_CONFIG_PATHS), dict(factory._MODEL_CONFIGS)
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")
        torch.save(open_clip.create_model(name).state_dict(), folder / f"{name}.pt")
    yield
    factory._MODEL_CONFIG_PATHS[:] = paths
    factory._MODEL_CONFIGS.clear()
    factory._MODEL_CONFIGS.update(known)


def test_no_model_and_no_dataset_are_refused(tmp_path, capsys) -> None:
    assert "MODEL" in fails(capsys, "sweep", "--data", "bundled:flags", "--out", tmp_path / "out")
    assert "--data" in fails(capsys, "sweep", "bundled:clip", "--out", tmp_path / "out")


def test_names_that_would_share_files_are_refused(folder, tmp_path, capsys) -> None:
    both = ["--data", f"folder:{folder}", "--data", f"folder:{folder}"]
    assert "'pets'" in fails(capsys, "sweep", "bundled:clip", *both, "--out", tmp_path / "out")
    same = ["a b=bundled:clip", "A_B=bundled:laclip"]
    assert "NEWLABEL" in fails(
        capsys, "sweep", *same, "--data", f"folder:{folder}", "--out", tmp_path / "out"
    )


def test_a_broken_image_is_named_and_can_be_skipped(folder, tmp_path, capsys) -> None:
    (folder / "cat" / "torn.png").write_bytes(b"\x89PNG no more")
    command = [
        "sweep",
        "bundled:clip",
        "--data",
        f"folder:{folder}",
        "--draws",
        0,
        *QUICK,
        "--out",
        tmp_path / "out",
    ]
    assert "torn.png" in fails(capsys, *command)
    assert run(*command, "--on-bad-image", "skip", "--overwrite") == 0
    assert pd.read_csv(tmp_path / "out" / "results.csv").n.eq(6).all()
    assert "torn.png" in (tmp_path / "out" / "manifest.json").read_text()


def test_no_cache_keeps_nothing(folder, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("PURESCOPE_CACHE", str(tmp_path / "cache"))
    command = ["sweep", "bundled:clip", "--data", f"folder:{folder}", "--draws", 1, *QUICK]
    assert run(*command, "--no-cache", "--out", tmp_path / "a") == 0
    assert not (tmp_path / "cache").exists()
    assert run(*command, "--out", tmp_path / "b") == 0
    assert (tmp_path / "cache").is_dir()
    assert (tmp_path / "b" / "results.csv").read_bytes() == (
        tmp_path / "a" / "results.csv"
    ).read_bytes()


def test_strategies_that_look_at_labels_may_be_alone(tmp_path, capsys) -> None:
    """No strategy without labels can then say what half of the neurons keep."""
    text, labels = np.eye(3, 16), np.arange(30) % 3
    np.savez(tmp_path / "easy.npz", image=text[labels] + 0.01, text=text, labels=labels)
    given = [
        "--data",
        f"features:{tmp_path / 'easy.npz'}",
        "--space",
        "activations",
        "--strategies",
        "importance",
    ]
    few = [
        "--draws",
        0,
        "--resamples",
        20,
        "--keep",
        8,
        "--no-figures",
        "--no-report",
        "--out",
        tmp_path / "out",
    ]
    assert run("sweep", *given, *few) == 0
    assert "100.0" in capsys.readouterr().out and run("report", tmp_path / "out") == 0
