"""Prompts: the sentences a class is described with. The words themselves are data, in
``data/words.json``.
"""

import functools
import importlib.resources
import importlib.util
import json
import runpy
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from purescope.errors import InputError, near_miss

PAPER_TEMPLATES = ("a photo of a {}",)
"""The experiment's one prompt, filled with class names as the data set has them."""

PLAIN_TEMPLATES = ("a photo of a {}.",)
"""For protocol native, where a data set has no prompts of its own."""

PROTOCOLS = ("paper", "native")

_WORDS = "zero_shot_metadata.py"  # of open_clip


@dataclass(frozen=True)
class Prompts:
    """What each class is called, and the sentences it is put into.

    Examples:
        >>> Prompts(names=("cat", "dog"), templates=("a {}.", "the {}.")).texts()
        ['a cat.', 'the cat.', 'a dog.', 'the dog.']
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]

    def texts(self) -> list[str]:
        """All sentences, class by class: ``len(names) * len(templates)`` of them."""
        # Not str.format: a class name or a template may hold other braces.
        return [template.replace("{}", name) for name in self.names for template in self.templates]


@dataclass(frozen=True)
class Words:
    """The field's words for one data set: its templates, and clean names for those raw ones that
    need it.
    """

    source: str
    templates: tuple[str, ...]
    display_names: Mapping[str, str]

    def clean(self, classes: Sequence[str]) -> tuple[str, ...]:
        """The clean name of each class: the one in the table, or else `clean_name`."""
        return tuple(self.display_names.get(name, clean_name(name)) for name in classes)


@typing.runtime_checkable
class Described(typing.Protocol):
    """A `Dataset`, as far as prompts are concerned."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def display_names(self) -> tuple[str, ...]: ...
    @property
    def templates(self) -> tuple[str, ...]: ...


def prompts_for(dataset: Described, protocol: str) -> Prompts:
    """The prompts of a data set.

    Args:
        dataset: a `Dataset`.
        protocol: ``paper``, raw class names in "a photo of a {}"; or ``native``, clean names in the
            data set's own templates.

    Raises:
        InputError: the protocol is neither.

    Examples:
        >>> from types import SimpleNamespace
        >>> food = SimpleNamespace(classes=("apple_pie",), display_names=("apple pie",), templates=("{}.",))
        >>> prompts_for(food, "paper").texts(), prompts_for(food, "native").texts()
        (['a photo of a apple_pie'], ['apple pie.'])
    """
    if protocol == "paper":
        return Prompts(dataset.classes, PAPER_TEMPLATES)
    if protocol == "native":
        return Prompts(dataset.display_names, dataset.templates)
    raise InputError(f"unknown protocol {protocol!r}", **near_miss(protocol, PROTOCOLS))


def vocabulary(protocol: str) -> Prompts:
    """A thousand words for things of every kind: ImageNet's class names as OpenAI cleaned them,
    which open_clip has.

    Args:
        protocol: ``paper`` puts them into "a photo of a {}", ``native`` into "a photo of a {}."

    Examples:
        >>> words = vocabulary("native")
        >>> len(words.names), words.texts()[0]
        (998, 'a photo of a tench.')
    """
    names = tuple(dict.fromkeys(_imagenet_names()))  # two of them stand for two classes each
    return Prompts(names, PAPER_TEMPLATES if protocol == "paper" else PLAIN_TEMPLATES)


@functools.cache
def _imagenet_names() -> tuple[str, ...]:
    """The words of open_clip, out of their own file: to import the whole of it would take
    seconds.
    """
    package = importlib.util.find_spec("open_clip")
    assert package is not None and package.origin is not None
    names: tuple[str, ...] = runpy.run_path(str(Path(package.origin).with_name(_WORDS)))[
        "IMAGENET_CLASSNAMES"
    ]
    return names


def clean_name(raw: str) -> str:
    """A class name as one would say it: underscores and slashes are spaces.

    Examples:
        >>> clean_name("apple_pie"), clean_name("forest/path")
        ('apple pie', 'forest path')
    """
    return " ".join(raw.replace("_", " ").replace("/", " ").split())


def words_for(dataset: str) -> Words:
    """The field's words for a data set named in ``data/words.json``.

    Examples:
        >>> words_for("eurosat").clean(["SeaLake"])
        ('lake or sea',)
    """
    words = _all_words()[dataset]
    return Words(words["source"], tuple(words["templates"]), words["display_names"])


@functools.cache
def _all_words() -> dict[str, typing.Any]:
    file = importlib.resources.files("purescope") / "data" / "words.json"
    words: dict[str, typing.Any] = json.loads(file.read_text(encoding="utf-8"))
    return words
