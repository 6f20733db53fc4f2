"""Count the competitors that beat a query's partner, in float32 blocks with the result of float64.

This is the engine of `purescope.maths.retrieval`. A caption searches the images, and its image
searches the captions. Only the first ten places count, so most pairs are never looked at one by
one.

Products add over neurons. A block of products is computed in float32 and grows from k to k. The
largest product of each group of competitors says whether one of the group can beat the query's own
partner. Groups hold competitors of similar norm: bounds with the smallest and the largest norm of a
group are tight, and no product has to be divided. Only members of groups that pass are compared one
by one, and a query is finished at a k when ten better ones are known.

Rounding moves a float32 product by at most ``(d + c) 2^-24 |x| |y|``, with c for the steps around
the sum. A pair that is nearer to the own partner than that is computed again in float64. Blocks
with very many such pairs (k = 1, duplicates, zero rows) are computed in float64 as a whole.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from torch import Tensor

from purescope.maths.competitors import PLACES, Direction, Items, Near, where

_IMAGES, _CAPTIONS = 1024, 2048  # of a block: 8 MB, so that one for each of two cores is in cache
# Competitors whose largest product is compared first. Every caption of an image asks the captions,
# so there are more comparisons with groups of captions: these are larger.
_IMAGE_GROUP, _CAPTION_GROUP = 16, 32
_EXACT_ROWS = 256  # rows in one float64 product
_MANY = 4  # pairs of a query, in a block, to compute in float64 one by one
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
        self.to_images = Direction(self.images, self.row, product / lengths[0], lengths[1], neurons)
        positions = torch.arange(len(self.row))
        self.to_texts = Direction(
            self.captions, positions, product / lengths[1], lengths[0], neurons
        )
        for direction in (self.to_images, self.to_texts):
            direction.counts[:, ~self.captions.valid] = PLACES

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
        right = self.pairs.text.float()[self.captions.index].T.contiguous().index_select(0, kept)
        spans = list(zip([0, *self.pairs.ks], self.pairs.ks, strict=False))
        products = left.new_empty(self.images.blocks[0].stop * self.captions.blocks[0].stop)
        by_row = self.row.argsort(stable=True)
        rows = self.row[by_row]
        for images in self.images.blocks:
            bounds = torch.searchsorted(rows, torch.tensor([images.start, images.stop])).tolist()
            owners = by_row[slice(*bounds)]
            for captions in self.captions.blocks:
                shape = images.stop - images.start, captions.stop - captions.start
                block = products[: shape[0] * shape[1]].view(shape)
                for k, (start, stop) in enumerate(spans):
                    first, second = left[images, start:stop], right[start:stop, captions]
                    torch.addmm(block, first, second, beta=0 if k == 0 else 1, out=block)
                    self._search_images(k, block, images, captions)
                    self._search_texts(k, block, images, captions, owners)
            self._resolve(self.to_images)
            self._resolve(self.to_texts)
        ranks = []
        for direction in (self.to_images, self.to_texts):
            counts = direction.counts.index_select(1, self.captions.position)
            ranks.append(counts.clamp_(max=PLACES).to(torch.uint8))
        return ranks[0], ranks[1]

    def _search_images(
        self, k: int, block: Float32[Tensor, "image caption"], images: slice, captions: slice
    ) -> None:
        """Compare a block of images with the own image of each caption of a block."""
        direction, width = self.to_images, block.shape[1]
        live = direction.live(k, torch.arange(captions.start, captions.stop))
        column = live - captions.start
        largest = block.view(self.images.group, -1, width).amax(0)
        if len(live) < width:
            largest = largest.index_select(1, column)
        groups = len(largest)
        place = _Place(images, axis=0, base=column, group_step=width, member_step=groups * width)
        self._compare(direction, k, live, largest, block.view(-1), place)

    def _search_texts(
        self,
        k: int,
        block: Float32[Tensor, "image caption"],
        images: slice,
        captions: slice,
        owners: Int64[Tensor, " query"],
    ) -> None:
        """Compare a block of captions with the own captions of each image of a block."""
        direction, width = self.to_texts, block.shape[1]
        live = direction.live(k, owners)
        row = self.row.index_select(0, live) - images.start
        largest = block.view(len(block), self.captions.group, -1).amax(1)
        groups = largest.shape[1]
        place = _Place(captions, axis=1, base=row * width, group_step=1, member_step=groups)
        self._compare(direction, k, live, largest.index_select(0, row), block.view(-1), place)

    def _compare(
        self,
        direction: Direction,
        k: int,
        live: Int64[Tensor, " live"],
        largest: Float32[Tensor, "row column"],
        block: Float32[Tensor, " product"],
        place: "_Place",
    ) -> None:
        """Count competitors that are better for sure, and keep what float32 cannot tell."""
        items, span = direction.competitors, place.span
        size = items.group
        if self.fragile[k]:
            self._dense(direction, k, live, span)
            return
        ends = items.ends(k, span)
        if span.start == 0:
            # Most queries that end far behind are finished by the first block.
            bounds = direction.sure[k].index_select(0, live)
            over = place.excess(largest, bounds, ends)
            done = torch.gt(over, 0, out=over).sum(place.axis) >= PLACES
            direction.counts[k].index_fill_(0, live.index_select(0, where(done)), PLACES)
            chosen = where(~done)
            live, largest = (
                live.index_select(0, chosen),
                largest.index_select(1 - place.axis, chosen),
            )
            place = place.chosen(chosen)
        bounds = direction.possible[k].index_select(0, live)
        group, query = place.split(_positive(place.excess(largest, bounds, ends)), largest.shape[1])
        if 4 * len(group) > 3 * largest.numel():
            self._dense(direction, k, live, span)
            return
        bound = (bounds.index_select(0, query) * ends.T.index_select(0, group)).sum(1)
        first = place.base.index_select(0, query) + place.group_step * group
        members = (first[:, None] + place.member_step * torch.arange(size)).view(-1)
        values = block.index_select(0, members)
        hits = _positive(values.view(-1, size) - bound[:, None])
        values, hit, member = values.index_select(0, hits).double(), hits // size, hits % size
        local = query.index_select(0, hit)
        competitor = span.start + member * ends.shape[1] + group.index_select(0, hit)
        asked = live.index_select(0, local)
        excess = values / items.norms[k].index_select(0, competitor)
        excess -= direction.target[k].index_select(0, asked)
        rounding = direction.rounding[k].index_select(0, asked)
        other = items.valid.index_select(0, competitor)
        other &= competitor != direction.partner.index_select(0, asked)
        near = where(other & (excess.abs() <= rounding))
        if len(near) > _MANY * len(live):
            self._dense(direction, k, live, span)
            return
        better = local.index_select(0, where(other & (excess > rounding)))
        direction.add(k, live, better.bincount(minlength=len(live)))
        direction.near.append(
            Near(k, asked.index_select(0, near), competitor.index_select(0, near))
        )

    def _resolve(self, direction: Direction) -> None:
        """Compare the pairs that float32 cannot tell, in float64."""
        items, pairs = direction.competitors, self.pairs
        for found in direction.near:
            queries, competitors = (
                found.query.split(_EXACT_ROWS),
                found.competitor.split(_EXACT_ROWS),
            )
            for query, competitor in zip(queries, competitors, strict=True):
                if items is self.images:
                    image, text = items.index[competitor], self.captions.index[query]
                else:
                    image, text = self.images.index[self.row[query]], items.index[competitor]
                product = (pairs.image[image] * pairs.text[text]) @ self.masks[:, found.k]
                excess = product / items.norms[found.k, competitor]
                excess -= direction.target[found.k, query]
                better = direction.beats(found.k, query, excess, competitor)
                direction.add(found.k, query, better.long())
        direction.near.clear()

    def _dense(
        self, direction: Direction, k: int, live: Int64[Tensor, " live"], span: slice
    ) -> None:
        """Compare queries with a whole block of competitors in float64."""
        items, pairs = direction.competitors, self.pairs
        kept = self.order[: pairs.ks[k]]
        features = pairs.image if items is self.images else pairs.text
        others = features[items.index[span]].index_select(1, kept).T
        competitors = torch.arange(span.start, span.stop)
        for query in live.split(_EXACT_ROWS):
            if items is self.images:
                asking = pairs.text[self.captions.index[query]]
            else:
                asking = pairs.image[self.images.index[self.row[query]]]
            excess = asking.index_select(1, kept) @ others / items.norms[k, span]
            excess -= direction.target[k, query, None]
            better = direction.beats(k, query[:, None], excess, competitors)
            direction.add(k, query, (better & items.valid[span]).sum(1))


@dataclass(frozen=True)
class _Place:
    """Where the largest products of groups, and the products of their members, stand.

    Args:
        span: competitors of the block.
        axis: axis of the groups; the other is that of the queries.
        base: where the first product of each query stands in the block.
        group_step: from a group to the next, in the block.
        member_step: from a member of a group to the next.
    """

    span: slice
    axis: int
    base: Int64[Tensor, " query"]
    group_step: int
    member_step: int

    def chosen(self, queries: Int64[Tensor, " chosen"]) -> "_Place":
        """Keep some of the queries."""
        return replace(self, base=self.base.index_select(0, queries))

    def excess(
        self,
        largest: Float32[Tensor, "row column"],
        bounds: Float32[Tensor, "query 2"],
        ends: Float32[Tensor, "2 group"],
    ) -> Float32[Tensor, "row column"]:
        """Subtract the bound of each query and group from the largest products."""
        if self.axis == 0:
            return torch.addmm(largest, ends.T, bounds.T, alpha=-1)
        return torch.addmm(largest, bounds, ends, alpha=-1)

    def split(
        self, hits: Int64[Tensor, " hit"], width: int
    ) -> tuple[Int64[Tensor, " hit"], Int64[Tensor, " hit"]]:
        """Return the group and the query of each position in a flat table of this width."""
        row, column = hits // max(width, 1), hits % max(width, 1)
        return (row, column) if self.axis == 0 else (column, row)


def _positive(values: Float32[Tensor, "row column"]) -> Int64[Tensor, " hit"]:
    """Find positive values; NumPy takes an eighth of the time of torch for this."""
    return torch.from_numpy(np.flatnonzero(np.greater(values.numpy(), 0)))


def _has_tiny(norms: Float64[Tensor, "k item"]) -> Bool[Tensor, " k"]:
    return ((norms > 0) & (norms < _TINY)).any(1)
