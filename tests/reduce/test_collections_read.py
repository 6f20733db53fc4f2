"""Vectors of collections are read in every format, block by block, and nothing else is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from purescope.errors import InputError
from purescope.reduce.collections.formats import FORMATS
from purescope.reduce.collections.vectors import open_vectors
from tests.reduce.test_shrinking import COUNT, LONG, WRITERS, lists, small_blocks, table

__all__ = ["small_blocks"]  # a block has five rows in this file too


def read(path: Path, **options: Any) -> np.ndarray:
    blocks: list[np.ndarray] = []
    open_vectors(path, **options).each_block(blocks.append)
    assert all(block.dtype == np.float32 for block in blocks)
    return np.concatenate(blocks)


@pytest.mark.parametrize(("name", "write"), WRITERS.items())
def test_every_format_is_read(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / name)
    options = {"array": "vector"} if name.endswith((".npz", ".safetensors")) else {}
    assert np.array_equal(read(tmp_path / name, **options), LONG)


def test_every_ending_is_tried() -> None:
    assert {Path(name).suffix for name in WRITERS} == set(FORMATS)


@pytest.mark.parametrize("kind", ["list", "large", "fixed"])
@pytest.mark.parametrize("number", ["halffloat", "double"])
def test_lists_of_any_kind_are_read(kind: str, number: str, tmp_path: Path) -> None:
    pq.write_table(table(lists(kind, number)), tmp_path / "a.parquet")
    assert np.allclose(read(tmp_path / "a.parquet"), LONG, atol=2e-3)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "g"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_matrices_of_any_kind_are_read(dtype: str, order: str, tmp_path: Path) -> None:
    array = np.asarray(LONG, dtype=dtype, order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "a.npy", array)
    assert open_vectors(tmp_path / "a.npy").neurons == LONG.shape[1]
    assert np.array_equal(read(tmp_path / "a.npy"), array.astype(np.float32))


def test_bfloat16_is_read(tmp_path: Path) -> None:
    rows = torch.from_numpy(LONG).bfloat16()
    safetensors.torch.save_file({"a": rows}, tmp_path / "a.safetensors")
    assert np.array_equal(read(tmp_path / "a.safetensors"), rows.float().numpy())


def test_the_files_of_a_folder_follow_one_another(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", LONG[10:])
    pq.write_table(table(pa.array(list(LONG[:10])), 10), tmp_path / "0.parquet")
    (tmp_path / "notes.txt").write_text("none")
    np.save(tmp_path / "2.npy", np.arange(5))  # no vectors
    assert np.array_equal(read(tmp_path), LONG)


def test_of_several_one_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", first=LONG, second=-LONG, other=np.eye(3))
    assert np.array_equal(read(tmp_path / "a.npz", array="second"), -LONG)
    assert read(tmp_path / "a.npz", array="other").shape == (3, 3)
    both = table(lists("list")).append_column("more", lists("fixed"))
    pq.write_table(both, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", column="more").shape == LONG.shape
    for name, message in (("a.npz", "2 arrays of vectors"), ("a.parquet", "2 columns of vectors")):
        with pytest.raises(InputError, match=message):
            read(tmp_path / name)
    with pytest.raises(InputError, match="called 'third'"):
        read(tmp_path / "a.npz", array="third")


def test_an_error_of_who_takes_the_vectors_is_no_error_of_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LONG)
    with pytest.raises(ZeroDivisionError):
        open_vectors(tmp_path / "a.npy").each_block(lambda block: 1 / 0)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    broken = LONG.copy()
    broken[17, 4] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    np.save(tmp_path / "whole.npy", np.arange(COUNT))
    np.save(tmp_path / "empty.npy", np.ones((0, 0)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "nan.npy").read_bytes()[:-9])
    (tmp_path / "none").mkdir()
    ragged = pa.array([[1.0, 2.0], [1.0]])
    pq.write_table(pa.table({"a": ragged}), tmp_path / "ragged.parquet")
    (tmp_path / "nothing.npy").write_bytes(b"")
    (tmp_path / "pointer.npy").write_text("version https://git-lfs.github.com/spec/v1\n")
    whole = (tmp_path / "nan.npy").read_bytes()
    shape = str(LONG.shape).encode()
    assert shape in whole
    (tmp_path / "huge.npy").write_bytes(whole.replace(shape, b"(9**9,)".ljust(len(shape))))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for other in (np.ones((2, 3), int), np.ones((2, 3, 4)), np.ones((2, 3), bool)):
        np.save(tmp_path / "other.npy", other)
        with pytest.raises(InputError, match="holds no vectors"):
            read(tmp_path / "other.npy")
    for name, message in (
        ("nothing.npy", "cannot be read"),
        ("pointer.npy", "git-lfs pointer"),
        ("huge.npy", "cannot be read"),
        ("objects.npy", "holds Python objects, which can run code"),
        ("nan.npy", "row 17 is not finite"),
        ("whole.npy", "holds no vectors"),
        ("empty.npy", "vectors of 0 dimensions"),
        ("cut.npy", "cannot be read"),
        ("none", "holds no vectors"),
        ("gone.npy", "there is no file or folder"),
        ("ragged.parquet", "row 1 of a has 1 numbers"),
    ):
        with pytest.raises(InputError, match=message):
            read(tmp_path / name)
    np.save(tmp_path / "none" / "0.npy", LONG)
    np.save(tmp_path / "none" / "1.npy", LONG[:, :4])
    with pytest.raises(InputError, match="holds vectors of 4 dimensions"):
        read(tmp_path / "none")
