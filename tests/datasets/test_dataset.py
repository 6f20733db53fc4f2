import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from purescope.datasets.dataset import Dataset, drop_bad_images, fingerprint
from purescope.datasets.images import LazyImages, hash_files, open_rgb
from purescope.errors import DatasetError
from tests.logs import logged


def dataset(shades: list[int], labels: Any, **changes: Any) -> Dataset:
    """Return a dataset of grey images; an image with a negative shade cannot be read."""

    def read(index: int) -> Image.Image:
        if shades[index] < 0:
            raise DatasetError(f"image {index}.png: damaged")
        return Image.new("RGB", (2, 2), (shades[index],) * 3)

    fields: dict[str, Any] = {
        "name": "greys",
        "spec": "made by hand",
        "classes": ("dark", "light"),
        "labels": torch.as_tensor(labels),
        "images": LazyImages(read, len(shades)),
        "display_names": ("dark", "light"),
        "templates": ("a {} grey",),
        "source": {"licence": "CC0"},
        "fingerprint": "f",
    }
    return Dataset(**{**fields, **changes})


def shade(image: Image.Image) -> int:
    return int(image.getpixel((0, 0))[0])  # type: ignore[index]


def test_a_class_may_be_empty() -> None:
    assert len(dataset([1, 2], [1, 1])) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.tensor([0, 1, 2, 3])}, "the label 2 of image 2"),
        ({"labels": torch.tensor([0, 1, -1, 9])}, "the label -1 of image 2"),
        ({"labels": torch.tensor([0, 1, 1])}, "shape [3]"),
        ({"images": [], "labels": torch.tensor([], dtype=torch.int64)}, "no image"),
        ({"classes": ("dark",), "display_names": ("dark",)}, "one class, 'dark'"),
        ({"display_names": ("dark",)}, "1 display names"),
        ({"templates": ("grey",)}, "the template 'grey'"),
        ({"templates": ("{} or {}",)}, "the template '{} or {}'"),
        ({"templates": ()}, "the template ''"),
        ({"name": ""}, "has no name"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        dataset([1, 2, 3, 4], **{"labels": [0, 1, 0, 1], **changes})
    assert message in str(caught.value)


def test_skipping_keeps_labels_and_images_in_step() -> None:
    # The shade determines the label, so a shift of one against the other is visible.
    shades = [10, -1, 200, 20, -1, -1, 210, 30]
    labels = [0, 1, 1, 0, 0, 1, 1, 0]
    whole = dataset(shades, labels)
    with logged() as told:
        kept = drop_bad_images(whole)
    assert [shade(kept.images[i]) for i in range(len(kept))] == [10, 200, 20, 210, 30]
    assert kept.labels.tolist() == [0, 1, 0, 1, 0]
    assert kept.skipped == ("image 1.png: damaged", "image 4.png: damaged", "image 5.png: damaged")
    assert kept.source == {"licence": "CC0", "skipped": "3"}
    assert kept.fingerprint != whole.fingerprint
    assert "skipped 3 of 8" in told.getvalue()
    with pytest.raises(IndexError):
        kept.images[5]


def test_skipping_nothing_changes_nothing() -> None:
    whole = dataset([1, 2], [0, 1])
    assert drop_bad_images(whole) is whole


def test_which_images_were_skipped_is_part_of_the_fingerprint() -> None:
    first, last = dataset([-1, 2, 3], [0, 0, 0]), dataset([1, 2, -1], [0, 0, 0])
    assert drop_bad_images(first).fingerprint != drop_bad_images(last).fingerprint


def test_skipping_everything() -> None:
    with pytest.raises(DatasetError, match="none of the 2 images of greys"):
        drop_bad_images(dataset([-1, -1], [0, 1]))


def test_other_errors_are_not_taken_for_broken_images() -> None:
    def read(index: int) -> Image.Image:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drop_bad_images(replace(dataset([1, 2], [0, 1]), images=LazyImages(read, 2)))


def test_fingerprint_depends_on_each_part() -> None:
    labels = torch.tensor([0, 1])
    base = fingerprint(["a", "b"], labels, [b"x"])
    assert base == fingerprint(["a", "b"], labels, iter([b"x"]))
    assert len({
        base,
        fingerprint(["a", "c"], labels, [b"x"]),
        fingerprint(["ab", ""], labels, [b"x"]),
        fingerprint(["a", "b"], 1 - labels, [b"x"]),
        fingerprint(["a", "b"], labels, [b"y"]),
    }) == 5  # fmt: skip


def test_hash_files_tell_names_and_bytes(tmp_path: Path) -> None:
    first, other = tmp_path / "one", tmp_path / "two"
    first.write_bytes(b"abc")
    other.write_bytes(b"abc")

    def contents(*paths: Path) -> list[bytes]:
        return list(hash_files(paths, tmp_path))

    before = contents(first)
    assert before == [b"one\0" + hashlib.sha256(b"abc").digest()]
    assert before != contents(other), "the name counts"
    assert contents(first, tmp_path / "missing") == [
        *before,
        b"missing\0" + hashlib.sha256(b"").digest(),
    ]
    first.write_bytes(b"abd")
    assert contents(first) != before, "bytes count"


@pytest.mark.slow
def test_an_image_of_the_same_size_in_a_large_file_is_another(tmp_path: Path) -> None:
    """Early versions took the size of such a file for its hash; the file is sparse."""
    path = tmp_path / "large.bmp"
    with path.open("wb") as file:
        file.truncate(201 * 2**20)
    before = list(hash_files([path], tmp_path))
    with path.open("r+b") as file:
        file.seek(100 * 2**20)
        file.write(b"x")
    assert list(hash_files([path], tmp_path)) != before


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "1", "CMYK", "I;16"])
def test_every_mode_is_read_as_rgb(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "image.tif"
    Image.new(mode, (3, 2)).save(file)
    assert (open_rgb(file, "image").mode, open_rgb(file, "image").size) == ("RGB", (3, 2))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "ppm"])
@pytest.mark.parametrize("damage", ["empty", "text", "half"])
def test_a_broken_image_is_named(tmp_path: Path, suffix: str, damage: str) -> None:
    file = tmp_path / f"image.{suffix}"
    Image.radial_gradient("L").convert("RGB").save(file)
    content = {
        "empty": b"",
        "text": b"not an image",
        "half": file.read_bytes()[: file.stat().st_size // 2],
    }
    file.write_bytes(content[damage])
    with pytest.raises(DatasetError, match=r"image cats/7: "):
        open_rgb(file, "cats/7")


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"image cats/7: .*No such file"):
        open_rgb(tmp_path / "gone.png", "cats/7")


def test_orientation_in_exif_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.new("RGB", (4, 2)).save(tmp_path / "image.jpg", exif=exif)
    assert open_rgb(tmp_path / "image.jpg", "image").size == (4, 2)


def test_a_picture_that_is_a_program_is_not_run(tmp_path: Path) -> None:
    """Pillow would start Ghostscript for EPS, whatever the name of the file."""
    Image.new("RGB", (4, 2)).save(tmp_path / "image.eps")
    (tmp_path / "image.eps").rename(tmp_path / "image.jpg")
    with pytest.raises(DatasetError, match="image cats/7: cannot identify"):
        open_rgb(tmp_path / "image.jpg", "cats/7")


def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / name).write_bytes(b"x")
    contents = hash_files([tmp_path / name], tmp_path)
    assert [content[:3] for content in contents] == [b"caf"]
