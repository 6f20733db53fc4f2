"""``manifest:FILE``: a CSV or Parquet table with one image a row: its path, and its label or class name or both."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from purescope.datasets._lines import CLASSNAMES, read_lines
from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.images import FINGERPRINTED, file_contents, open_files
from purescope.errors import DatasetError
from purescope.prompts import PLAIN_TEMPLATES, clean_name
from purescope.specs import short_name, to_path

# What a column may be called, in any case; the first one that is there is taken.
_PATH = ("path", "file", "filepath", "file_path", "filename", "file_name", "image", "image_path")
_LABEL = ("label", "label_id", "target")
_CLASS = ("class", "class_name", "classname", "category")
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

    Paths are relative to the folder of the table, or absolute. With labels, class names are those of a class
    column, or the lines of ``classnames.txt`` beside the table; without, labels follow the sorted class names. A
    label column of words is a class column.

    Raises:
        DatasetError: the table cannot be read, lacks a column, contradicts itself, or lists files that are not there.
    """
    file = to_path(name)
    rows = _read(file)
    classes, labels, told = _classes(file, rows)
    try:
        paths = [file.parent / path for path in rows.paths]
        _check_files(file, paths, rows)
        return Dataset(
            name=short_name(file.stem),
            spec=f"manifest:{name}",
            classes=classes,
            labels=labels,
            images=open_files(paths, file.parent),
            display_names=classes if told else tuple(map(clean_name, classes)),
            templates=PLAIN_TEMPLATES,
            source={"split": "all rows of the table", "fingerprint_of": FINGERPRINTED},
            fingerprint=fingerprint(classes, labels, file_contents(paths, file.parent)),
        )
    except OSError as error:
        raise DatasetError(f"an image of {file} cannot be read: {error}", fix="check its permissions") from error


def _read(file: Path) -> _Rows:
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise DatasetError(f"{file} is no table", expected=f"a file that ends in {' or '.join(_READERS)}", fix=_EXAMPLE)
    try:
        table, lines = reader(file)
    except _unreadable() as error:
        fix = "check the path" if isinstance(error, FileNotFoundError) else _EXAMPLE
        raise DatasetError(f"{file} cannot be read: {error}", expected="a table with a header", fix=fix) from error
    paths, labels, classes = (_column(table, names) for names in (_PATH, _LABEL, _CLASS))
    if paths is None or (labels is None and classes is None):
        came = f"{file} has the columns {', '.join(table) or 'none'}"
        raise DatasetError(came, expected=_COLUMNS, fix="rename those that hold them")
    if not lines:
        raise DatasetError(f"{file} has no row", expected="one image a row")
    for column in filter(None, (paths, labels, classes)):
        if not all(column):
            number = lines[list(map(bool, column)).index(False)]
            raise DatasetError(f"{file}, line {number}: an empty cell", expected="a path, and a label or class name")
    return _Rows(paths, labels, classes, lines)


def _unreadable() -> tuple[type[Exception], ...]:
    import pyarrow

    return OSError, ValueError, csv.Error, pyarrow.ArrowException


def _column(table: Mapping[str, Sequence[str]], names: Sequence[str]) -> Sequence[str] | None:
    by_name = {name.strip().lower(): column for name, column in table.items()}
    return next((by_name[name] for name in names if name in by_name), None)


def _read_csv(file: Path) -> tuple[dict[str, list[str]], list[int]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        header = next(reader, [])
        _check_header(header)
        rows, lines = [], []
        for row in reader:
            if row and len(row) != len(header):
                raise ValueError(f"line {reader.line_num} has {len(row)} cells, the header {len(header)}")
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    columns = map(list, zip(*rows, strict=True)) if rows else ([] for _ in header)
    return {name: [cell.strip() for cell in column] for name, column in zip(header, columns, strict=True)}, lines


def _read_parquet(file: Path) -> tuple[dict[str, list[str]], list[int]]:
    import pyarrow.parquet

    known = {*_PATH, *_LABEL, *_CLASS}
    names = pyarrow.parquet.read_schema(file).names
    _check_header(names)
    wanted = [name for name in names if name.strip().lower() in known]
    table = pyarrow.parquet.read_table(file, columns=wanted)
    columns = {name: table[name].to_pylist() if name in wanted else [] for name in names}
    texts = {name: [_cell(cell, name) for cell in column] for name, column in columns.items()}
    return texts, list(range(1, table.num_rows + 1))


def _check_header(names: Sequence[str]) -> None:
    columns = [name.strip().lower() for name in names]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two columns are called {twice!r}")


def _cell(cell: object, column: str) -> str:
    if cell is None or isinstance(cell, str | int):
        return "" if cell is None else str(cell).strip()
    raise ValueError(f"the column {column} holds {type(cell).__name__}, no text and no whole numbers")


_READERS: dict[str, Callable[[Path], tuple[dict[str, list[str]], list[int]]]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _classes(file: Path, rows: _Rows) -> tuple[tuple[str, ...], torch.Tensor, bool]:
    """Class names in the order of labels, the labels, and whether the names were written to be read."""
    names = rows.classes
    numbers = _numbers(file, rows)
    if numbers is None:
        names = names if names is not None else rows.labels or ()
        classes = tuple(sorted(set(names)))
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
            f"{file} has labels up to {max(by_label)}, and no row with label {missing} to tell what it is called",
            expected="labels 0, 1, 2, ... without a gap",
            fix="leave the label column out: labels follow the sorted class names then",
        )
    return tuple(by_label[label] for label in range(len(by_label))), torch.tensor(numbers, dtype=torch.int64), False


def _numbers(file: Path, rows: _Rows) -> list[int] | None:
    """The label column as numbers; None where there is none, or words in it."""
    if rows.labels is None:
        return None
    number = re.compile(r"[0-9]{1,9}")
    odd = [index for index, label in enumerate(rows.labels) if not number.fullmatch(label)]
    if not odd:
        return [int(label) for label in rows.labels]
    if rows.classes is None and len(odd) == len(rows.labels):
        return None
    raise DatasetError(
        f"{file}, line {rows.lines[odd[0]]}: the label {rows.labels[odd[0]]!r}",
        expected="whole numbers from 0 on in all rows, or class names in all",
        fix="call a column of class names class_name",
    )


def _listed(file: Path, rows: _Rows, numbers: Sequence[int]) -> tuple[str, ...]:
    names = file.parent / CLASSNAMES
    if not names.is_file():
        raise DatasetError(
            f"{file} has labels and no class names",
            expected=f"a column {' or '.join(_CLASS)}; or {names}, one name a line in the order of labels",
        )
    classes = read_lines(names)
    for label, line in zip(numbers, rows.lines, strict=True):
        if label >= len(classes):
            raise DatasetError(f"{file}, line {line}: the label {label}", expected=f"{len(classes)} names in {names}")
    return classes


def _check_files(file: Path, paths: Sequence[Path], rows: _Rows) -> None:
    gone = [index for index, path in enumerate(paths) if not path.is_file()]
    if gone:
        first = ", ".join(f"{rows.paths[index]} (line {rows.lines[index]})" for index in gone[:3])
        raise DatasetError(
            f"{file} lists {len(gone)} of {len(paths)} images that are not there: {first}",
            expected=f"paths that are absolute, or relative to {file.parent}",
            fix="correct them, or leave out the rows of images that are gone",
        )
