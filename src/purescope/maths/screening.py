"""Count the competitors that beat a query's partner, in float32 blocks with the result of float64.

This is the engine of `purescope.maths.retrieval`. A caption searches the images, and its image
searches the captions. Only the first ten places count, so most pairs are never looked at one by
one.

Products add over neurons. A block of products is computed in float32 and grows from k to k. The
largest product of each group of competitors says whether one of the group can beat the query's own
partner. Groups hold competitors of similar norm: bounds with the smallest and the largest norm of a
group are tight, and no product has to be divided. An image searches captions with one bound for
all of its captions first, the lowest. Only members of groups that pass are compared one by one, in
the order of blocks but many blocks at a time, and a query is finished at a k when ten better ones
are known.

Rounding moves a float32 product by at most ``(k + c) 2^-24 |x| |y|``, with c for the steps around
the sum. A pair that is nearer to the own partner than that is computed again in float64. Blocks
with very many such pairs (k = 1, duplicates, zero rows) are computed in float64 as a whole.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from torch import Tensor

from purescope.maths.competitors import PLACES, Asking, Direction, Hits, Items, Near

_IMAGES, _CAPTIONS = 1024, 2048  # of a block: 8 MB, so that one for each of two cores is in cache
# Competitors whose largest product is compared first. Every caption of an image asks the captions,
# so there are more comparisons with groups of captions: these are larger.
_IMAGE_GROUP, _CAPTION_GROUP = 16, 32
_EXACT_ROWS = 256  # rows in one float64 product
_MANY = 4  # pairs of a query, in a block, to compute in float64 one by one
_COUNTED = (0, 1, 3, 7)  # blocks of captions after which is counted what an image found
_WAITING = 1 << 18  # members of groups that wait to be counted, of 32 bytes each
_TINY = 1e-15  # products of norms below this could underflow in float32


@dataclass(frozen=True)
class Pairs:
    """Unit rows of images and captions, and the image of each caption.

    Args:
        image: rows of norm 1, or zero rows.
        text: rows of norm 1, or zero rows.
        image_of: the image of each caption.
        ks: how many neurons to keep, ascending.
        renormalise: divide scores by the norms over the kept neurons.
    """

    image: Float64[Tensor, "image neuron"]
    text: Float64[Tensor, "caption neuron"]
    image_of: Int64[Tensor, " caption"]
    ks: list[int]
    renormalise: bool

    def ranks(
        self, order: Int64[Tensor, " neuron"]
    ) -> tuple[UInt8[Tensor, "k caption"], UInt8[Tensor, "k caption"]]:
        """Return the rank of each caption's image among images, and of each caption among captions
        for its image, counted up to `PLACES`.
        """
        return _Search(self, order).run()


class _Search:
    """Both directions of search with one order; everything is in positions of `Items`."""

    def __init__(self, pairs: Pairs, order: Int64[Tensor, " neuron"]) -> None:
        self.pairs, self.order = pairs, order
        neurons = pairs.image.shape[1]
        self.masks = (order.argsort()[:, None] < torch.tensor(pairs.ks)).double()
        image_norms, text_norms = self._norms(pairs.image), self._norms(pairs.text)
        self.fragile = (_has_tiny(image_norms) | _has_tiny(text_norms)).tolist()
        self.images = Items(image_norms, _IMAGES, _IMAGE_GROUP)
        self.captions = Items(text_norms, _CAPTIONS, _CAPTION_GROUP)
        image_of = pairs.image_of[self.captions.index]
        self.row = self.images.position[image_of]  # of the image of each caption position
        own = [
            (pairs.image[image_of[block]] * pairs.text[self.captions.index[block]]) @ self.masks
            for block in self.captions.blocks
        ]
        product = torch.cat(own).T
        lengths = self.images.norms[:, self.row], self.captions.norms
        self.to_images = Direction(
            self.images, self.row, product / lengths[0], lengths[1], pairs.ks, neurons
        )
        positions = torch.arange(len(self.row))
        self.to_texts = Direction(
            self.captions, positions, product / lengths[1], lengths[0], pairs.ks, neurons
        )
        padding = (~self.captions.valid).nonzero()[:, 0]
        for direction in (self.to_images, self.to_texts):
            for k in range(len(pairs.ks)):
                direction.finish(k, padding)

    def _norms(self, rows: Float64[Tensor, "item neuron"]) -> Float64[Tensor, "k item"]:
        """Return what scores are divided by, 1 for a zero row."""
        if not self.pairs.renormalise:
            return torch.ones(len(self.pairs.ks), len(rows), dtype=torch.float64)
        squares = torch.cat([block.square() @ self.masks for block in rows.split(_EXACT_ROWS)])
        norms = squares.sqrt_().T.contiguous()
        return norms.masked_fill_(norms == 0, 1)

    def run(self) -> tuple[UInt8[Tensor, "k caption"], UInt8[Tensor, "k caption"]]:
        """Count in blocks of images and captions, and return the ranks by caption."""
        kept = self.order[: self.pairs.ks[-1]]
        left = self.pairs.image[self.images.index].float().index_select(1, kept)
        right = self.pairs.text.float()[self.captions.index].index_select(1, kept).T
        spans = list(zip([0, *self.pairs.ks], self.pairs.ks, strict=False))
        products = left.new_empty(self.images.blocks[0].stop * self.captions.blocks[0].stop)
        for images in self.images.blocks:
            asking = Asking(self.to_texts, self.row, images)
            for number, captions in enumerate(self.captions.blocks):
                shape = images.stop - images.start, captions.stop - captions.start
                block = products[: shape[0] * shape[1]].view(shape)
                for k, (start, stop) in enumerate(spans):
                    first, second = left[images, start:stop], right[start:stop, captions]
                    torch.addmm(block, first, second, beta=0 if k == 0 else 1, out=block)
                    self._search_images(k, block, images, captions)
                    self._search_texts(k, block, asking, captions)
                # What is finished is not searched for in later blocks, so the first count matters.
                if number in _COUNTED or self.to_texts.waiting > _WAITING:
                    self._count(self.to_texts)
                    asking.update()
                if self.to_images.waiting > _WAITING:
                    self._count(self.to_images)
            for direction in (self.to_images, self.to_texts):
                self._count(direction)
                self._resolve(direction)
        ranks = []
        for direction in (self.to_images, self.to_texts):
            counts = direction.counts.index_select(1, self.captions.position)
            ranks.append(counts.clamp_(max=PLACES).to(torch.uint8))
        return ranks[0], ranks[1]

    def _search_images(
        self, k: int, block: Float32[Tensor, "image caption"], images: slice, captions: slice
    ) -> None:
        """Compare a block of images with the own image of each caption of a block."""
        direction, items, width = self.to_images, self.images, block.shape[1]
        asked = torch.arange(captions.start, captions.stop)
        if self.fragile[k]:
            return self._dense(direction, k, asked, images)
        largest, ends = block.view(items.group, -1, width).amax(0), items.ends(k, images)
        if images.start == 0:
            # Most queries that end far behind are finished by the first block.
            sure = torch.addmm(largest, ends.T, direction.sure[k, :, captions], alpha=-1)
            direction.finish(k, asked[(sure > 0).sum(0) >= PLACES])
        excess = torch.addmm(largest, ends.T, direction.possible[k, :, captions], alpha=-1)
        hits = _positive(excess)
        if 4 * len(hits) > 3 * excess.numel():
            return self._dense(direction, k, asked, images)
        bounds = largest.view(-1).numpy()[hits] - excess.view(-1).numpy()[hits]
        hit, member, values = _members(block, hits, bounds, excess.numel(), items.group)
        group, column = np.divmod(hits[hit], width)
        competitors = images.start + member * len(largest) + group
        direction.found(Hits(k, images, captions.start + column, competitors, values, width))
        return None

    def _search_texts(
        self,
        k: int,
        block: Float32[Tensor, "image caption"],
        asking: Asking,
        captions: slice,
    ) -> None:
        """Compare a block of captions with the own captions of each image of a block."""
        direction, items, width = self.to_texts, self.captions, block.shape[1]
        if self.fragile[k]:
            return self._dense(direction, k, asking.queries, captions)
        largest, ends = block.view(len(block), items.group, -1).amax(1), items.ends(k, captions)
        groups = largest.shape[1]
        if captions.start == 0:
            rows, sure = largest.index_select(0, asking.row), direction.sure[k]
            sure = torch.addmm(rows, sure.index_select(1, asking.queries).T, ends, alpha=-1)
            direction.finish(k, asking.queries[(sure > 0).sum(1) >= PLACES])
            asking.update(k)
        # First with the lowest bound of all captions of an image, then with the own bound of each.
        excess = torch.addmm(largest, asking.lowest[k].T, ends, alpha=-1)
        hits = _positive(excess)
        if 4 * len(hits) > 3 * excess.numel():
            return self._dense(direction, k, asking.queries, captions)
        row, group = np.divmod(hits, groups)
        hit, queries = asking.of_rows(row)
        group, own = group[hit], direction.possible[k].numpy()
        least, greatest = ends.numpy()
        bounds = own[0][queries] * least[group] + own[1][queries] * greatest[group]
        passed = np.flatnonzero(largest.view(-1).numpy()[hits[hit]] > bounds)
        queries, group, bounds = queries[passed], group[passed], bounds[passed]
        first = row[hit[passed]] * width + group
        hit, member, values = _members(block, first, bounds, groups, items.group)
        competitors = captions.start + member * groups + group[hit]
        direction.found(Hits(k, captions, queries[hit], competitors, values, len(asking.queries)))
        return None

    def _count(self, direction: Direction) -> None:
        """Count competitors that are better for sure, and keep what float32 cannot tell."""
        waiting, direction.hits, direction.waiting = direction.hits, [], 0
        if not waiting:
            return
        items, neurons = direction.competitors, direction.target.shape[1]
        lengths = [len(hits.queries) for hits in waiting]
        k = np.repeat([hits.k for hits in waiting], lengths)
        queries = np.concatenate([hits.queries for hits in waiting])
        competitors = np.concatenate([hits.competitors for hits in waiting])
        values = np.concatenate([hits.values for hits in waiting]).astype(np.float64)
        cell = k * neurons + queries
        excess = values / items.norms.view(-1).numpy()[k * len(items.index) + competitors]
        excess -= direction.target.view(-1).numpy()[cell]
        rounding = direction.rounding.view(-1).numpy()[cell]
        other = items.valid.numpy()[competitors]
        other &= competitors != direction.partner.numpy()[queries]
        near = other & (np.abs(excess) <= rounding)
        better = other & (excess > rounding)
        # Blocks with many pairs that float32 cannot tell are computed anew.
        source = np.repeat(np.arange(len(waiting)), lengths)
        many = np.bincount(source[near], minlength=len(waiting))
        again = many > _MANY * np.array([hits.asked for hits in waiting])
        if again.any():
            anew = again[source]
            near &= ~anew
            better &= ~anew
        direction.add(cell[better])
        direction.near.append(Near(k[near], queries[near], competitors[near]))
        for number in np.flatnonzero(again):
            hits = waiting[number]
            self._dense(direction, hits.k, torch.from_numpy(np.unique(hits.queries)), hits.span)

    def _resolve(self, direction: Direction) -> None:
        """Compare the pairs that float32 cannot tell, in float64."""
        items, pairs = direction.competitors, self.pairs
        cells = []
        for k, near in direction.near_by_k():
            for query, competitor in zip(*(part.split(_EXACT_ROWS) for part in near), strict=True):
                if items is self.images:
                    image, text = items.index[competitor], self.captions.index[query]
                else:
                    image, text = self.images.index[self.row[query]], items.index[competitor]
                product = (pairs.image[image] * pairs.text[text]) @ self.masks[:, k]
                excess = product / items.norms[k, competitor] - direction.target[k, query]
                better = query[direction.beats(k, query, excess, competitor)]
                cells.append(k * len(direction.partner) + better.numpy())
        if cells:
            direction.add(np.concatenate(cells))

    def _dense(
        self, direction: Direction, k: int, queries: Int64[Tensor, " query"], span: slice
    ) -> None:
        """Compare queries with a whole block of competitors in float64."""
        items, pairs = direction.competitors, self.pairs
        kept = self.order[: pairs.ks[k]]
        features = pairs.image if items is self.images else pairs.text
        others = features[items.index[span]].index_select(1, kept).T
        competitors = torch.arange(span.start, span.stop)
        for query in direction.live(k, queries).split(_EXACT_ROWS):
            if items is self.images:
                asking = pairs.text[self.captions.index[query]]
            else:
                asking = pairs.image[self.images.index[self.row[query]]]
            excess = asking.index_select(1, kept) @ others / items.norms[k, span]
            excess -= direction.target[k, query, None]
            better = direction.beats(k, query[:, None], excess, competitors)
            direction.add_many(k, query, (better & items.valid[span]).sum(1))


def _members(
    block: Float32[Tensor, "image caption"],
    first: Int64[np.ndarray, " hit"],
    bounds: Float32[np.ndarray, " hit"],
    step: int,
    size: int,
) -> tuple[Int64[np.ndarray, " found"], Int64[np.ndarray, " found"], Float32[np.ndarray, " found"]]:
    """Find the members of groups whose product is above a bound.

    Args:
        block: products.
        first: where the first product of each group stands in the flat block.
        bounds: the bound of each.
        step: from a member to the next.
        size: number of members.

    Returns:
        The position in `first`, the number of the member, and its product.
    """
    places = first[:, None] + step * np.arange(size)
    values = block.view(-1).index_select(0, torch.from_numpy(places.ravel())).numpy()
    found = np.flatnonzero(values.reshape(places.shape) > bounds[:, None])
    hit, member = np.divmod(found, size)
    return hit, member, values[found]


def _positive(values: Float32[Tensor, "row column"]) -> Int64[np.ndarray, " hit"]:
    """Find positive values; NumPy takes an eighth of the time of torch for this."""
    return np.flatnonzero(np.greater(values.numpy(), 0))


def _has_tiny(norms: Float64[Tensor, "k item"]) -> Bool[Tensor, " k"]:
    return ((norms > 0) & (norms < _TINY)).any(1)
