"""A file of vectors that was stopped in its middle goes on there, to the same bytes."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch

import purescope as ps
from purescope.errors import InputError
from purescope.files import resuming
from purescope.files.writing import umask
from purescope.reduce import rows as rows_module
from purescope.reduce.rotation import Rotation, write_rotation

WIDTH, KEEP, COUNT, BLOCK = 6, 4, 43, 5
LONG = np.random.default_rng(0).normal(size=(COUNT, WIDTH)).astype(np.float32)
LONG[[3, 21, 40]] = 0


class Killed(BaseException):
    """Stands for a signal."""


def write_npy(file: Path) -> None:
    np.save(file, LONG)


def write_columns(file: Path) -> None:
    np.save(file, np.asfortranarray(LONG))


def write_tensors(file: Path) -> None:
    tensors = {"a": LONG, "b": LONG[:22], "ids": np.arange(COUNT), "odd": np.ones(3, np.float16)}
    safetensors.numpy.save_file(tensors, file)


def write_parquet(file: Path) -> None:
    pq.write_table(pa.table({"vector": list(LONG)}), file)


GO_ON: dict[str, Callable[[Path], None]] = {
    "mine.npy": write_npy,
    "columns.npy": write_columns,
    "mine.safetensors": write_tensors,
}


@pytest.fixture(autouse=True)
def small_and_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "BLOCK", BLOCK * WIDTH)
    monkeypatch.setattr(resuming, "INTERVAL", 0.0)


@pytest.fixture(scope="module")
def by(tmp_path_factory: pytest.TempPathFactory) -> Path:
    square = np.random.default_rng(1).normal(size=(WIDTH, WIDTH))
    axes = torch.from_numpy(np.linalg.qr(square)[0].astype(np.float32))
    file = tmp_path_factory.mktemp("axes") / "rotation.safetensors"
    return write_rotation(Rotation(axes, axes, torch.ones(WIDTH)), file)


def shrink(
    file: Path, out: Path, by: Path, *, kill_at: int | None = None, **options: Any
) -> tuple[Any, int]:
    """Shrink; end the run in the block of this number. Return what was done, and the blocks."""
    plain, blocks = rows_module._shorten, 0

    def work(*given: Any) -> Any:
        nonlocal blocks
        blocks += 1
        if blocks == kill_at:
            raise Killed
        return plain(*given)

    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="rows are zeros"):
        patch.setattr(rows_module, "_shorten", work)
        patch.setattr(rows_module, "_cores", lambda: 1)
        try:
            return ps.shrink(file, out, by=by, keep=KEEP, **options), blocks
        except Killed:
            # The warning that would have come.
            import warnings

            warnings.warn("rows are zeros", stacklevel=1)
            return None, blocks


@pytest.mark.parametrize("kill_at", [1, 2, 5, 9])
@pytest.mark.parametrize("name", GO_ON)
def test_it_goes_on_to_the_same_bytes(name: str, kill_at: int, by: Path, tmp_path: Path) -> None:
    file, out = tmp_path / name, tmp_path / "out" / name
    GO_ON[name](file)
    whole, every = shrink(file, tmp_path / f"whole-{name}", by)
    done, _ = shrink(file, out, by, kill_at=kill_at)
    assert done is None and not out.exists()
    left = {path.name for path in out.parent.iterdir()}
    assert left in ({f".{name}.partial", f".{name}.partial.json"}, set())
    done, more = shrink(file, out, by)
    # Up to two blocks are computed ahead of the one that is written.
    safe = every - more
    assert max(0, kill_at - 3) <= safe < kill_at and (left or not safe)
    expected = tmp_path / f"whole-{name}"
    assert out.read_bytes() == expected.read_bytes()
    assert stat.S_IMODE(out.stat().st_mode) == 0o666 & ~umask()
    assert (done.rows, done.rows_of_zeros) == (whole.rows, whole.rows_of_zeros)
    records = [
        json.loads(path.with_name(f"{path.name}.purescope.json").read_text())
        for path in (out, expected)
    ]
    assert records[0] == records[1]
    assert {path.name for path in out.parent.iterdir()} == {name, f"{name}.purescope.json"}


def change_source(file: Path, out: Path) -> None:
    write_npy(file)


def cut(file: Path, out: Path) -> None:
    path = resuming.partial_path(out)
    path.write_bytes(path.read_bytes()[:-1])


def damage(file: Path, out: Path) -> None:
    resuming.journal_path(resuming.partial_path(out)).write_text('{"position": "all"')


def forge(file: Path, out: Path) -> None:
    path = resuming.journal_path(resuming.partial_path(out))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": {"rows": -1}}))


@pytest.mark.parametrize("harm", [change_source, cut, damage, forge])
def test_what_does_not_fit_is_begun_anew(
    harm: Callable[[Path, Path], None], by: Path, tmp_path: Path
) -> None:
    file, out = tmp_path / "mine.npy", tmp_path / "out" / "mine.npy"
    write_npy(file)
    _, every = shrink(file, tmp_path / "whole.npy", by)
    shrink(file, out, by, kill_at=5)
    harm(file, out)
    _, blocks = shrink(file, out, by)
    assert blocks == every and out.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_other_options_begin_anew(by: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.npy", tmp_path / "out" / "mine.npy"
    write_npy(file)
    _, every = shrink(file, tmp_path / "whole.npy", by, dtype="float16")
    shrink(file, out, by, kill_at=5)
    _, blocks = shrink(file, out, by, dtype="float16")
    assert blocks == every and out.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_an_error_leaves_nothing(by: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.npy", tmp_path / "out" / "mine.npy"
    np.save(file, np.where(np.arange(COUNT)[:, None] == 30, np.nan, LONG))
    with pytest.raises(InputError, match="row 30"):
        ps.shrink(file, out, by=by, keep=KEEP)
    assert list(out.parent.iterdir()) == []


def test_errors_count_rows_from_the_beginning(by: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.npy", tmp_path / "out" / "mine.npy"
    np.save(file, np.where(np.arange(COUNT)[:, None] == 30, np.nan, LONG))
    shrink(file, out, by, kill_at=6)
    with pytest.raises(InputError, match="row 30"):
        ps.shrink(file, out, by=by, keep=KEEP)


def test_a_table_begins_anew(by: Path, tmp_path: Path) -> None:
    """The end of a Parquet file says where everything is: half of one cannot go on."""
    file, out = tmp_path / "mine.parquet", tmp_path / "out" / "mine.parquet"
    write_parquet(file)
    shrink(file, out, by, kill_at=5)
    assert list(out.parent.iterdir()) == []
    done, _ = shrink(file, out, by)
    assert done.rows == COUNT


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links are followed there")
def test_a_link_in_its_place_is_not_followed(by: Path, tmp_path: Path) -> None:
    file, out, precious = tmp_path / "mine.npy", tmp_path / "short.npy", tmp_path / "precious"
    write_npy(file)
    precious.write_text("precious")
    resuming.partial_path(out).symlink_to(precious)
    with pytest.raises(ps.PurescopeError, match="cannot write"):
        ps.shrink(file, out, by=by, keep=KEEP)
    assert precious.read_text() == "precious"


def test_one_run_at_a_time(by: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.npy", tmp_path / "short.npy"
    write_npy(file)
    with (
        resuming.resumable_path(out, {}) as partial,
        pytest.raises(ps.PurescopeError, match="another run is writing"),
    ):
        partial.file.write(b"begun")
        ps.shrink(file, out, by=by, keep=KEEP)
    assert out.read_bytes() == b"begun"
