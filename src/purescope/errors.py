"""Errors that a user can act on: what came, what was expected and what to do."""

import copyreg
import difflib
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypedDict

_FEW = 12  # names that fit in a line
_CAME, _ADVICE = 1000, 450  # most characters of the parts of an error: together below 2,000
# Characters that change the direction of a line of text, so that it reads as another text.
_TURNING = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)
# Control characters, halves of a character, separators of lines and paragraphs.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    r"""Escape, as in Python, characters that could move the cursor, turn text or forge a line of
    ours.

    Everything from outside is printed through this: names of files, members of archives, labels.

    Args:
        text: any text.

    Returns:
        One line; the same text if it has no such characters.

    Examples:
        >>> print(printable("flag 🏴‍☠️, cat\x1b[2K\rpurescope: fine\u202e"))
        flag 🏴‍☠️, cat\x1b[2K\rpurescope: fine\u202e
    """
    if text.isprintable() and not _TURNING & set(text):
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    escapes = character in _TURNING or unicodedata.category(character) in _UNPRINTABLE
    return character.encode("unicode_escape").decode() if escapes else character


def shortened(text: str, most: int) -> str:
    """Cut a text in the middle, and say how much is left out.

    Examples:
        >>> shortened("a" * 100_000, 50)
        'aaaaaaaaaaaaaaaaaaaaaaaa [99,968 left out] aaaaaaaa'
    """
    if len(text) <= most:
        return text
    first, last = most // 2 - 1, most // 6
    return f"{text[:first]} [{len(text) - first - last:,} left out] {text[-last:]}"


def listed(names: Iterable[str], most: int = _FEW) -> str:
    """List the first of many names, and how many more there are.

    Examples:
        >>> listed(["a", "b"]), listed([str(number) for number in range(60_000)], 3)
        ('a, b', '0, 1, 2 and 59,997 more')
    """
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class PurescopeError(Exception):
    """Base of every error that purescope raises on purpose; the command line prints it and exits
    with 2.

    Each part is made `printable`, and cut if it is too long to read.

    Args:
        came: the wrong input, in the user's own words (path, name, shape, value).
        expected: what would have been right.
        fix: what to do about it.

    Examples:
        >>> print(PurescopeError("k = 0", expected="1 <= k <= 512", fix="drop 0 from --keep"))
        k = 0
          expected: 1 <= k <= 512
          to fix:   drop 0 from --keep
    """

    def __init__(self, came: str, *, expected: str = "", fix: str = "") -> None:
        self.came = shortened(printable(came), _CAME)
        self.expected, self.fix = (shortened(printable(text), _ADVICE) for text in (expected, fix))
        lines = [self.came]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.fix:
            lines.append(f"  to fix:   {self.fix}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the lines when unpickled: Exception would pass the whole text as `came`."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class InputError(PurescopeError, ValueError):
    """An argument or an array cannot be used: a k out of range, a NaN, shapes that do not fit."""


class ModelError(PurescopeError):
    """A model cannot be identified, found, read or trusted."""


class DatasetError(PurescopeError):
    """A dataset cannot be identified, found or read, or one of its images or labels is broken."""


class OutputError(PurescopeError):
    """A result cannot be written without damaging existing files."""


class MissingExtraError(PurescopeError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package {package!r} is not installed",
            expected=f"purescope with its extra {extra!r}",
            fix=f"pip install 'purescope[{extra}]'",
        )


@contextmanager
def noting() -> Iterator[list[str]]:
    """Collect the texts of the warnings for users within the block.

    At the end, also after an error, each different warning is issued once.

    Examples:
        >>> with noting() as notes:
        ...     pass
        >>> notes
        []
    """
    notes: list[str] = []
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield notes
    finally:
        categories = {str(warning.message): warning.category for warning in caught}
        notes.extend(text for text, category in categories.items() if category is UserWarning)
        for text, category in categories.items():
            warnings.warn(text, category, stacklevel=4)


class Advice(TypedDict):
    """The parts of a `PurescopeError` besides what came."""

    expected: str
    fix: str


def near_miss(name: str, known: Iterable[str]) -> Advice:
    """Give advice for an unknown name: the known names and the closest ones.

    The known names are listed if they are few, or if none is close.

    Examples:
        >>> print(InputError("unknown tower 'txt'", **near_miss("txt", ["image", "text"])))
        unknown tower 'txt'
          expected: one of image, text
          to fix:   did you mean 'text'?
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known)
    names = f"one of {', '.join(known)}" if known and (len(known) <= _FEW or not close) else ""
    return {"expected": names, "fix": did_you_mean(name, known) if close else ""}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known names for an unknown one, or list all if none is close.

    Examples:
        >>> did_you_mean("cifar1O", ["cifar10", "dtd"])
        "did you mean 'cifar10'?"
        >>> did_you_mean("x", ["cifar10", "dtd"])
        'known: cifar10, dtd'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if not close:
        return f"known: {', '.join(known)}"
    return f"did you mean {' or '.join(map(repr, close))}?"
