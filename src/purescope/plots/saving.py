"""Figures as files: one after another, or several at once, each in a process of its own."""

import multiprocessing
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeAlias

import matplotlib
from matplotlib.figure import Figure

from purescope.errors import InputError, OutputError, near_miss
from purescope.files.writing import atomic_path
from purescope.plots.style import Style, current, drawn_in

# What savefig writes into a file besides the drawing: nothing that changes from one run to the
# next.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": "purescope"},
    "svg": {"Creator": "purescope", "Date": None},
    "pdf": {"Creator": "purescope", "Producer": None, "CreationDate": None},
}
FORMATS = tuple(_METADATA)
_NO_LAYOUT = {"figure.autolayout": False, "figure.constrained_layout.use": False}
_NO_GLYPH = re.compile(r"Glyph \d+ \((.*?)\) missing from")


def save_figure(figure: Figure, stem: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``stem.png``, ``stem.svg`` ..., each whole or not at all, and the same bytes for the
    same table.

    Text in SVG stays text, so it can be searched, selected and read aloud; in the paper style it is
    outlines, so that it needs no font where the file is included. Fonts in PDF are embedded as
    TrueType.

    Raises:
        InputError: a format is none of png, svg, pdf.
        OutputError: the folder does not take it.

    Warns:
        UserWarning: the fonts at hand lack a letter of a name, which PNG and PDF then show as a
            box.
    """
    check_formats(formats)
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make {stem.parent}: {error.strerror}", fix="choose another --out"
        ) from error
    paths = [stem.with_name(f"{stem.name}.{name}") for name in formats]
    with (
        warnings.catch_warnings(record=True) as caught,
        matplotlib.rc_context(current().settings | _NO_LAYOUT),
    ):
        warnings.simplefilter("always")
        layout = figure.get_layout_engine()
        if layout is not None:
            layout.execute(figure)
            # Laid out once, for all formats. Not "none": that leaves an engine, for which savefig
            # draws all twice.
            figure.set_layout_engine(None)
        for path, name in zip(paths, formats, strict=True):
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=name, dpi=current().dpi, metadata=_METADATA[name])
    _pass_on(caught, stem.name)
    return paths


def check_formats(formats: Sequence[str]) -> None:
    """Raise an InputError for an unknown one."""
    unknown = [name for name in formats if name not in _METADATA]
    if unknown:
        raise InputError(
            f"unknown figure format {unknown[0]!r}", **near_miss(unknown[0], _METADATA)
        )


def _pass_on(caught: list[warnings.WarningMessage], name: str) -> None:
    """One warning for all letters without a glyph, and the others as they came."""
    glyphs = dict.fromkeys(
        found[1] for one in caught if (found := _NO_GLYPH.match(str(one.message)))
    )
    if glyphs:
        names = ", ".join(name.split("}")[0].removeprefix("\\N{").lower() for name in glyphs)
        warnings.warn(f"{name}: no font here has {names}; PNG and PDF show a box", stacklevel=3)
    for one in caught:
        if not _NO_GLYPH.match(str(one.message)):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


Drawing: TypeAlias = tuple[Path, Callable[[], Figure]]  # the files' stem, and what draws the figure
_Warning: TypeAlias = tuple[str, type[Warning], str, int]

_INTERRUPTS = {getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)}
_ended: list[bool] = []  # of another process, once it is to end
WORTH = 6  # figures, which take about as long as it takes a process to start


def save_all(
    drawings: Sequence[Drawing], formats: Sequence[str], *, processes: int = 1
) -> Iterator[list[Path]]:
    """Draw and save each figure; what was written comes in their order, and its bytes do not depend
    on `processes`.

    Matplotlib holds Python's lock, so threads would gain nothing. The processes are spawned, not
    forked: torch, which comes with the library, has threads.
    """
    processes = min(processes, len(drawings) // WORTH)
    if processes < 2:
        for stem, draw in drawings:
            yield save_figure(draw(), stem, formats)
        return
    before = multiprocessing.active_children()
    with (
        _uninterrupted()
    ):  # as is the process that Python starts beside them, which lifts the block of SIGINT again
        pool = ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), initializer=_begin
        )
    try:
        with _uninterrupted():
            saved = [pool.submit(_saved, current(), drawing, formats) for drawing in drawings]
        for made in saved:
            written, warned = made.result()
            for one in warned:
                warnings.warn_explicit(*one)
            yield written
    except BrokenProcessPool as error:
        raise OutputError(
            "a process that draws figures was ended",
            expected="memory for each of them",
            fix="free some memory; `purescope plot` draws the figures again",
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child not in before:
                child.terminate()  # which they take for an exception: what is half written is removed
        pool.shutdown()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let processes start that Ctrl-C, which reaches them too, leaves alone; the first process ends
    them.

    The signal is blocked and not ignored: this process gets it a moment later.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _saved(
    style: Style, drawing: Drawing, formats: Sequence[str]
) -> tuple[list[Path], list[_Warning]]:
    """In a process of its own: the files, and what to warn of in the first one."""
    if _ended:
        _end()
    stem, draw = drawing
    with warnings.catch_warnings(record=True) as caught, drawn_in(style):
        warnings.simplefilter("always")
        written = save_figure(draw(), stem, formats)
    return written, [(str(one.message), one.category, one.filename, one.lineno) for one in caught]


def _begin() -> None:
    """At the start of another process: Ctrl-C is for the first one, whose end is the end of this
    one as well.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    Thread(target=_outlive_nobody, daemon=True).start()


def _end(*_: object) -> None:
    """End the figure that is being drawn, and begin none of those that are handed out already."""
    _ended.append(True)
    sys.exit(128 + signal.SIGTERM)


def _outlive_nobody() -> None:
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os.kill(os.getpid(), signal.SIGTERM)
