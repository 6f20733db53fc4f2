"""Class names and templates of the user's own: JSON files as CLIP_benchmark has them.

Beside images they lie as text files with one entry a line.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from purescope.datasets.dataset import Dataset
from purescope.datasets.names import check_class_count, check_lengths, warn_of_equal_names
from purescope.datasets.prompts import clean_name
from purescope.errors import DatasetError, did_you_mean, listed
from purescope.files.reading import read_bytes, read_text
from purescope.specs import to_path

CLASSNAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"


def read_lines(file: Path) -> tuple[str, ...]:
    """Its lines without the white space around them; empty ones may stand only at the end.

    Raises:
        DatasetError: it cannot be read, is empty, is no UTF-8, has more lines than there can be
            classes, or has an empty line: which class would that be?
    """
    try:
        # Not splitlines: a name may hold what it takes for the end of a line.
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


def templates_in(texts: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Templates in our spelling, with ``{}`` for the class name; the community writes ``{c}``.

    Raises:
        DatasetError: one has no such place, or several.

    Examples:
        >>> templates_in(("a photo of a {c}.", "a {}."), "mine.json")
        ('a photo of a {}.', 'a {}.')
    """
    templates = tuple(text.replace("{c}", "{}") for text in texts)
    for text, template in zip(texts, templates, strict=True):
        if template.count("{}") != 1:
            raise DatasetError(
                f"the template {text!r} of {where}", expected="one {c} for the class name"
            )
    return templates


_SHAPE = 'JSON: {"NAME": ["...", ...], ...} for several data sets, or one list'
_MAPPINGS = ("id2label", "label2id")  # in a config.json of transformers


def with_words(
    dataset: Dataset,
    *,
    classnames: str | os.PathLike[str] | None = None,
    templates: str | os.PathLike[str] | None = None,
    names: Sequence[str] = (),
) -> Dataset:
    """The data set with other words for the prompts of protocol native; raw class names stay.

    Args:
        dataset: whose words to replace.
        classnames: ``{"NAME": ["first class", ...]}`` or a plain list, in the order of labels; or
            names by class (``{"n01440764": "tench"}``) or by label: ``{"0": "tench"}``, also within
            ``id2label`` as in a ``config.json`` of transformers, and ``{"0": ["n01440764",
            "tench"]}`` as in ``imagenet_class_index.json``.
        templates: ``{"NAME": ["a photo of a {c}.", ...]}`` or a plain list.
        names: what NAME may be beside `Dataset.name`.

    A file without an entry for this data set leaves it its own words, and a warning says so: the
    lists of CLIP_benchmark have none for some of its sets. Their list of Caltech-101 begins with
    the background, which is no class here and is dropped.

    Raises:
        DatasetError: a file cannot be read, or its entry does not fit the data set.
    """
    names = [dataset.name, *names]
    if classnames is not None and (found := _read(to_path(classnames), names, "class names")):
        file, (entry, identity) = to_path(classnames), found
        if isinstance(entry, dict):
            clean, how = _names_by_key(file, entry, dataset)
            identity += f", read as {how} to name"
        else:
            clean, how = _texts(file, entry, names[0]), ""
        if len(clean) == len(dataset.classes) + 1 and clean[0].lower() == "background":
            clean = clean[1:]
        if len(clean) != len(dataset.classes):
            raise DatasetError(
                f"{file} has {len(clean)} class names for {dataset.name}",
                expected=f"{len(dataset.classes)}, one for each class: "
                f"{', '.join(dataset.classes[:3])}, ...",
                fix="complete the list, or leave out --classnames",
            )
        if how != "class":  # which nobody can put into another order
            _check_order(file, clean, dataset)
        check_lengths(clean, (), DatasetError, where=f"{file}: ")
        warn_of_equal_names(clean, str(file))
        dataset = replace(
            dataset, display_names=clean, source={**dataset.source, "classnames": identity}
        )
    if templates is not None and (found := _read(to_path(templates), names, "templates")):
        file, (sentences, identity) = to_path(templates), found
        dataset = replace(
            dataset,
            templates=templates_in(_texts(file, sentences, names[0]), str(file)),
            source={**dataset.source, "templates": identity},
        )
    return dataset


def _check_order(file: Path, clean: Sequence[str], dataset: Dataset) -> None:
    """Refuse a name that another class has: lists of Food-101 differ in where "cheesecake"
    stands.
    """
    labels = {clean_name(raw).lower(): label for label, raw in enumerate(dataset.classes)}
    for label, name in enumerate(clean):
        other = labels.get(clean_name(name).lower(), label)
        if other != label:
            raise DatasetError(
                f"{file} calls class {label} of {dataset.name} {name!r}, which is the name of "
                f"class {other}",
                expected=f"names in the order of labels: class {label} is "
                f"{dataset.classes[label]!r}",
            )


def _read(file: Path, names: Sequence[str], what: str) -> tuple[Any, str] | None:
    """What `file` has for the first of these names, and the file's identity; None where it has no
    entry for it.
    """
    try:
        content = read_bytes(file)
        words = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{file} cannot be read: {error}", expected=_SHAPE) from error
    identity = f"{file}, SHA-256 {hashlib.sha256(content).hexdigest()}"
    if not isinstance(words, dict) or _are_labels(words):
        return words, identity
    name = next((name for name in (*names, *_MAPPINGS) if name in words), None)
    if name is not None:
        return words[name], identity
    if all(isinstance(entry, list) for entry in words.values()):
        close = did_you_mean(names[0], words)
        warnings.warn(
            f"{file} has no entry for {names[0]!r}, which keeps its own {what}; {close}",
            stacklevel=3,
        )
        return None
    return words, identity


def _texts(file: Path, words: Any, name: str) -> tuple[str, ...]:
    if not (
        isinstance(words, list)
        and words
        and all(isinstance(word, str) and word.strip() for word in words)
    ):
        raise DatasetError(f"the entry of {file} for {name!r} is no list of texts", expected=_SHAPE)
    return tuple(words)


def _are_labels(words: Mapping[str, Any]) -> bool:
    """Tell whether the keys of an object are labels: of several classes, as there are."""
    return len(words) > 1 and all(key.isascii() and key.isdecimal() for key in words)


def _names_by_key(
    file: Path, words: Mapping[str, Any], dataset: Dataset
) -> tuple[tuple[str, ...], str]:
    """The names of an object of names, and whether its keys are classes or labels.

    Raises:
        DatasetError: it lacks a class of the data set, or does not say which label it has.
    """
    if words and all(
        isinstance(label, int) and not isinstance(label, bool) for label in words.values()
    ):
        words = {str(label): name for name, label in words.items()}  # label2id, class_to_idx
    if all(_is_pair(entry) for entry in words.values()):  # of a folder and a name
        folders = {entry[0]: entry[1] for entry in words.values()}
        words = (
            folders
            if {*dataset.classes} <= {*folders}
            else {key: entry[1] for key, entry in words.items()}
        )
    if words and all(isinstance(name, str) and name.strip() for name in words.values()):
        if {*dataset.classes} <= {*words}:
            return tuple(words[name] for name in dataset.classes), "class"
        if _are_labels(words):
            by_label = {int(label): name for label, name in words.items()}
            if sorted(by_label) == list(range(len(dataset.classes))) and len(by_label) == len(
                words
            ):
                return tuple(by_label[label] for label in range(len(by_label))), "label"
    missing = [name for name in dataset.classes if name not in words]
    raise DatasetError(
        f"{file} has {len(words)} entries, and none for {len(missing)} of {len(dataset.classes)} "
        f"classes of "
        f"{dataset.name}: {listed(missing) or 'their names are no texts'}",
        expected="a name for each class: by the class, or by labels from 0 on, of which there are "
        "as many; or " + _SHAPE,
        fix="complete it, or leave out --classnames",
    )


def _is_pair(entry: Any) -> bool:
    return (
        isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)
    )
