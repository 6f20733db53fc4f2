"""Make tiny pictures that differ in their shade of grey."""

import io

import numpy as np
from PIL import Image

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.dataset import Dataset


def picture(shade: int, kind: str = "PNG") -> bytes:
    """Return a grey image file; every kind keeps the shade exactly, JPEG because it is uniform."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade,) * 3).save(buffer, kind, lossless=True)
    return buffer.getvalue()


def shades(dataset: Dataset | CaptionDataset) -> list[int]:
    """Return the shade of each image, in order."""
    return [int(np.asarray(dataset.images[i])[0, 0, 1]) for i in range(len(dataset))]
