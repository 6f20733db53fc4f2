"""Files and folders appear whole with the usual rights, and a folder has one writer."""

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from purescope.errors import OutputError
from purescope.files import writing
from purescope.files.writing import atomic_folder, atomic_path, lock_folder, refuse_existing, slug


@pytest.fixture
def umask() -> Iterator[int]:
    """Set a umask of this test, which leaves some rights of every kind."""
    before = os.umask(0o026)
    yield 0o026
    assert os.umask(before) == 0o026, "it is still the one that was set"


def test_what_is_written_has_the_rights_that_the_user_gives(umask: int, tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a" / "file") as file:
        file.write_text("x")
    with atomic_folder(tmp_path / "b" / "folder") as folder:
        (folder / "one").write_text("x")
    assert (tmp_path / "a" / "file").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "b" / "folder").stat().st_mode & 0o777 == 0o777 & ~umask
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["folder"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), atomic_folder(tmp_path / "folder") as folder:
        (folder / "half").write_text("x")
        raise ValueError("mine")
    assert not list(tmp_path.iterdir())


def test_a_slug_has_no_edges_and_is_never_empty() -> None:
    assert (slug(" -a b- "), slug("++")) == ("a_b", "unnamed")
    # A hooked upsilon with an accent is a capital in its compatible form.
    assert slug("\u03d3") == slug("\u03cd") == "\u03cd"


class Clock:
    """A clock that goes on by each sleep, and no other way."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now, self.slept = self.now + seconds, self.slept + 1
        assert self.slept < 1000, "it waits for ever"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(writing, "time", clock)
    return clock


def test_a_folder_that_another_holds_is_waited_for_as_long_as_asked(
    clock: Clock, tmp_path: Path
) -> None:
    with lock_folder(tmp_path):
        with pytest.raises(OutputError, match="another run is writing"), lock_folder(tmp_path):
            pass
        assert clock.slept == 0
        with pytest.raises(OutputError), lock_folder(tmp_path, wait=2.0):
            pass
        assert clock.now == pytest.approx(102, abs=0.1)
    with lock_folder(tmp_path), pytest.raises(OutputError), lock_folder(tmp_path):
        pass  # free again, and held again


def test_a_folder_becomes_free_while_it_is_waited_for(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = lock_folder(tmp_path)
    other.__enter__()
    monkeypatch.setattr(clock, "sleep", lambda _: other.__exit__(None, None, None))
    with lock_folder(tmp_path, wait=1.0):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_where_folders_cannot_be_locked_a_file_in_it_is(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(writing.filelock, "FileLock", Held)
    Held.held = False
    with lock_folder(tmp_path):
        assert Held.held
        with pytest.raises(OutputError, match="another run"), lock_folder(tmp_path):
            pass
    assert not Held.held


class Held:
    """A lock on a file, as filelock has it."""

    held = False

    def __init__(self, file: Path) -> None:
        assert file.name == ".lock"

    def acquire(self, blocking: bool) -> None:
        assert not blocking
        if Held.held:
            raise writing.filelock.Timeout("held")
        Held.held = True

    def release(self) -> None:
        Held.held = False


def test_a_file_system_that_fails_is_no_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OutputError, match="the disk is broken"), lock_folder(tmp_path):
        pass
    assert not (tmp_path / ".lock").exists()


def test_a_folder_that_holds_anything_is_refused(tmp_path: Path) -> None:
    refuse_existing(tmp_path)
    refuse_existing(tmp_path / "gone")
    for name in ("b", ".a"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputError, match=rf"holds \{name}" if name[0] == "." else "holds b"):
            refuse_existing(tmp_path)
    with pytest.raises(OutputError, match=r"Not a directory(?s:.*)an empty one(?s:.*)another OUT"):
        refuse_existing(tmp_path / "b", fix="choose another OUT")
