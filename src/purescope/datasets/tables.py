"""Tables of text from CSV and Parquet files: the columns that are wanted, with the number of each
line.

Files come from anywhere: a header may have any number of columns, and a footer may declare any
number of rows.
"""

import csv
import io
import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from purescope.errors import DatasetError
from purescope.files.reading import open_whole, require_room, unpacked_bytes

if TYPE_CHECKING:
    import pyarrow

_CELL = 150  # bytes that a cell takes here, its path or name included
_MOST_PER_BYTE = 1000  # bytes of cells for each byte of Parquet: paths differ from row to row, and take some bits each
_COPIES = 3  # of a text: as bytes of the file, as Arrow's and as Python's
_LONGEST = 131_072  # characters of a cell, as many as Python reads of a CSV


@dataclass(frozen=True)
class Table:
    """Some columns of a file, as text.

    Args:
        header: the names of all columns.
        columns: those that were wanted, by their names in the file; the cells without the white
            space around them.
        lines: a number for each row, to name it by.
        separator: what stands between the cells of a text.
    """

    header: Sequence[str]
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    separator: str = ","


def plain(column: str) -> str:
    """The name of a column as it is compared.

    Examples:
        >>> plain(" Path ")
        'path'
    """
    return column.strip().lower()


def read_csv(file: Path, wanted: Collection[str], needed: Sequence[Collection[str]] = ()) -> Table:
    """Read columns of a CSV whose plain names are wanted.

    Its cells are separated by commas; by semicolons, tabs or bars where only so the header has a
    name of each collection in `needed`.

    Raises:
        OSError, ValueError, csv.Error: it cannot be read.
    """
    with (
        open_whole(file) as binary,
        io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as stream,
    ):
        separator = _separator(stream, needed)
        reader = csv.reader(stream, strict=True, delimiter=separator)
        header = next(reader, [])
        _check_header(header)
        places = [place for place, name in enumerate(header) if plain(name) in wanted]
        columns: list[list[str]] = [[] for _ in places]
        lines = []
        for row in reader:
            if row and len(row) != len(header):
                raise ValueError(
                    f"line {reader.line_num} has {len(row)} cells, the header {len(header)}"
                )
            if row:
                lines.append(reader.line_num)
                for column, place in zip(columns, places, strict=True):
                    column.append(row[place].strip())
    by_name = {header[place]: column for place, column in zip(places, columns, strict=True)}
    return Table(header, by_name, lines, separator)


def _separator(stream: io.TextIOWrapper, needed: Sequence[Collection[str]]) -> str:
    """What separates the cells of a table; its header tells."""
    start = stream.tell()
    line = stream.readline(_LONGEST)
    stream.seek(start)
    cells = {separator: _cells_of(line, separator) for separator in (",", ";", "\t", "|")}
    fitting = (
        separator
        for separator, header in cells.items()
        if all(header & {*names} for names in needed)
    )
    # Where none has them, the one that separates anything, so that an error names the columns that
    # are there.
    several = (separator for separator, header in cells.items() if len(header) > 1)
    return next(itertools.chain(fitting, several), ",")


def _cells_of(line: str, separator: str) -> set[str]:
    with suppress(csv.Error):
        return {plain(cell) for cell in next(csv.reader([line], delimiter=separator), [])}
    return set()


def read_parquet(
    file: Path, wanted: Collection[str], needed: Sequence[Collection[str]] = ()
) -> Table:
    """Read columns of a Parquet file whose plain names are wanted; lines are counted from 1.

    Raises:
        DatasetError: it declares more rows than such a file can have, or than there is memory for.
        OSError, ValueError, pyarrow.ArrowException: it cannot be read.
    """
    import pyarrow.parquet

    with open_whole(file) as stream:
        stored = stream.seek(0, io.SEEK_END)
        schema = pyarrow.parquet.read_schema(stream)
        _check_header(schema.names)
        names = [name for name in schema.names if plain(name) in wanted]
        for name in names:
            _check_type(name, schema.field(name).type)
        texts = [name for name in names if not pyarrow.types.is_primitive(schema.field(name).type)]
        # A text that many rows share stays one: a column of it is small in the file, and need not
        # be large here.
        parquet = pyarrow.parquet.ParquetFile(
            stream, read_dictionary=texts, page_checksum_verification=True
        )
        rows = parquet.metadata.num_rows
        # Columns that nobody wants may be pictures, which unpack to what they take in the file.
        unpacked = max(0, unpacked_bytes(parquet.metadata) - stored)
        require_room(
            max(rows * len(names) * _CELL, unpacked),
            stored=stored,
            what=f"{file}, with {rows:,} rows,",
            most_per_byte=_MOST_PER_BYTE,
            error=DatasetError,
            needed=rows * len(names) * _CELL + _COPIES * unpacked,
        )
        table = parquet.read(columns=names)
    columns = {
        name: [cell for chunk in table[name].chunks for cell in _cells(name, chunk)]
        for name in names
    }
    return Table(schema.names, columns, range(1, table.num_rows + 1))


def _check_header(names: Sequence[str]) -> None:
    twice = next((name for name, count in Counter(map(plain, names)).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"two columns are called {twice!r}")


def _check_type(name: str, kind: "pyarrow.DataType") -> None:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    fitting = (
        types.is_string,
        types.is_large_string,
        types.is_integer,
        types.is_floating,
        types.is_null,
    )
    if not any(fits(kind) for fits in (*fitting, types.is_boolean)):
        told = "bytes" if types.is_binary(kind) or types.is_large_binary(kind) else str(kind)
        raise ValueError(f"the column {name} holds {told}, no text and no whole numbers")


def _cells(name: str, chunk: "pyarrow.Array") -> list[str]:
    import pyarrow

    shared = isinstance(chunk, pyarrow.DictionaryArray)
    _check_lengths(name, chunk.dictionary if shared else chunk)
    if not shared:
        return [_text(name, cell) for cell in chunk.to_pylist()]
    # One object for each text, however many rows have it.
    texts = [_text(name, cell) for cell in chunk.dictionary.to_pylist()]
    return ["" if place is None else texts[place] for place in chunk.indices.to_pylist()]


def _check_lengths(name: str, cells: "pyarrow.Array") -> None:
    """Refuse a long cell before it is a text of Python's."""
    from pyarrow import compute, types

    if types.is_string(cells.type) or types.is_large_string(cells.type):
        longest = compute.max(compute.binary_length(cells)).as_py() or 0
        if longest > 4 * _LONGEST:
            raise ValueError(
                f"the column {name} has a cell of {longest:,} bytes, where {_LONGEST:,} letters "
                f"are read"
            )


def _text(name: str, cell: object) -> str:
    if isinstance(cell, float):
        # As a table has whole numbers once one of them was missing.
        return f"{cell:.0f}" if math.isfinite(cell) and cell.is_integer() else repr(cell)
    text = "" if cell is None else str(cell).strip()
    if len(text) > _LONGEST:
        raise ValueError(
            f"the column {name} has a cell of {len(text):,} characters, where {_LONGEST:,} are read"
        )
    return text


READERS: dict[str, Callable[[Path, Collection[str], Sequence[Collection[str]]], Table]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}
"""How to read a file, by its ending."""
