"""Embeddings in .npy files are read in order, block by block, and nothing else is read."""

from pathlib import Path

import numpy as np
import pytest
import torch

from purescope.errors import InputError
from purescope.reduce.vectors import BLOCK, open_vectors

ROWS = np.random.default_rng(0).normal(size=(10, 6))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_floats_of_any_kind(dtype: str, order: str, tmp_path: Path) -> None:
    array = np.asarray(ROWS, dtype=dtype, order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "a.npy", array)
    vectors, text = open_vectors(tmp_path / "a.npy")
    assert (vectors.rows, vectors.neurons, text) == (10, 6, None)
    (block,) = vectors.blocks()
    assert block.equal(torch.from_numpy(array.astype(np.float32)))


def test_files_are_read_by_their_names_and_in_blocks(tmp_path: Path) -> None:
    large = np.arange(BLOCK + 3, dtype=np.float32)[:, None]
    np.save(tmp_path / "1.npy", large)
    np.save(tmp_path / "0.npy", -large[:1] - 1)
    vectors, _ = open_vectors(tmp_path)
    blocks = list(vectors.blocks())
    assert [len(block) for block in blocks] == [1, BLOCK, 3]
    assert torch.cat(blocks)[:, 0].tolist() == [-1, *range(BLOCK + 3)]


def test_a_folder_of_clip_retrieval_has_both_towers(tmp_path: Path) -> None:
    for tower, rows in (("img_emb", 4), ("text_emb", 3)):
        (tmp_path / tower).mkdir()
        np.save(tmp_path / tower / f"{tower}_0.npy", ROWS[:rows].astype(np.float16))
    image, text = open_vectors(tmp_path)
    assert text is not None and (image.rows, text.rows) == (4, 3)
    np.save(tmp_path / "text_emb" / "text_emb_0.npy", ROWS[:, :5])
    with pytest.raises(InputError, match="6 dimensions in img_emb, 5 in text_emb"):
        open_vectors(tmp_path)


def test_what_is_no_collection_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    with pytest.raises(InputError, match=r"there is no file or folder \S+a.npy"):
        open_vectors(file)
    with pytest.raises(InputError, match=r"no \.npy files in it"):
        open_vectors(tmp_path)
    for array, message in (
        (np.arange(6), r"int64 of shape \[6\]"),
        (np.ones(6), r"float64 of shape \[6\]"),
        (np.ones((0, 6)), "no embeddings in it"),
        (np.ones((1, 20_000)), r"of shape \[1, 20000\]"),
    ):
        np.save(file, array)
        with pytest.raises(InputError, match=message):
            open_vectors(file)
    np.save(tmp_path / "b.npy", ROWS)
    np.save(file, ROWS[:, :5])
    with pytest.raises(InputError, match=r"5 dimensions in \S+a.npy, 6 in \S+b.npy"):
        open_vectors(tmp_path)


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"cannot be read(?s:.*)write it again with numpy.save"):
        open_vectors(file)
    np.save(file, ROWS)
    whole = file.read_bytes()
    for content, message in (
        (b"", "cannot be read"),
        (whole[:-8], "cannot be read"),  # fewer numbers than it says
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
        (whole.replace(b"(10, 6)", b"(9**9,)"), "cannot be read"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            open_vectors(file)


def test_a_value_that_is_no_number_is_found_by_its_row(tmp_path: Path) -> None:
    rows = np.ones((BLOCK + 2, 1), dtype=np.float32)
    rows[BLOCK + 1] = np.nan
    np.save(tmp_path / "a.npy", rows)
    vectors, _ = open_vectors(tmp_path / "a.npy")
    with pytest.raises(InputError, match=rf"a.npy row {BLOCK + 1} has a value that is NaN"):
        list(vectors.blocks())


@pytest.mark.parametrize("width", [1, 1 << 14])
def test_rows_of_any_width_are_read(width: int, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, width), np.float32))
    vectors, _ = open_vectors(tmp_path / "a.npy")
    assert (vectors.rows, vectors.neurons) == (2, width)
    np.save(tmp_path / "a.npy", np.ones((2, (1 << 14) + 1), np.float32))
    with pytest.raises(InputError, match="of at most 16,384 neurons"):
        open_vectors(tmp_path / "a.npy")


def test_many_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (4, 1, 7, 0, 6, 3, 5, 2):
        np.save(tmp_path / f"{number}.npy", np.full((1, 3), float(number)))
    vectors, _ = open_vectors(tmp_path)
    assert torch.cat(list(vectors.blocks()))[:, 0].tolist() == list(range(8))


def test_matrices_of_other_kinds_are_refused(tmp_path: Path) -> None:
    for array in (np.ones((2, 3), int), np.ones((2, 3, 4)), np.ones((2, 0)), np.ones((2, 3), bool)):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(InputError, match="an array of floats"):
            open_vectors(tmp_path / "a.npy")
