"""What pictures become RGB from: transparency, grey of 16 bits, numbers without a range.

Pillow's own conversion drops transparency, under which icons are often black all over, and cuts grey of 16 bits off at
255, so that nearly all of a picture becomes white.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF
_WHITE_IS_ZERO = 0

Convert = Callable[[ImageFile.ImageFile], Image.Image]
"""Makes the image that is measured of one that was opened."""


@dataclass(frozen=True)
class Colours:
    """What a picture has beside plain colours.

    Args:
        transparent: whether it has transparency.
        deep: whether it is grey with more than 8 bits.
    """

    transparent: bool = False
    deep: bool = False


def on_white(image: ImageFile.ImageFile) -> Image.Image:
    """Convert to RGB, with white behind what is transparent.

    Raises:
        ValueError: it holds numbers of which nothing says what is black and what is white.
    """
    plain = _eight_bits(image)
    if not _is_transparent(plain):
        return plain.convert("RGB")
    colours = _rgba(plain)
    return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")


def without_transparency(image: ImageFile.ImageFile) -> Image.Image:
    """Convert to RGB and drop transparency, as the experiment's script does: protocol paper.

    Raises:
        ValueError: as `on_white`.
    """
    plain = _eight_bits(image)
    # By way of RGBA the colours are the same, and Pillow has no warning for palettes.
    return (_rgba(plain) if plain.mode == "P" and _is_transparent(plain) else plain).convert("RGB")


def as_stored(image: ImageFile.ImageFile) -> Image.Image:
    """Keep grey and CMYK as they are; convert what else there is as `without_transparency`.

    Raises:
        ValueError: as `on_white`.
    """
    if image.mode in ("L", "CMYK"):
        return image.copy()
    return without_transparency(image)


def colours_of(image: Image.Image) -> Colours:
    """Tell what an image that was opened has, before it is decoded."""
    return Colours(_is_transparent(image), image.mode.startswith("I"))


def webp_colours(start: bytes) -> Colours:
    r"""Tell what a WebP has, from its first 30 bytes: to open it with Pillow takes the memory of the whole picture.

    Examples:
        >>> webp_colours(b"RIFF....WEBPVP8X" + bytes(4) + b"\x10" + bytes(9)).transparent
        True
    """
    kind = start[12:16]
    extended = kind == b"VP8X" and bool(start[20] & 0x10)
    lossless = kind == b"VP8L" and bool(start[24] & 0x10)
    return Colours(transparent=extended or lossless)


def _is_transparent(image: Image.Image) -> bool:
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or palette == "RGBA" or "transparency" in image.info


def _rgba(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _eight_bits(image: ImageFile.ImageFile) -> Image.Image:
    """Bring grey of 16 bits down to 8, by its upper ones, as Pillow does with colours; leave all else as it is."""
    if image.mode == "F":
        raise _no_range("floating-point numbers")
    if not image.mode.startswith("I"):
        return image
    if image.format == "TIFF" and image.mode == "I":
        raise _no_range("whole numbers with a sign, or of 32 bits")
    bits = _bits(image)
    values = np.asarray(image).astype(np.int32)
    shades = values >> (bits - 8)
    if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        shades = 255 - shades
    grey = Image.fromarray(shades.clip(0, 255).astype(np.uint8), "L")
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # the value that stands for no colour
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8), "L"))
    return grey


def _bits(image: ImageFile.ImageFile) -> int:
    """Return how many bits a value of grey has: TIFF has 12, too, and Pillow scales PGM to 16."""
    bits = _tag(image, _BITS_PER_SAMPLE)
    return int(bits[0]) if isinstance(bits, tuple) and bits else 16


def _tag(image: ImageFile.ImageFile, number: int) -> object:
    return getattr(image, "tag_v2", {}).get(number)


def _no_range(what: str) -> ValueError:
    return ValueError(
        f"it holds {what}, and nothing says which are black and white: save it with 8 or 16 bits a channel"
    )
