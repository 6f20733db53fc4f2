"""Other axes for the same embedding: rotations, which change no logit over all neurons.

A basis is an orthogonal matrix ``[neuron, neuron]``, float64. Its column m is the new axis m, and
the first axis is kept first. Features become ``features @ basis`` and projections ``basis.T @
projection``, the same for both towers. So logits, cosines and silhouettes over all axes stay the
same. Properties of single axes do change: purity, and the first k axes of an order. So rotations
show how much of a result is due to the axes that a model has.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, overload

import torch
from jaxtyping import Float
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.overlaps import Projections, centre, side_by_side
from purescope.maths.scores import StrategyInput
from purescope.parallel import on_each_core

_ROWS = 1 << 13  # rows that are converted to float64 at a time
_LEAST = 1e-12  # of the largest eigenvalue; below it there is only rounding

Orthogonal: TypeAlias = Float[Tensor, "neuron neuron"]


@dataclass(frozen=True)
class Basis:
    """A row of `BASES`.

    Args:
        of: the function from a strategy's input and a seed to a basis; only a `seeded` basis uses
            the seed.
        needs: ``weights`` or ``features`` (of images).
        seeded: whether there is a different basis for each seed.
        what: a description in one line, with its source.
    """

    of: Callable[[StrategyInput, int], Orthogonal]
    needs: str
    seeded: bool
    what: str


def random_rotation(given: StrategyInput, seed: int = 0) -> Orthogonal:
    """Draw a uniform (Haar) orthogonal matrix; its first k axes are a random projection to k
    dimensions.

    It comes from the QR decomposition of a Gaussian matrix. The signs of R's diagonal are removed,
    because the distribution would not be uniform otherwise (Mezzadri, "How to generate random
    matrices from the classical compact groups", 2007).

    Examples:
        >>> given = StrategyInput(Projections(torch.eye(3), torch.eye(3)))
        >>> basis = random_rotation(given, seed=1)
        >>> (basis.T @ basis).allclose(torch.eye(3, dtype=torch.float64))
        True
    """
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(
        torch.randn(given.neurons, given.neurons, generator=generator, dtype=torch.float64)
    )
    basis: Tensor = q * r.diagonal().sign()
    return basis


def random_rotations(neurons: int, draws: int, seed: int) -> Float[Tensor, "draw neuron neuron"]:
    """Draw many uniform (Haar) bases, float32: 200 of them as products of one of 15 and another of
    15.

    A product with a Haar matrix is Haar distributed, and two products that differ in a factor are
    independent of each other. So the fraction of bases with some property has the mean and variance
    that it has over independent bases, in a fifth of the time.

    Examples:
        >>> random_rotations(3, draws=5, seed=0).shape
        torch.Size([5, 3, 3])
    """
    given = StrategyInput(Projections(torch.eye(neurons), torch.eye(neurons)))
    few = math.isqrt(draws - 1) + 1
    factors = list(
        on_each_core(lambda number: random_rotation(given, seed + number).float(), range(2 * few))
    )
    return torch.stack([factors[draw // few] @ factors[few + draw % few] for draw in range(draws)])


def svd(given: StrategyInput, seed: int = 0) -> Orthogonal:
    """Return the left singular vectors of both projections side by side, largest singular value
    first.

    Each projection is scaled to Frobenius norm 1.

    Examples:
        Neuron 1 has the largest weights, so it is the first axis:

        >>> tower = torch.diag(torch.tensor([1.0, 3.0]))
        >>> svd(StrategyInput(Projections(tower, tower)))
        tensor([[0., 1.],
                [1., 0.]], dtype=torch.float64)
    """
    return _principal_axes(side_by_side(given.projections))


def cross(given: StrategyInput, seed: int = 0) -> Orthogonal:
    """Return the axes that both towers share, the one that carries most of the logits first.

    A logit is ``f . A.T B . g``, where A and B are the projections of image and text, and f and g
    their inputs. Magistri et al., "IsoCLIP" (CVPR 2026), take the singular vectors of this operator
    ``A.T B``, which are different directions for image and text. One rotation for both towers has
    to agree: these axes are the eigenvectors of ``log(A A.T) + log(B B.T)``, the log-Euclidean mean
    of both towers (Arsigny et al. 2007), largest eigenvalue first. Where the towers have the same
    singular vectors, they are these vectors, in the order of the singular values of ``A.T B``.

    Examples:
        Neuron 0 has the largest weights, but only in one tower:

        >>> image, text = torch.diag(torch.tensor([3.0, 1.0])), torch.diag(torch.tensor([0.0, 1.0]))
        >>> cross(StrategyInput(Projections(image, text)))
        tensor([[0., 1.],
                [1., 0.]], dtype=torch.float64)
    """
    rows, width = side_by_side(given.projections), given.projections.image.shape[1]
    logarithms = []
    for tower in (rows[:, :width], rows[:, width:]):
        values, vectors = torch.linalg.eigh(tower @ tower.T)
        least = _LEAST * float(values[-1].clamp(min=torch.finfo(values.dtype).tiny))
        logarithms.append(vectors * values.clamp(min=least).log() @ vectors.T)
    return _eigenvectors(logarithms[0] + logarithms[1])


def pca(given: StrategyInput, seed: int = 0) -> Orthogonal:
    """Return the principal axes of the image features, largest variance first (Pearson 1901).

    The mean is subtracted only to find the axes. The features are rotated with their mean, because
    logits would change otherwise.

    Raises:
        InputError: there are no image features, or fewer than two.

    Examples:
        Neuron 1 varies most, whatever the mean of neuron 0:

        >>> tower, image = torch.eye(2), torch.tensor([[9.0, 1.0], [9.0, -1.0]])
        >>> pca(StrategyInput(Projections(tower, tower), image=image))
        tensor([[0., 1.],
                [1., 0.]], dtype=torch.float64)
    """
    if given.image is None:
        raise InputError(
            "pca without image features",
            expected="image features, whose variance orders the axes",
            fix="give image=",
        )
    return _principal_axes(centre(given.image.T, "image features"))


_BAND = "@"  # svd@8 is the basis svd without its 8 strongest axes

BASES: dict[str, Basis] = {
    "random_rotation": Basis(
        random_rotation, "weights", True, "a uniform draw for each seed (Haar; Mezzadri 2007)"
    ),
    "svd": Basis(svd, "weights", False, "singular vectors of both projections, most weight first"),
    "cross": Basis(
        cross,
        "weights",
        False,
        "axes that both towers share, most of the logits first (Magistri et al. 2026)",
    ),
    "pca": Basis(
        pca,
        "features",
        False,
        "principal axes of the image features, most variance first (Pearson 1901)",
    ),
}


def is_basis(name: str) -> bool:
    """Return whether a strategy keeps axes of a basis: a name in `BASES`, or a band of one.

    Examples:
        >>> [is_basis(name) for name in ("svd", "svd@8", "svd@-1", "high_purity")]
        [True, True, False, False]
    """
    basis, _, strongest = name.partition(_BAND)
    is_count = strongest.isascii() and strongest.isdecimal()
    return basis in BASES and (is_count if _BAND in name else True)


def whole_basis(name: str) -> str:
    """Return the basis that a band is a part of; a basis is its own.

    Examples:
        >>> whole_basis("svd@8"), whole_basis("svd")
        ('svd', 'svd')
    """
    return name.partition(_BAND)[0]


def make_basis(name: str, given: StrategyInput, seed: int = 0) -> Orthogonal:
    """Make the basis of a name, or a band of it.

    A band ``NAME@T`` drops the T strongest axes: they come last, the strongest at the very end. So
    keeping k axes drops the T strongest and the d - T - k weakest, as Magistri et al. (2026) do to
    compare images with images.

    Args:
        name: a name in `BASES`, or ``NAME@T``.
        given: the data that the basis is made from.
        seed: the seed of a basis that draws.

    Raises:
        InputError: the band drops all axes, or the basis needs data that is missing.

    Examples:
        >>> tower = torch.diag(torch.tensor([1.0, 3.0, 2.0]))
        >>> make_basis("svd@1", StrategyInput(Projections(tower, tower)))
        tensor([[0., 1., 0.],
                [0., 0., 1.],
                [1., 0., 0.]], dtype=torch.float64)
    """
    basis, _, strongest = name.partition(_BAND)
    axes, dropped = BASES[basis].of(given, seed), int(strongest or 0)
    if dropped >= given.neurons:
        raise InputError(
            f"the band {name!r} of {given.neurons:,} axes",
            expected=f"at most {given.neurons - 1:,} axes dropped from the strong end",
        )
    return torch.cat([axes[:, dropped:], axes[:, :dropped].flip(1)], dim=1)


@overload
def rotate(what: Projections, basis: Orthogonal) -> Projections: ...
@overload
def rotate(what: Float[Tensor, "row neuron"], basis: Orthogonal) -> Float[Tensor, "row neuron"]: ...
def rotate(
    what: Projections | Float[Tensor, "row neuron"], basis: Orthogonal
) -> Projections | Float[Tensor, "row neuron"]:
    """Express projections, or features of images or classes, in the axes of a basis.

    The dtype stays the same.

    Raises:
        InputError: the basis has another number of neurons.

    Examples:
        A quarter turn: the new axis 0 is the old axis 1.

        >>> quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
        >>> rotate(torch.tensor([[0.6, 0.8]]), quarter)
        tensor([[ 0.8000, -0.6000]])
    """
    if isinstance(what, Projections):
        return Projections(image=rotate(what.image.T, basis).T, text=rotate(what.text.T, basis).T)
    if what.shape[-1] != len(basis):
        raise InputError(
            f"a basis of {len(basis)} axes for {what.shape[-1]} neurons",
            expected="as many axes as neurons",
            fix="make the basis from the same model",
        )
    rotated = torch.empty(what.shape, dtype=what.dtype)
    for target, rows in zip(rotated.split(_ROWS), what.detach().split(_ROWS), strict=True):
        target.copy_(rows.to(basis.dtype) @ basis)
    return rotated


def _principal_axes(rows: Float[Tensor, "neuron width"]) -> Orthogonal:
    """Return the left singular vectors of a matrix, largest singular value first."""
    return _eigenvectors(rows @ rows.T)


def _eigenvectors(symmetric: Float[Tensor, "neuron neuron"]) -> Orthogonal:
    """Return the eigenvectors of a symmetric matrix, largest eigenvalue first.

    The sign of each makes its largest entry positive.
    """
    vectors = torch.linalg.eigh(symmetric).eigenvectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    axes: Tensor = vectors * largest.sign()
    return axes
