"""Read captions from tables: ``metadata.csv``, ``image,caption``, open_clip's ``filepath`` and
``title``, and rows of JSON such as ``metadata.jsonl``.

One row holds an image and a caption, or a list of captions in JSON; an image may have several rows.
"""

import csv
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.captions.listing import (
    CAPTION_NAMES,
    IMAGE_NAMES,
    LARGEST,
    Captions,
    Where,
    open_listed,
    require_room_for,
)
from purescope.datasets.tables import READERS, Table, normalize
from purescope.errors import DatasetError, listed, near_miss
from purescope.files.reading import read_text

ROWS = (".jsonl", ".ndjson")
"""Endings of files of JSON rows."""

_SPLIT = ("split", "subset", "partition")
# A row of CLIP_benchmark's lists of Flickr: the caption is not quoted and may hold commas.
_PLAIN = re.compile(r"(.+?\.(?:jpe?g|png|webp|gif|bmp|tiff?))\s*,(.*)", re.IGNORECASE)
_COLUMNS = f"a column {' or '.join(IMAGE_NAMES[:7])}, and a column {' or '.join(CAPTION_NAMES[:6])}"


def load_table(where: Where, file: Path) -> CaptionDataset:
    """Load a CSV, TSV or Parquet table with one caption a row, or a list ``image,caption`` in .txt.

    Raises:
        DatasetError: the table cannot be read, lacks a column or a cell, or lists images that do
            not exist.
    """
    if file.suffix.lower() == ".txt":
        where.refuse_options("lines of images and captions", "images")
        rows = _read_plain_rows(file)
        captions = Captions(file)
        for number, (image, caption) in rows.items():
            captions.add(image, caption, f"line {number}")
        return open_listed(where, captions, split="all lines", form="table")
    table = _read_table(where, file)
    images = _choose(where, file, table.header, table.columns, "image", where.image, IMAGE_NAMES)
    texts = _choose(
        where, file, table.header, table.columns, "caption", where.caption, CAPTION_NAMES
    )
    split_column = next(
        (column for name, column in table.columns.items() if normalize(name) in _SPLIT), None
    )
    kept, split = _choose_rows(where, file, split_column, len(table.lines))
    # Paths in metadata.csv are below its folder, as `datasets` has them.
    captions = Captions(file, anywhere=file.stem != "metadata")
    for row in kept:
        captions.add(images[row], texts[row], f"line {table.lines[row]}")
    return open_listed(where, captions, split=split, form="table")


def load_rows(where: Where, file: Path) -> CaptionDataset:
    """Load a file with one JSON object a line, such as ``metadata.jsonl``.

    Raises:
        DatasetError: as `load_table`.
    """
    rows: dict[str, Any] = {}
    try:
        require_room_for(file)
        text = read_text(file, encoding="utf-8-sig", most=LARGEST)
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                rows[f"line {number}"] = _parse_row(file, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or error}",
            expected="text in UTF-8, a JSON object a line",
        ) from error
    return load_objects(where, file, rows)


def load_objects(where: Where, file: Path, rows: Mapping[str, Any]) -> CaptionDataset:
    """Load rows that are JSON objects, by their places in the file.

    Raises:
        DatasetError: as `load_table`.
    """
    captions, splits = Captions(file), []
    for place, row in rows.items():
        if not isinstance(row, dict):
            raise DatasetError(
                f"{file}, {place}: {str(row)[:40]!r}", expected="a JSON object for each image"
            )
        splits.append(next((str(row[name]) for name in _SPLIT if name in row), ""))
    kept, split = _choose_rows(where, file, splits if any(splits) else None, len(rows))
    places = list(rows)
    for index in kept:
        row = {normalize(name): value for name, value in rows[places[index]].items()}
        image, caption = (
            _choose(where, f"{file}, {places[index]}", list(row), row, kind, wanted, names)
            for kind, wanted, names in (
                ("image", where.image, IMAGE_NAMES),
                ("caption", where.caption, CAPTION_NAMES),
            )
        )
        captions.add(image, caption, places[index])
    return open_listed(where, captions, split=split, form="rows of JSON")


def has_columns(file: Path) -> bool:
    """Tell whether the first line of a text file names a column of images and one of captions."""
    try:
        with file.open("rb") as stream:
            line = stream.readline(10_000).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False
    names = {normalize(cell.strip('"')) for cell in re.split(r"[,;\t|]", line)}
    return bool(names & {*IMAGE_NAMES}) and bool(names & {*CAPTION_NAMES})


def _read_table(where: Where, file: Path) -> Table:
    import pyarrow

    images = (normalize(where.image),) if where.image else IMAGE_NAMES
    texts = (normalize(where.caption),) if where.caption else CAPTION_NAMES
    try:
        return READERS[file.suffix.lower()](file, {*images, *texts, *_SPLIT}, [images, texts])
    except (
        OSError, ValueError, LookupError, TypeError, MemoryError, OverflowError, csv.Error,
        pyarrow.ArrowException,
    ) as error:  # fmt: skip
        raise DatasetError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or error}",
            expected="a table in UTF-8 with a header, one caption a row",
            fix="quote captions that hold the separator, as CSV has it",
        ) from error


def _read_plain_rows(file: Path) -> dict[int, tuple[str, str]]:
    """Read lines of image, comma, caption; a caption in quotes as CSV has it, or without quotes."""
    try:
        lines = read_text(file, encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or error}",
            expected="text in UTF-8 with a header image,caption",
        ) from error
    rows = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells: list[str] = []
        if '"' in line:
            try:
                cells = next(csv.reader([line], strict=True))
            except csv.Error:
                cells = []
        match = _PLAIN.fullmatch(line)
        if len(cells) == 2:
            rows[number] = (cells[0], cells[1])
        elif match:
            rows[number] = (match[1], match[2])
        else:
            raise DatasetError(
                f"{file}, line {number}: {line[:60]!r}", expected="an image, a comma, a caption"
            )
    return rows


def _parse_row(file: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"{file}, line {number} is not JSON: {error}", expected="a JSON object a line"
        ) from error


def _choose(
    where: Where,
    place: Path | str,
    header: Sequence[str],
    columns: Mapping[str, Any],
    kind: str,
    wanted: str | None,
    names: Sequence[str],
) -> Any:
    """Return the wanted column, or the first one with a usual name."""
    by_name = {normalize(name): column for name, column in columns.items()}
    candidates = [normalize(wanted)] if wanted is not None else names
    chosen = next((name for name in candidates if name in by_name), None)
    if chosen is None:
        raise DatasetError(
            f"{place} has the columns {listed(header) or 'none'}",
            expected=f"a column called {wanted!r}" if wanted is not None else _COLUMNS,
            fix=f"name it: {where.spec.partition('?')[0]}?{kind}=COLUMN",
        )
    return by_name[chosen]


def _choose_rows(
    where: Where, file: Path, splits: Sequence[str] | None, count: int
) -> tuple[Sequence[int], str]:
    """Return the rows of the wanted split; by default of the split test, or all if there is none.

    Warns:
        UserWarning: rows of several splits are read together, or only those of test.
    """
    if splits is None:
        if where.split is not None:
            raise DatasetError(
                f"{file} has no column {' or '.join(_SPLIT)}",
                expected=f"one that says which rows are {where.split!r}",
                fix="leave out the split",
            )
        return range(count), "all rows"
    known = sorted({*splits})
    wanted = where.split or ("test" if "test" in known else None)
    if wanted is None:
        if len(known) > 1:
            warnings.warn(
                f"{file}: all rows are read, those of the splits {listed(known)} together; for one "
                f"alone, write captions:FILE#{known[0]}",
                stacklevel=4,
            )
        return range(count), listed(known)
    if wanted not in known:
        raise DatasetError(f"{file} has no split {wanted!r}", **near_miss(wanted, known))
    return [row for row, split in enumerate(splits) if split == wanted], wanted
