"""Test how transparency, deep grey and CMYK become RGB under both protocols, and the notes."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from purescope.datasets import load_dataset
from purescope.datasets.dataset import Dataset, drop_bad_images
from purescope.datasets.decoding import Colours, keep_grey_and_cmyk, read_colours
from purescope.datasets.images import LazyImages, images_for, open_rgb
from purescope.errors import DatasetError
from purescope.features.extraction import extract
from purescope.maths.overlaps import Projections
from purescope.models.model import Model, Preprocess

SHADES = np.array([[0, 1, 127], [128, 254, 255]], dtype=np.uint8)
FORMATS = ("PNG", "TIFF", "PPM", "WEBP", "GIF", "JPEG")


def stored(image: Image.Image, kind: str, **options: object) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


def deep(values: np.ndarray, kind: str, **options: object) -> io.BytesIO:
    return stored(Image.fromarray(values), kind, **options)


def twelve_bits(values: np.ndarray) -> io.BytesIO:
    """Return a TIFF of one strip with 12 bits a value; the number of columns must be even."""
    pairs = values.astype(int).reshape(-1, 2)
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs.tolist())
    height, width = values.shape
    tags = [
        (256, width),
        (257, height),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
    ]
    tags += [(279, len(packed))]
    strip = packed + b"\0" * (len(packed) % 2)
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in tags
    )
    start = b"II*\0" + (8 + len(strip)).to_bytes(4, "little")
    return io.BytesIO(start + strip + len(tags).to_bytes(2, "little") + entries + bytes(4))


WIDE = SHADES.astype(np.uint16) * 257
DEEP: dict[str, Callable[[], io.BytesIO]] = {
    "png": lambda: deep(WIDE, "PNG"),
    "tiff": lambda: deep(WIDE, "TIFF"),
    "tiff of the other end": lambda: deep(WIDE.astype(">u2"), "TIFF"),
    "tiff in which white is 0": lambda: deep(65535 - WIDE, "TIFF", tiffinfo={262: 0}),
    "pgm": lambda: deep(WIDE, "PPM"),
    "pgm of ten bits": lambda: io.BytesIO(
        b"P5 3 2 1023\n" + (SHADES.astype(int) * 1023 // 255).astype(">u2").tobytes()
    ),
}


@pytest.mark.parametrize("kind", DEEP)
def test_grey_of_sixteen_bits_is_as_light_as_it_was(kind: str) -> None:
    pixels = np.asarray(open_rgb(DEEP[kind](), "x"))
    assert abs(pixels[..., 0].astype(int) - SHADES).max() <= (kind == "pgm of ten bits")
    assert (pixels == pixels[..., :1]).all()
    assert read_colours(DEEP[kind](), FORMATS) == Colours(deep=True)


def test_grey_of_twelve_bits() -> None:
    values = np.array([[0, 16], [2048, 4095]])
    assert np.asarray(open_rgb(twelve_bits(values), "x"))[..., 1].tolist() == [[0, 1], [128, 255]]


@pytest.mark.parametrize("kind", ["float32", "int32", "int16"])
def test_numbers_without_a_range_are_refused_by_name(kind: str) -> None:
    file = (
        deep(WIDE, "TIFF", tiffinfo={339: 2})
        if kind == "int16"
        else deep(WIDE.astype(kind), "TIFF")
    )
    with pytest.raises(
        DatasetError, match=r"image cat/7\.tif: it holds .* save it with 8 or 16 bits a channel"
    ):
        open_rgb(file, "cat/7.tif")


def transparent(mode: str) -> Image.Image:
    """Return black pixels: opaque, half transparent (not in palettes and keys) and transparent."""
    image = Image.fromarray(
        np.array([[[0, 0, 0, 255], [0, 0, 0, 128], [0, 0, 0, 0]]], dtype=np.uint8), "RGBA"
    )
    if mode in ("RGBA", "LA"):
        return image.convert(mode)
    grey = Image.fromarray(np.array([[0, 0, 9]], dtype=np.uint8), "L")
    if mode in ("P", "P bytes"):
        grey.putpalette([0] * 30)
        grey = Image.frombytes("P", grey.size, grey.tobytes())
        grey.putpalette([0, 0, 0] * 10)
    return grey.convert("RGB") if mode == "RGB key" else grey


@pytest.mark.parametrize(
    ("mode", "kind", "options", "lightness"),
    [
        ("RGBA", "PNG", {}, [0, 127, 255]),
        ("LA", "PNG", {}, [0, 127, 255]),
        ("RGBA", "WEBP", {"lossless": True, "exact": True}, [0, 127, 255]),
        ("RGBA", "TIFF", {}, [0, 127, 255]),
        ("L key", "PNG", {"transparency": 9}, [0, 0, 255]),
        ("RGB key", "PNG", {"transparency": (9, 9, 9)}, [0, 0, 255]),
        ("P", "PNG", {"transparency": 9}, [0, 0, 255]),
        ("P bytes", "PNG", {"transparency": bytes([255] * 9 + [0])}, [0, 0, 255]),
        ("P", "GIF", {"transparency": 9}, [0, 0, 255]),
    ],
)
def test_white_is_behind_what_is_transparent(
    mode: str, kind: str, options: dict[str, object], lightness: list[int]
):
    file = stored(transparent(mode), kind, **options)
    assert np.asarray(open_rgb(file, "x"))[0, :, 0].tolist() == lightness
    assert read_colours(file, FORMATS) == Colours(transparent=True)


def test_a_value_of_sixteen_bits_that_is_clear() -> None:
    file = stored(Image.fromarray(WIDE), "PNG", transparency=0)
    assert np.asarray(open_rgb(file, "x"))[0, :, 0].tolist() == [255, 1, 127]


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK"])
def test_plain_images_are_as_pillow_converts_them(mode: str) -> None:
    image = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    ).convert(mode)
    file = stored(image, "TIFF")
    assert open_rgb(file, "x").tobytes() == image.convert("RGB").tobytes()
    assert read_colours(file, FORMATS) == Colours()


def save_set(root: Path) -> None:
    """Save a cat with a transparent background and a dog without."""
    for name, alpha in (("cat", 0), ("dog", 255)):
        (root / name).mkdir(parents=True)
        image = Image.new("RGBA" if alpha == 0 else "RGB", (4, 4), (9, 9, 9, alpha))
        image.save(root / name / "1.png")


@pytest.fixture
def icons(tmp_path: Path) -> Dataset:
    save_set(tmp_path / "icons")
    with pytest.warns(
        UserWarning, match="1 of 2 images have transparency: they get a white background"
    ):
        return load_dataset(f"folder:{tmp_path / 'icons'}")


def lightness(images: object) -> list[int]:
    return [int(np.asarray(images[row])[0, 0, 0]) for row in range(2)]  # type: ignore[index]


def test_protocol_paper_drops_transparency_as_the_script_does(icons: Dataset) -> None:
    assert lightness(icons.images) == [255, 9]
    assert lightness(images_for(icons.images, "native")) == [255, 9]
    assert lightness(images_for(icons.images, "paper")) == [9, 9]
    assert lightness(images_for(drop_bad_images(icons).images, "paper")) == [9, 9]


def eye() -> Model:
    """Return a model that gives the lightness of the first pixel, with the paper's preprocess."""
    return Model(
        label="eye",
        spec="made by hand",
        weight_space=Projections(torch.eye(2), torch.eye(2)),
        neurons=2,
        preprocess=Preprocess(
            2, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        ),
        encode_image=lambda pixels: torch.stack(
            [pixels[:, 0, 0, 0], torch.ones(len(pixels))], dim=1
        ),
        encode_text=lambda texts: torch.ones(len(texts), 2),
        identity={"weights": "0"},
    )


def test_features_of_one_protocol_are_not_taken_from_the_cache_for_the_other(
    icons: Dataset, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    native, paper = (
        extract(eye(), icons, protocol=name, cache=cache).image for name in ("native", "paper")
    )
    assert not torch.equal(native[0], paper[0]) and torch.equal(native[1], paper[1])
    for name, rows in (("native", native), ("paper", paper)):
        assert torch.equal(extract(eye(), icons, protocol=name, cache=cache).image, rows)


def test_plain_images_are_the_same_under_both_protocols(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "set" / name / "1.png")
    images = load_dataset(f"folder:{tmp_path / 'set'}").images
    assert images_for(images, "paper") is images


def test_the_dataset_has_the_notes(icons: Dataset) -> None:
    (note,) = icons.notes
    assert "1 of 2 images have transparency" in note


def test_how_an_image_is_read_is_in_the_fingerprint(
    icons: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old caches may hold features of the same bytes under Pillow's own conversion."""
    monkeypatch.setattr("purescope.datasets.images.read_colours", lambda file, formats: Colours())
    assert load_dataset(icons.spec).fingerprint != icons.fingerprint


def test_resized_before_it_becomes_rgb() -> None:
    """CLIP's own transform does it so: the filter runs over four inks, not three colours."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    image = Image.fromarray(noise, "CMYK")
    small = image.resize((8, 10), Image.Resampling.BICUBIC).crop((0, 1, 8, 9)).convert("RGB")
    mean = std = (0.5, 0.5, 0.5)
    first = Preprocess(8, mean, std, resize_first=True).pixels(image)
    assert first.permute(1, 2, 0).numpy().tobytes() == small.tobytes()
    assert not torch.equal(first, Preprocess(8, mean, std).pixels(image))
    assert open_rgb(stored(image, "TIFF"), "x", convert=keep_grey_and_cmyk).mode == "CMYK"


def test_select_lazy_images() -> None:
    images = LazyImages(
        lambda row: Image.new("L", (1, 1), row), 9, lambda row: Image.new("L", (1, 1), 100 + row)
    )
    some = images.select([4, 2])
    assert [some[row].getpixel((0, 0)) for row in range(2)] == [4, 2]
    assert [some.paper_images[row].getpixel((0, 0)) for row in range(2)] == [104, 102]
