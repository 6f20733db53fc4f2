"""Write a large file so that a run that was stopped goes on within it.

What is written stays beside the destination until it is complete, as ``.NAME.partial``. A journal,
``.NAME.partial.json``, says how many of its bytes are safe on the disk, what they were made of, and
where the next ones begin. Without the journal, or with that of another source, the file is begun
anew.
"""

import json
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import filelock

from purescope.errors import OutputError
from purescope.files.reading import read_json
from purescope.files.writing import output_errors, umask, write_bytes

INTERVAL = 10.0
"""Seconds between two entries of a journal; a file that takes less time has none."""


class Partial:
    """A file that is being written.

    Args:
        path: the file.
        file: the same, open at its end.
        made_of: what determines the file.
        position: number of bytes of an earlier run that it has.
        state: what that run noted with them.
    """

    def __init__(
        self,
        path: Path,
        file: IO[bytes],
        made_of: Mapping[str, Any],
        position: int,
        state: Mapping[str, int],
    ) -> None:
        self.path, self.file, self.position, self.state = path, file, position, state
        self._made_of = made_of
        self._last = time.monotonic()

    def note(self, **state: int) -> None:
        """Note where the file could go on from here; at most once in an interval.

        Args:
            **state: what a later run needs to know of the bytes that are written.
        """
        if time.monotonic() - self._last < INTERVAL:
            return
        self.file.flush()
        os.fsync(self.file.fileno())
        entry = {"made_of": self._made_of, "position": self.file.tell(), "state": state}
        write_bytes(json.dumps(entry).encode(), journal_path(self.path))
        self._last = time.monotonic()


def partial_path(target: Path) -> Path:
    """Return the path of a file while it is being written.

    Examples:
        >>> partial_path(Path("short/mine.npy")).as_posix()
        'short/.mine.npy.partial'
    """
    return target.with_name(f".{target.name}.partial")


def journal_path(partial: Path) -> Path:
    """Return the path of the journal of a partial file."""
    return partial.with_name(f"{partial.name}.json")


@contextmanager
def resumable_path(target: Path, made_of: Mapping[str, Any]) -> Iterator[Partial]:
    """Provide a file that replaces `target` if the block succeeds.

    If an error ends the block, the file is removed. If a signal ends the block or the process, the
    file stays, and the next call with equal `made_of` goes on after the last entry of the journal.

    Args:
        target: the destination.
        made_of: what determines the file, as JSON has it: source, options and version.

    Raises:
        OutputError: another run is writing it, or the folder or the disk cannot be written.
    """
    with output_errors(target, "choose another --out"):
        target.parent.mkdir(parents=True, exist_ok=True)
    path = partial_path(target)
    made_of = json.loads(json.dumps(made_of))
    with _opened(path, target) as file:
        position, state = _last_entry(path, file, made_of)
        stays = False
        try:
            with output_errors(target, "free some space, or choose another --out"):
                file.truncate(position)
                file.seek(position)
                yield Partial(path, file, made_of, position, state)
                file.flush()
                path.chmod(0o666 & ~umask())
                if sys.platform == "win32":
                    file.close()
                path.replace(target)
        except Exception:
            raise
        except BaseException:  # a signal
            stays = journal_path(path).is_file()
            raise
        finally:
            if not stays:
                journal_path(path).unlink(missing_ok=True)
                _remove(path, file)


@contextmanager
def _opened(path: Path, target: Path) -> Iterator[IO[bytes]]:
    """Open a file for this process alone, and create it if needed.

    Raises:
        OutputError: another process has it, or it is no file.
    """
    with output_errors(target, f"remove {path}, or choose another --out"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(handle, "r+b") as file, _locked(path, file, target):
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OutputError(f"{path} is no file", fix="remove it, or choose another --out")
        yield file


@contextmanager
def _locked(path: Path, file: IO[bytes], target: Path) -> Iterator[None]:
    taken = OutputError(
        f"another run is writing {target}",
        expected="one at a time",
        fix="wait until it has ended, or choose another --out",
    )
    if sys.platform == "win32":
        lock = filelock.FileLock(path.with_name(f"{path.name}.lock"))
        try:
            with lock.acquire(blocking=False):
                yield
        except filelock.Timeout:
            raise taken from None
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise taken from None
    except OSError:  # a file system without locks
        pass
    # The run that had it may have finished it meanwhile: then this is the finished file.
    try:
        is_same = os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        is_same = False
    if not is_same:
        raise taken
    yield  # closing the file releases the lock


def _last_entry(
    path: Path, file: IO[bytes], made_of: Mapping[str, Any]
) -> tuple[int, dict[str, int]]:
    """Return how many bytes of a file can stay, and what was noted with them."""
    try:
        entry = read_json(journal_path(path))
        position, state = entry["position"], entry["state"]
        fits = entry["made_of"] == made_of and 0 < position <= os.fstat(file.fileno()).st_size
        if fits and all(type(value) is int and value >= 0 for value in state.values()):
            return int(position), dict(state)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass  # there is none, or it is no journal of ours
    return 0, {}


def _remove(path: Path, file: IO[bytes]) -> None:
    """Remove a file, unless it has been renamed and another one is at its place."""
    with suppress(OSError, ValueError):  # it is gone, or closed
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            if sys.platform == "win32":
                file.close()
            path.unlink()
