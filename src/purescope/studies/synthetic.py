"""Make models for tests, in which the purity and the value of each neuron are known.

The projections of each neuron mix a direction of its own with one that all neurons share, so its
overlap rises with its part of the shared direction. The neuron adds a signal of a chosen amplitude
in noise to each logit, so its value is known too. `effect` says how strongly the amplitude depends
on purity; the rest is random.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.overlaps import Projections

_WIDTH = 256
_MOST_MIXED = 0.6  # fraction of the shared direction in the least pure neuron's squared weights
_LUCK = 0.5  # random part of an amplitude, whatever the purity
_DIRECTIONS = 4  # directions of the noise that neurons have in common


@dataclass(frozen=True, eq=False)
class Planted:
    """A model and a dataset with known values.

    Args:
        features, projections: the arrays that purescope measures.
        pure: the half of the neurons that are purest by construction.
        amplitude: amplitude of the signal in each neuron.
    """

    features: Features
    projections: Projections
    pure: Bool[Tensor, " neuron"]
    amplitude: Float[Tensor, " neuron"]


@dataclass(frozen=True)
class World:
    """Properties of real models besides purity; a planted model has none of them by default.

    Args:
        norms: spread of the neurons' norms, as the standard deviation of their logarithm; a neuron
            of twice the norm has twice the weights and twice the activations.
        tied: correlation of the norms with purity, -1 to 1; below 0, the purest neurons have the
            smallest norms.
        group: number of neurons in a group; they have about the same purity, and share a direction
            in the weights and an activation.
        alike: fraction that the neurons of a group have in common, 0 to 1.
        mean: length of a vector that is added to all image features, in standard deviations of the
            noise.
        noise: fraction of the noise that neurons have in common, 0 to 1, in a few directions.

    Raises:
        InputError: a value is out of its range.
    """

    norms: float = 0.0
    tied: float = 0.0
    group: int = 1
    alike: float = 0.8
    mean: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        fractions = {"tied": (self.tied, -1), "alike": (self.alike, 0), "noise": (self.noise, 0)}
        for name, (value, least) in fractions.items():
            if not least <= value <= 1:
                raise InputError(f"{name} = {value:g}", expected=f"a number from {least} to 1")
        if self.group < 1 or self.norms < 0 or self.mean < 0:
            raise InputError(
                f"{self}", expected="a group of one or more neurons; norms and mean of 0 or more"
            )


def plant(
    effect: float,
    *,
    neurons: int = 64,
    images: int = 400,
    classes: int = 10,
    signal: float = 0.25,
    world: World | None = None,
    seed: int = 0,
) -> Planted:
    """Make a model and a dataset in which purity has a known effect.

    Args:
        effect: how strongly the amplitude of a neuron's signal depends on its purity: from 1 on,
            the purest neurons carry most; at 0, amplitude and purity are independent; below 0, the
            least pure neurons carry most.
        neurons: number of embedding dimensions.
        images: number of images of the dataset; their classes take turns.
        classes: number of classes.
        signal: mean amplitude, in standard deviations of the noise.
        world: further properties of the model; by default none.
        seed: seed of everything that is drawn.

    Raises:
        InputError: there are fewer than two neurons, images or classes.

    Examples:
        >>> from purescope.maths.overlaps import overlap
        >>> planted = plant(effect=1.0)
        >>> overlaps = overlap(planted.projections.image)
        >>> bool(overlaps[planted.pure].mean() < overlaps[~planted.pure].mean())
        True
    """
    if min(neurons, images, classes) < 2:
        raise InputError(
            f"{neurons} neurons, {images} images, {classes} classes",
            expected="at least two of each",
        )
    world = world or World()
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
    noise = normal(images, neurons)
    projections = [projection(), projection()]
    if world != World():
        text, noise, projections, scale = _worldly(world, place, text, noise, projections, normal)
        image = scale * (amplitude * text[labels] + noise)
        text = scale * text
    else:
        image = amplitude * text[labels] + noise
    features = Features(
        torch.nn.functional.normalize(image, dim=1).float(),
        torch.nn.functional.normalize(text, dim=1).float(),
        labels,
        tuple(f"class {label}" for label in range(classes)),
        model="planted",
        dataset=f"effect {effect:g}",
    )
    return Planted(features, Projections(*projections), place < 0.5, amplitude)


def _worldly(
    world: World,
    place: Tensor,
    text: Tensor,
    noise: Tensor,
    projections: list[Tensor],
    normal: Callable[..., Tensor],
) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
    """Return class features, noise, projections and the scale of each neuron in this world."""
    neurons = len(place)
    kinds = -(-neurons // world.group)
    kind = place.argsort().argsort() // world.group  # neighbours in purity, as similar neurons are
    shared, own = math.sqrt(world.alike), math.sqrt(1 - world.alike)

    def blend(values: Tensor) -> Tensor:
        """Make the neurons of a group alike, with the variance that they had."""
        if world.group == 1:
            return values
        return shared * normal(len(values), kinds)[:, kind] + own * values

    text, noise = blend(text), blend(noise)
    if world.group > 1:
        projections = [
            own * weights
            + shared * torch.nn.functional.normalize(normal(kinds, _WIDTH), dim=1)[kind]
            for weights in projections
        ]
    directions = torch.nn.functional.normalize(normal(_DIRECTIONS, neurons), dim=1)
    directions = directions * math.sqrt(neurons / _DIRECTIONS)
    common_noise = math.sqrt(world.noise) * normal(len(noise), _DIRECTIONS) @ directions
    noise = math.sqrt(1 - world.noise) * noise + common_noise
    mean = world.mean * torch.nn.functional.normalize(normal(neurons), dim=0)
    noise = noise + mean * math.sqrt(neurons)
    purity = (0.5 - place.double()) * math.sqrt(12)  # of variance 1
    log_norms = world.tied * purity + math.sqrt(1 - world.tied**2) * normal(neurons)
    scale = (world.norms * log_norms).exp()
    return text, noise, [scale[:, None] * weights for weights in projections], scale
