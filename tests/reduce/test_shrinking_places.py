"""Where collections are shrunk from and to: names, links, hidden files, streams, earlier runs."""

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import purescope as ps
from purescope.errors import InputError, OutputError
from purescope.reduce import shrinking
from tests.logs import logged
from tests.reduce.test_shrinking import (
    COUNT,
    KEEP,
    LONG,
    TEXT,
    WIDTH,
    WRITERS,
    by,
    by_tower,
    expected,
    read,
    shards,
    small_blocks,
)

__all__ = ["by", "by_tower", "shards", "small_blocks"]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Files and folders whose names come in no order from the system."""
    folder = tmp_path / "many"
    for number in (7, 2, 9, 4, 0, 8, 3, 6, 1, 5):
        (folder / f"part {number}").mkdir(parents=True)
        for letter in "dbeca":
            np.save(folder / f"part {number}" / f"{letter}.npy", LONG[:2])
    return folder


def test_files_come_in_the_order_of_their_names(many: Path, by: Path, tmp_path: Path) -> None:
    done = ps.shrink(many, tmp_path / "out", by=by, keep=KEEP)
    names = [path.relative_to(tmp_path / "out").as_posix() for path in done.files]
    assert names == [f"part {number}/{letter}.npy" for number in range(10) for letter in "abcde"]


def test_hidden_files_and_indexes_are_left_out(shards: Path, by: Path, tmp_path: Path) -> None:
    (shards / ".hidden").mkdir()
    for name in (".hidden/a.npy", ".b.npy"):
        np.save(shards / name, LONG)
    (shards / "notes.purescope.json").write_text("{}")
    (shards / "old.INDEX").write_bytes(b"an index")
    with pytest.warns(UserWarning, match=r"not copied: old\.INDEX; an index"):
        done = ps.shrink(shards, tmp_path / "out", by=by, keep=KEEP)
    assert [path.name for path in done.files] == ["0.npy", "1.npy", "2.npy"] and not done.copied
    assert not (tmp_path / "out" / ".hidden").exists()


def test_relative_names_and_links_are_resolved(
    shards: Path, by: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "one.npy", LONG)
    (tmp_path / "link").symlink_to(shards)
    (shards / "readme.txt").write_text("mine")
    monkeypatch.chdir(shards)
    done = ps.shrink([".", "../one.npy"], "../out", by=by, keep=KEEP)
    assert [path.as_posix() for path in done.copied] == ["../out/shards/readme.txt"]
    assert [path.as_posix() for path in done.files] == [
        *(f"../out/shards/{number}.npy" for number in range(3)),
        "../out/one.npy",
    ]
    for source, out in ((".", "short"), ("../link", "short"), (".", "../link/short"), (".", "..")):
        with pytest.raises(OutputError, match="is, holds or lies in"):
            ps.shrink(source, out, by=by, keep=KEEP)
    with pytest.raises(OutputError, match="is, holds or lies in"):
        ps.shrink(["../one.npy", "../link"], "../shards/out", by=by, keep=KEEP)
    with pytest.raises(InputError, match="two of the inputs are called shards"):
        ps.shrink([".", "../link"], "../again", by=by, keep=KEEP)


@pytest.mark.parametrize("name", WRITERS)
def test_the_folder_says_the_tower_wherever_one_stands(
    name: str, by_tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From within the folder, from one beside it, and by a link in it, as the hub's cache has."""
    for folder in ("text_emb", "beside", "blobs"):
        (tmp_path / folder).mkdir()
    WRITERS[name](tmp_path / "blobs" / name)
    (tmp_path / "text_emb" / name).symlink_to(tmp_path / "blobs" / name)
    for folder, file in (("text_emb", name), ("beside", f"../text_emb/{name}")):
        monkeypatch.chdir(tmp_path / folder)
        ps.shrink(file, f"../{folder} {name}", by=by_tower, keep=KEEP, array=array_of(name))
        short = read(Path(f"../{folder} {name}"))
        np.testing.assert_allclose(short, expected(LONG, TEXT), atol=1e-6)
    with pytest.raises(InputError, match="does not say which tower"):
        ps.shrink(f"../blobs/{name}", f"../b {name}", by=by_tower, keep=KEEP)


def array_of(name: str) -> str | None:
    return "vector" if name.endswith((".npz", ".safetensors")) else None


def test_several_files_may_be_written_beside_one_of_them(by: Path, tmp_path: Path) -> None:
    for name in ("out/in.npy", "b.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, LONG)
    with pytest.raises(OutputError, match=r"in\.npy exists, and nothing beside it says"):
        ps.shrink(
            [tmp_path / "out" / "in.npy", tmp_path / "b.npy"], tmp_path / "out", by=by, keep=KEEP
        )


def test_any_number_of_axes_may_be_kept(by: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LONG)
    for keep in (1, WIDTH):
        ps.shrink(tmp_path / "a.npy", tmp_path / f"{keep}.npy", by=by, keep=keep)
        assert np.load(tmp_path / f"{keep}.npy").shape == (COUNT, keep)


def test_rows_are_scaled_and_nothing_is_replaced_unless_asked(by: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LONG)
    ps.shrink(tmp_path / "a.npy", tmp_path / "b.npy", by=by, keep=KEEP)
    np.testing.assert_allclose(np.load(tmp_path / "b.npy"), expected(LONG), atol=1e-6)
    with pytest.raises(OutputError, match="was made with another keep"):
        ps.shrink(tmp_path / "a.npy", tmp_path / "b.npy", by=by, keep=2)


# --- streams


def source() -> io.BytesIO:
    stream = io.BytesIO()
    np.save(stream, LONG)
    return io.BytesIO(stream.getvalue())


def test_a_stream_is_one_file(shards: Path, by: Path, tmp_path: Path) -> None:
    for several in (shards, [shards / "0.npy", shards / "1.npy"]):
        with pytest.raises(InputError, match="several files of vectors to one stream"):
            ps.shrink(several, io.BytesIO(), by=by, keep=KEEP)
    with pytest.raises(OutputError, match=r"shards is a folder(?s:.*)expected: a file"):
        ps.shrink(source(), shards, by=by, keep=KEEP)


def test_a_file_from_a_stream_has_a_record_and_is_replaced_on_demand(
    by: Path, tmp_path: Path
) -> None:
    import zlib

    short = tmp_path / "a.npy"
    done = ps.shrink(source(), short, by=by, keep=KEEP)
    assert (done.bytes_before, done.bytes_after) == (0, short.stat().st_size)
    assert (done.files, done.kept, done.copied) == ([short], 0, [])
    record = json.loads((tmp_path / "a.npy.purescope.json").read_text())
    content = source().getvalue()
    assert record["source"] == {
        "name": "standard input", "bytes": len(content), "crc32": zlib.crc32(content)
    }  # fmt: skip
    ps.shrink(source(), short, by=by, keep=KEEP, overwrite=True)
    ps.shrink(source(), short, by=by, keep=2, overwrite=True)
    assert np.load(short).shape == (COUNT, 2)
    out = io.BytesIO()
    done = ps.shrink(source(), out, by=by, keep=KEEP)
    assert (done.files, done.bytes_before, done.bytes_after, done.rows) == ([], 0, 0, COUNT)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_stream_of_any_order_has_as_many_numbers_as_it_says(
    order: Literal["C", "F"], by: Path, tmp_path: Path
) -> None:
    stream = io.BytesIO()
    np.save(stream, np.asarray(LONG, order=order))
    for content in (stream.getvalue()[:-4], stream.getvalue() + b"more"):
        with pytest.raises(InputError, match="standard input cannot be read"):
            ps.shrink(io.BytesIO(content), tmp_path / "a.npy", by=by, keep=KEEP)
        assert not list(tmp_path.glob("a*"))


# --- what an earlier run left


def test_a_file_that_is_gone_is_made_again(shards: Path, by: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ps.shrink(shards, out, by=by, keep=KEEP)
    (out / "1.npy").unlink()
    done = ps.shrink(shards, out, by=by, keep=KEEP)
    assert done.kept == 2 and (out / "1.npy").exists()


def test_copies_that_are_there_stay_and_others_are_replaced_on_demand(
    shards: Path, by: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (shards / "readme.txt").write_text("mine")
    ps.shrink(shards, out, by=by, keep=KEEP)
    before = (out / "readme.txt").stat().st_ino
    done = ps.shrink(shards, out, by=by, keep=KEEP)
    assert done.copied == [out / "readme.txt"] and (out / "readme.txt").stat().st_ino == before
    for text in ("much longer", "mind"):
        (shards / "readme.txt").write_text(text)
        with pytest.raises(OutputError, match=r"is not the readme\.txt that"):
            ps.shrink(shards, out, by=by, keep=KEEP)
        ps.shrink(shards, out, by=by, keep=KEEP, overwrite=True)
        assert (out / "readme.txt").read_text() == text


def records_of(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in folder.glob("*.purescope.json"):
        yield path, json.loads(path.read_text())


def test_the_record_names_what_is_as_it_was_not_asked_for(
    by: Path, by_tower: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "image.npy", LONG)
    for name, options, made in (
        ("a", {"by": by}, ("as the source, float16 or float32", "both alike", None, None)),
        ("b", {"by": by_tower}, ("as the source, float16 or float32", "by name", None, None)),
        (
            "c",
            {"by": by_tower, "dtype": "float32", "tower": "text", "column": "x", "array": "y"},
            ("float32", "text", "x", "y"),
        ),
    ):
        ps.shrink(tmp_path / "image.npy", tmp_path / name / "s.npy", keep=KEEP, **options)  # type: ignore[arg-type]
        [(_, record)] = records_of(tmp_path / name)
        shrunk = record["shrunk"]
        assert tuple(shrunk[key] for key in ("dtype", "tower", "column", "array")) == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"shrunk": 1}, {"shrunk": []}, {"source": []}, {"source": None}, {"bytes": "1"},
        {"rows": 1.5}, {"rows_of_zeros": None}, {"rows": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_of_other_types_is_none(
    wrong: dict[str, object], shards: Path, by: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ps.shrink(shards, out, by=by, keep=KEEP)
    path, record = next(records_of(out))
    path.write_text(json.dumps(record | wrong))
    with pytest.raises(OutputError, match="the record of a file that `purescope shrink` wrote"):
        ps.shrink(shards, out, by=by, keep=KEEP)


def test_a_source_that_changes_while_it_is_read_is_refused(
    by: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.npy"
    np.save(file, LONG)
    write = shrinking.go_on

    def changed(source: Path, *rest: Any) -> None:
        write(source, *rest)
        os.utime(source, ns=(1, 1))

    monkeypatch.setattr(shrinking, "go_on", changed)
    with pytest.raises(InputError, match="was changed while it was read"):
        ps.shrink(file, tmp_path / "b.npy", by=by, keep=KEEP)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy"]


def test_each_file_is_told_with_its_number(
    shards: Path, by: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shrinking._log, "isEnabledFor", lambda level: True)
    with logged() as told:
        ps.shrink(shards, tmp_path / "out", by=by, keep=KEEP)
    lines = told.getvalue().splitlines()
    assert [line.rpartition(" (")[2] for line in lines] == ["1 of 3)", "2 of 3)", "3 of 3)"]


def test_a_folder_that_cannot_be_read_is_said(
    shards: Path, by: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shards / "locked").mkdir()

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(shards / "locked"))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        ps.shrink(shards, tmp_path / "out", by=by, keep=KEEP)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
