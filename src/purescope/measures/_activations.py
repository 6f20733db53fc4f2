"""Redundancy of neurons by what they respond to, and weights seen through the inputs they meet."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from purescope.errors import InputError
from purescope.purity import centre, overlap, unit_rows

_IMAGES = 1 << 11  # that are taken in float64 at a time
_NUMBERS = 1 << 20  # the same of neurons, over all images


def pearson(activations: Float[Tensor, "neuron sample"]) -> Float[Tensor, " neuron"]:
    """Mean absolute Pearson correlation of each neuron's activations with those of the d - 1 others: 0 to 1.

    For activations that are linear in the weights, it is the overlap of the weights under the covariance of their
    input, see `under_covariance`. A neuron that never changes has no correlation: NaN.

    Raises:
        InputError: there are fewer than two samples.

    Examples:
        >>> pearson(torch.tensor([[1.0, 2.0, 3.0], [9.0, 8.0, 7.0], [4.0, 4.0, 4.0]]))
        tensor([0.5000, 0.5000,    nan], dtype=torch.float64)
    """
    return overlap(centre(activations))


def monosemanticity(
    activations: Float[Tensor, "image neuron"], embeddings: Float[Tensor, "image dimension"]
) -> Float[Tensor, " neuron"]:
    """How alike the images are that each neuron responds to: -1 to 1, larger is purer.

    ``sum_{n != m} a_n a_m cos(e_n, e_m) / sum_{n != m} a_n a_m`` over pairs of images, a being the neuron's activations
    brought to 0..1 by their least and largest one, and e embeddings of the images: the MonoSemanticity score of Pach et
    al., "Sparse Autoencoders Learn Monosemantic Features in Vision-Language Models" (NeurIPS 2025). With unit e the sum
    over pairs is ``|sum_n a_n e_n|^2 - sum_n a_n^2``, so it costs O(images) a neuron. NaN where no two images respond.

    Args:
        activations: of the neurons.
        embeddings: of the same images, best by another encoder: a neuron is part of its own model's similarities.

    Raises:
        InputError: the two differ in images.

    Examples:
        Neuron 0 responds to the two images that are alike, neuron 1 to two that are not:

        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> monosemanticity(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), embeddings)
        tensor([1., 0.], dtype=torch.float64)
    """
    if len(activations) != len(embeddings):
        raise InputError(
            f"activations of {len(activations)} images, embeddings of {len(embeddings)}",
            expected="both of the same images, in the same order",
        )
    low, high = (ends.double() for ends in activations.detach().aminmax(dim=0))
    span = torch.where(high > low, high - low, math.nan)
    sums, squared, own = torch.zeros(3, activations.shape[1], dtype=torch.float64)
    along = torch.zeros(activations.shape[1], embeddings.shape[1], dtype=torch.float64)
    for rows, others in zip(activations.detach().split(_IMAGES), embeddings.split(_IMAGES), strict=True):
        weights, unit = (rows.double() - low) / span, unit_rows(others)
        squares = weights.square()
        sums, squared = sums + weights.sum(dim=0), squared + squares.sum(dim=0)
        along, own = along + weights.T @ unit, own + unit.square().sum(dim=1) @ squares
    pairs, alike = sums.square() - squared, along.square().sum(dim=1) - own
    # One image alone leaves 0 of pairs, or what rounding makes of it.
    score: Tensor = (alike / pairs.masked_fill(pairs <= 1e-12 * squared, math.nan)).clamp(-1, 1)
    return score


def variance(activations: Float[Tensor, "sample neuron"]) -> Float[Tensor, " neuron"]:
    """Variance of each neuron over the samples, float64, some neurons at a time.

    Examples:
        >>> variance(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        tensor([1., 0.], dtype=torch.float64)
    """
    neurons = max(1, _NUMBERS // len(activations))
    return torch.cat([some.double().var(dim=0, correction=0) for some in activations.split(neurons, dim=1)])


def polysemanticity(activations: Float[Tensor, "neuron sample"]) -> Float[Tensor, " neuron"]:
    """``1 - monosemanticity``, 0 to 2, the images being embedded by these same neurons.

    Examples:
        Neurons 0 and 2 respond to images that are the same to them, neuron 1 to one image:

        >>> activations = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [2.0, 2.0, 0.0]])
        >>> polysemanticity(activations).round(decimals=6)
        tensor([0., nan, 0.], dtype=torch.float64)
    """
    return 1 - monosemanticity(activations.T, activations.T)


def under_covariance(
    projection: Float[Tensor, "neuron width"], covariance: Float[Tensor, "width width"]
) -> Float[Tensor, "neuron width"]:
    """The projection times the square root of its input's covariance S, float64.

    Rows of the result have the cosines ``P_i S P_j / sqrt(P_i S P_i . P_j S P_j)``: every measure of it is weighted by
    the covariance, and its overlap is what `pearson` finds in activations whose input has that covariance. Directions
    that no input takes count for nothing.

    Args:
        projection: one tower's.
        covariance: symmetric, of the vectors that the projection is applied to.

    Examples:
        Orthogonal weights, and an input in which both dimensions go together:

        >>> overlap(under_covariance(torch.eye(2), torch.tensor([[1.0, 0.6], [0.6, 1.0]])))
        tensor([0.6000, 0.6000], dtype=torch.float64)
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    rows: Tensor = projection.detach().double() @ root
    return rows
