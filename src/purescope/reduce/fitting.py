"""Fit a rotation to embeddings, of which only sums are kept: any number of rows fits in memory.

The axes of a basis depend on embeddings X [row, neuron] only through their number, their sum and
their products ``X.T X`` [neuron, neuron]. These are added up block by block, and a matrix that has
the same products takes the place of all rows.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from purescope.errors import InputError
from purescope.features.features import unit_rows
from purescope.maths.overlaps import Projections
from purescope.maths.scores import StrategyInput
from purescope.reduce.rotation import Rotation, fit_rotation

_TWO_TOWERS = ("cross",)  # axes that ask both towers


@dataclass(frozen=True, eq=False)
class Moments:
    """The sums over embeddings that axes are fitted to.

    Args:
        rows: the number of embeddings.
        total: their sum.
        products: ``X.T X``.
        digest: a hash of the embeddings.
    """

    rows: int
    total: Float64[Tensor, " neuron"]
    products: Float64[Tensor, "neuron neuron"]
    digest: str

    def __add__(self, other: "Moments") -> "Moments":
        digest = hashlib.sha256(f"{self.digest} {other.digest}".encode()).hexdigest()
        return Moments(
            self.rows + other.rows,
            self.total + other.total,
            self.products + other.products,
            digest,
        )


class Sums:
    """Add up embeddings, or a part of them, block by block.

    Args:
        normalise: scale each row to length 1 first, as a search by cosine does.
        part: the share of the rows to take, above 0 and at most 1: each row is drawn by itself.
        seed: the seed of the draw, which blocks of another size do not change.

    Raises:
        InputError: the part is out of range.
    """

    def __init__(self, *, normalise: bool, part: float, seed: int) -> None:
        if not 0 < part <= 1:
            raise InputError(f"{part} of the rows to fit on", expected="above 0 and at most 1")
        self._normalise, self._part = normalise, part
        self._drawn = np.random.default_rng(seed)
        self._digest = hashlib.sha256()
        self._rows, self._total = 0, torch.zeros(0).double()
        self._products = torch.zeros(0, 0).double()

    def take(self, block: Float[Tensor, "_ neuron"]) -> None:
        """Add the rows of a block."""
        if self._part < 1:
            block = block[torch.from_numpy(self._drawn.random(len(block)) < self._part)]
        taken = (unit_rows(block) if self._normalise else block.float()).contiguous()
        self._digest.update(taken.numpy().data)
        exact = taken.double()
        self._total = exact.sum(dim=0) + (self._total if len(self._total) else 0)
        self._products = exact.T @ exact + (self._products if len(self._products) else 0)
        self._rows += len(taken)

    def moments(self) -> Moments:
        """Return the sums.

        Raises:
            InputError: there is no row, or none was drawn.
        """
        if not self._rows:
            raise InputError(
                f"no rows among {self._part:g} of the embeddings",
                expected="at least one",
                fix="fit on more: --fit-on 1",
            )
        return Moments(self._rows, self._total, self._products, self._digest.hexdigest())


def measure_moments(
    blocks: Iterable[Float[Tensor, "_ neuron"]],
    *,
    normalise: bool = True,
    part: float = 1.0,
    seed: int = 0,
) -> Moments:
    """Add up embeddings that come in any number of blocks.

    Args:
        blocks: the embeddings.
        normalise, part, seed: as for `Sums`.

    Raises:
        InputError: the part is out of range, or no row is drawn.

    Examples:
        >>> moments = measure_moments([torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])])
        >>> moments.rows, moments.total.round(decimals=6)
        (2, tensor([0.6000, 1.8000], dtype=torch.float64))
    """
    sums = Sums(normalise=normalise, part=part, seed=seed)
    for block in blocks:
        sums.take(block)
    return sums.moments()


def fit_to_moments(
    axes: str, image: Moments, text: Moments | None = None, *, seed: int = 0, **recipe: str
) -> Rotation:
    """Fit a rotation to embeddings of images, or of anything, and of texts if there are some.

    Args:
        axes: as in `purescope.reduce.rotation.fit_rotation`. ``svd`` keeps the most of the squared
            length of all rows, both towers with equal weight; ``pca`` the most of the variance of
            the images; ``cross`` needs both towers.
        image, text: sums over the embeddings.
        seed: the seed of axes that are drawn.
        recipe: what the file says of its origin.

    Raises:
        InputError: the axes are unknown or need texts, or the towers have other widths.

    Examples:
        >>> moments = measure_moments([torch.tensor([[0.1, 1.0], [-0.1, 1.0]])])
        >>> fit_to_moments("svd", moments).image
        tensor([[0., 1.],
                [1., 0.]])
    """
    if text is None and axes.partition("@")[0] in _TWO_TOWERS:
        raise InputError(
            f"axes {axes} of one collection",
            expected="embeddings of images and of texts: cross asks what both towers share",
            fix="--axes svd, or give features with texts",
        )
    if text is not None and len(text.total) != len(image.total):
        raise InputError(
            f"embeddings of {len(image.total):,} dimensions for images, {len(text.total):,} for "
            f"texts",
            expected="the same number: both towers end in one space",
        )
    rows = _find_root(image.products)
    given = StrategyInput(
        Projections(image=rows, text=rows if text is None else _find_root(text.products)),
        image=_spread(image) if axes.startswith("pca") else None,
    )
    return fit_rotation(axes, given, seed=seed, **recipe)


def _find_root(products: Float64[Tensor, "neuron neuron"]) -> Float64[Tensor, "neuron neuron"]:
    """Return a matrix A with ``A A.T`` equal to the products."""
    values, vectors = torch.linalg.eigh(products)
    root: Tensor = vectors * values.clamp(min=0).sqrt()
    return root


def _spread(moments: Moments) -> Float64[Tensor, "row neuron"]:
    """Return rows of mean zero that have the variances and covariances of the embeddings.

    Raises:
        InputError: there are fewer than two embeddings.
    """
    if moments.rows < 2:
        raise InputError("pca of one embedding", expected="at least two, which differ")
    mean = moments.total / moments.rows
    root = _find_root(moments.products / moments.rows - torch.outer(mean, mean))
    return torch.cat([root.T, -root.T])
