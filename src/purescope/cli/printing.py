"""How anything reaches the screen: one line is one line, whoever wrote the names in it.

What comes from outside (names of files, labels, classes, manifests, messages of libraries) goes
through `line`, `plain` or the cell of a `purescope.cli.screen.Table`; markup and newlines are ours
alone.
"""

import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from purescope.errors import printable, shortened

WIDTH = 120  # of what is no terminal: enough for every table
_ADVICE = re.compile(r"\n  (expected|to fix): +")  # of an error of ours, which has lines
_LONGEST = 1_900  # characters of a line: more is not read


def line(text: object) -> str:
    r"""Make one line of a text, in which nothing moves the cursor, and not a long one.

    Examples:
        >>> print(line("cat\x1b[2K\npurescope: all fine"))
        cat\x1b[2K\npurescope: all fine
        >>> len(line("a" * 100_000)) < 2000
        True
    """
    return shortened(printable(str(text)), _LONGEST)


def plain(text: object) -> str:
    r"""Make a line of a text, with no markup in it for rich: its brackets are brackets.

    Examples:
        >>> plain("[red]a[/red]")
        '\\[red]a\\[/red]'
    """
    from rich.markup import escape

    return escape(line(text))


def say(text: object, *, err: bool = False) -> None:
    """Print a line as it is."""
    click.echo(line(text), err=err)


def complain(text: str, *, advice: Iterable[str] = ()) -> None:
    """Print an error, in red where the terminal and NO_COLOR allow it; on standard output where the
    other one fails.
    """
    colour = None if not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" else False
    for err in (True, False):
        click.secho(line(text), fg="red", err=err, color=colour)
        for one in advice:
            click.echo(f"  {line(one)}", err=err)
        if not getattr(sys.stderr, "failure", ""):  # see `purescope.cli.outlets`
            break


def is_terminal() -> bool:
    """Whether standard error is one on which a line can be written over."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def clear() -> None:
    """Take the passing line away that says what is being done."""
    if is_terminal():
        click.echo("\r\x1b[K", err=True, nl=False)


class _Steps(logging.Handler):
    """What a run is doing: one passing line on a terminal, a line each where standard error is a
    file or a pipe.
    """

    def emit(self, record: logging.LogRecord) -> None:
        clear()
        if is_terminal():
            text = f"{line(record.getMessage())} ..."[: shutil.get_terminal_size().columns - 1]
            click.echo(f"\r{text}", err=True, nl=False)
        else:
            say(record.getMessage(), err=True)


class _Foreign(logging.Handler):
    """What a library has to say that brings no handler of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        _note(record.getMessage())


def progress(iterable: Iterable[Any], label: str, total: int) -> Iterable[Any]:
    """A bar with rate and time left, once something takes over two seconds; none when not on a
    terminal.
    """
    from tqdm import tqdm

    bar = "{desc}: {percentage:3.0f}% {bar} {n_fmt}/{total_fmt} batches [{elapsed}<{remaining}, {rate_fmt}]"
    shown: Iterable[Any] = tqdm(
        iterable,
        line(label),
        total,
        delay=2,
        disable=None,
        leave=False,
        bar_format=bar,
        unit="batch",
    )
    return shown


@contextmanager
def telling(most: int | None = None) -> Iterator[None]:
    """Say on standard error what is being done, and print warnings as one line each in place of
    Python's two.

    Args:
        most: how many to print; the manifest of a run has all that are about its results.
    """
    shown = 0
    steps, log = _Steps(logging.INFO), logging.getLogger("purescope")
    level = log.level

    def show(message: Warning | str, *_: object) -> None:
        nonlocal shown
        shown += 1
        if most is None or shown <= most:
            _note(message)

    log.addHandler(steps)
    log.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = show  # type: ignore[assignment]
            yield
    finally:
        log.removeHandler(steps)
        log.setLevel(level)
        clear()
    if most is not None and shown > most:
        click.echo(f"note: {shown - most} more, all in manifest.json", err=True)


@contextmanager
def noted() -> Iterator[None]:
    """Print what libraries warn of, outside of `telling` too, as one line each."""
    root, foreign = logging.getLogger(), _Foreign(logging.WARNING)
    alone = not root.handlers
    with warnings.catch_warnings():
        warnings.showwarning = _note  # type: ignore[assignment]
        if alone:
            root.addHandler(foreign)
        try:
            yield
        finally:
            root.removeHandler(foreign)


def _note(message: object, *_: object) -> None:
    clear()
    say("note: " + _ADVICE.sub(r"; \1: ", str(message)), err=True)
