"""Headers of pictures, scans of a JPEG, and the limits on pixels and memory."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from purescope.datasets import decoding
from purescope.datasets.decoding import (
    Colours,
    decode,
    needs_whole_file,
    read_colours,
    webp_colours,
)

FORMATS = ("JPEG", "PNG", "WEBP", "PPM")


def stored(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    width, height = size
    random = np.random.default_rng(width * height)
    shape = (height, width, {"RGB": 3, "RGBA": 4}[mode])
    return Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8), mode)


# --- WebP


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (300, 5), (5, 260), (1000, 1)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
def test_the_header_of_a_webp_says_what_pillow_finds(
    size: tuple[int, int], mode: str, lossless: bool
) -> None:
    content = stored(picture(size, mode), "WEBP", lossless=lossless, exact=True)
    start = content[:64]
    if len(start) < 30:
        assert decoding._webp_pixels(start) is None
        return
    assert decoding._webp_pixels(start) == decoding._webp_pixels(content[:30]) == size
    assert webp_colours(start) == Colours(transparent=mode == "RGBA")
    assert read_colours(io.BytesIO(content), FORMATS) == Colours(transparent=mode == "RGBA")
    assert not needs_whole_file(start)


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF\0\0\0\0WEBP" + kind + body.ljust(18, b"\0")


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (webp(b"VP8X", bytes(8) + b"\xfe\xff\xff\xfd\xff\xff"), (0xFFFFFF, 0xFFFFFE)),
        (webp(b"VP8X", bytes(8) + b"\0\1\0\0\0\1"), (257, 0x10001)),
        (webp(b"VP8L", b"....\x2f" + (4094 | 9999 << 14 | 3 << 28).to_bytes(4, "little")),
         (4095, 10_000)),
        (webp(b"VP8L", b"....\x2f" + (0x3FFF | 0x3FFE << 14).to_bytes(4, "little")),
         (16_384, 16_383)),
        (webp(b"VP8 ", bytes(10) + struct.pack("<HH", 0x4000 | 700, 0x8000 | 16_383)),
         (700, 16_383)),
        (webp(b"VP8?", bytes(18)), None),
        (webp(b"VP8X", bytes(18))[:29], None),
        (b"RIFX" + webp(b"VP8X", bytes(18))[4:], None),
        (b"RIFF\0\0\0\0WAVE" + webp(b"VP8X", bytes(18))[12:], None),
        (b"", None),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_sizes_that_a_webp_declares(start: bytes, expected: tuple[int, int] | None) -> None:
    assert decoding._webp_pixels(start) == expected


@pytest.mark.parametrize(
    ("kind", "place", "flags", "expected"),
    [
        (b"VP8X", 20, 0x10, True),
        (b"VP8X", 20, 0x2F & ~0x10, False),
        (b"VP8L", 24, 0x10, True),
        (b"VP8L", 24, 0xEF, False),
        (b"VP8 ", 20, 0x10, False),
        (b"VP8 ", 24, 0x10, False),
        (b"VP8X", 24, 0x10, False),
        (b"VP8L", 20, 0x10, False),
    ],
)
def test_one_bit_says_whether_a_webp_is_transparent(
    kind: bytes, place: int, flags: int, expected: bool
) -> None:
    start = bytearray(webp(kind, bytes(18)))
    start[place] = flags
    assert webp_colours(bytes(start)).transparent is expected


def test_only_headers_of_jpeg_and_webp_are_enough() -> None:
    for kind, expected in (("JPEG", False), ("WEBP", False), ("PNG", True), ("PPM", True)):
        assert needs_whole_file(stored(picture((40, 40)), kind)[:64]) is expected


# --- JPEG


SOI, END = b"\xff\xd8", b"\xff\xd9"


def segment(kind: int, content: bytes) -> bytes:
    return bytes([0xFF, kind]) + (len(content) + 2).to_bytes(2, "big") + content


SCAN = segment(0xDA, b"\1\0") + b"data\xff\0more\xff\xd3again"


@pytest.mark.parametrize(
    ("content", "scans"),
    [
        (SOI + END, 0),
        (SOI + SCAN + END, 1),
        (SOI + SCAN * 3 + END + SCAN * 9, 3),
        (SOI + SCAN * 2, 2),
        (SOI + segment(0xE1, SCAN * 5) + SCAN + END, 1),
        (SOI + segment(0xE1, b"") + SCAN + END, 1),
        # Without a length are the two markers that stand alone.
        (SOI + b"\xff\1" + SCAN + b"\xff\xd8" + SCAN + END, 2),
        (SOI + b"\xff\xff\xff\xda\0\2" + SCAN + END, 2),
        # A length of nothing is that of the length itself.
        (SOI + b"\xff\xe1\0\0" + SCAN + END, 1),
        (SOI + b"\xff\xe1\0\1" + SCAN + END, 1),
        (SOI + segment(0xE2, bytes(0x1234)) + SCAN + END, 1),
        (b"", 0),
    ],
    ids=lambda value: str(value)[:40],
)
def test_scans_are_counted_by_their_markers(content: bytes, scans: int) -> None:
    assert decoding._count_scans(content) == scans


@pytest.mark.parametrize(("scans", "is_read"), [(99, True), (100, True), (101, False)])
def test_a_jpeg_has_at_most_a_hundred_scans(scans: int, is_read: bool) -> None:
    content = stored(picture((8, 8)), "JPEG")
    film = content[:-2] + segment(0xDA, b"")[:2] + b"\0\2" + SCAN * (scans - 2) + END
    assert decoding._count_scans(film) == scans
    if is_read:
        decoding._check_scans(io.BytesIO(film))
    else:
        with pytest.raises(ValueError, match="a JPEG of 101 scans, where at most 100"):
            decoding._check_scans(io.BytesIO(film))
        with pytest.raises(ValueError, match="a JPEG of 101 scans"):
            decode(io.BytesIO(film), FORMATS)


def test_marks_that_are_no_scans_do_not_count() -> None:
    """A profile, and a film behind the picture, hold the same two bytes."""
    content = stored(picture((8, 8)), "JPEG")
    profile = segment(0xE2, b"\xff\xda\0\2" * 300)
    given = content[:2] + profile + content[2:] + SCAN * 300
    assert decode(io.BytesIO(given), FORMATS).size == (8, 8)


def test_a_mark_across_two_blocks_is_counted() -> None:
    """A block has 2^20 bytes, and marks stand on both sides of each of its ends."""
    marks = bytearray(segment(0xFE, b"") * 2)
    content = SOI + bytes(marks)
    content += bytes((1 << 20) - 1 - len(content)) + SCAN * 101
    assert content[(1 << 20) - 1 : (1 << 20) + 1] == b"\xff\xda"
    with pytest.raises(ValueError, match="a JPEG of 101 scans"):
        decoding._check_scans(io.BytesIO(content))


# --- limits


@pytest.mark.parametrize(
    ("size", "file_bytes", "message"),
    [
        ((40, 25), 1, None),  # few pixels in any file
        ((1001, 1), 1, "1,001 x 1 pixels in 1 bytes: so small a file is a blank page"),
        ((1, 1001), 1, "1 x 1,001 pixels in 1 bytes: so small a file is a blank page"),
        ((100, 20), 2, None),
        ((2001, 1), 2, "blank page"),
        ((200, 50), 999, None),
        ((10_001, 1), 999, r"where Pillow decodes at most 10,000 pixels"),
    ],
)
def test_pixels_are_as_many_as_the_file_can_hold(
    size: tuple[int, int], file_bytes: int, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "SMALL", 1000)
    monkeypatch.setattr(decoding, "MAX_PIXELS_PER_BYTE", 1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    if message is None:
        decoding._check_pixels(size, file_bytes)
    else:
        with pytest.raises(ValueError, match=message):
            decoding._check_pixels(size, file_bytes)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    decoding._check_pixels((10_001, 1), 999)


@pytest.mark.parametrize(
    ("kind", "mode", "each"), [("PNG", "RGB", 8), ("PNG", "RGBA", 20), ("WEBP", "RGB", 20)]
)
def test_a_large_picture_needs_two_copies_or_five(
    kind: str, mode: str, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = stored(picture((20, 30), mode), kind)
    monkeypatch.setattr(decoding, "LARGE", 599)
    monkeypatch.setattr(decoding, "available_memory", lambda: 600 * each)
    assert decode(io.BytesIO(content), FORMATS).size == (20, 30)
    monkeypatch.setattr(decoding, "available_memory", lambda: 600 * each - 1)
    with pytest.raises(ValueError, match=f"20 x 30 pixels take {600 * each:,} bytes to decode"):
        decode(io.BytesIO(content), FORMATS)
    monkeypatch.setattr(decoding, "LARGE", 600)
    assert decode(io.BytesIO(content), FORMATS).size == (20, 30)


def test_a_file_has_at_most_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    content = stored(picture((4, 4), "RGBA"), "PNG")
    monkeypatch.setattr(decoding, "MAX_BYTES", len(content))
    decode(io.BytesIO(content), FORMATS)
    assert read_colours(io.BytesIO(content), FORMATS).transparent
    monkeypatch.setattr(decoding, "MAX_BYTES", len(content) - 1)
    with pytest.raises(ValueError, match=f"{len(content)} bytes, where at most"):
        decode(io.BytesIO(content), FORMATS)
    assert read_colours(io.BytesIO(content), FORMATS) == Colours()


def test_a_format_that_is_not_asked_for_is_not_opened() -> None:
    content = io.BytesIO(stored(picture((4, 4)), "PNG"))
    with pytest.raises(OSError, match="cannot identify image file"):
        decode(content, ("JPEG", "WEBP"))
    with pytest.raises(OSError, match="a git-lfs pointer"):
        decode(io.BytesIO(b"version https://git-lfs.github.com/spec/v1\n"), FORMATS)
