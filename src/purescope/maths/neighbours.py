"""Search of images by images with pruned embeddings: neighbours that vote, and average precision.

Each image searches all others by cosine over the kept neurons (leave-one-out), and an image of the
same label is right. Cosines are computed in float64 and rounded to `_DIGITS`, so that equal images
have equal cosines. A zero vector has cosine 0 with everything.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells
from purescope.maths.per_image import PerImage
from purescope.parallel import on_each_core

_DIGITS = 2.0**40
_ROWS = 512  # images that search at a time


def knn_accuracy_by_k(
    image: Float[Tensor, "image neuron"],
    labels: Int[Tensor, " image"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
    *,
    neighbours: Sequence[int] = (1, 5, 20),
) -> dict[int, PerImage]:
    """Compute the accuracy of a vote of the n nearest other images, with the first k neurons.

    Of images at equal cosine the lower index is nearer. Of labels with equal votes the lower one
    wins, as in scikit-learn's ``KNeighborsClassifier(metric="cosine")``. Where there are fewer than
    n other images, all of them vote.

    Args:
        image: ``[image, neuron]`` image features, float32 or float64; norms do not matter. At least
            two images.
        labels: ``[image]``, the label of each image.
        orders: one order ``[neuron]`` or several ``[order, neuron]``.
        ks: how many neurons to keep, each from 1 to d; results are sorted by ascending k, each k
            once.
        neighbours: numbers of neighbours, each at least 1.

    Returns:
        For each number of neighbours, 1 for each image that is right and 0 for others, see
        `PerImage`.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, a label or a k is out
            of range, an order is not a permutation, there is one image, or a number of neighbours
            is below 1.

    Examples:
        >>> axes = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> knn_accuracy_by_k(torch.tensor(axes), labels, torch.arange(2), [2])[1].mean().item()
        1.0
    """
    orders, ks = _check(image, labels, orders, ks)
    if not neighbours or min(neighbours) < 1:
        raise InputError(f"neighbours = {list(neighbours)}", expected="numbers of at least 1")
    labels = labels.long()

    def votes(rows: Float64[Tensor, "image kept"]) -> Float64[Tensor, "number image"]:
        blocks = [_votes(*cosines, labels, neighbours) for cosines in _cosines(rows)]
        return torch.cat(blocks, 1)

    right = _each_cell(votes, image, orders, ks, len(neighbours))
    counts = torch.ones(len(image), dtype=torch.float64)
    return {n: PerImage(right[position], counts) for position, n in enumerate(neighbours)}


def mean_average_precision_by_k(
    image: Float[Tensor, "image neuron"],
    labels: Int[Tensor, " image"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
) -> PerImage:
    """Compute the average precision of each image's search for others of its label, over all ranks.

    It is the mean, over the other images of the label, of the precision at each one's place. Images
    at equal cosine share the last of their places, as in scikit-learn's
    ``average_precision_score``. The metric, mAP, is the mean over images; an image that is alone
    with its label does not count.

    Args:
        image, labels, orders, ks: as in `knn_accuracy_by_k`.

    Returns:
        The average precision of each image, from 0 to 1, see `PerImage`.

    Raises:
        InputError: as in `knn_accuracy_by_k`.

    Examples:
        The images of label 0 find each other first; that of label 1 is alone and does not count:

        >>> axes = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
        >>> labels = torch.tensor([0, 0, 1])
        >>> mean_average_precision_by_k(axes, labels, torch.arange(2), [2]).mean().item()
        1.0
    """
    orders, ks = _check(image, labels, orders, ks)
    sizes = labels.long().bincount()
    # Images of a label together, so that each block searches for few labels.
    members = [(labels == label).nonzero()[:, 0] for label in (sizes > 1).nonzero()[:, 0]]

    def precisions(rows: Float64[Tensor, "image kept"]) -> Float64[Tensor, "1 image"]:
        out = torch.zeros(1, len(rows), dtype=torch.float64)
        for own in members:
            out[0, own] = torch.cat([_average_precision(rows, own, b) for b in own.split(_ROWS)])
        return out

    sums = _each_cell(precisions, image, orders, ks, 1)[0]
    return PerImage(sums, (sizes[labels.long()] > 1).double())


def _check(
    image: Tensor, labels: Tensor, orders: Tensor, ks: Sequence[int]
) -> tuple[Tensor, list[int]]:
    orders, ks = cells.check(image, None, labels, orders, ks)
    if len(image) < 2:
        raise InputError("one image", expected="at least two, to search for each among the others")
    return orders, ks


def _each_cell(
    measure: Callable[[Tensor], Tensor],
    image: Float[Tensor, "image neuron"],
    orders: Int64[Tensor, "order neuron"],
    ks: list[int],
    results: int,
) -> Float[Tensor, "result order k image"]:
    """Measure the unit rows of every order and k."""
    cases = [(order, k) for order in orders for k in ks]
    out = torch.empty(results, len(orders), len(ks), len(image))

    def work(case: tuple[Tensor, int]) -> Tensor:
        return measure(_unit_rows(image.index_select(1, case[0][: case[1]])))

    for position, values in enumerate(on_each_core(work, cases)):
        out[:, position // len(ks), position % len(ks)] = values
    return out


def _unit_rows(rows: Float[Tensor, "image kept"]) -> Float64[Tensor, "image kept"]:
    rows = rows.double()
    norms = rows.norm(dim=1, keepdim=True)
    scaled: Tensor = rows / norms.masked_fill(norms == 0, 1)
    return scaled


def _cosines(
    rows: Float64[Tensor, "image kept"], asking: Int64[Tensor, " asking"] | None = None
) -> Iterator[tuple[Int64[Tensor, " asking"], Float64[Tensor, "asking image"]]]:
    """Yield some images, and their cosines with all; -inf with themselves."""
    asking = torch.arange(len(rows)) if asking is None else asking
    for block in asking.split(_ROWS):
        cosines = (rows[block] @ rows.T).mul_(_DIGITS).round_().div_(_DIGITS)
        yield block, cosines.scatter_(1, block[:, None], -torch.inf)


def _votes(
    asking: Int64[Tensor, " asking"],
    cosines: Float64[Tensor, "asking image"],
    labels: Int64[Tensor, " image"],
    neighbours: Sequence[int],
) -> Float64[Tensor, "number asking"]:
    """Return 1 where the vote of the nearest images is right, for each number of neighbours."""
    others = cosines.shape[1] - 1
    most = min(max(neighbours), others)
    values, nearest = cosines.topk(min(most + 1, others), dim=1)
    # `topk` sorts equal values anyhow, so rows with equal values among the first are sorted again.
    ties = (values[:, 1:] == values[:, :-1]).any(1)
    if ties.any():
        again = cosines[ties].sort(dim=1, descending=True, stable=True).indices
        nearest[ties] = again[:, : nearest.shape[1]]
    voters = labels[nearest]
    right = []
    for n in neighbours:
        votes = torch.zeros(len(asking), int(labels.max()) + 1)
        votes.scatter_add_(1, voters[:, :n], torch.ones(voters[:, :n].shape))
        # The first of equal ones; of all neighbours where there are fewer than n.
        right.append(votes.argmax(1) == labels[asking])
    return torch.stack(right).double()


def _average_precision(
    rows: Float64[Tensor, "image kept"],
    own: Int64[Tensor, " own"],
    asking: Int64[Tensor, " asking"],
) -> Float64[Tensor, " asking"]:
    """Compute the average precision of images of one label."""
    _, cosines = next(_cosines(rows, asking))
    relevant = np.sort(cosines[:, own].numpy(), axis=1)
    everything = np.sort(cosines.numpy(), axis=1)  # a quarter of the time of torch
    # Without the first, the image itself.
    found = torch.from_numpy(relevant)[:, 1:].contiguous()
    ranked = torch.from_numpy(everything)
    place = len(rows) - torch.searchsorted(ranked, found)
    right = len(own) - torch.searchsorted(torch.from_numpy(relevant), found)
    precision: Tensor = (right / place.double()).mean(1)
    return precision
