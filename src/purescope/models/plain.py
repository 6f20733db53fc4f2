"""Rebuild a configuration from what is known: each key by name, each value of a plain type.

What a library is handed is always the result, never what somebody wrote: a key that nobody listed
here cannot choose a class, a file, an address or an option of a loader.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from purescope.errors import ModelError, near_miss

_SHORT, _LONG = 64, 1000  # entries of a list, and characters of a text


@dataclass(frozen=True)
class Kind:
    """A set of plain values.

    Args:
        words: what to call it in an error.
        holds: whether a value belongs to it.
        fix: what to do about one that does not.
    """

    words: str
    holds: Callable[[object], bool]
    fix: str = ""

    def __or__(self, other: "Kind") -> "Kind":
        holds = self.holds, other.holds
        words = f"{self.words} or {other.words}"
        return Kind(words, lambda value: any(one(value) for one in holds), self.fix or other.fix)


def _is_number(value: object) -> bool:
    # A whole number of JSON can be too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31


def one_of(*choices: str) -> Kind:
    """One of these texts.

    Examples:
        >>> one_of("left", "right").holds("left"), one_of("left", "right").holds("up")
        (True, False)
    """
    return Kind(f"one of {', '.join(map(repr, choices))}", lambda value: value in choices)


def list_of(kind: Kind, *, least: int = 0, most: int = _SHORT) -> Kind:
    """A list of so many of them.

    Examples:
        >>> list_of(WHOLE).holds([3, 4, 6, 3]), list_of(WHOLE).holds([3, None])
        (True, False)
    """

    def holds(value: object) -> bool:
        return (
            isinstance(value, list | tuple)
            and least <= len(value) <= most
            and all(map(kind.holds, value))
        )

    return Kind(f"a list of {kind.words}", holds)


def dictionary_of(known: Mapping[str, Kind]) -> Kind:
    """A dictionary with no other keys than these.

    Examples:
        >>> dictionary_of({"eps": NUMBER}).holds({"eps": 1e-6}), dictionary_of({"eps": NUMBER}).holds({"device": 0})
        (True, False)
    """

    def holds(value: object) -> bool:
        return isinstance(value, dict) and all(
            key in known and known[key].holds(value[key]) for key in value
        )

    return Kind(f"a dictionary of {', '.join(known)}", holds)


NOTHING = Kind("null", lambda value: value is None)
NUMBER = Kind("a number", _is_number)
WHOLE = Kind("a whole number", _is_whole)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a text", lambda value: isinstance(value, str) and len(value) <= _LONG)


def known_only(config: Mapping[str, Any], known: Mapping[str, Kind], where: str) -> dict[str, Any]:
    """The known keys of a configuration; the others are left out, as the library has no use for
    them.

    Raises:
        ModelError: a known key has a value of another type.

    Examples:
        >>> known_only({"width": 64, "auto_map": {"AutoModel": "evil.Model"}}, {"width": WHOLE}, "mine")
        {'width': 64}
    """
    rebuilt = {key: config[key] for key in config if key in known}
    for key, value in rebuilt.items():
        if not known[key].holds(value):
            raise ModelError(
                f"{where}.{key} is {value!r}", expected=known[key].words, fix=known[key].fix
            )
    return rebuilt


def require_known(
    config: Mapping[str, Any], known: Mapping[str, Kind], where: str, *, expected: str = ""
) -> dict[str, Any]:
    """A configuration that has no other than the known keys; `expected` stands for them, where they
    are many.

    Raises:
        ModelError: it has another one, or a known key has a value of another type.

    Examples:
        >>> require_known({"widht": 64}, {"width": WHOLE}, "mine: vision_cfg")
        Traceback (most recent call last):
        purescope.errors.ModelError: mine: vision_cfg has the unknown key 'widht'
          expected: one of width
          to fix:   did you mean 'width'?
    """
    for key in config:
        if key not in known:
            advice = near_miss(key, known)
            raise ModelError(
                f"{where} has the unknown key {key!r}",
                expected=expected or advice["expected"],
                fix=advice["fix"],
            )
    return known_only(config, known, where)
