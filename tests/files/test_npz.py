"""Arrays of an npz: what is declared is what is there, and cosines are cosines of all pairs."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from purescope.errors import InputError
from purescope.files import npz
from purescope.files.npz import (
    Npz,
    check_cosines,
    colour_limit,
    npz_bytes,
    read_cosines,
    write_cosines,
)

HALF = np.array([[1, -0.5], [-0.5, 1]], dtype=np.float16)


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def packed(path: Path, kind: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def declares(
    shape: tuple[int, ...], descr: str = "<f4", version: tuple[int, int] = (1, 0)
) -> bytes:
    """The header of an array, without the array."""
    buffer = io.BytesIO()
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    write = {
        (1, 0): np.lib.format.write_array_header_1_0,
        (2, 0): np.lib.format.write_array_header_2_0,
    }[version]
    write(buffer, fields)
    return buffer.getvalue()


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays_of_any_form_are_read(kind: int, version: tuple[int, int], tmp_path: Path) -> None:
    rows = np.arange(6, dtype="<f4").reshape(2, 3)
    path = packed(
        tmp_path / "a.npz",
        kind,
        rows=declares((2, 3), version=version) + rows.tobytes(),
        swapped=npy(rows.astype(">f4")),
        empty=npy(np.zeros((0, 3), dtype=np.float32)),
        words=npy(np.array(["a", "\U0010ffff"])),
        none=npy(np.array([], dtype="U3")),
        one=npy(np.array(3)),
        more=npy(np.array({})),
    )
    with Npz(path, ("rows", "swapped", "empty", "words", "none", "one", "absent")) as arrays:
        assert arrays.names == ["rows", "swapped", "empty", "words", "none", "one", "more"]
        assert list(arrays.members) == ["rows", "swapped", "empty", "words", "none", "one"]
        assert arrays.members["rows"].bytes == 24 and arrays.members["empty"].bytes == 0
        for name in ("rows", "swapped"):
            assert np.array_equal(arrays.read(name), rows) and arrays.read(name).dtype.isnative
        assert arrays.read("empty").shape == (0, 3) and arrays.read("one") == 3
        assert arrays.read("words").tolist() == ["a", "\U0010ffff"]
        assert arrays.read("none").tolist() == []


BAD: dict[str, tuple[bytes, str]] = {
    "no array": (b"NUMPY" * 9, "a is not a NumPy array"),
    "short": (b"\x93NUMPY", "a is not a NumPy array"),
    "of fields": (b"\x93NUMPY\x03\x00" + bytes(20), r"a has version 3\.0, for fields"),
    "objects": (npy(np.array({})), "a holds Python objects"),
    "too few": (declares((3,)) + bytes(8), r"a declares \[3\] of float32, and has 8 bytes"),
    "too many": (declares((1,)) + bytes(8), r"a declares \[1\] of float32, and has 8 bytes"),
    "below zero": (declares((-1, -2)) + bytes(8), r"a declares \[-1, -2\] of float32"),
    "no bytes": (declares((5,), "<U0"), r"a declares \[5\] of <U0, and has 0 bytes"),
    "long": (b"\x93NUMPY\x01\x00" + struct.pack("<H", 10_001), "of the array a has 10,001 bytes"),
    "no header": (
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 5) + b"{'a':",
        "the header of the array a",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_declared_and_is_not_there_is_refused(kind: str, tmp_path: Path) -> None:
    content, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        Npz(packed(tmp_path / "a.npz", a=content), ("a",))
    Npz(tmp_path / "a.npz", ("b",)).__exit__()  # nobody asked for it


def test_a_header_is_as_long_as_numpy_reads(tmp_path: Path) -> None:
    fields = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}"
    long = b"\x93NUMPY\x01\x00" + struct.pack("<H", 10_000) + fields.ljust(10_000) + bytes(4)
    with Npz(packed(tmp_path / "a.npz", a=long), ("a",)) as arrays:
        assert arrays.members["a"].shape == (1,)


@pytest.mark.parametrize(
    ("kind", "name"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")]
)
def test_other_compressions_are_named(kind: int, name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"compressed as {name}, which"):
        Npz(packed(tmp_path / "a.npz", kind, a=npy(HALF)), ("a",))


def test_an_encrypted_array_is_named(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.npz", a=npy(HALF))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="the array a is encrypted"):
        Npz(path, ("a",))
    content[content.index(b"PK\1\2") + 8] = 2  # of the compression, which is stored here
    path.write_bytes(content)
    with Npz(path, ("a",)) as arrays:
        assert np.array_equal(arrays.read("a"), HALF)


def test_a_number_that_is_no_character_is_refused(tmp_path: Path) -> None:
    words = declares((2,), "<U1") + struct.pack("<2I", 0x110000, 97)
    with (
        Npz(packed(tmp_path / "a.npz", a=words), ("a",)) as arrays,
        pytest.raises(ValueError, match="the array a holds a number that is not a character"),
    ):
        arrays.read("a")


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.npz", a=npy(HALF))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a", npy(HALF))
    with pytest.raises(ValueError, match="two arrays are called 'a'"):
        Npz(path, ())


def directory(size: int, long: bool, comment: int = 0, before: int = 0) -> bytes:
    """The end of a zip that states so many bytes of its list, as `zipfile` would find it."""
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, before, 1)
    stated = 0xFFFFFFFF if long else size
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, stated, 0, comment)
    return bytes(before) + (record + locator) * long + end + b"c" * comment


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("comment", [0, 1, 65_535])
@pytest.mark.parametrize("before", [0, 7, 70_000])
def test_a_long_list_of_members_is_refused_wherever_its_end_stands(
    before: int, comment: int, long: bool, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="its list of members has 1,000,001 bytes"):
        check(tmp_path, directory(1_000_001, long, comment, before))
    check(tmp_path, directory(999_999, long, comment, before))


def check(folder: Path, content: bytes) -> None:
    (folder / "a.npz").write_bytes(content)
    with (folder / "a.npz").open("rb") as stream:
        npz._check_directory(stream)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"PK\5\6", bytes(30), b"PK\5\6" + bytes(11), directory(10**7, True)[56:]],
    ids=["empty", "half a mark", "a mark", "no mark", "half an end", "no record"],
)
def test_an_end_that_is_cut_is_left_to_zipfile(content: bytes, tmp_path: Path) -> None:
    check(tmp_path, content)


# --- cosines of all pairs


def cosines(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "cosines_m.npz", **{"image": HALF, "text": HALF.T} | arrays)
    return folder


def test_cosines_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_cosines(tmp_path, "m") is None
    write_cosines({"image": HALF, "text": -HALF}, tmp_path, "M")
    read = read_cosines(tmp_path, "m")
    assert read is not None and list(read) == ["image", "text"]
    assert read["image"].dtype == np.float32 and np.array_equal(read["image"], HALF)
    assert np.array_equal(read["text"], -HALF)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HALF.astype(np.float32), r"text is float32 of shape \[2, 2\]"),
        (HALF[0], r"text is float16 of shape \[2\]"),
        (HALF[:, :1], r"text is float16 of shape \[2, 1\]"),
        (HALF[None], r"text is float16 of shape \[1, 2, 2\]"),
        (np.zeros((2, 2, 2), np.float16), r"text is float16 of shape \[2, 2, 2\]"),
        (HALF * 2, "text holds a value that is no cosine"),
        (HALF * np.float16("nan"), "text holds a value that is no cosine"),
        (np.array({}), "the array text holds Python objects"),
    ],
)
def test_what_is_no_cosines_is_named(text: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"cosines_m\.npz cannot be read: .*{message}"):
        read_cosines(cosines(tmp_path, text=text), "m")


def test_a_tower_that_is_not_there_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "cosines_m.npz", image=HALF)
    with pytest.raises(InputError, match="no array 'text'"):
        read_cosines(tmp_path, "m")


def test_there_must_be_memory_for_cosines_and_their_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are in half precision, and twice that in single precision: three times."""
    zeros = np.zeros((100, 100), dtype=np.float16)
    np.savez(tmp_path / "cosines_m.npz", image=zeros, text=zeros)
    bytes_of_both = 2 * 20_000
    monkeypatch.setattr("purescope.files.reading.available_memory", lambda: 3 * bytes_of_both)
    assert read_cosines(tmp_path, "m") is not None
    monkeypatch.setattr("purescope.files.reading.available_memory", lambda: 3 * bytes_of_both - 1)
    with pytest.raises(InputError, match="working with them takes 120 KB"):
        read_cosines(tmp_path, "m")


def test_colours_end_where_nearly_all_cosines_do() -> None:
    matrix = np.eye(11)
    off = ~np.eye(11, dtype=bool)
    matrix[off] = -np.arange(110) / 110
    assert colour_limit(matrix) == pytest.approx(np.quantile(np.arange(110) / 110, 0.99))
    assert colour_limit(np.eye(3)) == 1 and colour_limit([[1.0]]) == 1
    assert colour_limit(np.eye(3), matrix) < colour_limit(matrix)


WRONG: tuple[Callable[[], Any], ...] = (
    lambda: np.zeros(3),
    lambda: np.zeros((2, 3)),
    lambda: np.zeros((3, 2)),
    lambda: np.zeros((0, 0)),
    lambda: np.zeros((2, 2, 2)),
)


@pytest.mark.parametrize("matrix", WRONG)
def test_cosines_of_no_pairs_are_refused(matrix: Callable[[], Any]) -> None:
    with pytest.raises(InputError, match="cosines of shape"):
        check_cosines(matrix())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_cosines_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="cosines that are NaN or infinite"):
        check_cosines([[1, value], [0, 1]])
    assert check_cosines([[1, -0.5], [0, -1]]).tolist() == [[1, 0.5], [0, 1]]


@pytest.mark.parametrize("compressed", [False, True])
def test_only_the_arrays_are_written_and_no_python_objects(compressed: bool) -> None:
    arrays = {"one": np.arange(3), "two": np.array("text")}
    with np.load(io.BytesIO(npz_bytes(arrays, compressed=compressed))) as read:
        assert {name: read[name].tolist() for name in read.files} == {
            "one": [0, 1, 2],
            "two": "text",
        }
    with pytest.raises(ValueError, match="Python objects in two"):
        npz_bytes({**arrays, "two": np.array([{}])}, compressed=compressed)
