"""The formats of collections by the ending of a file's name, and by the first bytes of a stream."""

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from purescope.errors import InputError, PurescopeError
from purescope.files.resuming import Partial
from purescope.reduce.collections import npy, npz, tables, tensors
from purescope.reduce.collections.job import Job
from purescope.reduce.rows import Counts


@dataclass(frozen=True)
class Format:
    """How the vectors of a file are found, and how the file is written with shorter ones.

    Args:
        find_vectors: returns the names of the vectors in a file.
        write: writes a file.
        go_on: writes a file, or goes on with one that is partly written, if the format allows it.
    """

    find_vectors: Callable[[Path, Job], list[str]]
    write: Callable[[Path, Any, Job, Counts], None]
    go_on: Callable[[Path, Any, Job, Counts, Partial], None] | None = None


_PARQUET = Format(tables.find_vectors, tables.write_parquet)
_ARROW = Format(tables.find_vectors, tables.write_arrow)

FORMATS = {
    ".npy": Format(npy.find_vectors, npy.write, npy.write),
    ".npz": Format(npz.find_vectors, npz.write),
    ".safetensors": Format(tensors.find_vectors, tensors.write, tensors.write),
    **dict.fromkeys(tables.PARQUET, _PARQUET),
    **dict.fromkeys((".arrow", ".arrows", ".feather", ".ipc"), _ARROW),
}

_UNREADABLE = (OSError, EOFError, ValueError, TypeError, LookupError, RuntimeError, MemoryError)


def format_of(file: Path) -> Format | None:
    """Return the format of a file; None if its name ends in none."""
    return FORMATS.get(file.suffix.lower())


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Raise the errors of readers as those of the file that they read.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        yield
    except PurescopeError:
        raise
    except Exception as error:
        if not _is_of_a_reader(error):
            raise
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise InputError(
            f"{name} cannot be read: {reason}",
            expected="a complete collection of vectors, of numbers only",
            fix="write it again, or leave it out",
        ) from error


def _is_of_a_reader(error: Exception) -> bool:
    library = type(error).__module__.partition(".")[0]
    known = isinstance(error, (*_UNREADABLE, zipfile.BadZipFile))
    return known or library in ("pyarrow", "safetensors", "safetensors_rust", "zlib")


def find_vectors(file: Path, job: Job) -> list[str]:
    """Return the names of the vectors in a file.

    Returns:
        None of them if it has another format, or holds other things.

    Raises:
        InputError: the vectors have another width, or the file cannot be read.
    """
    known = format_of(file)
    if known is None:
        return []
    with reading(str(file)):
        return known.find_vectors(file, job)


def write_shorter(file: Path, target: Any, job: Job, counts: Counts) -> None:
    """Write a file with shorter vectors.

    Args:
        file: a file in which `find_vectors` finds some.
        target: the open file to write to.
        job: what is made of it.
        counts: gets the number of rows.

    Raises:
        InputError: a row cannot be used, or the file cannot be read.
        OSError: `target` cannot be written.
    """
    known = format_of(file)
    assert known is not None
    with _telling_apart(target) as sink, reading(str(file)):
        known.write(file, sink, job, counts)


def go_on(file: Path, partial: Partial, job: Job, counts: Counts) -> None:
    """Write a file with shorter vectors, or go on with one that is partly written.

    Of the formats without `Format.go_on`, nothing is noted, so that they begin anew.

    Raises:
        InputError: a row cannot be used, or the file cannot be read.
        OSError: the file cannot be written.
    """
    known = format_of(file)
    assert known is not None
    with _telling_apart(partial.file, partial.position) as sink, reading(str(file)):
        if known.go_on is None:
            known.write(file, sink, job, counts)
        else:
            known.go_on(file, sink, job, counts, partial)


def write_shorter_stream(source: Any, target: Any, job: Job, counts: Counts) -> None:
    """Write an array of ``.npy`` or an Arrow stream with shorter vectors, from a pipe.

    Raises:
        InputError: it has another format, a row cannot be used, or it cannot be read.
        OSError: `target` cannot be written.
    """
    with _telling_apart(target) as sink, reading("standard input"):
        stream = source if hasattr(source, "peek") else io.BufferedReader(source)
        start = stream.peek(8)[:8]
        whole = npy.Checksummed(stream)
        if start.startswith(b"\x93NUMPY"):
            npy.write_stream(whole, sink, job, counts, ("standard input",))
        elif start.startswith(b"\xff\xff\xff\xff"):
            tables.write_stream(whole, sink, job, counts)
        else:
            raise InputError(
                f"standard input begins with {start!r}" if start else "standard input is empty",
                expected="an array as numpy.save writes it, or an Arrow IPC stream",
                fix="give other formats as files",
            )
        counts.crc32, counts.bytes = whole.crc32, whole.bytes
        if stream is not source:
            stream.detach()  # else it would close the source


class _Sink(io.RawIOBase):
    """A file to write to, whose errors are told apart from those of reading."""

    def __init__(self, file: Any, written: int) -> None:
        self._file = file
        self._written = written
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._written

    def write(self, content: Any) -> int:
        try:
            self._file.write(content)
        except OSError as error:
            self.failure = self.failure or error
            raise
        self._written += memoryview(content).nbytes
        return memoryview(content).nbytes


@contextmanager
def _telling_apart(target: Any, written: int = 0) -> Iterator[_Sink]:
    sink = _Sink(target, written)
    try:
        yield sink
    except Exception:
        if sink.failure is not None:
            raise sink.failure from None
        raise
