"""Read uncompressed tar files in place, and limit what `datasets` may unpack.

The headers of a tar are read once, the bytes of a member when they are asked for; nothing is
unpacked. `datasets` does unpack the files of a folder, into its cache on this disk: `check_packed`
checks before how large they become.
"""

import os
import re
import tarfile
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from purescope.errors import DatasetError
from purescope.files.reading import (
    SMALL,
    open_regular,
    open_whole,
    require_room,
    row_groups,
    text_bytes,
)

if typing.TYPE_CHECKING:
    import pyarrow

# What tarfile raises for damaged headers. A long chain of extended headers is a RecursionError.
_BROKEN = (
    tarfile.TarError, OSError, ValueError, EOFError, RecursionError, OverflowError, MemoryError,
)  # fmt: skip
_CHANGED = "run it again once nothing changes the shards"
_LONGEST = 2**16  # bytes of a member's name and attributes
_LONGEST_GLOBAL = 2**12  # characters of the attributes for all members, which each member copies
_DIGITS = re.compile(rb"[0-9]{300}")
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


@dataclass(frozen=True)
class Member:
    """Locate a regular file in a tar: `size` bytes from `offset` on."""

    name: str
    offset: int
    size: int


def read_members(shard: Path) -> Iterator[Member]:
    """Yield the regular files of a tar, without folders, links, devices and sparse files.

    Raises:
        DatasetError: the file is not a tar, is compressed, damaged or cut short; this covers damage
            that `tarfile` ignores.
    """
    try:
        with open_whole(shard) as file, tarfile.open(fileobj=_limited(file), mode="r:") as tar:
            length = os.fstat(file.fileno()).st_size
            while (info := tar.next()) is not None:
                # The list keeps the attributes of each member: few bytes each, gigabytes together.
                tar.members.clear()  # type: ignore[attr-defined]  # missing in the stubs
                _check_global_attributes(tar)
                # A negative size would lead back to headers that were read before.
                if info.size < 0 or info.offset_data + info.size > length:
                    raise tarfile.ReadError(f"the file ends within {info.name!r}")
                if info.type in _REGULAR and not info.issparse():
                    yield Member(info.name, info.offset_data, info.size)
            _check_end(file, tar.offset)
    except _BROKEN as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise DatasetError(
            f"{shard} cannot be read: {reason}",
            expected="a whole, uncompressed tar",
            fix="fetch it again, or unpack it if it is compressed (gunzip)",
        ) from error


def read_member(shard: Path, member: Member) -> bytes:
    """Read the bytes of a member.

    Each call opens the file again, so that any thread or process may read.

    Raises:
        DatasetError: the file is gone or has become shorter, or there is not enough memory.
    """
    if member.size > SMALL:
        what = f"{member.name} of {shard}"
        require_room(
            member.size, stored=member.size, what=what, most_per_byte=1, error=DatasetError
        )
    try:
        with open_regular(shard) as file:
            file.seek(member.offset)
            content = file.read(member.size)
    except OSError as error:
        raise DatasetError(
            f"{member.name} of {shard} cannot be read: {error}", fix=_CHANGED
        ) from error
    if len(content) != member.size:
        raise DatasetError(
            f"{member.name} of {shard} has {len(content)} bytes",
            expected=f"{member.size} bytes",
            fix=_CHANGED,
        )
    return content


class _Headers:
    """Limit the headers of a tar that `tarfile` reads.

    `tarfile` reads a long name or a list of attributes at once, whatever size it declares.
    """

    def __init__(self, file: typing.BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > _LONGEST:
            raise tarfile.ReadError(f"a name or its attributes have {size:,} bytes")
        content = self._file.read(size)
        # From each digit of a row, `tarfile` searches the rest of the row.
        if _DIGITS.search(content):
            raise tarfile.ReadError("a name or its attributes have a number of 300 digits")
        return content


def _limited(file: typing.BinaryIO) -> typing.Any:
    # Any: it has all methods that `tarfile` calls, and not all methods of a file.
    return _Headers(file)


def _check_global_attributes(tar: tarfile.TarFile) -> None:
    """Refuse attributes for all members that alone would take too much time and memory."""
    size = sum(len(name) + len(value) for name, value in tar.pax_headers.items())
    if size > _LONGEST_GLOBAL:
        raise tarfile.ReadError(f"the attributes for all of its members have {size:,} characters")


def _check_end(file: typing.BinaryIO, offset: int) -> None:
    """Check that a tar ends with a block of zeros, and that nothing follows it.

    `tarfile` stops at anything that is not a header.
    """
    file.seek(offset)
    end = file.read(tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it has no end: cut short at byte {offset + len(end)}")
    if end.strip(b"\0"):
        raise tarfile.ReadError(f"the header at byte {offset} is damaged")
    while rest := file.read(2**20):
        if rest.strip(b"\0"):
            raise tarfile.ReadError(
                f"it continues after its end at byte {offset}; are these several tars in one file?"
            )


MAX_PER_BYTE = 1000
"""Most bytes of content for each byte of a Parquet file, which holds images packed already."""

_PARQUET = b"PAR1"
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4")


def check_packed(files: Iterable[Path], *, tar: bool) -> None:
    """Refuse packed files, and Parquet files that unpack to far more bytes than they have.

    Args:
        files: the local files that are opened before an image is asked for.
        tar: whether tar shards are read as they are.

    Raises:
        OSError, ValueError: a file is packed, is damaged or unpacks to too much; the message names
            it.
        PurescopeError: a file unpacks to more than there is memory for.
    """
    from datasets.utils.extract import Extractor  # type: ignore[import-untyped]

    for file in files:
        # As `datasets` decides it: by the first bytes.
        packing = Extractor.infer_extractor_format(str(file))
        if packing and not (packing == "tar" and tar):
            raise ValueError(f"{file} is packed ({packing}); unpack it and remove it")
        if packing == "tar":
            _check_tar(file)
            continue
        with open_regular(file) as opened:
            is_parquet = opened.read(len(_PARQUET)) == _PARQUET
        if is_parquet:
            _check_parquet(file)


def _check_tar(file: Path) -> None:
    """Refuse members that `datasets` would unpack.

    `read_members` refuses sparse members that are longer than the file.
    """
    for member in read_members(file):
        if member.name.lower().endswith(_PACKED):
            raise ValueError(f"{member.name} in {file} is packed; unpack it and pack the tar again")


def _check_parquet(file: Path) -> None:
    """Refuse a Parquet file that unpacks to far more than its size, or than the free memory.

    The footer declares the size of each row group. It counts a value that a dictionary repeats only
    once.
    """
    import pyarrow.parquet

    stored = file.stat().st_size
    limit = max(SMALL, stored * MAX_PER_BYTE)
    total, largest = 0, 0
    with pyarrow.parquet.ParquetFile(file) as opened:
        footer = opened.metadata
    # From the schema, not from each group: pyarrow ends the process where the footer's entry for a
    # column in a group is damaged.
    columns = [footer.schema.column(place) for place in range(footer.num_columns)]
    repeating = {column.path for column in columns if column.physical_type == "BYTE_ARRAY"}
    for declared, rows in row_groups(footer):
        total += declared
        # A group is unpacked as a whole, and goes to the cache before the next group.
        require_room(
            declared, stored=stored, what=file.name, most_per_byte=MAX_PER_BYTE, error=DatasetError
        )
        if repeating:
            # The size if each value were as long as the whole group.
            largest += declared * rows
    if largest > limit:
        total = max(total, _repeated_bytes(file, sorted(repeating)))
    if total > limit:
        raise ValueError(
            f"{file.name} unpacks to {total:,} bytes, from {stored:,}: more than {MAX_PER_BYTE:,} "
            "for each byte"
        )


def _repeated_bytes(file: Path, columns: list[str]) -> int:
    """Count the bytes of columns with dictionaries, each repeated value as often as it occurs."""
    import pyarrow.parquet

    total = 0
    with pyarrow.parquet.ParquetFile(file, read_dictionary=columns) as opened:
        for index in range(opened.metadata.num_row_groups):
            for column in columns:
                table = opened.read_row_group(index, columns=[column])
                total += sum(_leaf_bytes(chunk) for chunk in table.column(0).chunks)
    return total


def _leaf_bytes(array: "pyarrow.Array") -> int:
    """Count the bytes of the values within structs and lists."""
    from pyarrow import types

    while types.is_nested(array.type) and not types.is_dictionary(array.type):
        array = array.field(0) if types.is_struct(array.type) else array.flatten()
    return text_bytes(array) if types.is_dictionary(array.type) else int(array.nbytes)
