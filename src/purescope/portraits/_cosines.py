"""The cosines of all pairs of a model's neurons, and the file of a run's folder where they are kept."""

from pathlib import Path

import numpy as np
from jaxtyping import Float16, Float32

from purescope.errors import InputError
from purescope.features._npz import Npz
from purescope.purity import Projections, cosine_gram
from purescope.specs import exists
from purescope.tables import AGAIN, atomic_path, slug

_TOWERS = ("image", "text")
_MOST = 1.001  # a cosine of 1 in half precision


def cosine_maps(projections: Projections) -> dict[str, Float16[np.ndarray, "neuron neuron"]]:
    """Cosines of the neurons of each tower, ``image`` and ``text``, in their own numbering; 0 for a dead one.

    Half precision: a thousandth of a cosine is more than a picture shows.

    Examples:
        >>> import torch
        >>> cosine_maps(Projections(torch.eye(2), torch.ones(2, 3)))["text"].tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    return {tower: cosine_gram(getattr(projections, tower)).half().numpy() for tower in _TOWERS}


def write_cosines(projections: Projections, folder: Path, label: str) -> None:
    """Keep a model's `cosine_maps` in ``cosines_LABEL.npz``.

    Raises:
        OutputError: the folder or the disk does not take it.
    """
    with atomic_path(_file(folder, label)) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **cosine_maps(projections))


def read_cosines(folder: Path, label: str) -> dict[str, Float32[np.ndarray, "neuron neuron"]] | None:
    """The `cosine_maps` that a folder keeps of a model, in single precision; None where it keeps none.

    Raises:
        InputError: they are there but cannot be read.
    """
    path = _file(folder, label)
    if not exists(path):
        return None
    try:
        with Npz(path, _TOWERS) as arrays:
            arrays.require_room(3 * sum(member.bytes for member in arrays.members.values()))
            return {tower: _checked(arrays.read(tower), tower) for tower in _TOWERS}
    except Exception as error:  # a damaged archive can make zipfile, zlib and numpy raise anything
        reason = f"no array {error}" if isinstance(error, KeyError) else getattr(error, "came", None) or str(error)
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
