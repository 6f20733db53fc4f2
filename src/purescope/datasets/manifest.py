"""Load ``manifest:FILE``: a CSV or Parquet table of paths with labels or class names."""

import csv
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from purescope.datasets.dataset import Dataset, fingerprint, sort_names, warn_of_number_order
from purescope.datasets.images import FINGERPRINTED, open_files
from purescope.datasets.prompts import CLASSNAMES, PLAIN_TEMPLATES, clean_name, read_lines
from purescope.datasets.tables import READERS, Table, normalize
from purescope.errors import DatasetError, listed
from purescope.specs import short_name, to_path

# Accepted names of each column, in any case; the first one in the table is used.
_PATH = ("path", "file", "filepath", "file_path", "filename", "file_name", "image", "image_path")
_LABEL = ("label", "label_id", "target")
_CLASS = ("class", "class_name", "classname", "category")
_SPLIT = ("split", "subset", "partition")
# 1.0 is 1: tables turn whole numbers into such ones where a cell was missing.
_WHOLE = re.compile(r"[0-9]{1,9}(\.0*)?")
# What programs write for a number, or for a missing one.
_NUMBER = re.compile(
    r"[+\-\u2212]?(\d[\d_]*([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?|0x[\da-f]+|[+-]?(nan|inf|infinity)|<na>",
    re.IGNORECASE,
)
_EXAMPLE = "write a CSV with the header path,class_name and a line for each image: cat/1.jpg,cat"
_COLUMNS = f"a column {' or '.join(_PATH)}, and one of {', '.join((*_LABEL, *_CLASS))}"


@dataclass(frozen=True)
class _Rows:
    """Hold the needed columns as text, with a line number for each row."""

    paths: Sequence[str]
    labels: Sequence[str] | None
    classes: Sequence[str] | None
    lines: Sequence[int]

    def locate(self, indices: Sequence[int]) -> str:
        """Return the paths and lines of the first three of these rows."""
        return ", ".join(f"{self.paths[index]} (line {self.lines[index]})" for index in indices[:3])


@dataclass(frozen=True)
class _Labels:
    """Hold the class names, the labels, and whether the names were written to be read."""

    classes: tuple[str, ...]
    labels: Sequence[int]
    readable: bool = False


def load(name: str) -> Dataset:
    """Load the images that the table `name` lists.

    Paths are absolute, or relative to the folder of the table. With labels, class names come from a
    class column, or from the lines of ``classnames.txt`` beside the table; without, labels follow
    the sorted class names. A label column of words is used as a class column.

    Raises:
        DatasetError: the table cannot be read, lacks a column, contradicts itself, or lists files
            that do not exist.
    """
    file = to_path(name)
    rows = _read_rows(file)
    numbered = _number_classes(file, rows)
    labels = torch.tensor(numbered.labels, dtype=torch.int64)
    try:
        paths = _replace_backslashes(file, [file.parent / path for path in rows.paths])
        _check_files(file, paths, rows)
        _warn_of_two_classes(file, paths, numbered.labels, rows)
        images, scan = open_files(paths, file.parent, str(file))
        classes = numbered.classes
        return Dataset(
            name=short_name(file.stem),
            spec=f"manifest:{name}",
            classes=classes,
            labels=labels,
            images=images,
            display_names=classes if numbered.readable else tuple(map(clean_name, classes)),
            templates=PLAIN_TEMPLATES,
            source={"split": "all rows of the table", "fingerprint_of": FINGERPRINTED},
            fingerprint=fingerprint(classes, labels, scan.contents),
        )
    except OSError as error:
        raise DatasetError(
            f"an image of {file} cannot be read: {error}", fix="check its permissions"
        ) from error


def _read_rows(file: Path) -> _Rows:
    """Read the needed columns of a table.

    Raises:
        DatasetError: the table cannot be read, has no row, or lacks a column or a cell.
    """
    table = _read_table(file)
    paths, labels, classes = (_column(table, names) for names in (_PATH, _LABEL, _CLASS))
    if paths is None or (labels is None and classes is None):
        came = f"{file} has the columns {listed(table.header) or 'none'}"
        raise DatasetError(came, expected=_COLUMNS, fix="rename the columns that hold them")
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
        _check_class_column(file, classes, table.lines)
    _warn_of_table(file, table)
    return _Rows(paths, labels, classes, table.lines)


def _read_table(file: Path) -> Table:
    import pyarrow

    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise DatasetError(
            f"{file} is not a table",
            expected=f"a file that ends in {' or '.join(READERS)}",
            fix=_EXAMPLE,
        )
    try:
        return reader(file, {*_PATH, *_LABEL, *_CLASS, *_SPLIT}, [_PATH, (*_LABEL, *_CLASS)])
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{file} cannot be read: {error}",
            expected="text in UTF-8",
            fix="save it as CSV in UTF-8",
        ) from error
    except (
        OSError, ValueError, LookupError, TypeError, MemoryError, OverflowError, csv.Error,
        pyarrow.ArrowException,
    ) as error:  # fmt: skip
        fix = "check the path" if isinstance(error, FileNotFoundError) else _EXAMPLE
        raise DatasetError(
            f"{file} cannot be read: {error}", expected="a table with a header", fix=fix
        ) from error


def _warn_of_table(file: Path, table: Table) -> None:
    """Warn where cells are not separated by commas, and where rows of several splits are read."""
    if table.separator != ",":
        warnings.warn(f"{file}: its cells are separated by {table.separator!r}", stacklevel=4)
    splits = sorted(set(_column(table, _SPLIT) or ()))
    if len(splits) > 1:
        warnings.warn(
            f"{file}: all rows are read, those of the splits {listed(splits)} together; to read "
            "one split alone, write a table of it",
            stacklevel=4,
        )


def _replace_backslashes(file: Path, paths: list[Path]) -> list[Path]:
    """Return the paths, those of Windows with slashes where the image exists only so."""
    changed = 0
    for index, path in enumerate(paths):
        if "\\" in str(path) and not path.exists():
            other = Path(str(path).replace("\\", "/"))
            if other.exists():
                paths[index], changed = other, changed + 1
    if changed:
        warnings.warn(f"{file}: {changed} paths are read with / in place of \\", stacklevel=3)
    return paths


def _column(table: Table, names: Sequence[str]) -> Sequence[str] | None:
    by_name = {normalize(name): column for name, column in table.columns.items()}
    return next((by_name[name] for name in names if name in by_name), None)


def _number_classes(file: Path, rows: _Rows) -> _Labels:
    """Find the class names in the order of labels, and the label of each row.

    Raises:
        DatasetError: labels and class names contradict each other, or labels have a gap.
    """
    names = rows.classes
    numbers = _parse_labels(file, rows)
    if numbers is None:
        names = names if names is not None else rows.labels or ()
        classes = tuple(sort_names(names))
        warn_of_number_order(classes, str(file))
        label_of = {name: label for label, name in enumerate(classes)}
        return _Labels(classes, [label_of[name] for name in names])
    if names is None:
        return _Labels(_read_class_names(file, rows, numbers), numbers, readable=True)
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
            f"{file} has labels up to {max(by_label)}, and no row with label {missing} to give its "
            "class name",
            expected="labels 0, 1, 2, ... without a gap",
            fix="leave the label column out: labels then follow the sorted class names",
        )
    return _Labels(tuple(by_label[label] for label in range(len(by_label))), numbers)


def _parse_labels(file: Path, rows: _Rows) -> list[int] | None:
    """Return the label column as numbers; None where there is none, or where it holds words.

    Raises:
        DatasetError: some labels are whole numbers and some are not.
    """
    if rows.labels is None:
        return None
    others = [index for index, label in enumerate(rows.labels) if not _WHOLE.fullmatch(label)]
    if not others:
        return [int(label.partition(".")[0]) for label in rows.labels]
    number = next((index for index in others if _NUMBER.fullmatch(rows.labels[index])), None)
    if rows.classes is None and len(others) == len(rows.labels) and number is None:
        return None
    wrong = others[0] if number is None else number
    raise DatasetError(
        f"{file}, line {rows.lines[wrong]}: the label {rows.labels[wrong]!r}",
        expected="whole numbers from 0 on in all rows, or class names in all rows",
        fix="call a column of class names class_name; leave out images without a class (-1, nan)",
    )


def _check_class_column(file: Path, names: Sequence[str], lines: Sequence[int]) -> None:
    """Refuse class names that are missing or negative numbers, and columns that hold labels.

    A column where all names are numbers holds labels if one of them is not whole. Whole numbers may
    be names: those of pictures of digits.
    """
    distinct = set(names)
    all_numbers = all(map(_NUMBER.fullmatch, distinct))
    wrong = {
        name
        for name in distinct
        if _NUMBER.fullmatch(name)
        and not name.isdecimal()
        and (name[0] in "-\u2212" or all_numbers)
    }
    if wrong:
        index = next(index for index, name in enumerate(names) if name in wrong)
        raise DatasetError(
            f"{file}, line {lines[index]}: the class name {names[index]!r}",
            expected="a name; -1, nan and the like mean an image without a class, and 1.0 a label",
            fix="call a column of numbers label; leave out images without a class",
        )


def _read_class_names(file: Path, rows: _Rows, labels: Sequence[int]) -> tuple[str, ...]:
    """Read the class names from ``classnames.txt`` beside the table.

    Raises:
        DatasetError: the file is missing, or has too few lines for the labels.
    """
    names = file.parent / CLASSNAMES
    if not os.path.lexists(names):
        raise DatasetError(
            f"{file} has labels and no class names",
            expected=f"a column {' or '.join(_CLASS)}; or {names}, one name a line in the order of "
            "labels",
        )
    classes = read_lines(names)
    for label, line in zip(labels, rows.lines, strict=True):
        if label >= len(classes):
            raise DatasetError(
                f"{file}, line {line}: the label {label}",
                expected=f"{len(classes)} names in {names}",
            )
    return classes


def _warn_of_two_classes(
    file: Path, paths: Sequence[Path], labels: Sequence[int], rows: _Rows
) -> None:
    """Warn of images that are listed under several classes: one of them is wrong.

    Different paths to one file count as the same image.
    """
    real_paths = {path: os.path.realpath(path) for path in dict.fromkeys(paths)}
    label_of: dict[str, int] = {}
    conflicts = [
        index
        for index, path in enumerate(paths)
        if label_of.setdefault(real_paths[path], labels[index]) != labels[index]
    ]
    if conflicts:
        warnings.warn(
            f"{file} lists images under several classes, in {len(conflicts)} of its rows: "
            f"{rows.locate(conflicts)}; each image counts for every class that it is listed under",
            stacklevel=3,
        )


def _check_files(file: Path, paths: Sequence[Path], rows: _Rows) -> None:
    # A pipe or device exists: it is an error of that image, when it is asked for.
    missing = [index for index, path in enumerate(paths) if not path.exists() or path.is_dir()]
    if missing:
        raise DatasetError(
            f"{file} lists {len(missing)} of {len(paths)} images that do not exist: "
            f"{rows.locate(missing)}",
            expected=f"paths that are absolute, or relative to {file.parent}",
            fix="correct them, or leave out the rows of missing images",
        )
