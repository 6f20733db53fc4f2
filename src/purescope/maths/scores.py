"""The input of a strategy, joining the scores of two towers, and ordering neurons by score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from purescope.errors import InputError, near_miss
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import Projections, dead_neurons

Order: TypeAlias = Int64[Tensor, " neuron"]
Score: TypeAlias = Float[Tensor, " neuron"]

# Scores are compared to this many decimals: copies of a neuron must tie, whatever the order of the
# summands.
TIE_DECIMALS = 9


@dataclass(frozen=True, eq=False)
class StrategyInput:
    """The data that an order can be made from; most strategies need only the projections.

    Args:
        projections: projections of both towers.
        image, text: features of images and of class prompts, as in `Features`, for strategies that
            need them.
        labels: class of each image.
        measure: the measure of purity strategies, a name in `purescope.maths.measures.MEASURES`.
        towers: how purity strategies join the scores of the towers, a name in `TOWERS`.
        scale: the factor by which the model multiplies logits, for strategies that compute a loss.

    Raises:
        InputError: a name is unknown, or shapes do not fit.

    Examples:
        >>> StrategyInput(Projections(torch.eye(2), torch.eye(2)), towers="image").dead
        tensor([False, False])
    """

    projections: Projections
    image: Float[Tensor, "image neuron"] | None = None
    text: Float[Tensor, "class neuron"] | None = None
    labels: Int[Tensor, " image"] | None = None
    measure: str = "l1"
    towers: str = "both"
    scale: float = 100.0

    def __post_init__(self) -> None:
        for kind, name, table in (
            ("measure", self.measure, MEASURES),
            ("towers", self.towers, TOWERS),
        ):
            if name not in table:
                raise InputError(f"unknown {kind} {name!r}", **near_miss(name, table))
        for tower, features in (("image", self.image), ("text", self.text)):
            if features is not None and (
                features.ndim != 2 or features.shape[1] != self.neurons or not len(features)
            ):
                raise InputError(
                    f"{tower} features of shape {list(features.shape)}, projections of "
                    f"{self.neurons} neurons",
                    expected=f"features [rows, {self.neurons}] of the same model",
                )

    @property
    def neurons(self) -> int:
        """The number of neurons d."""
        return self.projections.neurons

    @cached_property
    def dead(self) -> Bool[Tensor, " neuron"]:
        """True for each neuron whose weights are zero in either tower."""
        return dead_neurons(self.projections.image) | dead_neurons(self.projections.text)

    def features(
        self, what: str
    ) -> tuple[Float[Tensor, "image neuron"], Float[Tensor, "class neuron"]]:
        """Return image and text features; `what` names in an error what needs them.

        Raises:
            InputError: one of them is missing.
        """
        if self.image is None or self.text is None:
            raise InputError(
                f"{what} without features", expected="image and text features", fix=_FIX_FEATURES
            )
        return self.image, self.text

    def labelled(
        self, what: str
    ) -> tuple[Float[Tensor, "image neuron"], Float[Tensor, "class neuron"], Tensor]:
        """Return image and text features and the images' labels; `what` names in an error what
        needs them.

        Raises:
            InputError: one of them is missing.
        """
        image, text = self.features(what)
        if self.labels is None:
            raise InputError(
                f"{what} without labels", expected="the class of each image", fix=_FIX_LABELS
            )
        return image, text, self.labels


_FIX_FEATURES = "give image= and text=, as purescope.extract makes them"
_FIX_LABELS = "give labels=, of images that you do not evaluate on"


def redundancy(given: StrategyInput) -> Score:
    """Measure each neuron, join the towers, and scale to a sum over the d - 1 others.

    NaN for a neuron without a measure. With ``l1`` and ``both`` it is the experiment's total, see
    `purescope.maths.overlaps.total_overlap`.
    """
    measure = MEASURES[given.measure]
    space = given.projections
    if measure.needs == "activations":
        image, text = given.features(f"the measure {given.measure!r}")
        space = Projections(image.T, text.T)  # `activation_space` without a copy
    joined = join_towers(measure.of(space.image), measure.of(space.text), given.towers)
    return joined * (given.neurons - 1)


def join_towers(image: Score, text: Score, towers: str) -> Score:
    """Join the scores of two towers, over the neurons that have both; NaN for the others.

    Examples:
        Ranks 1, 3, 2 and 1, 2, 3 from the smallest score on:

        >>> join_towers(torch.tensor([0.1, 0.9, 0.2]), torch.tensor([0.1, 0.2, 0.3]), "rank_mean")
        tensor([1.0000, 2.5000, 2.5000])
    """
    scored = ~(image.isnan() | text.isnan())
    joined = torch.full_like(image, torch.nan)
    joined[scored] = TOWERS[towers](image[scored], text[scored])
    return joined


def best_first(score: Score, dead: Bool[Tensor, " neuron"]) -> Order:
    """Order neurons by score, largest first, equal scores by index.

    Then come neurons without a score (NaN), and then dead ones, each by index.
    """
    rounded = (-score).round(decimals=TIE_DECIMALS).nan_to_num(nan=torch.inf)
    return dead_last(rounded.argsort(stable=True), dead)


def dead_last(order: Order, dead: Bool[Tensor, " neuron"]) -> Order:
    """Return the order of the live neurons, followed by the dead ones by index."""
    return torch.cat([order[~dead[order]], dead.nonzero()[:, 0]])


def relative(score: Score) -> Score:
    """Divide the score by its largest absolute value, so that ties do not depend on its unit."""
    known = score[~score.isnan()]
    largest = known.abs().amax() if len(known) else score.new_tensor(0.0)
    return score / largest.where(largest > 0, 1.0)


def _z(score: Score) -> Score:
    """Return standard deviations from the mean; 0 where all scores are equal."""
    deviation = score - score.mean()
    spread = deviation.square().mean().sqrt()
    return deviation / spread if spread > 10**-TIE_DECIMALS else torch.zeros_like(score)


def _rank(score: Score) -> Score:
    """Return ranks from 1, the smallest score; equal scores share their mean rank."""
    rounded = score.round(decimals=TIE_DECIMALS)
    ordered = rounded.sort().values
    before = torch.searchsorted(ordered, rounded)
    up_to = torch.searchsorted(ordered, rounded, right=True)
    return (before + 1 + up_to).to(score.dtype) / 2


# How the scores that the same neurons have in the image tower and in the text tower are joined.
TOWERS: Mapping[str, Callable[[Score, Score], Score]] = {
    "both": lambda image, text: image + text,
    "image": lambda image, text: image,
    "text": lambda image, text: text,
    "z_sum": lambda image, text: _z(image) + _z(text),
    "rank_mean": lambda image, text: (_rank(image) + _rank(text)) / 2,
}
