"""Our own files are written whole, and a folder has one writer at a time.

A file is written beside its destination and renamed into place, so a reader never sees half a file.
"""

import errno
import os
import re
import shutil
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

import filelock

from purescope.errors import OutputError

_NO_SPACE = "free some space, or choose another --out"
AGAIN = "make it again: run the command that wrote it, with --overwrite (overwrite=True)"


def slug(text: str) -> str:
    """Turn a label into a part of a file name; labels that a file system may confuse become equal.

    Case, Unicode forms, and ß against ss make no difference, as on macOS and Windows.

    Examples:
        >>> slug("CC3M LaCLIP"), slug("Straße") == slug("STRASSE")
        ('cc3m_laclip', True)
        >>> slug("caf\u00e9") == slug("cafe\u0301")
        True
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return re.sub(r"[\W_]+", "_", folded).strip("_") or "unnamed"


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file, and create its folder if needed."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Provide a temporary file that replaces `path` if the block succeeds, and is removed if it
    fails.

    Raises:
        OutputError: the folder or the disk cannot be written.
    """
    with output_errors(path, "choose another --out"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
    temporary = Path(name)
    try:
        with output_errors(path, _NO_SPACE):
            yield temporary
            temporary.chmod(0o666 & ~umask())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Provide a temporary folder that becomes `path` if the block succeeds, else is removed.

    Raises:
        OutputError: the parent folder or the disk cannot be written.
    """
    with output_errors(path, "choose another --out"):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        with output_errors(path, _NO_SPACE):
            yield temporary
            temporary.chmod(0o777 & ~umask())
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(folder: Path, *, fix: str = "choose another --out") -> None:
    """Refuse a folder that holds anything.

    Raises:
        OutputError: the folder is not empty, or is a file.
    """
    free = "a folder that does not exist, or an empty one"
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}", expected=free, fix=fix) from error
    if names:
        raise OutputError(f"{folder}: holds {names[0]}", expected=free, fix=fix)


@contextmanager
def output_errors(path: Path, fix: str) -> Iterator[None]:
    """Raise errors of the file system as those of the output.

    Raises:
        OutputError: the file system raised an error in the block.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", fix=fix) from error


def unfinished(pattern: str) -> str:
    """Return the pattern of the files that `atomic_path` leaves if the process is killed.

    Examples:
        >>> unfinished("figures/purity_gap_*.png")
        'figures/.purity_gap_*-????????.png'
    """
    path = PurePosixPath(pattern)
    return str(path.with_name(f".{path.stem}-????????{path.suffix}"))


def umask() -> int:
    """Return the rights that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Errors of file systems that cannot lock folders.
_UNSUPPORTED = (errno.EBADF, errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def lock_folder(out: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold a folder, so that no other process writes into it; create it if needed.

    The lock is on the folder itself, and the system releases the lock of a killed process. If the
    file system does not support such locks, the lock is on a file ``.lock`` in the folder.

    Args:
        out: the folder.
        wait: seconds to wait for another process.

    Raises:
        OutputError: another process holds it, or it cannot be created.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, lock_folder(Path(folder)):
        ...     try:
        ...         with lock_folder(Path(folder)):
        ...             ...
        ...     except OutputError as error:
        ...         print(error.fix)
        wait until it has ended, or choose another --out
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(out, error) from error
    deadline = time.monotonic() + wait
    while (release := _take(out)) is None:
        if time.monotonic() >= deadline:
            raise OutputError(
                f"another run is writing into {out}",
                expected="one at a time, because two runs would replace each other's results",
                fix="wait until it has ended, or choose another --out",
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        release()


def _take(out: Path) -> Callable[[], None] | None:
    """Take the lock if it is free; return its release, or None if another process has it."""
    try:
        if sys.platform != "win32":
            import fcntl

            handle = os.open(out, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return partial(os.close, handle)
            except OSError as error:
                os.close(handle)
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    return None
                if error.errno not in _UNSUPPORTED:
                    raise
        lock = filelock.FileLock(out / ".lock")
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            return None
        return lock.release
    except OSError as error:
        raise _unusable(out, error) from error


def _unusable(out: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    if error.errno == errno.EEXIST and out.is_symlink():
        reason = "it is a link to nothing, or a loop of links"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        reason = "it, or its parent folder, is a file"
    return OutputError(
        f"{out} cannot be used: {reason}", expected="a folder", fix="choose another --out"
    )
