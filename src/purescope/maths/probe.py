"""A linear probe on the kept neurons: ridge regression on the labels, in closed form, for every k.

The probe regresses one column for each label (1 for its images, 0 for others) on the features, with
an intercept and a penalty on the squares of the weights, and answers with the label of the largest
value. With X and Y centred over the images it is fitted on, ``W = (X'X + penalty I)^-1 X'Y``. It is
scikit-learn's `RidgeClassifier`.

Without renormalised features, the matrix for the first k neurons is the leading part of that for
all. Its Cholesky factor L is then the leading part of one factor, and so is ``Z = L^-1 X'Y``. So
each order is factorised once, and each k solves one triangular system: ``L_k' W_k = Z_k``.
Renormalised features have another matrix at each k.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells
from purescope.maths.per_image import PerImage
from purescope.parallel import on_each_core

PENALTY = 1.0


def linear_probe_by_k(
    image: Float[Tensor, "image neuron"],
    labels: Int[Tensor, " image"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
    *,
    fitted: Bool[Tensor, " image"] | None = None,
    penalty: float = PENALTY,
    renormalise: bool = True,
) -> PerImage:
    """Compute the accuracy of a linear probe on the first k neurons, on images it has not seen.

    Args:
        image: ``[image, neuron]`` image features, float32 or float64. They are scaled to unit norm,
            because a penalty has a meaning for features of known size only.
        labels: ``[image]``, the label of each image.
        orders: one order ``[neuron]`` or several ``[order, neuron]``.
        ks: how many neurons to keep, each from 1 to d; results are sorted by ascending k, each k
            once.
        fitted: ``[image]``, True for the images that the probe is fitted on; by default every other
            image of each label, see `halves`.
        penalty: factor of the squared weights, above 0; scikit-learn's `alpha`.
        renormalise: scale to unit norm over the kept neurons, as a smaller model does. Otherwise
            over all neurons.

    Returns:
        1 for each image that is judged right, and count 0 for the images it was fitted on, see
        `PerImage`. Of equal values the lower label is the answer.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out
            of range, an order is not a permutation, the penalty is not above 0, or no image is left
            to fit or to judge.

    Examples:
        >>> axes = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> linear_probe_by_k(torch.tensor(axes), labels, torch.arange(2), [2]).mean().item()
        1.0
    """
    orders, ks = cells.check(image, None, labels, orders, ks)
    labels = labels.long()
    if fitted is None:  # a label with one image is never judged
        fitted = (cells.halves(labels) == 0) | (labels.bincount()[labels] == 1)
    _check(fitted, len(image), penalty)
    rows, answers = cells.unit_rows(image), labels[~fitted]
    targets = torch.nn.functional.one_hot(labels[fitted], int(labels.max()) + 1).double()
    probe = _whole if not renormalise else _renormalised

    def right(order: Int64[Tensor, " neuron"]) -> Float64[Tensor, "k judged"]:
        ordered = rows.index_select(1, order[: ks[-1]])
        values = probe(ordered[fitted], targets, ordered[~fitted], ks, penalty)
        return torch.stack([(value.argmax(1) == answers).double() for value in values])

    sums = torch.zeros(len(orders), len(ks), len(image))
    for position, by_k in enumerate(on_each_core(right, orders)):
        sums[position, :, ~fitted] = by_k.float()
    return PerImage(sums, (~fitted).double())


def _whole(
    seen: Float64[Tensor, "fitted neuron"],
    targets: Float64[Tensor, "fitted label"],
    judged: Float64[Tensor, "judged neuron"],
    ks: list[int],
    penalty: float,
) -> Iterator[Float64[Tensor, "judged label"]]:
    """Yield the values of the probe at each k, from one Cholesky factor."""
    mean, target_mean = seen.mean(0), targets.mean(0)
    centred = seen - mean
    factor = _factor(centred, penalty)
    projected = torch.linalg.solve_triangular(
        factor, centred.T @ (targets - target_mean), upper=False
    )
    for k in ks:
        weights = torch.linalg.solve_triangular(factor[:k, :k].T, projected[:k], upper=True)
        yield (judged[:, :k] - mean[:k]) @ weights + target_mean


def _renormalised(
    seen: Float64[Tensor, "fitted neuron"],
    targets: Float64[Tensor, "fitted label"],
    judged: Float64[Tensor, "judged neuron"],
    ks: list[int],
    penalty: float,
) -> Iterator[Float64[Tensor, "judged label"]]:
    """Yield the values of the probe at each k, fitted on features scaled at that k."""
    for k in ks:
        yield from _whole(
            cells.unit_rows(seen[:, :k]), targets, cells.unit_rows(judged[:, :k]), [k], penalty
        )


def _factor(
    centred: Float64[Tensor, "fitted neuron"], penalty: float
) -> Float64[Tensor, "neuron neuron"]:
    matrix = centred.T @ centred
    matrix.diagonal().add_(penalty)
    factor: Tensor = torch.linalg.cholesky(matrix)
    return factor


def _check(fitted: Tensor, images: int, penalty: float) -> None:
    if fitted.dtype != torch.bool or fitted.shape != (images,):
        raise InputError(
            f"fitted is {fitted.dtype} of shape {list(fitted.shape)} for {images} images",
            expected="True or False for each image",
        )
    if not 0 < int(fitted.sum()) < images:
        raise InputError(
            f"{int(fitted.sum())} of {images} images to fit a probe on",
            expected="at least one to fit on, and at least one to judge",
        )
    if not 0 < penalty < float("inf"):
        raise InputError(f"penalty = {penalty}", expected="a number above 0")
