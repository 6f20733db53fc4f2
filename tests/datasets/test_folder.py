import shutil
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from purescope.datasets import load_dataset
from purescope.datasets.dataset import Dataset
from purescope.errors import DatasetError
from tests.datasets.pictures import picture, shades
from tests.logs import logged


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Make two cats, three dogs (one deeper, one with a suffix in capitals), and other files."""
    folder = tmp_path / "my pets"
    for number, name in enumerate(
        ["cat_s/2.png", "cat_s/10.png", "dog/a.PNG", "dog/puppies/a.png", "dog/z.png"]
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2), (number, 0, 0)).save(file)
    (folder / "dog" / "notes.txt").write_text("good dogs")
    (folder / "readme.md").write_text("pets")
    return folder


def reds(dataset: Dataset) -> list[int]:
    return [int(np.asarray(dataset.images[i])[0, 0, 0]) for i in range(len(dataset))]


def test_same_order_labels_and_pixels_as_torchvision(pets: Path) -> None:
    ours, theirs = load_dataset(f"folder:{pets}"), torchvision.datasets.ImageFolder(str(pets))
    assert list(ours.classes) == theirs.classes == ["cat_s", "dog"]
    assert ours.labels.tolist() == theirs.targets == [0, 0, 1, 1, 1]
    assert reds(ours) == [int(np.asarray(image)[0, 0, 0]) for image, _ in theirs]


def test_folders_below_a_class_come_in_the_order_of_their_names(pets: Path) -> None:
    for name in "hbgdfcea":
        (pets / "dog" / name).mkdir()
        Image.new("RGB", (1, 1), (ord(name), 0, 0)).save(pets / "dog" / name / "image.png")
    deep = [chr(red) for red in reds(load_dataset(f"folder:{pets}")) if red > 90]
    assert deep == [*"abcdefgh"]


def test_a_link_is_a_class_at_the_place_of_its_name(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (1, 1), (9, 0, 0)).save(tmp_path / "elsewhere" / "1.png")
    (pets / "ant").symlink_to(tmp_path / "elsewhere")
    dataset = load_dataset(f"folder:{pets}")
    assert dataset.classes == ("ant", "cat_s", "dog")
    assert reds(dataset)[0] == 9 and dataset.labels.tolist() == [0, 1, 1, 2, 2, 2]


def test_names(pets: Path) -> None:
    dataset = load_dataset(f"folder:{pets}")
    assert dataset.name == "my_pets"
    assert dataset.spec == f"folder:{pets}"
    assert dataset.display_names == ("cat s", "dog")


def test_names_in_a_list_follow_the_sorted_sub_folders(pets: Path) -> None:
    (pets / "classes.txt").write_text("big_cat\n\nhound\n")
    dataset = load_dataset(f"folder:{pets}")
    assert dataset.classes == dataset.display_names == ("big_cat", "hound")


def test_names_in_a_table_may_stand_in_any_order(pets: Path) -> None:
    (pets / "classes.txt").write_text("\ufeffdog\tthe hound\n cat_s \t the cat\n", encoding="utf-8")
    assert load_dataset(f"folder:{pets}").classes == ("the cat", "the hound")


@pytest.mark.parametrize(
    "text",
    ["one\n", "one\ntwo\nthree\n", "dog\ta\ncow\tb\n", "dog\ta\ndog\tb\n", "dog\ta\ncat_s\n", ""],
)
def test_a_list_of_names_that_does_not_fit(pets: Path, text: str) -> None:
    (pets / "classes.txt").write_text(text)
    with pytest.raises(DatasetError, match=r"classes\.txt has \d lines") as caught:
        load_dataset(f"folder:{pets}")
    assert "cat_s, dog" in str(caught.value)


def test_a_list_of_names_in_another_encoding(pets: Path) -> None:
    (pets / "classes.txt").write_bytes("café\nthé\n".encode("latin-1"))
    with pytest.raises(DatasetError, match="UTF-8"):
        load_dataset(f"folder:{pets}")


def test_a_sub_folder_without_images_is_a_class_and_is_reported(pets: Path) -> None:
    (pets / "bird").mkdir()
    with logged() as told:
        dataset = load_dataset(f"folder:{pets}")
    assert dataset.classes == ("bird", "cat_s", "dog")
    assert dataset.labels.tolist() == [1, 1, 2, 2, 2]
    assert dataset.source["sub_folders_without_images"] == "bird"
    assert "1 of 3 sub-folders: ['bird']" in told.getvalue()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere is not a folder"):
        load_dataset(f"folder:{tmp_path / 'nowhere'}")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"is empty\n  expected: a folder with a sub-folder of images for each"
    ):
        load_dataset(f"folder:{tmp_path}")
    (tmp_path / "read.me").write_text("")
    with pytest.raises(DatasetError, match="no sub-folder, 1 files and no image"):
        load_dataset(f"folder:{tmp_path}")


def test_images_without_sub_folders(pets: Path) -> None:
    with pytest.raises(DatasetError, match="no sub-folder, 2 images directly in it"):
        load_dataset(f"folder:{pets / 'cat_s'}")


def test_sub_folders_without_any_image(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(
        DatasetError, match=r"2 sub-folders and no image(?s:.*)to fix:   check the path"
    ):
        load_dataset(f"folder:{tmp_path}")


def test_one_class_is_refused(pets: Path) -> None:
    shutil.rmtree(pets / "dog")
    with pytest.raises(DatasetError, match="has one class, 'cat_s'"):
        load_dataset(f"folder:{pets}")


def test_a_broken_image_stops_when_reached_or_is_skipped(pets: Path) -> None:
    broken = pets / "cat_s" / "2.png"
    broken.write_bytes(broken.read_bytes()[:40])
    dataset = load_dataset(f"folder:{pets}")
    with pytest.raises(DatasetError, match=r"image cat_s/2\.png: "):
        dataset.images[1]
    kept = load_dataset(f"folder:{pets}", on_bad_image="skip")
    assert kept.labels.tolist() == [0, 1, 1, 1]
    assert reds(kept) == [1, 2, 4, 3]
    assert len(kept.skipped) == 1
    assert "cat_s/2.png" in kept.skipped[0]


def test_fingerprint_is_of_the_content_not_of_the_place_or_the_time(
    pets: Path, tmp_path: Path
) -> None:
    before = load_dataset(f"folder:{pets}").fingerprint
    shutil.copytree(pets, tmp_path / "copy", copy_function=shutil.copyfile)
    assert load_dataset(f"folder:{tmp_path / 'copy'}").fingerprint == before
    Image.new("RGB", (3, 2), (9, 9, 9)).save(pets / "dog" / "z.png")
    assert load_dataset(f"folder:{pets}").fingerprint != before


def test_files_that_are_not_images_by_their_names_give_a_warning(tmp_path: Path) -> None:
    for name in (
        "cat/1.png",
        "cat/2.HEIC",
        "cat/deep/3.avif",
        "cat/noending",
        "dog/1.gif",
        "dog/about.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(1))
    with pytest.warns(
        UserWarning,
        match=r"3 files are not images.*\(\.avif, \.heic, no ending\).*the first is cat/2\.HEIC",
    ) as caught:
        dataset = load_dataset(f"folder:{tmp_path}")
    assert (len(caught), len(dataset)) == (1, 2)


def test_what_begins_with_a_dot_is_no_class_and_no_image(tmp_path: Path) -> None:
    for name in (
        "cat/1.png",
        "dog/1.png",
        ".ipynb_checkpoints/1.png",
        "cat/.trash/2.png",
        "cat/._1.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(1))
    dataset = load_dataset(f"folder:{tmp_path}")
    assert (dataset.classes, len(dataset)) == (("cat", "dog"), 2)


def test_a_gif_is_read(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 3), "red").save(tmp_path / name / "1.gif")
    assert load_dataset(f"folder:{tmp_path}").images[1].getpixel((0, 0)) == (255, 0, 0)


SYSTEM = [
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "lost+found",
    "$RECYCLE.BIN",
    "System Volume Information",
    "@__thumb",
    "found.000",
]


@pytest.mark.parametrize("name", SYSTEM)
@pytest.mark.parametrize("place", [".", "dog", "dog/puppies"])
def test_folders_of_the_system_are_no_classes_and_hold_no_images(
    pets: Path, name: str, place: str
) -> None:
    (pets / place / name / "1.png").mkdir(parents=True)
    (pets / place / name / "1.png" / "thumb.png").write_bytes(picture(1))
    path = (Path(place) / name).as_posix().replace("$", r"\$").replace("+", r"\+")
    with pytest.warns(
        UserWarning, match=f"1 folders that systems and programs make are left out: {path}$"
    ):
        dataset = load_dataset(f"folder:{pets}")
    assert (dataset.classes, len(dataset)) == (("cat_s", "dog"), 5)


@pytest.mark.parametrize("name", ["macosx", "@home", "#1", "recycle bin", "found"])
def test_folders_with_names_like_those_of_systems_are_classes(pets: Path, name: str) -> None:
    (pets / name).mkdir()
    (pets / name / "1.png").write_bytes(picture(1))
    assert name in load_dataset(f"folder:{pets}").classes


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (["train", "test"], "test"),
        (["train", "val"], "val"),
        (["Training_Set", "Test_Set"], "Test_Set"),
        (["seg_pred", "seg_test", "seg_train"], "seg_test"),
        (["train2017", "val2017"], "val2017"),
        (["train"], "train"),
    ],
)
def test_splits_are_no_classes(tmp_path: Path, names: list[str], meant: str) -> None:
    for name in names:
        for inner in ("cat", "dog"):
            (tmp_path / name / inner).mkdir(parents=True)
            (tmp_path / name / inner / "1.png").write_bytes(picture(1))
    (tmp_path / "docs").mkdir()
    with pytest.raises(
        DatasetError, match=rf"which are splits, not classes\n(?s:.*)folder:{tmp_path / meant}$"
    ):
        load_dataset(f"folder:{tmp_path}")
    assert load_dataset(f"folder:{tmp_path / meant}").classes == ("cat", "dog")


def test_a_class_may_be_called_like_a_split(pets: Path) -> None:
    (pets / "train").mkdir()
    (pets / "train" / "1.png").write_bytes(picture(1))
    assert load_dataset(f"folder:{pets}").classes == ("cat_s", "dog", "train")


def test_the_same_folders_in_every_class_are_noted(tmp_path: Path) -> None:
    for outer in ("2019", "2020"):
        for inner in ("cat", "dog"):
            (tmp_path / outer / inner).mkdir(parents=True)
            (tmp_path / outer / inner / "1.png").write_bytes(picture(1))
    with pytest.warns(
        UserWarning, match=r"all of its 2 sub-folders have the sub-folders cat, dog: .*/2019"
    ):
        assert load_dataset(f"folder:{tmp_path}").classes == ("2019", "2020")
    (tmp_path / "2020" / "1.png").write_bytes(picture(1))
    load_dataset(f"folder:{tmp_path}")


def numbered(root: Path, names: list[str]) -> str:
    for name in names:
        (root / name).mkdir()
        (root / name / "1.png").write_bytes(picture(int(name)))
    return f"folder:{root}"


def test_classes_called_by_numbers_stand_in_their_order(tmp_path: Path) -> None:
    """Every list of names for them does so: ImageNetV2's folder 10 comes after 9."""
    spec = numbered(tmp_path, [str(number) for number in range(12)])
    (tmp_path / "classes.txt").write_text("".join(f"name of {number}\n" for number in range(12)))
    with pytest.warns(UserWarning, match=r"are sorted by value \(0, 1, 2, 3"):
        dataset = load_dataset(spec)
    assert dataset.labels.tolist() == shades(dataset) == [*range(12)]
    assert dataset.classes == tuple(f"name of {number}" for number in range(12))


def test_numbers_whose_order_is_that_of_words_need_no_note(tmp_path: Path) -> None:
    assert load_dataset(numbered(tmp_path, ["00", "01", "10"])).classes == ("00", "01", "10")
