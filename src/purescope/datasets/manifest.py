"""``manifest:FILE``: a CSV or Parquet table with one image a row: its path, and its label or class
name or both.
"""

import csv
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.images import FINGERPRINTED, open_files
from purescope.datasets.names import in_order, warn_of_number_order
from purescope.datasets.prompts import PLAIN_TEMPLATES, clean_name
from purescope.datasets.tables import READERS, Table, plain
from purescope.datasets.words import CLASSNAMES, read_lines
from purescope.errors import DatasetError, listed
from purescope.specs import short_name, to_path

# What a column may be called, in any case; the first one that is there is taken.
_PATH = ("path", "file", "filepath", "file_path", "filename", "file_name", "image", "image_path")
_LABEL = ("label", "label_id", "target")
_CLASS = ("class", "class_name", "classname", "category")
_SPLIT = ("split", "subset", "partition")
_WHOLE = re.compile(
    r"[0-9]{1,9}(\.0*)?"
)  # 1.0 is 1: tables turn whole numbers into these where one was missing
# What a program writes for a number or for a missing one, whatever a column of words may hold.
_NUMBER = re.compile(
    r"[+\-\u2212]?(\d[\d_]*([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?|0x[\da-f]+|[+-]?(nan|inf|infinity)|<na>",
    re.IGNORECASE,
)
_EXAMPLE = "write a CSV with the header path,class_name and a line for each image: cat/1.jpg,cat"
_COLUMNS = f"a column {' or '.join(_PATH)}, and one of {', '.join((*_LABEL, *_CLASS))}"


@dataclass(frozen=True)
class _Rows:
    """The columns that matter, as text; a line number for each row, to name it by."""

    paths: Sequence[str]
    labels: Sequence[str] | None
    classes: Sequence[str] | None
    lines: Sequence[int]


def load(name: str) -> Dataset:
    """The images that the table `name` lists.

    Paths are relative to the folder of the table, or absolute. With labels, class names are those
    of a class column, or the lines of ``classnames.txt`` beside the table; without, labels follow
    the sorted class names. A label column of words is a class column.

    Raises:
        DatasetError: the table cannot be read, lacks a column, contradicts itself, or lists files
            that are not there.
    """
    file = to_path(name)
    rows = _read(file)
    classes, labels, told = _classes(file, rows)
    try:
        paths = _with_slashes(file, [file.parent / path for path in rows.paths])
        _check_files(file, paths, rows)
        _warn_of_two_classes(file, paths, labels.tolist(), rows)
        images, looked = open_files(paths, file.parent, str(file))
        return Dataset(
            name=short_name(file.stem),
            spec=f"manifest:{name}",
            classes=classes,
            labels=labels,
            images=images,
            display_names=classes if told else tuple(map(clean_name, classes)),
            templates=PLAIN_TEMPLATES,
            source={"split": "all rows of the table", "fingerprint_of": FINGERPRINTED},
            fingerprint=fingerprint(classes, labels, looked.contents),
        )
    except OSError as error:
        raise DatasetError(
            f"an image of {file} cannot be read: {error}", fix="check its permissions"
        ) from error


def _read(file: Path) -> _Rows:
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise DatasetError(
            f"{file} is no table",
            expected=f"a file that ends in {' or '.join(READERS)}",
            fix=_EXAMPLE,
        )
    try:
        table = reader(file, {*_PATH, *_LABEL, *_CLASS, *_SPLIT}, [_PATH, (*_LABEL, *_CLASS)])
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{file} cannot be read: {error}",
            expected="text in UTF-8",
            fix="save it as CSV in UTF-8",
        ) from error
    except _unreadable() as error:
        fix = "check the path" if isinstance(error, FileNotFoundError) else _EXAMPLE
        raise DatasetError(
            f"{file} cannot be read: {error}", expected="a table with a header", fix=fix
        ) from error
    paths, labels, classes = (_column(table, names) for names in (_PATH, _LABEL, _CLASS))
    if paths is None or (labels is None and classes is None):
        came = f"{file} has the columns {listed(table.header) or 'none'}"
        raise DatasetError(came, expected=_COLUMNS, fix="rename those that hold them")
    if not table.lines:
        raise DatasetError(f"{file} has no row", expected="one image a row")
    for column in (paths, labels, classes):
        if column is not None and not all(column):
            number = table.lines[list(map(bool, column)).index(False)]
            raise DatasetError(
                f"{file}, line {number}: an empty cell",
                expected="a path, and a label or class name",
            )
    if classes is not None:
        _check_names(file, classes, table.lines)
    _warn_of_reading(file, table)
    return _Rows(paths, labels, classes, table.lines)


def _warn_of_reading(file: Path, table: Table) -> None:
    """Say what separates cells where commas do not, and that splits are not told apart."""
    if table.separator != ",":
        warnings.warn(f"{file}: its cells are separated by {table.separator!r}", stacklevel=4)
    splits = sorted(set(_column(table, _SPLIT) or ()))
    if len(splits) > 1:
        warnings.warn(
            f"{file}: all rows are read, those of the splits {listed(splits)} together; a table of "
            f"one of them is read "
            "alone",
            stacklevel=4,
        )


def _with_slashes(file: Path, paths: list[Path]) -> list[Path]:
    """Paths that Windows has written, with slashes where only so the image is there."""
    changed = 0
    for index, path in enumerate(paths):
        if "\\" in str(path) and not path.exists():
            other = Path(str(path).replace("\\", "/"))
            if other.exists():
                paths[index], changed = other, changed + 1
    if changed:
        warnings.warn(f"{file}: {changed} paths are read with / in place of \\", stacklevel=3)
    return paths


def _unreadable() -> tuple[type[Exception], ...]:
    import pyarrow

    return (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        MemoryError,
        OverflowError,
        csv.Error,
        pyarrow.ArrowException,
    )


def _column(table: Table, names: Sequence[str]) -> Sequence[str] | None:
    by_name = {plain(name): column for name, column in table.columns.items()}
    return next((by_name[name] for name in names if name in by_name), None)


def _classes(file: Path, rows: _Rows) -> tuple[tuple[str, ...], torch.Tensor, bool]:
    """Class names in the order of labels, the labels, and whether the names were written to be
    read.
    """
    names = rows.classes
    numbers = _numbers(file, rows)
    if numbers is None:
        names = names if names is not None else rows.labels or ()
        classes = tuple(in_order(names))
        warn_of_number_order(classes, str(file))
        by_name = {name: label for label, name in enumerate(classes)}
        return classes, torch.tensor([by_name[name] for name in names], dtype=torch.int64), False
    if names is None:
        return _listed(file, rows, numbers), torch.tensor(numbers, dtype=torch.int64), True
    by_label: dict[int, str] = {}
    for label, name, line in zip(numbers, names, rows.lines, strict=True):
        if by_label.setdefault(label, name) != name:
            raise DatasetError(
                f"{file}, line {line}: label {label} is {name!r}, and {by_label[label]!r} before",
                expected="one class name for each label",
            )
    missing = next((label for label in range(len(by_label)) if label not in by_label), None)
    if missing is not None:
        raise DatasetError(
            f"{file} has labels up to {max(by_label)}, and no row with label {missing} to tell "
            f"what it is called",
            expected="labels 0, 1, 2, ... without a gap",
            fix="leave the label column out: labels follow the sorted class names then",
        )
    return (
        tuple(by_label[label] for label in range(len(by_label))),
        torch.tensor(numbers, dtype=torch.int64),
        False,
    )


def _numbers(file: Path, rows: _Rows) -> list[int] | None:
    """The label column as numbers; None where there is none, or words in it."""
    if rows.labels is None:
        return None
    odd = [index for index, label in enumerate(rows.labels) if not _WHOLE.fullmatch(label)]
    if not odd:
        return [int(label.partition(".")[0]) for label in rows.labels]
    number = next((index for index in odd if _NUMBER.fullmatch(rows.labels[index])), None)
    if rows.classes is None and len(odd) == len(rows.labels) and number is None:
        return None
    first = odd[0] if number is None else number
    raise DatasetError(
        f"{file}, line {rows.lines[first]}: the label {rows.labels[first]!r}",
        expected="whole numbers from 0 on in all rows, or class names in all",
        fix="call a column of class names class_name; leave out images without a class (-1, nan)",
    )


def _check_names(file: Path, names: Sequence[str], lines: Sequence[int]) -> None:
    """Refuse numbers that stand for no class, and any that are not whole where all names are
    numbers: they are labels.

    Whole ones are names, too: of the pictures of digits.
    """
    distinct = set(names)
    all_numbers = all(map(_NUMBER.fullmatch, distinct))
    odd = {
        name
        for name in distinct
        if _NUMBER.fullmatch(name) and (name[0] in "-\u2212" or all_numbers)
    }
    odd -= {name for name in odd if name.isdecimal()}
    if odd:
        index = next(index for index, name in enumerate(names) if name in odd)
        raise DatasetError(
            f"{file}, line {lines[index]}: the class name {names[index]!r}",
            expected="a name; -1, nan and the like stand for images without a class, and 1.0 for a "
            "label",
            fix="call a column of numbers label; leave out images without a class",
        )


def _listed(file: Path, rows: _Rows, numbers: Sequence[int]) -> tuple[str, ...]:
    names = file.parent / CLASSNAMES
    if not os.path.lexists(names):
        raise DatasetError(
            f"{file} has labels and no class names",
            expected=f"a column {' or '.join(_CLASS)}; or {names}, one name a line in the order of "
            f"labels",
        )
    classes = read_lines(names)
    for label, line in zip(numbers, rows.lines, strict=True):
        if label >= len(classes):
            raise DatasetError(
                f"{file}, line {line}: the label {label}",
                expected=f"{len(classes)} names in {names}",
            )
    return classes


def _warn_of_two_classes(
    file: Path, paths: Sequence[Path], labels: Sequence[int], rows: _Rows
) -> None:
    """Warn of images that are listed under several classes, however their paths are written: one of
    them is wrong.
    """
    real = {path: os.path.realpath(path) for path in dict.fromkeys(paths)}
    label_of: dict[str, int] = {}
    twice = [
        i for i, path in enumerate(paths) if label_of.setdefault(real[path], labels[i]) != labels[i]
    ]
    if twice:
        first = ", ".join(f"{rows.paths[index]} (line {rows.lines[index]})" for index in twice[:3])
        warnings.warn(
            f"{file} lists images under several classes, in {len(twice)} of its rows: {first}; "
            f"each counts for all "
            "that it is listed under",
            stacklevel=3,
        )


def _check_files(file: Path, paths: Sequence[Path], rows: _Rows) -> None:
    # What is no regular file is there: an error of that image, when it is asked for.
    gone = [index for index, path in enumerate(paths) if not path.exists() or path.is_dir()]
    if gone:
        first = ", ".join(f"{rows.paths[index]} (line {rows.lines[index]})" for index in gone[:3])
        raise DatasetError(
            f"{file} lists {len(gone)} of {len(paths)} images that are not there: {first}",
            expected=f"paths that are absolute, or relative to {file.parent}",
            fix="correct them, or leave out the rows of images that are gone",
        )
