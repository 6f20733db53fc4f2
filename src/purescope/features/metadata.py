"""Read the metadata beside the arrays of a features file, which nobody vouches for.

All values are texts: names, and JSON for the list of class names or captions and for the identity.
"""

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.files.npz import Npz
from purescope.files.reading import unique_keys
from purescope.specs import is_text

UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError,
    MemoryError, OverflowError, struct.error, zlib.error, zipfile.BadZipFile,
    safetensors.SafetensorError,
)  # fmt: skip
"""The errors of the readers for a file that is incomplete, damaged or of another kind."""

_METADATA = ("model", "dataset", "identity", "seconds")


@dataclass(frozen=True)
class Metadata:
    """The metadata of a features file; None where it is missing.

    Args:
        names: class names or captions, of any type.
        model, dataset: short names.
        identity: everything that the numbers depend on.
        seconds: duration of the encoding.
    """

    names: list[Any] | None
    model: str | None
    dataset: str | None
    identity: dict[str, str]
    seconds: float


def parse_metadata(texts: Mapping[str, Any], names_key: str) -> Metadata:
    """Read the metadata under our names; other names are ignored.

    Args:
        texts: the metadata.
        names_key: the key of the list of class names or captions.

    Raises:
        InputError: a value has another type than it should, or cannot be written as text.
    """
    for name in (names_key, *_METADATA):
        if name in texts and not isinstance(texts[name], str):
            raise _wrong(name, texts[name], "text")
    names = None
    if names_key in texts:
        names = _json(names_key, texts[names_key], list, "a list of texts in JSON")
    identity = _json("identity", texts.get("identity", "{}"), dict, "an object of texts in JSON")
    for key, value in identity.items():
        if not isinstance(value, str) or not is_text(key + value):
            raise _wrong(f"identity, {key}", value, "text")
    for name in ("model", "dataset"):
        if name in texts and not (texts[name].strip() and is_text(texts[name])):
            raise _wrong(name, texts[name], "a name")
    return Metadata(
        names=names,
        model=texts.get("model"),
        dataset=texts.get("dataset"),
        identity=identity,
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
    text = repr(value)
    text = text if len(text) <= 100 else f"{text[:100]}..."
    return InputError(
        f"its metadata {name} is {text}",
        expected=expected,
        fix="write it again, with purescope.save_features",
    )


def read_text_array(content: Npz, name: str) -> str:
    """Read an array of an npz that is a single text."""
    return str(content.read(name).astype(str))


def read_metadata_array(content: Npz) -> dict[str, Any]:
    """Read the array ``metadata`` of an npz, an object in JSON; empty if there is none.

    Raises:
        InputError: it is no object.
        ValueError: it is not JSON.
    """
    metadata: Any = {}
    if "metadata" in content.members:
        metadata = json.loads(read_text_array(content, "metadata"), object_pairs_hook=unique_keys)
    if not isinstance(metadata, dict):
        raise InputError(
            "its array metadata is no object in JSON", expected="one whose values are texts"
        )
    return metadata


def to_int64(array: Tensor, what: str, row_kind: str) -> Tensor:
    """Return whole numbers as int64, and any other array as it is.

    Args:
        array: numbers of any type.
        what: what a number stands for, in errors.
        row_kind: what a row stands for, in errors.

    Raises:
        InputError: a number is too large for int64.
    """
    if array.dtype == torch.uint64:
        # Larger numbers are negative as int64: -1 would stand for 18,446,744,073,709,551,615.
        beyond = (array.view(torch.int64) < 0).nonzero()
        if len(beyond):
            row = int(beyond[0, 0])
            raise InputError(
                f"the {what} {int(array.view(torch.int64)[row]) + 2**64} of {row_kind} {row}",
                expected="numbers from 0 on",
            )
    whole = not (array.is_floating_point() or array.is_complex() or array.dtype == torch.bool)
    return array.long() if whole else array
