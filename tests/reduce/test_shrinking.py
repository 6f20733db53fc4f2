"""Collections in every format are shrunk row by row as by hand, and everything else stays."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import safetensors.torch
import torch

import purescope as ps
from purescope.errors import InputError, OutputError
from purescope.reduce import rows as rows_module
from purescope.reduce.collections.formats import FORMATS
from purescope.reduce.rotation import Rotation, write_rotation

WIDTH, KEEP, COUNT = 6, 4, 23
RNG = np.random.default_rng(0)
LONG = RNG.normal(size=(COUNT, WIDTH)).astype(np.float32)
IDS = [f"id {number}" for number in range(COUNT)]


def orthogonal(seed: int) -> torch.Tensor:
    square = np.random.default_rng(seed).normal(size=(WIDTH, WIDTH))
    return torch.from_numpy(np.linalg.qr(square)[0].astype(np.float32))


IMAGE, TEXT = orthogonal(1), orthogonal(2)


def expected(rows: np.ndarray, axes: torch.Tensor = IMAGE, normalise: bool = True) -> np.ndarray:
    """The definition: a product, and each row over its length."""
    made = rows.astype(np.float64) @ axes.numpy().astype(np.float64)[:, :KEEP]
    return made / np.linalg.norm(made, axis=1, keepdims=True) if normalise else made


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block has five rows, so that every collection has several."""
    monkeypatch.setattr(rows_module, "BLOCK", 5 * WIDTH)


@pytest.fixture(scope="module")
def by(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rotation whose axes both towers share."""
    folder = tmp_path_factory.mktemp("shared")
    return write_rotation(
        Rotation(IMAGE, IMAGE, torch.ones(WIDTH)), folder / "rotation.safetensors"
    )


@pytest.fixture(scope="module")
def by_tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rotation with other axes for texts."""
    folder = tmp_path_factory.mktemp("towers")
    return write_rotation(Rotation(IMAGE, TEXT, torch.ones(WIDTH)), folder / "rotation.safetensors")


# --- one file of each format


def table(vectors: Any, rows: int = COUNT) -> pa.Table:
    return pa.table(
        {"id": IDS[:rows], "vector": vectors, "tags": [[1, 2]] * rows}, metadata={"made": "by me"}
    )


def lists(kind: str, number: str = "float", width: int = WIDTH) -> pa.Array:
    value = pa.field("element", pa.type_for_alias(number))
    types = {
        "fixed": pa.list_(value, width),
        "list": pa.list_(value),
        "large": pa.large_list(value),
    }
    numbers = LONG.astype({"halffloat": "f2", "float": "f4", "double": "f8"}[number])
    return pa.array(list(numbers), types[kind])


def write_npy(file: Path) -> None:
    np.save(file, LONG)


def write_npz(file: Path) -> None:
    np.savez(file, vector=LONG, labels=np.arange(COUNT), square=np.eye(3))


def write_tensors(file: Path) -> None:
    tensors = {"vector": LONG, "ids": np.arange(COUNT), "odd": np.ones(3, np.float16)}
    safetensors.numpy.save_file(tensors, file, {"made": "by me"})


def write_parquet(file: Path) -> None:
    pq.write_table(table(lists("list")), file, row_group_size=9)


def write_arrow(file: Path) -> None:
    with pa.ipc.new_file(file, table(lists("fixed")).schema) as writer:
        writer.write_table(table(lists("fixed")), max_chunksize=9)


def write_arrow_stream(file: Path) -> None:
    with pa.ipc.new_stream(file, table(lists("large")).schema) as writer:
        writer.write_table(table(lists("large")), max_chunksize=9)


def write_feather(file: Path) -> None:
    pyarrow.feather.write_feather(table(lists("fixed")), file)  # compressed by lz4


def read_table(file: Path) -> pa.Table:
    if file.suffix in (".parquet", ".pq"):
        return pq.read_table(file)
    with pa.OSFile(str(file)) as source:
        start = source.read(6)
        source.seek(0)
        reader = pa.ipc.open_file if start == b"ARROW1" else pa.ipc.open_stream
        return reader(source).read_all()


def read(file: Path) -> np.ndarray:
    """Return the vectors of a file, read by its own library."""
    if file.suffix == ".npy":
        return np.load(file)
    if file.suffix == ".npz":
        return np.load(file)["vector"]
    if file.suffix == ".safetensors":
        return safetensors.numpy.load_file(file)["vector"]
    return np.array(read_table(file)["vector"].to_pylist())


WRITERS: dict[str, Callable[[Path], None]] = {
    "mine.npy": write_npy,
    "mine.npz": write_npz,
    "mine.safetensors": write_tensors,
    "mine.parquet": write_parquet,
    "mine.pq": write_parquet,
    "mine.arrow": write_arrow,
    "mine.ipc": write_arrow,
    "mine.arrows": write_arrow_stream,
    "mine.feather": write_feather,
}


def test_every_format_has_a_test() -> None:
    assert {Path(name).suffix for name in WRITERS} == set(FORMATS)


@pytest.mark.parametrize("dtype", [None, "float16", "float32"])
@pytest.mark.parametrize("name", WRITERS)
def test_each_row_is_the_product_of_the_definition(
    name: str, dtype: str | None, by: Path, tmp_path: Path
) -> None:
    file, short = tmp_path / name, tmp_path / "out" / f"short{Path(name).suffix}"
    WRITERS[name](file)
    before = file.read_bytes()
    done = ps.shrink(file, short, by=by, keep=KEEP, dtype=dtype)
    tolerance = 1e-3 if dtype == "float16" else 1e-6
    np.testing.assert_allclose(read(short), expected(LONG), atol=tolerance)
    assert (done.rows, done.rows_of_zeros, done.files) == (COUNT, 0, [short])
    assert (done.bytes_before, done.bytes_after) == (len(before), short.stat().st_size)
    assert file.read_bytes() == before
    assert sorted(path.name for path in short.parent.iterdir()) == [
        short.name,
        f"{short.name}.purescope.json",
    ]


@pytest.mark.parametrize("name", WRITERS)
def test_rows_need_not_be_scaled(name: str, by: Path, tmp_path: Path) -> None:
    file, short = tmp_path / name, tmp_path / f"short{Path(name).suffix}"
    WRITERS[name](file)
    ps.shrink(file, short, by=by, keep=KEEP, normalise=False)
    np.testing.assert_allclose(read(short), expected(LONG, normalise=False), atol=1e-6)


def test_other_arrays_stay_as_they_are(by: Path, tmp_path: Path) -> None:
    objects = np.array([{"never": "opened"}], dtype=object)
    for save, kind in ((np.savez, zipfile.ZIP_STORED), (np.savez_compressed, zipfile.ZIP_DEFLATED)):
        save(
            tmp_path / "a.npz", vector=np.asfortranarray(LONG), labels=IDS, rest=objects, more=LONG
        )
        ps.shrink(tmp_path / "a.npz", tmp_path / "b.npz", by=by, keep=KEEP, overwrite=True)
        with zipfile.ZipFile(tmp_path / "a.npz") as old, zipfile.ZipFile(tmp_path / "b.npz") as new:
            assert old.namelist() == new.namelist()
            assert {info.compress_type for info in new.infolist()} == {kind}
            for name in ("labels.npy", "rest.npy"):
                assert old.read(name) == new.read(name)
        short = np.load(tmp_path / "b.npz")
        for name in ("vector", "more"):
            np.testing.assert_allclose(short[name], expected(LONG), atol=1e-6)
        (tmp_path / "b.npz").unlink()
    ps.shrink(tmp_path / "a.npz", tmp_path / "c.npz", by=by, keep=KEEP, array="more")
    short = np.load(tmp_path / "c.npz")
    assert short["vector"].shape == LONG.shape and short["more"].shape == (COUNT, KEEP)


def test_other_tensors_and_the_metadata_stay(by: Path, tmp_path: Path) -> None:
    rows = torch.from_numpy(LONG)
    tensors = {
        "a": rows.bfloat16(),
        "b": rows.half(),
        "c": rows.double(),
        "ids": torch.arange(COUNT),
        "odd": torch.ones(3, dtype=torch.bool),
        "other": torch.ones(2, 2, 2),
    }
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors", {"made": "by me"})
    ps.shrink(tmp_path / "a.safetensors", tmp_path / "b.safetensors", by=by, keep=KEEP)
    with safetensors.safe_open(tmp_path / "b.safetensors", framework="pt") as content:
        assert content.metadata() == {"made": "by me"}
        short = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    assert set(short) == set(tensors)
    for name in ("ids", "odd", "other"):
        assert short[name].equal(tensors[name])
    types = {"a": torch.float32, "b": torch.float16, "c": torch.float32}
    for name, kind in types.items():
        assert short[name].dtype == kind
        np.testing.assert_allclose(
            short[name],
            expected(tensors[name].double().numpy()),
            atol=1e-3 if name == "b" else 1e-6,
        )


@pytest.mark.parametrize("number", ["halffloat", "float", "double"])
@pytest.mark.parametrize("kind", ["fixed", "list", "large"])
def test_other_columns_stay_and_the_list_keeps_its_kind(
    kind: str, number: str, by: Path, tmp_path: Path
) -> None:
    before = table(lists(kind, number)).append_column("note", pa.array([None] * COUNT, pa.utf8()))
    before = before.append_column(
        "kind", pa.array(["a", "b", None] * 7 + ["a", "b"]).dictionary_encode()
    )
    pq.write_table(before, tmp_path / "a.parquet", row_group_size=7)
    with pa.ipc.new_file(tmp_path / "a.arrow", before.schema) as writer:
        writer.write_table(before.slice(2), max_chunksize=8)
    for name, first in (("a.parquet", 0), ("a.arrow", 2)):
        ps.shrink(tmp_path / name, tmp_path / f"short {name}", by=by, keep=KEEP)
        after, source = read_table(tmp_path / f"short {name}"), read_table(tmp_path / name)
        assert after.column_names == source.column_names
        assert after.schema.metadata == source.schema.metadata
        for column in ("id", "tags", "note", "kind"):
            assert after[column].to_pylist() == source[column].to_pylist()
        old, new = source.schema.field("vector"), after.schema.field("vector")
        half = number == "halffloat"
        assert new.type.value_type == (pa.float16() if half else pa.float32())
        assert type(new.type) is type(old.type)
        assert getattr(new.type, "list_size", KEEP) == KEEP
        rows = np.array(source["vector"].to_pylist(), dtype=np.float64)
        np.testing.assert_allclose(
            np.array(after["vector"].to_pylist(), dtype=np.float64),
            expected(rows),
            atol=1e-3 if half else 1e-6,
        )
        assert len(rows) == COUNT - first


def test_what_datasets_keeps_of_a_column_is_corrected(by: Path, tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "vector": datasets.List(datasets.Value("float64"), length=WIDTH),
            "id": datasets.Value("string"),
        }
    )
    data = datasets.Dataset.from_dict({"vector": LONG.tolist(), "id": IDS}, features=features)
    data.to_parquet(tmp_path / "a.parquet")
    ps.shrink(tmp_path / "a.parquet", tmp_path / "b.parquet", by=by, keep=KEEP, dtype="float16")
    again = datasets.Features.from_arrow_schema(pq.read_schema(tmp_path / "b.parquet"))
    assert again["vector"] == datasets.List(datasets.Value("float16"), length=KEEP)
    assert again["id"] == features["id"]


def test_a_column_is_named_where_there_are_several(by: Path, tmp_path: Path) -> None:
    two = table(lists("fixed")).append_column("title", lists("list"))
    pq.write_table(two, tmp_path / "a.parquet")
    with pytest.raises(
        InputError, match=r"2 columns of vectors(?s:.*)vector, title(?s:.*)--column"
    ):
        ps.shrink(tmp_path / "a.parquet", tmp_path / "b.parquet", by=by, keep=KEEP)
    ps.shrink(tmp_path / "a.parquet", tmp_path / "b.parquet", by=by, keep=KEEP, column="title")
    after = pq.read_table(tmp_path / "b.parquet")
    assert after["vector"].to_pylist() == two["vector"].to_pylist()
    np.testing.assert_allclose(np.array(after["title"].to_pylist()), expected(LONG), atol=1e-6)
    for options in ({"column": "id"}, {"column": "gone"}):
        with pytest.raises(InputError, match="no column of vectors is called"):
            ps.shrink(tmp_path / "a.parquet", tmp_path / "c.parquet", by=by, keep=KEEP, **options)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f2", ">f2", "<f4", ">f4", "<f8", "g"])
def test_arrays_of_any_order_and_type(kind: str, order: str, by: Path, tmp_path: Path) -> None:
    rows = np.asarray(LONG, dtype=kind, order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "a.npy", rows)
    ps.shrink(tmp_path / "a.npy", tmp_path / "b.npy", by=by, keep=KEEP)
    short = np.load(tmp_path / "b.npy")
    half = np.dtype(kind) == np.float16
    assert short.dtype == (np.float16 if half else np.float32)
    np.testing.assert_allclose(short, expected(rows), atol=1e-3 if half else 1e-6)


# --- towers


def test_names_say_the_tower(by_tower: Path, tmp_path: Path) -> None:
    folder = tmp_path / "laion"
    for part in ("img_emb", "text_emb"):
        for shard in range(2):
            (folder / part).mkdir(parents=True, exist_ok=True)
            np.save(folder / part / f"{part}_{shard}.npy", LONG[shard::2].astype(np.float16))
    (folder / "metadata").mkdir()
    pq.write_table(pa.table({"caption": IDS}), folder / "metadata" / "metadata_0.parquet")
    (folder / "image.index").write_bytes(b"an index of the long vectors")
    with pytest.warns(UserWarning, match=r"not copied: image[.]index"):
        done = ps.shrink(folder, tmp_path / "short", by=by_tower, keep=KEEP)
    for part, axes in (("img_emb", IMAGE), ("text_emb", TEXT)):
        for shard in range(2):
            rows = LONG[shard::2].astype(np.float16)
            short = np.load(tmp_path / "short" / part / f"{part}_{shard}.npy")
            np.testing.assert_allclose(short, expected(rows, axes), atol=1e-3)
    copied = tmp_path / "short" / "metadata" / "metadata_0.parquet"
    assert copied.read_bytes() == (folder / "metadata" / copied.name).read_bytes()
    assert done.copied == [copied] and len(done.files) == 4 and done.rows == 2 * COUNT
    assert not (tmp_path / "short" / "image.index").exists()

    arrays = {"image": LONG, "text": LONG, "labels": np.arange(COUNT)}
    np.savez(tmp_path / "features.npz", **arrays)
    ps.shrink(tmp_path / "features.npz", tmp_path / "b.npz", by=by_tower, keep=KEEP)
    short = np.load(tmp_path / "b.npz")
    np.testing.assert_allclose(short["image"], expected(LONG), atol=1e-6)
    np.testing.assert_allclose(short["text"], expected(LONG, TEXT), atol=1e-6)


def test_a_named_column_is_not_asked_of_tables_without_vectors(by: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    two = table(lists("fixed")).append_column("title", lists("list"))
    pq.write_table(two, tmp_path / "in" / "vectors.parquet")
    pq.write_table(pa.table({"id": IDS}), tmp_path / "in" / "words.parquet")
    np.savez(tmp_path / "in" / "ids.npz", ids=np.arange(3))
    options: dict[str, Any] = {"column": "title", "array": "x"}
    done = ps.shrink(tmp_path / "in", tmp_path / "out", by=by, keep=KEEP, **options)
    assert [path.name for path in done.files] == ["vectors.parquet"]
    assert [path.name for path in done.copied] == ["ids.npz", "words.parquet"]
    with pytest.raises(InputError, match=r"words[.]parquet holds no vectors"):
        file = tmp_path / "in" / "words.parquet"
        ps.shrink(file, tmp_path / "w.parquet", by=by, keep=KEEP, **options)


def test_a_tower_that_no_name_says_is_asked_for(by_tower: Path, tmp_path: Path) -> None:
    file, short = tmp_path / "mine.npy", tmp_path / "b.npy"
    np.save(file, LONG)
    with pytest.raises(InputError, match=r"does not say which tower(?s:.*)--tower text"):
        ps.shrink(file, short, by=by_tower, keep=KEEP)
    ps.shrink(file, short, by=by_tower, keep=KEEP, tower="text")
    np.testing.assert_allclose(np.load(short), expected(LONG, TEXT), atol=1e-6)
    with pytest.raises(InputError, match=r"tower 'sound'(?s:.*)image or text"):
        ps.shrink(file, tmp_path / "c.npy", by=by_tower, keep=KEEP, tower="sound")


# --- several files, and runs that go on


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(3):
        np.save(folder / f"{shard}.npy", LONG[7 * shard : 7 * shard + 7])
    return folder


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}


def test_a_stopped_run_goes_on(shards: Path, by: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    intact = (shards / "2.npy").read_bytes()
    (shards / "2.npy").write_bytes(intact[:-4] + np.float32(np.nan).tobytes())
    with pytest.raises(InputError, match=r"2: row 6 has a value that is NaN"):
        ps.shrink(shards, out, by=by, keep=KEEP)
    assert set(stamps(out)) == {"0.npy", "1.npy"} and not list(out.glob(".*"))
    before = stamps(out)
    (shards / "2.npy").write_bytes(intact)
    done = ps.shrink(shards, out, by=by, keep=KEEP)
    assert (done.kept, done.rows, len(done.files)) == (2, 21, 3)
    assert stamps(out).items() >= before.items()
    whole = np.concatenate([np.load(out / f"{shard}.npy") for shard in range(3)])
    np.testing.assert_allclose(whole, expected(LONG[:21]), atol=1e-6)


def test_changed_sources_and_lost_files_are_made_again(
    shards: Path, by: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ps.shrink(shards, out, by=by, keep=KEEP)
    before = stamps(out)
    state = (shards / "0.npy").stat()
    np.save(shards / "0.npy", LONG[7:14])  # of the same size
    os.utime(shards / "0.npy", ns=(state.st_atime_ns, state.st_mtime_ns))  # and time
    os.utime(shards / "1.npy")  # touched only
    (out / "2.npy").write_bytes(b"cut")
    done = ps.shrink(shards, out, by=by, keep=KEEP)
    assert done.kept == 1
    after = stamps(out)
    assert {name for name in after if after[name] == before[name]} == {"1.npy"}
    np.testing.assert_allclose(np.load(out / "0.npy"), expected(LONG[7:14]), atol=1e-6)
    np.testing.assert_allclose(np.load(out / "2.npy"), expected(LONG[14:21]), atol=1e-6)
    (shards / "1.npy").unlink()
    with pytest.warns(UserWarning, match=r"earlier run whose sources are not among these: 1[.]npy"):
        ps.shrink(shards, out, by=by, keep=KEEP)


def test_other_options_replace_nothing_unless_asked(
    shards: Path, by: Path, by_tower: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ps.shrink(shards, out, by=by, keep=KEEP)
    before = stamps(out)
    others: list[dict[str, Any]] = [
        {"by": by, "keep": 2},
        {"by": by, "keep": KEEP, "dtype": "float16"},
        {"by": by, "keep": KEEP, "normalise": False},
        {"by": by_tower, "keep": KEEP, "tower": "image"},
    ]
    for options in others:
        with pytest.raises(OutputError, match=r"was made with another (?s:.*)--overwrite"):
            ps.shrink(shards, out, **options)
    assert stamps(out) == before
    ps.shrink(shards, out, by=by, keep=2, overwrite=True)
    assert np.load(out / "0.npy").shape == (7, 2)


def test_nothing_of_others_is_replaced(shards: Path, by: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "1.npy").write_bytes(b"mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"1[.]npy exists, and nothing beside it says"):
            ps.shrink(shards, out, by=by, keep=KEEP, overwrite=overwrite)
    assert [path.name for path in out.iterdir()] == ["1.npy"]
    (out / "1.npy.purescope.json").write_text("[]")
    with pytest.raises(OutputError, match="record of a file that `purescope shrink` wrote"):
        ps.shrink(shards, out, by=by, keep=KEEP)


def test_several_inputs_get_a_folder(shards: Path, by: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", LONG)
    out = tmp_path / "out"
    done = ps.shrink([tmp_path / "one.npy", shards], out, by=by, keep=KEEP)
    assert [path.relative_to(out).as_posix() for path in done.files] == [
        "one.npy",
        "shards/0.npy",
        "shards/1.npy",
        "shards/2.npy",
    ]
    (tmp_path / "more").mkdir()
    np.save(tmp_path / "more" / "one.npy", LONG)
    with pytest.raises(InputError, match=r"two of the inputs are called one[.]npy"):
        both = [tmp_path / "one.npy", tmp_path / "more" / "one.npy"]
        ps.shrink(both, tmp_path / "again", by=by, keep=KEEP)


def test_the_record_says_what_a_file_was_made_of(by: Path, tmp_path: Path) -> None:
    import zlib

    rows = LONG.copy()
    rows[3] = 0
    for order in ("C", "F"):
        file, short = tmp_path / f"{order}.npy", tmp_path / f"short {order}.npy"
        np.save(file, np.asarray(rows, order=order))  # type: ignore[call-overload]
        with pytest.warns(UserWarning, match="1 of 23 rows are zeros, and stay zeros"):
            ps.shrink(file, short, by=by, keep=KEEP, dtype="float16")
        record = json.loads(Path(f"{short}.purescope.json").read_text())
        assert record["source"]["crc32"] == zlib.crc32(file.read_bytes())
        assert record["source"]["bytes"] == file.stat().st_size
        assert (record["rows"], record["rows_of_zeros"]) == (COUNT, 1)
        made = record["shrunk"]
        assert (made["keep"], made["dtype"], made["normalise"]) == (KEEP, "float16", True)
        assert len(made["rotation"]["sha256"]) == 64 and record["purescope"] == ps.__version__
        assert not np.load(short)[3].any()


# --- streams


def test_arrays_of_numpy_pass_through(by: Path, tmp_path: Path) -> None:
    for rows in (LONG, np.asfortranarray(LONG)):
        source, target = io.BytesIO(), io.BytesIO()
        np.save(source, rows)
        with io.BufferedReader(io.BytesIO(source.getvalue())) as stream:
            done = ps.shrink(stream, target, by=by, keep=KEEP)
        np.testing.assert_allclose(
            np.load(io.BytesIO(target.getvalue())), expected(LONG), atol=1e-6
        )
        assert done.rows == COUNT
    np.save(tmp_path / "a.npy", LONG)
    again = io.BytesIO()
    ps.shrink(tmp_path / "a.npy", again, by=by, keep=KEEP)
    assert again.getvalue() == target.getvalue()


def test_streams_of_arrow_pass_through(by: Path, tmp_path: Path) -> None:
    write_arrow_stream(tmp_path / "a.arrows")
    target = io.BytesIO()
    with (tmp_path / "a.arrows").open("rb") as stream:
        ps.shrink(stream, target, by=by, keep=KEEP)
    after = pa.ipc.open_stream(target.getvalue()).read_all()
    np.testing.assert_allclose(np.array(after["vector"].to_pylist()), expected(LONG), atol=1e-6)
    assert after["id"].to_pylist() == IDS
    with (tmp_path / "a.arrows").open("rb") as stream:
        ps.shrink(stream, tmp_path / "b.arrows", by=by, keep=KEEP)
    assert (tmp_path / "b.arrows").read_bytes() == target.getvalue()
    with pytest.raises(InputError, match="the stream has no mark of its end"):
        cut = io.BytesIO((tmp_path / "a.arrows").read_bytes()[:-8])
        ps.shrink(cut, tmp_path / "c.arrows", by=by, keep=KEEP)
    with (
        (tmp_path / "a.arrows").open("rb") as stream,
        pytest.raises(OutputError, match=r"exists(?s:.*)standard input cannot be compared"),
    ):
        ps.shrink(stream, tmp_path / "b.arrows", by=by, keep=KEEP)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "standard input is empty"),
        (b"PK\3\4 an npz", r"begins with b'PK(?s:.*)numpy[.]save"),
        (b"\x93NUMPY\1\0", "the header of standard input is incomplete"),
    ],
)
def test_streams_of_other_things_are_refused(content: bytes, message: str, by: Path) -> None:
    with pytest.raises(InputError, match=message):
        ps.shrink(io.BytesIO(content), io.BytesIO(), by=by, keep=KEEP)


def test_a_stream_that_ends_early_or_late_is_refused(by: Path, tmp_path: Path) -> None:
    source = io.BytesIO()
    np.save(source, LONG)
    whole = source.getvalue()
    for content, message in (
        (whole[:-3], "it ends 3 bytes before"),
        (whole + b"x", "there is more"),
    ):
        with pytest.raises(InputError, match=f"standard input cannot be read: {message}"):
            stream = io.BytesIO(content)
            ps.shrink(stream, tmp_path / "b.npy", by=by, keep=KEEP)
        assert not (tmp_path / "b.npy").exists()


def test_an_output_that_is_full_is_named_as_such(by: Path, tmp_path: Path) -> None:
    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, content: object) -> int:
            raise OSError(28, "No space left on device")

    for name, write in WRITERS.items():
        write(tmp_path / name)
        with pytest.raises(OutputError, match="cannot write standard output: No space left"):
            ps.shrink(tmp_path / name, Full(), by=by, keep=KEEP)


# --- what is refused


def arrow(column: pa.Array) -> Callable[[Path], None]:
    return lambda file: pq.write_table(table(column, len(column)), file)


def numbers(rows: list[Any], kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(rows, kind or pa.list_(pa.float32()))


ROW = LONG[0].tolist()
WRONG: list[tuple[str, Callable[[Path], object], str]] = [
    ("a.npy", lambda file: np.save(file, LONG[:, :5]), "vectors of 5 dimensions(?s:.*)6, as"),
    (
        "a.npy",
        lambda file: np.save(file, LONG[:, :4]),
        "4 dimensions .have they been shrunk already",
    ),
    ("a.npy", lambda file: np.save(file, LONG[0]), "holds no vectors"),
    ("a.npy", lambda file: np.save(file, np.ones((3, 6), int)), "holds no vectors"),
    (
        "a.npy",
        lambda file: np.save(file, np.array([{}], dtype=object), allow_pickle=True),
        "holds Python objects, which can run code and are never opened",
    ),
    ("a.npy", lambda file: file.write_bytes(b"no array"), "a.npy is not a NumPy array"),
    ("a.npy", lambda file: file.write_bytes(b""), "a.npy is not a NumPy array"),
    ("a.npz", lambda file: np.savez(file, a=LONG[:, 1:], b=IDS), "a.npz, a, holds vectors of 5"),
    ("a.npz", lambda file: np.savez(file, b=IDS), "holds no vectors"),
    ("a.npz", lambda file: file.write_bytes(b"PK"), "cannot be read: File is not a zip file"),
    (
        "a.safetensors",
        lambda file: safetensors.numpy.save_file({"x": LONG[:, 1:]}, file),
        "a.safetensors, x, holds vectors of 5",
    ),
    ("a.safetensors", lambda file: file.write_bytes(bytes(100)), "cannot be read"),
    ("a.parquet", arrow(numbers([ROW, None])), "row 1 of vector is missing"),
    ("a.parquet", arrow(numbers([ROW, ROW, ROW[:5]])), "row 2 of vector has 5 numbers"),
    ("a.parquet", arrow(numbers([ROW, [*ROW[:5], None]])), "row 1 of vector lacks a number"),
    (
        "a.parquet",
        arrow(numbers([ROW, [*ROW[:5], np.nan]])),
        "vector: row 1 has a value that is NaN",
    ),
    (
        "a.parquet",
        arrow(numbers([ROW[:5]], pa.list_(pa.float32(), 5))),
        "vector, holds vectors of 5",
    ),
    ("a.parquet", arrow(numbers([[1, 2]], pa.list_(pa.int8()))), "holds no vectors"),
    ("a.parquet", lambda file: file.write_bytes(b"PAR1PAR1PAR1"), "cannot be read"),
    ("a.arrow", lambda file: file.write_bytes(b"ARROW1\0\0 and nothing"), "cannot be read"),
    (
        "a.feather",
        lambda file: file.write_bytes(b"FEA1"),
        "neither an Arrow file nor an Arrow stream",
    ),
    ("a.arrow", lambda file: file.write_bytes(b""), "cannot be read: it is empty"),
    ("a.csv", lambda file: file.write_text("1,2"), "holds no vectors"),
    ("a.npy", lambda file: os.mkfifo(file), "not a regular file"),
    (
        "a.npy",
        lambda file: file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        "git-lfs pointer",
    ),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_wrong_is_said_and_nothing_is_written(
    number: int, by: Path, tmp_path: Path
) -> None:
    name, write, message = WRONG[number]
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / name)
    with pytest.raises(InputError, match=message):
        ps.shrink(tmp_path / "in" / name, tmp_path / "out" / name, by=by, keep=KEEP)
    assert not list((tmp_path / "out").glob("**/*"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_cut_is_refused(name: str, by: Path, tmp_path: Path) -> None:
    file = tmp_path / name
    WRITERS[name](file)
    content = file.read_bytes()
    for size in range(0, len(content), max(1, len(content) // 40)):
        file.write_bytes(content[:size])
        with pytest.raises(InputError):
            ps.shrink(file, tmp_path / f"short{file.suffix}", by=by, keep=KEEP)
        assert not (tmp_path / f"short{file.suffix}").exists()


@pytest.mark.parametrize("name", WRITERS)
def test_an_empty_collection_stays_empty(name: str, by: Path, tmp_path: Path) -> None:
    file, short = tmp_path / name, tmp_path / f"short{Path(name).suffix}"
    WRITERS[name](file)
    if file.suffix == ".npy":
        np.save(file, LONG[:0])
    elif file.suffix == ".npz":
        np.savez(file, vector=LONG[:0])
    elif file.suffix == ".safetensors":
        safetensors.numpy.save_file({"vector": LONG[:0]}, file)
    elif file.suffix in (".parquet", ".pq"):
        pq.write_table(read_table(file)[:0], file)
    else:
        pa.ipc.new_file(file, read_table(file).schema).close()
    with pytest.warns(UserWarning, match="it holds no rows"):
        done = ps.shrink(file, short, by=by, keep=KEEP)
    assert done.rows == 0 and len(read(short)) == 0
    if file.suffix == ".npy":
        assert np.load(short).shape == (0, KEEP)


def test_places_that_cannot_be_written_are_refused_before(
    shards: Path, by: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.npy"
    np.save(file, LONG)
    for source, out, message in (
        (file, file, "is, holds or lies in"),
        (shards, shards, "is, holds or lies in"),
        (shards, shards / "short", "is, holds or lies in"),
        (file, shards, f"is a folder(?s:.*)--out {shards / 'a.npy'}"),
        (shards, file, "is a file"),
        (file, tmp_path / "b.parquet", "has not the format of"),
        (file, tmp_path / "b", "has not the format of"),
        (file, " ", "an output without a name"),
    ):
        with pytest.raises(OutputError, match=message):
            ps.shrink(source, out, by=by, keep=KEEP)
    for given, message in (([], "no vectors"), (tmp_path / "gone.npy", "no file or folder")):
        with pytest.raises(InputError, match=message):
            ps.shrink(given, tmp_path / "b.npy", by=by, keep=KEEP)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "readme.txt").write_text("nothing")
    with pytest.raises(InputError, match="no file in it holds vectors"):
        ps.shrink(empty, tmp_path / "b", by=by, keep=KEEP)
    for keep in (0, -1, 7):
        with pytest.raises(InputError, match=f"{keep} axes to keep(?s:.*)1 to 6"):
            ps.shrink(file, tmp_path / "b.npy", by=by, keep=keep)
    with pytest.raises(InputError, match=r"there is no file(?s:.*)purescope rebase"):
        ps.shrink(file, tmp_path / "b.npy", by=tmp_path, keep=KEEP)
    assert not (tmp_path / "b.npy").exists() and not (tmp_path / "b").exists()


def test_links_out_of_a_folder_are_not_copied(shards: Path, by: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (shards / "link.txt").symlink_to(tmp_path / "secret.txt")
    (shards / "readme.txt").write_text("mine")
    with pytest.warns(UserWarning, match=r"not copied: link[.]txt"):
        ps.shrink(shards, tmp_path / "out", by=by, keep=KEEP)
    assert (tmp_path / "out" / "readme.txt").read_text() == "mine"
    assert not (tmp_path / "out" / "link.txt").exists()
    (shards / "readme.txt").write_text("another")
    with (
        pytest.warns(UserWarning),
        pytest.raises(OutputError, match=r"is not the readme[.]txt that"),
    ):
        ps.shrink(shards, tmp_path / "out", by=by, keep=KEEP)
