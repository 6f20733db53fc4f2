"""Measure overlap and effective rank at every depth, beside those of random neurons.

A layer A `[neuron, width]` is measured by its Gram matrix A A^T, which determines all cosines and
singular values of A. So activations need not be kept, and an eigenvalue decomposition of 512
neurons takes a fraction of the time of the singular values of an A 2048 wide. Each function equals
the function of the same name in `purescope.maths.overlaps` or `purescope.maths.layer_measures`, up
to rounding.

For a Gaussian matrix of m rows and n columns the squared singular values, over n, follow the law of
Marchenko and Pastur (1967): with y = m / n <= 1 and x = 1 + y + 2 sqrt(y) cos t, the mean of f(x)
is the integral over t from 0 to pi of f(x) 2 sin^2 t / (pi x). It needs no draws and no seed.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from purescope.datasets.dataset import Dataset
from purescope.datasets.prompts import prompts_for
from purescope.errors import InputError
from purescope.features.extraction import Progress, quiet
from purescope.maths.overlaps import random_overlap
from purescope.models.model import Model
from purescope.studies.towers import Moments, Place, collect, find_places


def mean_overlap(gram: Float[Tensor, "neuron neuron"]) -> float:
    """Return the mean of `purescope.maths.overlaps.overlap` over live neurons; NaN without any.

    Examples:
        >>> A = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]]).double()
        >>> round(mean_overlap(A @ A.T), 4)
        0.2357
    """
    norms = gram.diagonal().sqrt()
    live = norms > 0
    norms = norms[live]
    cosines = (gram[live][:, live] / norms / norms[:, None]).clamp(-1, 1).abs().fill_diagonal_(0)
    return float(cosines.sum() / max(len(gram) - 1, 1) / live.sum())


def effective_rank(gram: Float[Tensor, "neuron neuron"]) -> float:
    """Return the exp of the entropy of the singular values over their sum (Roy and Vetterli 2007).

    It runs from 1 to the rank; NaN for zeros.

    Examples:
        >>> round(effective_rank(torch.eye(3, dtype=torch.float64)), 4)
        3.0
    """
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    return float(torch.special.entr(values / values.sum()).sum().exp())


def participation_ratio(gram: Float[Tensor, "neuron neuron"]) -> float:
    """Return ``(sum of s^2)^2 / sum of s^4`` of the singular values s.

    It runs from 1 to the rank; NaN for zeros.

    Examples:
        >>> round(participation_ratio(torch.diag(torch.tensor([4.0, 1.0]))), 4)  # 5^2 / 17
        1.4706
    """
    return float(gram.trace().square() / gram.square().sum())


def random_effective_rank(neurons: int, width: int) -> float:
    """Return the expected effective rank of a Gaussian matrix, by the law of Marchenko and Pastur.

    With p_i = s_i / sum s, the entropy of m singular values s is ``log m + log E s - E[s log s] / E
    s``.

    Examples:
        >>> round(random_effective_rank(512, 512)), round(random_effective_rank(512, 50_000))
        (412, 511)
    """
    rows, columns = sorted((neurons, width))
    y = rows / columns
    t = (torch.arange(4096, dtype=torch.float64) + 0.5) * math.pi / 4096
    x = 1 + y + 2 * math.sqrt(y) * t.cos()
    weight = 2 * t.sin() ** 2 / x / 4096
    s = x.sqrt()
    mean = (weight * s).sum()
    return float(rows * mean * (-(weight * s * s.log()).sum() / mean).exp())


def random_participation_ratio(neurons: int, width: int) -> float:
    """Return the participation ratio of a Gaussian matrix G.

    It is ``E (tr W)^2 / E tr W^2`` for W = G G^T, with ``E (tr W)^2 = m n (m n + 2)`` and
    ``E tr W^2 = m n (m + n + 1)``.

    Examples:
        >>> round(random_participation_ratio(512, 512))
        256
    """
    return (neurons * width + 2) / (neurons + width + 1)


Row: TypeAlias = dict[str, str | int | float]

# Each measure, and its value for random neurons, given the numbers of live and of all neurons and
# the width. Dead neurons add nothing to a rank, and count as orthogonal in an overlap.
_MEASURES: dict[str, tuple[Callable[[Tensor], float], Callable[[int, int, int], float]]] = {
    "overlap": (
        mean_overlap,
        lambda live, neurons, width: random_overlap(width) * max(1, live - 1) / max(1, neurons - 1),
    ),
    "effective_rank": (
        effective_rank,
        lambda live, neurons, width: random_effective_rank(live, width),
    ),
    "participation_ratio": (
        participation_ratio,
        lambda live, neurons, width: random_participation_ratio(live, width),
    ),
}


def layer_table(
    model: Model,
    dataset: Dataset | None = None,
    *,
    batch_size: int = 64,
    progress: Progress = quiet,
) -> pd.DataFrame:
    """Measure each place of both towers, in its weights and in its activations.

    Activations are those of the token that the tower reads, as `Tower.token` says (the class token,
    the end of the text), otherwise the mean over tokens or positions. They are taken over the
    images, and over every prompt of every class.

    Args:
        model: the model whose towers to measure.
        dataset: images and class prompts for the activations; without a dataset only weights are
            measured.
        batch_size: images or prompts at a time; the result does not depend on it beyond rounding.
        progress: wraps the batches of images, for a progress bar.

    Returns:
        One row for each place and space. Columns ``model``, ``dataset`` (empty for weights),
        ``tower``, ``depth``, ``kind``, ``name`` (see `purescope.studies.towers.Place`), ``space``
        (weights; activations; centred, that is without each neuron's mean), ``token`` (how
        activations become one row for each sample), ``neurons``, ``width`` (inputs of a neuron, or
        samples), ``dead`` (number of neurons of norm zero), ``overlap`` (mean over the live
        neurons), ``effective_rank`` (Roy and Vetterli 2007), ``participation_ratio``. For each of
        these three measures, ``random_`` is the value of independent Gaussian neurons of the same
        shape, and ``relative_`` the measured value over it.

    Raises:
        InputError: the model does not give access to the modules of its towers, or runs on several
            devices; there are fewer than two images; the batch size is below 1; an activation is
            NaN or infinite.
        DatasetError: an image cannot be read.

    Examples:
        >>> from purescope.models import load_model
        >>> table = layer_table(load_model("bundled:clip"))
        >>> first = table[(table.tower == "text") & (table.depth == 1)]
        >>> first[["kind", "neurons", "width"]].values.tolist()
        [['attention', 512, 512], ['mlp', 512, 2048]]
    """
    places = find_places(model)
    moments: dict[Place, Moments] = {}
    if dataset is not None:
        _check(model, dataset, batch_size)
        for tower in model.towers:
            own = [place for place in places if place.tower == tower]
            moments |= _moments(model, dataset, tower, own, batch_size, progress)
    rows = [row for place in places for row in _rows(model, place, moments.get(place))]
    table = pd.DataFrame(rows)
    name = "" if dataset is None else dataset.name
    table.insert(0, "model", model.label)
    table.insert(1, "dataset", ["" if space == "weights" else name for space in table.space])
    return table


def _moments(
    model: Model,
    dataset: Dataset,
    tower: str,
    places: Sequence[Place],
    batch_size: int,
    progress: Progress,
) -> dict[Place, Moments]:
    name = f"{model.label}: {tower} tower on {dataset.name}"
    encode, length, read = _SAMPLES[tower](model, dataset)
    starts = range(0, length, batch_size)
    batches: Iterable[Any] = (
        read(range(start, min(start + batch_size, length))) for start in starts
    )
    batches = progress(batches, name, len(starts))
    return collect(places, model.towers[tower], encode, batches, name=name)


Samples: TypeAlias = tuple[Callable[[Any], Tensor], int, Callable[[range], Any]]
"""An encoder, the number of samples, and a function that reads a range of them."""


def _images(model: Model, dataset: Dataset) -> Samples:
    def read(rows: range) -> Tensor:
        return model.preprocess.normalise(
            torch.stack([model.preprocess.pixels(dataset.images[row]) for row in rows])
        )

    return model.encode_image, len(dataset), read


def _sentences(model: Model, dataset: Dataset) -> Samples:
    texts = prompts_for(dataset, "native").texts()
    return model.encode_text, len(texts), lambda rows: texts[rows.start : rows.stop]


_SAMPLES: dict[str, Callable[[Model, Dataset], Samples]] = {"image": _images, "text": _sentences}


def _rows(model: Model, place: Place, moments: Moments | None) -> Iterator[Row]:
    """Measure one place: one row for each space."""
    if place.weight is not None:
        weight = place.weight.cpu().double()
        yield _row(place, "weights", weight @ weight.T, weight.shape[1], weight.shape[1])
    if moments is not None:
        token = "mean" if place.kind in ("stem", "conv") else model.towers[place.tower].token
        token = "" if place.module is None else token
        samples = moments.samples
        yield _row(place, "activations", moments.gram(), samples, samples, token)
        # Centred Gaussian rows of n samples are Gaussian in n - 1 dimensions.
        yield _row(place, "centred", moments.gram(centred=True), samples, samples - 1, token)


def _row(
    place: Place,
    space: str,
    gram: Float[Tensor, "neuron neuron"],
    width: int,
    freedom: int,
    token: str = "",
) -> Row:
    """Return one row of the table; `freedom` is the width of the random neurons."""
    live = int((gram.diagonal() > 0).sum())
    row: Row = {
        "tower": place.tower,
        "depth": place.depth,
        "kind": place.kind,
        "name": place.name,
        "space": space,
    }
    row |= {"token": token, "neurons": len(gram), "width": width, "dead": len(gram) - live}
    for measure, (measure_gram, expect_random) in _MEASURES.items():
        value = measure_gram(gram) if live else math.nan
        random = expect_random(live, len(gram), freedom) if live else math.nan
        row |= {measure: value, f"random_{measure}": random, f"relative_{measure}": value / random}
    return row


def _check(model: Model, dataset: Dataset, batch_size: int) -> None:
    if batch_size < 1:
        raise InputError(f"batch size {batch_size}", expected="at least 1")
    if len(dataset) < 2:
        raise InputError(
            f"{dataset.name} has {len(dataset)} image", expected="at least 2, to subtract a mean"
        )
    if model.lanes > 1:
        raise InputError(
            f"{model.label} runs on {model.lanes} devices",
            expected="one device: activations are taken where the modules are",
            fix="load it on one: --device cuda:0 (device='cuda:0')",
        )
