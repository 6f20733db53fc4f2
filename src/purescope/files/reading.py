"""Files from anywhere: only regular ones are read, and none that is larger than its kind can be.

A pipe waits for a writer that never comes, ``/dev/zero`` never ends: whoever opens a path that
somebody else has chosen opens it here.
"""

import errno
import io
import json
import os
import stat
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from purescope.errors import PurescopeError

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_POINTER = b"version https://git-lfs.github.com/spec/"

POINTER = "a git-lfs pointer, not the file that it stands for"
"""What to say of a file of which only git-lfs's pointer was fetched; `git lfs pull` fetches the
file.
"""

CONFIGURATION = 64_000_000
"""Bytes that a file of JSON or of words may have: a hundred times the largest that is known."""

SMALL = 256_000_000
"""Bytes that are unpacked whatever the size of their file."""

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; a link is followed, to a regular file.

    Args:
        path: of the file.

    Returns:
        The open file.

    Raises:
        OSError: it is not there, may not be read, or is no regular file; `strerror` says which.

    Examples:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     os.mkfifo(Path(folder, "pipe"))
        ...     try:
        ...         open_regular(Path(folder, "pipe"))
        ...     except OSError as error:
        ...         print(error.strerror)
        not a regular file
    """
    # Looked at first: to open a pipe wakes whoever waits to write into it, to open a device may do
    # anything.
    _refuse_irregular(path, path.stat().st_mode)
    # It may be another one by now. Without O_NONBLOCK, to open a pipe is to wait for whoever writes
    # into it.
    handle = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | os.O_CLOEXEC
    )
    try:
        _refuse_irregular(path, os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _refuse_irregular(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def open_whole(path: Path) -> io.BufferedReader:
    """Open a regular file for reading, unless a pointer of git-lfs stands in its place.

    Raises:
        OSError: as `open_regular`; or it is a pointer.
    """
    file = open_regular(path)
    if file.peek(len(_POINTER)).startswith(_POINTER):
        file.close()
        raise OSError(errno.EINVAL, f"{POINTER}: git lfs pull", str(path))
    return file


def is_pointer(path: Path) -> bool:
    """Whether a pointer of git-lfs stands in place of the file that it is called after.

    Raises:
        OSError: as `open_regular`.
    """
    with open_regular(path) as file:
        return file.read(len(_POINTER)) == _POINTER


def read_bytes(path: Path, *, most: int = CONFIGURATION) -> bytes:
    """Read a regular file of at most so many bytes.

    Raises:
        OSError: as `open_whole`; or it is larger.
    """
    with open_whole(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(
                errno.EFBIG, f"{size:,} bytes, where at most {most:,} are read", str(path)
            )
        return file.read(min(most, size + 1))


def read_text(path: Path, *, encoding: str = "utf-8", most: int = CONFIGURATION) -> str:
    """Read a regular file as text; each line ends with one line feed.

    Raises:
        OSError: as `read_bytes`.
        UnicodeDecodeError: it is no such text.
    """
    return read_bytes(path, most=most).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, *, most: int = CONFIGURATION) -> Any:
    """Read what stands in a file of JSON.

    Raises:
        OSError: as `read_bytes`.
        ValueError: it is no JSON, or nested deeper than can be read.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "a.json").write_text("[" * 100_000)
        ...     try:
        ...         read_json(Path(folder, "a.json"))
        ...     except ValueError as error:
        ...         print(error)
        100000
        nested too deep
    """
    try:
        return json.loads(read_text(path, most=most))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


class RepeatedKeyError(ValueError):
    """A key stands twice in an object of JSON: readers differ in which of its values they take."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object of its pairs, each key once; to be given to `json.loads` as its
    ``object_pairs_hook``.

    Raises:
        RepeatedKeyError: a key stands twice.

    Examples:
        >>> json.loads('{"a": 1, "a": 2}', object_pairs_hook=unique_keys)
        Traceback (most recent call last):
        purescope.files.reading.RepeatedKeyError: 'a' stands twice in it
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise RepeatedKeyError(f"{twice!r} stands twice in it")
    return found


def available_memory() -> int:
    """Bytes that this process can still take: what is free on the machine, within its control group
    and its limits.

    Examples:
        >>> available_memory() > 0
        True
    """
    limits = [int(psutil.virtual_memory().available), *_in_control_group()]
    if sys.platform != "win32":
        import resource

        used = psutil.Process().memory_info()
        for kind, of_it in ((resource.RLIMIT_AS, used.vms), (resource.RLIMIT_DATA, used.rss)):
            soft, _ = resource.getrlimit(kind)
            limits += [soft - of_it] if soft != resource.RLIM_INFINITY else []
    return max(0, min(limits))


def _in_control_group() -> list[int]:
    """What a container has left: files that the system keeps in memory count as taken, and make
    room when needed.
    """
    names = (f"memory.{name}" for name in ("max", "current", "stat"))
    try:
        most, taken, parts = ((_CONTROL_GROUP / name).read_text() for name in names)
        files = [
            line.split()
            for line in parts.splitlines()
            if line.startswith(("active_file", "inactive_file"))
        ]
        return (
            [int(most) - int(taken) + sum(int(size) for _, size in files)]
            if most.strip() != "max"
            else []
        )
    except (OSError, ValueError):  # none here, or of another kind
        return []


def require_room(
    declared: int,
    *,
    stored: int,
    what: str,
    most_per_byte: int,
    error: type[PurescopeError],
    needed: int = 0,
) -> None:
    """Refuse to unpack what a header declares, before anything is unpacked.

    Args:
        declared: bytes that it says that there are.
        stored: bytes of the file.
        what: what to call it.
        most_per_byte: how many bytes come out of one at most, where the file is what it should be.
        error: which error to raise.
        needed: bytes that working with it takes; what is declared, by default.

    Raises:
        PurescopeError: there is no such memory, or no such file is meant.

    Examples:
        >>> from purescope.errors import InputError
        >>> require_room(10**15, stored=10**15, what="mine.npz", most_per_byte=2, error=InputError)
        Traceback (most recent call last):
        purescope.errors.InputError: mine.npz declares 1,000,000 GB
          expected: no more than the ... GB of memory that are free here
          to fix:   use a machine with more memory, or give a part of it
    """
    if declared > max(SMALL, stored * most_per_byte):
        raise error(
            f"{what} declares {_size(declared)} in a file of {_size(stored)}",
            expected=f"at most {most_per_byte:,} bytes of content for each byte of the file",
            fix="make the file again; if it is from somewhere else, do not trust it",
        )
    free = available_memory()
    if max(declared, needed) > free:
        takes = f", and working with them takes {_size(needed)}" if needed > declared else ""
        raise error(
            f"{what} declares {_size(declared)}{takes}",
            expected=f"no more than the {_size(free)} of memory that are free here",
            fix="use a machine with more memory, or give a part of it",
        )


def unpacked_bytes(footer: "pyarrow.parquet.FileMetaData") -> int:
    """Return how many bytes a Parquet file unpacks to, as its footer says of each group of rows.

    What it says of a column is not asked for: where that is damaged, pyarrow ends the process.
    """
    return sum(
        max(0, int(footer.row_group(place).total_byte_size))
        for place in range(footer.num_row_groups)
    )


def text_bytes(array: "pyarrow.Array") -> int:
    """Return how many bytes the texts of an array have, once each row has its own: a dictionary has
    one for all.
    """
    import pyarrow
    import pyarrow.compute

    shared = isinstance(array, pyarrow.DictionaryArray)
    lengths = pyarrow.compute.binary_length(array.dictionary if shared else array).cast(
        pyarrow.int64()
    )
    return int(pyarrow.compute.sum(lengths.take(array.indices) if shared else lengths).as_py() or 0)


def _size(number: int) -> str:
    """Bytes as a person says them."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if number >= scale:
            return f"{number / scale:,.{0 if number >= 100 * scale else 1}f} {unit}"
    return f"{number} bytes"
