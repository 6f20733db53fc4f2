"""Draw the vectors to search in and the queries: from embeddings, features, or captions.

A collection that is larger than wanted is sampled. The recall of a search depends on how many
vectors there are, so their number stands in every row of the table.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.features.captions import CaptionFeatures
from purescope.features.features import Features, unit_rows
from purescope.reduce.searching import SearchSet

_FIFTH = 5  # at most this part of a collection is queries


class Sampler:
    """Draw rows from blocks of any number, in one pass, and keep their order.

    Each row gets a random number, and those with the smallest numbers are kept. Memory is that of
    twice the rows that are kept.

    Args:
        most: number of rows to keep, at most.
        seed: seed of the draw.

    Examples:
        >>> sampler = Sampler(4)
        >>> sampler.take(torch.ones(3, 2))
        >>> sampler.take(torch.zeros(2, 2))
        >>> len(sampler.rows()), sampler.count
        (4, 5)
    """

    def __init__(self, most: int, *, seed: int = 0) -> None:
        self._most = most
        self._generator = torch.Generator().manual_seed(seed)
        self._rows: list[Tensor] = []
        self._keys: list[Tensor] = []
        self.count = 0
        """Number of rows seen."""

    def take(self, block: Float[Tensor, "_ neuron"]) -> None:
        """Draw from a further block."""
        self._rows.append(block.float())
        self._keys.append(torch.rand(len(block), generator=self._generator))
        self.count += len(block)
        if sum(map(len, self._keys)) > 2 * self._most:
            self._draw()

    def rows(self) -> Float[Tensor, "row neuron"]:
        """Return the rows that are kept, in float32."""
        self._draw()
        return self._rows[0]

    def _draw(self) -> None:
        rows, keys = torch.cat(self._rows), torch.cat(self._keys)
        places = keys.argsort(stable=True)[: self._most].sort().values
        self._rows, self._keys = [rows[places]], [keys[places]]


def hold_out(
    vectors: Float[Tensor, "row neuron"],
    queries: int,
    *,
    labels: Int64[Tensor, " row"] | None = None,
    model: str = "model",
    dataset: str = "dataset",
    seed: int = 0,
) -> SearchSet:
    """Leave vectors out of the index, and let them be the queries.

    Args:
        vectors: rows of any length.
        queries: number of queries, at most; never more than a fifth of the rows.
        labels: the label of each row, if there are labels.
        model, dataset: short names.
        seed: seed of the draw.

    Raises:
        InputError: there are fewer than 15 rows.

    Examples:
        >>> given = hold_out(torch.eye(20), 1000)
        >>> len(given.vectors), len(given.queries)
        (16, 4)
    """
    if len(vectors) < 3 * _FIFTH:
        raise InputError(
            f"{dataset}: {len(vectors):,} vectors",
            expected=f"at least {3 * _FIFTH}, a fifth of which are queries",
            fix="give a larger collection",
        )
    places = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed))
    count = max(2, min(queries, len(vectors) // _FIFTH))
    asked, stored = places[:count], places[count:].sort().values
    return SearchSet(
        vectors=unit_rows(vectors[stored]),
        queries=unit_rows(vectors[asked]),
        task="" if labels is None else "same_label",
        labels=None if labels is None else labels[stored],
        query_labels=None if labels is None else labels[asked],
        model=model,
        dataset=dataset,
    )


def ask_classes(features: Features, *, most: int, seed: int = 0) -> SearchSet:
    """Let the classes be the queries: a search for each class by its text.

    Args:
        features: images, texts of classes and labels.
        most: number of images in the index, at most.
        seed: seed of the draw.

    Raises:
        InputError: there are too few images or classes.
    """
    places = choose_places(len(features.image), most, seed)
    return SearchSet(
        vectors=unit_rows(features.image[places]),
        queries=unit_rows(features.text),
        asked="text",
        task="same_label",
        labels=features.labels[places],
        query_labels=torch.arange(len(features.text)),
        model=features.model,
        dataset=features.dataset,
    )


def ask_captions(features: CaptionFeatures, queries: int, *, most: int, seed: int = 0) -> SearchSet:
    """Let captions be the queries, one caption of each image that is drawn.

    Args:
        features: images and captions.
        queries: number of queries, at most.
        most: number of images in the index, at most.
        seed: seed of the draw.

    Raises:
        InputError: there are fewer than 10 images.

    Examples:
        >>> image = torch.eye(12)
        >>> captions = CaptionFeatures(image, image.repeat(2, 1), torch.arange(12).repeat(2))
        >>> given = ask_captions(captions, 5, most=10)
        >>> len(given.vectors), len(given.queries), given.task
        (10, 5, 'own_image')
    """
    places = choose_places(len(features.image), most, seed)
    generator = torch.Generator().manual_seed(seed)
    # A random order of the captions: the first one of each image is a random one.
    order = torch.randperm(len(features.text), generator=generator)
    caption_of = torch.full((len(features.image),), -1)
    caption_of[features.image_of[order.flip(0)]] = order.flip(0)
    asked = places[torch.randperm(len(places), generator=generator)[:queries]]
    return SearchSet(
        vectors=unit_rows(features.image[places]),
        queries=unit_rows(features.text[caption_of[asked]]),
        asked="text",
        task="own_image",
        labels=places,
        query_labels=asked,
        model=features.model,
        dataset=features.dataset,
    )


def choose_places(count: int, most: int, seed: int) -> Int64[Tensor, " row"]:
    """Draw `most` of the places from 0 to `count`, in order; all where there are fewer.

    Examples:
        >>> choose_places(3, 5, 0)
        tensor([0, 1, 2])
    """
    places = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    chosen: Tensor = places[:most].sort().values
    return chosen
