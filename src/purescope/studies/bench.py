"""A bench for one model and one data set: what each order of neurons gives there, image by image or
in the mean.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int32, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k, ranks_by_k
from purescope.maths.bases import BASES, rotate
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

SILHOUETTE_DRAWS = (
    50  # random orders beyond these are measured in accuracy alone, which takes a tenth of the time
)

_TURNS = (
    25,
    10,
    5,
    2,
    1,
)  # random orders that a core measures at a time; divisors of SILHOUETTE_DRAWS
_TURN_CELLS = 1 << 21  # of an order, a k and an image, about 20 bytes each, in one turn


class ByImage(NamedTuple):
    """What each image says of some cells.

    Args:
        right: whether its class comes first.
        top5: whether its class is among the first five.
        silhouette: its own; NaN where there is none.
        pseudovalue: of the silhouette, see `silhouette_pseudovalues_by_k`.
    """

    right: Bool[Tensor, "*cell image"]
    top5: Bool[Tensor, "*cell image"]
    silhouette: Float[Tensor, "*cell image"]
    pseudovalue: Float[Tensor, "*cell image"]

    def of(self, order: int) -> "ByImage":
        """One of several orders."""
        return ByImage(*(part[order] for part in self))


class Evaluator:
    """Measures orders of the neurons on one set of features, image by image."""

    def __init__(self, features: Features, dropped: Tensor | None, renormalise: bool) -> None:
        self.features, self.dropped, self.renormalise = features, dropped, renormalise
        sizes = features.labels.bincount().double()
        # The mean over classes of means over their images is the mean over all images, each weighed
        # so.
        self.weight = (len(features.labels) / int((sizes > 0).sum()) / sizes)[features.labels]

    def strategy(self, name: str, seen: StrategyInput, ks: list[int], seed: int) -> ByImage:
        """What each image says of a strategy: `ByImage` without the first axis."""
        if name in BASES:
            return (
                self._turned(BASES[name].of(seen, seed))
                .orders(torch.arange(seen.neurons)[None], ks)
                .of(0)
            )
        if STRATEGIES[name].needs != "labels":
            return self.orders(STRATEGIES[name].order(seen, seed)[None], ks).of(0)
        half = halves(self.features.labels)
        fitted = torch.stack(
            [STRATEGIES[name].order(_part(seen, half != other), seed) for other in (0, 1)]
        )
        both = self.orders(fitted, ks)
        return ByImage(
            *(torch.where(half == 0, *parts) for parts in zip(both.of(0), both.of(1), strict=True))
        )

    def orders(self, orders: Int64[Tensor, "order neuron"], ks: list[int]) -> ByImage:
        """What each image says of each order."""
        features, (right, top5) = self.features, self._answers(orders, ks)
        if has_silhouette(features.labels):
            silhouettes = silhouette_pseudovalues_by_k(features.image, features.labels, orders, ks)
        else:
            silhouettes = (_none_like(right),) * 2
        return ByImage(right, top5, *silhouettes)

    def draws(
        self, orders: Int64[Tensor, "draw neuron"] | None, ks: list[int]
    ) -> tuple[
        Float64[Tensor, "draw k metric"],
        Int32[Tensor, "k image"],
        Bool[Tensor, "k image"],
        Bool[Tensor, "k image"],
    ]:
        """Means of all, in turns: thousands of orders are too many to keep image by image.

        Then how many of the orders get an image right, and which images the one of median accuracy
        and the first one get right.
        """
        features, images = self.features, len(self.features.image)
        hits = torch.zeros(len(ks), images, dtype=torch.int32)
        if orders is None:
            return (
                torch.empty(0, len(ks), len(METRICS), dtype=torch.float64),
                hits,
                hits > 0,
                hits > 0,
            )

        length = next(
            turn for turn in _TURNS if turn * len(ks) * images <= _TURN_CELLS or turn == 1
        )

        def turn(first: int) -> tuple[Tensor, Tensor, Tensor | None]:
            some = orders[first : first + length]
            right, top5 = self._answers(some, ks)
            if first < SILHOUETTE_DRAWS and has_silhouette(features.labels):
                silhouettes = silhouette_samples_by_k(features.image, features.labels, some, ks)
            else:
                silhouettes = _none_like(right)
            means = torch.stack(
                [self.means(*of_order) for of_order in zip(right, top5, silhouettes, strict=True)]
            )
            return means, right.sum(0, dtype=torch.int32), right[0].clone() if not first else None

        values = []
        first_right = torch.empty(0)
        for means, right, of_first in on_each_core(turn, range(0, len(orders), length)):
            values.append(means)
            hits += right
            first_right = first_right if of_first is None else of_first
        drawn = torch.cat(values)
        typical = drawn[:, :, 0].argsort(dim=0, stable=True)[(len(orders) - 1) // 2]
        of_typical = [
            self._answers(orders[order][None], ks)[0][0, place].clone()
            for place, order in enumerate(typical.tolist())
        ]
        return drawn, hits, torch.stack(of_typical), first_right

    def means(
        self,
        right: Bool[Tensor, "k image"],
        top5: Bool[Tensor, "k image"],
        silhouette: Float[Tensor, "k image"],
    ) -> Float64[Tensor, "k metric"]:
        """The metrics: two shares of the images, the mean over classes of the first, and the mean
        silhouette.
        """
        images = len(self.weight)
        recall = torch.stack([row.double() @ self.weight for row in right]) / images
        shares = [part.sum(1).double() / images for part in (right, top5)]
        return torch.stack([*shares, recall, silhouette.mean(1, dtype=torch.float64)], dim=1)

    def _answers(
        self, orders: Int64[Tensor, "order neuron"], ks: list[int]
    ) -> tuple[Bool[Tensor, "order k image"], Bool[Tensor, "order k image"]]:
        """Right, and among the first five."""
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
        return ranks == 0, ranks < 5

    def _turned(self, basis: Float[Tensor, "neuron neuron"]) -> "Evaluator":
        """The same images in another basis, whose axes are its neurons."""
        features = replace(
            self.features,
            image=rotate(self.features.image, basis),
            text=rotate(self.features.text, basis),
        )
        return Evaluator(
            features,
            None if self.dropped is None else rotate(self.dropped, basis),
            self.renormalise,
        )


def _part(seen: StrategyInput, images: Bool[Tensor, " image"]) -> StrategyInput:
    assert seen.image is not None and seen.labels is not None
    return replace(seen, image=seen.image[images], labels=seen.labels[images])


def _none_like(right: Bool[Tensor, "order k image"]) -> Float[Tensor, "order k image"]:
    """No silhouette for any image."""
    return torch.full((1, 1, 1), torch.nan).expand(right.shape)


AT_ONCE = 20  # orders that a core evaluates at a time


@dataclass(frozen=True, eq=False)
class Case:
    """A model's neurons and its features on a data set, and how they are evaluated."""

    features: Features
    projections: Projections
    ks: list[int]
    renormalise: bool = False
    dropped: Tensor | None = None

    def areas(self, orders: Int64[Tensor, "order neuron"]) -> Float[Tensor, " order"]:
        """Mean accuracy over the ks of each order."""
        features = self.features
        accuracy = accuracy_by_k(
            features.image,
            features.text,
            features.labels,
            orders,
            self.ks,
            renormalise=self.renormalise,
            dropped=self.dropped,
        ).top1
        return mean_over_k(accuracy, self.ks)

    def areas_on_each_core(self, orders: Int64[Tensor, "order neuron"]) -> Float[Tensor, " order"]:
        return torch.cat(list(on_each_core(self.areas, orders.split(AT_ONCE))))

    def ends(self, measure: str, towers: str) -> Int64[Tensor, "2 neuron"]:
        """The orders of high and of low purity."""
        features = self.features
        given = StrategyInput(
            self.projections, features.image, features.text, measure=measure, towers=towers
        )
        score = redundancy(given)
        return torch.stack([best_first(-score, given.dead), best_first(score, given.dead)])

    def areas_of_ends(self, orders: Int64[Tensor, "2 neuron"]) -> dict[str, float]:
        high, low = self.areas(orders).tolist()
        return {"high": high, "low": low, "gap": high - low}

    def in_basis(self, basis: Float[Tensor, "neuron neuron"]) -> "Case":
        """The same images on other axes; for what is known of the neurons there, ask the rotated
        projections.
        """
        features = self.features
        turned = replace(features, image=features.image @ basis, text=features.text @ basis)
        return replace(
            self, features=turned, dropped=None if self.dropped is None else self.dropped @ basis
        )


def strategy_input(
    features: Features, projections: Projections | None, options: Options
) -> StrategyInput:
    """What the strategies of a sweep see; arguments and errors as of `sweep`."""
    return StrategyInput(
        in_space(options.space, features, projections),
        features.image,
        features.text,
        features.labels,
        options.measure,
        options.towers,
        features.logit_scale,
    )


def in_space(space: str, features: Features, projections: Projections | None) -> Projections:
    """The neurons as rows of weights or of activations, see `sweep`.

    Raises:
        InputError: features and projections differ in neurons.
    """
    if space == "activations":
        return Projections(
            features.image.T, features.text.T
        )  # as `activation_space` has it, without a copy
    if space == "centred":
        return activation_space(features.image, features.text, centred=True)
    neurons = features.image.shape[1]
    if projections is None or projections.neurons != neurons:
        came = "no projections" if projections is None else f"projections of {projections.neurons}"
        raise InputError(
            f"features of {neurons} neurons, {came}",
            expected="features and projections of one model",
            fix=(fix_for(projections, neurons) if projections else "")
            or "give model.projections; features without a model: ps.sweep(features, "
            "space='activations')",
        )
    return projections
