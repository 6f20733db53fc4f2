"""A small model and a small data set that share nothing with the code under test but the two
dataclasses.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from purescope.datasets.dataset import Dataset
from purescope.maths.overlaps import Projections
from purescope.models.model import Model, Preprocess

NEURONS = 5
SIZE = 4


def encode_text(texts: Sequence[str]) -> Tensor:
    """A vector for each sentence, the same on every machine, with both signs."""
    digests = [hashlib.sha256(text.encode()).digest()[:NEURONS] for text in texts]
    return torch.tensor(
        [[byte - 128 for byte in digest] for digest in digests], dtype=torch.float32
    )


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """What is done side by side does not depend on the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[1, 0, 2], ids=["one lane", "a lane for each core", "two lanes"])
def make_model(request: pytest.FixtureRequest) -> Callable[..., Model]:
    weights = torch.randn(3 * SIZE * SIZE, NEURONS, generator=torch.Generator().manual_seed(1))

    def make(**changes: Any) -> Model:
        fields: dict[str, Any] = {
            "label": "tiny",
            "spec": "made by hand",
            "weight_space": Projections(weights.T.contiguous(), torch.eye(NEURONS)),
            "neurons": NEURONS,
            "preprocess": Preprocess(SIZE, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), "bilinear"),
            "encode_image": lambda pixels: pixels.flatten(1) @ weights,
            "encode_text": encode_text,
            "identity": {"weights": "w"},
            "lanes": request.param,
        }
        return Model(**{**fields, **changes})

    return make


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (23, 6, 9, 3), dtype=np.uint8)

    def make(**changes: Any) -> Dataset:
        fields: dict[str, Any] = {
            "name": "noise",
            "spec": "made by hand",
            "classes": ("a_b", "c_d", "e"),
            "labels": torch.arange(len(pixels)) % 3,
            "images": [Image.fromarray(image) for image in pixels],
            "display_names": ("a b", "c d", "e"),
            "templates": ("a {}.", "the {}."),
            "source": {},
            "fingerprint": "f",
        }
        return Dataset(**{**fields, **changes})

    return make
