"""Actions that are refused while a model is opened, and actions that are allowed."""

import builtins
import ctypes
import gzip
import importlib
import linecache
import os
import pickle
import pty
import socket
import subprocess
import sys
import threading
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from purescope.errors import DatasetError, ModelError
from purescope.files import guard
from purescope.files.guard import guarded


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a model's folder with code, on the import path, and a marker that shows that the code
    has run.
    """
    root = tmp_path / "model"
    root.mkdir()
    (root / "custom.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with zipfile.ZipFile(root / "packed.zip", "w") as archive:
        archive.writestr("in_a_zip.py", f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "x.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    sys.path[:0] = [str(root), str(root / "packed.zip"), str(tmp_path / "modules")]
    importlib.invalidate_caches()
    yield root
    del sys.path[:3]
    for name in ("custom", "in_a_zip", "x"):
        sys.modules.pop(name, None)
    assert not (tmp_path / "ran").exists()


def compiled(root: Path) -> None:
    """Write the compiled code of a module without its source."""
    code = compile((root / "custom.py").read_text(), str(root / "custom.py"), "exec")
    exec(code)


def linked(root: Path) -> None:
    """Read a link outside the folder that leads into it."""
    link = root.parent / "elsewhere.py"
    link.symlink_to(root / "custom.py")
    link.read_text()


def copied(root: Path) -> None:
    """Copy a module as transformers does before importing it."""
    import shutil

    shutil.copy(root / "custom.py", root.parent / "copy.py")


def shared_library(root: Path) -> None:
    (root / "native.so").write_bytes(b"")
    ctypes.CDLL(str(root / "native.so"))


def dynamic(root: Path) -> None:
    """Import a module from the folder where transformers keeps code of repositories."""
    importlib.import_module("x")


def in_a_thread(root: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(__import__, "custom").result()


def in_a_thread_of_a_thread(root: Path) -> None:
    thread = threading.Thread(target=in_a_thread, args=(root,))
    thread.start()
    thread.join()


def forked(root: Path) -> None:
    if os.fork() == 0:
        os._exit(0)


WISHES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a module": (lambda root: importlib.import_module("custom"), r"read the code in .*custom\."),
    "a module in a zip": (
        lambda root: importlib.import_module("in_a_zip"),
        r"run the code in .*packed\.zip",
    ),
    "code": (compiled, r"custom\."),
    "a link": (linked, r"read the code in .*elsewhere\.py"),
    "a copy": (copied, r"read the code in .*custom\."),
    "bytes of a path": (
        lambda root: os.close(os.open(os.fsencode(root / "custom.py"), os.O_RDONLY)),
        "custom",
    ),
    "a shared library": (shared_library, r"(load the library|read the code in) .*native\.so"),
    "a dynamic module": (dynamic, r"modules/\S*x\."),
    "a pickle": (
        lambda root: pickle.loads(pickle.dumps(OrderedDict(a=1))),
        r"unpickle collections\.OrderedDict",
    ),
    "a prompt": (lambda root: builtins.input("Run it? "), "ask on the terminal"),
    "the terminal": (lambda root: Path("/dev/tty").read_text(), "ask on the terminal"),
    "a process": (
        lambda root: subprocess.run(["true"], check=False),
        r"start a process \(subprocess\.Popen\)",
    ),
    "a command": (lambda root: os.system("true"), "run a command"),
    "another program": (lambda root: os.execv("/bin/true", ["true"]), "become another process"),
    "a process of POSIX": (
        lambda root: os.posix_spawn("/bin/true", ["true"], {}),
        "start a process",
    ),
    "a fork": (forked, "copy the process"),
    "a terminal": (lambda root: pty.spawn(["true"]), "start a process"),
    "in a thread": (in_a_thread, r"custom\."),
}


@pytest.mark.parametrize("wish", WISHES)
def test_what_is_refused(wish: str, folder: Path) -> None:
    act, description = WISHES[wish]
    with (
        pytest.raises(ModelError, match=rf"{folder}: refused, it wanted to .*{description}"),
        guarded(folder),
    ):
        act(folder)


@pytest.mark.parametrize("wish", WISHES)
def test_a_library_that_swallows_the_refusal_is_told_all_the_same(wish: str, folder: Path) -> None:
    after = []
    with pytest.raises(ModelError, match=r"refused, it wanted to"), guarded(folder):
        with suppress(Exception):
            WISHES[wish][0](folder)
        after.append(True)
    assert after == [True]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_a_thread_starts(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"custom\."), guarded(folder):
        in_a_thread_of_a_thread(folder)
    assert not guard._marked


def test_every_event_that_is_watched_is_tried_here_or_named() -> None:
    tried = {"open", "exec", "import", "ctypes.dlopen", "pickle.find_class", "builtins.input"}
    tried |= {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn"}
    tried |= set(NETWORK_EVENTS)
    tried |= {"_thread.start_new_thread", "_thread.start_joinable_thread"}
    not_on_this_system = {
        "os.spawn",
        "os.startfile",
        "os.startfile/2",
        "os.forkpty",
        "webbrowser.open",
    }
    assert tried | not_on_this_system == guard._EVENTS


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", ["<string>", "", "x.py", os.__file__, subprocess.__file__, "<frozen importlib>"]
)
def test_a_text_that_is_passed_to_exec_is_no_module(file: str, folder: Path) -> None:
    with pytest.raises(ModelError, match="run a command"), guarded(folder):
        exec(compile("import os; os.system('true')", file, "exec"))


def connect(_: Path, family: int = socket.AF_INET, address: object = ("127.0.0.1", 9)) -> None:
    with socket.socket(family) as connection, suppress(OSError):
        connection.connect(address)


def send(how: str) -> Callable[[Path], None]:
    def act(_: Path) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            if how == "sendto":
                connection.sendto(b"x", ("127.0.0.1", 9))
            else:
                connection.sendmsg([b"x"], [], 0, ("127.0.0.1", 9))

    return act


def look_back(_: Path) -> None:
    with suppress(OSError):  # this machine may not know its own name
        socket.gethostbyaddr("127.0.0.1")


NETWORK_EVENTS: dict[str, Callable[[Path], object]] = {
    "socket.connect": connect,
    "socket.sendto": send("sendto"),
    "socket.sendmsg": send("sendmsg"),
    "socket.getaddrinfo": lambda root: socket.getaddrinfo("127.0.0.1", 9),
    "socket.gethostbyname": lambda root: socket.gethostbyname("127.0.0.1"),
    "socket.gethostbyaddr": look_back,
}


def by_fsspec(root: Path) -> None:
    """Connect in fsspec's own thread, which is older than the guard."""
    from fsspec.asyn import sync

    async def ask() -> None:
        connect(root)

    sync(get_loop(), ask)


def get_loop() -> Any:
    return pytest.importorskip("fsspec.asyn").get_loop()


@pytest.mark.parametrize("event", NETWORK_EVENTS)
def test_the_network_of_what_is_on_this_disk(event: str, folder: Path) -> None:
    with (
        pytest.raises(ModelError, match=rf"wanted to .* 127\.0\.0\.1 \({event}\)"),
        guarded(folder, network=False),
    ):
        NETWORK_EVENTS[event](folder)
    with guarded(folder):
        NETWORK_EVENTS[event](folder)


def test_the_network_in_the_thread_of_fsspec(folder: Path) -> None:
    get_loop()
    with (
        pytest.raises(ModelError, match=r"connect to 127\.0\.0\.1"),
        guarded(folder, network=False),
    ):
        by_fsspec(folder)
    by_fsspec(folder)


def test_a_socket_of_this_machine_is_no_network(folder: Path) -> None:
    with guarded(folder, network=False):
        connect(folder, socket.AF_UNIX, str(folder / "none"))


def test_what_is_allowed(folder: Path, tmp_path: Path) -> None:
    """A library may read any data, import its own modules and show lines of a user's script."""
    (tmp_path / "mine.py").write_text("x = 1\n")
    (folder / "config.json").write_text("{}")
    with guarded(folder):
        (folder / "config.json").read_text()
        (tmp_path / "mine.py").read_text()
        (folder / "written.py").write_text("")
        assert linecache.getline(str(folder / "custom.py"), 1).startswith("open(")
        sys.modules.pop("colorsys", None)
        importlib.import_module("colorsys")
        exec("y = 1", {})
        gzip.compress(b"")


def test_a_warning_of_a_script_beside_the_model_shows_its_line(folder: Path) -> None:
    with guarded(folder):
        assert "open(" in warnings.formatwarning("look", UserWarning, str(folder / "custom.py"), 1)


def test_an_environment_in_the_folder_is_pythons_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user may open the model in the current folder, which also contains .venv."""
    library = folder / ".venv" / "lib" / "site-packages"
    library.mkdir(parents=True)
    (library / "a_library.py").write_text("x = 1\n")
    own = guard.own_folders() | {os.path.realpath(library)}
    monkeypatch.setattr(guard, "own_folders", lambda: own)
    monkeypatch.syspath_prepend(str(library))
    with guarded(folder):
        importlib.import_module("a_library")
    with pytest.raises(ModelError, match=r"custom\."), guarded(folder):
        importlib.import_module("custom")


def test_a_package_that_is_developed_in_the_folder_and_was_imported_before(folder: Path) -> None:
    package = folder / "developed"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "more.py").write_text("")
    importlib.import_module("developed")
    try:
        with guarded(folder):
            importlib.import_module("developed.more")
        with pytest.raises(ModelError, match=r"custom\."), guarded(folder):
            importlib.import_module("custom")
    finally:
        for name in ("developed", "developed.more"):
            sys.modules.pop(name, None)


def test_a_library_that_starts_a_process_as_it_is_imported(folder: Path, tmp_path: Path) -> None:
    """`ctypes.util.find_library` and others do this. It is allowed only for imports within the
    block, and not because pytest is being imported.
    """
    (tmp_path / "asks.py").write_text("import subprocess\nsubprocess.run(['true'])\n")
    sys.path.insert(0, str(tmp_path))
    try:
        with guarded(folder):
            importlib.import_module("asks")
    finally:
        del sys.path[0]
        sys.modules.pop("asks", None)


def test_outside_of_the_block_and_in_other_threads_everything_goes(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "harmless.py").write_text("x = 1\n")
    go, done = threading.Event(), threading.Event()

    def act() -> None:
        go.wait(10)
        (folder / "harmless.py").read_text()
        subprocess.run(["true"], check=True)
        done.set()

    thread = threading.Thread(target=act)
    thread.start()
    with guarded(folder):
        go.set()
        assert done.wait(10)
    thread.join()
    (folder / "harmless.py").read_text()
    subprocess.run(["true"], check=True)
    assert not guard._marked


def test_nested(folder: Path, tmp_path: Path) -> None:
    outer, inner = guarded(tmp_path / "other", what="outer"), guarded(folder, what="inner")
    with pytest.raises(ModelError, match=r"inner: refused"), outer, inner:
        importlib.import_module("custom")
    with guarded(folder, what="outer"):
        with (
            pytest.raises(DatasetError, match=r"inner: refused"),
            guarded(tmp_path, what="inner", error=DatasetError),
        ):
            builtins.input()
        (folder / "config.json").write_text("{}")


def test_names_that_pickles_may_hold(folder: Path) -> None:
    with guarded(folder, pickles=["collections.OrderedDict"]):
        assert pickle.loads(pickle.dumps(OrderedDict(a=1))) == {"a": 1}


def test_other_errors_pass_unchanged(folder: Path) -> None:
    with pytest.raises(KeyError, match="mine"), guarded(folder):
        raise KeyError("mine")


def test_only_the_first_refusal_is_told_with_a_count(folder: Path) -> None:
    with (
        pytest.raises(ModelError, match=r"ask on the terminal \(and 2 times more\)"),
        guarded(folder),
    ):
        for _ in range(3):
            with suppress(Exception):
                builtins.input()
