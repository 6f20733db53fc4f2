from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from purescope.errors import InputError
from purescope.models.model import OPENAI_PREPROCESS, Preprocess

IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(width * 1000 + height).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )
    return Image.fromarray(values).convert(mode)


def by_torchvision(preprocess: Preprocess, image: Image.Image) -> Tensor:
    from torchvision import transforms

    size = (preprocess.size, preprocess.size) if preprocess.resize == "squash" else preprocess.size
    steps = [
        transforms.Resize(size, transforms.InterpolationMode(preprocess.interpolation)),
        transforms.CenterCrop(preprocess.size),
        transforms.ToTensor(),
        transforms.Normalize(preprocess.mean, preprocess.std),
    ]
    result: Tensor = transforms.Compose(steps)(image.convert("RGB"))
    return result


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 40),
    st.sampled_from(["bicubic", "bilinear"]),
    st.sampled_from(["shortest", "squash"]),
    st.sampled_from(["RGB", "L", "RGBA", "P", "CMYK"]),
)
def test_equal_to_torchvision(
    width: int, height: int, size: int, interpolation: str, resize: str, mode: str
) -> None:
    preprocess = Preprocess(size, **IMAGENET, interpolation=interpolation, resize=resize)
    image = noise(width, height, mode)
    found = preprocess.normalise(preprocess.pixels(image)[None])[0]
    assert torch.equal(found, by_torchvision(preprocess, image))


@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (224, 300), (224, 224), (2, 1000)])
def test_equal_to_torchvision_at_the_size_of_photographs(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    found = OPENAI_PREPROCESS.normalise(OPENAI_PREPROCESS.pixels(image)[None])[0]
    assert torch.equal(found, by_torchvision(OPENAI_PREPROCESS, image))


def test_an_image_of_the_right_size_is_only_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(64, 64)
    monkeypatch.delattr(Image.Image, "resize")
    monkeypatch.delattr(Image.Image, "convert")
    monkeypatch.delattr(Image.Image, "crop")
    pixels = Preprocess(64, **IMAGENET).pixels(image)
    assert pixels.permute(1, 2, 0).numpy().tobytes() == image.tobytes()


def test_the_pixels_belong_to_the_caller() -> None:
    image = noise(4, 4)
    before = image.tobytes()
    Preprocess(4, **IMAGENET).pixels(image).zero_()
    assert image.tobytes() == before


@pytest.mark.parametrize("mode", ["F", "I", "I;16"])
def test_numbers_that_would_be_cut_off_are_refused(mode: str) -> None:
    with pytest.raises(InputError, match=f"an image of mode {mode}"):
        Preprocess(4, **IMAGENET).pixels(Image.new(mode, (4, 4)))


def test_normalise_leaves_its_input() -> None:
    batch = torch.full((2, 3, 4, 4), 7, dtype=torch.uint8)
    Preprocess(4, **IMAGENET).normalise(batch)
    assert (batch == 7).all()


def test_openai_values() -> None:
    from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    assert (OPENAI_PREPROCESS.mean, OPENAI_PREPROCESS.std) == (
        OPENAI_DATASET_MEAN,
        OPENAI_DATASET_STD,
    )
    assert (OPENAI_PREPROCESS.size, OPENAI_PREPROCESS.interpolation) == (224, "bicubic")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interpolation": "bicubc"}, "did you mean 'bicubic'"),
        ({"resize": "squish"}, "did you mean 'squash'"),
        ({"size": 0}, "size 0"),
        ({"std": (0.5, 0.0, 0.5)}, "no zero"),
    ],
)
def test_what_is_no_preprocess(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Preprocess(**{"size": 8, **IMAGENET, **change})


@pytest.mark.parametrize("shape", [(3, 1010), (1010, 3)])
def test_only_what_is_kept_of_a_line_is_resized(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resize 3 x 4,000 pixels without 268 MB for 224 x 298,666 first; only rounding may differ."""
    sizes: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def spy(image: Image.Image, size: tuple[int, int], *args: Any, **options: Any) -> Image.Image:
        sizes.append(size)
        return resize(image, size, *args, **options)

    image = noise(*shape)
    whole = [224 * side // 3 for side in shape]
    left, top = (round((side - 224) / 2) for side in whole)
    expected = np.asarray(resize(image, whole, Image.Resampling.BICUBIC))[
        top : top + 224, left : left + 224
    ]
    monkeypatch.setattr(Image.Image, "resize", spy)
    found = OPENAI_PREPROCESS.pixels(image).permute(1, 2, 0).numpy()
    assert sizes == [(224, 224)]
    assert abs(found.astype(int) - expected).max() <= 1
