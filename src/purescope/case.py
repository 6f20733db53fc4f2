"""A model's neurons and its features on a data set, of which nulls and variants change one part at a time."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k
from purescope.maths.cells import ablation_values
from purescope.maths.curves import mean_over_k
from purescope.maths.overlaps import Projections
from purescope.maths.scores import StrategyInput, best_first, redundancy
from purescope.parallel import on_each_core
from purescope.sweep import Measured, in_space

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
        given = StrategyInput(self.projections, features.image, features.text, measure=measure, towers=towers)
        score = redundancy(given)
        return torch.stack([best_first(-score, given.dead), best_first(score, given.dead)])

    def areas_of_ends(self, orders: Int64[Tensor, "2 neuron"]) -> dict[str, float]:
        high, low = self.areas(orders).tolist()
        return {"high": high, "low": low, "gap": high - low}

    def in_basis(self, basis: Float[Tensor, "neuron neuron"]) -> "Case":
        """The same images on other axes; for what is known of the neurons there, ask the rotated projections."""
        features = self.features
        turned = replace(features, image=features.image @ basis, text=features.text @ basis)
        return replace(self, features=turned, dropped=None if self.dropped is None else self.dropped @ basis)


def case_of(measured: Measured, projections: Projections | None) -> Case:
    """What a sweep was made on; `projections` are None for a model that has none."""
    options, features = measured.options, measured.features
    return Case(
        features,
        in_space(options.space, features, projections),
        list(measured.ks),
        options.renormalise,
        ablation_values(features.image, options.ablation, seed=options.seed),
    )
