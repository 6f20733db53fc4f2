"""Pictures of noise with the names of three classes."""

import numpy as np
import pytest
import torch
from PIL import Image

from purescope.datasets.dataset import Dataset

TEMPLATES = ("a {}.", "a very small photo of the {}.")


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 40, 32, 3), dtype=np.uint8)
    return Dataset(
        name="noise",
        spec="made by hand",
        classes=("cat", "dog", "red flag"),
        labels=torch.arange(len(pixels)) % 3,
        images=[Image.fromarray(image) for image in pixels],
        display_names=("cat", "dog", "red flag"),
        templates=TEMPLATES,
        source={},
        fingerprint="f",
    )
