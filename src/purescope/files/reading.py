"""Files from anywhere: only regular ones are read, and none that is larger than its kind can be.

A pipe waits for a writer that never comes, ``/dev/zero`` never ends: whoever opens a path that
somebody else has chosen opens it here.
"""

import errno
import io
import json
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

_POINTER = b"version https://git-lfs.github.com/spec/"

POINTER = "a git-lfs pointer, not the file that it stands for"
"""What to say of a file of which only git-lfs's pointer was fetched; `git lfs pull` fetches the
file.
"""

CONFIGURATION = 64_000_000
"""Bytes that a file of JSON or of words may have: a hundred times the largest that is known."""


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
