"""The cosines of a tower as a picture: neurons in their order by purity, dark where two of them point the same way."""

import base64
import io
from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image

from purescope.plots._cosines import colour_limit
from purescope.plots._style import COLOUR_MAP

SIDE = 512  # pixels; more neurons share them, each showing the largest cosine within
_STEPS = 16  # of colour


@dataclass(frozen=True)
class Map:
    """One tower's.

    Args:
        tower: its name.
        picture: as a ``data:`` address.
        limit: the cosine of the darkest colour.
        above: share of the cosines above that.
        neurons: of the model.
        across: neurons in a pixel's row.
    """

    tower: str
    picture: str
    limit: float
    above: float
    neurons: int
    across: int


def cosine_map(cosines: np.ndarray, order: np.ndarray, *, tower: str) -> Map:
    """Absolute cosines ``[neuron, neuron]`` as a picture, the neurons of `order` from the top left."""
    limit = colour_limit(cosines)
    size = np.abs(cosines)[np.ix_(order, order)]
    others = ~np.eye(len(size), dtype=bool)
    above = float((size[others] > limit).mean()) if len(size) > 1 else 0.0
    np.fill_diagonal(size, 0.0)
    across = -(-len(size) // SIDE)
    steps = np.clip(_largest(size, across) / limit * (_STEPS - 1), 0, _STEPS - 1).round().astype(np.uint8)
    picture = Image.fromarray(steps)
    colours = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, _STEPS), bytes=True)[:, :3]
    picture.putpalette(colours.astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", bits=4, compress_level=9)
    address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return Map(tower, address, limit, above, len(cosines), across)


def colour_steps(count: int = 9) -> list[str]:
    """Colours from cosine 0 up, for the legend."""
    colours = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, count))
    return [matplotlib.colors.to_hex(colour) for colour in colours]


def _largest(size: np.ndarray, across: int) -> np.ndarray:
    """The largest of each block."""
    padding = -len(size) % across
    blocks = np.pad(size, (0, padding)).reshape(len(size) // across + (padding > 0), across, -1, across)
    return np.asarray(blocks.max(axis=(1, 3)))
