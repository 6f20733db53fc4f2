"""Features files that are damaged, or made to hurt: each is refused in words, at once, and names
the file.
"""

import io
import json
import os
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from purescope.errors import InputError
from purescope.features.files import read_features

ARRAYS: dict[str, Any] = {
    "image": np.eye(2, 4, dtype=np.float32),
    "text": np.eye(2, 4, dtype=np.float32),
    "labels": np.array([0, 1]),
}


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(shape: tuple[int, ...], *, descr: str = "<f4", version: int = 2) -> bytes:
    """Of an array that declares this, whatever follows."""
    buffer = io.BytesIO()
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    (
        np.lib.format.write_array_header_1_0
        if version == 1
        else np.lib.format.write_array_header_2_0
    )(buffer, fields)
    return buffer.getvalue()


def pack(
    file: Path, members: dict[str, bytes], *, kind: int = zipfile.ZIP_STORED, twice: str = ""
) -> None:
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if twice:
            archive.writestr(twice, next(iter(members.values())))


def whole(**changes: bytes) -> dict[str, bytes]:
    members = {name: npy(array) for name, array in ARRAYS.items()} | changes
    return {f"{name}.npy": content for name, content in members.items()}


def words(**texts: Any) -> Callable[[Path], None]:
    return lambda file: np.savez(file, **ARRAYS, **texts)


def metadata(**texts: Any) -> Callable[[Path], None]:
    return words(metadata=np.array(json.dumps(texts)))


def bomb(file: Path) -> None:
    """512 MB of zeros in two megabytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("image.npy", "w", force_zip64=True) as stream:
            stream.write(header((250_000, 512)))
            for _ in range(125):
                stream.write(bytes(4_096_000))
        for name, array in {
            "text": np.eye(2, 512, dtype="f4"),
            "labels": np.zeros(250_000, "i8"),
        }.items():
            archive.writestr(f"{name}.npy", npy(array))


def zeros(name: str, shape: tuple[int, ...], descr: str) -> Callable[[Path], None]:
    """One array of so many zeros, in a few kilobytes."""

    def write(file: Path) -> None:
        members = whole(**{name: header(shape, descr=np.dtype(descr).str)})
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for member, content in members.items():
                with archive.open(member, "w") as stream:
                    stream.write(content)
                    if member == f"{name}.npy":
                        for _ in range(10):
                            stream.write(
                                bytes(int(np.prod(shape)) * np.dtype(descr).itemsize // 10)
                            )

    return write


def long_header(file: Path) -> None:
    """A header of 100 MB, which NumPy would unpack before it looks."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in whole().items():
            long = b"\x93NUMPY\x02\x00" + struct.pack("<I", 10**8) + b" " * 10**8
            archive.writestr(name, long if name == "image.npy" else content)


def flag(file: Path, *, bits: int = 0, compression: int | None = None) -> None:
    """Change what the list of members says of the first one."""
    np.savez(file, **ARRAYS)
    content = bytearray(file.read_bytes())
    at = content.index(b"PK\1\2")
    content[at + 8] |= bits
    if compression is not None:
        content[at + 10 : at + 12] = struct.pack("<H", compression)
    file.write_bytes(content)


def damaged_lzma(file: Path) -> None:
    pack(file, whole(), kind=zipfile.ZIP_LZMA)
    content = bytearray(file.read_bytes())
    content[60:90] = bytes(30)
    file.write_bytes(content)


def pipe(file: Path) -> None:
    os.mkfifo(file)


def endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def pointer(file: Path) -> None:
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


NPZ: dict[str, tuple[Callable[[Path], Any], str]] = {
    "36 PiB declared": (lambda file: pack(file, whole(image=header((10**13, 1000)))), "declares"),
    "less than there is": (
        lambda file: pack(file, whole(image=header((1, 4)) + bytes(32))),
        "declares",
    ),
    "negative": (lambda file: pack(file, whole(image=header((-2, -4)) + bytes(32))), "declares"),
    "rows of nothing": (
        lambda file: pack(file, whole(classes=header((10**12,), descr="<U0"))),
        "declares",
    ),
    "a bomb": (bomb, "declares 51"),
    "a bomb of a header": (long_header, "header of the array image has 100,000,000 bytes"),
    "names of zeros": (
        zeros("classes", (20_000_000,), "S1"),
        "20000000 class names for 2 rows of text",
    ),
    "labels of zeros": (
        zeros("labels", (20_000_000,), "i1"),
        "labels is int8 of shape [20000000], and image is of",
    ),
    "classes of zeros": (zeros("text", (20_000_000, 4), "f2"), "there are 20,000,000 classes"),
    "a long name": (
        words(classes=np.array(["a", "x" * 2000])),
        "class 1 has a name of 2,000 characters",
    ),
    "two of a name": (
        lambda file: pack(file, {"image": whole()["image.npy"], **whole()}),
        "two arrays are called 'image'",
    ),
    "encrypted": (lambda file: flag(file, bits=1), "encrypted"),
    "compression 99": (lambda file: flag(file, compression=99), "compressed as 99"),
    "damaged LZMA": (damaged_lzma, "compressed as lzma"),
    "LZMA": (lambda file: pack(file, whole(), kind=zipfile.ZIP_LZMA), "compressed as lzma"),
    "no array": (lambda file: pack(file, whole(image=b"x" * 90)), "is not a NumPy array"),
    "empty array": (lambda file: pack(file, whole(image=b"")), "is not a NumPy array"),
    "objects": (words(classes=np.array([{}, []], dtype=object)), "Python objects"),
    "fields": (
        lambda file: np.savez(file, **{**ARRAYS, "image": np.zeros(2, dtype=[("a", "f4")])}),
        "no numbers",
    ),
    "fields with names": (
        lambda file: pack(file, whole(image=npy(ARRAYS["image"]).replace(b"NUMPY\1", b"NUMPY\3"))),
        "version 3.0",
    ),
    "metadata of numbers": (words(metadata=np.arange(3)), "metadata is int64"),
    "metadata of rows": (words(metadata=np.array(["{}", "{}"])), "of shape [2]"),
    "metadata is a list": (words(metadata=np.array("[1, 2]")), "no object"),
    "metadata is deep": (words(metadata=np.array("[" * 100_000)), "cannot be read"),
    "metadata twice": (words(metadata=np.array('{"model": "a", "model": "b"}')), "stands twice"),
    "classes of numbers": (words(classes=np.arange(2)), "classes is int64"),
    "classes in rows": (words(classes=np.array([["a", "b"]])), "of shape [1, 2]"),
    "an empty class": (words(classes=np.array(["a", " "])), "class 1 has the name ' '"),
    "half a character": (
        words(classes=np.array(["a", "\ud800"])),
        "class 1 has the name '\\ud800'",
    ),
    "no character": (
        lambda file: pack(
            file, whole(classes=header((2,), descr="<U1") + struct.pack("<II", 65, 0x7FFFFFFF))
        ),
        "cannot be read",
    ),
    "a model of numbers": (words(model=np.array(3)), "model is int64"),
    "a model of nothing": (words(model=np.array("")), "its metadata model is ''"),
    "a model in JSON": (metadata(model=["x"]), "metadata model is ['x']"),
    "half a character in JSON": (metadata(dataset="\udc80"), "metadata dataset"),
    "identity is a list": (metadata(identity="[1]"), "metadata identity"),
    "identity is no JSON": (metadata(identity="{"), "metadata identity"),
    "identity of numbers": (metadata(identity='{"a": 1}'), "metadata identity, a"),
    "identity of halves": (metadata(identity='{"a": "\\ud800"}'), "metadata identity, a"),
    "identity twice": (metadata(identity='{"a": "1", "a": "2"}'), "metadata identity"),
    "classes in JSON": (metadata(classes='{"a": 1}'), "metadata classes"),
    "classes of numbers in JSON": (metadata(classes="[1, 2]"), "class 0 has the name 1"),
    "seconds": (metadata(seconds="soon"), "metadata seconds"),
    "no seconds": (metadata(seconds="nan"), "metadata seconds"),
    "seconds before": (metadata(seconds="-1"), "metadata seconds"),
    "a list of seconds": (metadata(seconds=[1]), "metadata seconds"),
    "labels beyond int64": (
        lambda file: np.savez(file, **{**ARRAYS, "labels": np.array([0, 2**63], dtype=np.uint64)}),
        "the label 9223372036854775808 of image 1",
    ),
    "labels with points": (
        lambda file: np.savez(file, **{**ARRAYS, "labels": np.array([0.0, 1.0])}),
        "torch.float64",
    ),
    "a pipe": (pipe, "not a regular file"),
    "an endless device": (endless, "not a regular file"),
    "a folder": (Path.mkdir, "Is a directory"),
    "a pointer": (pointer, "git-lfs pointer"),
}


def stored(
    entries: Any, content: bytes = bytes(64), *, length: int | None = None
) -> Callable[[Path], Any]:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return lambda file: file.write_bytes(
        struct.pack("<Q", len(text) if length is None else length) + text + content
    )


def saved(**texts: str) -> Callable[[Path], Any]:
    return lambda file: safetensors.numpy.save_file(ARRAYS, file, texts)


TENSORS = {
    "image": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]},
    "text": {"dtype": "F32", "shape": [2, 4], "data_offsets": [32, 64]},
    "labels": {"dtype": "I64", "shape": [2], "data_offsets": [64, 80]},
}
TWICE = json.dumps(TENSORS)[:-1] + ', "image": ' + json.dumps(TENSORS["text"]) + "}"
SAFETENSORS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "two of a name": (stored(TWICE.encode(), bytes(80)), "'image' stands twice"),
    "a header of 16 EB": (stored(TENSORS, length=2**64 - 1), "its header has"),
    "a list": (stored([]), "no object"),
    "deep": (stored(b"[" * 100_000), "cannot be read"),
    "metadata of numbers": (
        stored({**TENSORS, "__metadata__": {"model": 3}}, bytes(80)),
        "metadata model is no text",
    ),
    "metadata is a list": (stored({**TENSORS, "__metadata__": []}, bytes(80)), "no object"),
    "more than there is": (
        stored(
            {
                **TENSORS,
                "image": {"dtype": "F32", "shape": [10**13, 1000], "data_offsets": [0, 4 * 10**16]},
            }
        ),
        "cannot be read",
    ),
    "an empty class": (saved(classes='["a", ""]'), "class 1 has the name ''"),
    "half a character": (saved(classes='["a", "\\udfff"]'), "class 1 has the name"),
    "classes of numbers": (saved(classes="[0, 1]"), "class 0 has the name 0"),
    "classes is no list": (saved(classes='"ab"'), "metadata classes"),
    "identity": (saved(identity="[]"), "metadata identity"),
    "identity of lists": (saved(identity='{"a": []}'), "metadata identity, a"),
    "seconds": (saved(seconds="1 s"), "metadata seconds"),
    "endless seconds": (saved(seconds="inf"), "metadata seconds"),
    "model": (saved(model=" "), "metadata model"),
    "labels beyond int64": (
        lambda file: safetensors.numpy.save_file(
            {**ARRAYS, "labels": np.array([0, 2**63], dtype=np.uint64)}, file
        ),
        "the label 9223372036854775808 of image 1",
    ),
    "a pipe": (pipe, "not a regular file"),
    "an endless device": (endless, "not a regular file"),
    "a pointer": (pointer, "git-lfs pointer"),
}


def many_keys(file: Path) -> None:
    """Of which the last is the one that stands twice."""
    entries = ",".join(f'"{number}":0' for number in range(100_000)).encode()
    stored(b"{" + entries + b',"z":0,"z":1}')(file)


def of_eight_bits(file: Path) -> None:
    entries = {
        name: {**TENSORS[name], "dtype": "F8_E4M3", "data_offsets": [at, at + 8]}
        for name, at in EIGHT.items()
    }
    stored(
        {**entries, "labels": {**TENSORS["labels"], "data_offsets": [16, 32]}},
        bytes([0x38] * 16) + bytes(16),
    )(file)


EIGHT = {"image": 0, "text": 8}
SAFETENSORS |= {
    "many keys, one twice": (many_keys, "'z' stands twice"),
    "numbers of eight bits": (of_eight_bits, "image is torch.float8_e4m3fn of shape [2, 4]"),
    "a long name": (
        saved(classes=json.dumps(["a", "x" * 2000])),
        "class 1 has a name of 2,000 characters",
    ),
}
CASES = [
    (suffix, name)
    for suffix, table in ((".npz", NPZ), (".safetensors", SAFETENSORS))
    for name in table
]


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "name"), CASES)
def test_it_is_refused_at_once_and_by_name(suffix: str, name: str, tmp_path: Path) -> None:
    make, message = (NPZ if suffix == ".npz" else SAFETENSORS)[name]
    file = tmp_path / f"mine{suffix}"
    make(file)
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        read_features(file)
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message in str(caught.value)
    assert "mine" in str(caught.value) and len(str(caught.value)) < 2000
    assert seconds < 2 and peak < 50e6, (seconds, peak)


@pytest.mark.parametrize("comment", [0, 65_535], ids=["no comment", "the longest comment"])
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_a_list_of_a_million_members_is_not_read(long: bool, comment: int, tmp_path: Path) -> None:
    """Whichever form of its end says how long it is, and however far that stands from the end of
    the file.
    """
    file = tmp_path / "mine.npz"
    entry = (
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
        + b"x"
    )
    count = 200_000
    size = count * len(entry)
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, size, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0 if long else size, 0, comment)
    file.write_bytes(entry * count + (record + locator) * long + end + bytes(comment))
    start = time.process_time()
    with pytest.raises(InputError, match="its list of members has 9,400,000 bytes"):
        read_features(file)
    assert time.process_time() - start < 1


def test_what_others_write_is_read(tmp_path: Path) -> None:
    """Compressed, of another byte order, in columns, with names in bytes, and among arrays of other
    things.
    """
    file, swapped = (
        tmp_path / "mine.npz",
        {name: array.astype(array.dtype.newbyteorder(">")) for name, array in ARRAYS.items()},
    )
    swapped["image"] = np.asfortranarray(swapped["image"])
    np.savez_compressed(
        file,
        **swapped,
        classes=np.array([b"cat", b"dog"]),
        model=np.array(b"mine"),
        more=np.array({}),
    )
    features = read_features(file)
    assert np.array_equal(features.image.numpy(), ARRAYS["image"])
    assert (features.labels.tolist(), features.classes, features.model) == (
        [0, 1],
        ("cat", "dog"),
        "mine",
    )


def test_equal_class_names_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", **ARRAYS, classes=np.array(["crane", "crane"]))
    with pytest.warns(UserWarning, match=r"mine\.npz: 2 classes share a name, 'crane' \(0, 1\)"):
        read_features(tmp_path / "mine.npz")
