"""Safetensors: the vectors are read and written in blocks, everything else is copied."""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from purescope.files.reading import check_safetensors, open_whole
from purescope.files.resuming import Partial
from purescope.reduce.collections import npy
from purescope.reduce.collections.job import Job, names_of
from purescope.reduce.rows import Counts, block_rows

# bfloat16, which NumPy lacks, is read as its bits.
_FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
_CODES = {"float16": "F16", "float32": "F32"}
_LARGEST_FIRST = ("64", "32", "16", "8")  # numbers of bits: tensors stay aligned, as in the library


@dataclass(frozen=True)
class _Tensor:
    name: str
    code: str
    shape: tuple[int, ...]
    start: int  # in the file
    bytes: int

    @property
    def is_matrix(self) -> bool:
        return self.code in _FLOATS and len(self.shape) == 2


def find_vectors(file: Path, job: Job) -> list[str]:
    """Return the names of the tensors that are vectors.

    Raises:
        InputError: no matrix has the right width.
        OSError, ValueError, safetensors.SafetensorError: it cannot be read.
    """
    return job.choose(widths(file), str(file))


def widths(file: Path) -> dict[str, int]:
    """Return the width of each matrix of floating-point numbers.

    Raises:
        OSError, ValueError, safetensors.SafetensorError: it cannot be read.
    """
    tensors, _ = _read_header(file)
    return {tensor.name: tensor.shape[1] for tensor in tensors if tensor.is_matrix}


def write(
    file: Path, target: npy.Sink, job: Job, counts: Counts, partial: Partial | None = None
) -> None:
    """Write a file with shorter vectors; other tensors and the metadata stay as they are.

    A file that is partly written goes on at its next tensor, or at the next rows of one.

    Raises:
        InputError: a row cannot be used.
        OSError, ValueError, safetensors.SafetensorError: it cannot be read.
    """
    chosen, (tensors, metadata) = find_vectors(file, job), _read_header(file)
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    codes = {tensor.name: tensor.code for tensor in tensors}
    codes |= {
        tensor.name: _CODES[job.dtype_of(_dtype(tensor)).name]
        for tensor in tensors
        if tensor.name in chosen
    }
    tensors.sort(key=lambda tensor: _rank(codes[tensor.name]))
    end = 0
    for tensor in tensors:
        size, shape = tensor.bytes, tensor.shape
        if tensor.name in chosen:
            shape = (tensor.shape[0], job.keep)
            size = math.prod(shape) * (2 if codes[tensor.name] == "F16" else 4)
        header[tensor.name] = {
            "dtype": codes[tensor.name],
            "shape": list(shape),
            "data_offsets": [end, end + size],
        }
        end += size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    state = {} if partial is None else partial.state
    start, counts.zeros = state.get("tensor", 0), state.get("zeros", 0)
    counts.rows = sum(tensor.shape[0] for tensor in tensors[:start] if tensor.name in chosen)
    if not state:
        target.write(struct.pack("<Q", len(text)) + text)
    with open_whole(file) as stream:
        for number, tensor in enumerate(tensors[start:], start=start):
            done = state.get("rows", 0) if number == start else 0
            if tensor.name not in chosen:
                stream.seek(tensor.start)
                _copy(stream, target, tensor.bytes)
            else:
                counts.rows += done
                names = (tensor.name, *names_of(file))
                blocks = _blocks(stream, tensor, done)
                for rows in job.rows(blocks, _dtype(tensor), counts, names, done):
                    target.write(rows.data.cast("B") if rows.size else b"")
                    done += len(rows)
                    if partial is not None:
                        partial.note(tensor=number, rows=done, zeros=counts.zeros)
            if partial is not None:
                partial.note(tensor=number + 1, rows=0, zeros=counts.zeros)


def _read_header(file: Path) -> tuple[list[_Tensor], dict[str, str]]:
    check_safetensors(file)
    with safetensors.safe_open(file, framework="np"):  # checks every shape, type and place
        pass
    with open_whole(file) as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    metadata = header.pop("__metadata__", {})
    tensors = [
        _Tensor(name, entry["dtype"], tuple(entry["shape"]), 8 + length + start, end - start)
        for name, entry in header.items()
        for start, end in [entry["data_offsets"]]
    ]
    return sorted(tensors, key=lambda tensor: tensor.start), metadata


def _dtype(tensor: _Tensor) -> np.dtype:
    return np.dtype(_FLOATS[tensor.code])


def _rank(code: str) -> int:
    places = [place for place, bits in enumerate(_LARGEST_FIRST) if bits in code]
    return places[0] if places else len(_LARGEST_FIRST)


def _blocks(stream: Any, tensor: _Tensor, start: int) -> Iterator[np.ndarray]:
    """Read rows from number `start` on."""
    (count, neurons), step = tensor.shape, block_rows(tensor.shape[1])
    stream.seek(tensor.start + start * neurons * _dtype(tensor).itemsize)
    for first in range(start, count, step):
        shape = (min(step, count - first), neurons)
        yield npy.read_block(stream, np.empty(shape, _dtype(tensor)))


def _copy(stream: npy.Stream, target: npy.Sink, count: int) -> None:
    while count:
        content = stream.read(min(count, 1 << 20))
        if not content:
            raise ValueError(f"it ends {count:,} bytes before a tensor does")
        target.write(content)
        count -= len(content)
