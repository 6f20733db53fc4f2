"""``purescope rebase``: what it prints and refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from purescope.reduce.rotation import read_rotation
from tests.checkpoints import laclip_tensors, write_laclip
from tests.cli.calls import fails, run


def test_it_says_what_the_first_axes_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_laclip(tmp_path / "model.pt", laclip_tensors(depth=1))
    assert run("rebase", model, "--axes", "cross", "--out", tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path / 'out'}: the rotated model, rotation.safetensors" in shown
    spectrum = read_rotation(tmp_path / "out").spectrum
    assert f"1 {float(spectrum[0]):.0%}, 3 {float(spectrum[:3].sum()):.0%}, " in shown
    assert f"purescope export {model} --rotation {tmp_path / 'out'} --out smaller --keep 6" in shown
    assert "holds model.safetensors" in fails(capsys, "rebase", model, "--out", tmp_path / "out")


def test_embeddings_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(50, 8)))
    data, out = f"features:{tmp_path / 'a.npy'}", tmp_path / "out"
    options = ("--fit-on", "0.5", "--seed", "3", "--no-normalise", "--out", out)
    assert run("rebase", "--data", data, *options) == 0
    shown = capsys.readouterr().out
    assert f"{out}: rotation.safetensors\n  of 8 axes" in shown and "export" not in shown
    recipe = read_rotation(out).recipe
    assert (recipe["part"], recipe["seed"], recipe["rows"]) == ("0.5", "3", "as they are")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none.pt", "--out", "out"), "none.pt"),
        (("--data", "features:none.npy", "--out", "out"), "there is no file none.npy"),
        (("--fit-on", "0", "--out", "out"), "--fit-on"),
        (("bundled:clip",), "--out"),
        (("--out", "out"), "no MODEL and no --data"),
    ],
)
def test_what_is_refused(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, "rebase", *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_missing_path_is_refused_before_torch_is_imported() -> None:
    """One process for both commands."""
    calls = (
        ["rebase", "--data", "features:none.npy", "--out", "out"],
        ["export", "bundled:clip", "--keep", "4", "--rotation", "none", "--out", "out"],
        ["export", "bundled:clip", "--keep", "4", "--order", "none.csv", "--out", "out"],
        ["export", "none.pt", "--keep", "4", "--out", "out"],
    )
    program = f"""
import sys
from purescope.cli import main
for words in {calls!r}:
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code == 2, stop.code
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
