"""What holds for every test. What needs no code, as warnings being errors, is in pyproject.toml."""

import atexit
import gc
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jaxtyping
import psutil
import pytest
from hypothesis import is_hypothesis_test

from tests.shapes import check_shapes

check_shapes()

# Whatever a test names, nothing is fetched: a missing file is an error, on this machine and on any
# other.
os.environ["HF_HUB_OFFLINE"] = "1"

# What a test starts has a thread on each core: they wait for one another asleep, and not in a loop.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

# Memory that was given back is kept for the next tensor, in the processes that are started here.
# Otherwise its pages are made anew each time, which takes a tenth of the time.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 30))
os.environ.setdefault("MALLOC_TOP_PAD_", str(64 << 20))

# Thousands of small files, of which few are kept: in memory where the machine has room for them.
_IN_MEMORY = Path("/dev/shm")
if (
    "TMPDIR" not in os.environ
    and _IN_MEMORY.is_dir()
    and shutil.disk_usage(_IN_MEMORY).free > 8 << 30
):
    os.environ["TMPDIR"] = tempfile.tempdir = str(_IN_MEMORY)

# The user's own cache is not for tests, which begin without one and share it.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["PURESCOPE_CACHE"] = tempfile.mkdtemp(prefix="purescope-tests-")
    atexit.register(shutil.rmtree, os.environ["PURESCOPE_CACHE"], ignore_errors=True)

# What these folders of tests are about is files and texts, not the shapes of arrays.
_OF_FILES = {"cli", "datasets", "docs", "files", "models", "plots", "report", "runs", "tables"}

# The same examples every time, and no verdict by the clock: a shared machine is slow when it likes.
hypothesis.settings.register_profile("purescope", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("purescope")

# As if a program had set up its logs: otherwise a library would, and print into what a test reads.
logging.getLogger().addHandler(logging.NullHandler())

# There is no garbage to look for among the modules, which stay to the end: half a million objects,
# again and again.
gc.disable()
if "PYTEST_XDIST_WORKER" in os.environ:
    # What is registered first is done last: a process that was handed tests ends at once, for to
    # take these objects apart takes seconds.
    atexit.register(os._exit, 0)
atexit.register(gc.unfreeze)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Give torch one thread where tests are run; the process that only hands them out starts
    without it.

    Tensors in tests are tiny: more threads would wait for one another, the longer the busier the
    machine is.
    """
    if hasattr(session.config, "workerinput") or not session.config.getoption("numprocesses", None):
        import torch

        torch.set_num_threads(1)


def pytest_xdist_auto_num_workers() -> int:
    """Run a process on each core that this one may use: each more takes ten seconds to collect."""
    cores = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else None
    return len(cores) if cores else psutil.cpu_count() or 1


# What is drawn for one of these pages serves the others.
_TOGETHER = "tests/report/"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each file to one process, and all files of the report to the same one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _TOGETHER if nodeid.startswith(_TOGETHER) else super()._split_scope(nodeid)

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


# Their examples run whole commands.
_WHOLE_RUNS = (
    "src/purescope/runs/",
    "src/purescope/report/writing.py",
    "src/purescope/tables/results.py",
)


@pytest.hookimpl(tryfirst=True)  # before those that are slow are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that are slow: a process that ends with one would leave the others
    waiting.
    """
    for item in items:
        if item.nodeid.startswith(_WHOLE_RUNS):
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """Leave what was collected out of every later search."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(
        100_000, 20, 50
    )  # what tests leave is little beside what libraries hold, and is looked for rarely


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Check shapes in the quick tier where arrays are the subject, and in the examples of
    docstrings, but not in each of a hundred examples of a property, nor in whole runs: these would
    take twice as long, to no end.
    """
    is_slow = item.get_closest_marker("slow") is not None
    is_property = is_hypothesis_test(getattr(item, "obj", None))
    is_of_files = not _OF_FILES.isdisjoint(item.path.relative_to(item.config.rootpath).parts[:2])
    jaxtyping.config.update("jaxtyping_disable", is_slow or is_property or is_of_files)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Shapes go unchecked, as for users: to test what the library itself says about a wrong
    shape.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say last what was left out, and how to get it."""
    reasons = Counter(
        str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in reasons.items():
        terminalreporter.write_line(
            f"left out: {count} tests, {reason.removeprefix('Skipped: ')}", yellow=True
        )
