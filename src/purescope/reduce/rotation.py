"""Hold the rotation that an embedding is cut down by, and keep it in ``rotation.safetensors``.

The file has the matrices ``image`` and ``text`` [neuron, axis], float32: an embedding becomes
``embedding @ image``. Both are equal for a rotation of the shared space. ``spectrum`` [axis] is how
much of the squared length of the fitted rows each axis holds. The metadata is the recipe: what the
axes are, of which model, and what they were fitted on. Nothing in the file is executed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from purescope import __version__
from purescope.errors import InputError
from purescope.features.features import unit_rows
from purescope.files.writing import write_bytes
from purescope.maths.bases import is_basis, make_basis
from purescope.maths.overlaps import side_by_side
from purescope.maths.scores import StrategyInput
from purescope.reduce.axes import ARRAYS, ORTHONORMAL, read_axes
from purescope.reduce.axes import FILE as FILE
from purescope.specs import to_path


@dataclass(frozen=True, eq=False)
class Rotation:
    """The axes that an embedding is expressed in, of which the first are kept first.

    Args:
        image, text: ``[neuron, axis]`` float32, orthonormal columns, one matrix for each tower.
        spectrum: ``[axis]``, the share of the squared length of the fitted rows, 0 to 1.
        recipe: how it was made, as texts: ``axes``, ``model``, ``fitted_on`` and so on.

    Raises:
        InputError: the shapes do not fit, a number is not finite, or the columns are not
            orthonormal.

    Examples:
        >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> rotation = Rotation(quarter, quarter, torch.tensor([0.9, 0.1]))
        >>> rotation.apply(torch.tensor([[0.6, 0.8]]))
        tensor([[ 0.8000, -0.6000]])
        >>> rotation.keep(1).apply(torch.tensor([[0.6, 0.8]]))
        tensor([[1.]])
    """

    image: Float[Tensor, "neuron axis"]
    text: Float[Tensor, "neuron axis"]
    spectrum: Float[Tensor, " axis"]
    recipe: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for tower, axes in (("image", self.image), ("text", self.text)):
            _check_axes(axes, tower)
        if self.image.shape != self.text.shape or self.spectrum.shape != self.image.shape[1:]:
            raise InputError(
                f"axes of shape {list(self.image.shape)} for images, {list(self.text.shape)} for "
                f"texts, and a spectrum of shape {list(self.spectrum.shape)}",
                expected="the same number of neurons and of axes",
            )

    @property
    def neurons(self) -> int:
        """The number of dimensions of an embedding before it is rotated."""
        return len(self.image)

    @property
    def axes(self) -> int:
        """The number of axes, which are the dimensions afterwards."""
        return self.image.shape[1]

    def keep(self, k: int) -> "Rotation":
        """Return the rotation to the first k axes.

        Raises:
            InputError: there are fewer axes, or k is below 1.
        """
        if not 1 <= k <= self.axes:
            raise InputError(
                f"{k:,} axes to keep",
                expected=f"1 to {self.axes:,}, the axes of the rotation",
            )
        first = (self.image[:, :k], self.text[:, :k], self.spectrum[:k])
        return replace(
            self,
            image=first[0].contiguous(),
            text=first[1].contiguous(),
            spectrum=first[2].contiguous(),
            recipe={**self.recipe, "kept": str(k)},
        )

    def apply(
        self,
        embeddings: Float[Tensor, "row neuron"],
        *,
        tower: str = "image",
        normalise: bool = True,
    ) -> Float[Tensor, "row axis"]:
        """Express embeddings in the axes.

        Args:
            embeddings: rows of any length.
            tower: the tower that made them, ``image`` or ``text``.
            normalise: scale the rows to unit length over the axes, as a smaller model does when it
                is used; a row of zeros stays zeros.

        Raises:
            InputError: the embeddings have another number of dimensions.
        """
        if embeddings.shape[-1] != self.neurons:
            raise InputError(
                f"embeddings of {embeddings.shape[-1]:,} dimensions",
                expected=f"{self.neurons:,}, as the rotation has",
                fix="use the rotation of the model that made them",
            )
        rows = embeddings.float() @ getattr(self, tower)
        return unit_rows(rows) if normalise else rows


def fit_rotation(axes: str, given: StrategyInput, *, seed: int = 0, **recipe: str) -> Rotation:
    """Fit a rotation to projections, or to embeddings in their place.

    Args:
        axes: a name in `purescope.maths.bases.BASES`, or a band of it, see `make_basis`.
        given: projections, or `purescope.maths.overlaps.activation_space` of embeddings; ``pca``
            needs image features too.
        seed: the seed of axes that are drawn.
        recipe: what the file says of its origin: ``model``, ``fitted_on`` and so on.

    Raises:
        InputError: the axes are unknown, or need data that is missing.

    Examples:
        >>> from purescope.maths.overlaps import Projections
        >>> tower = torch.diag(torch.tensor([1.0, 3.0]))
        >>> rotation = fit_rotation("svd", StrategyInput(Projections(tower, tower)))
        >>> rotation.spectrum, rotation.recipe["axes"]
        (tensor([0.9000, 0.1000]), 'svd')
    """
    if not is_basis(axes):
        raise InputError(
            f"unknown axes {axes!r}",
            expected="svd, cross, pca or random_rotation, or a band of one, such as svd@8",
        )
    basis = make_basis(axes, given, seed)
    rows = side_by_side(given.projections)
    energy = (basis.T @ rows).square().sum(dim=1)
    matrix = basis.float()
    spectrum = (energy / energy.sum().clamp(min=torch.finfo(energy.dtype).tiny)).float()
    made = {"axes": axes, "neurons": str(given.neurons), "kept": str(given.neurons)}
    return Rotation(matrix, matrix, spectrum, made | recipe)


def write_rotation(rotation: Rotation, path: str | os.PathLike[str]) -> Path:
    """Write a rotation, which appears when it is complete.

    Raises:
        OutputError: it cannot be written.

    Examples:
        >>> import tempfile
        >>> eye = torch.eye(2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = write_rotation(
        ...         Rotation(eye, eye, torch.ones(2) / 2, {"axes": "svd"}), Path(folder, FILE)
        ...     )
        ...     read_rotation(file).recipe["axes"]
        'svd'
    """
    file = to_path(path)
    arrays = {name: getattr(rotation, name).contiguous() for name in ARRAYS}
    if arrays["image"].data_ptr() == arrays["text"].data_ptr():
        arrays["text"] = arrays["text"].clone()  # the format stores no tensor twice
    write_bytes(safetensors.torch.save(arrays, {**rotation.recipe, "purescope": __version__}), file)
    return file


def read_rotation(path: str | os.PathLike[str]) -> Rotation:
    """Read a rotation; nothing in the file is executed.

    Args:
        path: a file that `write_rotation` wrote, or the folder that holds ``rotation.safetensors``.

    Raises:
        InputError: it is missing or damaged, or is no rotation.
    """
    axes = read_axes(path)
    image, text, spectrum = (torch.from_numpy(getattr(axes, name)) for name in ARRAYS)
    return Rotation(image, text, spectrum, axes.recipe)


def _check_axes(axes: Tensor, tower: str) -> None:
    if axes.ndim != 2 or axes.dtype != torch.float32 or not 1 <= axes.shape[1] <= len(axes):
        raise InputError(
            f"{tower} is {axes.dtype} of shape {list(axes.shape)}",
            expected="torch.float32 axes [neuron, axis], at most one for each neuron",
        )
    error = (axes.T @ axes - torch.eye(axes.shape[1])).abs().max()
    if not float(error) <= ORTHONORMAL:  # also for NaN
        raise InputError(
            f"{tower} holds axes whose products are wrong by {float(error):.2g}",
            expected="axes of length 1, orthogonal to each other",
            fix="write the rotation again with `purescope rebase`",
        )
