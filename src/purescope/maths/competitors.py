"""What a search of `purescope.maths.screening` compares: competitors in groups, and queries."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

PLACES = 10  # places that count: a rank of PLACES means that place or any later one
_STEPS = 24  # roundings of a score beside those of the sum
_KEYS = (0, 2)  # positions of the ks at which members of a group have similar norms


@dataclass(frozen=True)
class Hits:
    """Competitors whose product is above the bound of a query, in float32.

    Args:
        k: position of the k.
        span: the block of competitors.
        queries, competitors, values: of each pair, with its product.
        asked: number of queries that were compared with the block.
    """

    k: int
    span: slice
    queries: Int64[np.ndarray, " pair"]
    competitors: Int64[np.ndarray, " pair"]
    values: Float32[np.ndarray, " pair"]
    asked: int


@dataclass(frozen=True)
class Near:
    """Pairs of a query and a competitor that float32 cannot tell from the query and its partner."""

    k: Int64[np.ndarray, " pair"]
    query: Int64[np.ndarray, " pair"]
    competitor: Int64[np.ndarray, " pair"]


class Items:
    """Images or captions as competitors, in groups of similar norm.

    Position ``start + j G + g`` of a block of G groups is member j of its group g. The last group
    is filled up with copies of one item, which are not `valid`.
    """

    def __init__(self, norms: Float64[Tensor, "k item"], block: int, group: int) -> None:
        self.group = group
        count = norms.shape[1]
        padded = -(-count // group) * group
        by_norm = _by_norm(norms, group)
        by_norm = torch.cat([by_norm, by_norm[-1:].expand(padded - count)])
        self.blocks = [
            slice(first, min(first + block, padded)) for first in range(0, padded, block)
        ]
        spread = torch.cat(
            [torch.arange(b.start, b.stop).view(-1, group).T.flatten() for b in self.blocks]
        )
        self.index, self.valid = by_norm[spread], spread < count
        self.position = torch.empty(count, dtype=torch.int64)
        self.position[self.index[self.valid]] = self.valid.nonzero()[:, 0]
        self.norms = norms[:, self.index]
        by_group = [self.norms[:, b].view(len(norms), group, -1) for b in self.blocks]
        self.least = torch.cat([block.amin(1) for block in by_group], 1).float()  # [k, group]
        self.largest = torch.cat([block.amax(1) for block in by_group], 1).float()

    def ends(self, k: int, block: slice) -> Float32[Tensor, "2 group"]:
        """Return the smallest and the largest norm of each group of a block."""
        groups = slice(block.start // self.group, block.stop // self.group)
        return torch.stack([self.least[k, groups], self.largest[k, groups]])


class Direction:
    """Queries, one for each caption position, and how many competitors beat their partners.

    A competitor with product p and norm n beats the partner if ``p / n > target``. Rounding moves
    ``p / n`` by at most `rounding`.
    """

    def __init__(
        self,
        competitors: Items,
        partner: Int64[Tensor, " query"],
        target: Float64[Tensor, "k query"],
        length: Float64[Tensor, "k query"],
        ks: list[int],
        neurons: int,
    ) -> None:
        self.competitors, self.partner = competitors, partner
        self.target = target = target.contiguous()
        # The sum at a k has as many terms.
        terms = torch.tensor(ks, dtype=torch.float64)[:, None]
        self.rounding = ((terms + _STEPS) * 2.0**-24 * length).contiguous()
        self.tie = (2 * neurons + _STEPS) * 2.0**-53 * length
        lower, upper = (target - self.rounding).float(), (target + self.rounding).float()
        # If the largest product of a group is below `possible` times its norms, none of its members
        # is better; if it is above `sure` times its norms, one is. The two rows belong to the
        # smallest and the largest norm. For a negative bound these change places.
        self.possible = torch.stack([lower.clamp(min=0), lower.clamp(max=0)], 1)
        self.sure = torch.stack([upper.clamp(max=0), upper.clamp(min=0)], 1)
        self.counts = torch.zeros(target.shape, dtype=torch.int64)
        self.hits: list[Hits] = []
        self.waiting = 0
        self.near: list[Near] = []

    def live(self, k: int, queries: Int64[Tensor, " query"]) -> Int64[Tensor, " live"]:
        """Return the queries of which fewer than ten better competitors are known."""
        return queries[self.counts[k].index_select(0, queries) < PLACES]

    def finish(self, k: int, queries: Int64[Tensor, " query"]) -> None:
        """Look no further for queries of which ten better competitors are known."""
        self.counts[k].index_fill_(0, queries, PLACES)
        self.possible[k, 0].index_fill_(0, queries, torch.inf)
        self.possible[k, 1].index_fill_(0, queries, 0)

    def found(self, hits: Hits) -> None:
        """Keep competitors until they are counted."""
        if len(hits.queries):
            self.hits.append(hits)
            self.waiting += len(hits.queries)

    def near_by_k(
        self,
    ) -> Iterator[tuple[int, tuple[Int64[Tensor, " pair"], Int64[Tensor, " pair"]]]]:
        """Yield the pairs that float32 could not tell, and forget them."""
        near, self.near = self.near, []
        for k in range(len(self.counts) if near else 0):
            own = [(found, np.flatnonzero(found.k == k)) for found in near]
            queries = np.concatenate([found.query[at] for found, at in own])
            competitors = np.concatenate([found.competitor[at] for found, at in own])
            yield k, (torch.from_numpy(queries), torch.from_numpy(competitors))

    def add(self, cell: Int64[np.ndarray, " pair"]) -> None:
        """Count a better competitor for each cell, a position in the flat table of k and query."""
        better = np.bincount(cell, minlength=self.counts.numel())
        self.counts += torch.from_numpy(better).view_as(self.counts)
        self._close()

    def add_many(
        self, k: int, queries: Int64[Tensor, " query"], better: Int64[Tensor, " query"]
    ) -> None:
        """Count better competitors of different queries."""
        self.counts[k].index_add_(0, queries, better)
        self._close()

    def _close(self) -> None:
        done = self.counts >= PLACES
        self.possible[:, 0].masked_fill_(done, torch.inf)
        self.possible[:, 1].masked_fill_(done, 0)

    def beats(
        self,
        k: int,
        query: Int64[Tensor, "..."],
        excess: Float64[Tensor, "..."],
        competitor: Int64[Tensor, "..."],
    ) -> Bool[Tensor, "..."]:
        """Tell where a competitor beats the partner, by its score or its lower index."""
        index, tie = self.competitors.index, self.tie[k, query]
        lower = index[competitor] < index[self.partner[query]]
        return (excess > tie) | ((excess >= -tie) & lower)


def _by_norm(norms: Float64[Tensor, "k item"], group: int) -> Int64[Tensor, " item"]:
    """Sort items so that neighbours have similar norms at all ks.

    Norms differ most at the smallest ks. So items are sorted by the norm at one of these, cut into
    strata, and sorted by the norm at another within each stratum.
    """
    first, second = (min(key, len(norms) - 1) for key in _KEYS)
    order = norms[first].argsort(stable=True)
    strata = max(1, round((len(order) / group) ** 0.5))
    parts = [
        part[norms[second, part].argsort(stable=True)]
        for part in order.split(-(-len(order) // strata))
    ]
    return torch.cat(parts)


class Asking:
    """The captions whose images, those of a block, search the captions.

    Args:
        direction: the search for captions.
        row: position of the image of each caption position.
        images: the block.
    """

    def __init__(self, direction: Direction, row: Int64[Tensor, " query"], images: slice) -> None:
        inside = ((row >= images.start) & (row < images.stop)).nonzero()[:, 0]
        local = row[inside] - images.start
        by_row = local.argsort(stable=True)
        self.direction = direction
        self.queries, self.row = inside[by_row], local[by_row]  # image by image
        self._many = self.row.bincount(minlength=images.stop - images.start).numpy()
        self._first = self._many.cumsum() - self._many
        self._present = self._many > 0
        ks = len(direction.counts)
        self.lowest = torch.zeros(ks, 2, len(self._many))  # bounds for all captions of an image
        self.lowest[:, 0] = torch.inf
        self.update()

    def update(self, k: int | None = None) -> None:
        """Take the lowest bound of the captions of each image anew, at one k or at all."""
        ks = slice(None) if k is None else slice(k, k + 1)
        if not len(self.queries):
            return
        possible = self.direction.possible[ks].index_select(2, self.queries).numpy()
        first = self._first[self._present]
        self.lowest[ks].numpy()[:, :, self._present] = np.minimum.reduceat(possible, first, axis=2)

    def of_rows(
        self, rows: Int64[np.ndarray, " hit"]
    ) -> tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]]:
        """Return all captions of each image, and the position of the image in `rows`."""
        many = self._many[rows]
        hit = np.repeat(np.arange(len(rows)), many)
        place = np.arange(len(hit)) - np.repeat(many.cumsum() - many, many)
        return hit, self.queries.numpy()[self._first[rows][hit] + place]
