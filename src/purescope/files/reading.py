"""Foreign files, read within limits: only regular files, and only what fits in memory.

A pipe waits for a writer that never comes, and ``/dev/zero`` never ends. So every path that
somebody else has chosen is opened here. The header of a file may declare any size; `require_room`
refuses it before anything is unpacked.
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
"""Describes a file of which only the git-lfs pointer was downloaded; `git lfs pull` downloads the
file.
"""

CONFIGURATION = 64_000_000
"""Most bytes of a file of JSON or words: a hundred times the largest known file."""

SMALL = 256_000_000
"""Bytes that may be unpacked from a file of any size."""

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading, also through a link.

    Args:
        path: path of the file.

    Returns:
        The open file.

    Raises:
        OSError: it does not exist, may not be read, or is not a regular file; `strerror` says
            which.

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
    # Check before opening: opening a pipe wakes its writer, and opening a device may do anything.
    _refuse_irregular(path, path.stat().st_mode)
    # Check again, because the file may have been replaced. Without O_NONBLOCK, opening a pipe waits
    # for its writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
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
    """Open a regular file for reading, unless it is a git-lfs pointer to the file.

    Raises:
        OSError: as `open_regular`, or it is a pointer.
    """
    file = open_regular(path)
    if file.peek(len(_POINTER)).startswith(_POINTER):
        file.close()
        raise OSError(errno.EINVAL, f"{POINTER}: git lfs pull", str(path))
    return file


def is_pointer(path: Path) -> bool:
    """Tell whether a file is a git-lfs pointer to the file of that name.

    Raises:
        OSError: as `open_regular`.
    """
    with open_regular(path) as file:
        return file.read(len(_POINTER)) == _POINTER


def read_bytes(path: Path, *, most: int = CONFIGURATION) -> bytes:
    """Read a regular file of at most `most` bytes.

    Raises:
        OSError: as `open_whole`, or it is larger.
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
        UnicodeDecodeError: it has another encoding.
    """
    return read_bytes(path, most=most).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, *, most: int = CONFIGURATION) -> Any:
    """Read the content of a JSON file.

    Raises:
        OSError: as `read_bytes`.
        ValueError: it is not JSON, or nested too deep.

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
    """A key occurs twice in a JSON object: readers differ in which of its values they take."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object of its pairs, each key once.

    Use it as the ``object_pairs_hook`` of `json.loads`.

    Raises:
        RepeatedKeyError: a key occurs twice.

    Examples:
        >>> json.loads('{"a": 1, "a": 2}', object_pairs_hook=unique_keys)
        Traceback (most recent call last):
        purescope.files.reading.RepeatedKeyError: 'a' stands twice in it
    """
    unique = dict(pairs)
    if len(unique) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated = next(key for key, count in counts.items() if count > 1)
        raise RepeatedKeyError(f"{repeated!r} stands twice in it")
    return unique


def available_memory() -> int:
    """Return the bytes that this process can still take.

    This is the free memory of the machine, within the limits of the control group and the process.

    Examples:
        >>> available_memory() > 0
        True
    """
    limits = [int(psutil.virtual_memory().available), *_in_control_group()]
    if sys.platform != "win32":
        import resource

        for kind, memory in ((resource.RLIMIT_AS, "vms"), (resource.RLIMIT_DATA, "rss")):
            soft, _ = resource.getrlimit(kind)
            if soft != resource.RLIM_INFINITY:
                limits.append(soft - getattr(psutil.Process().memory_info(), memory))
    return max(0, min(limits))


def _in_control_group() -> list[int]:
    """Return what a container has left, in a list; empty without a limit.

    Files that the system caches in memory count as used, and are dropped when memory is needed.
    """
    names = (f"memory.{name}" for name in ("max", "current", "stat"))
    try:
        most, used, statistics = ((_CONTROL_GROUP / name).read_text() for name in names)
        kinds = ("active_file", "inactive_file")
        lines = [line.split() for line in statistics.splitlines() if line.startswith(kinds)]
        cached = sum(int(size) for _, size in lines)
        return [int(most) - int(used) + cached] if most.strip() != "max" else []
    except (OSError, ValueError):  # no control group, or one of another kind
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
        declared: bytes that the header declares.
        stored: bytes of the file.
        what: name of the file in an error.
        most_per_byte: most bytes that one byte of a valid file unpacks to.
        error: class of the error to raise.
        needed: bytes that the work with the content takes; by default what is declared.

    Raises:
        PurescopeError: there is not enough memory, or no valid file can contain that much.

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
            fix="make the file again; if somebody else made it, do not trust it",
        )
    free = available_memory()
    if max(declared, needed) > free:
        work = f", and working with them takes {_size(needed)}" if needed > declared else ""
        raise error(
            f"{what} declares {_size(declared)}{work}",
            expected=f"no more than the {_size(free)} of memory that are free here",
            fix="use a machine with more memory, or give a part of it",
        )


def unpacked_bytes(footer: "pyarrow.parquet.FileMetaData") -> int:
    """Return how many bytes a Parquet file unpacks to, by the row groups of its footer.

    The footer's entries for columns are not read: if they are damaged, pyarrow ends the process.
    """
    return sum(size for size, _ in row_groups(footer))


def row_groups(footer: "pyarrow.parquet.FileMetaData") -> list[tuple[int, int]]:
    """Return the bytes and the rows of each row group of a Parquet file, by its footer.

    A damaged footer may declare less than nothing, which counts as nothing.
    """
    groups = map(footer.row_group, range(footer.num_row_groups))
    return [(max(0, int(group.total_byte_size)), max(0, group.num_rows)) for group in groups]


def text_bytes(array: "pyarrow.Array") -> int:
    """Return how many bytes the texts of an array have if each row has its own copy.

    A dictionary array stores one copy for all equal rows.
    """
    import pyarrow
    import pyarrow.compute

    is_dictionary = isinstance(array, pyarrow.DictionaryArray)
    texts = array.dictionary if is_dictionary else array
    lengths = pyarrow.compute.binary_length(texts).cast(pyarrow.int64())
    if is_dictionary:
        lengths = lengths.take(array.indices)
    return int(pyarrow.compute.sum(lengths).as_py() or 0)


def _size(number: int) -> str:
    """Write a number of bytes in a unit for people."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if number >= scale:
            return f"{number / scale:,.{0 if number >= 100 * scale else 1}f} {unit}"
    return f"{number} bytes"


def check_safetensors(file: Path) -> None:
    """Refuse a safetensors file whose header has two entries of one name, or metadata that is no
    text.

    The library would silently use one of the two, or fail without saying why.

    Raises:
        ValueError: the fault.
        OSError: as `open_regular`.
    """
    with open_regular(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, CONFIGURATION):
            raise ValueError(f"its header has {length:,} bytes, the file {size:,}")
        header = json.loads(stream.read(length), object_pairs_hook=unique_keys)
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise ValueError("its header is no object of tensors and texts")
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise ValueError(f"its metadata {name} is no text")
