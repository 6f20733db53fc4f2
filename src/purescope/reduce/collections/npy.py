"""NumPy's ``.npy``: read from end to end in blocks, from a file or a pipe; never unpickled."""

import io
import os
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from purescope.files.npz import Header, Readable, read_header
from purescope.files.reading import open_whole
from purescope.files.resuming import Partial
from purescope.reduce.collections.job import Job, names_of
from purescope.reduce.rows import Counts, block_rows


@runtime_checkable
class Stream(Readable, Protocol):
    """A stream of bytes that memory can be filled from."""

    def readinto(self, view: Any, /) -> int: ...


@runtime_checkable
class Sink(Protocol):
    """What bytes are written to."""

    def write(self, content: Any, /) -> Any: ...


def find_vectors(file: Path, job: Job) -> list[str]:
    """Return the name of the vectors in a file; none if it is another array.

    Raises:
        InputError: they have another width.
        OSError, ValueError: it cannot be read.
    """
    with open_whole(file) as stream:
        header = read_header(stream, file.name)
        size = os.fstat(stream.fileno()).st_size
    if size != header.length + header.bytes:
        raise ValueError(
            f"it declares {list(header.shape)} of {header.dtype} and has "
            f"{size - header.length:,} bytes of numbers where that takes {header.bytes:,}"
        )
    if not is_matrix(header):
        return []
    job.check_width(header.shape[1], str(file))
    return [file.stem]


def is_matrix(header: Header) -> bool:
    """Tell whether an array can be vectors: floating-point rows."""
    return header.dtype.kind == "f" and len(header.shape) == 2


def write(
    file: Path, target: Sink, job: Job, counts: Counts, partial: Partial | None = None
) -> None:
    """Write a file with shorter vectors, or go on with one that is partly written.

    Raises:
        InputError: a row cannot be used.
        OSError, ValueError: it cannot be read.
    """
    names, state = names_of(file), {} if partial is None else partial.state
    first = state.get("rows", 0)
    with open_whole(file) as stream:
        header = read_header(stream, file.name)
        if header.fortran_order:
            blocks = _by_columns(stream, header, first)
            write_blocks(blocks, header, target, job, counts, names, partial)
            return
        stream.seek(state.get("bytes", 0))
        whole = Checksummed(stream, state.get("crc32", 0), state.get("bytes", 0))
        if not first:
            read_header(whole, file.name)  # counts too
        # Blocks are read ahead of those that are written: each has the checksum up to its own end.
        sums = deque[dict[str, int]]()
        blocks = _noting(_by_rows(whole, header, first), whole, sums)
        write_blocks(blocks, header, target, job, counts, names, partial, sums)
        if whole.read(1):
            raise ValueError("there is more after the array")
        counts.crc32, counts.bytes = whole.crc32, whole.bytes


def _noting(
    blocks: Iterator[np.ndarray], whole: "Checksummed", sums: deque[dict[str, int]]
) -> Iterator[np.ndarray]:
    for block in blocks:
        sums.append({"crc32": whole.crc32, "bytes": whole.bytes})
        yield block


def write_stream(
    stream: Stream,
    target: Sink,
    job: Job,
    counts: Counts,
    names: tuple[str, ...],
) -> None:
    """Write the array of a stream with shorter vectors; the stream must end with it.

    Raises:
        InputError: it is no matrix of the right width, or a row cannot be used.
        OSError, ValueError: it cannot be read.
    """
    header = read_header(stream, names[0])
    if not is_matrix(header):
        raise ValueError(
            f"it holds {header.dtype} of shape {list(header.shape)}, and no floating-point matrix"
        )
    job.check_width(header.shape[1], names[0])
    if not header.fortran_order:
        write_blocks(_by_rows(stream, header, 0), header, target, job, counts, names)
        if stream.read(1):
            raise ValueError("there is more after the array")
        return
    # Its columns are one after the other: only a file can be read row by row.
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(stream, spool, 1 << 20)
        if spool.tell() != header.bytes:
            raise ValueError(f"it declares {header.bytes:,} bytes and has {spool.tell():,}")
        spool.seek(0)
        write_blocks(_by_columns(spool, header, 0), header, target, job, counts, names)


def write_blocks(
    blocks: Iterator[np.ndarray],
    header: Header,
    target: Sink,
    job: Job,
    counts: Counts,
    names: tuple[str, ...],
    partial: Partial | None = None,
    sums: deque[dict[str, int]] | None = None,
) -> None:
    """Write the header and the rows of a shorter array.

    Args:
        blocks: the rows, without those that `partial` has already.
        header: the header of the long array.
        target: the file to write to.
        job: what is made of it.
        counts: gets the number of rows.
        names: as in `purescope.reduce.collections.job.Job.rows`.
        partial: the file behind `target`, if a later run may go on with it.
        sums: checksum and bytes of the source after each block.
    """
    done = 0 if partial is None else partial.state.get("rows", 0)
    if partial is not None:
        counts.rows, counts.zeros = done, partial.state.get("zeros", 0)
    if not done:
        descr = np.lib.format.dtype_to_descr(job.dtype_of(header.dtype))
        shape = (header.shape[0], job.keep)
        np.lib.format.write_array_header_1_0(
            target, {"descr": descr, "fortran_order": False, "shape": shape}
        )
    for rows in job.rows(blocks, header.dtype, counts, names, done):
        target.write(rows.data.cast("B") if rows.size else b"")
        done += len(rows)
        source = sums.popleft() if sums else {}
        if partial is not None:
            partial.note(rows=done, zeros=counts.zeros, **source)


def read_block(stream: Stream, block: np.ndarray) -> np.ndarray:
    """Fill a block from a stream.

    Raises:
        ValueError: the stream ends before.
    """
    view = block.reshape(-1).view(np.uint8).data
    while view:
        count = stream.readinto(view)
        if not count:
            raise ValueError(f"it ends {len(view):,} bytes before a block of rows does")
        view = view[count:]
    return block


def _by_rows(stream: Stream, header: Header, start: int) -> Iterator[np.ndarray]:
    """Read rows from number `start` on, where the stream is."""
    (count, neurons), step = header.shape, block_rows(header.shape[1])
    for first in range(start, count, step):
        yield read_block(stream, np.empty((min(step, count - first), neurons), header.dtype))


def _by_columns(stream: Any, header: Header, row: int) -> Iterator[np.ndarray]:
    """Read rows of an array in Fortran order, which holds one column after the other."""
    (count, neurons), start = header.shape, stream.tell()
    step = block_rows(neurons)
    for first in range(row, count, step):
        block = np.empty((neurons, min(step, count - first)), header.dtype)
        for column, values in enumerate(block):
            stream.seek(start + (column * count + first) * header.dtype.itemsize)
            read_block(stream, values)
        yield block.T


class Checksummed(io.RawIOBase):
    """A stream that is read from end to end: its CRC-32 and size so far, and its last bytes.

    Args:
        stream: the stream.
        crc32, bytes_: of what of it was read before.
    """

    def __init__(self, stream: Stream, crc32: int = 0, bytes_: int = 0) -> None:
        self._stream = stream
        self.crc32, self.bytes = crc32, bytes_
        self.tail = b""

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any, /) -> int:
        """Read bytes into memory, and return how many."""
        count = self._stream.readinto(view)
        content = memoryview(view)[:count]
        self.crc32 = zlib.crc32(content, self.crc32)
        self.bytes += count
        self.tail = (self.tail + bytes(content[-8:]))[-8:]
        return count
