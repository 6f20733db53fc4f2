"""The orders of one model's neurons on some data, each made once.

What is evaluated with them is another question: classes in `purescope.studies.bench`, captions in
`purescope.studies.retrieval`.
"""

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.features.captions import CaptionFeatures
from purescope.features.features import Features
from purescope.maths.cells import check_keep, default_keep
from purescope.maths.overlaps import Projections, activation_space, fix_for
from purescope.maths.scores import StrategyInput
from purescope.maths.strategies import STRATEGIES
from purescope.studies.settings import Options


@dataclass(frozen=True, eq=False)
class Ranked:
    """One model's features on some data, and the orders of its neurons.

    Args:
        features: features of images, and of classes or captions.
        projections: projections of the model; without them only spaces of activations can rank.
        options: options of the sweep.

    Raises:
        InputError: features, projections and orders differ in neurons, or a k is out of range.
    """

    features: Features | CaptionFeatures
    projections: Projections | None
    options: Options
    _orders: dict[str, Int64[Tensor, " neuron"]] = field(
        default_factory=dict, init=False, repr=False
    )
    _random_orders: list[Int64[Tensor, " neuron"]] = field(
        default_factory=list, init=False, repr=False
    )

    def check_orders(self) -> None:
        """Check that all orders can be made, before anything is measured.

        Raises:
            InputError: they cannot.
        """
        _ = self.strategy_input, self.ks  # raises here
        for name, order in self.options.orders.items():
            if len(order) != self.neurons:
                raise InputError(
                    f"the order {name!r} of {len(order):,} neurons",
                    expected=f"an order of all {self.neurons:,} neurons of {self.features.model}",
                    fix="make it from this model's own projections or features",
                )

    @property
    def neurons(self) -> int:
        """The number of neurons d."""
        return self.features.image.shape[1]

    @cached_property
    def ks(self) -> list[int]:
        """The numbers of neurons to keep, in ascending order."""
        keep = self.options.keep
        return check_keep(default_keep(self.neurons) if keep is None else keep, self.neurons)

    @cached_property
    def space(self) -> Projections:
        """The rows of weights or of activations by which the neurons are ranked."""
        return in_space(self.options.space, self.features, self.projections)

    @cached_property
    def strategy_input(self) -> StrategyInput:
        """The data that strategies make their orders from."""
        features, options = self.features, self.options
        data = StrategyInput(
            self.space,
            features.image,
            features.text,
            measure=options.measure,
            towers=options.towers,
        )
        if isinstance(features, Features):
            return replace(data, labels=features.labels, scale=features.logit_scale)
        return data

    # --- orders, each made once

    def order(self, strategy: str) -> Int64[Tensor, " neuron"]:
        """Return the order of a strategy, fitted on all images, or the user's own order."""
        if strategy in self.options.orders:
            return torch.as_tensor(self.options.orders[strategy])
        if strategy not in self._orders:
            order = STRATEGIES[strategy].order(self.strategy_input, self.options.seed)
            self._orders[strategy] = order
        return self._orders[strategy]

    def random_orders(self, count: int) -> Int64[Tensor, "draw neuron"]:
        """Return the first random orders; draw r has the seed ``seed + r``."""
        for draw in range(len(self._random_orders), count):
            order = STRATEGIES["random"].order(self.strategy_input, self.options.seed + draw)
            self._random_orders.append(order)
        if not count:
            return torch.empty(0, self.neurons, dtype=torch.int64)
        return torch.stack(self._random_orders[:count])


def in_space(
    space: str, features: Features | CaptionFeatures, projections: Projections | None
) -> Projections:
    """Return the rows of weights or of activations that a space ranks by, see `purescope.sweep`.

    Raises:
        InputError: features and projections differ in neurons.
    """
    if space == "activations":
        # The same as `activation_space`, without a copy.
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


def warn_of_dead(data: StrategyInput) -> None:
    """Warn where neurons are dead, that is of norm zero in a tower.

    Warns:
        UserWarning: some neurons are dead.
    """
    dead = int(data.dead.sum())
    if dead:
        message = f"{dead} of {data.neurons} neurons have norm zero and rank last"
        warnings.warn(message, stacklevel=3)
