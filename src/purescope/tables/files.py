"""Check tables against their schemas, and read and write their files.

Every file is written beside its place and renamed into it, so a reader never sees half a file. In a
table that is read, every value is checked.
"""

import functools
import io
import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from purescope.errors import InputError, PurescopeError
from purescope.files.reading import open_whole, read_bytes, require_room, text_bytes, unpacked_bytes
from purescope.files.writing import AGAIN, atomic_path, write_bytes
from purescope.specs import exists
from purescope.tables.schema import STRINGS, Array, Schema, plain_texts, stack_tables
from purescope.tables.schemas import RESULTS

if TYPE_CHECKING:
    import pyarrow

_CELL = 64  # bytes of a cell in memory
_PER_BYTE = 500  # that a byte of a file may stand for: equal values take almost no space
_LARGEST_CSV = 2_000_000_000
_MANY_ROWS = 10_000

PAIRS = "pairs"  # the folder of finished pairs, until the run is complete


def check_table(table: pd.DataFrame, schema: Schema = RESULTS) -> pd.DataFrame:
    """Return the table with its columns in order and of the right types.

    Raises:
        InputError: a column is missing or of another type, a value is out of range, or a row
            occurs twice.
    """
    given = dict(table.items())  # a column is looked up once: this is called often on small tables
    missing = [column for column in schema.columns if column not in given]
    if missing:
        raise InputError(
            f"a table without the columns {', '.join(missing)}",
            expected=f"purescope's table of {schema.name}: {', '.join(schema.columns)}",
        )
    if len(given) < table.shape[1]:
        twice = table.columns[table.columns.duplicated()]
        raise InputError(f"a table of {schema.name} with two columns called {twice[0]}")
    names = [*schema.columns, *(name for name in given if name not in schema.columns)]
    columns = {str(name): given[name] for name in names}
    other = {
        name: dtype
        for name, dtype in schema.columns.items()
        if columns[name].dtype != _dtype(dtype)
    }
    try:
        columns |= {name: columns[name].astype(_dtype(dtype)) for name, dtype in other.items()}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a table of {schema.name} with a wrong type: {error}",
            expected=str(dict(schema.columns)),
        ) from error
    for name, dtype in schema.columns.items():
        if dtype == "float64" or (dtype != "string" and name not in other):
            continue
        values, before = columns[name], given[name]
        lost = values.array.isna() if dtype == "string" else (values != before).to_numpy(dtype=bool)
        if lost.any():
            raise InputError(
                f"{before[lost].iloc[0]!r} in the column {name} of a table of {schema.name}",
                expected=f"{dtype} throughout",
            )
    typed = table.reset_index(drop=True)
    if other or names != list(given):
        arrays = {name: values.array for name, values in columns.items()}
        typed = pd.DataFrame(arrays, index=typed.index, copy=False)
    typed.columns = _names(tuple(typed.columns))
    if len(typed):
        _check_values({name: column.to_numpy() for name, column in columns.items()}, schema)
    if not _has_unique_rows([columns[name] for name in schema.key]):
        repeated = typed.duplicated(list(schema.key)).to_numpy()
        row = typed[repeated].iloc[0][list(schema.key)]
        first = ", ".join(f"{column} {value}" for column, value in row.items())
        raise InputError(
            f"{int(repeated.sum())} {schema.row}s occur twice, first {first}",
            expected=f"one row for each {', '.join(schema.key[:-1])} and {schema.key[-1]}",
        )
    return typed


def _has_unique_rows(columns: "list[pd.Series[Any]]") -> bool:
    """Tell whether no row of these columns occurs twice.

    On small tables pandas takes much longer than a set; on large ones half the time, and less
    memory.
    """
    if len(columns[0]) > _MANY_ROWS:
        keys = pd.DataFrame(dict(enumerate(columns)), copy=False)
        return not keys.duplicated().any()
    rows = [column.tolist() for column in columns]
    return len(set(zip(*rows, strict=True))) == len(rows[0])


@functools.lru_cache(maxsize=128)
def _names(names: tuple[Any, ...]) -> "pd.Index[Any]":
    """Return the index of these names of columns, in which each is found at once."""
    with plain_texts():
        index: pd.Index[Any] = pd.Index(list(names))
    return index


@functools.cache
def _dtype(name: str) -> "np.dtype[Any] | pd.api.extensions.ExtensionDtype":
    """Return pandas' type of a name, cached: pandas searches all types, and a run asks often."""
    return STRINGS if name == "string" else pd.api.types.pandas_dtype(name)


def _check_values(columns: Mapping[str, Array], schema: Schema) -> None:
    """Refuse a value out of the range of its column, or a row whose values contradict each other.

    Args:
        columns: the values of each column, with the types of the schema; at least one row.
        schema: the schema.

    Raises:
        InputError: there is one.
    """
    for name, values in columns.items():
        column = schema.described.get(name, schema.more)
        if column is None:
            continue
        if name not in schema.described and values.dtype.kind not in "biuf":
            raise InputError(f"{values[0]!r} in the column {name}", expected=column.expected)
        wrong = column.wrong(values)
        if wrong.any():
            raise InputError(
                f"{_plain(values[wrong][0])} in the column {name} of a table of "
                f"{schema.name}, row {int(wrong.argmax()) + 1}",
                expected=column.expected,
            )
    for rule in schema.rules:
        broken = rule.broken(columns)
        if broken.any():
            row = int(broken.argmax())
            first = ", ".join(f"{name} {_plain(columns[name][row])}" for name in schema.key)
            raise InputError(
                f"a table of {schema.name} with a contradictory row: {first}", expected=rule.says
            )


def _plain(value: object) -> str:
    """Return a value as text, without NumPy's name of its type."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def write_table(table: pd.DataFrame, out: Path, schema: Schema, *, csv: bool = True) -> None:
    """Write a table as Parquet with page checksums, and as CSV for readers.

    Raises:
        InputError: the table does not fit its schema.
        OutputError: it cannot be written.
    """
    table = check_table(table, schema)
    if csv:
        write_csv(table, out / f"{schema.name}.csv")
    write_parquet(table, out / parquet_name(schema))


def parquet_name(schema: Schema) -> str:
    """Return the name of the file of a table that is read back."""
    return f"{schema.name}.parquet"


def read_table(out: Path, schema: Schema) -> pd.DataFrame:
    """Read a table from the folder of a run.

    For a run that is not complete, it is the rows of the finished pairs.

    Raises:
        InputError: there is no such table, or it is not a purescope table; the file is named.
    """
    path = out / parquet_name(schema)
    if exists(path):
        return read_parquet_table(path, schema)
    pairs = [read_parquet_table(file, schema) for file in _pair_files(out, schema)]
    if not pairs:
        raise InputError(
            f"no {path.name} in {out}",
            expected="the --out folder of a purescope run",
            fix="check the path",
        )
    return check_table(stack_tables(pairs), schema)


def has_table(out: Path, schema: Schema) -> bool:
    """Tell whether the folder of a run has a table, or finished pairs that have it."""
    return exists(out / parquet_name(schema)) or bool(_pair_files(out, schema))


def read_parquet_table(path: Path, schema: Schema) -> pd.DataFrame:
    """Read the Parquet file of a table.

    Raises:
        InputError: it is not a purescope table; the file is named.
    """
    return _checked(read_parquet(path), path, schema)


def _pair_files(out: Path, schema: Schema) -> list[Path]:
    """Return the files of a table in the folders of finished pairs, in the order of the run."""
    return sorted(out.glob(f"{PAIRS}/[0-9]*/{parquet_name(schema)}"))


def read_csv_table(path: Path, schema: Schema, **given: str) -> pd.DataFrame:
    """Read a table that is stored as CSV only.

    Only numbers can be missing: a model may be called NA.

    Args:
        path: the file.
        schema: the schema of the table.
        given: values of columns that files of earlier versions do not have.

    Raises:
        InputError: it cannot be read, or is another table; the file is named.
    """
    numbers = ["", "nan", "NaN"]
    try:
        content = read_bytes(path, most=_LARGEST_CSV)
        header = pd.read_csv(io.BytesIO(content), nrows=0).columns
        words = {name for name, column in schema.described.items() if column.dtype == "string"}
        missing = {name: numbers for name in header if name not in words}
        table = pd.read_csv(
            io.BytesIO(content),
            keep_default_na=False,
            na_values=missing,
            dtype={name: str for name in words if name in header},
        )
        table = table.assign(**{name: value for name, value in given.items() if name not in table})
    except Exception as error:  # damaged text can make pandas raise anything
        raise _unreadable(path, error) from error
    return _checked(table, path, schema)


def _checked(table: pd.DataFrame, path: Path, schema: Schema) -> pd.DataFrame:
    try:
        return check_table(table, schema)
    except InputError as error:
        raise InputError(f"{path}: {error.came}", expected=error.expected, fix=AGAIN) from error


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table with a checksum for each page."""
    write_bytes(parquet_bytes(table), path)


def parquet_bytes(table: pd.DataFrame) -> bytes:
    """Return the content of the Parquet file of a table, with a checksum for each page."""
    import pyarrow.parquet

    content = io.BytesIO()
    pyarrow.parquet.write_table(_to_arrow(table), content, write_page_checksum=True)
    return content.getvalue()


def _to_arrow(table: pd.DataFrame) -> "pyarrow.Table":
    """Return a table as Arrow's, as pandas converts it, which takes twice the time for a small one:
    it looks at every column anew.
    """
    import pyarrow

    columns = dict(table.items())
    types = tuple((str(name), column.dtype) for name, column in columns.items())
    if len(columns) < table.shape[1] or np.dtype(object) in [dtype for _, dtype in types]:
        return pyarrow.Table.from_pandas(table, preserve_index=False)
    schema = _arrow_schema(types)
    arrays = [
        pyarrow.array(column.to_numpy(), field.type, from_pandas=True)
        for field, column in zip(schema, columns.values(), strict=True)
    ]
    return pyarrow.Table.from_arrays(arrays, schema=schema)


@functools.lru_cache(maxsize=128)
def _arrow_schema(types: tuple[tuple[str, Any], ...]) -> "pyarrow.Schema":
    """Return Arrow's schema of columns with these names and pandas types."""
    import pyarrow

    empty = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in types})
    return pyarrow.Schema.from_pandas(empty, preserve_index=False)


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table that `write_parquet` wrote, and verify its checksums.

    Raises:
        InputError: it cannot be read, or declares more rows than a file of its size can hold.
    """
    import pyarrow.parquet

    try:
        with open_whole(path) as file:
            # Not by pandas, which takes twice the time for a small table.
            footer = pyarrow.parquet.read_metadata(file)
            stored = os.fstat(file.fileno()).st_size
            declared = max(footer.num_rows * footer.num_columns * _CELL, unpacked_bytes(footer))
            _check_size(path, declared, stored)
            texts = _text_columns(footer.schema.to_arrow_schema())
            # As dictionaries, equal cells share their bytes until these are counted.
            table = pyarrow.parquet.ParquetFile(
                file, metadata=footer, read_dictionary=texts, page_checksum_verification=True
            ).read()
            columns = table.select(texts).columns
            content = sum(text_bytes(chunk) for column in columns for chunk in column.chunks)
            if content > declared:
                _check_size(path, content, stored)
            return _to_pandas(table)
    except PurescopeError:
        raise
    except Exception as error:  # a damaged file can make pandas and pyarrow raise anything
        raise _unreadable(path, error) from error


def _to_pandas(table: "pyarrow.Table") -> pd.DataFrame:
    """Return a table as pandas', in half of the time that Arrow's conversion takes for a small one;
    dictionaries are texts or pictures.
    """
    from pyarrow import types

    columns: dict[str, Any] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if types.is_dictionary(field.type):
            column = column.cast(field.type.value_type)
        values = column.to_pandas() if types.is_list(field.type) else column.to_numpy()
        is_text = types.is_string(column.type) or types.is_large_string(column.type)
        columns[field.name] = pd.array(values, dtype=STRINGS) if is_text else values
    if len(columns) < table.num_columns:
        raise ValueError("two of its columns have one name")
    return pd.DataFrame(columns)


def _text_columns(schema: "pyarrow.Schema") -> list[str]:
    """Return the names of the columns of texts and pictures.

    Raises:
        ValueError: a column holds something else that is no number.
    """
    from pyarrow import types

    texts = []
    for field in schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        numbers = (
            kind.value_type if types.is_list(kind) else kind
        )  # the orders of a training are lists
        if (
            types.is_string(kind)
            or types.is_large_string(kind)
            or types.is_binary(kind)
            or types.is_large_binary(kind)
        ):
            texts.append(field.name)
        elif not (types.is_primitive(numbers) or types.is_null(kind)):
            raise ValueError(
                f"the column {field.name} holds {kind}, neither texts, pictures nor numbers"
            )
    return texts


def _check_size(path: Path, declared: int, stored: int) -> None:
    require_room(declared, stored=stored, what=str(path), most_per_byte=_PER_BYTE, error=InputError)


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = (
        getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    ).splitlines()[0]
    return InputError(
        f"{path} cannot be read: {reason}", expected="a table of a purescope run", fix=AGAIN
    )


def misfit(folder: Path, error: Exception) -> InputError:
    """Return the error that the tables of a folder, each valid, do not fit together."""
    return InputError(
        f"{folder}: its tables do not fit together ({type(error).__name__}: {error})",
        expected="the tables of one run, as it wrote them",
        fix=AGAIN,
    )


def nothing_in(folder: Path, holds: Callable[[Path], bool]) -> InputError:
    """Return the error that a folder does not exist or has no results.

    It names folders nearby that have results: below the folder, or with a similar name.

    Args:
        folder: the folder that was named.
        holds: tells whether a folder has results.
    """
    is_folder = folder.is_dir()
    parent = folder if is_folder else folder.parent
    near = {path.name: path for path in sorted(parent.glob("*")) if path.is_dir()}
    names = near if is_folder else get_close_matches(folder.name, near)
    meant = [str(near[name]) for name in names if holds(near[name])]
    return InputError(
        f"no results in {folder}" if is_folder else f"there is no folder {folder}",
        expected="the --out folder of purescope sweep, demo, compare, evidence, track, layers or "
        "reproduce",
        fix=f"did you mean {' or '.join(meant[:3])}?"
        if meant
        else "name one, or make one: `purescope demo`",
    )


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, and make its folder if it does not exist."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        table.to_csv(file, index=False, lineterminator="\n")
