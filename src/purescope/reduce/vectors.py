"""Read embeddings that exist already from ``.npy`` files, block by block, whatever their size.

A collection is one file ``[row, neuron]``, a folder of such files, or a folder of clip-retrieval,
which has them in ``img_emb`` and ``text_emb``. Nothing is unpickled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from purescope.errors import InputError
from purescope.features.features import check_finite
from purescope.files.reading import POINTER, is_pointer
from purescope.specs import exists

BLOCK = 1 << 13
"""Rows of a block; the same for every file, so that a seed draws the same rows again."""

_MOST = 1 << 14  # neurons
_IMAGE, _TEXT = "img_emb", "text_emb"


@dataclass(frozen=True)
class Vectors:
    """The files of embeddings of one tower, in the order of their names.

    Args:
        files: the files, each an array ``[row, neuron]`` of floats.
        rows: the number of rows in all files.
        neurons: the number of dimensions of each.
    """

    files: tuple[Path, ...]
    rows: int
    neurons: int

    def blocks(self) -> Iterator[Float32[Tensor, "_ neuron"]]:
        """Read the rows in order, as float32.

        Raises:
            InputError: a file cannot be read any more, or a value is NaN or infinite.
        """
        for file in self.files:
            array = _open(file)
            for first in range(0, len(array), BLOCK):
                rows = torch.from_numpy(np.array(array[first : first + BLOCK], dtype=np.float32))
                check_finite(rows, str(file), first_row=first)
                yield rows


def open_vectors(path: Path) -> tuple[Vectors, Vectors | None]:
    """Open the embeddings of images, or of anything, and those of texts if there are some.

    Args:
        path: a ``.npy`` file, a folder of them, or a folder of clip-retrieval.

    Raises:
        InputError: there are none, or one is damaged, or their widths differ.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("0", "1"):
        ...         np.save(Path(folder, name), np.ones((3, 4), dtype=np.float16))
        ...     image, text = open_vectors(Path(folder))
        >>> image.rows, image.neurons, text
        (6, 4, None)
    """
    if not exists(path):
        raise InputError(
            f"there is no file or folder {path}",
            expected="a .npy file of embeddings [row, neuron], or a folder of them",
            fix="check the path",
        )
    if not path.is_dir():
        return _open_files((path,), path), None
    if not (path / _IMAGE).is_dir():
        return _open_folder(path), None
    text = _open_folder(path / _TEXT) if (path / _TEXT).is_dir() else None
    image = _open_folder(path / _IMAGE)
    if text is not None and text.neurons != image.neurons:
        raise InputError(
            f"{path}: {image.neurons:,} dimensions in {_IMAGE}, {text.neurons:,} in {_TEXT}",
            expected="embeddings of one model",
        )
    return image, text


def _open_folder(folder: Path) -> Vectors:
    files = tuple(sorted(folder.glob("*.npy")))
    if not files:
        raise InputError(
            f"{folder}: no .npy files in it",
            expected="embeddings [row, neuron] in .npy files",
            fix="name a file .npz or .safetensors of features, or the folder of the .npy files",
        )
    return _open_files(files, folder)


def _open_files(files: tuple[Path, ...], where: Path) -> Vectors:
    arrays = [_open(file) for file in files]
    widths = {array.shape[1]: file for array, file in zip(arrays, files, strict=True)}
    if len(widths) > 1:
        (first, one), (second, other), *_ = widths.items()
        raise InputError(
            f"{first:,} dimensions in {one}, {second:,} in {other}",
            expected="embeddings of one model in all files of a folder",
        )
    rows = sum(map(len, arrays))
    if not rows:
        raise InputError(f"{where}: no embeddings in it", expected="at least one row")
    return Vectors(files, rows, next(iter(widths)))


def _open(file: Path) -> np.ndarray:
    """Map an array into memory.

    Raises:
        InputError: it is damaged, or no array of floats ``[row, neuron]``.
    """
    expected = "an array of floats [row, neuron], as numpy.save writes it"
    try:
        if is_pointer(file):
            raise InputError(f"{file}: {POINTER}", fix="git lfs pull")
        array = np.lib.format.open_memmap(file, mode="r")
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"{file} cannot be read: {reason.splitlines()[0]}",
            expected=expected,
            fix="write it again with numpy.save",
        ) from error
    if array.dtype.kind != "f" or array.ndim != 2 or not 1 <= array.shape[1] <= _MOST:
        raise InputError(
            f"{file} is {array.dtype} of shape {list(array.shape)}",
            expected=f"{expected}, of at most {_MOST:,} neurons",
        )
    return array
