"""Standard output and standard error: whatever becomes of them, the command does its work and says
what it can.
"""

import codecs
import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from purescope.errors import printable

# What is drawn with other letters, for a terminal or a file that has none of them.
_PLAIN = {
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
# What moves colours and the cursor in a line: rich's, click's and tqdm's.
_NOTHING = re.compile(r"((?!))")
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
_ON_A_TERMINAL = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z]|\r)")


def open_missing() -> None:
    """Open what stands for standard input, output and error where the process was started without
    one of them.

    Otherwise the next file that is opened gets its number, and what a library writes there ends in
    that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


class Outlet(io.TextIOBase):
    """A stream that never fails: from the first error on, what is written is dropped.

    Args:
        stream: what it writes to, as Python has it; None where that was closed before Python began.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure = "" if stream is not None else "it is closed"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """None come out of it: a letter that the encoding lacks has another in its place."""
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
            # `printing.line` has made one line of what comes from outside: newlines are ours. This
            # is the second wall.
            parts = self._passing().split(text)
            parts[::2] = ("\n".join(map(printable, part.split("\n"))) for part in parts[::2])
            shown = "".join(parts)
            if not self.encoding.lower().startswith("utf"):
                shown = shown.encode(self.encoding, self.errors).decode(self.encoding)
            try:
                self._stream.write(shown)
            except (OSError, ValueError) as error:
                self._fail(error)
        return len(text)

    def _passing(self) -> re.Pattern[str]:
        """What may go through that is no letter."""
        forced = any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))  # rich's
        return _ON_A_TERMINAL if self.isatty() else _COLOUR if forced else _NOTHING

    def flush(self) -> None:
        if not self.failure and self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._fail(error)

    def _fail(self, error: OSError | ValueError) -> None:
        self.failure = (isinstance(error, OSError) and error.strerror) or str(error)
        if self._stream in (sys.__stdout__, sys.__stderr__):
            with suppress(
                OSError, ValueError
            ):  # what Python still holds of it goes nowhere when it ends
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.fileno())
                os.close(nowhere)


class Outlets:
    """Both streams of a command.

    Args:
        out: standard output.
        err: standard error.
    """

    results: Path | None = None
    """The folder that the command writes its results to, once its options are read."""

    def __init__(self, out: Outlet, err: Outlet) -> None:
        self.out, self.err = out, err

    def close(self, code: int) -> int:
        """Write what is left, say what could not be printed where that still can be, and give the
        exit code.
        """
        for stream in (self.out, self.err):
            stream.flush()
        failed, whole = (self.out, self.err) if self.out.failure else (self.err, self.out)
        if not failed.failure or code:  # an error is told where it can be told already
            return code
        what = (
            "printing them failed"
            if failed is self.out
            else "what there is to say beside them could not be printed"
        )
        if Outlets.results is not None:
            whole.write(
                f"purescope: the results are in {printable(str(Outlets.results))}; {what}: "
                f"{failed.failure}\n"
            )
        elif failed.failure != os.strerror(
            errno.EPIPE
        ):  # the reader of `purescope models | head` has gone
            whole.write(f"purescope: printing failed: {failed.failure}\n")
        whole.flush()
        return 1


@contextmanager
def outlets() -> Iterator[Outlets]:
    """Both streams, in the place of Python's."""
    out, err = sys.stdout, sys.stderr
    Outlets.results = None
    both = Outlets(Outlet(out), Outlet(err))
    sys.stdout, sys.stderr = both.out, both.err
    try:
        yield both
    finally:
        for stream in (both.out, both.err):
            stream.flush()
        sys.stdout, sys.stderr = out, err


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(
        _PLAIN.get(one) or one.encode("unicode_escape").decode() for one in letters
    ), error.end


codecs.register_error("purescope", _in_plain_letters)
