"""Models whose pure and mixed neurons, and what they are worth, are known by construction: a truth to test against.

Neuron j's projections mix a direction of its own with one that all neurons share, so its overlap is known to rise with
its share. What it adds to a logit is a signal of a chosen amplitude in noise, so what it is worth is known too. The
amplitude follows purity as strongly as `effect` says, and luck for the rest.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from purescope.errors import InputError
from purescope.features import Features
from purescope.purity import Projections

_WIDTH = 256
_MOST_MIXED = 0.6  # share of the common direction in the least pure neuron's squared weights
_LUCK = 0.5  # of an amplitude, whatever the purity


@dataclass(frozen=True, eq=False)
class Planted:
    """A model and data set made to order.

    Args:
        features, projections: what purescope measures.
        pure: the half of the neurons that are purest by construction.
        amplitude: of the signal in each neuron.
    """

    features: Features
    projections: Projections
    pure: Bool[Tensor, " neuron"]
    amplitude: Float[Tensor, " neuron"]


def plant(
    effect: float,
    *,
    neurons: int = 64,
    images: int = 400,
    classes: int = 10,
    signal: float = 0.25,
    seed: int = 0,
) -> Planted:
    """A planted truth.

    Args:
        effect: how far the amplitude of a neuron's signal follows its purity: 1 and more, the purest carry most; 0, it
            has nothing to do with purity; below 0, the least pure carry most.
        neurons: embedding dimensions.
        images: of the data set, the classes in turns.
        classes: to choose between.
        signal: mean amplitude, in standard deviations of the noise.
        seed: of everything that is drawn.

    Raises:
        InputError: there are fewer than two neurons, images or classes.

    Examples:
        >>> from purescope.purity import overlap
        >>> made = plant(effect=1.0)
        >>> total = overlap(made.projections.image)
        >>> bool(total[made.pure].mean() < total[~made.pure].mean())
        True
    """
    if min(neurons, images, classes) < 2:
        raise InputError(f"{neurons} neurons, {images} images, {classes} classes", expected="at least two of each")
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    place = torch.randperm(neurons, generator=generator) / (neurons - 1)  # 0, the purest, to 1
    mixed = _MOST_MIXED * place.double()[:, None]

    def projection() -> Tensor:
        own = torch.nn.functional.normalize(normal(neurons, _WIDTH), dim=1)
        common = torch.nn.functional.normalize(normal(_WIDTH), dim=0)
        return (1 - mixed).sqrt() * own + mixed.sqrt() * common

    luck = torch.rand(neurons, generator=generator, dtype=torch.float64) * 2 - 1
    amplitude = signal * (1 + effect * (1 - 2 * place) + _LUCK * luck)
    labels = torch.arange(images) % classes
    text = normal(classes, neurons)
    image = amplitude * text[labels] + normal(images, neurons)
    features = Features(
        torch.nn.functional.normalize(image, dim=1).float(),
        torch.nn.functional.normalize(text, dim=1).float(),
        labels,
        tuple(f"class {label}" for label in range(classes)),
        model="planted",
        dataset=f"effect {effect:g}",
    )
    return Planted(features, Projections(projection(), projection()), place < 0.5, amplitude)
