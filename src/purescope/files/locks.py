"""One writer for a folder of results: whoever comes second is refused, and nothing is left of a lock."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import filelock

from purescope.errors import OutputError

_WITHOUT = (errno.EBADF, errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # file systems that lock no folder


@contextmanager
def lock_folder(out: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold a folder, so that no other process writes into it; made if it is not there.

    The lock is on the folder itself, and the system takes that of a killed process back. Where the file system has no
    such locks, it is on a file ``.lock`` in the folder.

    Args:
        out: the folder.
        wait: seconds to wait for another process.

    Raises:
        OutputError: another process holds it, or it cannot be made.

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
    until = time.monotonic() + wait
    while (release := _take(out)) is None:
        if time.monotonic() >= until:
            raise OutputError(
                f"another run is writing into {out}",
                expected="one at a time: they would replace each other's results",
                fix="wait until it has ended, or choose another --out",
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        release()


def _take(out: Path) -> Callable[[], None] | None:
    """Take the lock if it is free; what gives it back, or None where another process has it."""
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
                if error.errno not in _WITHOUT:
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
        reason = "it is a link that leads nowhere, or in a circle"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        reason = "it, or what should be the folder above it, is a file"
    return OutputError(f"{out} cannot be used: {reason}", expected="a folder", fix="choose another --out")
