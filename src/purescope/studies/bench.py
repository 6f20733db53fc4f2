"""Evaluate orders of the neurons of one model on one dataset.

A bench holds what every study needs: features, projections, options, the ks, and the orders, each
made once. The sweep, confusions, importance, null models, variants and training all ask it.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int32, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k, ranks_by_k
from purescope.maths.bases import rotate
from purescope.maths.cells import ablation_values, check_keep, default_keep
from purescope.maths.curves import halves, mean_over_k
from purescope.maths.overlaps import Projections, activation_space, fix_for
from purescope.maths.scores import StrategyInput, best_first, redundancy
from purescope.maths.silhouette import (
    has_silhouette,
    silhouette_pseudovalues_by_k,
    silhouette_samples_by_k,
)
from purescope.maths.strategies import STRATEGIES
from purescope.parallel import on_each_core
from purescope.studies.settings import Options
from purescope.tables.columns import METRICS

SILHOUETTE_DRAWS = 50  # random orders beyond these have no silhouette, which takes most of the time

_DRAWS_AT_ONCE = (25, 10, 5, 2, 1)  # random orders that a core takes; divisors of SILHOUETTE_DRAWS
_CELLS_AT_ONCE = 1 << 21  # of an order, a k and an image, about 20 bytes each
_ORDERS_AT_ONCE = 20  # that a core takes where only mean accuracies are wanted


class ByImage(NamedTuple):
    """Results of some cells, image by image.

    Args:
        right: whether the true class has the largest logit.
        top5: whether the true class is among the five largest.
        silhouette: the silhouette of the image; NaN where the labels admit none.
        pseudovalue: of the silhouette, see `silhouette_pseudovalues_by_k`.
    """

    right: Bool[Tensor, "*cell image"]
    top5: Bool[Tensor, "*cell image"]
    silhouette: Float[Tensor, "*cell image"]
    pseudovalue: Float[Tensor, "*cell image"]

    def of(self, order: int) -> "ByImage":
        """Return the results of one of several orders."""
        return ByImage(*(values[order] for values in self))


class Draws(NamedTuple):
    """Results of the random orders, which are too many to keep image by image.

    Args:
        values: the metrics of each order.
        hits: how many of the orders get an image right.
        typical_right: which images the order of median accuracy gets right, one order for each k.
        first_right: which images the first order gets right.
    """

    values: Float64[Tensor, "draw k metric"]
    hits: Int32[Tensor, "k image"]
    typical_right: Bool[Tensor, "k image"]
    first_right: Bool[Tensor, "k image"]


@dataclass(frozen=True, eq=False)
class Bench:
    """One model's features on one dataset, its neurons, and how orders of them are evaluated.

    Args:
        features: of the images and of the classes.
        projections: the model's; None for a model without, which only other spaces can rank.
        options: what is measured.
        dropped: what the neurons not kept are set to; None is zero.

    Raises:
        InputError: features, projections and orders differ in neurons, or a k is out of range.
    """

    features: Features
    projections: Projections | None
    options: Options
    dropped: Float[Tensor, "#image neuron"] | None = None
    _random: list[Int64[Tensor, " neuron"]] = field(default_factory=list, init=False, repr=False)
    _named: dict[str, Int64[Tensor, " neuron"]] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def of(cls, features: Features, projections: Projections | None, options: Options) -> "Bench":
        """Return the bench of a sweep; arguments and errors as of `purescope.sweep`."""
        dropped = ablation_values(features.image, options.ablation, seed=options.seed)
        bench = cls(features, projections, options, dropped)
        _ = bench.given, bench.ks  # checked here
        for name, order in options.orders.items():
            if len(order) != bench.neurons:
                raise InputError(
                    f"the order {name!r} of {len(order):,} neurons",
                    expected=f"an order of all {bench.neurons:,} neurons of {features.model}",
                    fix="make it from this model's own projections or features",
                )
            bench._named[name] = torch.as_tensor(order)
        return bench

    @property
    def neurons(self) -> int:
        """The number of neurons d."""
        return self.features.image.shape[1]

    @cached_property
    def ks(self) -> list[int]:
        """The numbers of neurons to keep, ascending."""
        keep = self.options.keep
        return check_keep(default_keep(self.neurons) if keep is None else keep, self.neurons)

    @cached_property
    def space(self) -> Projections:
        """The neurons as rows of the weights or of the activations, by which they are ranked."""
        return in_space(self.options.space, self.features, self.projections)

    @cached_property
    def given(self) -> StrategyInput:
        """The input of the strategies."""
        features, options = self.features, self.options
        return StrategyInput(
            self.space,
            features.image,
            features.text,
            features.labels,
            options.measure,
            options.towers,
            features.logit_scale,
        )

    # --- orders, each made once

    def order(self, strategy: str) -> Int64[Tensor, " neuron"]:
        """Return the order of a strategy, of all images where it looks at them; or the user's."""
        if strategy not in self._named:
            made = STRATEGIES[strategy].order(self.given, self.options.seed)
            self._named[strategy] = made
        return self._named[strategy]

    def order_of_each_half(self, strategy: str) -> Int64[Tensor, "half neuron"]:
        """Return the orders of a strategy that looks at labels: to judge each half of the images,
        fitted on the other half.
        """
        half, given, seed = halves(self.features.labels), self.given, self.options.seed
        assert given.image is not None and given.labels is not None
        fitted = []
        for judged in (0, 1):
            part = half != judged
            others = replace(given, image=given.image[part], labels=given.labels[part])
            fitted.append(STRATEGIES[strategy].order(others, seed))
        return torch.stack(fitted)

    def random_orders(self, count: int) -> Int64[Tensor, "draw neuron"]:
        """Return the first random orders; draw r has the seed ``seed + r``."""
        for draw in range(len(self._random), count):
            made = STRATEGIES["random"].order(self.given, self.options.seed + draw)
            self._random.append(made)
        if not count:
            return torch.empty(0, self.neurons, dtype=torch.int64)
        return torch.stack(self._random[:count])

    def ends(self, measure: str, towers: str) -> Int64[Tensor, "2 neuron"]:
        """Return the orders of high and of low purity by another measure or other towers."""
        given = replace(self.given, measure=measure, towers=towers)
        score = redundancy(given)
        return torch.stack([best_first(-score, given.dead), best_first(score, given.dead)])

    # --- the same images otherwise

    def in_basis(self, basis: Float[Tensor, "neuron neuron"]) -> "Bench":
        """Return the bench of the same images on other axes, which are its neurons; the rotated
        projections are not its own.
        """
        features = replace(
            self.features,
            image=rotate(self.features.image, basis),
            text=rotate(self.features.text, basis),
        )
        dropped = None if self.dropped is None else rotate(self.dropped, basis)
        return replace(self, features=features, dropped=dropped)

    def with_options(self, **changes: Any) -> "Bench":
        """Return the bench with some options changed."""
        options = replace(self.options, **changes)
        return Bench.of(self.features, self.projections, options)

    # --- evaluation

    def by_image(self, orders: Int64[Tensor, "order neuron"], ks: list[int]) -> ByImage:
        """Evaluate some orders image by image."""
        features = self.features
        ranks = ranks_by_k(
            features.image,
            features.text,
            features.labels,
            orders,
            ks,
            renormalise=self.options.renormalise,
            dropped=self.dropped,
        )
        right, top5 = ranks == 0, ranks < 5
        if not has_silhouette(features.labels):
            return ByImage(right, top5, *(_none_like(right),) * 2)
        silhouettes = silhouette_pseudovalues_by_k(features.image, features.labels, orders, ks)
        return ByImage(right, top5, *silhouettes)

    def draws(self, orders: Int64[Tensor, "draw neuron"]) -> Draws:
        """Evaluate random orders, some at a time."""
        features, ks, images = self.features, self.ks, len(self.features.image)
        hits = torch.zeros(len(ks), images, dtype=torch.int32)
        if not len(orders):
            none = torch.empty(0, len(ks), len(METRICS), dtype=torch.float64)
            return Draws(none, hits, hits > 0, hits > 0)
        at_once = next(
            n for n in _DRAWS_AT_ONCE if n * len(ks) * images <= _CELLS_AT_ONCE or n == 1
        )

        def evaluate(first: int) -> tuple[Tensor, Tensor, Tensor | None]:
            some = orders[first : first + at_once]
            right, top5 = self._right(some)
            if first < SILHOUETTE_DRAWS and has_silhouette(features.labels):
                silhouettes = silhouette_samples_by_k(features.image, features.labels, some, ks)
            else:
                silhouettes = _none_like(right)
            cells = zip(right, top5, silhouettes, strict=True)
            means = torch.stack([self.means(*cell) for cell in cells])
            return means, right.sum(0, dtype=torch.int32), None if first else right[0].clone()

        values, first_right = [], torch.empty(0)
        for means, right, right_of_first in on_each_core(evaluate, range(0, len(orders), at_once)):
            values.append(means)
            hits += right
            first_right = first_right if right_of_first is None else right_of_first
        drawn = torch.cat(values)
        # The order of median accuracy at each k; of an even number the lower of the middle two.
        medians = drawn[:, :, 0].argsort(dim=0, stable=True)[(len(orders) - 1) // 2].tolist()
        typical = [
            self._right(orders[order][None])[0][0, place].clone()
            for place, order in enumerate(medians)
        ]
        return Draws(drawn, hits, torch.stack(typical), first_right)

    def _right(
        self, orders: Int64[Tensor, "order neuron"]
    ) -> tuple[Bool[Tensor, "order k image"], Bool[Tensor, "order k image"]]:
        features = self.features
        ranks = ranks_by_k(
            features.image,
            features.text,
            features.labels,
            orders,
            self.ks,
            renormalise=self.options.renormalise,
            dropped=self.dropped,
        )
        return ranks == 0, ranks < 5

    @cached_property
    def recall_weight(self) -> Float64[Tensor, " image"]:
        """The weight of each image in the mean over classes of the recall of their images."""
        labels = self.features.labels
        sizes = labels.bincount().double()
        weight: Tensor = (len(labels) / int((sizes > 0).sum()) / sizes)[labels]
        return weight

    def means(
        self,
        right: Bool[Tensor, "k image"],
        top5: Bool[Tensor, "k image"],
        silhouette: Float[Tensor, "k image"],
    ) -> Float64[Tensor, "k metric"]:
        """Return the metrics: two shares of the images, the mean class recall, and the mean
        silhouette.
        """
        images, weight = len(self.features.image), self.recall_weight
        recall = torch.stack([row.double() @ weight for row in right]) / images
        shares = [row.sum(1).double() / images for row in (right, top5)]
        return torch.stack([*shares, recall, silhouette.mean(1, dtype=torch.float64)], dim=1)

    def areas(self, orders: Int64[Tensor, "order neuron"]) -> Float[Tensor, " order"]:
        """Return the mean accuracy over the ks of each order."""
        features = self.features
        accuracy = accuracy_by_k(
            features.image,
            features.text,
            features.labels,
            orders,
            self.ks,
            renormalise=self.options.renormalise,
            dropped=self.dropped,
        ).top1
        return mean_over_k(accuracy, self.ks)

    def areas_on_each_core(self, orders: Int64[Tensor, "order neuron"]) -> Float[Tensor, " order"]:
        """Return the same as `areas`, for many orders."""
        return torch.cat(list(on_each_core(self.areas, orders.split(_ORDERS_AT_ONCE))))

    def areas_of_ends(self, orders: Int64[Tensor, "2 neuron"]) -> dict[str, float]:
        """Return the areas of high and of low purity, and the gap between them."""
        high, low = self.areas(orders).tolist()
        return {"high": high, "low": low, "gap": high - low}


def in_space(space: str, features: Features, projections: Projections | None) -> Projections:
    """Return the neurons as rows of the weights or of the activations, see `purescope.sweep`.

    Raises:
        InputError: features and projections differ in neurons.
    """
    if space == "activations":
        # As `activation_space` has it, without a copy.
        return Projections(features.image.T, features.text.T)
    if space == "centred":
        return activation_space(features.image, features.text, centred=True)
    neurons = features.image.shape[1]
    if projections is None or projections.neurons != neurons:
        came = "no projections" if projections is None else f"projections of {projections.neurons}"
        raise InputError(
            f"features of {neurons} neurons, {came}",
            expected="features and projections of one model",
            fix=(fix_for(projections, neurons) if projections else "")
            or "give model.projections; features without a model: "
            "ps.sweep(features, space='activations')",
        )
    return projections


def _none_like(right: Bool[Tensor, "order k image"]) -> Float[Tensor, "order k image"]:
    """Return NaN for the silhouette of every image."""
    return torch.full((1, 1, 1), torch.nan).expand(right.shape)
