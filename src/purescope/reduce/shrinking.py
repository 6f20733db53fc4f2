"""Shrink collections of embeddings that exist already: rotate each row and keep its first axes.

Files are read in blocks, so that memory does not grow with the collection. Each file appears when
it is complete, with a record beside it. A run that was stopped goes on after the finished files,
and within a large one of ``.npy`` or safetensors.
"""

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from purescope import __version__
from purescope.errors import InputError, OutputError
from purescope.files.reading import open_regular
from purescope.files.resuming import resumable_path
from purescope.files.writing import atomic_path, lock_folder
from purescope.reduce import records
from purescope.reduce.axes import read_axes
from purescope.reduce.collections.formats import (
    go_on,
    reading,
    write_shorter,
    write_shorter_stream,
)
from purescope.reduce.collections.job import Job
from purescope.reduce.collections.npy import Sink, Stream
from purescope.reduce.planning import (
    Task,
    check_places,
    note_strangers,
    plan_tasks,
    source_paths,
    target_path,
)
from purescope.reduce.rows import BLOCK, Counts
from purescope.specs import exists

_log = logging.getLogger(__name__)


@dataclass
class Shrunk:
    """What `shrink` did.

    Args:
        files: the files of shorter vectors, in the order of their sources.
        rows: the number of vectors in them.
        rows_of_zeros: those of zeros, which stayed zeros.
        kept: how many of the files an earlier run had made already.
        copied: other files, copied as they are.
        bytes_before, bytes_after: sizes of the files of vectors; 0 for streams.
    """

    files: list[Path] = field(default_factory=list)
    rows: int = 0
    rows_of_zeros: int = 0
    kept: int = 0
    copied: list[Path] = field(default_factory=list)
    bytes_before: int = 0
    bytes_after: int = 0


def shrink(
    vectors: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Stream,
    out: str | os.PathLike[str] | Sink,
    *,
    by: str | os.PathLike[str],
    keep: int,
    dtype: str | None = None,
    normalise: bool = True,
    tower: str | None = None,
    column: str | None = None,
    array: str | None = None,
    overwrite: bool = False,
) -> Shrunk:
    """Write collections of embeddings again, expressed in the first axes of a rotation.

    Rows keep their order, other columns, arrays and files stay as they are. Nothing is unpickled.

    Args:
        vectors: files (``.npy``, ``.npz``, ``.safetensors``, Parquet, Arrow or Feather), folders
            that hold such files, or one open binary stream of an array of NumPy or of Arrow's IPC.
        out: the file for one file, the folder for a folder, the folder that gets a file or folder
            of the same name for several; or an open binary stream.
        by: ``rotation.safetensors``, or its folder.
        keep: number of axes to keep.
        dtype: ``float16`` or ``float32``; by default float16 for vectors of float16, and float32
            for all others.
        normalise: scale rows to unit length over the kept axes, as a smaller model does. Rows of
            zeros stay zeros.
        tower: ``image`` or ``text``, whose axes to take. By default the names of arrays, columns,
            files and folders say it; it makes no difference if both towers have the same axes.
        column: the column of vectors in tables that have several.
        array: the array to shrink in files that have several; by default all of the right width.
        overwrite: replace what an earlier run made with other options.

    Returns:
        What was done.

    Raises:
        InputError: a path is wrong, a file is damaged or of another width, or a row is not finite.
        OutputError: `out` holds something else, or cannot be written.

    Examples:
        >>> import tempfile
        >>> import numpy as np, torch
        >>> from purescope.reduce.rotation import Rotation, write_rotation
        >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> rotation = Rotation(quarter, quarter, torch.tensor([0.9, 0.1]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = write_rotation(rotation, Path(folder, "rotation.safetensors"))
        ...     np.save(Path(folder, "long.npy"), np.array([[0.6, 0.8], [0.8, 0.6]]))
        ...     short = Path(folder, "short.npy")
        ...     shrunk = shrink(Path(folder, "long.npy"), short, by=file, keep=1, normalise=False)
        ...     shrunk.rows, np.load(short).tolist()
        (2, [[0.800000011920929], [0.6000000238418579]])
    """
    job = _make_job(by, keep, dtype, normalise, tower, column, array)
    done = Shrunk()
    if _is_stream(vectors) or _is_stream(out):
        _shrink_stream(vectors, out, job, done, overwrite)
    else:
        _shrink_files(source_paths(vectors), target_path(out), job, done, overwrite)
    if done.rows_of_zeros:
        warnings.warn(
            f"{done.rows_of_zeros:,} of {done.rows:,} rows are zeros, and stay zeros",
            stacklevel=2,
        )
    if not done.rows:
        warnings.warn("the collection is empty: it holds no rows", stacklevel=2)
    return done


def _make_job(
    by: str | os.PathLike[str],
    keep: int,
    dtype: str | None,
    normalise: bool,
    tower: str | None,
    column: str | None,
    array: str | None,
) -> Job:
    for name, value, known in (
        ("dtype", dtype, ("float32", "float16")),
        ("tower", tower, ("image", "text")),
    ):
        if value not in (None, *known):
            raise InputError(f"{name} {value!r}", expected=f"{known[0]} or {known[1]}")
    axes = read_axes(by)
    most = axes.image.shape[1]
    if not 1 <= keep <= most:
        raise InputError(
            f"{keep:,} axes to keep",
            expected=f"1 to {most:,}, the axes of {axes.file}",
            fix="choose another --keep",
        )
    return Job(axes, keep, dtype, normalise, tower, column, array)


def _shrink_files(sources: list[Path], out: Path, job: Job, done: Shrunk, overwrite: bool) -> None:
    is_folder = len(sources) > 1 or sources[0].is_dir()
    check_places(sources, out, is_folder=is_folder)
    tasks = list(plan_tasks(sources, out, job))
    options = records.describe_options(job)
    with lock_folder(out) if is_folder else nullcontext():
        # What is wrong with OUT is said before anything is written.
        finished = {
            task.target: records.is_finished(task.target, options, task.source, overwrite=overwrite)
            for task in tasks
            if not task.is_copy
        }
        if is_folder:
            note_strangers(out, tasks)
        for number, task in enumerate(tasks, start=1):
            if task.is_copy:
                _copy(task, overwrite)
                done.copied.append(task.target)
                continue
            _log.info("shrinking %s (%d of %d)", task.source, number, len(tasks))
            record = finished[task.target]
            if record is None:
                record = _make(task, job, options)
            else:
                done.kept += 1
            done.files.append(task.target)
            done.rows += record["rows"]
            done.rows_of_zeros += record["rows_of_zeros"]
            done.bytes_before += task.source.stat().st_size
            done.bytes_after += task.target.stat().st_size


def _make(task: Task, job: Job, options: dict[str, Any]) -> dict[str, Any]:
    """Write one file and its record, and return the numbers of rows."""
    counts = Counts()
    with reading(str(task.source)):
        before = records.describe_source(task.source)
    made_of = {"purescope": __version__, "block": BLOCK, "shrunk": options, "source": before}
    with resumable_path(task.target, made_of) as partial:
        if partial.position:
            _log.info("%s: going on after %s bytes", task.target, f"{partial.position:,}")
        go_on(task.source, partial, job, counts)
        partial.file.flush()
        with reading(str(task.source)):
            # Some formats are not read from end to end.
            is_whole = counts.crc32 is not None and counts.bytes == before["bytes"]
            crc32 = counts.crc32 if is_whole else records.checksum(task.source)
            if records.describe_source(task.source) != before:
                raise InputError(
                    f"{task.source} was changed while it was read",
                    expected="a file that nothing writes to",
                    fix="run the command again",
                )
        size = partial.path.stat().st_size
        records.write_record(task.target, options, {**before, "crc32": crc32}, counts, size)
    return {"rows": counts.rows, "rows_of_zeros": counts.zeros}


def _copy(task: Task, overwrite: bool) -> None:
    """Copy a file that holds no vectors, unless the same file is there already.

    Raises:
        OutputError: another file is there.
    """
    if exists(task.target):
        with reading(str(task.source)):
            if _are_equal(task.source, task.target):
                return
        if not overwrite:
            raise OutputError(
                f"{task.target} exists, and is not the {task.source.name} that is to be copied",
                expected="a new file, or an equal one",
                fix="choose another --out, or replace it with --overwrite (overwrite=True)",
            )
    with atomic_path(task.target) as temporary:
        with reading(str(task.source)):
            source = open_regular(task.source)
        with source, temporary.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)


def _are_equal(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    return records.checksum(one) == records.checksum(other)


def _is_stream(given: Any) -> bool:
    return hasattr(given, "read") or hasattr(given, "write")


def _shrink_stream(vectors: Any, out: Any, job: Job, done: Shrunk, overwrite: bool) -> None:
    """Shrink from a stream, to a stream, or both; only an output that is a file is atomic."""
    counts = Counts()
    if _is_stream(vectors):

        def write(target: Any) -> None:
            write_shorter_stream(vectors, target, job, counts)
    else:
        sources = source_paths(vectors)
        if len(sources) > 1 or sources[0].is_dir():
            raise InputError(
                "several files of vectors to one stream",
                expected="one file",
                fix="name one file, or a folder as --out",
            )
        [task] = plan_tasks(sources, Path(sources[0].name), job)

        def write(target: Any) -> None:
            write_shorter(task.source, target, job, counts)

    if _is_stream(out):
        _write_out(out, write)
    else:
        path = target_path(out)
        options = records.describe_options(job)
        if path.is_dir():
            raise OutputError(f"{path} is a folder", expected="a file", fix="choose another --out")
        records.is_finished(path, options, None, overwrite=overwrite)
        with atomic_path(path) as temporary:
            with temporary.open("wb") as target:
                write(target)
            size = temporary.stat().st_size
            source_state = {"name": "standard input", "bytes": counts.bytes, "crc32": counts.crc32}
            records.write_record(path, options, source_state, counts, size)
        done.files.append(path)
        done.bytes_after = size
    done.rows, done.rows_of_zeros = counts.rows, counts.zeros


def _write_out(out: Any, write: Callable[[Any], None]) -> None:
    try:
        write(out)
        if hasattr(out, "flush"):
            out.flush()
    except OSError as error:
        raise OutputError(
            f"cannot write standard output: {error.strerror or error}",
            fix="write to a file with --out",
        ) from error
