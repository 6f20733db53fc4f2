"""Class names and templates of the user's own: JSON files as CLIP_benchmark has them."""

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from purescope.datasets._lines import templates_in
from purescope.datasets.dataset import Dataset
from purescope.datasets.names import check_lengths, warn_of_equal_names
from purescope.errors import DatasetError, did_you_mean
from purescope.files import read_bytes
from purescope.prompts import clean_name
from purescope.specs import to_path


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
        classnames: ``{"NAME": ["first class", ...]}`` or a plain list, in the order of labels.
        templates: ``{"NAME": ["a photo of a {c}.", ...]}`` or a plain list.
        names: what NAME may be beside `Dataset.name`.

    A file without an entry for this data set leaves it its own words, and a warning says so: the lists of
    CLIP_benchmark have none for some of its sets. Their list of Caltech-101 begins with the background, which is no
    class here and is dropped.

    Raises:
        DatasetError: a file cannot be read, or its entry does not fit the data set.
    """
    names = [dataset.name, *names]
    if classnames is not None and (found := _read(to_path(classnames), names, "class names")):
        file, (clean, identity) = to_path(classnames), found
        if len(clean) == len(dataset.classes) + 1 and clean[0].lower() == "background":
            clean = clean[1:]
        if len(clean) != len(dataset.classes):
            raise DatasetError(
                f"{file} has {len(clean)} class names for {dataset.name}",
                expected=f"{len(dataset.classes)}, one for each class: {', '.join(dataset.classes[:3])}, ...",
                fix="complete the list, or leave out --classnames",
            )
        _check_order(file, clean, dataset)
        check_lengths(clean, (), DatasetError, where=f"{file}: ")
        warn_of_equal_names(clean, str(file))
        dataset = replace(dataset, display_names=clean, source={**dataset.source, "classnames": identity})
    if templates is not None and (found := _read(to_path(templates), names, "templates")):
        file, (sentences, identity) = to_path(templates), found
        dataset = replace(
            dataset,
            templates=templates_in(sentences, str(file)),
            source={**dataset.source, "templates": identity},
        )
    return dataset


def _check_order(file: Path, clean: Sequence[str], dataset: Dataset) -> None:
    """Refuse a name that another class has: lists of Food-101 differ in where "cheesecake" stands."""
    labels = {clean_name(raw).lower(): label for label, raw in enumerate(dataset.classes)}
    for label, name in enumerate(clean):
        other = labels.get(clean_name(name).lower(), label)
        if other != label:
            raise DatasetError(
                f"{file} calls class {label} of {dataset.name} {name!r}, which is the name of class {other}",
                expected=f"names in the order of labels: class {label} is {dataset.classes[label]!r}",
            )


def _read(file: Path, names: Sequence[str], what: str) -> tuple[tuple[str, ...], str] | None:
    """The list that `file` has for the first of these names, and the file's identity; None where it has none."""
    shape = 'JSON: {"NAME": ["...", ...], ...} for several data sets, or one list'
    try:
        content = read_bytes(file)
        words = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{file} cannot be read: {error}", expected=shape) from error
    if isinstance(words, dict):
        name = next((name for name in names if name in words), None)
        if name is None:
            close = did_you_mean(names[0], words)
            warnings.warn(f"{file} has no entry for {names[0]!r}, which keeps its own {what}; {close}", stacklevel=3)
            return None
        words = words[name]
    if not (isinstance(words, list) and words and all(isinstance(word, str) and word.strip() for word in words)):
        raise DatasetError(f"the entry of {file} for {names[0]!r} is no list of texts", expected=shape)
    return tuple(words), f"{file}, SHA-256 {hashlib.sha256(content).hexdigest()}"
