"""NumPy's ``.npz`` from anywhere: the declarations of its arrays are checked before unpacking.

An npz is a zip of ``.npy`` files, each an array behind a header with its type and shape. A header
may declare any size, a few bytes may unpack to any number, two members may have the same name, and
Python objects in an array can run code.
"""

import io
import math
import os
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from purescope.errors import InputError
from purescope.files.reading import open_whole, require_room

# Compression at most halves features, but makes zeros almost vanish.
_MOST_PER_BYTE = 50
_DIRECTORY = 1_000_000  # bytes of a zip's list of members: enough for ten thousand members
_HEADER = 10_000  # bytes of an array's header; NumPy reads no more
_READERS = {
    (1, 0): ("<H", np.lib.format.read_array_header_1_0),
    (2, 0): ("<I", np.lib.format.read_array_header_2_0),
}
_COMPRESSION = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # the methods that NumPy writes


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
        start = stream.read(8)
        if len(start) < 8 or not start.startswith(b"\x93NUMPY"):
            raise ValueError(f"{name} is not a NumPy array")
        version = start[6], start[7]
        if version not in _READERS:
            raise ValueError(
                f"the array {name} has version {version[0]}.{version[1]}, for fields with names"
            )
        form, read = _READERS[version]
        length = stream.read(struct.calcsize(form))
        declared = struct.unpack(form, length)[0]
        if declared > _HEADER:
            raise ValueError(f"the header of the array {name} has {declared:,} bytes")
        header = stream.read(declared)
    try:
        shape, _, dtype = read(io.BytesIO(length + header))
    except Exception as error:  # NumPy parses it as a Python literal, which can fail in many ways
        reason = str(error).strip() or type(error).__name__
        raise ValueError(f"the header of the array {name}: {reason}") from error
    if dtype.hasobject:
        raise ValueError(
            f"the array {name} holds Python objects, which can run code and are never opened"
        )
    member = Member(info, dtype, shape)
    content = info.file_size - len(start) - len(length) - len(header)
    if dtype.itemsize == 0 or any(size < 0 for size in shape) or member.bytes != content:
        raise ValueError(
            f"the array {name} declares {list(shape)} of {dtype}, and has {content:,} bytes"
        )
    return member
