"""Many figures as files: one after another, or several at once, each in a process of its own."""

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeAlias

from matplotlib.figure import Figure

from purescope.plots._save import save_figure
from purescope.plots._style import Style, current, drawn_in

Drawing: TypeAlias = tuple[Path, Callable[[], Figure]]  # the files' stem, and what draws the figure
_Warning: TypeAlias = tuple[str, type[Warning], str, int]

WORTH = 6  # figures, which take about as long as it takes a process to start


def save_all(drawings: Sequence[Drawing], formats: Sequence[str], *, processes: int = 1) -> Iterator[list[Path]]:
    """Draw and save each figure; what was written comes in their order, and its bytes do not depend on `processes`.

    Matplotlib holds Python's lock, so threads would gain nothing. The processes are spawned, not forked: torch, which
    comes with the library, has threads.
    """
    processes = min(processes, len(drawings) // WORTH)
    if processes < 2:
        for stem, draw in drawings:
            yield save_figure(draw(), stem, formats)
        return
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, spawn, initializer=_leave_interrupts)
    try:
        for made in [pool.submit(_saved, current(), drawing, formats) for drawing in drawings]:
            written, warned = made.result()
            for one in warned:
                warnings.warn_explicit(*one)
            yield written
    finally:
        pool.shutdown(cancel_futures=True)


def _saved(style: Style, drawing: Drawing, formats: Sequence[str]) -> tuple[list[Path], list[_Warning]]:
    """In a process of its own: the files, and what to warn of in the first one."""
    stem, draw = drawing
    with warnings.catch_warnings(record=True) as caught, drawn_in(style):
        warnings.simplefilter("always")
        written = save_figure(draw(), stem, formats)
    return written, [(str(one.message), one.category, one.filename, one.lineno) for one in caught]


def _leave_interrupts() -> None:
    """To the first process, which Ctrl-C reaches too, and which ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
