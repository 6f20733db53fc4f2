"""Read the vectors of a collection block by block, in every format that `shrink` reads.

Nothing is written: a file is "shrunk" into nothing, and its blocks of rows are taken on their way.
So there is one reader of each format.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from purescope.errors import InputError, listed
from purescope.files.npz import read_header
from purescope.files.reading import open_whole
from purescope.reduce.axes import Axes
from purescope.reduce.collections import npy, npz, tables, tensors
from purescope.reduce.collections.formats import FORMATS, find_vectors, reading, write_shorter
from purescope.reduce.collections.job import Job
from purescope.reduce.rows import Counts
from purescope.specs import exists

_MOST = 1 << 14  # dimensions


class _Nothing:
    """A sink that forgets what it gets."""

    def write(self, content: Any, /) -> int:
        return memoryview(content).nbytes


@dataclass(frozen=True, eq=False)
class _Reading(Job):
    """A job that hands each block of rows to `take`, in float32, and writes nothing of use."""

    take: Callable[[np.ndarray], object] = lambda block: None

    def check_width(self, width: int, name: str) -> None:
        if width != self.neurons:
            raise InputError(
                f"{name} holds vectors of {width:,} dimensions",
                expected=f"{self.neurons:,}, as in {self.axes.file}",
                fix="give embeddings of one model; name the array with --array (array=)",
            )

    def rows(
        self,
        blocks: Iterable[np.ndarray],
        dtype: np.dtype,
        counts: Counts,
        names: tuple[str, ...],
        first: int = 0,
    ) -> Iterator[np.ndarray]:
        for block in blocks:
            rows = _to_float32(block)
            broken = ~np.isfinite(rows).all(axis=1)
            if broken.any():
                raise InputError(
                    f"{names[0]}: row {counts.rows + int(broken.argmax()):,} is not finite",
                    expected="numbers that are neither NaN nor infinite",
                    fix="leave such rows out, or encode them again; rows are counted from 0",
                )
            counts.rows += len(rows)
            self.take(rows)
            yield np.zeros((len(rows), self.keep), self.dtype_of(dtype))


def _to_float32(block: np.ndarray) -> np.ndarray:
    if block.dtype == np.uint16:  # bfloat16, as its bits
        return (block.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # infinite then, and refused
        return np.array(block, dtype=np.float32)


@dataclass(frozen=True)
class Vectors:
    """The vectors of a file, or of all files of a folder in the order of their names.

    Args:
        files: the files that hold some.
        neurons: the number of dimensions of each.
        column: the column of vectors in tables that have several.
        array: the array in files that have several.
    """

    files: tuple[Path, ...]
    neurons: int
    column: str | None = None
    array: str | None = None

    def each_block(self, take: Callable[[np.ndarray], object]) -> None:
        """Hand all vectors to a function, block by block.

        Args:
            take: gets ``[row, neuron]`` float32.

        Raises:
            InputError: a file cannot be read, or a value is NaN or infinite.
        """
        job = _job(self, take)
        for file in self.files:
            write_shorter(file, _Nothing(), job, Counts())


def _job(vectors: Vectors, take: Callable[[np.ndarray], object]) -> _Reading:
    eye = np.eye(vectors.neurons, 1, dtype=np.float32)
    axes = Axes(vectors.files[0], eye, eye, eye[0], {})
    return _Reading(axes, 1, None, True, "image", vectors.column, vectors.array, take)


def open_vectors(path: Path, *, column: str | None = None, array: str | None = None) -> Vectors:
    """Find the vectors of a file of one of the `FORMATS`, or of all such files of a folder.

    Args:
        path: the file or folder.
        column: the column of vectors in tables that have several.
        array: the array in files that have several.

    Raises:
        InputError: nothing is there, or it cannot be read, or holds no or several sets of vectors.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("0", "1"):
        ...         np.save(Path(folder, name), np.ones((3, 4), dtype=np.float16))
        ...     vectors = open_vectors(Path(folder))
        ...     vectors.each_block(lambda block: print(block.dtype, block.shape))
        float32 (3, 4)
        float32 (3, 4)
    """
    widths = {}
    for file in _find_files(path):
        with reading(str(file)):
            width = _find_width(file, column, array)
        if width is None:
            continue
        if not 1 <= width <= _MOST:
            raise InputError(
                f"{file} holds vectors of {width:,} dimensions", expected=f"1 to {_MOST:,}"
            )
        widths[file] = width
    if not widths:
        raise InputError(
            f"{path} holds no vectors",
            expected=f"rows of floating-point numbers, in files that end in {' '.join(FORMATS)}",
            fix="name a file or folder of embeddings",
        )
    vectors = Vectors(tuple(widths), next(iter(widths.values())), column, array)
    job = _job(vectors, lambda block: None)
    for file in vectors.files:
        names = find_vectors(file, job)
        if len(names) > 1:
            raise InputError(
                f"{file} holds {len(names)} arrays of vectors",
                expected=f"one of {listed(names)}",
                fix="name it: --array NAME (array=)",
            )
    return vectors


def _find_files(path: Path) -> list[Path]:
    if not exists(path):
        raise InputError(
            f"there is no file or folder {path}",
            expected=f"a collection of vectors: a folder, or a file that ends in "
            f"{' '.join(FORMATS)}",
            fix="check the path",
        )
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix.lower() in FORMATS)


def _find_width(file: Path, column: str | None, array: str | None) -> int | None:
    """Return the number of dimensions of the vectors in a file; None if it holds none."""
    ending = file.suffix.lower()
    if ending == ".npy":
        with open_whole(file) as stream:
            header = read_header(stream, file.name)
        return header.shape[1] if npy.is_matrix(header) else None
    if ending in (".npz", ".safetensors"):
        widths = npz.widths(file) if ending == ".npz" else tensors.widths(file)
        first = next(iter(widths.values()), None)
        return first if array is None else widths.get(array, first)
    return tables.read_width(file, column) if ending in FORMATS else None
