"""Evaluate orders of the neurons of one model on one dataset of classes.

A bench holds what every study needs: features, projections, options, the ks, and the orders, see
`purescope.studies.orders`. The sweep, confusions, importance, null models, variants and training
all use it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64, Integer
from torch import Tensor

from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k, best_other_by_k, ranks_by_k
from purescope.maths.bases import is_basis, make_basis, rotate
from purescope.maths.cells import ablation_values, count_dtype, halves, mean_over_k
from purescope.maths.overlaps import Projections
from purescope.maths.scores import best_first, redundancy
from purescope.maths.silhouette import (
    has_silhouette,
    silhouette_pseudovalues_by_k,
    silhouette_samples_by_k,
)
from purescope.maths.strategies import STRATEGIES
from purescope.parallel import Item, Result, on_each_core
from purescope.studies.orders import Ranked
from purescope.studies.settings import Options
from purescope.tables.columns import METRICS

# Only so many random orders get a silhouette, because it takes most of the time.
SILHOUETTE_DRAWS = 50

# A core evaluates a batch of random orders at a time. Each length divides SILHOUETTE_DRAWS, and a
# batch has at most so many cells of an order, a k and an image, about 20 bytes each.
_BATCH_LENGTHS = (25, 10, 5, 2, 1)
_BATCH_CELLS = 1 << 21
_AREA_BATCH = 20  # orders in a batch where only mean accuracies are computed


class ByImage(NamedTuple):
    """Results of some cells, image by image.

    Args:
        right: whether the true class has the largest logit.
        top5: whether the true class is among the five largest logits.
        silhouette: silhouette of the image; NaN where the labels admit none.
        pseudovalue: pseudo-value of the silhouette, see `silhouette_pseudovalues_by_k`.
    """

    right: Bool[Tensor, "*cell image"]
    top5: Bool[Tensor, "*cell image"]
    silhouette: Float[Tensor, "*cell image"]
    pseudovalue: Float[Tensor, "*cell image"]

    @property
    def mean_silhouette(self) -> Float64[Tensor, "*cell"]:
        """The mean over the images."""
        return _mean_by_cell(self.silhouette)

    def order(self, place: int) -> "ByImage":
        """Return the results of the order at this place."""
        return ByImage(*(values[place] for values in self))


class RandomResults(NamedTuple):
    """Results of the random orders, which are too many to keep image by image.

    Args:
        values: metrics of each order.
        right_count: number of orders that get an image right.
        median_right: which images the order of median accuracy gets right; each k has its own.
        first_right: which images the first order gets right.
    """

    values: Float64[Tensor, "draw k metric"]
    right_count: Integer[Tensor, "k image"]
    median_right: Bool[Tensor, "k image"]
    first_right: Bool[Tensor, "k image"]


@dataclass(frozen=True, eq=False)
class Bench(Ranked):
    """One model's features on one dataset, its neurons, and how orders of them are evaluated.

    Args:
        features: features of the images and of the classes.
        projections: projections of the model; without them only spaces of activations can rank.
        options: options of the sweep.
        dropped: values that dropped neurons get in the image features; None is zero.

    Raises:
        InputError: features, projections and orders differ in neurons, or a k is out of range.
    """

    features: Features
    dropped: Float[Tensor, "#image neuron"] | None = None

    @classmethod
    def make(cls, features: Features, projections: Projections | None, options: Options) -> "Bench":
        """Make the bench of a sweep; arguments and errors are those of `purescope.sweep`."""
        dropped = ablation_values(features.image, options.ablation, seed=options.seed)
        bench = cls(features, projections, options, dropped)
        bench.check_orders()
        return bench

    def held_out_orders(self, strategy: str) -> Int64[Tensor, "half neuron"]:
        """Return two orders of a strategy that uses labels.

        Each is for the evaluation of one half of the images, and is fitted on the other half.
        """
        half, data, seed = halves(self.features.labels), self.strategy_input, self.options.seed
        assert data.image is not None and data.labels is not None
        orders = []
        for evaluated in (0, 1):
            other = half != evaluated
            fitted = replace(data, image=data.image[other], labels=data.labels[other])
            orders.append(STRATEGIES[strategy].order(fitted, seed))
        return torch.stack(orders)

    def purity_orders(self, measure: str, towers: str) -> Int64[Tensor, "2 neuron"]:
        """Return the orders of high and of low purity by this measure and these towers."""
        data = replace(self.strategy_input, measure=measure, towers=towers)
        score = redundancy(data)
        return torch.stack([best_first(-score, data.dead), best_first(score, data.dead)])

    # --- the same images, evaluated in another way

    def in_basis(self, basis: Float[Tensor, "neuron neuron"]) -> "Bench":
        """Return the bench of the same images in another basis, whose axes are its neurons.

        Its projections are not rotated.
        """
        features = replace(
            self.features,
            image=rotate(self.features.image, basis),
            text=rotate(self.features.text, basis),
        )
        dropped = None if self.dropped is None else rotate(self.dropped, basis)
        return replace(self, features=features, dropped=dropped)

    def on_axes(self, strategy: str) -> "tuple[Bench, Int64[Tensor, 'order neuron']]":
        """Return the bench on the axes of a strategy, and its order there.

        A strategy that looks at labels has two orders: one to evaluate each half of the images,
        fitted on the other half.
        """
        if is_basis(strategy):
            basis = make_basis(strategy, self.strategy_input, self.options.seed)
            return self.in_basis(basis), torch.arange(self.neurons)[None]
        if strategy in STRATEGIES and STRATEGIES[strategy].needs == "labels":
            return self, self.held_out_orders(strategy)
        return self, self.order(strategy)[None]

    def with_options(self, **changes: Any) -> "Bench":
        """Return the bench with some options changed, but not the seed."""
        options, dropped = replace(self.options, **changes), self.dropped
        if options.ablation != self.options.ablation:
            dropped = ablation_values(self.features.image, options.ablation, seed=options.seed)
        return replace(self, options=options, dropped=dropped)

    # --- evaluation

    @property
    def _arrays(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.features.image, self.features.text, self.features.labels

    @property
    def _ablation(self) -> dict[str, Any]:
        return {"renormalise": bool(self.options.renormalise), "dropped": self.dropped}

    def by_image(self, orders: Int64[Tensor, "order neuron"], ks: list[int]) -> ByImage:
        """Evaluate some orders image by image."""
        ranks = ranks_by_k(*self._arrays, orders, ks, **self._ablation)
        right, top5 = ranks == 0, ranks < 5
        del ranks
        image, _, labels = self._arrays
        if not has_silhouette(labels):
            unknown = _no_silhouettes(right)
            return ByImage(right, top5, unknown, unknown)
        return ByImage(right, top5, *silhouette_pseudovalues_by_k(image, labels, orders, ks))

    def best_others(
        self, order: Int64[Tensor, " neuron"], ks: list[int]
    ) -> Integer[Tensor, "k image"]:
        """Return the class, other than the true one, with the largest logit of each image."""
        return best_other_by_k(*self._arrays, order, ks, **self._ablation)[0]

    def evaluate_random(self, orders: Int64[Tensor, "draw neuron"]) -> RandomResults:
        """Evaluate random orders in batches, on all cores."""
        ks, images = self.ks, len(self.features.image)
        count = count_dtype(len(orders))
        right_count = torch.zeros(len(ks), images, dtype=count)
        if not len(orders):
            no_values = torch.empty(0, len(ks), len(METRICS), dtype=torch.float64)
            return RandomResults(no_values, right_count, right_count > 0, right_count > 0)
        length = next(n for n in _BATCH_LENGTHS if n * len(ks) * images <= _BATCH_CELLS or n == 1)

        def evaluate(first: int) -> tuple[Tensor, Tensor, Tensor | None]:
            batch = orders[first : first + length]
            silhouettes = torch.full((len(batch), len(ks)), torch.nan, dtype=torch.float64)
            if first < SILHOUETTE_DRAWS and has_silhouette(self.features.labels):
                image, _, labels = self._arrays
                silhouettes = _mean_by_cell(silhouette_samples_by_k(image, labels, batch, ks))
            right, top5 = self._right_and_top5(batch)
            cells = zip(right, top5, silhouettes, strict=True)
            values = torch.stack([self.metrics(*cell) for cell in cells])
            return values, right.sum(0, dtype=count), None if first else right[0].clone()

        values, first_right = [], torch.empty(0)
        batches = self.for_each(evaluate, range(0, len(orders), length))
        for batch_values, batch_count, right_of_first in batches:
            values.append(batch_values)
            right_count += batch_count
            first_right = first_right if right_of_first is None else right_of_first
        all_values = torch.cat(values)
        # The order of median accuracy at each k; the lower of the middle two of an even number.
        by_accuracy = all_values[:, :, 0].argsort(dim=0, stable=True)
        medians = by_accuracy[(len(orders) - 1) // 2].tolist()
        median_right = [
            self._right_and_top5(orders[order][None])[0][0, place].clone()
            for place, order in enumerate(medians)
        ]
        return RandomResults(all_values, right_count, torch.stack(median_right), first_right)

    def for_each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Evaluate some orders at a time: one on each core, or one after the other on all cores.

        Many images keep all cores busy with one order, and two orders take twice the memory.
        """
        is_large = 2 * len(self.ks) * len(self.features.image) > _BATCH_CELLS
        return map(work, items) if is_large else on_each_core(work, items)

    def _right_and_top5(
        self, orders: Int64[Tensor, "order neuron"]
    ) -> tuple[Bool[Tensor, "order k image"], Bool[Tensor, "order k image"]]:
        ranks = ranks_by_k(*self._arrays, orders, self.ks, **self._ablation)
        return ranks == 0, ranks < 5

    @cached_property
    def recall_weights(self) -> Float64[Tensor, " image"]:
        """The weight of each image, so that the weighted mean is the mean recall of the classes."""
        labels = self.features.labels
        sizes = labels.bincount().double()
        weights: Tensor = (len(labels) / int((sizes > 0).sum()) / sizes)[labels]
        return weights

    def metrics(
        self,
        right: Bool[Tensor, "k image"],
        top5: Bool[Tensor, "k image"],
        silhouette: Float64[Tensor, " k"],
    ) -> Float64[Tensor, "k metric"]:
        """Return `METRICS`: two fractions of the images, the mean class recall, and the mean
        silhouette, which is given.
        """
        images, weights = len(self.features.image), self.recall_weights
        # Row by row: a copy of all ks in float64 would be larger than what is measured.
        recall = torch.stack([row.double() @ weights for row in right]) / images
        fractions = [
            torch.stack([row.count_nonzero() for row in rows]).double() / images
            for rows in (right, top5)
        ]
        return torch.stack([*fractions, recall, silhouette], dim=1)

    def accuracies(self, orders: Int64[Tensor, "order neuron"]) -> Float[Tensor, "order k"]:
        """Return the accuracy of each order at each k."""
        return accuracy_by_k(*self._arrays, orders, self.ks, **self._ablation).top1

    def areas(self, orders: Int64[Tensor, "order neuron"]) -> Float[Tensor, " order"]:
        """Return the mean accuracy over the ks of each order."""
        return mean_over_k(self.accuracies(orders), self.ks)

    def areas_on_each_core(self, orders: Int64[Tensor, "order neuron"]) -> Float[Tensor, " order"]:
        """Return the same as `areas`, for many orders."""
        return torch.cat(list(on_each_core(self.areas, orders.split(_AREA_BATCH))))

    def purity_areas(self, orders: Int64[Tensor, "2 neuron"]) -> dict[str, float]:
        """Return the areas of high and of low purity, and the gap between them."""
        high, low = self.areas(orders).tolist()
        return {"high": high, "low": low, "gap": high - low}


def _mean_by_cell(values: Float[Tensor, "*cell image"]) -> Float64[Tensor, "*cell"]:
    """Return the mean over the images of each cell, one cell after the other.

    A copy of all cells in float64 would be larger than what is measured.
    """
    by_cell = [row.double().mean() for row in values.flatten(0, -2)]
    return torch.stack(by_cell).view(values.shape[:-1])


def _no_silhouettes(right: Bool[Tensor, "order k image"]) -> Float[Tensor, "order k image"]:
    """Return NaN for the silhouette of every image."""
    return torch.full((1, 1, 1), torch.nan).expand(right.shape)
