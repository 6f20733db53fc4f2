"""Pillow within limits: what a picture declares is looked at before it is decoded.

Pillow refuses more than 179 million pixels, and warns of more than 89 million without a name.
Below, a file of a few kilobytes can still fill half a gigabyte, and several threads decode at once.

Pictures become RGB from transparency, grey of 16 bits, and numbers without a range. Pillow's own
conversion drops transparency, under which icons are often black all over, and cuts grey of 16 bits
off at 255, so that nearly all of a picture becomes white.
"""

import contextlib
import io
import os
import re
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from purescope.files.reading import available_memory

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
    r"""Tell what a WebP has, from its first 30 bytes: to open it with Pillow takes the memory of
    the whole picture.

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
    return (
        image.mode in ("RGBA", "LA", "PA", "La", "RGBa")
        or palette == "RGBA"
        or "transparency" in image.info
    )


def _rgba(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _eight_bits(image: ImageFile.ImageFile) -> Image.Image:
    """Bring grey of 16 bits down to 8, by its upper ones, as Pillow does with colours; leave all
    else as it is.
    """
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
        f"it holds {what}, and nothing says which are black and white: save it with 8 or 16 bits a "
        f"channel"
    )


LARGE = 1 << 24
"""Pixels of images that are decoded one at a time: 64 MB as Pillow holds them, and up to four times
as much on the way. All photographs of 16 megapixels and less are decoded side by side."""

SMALL = 1 << 26
"""Pixels that are decoded however small their file is: 256 MB as Pillow holds them."""

MOST_PER_BYTE = 2000
"""Pixels that come out of one byte at most, of more than `SMALL`.

A JPEG of one colour gives 170, a PNG of it 1,030, and no content gives nearly as many. Only blank
pages in black and white, a bit a pixel, give more (PNG 8,000, TIFF 40,000): up to A4 at 600 dots an
inch, 35 million pixels, they are small.
"""

MOST_BYTES = 1 << 31
"""Bytes of the largest file that is taken for an image: more than 179 million pixels of any kind
have.
"""

MOST_SCANS = 100
"""Scans of a JPEG: progressive ones have some ten, and each passes over all pixels whatever few
bytes it has.
"""

_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # none of those that stand within a scan
_SCAN, _END = 0xDA, 0xD9

_one_at_a_time = threading.Lock()


def decode(
    file: BinaryIO | io.BytesIO, formats: tuple[str, ...], convert: Convert = on_white
) -> Image.Image:
    """Decode a picture.

    Args:
        file: where it is.
        formats: Pillow's names of the formats to try.
        convert: makes RGB of it.

    Raises:
        ValueError: it declares more pixels than it can mean, or than are decoded, or passes over
            them without an end.
        Exception: whatever Pillow raises for a damaged one.
    """
    stored, start = _start(file)
    if stored > MOST_BYTES:
        raise ValueError(f"{stored:,} bytes, where at most {MOST_BYTES:,} are read")
    declared = _webp_size(start)  # for which Pillow sets memory aside as soon as it is opened
    if declared is not None:
        _check_size(declared, stored)
    if start.startswith(b"\xff\xd8"):
        _check_scans(file)
    with _open(file, start, formats) as image:
        _check_size(image.size, stored)
        if image.size[0] * image.size[1] <= LARGE:
            return convert(image)
        with _one_at_a_time:
            _check_room(image)
            return convert(image)


def needs_more(start: bytes) -> bool:
    """Tell whether more than the first 64 bytes of a picture say what `look_at` asks for."""
    return not start.startswith(b"\xff\xd8") and _webp_size(start) is None


def look_at(file: BinaryIO | io.BytesIO, formats: tuple[str, ...]) -> Colours:
    """Tell what a picture has beside plain colours, from its header; nothing of one that cannot be
    opened.
    """
    stored, start = _start(file)
    if start.startswith(b"\xff\xd8") or stored > MOST_BYTES:  # a JPEG has neither
        return Colours()
    if _webp_size(start) is not None:
        return webp_colours(start)
    try:
        with _open(file, start, formats) as image:
            return colours_of(image)
    except Exception:  # an error of that image, when it is asked for
        return Colours()


def _start(file: BinaryIO | io.BytesIO) -> tuple[int, bytes]:
    """How many bytes a file has, and its first ones."""
    stored = file.seek(0, os.SEEK_END)
    file.seek(0)
    return stored, file.read(64)


def _open(
    file: BinaryIO | io.BytesIO, start: bytes, formats: tuple[str, ...]
) -> ImageFile.ImageFile:
    """Do as `Image.open` does, but for its warning of large images, which cannot be told to the
    right person here.
    """
    for name in formats:
        if name not in Image.OPEN:
            Image.init()
        factory, accepts = Image.OPEN[name]
        if accepts is not None and accepts(start[:16]) is not True:
            continue
        file.seek(0)
        with contextlib.suppress(
            SyntaxError, IndexError, TypeError, struct.error
        ):  # as there: none of this format
            return factory(file, "")
    if start.startswith(b"version https://git-lfs"):
        raise UnidentifiedImageError(
            "a git-lfs pointer, not the image that it stands for: git lfs pull"
        )
    raise UnidentifiedImageError("cannot identify image file")


def _check_scans(file: BinaryIO | io.BytesIO) -> None:
    """Refuse a JPEG of more than `MOST_SCANS`."""
    file.seek(0)
    found, last = 0, b""
    while part := file.read(1 << 20):
        found += (last + part).count(b"\xff\xda")
        last = part[-1:]
    if (
        found <= MOST_SCANS
    ):  # as nearly always; more may also be in what is no scan: a profile, a film behind the image
        return
    file.seek(0)
    scans = _scans(file.read())
    if scans > MOST_SCANS:
        raise ValueError(f"a JPEG of {scans:,} scans, where at most {MOST_SCANS} are decoded")


def _scans(content: bytes) -> int:
    r"""How many scans a JPEG has before its end, what is embedded in it left out.

    Examples:
        >>> segment = b"\xff\xe1\0\4\xff\xda"
        >>> _scans(b"\xff\xd8" + segment + b"\xff\xda\0\2abc\xff\0" * 2 + b"\xff\xd9\xff\xda")
        2
    """
    at, scans = 2, 0
    while (marker := _MARKER.search(content, at)) is not None and (kind := marker[0][-1]) != _END:
        scans += kind == _SCAN
        at = marker.end()
        if kind not in (0x01, 0xD8):  # those without a length
            at += max(2, int.from_bytes(content[at : at + 2], "big"))
    return scans


def _check_size(size: tuple[int, int], stored: int) -> None:
    pixels = size[0] * size[1]
    most = Image.MAX_IMAGE_PIXELS
    told = f"{size[0]:,} x {size[1]:,} pixels in {stored:,} bytes"
    if most is not None and pixels > 2 * most:
        raise ValueError(
            f"{told}, where Pillow decodes at most {2 * most:,} pixels (PIL.Image.MAX_IMAGE_PIXELS)"
        )
    if pixels > max(SMALL, MOST_PER_BYTE * stored):
        raise ValueError(f"{told}: a file that small is a blank page, or made to fill the memory")


def _check_room(image: ImageFile.ImageFile) -> None:
    """Refuse a large image for which there is no memory: Pillow holds a pixel in 4 bytes, and
    others five times.
    """
    copied = image.format == "WEBP" or colours_of(image) != Colours()
    needed = image.size[0] * image.size[1] * (20 if copied else 8)
    free = available_memory()
    if needed > free:
        width, height = image.size
        raise ValueError(
            f"{width:,} x {height:,} pixels take {needed:,} bytes to decode, and {free:,} are free"
        )


def _webp_size(start: bytes) -> tuple[int, int] | None:
    """The size that a WebP declares; None where it is none.

    Examples:
        >>> _webp_size(b"RIFF....WEBPVP8X" + bytes(8) + (99).to_bytes(3, "little") + (49).to_bytes(3, "little"))
        (100, 50)
    """
    if len(start) < 30 or start[:4] != b"RIFF" or start[8:12] != b"WEBP":
        return None
    kind = start[12:16]
    if kind == b"VP8X":
        return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(
            start[27:30], "little"
        ) + 1
    if kind == b"VP8L":
        packed = int.from_bytes(start[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", start, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
