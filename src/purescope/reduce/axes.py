"""Read ``rotation.safetensors`` as arrays of NumPy, without importing torch.

`purescope.reduce.rotation` makes and writes the file, and says what it holds.
"""

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors

from purescope.errors import InputError
from purescope.files.reading import POINTER, check_safetensors, is_pointer
from purescope.specs import exists, to_path

FILE = "rotation.safetensors"
ARRAYS = ("image", "text", "spectrum")
ORTHONORMAL = 1e-4
"""Largest error of a product of two axes."""

_MOST = 1 << 14  # neurons
_UNREADABLE = (OSError, ValueError, TypeError, RuntimeError, struct.error)


@dataclass(frozen=True, eq=False)
class Axes:
    """The arrays of a rotation, float32: `image` and `text` [neuron, axis], `spectrum` [axis]."""

    file: Path
    image: np.ndarray
    text: np.ndarray
    spectrum: np.ndarray
    recipe: Mapping[str, str]


def read_axes(path: str | os.PathLike[str]) -> Axes:
    """Read a rotation; nothing in the file is executed.

    Args:
        path: the file, or the folder that holds ``rotation.safetensors``.

    Raises:
        InputError: it is missing or damaged, or is no rotation.
    """
    file = to_path(path)
    if exists(file) and file.is_dir():
        file = file / FILE
    if not exists(file):
        raise InputError(
            f"there is no file {file}",
            expected=f"the {FILE} that `purescope rebase` or `purescope export` wrote",
        )
    try:
        if is_pointer(file):
            raise InputError(POINTER, fix="git lfs pull")
        check_safetensors(file)
        return _read(file)
    except InputError as error:
        raise InputError(f"{file}: {error.came}", expected=error.expected, fix=error.fix) from error
    except (*_UNREADABLE, safetensors.SafetensorError) as error:
        raise InputError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or error}",
            expected=f"a complete {FILE}",
            fix="write it again with `purescope rebase`",
        ) from error


def _read(file: Path) -> Axes:
    """Read the arrays and the recipe of a file, whose sizes are checked before they are read."""
    with safetensors.safe_open(file, framework="np") as content:
        missing = [name for name in ARRAYS if name not in content.keys()]  # noqa: SIM118
        if missing:
            raise InputError(
                f"no tensor {' or '.join(missing)}",
                expected="image and text [neuron, axis] and spectrum [axis]",
            )
        shapes = {name: list(content.get_slice(name).get_shape()) for name in ARRAYS}
        if max((size for shape in shapes.values() for size in shape), default=0) > _MOST:
            raise InputError(
                f"tensors of the shapes {', '.join(map(str, shapes.values()))}",
                expected=f"at most {_MOST:,} neurons",
            )
        arrays = {name: content.get_tensor(name) for name in ARRAYS}
        recipe = dict(content.metadata() or {})
    for tower in ("image", "text"):
        _check(arrays[tower], tower)
    if shapes["image"] != shapes["text"] or shapes["spectrum"] != shapes["image"][1:]:
        raise InputError(
            f"axes of shape {shapes['image']} for images, {shapes['text']} for texts, and a "
            f"spectrum of shape {shapes['spectrum']}",
            expected="the same number of neurons and of axes",
        )
    return Axes(file, arrays["image"], arrays["text"], arrays["spectrum"], recipe)


def _check(axes: np.ndarray, tower: str) -> None:
    if axes.ndim != 2 or axes.dtype != np.float32 or not 1 <= axes.shape[1] <= len(axes):
        raise InputError(
            f"{tower} is {axes.dtype} of shape {list(axes.shape)}",
            expected="float32 axes [neuron, axis], at most one for each neuron",
        )
    with np.errstate(all="ignore"):
        error = float(np.abs(axes.T @ axes - np.eye(axes.shape[1])).max())
    if not error <= ORTHONORMAL:  # also for NaN
        raise InputError(
            f"{tower} holds axes whose products are wrong by {error:.2g}",
            expected="axes of length 1, orthogonal to each other",
            fix="write the rotation again with `purescope rebase`",
        )
