"""Changes after which the program does the same: no test can notice them, and each has its reason.

They stand in ``equivalent.toml``, by file, function and the line before and after, so that lines
may move.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from mutants.changes import Change

Key = tuple[str, str, str, str]


def read_equivalents(path: Path) -> dict[Key, str]:
    """Read the list; each entry is a key as of `key_of`, and a reason."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    return {
        (one["file"], one["function"], one["before"], one["after"]): one["reason"]
        for one in entries
    }


def key_of(change: Change) -> Key:
    """What a change is known by."""
    return change.file, change.function, change.before, change.after


def stale(known: Iterable[Key], changes: Iterable[Change]) -> list[Key]:
    """Entries that are no change any more: the source is another."""
    there = {key_of(change) for change in changes}
    return [key for key in known if key not in there]
