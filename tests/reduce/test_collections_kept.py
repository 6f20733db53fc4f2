"""What of a file is kept, how much of it is worked on at a time, and which damage is noticed."""

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

import purescope as ps
from purescope.errors import InputError
from purescope.reduce.collections import tables
from purescope.reduce.collections.job import Job
from purescope.reduce.collections.vectors import open_vectors
from tests.reduce.test_shrinking import (
    COUNT,
    IDS,
    IMAGE,
    KEEP,
    LONG,
    TEXT,
    WIDTH,
    WRITERS,
    by,
    by_tower,
    expected,
    lists,
    read,
    small_blocks,
    table,
)

__all__ = ["by", "by_tower", "small_blocks"]


def shortened(file: Path, by: Path, **options: Any) -> Path:
    short = file.with_name(f"short {file.name}")
    ps.shrink(file, short, by=by, keep=KEEP, **options)
    return short


@pytest.mark.parametrize("name", WRITERS)
def test_endings_may_be_in_capitals(name: str, by: Path, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    file = (tmp_path / name).rename(tmp_path / name.upper())
    short = shortened(file, by)
    again = short.rename(tmp_path / f"short {name}")
    np.testing.assert_allclose(read(again), expected(LONG), atol=1e-6)
    rows: list[np.ndarray] = []
    array = "vector" if name.endswith((".npz", ".safetensors")) else None
    open_vectors(file, array=array).each_block(rows.append)
    assert np.array_equal(np.concatenate(rows), LONG)
    (tmp_path / "folder").mkdir()
    file.rename(tmp_path / "folder" / file.name)
    open_vectors(tmp_path / "folder", array=array).each_block(rows.append)
    assert sum(map(len, rows)) == 2 * COUNT


def test_files_of_a_folder_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (4, 1, 7, 0, 6, 3, 5, 2):
        np.save(tmp_path / f"{number}.npy", np.full((1, 3), number, np.float32))
    rows: list[np.ndarray] = []
    open_vectors(tmp_path).each_block(rows.append)
    assert np.concatenate(rows)[:, 0].tolist() == list(range(8))


@pytest.mark.parametrize(
    ("width", "is_read"), [(0, False), (1, True), (1 << 14, True), ((1 << 14) + 1, False)]
)
def test_vectors_have_up_to_16384_dimensions(width: int, is_read: bool, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, width), np.float32))
    rows: list[np.ndarray] = []
    if is_read:
        open_vectors(tmp_path / "a.npy").each_block(rows.append)
        assert np.concatenate(rows).shape == (2, width)
    else:
        with pytest.raises(InputError, match=f"vectors of {width:,} dimensions"):
            open_vectors(tmp_path / "a.npy").each_block(rows.append)


def test_the_tower_is_read_in_any_case(by_tower: Path, tmp_path: Path) -> None:
    for name, axes in (("IMG_0.npy", IMAGE), ("Text.npy", TEXT)):
        np.save(tmp_path / name, LONG)
        short = np.load(shortened(tmp_path / name, by_tower))
        np.testing.assert_allclose(short, expected(LONG, axes), atol=1e-6)


# --- safetensors and npz


def test_tensors_stay_aligned_and_in_their_order(by: Path, tmp_path: Path) -> None:
    """The largest numbers first; among equal ones, those that came first."""
    tensors = {
        "z": np.ones(3, np.float32), "flags": np.ones(5, np.uint8), "vector": LONG,
        "half": np.ones(3, np.float16), "ids": np.arange(3), "a": np.ones(1, np.int32),
    }  # fmt: skip
    header: dict[str, object] = {}
    data = b""
    for name, tensor in tensors.items():
        kind = {"f": "F", "i": "I", "u": "U"}[tensor.dtype.kind] + str(8 * tensor.itemsize)
        end = len(data) + tensor.nbytes
        header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": [len(data), end]}
        data += tensor.tobytes()
    # Listed in another order than they stand.
    text = json.dumps(dict(reversed(header.items()))).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    content = shortened(tmp_path / "a.safetensors", by).read_bytes()
    length = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + length])
    places = {name: entry["data_offsets"][0] for name, entry in entries.items()}
    assert sorted(places, key=lambda name: places[name]) == [
        "ids", "z", "vector", "a", "half", "flags"
    ]  # fmt: skip
    assert length % 8 == 0
    for name, tensor in tensors.items():
        assert places[name] % tensor.itemsize == 0
        if name != "vector":
            first, stop = (8 + length + place for place in entries[name]["data_offsets"])
            assert content[first:stop] == tensor.tobytes()


def test_large_tensors_are_copied_whole(by: Path, tmp_path: Path) -> None:
    large = np.arange(700_001, dtype=np.int32)  # more than two megabytes
    tensors = {"a": large, "vector": LONG, "b": -large}
    safetensors.numpy.save_file(tensors, tmp_path / "a.safetensors")
    short = safetensors.numpy.load_file(shortened(tmp_path / "a.safetensors", by))
    assert np.array_equal(short["a"], large) and np.array_equal(short["b"], -large)


def test_members_of_an_npz_may_have_any_size(by: Path, tmp_path: Path) -> None:
    """Each local header asks for ZIP64, since the size is not known when it is written."""
    np.savez(tmp_path / "a.npz", vector=LONG)
    content = shortened(tmp_path / "a.npz", by).read_bytes()
    name, more = struct.unpack_from("<HH", content, 26)
    assert content[:4] == b"PK\3\4" and more >= 20
    assert struct.unpack_from("<HH", content, 30 + name) == (1, 16)  # two sizes of 64 bits


# --- tables


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each block that is shrunk."""
    lengths: list[int] = []
    shorten = Job.rows

    def rows(self: Job, given: Iterable[np.ndarray], *rest: Any) -> Iterator[np.ndarray]:
        def counted() -> Iterator[np.ndarray]:
            for block in given:
                lengths.append(len(block))
                yield block

        return shorten(self, counted(), *rest)

    monkeypatch.setattr(Job, "rows", rows)
    return lengths


@pytest.mark.parametrize(("letters", "step", "groups"), [(0, 5, [23]), (1000, 4, [20, 3])])
def test_rows_at_a_time_and_in_a_group_go_by_their_bytes(
    letters: int, step: int, groups: list[int], by: Path, tmp_path: Path, blocks: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A row has about 100 bytes more than its letters. At most a fourth of a group at a time, and
    no more than in other formats.
    """
    monkeypatch.setattr(tables, "_ROW_GROUP", 19_000)
    texts = [f"{number}{'x' * letters}" for number in range(COUNT)]
    given = table(lists("list")).append_column("text", pa.array(texts))
    pq.write_table(given, tmp_path / "a.parquet", compression="none", use_dictionary=False)
    short = pq.ParquetFile(shortened(tmp_path / "a.parquet", by))
    assert blocks[:-1] == [step] * (len(blocks) - 1) and sum(blocks) == COUNT
    found = [short.metadata.row_group(n).num_rows for n in range(short.num_row_groups)]
    assert found == groups
    assert short.read()["text"].to_pylist() == texts


def test_pages_have_checksums_which_are_compared(by: Path, tmp_path: Path) -> None:
    pq.write_table(
        table(lists("fixed")), tmp_path / "a.parquet", compression="none", use_dictionary=False,
        write_page_checksum=True,
    )  # fmt: skip
    content = (tmp_path / "a.parquet").read_bytes()
    first = LONG[3].tobytes()
    assert content.count(first) == 1
    damaged = content.replace(first, first[::-1])
    (tmp_path / "b.parquet").write_bytes(damaged)
    with pytest.raises(InputError, match=r"cannot be read: (?s:.*)checksum"):
        shortened(tmp_path / "b.parquet", by)
    short = shortened(tmp_path / "a.parquet", by)
    chunk = pq.ParquetFile(short).metadata.row_group(0).column(1)
    content = bytearray(short.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size - 9] ^= 1
    short.write_bytes(content)
    with pytest.raises(OSError, match="checksum"):
        pq.read_table(short, page_checksum_verification=True)


def test_lists_of_words_have_a_dictionary_and_vectors_none(by: Path, tmp_path: Path) -> None:
    pq.write_table(table(lists("list")), tmp_path / "a.parquet")
    group = pq.ParquetFile(shortened(tmp_path / "a.parquet", by)).metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    has_dictionary = {c.path_in_schema.split(".")[0]: c.has_dictionary_page for c in columns}
    assert has_dictionary == {"id": True, "vector": False, "tags": False}


@pytest.mark.parametrize(
    ("small", "per_byte", "is_read"), [(100, 1, False), (10**6, 1, True), (100, 100, True)]
)
def test_a_file_that_unpacks_to_too_much_is_refused(
    small: int, per_byte: int, is_read: bool, by: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    text = pa.array(["x" * 5000] * COUNT)
    given = table(lists("list")).append_column("text", text)
    pq.write_table(given, tmp_path / "a.parquet", compression="gzip", use_dictionary=False)
    monkeypatch.setattr(tables, "SMALL", small)
    monkeypatch.setattr(tables, "_MOST_PER_BYTE", per_byte)
    if is_read:
        shortened(tmp_path / "a.parquet", by)
    else:
        with pytest.raises(InputError, match="bytes of content in"):
            shortened(tmp_path / "a.parquet", by)


def test_offsets_that_lead_astray_are_refused(by: Path, tmp_path: Path) -> None:
    """Texts of a foreign file, of which only the first and the last offset are in range."""
    offsets = np.arange(COUNT + 1, dtype=np.int32)
    offsets[5] = 100_000
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"x" * COUNT)]
    wild = pa.Array.from_buffers(pa.utf8(), COUNT, buffers)
    columns = {"vector": lists("fixed"), "id": wild}
    batch = pa.RecordBatch.from_arrays([*columns.values()], names=[*columns])
    for suffix, opened in ((".arrow", pa.ipc.new_file), (".arrows", pa.ipc.new_stream)):
        with opened(tmp_path / f"a{suffix}", batch.schema) as writer:
            writer.write_batch(batch)
        with pytest.raises(InputError, match="cannot be read"):
            shortened(tmp_path / f"a{suffix}", by)


def of_datasets(**feature: object) -> dict[bytes, bytes]:
    features = {"vector": {"feature": {"dtype": "float64", "_type": "Value"}, **feature}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


@pytest.mark.parametrize(
    ("before", "after"),
    [({"length": WIDTH}, {"length": KEEP}), ({"length": -1}, {"length": -1}), ({}, {})],
)
def test_a_list_of_any_length_stays_one(
    before: dict[str, int], after: dict[str, int], by: Path, tmp_path: Path
) -> None:
    given = table(lists("list")).replace_schema_metadata({b"x": b"y", **of_datasets(**before)})
    pq.write_table(given, tmp_path / "a.parquet")
    kept = pq.read_schema(shortened(tmp_path / "a.parquet", by)).metadata
    feature = json.loads(kept[b"huggingface"])["info"]["features"]["vector"]
    assert feature == {"feature": {"dtype": "float32", "_type": "Value"}, **after}
    assert kept[b"x"] == b"y"


def test_two_columns_of_one_name_are_refused(by: Path, tmp_path: Path) -> None:
    fields = [("id", pa.utf8()), ("vector", pa.list_(pa.float32())), ("id", pa.utf8())]
    given = pa.table([IDS, list(LONG), IDS], schema=pa.schema(fields))
    pq.write_table(given, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="two columns are called 'id'"):
        shortened(tmp_path / "a.parquet", by)


# --- rows without a vector


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("missing", [1, 5, COUNT])
def test_a_file_whose_first_rows_have_no_vector_is_not_left_out(
    missing: int, suffix: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "0.npy", LONG)
    rows = pa.array([None] * missing + list(LONG[missing:]), pa.list_(pa.float32()))
    given = pa.table({"vector": rows})
    if suffix == ".parquet":
        pq.write_table(given, tmp_path / "1.parquet")
    else:
        with pa.ipc.new_file(tmp_path / "1.arrow", given.schema) as writer:
            writer.write_table(given)
    with pytest.raises(InputError, match="row 0 of vector is missing"):
        open_vectors(tmp_path).each_block(lambda block: None)


@pytest.mark.parametrize("kind", ["fixed", "list"])
def test_a_table_without_rows_holds_no_vectors_or_none(kind: str, tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", LONG)
    pq.write_table(table(lists(kind))[:0], tmp_path / "1.parquet")
    rows: list[np.ndarray] = []
    open_vectors(tmp_path).each_block(rows.append)
    assert np.array_equal(np.concatenate(rows), LONG)
