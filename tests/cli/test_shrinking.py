"""``purescope shrink`` as a user types it: files, pipes, errors; torch is never imported."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from purescope.reduce.rotation import Rotation, write_rotation
from tests.cli.calls import fails, run

ROWS = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)


@pytest.fixture
def by(tmp_path: Path) -> Path:
    axes = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))[0]
    write_rotation(Rotation(axes, axes, torch.ones(6)), tmp_path / "rotation.safetensors")
    np.save(tmp_path / "long.npy", ROWS)
    return tmp_path


def test_every_option_arrives(by: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = by / "short.npy"
    command = ("shrink", by / "long.npy", "--by", by, "--out", short)
    assert run(*command, "--keep", 4) == 0
    out, err = capsys.readouterr()
    assert f"{short}: 9 rows of 4 dimensions" in out and "shrinking" in err
    assert np.allclose(np.linalg.norm(np.load(short), axis=1), 1)
    message = fails(capsys, *command, "--keep", 3)
    assert "was made with another keep (4)" in message and "--overwrite" in message
    options = (
        "--keep",
        3,
        "--dtype",
        "float16",
        "--no-normalise",
        "--tower",
        "text",
        "--overwrite",
    )
    assert run(*command, *options) == 0
    rows = np.load(short)
    assert rows.shape == (9, 3) and rows.dtype == np.float16
    assert not np.allclose(np.linalg.norm(rows.astype(float), axis=1), 1, atol=0.1)
    np.savez(by / "two.npz", a=ROWS, b=ROWS)
    command = ("shrink", by / "two.npz", "--by", by, "--keep", 2, "--out", by / "out.npz")
    assert run(*command, "--array", "b") == 0
    assert np.load(by / "out.npz")["a"].shape == (9, 6)
    message = fails(capsys, *command[:-1], by / "again.npz", "--array", "c")
    assert "no matrix of floating-point numbers is called 'c'" in message


def test_several_files_go_into_a_folder(by: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (by / "shards").mkdir()
    for name in ("0.npy", "1.npy"):
        np.save(by / "shards" / name, ROWS)
    (by / "shards" / "ids.txt").write_text("ids")
    command = ("shrink", by / "shards", by / "long.npy", "--by", by, "--keep", 2, "--out", by / "o")
    for kept in ("", "; 3 of the files were finished already"):
        assert run(*command) == 0
        out = capsys.readouterr().out
        assert "27 rows of 2 dimensions in 3 files" in out and "1 other files were copied" in out
        assert (kept or "rows") in out and ("finished" in out) == bool(kept)


def test_mistakes_are_answered(by: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, message in (
        (("gone.npy", "--by", by, "--keep", 2, "--out", "x"), "no file or folder gone.npy"),
        ((by / "long.npy", "--by", by / "x", "--keep", 2, "--out", "x"), "there is no file"),
        (("-", "a.npy", "--by", by, "--keep", 2, "--out", "x"), "standard input (-) and files"),
        ((by / "long.npy", "--by", by, "--keep", 7, "--out", "x"), "7 axes to keep"),
        ((by / "long.npy", "--by", by, "--keep", 2, "--out", by / "long.npy" / "x"), "is a file"),
        (
            (by / "long.npy", "--by", by, "--keep", 2, "--dtype", "int8", "--out", "x"),
            "--dtype int8",
        ),
        (("--by", by, "--keep", 2, "--out", "x"), "missing argument"),
    ):
        assert message in fails(capsys, "shrink", *command)


@pytest.mark.slow
def test_pipes_and_no_torch(by: Path) -> None:
    """In a process of its own, whose standard streams are those of the command."""
    code = (
        "import sys; from purescope.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(sorted({'torch', 'pandas', 'pyarrow'} & set(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "shrink", "-", "--by", by, "--keep", "4", "--out", "-"]
    content = (by / "long.npy").read_bytes()
    ended = subprocess.run(command, input=content, capture_output=True, check=True)
    assert np.load(io.BytesIO(ended.stdout)).shape == (9, 4)
    assert ended.stderr.decode().splitlines() == [
        "standard output: 9 rows of 4 dimensions",
        "[]",
    ]
