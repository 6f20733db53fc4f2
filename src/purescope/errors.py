"""Errors a user can act on: each says what came, what was expected and what to do."""

import difflib
from collections.abc import Iterable
from typing import TypedDict

_FEW = 12  # names that can stand in a line


class PurescopeError(Exception):
    """Base of every error that purescope raises on purpose; the command line prints it and exits with code 2.

    Args:
        came: what was found, with the user's own words (path, name, shape, value).
        expected: what would have been right.
        fix: what to do about it.

    Examples:
        >>> print(PurescopeError("k = 0", expected="1 <= k <= 512", fix="drop 0 from --keep"))
        k = 0
          expected: 1 <= k <= 512
          to fix:   drop 0 from --keep
    """

    def __init__(self, came: str, *, expected: str = "", fix: str = "") -> None:
        self.came, self.expected, self.fix = came, expected, fix
        lines = [came]
        if expected:
            lines.append(f"  expected: {expected}")
        if fix:
            lines.append(f"  to fix:   {fix}")
        super().__init__("\n".join(lines))


class InputError(PurescopeError, ValueError):
    """An argument or an array is not usable: a k out of range, a NaN, shapes that do not fit."""


class ModelError(PurescopeError):
    """A model cannot be named, found, read or trusted."""


class DatasetError(PurescopeError):
    """A dataset cannot be named, found or read, or one of its images or labels is broken."""


class OutputError(PurescopeError):
    """A result cannot be written without damaging what is there."""


class MissingExtraError(PurescopeError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package {package!r} is not installed",
            expected=f"purescope with its extra {extra!r}",
            fix=f"pip install 'purescope[{extra}]'",
        )


class Advice(TypedDict):
    """What `PurescopeError` says beside what came."""

    expected: str
    fix: str


def near_miss(name: str, known: Iterable[str]) -> Advice:
    """What to say of an unknown name: the known ones, if they are few or none is close, and the closest.

    Examples:
        >>> print(InputError("unknown tower 'txt'", **near_miss("txt", ["image", "text"])))
        unknown tower 'txt'
          expected: one of image, text
          to fix:   did you mean 'text'?
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known)
    told = f"one of {', '.join(known)}" if known and (len(known) <= _FEW or not close) else ""
    return {"expected": told, "fix": did_you_mean(name, known) if close else ""}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence for an unknown name: the closest known ones, or all of them where none is close.

    Examples:
        >>> did_you_mean("cifar1O", ["cifar10", "dtd"])
        "did you mean 'cifar10'?"
        >>> did_you_mean("x", ["cifar10", "dtd"])
        'known: cifar10, dtd'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(known)}"
