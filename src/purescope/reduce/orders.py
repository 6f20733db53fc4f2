"""Read an order of neurons from a file, and turn it into a rotation: its axes are the neurons."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from purescope.errors import InputError, listed
from purescope.files.reading import read_json, read_text
from purescope.maths.overlaps import Projections, side_by_side
from purescope.reduce.rotation import Rotation
from purescope.specs import exists

_COLUMN = "neuron"
_EXPECTED = (
    "a .csv with a column neuron, a .json list, a .txt with one number a line, or a .npy array: "
    "numbers of neurons from 0, the first kept first"
)


def read_order(path: Path) -> list[int]:
    r"""Read an order of neurons.

    Args:
        path: a table with a column ``neuron``, such as ``purity_LABEL.csv`` of `purescope purity`;
            a list in JSON; a text with one number on a line; or a ``.npy`` array.

    Raises:
        InputError: it is missing or damaged, or holds something else than numbers of neurons.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "purity_mine.csv")
        ...     text = file.write_text("rank,neuron,purity\n1,2,9.5\n2,0,7.1\n")
        ...     read_order(file)
        [2, 0]
    """
    if not exists(path):
        raise InputError(f"there is no file {path}", expected=_EXPECTED, fix="check the path")
    try:
        entries = _READERS[path.suffix.lower()](path)
        numbers = [int(str(entry).strip()) for entry in entries]
    except KeyError as error:
        raise InputError(f"an order in {path}", expected=_EXPECTED) from error
    except (OSError, ValueError, EOFError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"{path} cannot be read as an order: {reason.splitlines()[0]}", expected=_EXPECTED
        ) from error
    if not numbers:
        raise InputError(f"{path}: no neurons in it", expected=_EXPECTED)
    return numbers


def order_rotation(
    order: Sequence[int],
    neurons: int,
    projections: Projections | None = None,
    *,
    recipe: Mapping[str, str] | None = None,
) -> Rotation:
    """Return the rotation whose axes are neurons, in an order.

    Args:
        order: numbers of neurons, each at most once; they need not be all.
        neurons: the number of dimensions of the embedding.
        projections: the weights whose squared length the spectrum divides; every neuron has the
            same share if there are none.
        recipe: what the file says of its origin.

    Raises:
        InputError: a number is no neuron, or occurs twice.

    Examples:
        >>> order_rotation([2, 0], 3).apply(torch.tensor([[5.0, 6.0, 7.0]]), normalise=False)
        tensor([[7., 5.]])
    """
    wrong = sorted({number for number in order if not 0 <= number < neurons})
    twice = sorted(number for number, times in Counter(order).items() if times > 1)
    if wrong or twice:
        raise InputError(
            f"an order with {'neuron' if wrong else 'twice neuron'} "
            f"{listed(map(str, wrong or twice), 3)}",
            expected=f"each of 0 to {neurons - 1:,} at most once: the neurons of this model",
        )
    places = torch.tensor(list(order))
    energy = torch.ones(neurons).double()
    if projections is not None:
        energy = side_by_side(projections).square().sum(dim=1)
    spectrum = energy / energy.sum().clamp(min=torch.finfo(energy.dtype).tiny)
    matrix = torch.eye(neurons)[:, places]
    made = {"axes": "neurons", "neurons": str(neurons), "kept": str(len(order))}
    return Rotation(matrix, matrix, spectrum[places].float(), {**made, **(recipe or {})})


def _read_csv(path: Path) -> list[Any]:
    rows = list(csv.reader(read_text(path).splitlines()))
    if not rows or _COLUMN not in rows[0]:
        raise ValueError(f"it has no column {_COLUMN}, only {listed(rows[0] if rows else [], 5)}")
    place = rows[0].index(_COLUMN)
    short = [number for number, row in enumerate(rows[1:], 2) if 0 < len(row) <= place]
    if short:
        raise ValueError(f"its line {short[0]} is too short")
    return [row[place] for row in rows[1:] if row]


def _read_json(path: Path) -> list[Any]:
    content = read_json(path)
    if not isinstance(content, list):
        raise ValueError(f"it holds a {type(content).__name__}, no list")
    return content


def _read_txt(path: Path) -> list[Any]:
    return read_text(path).split()


def _read_npy(path: Path) -> list[Any]:
    array = np.lib.format.open_memmap(path, mode="r")
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ValueError(f"it is {array.dtype} of shape {list(array.shape)}")
    return list(array.tolist())


_READERS = {".csv": _read_csv, ".json": _read_json, ".txt": _read_txt, ".npy": _read_npy}
