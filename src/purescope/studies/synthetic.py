"""Models whose pure and mixed neurons, and what they are worth, are known by construction: a truth
to test against.

Neuron j's projections mix a direction of its own with one that all neurons share, so its overlap is
known to rise with its share. What it adds to a logit is a signal of a chosen amplitude in noise, so
what it is worth is known too. The amplitude follows purity as strongly as `effect` says, and luck
for the rest.
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
_MOST_MIXED = 0.6  # share of the common direction in the least pure neuron's squared weights
_LUCK = 0.5  # of an amplitude, whatever the purity
_DIRECTIONS = 4  # of the noise that neurons have in common


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


@dataclass(frozen=True)
class World:
    """What real models have besides purity, and a planted one has only where it is asked for.

    Args:
        norms: spread of the neurons' norms, as the standard deviation of their logarithm; a neuron
            of twice the norm has twice the weights and twice the activations.
        tied: correlation of the norms with purity, -1 to 1; below 0, the purest have the smallest
            norms.
        group: neurons that come together: of about the same purity, with one direction in the
            weights and one activation, but for what each has of its own.
        alike: share that the neurons of a group have in common, 0 to 1.
        mean: length of a vector that is added to all image features, in standard deviations of the
            noise.
        noise: share of the noise that neurons have in common, 0 to 1, in a few directions.

    Raises:
        InputError: one is out of its range.
    """

    norms: float = 0.0
    tied: float = 0.0
    group: int = 1
    alike: float = 0.8
    mean: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        shares = {"tied": (self.tied, -1), "alike": (self.alike, 0), "noise": (self.noise, 0)}
        for name, (value, least) in shares.items():
            if not least <= value <= 1:
                raise InputError(f"{name} = {value:g}", expected=f"a share from {least} to 1")
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
    """A planted truth.

    Args:
        effect: how far the amplitude of a neuron's signal follows its purity: 1 and more, the
            purest carry most; 0, it has nothing to do with purity; below 0, the least pure carry
            most.
        neurons: embedding dimensions.
        images: of the data set, the classes in turns.
        classes: to choose between.
        signal: mean amplitude, in standard deviations of the noise.
        world: what else there is; by default nothing.
        seed: of everything that is drawn.

    Raises:
        InputError: there are fewer than two neurons, images or classes.

    Examples:
        >>> from purescope.maths.overlaps import overlap
        >>> made = plant(effect=1.0)
        >>> total = overlap(made.projections.image)
        >>> bool(total[made.pure].mean() < total[~made.pure].mean())
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
    """Class features, noise and projections as the world has them, and what each neuron is scaled
    by.
    """
    neurons = len(place)
    kinds = -(-neurons // world.group)
    kind = place.argsort().argsort() // world.group  # neighbours in purity, as similar neurons are
    shared, own = math.sqrt(world.alike), math.sqrt(1 - world.alike)

    def together(values: Tensor) -> Tensor:
        """Let the neurons of a group be alike, each as large as it was."""
        return (
            values
            if world.group == 1
            else shared * normal(len(values), kinds)[:, kind] + own * values
        )

    text, noise = together(text), together(noise)
    if world.group > 1:
        projections = [
            own * of + shared * torch.nn.functional.normalize(normal(kinds, _WIDTH), dim=1)[kind]
            for of in projections
        ]
    directions = torch.nn.functional.normalize(normal(_DIRECTIONS, neurons), dim=1) * math.sqrt(
        neurons / _DIRECTIONS
    )
    noise = (
        math.sqrt(1 - world.noise) * noise
        + math.sqrt(world.noise) * normal(len(noise), _DIRECTIONS) @ directions
    )
    noise = noise + world.mean * torch.nn.functional.normalize(normal(neurons), dim=0) * math.sqrt(
        neurons
    )
    purity = (0.5 - place.double()) * math.sqrt(12)  # of variance 1
    scale = (
        world.norms * (world.tied * purity + math.sqrt(1 - world.tied**2) * normal(neurons))
    ).exp()
    return text, noise, [scale[:, None] * of for of in projections], scale
