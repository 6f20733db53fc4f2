"""Hold class names and templates for prompts: published ones, and those of the user's own files.

The published ones are data, in ``data/words.json``. A user's own are JSON files in the format of
CLIP_benchmark; beside images they are text files with one entry a line.
"""

import functools
import hashlib
import importlib.resources
import importlib.util
import json
import os
import runpy
import typing
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from purescope.datasets.dataset import (
    Dataset,
    check_class_count,
    check_lengths,
    warn_of_equal_names,
)
from purescope.errors import DatasetError, InputError, did_you_mean, listed, near_miss
from purescope.files.reading import read_bytes, read_text
from purescope.specs import to_path

PAPER_TEMPLATES = ("a photo of a {}",)
"""The only template of the experiment; it is filled with raw class names."""

PLAIN_TEMPLATES = ("a photo of a {}.",)
"""The template of protocol native for datasets without templates of their own."""

PROTOCOLS = ("paper", "native")

CLASSNAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"

_OPEN_CLIP_WORDS = "zero_shot_metadata.py"  # a file of open_clip
_FORMAT = 'JSON: {"NAME": ["...", ...], ...} for several datasets, or one list'
_MAPPINGS = ("id2label", "label2id")  # keys in a config.json of transformers


@dataclass(frozen=True)
class Prompts:
    """Hold the name of each class, and the templates that it is put into.

    Examples:
        >>> Prompts(names=("cat", "dog"), templates=("a {}.", "the {}.")).texts()
        ['a cat.', 'the cat.', 'a dog.', 'the dog.']
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]

    def texts(self) -> list[str]:
        """Return all ``len(names) * len(templates)`` sentences, class by class."""
        # Not str.format: a class name or a template may hold other braces.
        return [template.replace("{}", name) for name in self.names for template in self.templates]


@dataclass(frozen=True)
class Words:
    """Hold the published templates of one dataset, and clean names for some of its raw names."""

    source: str
    templates: tuple[str, ...]
    display_names: Mapping[str, str]

    def clean(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the clean name of each class: its published one, else that of `clean_name`."""
        return tuple(self.display_names.get(name, clean_name(name)) for name in classes)


@typing.runtime_checkable
class Described(typing.Protocol):
    """Describe the attributes of a `Dataset` that prompts need."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def display_names(self) -> tuple[str, ...]: ...
    @property
    def templates(self) -> tuple[str, ...]: ...


def prompts_for(dataset: Described, protocol: str) -> Prompts:
    """Return the prompts of a dataset.

    Args:
        dataset: a `Dataset`.
        protocol: ``paper``, raw class names in "a photo of a {}"; or ``native``, clean names in the
            dataset's own templates.

    Raises:
        InputError: the protocol is unknown.

    Examples:
        >>> from types import SimpleNamespace
        >>> food = SimpleNamespace(
        ...     classes=("apple_pie",), display_names=("apple pie",), templates=("{}.",)
        ... )
        >>> prompts_for(food, "paper").texts(), prompts_for(food, "native").texts()
        (['a photo of a apple_pie'], ['apple pie.'])
    """
    if protocol == "paper":
        return Prompts(dataset.classes, PAPER_TEMPLATES)
    if protocol == "native":
        return Prompts(dataset.display_names, dataset.templates)
    raise InputError(f"unknown protocol {protocol!r}", **near_miss(protocol, PROTOCOLS))


def vocabulary(protocol: str) -> Prompts:
    """Return prompts for a thousand words of all kinds.

    The words are ImageNet's class names as OpenAI cleaned them; open_clip has the list.

    Args:
        protocol: ``paper`` puts them into "a photo of a {}", ``native`` into "a photo of a {}."

    Examples:
        >>> words = vocabulary("native")
        >>> len(words.names), words.texts()[0]
        (998, 'a photo of a tench.')
    """
    names = tuple(dict.fromkeys(_imagenet_names()))  # two of the names stand for two classes each
    return Prompts(names, PAPER_TEMPLATES if protocol == "paper" else PLAIN_TEMPLATES)


@functools.cache
def _imagenet_names() -> tuple[str, ...]:
    """Read the class names from open_clip's own file: to import open_clip would take seconds."""
    package = importlib.util.find_spec("open_clip")
    assert package is not None and package.origin is not None
    content = runpy.run_path(str(Path(package.origin).with_name(_OPEN_CLIP_WORDS)))
    names: tuple[str, ...] = content["IMAGENET_CLASSNAMES"]
    return names


def clean_name(raw: str) -> str:
    """Return a class name as one would say it: underscores and slashes become spaces.

    Examples:
        >>> clean_name("apple_pie"), clean_name("forest/path")
        ('apple pie', 'forest path')
    """
    return " ".join(raw.replace("_", " ").replace("/", " ").split())


def words_for(dataset: str) -> Words:
    """Return the published words for a dataset named in ``data/words.json``.

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


def read_lines(file: Path) -> tuple[str, ...]:
    """Read a text file with one entry a line; white space around entries is removed.

    Empty lines may only be at the end.

    Raises:
        DatasetError: the file cannot be read, is empty, is not UTF-8, has more lines than there can
            be classes, or has an empty line before the end, which would belong to no class.
    """
    try:
        # Not splitlines: a name may hold a character that it takes for the end of a line.
        text = read_text(file, encoding="utf-8-sig").rstrip()
        check_class_count(text.count("\n") + 1, DatasetError, where=f"{file}: ")
        lines = [line.strip() for line in text.split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(
            f"{file} cannot be read: {reason}", expected="text in UTF-8, one entry a line"
        ) from error
    if "" in lines:
        number = lines.index("") + 1
        raise DatasetError(
            f"line {number} of {file} is empty", expected="one entry a line, in the order of labels"
        )
    return tuple(lines)


def standard_templates(texts: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Return templates with ``{}`` for the class name, in place of the usual ``{c}``.

    Raises:
        DatasetError: a template has no place for the class name, or several.

    Examples:
        >>> standard_templates(("a photo of a {c}.", "a {}."), "mine.json")
        ('a photo of a {}.', 'a {}.')
    """
    templates = tuple(text.replace("{c}", "{}") for text in texts)
    for text, template in zip(texts, templates, strict=True):
        if template.count("{}") != 1:
            raise DatasetError(
                f"the template {text!r} of {where}", expected="one {c} for the class name"
            )
    return templates


def replace_words(
    dataset: Dataset,
    *,
    classnames: str | os.PathLike[str] | None = None,
    templates: str | os.PathLike[str] | None = None,
    names: Sequence[str] = (),
) -> Dataset:
    """Return the dataset with other words for the prompts of protocol native.

    Raw class names stay. A file without an entry for this dataset changes nothing and gives a
    warning: the lists of CLIP_benchmark lack some of its datasets. Their list for Caltech-101
    begins with the background, which is no class here and is dropped.

    Args:
        dataset: the dataset to change.
        classnames: ``{"NAME": ["first class", ...]}`` or a plain list, in the order of labels; or
            names by class (``{"n01440764": "tench"}``) or by label: ``{"0": "tench"}``, also within
            ``id2label`` as in a ``config.json`` of transformers, and ``{"0": ["n01440764",
            "tench"]}`` as in ``imagenet_class_index.json``.
        templates: ``{"NAME": ["a photo of a {c}.", ...]}`` or a plain list.
        names: what NAME may be beside `Dataset.name`.

    Raises:
        DatasetError: a file cannot be read, or its entry does not fit the dataset.
    """
    names = [dataset.name, *names]
    if classnames is not None:
        file = to_path(classnames)
        if entry := _read_entry(file, names, "class names"):
            dataset = _replace_class_names(dataset, file, *entry)
    if templates is not None:
        file = to_path(templates)
        if entry := _read_entry(file, names, "templates"):
            words, identity = entry
            dataset = replace(
                dataset,
                templates=standard_templates(_list_of_texts(file, words, dataset.name), str(file)),
                source={**dataset.source, "templates": identity},
            )
    return dataset


def _replace_class_names(dataset: Dataset, file: Path, words: typing.Any, identity: str) -> Dataset:
    if isinstance(words, dict):
        names, key = _names_by_key(file, words, dataset)
        identity += f", read as {key} to name"
    else:
        names, key = _list_of_texts(file, words, dataset.name), ""
    if len(names) == len(dataset.classes) + 1 and names[0].lower() == "background":
        names = names[1:]
    if len(names) != len(dataset.classes):
        raise DatasetError(
            f"{file} has {len(names)} class names for {dataset.name}",
            expected=f"{len(dataset.classes)}, one for each class: "
            f"{', '.join(dataset.classes[:3])}, ...",
            fix="complete the list, or leave out --classnames",
        )
    if key != "class":  # names by class cannot be in a wrong order
        _check_order(file, names, dataset)
    check_lengths(names, (), DatasetError, where=f"{file}: ")
    warn_of_equal_names(names, str(file))
    return replace(dataset, display_names=names, source={**dataset.source, "classnames": identity})


def _check_order(file: Path, names: Sequence[str], dataset: Dataset) -> None:
    """Refuse a name that is the raw name of another class.

    Lists of Food-101 differ in the place of "cheesecake".
    """
    labels = {clean_name(raw).lower(): label for label, raw in enumerate(dataset.classes)}
    for label, name in enumerate(names):
        other = labels.get(clean_name(name).lower(), label)
        if other != label:
            raise DatasetError(
                f"{file} calls class {label} of {dataset.name} {name!r}, which is the name of "
                f"class {other}",
                expected=f"names in the order of labels: class {label} is "
                f"{dataset.classes[label]!r}",
            )


def _read_entry(file: Path, names: Sequence[str], kind: str) -> tuple[typing.Any, str] | None:
    """Read the entry of a JSON file for the first of these names that it has.

    Args:
        file: the JSON file.
        names: names of the dataset; the first one is used in a warning.
        kind: what the file is asked for, in words.

    Returns:
        The entry, and the file's name and hash; None where the file has no entry for the dataset.
    """
    try:
        content = read_bytes(file)
        words = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{file} cannot be read: {error}", expected=_FORMAT) from error
    identity = f"{file}, SHA-256 {hashlib.sha256(content).hexdigest()}"
    if not isinstance(words, dict) or _are_labels(words):
        return words, identity
    name = next((name for name in (*names, *_MAPPINGS) if name in words), None)
    if name is not None:
        return words[name], identity
    if all(isinstance(entry, list) for entry in words.values()):
        suggestion = did_you_mean(names[0], words)
        warnings.warn(
            f"{file} has no entry for {names[0]!r}, which keeps its own {kind}; {suggestion}",
            stacklevel=3,
        )
        return None
    return words, identity


def _list_of_texts(file: Path, words: typing.Any, name: str) -> tuple[str, ...]:
    if not (
        isinstance(words, list)
        and words
        and all(isinstance(word, str) and word.strip() for word in words)
    ):
        raise DatasetError(
            f"the entry of {file} for {name!r} is not a list of texts", expected=_FORMAT
        )
    return tuple(words)


def _are_labels(words: Mapping[str, typing.Any]) -> bool:
    """Tell whether the keys of a JSON object are the labels of two or more classes."""
    return len(words) > 1 and all(key.isascii() and key.isdecimal() for key in words)


def _names_by_key(
    file: Path, words: Mapping[str, typing.Any], dataset: Dataset
) -> tuple[tuple[str, ...], str]:
    """Return the class names of a JSON object, and whether its keys are classes or labels.

    Raises:
        DatasetError: the object lacks a class of the dataset, or does not say which label it has.
    """
    if words and all(
        isinstance(label, int) and not isinstance(label, bool) for label in words.values()
    ):
        words = {str(label): name for name, label in words.items()}  # label2id, class_to_idx
    if all(_is_pair(entry) for entry in words.values()):  # label: [folder, name]
        by_folder = dict(words.values())
        by_key = {label: name for label, (_, name) in words.items()}
        words = by_folder if {*dataset.classes} <= {*by_folder} else by_key
    if words and all(isinstance(name, str) and name.strip() for name in words.values()):
        if {*dataset.classes} <= {*words}:
            return tuple(words[name] for name in dataset.classes), "class"
        if _are_labels(words):
            by_label = {int(label): name for label, name in words.items()}
            labels = list(range(len(dataset.classes)))
            if len(by_label) == len(words) and sorted(by_label) == labels:
                return tuple(by_label[label] for label in labels), "label"
    missing = [name for name in dataset.classes if name not in words]
    raise DatasetError(
        f"{file} has {len(words)} entries, and none for {len(missing)} of {len(dataset.classes)} "
        f"classes of {dataset.name}: {listed(missing) or 'the names are not texts'}",
        expected="a name for each class, by class or by label: all labels from 0 on; or " + _FORMAT,
        fix="complete it, or leave out --classnames",
    )


def _is_pair(entry: typing.Any) -> bool:
    return (
        isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)
    )
