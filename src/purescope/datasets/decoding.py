"""Decode pictures with Pillow, within limits on what they declare, and convert them to RGB.

Pillow refuses more than 179 million pixels, and above 89 million it gives a warning that names no
file. Below that, a file of a few kilobytes can still fill half a gigabyte, and several threads
decode at once. So the declared size is checked before a picture is decoded.

Three kinds of picture need care on the way to RGB: those with transparency, those with 16 bits of
grey, and those of numbers without a range. Pillow's own conversion drops transparency, and icons
are often black all over below it; and it cuts 16 bits of grey off at 255, so that nearly all of a
picture becomes white.
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
"""Converts an opened image to the image that is measured."""


@dataclass(frozen=True)
class Colours:
    """Describe the properties of a picture that change its conversion to RGB.

    Args:
        transparent: whether it has transparency.
        deep: whether it is grey with more than 8 bits.
    """

    transparent: bool = False
    deep: bool = False


def convert_on_white(image: ImageFile.ImageFile) -> Image.Image:
    """Convert to RGB, with a white background behind transparency.

    Raises:
        ValueError: the image holds numbers, and does not say which are black and which are white.
    """
    eight_bits = _to_eight_bits(image)
    if not _is_transparent(eight_bits):
        return eight_bits.convert("RGB")
    rgba = _to_rgba(eight_bits)
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def drop_transparency(image: ImageFile.ImageFile) -> Image.Image:
    """Convert to RGB and drop transparency, as protocol paper and the experiment's script do.

    Raises:
        ValueError: as `convert_on_white`.
    """
    eight_bits = _to_eight_bits(image)
    if eight_bits.mode == "P" and _is_transparent(eight_bits):
        # By way of RGBA the colours are the same, and Pillow gives no warning for palettes.
        eight_bits = _to_rgba(eight_bits)
    return eight_bits.convert("RGB")


def keep_grey_and_cmyk(image: ImageFile.ImageFile) -> Image.Image:
    """Keep grey and CMYK as they are stored; convert other images as `drop_transparency`.

    Raises:
        ValueError: as `convert_on_white`.
    """
    if image.mode in ("L", "CMYK"):
        return image.copy()
    return drop_transparency(image)


def webp_colours(start: bytes) -> Colours:
    r"""Return the colours of a WebP from its first 30 bytes.

    To open a WebP, Pillow takes the memory of the whole picture.

    Examples:
        >>> webp_colours(b"RIFF....WEBPVP8X" + bytes(4) + b"\x10" + bytes(9)).transparent
        True
    """
    kind = start[12:16]
    extended = kind == b"VP8X" and bool(start[20] & 0x10)
    lossless = kind == b"VP8L" and bool(start[24] & 0x10)
    return Colours(transparent=extended or lossless)


def _image_colours(image: Image.Image) -> Colours:
    """Return the colours of an image that was opened and not yet decoded."""
    return Colours(_is_transparent(image), image.mode.startswith("I"))


def _is_transparent(image: Image.Image) -> bool:
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    return (
        image.mode in ("RGBA", "LA", "PA", "La", "RGBa")
        or palette == "RGBA"
        or "transparency" in image.info
    )


def _to_rgba(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _to_eight_bits(image: ImageFile.ImageFile) -> Image.Image:
    """Reduce 16 bits of grey to the upper 8, as Pillow does with colours; keep other images."""
    if image.mode == "F":
        raise _no_range_error("floating-point numbers")
    if not image.mode.startswith("I"):
        return image
    if image.format == "TIFF" and image.mode == "I":
        raise _no_range_error("signed or 32-bit whole numbers")
    values = np.asarray(image).astype(np.int32)
    shades = values >> (_bits_per_value(image) - 8)
    if _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        shades = 255 - shades
    grey = Image.fromarray(shades.clip(0, 255).astype(np.uint8), "L")
    transparent_value = image.info.get("transparency")
    if isinstance(transparent_value, int):
        alpha = np.where(values == transparent_value, 0, 255)
        grey.putalpha(Image.fromarray(alpha.astype(np.uint8), "L"))
    return grey


def _bits_per_value(image: ImageFile.ImageFile) -> int:
    """Return the bits of a grey value: TIFF may have 12, and Pillow scales PGM to 16."""
    bits = _tiff_tag(image, _BITS_PER_SAMPLE)
    return int(bits[0]) if isinstance(bits, tuple) and bits else 16


def _tiff_tag(image: ImageFile.ImageFile, number: int) -> object:
    return getattr(image, "tag_v2", {}).get(number)


def _no_range_error(kind: str) -> ValueError:
    return ValueError(
        f"it holds {kind}, and does not say which are black and which are white: save it with 8 or "
        "16 bits a channel"
    )


LARGE = 1 << 24
"""Pixels of an image above which images are decoded one at a time.

Pillow holds them in 64 MB, and takes up to four times as much while decoding. All photographs of 16
megapixels and less are decoded side by side.
"""

SMALL = 1 << 26
"""Pixels that are decoded however small the file is: 256 MB as Pillow holds them."""

MAX_PIXELS_PER_BYTE = 2000
"""Most pixels for each byte of a file, for images of more than `SMALL` pixels.

A JPEG of one colour has 170, a PNG of one colour 1,030, and pictures with content have far fewer.
Only blank pages in black and white, with one bit a pixel, have more (PNG 8,000, TIFF 40,000); up to
A4 at 600 dots an inch, which is 35 million pixels, they are below `SMALL`.
"""

MAX_BYTES = 1 << 31
"""Size of the largest file that may be an image: more than any 179 million pixels take."""

MAX_SCANS = 100
"""Most scans of a JPEG.

Progressive ones have about ten. Each scan passes over all pixels, however few bytes it has.
"""

_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # a marker that cannot be within a scan
_SCAN, _END = 0xDA, 0xD9

_one_at_a_time = threading.Lock()


def decode(
    file: BinaryIO | io.BytesIO, formats: tuple[str, ...], convert: Convert = convert_on_white
) -> Image.Image:
    """Decode a picture.

    Args:
        file: where the picture is.
        formats: Pillow's names of the formats to try.
        convert: converts the picture to RGB.

    Raises:
        ValueError: the picture declares more pixels than its file can hold or than are decoded, or
            has too many scans.
        Exception: whatever Pillow raises for a damaged picture.
    """
    size, start = _size_and_start(file)
    if size > MAX_BYTES:
        raise ValueError(f"{size:,} bytes, where at most {MAX_BYTES:,} are read")
    declared = _webp_pixels(start)
    if declared is not None:
        # Pillow reserves memory for a WebP as soon as it is opened.
        _check_pixels(declared, size)
    if start.startswith(b"\xff\xd8"):
        _check_scans(file)
    with _open(file, start, formats) as image:
        _check_pixels(image.size, size)
        if image.size[0] * image.size[1] <= LARGE:
            return convert(image)
        with _one_at_a_time:
            _check_memory(image)
            return convert(image)


def needs_whole_file(start: bytes) -> bool:
    """Tell whether `read_colours` needs more of a picture than its first 64 bytes."""
    return not start.startswith(b"\xff\xd8") and _webp_pixels(start) is None


def read_colours(file: BinaryIO | io.BytesIO, formats: tuple[str, ...]) -> Colours:
    """Read the colours of a picture from its header; the default for one that cannot be opened."""
    size, start = _size_and_start(file)
    if start.startswith(b"\xff\xd8") or size > MAX_BYTES:  # a JPEG is neither transparent nor deep
        return Colours()
    if _webp_pixels(start) is not None:
        return webp_colours(start)
    try:
        with _open(file, start, formats) as image:
            return _image_colours(image)
    except Exception:  # raised again when the image is asked for
        return Colours()


def _size_and_start(file: BinaryIO | io.BytesIO) -> tuple[int, bytes]:
    """Return the size of a file and its first 64 bytes."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size, file.read(64)


def _open(
    file: BinaryIO | io.BytesIO, start: bytes, formats: tuple[str, ...]
) -> ImageFile.ImageFile:
    """Open a picture as `Image.open` does, without its warning of large images.

    That warning cannot name the file.
    """
    for name in formats:
        if name not in Image.OPEN:
            Image.init()
        factory, accepts = Image.OPEN[name]
        if accepts is not None and accepts(start[:16]) is not True:
            continue
        file.seek(0)
        # What `Image.open` takes to mean that the file has another format.
        with contextlib.suppress(SyntaxError, IndexError, TypeError, struct.error):
            return factory(file, "")
    if start.startswith(b"version https://git-lfs"):
        raise UnidentifiedImageError(
            "a git-lfs pointer, not the image that it stands for: git lfs pull"
        )
    raise UnidentifiedImageError("cannot identify image file")


def _check_scans(file: BinaryIO | io.BytesIO) -> None:
    """Refuse a JPEG of more than `MAX_SCANS` scans."""
    file.seek(0)
    marks, last_byte = 0, b""
    while block := file.read(1 << 20):
        marks += (last_byte + block).count(b"\xff\xda")
        last_byte = block[-1:]
    if marks <= MAX_SCANS:  # nearly always
        return
    # The same two bytes may also be in a profile, or in a film behind the image.
    file.seek(0)
    scans = _count_scans(file.read())
    if scans > MAX_SCANS:
        raise ValueError(f"a JPEG of {scans:,} scans, where at most {MAX_SCANS} are decoded")


def _count_scans(content: bytes) -> int:
    r"""Count the scans of a JPEG up to its end, without those of embedded pictures.

    Examples:
        >>> segment = b"\xff\xe1\0\4\xff\xda"
        >>> scans = b"\xff\xda\0\2abc\xff\0" * 2
        >>> _count_scans(b"\xff\xd8" + segment + scans + b"\xff\xd9\xff\xda")
        2
    """
    position, scans = 2, 0
    while (marker := _MARKER.search(content, position)) is not None:
        kind = marker[0][-1]
        if kind == _END:
            break
        scans += kind == _SCAN
        position = marker.end()
        if kind not in (0x01, 0xD8):  # these two have no length
            position += max(2, int.from_bytes(content[position : position + 2], "big"))
    return scans


def _check_pixels(size: tuple[int, int], file_bytes: int) -> None:
    pixels = size[0] * size[1]
    most = Image.MAX_IMAGE_PIXELS
    came = f"{size[0]:,} x {size[1]:,} pixels in {file_bytes:,} bytes"
    if most is not None and pixels > 2 * most:
        raise ValueError(
            f"{came}, where Pillow decodes at most {2 * most:,} pixels (PIL.Image.MAX_IMAGE_PIXELS)"
        )
    if pixels > max(SMALL, MAX_PIXELS_PER_BYTE * file_bytes):
        raise ValueError(f"{came}: so small a file is a blank page, or made to fill the memory")


def _check_memory(image: ImageFile.ImageFile) -> None:
    """Refuse a large image for which there is not enough memory.

    Pillow holds a pixel in 4 bytes. A WebP, and an image that needs another conversion, takes five
    such copies; others take two.
    """
    copied = image.format == "WEBP" or _image_colours(image) != Colours()
    needed = image.size[0] * image.size[1] * (20 if copied else 8)
    free = available_memory()
    if needed > free:
        width, height = image.size
        raise ValueError(
            f"{width:,} x {height:,} pixels take {needed:,} bytes to decode, and {free:,} are free"
        )


def _webp_pixels(start: bytes) -> tuple[int, int] | None:
    """Return the width and height that a WebP declares; None for other files.

    Examples:
        >>> size = (99).to_bytes(3, "little") + (49).to_bytes(3, "little")
        >>> _webp_pixels(b"RIFF....WEBPVP8X" + bytes(8) + size)
        (100, 50)
    """
    if len(start) < 30 or start[:4] != b"RIFF" or start[8:12] != b"WEBP":
        return None
    kind = start[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(start[24:27], "little") + 1
        return width, int.from_bytes(start[27:30], "little") + 1
    if kind == b"VP8L":
        packed = int.from_bytes(start[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", start, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
