"""Standard output and standard error, and the lines that are printed on them.

If a stream fails, the command still does its work, and prints what it can. A text from outside
(file name, label, class, manifest, message of a library) goes through `to_line`, `escape` or
`purescope.cli.terminal.add_row`. It then is one line, and contains no markup.
"""

import codecs
import errno
import io
import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from purescope.errors import PurescopeError, printable, shortened

WIDTH = 120  # columns of a file or pipe: enough for every table
_LONGEST = 1_900  # characters of a line
_ADVICE = re.compile(r"\n  (expected|to fix): +")  # in an error of ours, which has several lines

# Replacements for a terminal or a file whose encoding lacks these characters.
_REPLACEMENTS = {
    **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)),
    **{
        "─": "-",
        "–": "-",
        "\N{MINUS SIGN}": "-",
        "…": "...",
        "≤": "<=",
        "×": "x",
        "’": "'",
        "→": "->",
    },
}
# Sequences of rich, click and tqdm that change colours or move the cursor.
_NOTHING = re.compile(r"((?!))")
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
_COLOUR_AND_CURSOR = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z]|\r)")


def open_missing_streams() -> None:
    """Open the null device in place of each standard stream that the process started without.

    Otherwise the next file that is opened would get the stream's number, and whatever a library
    prints would end up in that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


class SafeStream(io.TextIOBase):
    """A stream that never fails: after its first error, everything written to it is dropped.

    Args:
        stream: the stream to write to; None if it was closed before Python started.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure = "" if stream is not None else "it is closed"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Return the encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """Return the error handler, which replaces characters that the encoding lacks."""
        return "purescope"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        with suppress(ValueError, AttributeError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return int(self._stream.fileno())

    def write(self, text: str) -> int:
        if not self.failure and self._stream is not None:
            # Texts from outside are single lines already, so newlines are ours. This is the second
            # check. Odd parts are allowed sequences, which stay as they are.
            parts = self._allowed_sequences().split(text)
            parts[::2] = ("\n".join(map(printable, part.split("\n"))) for part in parts[::2])
            shown = "".join(parts)
            if not self.encoding.lower().startswith("utf"):
                shown = shown.encode(self.encoding, self.errors).decode(self.encoding)
            try:
                self._stream.write(shown)
            except (OSError, ValueError) as error:
                self._fail(error)
        return len(text)

    def _allowed_sequences(self) -> re.Pattern[str]:
        """Return a pattern of the control sequences that may be written."""
        if self.isatty():
            return _COLOUR_AND_CURSOR
        # Variables with which rich forces colours.
        forced = any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))
        return _COLOUR if forced else _NOTHING

    def flush(self) -> None:
        if not self.failure and self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._fail(error)

    def _fail(self, error: OSError | ValueError) -> None:
        self.failure = (isinstance(error, OSError) and error.strerror) or str(error)
        if self._stream in (sys.__stdout__, sys.__stderr__):
            # What Python's buffer still holds goes to the null device when Python ends.
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self.fileno())
                os.close(null)


class Streams:
    """Standard output and standard error of a command."""

    results: Path | None = None
    """Folder that the command writes its results to, once its options are parsed."""

    def __init__(self, out: SafeStream, err: SafeStream) -> None:
        self.out, self.err = out, err

    def close(self, code: int) -> int:
        """Flush both streams, and report on one of them that the other failed.

        Args:
            code: exit code of the command.

        Returns:
            The exit code: 1 if the command succeeded and a stream failed, otherwise `code`.
        """
        for stream in (self.out, self.err):
            stream.flush()
        failed, other = (self.out, self.err) if self.out.failure else (self.err, self.out)
        if not failed.failure or code:  # errors were printed where that is possible
            return code
        if Streams.results is not None:
            what = (
                "printing them failed"
                if failed is self.out
                else "the messages about them could not be printed"
            )
            other.write(
                f"purescope: the results are in {printable(str(Streams.results))}; {what}: "
                f"{failed.failure}\n"
            )
        # A reader that closed the pipe, as in `purescope models | head`, needs no message.
        elif failed.failure != os.strerror(errno.EPIPE):
            other.write(f"purescope: printing failed: {failed.failure}\n")
        other.flush()
        return 1


@contextmanager
def safe_streams() -> Iterator[Streams]:
    """Replace standard output and error by streams that never fail."""
    out, err = sys.stdout, sys.stderr
    Streams.results = None
    streams = Streams(SafeStream(out), SafeStream(err))
    sys.stdout, sys.stderr = streams.out, streams.err
    try:
        yield streams
    finally:
        for stream in (streams.out, streams.err):
            stream.flush()
        sys.stdout, sys.stderr = out, err


def _replace_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    replacements = (
        _REPLACEMENTS.get(character) or character.encode("unicode_escape").decode()
        for character in characters
    )
    return "".join(replacements), error.end


codecs.register_error("purescope", _replace_characters)


def to_line(text: object) -> str:
    r"""Return a text as one line of limited length, in which nothing moves the cursor.

    Examples:
        >>> print(to_line("cat\x1b[2K\npurescope: all fine"))
        cat\x1b[2K\npurescope: all fine
        >>> len(to_line("a" * 100_000)) < 2000
        True
    """
    return shortened(printable(str(text)), _LONGEST)


def escape(text: object) -> str:
    r"""Return a text as one line without markup for rich: its brackets are printed as brackets.

    Examples:
        >>> escape("[red]a[/red]")
        '\\[red]a\\[/red]'
    """
    from rich.markup import escape as escape_markup

    return escape_markup(to_line(text))


def print_line(text: object, *, err: bool = False) -> None:
    """Print a text as one line, which is not wrapped: paths and commands can be copied."""
    click.echo(to_line(text), err=err)


def print_error(error: PurescopeError) -> None:
    """Print an error: what came, in red, and below it what was expected and how to fix it.

    It goes to standard error, or to standard output if standard error fails. NO_COLOR and a simple
    terminal turn the colour off.
    """
    came, *advice = f"purescope: {error}".split("\n  ")
    colour = None if not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" else False
    for err in (True, False):
        click.secho(to_line(came), fg="red", err=err, color=colour)
        for text in advice:
            click.echo(f"  {to_line(text)}", err=err)
        if not getattr(sys.stderr, "failure", ""):  # see `SafeStream`
            break


def _can_overwrite_lines() -> bool:
    """Return whether standard error is a terminal on which a line can be overwritten."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def clear_step() -> None:
    """Clear the line on the terminal that shows the current step."""
    if _can_overwrite_lines():
        click.echo("\r\x1b[K", err=True, nl=False)


class _StepHandler(logging.Handler):
    """Print the current step of a run.

    On a terminal the next step overwrites it; in a file or a pipe each step is a line.
    """

    def emit(self, record: logging.LogRecord) -> None:
        clear_step()
        if _can_overwrite_lines():
            step = f"{to_line(record.getMessage())} ..."[: shutil.get_terminal_size().columns - 1]
            click.echo(f"\r{step}", err=True, nl=False)
        else:
            print_line(record.getMessage(), err=True)


class _LibraryHandler(logging.Handler):
    """Print log messages of libraries that have no handler of their own."""

    def emit(self, record: logging.LogRecord) -> None:
        _print_note(record.getMessage())


def show_progress(iterable: Iterable[Any], label: str, total: int) -> Iterable[Any]:
    """Iterate with a progress bar, which appears after two seconds, and only on a terminal."""
    from tqdm import tqdm

    bar: Iterable[Any] = tqdm(
        iterable,
        to_line(label),
        total,
        delay=2,
        disable=None,
        leave=False,
        bar_format="{desc}: {percentage:3.0f}% {bar} {n_fmt}/{total_fmt} batches "
        "[{elapsed}<{remaining}, {rate_fmt}]",
        unit="batch",
    )
    return bar


@contextmanager
def show_messages(most: int | None = None) -> Iterator[None]:
    """Print the steps of a run on standard error, and each warning as one line.

    Args:
        most: largest number of warnings to print. The manifest of a run has all warnings about its
            results.
    """
    count = 0
    handler, log = _StepHandler(logging.INFO), logging.getLogger("purescope")
    level = log.level

    def show(message: Warning | str, *_: object) -> None:
        nonlocal count
        count += 1
        if most is None or count <= most:
            _print_note(message)

    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = show  # type: ignore[assignment]
            yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        clear_step()
    if most is not None and count > most:
        click.echo(f"note: {count - most} more, all in manifest.json", err=True)


@contextmanager
def print_warnings() -> Iterator[None]:
    """Print warnings of libraries as one line each, also outside of `show_messages`."""
    root, handler = logging.getLogger(), _LibraryHandler(logging.WARNING)
    is_unused = not root.handlers
    with warnings.catch_warnings():
        warnings.showwarning = _print_note  # type: ignore[assignment]
        if is_unused:
            root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)


def _print_note(message: object, *_: object) -> None:
    clear_step()
    print_line("note: " + _ADVICE.sub(r"; \1: ", str(message)), err=True)
