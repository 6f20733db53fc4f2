"""Refuse what no model and no dataset needs, while a library opens one of them.

The configuration of a model decides what open_clip, timm and transformers do with its folder. What
they are handed is rebuilt from what purescope knows (`purescope.models`): that is the first wall.
This is the second one, for what the first one has missed.
"""

import functools
import importlib
import os
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, no_type_check

from purescope.errors import ModelError, PurescopeError, printable
from purescope.files.places import Places, is_code, own_folders

__all__ = ["guarded"]

_PROCESSES = {
    "subprocess.Popen": "start a process",
    "os.system": "run a command",
    "os.exec": "become another process",
    "os.posix_spawn": "start a process",
    "os.spawn": "start a process",
    "os.fork": "copy the process",
    "os.forkpty": "copy the process",
    "pty.spawn": "start a process",
    "os.startfile": "open a file with its program",
    "os.startfile/2": "open a file with its program",
    "webbrowser.open": "open a page",
}
_NETWORK = {
    "socket.connect": "connect to",
    "socket.sendto": "send to",
    "socket.sendmsg": "send to",
    "socket.getaddrinfo": "look up",
    "socket.gethostbyname": "look up",
    "socket.gethostbyaddr": "look up",
}
_OTHERS = frozenset(
    {"open", "exec", "import", "ctypes.dlopen", "pickle.find_class", "builtins.input"}
    | {"_thread.start_new_thread", "_thread.start_joinable_thread"}
)
_EVENTS = _OTHERS | _PROCESSES.keys() | _NETWORK.keys()
_LOOK_UPS = frozenset(event for event in _NETWORK if event.startswith("socket.get"))
# What runs a module that is imported, in the import system itself.
_IMPORTS = importlib._bootstrap._call_with_frames_removed.__code__  # type: ignore[attr-defined]
# These show lines of source code in warnings and tracebacks.
_READERS = frozenset({"tokenize", "linecache", "traceback", "inspect"})


class RefusedError(RuntimeError):
    """Stops what a library was about to do; a library may swallow it, `guarded` still knows.

    No OSError: those the libraries expect, and go on to the next file.
    """


class _Guard:
    """One `with guarded(...)`: what is refused below which folders, and what has been."""

    def __init__(
        self, roots: Collection[Path], pickles: Collection[str], network: bool, frame: FrameType
    ) -> None:
        self.places = Places(map(str, roots))
        self.pickles = frozenset(pickles)
        self.network = network
        self.frame: FrameType | None = frame  # of the block
        self.refusals: list[str] = []

    def check(self, event: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
        """Raise `RefusedError` for an event that is not allowed; `frame` is where it comes from."""
        wish = self._wish(event, arguments, frame)
        if wish is not None:
            self.refusals.append(printable(wish))
            raise RefusedError(f"refused by purescope: a model or dataset wanted to {wish}")

    def _wish(self, event: str, arguments: tuple[Any, ...], frame: FrameType) -> str | None:
        """What the event would do, in words; None where that is allowed."""
        match event:
            case "open":
                path, _, flags = arguments
                if isinstance(path, str | bytes) and os.fspath(path) in ("/dev/tty", b"/dev/tty"):
                    return "ask on the terminal"
                reads = not (flags or 0) & (os.O_WRONLY | os.O_RDWR)
                foreign = reads and is_code(path) and self.places.are_above(path)
                return (
                    f"read the code in {os.fsdecode(path)}"
                    if foreign and not _is_shown(frame)
                    else None
                )
            case "exec":
                path = getattr(arguments[0], "co_filename", "<string>")
                return f"run the code in {path}" if self.places.are_above(path) else None
            case "import":
                module, path = arguments[:2]
                return (
                    f"import {module} from {path}" if path and self.places.are_above(path) else None
                )
            case "ctypes.dlopen":
                path = arguments[0]
                return (
                    f"load the library {os.fsdecode(path)}"
                    if path and self.places.are_above(path)
                    else None
                )
            case "pickle.find_class":
                name = ".".join(arguments[:2])
                return None if name in self.pickles else f"unpickle {name}"
            case "builtins.input":
                return "ask on the terminal"
            case _ if event in _NETWORK:
                return None if self.network else _asks(event, arguments)
            case _:
                return None if self._imports_a_library(frame) else f"{_PROCESSES[event]} ({event})"

    def _imports_a_library(self, frame: FrameType | None) -> bool:
        """Whether, in the block, a module of this Python is being imported: some ask by a command
        where they are.

        Text that is passed to `exec` can be called like a module; it is not the import system that
        runs it.
        """
        while frame is not None and frame is not self.frame:
            code, caller = frame.f_code, frame.f_back
            imported = (
                caller is not None and caller.f_code is _IMPORTS and code.co_name == "<module>"
            )
            if (
                imported
                and Path(code.co_filename).is_file()
                and not self.places.are_above(code.co_filename)
            ):
                return True
            frame = caller
        return False


def _asks(event: str, arguments: tuple[Any, ...]) -> str | None:
    """What would be asked of a network; a socket of this machine is called by a path, and is
    none.
    """
    address = arguments[0 if event in _LOOK_UPS else 1]
    host = address if event in _LOOK_UPS else address[0] if isinstance(address, tuple) else None
    return None if host is None else f"{_NETWORK[event]} {host} ({event})"


_active = threading.local()
_marked: dict[threading.Thread, tuple[_Guard, ...]] = {}
"""Threads that were started by a guarded one, and its guards."""
_closed: list[_Guard] = []
"""Those of all threads that keep the network closed."""
_installing = threading.Lock()
_installed: list[bool] = []


@contextmanager
def guarded(
    *roots: Path,
    error: type[PurescopeError] = ModelError,
    what: str = "",
    pickles: Collection[str] = (),
    network: bool = True,
) -> Iterator[None]:
    """Refuse to run code from these folders, to unpickle, to ask and to start processes, in this
    thread.

    A hook of `sys.addaudithook` sees these actions wherever in the libraries they are taken, in
    this thread and in those that it starts with `threading`. An action is refused by an exception;
    where a library swallows that, leaving the block raises all the same. Covered, while the block
    lasts:

    - to read (not to show), execute or import a module, or to load a shared library, from below
      `roots` or from the folders where transformers and datasets keep code of repositories; links
      are followed,
    - to look a name up in a pickle, but for `pickles`; our reader of checkpoints and torch's
      `weights_only` reader do not look names up in this way,
    - `input`, and to open the terminal,
    - to start a process by `subprocess`, `os` or `pty`, except while a library of this Python is
      being imported,
    - without `network`, to look an address up, to connect and to send; in the thread in which
      fsspec asks, too.

    Not covered: what a library does in native code (a process that C++ starts, a faulty decoder of
    an image), text that is passed to `exec`, files that are written, other threads, and whatever
    was imported before.

    Args:
        roots: the folders of the model or the dataset, which nobody vouches for.
        error: which error to raise.
        what: what to call the model or dataset in that error; the first root, by default.
        pickles: names that pickles may hold, such as ``"numpy.ndarray"``.
        network: whether it may be asked: what is opened is not on this disk.

    Raises:
        PurescopeError: something was refused, even if nobody noticed.

    Examples:
        >>> with guarded(Path("model")):
        ...     input("Run the code in this model? [y/N] ")
        Traceback (most recent call last):
        purescope.errors.ModelError: model: refused, it wanted to ask on the terminal
          expected: a model or dataset that is only read, and runs nothing
          to fix:   do not trust it; if you do, load it with the library that it is made for and save it again
    """
    _install()
    guard = _Guard(roots, pickles, network, sys._getframe(2))
    before = _guards()
    _active.guards = (*before, guard)
    if not network:
        _closed.append(guard)
    try:
        yield
    except BaseException as cause:
        if guard.refusals and isinstance(cause, Exception):
            raise _refusal(guard, error, what or str(roots[0] if roots else "it")) from cause
        raise
    finally:
        _active.guards, guard.frame = before, None
        if not network:
            _closed.remove(guard)
        for thread in [thread for thread, guards in list(_marked.items()) if guard in guards]:
            _marked.pop(thread, None)
    if guard.refusals:
        raise _refusal(guard, error, what or str(roots[0] if roots else "it"))


def _refusal(guard: _Guard, error: type[PurescopeError], what: str) -> PurescopeError:
    more = f" (and {len(guard.refusals) - 1} times more)" if len(guard.refusals) > 1 else ""
    return error(
        f"{what}: refused, it wanted to {guard.refusals[0]}{more}",
        expected="a model or dataset that is only read, and runs nothing",
        fix="do not trust it; if you do, load it with the library that it is made for and save it "
        "again",
    )


def _install() -> None:
    """Add the hook, once in the life of the process: hooks cannot be taken away."""
    with _installing:
        if not _installed:
            own_folders()
            if sys.version_info < (3, 12):  # which has no event for it
                _watch_threads()
            sys.addaudithook(_hook)
            _installed.append(True)


@no_type_check  # a check of types, as while testing, would stand between this and the frame that it looks for
def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    guards = _guards()
    if not guards and event in _NETWORK and _closed and _is_of_fsspec():
        guards = tuple(_closed)
    if not guards:
        return
    if event.startswith("_thread."):
        _mark(getattr(arguments[0], "__self__", None), guards)
        return
    for guard in reversed(guards):
        guard.check(event, arguments, sys._getframe(1))


def _mark(thread: object, guards: tuple[_Guard, ...]) -> None:
    if isinstance(thread, threading.Thread):
        _marked[thread] = guards


def _watch_threads() -> None:
    start = threading.Thread.start

    @functools.wraps(start)
    def watched(thread: threading.Thread) -> None:
        guards = _guards()
        if guards:
            _mark(thread, guards)
        start(thread)

    threading.Thread.start = watched  # type: ignore[assignment, method-assign]


@no_type_check  # as the hook, which may be called anywhere: the check draws from Python's random numbers
def _guards() -> tuple[_Guard, ...]:
    """Those of this thread, or of the one that has started it."""
    own: tuple[_Guard, ...] = getattr(_active, "guards", ())
    if own or not _marked:
        return own
    ident = threading.get_ident()
    started = (
        guards
        for thread, guards in list(_marked.items())
        if thread.ident == ident and thread.is_alive()
    )
    return next(started, ())


@no_type_check  # as above
def _is_of_fsspec() -> bool:
    """Whether this is the thread in which fsspec asks for whoever has called it; it may be older
    than a guard.
    """
    thread = getattr(sys.modules.get("fsspec.asyn"), "iothread", [None])[0]
    return thread is not None and thread.ident == threading.get_ident()


def _is_shown(frame: FrameType) -> bool:
    """Whether a file is opened to show a line of it."""
    return frame.f_globals.get("__name__") in _READERS
