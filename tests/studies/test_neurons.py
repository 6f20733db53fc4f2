"""A model's neurons in their weights, the general vocabulary, and small pictures."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from purescope.datasets.dataset import Dataset
from purescope.datasets.prompts import vocabulary
from purescope.errors import DatasetError, InputError
from purescope.files.npz import read_cosines, write_cosines
from purescope.maths.overlaps import Projections
from purescope.models.model import Model, Preprocess
from purescope.studies.neurons import (
    cosine_maps,
    neuron_portraits,
    thumbnail,
    thumbnail_table,
    vocabulary_table,
)
from purescope.tables.columns import VOCABULARY
from tests import oracles

NEURONS = 12


def gaussian(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def projections() -> Projections:
    image = gaussian(NEURONS, 9, seed=0)
    image[4] = 0
    return Projections(image, gaussian(NEURONS, 5, seed=1))


# --- weights


def test_neurons_have_their_overlaps_and_ranks() -> None:
    given = projections()
    table = neuron_portraits("clip", given).set_index("neuron").sort_index()
    total = oracles.total_overlap(given.image.tolist(), given.text.tolist())
    assert table.total_overlap.tolist() == pytest.approx(total, nan_ok=True)
    assert table.image_overlap.tolist() == pytest.approx(
        oracles.overlap(given.image.tolist()), nan_ok=True
    )
    assert (1 / table.text_purity).tolist() == pytest.approx(oracles.overlap(given.text.tolist()))
    assert table.sort_values("rank").index.tolist() == oracles.order(total)
    assert table["rank"][4] == NEURONS and np.isnan(table.image_purity[4])


def test_random_overlaps_are_those_of_gaussian_weights_of_that_width() -> None:
    table = neuron_portraits("clip", Projections(torch.eye(400, 60), torch.eye(400, 9)), seed=3)
    for tower, width in (("image", 60), ("text", 9)):
        values = table[f"{tower}_random"]
        assert values.is_monotonic_increasing
        # E|cos| of two Gaussian directions is Gamma(w/2) / (sqrt(pi) Gamma((w+1)/2))
        expected = torch.lgamma(torch.tensor(width / 2)) - torch.lgamma(
            torch.tensor((width + 1) / 2)
        )
        assert values.mean() == pytest.approx(float(expected.exp()) / np.pi**0.5, rel=0.01)
    again = neuron_portraits("clip", Projections(torch.eye(400, 60), torch.eye(400, 9)), seed=3)
    pd.testing.assert_frame_equal(table, again, check_exact=True)


def test_a_model_without_projections_has_no_rows() -> None:
    assert neuron_portraits("clip", None).empty


def test_cosines_are_of_all_pairs_in_their_own_numbering() -> None:
    given = projections()
    maps = cosine_maps(given)
    for tower in ("image", "text"):
        rows = getattr(given, tower).tolist()
        expected = [[oracles.cosine(a, b) for b in rows] for a in rows]
        assert maps[tower].dtype == np.float16
        np.testing.assert_allclose(maps[tower], expected, atol=1e-3)


def test_kept_cosines_come_back(tmp_path: Path) -> None:
    given = projections()
    assert read_cosines(tmp_path, "CC3M LaCLIP") is None
    write_cosines(cosine_maps(given), tmp_path, "CC3M LaCLIP")
    assert [path.name for path in tmp_path.iterdir()] == ["cosines_cc3m_laclip.npz"]
    again = read_cosines(tmp_path, "CC3M LaCLIP")
    assert again is not None and list(again) == ["image", "text"]
    for tower, cosines in cosine_maps(given).items():
        np.testing.assert_array_equal(again[tower], cosines.astype(np.float32))


@pytest.mark.parametrize("length", [0, 30, -40])
def test_cosines_that_cannot_be_read_are_an_error(tmp_path: Path, length: int) -> None:
    write_cosines(cosine_maps(projections()), tmp_path, "clip")
    path = tmp_path / "cosines_clip.npz"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"cosines_clip\.npz cannot be read(.|\n)*run the command"):
        read_cosines(tmp_path, "clip")


# --- the vocabulary


@pytest.mark.slow  # imports open_clip
def test_the_vocabulary_goes_through_the_text_tower_once_a_model(tmp_path: Path) -> None:
    texts: list[str] = []

    def encode_text(some: list[str]) -> torch.Tensor:
        texts.extend(some)
        return torch.tensor([[len(text), "shark" in text, 1.0] for text in some])

    preprocess = Preprocess(2, (0.5,) * 3, (0.5,) * 3)
    model = Model(
        "clip", "", "", 3, preprocess, lambda pixels: pixels, encode_text, {"weights": "x"}
    )
    table = vocabulary_table(model, "native", tmp_path)
    words = vocabulary("native")
    assert texts == [f"a photo of a {word}." for word in words.names]
    assert len(set(words.names)) == len(words.names) > 900
    sharks = table[(table.neuron == 1) & (table.place <= 3)].word
    assert all("shark" in word for word in sharks)
    assert set(table.dataset) == {VOCABULARY}
    pd.testing.assert_frame_equal(
        vocabulary_table(model, "native", tmp_path), table, check_exact=True
    )
    assert len(texts) == len(words.names), "kept in the cache"
    assert vocabulary("paper").texts()[0] == "a photo of a tench"


# --- thumbnails


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "WEBP"
    return image


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 480), (48, 36)), ((30, 96), (15, 48)), ((28, 28), (28, 28)), ((3000, 2), (48, 1))],
)
def test_the_longer_side_is_48_pixels_at_most(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert opened(thumbnail(Image.new("RGB", size, "red"))).size == expected


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((0, 0, 255, 255), (20, 0, 40, 40))
    before = image.convert(mode)
    content = thumbnail(before)
    left, right = (opened(content).convert("RGB").getpixel((x, 20)) for x in (5, 35))
    assert min(left) > 240
    assert max(right[:2]) < 60
    assert before.mode == mode and before.size == (40, 40), "untouched"


def test_grey_and_palette_images_are_shown() -> None:
    for mode in ("L", "P", "CMYK", "1"):
        assert opened(thumbnail(Image.new(mode, (9, 9)))).size == (9, 9)


def noisy(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)


def dataset(name: str, images: object) -> Dataset:
    labels = torch.tensor([0, 1, 0, 1])
    return Dataset(name, "", ("a", "b"), labels, images, ("a", "b"), ("{}",), {}, name)  # type: ignore[arg-type]


EXAMPLES = pd.DataFrame({"dataset": ["x", "x", "y", "x", "features"], "image": [3, 1, 0, 3, 2]})


def test_each_image_that_examples_name_is_read_once() -> None:
    read: list[int] = []

    class Images:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Image.Image:
            read.append(index)
            return noisy(index)

    table = thumbnail_table(EXAMPLES, [dataset("x", Images()), dataset("y", [noisy(9)] * 4)])
    assert sorted(read) == [1, 3]
    assert list(zip(table.dataset, table.image, strict=True)) == [("x", 1), ("x", 3), ("y", 0)]
    assert table.thumbnail.tolist() == [
        thumbnail(noisy(1)),
        thumbnail(noisy(3)),
        thumbnail(noisy(9)),
    ]
    shown = np.asarray(opened(table.thumbnail[0]).convert("RGB"), float)
    expected = np.asarray(noisy(1).resize((48, 48), Image.Resampling.BICUBIC), float)
    assert np.abs(shown - expected).mean() < 20


def test_an_image_that_is_gone_is_left_out_and_told() -> None:
    class Images:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Image.Image:
            if index == 1:
                raise DatasetError("image 1: broken")
            return noisy(index)

    with pytest.warns(UserWarning, match="1 image of x cannot be shown, first 1"):
        table = thumbnail_table(EXAMPLES, [dataset("x", Images())])
    assert table.image.tolist() == [3]


def test_features_have_no_thumbnails() -> None:
    table = thumbnail_table(EXAMPLES, [])
    assert table.empty and list(table) == ["dataset", "image", "thumbnail"]


def test_all_images_of_a_set_may_be_gone() -> None:
    broken = replace(dataset("x", [noisy(0)] * 4), images=dataset("x", Broken()).images)
    with pytest.warns(UserWarning, match="2 images of x cannot be shown"):
        assert thumbnail_table(EXAMPLES, [broken]).empty


class Broken:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Image.Image:
        raise DatasetError(f"image {index}")
