"""Keep the cosines of all pairs of a model's neurons in a file of the run's folder."""

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
_SHOWN = 0.99  # share of the cosines whose colours differ
_LARGEST = 1.001  # a cosine of 1 in half precision


def write_cosines(
    maps: Mapping[str, Float16[np.ndarray, "neuron neuron"]], folder: Path, label: str
) -> None:
    """Write the cosines of both towers of a model to ``cosines_LABEL.npz``.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_path(_file(folder, label)) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **maps)


def read_cosines(
    folder: Path, label: str
) -> dict[str, Float32[np.ndarray, "neuron neuron"]] | None:
    """Read the cosines of both towers of a model, in single precision; None if there are none.

    Raises:
        InputError: the file cannot be read.
    """
    path = _file(folder, label)
    if not exists(path):
        return None
    try:
        with Npz(path, TOWERS) as arrays:
            arrays.require_room(3 * sum(member.bytes for member in arrays.members.values()))
            return {tower: _checked(arrays.read(tower), tower) for tower in TOWERS}
    except Exception as error:  # a damaged archive can make zipfile, zlib and numpy raise anything
        reason = getattr(error, "came", None) or str(error)
        if isinstance(error, KeyError):
            reason = f"no array {error}"
        raise InputError(
            f"{path} cannot be read: {reason}",
            expected="the cosines of a purescope run",
            fix=AGAIN,
        ) from error


def _checked(cosines: np.ndarray, tower: str) -> Float32[np.ndarray, "neuron neuron"]:
    """Refuse an array that does not hold the cosines of all pairs."""
    if cosines.dtype != np.float16 or cosines.ndim != 2 or cosines.shape[0] != cosines.shape[1]:
        raise ValueError(f"{tower} is {cosines.dtype} of shape {list(cosines.shape)}")
    single = cosines.astype(np.float32)
    if not (np.abs(single) <= _LARGEST).all():
        raise ValueError(f"{tower} holds a value that is no cosine")
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
        InputError: the matrix is not square, or not finite.
    """
    matrix = np.abs(np.asarray(cosines, dtype=np.float32))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise InputError(f"cosines of shape {list(matrix.shape)}", expected="[neuron, neuron]")
    if not np.isfinite(matrix).all():
        raise InputError(
            "cosines that are NaN or infinite", expected="finite ones; those of a dead neuron are 0"
        )
    return matrix
