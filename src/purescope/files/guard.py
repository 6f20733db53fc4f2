"""Refuse actions that no model and no dataset needs, while a library opens one of them.

The configuration of a model decides what open_clip, timm and transformers do with its folder. The
first protection is that they get a configuration rebuilt from what purescope knows
(`purescope.models`). This module is the second, for anything that the first one misses.
"""

import functools
import importlib
import os
import sys
import sysconfig
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, no_type_check

import purescope
from purescope.errors import ModelError, PurescopeError, printable

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
# The function of the import system that runs an imported module.
_IMPORTS = importlib._bootstrap._call_with_frames_removed.__code__  # type: ignore[attr-defined]
# These modules show lines of source code in warnings and tracebacks.
_READERS = frozenset({"tokenize", "linecache", "traceback", "inspect"})
_CODE = (".py", ".pyc", ".pyw", ".so", ".pyd", ".dll", ".dylib")
# Packages that are made of code from repositories.
_DYNAMIC = ("transformers_modules", "datasets_modules")


class RefusedError(RuntimeError):
    """Stops an action of a library; `guarded` remembers it even if the library catches this error.

    It is not an OSError, because libraries expect those and go on to the next file.
    """


class _Guard:
    """One `with guarded(...)`: what is refused, below which folders, and what was refused."""

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
        """Describe what the event would do; return None if that is allowed."""
        match event:
            case "open":
                path, _, flags = arguments
                if isinstance(path, str | bytes) and os.fspath(path) in ("/dev/tty", b"/dev/tty"):
                    return "ask on the terminal"
                reads = not (flags or 0) & (os.O_WRONLY | os.O_RDWR)
                is_foreign = reads and is_code(path) and self.places.are_above(path)
                # Lines of a foreign file may be shown in a warning or traceback.
                if not is_foreign or frame.f_globals.get("__name__") in _READERS:
                    return None
                return f"read the code in {os.fsdecode(path)}"
            case "exec":
                path = getattr(arguments[0], "co_filename", "<string>")
                return f"run the code in {path}" if self.places.are_above(path) else None
            case "import":
                module, path = arguments[:2]
                is_foreign = path and self.places.are_above(path)
                return f"import {module} from {path}" if is_foreign else None
            case "ctypes.dlopen":
                path = arguments[0]
                is_foreign = path and self.places.are_above(path)
                return f"load the library {os.fsdecode(path)}" if is_foreign else None
            case "pickle.find_class":
                name = ".".join(arguments[:2])
                return None if name in self.pickles else f"unpickle {name}"
            case "builtins.input":
                return "ask on the terminal"
            case _ if event in _NETWORK:
                return None if self.network else _describe_network(event, arguments)
            case _:
                return None if self._imports_library(frame) else f"{_PROCESSES[event]} ({event})"

    def _imports_library(self, frame: FrameType | None) -> bool:
        """Tell whether a module of this Python is being imported within the block.

        Some modules run a command on import to find out where they are. Text that is passed to
        `exec` can have the name of a module, but the import system does not run it.
        """
        while frame is not None and frame is not self.frame:
            code, frame = frame.f_code, frame.f_back
            imported = frame is not None and frame.f_code is _IMPORTS and code.co_name == "<module>"
            is_own = imported and not self.places.are_above(code.co_filename)
            if is_own and Path(code.co_filename).is_file():
                return True
        return False


def _describe_network(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Describe a use of the network; None for a socket of this machine, whose address is a path."""
    address = arguments[0 if event in _LOOK_UPS else 1]
    host = address if event in _LOOK_UPS else address[0] if isinstance(address, tuple) else None
    return None if host is None else f"{_NETWORK[event]} {host} ({event})"


_active = threading.local()
_marked: dict[threading.Thread, tuple[_Guard, ...]] = {}
"""Threads that a guarded thread started, with its guards."""
_closed: list[_Guard] = []
"""The guards, of all threads, that refuse the network."""
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
    """Refuse code from these folders, unpickling, questions and new processes, in this thread.

    A hook of `sys.addaudithook` sees these actions wherever a library performs them, in this thread
    and in threads that it starts with `threading`. An action is refused by an exception. If a
    library catches that exception, leaving the block raises an error all the same. Refused within
    the block:

    - to read (not to show), execute or import a module, or to load a shared library, from below
      `roots` or from the folders where transformers and datasets keep code of repositories; links
      are followed,
    - to look up a name in a pickle, except `pickles`; our reader of checkpoints and torch's
      `weights_only` reader do not look up names in this way,
    - `input`, and to open the terminal,
    - to start a process by `subprocess`, `os` or `pty`, except while a library of this Python is
      being imported,
    - without `network`, to look up an address, to connect and to send, also in the thread in which
      fsspec uses the network.

    Not covered: native code (a process started in C++, a faulty image decoder), text passed to
    `exec`, writing files, other threads, and whatever was imported before.

    Args:
        roots: folders of the model or dataset, which may hold anything.
        error: class of the error to raise.
        what: name of the model or dataset in that error; by default the first root.
        pickles: names that pickles may contain, such as ``"numpy.ndarray"``.
        network: whether the network may be used, for models and data that are not on this disk.

    Raises:
        PurescopeError: something was refused, even if the library caught the refusal.

    Examples:
        >>> with guarded(Path("model")):
        ...     input("Run the code in this model? [y/N] ")
        Traceback (most recent call last):
        purescope.errors.ModelError: model: refused, it wanted to ask on the terminal
          expected: a model or dataset that is only read, and runs nothing
          to fix:   do not trust it; ...
    """
    _install()
    guard = _Guard(roots, pickles, network, sys._getframe(2))
    name = what or str(roots[0] if roots else "it")
    before = _guards()
    _active.guards = (*before, guard)
    if not network:
        _closed.append(guard)
    try:
        yield
    except Exception as cause:
        if guard.refusals:
            raise _refusal(guard, error, name) from cause
        raise
    finally:
        _active.guards, guard.frame = before, None
        if not network:
            _closed.remove(guard)
        for thread in [thread for thread, guards in list(_marked.items()) if guard in guards]:
            _marked.pop(thread, None)
    if guard.refusals:
        raise _refusal(guard, error, name)


def _refusal(guard: _Guard, error: type[PurescopeError], name: str) -> PurescopeError:
    more = f" (and {len(guard.refusals) - 1} times more)" if len(guard.refusals) > 1 else ""
    return error(
        f"{name}: refused, it wanted to {guard.refusals[0]}{more}",
        expected="a model or dataset that is only read, and runs nothing",
        fix="do not trust it; if you do, load it with the library that it is made for and save it "
        "again",
    )


def _install() -> None:
    """Add the hook once; Python cannot remove hooks."""
    with _installing:
        if not _installed:
            own_folders()
            if sys.version_info < (3, 12):  # has no audit event for new threads
                _watch_threads()
            sys.addaudithook(_hook)
            _installed.append(True)


# Without type checks, as in tests: a check would add a frame before the one that is looked for.
@no_type_check
def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    guards = _guards()
    if not guards and event in _NETWORK and _closed and _is_fsspec_thread():
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


# Without type checks: the hook may run anywhere, and a check draws from Python's random numbers.
@no_type_check
def _guards() -> tuple[_Guard, ...]:
    """Return the guards of this thread, or of the thread that started it."""
    own: tuple[_Guard, ...] = getattr(_active, "guards", ())
    if own or not _marked:
        return own
    ident = threading.get_ident()
    for thread, guards in list(_marked.items()):
        if thread.ident == ident and thread.is_alive():
            return guards
    return ()


@no_type_check  # for the same reason
def _is_fsspec_thread() -> bool:
    """Tell whether this is the thread in which fsspec uses the network for its callers.

    It may have started before a guard.
    """
    thread = getattr(sys.modules.get("fsspec.asyn"), "iothread", [None])[0]
    return thread is not None and thread.ident == threading.get_ident()


class Places:
    """Untrusted folders, as opposed to those of Python and its libraries.

    Args:
        roots: the folders; those where transformers and datasets keep code of repositories are
            added.

    Examples:
        >>> places = Places(["/data/model"])
        >>> [places.are_above(path) for path in ("/data/model/custom.py", os.__file__, "<string>")]
        [True, False, False]
    """

    def __init__(self, roots: Iterable[str]) -> None:
        self._foreign = _all_spellings([*roots, *_module_caches()])
        self._own = own_folders() | _imported_folders()

    def are_above(self, path: Any) -> bool:
        """Tell whether the deepest known folder above a file is untrusted, not one of Python's own.

        A model's folder may contain the environment of Python, and the environment a model.
        """
        if not isinstance(path, str | bytes) or os.fsdecode(path).startswith("<"):
            return False
        for spelling in _spellings(path):
            depth = _depth(spelling, self._foreign)
            if depth >= 0 and depth > _depth(spelling, self._own):
                return True
        return False


def is_code(path: Any) -> bool:
    """Tell whether a file has the name of a module or a shared library.

    Examples:
        >>> is_code("a/custom.py"), is_code(b"a/native.so"), is_code("a/config.json"), is_code(3)
        (True, True, False, False)
    """
    return isinstance(path, str | bytes) and os.fsdecode(path).lower().endswith(_CODE)


@functools.cache
def own_folders() -> frozenset[str]:
    """Return the folders with the code of this Python, its environment and purescope."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_path(name) for name in names] + [str(Path(purescope.__file__).parent)]
    folders += [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    libraries = ("site-packages", "dist-packages")
    return _all_spellings([*folders, *(path for path in sys.path if Path(path).name in libraries)])


def _imported_folders() -> frozenset[str]:
    """Return the folders of imported packages: their modules may be imported from anywhere."""
    return _folders_of(frozenset(sys.modules.copy()))


# Cached: there are thousands of modules, the same ones from model to model.
@functools.lru_cache(maxsize=4)
def _folders_of(modules: frozenset[str]) -> frozenset[str]:
    names = [name for name in modules if "." not in name and name not in _DYNAMIC]
    packages = [sys.modules.get(name) for name in names]
    paths = (path for package in packages for path in list(getattr(package, "__path__", [])))
    return _cached_spellings(frozenset(path for path in paths if isinstance(path, str)))


def _module_caches() -> list[str]:
    """Return the folders where transformers and datasets put code of repositories to import."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or Path(cache, "huggingface")
    modules = [sys.modules.get(name) for name in ("transformers.utils.hub", "datasets.config")]
    named = [getattr(module, "HF_MODULES_CACHE", "") for module in modules]
    paths = [*named, os.environ.get("HF_MODULES_CACHE", ""), Path(home, "modules")]
    return [os.path.expanduser(path) for path in paths if path]  # noqa: PTH111 it takes any text


def _spellings(path: str | bytes) -> set[str]:
    """Return a path as named and with links followed, in lower case if the system ignores case."""
    try:
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 pathlib would leave ".." as it is
        return {os.path.normcase(name), os.path.normcase(os.path.realpath(name))}
    except (OSError, ValueError):
        return {os.path.normcase(os.fsdecode(path))}


def _all_spellings(folders: Iterable[str]) -> frozenset[str]:
    return frozenset(spelling for folder in folders if folder for spelling in _spellings(folder))


# Cached as well: hundreds of modules are packages, and most imports add none.
_cached_spellings = functools.lru_cache(maxsize=4)(_all_spellings)


def _depth(path: str, folders: frozenset[str]) -> int:
    """Return the length of the longest of the folders that contain a file; -1 if none does."""
    lengths = (len(folder) for folder in folders if path.startswith(folder.rstrip(os.sep) + os.sep))
    return max(lengths, default=-1)
