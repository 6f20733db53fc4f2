"""A tiny model and dataset for tests of training dynamics."""

import torch
from PIL import Image
from torch import Tensor

from purescope.datasets.dataset import Dataset
from purescope.features.features import Features
from purescope.maths.overlaps import Projections
from purescope.models.model import Model, Preprocess

NEURONS, CLASSES, IMAGES = 12, 4, 30


def rows(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def make_projections(seed: int) -> Projections:
    return Projections(rows(NEURONS, 9, seed), rows(NEURONS, 5, seed + 1000))


def make_model(seed: int, label: str = "tiny", projections: Projections | None = None) -> Model:
    """Images go by their colour, sentences by their number; other weights are another model."""
    colours, words = rows(3, NEURONS, seed + 1), rows(CLASSES, NEURONS, seed + 2)
    return Model(
        label=label,
        spec=f"made by hand {seed}",
        weight_space=projections or make_projections(seed),
        neurons=NEURONS,
        preprocess=Preprocess(size=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        encode_image=lambda pixels: pixels[:, :, 0, 0] @ colours,
        encode_text=lambda texts: torch.stack([words[int(text[-1])] for text in texts]),
        identity={"weights": str(seed)},
    )


def make_dataset(name: str = "colours", seed: int = 0) -> Dataset:
    colours = torch.randint(
        256, (IMAGES, 3), generator=torch.Generator().manual_seed(seed)
    ).tolist()
    names = tuple(str(c) for c in range(CLASSES))
    return Dataset(
        name=name,
        spec="made by hand",
        classes=names,
        labels=torch.arange(IMAGES) % CLASSES,
        images=[Image.new("RGB", (1, 1), tuple(colour)) for colour in colours],
        display_names=names,
        templates=("{}",),
        source={},
        fingerprint=f"{seed}",
    )


def make_features(seed: int = 0, dataset: str = "colours") -> Features:
    unit = torch.nn.functional.normalize
    labels = torch.arange(IMAGES) % CLASSES
    text = unit(rows(CLASSES, NEURONS, seed), dim=1)
    image = unit(rows(IMAGES, NEURONS, seed + 1) + 2 * text[labels], dim=1)
    return Features(image, text, labels, tuple("abcd"), model="tiny", dataset=dataset)
