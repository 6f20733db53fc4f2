"""Small pictures of the images that examples name."""

import io
import warnings
from collections.abc import Iterable, Sequence

import pandas as pd
from PIL import Image

from purescope.datasets.dataset import Dataset
from purescope.errors import DatasetError
from purescope.features.extraction import Progress, quiet
from purescope.parallel import on_each_core
from purescope.tables.files import check_table
from purescope.tables.schemas import THUMBNAILS

SIDE = 48  # pixels of the longer side

_QUALITY = 50  # of WebP: a drawing or photograph of 48 pixels takes about 500 bytes


def thumbnail_table(
    examples: pd.DataFrame, sets: Iterable[Dataset], *, progress: Progress = quiet
) -> pd.DataFrame:
    """Every image that examples name, as a thumbnail: `purescope.tables.schemas.THUMBNAILS`.

    Args:
        examples: of any models, see `purescope.tables.schemas.EXAMPLES`.
        sets: the data sets that have images; each image named is read once more.
        progress: wraps the reading, for a progress bar.

    Warns:
        UserWarning: an image cannot be read any more; it has no thumbnail.
    """
    parts = [pd.DataFrame(columns=list(THUMBNAILS.columns))]
    for dataset in sets:
        named = sorted({int(image) for image in examples.image[examples.dataset == dataset.name]})
        made = progress(_thumbnails(dataset, named), f"Thumbnails of {dataset.name}", len(named))
        columns = {"dataset": dataset.name, "image": named, "thumbnail": [*made]}
        part = pd.DataFrame(columns)
        gone = part.thumbnail.isna()
        if gone.any():
            what = f"{gone.sum()} image{'s' if gone.sum() > 1 else ''} of {dataset.name}"
            warnings.warn(f"{what} cannot be shown, first {part.image[gone].iloc[0]}", stacklevel=2)
        parts.append(part[~gone])
    filled = [part for part in parts if len(part)] or parts[:1]
    return check_table(pd.concat(filled, ignore_index=True), THUMBNAILS)


def thumbnail(image: Image.Image) -> bytes:
    """A WebP file of the image, smaller where a side is longer than `SIDE` pixels; what is
    transparent becomes white.

    Examples:
        >>> len(thumbnail(Image.new("RGB", (640, 480), "red"))) < 200
        True
    """
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")  # a copy: what follows is done in place
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, method=2)
    return file.getvalue()


def _thumbnails(dataset: Dataset, images: Sequence[int]) -> Iterable[bytes | None]:
    def make(index: int) -> bytes | None:
        try:
            return thumbnail(dataset.images[index])
        except DatasetError:
            return None

    return on_each_core(make, images)
