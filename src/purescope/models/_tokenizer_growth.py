"""How much a tokenizer may make of a sentence, and how many words it may add: bounds that every known one keeps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from purescope.errors import ModelError
from purescope.files import reading

_STEPS, _CHARACTERS, _GROWTH = 16, 1000, 10_000
_ADDED, _ADDED_CHARACTERS = 20_000, 1_000_000


def require_bounded(copy: Path, path: Path, *, most: int) -> None:
    """Look into a copy of a tokenizer.json, called by its own path, before tokenizers builds what it says.

    Raises:
        ModelError: it is no JSON, its steps make more of a sentence than any tokenizer, or it adds too many words.
    """
    try:
        content = reading.read_json(copy, most=most)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}", expected="a file of a tokenizer") from error
    except ValueError as error:
        raise ModelError(f"{path.parent}: no tokenizer: {path.name} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path.parent}: no tokenizer: {path.name} holds a {type(content).__name__}")
    _require_steps(path, content.get("normalizer"))
    require_added(path, content.get("added_tokens"))


def require_added(path: Path, *places: Any) -> None:
    """Refuse more added words than any tokenizer has; they are compiled into one expression.

    Raises:
        ModelError: there are too many, or they are too long together.
    """
    words = [word for place in places for word in _words(place)]
    length = sum(map(len, words))
    if len(words) > _ADDED or length > _ADDED_CHARACTERS:
        raise ModelError(
            f"{path}: no tokenizer: it adds {len(words):,} words of {length:,} characters",
            expected=f"at most {_ADDED:,} words of {_ADDED_CHARACTERS:,} characters",
        )


def _words(place: Any) -> Iterator[str]:
    if isinstance(place, str):
        yield place
    elif isinstance(place, dict) and isinstance(place.get("content"), str):
        yield place["content"]
    elif isinstance(place, dict | list):
        for value in place.values() if isinstance(place, dict) else place:
            yield from _words(value)


def _require_steps(path: Path, normaliser: Any) -> None:
    steps, growth = 0, 1.0
    rest = [normaliser]
    while rest:
        step = rest.pop()
        if not isinstance(step, dict):
            continue
        rest += step["normalizers"] if isinstance(step.get("normalizers"), list) else []
        pattern, content = step.get("pattern"), step.get("content")
        texts = [content, step.get("prepend"), *(pattern.values() if isinstance(pattern, dict) else [pattern])]
        longest = max((len(text) for text in texts if isinstance(text, str)), default=0)
        if isinstance(content, str) and content:
            # An expression may match the nothing between two characters.
            fixed = pattern.get("String") if isinstance(pattern, dict) else None
            growth *= max(1.0, len(content) / len(fixed)) if isinstance(fixed, str) and fixed else 1 + len(content)
        steps += 1
        if steps > 2 * _STEPS or longest > _CHARACTERS or growth > _GROWTH:
            raise ModelError(
                f"{path}: no tokenizer: its normalizer can make more of a sentence than memory holds",
                expected=f"at most {2 * _STEPS} steps with texts of {_CHARACTERS:,} characters, which together make at "
                f"most {_GROWTH:,} characters of one",
            )
