"""What stands beside the arrays of a features file: names and where they are from, all as text, and
checked.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from purescope.datasets.dataset import check_class_names
from purescope.errors import InputError
from purescope.files.reading import unique_keys
from purescope.specs import is_text

_KEYS = ("classes", "model", "dataset", "identity", "seconds")


@dataclass(frozen=True)
class Metadata:
    """What a features file says beside its arrays; None where it does not."""

    classes: tuple[str, ...] | None
    model: str | None
    dataset: str | None
    identity: dict[str, str]
    seconds: float


def parse(texts: Mapping[str, Any]) -> Metadata:
    """Read the metadata of a features file.

    Args:
        texts: under the names that we write; others are passed over.

    Raises:
        InputError: a value is of another type than it should be, or cannot be written as text.

    Examples:
        >>> parse({"classes": '["cat", "dog"]', "seconds": "1.5"}).classes
        ('cat', 'dog')
    """
    for name in _KEYS:
        if name in texts and not isinstance(texts[name], str):
            raise _wrong(name, texts[name], "text")
    classes = identity = None
    if "classes" in texts:
        classes = _json("classes", texts["classes"], list, "a list of texts in JSON")
        check_class_names(classes, InputError)
    if "identity" in texts:
        identity = _json("identity", texts["identity"], dict, "an object of texts in JSON")
        for key, value in identity.items():
            if not isinstance(value, str) or not is_text(key + value):
                raise _wrong(f"identity, {key}", value, "text")
    for name in ("model", "dataset"):
        if name in texts and not (texts[name].strip() and is_text(texts[name])):
            raise _wrong(name, texts[name], "a name")
    return Metadata(
        classes=None if classes is None else tuple(classes),
        model=texts.get("model"),
        dataset=texts.get("dataset"),
        identity=identity or {},
        seconds=_seconds(texts.get("seconds", "0")),
    )


def _json(name: str, text: str, kind: type, expected: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise _wrong(name, text, expected) from error
    if not isinstance(value, kind):
        raise _wrong(name, text, expected)
    return value


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise _wrong("seconds", text, "a number of seconds")
    return seconds


def _wrong(name: str, value: object, expected: str) -> InputError:
    shown = repr(value)
    shown = shown if len(shown) <= 100 else f"{shown[:100]}..."
    return InputError(
        f"its metadata {name} is {shown}",
        expected=expected,
        fix="write it again, with purescope.save_features",
    )
