"""Test datasets saved by `datasets`, folders that it reads, and the hub as far as offline goes."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from purescope.datasets import load_dataset
from purescope.errors import DatasetError, MissingExtraError
from tests.datasets.pictures import picture, shades

hub = pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("quiet_hub")

NAMES = ["big_cat", "dog"]


def make_pets(labels: list[int | None], first: int = 0, **columns: Any) -> Any:
    """Return images of shades `first`, `first + 1`, ... with these labels."""
    images = [{"bytes": picture(first + i), "path": f"{i}.png"} for i in range(len(labels))]
    features = {"image": hub.Image(), "label": hub.ClassLabel(names=NAMES)}
    extra = {name: hub.ClassLabel(names=NAMES) for name in columns}
    return hub.Dataset.from_dict(
        {"image": images, "label": labels, **columns}, features=hub.Features({**features, **extra})
    )


def test_one_split_saved_to_disk(tmp_path: Path) -> None:
    make_pets([1, 0, 1]).save_to_disk(tmp_path / "my pets")
    dataset = load_dataset(f"hf:{tmp_path / 'my pets'}")
    assert (dataset.name, dataset.spec) == ("my_pets", f"hf:{tmp_path / 'my pets'}")
    assert (dataset.classes, dataset.display_names) == (("big_cat", "dog"), ("big cat", "dog"))
    assert dataset.labels.tolist() == [1, 0, 1]
    assert shades(dataset) == [0, 1, 2]
    assert dataset.source["columns"] == "image, label"


def test_the_version_is_what_the_dataset_says(tmp_path: Path) -> None:
    pets = make_pets([1, 0, 1])
    pets.save_to_disk(tmp_path / "unknown")
    pets.info.version = "1.2.0"
    pets.save_to_disk(tmp_path / "known")
    found = [
        load_dataset(f"hf:{tmp_path / name}").source["version"] for name in ("known", "unknown")
    ]
    assert found == ["1.2.0", "not stated"]


def test_the_test_split_is_the_default(tmp_path: Path) -> None:
    hub.DatasetDict(
        {"train": make_pets([0, 0, 1], 10), "test": make_pets([1, 0], 20)}
    ).save_to_disk(tmp_path / "pets")
    assert shades(load_dataset(f"hf:{tmp_path / 'pets'}")) == [20, 21]
    train = load_dataset(f"hf:{tmp_path / 'pets'}?split=train")
    assert (shades(train), train.labels.tolist(), train.source["split"]) == (
        [10, 11, 12],
        [0, 0, 1],
        "train",
    )


def test_a_choice_of_splits_is_the_users(tmp_path: Path) -> None:
    hub.DatasetDict({"train": make_pets([0, 1]), "validation": make_pets([1, 0])}).save_to_disk(
        tmp_path / "pets"
    )
    with pytest.raises(DatasetError, match=r"has the splits train, validation"):
        load_dataset(f"hf:{tmp_path / 'pets'}")
    with pytest.raises(DatasetError, match=r"did you mean 'validation'"):
        load_dataset(f"hf:{tmp_path / 'pets'}?split=valid")


def test_two_label_columns(tmp_path: Path) -> None:
    make_pets([0, 1, 1], coarse=[1, 1, 0]).save_to_disk(tmp_path / "pets")
    with pytest.raises(
        DatasetError,
        match=r"image \(Image\), label \(ClassLabel\), coarse \(ClassLabel\)"
        r"(?s:.*)name it: hf:NAME\?label=COLUMN",
    ):
        load_dataset(f"hf:{tmp_path / 'pets'}")
    assert load_dataset(f"hf:{tmp_path / 'pets'}?label=coarse").labels.tolist() == [1, 1, 0]
    with pytest.raises(DatasetError, match="one of type ClassLabel called 'colour'"):
        load_dataset(f"hf:{tmp_path / 'pets'}?label=colour")


@pytest.mark.parametrize("missing", ["image", "label"])
def test_a_column_that_is_not_there(tmp_path: Path, missing: str) -> None:
    make_pets([0, 1]).remove_columns(missing).save_to_disk(tmp_path / "pets")
    with pytest.raises(DatasetError, match="one of type") as caught:
        load_dataset(f"hf:{tmp_path / 'pets'}")
    assert f"?{missing}=" in str(caught.value)


def test_rows_that_were_taken_out_or_moved_stay_so(tmp_path: Path) -> None:
    make_pets([0, 1, 0, 1]).select([3, 0, 1]).save_to_disk(tmp_path / "pets")
    dataset = load_dataset(f"hf:{tmp_path / 'pets'}")
    assert (shades(dataset), dataset.labels.tolist()) == ([3, 0, 1], [1, 0, 1])


@pytest.mark.parametrize(
    ("label", "message"), [(None, "image 1 of split all has no label"), (-1, "the label -1")]
)
def test_an_image_without_a_label(tmp_path: Path, label: int | None, message: str) -> None:
    make_pets([0, label, 1]).save_to_disk(tmp_path / "pets")
    with pytest.raises(DatasetError, match=message):
        load_dataset(f"hf:{tmp_path / 'pets'}")


def test_broken_and_missing_images_are_named(tmp_path: Path) -> None:
    images = [{"bytes": b"\x89PNG", "path": "a.png"}, None, {"bytes": picture(1), "path": "c.png"}]
    stored = hub.Dataset.from_dict(
        {"image": images, "label": [0, 1, 0]}, features=make_pets([0]).features
    )
    stored.save_to_disk(tmp_path / "pets")
    dataset = load_dataset(f"hf:{tmp_path / 'pets'}")
    for index, name in ((0, r"image 0 of .*a\.png"), (1, "image 1 of")):
        with pytest.raises(DatasetError, match=name):
            dataset.images[index]
    kept = load_dataset(f"hf:{tmp_path / 'pets'}", on_bad_image="skip")
    assert (shades(kept), kept.labels.tolist()) == ([1], [0])


def test_an_image_file_that_is_gone_is_named(tmp_path: Path) -> None:
    for name in ("cat/a.png", "dog/b.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True)
        (tmp_path / "pets" / name).write_bytes(picture(1))
    dataset = load_dataset(f"hf:{tmp_path / 'pets'}")
    (tmp_path / "pets" / "dog" / "b.png").unlink()
    with pytest.raises(DatasetError, match=r"image 1 of .*b\.png.*No such file"):
        dataset.images[1]


def test_images_are_never_decoded_by_a_program(tmp_path: Path) -> None:
    """EPS is a program; Pillow would start Ghostscript for it."""
    eps = io.BytesIO()
    Image.new("RGB", (8, 8)).save(eps, "EPS")
    images = [{"bytes": eps.getvalue(), "path": "a.png"}, {"bytes": picture(1), "path": "b.png"}]
    stored = hub.Dataset.from_dict(
        {"image": images, "label": [0, 1]}, features=make_pets([0, 1]).features
    )
    stored.save_to_disk(tmp_path / "pets")
    with pytest.raises(DatasetError, match=r"image 0 of .*cannot identify"):
        load_dataset(f"hf:{tmp_path / 'pets'}").images[0]


def test_a_folder_of_parquet(tmp_path: Path) -> None:
    (tmp_path / "pets" / "data").mkdir(parents=True)
    make_pets([1, 0, 1], 5).to_parquet(tmp_path / "pets" / "data" / "test-00000-of-00001.parquet")
    make_pets([0, 1], 50).to_parquet(tmp_path / "pets" / "data" / "train-00000-of-00001.parquet")
    dataset = load_dataset(f"hf:{tmp_path / 'pets'}")
    assert (dataset.classes, dataset.labels.tolist()) == (("big_cat", "dog"), [1, 0, 1])
    assert shades(dataset) == [5, 6, 7]


def test_a_folder_of_images(tmp_path: Path) -> None:
    for shade, name in enumerate(["test/cat/a.png", "test/dog/b.png", "test/dog/c.png"]):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(picture(shade))
    dataset = load_dataset(f"hf:{tmp_path / 'pets'}")
    assert dataset.classes == ("cat", "dog")
    assert sorted(zip(shades(dataset), dataset.labels.tolist(), strict=True)) == [
        (0, 0),
        (1, 1),
        (2, 1),
    ]


def test_a_script_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "pets.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(DatasetError, match="scripts are no longer supported"):
        load_dataset(f"hf:{tmp_path / 'pets'}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", ["dataset_info.json", "state.json", "data-00000-of-00001.arrow"])
@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 64])
def test_damaged_files_are_an_error_of_ours(tmp_path: Path, file: str, damage: bytes) -> None:
    make_pets([0, 1]).save_to_disk(tmp_path / "pets")
    (tmp_path / "pets" / file).write_bytes(damage)
    with pytest.raises(DatasetError, match=r"pets cannot be read"):
        load_dataset(f"hf:{tmp_path / 'pets'}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "is not a folder"),
        ("csv", "is not a folder"),
        ("/gone/pets", "is not a folder"),
        ("a/b/c", "is not a folder"),
        ("a/b?splits=test", r"the option 'splits'\n.*one of .*\n  to fix: .*'split'"),
        ("a/b?test", "the option 'test'"),
    ],
)
def test_names_that_are_none(name: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_dataset(f"hf:{name}")


@pytest.mark.parametrize("by", ["the flag", "the environment"])
def test_offline_fails_before_the_network_and_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    import huggingface_hub.constants

    for module in (hub.config, huggingface_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", by == "the environment")
    with pytest.raises(DatasetError, match="hf:someone/pets cannot be fetched or read") as caught:
        load_dataset("hf:someone/pets", offline=by == "the flag")
    assert "HF_HUB_OFFLINE" in str(caught.value)
    assert (
        hub.config.HF_HUB_OFFLINE
        == huggingface_hub.constants.HF_HUB_OFFLINE
        == (by == "the environment")
    )


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"purescope\[hf\]"):
        load_dataset("hf:someone/pets")


def test_fingerprint_is_of_the_content_not_of_the_place(tmp_path: Path) -> None:
    make_pets([0, 1]).save_to_disk(tmp_path / "a")
    make_pets([0, 1]).save_to_disk(tmp_path / "b")
    make_pets([0, 1], 9).save_to_disk(tmp_path / "c")
    a, b, c = (load_dataset(f"hf:{tmp_path / name}").fingerprint for name in "abc")
    assert a == b != c


def plain(labels: list[Any], kind: str, column: str = "label") -> Any:
    images = [{"bytes": picture(shade), "path": None} for shade in range(len(labels))]
    features = hub.Features({"image": hub.Image(), column: hub.Value(kind)})
    return hub.Dataset.from_dict({"image": images, column: labels}, features=features)


@pytest.mark.parametrize("option", ["", "?label=label"])
def test_labels_that_are_words(tmp_path: Path, option: str) -> None:
    plain(["dog", "big_cat", "dog"], "string").save_to_disk(tmp_path / "pets")
    dataset = load_dataset(f"hf:{tmp_path / 'pets'}{option}")
    assert (dataset.classes, dataset.labels.tolist()) == (("big_cat", "dog"), [1, 0, 1])
    assert (dataset.display_names, shades(dataset)) == (("big cat", "dog"), [0, 1, 2])


def test_words_in_a_column_of_another_name_are_taken_when_named(tmp_path: Path) -> None:
    plain(["dog", "cat"], "string", "species").save_to_disk(tmp_path / "pets")
    with pytest.raises(DatasetError, match=r"name it: hf:NAME\?label=COLUMN"):
        load_dataset(f"hf:{tmp_path / 'pets'}")
    assert load_dataset(f"hf:{tmp_path / 'pets'}?label=species").labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "kind"), [([1, 0], "int64"), ([1.0, 0.0], "float32"), ([True, False], "bool")]
)
def test_labels_that_are_numbers_are_refused_with_what_to_do(
    tmp_path: Path, labels: list[Any], kind: str
) -> None:
    plain(labels, kind).save_to_disk(tmp_path / "pets")
    for option in ("", "?label=label"):
        with pytest.raises(
            DatasetError,
            match=rf"column label holds {kind}, .*(?s:.*)cast_column\(.label., .*ClassLabel",
        ):
            load_dataset(f"hf:{tmp_path / 'pets'}{option}")


def test_an_empty_word_is_no_class(tmp_path: Path) -> None:
    plain(["dog", ""], "string").save_to_disk(tmp_path / "pets")
    with pytest.raises(DatasetError, match="has the name ''"):
        load_dataset(f"hf:{tmp_path / 'pets'}")


def test_images_that_are_no_images_to_the_library(tmp_path: Path) -> None:
    """Other programs write Parquet with bytes and path, and without the type of an image."""
    table = {
        "image": [{"bytes": picture(1), "path": ""}, {"bytes": picture(2), "path": ""}],
        "label": ["a", "b"],
    }
    hub.Dataset.from_dict(table).save_to_disk(tmp_path / "pets")
    with pytest.raises(
        DatasetError, match=r"one of type Image(?s:.*)cast_column\(.image., datasets\.Image\(\)\)"
    ):
        load_dataset(f"hf:{tmp_path / 'pets'}?image=image")


@pytest.mark.parametrize("name", ["data-00000-of-00001.arrow", "state.json"])
def test_a_saved_file_may_be_a_link_within_the_folder_only(name: str, tmp_path: Path) -> None:
    make_pets([0, 1]).save_to_disk(tmp_path / "pets")
    file = tmp_path / "pets" / name
    (tmp_path / "pets" / "kept").mkdir()
    inside = file.rename(tmp_path / "pets" / "kept" / name)
    file.symlink_to(inside)
    assert len(load_dataset(f"hf:{tmp_path / 'pets'}")) == 2
    file.unlink()
    file.symlink_to(inside.rename(tmp_path / name))
    if name.endswith(".arrow"):
        with pytest.raises(DatasetError, match="is a link that leads out of the folder"):
            load_dataset(f"hf:{tmp_path / 'pets'}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("?image=label", r'cast_column\("label", datasets.Image\(\)\)'),
        ("?image=photo", "name a column that exists: hf:NAME.image=COLUMN"),
        ("?label=image", r'cast_column\("image", datasets.ClassLabel'),
    ],
)
def test_a_column_of_another_type_is_to_be_cast(name: str, message: str, tmp_path: Path) -> None:
    make_pets([0, 1]).save_to_disk(tmp_path / "pets")
    with pytest.raises(DatasetError, match=message):
        load_dataset(f"hf:{tmp_path / 'pets'}{name}")
