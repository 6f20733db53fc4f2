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

_TURN = 25  # random orders that a core measures at a time; a divisor of SILHOUETTE_DRAWS


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
        values = on_each_core(lambda neurons: silhouette_pseudovalues(image[:, neurons], labels), kept)
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

        def turn(first: int) -> tuple[Tensor, Tensor, Tensor]:
            some = orders[first : first + _TURN]
            right, top5, silhouettes = self._measure(some, ks, silhouette=first < SILHOUETTE_DRAWS)
            recall = right.double() @ self.weight / images
            means = [right.double().mean(2), top5.double().mean(2), recall, silhouettes.double().mean(2)]
            return torch.stack(means, dim=2), right.sum(0), right[0].clone()

        values, hits, firsts = zip(*on_each_core(turn, range(0, len(orders), _TURN)), strict=True)
        drawn, share = torch.cat(values), torch.stack(hits).sum(0).double() / len(orders)
        typical = drawn[:, :, 0].argsort(dim=0, stable=True)[(len(orders) - 1) // 2]
        right = self._measure(orders[typical], ks, silhouette=False)[0]
        return drawn, share, right[range(len(ks)), range(len(ks))], firsts[0]

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
