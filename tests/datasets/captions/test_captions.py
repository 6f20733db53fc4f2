"""Test what all datasets of captions share, and those of the bundle and of `datasets`."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from purescope.datasets import available_datasets, load_dataset
from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.captions.loading import load
from purescope.errors import DatasetError, InputError
from tests.datasets.captions.formats import CAPTIONS, FORMATS, SHADES
from tests.datasets.pictures import picture, shades

IMAGES = [Image.new("RGB", (2, 2))] * 2


def make(**changes: Any) -> CaptionDataset:
    fields: dict[str, Any] = {
        "name": "pets",
        "spec": "made by hand",
        "images": IMAGES,
        "captions": (("a cat", "it"), ("a dog",)),
        "source": {},
        "image_fingerprint": "f",
    }
    return CaptionDataset(**{**fields, **changes})


def test_texts_and_their_images_stay_in_step() -> None:
    dataset = make()
    assert list(zip(dataset.texts, dataset.image_of, strict=True)) == [
        ("a cat", 0),
        ("it", 0),
        ("a dog", 1),
    ]
    assert "a cat" in dataset._repr_html_()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "has no name"),
        ({"captions": (("a",),)}, "2 images, and captions of 1"),
        ({"images": IMAGES[:1], "captions": (("a",),)}, "has 1 image"),
        ({"captions": (("a",), ())}, "no caption for image 1"),
        ({"captions": (("a",), ("\n",))}, "of image 1"),
        ({"captions": (("a",), ("\ud800",))}, "of image 1"),
        ({"captions": (("a",), ("x" * 10_001,))}, "10,001 characters"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        make(**changes)


def test_moving_a_caption_to_another_image_changes_the_fingerprint() -> None:
    assert make().fingerprint == make(name="other", source={"x": "y"}).fingerprint
    prints = {
        make().fingerprint,
        make(captions=(("a cat",), ("it", "a dog"))).fingerprint,
        make(captions=(("it", "a cat"), ("a dog",))).fingerprint,
        make(image_fingerprint="g").fingerprint,
    }
    assert len(prints) == 4


def test_bad_images_are_left_out_with_their_captions(tmp_path: Path) -> None:
    name = FORMATS[".txt beside"](tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    whole = load(name)
    with pytest.raises(DatasetError, match=r"image a\.png"):
        whole.images[0]
    kept = load(name, on_bad_image="skip")
    assert dict(zip(shades(kept), kept.captions, strict=True)) == {20: CAPTIONS[1], 30: CAPTIONS[2]}
    assert len(kept.skipped) == 1 and kept.source["skipped"] == "1"
    assert kept.image_fingerprint != whole.image_fingerprint
    with pytest.raises(InputError, match="'error' or 'skip'"):
        load(name, on_bad_image="ignore")


def test_equal_captions_are_counted(tmp_path: Path) -> None:
    for name, text in (("a", "a pet\na pet"), ("b", "a pet"), ("c", "a cat")):
        (tmp_path / f"{name}.png").write_bytes(picture(1))
        (tmp_path / f"{name}.txt").write_text(text)
    with (
        pytest.warns(UserWarning, match=r"2 of 3 images have a caption that another image has"),
        pytest.warns(UserWarning, match=r"1 captions repeat one of the same image"),
    ):
        dataset = load(str(tmp_path))
    assert len(dataset.notes) == 2 and "recall is lower" in dataset.notes[0]


def test_the_names_of_bundled_images_are_their_captions() -> None:
    """The same images and the same key of the cache as without captions."""
    names = load_dataset("bundled:emoji-names")
    expected = tuple((names.display_names[label],) for label in names.labels.tolist())
    for name in ("emoji", "emoji-names"):
        dataset = load(f"bundled:{name}")
        assert dataset.captions == expected
        assert dataset.name == f"{name}-captions"
        assert dataset.image_fingerprint == load_dataset(f"bundled:{name}").fingerprint


def test_a_bundled_set_without_names_uses_its_classes() -> None:
    labelled = load_dataset("bundled:flags")
    with pytest.warns(UserWarning, match=r"flags-captions: \d+ of 457 images have a caption that"):
        dataset = load("bundled:flags")
    assert len(dataset) == len(labelled)
    assert dataset.captions[0] == ("flag of ascension island",)
    counts = [labelled.labels.tolist().count(label) for label in labelled.labels.tolist()]
    assert f"{sum(count > 1 for count in counts)} of 457" in dataset.notes[0]
    with pytest.raises(DatasetError, match="did you mean 'flags'"):
        load("bundled:flag")
    with pytest.raises(DatasetError, match="the option split, and holds a bundled set"):
        load("bundled:flags#test")


def test_they_are_listed_and_are_no_classes() -> None:
    assert "captions:PATH" in [row.spec for row in available_datasets()]
    with pytest.raises(DatasetError, match=r"purescope\.load_captions"):
        load_dataset("captions:mine")


@pytest.mark.parametrize("prefix", ["", "bundled:", "hf:"])
@pytest.mark.parametrize(
    "name",
    ["", "~nobody-of-this-name/x", "a\0b", "x" * 5000, "\n", "*.tar", "{0..1}", "?", "#", "a?b"],
)
def test_no_name_is_a_traceback(
    prefix: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError):
        load(f"{prefix}{name}")


@pytest.mark.usefixtures("quiet_hub")
class TestHub:
    """Datasets saved by `datasets`."""

    def save(self, folder: Path, **columns: Any) -> str:
        hub = pytest.importorskip("datasets")
        images = [{"bytes": picture(shade), "path": None} for shade in SHADES]
        data = hub.Dataset.from_dict({"image": images, **columns})
        data.cast_column("image", hub.Image()).save_to_disk(folder)
        return str(folder)

    def test_lists_of_captions(self, tmp_path: Path) -> None:
        name = self.save(tmp_path / "pets", captions=[list(texts) for texts in CAPTIONS])
        dataset = load(name)
        assert (dataset.captions, shades(dataset)) == (CAPTIONS, SHADES)
        assert (dataset.name, dataset.source["columns"]) == ("pets", "image, captions")
        assert load(f"hf:{name}").fingerprint == dataset.fingerprint

    def test_one_text_for_each_image(self, tmp_path: Path) -> None:
        name = self.save(tmp_path / "pets", text=["a", "b", "c"], number=[1, 2, 3])
        assert load(name).captions == (("a",), ("b",), ("c",))

    def test_a_choice_of_columns_is_the_users(self, tmp_path: Path) -> None:
        name = self.save(tmp_path / "pets", text=["a", "b", "c"], caption=["d", "e", "f"])
        with pytest.raises(DatasetError, match=r"text \(Value\), caption \(Value\)[\s\S]*caption="):
            load(name)
        assert load(f"{name}?caption=text").captions[0] == ("a",)
        with pytest.raises(DatasetError, match="'image' of texts"):
            load(f"{name}?caption=image")

    @pytest.mark.parametrize("empty", [[], ["x", " "], None])
    def test_an_image_without_a_caption(self, tmp_path: Path, empty: object) -> None:
        name = self.save(tmp_path / "pets", captions=[["a"], empty, ["c"]])
        with pytest.raises(DatasetError, match="image 1 has the captions"):
            load(name)

    def test_the_split(self, tmp_path: Path) -> None:
        hub = pytest.importorskip("datasets")
        self.save(tmp_path / "one", caption=["a", "b", "c"])
        one = hub.load_from_disk(str(tmp_path / "one"))
        hub.DatasetDict({"train": one, "val": one.select([0, 2])}).save_to_disk(tmp_path / "pets")
        with pytest.raises(DatasetError, match="has the splits train, val"):
            load(str(tmp_path / "pets"))
        dataset = load(f"{tmp_path / 'pets'}#val")
        assert (shades(dataset), dataset.source["split"]) == ([10, 30], "val")
