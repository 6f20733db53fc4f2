"""What lies where in an uncompressed tar: headers are read once, bytes when asked for, and nothing
is ever unpacked.

`datasets` does unpack the files of a folder, into its cache on this disk: how much they come to is
told before.
"""

import os
import re
import tarfile
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from purescope.errors import DatasetError
from purescope.files.reading import SMALL, open_regular, open_whole, require_room, text_bytes

# What tarfile raises for damaged headers; a long chain of extended ones is a RecursionError.
_BROKEN = (
    tarfile.TarError,
    OSError,
    ValueError,
    EOFError,
    RecursionError,
    OverflowError,
    MemoryError,
)
_CHANGED = "run it again once nothing changes the shards"
_LONGEST = 2**16  # bytes of a member's name and attributes
_FOR_ALL = 2**12  # characters of attributes that hold for all members, and are copied for each
_DIGITS = re.compile(rb"[0-9]{300}")
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


@dataclass(frozen=True)
class Member:
    """A regular file in a tar: `size` bytes from `offset` on."""

    name: str
    offset: int
    size: int


def members(shard: Path) -> Iterator[Member]:
    """The regular files of a tar; folders, links, devices and sparse files are left out.

    Raises:
        DatasetError: it is no tar, compressed, damaged, or ends too early; what `tarfile` passes
            over is found, too.
    """
    try:
        with open_whole(shard) as file, tarfile.open(fileobj=_limited(file), mode="r:") as tar:
            length = os.fstat(file.fileno()).st_size
            while (info := tar.next()) is not None:
                # They hold their attributes, of which a few bytes each make gigabytes.
                tar.members.clear()  # type: ignore[attr-defined]  # which the stubs leave out
                _check_attributes(tar)
                # A negative size would lead back to headers that have been read.
                if info.size < 0 or info.offset_data + info.size > length:
                    raise tarfile.ReadError(f"the file ends within {info.name!r}")
                if info.type in _REGULAR and not info.issparse():
                    yield Member(info.name, info.offset_data, info.size)
            _check_end(file, tar.offset)
    except _BROKEN as error:
        raise DatasetError(
            f"{shard} cannot be read: "
            f"{getattr(error, 'strerror', None) or error or type(error).__name__}",
            expected="a whole, uncompressed tar",
            fix="fetch it again, or unpack it if it is compressed (gunzip)",
        ) from error


def read_member(shard: Path, member: Member) -> bytes:
    """Its bytes; every call opens the file anew, so that any thread or process may.

    Raises:
        DatasetError: the file is gone, or has become shorter; or there is no memory for it.
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
            expected=f"{member.size}",
            fix=_CHANGED,
        )
    return content


class _Headers:
    """The headers of a tar: `tarfile` reads a long name or a list of attributes whole, whatever
    size it declares.
    """

    def __init__(self, file: typing.BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > _LONGEST:
            raise tarfile.ReadError(f"a name or its attributes have {size:,} bytes")
        content = self._file.read(size)
        # `tarfile` searches the rest of a row of digits for each of them.
        if _DIGITS.search(content):
            raise tarfile.ReadError("a name or its attributes have a number of 300 digits")
        return content


def _limited(
    file: typing.BinaryIO,
) -> typing.Any:  # all that `tarfile` asks for, and not all that a file has
    return _Headers(file)


def _check_attributes(tar: tarfile.TarFile) -> None:
    """Refuse a list of attributes for all members that alone would take the time and the memory."""
    size = sum(len(name) + len(value) for name, value in tar.pax_headers.items())
    if size > _FOR_ALL:
        raise tarfile.ReadError(f"the attributes for all of its members have {size:,} characters")


def _check_end(file: typing.BinaryIO, offset: int) -> None:
    """`tarfile` stops at whatever is no header: only a block of zeros, and nothing behind it, is
    the end.
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
                f"it goes on after its end at byte {offset}; are these several tars in one file?"
            )


MOST_PER_BYTE = 1000
"""Bytes of content for each byte of a Parquet file, which holds images that are packed already."""

_PARQUET = b"PAR1"
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4")


def check_unpacked(files: Iterable[Path], *, tar: bool) -> None:
    """Refuse packed files, and tables that unpack to far more than their files.

    Args:
        files: the local ones, that are opened before an image is asked for.
        tar: whether tar shards are read as they are.

    Raises:
        OSError, ValueError: one is packed, or no table; the message says which.
        PurescopeError: one unpacks to more than there is room for.
    """
    from datasets.utils.extract import Extractor  # type: ignore[import-untyped]

    for file in files:
        packed = Extractor.infer_extractor_format(
            str(file)
        )  # as `datasets` decides, by what it begins with
        if packed and not (packed == "tar" and tar):
            raise ValueError(f"{file} is packed ({packed}); unpack it and remove it")
        if packed == "tar":
            _check_tar(file)
            continue
        with open_regular(file) as opened:
            is_parquet = opened.read(len(_PARQUET)) == _PARQUET
        if is_parquet:
            _check_parquet(file)


def _check_tar(file: Path) -> None:
    """Refuse members that `datasets` would unpack; `members` refuses sparse ones that are longer
    than the file.
    """
    for member in members(file):
        if member.name.lower().endswith(_PACKED):
            raise ValueError(f"{member.name} in {file} is packed; unpack it and pack the tar again")


def _check_parquet(file: Path) -> None:
    """Hold what the footer declares, and what dictionaries repeat, against the file and the
    memory.
    """
    import pyarrow.parquet

    stored = file.stat().st_size
    limit = max(SMALL, stored * MOST_PER_BYTE)
    total, most = 0, 0
    with pyarrow.parquet.ParquetFile(file) as opened:
        footer = opened.metadata
    # Not of each group: where what a footer says of a column in a group is damaged, pyarrow ends
    # the process.
    columns = [footer.schema.column(place) for place in range(footer.num_columns)]
    repeating = {column.path for column in columns if column.physical_type == "BYTE_ARRAY"}
    for index in range(footer.num_row_groups):
        group = footer.row_group(index)
        declared = max(0, group.total_byte_size)
        total += declared
        # A group is unpacked as a whole, and goes to the cache before the next one is.
        require_room(
            declared, stored=stored, what=file.name, most_per_byte=MOST_PER_BYTE, error=DatasetError
        )
        if repeating:
            most += declared * max(0, group.num_rows)
    if most > limit:  # if each value were the longest one
        total = max(total, _repeated(file, sorted(repeating)))
    if total > limit:
        raise ValueError(
            f"{file.name} unpacks to {total:,} bytes, from {stored:,}: more than {MOST_PER_BYTE:,} "
            f"for each byte"
        )


def _repeated(file: Path, columns: list[str]) -> int:
    """How many bytes of text stand in columns that name their values by numbers."""
    import pyarrow
    import pyarrow.parquet

    total = 0
    with pyarrow.parquet.ParquetFile(file, read_dictionary=columns) as opened:
        for index in range(opened.metadata.num_row_groups):
            for column in columns:
                table = opened.read_row_group(index, columns=[column])
                for chunk in table.column(0).chunks:
                    leaf = chunk
                    while pyarrow.types.is_nested(leaf.type) and not pyarrow.types.is_dictionary(
                        leaf.type
                    ):
                        is_struct = pyarrow.types.is_struct(leaf.type)
                        leaf = leaf.field(0) if is_struct else leaf.flatten()
                    total += (
                        text_bytes(leaf) if pyarrow.types.is_dictionary(leaf.type) else leaf.nbytes
                    )
    return total
