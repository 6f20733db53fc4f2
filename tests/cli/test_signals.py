"""A signal ends a command with one line, the shell's exit code and no half-written file."""

import importlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from purescope.cli.signals import Signals, Stopped

pytestmark = pytest.mark.slow

LINES = {
    signal.SIGINT: "purescope: stopped\n",
    signal.SIGTERM: "purescope: stopped by SIGTERM\n",
    signal.SIGHUP: "purescope: stopped by SIGHUP\n",
}
# A command that is interrupted while it writes a file. Each test chooses its work, and how
# many seconds it has to clean up: half a second is too little on a busy machine.
COMMAND = """
import hashlib, os, sys, time
from pathlib import Path
import purescope.cli.run
from purescope.cli import main, signals
from purescope.tables.files import atomic_path

def run(arguments, **options):
    with atomic_path(Path("result.csv")) as temporary:
        temporary.write_text("half")
        Path("ready").touch()
        {work}

purescope.cli.run.cli = run
signals._GRACE = {grace}
main()
"""
# Figures that never finish, each in its own process.
DRAWING = """
import os, time
from functools import partial
from pathlib import Path
from matplotlib.figure import Figure
import purescope.cli.run
from purescope.cli import main
from purescope.plots.saving import save_all
from purescope.tables.files import atomic_path

def draw():
    with atomic_path(Path("figure.csv")):
        Path(f"ready{os.getpid()}").touch()
        time.sleep(60)
    return Figure()

def run(arguments, **options):
    for _ in save_all([(Path(f"f{i}"), draw) for i in range(12)], ["png"], processes=2):
        pass

if __name__ == "__main__":
    purescope.cli.run.cli = run
    main()
"""


@pytest.fixture
def signals() -> Iterator[Signals]:
    handlers = Signals(ends_process=False)
    handlers.install()
    yield handlers
    handlers.restore()


def begin(code: str, folder: Path, *, ready: int = 1) -> "subprocess.Popen[str]":
    """Start a script in its own session, and wait until it is in the middle of its work."""
    (folder / "command.py").write_text(code)
    command = [sys.executable, "command.py"]
    process = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while len(list(folder.glob("ready*"))) < ready:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    return process


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Return exit code and standard error, once every process of the session has ended."""
    message = process.communicate(timeout=30)[1]
    deadline = time.monotonic() + 5  # for Python's helper process, which ends last
    while left := [one for one in psutil.process_iter() if _is_of_session(one, process.pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    return process.returncode, message


def _is_of_session(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.NoSuchProcess):
        return False


@pytest.mark.parametrize("signum", LINES, ids=lambda signum: signum.name)
def test_a_stopped_command_says_so_and_leaves_no_half_file(
    signum: signal.Signals, tmp_path: Path
) -> None:
    process = begin(COMMAND.format(work="time.sleep(60)", grace=8), tmp_path)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".result-")]
    os.killpg(process.pid, signum)
    assert end(process) == (128 + signum, LINES[signum])
    assert {path.name for path in tmp_path.iterdir()} == {"command.py", "ready"}


def test_native_code_that_does_not_come_back_is_ended(tmp_path: Path) -> None:
    process = begin(
        COMMAND.format(work="hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)", grace=0.5),
        tmp_path,
    )
    process.send_signal(signal.SIGTERM)
    assert end(process) == (143, LINES[signal.SIGTERM])


def test_a_signal_that_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    process = begin(f"{ignore}\n{COMMAND.format(work='time.sleep(0.5)', grace=8)}", tmp_path)
    process.send_signal(signal.SIGHUP)
    assert end(process) == (0, "")
    assert (tmp_path / "result.csv").read_text() == "half"


def test_three_interrupts_while_processes_draw(tmp_path: Path) -> None:
    process = begin(DRAWING, tmp_path, ready=2)
    for _ in range(3):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    assert end(process) == (130, LINES[signal.SIGINT])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_only_the_first_signal_is_raised(signals: Signals) -> None:
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert signals.received == signal.SIGTERM


def test_a_signal_waits_for_a_module_that_is_being_imported(
    signals: Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in torch's initialisation would end the process."""
    (tmp_path / "being_imported.py").write_text(
        "import signal, time\nsignal.raise_signal(signal.SIGTERM)\ntime.sleep(0.1)\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Stopped):
        module = importlib.import_module("being_imported")
        assert module.whole
        time.sleep(5)
    assert "being_imported" in sys.modules


def test_a_signal_that_python_drops_is_raised_again(signals: Signals) -> None:
    class Dropping:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped), warnings.catch_warnings():
        Dropping()
        time.sleep(5)
    assert signals.received == signal.SIGINT


def test_previous_handlers_are_restored() -> None:
    before = [signal.getsignal(signum) for signum in LINES], sys.unraisablehook
    handlers = Signals(ends_process=False)
    handlers.install()
    assert signal.getsignal(signal.SIGTERM) != before[0][1]
    handlers.restore()
    assert ([signal.getsignal(signum) for signum in LINES], sys.unraisablehook) == before
