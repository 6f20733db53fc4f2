"""Each benchmark in miniature, in the layout that torchvision downloads."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from purescope.datasets import Dataset, available_datasets, load_dataset
from purescope.datasets._torchvision import BENCHMARKS
from purescope.errors import DatasetError
from purescope.prompts import words_for


def save(file: Path, shade: int, mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 4), shade).convert(mode).save(file, lossless=True)


def cifar(root: Path, folder: str, key: str, names: list[str], files: list[str], meta: str, meta_key: str) -> None:
    (root / folder).mkdir(parents=True)
    for offset, file in enumerate(files):
        data = np.full((len(names), 3 * 32 * 32), 40 * offset, dtype=np.uint8)
        data += np.arange(len(names), dtype=np.uint8)[:, None]
        (root / folder / file).write_bytes(pickle.dumps({"data": data, key: list(range(len(names)))[::-1]}))
    (root / folder / meta).write_bytes(pickle.dumps({meta_key: names}))


def make_cifar10(root: Path) -> None:
    files = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    cifar(
        root,
        "cifar-10-batches-py",
        "labels",
        ["airplane", "cat", "dog"],
        files,
        "batches.meta",
        "label_names",
    )


def make_cifar100(root: Path) -> None:
    names = ["aquarium_fish", "bee"]
    cifar(root, "cifar-100-python", "fine_labels", names, ["train", "test"], "meta", "fine_label_names")


def make_stl10(root: Path) -> None:
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    images = np.stack([np.full((3, 96, 96), shade, dtype=np.uint8) for shade in (5, 6)])
    (folder / "test_X.bin").write_bytes(images.tobytes())
    (folder / "test_y.bin").write_bytes(np.array([2, 1], dtype=np.uint8).tobytes())
    (folder / "class_names.txt").write_text("airplane\nbird\n")


def make_food101(root: Path) -> None:
    folder = root / "food-101"
    (folder / "meta").mkdir(parents=True)
    listed = {"apple_pie": ["apple_pie/1", "apple_pie/2"], "sushi": ["sushi/9"]}
    (folder / "meta" / "test.json").write_text(json.dumps(listed))
    for shade, name in enumerate(["apple_pie/1", "apple_pie/2", "sushi/9"]):
        save(folder / "images" / f"{name}.jpg", shade)


def make_caltech101(root: Path) -> None:
    folder = root / "caltech101" / "101_ObjectCategories"
    save(folder / "BACKGROUND_Google" / "image_0001.jpg", 99)
    save(folder / "Faces_easy" / "image_0001.jpg", 0, mode="L")  # the real one has greyscale images, too
    save(folder / "yin_yang" / "image_0001.jpg", 1)
    save(folder / "yin_yang" / "image_0002.jpg", 2)


def make_pets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "test.txt").write_text("Maine_Coon_1 1 1 1\nbasset_hound_7 2 2 1\n")
    save(folder / "images" / "Maine_Coon_1.jpg", 0)
    save(folder / "images" / "basset_hound_7.jpg", 1)


def make_dtd(root: Path) -> None:
    folder = root / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    (folder / "labels" / "test1.txt").write_text("banded/banded_1.jpg\npolka-dotted/polka-dotted_1.jpg\n")
    save(folder / "images" / "banded" / "banded_1.jpg", 0)
    save(folder / "images" / "polka-dotted" / "polka-dotted_1.jpg", 1)


def make_eurosat(root: Path) -> None:
    save(root / "eurosat" / "2750" / "AnnualCrop" / "AnnualCrop_1.jpg", 0)
    save(root / "eurosat" / "2750" / "SeaLake" / "SeaLake_1.jpg", 1)


MINIATURES: dict[str, tuple[Callable[[Path], None], list[str], list[int], list[int]]] = {
    # name: how it is made, raw class names, labels, shades
    "cifar10": (make_cifar10, ["airplane", "cat", "dog"], [2, 1, 0], [200, 201, 202]),
    "cifar100": (make_cifar100, ["aquarium_fish", "bee"], [1, 0], [40, 41]),
    "food101": (make_food101, ["apple_pie", "sushi"], [0, 0, 1], [0, 1, 2]),
    "caltech101": (make_caltech101, ["Faces_easy", "yin_yang"], [0, 1, 1], [0, 1, 2]),
    "pets": (make_pets, ["Maine Coon", "Basset Hound"], [0, 1], [0, 1]),
    "dtd": (make_dtd, ["banded", "polka-dotted"], [0, 1], [0, 1]),
    "eurosat": (make_eurosat, ["AnnualCrop", "SeaLake"], [0, 1], [0, 1]),
    "stl10": (make_stl10, ["airplane", "bird"], [1, 0], [5, 6]),
}


@pytest.fixture
def any_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR and STL-10 are verified by checksum, which a miniature cannot have."""
    for module in (torchvision.datasets.cifar, torchvision.datasets.stl10):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).parent.is_dir())


def shades(dataset: Dataset) -> list[int]:
    return [int(np.asarray(dataset.images[i])[0, 0, 1]) for i in range(len(dataset))]


def test_every_benchmark_has_a_miniature_and_words() -> None:
    assert set(MINIATURES) == set(BENCHMARKS)
    for name in BENCHMARKS:
        words_for(name)


@pytest.mark.parametrize("name", MINIATURES)
@pytest.mark.usefixtures("any_checksum")
def test_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    make, classes, labels, expected_shades = MINIATURES[name]
    make(tmp_path)
    dataset = load_dataset(name.upper(), data_root=tmp_path)
    assert (dataset.name, dataset.spec) == (name, name)
    assert list(dataset.classes) == classes
    assert dataset.labels.tolist() == labels
    assert shades(dataset) == expected_shades
    assert {dataset.images[i].mode for i in range(len(dataset))} == {"RGB"}
    assert dataset.templates == words_for(name).templates


@pytest.mark.parametrize("name", MINIATURES)
def test_missing_says_where_it_was_looked_for_and_leaves_no_trace(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        load_dataset(name, data_root=tmp_path)
    assert str(tmp_path / BENCHMARKS[name].folder) in str(caught.value)
    assert "--download" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_of_data_sets() -> None:
    with pytest.raises(DatasetError, match="--data-root"):
        load_dataset("dtd")


def test_damaged_files_are_said_to_be_damaged(tmp_path: Path) -> None:
    make_cifar10(tmp_path)  # with checksums that are wrong, and known to be
    with pytest.raises(DatasetError, match=r"cifar10 in .*cifar-10-batches-py cannot be read: .*corrupted"):
        load_dataset("cifar10", data_root=tmp_path)


def test_half_a_folder(tmp_path: Path) -> None:
    make_dtd(tmp_path)
    (tmp_path / "dtd" / "dtd" / "labels" / "test1.txt").unlink()
    with pytest.raises(DatasetError, match=r"dtd in .* cannot be read: .*test1\.txt"):
        load_dataset("dtd", data_root=tmp_path)


def test_a_failed_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(torchvision.datasets.dtd, "download_and_extract_archive", offline)
    with pytest.raises(DatasetError, match="cannot be fetched or read: no route to host"):
        load_dataset("dtd", data_root=tmp_path, download=True)


def test_nothing_is_downloaded_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def download(self: torchvision.datasets.EuroSAT) -> None:
        fetched.append(self.root)
        make_eurosat(tmp_path)

    monkeypatch.setattr(torchvision.datasets.EuroSAT, "download", download)
    with pytest.raises(DatasetError):
        load_dataset("eurosat", data_root=tmp_path)
    assert fetched == []
    assert len(load_dataset("eurosat", data_root=tmp_path, download=True)) == 2
    assert fetched == [str(tmp_path)]


def test_a_listed_image_that_is_gone_is_named_or_skipped(tmp_path: Path) -> None:
    make_food101(tmp_path)
    (tmp_path / "food-101" / "images" / "apple_pie" / "1.jpg").unlink()
    with pytest.raises(DatasetError, match=r"image food-101/images/apple_pie/1\.jpg"):
        load_dataset("food101", data_root=tmp_path).images[0]
    kept = load_dataset("food101", data_root=tmp_path, on_bad_image="skip")
    assert (kept.labels.tolist(), shades(kept)) == ([0, 1], [1, 2])


@pytest.mark.usefixtures("any_checksum")
def test_fingerprint_covers_pixels_and_file_contents(tmp_path: Path) -> None:
    make_stl10(tmp_path)
    make_eurosat(tmp_path)
    before = [load_dataset(name, data_root=tmp_path).fingerprint for name in ("stl10", "eurosat")]
    images = tmp_path / "stl10_binary" / "test_X.bin"
    images.write_bytes(b"\7" + images.read_bytes()[1:])
    save(tmp_path / "eurosat" / "2750" / "SeaLake" / "SeaLake_1.jpg", 200)
    after = [load_dataset(name, data_root=tmp_path).fingerprint for name in ("stl10", "eurosat")]
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_listing_says_what_is_there(tmp_path: Path) -> None:
    make_eurosat(tmp_path)
    rows = {row.spec: row for row in available_datasets(tmp_path)}
    assert [name for name in BENCHMARKS if rows[name].present] == ["eurosat"]
    assert "--data-root" in rows["dtd"].get
    assert rows["eurosat"].get == ""
    assert (rows["food101"].images, rows["food101"].classes) == (25_250, 101)
