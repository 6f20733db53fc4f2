"""SVG to 64 x 64 RGBA: rasterised by resvg, cropped to what is drawn, fitted into 60 px and
centred.
"""

import io
import re
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import resvg_py
from PIL import Image

from bundle.drawing import Drawing

SIZE = 64
_MARGIN = 2
_RASTER_WIDTH = 96
_WIDE_RASTER_WIDTH = 160
_TALLEST = 6 * _RASTER_WIDTH  # beyond this a drawing is a strip, not a picture
_A4 = (744.0, 1052.0)  # what Inkscape meant when it wrote no size


def render(drawings: list[Drawing], processes: int) -> list[np.ndarray | None]:
    """`[64, 64, 4]` uint8 for each drawing, None for one that cannot be drawn."""
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(render_one, (drawing.svg for drawing in drawings), chunksize=32))


def render_one(svg: str) -> np.ndarray | None:
    """The picture of one SVG text, or None where resvg finds nothing to draw."""
    image = _rasterise(svg)
    box = image.getchannel("A").getbbox() if image is not None else None
    if image is None or box is None:
        return None
    image = image.crop(box)
    longest, inner = max(image.size), SIZE - 2 * _MARGIN
    width, height = (max(1, round(side * inner / longest)) for side in image.size)
    image = image.resize(
        (width, height), Image.Resampling.LANCZOS if longest > inner else Image.Resampling.BICUBIC
    )
    canvas = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    canvas.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return np.asarray(canvas)


def _rasterise(svg: str) -> Image.Image | None:
    for text, width in ((svg, _RASTER_WIDTH), (None, _WIDE_RASTER_WIDTH)):
        try:
            png = resvg_py.svg_to_bytes(
                svg_string=text or _with_size(svg), width=width, skip_system_fonts=True
            )
        except ValueError:
            continue
        image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
        return image if image.height <= _TALLEST else None
    return None


def _with_size(svg: str) -> str:
    """The same drawing with a usable width, height and viewBox: a third of OpenClipart has none."""
    head = re.search(r"<svg\b[^>]*>", svg, re.S)
    if head is None:
        return svg
    tag = head[0]
    box = re.search(r'viewBox="\s*[-\d.e]+[ ,]+[-\d.e]+[ ,]+([\d.e]+)[ ,]+([\d.e]+)', tag)
    if box:
        width, height = float(box[1]), float(box[2])
    else:
        width, height = (
            _number(tag, side) or default
            for side, default in zip(("width", "height"), _A4, strict=True)
        )
    mended = re.sub(r'\s(width|height)="[^"]*"', "", tag)[:-1]
    if not box:
        mended += f' viewBox="0 0 {width} {height}"'
    return svg.replace(tag, f'{mended} width="{max(width, 1)}" height="{max(height, 1)}">', 1)


def _number(tag: str, name: str) -> float:
    found = re.search(rf'\s{name}="\s*([\d.]+)', tag)
    return float(found[1]) if found else 0.0
