"""Parquet and Arrow: one column of vectors is replaced batch by batch, everything else stays.

Arrow files are memory-mapped, and pages that were read are given back, so that a batch of any size
takes little memory. What other libraries wrote is validated before it is used.
"""

import json
import mmap
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from purescope.errors import InputError, listed
from purescope.files.reading import SMALL, open_whole, unpacked_bytes
from purescope.reduce.collections.job import Job, names_of
from purescope.reduce.collections.npy import Checksummed
from purescope.reduce.rows import Counts, block_rows

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_PER_BYTE = 1000  # bytes of content for each byte of Parquet
_ROW_GROUP = 8_000_000  # bytes of a row group that is written, and held in memory until then
_FILE, _STREAM = b"ARROW1", b"\xff\xff\xff\xff"  # the first bytes of Arrow's two formats
_END = b"\xff\xff\xff\xff\0\0\0\0"  # the last bytes of a stream


def find_vectors(file: Path, job: Job) -> list[str]:
    """Return the name of the column of vectors; none if the table has no such column.

    Raises:
        InputError: there are several, or the vectors have another width.
        OSError, ValueError, pyarrow.ArrowException: it cannot be read.
    """
    return _find(read_schema(file), job, str(file))


def write_parquet(file: Path, target: Any, job: Job, counts: Counts) -> None:
    """Write a Parquet file with shorter vectors.

    Raises:
        InputError: a row cannot be used.
        OSError, ValueError, pyarrow.ArrowException: it cannot be read.
    """
    import pyarrow.parquet

    with _open_parquet(file) as source:
        footer = source.metadata
        schema = source.schema_arrow
        [name] = _find(schema, job, str(file))
        row_bytes = max(1, unpacked_bytes(footer) // max(1, footer.num_rows))
        step = max(1, min(block_rows(job.neurons), _ROW_GROUP // (4 * row_bytes)))
        batches = source.iter_batches(batch_size=step)
        waiting, size = list["pa.RecordBatch"](), 0
        shorter = _replace(batches, schema, name, job, counts, (name, *names_of(file)))
        # Numbers of vectors hardly repeat: looking for repetitions would take longer than all else.
        repeated = [column.name for column in schema if not pyarrow.types.is_nested(column.type)]
        with pyarrow.parquet.ParquetWriter(
            target, next(shorter), use_dictionary=repeated, write_page_checksum=True
        ) as writer:
            for batch in shorter:
                waiting.append(batch)
                size += batch.nbytes
                if size >= _ROW_GROUP:
                    writer.write_table(pyarrow.Table.from_batches(waiting))
                    waiting, size = [], 0
            if waiting:
                writer.write_table(pyarrow.Table.from_batches(waiting))


def write_arrow(file: Path, target: Any, job: Job, counts: Counts) -> None:
    """Write an Arrow or Feather file, or a file of an Arrow stream, with shorter vectors.

    Raises:
        InputError: a row cannot be used.
        OSError, ValueError, pyarrow.ArrowException: it cannot be read.
    """
    import pyarrow as pa

    with _mapped(file) as (content, forget):
        is_file = content[: len(_FILE)] == _FILE
        source = pa.BufferReader(pa.py_buffer(content))
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        names = names_of(file)
        _write_batches(_batches(reader), reader.schema, is_file, target, job, counts, names, forget)
        if not is_file:
            _check_end(content[max(0, source.tell() - len(_END)) : source.tell()])


def _check_end(last: bytes) -> None:
    """Refuse a stream that was cut off between two batches, which Arrow takes for its end."""
    if last != _END:
        raise ValueError("the stream has no mark of its end: it was cut off, or not closed")


def write_stream(source: Checksummed, target: Any, job: Job, counts: Counts) -> None:
    """Write an Arrow stream with shorter vectors, a batch at a time.

    Raises:
        InputError: there is no column of vectors, or a row cannot be used.
        ValueError, pyarrow.ArrowException: it cannot be read.
    """
    import pyarrow as pa

    reader = pa.ipc.open_stream(source)
    _write_batches(iter(reader), reader.schema, False, target, job, counts, (), lambda: None)
    _check_end(source.tail)


def read_schema(file: Path) -> "pa.Schema":
    """Return the columns of a table.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: it cannot be read.
    """
    import pyarrow as pa

    if file.suffix.lower() in PARQUET:
        with _open_parquet(file) as parquet:
            return parquet.schema_arrow
    with _mapped(file) as (content, _):
        source = pa.BufferReader(pa.py_buffer(content))
        if content[: len(_FILE)] == _FILE:
            return pa.ipc.open_file(source).schema
        if content[: len(_STREAM)] == _STREAM:
            return pa.ipc.open_stream(source).schema
    raise ValueError("it is neither an Arrow file nor an Arrow stream (Feather V1 is not read)")


def read_width(file: Path, column: str | None) -> int | None:
    """Return the number of dimensions of the vectors in a table; None without vectors.

    Lists may be of any length; the first one says it.

    Args:
        file: the table.
        column: the column of vectors; None for the first.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: it cannot be read.
    """
    import pyarrow as pa

    vectors = [field for field in read_schema(file) if _is_vector(field.type)]
    field = next((field for field in vectors if column in (None, field.name)), None)
    if field is None:
        return None
    if pa.types.is_fixed_size_list(field.type):
        return int(field.type.list_size)
    if file.suffix.lower() in PARQUET:
        with _open_parquet(file) as parquet:
            batches = parquet.iter_batches(batch_size=1, columns=[field.name])
            return _first_length(batches, field.name)
    with _mapped(file) as (content, _):
        source = pa.BufferReader(pa.py_buffer(content))
        is_file = content[: len(_FILE)] == _FILE
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        return _first_length(_slices(_batches(reader), 1), field.name)


def _first_length(batches: Iterator["pa.RecordBatch"], name: str) -> int | None:
    has_rows = False
    for batch in batches:
        for row in batch.column(name):
            if row.is_valid:
                return len(row)
            has_rows = True
    return 1 if has_rows else None  # of any length: the reader refuses such rows by number


PARQUET = (".parquet", ".pq")


@contextmanager
def _open_parquet(file: Path) -> Iterator[Any]:
    import pyarrow.parquet

    with (
        open_whole(file) as stream,
        pyarrow.parquet.ParquetFile(
            stream, page_checksum_verification=True, pre_buffer=False, buffer_size=1 << 20
        ) as parquet,
    ):
        declared, stored = unpacked_bytes(parquet.metadata), os.fstat(stream.fileno()).st_size
        if declared > max(SMALL, _MOST_PER_BYTE * stored):
            raise ValueError(f"it declares {declared:,} bytes of content in {stored:,} bytes")
        yield parquet


@contextmanager
def _mapped(file: Path) -> Iterator[tuple[mmap.mmap, Callable[[], None]]]:
    """Map a file into memory, and provide a function that gives the pages back to the system."""
    with open_whole(file) as stream:
        if not os.fstat(stream.fileno()).st_size:
            raise ValueError("it is empty")
        # Not closed: Arrow's buffers may outlive the block, and end the mapping with them.
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

        def forget() -> None:
            if hasattr(mmap, "MADV_DONTNEED"):
                content.madvise(mmap.MADV_DONTNEED)

        yield content, forget


def _batches(reader: Any) -> Iterator["pa.RecordBatch"]:
    if hasattr(reader, "get_batch"):
        yield from map(reader.get_batch, range(reader.num_record_batches))
    else:
        yield from reader


def _write_batches(
    batches: Iterator["pa.RecordBatch"],
    schema: "pa.Schema",
    is_file: bool,
    target: Any,
    job: Job,
    counts: Counts,
    names: tuple[str, ...],
    forget: Callable[[], None],
) -> None:
    import pyarrow as pa

    found = _find(schema, job, names[0] if names else "standard input")
    if not found:
        raise InputError(
            f"no column holds vectors: {listed(schema.names)}",
            expected="a column of lists of floating-point numbers",
        )
    step = block_rows(job.neurons)
    pieces = _slices(batches, step)
    shorter = _replace(pieces, schema, found[0], job, counts, (found[0], *names))
    open_writer = pa.ipc.new_file if is_file else pa.ipc.new_stream
    with open_writer(target, next(shorter)) as writer:
        for batch in shorter:
            writer.write_batch(batch)
            forget()


def _slices(batches: Iterable["pa.RecordBatch"], step: int) -> Iterator["pa.RecordBatch"]:
    for batch in batches:
        batch.validate(full=True)  # offsets of another's file may lead anywhere
        for first in range(0, batch.num_rows, step):
            yield batch.slice(first, step)


def _replace(
    batches: Iterable["pa.RecordBatch"],
    schema: "pa.Schema",
    name: str,
    job: Job,
    counts: Counts,
    names: tuple[str, ...],
) -> Iterator[Any]:
    """Return the new schema, and then each batch with shorter vectors."""
    import pyarrow as pa

    place = schema.get_field_index(name)
    field = schema.field(place)
    dtype = job.dtype_of(np.dtype(field.type.value_type.to_pandas_dtype()))
    number = pa.from_numpy_dtype(dtype)
    value = field.type.value_field.with_type(number)
    if pa.types.is_fixed_size_list(field.type):
        kind = pa.list_(value, job.keep)
    else:
        kind = (pa.large_list if pa.types.is_large_list(field.type) else pa.list_)(value)
    metadata = _with_length(schema.metadata, name, job.keep, str(dtype))
    new = schema.set(place, field.with_type(kind)).with_metadata(metadata)
    yield new
    waiting: deque[pa.RecordBatch] = deque()

    def vectors() -> Iterator[np.ndarray]:
        first = 0
        for batch in batches:
            waiting.append(batch)
            yield _to_numpy(batch.column(place), job, name, first)
            first += batch.num_rows

    source = np.dtype(field.type.value_type.to_pandas_dtype())
    for rows in job.rows(vectors(), source, counts, names):
        batch = waiting.popleft()
        columns = batch.columns
        columns[place] = _to_arrow(rows, kind)
        yield pa.RecordBatch.from_arrays(columns, schema=new)


def _find(schema: "pa.Schema", job: Job, file: str) -> list[str]:
    """Return the name of the column of vectors in a list; an empty list if there is none."""
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise ValueError(f"two columns are called {repeated[0]!r}")
    names = [field.name for field in schema if _is_vector(field.type)]
    if job.column is not None and names:
        if job.column not in names:
            raise InputError(
                f"{file}: no column of vectors is called {job.column!r}",
                expected=f"one of {listed(names)}",
                fix="name another with --column (column=)",
            )
        names = [job.column]
    if len(names) > 1:
        raise InputError(
            f"{file} has {len(names)} columns of vectors",
            expected=f"one of {listed(names)}",
            fix="name it with --column (column=), and the others in further runs",
        )
    for name in names:
        width = getattr(schema.field(name).type, "list_size", job.neurons)
        job.check_width(width, f"{file}, {name},")
    return names


def _is_vector(kind: "pa.DataType") -> bool:
    from pyarrow import types

    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(is_list and types.is_floating(kind.value_type))


def _to_numpy(column: Any, job: Job, name: str, first: int) -> np.ndarray:
    """Return a column of lists as ``[row, neuron]``, without a copy.

    Raises:
        InputError: a row has no vector, or one of another width.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        row = first + pc.index(column.is_null(), True).as_py()
        raise _no_vector(f"row {row:,} of {name} is missing", job)
    if not pa.types.is_fixed_size_list(column.type):
        wrong = pc.not_equal(pc.list_value_length(column), job.neurons)
        place = pc.index(wrong, True).as_py()
        if place >= 0:
            width = len(column[place])
            raise _no_vector(f"row {first + place:,} of {name} has {width:,} numbers", job)
    values = column.flatten()
    if values.null_count:
        row = first + pc.index(values.is_null(), True).as_py() // job.neurons
        raise _no_vector(f"row {row:,} of {name} lacks a number", job)
    array: np.ndarray = values.to_numpy(zero_copy_only=True)
    return array.reshape(len(column), job.neurons)


def _no_vector(came: str, job: Job) -> InputError:
    return InputError(
        came,
        expected=f"{job.neurons:,} numbers in each row",
        fix="leave such rows out, or encode them; rows are counted from 0",
    )


def _to_arrow(rows: np.ndarray, kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa

    values = pa.array(rows.reshape(-1))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, type=kind)
    is_large = pa.types.is_large_list(kind)
    offsets = np.arange(len(rows) + 1, dtype=np.int64 if is_large else np.int32) * rows.shape[1]
    array = pa.LargeListArray if is_large else pa.ListArray
    return array.from_arrays(pa.array(offsets), values, type=kind)


def _with_length(
    metadata: dict[bytes, bytes] | None, name: str, length: int, dtype: str
) -> dict[bytes, bytes] | None:
    """Correct what the library datasets keeps of the column: its length, and the type of numbers.

    Examples:
        >>> told = {"info": {"features": {"emb": {"feature": {"dtype": "float64"}, "length": 512}}}}
        >>> _with_length({b"huggingface": json.dumps(told).encode()}, "emb", 4, "float16")
        {b'huggingface': b'{"info": {"features": {"emb": {"feature": {"dtype": "float16"}, ...'}
    """
    try:
        told = json.loads((metadata or {})[b"huggingface"])
        feature = told["info"]["features"][name]
        feature["feature"]["dtype"] = dtype
        if feature.get("length", -1) != -1:
            feature["length"] = length
    except (KeyError, TypeError, ValueError, AttributeError):
        return metadata
    return {**(metadata or {}), b"huggingface": json.dumps(told).encode()}
