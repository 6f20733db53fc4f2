"""Save figures as files, one after another or in several processes at once."""

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
from typing import Any, TypeAlias

import matplotlib
from matplotlib.figure import Figure

from purescope.errors import InputError, OutputError, near_miss
from purescope.files.writing import atomic_path
from purescope.plots.style import Style, current, drawn_in

# Metadata of the files, without dates, so that the same figure gives the same bytes.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": "purescope"},
    "svg": {"Creator": "purescope", "Date": None},
    "pdf": {"Creator": "purescope", "Producer": None, "CreationDate": None},
}
FORMATS = tuple(_METADATA)
# What else each writer is told. PNG packed harder takes half as long again, and is 5 % smaller.
_OPTIONS: dict[str, dict[str, Any]] = {"png": {"pil_kwargs": {"compress_level": 3}}}
_NO_LAYOUT = {"figure.autolayout": False, "figure.constrained_layout.use": False}
_NO_GLYPH = re.compile(r"Glyph \d+ \((.*?)\) missing from")


def save_figure(figure: Figure, stem: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``stem.png``, ``stem.svg`` and so on, each completely or not at all.

    The same table gives the same bytes. Text in SVG stays text, so it can be searched, selected and
    read aloud. In the paper style it is drawn as outlines, so that it needs no font where the file
    is included. Fonts in PDF are embedded as TrueType.

    Raises:
        InputError: a format is not one of png, svg and pdf.
        OutputError: the file cannot be written into the folder.

    Warns:
        UserWarning: the installed fonts lack a letter of a name, which PNG and PDF then show as a
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
            # The layout is computed once for all formats. The value "none" would leave an engine,
            # for which savefig draws everything twice.
            figure.set_layout_engine(None)
        for path, name in zip(paths, formats, strict=True):
            with atomic_path(path) as temporary:
                figure.savefig(
                    temporary,
                    format=name,
                    dpi=current().dpi,
                    metadata=_METADATA[name],
                    **_OPTIONS.get(name, {}),
                )
    _pass_on(caught, stem.name)
    return paths


def check_formats(formats: Sequence[str]) -> None:
    """Raise an InputError for an unknown format."""
    unknown = [name for name in formats if name not in _METADATA]
    if unknown:
        raise InputError(
            f"unknown figure format {unknown[0]!r}", **near_miss(unknown[0], _METADATA)
        )


def _pass_on(caught: list[warnings.WarningMessage], name: str) -> None:
    """Pass warnings on, with one warning for all letters that the fonts lack."""
    matches = (_NO_GLYPH.match(str(warning.message)) for warning in caught)
    glyphs = dict.fromkeys(match[1] for match in matches if match)
    if glyphs:
        names = ", ".join(name.split("}")[0].removeprefix("\\N{").lower() for name in glyphs)
        warnings.warn(f"{name}: no font here has {names}; PNG and PDF show a box", stacklevel=3)
    for warning in caught:
        if not _NO_GLYPH.match(str(warning.message)):
            category = warning.category
            warnings.warn_explicit(warning.message, category, warning.filename, warning.lineno)


# Path without suffix, and the function that draws the figure.
Drawing: TypeAlias = tuple[Path, Callable[[], Figure]]
_Warning: TypeAlias = tuple[str, type[Warning], str, int]

_INTERRUPTS = {getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)}
_ended: list[bool] = []  # not empty once this process was asked to end
WORTH = 6  # figures per process at least: drawing six takes as long as starting a process


def save_all(
    drawings: Sequence[Drawing], formats: Sequence[str], *, processes: int = 1
) -> Iterator[list[Path]]:
    """Draw and save each figure, with the same bytes for any number of processes.

    Matplotlib holds Python's lock, so threads would gain nothing. The processes are spawned, not
    forked, because torch, which the library uses, has threads.

    Yields:
        The files of each figure, in the order of the figures.
    """
    processes = min(processes, len(drawings) // WORTH)
    if processes < 2:
        for stem, draw in drawings:
            yield save_figure(draw(), stem, formats)
        return
    before = multiprocessing.active_children()
    # Python starts one more process beside the pool, which Ctrl-C must not reach either. It lifts
    # the block of SIGINT again, so the processes themselves start within a second block.
    with _uninterrupted():
        pool = ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), initializer=_begin
        )
    try:
        with _uninterrupted():
            saved = [pool.submit(_saved, current(), drawing, formats) for drawing in drawings]
        for future in saved:
            written, caught = future.result()
            for warning in caught:
                warnings.warn_explicit(*warning)
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
                child.terminate()  # raises SystemExit there, which removes half-written files
        pool.shutdown()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start processes that do not end at Ctrl-C, which reaches them too; this process ends them.

    The signal is blocked, not ignored: this process gets it after the block.
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
    """Draw a figure in another process; return its files and the warnings for the first one."""
    if _ended:
        _end()
    stem, draw = drawing
    with warnings.catch_warnings(record=True) as caught, drawn_in(style):
        warnings.simplefilter("always")
        written = save_figure(draw(), stem, formats)
    return written, [
        (str(warning.message), warning.category, warning.filename, warning.lineno)
        for warning in caught
    ]


def _begin() -> None:
    """Prepare another process: it ignores Ctrl-C, and ends when the first process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    Thread(target=_end_with_the_first, daemon=True).start()


def _end(*_: object) -> None:
    """Stop the current figure, and start none of the figures that are already assigned."""
    _ended.append(True)
    sys.exit(128 + signal.SIGTERM)


def _end_with_the_first() -> None:
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os.kill(os.getpid(), signal.SIGTERM)
