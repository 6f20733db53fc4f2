"""What a search of `purescope.maths.screening` compares: competitors in groups, and queries."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

PLACES = 10  # places that count: a rank of PLACES means that place or any later one
_STEPS = 24  # roundings of a score beside those of the sum
_KEYS = (0, 2)  # positions of the ks at which members of a group have similar norms


@dataclass(frozen=True)
class Near:
    """Pairs of a query and a competitor that float32 cannot tell from the query and its partner."""

    k: int
    query: Int64[Tensor, " pair"]
    competitor: Int64[Tensor, " pair"]


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
        neurons: int,
    ) -> None:
        self.competitors, self.partner = competitors, partner
        self.target, self.length = target, length
        self.rounding = (neurons + _STEPS) * 2.0**-24 * length
        self.tie = (2 * neurons + _STEPS) * 2.0**-53 * length
        lower, upper = (target - self.rounding).float(), (target + self.rounding).float()
        # If the largest product of a group is below `possible` times its norms, none of its members
        # is better; if it is above `sure` times its norms, one is. The two columns belong to the
        # smallest and the largest norm. For a negative bound these change places.
        self.possible = torch.stack([lower.clamp(min=0), lower.clamp(max=0)], 2)
        self.sure = torch.stack([upper.clamp(max=0), upper.clamp(min=0)], 2)
        self.counts = torch.zeros(target.shape, dtype=torch.int64)
        self.near: list[Near] = []

    def live(self, k: int, queries: Int64[Tensor, " query"]) -> Int64[Tensor, " live"]:
        """Return the queries of which fewer than ten better competitors are known."""
        return queries.index_select(0, where(self.counts[k].index_select(0, queries) < PLACES))

    def add(self, k: int, live: Int64[Tensor, " live"], better: Int64[Tensor, " live"]) -> None:
        """Add numbers of better competitors; a query may occur several times."""
        self.counts[k].index_add_(0, live, better)

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


def where(condition: Bool[Tensor, " item"]) -> Int64[Tensor, " true"]:
    """Find what is true; NumPy takes a fraction of the time of torch for this."""
    return torch.from_numpy(np.flatnonzero(condition.numpy()))
