"""NumPy's ``.npz`` from anywhere: the declarations of its arrays are checked before unpacking.

An npz is a zip of ``.npy`` files, each an array behind a header with its type and shape. A header
may declare any size, a few bytes may unpack to any number, two members may have the same name, and
Python objects in an array can run code.

The cosines of all pairs of a model's neurons are such a file in the folder of a run.
"""

import io
import math
import os
import struct
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float16, Float32
from numpy.typing import ArrayLike

from purescope.errors import InputError
from purescope.files.reading import open_whole, require_room
from purescope.files.writing import AGAIN, slug, write_bytes
from purescope.specs import exists

# Compression at most halves features, but makes zeros almost vanish.
_MOST_PER_BYTE = 50
_DIRECTORY = 1_000_000  # bytes of a zip's list of members: enough for ten thousand members
_HEADER = 10_000  # bytes of an array's header; NumPy reads no more
_READERS = {
    (1, 0): ("<H", np.lib.format.read_array_header_1_0),
    (2, 0): ("<I", np.lib.format.read_array_header_2_0),
}
_COMPRESSION = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the methods that NumPy writes


@runtime_checkable
class Readable(Protocol):
    """A stream of bytes that is read from its beginning."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class Header:
    """What the header of a ``.npy`` declares, and how many bytes it has itself."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    length: int

    @property
    def bytes(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Member:
    """The declaration of an array in an npz."""

    info: zipfile.ZipInfo
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class Npz:
    """An open npz whose arrays are checked but not yet unpacked; use it as a context manager.

    Args:
        file: path of the npz.
        wanted: names of the arrays that may be read; all others stay packed.

    Raises:
        OSError: it cannot be opened.
        ValueError, zipfile.BadZipFile: it is damaged, or its content cannot be determined.
    """

    def __init__(self, file: Path, wanted: tuple[str, ...]) -> None:
        self.file = file
        self._stream = open_whole(file)
        try:
            self._size = os.fstat(self._stream.fileno()).st_size
            _check_directory(self._stream)
            self._zip = zipfile.ZipFile(self._stream)
            packed: dict[str, zipfile.ZipInfo] = {}
            for info in self._zip.infolist():
                name = info.filename.removesuffix(".npy")
                if packed.setdefault(name, info) is not info:
                    raise ValueError(f"two arrays are called {name!r}")
            self.names = list(packed)
            self._packed = packed
            self.members = {
                name: _member(self._zip, name, packed[name]) for name in wanted if name in packed
            }
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> "Npz":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._stream.close()

    def declare(self, name: str) -> Member:
        """Return what an array declares, also of one that is not among the wanted.

        Raises:
            ValueError: it is no array of NumPy, or one that could run code.
        """
        return _member(self._zip, name, self._packed[name])

    def open(self, name: str) -> Any:
        """Open a member as the bytes of its file, header included."""
        return self._zip.open(self._packed[name])

    def info(self, name: str) -> zipfile.ZipInfo:
        """Return the entry of a member in the zip."""
        return self._packed[name]

    def require_room(self, needed: int) -> None:
        """Refuse an npz that declares more than its file can contain, or than fits in memory.

        Args:
            needed: bytes that the work with the arrays takes.

        Raises:
            InputError: it declares too much.
        """
        require_room(
            sum(member.bytes for member in self.members.values()),
            stored=self._size,
            what="it",
            most_per_byte=_MOST_PER_BYTE,
            error=InputError,
            needed=needed,
        )

    def read(self, name: str) -> np.ndarray:
        """Unpack an array, in the byte order of this machine."""
        with self._zip.open(self.members[name].info) as stream:
            array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        if not array.dtype.isnative:
            array = array.byteswap(inplace=True).view(array.dtype.newbyteorder())
        # NumPy does not check that the numbers of a text are characters.
        if array.dtype.kind == "U" and array.size:
            largest = int(array.reshape(-1).view(np.uint32).max())
            if largest > sys.maxunicode:
                raise ValueError(f"the array {name} holds a number that is not a character")
        return array


def _check_directory(stream: BinaryIO) -> None:
    """Refuse a list of members that alone would fill the memory."""
    size = stream.seek(0, os.SEEK_END)
    # The end record of 22 bytes may be followed by a comment of at most 65,535, and preceded by the
    # 20 bytes of the locator of a zip64 record.
    stream.seek(max(0, size - 22 - 65_535 - 20))
    end = stream.read()
    at = end.rfind(b"PK\5\6")
    directory = struct.unpack_from("<I", end, at + 12)[0] if 0 <= at <= len(end) - 16 else 0
    if at >= 20 and end[at - 20 : at - 16] == b"PK\6\7":
        stream.seek(min(struct.unpack_from("<Q", end, at - 12)[0], size))
        record = stream.read(56)
        directory = struct.unpack_from("<Q", record, 40)[0] if len(record) == 56 else 0
    if directory > _DIRECTORY:
        raise ValueError(f"its list of members has {directory:,} bytes")
    stream.seek(0)


def _member(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> Member:
    if info.flag_bits & 1:
        raise ValueError(f"the array {name} is encrypted")
    if info.compress_type not in _COMPRESSION:
        kind = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}.get(
            info.compress_type, info.compress_type
        )
        raise ValueError(
            f"the array {name} is compressed as {kind}, which np.savez_compressed does not use"
        )
    with archive.open(info) as stream:
        header = read_header(stream, f"the array {name}", size=info.file_size)
    return Member(info, header.dtype, header.shape)


def read_header(stream: Readable, name: str, *, size: int | None = None) -> Header:
    """Read the header of a ``.npy`` from the beginning of a stream, which is then at its numbers.

    Args:
        stream: the file, or a member of an npz.
        name: what it is called in an error, such as "the array text".
        size: bytes of the whole file, if they are known.

    Raises:
        ValueError: it is no header, declares no possible array, one of Python objects, or one of
            another size.

    Examples:
        >>> file = io.BytesIO()
        >>> np.save(file, np.zeros((3, 2), np.float16))
        >>> header = read_header(io.BytesIO(file.getvalue()), "mine.npy")
        >>> header.shape, header.dtype, header.length + header.bytes == len(file.getvalue())
        ((3, 2), dtype('float16'), True)
    """
    start = stream.read(8)
    if len(start) < 8 or not start.startswith(b"\x93NUMPY"):
        raise ValueError(f"{name.removeprefix('the array ')} is not a NumPy array")
    version = start[6], start[7]
    if version not in _READERS:
        raise ValueError(f"{name} has version {version[0]}.{version[1]}, for fields with names")
    form, read = _READERS[version]
    length = stream.read(struct.calcsize(form))
    if len(length) < struct.calcsize(form):
        raise ValueError(f"the header of {name} is incomplete")
    declared = struct.unpack(form, length)[0]
    if declared > _HEADER:
        raise ValueError(f"the header of {name} has {declared:,} bytes")
    text = stream.read(declared)
    try:
        shape, fortran_order, dtype = read(io.BytesIO(length + text))
    except Exception as error:  # NumPy parses it as a Python literal, which can fail in many ways
        reason = str(error).strip() or type(error).__name__
        raise ValueError(f"the header of {name}: {reason}") from error
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which can run code and are never opened")
    found = Header(shape, fortran_order, dtype, len(start) + len(length) + len(text))
    content = None if size is None else size - found.length
    is_possible = dtype.itemsize > 0 and all(side >= 0 for side in shape)
    if not is_possible or (content is not None and content != found.bytes):
        has = "" if content is None else f", and has {content:,} bytes"
        raise ValueError(f"{name} declares {list(shape)} of {dtype}{has}")
    return found


def npz_bytes(arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> bytes:
    """Return the content of an ``.npz`` of arrays by name.

    Raises:
        ValueError: an array holds Python objects, which would be pickled.

    Examples:
        >>> content = npz_bytes({"labels": np.arange(3)})
        >>> with np.load(io.BytesIO(content)) as arrays:
        ...     arrays.files, arrays["labels"].tolist()
        (['labels'], [0, 1, 2])
    """
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
        raise ValueError(f"Python objects in {', '.join(objects)}")
    # Not by allow_pickle=False: NumPy before 2.2 would write that as one more array.
    members: dict[str, Any] = dict(arrays)
    content = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(content, **members)
    return content.getvalue()


TOWERS = ("image", "text")
_SHOWN = 0.99  # share of the cosines whose colours differ
_LARGEST = 1.001  # a cosine of 1 in half precision


def write_cosines(
    maps: Mapping[str, Float16[np.ndarray, "neuron neuron"]], folder: Path, label: str
) -> None:
    """Write the cosines of both towers of a model to ``cosines_LABEL.npz``.

    Raises:
        OutputError: it cannot be written.
    """
    write_bytes(npz_bytes(maps, compressed=True), _file(folder, label))


def read_cosines(
    folder: Path, label: str
) -> dict[str, Float32[np.ndarray, "neuron neuron"]] | None:
    """Read the cosines of both towers of a model, in single precision; None if there are none.

    Raises:
        InputError: the file cannot be read.
    """
    path = _file(folder, label)
    if not exists(path):
        return None
    try:
        with Npz(path, TOWERS) as arrays:
            arrays.require_room(3 * sum(member.bytes for member in arrays.members.values()))
            return {tower: _checked(arrays.read(tower), tower) for tower in TOWERS}
    except Exception as error:  # a damaged archive can make zipfile, zlib and numpy raise anything
        reason = getattr(error, "came", None) or str(error)
        if isinstance(error, KeyError):
            reason = f"no array {error}"
        raise InputError(
            f"{path} cannot be read: {reason}",
            expected="the cosines of a purescope run",
            fix=AGAIN,
        ) from error


def _checked(cosines: np.ndarray, tower: str) -> Float32[np.ndarray, "neuron neuron"]:
    """Refuse an array that does not hold the cosines of all pairs."""
    if cosines.dtype != np.float16 or cosines.ndim != 2 or cosines.shape[0] != cosines.shape[1]:
        raise ValueError(f"{tower} is {cosines.dtype} of shape {list(cosines.shape)}")
    single = cosines.astype(np.float32)
    if not (np.abs(single) <= _LARGEST).all():
        raise ValueError(f"{tower} holds a value that is no cosine")
    return single


def _file(folder: Path, label: str) -> Path:
    return folder / f"cosines_{slug(label)}.npz"


def colour_limit(*matrices: Any) -> float:
    """Return the 99 % quantile of all absolute cosines off the diagonals; 1 where all are 0.

    Examples:
        >>> round(colour_limit([[1.0, 0.2], [0.2, 1.0]], [[1.0, -0.4], [-0.4, 1.0]]), 3)
        0.4
    """
    others = [check_cosines(matrix)[~np.eye(len(matrix), dtype=bool)] for matrix in matrices]
    values = np.concatenate(others)
    return float(np.quantile(values, _SHOWN)) or 1.0 if len(values) else 1.0


def check_cosines(cosines: ArrayLike) -> Any:
    """Return the absolute cosines of all pairs of neurons.

    Raises:
        InputError: the matrix is not square, or not finite.
    """
    matrix = np.abs(np.asarray(cosines, dtype=np.float32))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise InputError(f"cosines of shape {list(matrix.shape)}", expected="[neuron, neuron]")
    if not np.isfinite(matrix).all():
        raise InputError(
            "cosines that are NaN or infinite", expected="finite ones; those of a dead neuron are 0"
        )
    return matrix
