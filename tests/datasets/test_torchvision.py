"""Test each benchmark in miniature, in the layout that torchvision downloads."""

import json
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from purescope.datasets import available_datasets, load_dataset
from purescope.datasets.images import images_for
from purescope.datasets.prompts import words_for
from purescope.datasets.torchvision import BENCHMARKS, DatasetCheck, check_datasets
from purescope.errors import DatasetError
from tests.datasets.pictures import shades

PROTOCOLS = ("native", "paper")


# Every miniature is incomplete; `test_an_incomplete_benchmark_gives_a_note` checks the note.
pytestmark = pytest.mark.filterwarnings("ignore:.* is not complete")


def save(file: Path, shade: int, mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 4), shade).convert(mode).save(file, lossless=True)


def cifar(
    root: Path, folder: str, key: str, names: list[str], files: list[str], meta: str, meta_key: str
) -> None:
    (root / folder).mkdir(parents=True)
    for offset, file in enumerate(files):
        data = np.full((len(names), 3 * 32 * 32), 40 * offset, dtype=np.uint8)
        data += np.arange(len(names), dtype=np.uint8)[:, None]
        (root / folder / file).write_bytes(
            pickle.dumps({"data": data, key: list(range(len(names)))[::-1]})
        )
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
    cifar(
        root,
        "cifar-100-python",
        "fine_labels",
        names,
        ["train", "test"],
        "meta",
        "fine_label_names",
    )


def make_stl10(root: Path) -> None:
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    images = np.stack([np.full((3, 96, 96), shade, dtype=np.uint8) for shade in (5, 6)])
    for file in ("train_X.bin", "train_y.bin", "unlabeled_X.bin"):
        (folder / file).write_bytes(b"")
    # The file holds each colour of each image column by column.
    images[0, :, 40, 3] = 77
    (folder / "test_X.bin").write_bytes(images.transpose(0, 1, 3, 2).tobytes())
    (folder / "test_y.bin").write_bytes(np.array([2, 1], dtype=np.uint8).tobytes())
    (folder / "class_names.txt").write_text("airplane\nbird\n")


def make_food101(root: Path) -> None:
    folder = root / "food-101"
    (folder / "meta").mkdir(parents=True)
    # As published: "cheesecake" before "cheese_plate", which sorts the other way.
    listed = {"cheesecake": ["cheesecake/1", "cheesecake/2"], "cheese_plate": ["cheese_plate/9"]}
    (folder / "meta" / "test.json").write_text(json.dumps(listed))
    (folder / "meta" / "train.json").write_text(json.dumps({"cheesecake": ["cheesecake/3"]}))
    (folder / "meta" / "classes.txt").write_text("cheesecake\ncheese_plate\n")
    for shade, name in enumerate(["cheesecake/1", "cheesecake/2", "cheese_plate/9"]):
        save(folder / "images" / f"{name}.jpg", shade)


def make_caltech101(root: Path) -> None:
    folder = root / "caltech101" / "101_ObjectCategories"
    save(folder / "BACKGROUND_Google" / "image_0001.jpg", 99)
    save(
        folder / "Faces_easy" / "image_0001.jpg", 1, mode="L"
    )  # the real one has greyscale images, too
    save(folder / "Faces" / "image_0001.jpg", 0)
    save(folder / "accordion" / "image_0001.jpg", 2)
    save(folder / "accordion" / "image_0002.jpg", 3)
    (root / "caltech101" / "Annotations" / "Faces_2").mkdir(parents=True)


def make_pets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    # Labels start at 1 and follow the alphabet without regard to case: neither the order of lines
    # nor of sorted names.
    lines = ["Bengal_3 3 1 2", "Abyssinian_2 1 1 1", "american_bulldog_100 2 2 1", "Bengal_5 3 1 2"]
    (folder / "annotations" / "test.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "annotations" / "trainval.txt").write_text("Abyssinian_1 1 1 1\n")
    for shade, line in enumerate(lines):
        save(folder / "images" / f"{line.split()[0]}.jpg", shade)


def make_dtd(root: Path) -> None:
    folder = root / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    names = [
        "polka-dotted/polka-dotted_0001.jpg",
        "banded/banded_0002.jpg",
        "banded/banded_0010.jpg",
    ]
    (folder / "labels" / "test1.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "labels" / "test2.txt").write_text(f"{names[0]}\n")
    for shade, name in enumerate(names):
        save(folder / "images" / name, shade)


def make_eurosat(root: Path) -> None:
    save(root / "eurosat" / "2750" / "AnnualCrop" / "AnnualCrop_1.jpg", 0)
    save(root / "eurosat" / "2750" / "HerbaceousVegetation" / "HerbaceousVegetation_1.jpg", 1)
    save(root / "eurosat" / "2750" / "SeaLake" / "SeaLake_1.jpg", 2)


MINIATURES: dict[str, tuple[Callable[[Path], None], list[str], list[int], list[int]]] = {
    # name: how it is made, raw class names, labels, shades
    "cifar10": (make_cifar10, ["airplane", "cat", "dog"], [2, 1, 0], [200, 201, 202]),
    "cifar100": (make_cifar100, ["aquarium_fish", "bee"], [1, 0], [40, 41]),
    "food101": (make_food101, ["cheese_plate", "cheesecake"], [1, 1, 0], [0, 1, 2]),
    "caltech101": (
        make_caltech101,
        ["Faces", "Faces_easy", "accordion"],
        [0, 1, 2, 2],
        [0, 1, 2, 3],
    ),
    "pets": (make_pets, ["Abyssinian", "American Bulldog", "Bengal"], [2, 0, 1, 2], [0, 1, 2, 3]),
    "dtd": (make_dtd, ["banded", "polka-dotted"], [1, 0, 0], [0, 1, 2]),
    "eurosat": (
        make_eurosat,
        ["AnnualCrop", "HerbaceousVegetation", "SeaLake"],
        [0, 1, 2],
        [0, 1, 2],
    ),
    "stl10": (make_stl10, ["airplane", "bird"], [1, 0], [5, 6]),
}


DISPLAYED = {
    "cifar10": ("airplane", "cat", "dog"),
    "cifar100": ("aquarium fish", "bee"),
    "food101": ("cheese plate", "cheesecake"),
    "caltech101": ("off-center face", "centered face", "accordion"),
    "pets": ("Abyssinian", "American Bulldog", "Bengal"),
    "dtd": ("banded", "polka-dotted"),
    "eurosat": ("annual crop land", "brushland or shrubland", "lake or sea"),
    "stl10": ("airplane", "bird"),
}
ALL = "all images (it has no test split)"
SPLITS = {"caltech101": ALL, "eurosat": ALL, "dtd": "test, the first of ten partitions"}


@pytest.fixture
def any_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept any checksum: a miniature cannot have the published ones of CIFAR and STL-10."""
    for module in (torchvision.datasets.cifar, torchvision.datasets.stl10):
        monkeypatch.setattr(
            module, "check_integrity", lambda path, md5=None: Path(path).parent.is_dir()
        )


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
    assert dataset.display_names == DISPLAYED[name]
    assert dataset.source["split"] == SPLITS.get(name, "test")


def test_an_incomplete_benchmark_gives_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_eurosat(tmp_path)
    note_start = (
        "eurosat is not complete: it has 3 images of 3 classes, the published set has 27,000 of 10"
    )
    with pytest.warns(UserWarning, match=note_start):
        dataset = load_dataset("eurosat", data_root=tmp_path)
    assert [note.partition(";")[0] for note in dataset.notes] == [note_start]
    for images, classes in ((3, 3), (4, 3), (3, 4)):
        monkeypatch.setitem(
            BENCHMARKS, "eurosat", replace(BENCHMARKS["eurosat"], images=images, classes=classes)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert bool(load_dataset("eurosat", data_root=tmp_path).notes) == (
                (images, classes) != (3, 3)
            )


def test_caltech101_stays_as_it_is_stored_until_it_is_resized_under_protocol_paper(
    tmp_path: Path,
) -> None:
    """torchvision converts all others to RGB when it opens them; the experiment's script converts
    Caltech-101 at the end of its transform.
    """
    make_caltech101(tmp_path)
    save(
        tmp_path / "caltech101" / "101_ObjectCategories" / "Faces" / "image_0001.jpg",
        0,
        mode="CMYK",
    )
    make_dtd(tmp_path)
    save(tmp_path / "dtd" / "dtd" / "images" / "banded" / "banded_0002.jpg", 0, mode="CMYK")
    caltech, dtd = (load_dataset(name, data_root=tmp_path).images for name in ("caltech101", "dtd"))
    modes = [
        [images_for(images, name)[row].mode for row in range(3)]
        for images in (caltech, dtd)
        for name in PROTOCOLS
    ]
    assert modes == [["RGB"] * 3, ["CMYK", "L", "RGB"], ["RGB"] * 3, ["RGB"] * 3]


@pytest.mark.parametrize("name", MINIATURES)
def test_missing_says_where_it_was_looked_for_and_leaves_no_trace(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError) as caught:
        load_dataset(name, data_root=tmp_path)
    assert str(tmp_path / BENCHMARKS[name].folder) in str(caught.value)
    assert "--download" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_of_datasets() -> None:
    with pytest.raises(DatasetError, match="--data-root"):
        load_dataset("dtd")


def test_damaged_files_are_said_to_be_damaged(tmp_path: Path) -> None:
    make_cifar10(tmp_path)  # with checksums that are not the published ones
    with pytest.raises(
        DatasetError, match=r"cifar10 in .*cifar-10-batches-py cannot be read: .*corrupted"
    ):
        load_dataset("cifar10", data_root=tmp_path)


def test_half_a_folder(tmp_path: Path) -> None:
    make_dtd(tmp_path)
    (tmp_path / "dtd" / "dtd" / "labels" / "test1.txt").unlink()
    with pytest.raises(DatasetError, match=r"dtd in .* is incomplete: labels/test1\.txt missing"):
        load_dataset("dtd", data_root=tmp_path)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.mark.usefixtures("online")
def test_a_failed_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(torchvision.datasets.dtd, "download_and_extract_archive", offline)
    with pytest.raises(DatasetError, match="cannot be fetched or read: no route to host"):
        load_dataset("dtd", data_root=tmp_path, download=True)


@pytest.mark.usefixtures("online")
def test_nothing_is_downloaded_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def download(self: torchvision.datasets.EuroSAT) -> None:
        fetched.append(self.root)
        make_eurosat(tmp_path)

    monkeypatch.setattr(torchvision.datasets.EuroSAT, "download", download)
    with pytest.raises(DatasetError):
        load_dataset("eurosat", data_root=tmp_path)
    assert fetched == []
    assert len(load_dataset("eurosat", data_root=tmp_path, download=True)) == 3
    assert fetched == [str(tmp_path)]


def test_a_listed_image_that_is_gone_is_named_or_skipped(tmp_path: Path) -> None:
    make_food101(tmp_path)
    (tmp_path / "food-101" / "images" / "cheesecake" / "1.jpg").unlink()
    with pytest.raises(DatasetError, match=r"image food-101/images/cheesecake/1\.jpg"):
        load_dataset("food101", data_root=tmp_path).images[0]
    kept = load_dataset("food101", data_root=tmp_path, on_bad_image="skip")
    assert (kept.labels.tolist(), shades(kept)) == ([1, 0], [1, 2])


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
    with pytest.raises(
        DatasetError, match=r"there is no folder .*gone\n  expected: the folder of torchvision"
    ):
        available_datasets(tmp_path / "gone")


def test_pixels_of_stl10_stand_as_they_should(tmp_path: Path, any_checksum: None) -> None:
    make_stl10(tmp_path)
    pixels = np.asarray(load_dataset("stl10", data_root=tmp_path).images[0])
    assert pixels[40, 3].tolist() == [77, 77, 77]
    assert (pixels == 77).sum() == 3


@pytest.mark.parametrize(
    "name", [name for name, benchmark in BENCHMARKS.items() if benchmark.files]
)
@pytest.mark.usefixtures("any_checksum")
def test_each_missing_file_is_named(name: str, tmp_path: Path) -> None:
    for file in BENCHMARKS[name].files:
        root = tmp_path / file.replace("/", "-")
        MINIATURES[name][0](root)
        (root / BENCHMARKS[name].folder / file).rename(root / "elsewhere")
        with pytest.raises(DatasetError, match=rf"{name} in .* is incomplete: {file} missing"):
            load_dataset(name, data_root=root)


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("food101", "food-101/meta/test.json", "[]"),
        ("food101", "food-101/meta/test.json", '{"a": 1}'),
        ("food101", "food-101/meta/test.json", "{"),
        ("dtd", "dtd/dtd/labels/test1.txt", "banded\n"),
        ("pets", "oxford-iiit-pet/annotations/test.txt", "Bengal_3 3\n"),
        ("pets", "oxford-iiit-pet/annotations/test.txt", "Bengal_3 three 1 1\n"),
        ("pets", "oxford-iiit-pet/annotations/test.txt", "/etc/passwd_1 1 1 1\n"),
        ("stl10", "stl10_binary/test_X.bin", "odd"),
        ("stl10", "stl10_binary/test_y.bin", "\0\0"),
        ("stl10", "stl10_binary/class_names.txt", "airplane\n"),
        ("caltech101", "caltech101/101_ObjectCategories/.DS_Store", ""),
    ],
)
@pytest.mark.usefixtures("any_checksum")
def test_damaged_lists_are_an_error_of_ours(
    name: str, file: str, content: str, tmp_path: Path
) -> None:
    MINIATURES[name][0](tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(DatasetError):
        load_dataset(name, data_root=tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("food101", "food-101/meta/test.json", '{"a": ["a/1"], "b": ["../mine"]}'),
        ("dtd", "dtd/dtd/labels/test1.txt", "banded/1.jpg\n../mine.jpg\n"),
        ("pets", "oxford-iiit-pet/annotations/test.txt", "Bengal_3 1 1 2\n../mine_3 2 1 2\n"),
    ],
)
def test_lists_that_lead_out_of_their_folder_are_refused(
    name: str, file: str, content: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    MINIATURES[name][0](root)
    (root / file).write_text(content)
    with pytest.raises(DatasetError, match=r"outside of its folder, the first is .*mine"):
        load_dataset(name, data_root=root)
    assert "outside" in check_datasets(root)[list(BENCHMARKS).index(name)].problem


@pytest.fixture
def as_small_as_the_miniatures(monkeypatch: pytest.MonkeyPatch, any_checksum: None) -> None:
    """Set the published numbers of images and classes to those of the miniatures."""
    for name, (_, classes, labels, _) in MINIATURES.items():
        small = replace(BENCHMARKS[name], images=len(labels), classes=len(classes))
        monkeypatch.setitem(BENCHMARKS, name, small)


def checked(root: Path) -> dict[str, DatasetCheck]:
    return {row.name: row for row in check_datasets(root)}


@pytest.mark.usefixtures("as_small_as_the_miniatures")
def test_check_finds_each_set_whole(tmp_path: Path) -> None:
    for make, *_ in MINIATURES.values():
        make(tmp_path)
    for name, row in checked(tmp_path).items():
        assert (row.state, row.problem, row.get) == ("present", "", ""), name
        assert (row.images, row.classes) == (len(MINIATURES[name][2]), len(MINIATURES[name][1]))


@pytest.mark.usefixtures("as_small_as_the_miniatures")
def test_check_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    for make in (make_food101, make_dtd, make_pets, make_eurosat):
        make(tmp_path)
    (tmp_path / "food-101" / "images" / "cheesecake" / "2.jpg").write_bytes(b"")
    (tmp_path / "dtd" / "dtd" / "labels" / "test1.txt").unlink()
    save(tmp_path / "eurosat" / "2750" / "River" / "River_1.jpg", 0)
    rows = checked(tmp_path)
    assert {name: row.state for name, row in rows.items() if row.state != "missing"} == {
        "food101": "incomplete",
        "dtd": "incomplete",
        "eurosat": "incomplete",
        "pets": "present",
    }
    assert "cheesecake/2.jpg" in rows["food101"].problem
    assert (rows["food101"].images, rows["food101"].expected_images) == (2, 3)
    assert "labels/test1.txt" in rows["dtd"].problem and rows["dtd"].images is None
    assert (rows["eurosat"].images, rows["eurosat"].classes) == (4, 4)
    assert f"remove {tmp_path / 'dtd' / 'dtd'}" in rows["dtd"].get
    for name in ("cifar10", "dtd"):
        assert BENCHMARKS[name].page in rows[name].get
        assert (
            f'purescope.load_dataset("{name}", data_root="{tmp_path}", download=True)'
            in rows[name].get
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dtd",
        "eurosat",
        "food-101",
        "oxford-iiit-pet",
    ]


def test_check_names_a_checksum_that_is_wrong(tmp_path: Path) -> None:
    make_cifar10(tmp_path)
    row = checked(tmp_path)["cifar10"]
    assert row.state == "incomplete" and "corrupted" in row.problem


def test_check_of_no_folder(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"there is no folder .*gone\n(?s:.*)to fix:   check the path"
    ):
        check_datasets(tmp_path / "gone")
