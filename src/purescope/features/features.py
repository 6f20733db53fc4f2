"""Hold the features of one model on one dataset, and check them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from purescope.datasets.dataset import check_class_count, check_class_names
from purescope.errors import InputError
from purescope.formats import definitions
from purescope.parallel import per_turn

_LOGIT_SCALE = 100.0

_PLURALS = {"class": "classes", "caption": "captions"}

# Numbers in a block of rows. Rows are checked block by block, without a second copy of all
# features.
_BLOCK = 1 << 17

# Types of 8 bits keep one digit or none, and need scales that no file here has.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class Features:
    """Image and class features of one model on one dataset.

    Args:
        image: ``[image, neuron]``, unit rows over all neurons; a row of zeros stays zeros.
        text: ``[class, neuron]``, unit rows: the mean over templates of unit text features,
            renormalised.
        labels: ``[image]`` int64, each an index into `classes`.
        classes: raw class names, at least two; by default ``class 0``, ``class 1`` and so on.
        model, dataset: short names, for tables and titles.
        identity: everything that the numbers depend on, to be recorded beside them.
        seconds: duration of the encoding.

    Raises:
        InputError: shapes do not fit, a value is NaN or infinite, a label is outside the classes,
            or a class has no name.

    Examples:
        >>> eye = torch.eye(2)
        >>> features = Features(eye, eye, torch.tensor([0, 1]), ("cat", "dog"))
        >>> predicted = (features.image @ features.text.T).argmax(dim=1)
        >>> [features.classes[label] for label in predicted]
        ['cat', 'dog']
        >>> Features(eye, eye, torch.tensor([0, 1])).classes
        ('class 0', 'class 1')
    """

    image: Float[Tensor, "image neuron"]
    text: Float[Tensor, "class neuron"]
    labels: Int64[Tensor, " image"]
    classes: tuple[str, ...] = ()
    model: str = "model"
    dataset: str = "dataset"
    identity: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.classes:
            numbered = tuple(f"class {place}" for place in range(len(self.text)))
            object.__setattr__(self, "classes", numbered)
        check_arrays(self.image, self.text, self.labels, len(self.classes))
        check_class_names(self.classes, InputError)

    @property
    def logit_scale(self) -> float:
        """The factor of the logits, from ``identity["model_logit_scale"]``; 100 if unknown.

        100 is the largest scale that CLIP's training allows (Radford et al. 2021). Accuracies do
        not depend on it, losses do.

        Examples:
            >>> eye, labels = torch.eye(2), torch.tensor([0, 1])
            >>> Features(eye, eye, labels, identity={"model_logit_scale": "34.5"}).logit_scale
            34.5
        """
        try:
            scale = float(self.identity.get("model_logit_scale", _LOGIT_SCALE))
        except ValueError:
            return _LOGIT_SCALE
        return scale if 0 < scale < math.inf else _LOGIT_SCALE

    def _repr_html_(self) -> str:
        images, neurons = self.image.shape
        entries = {
            "images": f"{images:,}",
            "classes": f"{len(self.classes):,}",
            "neurons": f"{neurons:,}",
        }
        known = {
            name: self.identity[name] for name in ("protocol", "templates") if name in self.identity
        }
        return definitions(f"Features of {self.model} on {self.dataset}", entries | known)


def check_arrays(image: Tensor, text: Tensor, labels: Tensor, classes: int) -> None:
    """Check that arrays of any source are features, labels and class names of one dataset.

    Raises:
        InputError: types or shapes do not fit, a value is NaN or infinite, or a label is outside
            the classes.
    """
    check_towers(image, text, rows="class", transposed_rows=len(labels))
    if classes != len(text) or classes < 2:
        raise InputError(
            f"{classes} class names for {len(text)} rows of text",
            expected="one for each row, and at least two classes to choose between",
        )
    check_class_count(classes, InputError)
    _check_labels(labels, len(image), classes)


def check_towers(image: Tensor, text: Tensor, *, rows: str, transposed_rows: int) -> None:
    """Check that two arrays are features of one model.

    Args:
        image: ``[image, neuron]``.
        text: ``[rows, neuron]``.
        rows: what a row of `text` stands for, in words.
        transposed_rows: the number of neurons of `image` if it may be transposed.

    Raises:
        InputError: types or shapes do not fit, or a value is NaN or infinite.
    """
    for array, name, kind in ((image, "image", "image"), (text, "text", rows)):
        if array.ndim != 2 or 0 in array.shape or array.dtype not in _FLOATS:
            raise InputError(
                f"{name} is {array.dtype} of shape {list(array.shape)}",
                expected=f"floating-point features [{kind}, neuron], of 16 bits or more",
                fix=f"one row for each {kind}, as float32",
            )
        check_finite(array, name)
    if image.shape[1] != text.shape[1]:
        is_transposed = image.shape[0] == text.shape[0] and image.shape[1] == transposed_rows
        raise InputError(
            f"image has {image.shape[1]} neurons, text has {text.shape[1]}",
            expected="the same number: both towers end in one space",
            fix=f"transpose both: rows are images and {_PLURALS[rows]}, columns are neurons"
            if is_transposed
            else "take both of one model, after its projections",
        )


def _check_labels(labels: Tensor, images: int, classes: int) -> None:
    if labels.dtype != torch.int64 or labels.shape != (images,):
        raise InputError(
            f"labels is {labels.dtype} of shape {list(labels.shape)}",
            expected=f"torch.int64 of shape [{images}], one for each image",
            fix="the number of the class of each image, from 0 on, as whole numbers",
        )
    outside = ((labels < 0) | (labels >= classes)).nonzero()
    if len(outside):
        row = int(outside[0, 0])
        raise InputError(
            f"the label {int(labels[row])} of image {row}",
            expected=f"0 to {classes - 1}, for {classes} classes",
            fix="subtract 1: labels count from 0"
            if (int(labels.min()), int(labels.max())) == (1, classes)
            else "",
        )


def check_finite(array: Float[Tensor, "row neuron"], name: str, *, first_row: int = 0) -> None:
    """Refuse NaN and infinity, and name their row; `first_row` is the number of the first row.

    Raises:
        InputError: a value is NaN or infinite.
    """
    for block in _blocks(array):
        broken = (~array[block].isfinite()).any(dim=1).nonzero()
        if len(broken):
            raise InputError(
                f"{name} row {first_row + block.start + int(broken[0, 0])} has a value that is NaN "
                f"or infinite",
                expected="finite features",
                fix="look at that image or class; a lower precision may have overflowed",
            )


def unit_rows(
    array: Float[Tensor, "row neuron"], *, out: Float[Tensor, "row neuron"] | None = None
) -> Float[Tensor, "row neuron"]:
    """Scale each row to length 1, in float64, and return float32; a row of zeros stays zeros.

    Rows of any scale are allowed, 1e-300 as well as 1e300. The result is written into `out`, which
    may be the array itself.

    Examples:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
        >>> unit_rows(torch.tensor([[3e-300, 4e-300]], dtype=torch.float64))
        tensor([[0.6000, 0.8000]])
    """
    unit = (
        torch.empty(array.shape, dtype=torch.float32, device=array.device) if out is None else out
    )
    for block in _blocks(array):
        rows, norms, _ = _in_range(array[block])
        unit[block] = rows / norms.masked_fill(norms == 0, 1)
    return unit


def are_unit_rows(array: Float[Tensor, "row neuron"], tolerance: float) -> bool:
    """Tell whether each row has length 1 or is all zeros.

    Examples:
        >>> are_unit_rows(torch.tensor([[0.6, 0.8], [0.0, 0.0]]), 1e-5)
        True
        >>> are_unit_rows(torch.tensor([[1e-42, 0.0]]), 1e-5)
        False
    """
    return all(bool(_is_unit(array[block], tolerance).all()) for block in _blocks(array))


def _is_unit(array: Float[Tensor, "row neuron"], tolerance: float) -> Bool[Tensor, "row 1"]:
    _, norms, scale = _in_range(array)
    return ((norms / scale - 1).abs() <= tolerance) | (norms == 0)


def _in_range(
    array: Float[Tensor, "row neuron"],
) -> tuple[Float64[Tensor, "row neuron"], Float64[Tensor, "row 1"], Float64[Tensor, "row 1"]]:
    """Return rows in float64 times a power of two, their lengths, and that power.

    So no square leaves the range of float64. A power of two changes no digit, so ordinary rows have
    the same results as without it.
    """
    rows = array.double()
    exponent = torch.frexp(rows.abs().amax(dim=1, keepdim=True)).exponent
    # At most 2^1000, so that the power itself is finite. The squares of rows that remain very small
    # or large are in range.
    scale = torch.pow(2.0, -exponent.clamp(-1000, 1000).double())
    rows = rows * scale
    return rows, rows.norm(dim=1, keepdim=True), scale


def _blocks(array: Tensor) -> Iterator[slice]:
    """Return slices of all rows, block by block."""
    length = per_turn(_BLOCK, array.shape[1])
    return (slice(first, first + length) for first in range(0, len(array), length))
