"""Orders of the neurons on one set of features, image by image: what a sweep is made of."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from purescope.bases import BASES, rotate
from purescope.evaluation import has_silhouette, ranks_by_k, silhouette_pseudovalues, silhouette_samples_by_k
from purescope.features import Features
from purescope.ordering import STRATEGIES, StrategyInput
from purescope.parallel import on_each_core
from purescope.schemas import METRICS
from purescope.statistics import halves

SILHOUETTE_DRAWS = 50  # random orders beyond these are measured in accuracy alone, which takes a tenth of the time

_TURNS = (25, 10, 5, 2, 1)  # random orders that a core measures at a time; divisors of SILHOUETTE_DRAWS
_TURN_CELLS = 1 << 21  # of an order, a k and an image, about 20 bytes each, in one turn


class Evaluator:
    """Measures orders of the neurons on one set of features, image by image."""

    def __init__(self, features: Features, dropped: Tensor | None, renormalise: bool) -> None:
        self.features, self.dropped, self.renormalise = features, dropped, renormalise
        sizes = features.labels.bincount().double()
        # The mean over classes of means over their images is the mean over all images, each weighed so.
        self.weight = (len(features.labels) / int((sizes > 0).sum()) / sizes)[features.labels]

    def strategy(self, name: str, seen: StrategyInput, ks: list[int], seed: int) -> Float[Tensor, "k part image"]:
        """What each image says of a strategy; the means are the metrics, and last the silhouette's pseudo-values."""
        if name in BASES:
            return self._turned(BASES[name].of(seen, seed)).orders(torch.arange(seen.neurons)[None], ks)[0]
        if STRATEGIES[name].needs != "labels":
            return self.orders(STRATEGIES[name].order(seen, seed)[None], ks)[0]
        half = halves(self.features.labels)
        fitted = torch.stack([STRATEGIES[name].order(_part(seen, half != other), seed) for other in (0, 1)])
        on_first, on_second = self.orders(fitted, ks)
        return torch.where(half == 0, on_first, on_second)

    def orders(self, orders: Int64[Tensor, "order neuron"], ks: list[int]) -> Float64[Tensor, "order k part image"]:
        right, top5, silhouettes = self._measure(orders, ks, silhouette=True)
        recall, spread = right * self.weight, self._spread(orders, ks)
        return torch.stack([right.double(), top5.double(), recall, silhouettes.double(), spread], dim=2)

    def _spread(self, orders: Int64[Tensor, "order neuron"], ks: list[int]) -> Float64[Tensor, "order k image"]:
        """The silhouette's pseudo-values: NaN where there is no silhouette."""
        image, labels = self.features.image, self.features.labels
        if not has_silhouette(labels):
            return torch.full((len(orders), len(ks), len(image)), torch.nan, dtype=torch.float64)
        kept = [order[:k] for order in orders for k in ks]
        values = on_each_core(lambda neurons: silhouette_pseudovalues(image, labels, neurons), kept)
        spread: Tensor = torch.stack(list(values)).unflatten(0, (len(orders), len(ks)))
        return spread

    def draws(
        self, orders: Int64[Tensor, "draw neuron"] | None, ks: list[int]
    ) -> tuple[
        Float64[Tensor, "draw k metric"], Float64[Tensor, "k image"], Bool[Tensor, "k image"], Bool[Tensor, "k image"]
    ]:
        """Means of all, in turns: thousands of orders are too many to keep image by image.

        Then the share of the orders that get an image right, and which images the one of median accuracy and the first
        one get right.
        """
        images = len(self.features.image)
        if orders is None:
            nothing = torch.full((len(ks), images), torch.nan, dtype=torch.float64)
            return torch.empty(0, len(ks), len(METRICS), dtype=torch.float64), nothing, nothing > 0, nothing > 0

        length = next(turn for turn in _TURNS if turn * len(ks) * images <= _TURN_CELLS or turn == 1)

        def turn(first: int) -> tuple[Tensor, Tensor, Tensor | None]:
            some = orders[first : first + length]
            measured = self._measure(some, ks, silhouette=first < SILHOUETTE_DRAWS)
            means = [self._means(*of_order) for of_order in zip(*measured, strict=True)]
            return (
                torch.stack(means),
                measured[0].sum(0, dtype=torch.int32),
                measured[0][0].clone() if not first else None,
            )

        values, hits = [], torch.zeros(len(ks), images, dtype=torch.int32)
        first_right = torch.empty(0)
        for means, right, of_first in on_each_core(turn, range(0, len(orders), length)):
            values.append(means)
            hits += right
            first_right = first_right if of_first is None else of_first
        drawn = torch.cat(values)
        typical = drawn[:, :, 0].argsort(dim=0, stable=True)[(len(orders) - 1) // 2]
        of_typical = [
            self._measure(orders[order][None], ks, silhouette=False)[0][0, place].clone()
            for place, order in enumerate(typical.tolist())
        ]
        return drawn, hits.double() / len(orders), torch.stack(of_typical), first_right

    def _means(
        self, right: Bool[Tensor, "k image"], top5: Bool[Tensor, "k image"], silhouettes: Float[Tensor, "k image"]
    ) -> Float64[Tensor, "k metric"]:
        recall = right.double() @ self.weight / len(self.weight)
        means = [right.double().mean(1), top5.double().mean(1), recall, silhouettes.double().mean(1)]
        return torch.stack(means, dim=1)

    def _measure(
        self, orders: Tensor, ks: list[int], *, silhouette: bool
    ) -> tuple[Bool[Tensor, "order k image"], Bool[Tensor, "order k image"], Float[Tensor, "order k image"]]:
        """Right, among the first five, and the silhouette: NaN where there is none or it is not wanted."""
        features = self.features
        ranks = ranks_by_k(
            features.image,
            features.text,
            features.labels,
            orders,
            ks,
            renormalise=self.renormalise,
            dropped=self.dropped,
        )
        if silhouette and has_silhouette(features.labels):
            silhouettes = silhouette_samples_by_k(features.image, features.labels, orders, ks)
        else:
            silhouettes = torch.full((1, 1, 1), torch.nan).expand(ranks.shape)
        return ranks == 0, ranks < 5, silhouettes

    def _turned(self, basis: Float[Tensor, "neuron neuron"]) -> "Evaluator":
        """The same images in another basis, whose axes are its neurons."""
        features = replace(
            self.features, image=rotate(self.features.image, basis), text=rotate(self.features.text, basis)
        )
        return Evaluator(features, None if self.dropped is None else rotate(self.dropped, basis), self.renormalise)


def _part(seen: StrategyInput, images: Bool[Tensor, " image"]) -> StrategyInput:
    assert seen.image is not None and seen.labels is not None
    return replace(seen, image=seen.image[images], labels=seen.labels[images])
