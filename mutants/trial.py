"""Run tests against a changed module, each time in a process of its own that begins with all
libraries imported.

Importing torch and the others takes longer than most tests. So they are imported once, and the
process is copied for each change. In the copy, and in each Python that its tests start, the import
system is given other text for the one file that is changed. Modules of the package are first
imported in the copies. Shapes are checked as in `make test`: a wrong one is noticed there, so it is
here; of three files of tests one took a third longer for it.
"""

import contextlib
import importlib
import json
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutants.replacing import replace_in_children, replace_source

# What tests and package import, and what takes time.
LIBRARIES = (
    "torch", "numpy", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn.metrics", "statsmodels.stats.multitest",
    "hypothesis.strategies", "beartype", "jaxtyping", "pytest", "safetensors.torch", "torchvision.datasets",
    "PIL.Image", "filelock", "open_clip", "transformers", "psutil", "click", "rich.console", "tqdm", "platformdirs",
)  # fmt: skip
_MEMORY = 16 << 30  # bytes that a copy may take: a changed loop can ask for all there is
# Limits are of the processor's time, so that a busy machine catches nothing; one who waits for ever
# takes none of that.
_WAITING, _AT_LEAST = 20, 300  # seconds on the clock for each of the processor's, and in any case


@dataclass(frozen=True)
class Trial:
    """Tests to be run with another text for one file; `text` None leaves it as it is."""

    name: str
    tests: tuple[str, ...]
    file: Path
    text: str | None
    limit: int  # seconds of the processor


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Args:
        passed: whether all tests passed.
        why: what noticed: the first test that failed, or the limit on time.
        seconds: of each file of tests, on the clock.
        processor: seconds of the processor in all.
        output: what pytest wrote.
    """

    passed: bool
    why: str
    seconds: dict[str, float]
    processor: float
    output: str


def import_libraries(root: Path, names: Iterable[str] = LIBRARIES) -> None:
    """Import what the copies need, and put the sources of this tree first on the path."""
    os.chdir(root)
    sys.path.insert(0, str(root / "src"))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(root / "src"), os.environ.get("PYTHONPATH")])
    )
    os.environ.update(
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        HF_HUB_OFFLINE="1",
        TOKENIZERS_PARALLELISM="false",
    )
    for name in names:
        with contextlib.suppress(ImportError):  # an extra that is not installed
            importlib.import_module(name)


def run_trials(
    trials: Iterable[Trial], *, processes: int, folder: Path, done: Callable[[Trial, Outcome], None]
) -> None:
    """Run trials, some at a time; `done` is told each outcome as it comes.

    Args:
        trials: in the order in which they begin.
        processes: how many at a time.
        folder: an empty one, for whatever tests write.
        done: called in this process.
    """
    context = multiprocessing.get_context("fork")
    running: dict[Any, tuple[Any, Trial, Path, float]] = {}
    waiting = iter(enumerate(trials))
    while True:
        while len(running) < processes and (following := next(waiting, None)):
            number, trial = following
            own = folder / f"{number:05d}"
            own.mkdir()
            process = context.Process(target=_run, args=(trial, own, folder / "bytecode"))
            process.start()
            running[process.sentinel] = process, trial, own, time.monotonic()
        if not running:
            return
        for sentinel in multiprocessing.connection.wait([*running], timeout=0.5):
            process, trial, own, _ = running.pop(sentinel)
            process.join()
            _kill(process.pid)  # what a test has started and left
            done(trial, _outcome(process.exitcode, own))
        for sentinel, (process, trial, own, begun) in [*running.items()]:
            if time.monotonic() - begun > _AT_LEAST + _WAITING * trial.limit:
                _kill(process.pid)
                process.join()
                del running[sentinel]
                done(trial, Outcome(False, "waited for ever", {}, 0, _output(own)))


def _kill(group: int) -> None:
    """End a copy and all that its tests have started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _outcome(status: int | None, own: Path) -> Outcome:
    output = _output(own)
    try:
        report = json.loads((own / "report.json").read_text())
    except (OSError, ValueError):
        late = status == -signal.SIGXCPU
        why = (
            "took more of the processor's time than it may"
            if late
            else f"the tests ended with status {status}"
        )
        return Outcome(False, why, {}, 0, output)
    # 5: no test was found.
    why = report["failed"] or ("" if status in (0, 5) else f"pytest ended with status {status}")
    return Outcome(status in (0, 5), why, report["seconds"], report["processor"], output)


def _output(own: Path) -> str:
    return (own / "output").read_text(errors="replace") if (own / "output").exists() else ""


class _Reporter:
    """A plugin of pytest: examples come first; the time of each file, and the first test that
    failed, are kept.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        # Collected last all the same: pytest imports anew what it collects first, and a patched
        # module stands twice.
        items.sort(key=lambda item: not item.nodeid.startswith("src/"))

    def pytest_runtest_logreport(self, report: Any) -> None:
        file = report.nodeid.partition("::")[0]
        self.seconds[file] = self.seconds.get(file, 0.0) + report.duration
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid


def _run(trial: Trial, own: Path, bytecode: Path) -> None:
    """Run the tests in this copy, and end it."""
    os.setsid()
    output = os.open(own / "output", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    resource.setrlimit(
        resource.RLIMIT_CPU, (trial.limit, trial.limit + 5)
    )  # at the second one it would be SIGKILL
    (own / "tmp").mkdir()
    # What is compiled is shared by the copies, and is not left in the tree.
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(bytecode)
    # Machine code is kept by the time of a file, and would be that of the unchanged text.
    os.environ["NUMBA_CACHE_DIR"] = str(own / "compiled")
    os.environ.update(TMPDIR=str(own / "tmp"), HYPOTHESIS_STORAGE_DIRECTORY=str(own / "hypothesis"))
    tempfile.tempdir = None  # looked up anew
    # A test that holds something against the clock would notice how busy the machine is, and not
    # the change.
    time.perf_counter = time.process_time
    if trial.text is not None:
        replace_source(trial.file, trial.text)
        replace_in_children(trial.file, trial.text, own / "changed")
    import pytest

    reporter = _Reporter()
    options = [
        "--quiet",
        "--exitfirst",
        "--assert=plain",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        str(own / "tests"),
    ]
    status = int(pytest.main([*options, *trial.tests], plugins=[reporter]))
    report = {
        "seconds": reporter.seconds,
        "failed": reporter.failed,
        "processor": sum(os.times()[:4]),
    }
    (own / "report.json").write_text(json.dumps(report))
    sys.stdout.flush()
    os._exit(status)  # nothing of the parent's is closed or removed
