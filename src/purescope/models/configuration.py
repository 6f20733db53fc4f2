"""Rebuild configurations of unknown origin from known keys and values of plain types.

A library only gets the result, never the original: a key that is not listed here cannot choose a
class, a file, an address or an option of a loader. Sizes that no model has are refused before
anything is built.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from purescope.errors import ModelError, near_miss

_LIST, _TEXT = 64, 1000  # most entries of a list, and most characters of a text
_WHOLE_MODEL = "give the whole, unchanged model; if it is from somewhere else, do not trust it"

CONTEXT, IMAGE = 4096, 2048
"""Most tokens of a sentence and most pixels of a side: 16 and 4 times those of known models."""

ATTENTION = 2 * 10**9
"""Most bytes for the attention of one input: 20 times that of open_clip's largest tower."""

_LAYERS, _FREE = 256, 64  # the deepest known models have 92 in both towers
_PER_LAYER = 8  # tensors: T5's layers have 8, all others more


@dataclass(frozen=True)
class Kind:
    """Describe a set of plain values.

    Args:
        words: the name of the set, for errors.
        holds: whether a value belongs to it.
        fix: what to do about a value that does not.
    """

    words: str
    holds: Callable[[object], bool]
    fix: str = ""

    def __or__(self, other: "Kind") -> "Kind":
        words = f"{self.words} or {other.words}"
        return Kind(
            words, lambda value: self.holds(value) or other.holds(value), self.fix or other.fix
        )


def _is_number(value: object) -> bool:
    # An integer of JSON can be too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31


def one_of(*choices: str) -> Kind:
    """Describe a choice of texts.

    Examples:
        >>> one_of("left", "right").holds("left"), one_of("left", "right").holds("up")
        (True, False)
    """
    return Kind(f"one of {', '.join(map(repr, choices))}", lambda value: value in choices)


def list_of(kind: Kind, *, least: int = 0, most: int = _LIST) -> Kind:
    """Describe a list of `least` to `most` values of one kind.

    Examples:
        >>> list_of(WHOLE).holds([3, 4, 6, 3]), list_of(WHOLE).holds([3, None])
        (True, False)
    """

    def holds(value: object) -> bool:
        if not isinstance(value, list | tuple):
            return False
        return least <= len(value) <= most and all(map(kind.holds, value))

    return Kind(f"a list of {kind.words}", holds)


def dictionary_of(known: Mapping[str, Kind]) -> Kind:
    """Describe a dictionary that has only these keys.

    Examples:
        >>> with_eps = dictionary_of({"eps": NUMBER})
        >>> with_eps.holds({"eps": 1e-6}), with_eps.holds({"device": 0})
        (True, False)
    """

    def holds(value: object) -> bool:
        if not isinstance(value, dict):
            return False
        return all(key in known and known[key].holds(value[key]) for key in value)

    return Kind(f"a dictionary of {', '.join(known)}", holds)


NOTHING = Kind("null", lambda value: value is None)
NUMBER = Kind("a number", _is_number)
WHOLE = Kind("a whole number", _is_whole)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a text", lambda value: isinstance(value, str) and len(value) <= _TEXT)
DICTIONARY = Kind("a dictionary", lambda value: isinstance(value, dict))


def keep_known(config: Mapping[str, Any], known: Mapping[str, Kind], where: str) -> dict[str, Any]:
    """Return the known keys of a configuration; the library has no use for the others.

    Raises:
        ModelError: a known key has a value of another type.

    Examples:
        >>> config = {"width": 64, "auto_map": {"AutoModel": "evil.Model"}}
        >>> keep_known(config, {"width": WHOLE}, "mine")
        {'width': 64}
    """
    kept = {key: config[key] for key in config if key in known}
    for key, value in kept.items():
        if not known[key].holds(value):
            raise ModelError(
                f"{where}.{key} is {value!r}", expected=known[key].words, fix=known[key].fix
            )
    return kept


def require_known(
    config: Mapping[str, Any], known: Mapping[str, Kind], where: str, *, expected: str = ""
) -> dict[str, Any]:
    """Return a configuration that has only known keys.

    Args:
        config: the configuration.
        known: the known keys and their values.
        where: the subject of the error.
        expected: what the error says was expected, in place of the list of known keys.

    Raises:
        ModelError: a key is unknown, or a known key has a value of another type.

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
    return keep_known(config, known, where)


def require_at_most(where: str, name: str, size: Any, most: int) -> None:
    """Refuse a size that no model has.

    Raises:
        ModelError: the size is not a whole number from 1 to `most`.
    """
    if not isinstance(size, int) or not 1 <= size <= most:
        given = f"{size:,}" if isinstance(size, int) else repr(size)
        raise ModelError(f"{where}: {name} is {given}", expected=f"1 to {most:,}")


def require_attention(where: str, tower: str, tokens: int, heads: int) -> None:
    """Refuse a tower whose attention takes gigabytes for one input, whatever its weights.

    Every token attends to every other one, in three arrays of float32 [head, token, token].

    Raises:
        ModelError: the arrays take more than `ATTENTION` bytes.
    """
    needed = 12 * tokens**2 * heads
    if needed > ATTENTION:
        raise ModelError(
            f"{where}: {tower} has {heads:,} heads over {tokens:,} tokens: {needed:,} bytes for "
            f"one input",
            expected=f"at most {ATTENTION:,}",
            fix=_WHOLE_MODEL,
        )


def require_layers(where: str, layers: int, tensors: Mapping[str, Tensor]) -> None:
    """Refuse more layers than the number of stored tensors allows.

    Up to 64 layers are allowed in any case; `require_fit` names what is missing for them.

    Raises:
        ModelError: there are too many.
    """
    most = min(_LAYERS, max(_FREE, len(tensors) // _PER_LAYER))
    if layers > most:
        raise ModelError(
            f"{where}: {layers:,} layers, and {len(tensors):,} tensors of weights",
            expected=f"at most {most:,} layers: {_PER_LAYER} tensors or more for each, and no more "
            f"than {_LAYERS}",
            fix=_WHOLE_MODEL,
        )


def require_numbers(where: str, sizes: Mapping[str, int], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a weight that is much larger than all stored weights together.

    A factor of 4 leaves room for a wrong width, which is reported later.

    Args:
        where: the subject of the error.
        sizes: the size of the largest weight of each tower, in numbers.
        tensors: the stored weights.

    Raises:
        ModelError: one of the sizes is too large.
    """
    stored = sum(tensor.numel() for tensor in tensors.values())
    for tower, numbers in sizes.items():
        if numbers > max(4 * stored, 10**7):
            raise ModelError(
                f"{where}: {tower} has a weight of {numbers:,} numbers, and {stored:,} numbers are "
                f"stored",
                expected="a configuration and weights of one model",
                fix=_WHOLE_MODEL,
            )
