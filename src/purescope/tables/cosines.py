"""The file of a run's folder that keeps the cosines of all pairs of a model's neurons."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32
from numpy.typing import ArrayLike

from purescope.errors import InputError
from purescope.files.npz import Npz
from purescope.files.writing import AGAIN, atomic_path, slug
from purescope.specs import exists

TOWERS = ("image", "text")
_SHOWN = 0.99  # of the cosines that the colours tell apart
_MOST = 1.001  # a cosine of 1 in half precision


def write_cosines(
    maps: Mapping[str, Float16[np.ndarray, "neuron neuron"]], folder: Path, label: str
) -> None:
    """Keep a model's cosines, of each tower, in ``cosines_LABEL.npz``.

    Raises:
        OutputError: the folder or the disk does not take it.
    """
    with atomic_path(_file(folder, label)) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **maps)


def read_cosines(
    folder: Path, label: str
) -> dict[str, Float32[np.ndarray, "neuron neuron"]] | None:
    """The cosines of each tower that a folder keeps of a model, in single precision; None where it
    keeps none.

    Raises:
        InputError: they are there but cannot be read.
    """
    path = _file(folder, label)
    if not exists(path):
        return None
    try:
        with Npz(path, TOWERS) as arrays:
            arrays.require_room(3 * sum(member.bytes for member in arrays.members.values()))
            return {tower: _checked(arrays.read(tower), tower) for tower in TOWERS}
    except Exception as error:  # a damaged archive can make zipfile, zlib and numpy raise anything
        reason = (
            f"no array {error}"
            if isinstance(error, KeyError)
            else getattr(error, "came", None) or str(error)
        )
        raise InputError(
            f"{path} cannot be read: {reason}",
            expected="the cosines of a purescope run",
            fix=AGAIN,
        ) from error


def _checked(cosines: np.ndarray, tower: str) -> Float32[np.ndarray, "neuron neuron"]:
    """Refuse what are no cosines of all pairs."""
    if cosines.dtype != np.float16 or cosines.ndim != 2 or cosines.shape[0] != cosines.shape[1]:
        raise ValueError(f"{tower} is {cosines.dtype} of shape {list(cosines.shape)}")
    single = cosines.astype(np.float32)
    if not (np.abs(single) <= _MOST).all():
        raise ValueError(f"{tower} holds what is no cosine")
    return single


def _file(folder: Path, label: str) -> Path:
    return folder / f"cosines_{slug(label)}.npz"


def colour_limit(*matrices: Any) -> float:
    """Return the 99 % quantile of all absolute cosines off the diagonals; 1 where all are 0.

    Examples:
        >>> round(colour_limit([[1.0, 0.2], [0.2, 1.0]], [[1.0, -0.4], [-0.4, 1.0]]), 3)
        0.4
    """
    others = [check_cosines(matrix)[~np.eye(len(matrix), dtype=bool)] for matrix in matrices]
    values = np.concatenate(others)
    return float(np.quantile(values, _SHOWN)) or 1.0 if len(values) else 1.0


def check_cosines(cosines: ArrayLike) -> Any:
    """Return the absolute cosines of all pairs of neurons.

    Raises:
        InputError: they are no square matrix, or not finite.
    """
    matrix = np.abs(np.asarray(cosines, dtype=np.float32))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise InputError(f"cosines of shape {list(matrix.shape)}", expected="[neuron, neuron]")
    if not np.isfinite(matrix).all():
        raise InputError(
            "cosines that are NaN or infinite", expected="finite ones; those of a dead neuron are 0"
        )
    return matrix
