"""Read columns of CSV and Parquet files as text, with a line number for each row.

The files are not trusted: a header may have any number of columns, and a footer may declare any
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

_CELL_BYTES = 150  # memory that a cell takes as a Python text, for a typical path or name
# Most bytes of cells for each byte of Parquet: paths differ from row to row, and each takes some
# bits.
_MAX_PER_BYTE = 1000
_COPIES = 3  # copies of a text: the bytes of the file, Arrow's and Python's
_LONGEST = 131_072  # most characters of a cell: as many as Python's CSV reader takes


@dataclass(frozen=True)
class Table:
    """Hold columns of a file as text.

    Args:
        header: the names of all columns.
        columns: the wanted columns by their names in the file; cells without white space around
            them.
        lines: a line number for each row.
        separator: what separates the cells of a text file.
    """

    header: Sequence[str]
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    separator: str = ","


def normalize(column: str) -> str:
    """Return the name of a column in the form in which names are compared.

    Examples:
        >>> normalize(" Path ")
        'path'
    """
    return column.strip().lower()


def read_csv(file: Path, wanted: Collection[str], needed: Sequence[Collection[str]] = ()) -> Table:
    """Read the wanted columns of a CSV file.

    Args:
        file: the CSV file.
        wanted: normalized names of columns.
        needed: the header needs a name of each of these collections. Where it has them only if
            cells are separated by semicolons, tabs or bars, that is the separator; else the comma.

    Raises:
        OSError, ValueError, csv.Error: the file cannot be read.
    """
    with (
        open_whole(file) as binary,
        io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as stream,
    ):
        separator = _find_separator(stream, needed)
        reader = csv.reader(stream, strict=True, delimiter=separator)
        header = next(reader, [])
        _check_header(header)
        places = [place for place, name in enumerate(header) if normalize(name) in wanted]
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


def _find_separator(stream: io.TextIOWrapper, needed: Sequence[Collection[str]]) -> str:
    """Find the separator of the cells from the header."""
    start = stream.tell()
    line = stream.readline(_LONGEST)
    stream.seek(start)
    headers = {separator: _split_header(line, separator) for separator in (",", ";", "\t", "|")}
    fitting = (
        separator
        for separator, names in headers.items()
        if all(names & {*alternatives} for alternatives in needed)
    )
    # If no header fits, any separator that gives several columns, so that the error lists them.
    several = (separator for separator, names in headers.items() if len(names) > 1)
    return next(itertools.chain(fitting, several), ",")


def _split_header(line: str, separator: str) -> set[str]:
    with suppress(csv.Error):
        return {normalize(cell) for cell in next(csv.reader([line], delimiter=separator), [])}
    return set()


def read_parquet(
    file: Path, wanted: Collection[str], needed: Sequence[Collection[str]] = ()
) -> Table:
    """Read the wanted columns of a Parquet file; its lines are counted from 1.

    Args:
        file: the Parquet file.
        wanted: normalized names of columns.
        needed: not used; `read_csv` needs it.

    Raises:
        DatasetError: the file declares more rows than a file of its size can hold, or than there is
            memory for.
        OSError, ValueError, pyarrow.ArrowException: the file cannot be read.
    """
    import pyarrow.parquet

    with open_whole(file) as stream:
        stored = stream.seek(0, io.SEEK_END)
        schema = pyarrow.parquet.read_schema(stream)
        _check_header(schema.names)
        names = [name for name in schema.names if normalize(name) in wanted]
        for name in names:
            _check_type(name, schema.field(name).type)
        texts = [name for name in names if not pyarrow.types.is_primitive(schema.field(name).type)]
        # A text that many rows share is kept once, as in the file: the column stays small.
        parquet = pyarrow.parquet.ParquetFile(
            stream, read_dictionary=texts, page_checksum_verification=True
        )
        rows = parquet.metadata.num_rows
        # Other columns may be pictures; unpacked, they are about as large as in the file.
        unpacked = max(0, unpacked_bytes(parquet.metadata) - stored)
        require_room(
            max(rows * len(names) * _CELL_BYTES, unpacked),
            stored=stored,
            what=f"{file}, with {rows:,} rows,",
            most_per_byte=_MAX_PER_BYTE,
            error=DatasetError,
            needed=rows * len(names) * _CELL_BYTES + _COPIES * unpacked,
        )
        table = parquet.read(columns=names)
    columns = {
        name: [cell for chunk in table[name].chunks for cell in _read_cells(name, chunk)]
        for name in names
    }
    return Table(schema.names, columns, range(1, table.num_rows + 1))


def _check_header(names: Sequence[str]) -> None:
    counts = Counter(map(normalize, names))
    repeated = next((name for name, count in counts.items() if count > 1), None)
    if repeated is not None:
        raise ValueError(f"two columns are called {repeated!r}")


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
        came = "bytes" if types.is_binary(kind) or types.is_large_binary(kind) else str(kind)
        raise ValueError(f"the column {name} holds {came}, neither text nor whole numbers")


def _read_cells(name: str, chunk: "pyarrow.Array") -> list[str]:
    import pyarrow

    if not isinstance(chunk, pyarrow.DictionaryArray):
        _check_lengths(name, chunk)
        return [_to_text(name, cell) for cell in chunk.to_pylist()]
    _check_lengths(name, chunk.dictionary)
    # One object for each text, however many rows have it.
    texts = [_to_text(name, cell) for cell in chunk.dictionary.to_pylist()]
    return ["" if place is None else texts[place] for place in chunk.indices.to_pylist()]


def _check_lengths(name: str, cells: "pyarrow.Array") -> None:
    """Refuse a long cell before it becomes a Python text."""
    from pyarrow import compute, types

    if types.is_string(cells.type) or types.is_large_string(cells.type):
        longest = compute.max(compute.binary_length(cells)).as_py() or 0
        if longest > 4 * _LONGEST:
            raise ValueError(
                f"the column {name} has a cell of {longest:,} bytes, where at most {_LONGEST:,} "
                "letters are read"
            )


def _to_text(name: str, cell: object) -> str:
    if isinstance(cell, float):
        # A table holds whole numbers as 1.0 once one of them was missing.
        return f"{cell:.0f}" if math.isfinite(cell) and cell.is_integer() else repr(cell)
    text = "" if cell is None else str(cell).strip()
    if len(text) > _LONGEST:
        raise ValueError(
            f"the column {name} has a cell of {len(text):,} characters, where at most "
            f"{_LONGEST:,} are read"
        )
    return text


READERS: dict[str, Callable[[Path, Collection[str], Sequence[Collection[str]]], Table]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}
"""The reader for each ending of a file."""
