"""Count the competitors that beat a query's partner, in float32 blocks with the result of float64.

This is the engine of `purescope.maths.retrieval`. A caption searches the images, and its image
searches the captions. Only the first places count.

Products add over neurons. A block of products is computed in float32 and grows from k to k. At each
k `purescope.maths.counting` compares the whole block with the scores of the right answers. Captions
are sorted by their image, so that captions of the same image stand together.

Rounding moves a float32 product by at most ``(k + c) 2^-24 |x| |y|``, with c for the steps around
the sum. A pair that is nearer to the own partner than that is computed again in float64. A query
with many such pairs (k = 1, duplicates, zero rows) is compared with all competitors in float64, and
so are all queries at a k where products could underflow.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from torch import Tensor

from purescope.maths.counting import Notes, Queries, compare_block, compare_own

# Of a block: 8 MB, so that one for each of two cores is in cache. In rows of a power of two bytes
# neighbours would push each other out.
_IMAGES, _CAPTIONS = 1000, 2000
_ROWS = 4  # the images of a block are a multiple of this
_EXACT_ROWS = 256  # rows in one float64 product
_MOST = 16  # pairs of a query that are computed in float64 one by one
_NOTES = 1 << 16  # pairs that wait to be computed in float64
_STEPS = 24  # roundings of a score beside those of the sum
_TINY = 1e-15  # products of norms below this could underflow in float32


@dataclass(frozen=True)
class Pairs:
    """Unit rows of images and captions, sorted by image, and the image of each caption.

    Args:
        image: rows of norm 1, or zero rows.
        text: rows of norm 1, or zero rows.
        image_of: the image of each caption, ascending.
        index: which caption each one was before they were sorted.
        image_by_neuron, text_by_neuron: the same rows as columns of float32.
        renormalise: divide scores by the norms over the kept neurons.
        places: how many places count: a rank of this is that place or any later one.
    """

    image: Float64[Tensor, "image neuron"]
    text: Float64[Tensor, "caption neuron"]
    image_of: Int64[Tensor, " caption"]
    index: Int64[Tensor, " caption"]
    image_by_neuron: Float32[Tensor, "neuron image"]
    text_by_neuron: Float32[Tensor, "neuron caption"]
    renormalise: bool
    places: int

    @classmethod
    def make(
        cls,
        image: Float64[Tensor, "image neuron"],
        text: Float64[Tensor, "caption neuron"],
        image_of: Int64[Tensor, " caption"],
        *,
        renormalise: bool,
        places: int,
    ) -> "Pairs":
        """Sort captions by image."""
        index = image_of.argsort(stable=True)
        text = text[index]
        columns, others = (rows.float().T.contiguous() for rows in (image, text))
        return cls(image, text, image_of[index], index, columns, others, renormalise, places)

    def ranks(
        self, order: Int64[Tensor, " neuron"], ks: list[int]
    ) -> tuple[UInt8[Tensor, "k caption"], UInt8[Tensor, "k caption"]]:
        """Return the rank of each caption's image among images, and of each caption among captions
        for its image, counted up to `places`; captions as they were before they were sorted.

        Args:
            order: an order of the neurons.
            ks: how many neurons to keep, ascending.
        """
        return _Search(self, order, ks).run()


class _Side(NamedTuple):
    """Images or captions: unit rows, their norms over the kept neurons, and their numbers. Of equal
    scores the lower number is better.
    """

    rows: Float64[Tensor, "row neuron"]
    norms: Float64[Tensor, "k row"]
    number: Int64[Tensor, " row"]


class _Direction:
    """One direction of search: its queries, one for each caption, and their competitors.

    A competitor with product p and norm n beats the partner if ``p / n > target``. Rounding in
    float32 moves ``p / n`` by at most `rounding`, and in float64 by `tie`.

    Args:
        asking: the side that asks.
        asks: the row that asks in each query.
        competitors: the side that is asked for.
        partner: the competitor that each query asks for.
        product: of each query's row and its partner.
        order, ks: which neurons are kept.
        places: how many places count.
    """

    def __init__(
        self,
        asking: _Side,
        asks: Int64[Tensor, " query"],
        competitors: _Side,
        partner: Int64[Tensor, " query"],
        product: Float64[Tensor, "k query"],
        order: Int64[Tensor, " neuron"],
        ks: list[int],
        places: int,
    ) -> None:
        self.asking, self.asks, self.competitors, self.partner = asking, asks, competitors, partner
        self.order, self.ks, self.places = order, ks, places
        length = asking.norms[:, asks]
        self.target = product / competitors.norms[:, partner]
        self.tie = (2 * len(order) + _STEPS) * 2.0**-53 * length
        # The sum at a k has as many terms.
        rounding = (torch.tensor(ks)[:, None] + _STEPS) * 2.0**-24 * length
        lower, upper = ((self.target + by).float().numpy() for by in (-rounding, rounding))
        better, unsure = np.zeros((2, *product.shape), np.int32)
        self.queries = Queries(lower, upper, better, unsure, places, _MOST)
        self.notes = Notes(np.empty((_NOTES, 3), np.int64), np.zeros(1, np.int64))

    def give_up(self, k: int) -> None:
        """Compare all queries at a k with all competitors in float64, in the end."""
        self.queries.lower[k] = self.queries.upper[k] = np.inf
        self.queries.unsure[k] = _MOST + 1

    def resolve(self) -> None:
        """Compare the pairs that float32 cannot tell, in float64, and forget them."""
        pairs = torch.from_numpy(self.notes.pairs[: self.notes.used[0]].copy())
        self.notes.used[0] = 0
        for k in pairs[:, 0].unique().tolist():
            kept = self.order[: self.ks[k]]
            for part in pairs[pairs[:, 0] == k].split(_EXACT_ROWS):
                query, competitor = part[:, 1], part[:, 2]
                asking = self.asking.rows[self.asks[query]].index_select(1, kept)
                others = self.competitors.rows[competitor].index_select(1, kept)
                score = (asking * others).sum(1) / self.competitors.norms[k, competitor]
                better = query[self._beats(k, query, score, competitor)]
                np.add.at(self.queries.better[k], better.numpy(), 1)

    def ranks(self) -> UInt8[Tensor, "k query"]:
        """Return how many competitors are better, up to the places that count."""
        self.resolve()
        given_up = self.queries.unsure > _MOST
        for k in np.flatnonzero(given_up.any(1)).tolist():
            self._compare_all(k, torch.from_numpy(np.flatnonzero(given_up[k])))
        return torch.from_numpy(self.queries.better).clamp(max=self.places).to(torch.uint8)

    def _compare_all(self, k: int, queries: Int64[Tensor, " query"]) -> None:
        """Compare queries with all competitors in float64."""
        kept, rows = self.order[: self.ks[k]], self.competitors.rows
        others, competitors = rows.index_select(1, kept).T, torch.arange(len(rows))
        for query in queries.split(_EXACT_ROWS):
            asking = self.asking.rows[self.asks[query]].index_select(1, kept)
            score = asking @ others / self.competitors.norms[k]
            better = self._beats(k, query[:, None], score, competitors)
            self.queries.better[k, query.numpy()] = better.sum(1).numpy()

    def _beats(
        self,
        k: int,
        query: Int64[Tensor, "..."],
        score: Float64[Tensor, "..."],
        competitor: Int64[Tensor, "..."],
    ) -> Bool[Tensor, "..."]:
        """Tell where a competitor beats the partner, by its score or its lower index."""
        excess, tie = score - self.target[k, query], self.tie[k, query]
        number, partner = self.competitors.number, self.partner[query]
        is_first = number[competitor] < number[partner]
        is_better = (excess > tie) | ((excess >= -tie) & is_first)
        return is_better & (competitor != partner)


class _Search:
    """Both directions of search with one order."""

    def __init__(self, pairs: Pairs, order: Int64[Tensor, " neuron"], ks: list[int]) -> None:
        self.pairs, self.order, self.ks = pairs, order, ks
        image, text, image_of = pairs.image, pairs.text, pairs.image_of
        self.masks = (order.argsort()[:, None] < torch.tensor(ks)).double()
        images = _Side(image, self._norms(image), torch.arange(len(image)))
        captions = _Side(text, self._norms(text), pairs.index)
        each = torch.arange(len(text))
        own = [(image[image_of[b]] * text[b]) @ self.masks for b in each.split(_EXACT_ROWS)]
        product, kept = torch.cat(own).T.contiguous(), (order, ks, pairs.places)
        self.to_images = _Direction(captions, each, images, image_of, product, *kept)
        self.to_captions = _Direction(images, image_of, captions, each, product, *kept)
        for k in (_has_tiny(images.norms) | _has_tiny(captions.norms)).nonzero()[:, 0].tolist():
            self.to_images.give_up(k)
            self.to_captions.give_up(k)
        # Rows that fill up the last block get no score: NaN is above nothing.
        self.image_scale = torch.full((len(ks), -(-len(image) // _ROWS) * _ROWS), torch.nan)
        self.image_scale[:, : len(image)] = 1 / images.norms
        self.caption_scale = (1 / captions.norms).float()
        # Where the captions of each image begin.
        self.first = torch.searchsorted(image_of, torch.arange(len(image) + 1)).numpy()

    def _norms(self, rows: Float64[Tensor, "row neuron"]) -> Float64[Tensor, "k row"]:
        """Return what scores are divided by, 1 for a zero row."""
        if not self.pairs.renormalise:
            return torch.ones(len(self.ks), len(rows), dtype=torch.float64)
        squares = torch.cat([block.square() @ self.masks for block in rows.split(_EXACT_ROWS)])
        norms = squares.sqrt_().T.contiguous()
        return norms.masked_fill_(norms == 0, 1)

    def run(self) -> tuple[UInt8[Tensor, "k caption"], UInt8[Tensor, "k caption"]]:
        """Count in blocks of images and captions, and return the ranks by caption."""
        compare_own(
            self.to_captions.target.numpy(),
            self.to_captions.tie.numpy(),
            self.pairs.index.numpy(),
            self.first,
            self.to_captions.queries,
        )
        lowest = self._lowest()
        kept = self.order[: self.ks[-1]]
        left = torch.zeros(len(kept), self.image_scale.shape[1])
        left[:, : len(self.pairs.image)] = self.pairs.image_by_neuron.index_select(0, kept)
        right = self.pairs.text_by_neuron.index_select(0, kept)
        spans = [slice(*ends) for ends in zip([0, *self.ks], self.ks, strict=False)]
        space = left.new_empty(_IMAGES * _CAPTIONS)
        for images in _blocks(left.shape[1], _IMAGES):
            for captions in _blocks(right.shape[1], _CAPTIONS):
                shape = images.stop - images.start, captions.stop - captions.start
                block = space[: shape[0] * shape[1]].view(shape)
                for k, span in enumerate(spans):
                    more = left[span, images].T, right[span, captions]
                    torch.addmm(block, *more, beta=0 if k == 0 else 1, out=block)
                    self._compare(k, block, images, captions, lowest)
        ranks = []
        for direction in (self.to_images, self.to_captions):
            by_caption = torch.empty(len(self.ks), len(self.pairs.text), dtype=torch.uint8)
            by_caption[:, self.pairs.index] = direction.ranks()
            ranks.append(by_caption)
        return ranks[0], ranks[1]

    def _lowest(self) -> Float32[np.ndarray, "k image"]:
        """Return the lowest bound of the captions of each image, infinity where there are none."""
        lower = self.to_captions.queries.lower
        lowest = np.full((len(lower), len(self.first) - 1), np.inf, np.float32)
        some = np.flatnonzero(np.diff(self.first))
        lowest[:, some] = np.minimum.reduceat(lower, self.first[some], axis=1)
        return lowest

    def _compare(
        self,
        k: int,
        block: Float32[Tensor, "row column"],
        images: slice,
        captions: slice,
        lowest: Float32[np.ndarray, "k image"],
    ) -> None:
        """Compare a block of products in both directions."""
        directions = self.to_images, self.to_captions
        compare_block(
            block.numpy(),
            self.image_scale[k, images].numpy(),
            self.caption_scale[k, captions].numpy(),
            k,
            images.start,
            captions.start,
            self.first,
            lowest,
            *((direction.queries, direction.notes) for direction in directions),
        )
        for direction in directions:
            if 2 * direction.notes.used[0] > len(direction.notes.pairs):
                direction.resolve()


def _blocks(items: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, items)) for start in range(0, items, size)]


def _has_tiny(norms: Float64[Tensor, "k row"]) -> Bool[Tensor, " k"]:
    return ((norms > 0) & (norms < _TINY)).any(1)
