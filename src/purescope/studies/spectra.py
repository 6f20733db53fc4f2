"""Make embeddings with a spectrum like those of published CLIPs.

The bundled embeddings are nearly of rank 64, so that few axes keep everything. Embeddings of large
models differ: their variances decay slowly, their effective rank is in the hundreds, and each tower
has a large mean of its own. These are made of topics, which are spread along the same axes as the
images within a topic.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.features.features import unit_rows


@dataclass(frozen=True)
class Spectrum:
    """Properties of made embeddings.

    Args:
        neurons: number of dimensions.
        decay: variances fall with the place j of an axis as ``(j + 10) ** -decay``.
        mean: squared length of the mean of a tower, of the squared length 1 of a row; the cosine of
            two images of different topics is about this.
        between: share of the variance that is between topics.
        noise: share of the variance of a text that it does not have in common with its image.

    Raises:
        InputError: a value is out of its range.
    """

    neurons: int = 512
    decay: float = 1.0
    mean: float = 0.5
    between: float = 0.5
    noise: float = 0.5

    def __post_init__(self) -> None:
        fractions = {"mean": self.mean, "between": self.between, "noise": self.noise}
        for name, value in fractions.items():
            if not 0 <= value < 1:
                raise InputError(f"{name} = {value:g}", expected="a number from 0 to below 1")
        if self.neurons < 2 or not math.isfinite(self.decay) or self.decay < 0:
            raise InputError(f"{self}", expected="two or more neurons, and a decay of 0 or more")


@dataclass(frozen=True, eq=False)
class MadeEmbeddings:
    """Made embeddings of images and of a text for each.

    Args:
        image, text: ``[row, neuron]`` float32 of length 1; row i of both belongs together.
        labels: ``[row]``, the topic of each row.
    """

    image: Float[Tensor, "row neuron"]
    text: Float[Tensor, "row neuron"]
    labels: Int64[Tensor, " row"]


def make_embeddings(
    rows: int, *, topics: int = 0, spectrum: Spectrum | None = None, seed: int = 0
) -> MadeEmbeddings:
    """Make embeddings with a slowly decaying spectrum and a large mean.

    Args:
        rows: number of images, and of texts.
        topics: number of topics, which take turns; by default one for 50 rows.
        spectrum: properties of the embeddings.
        seed: seed of everything that is drawn.

    Raises:
        InputError: there are fewer than two rows.

    Examples:
        >>> made = make_embeddings(1000)
        >>> made.image.shape, 100 < effective_rank(made.image) < 400
        (torch.Size([1000, 512]), True)
        >>> bool((made.image.mean(dim=0).norm() ** 2 - 0.5).abs() < 0.05)
        True
    """
    if rows < 2 or topics < 0:
        raise InputError(f"{rows} rows, {topics} topics", expected="at least two rows")
    spectrum = spectrum or Spectrum()
    topics = topics or max(2, rows // 50)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    variances = (torch.arange(spectrum.neurons) + 10.0) ** -spectrum.decay
    # Axes are turned at random: no neuron is an axis, as in a trained model.
    axes = torch.linalg.qr(normal(spectrum.neurons, spectrum.neurons))[0]
    spread = (variances / variances.sum()).sqrt()[:, None] * axes.T
    labels = torch.arange(rows) % topics
    centres = normal(topics, spectrum.neurons)
    own = math.sqrt(spectrum.between) * centres[labels]
    own += math.sqrt(1 - spectrum.between) * normal(rows, spectrum.neurons)
    other = math.sqrt(1 - spectrum.noise) * own
    other += math.sqrt(spectrum.noise) * normal(rows, spectrum.neurons)
    # The mean of images and that of texts are at right angles: the gap between the towers.
    means = torch.linalg.qr(normal(spectrum.neurons, 2))[0].T * math.sqrt(spectrum.mean)
    image, text = (
        unit_rows(mean + math.sqrt(1 - spectrum.mean) * (rows_ @ spread))
        for mean, rows_ in zip(means, (own, other), strict=True)
    )
    return MadeEmbeddings(image, text, labels)


def effective_rank(rows: Float[Tensor, "row neuron"]) -> float:
    """Return the effective rank of rows without their mean (Roy and Vetterli 2007).

    It is e to the entropy of the variances along the principal axes, divided by their sum.

    Examples:
        >>> round(effective_rank(torch.cat([torch.eye(4), -torch.eye(4)])), 6)
        4.0
    """
    centred = rows.double() - rows.double().mean(dim=0)
    variances: Float64[Tensor, " neuron"] = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0)
    shares = variances / variances.sum()
    entropy = -torch.special.xlogy(shares, shares).sum()
    return float(entropy.exp())
