"""Class names and templates from the user's JSON, and names before a spec."""

import json
from pathlib import Path
from typing import Any

import pytest

from purescope.datasets import load_dataset
from purescope.errors import DatasetError
from tests.datasets.pictures import picture


@pytest.fixture
def pets(tmp_path: Path) -> str:
    """Classes cheese_plate and cheesecake, whose order other lists have the other way round."""
    for name in ("cheese_plate", "cheesecake"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "1.png").write_bytes(picture(1))
    return f"folder:{tmp_path / 'pets'}"


def write(folder: Path, words: Any) -> Path:
    file = folder / "words.json"
    file.write_text(json.dumps(words))
    return file


@pytest.mark.parametrize(
    "entries", [["plate of cheese", "cake"], {"x": ["y"], "pets": ["plate of cheese", "cake"]}]
)
def test_class_names_replace_those_for_prompts_and_not_the_raw_ones(
    tmp_path: Path, pets: str, entries: Any
) -> None:
    plain = load_dataset(pets)
    dataset = load_dataset(pets, classnames=write(tmp_path, entries))
    assert dataset.display_names == ("plate of cheese", "cake")
    assert (dataset.classes, dataset.templates) == (plain.classes, plain.templates)
    assert dataset.fingerprint == plain.fingerprint, "the images are the same"
    assert "words.json, SHA-256" in dataset.source["classnames"]


@pytest.mark.parametrize("entries", [["a {c}.", "the {}."], {"pets": ["a {c}.", "the {}."]}])
def test_templates(tmp_path: Path, pets: str, entries: Any) -> None:
    dataset = load_dataset(pets, templates=write(tmp_path, entries))
    assert dataset.templates == ("a {}.", "the {}.")
    assert dataset.display_names == ("cheese plate", "cheesecake")


def test_what_the_words_say_is_part_of_the_source(tmp_path: Path, pets: str) -> None:
    sources = [
        load_dataset(pets, templates=write(tmp_path, [text])).source for text in ("a {c}", "b {c}")
    ]
    assert sources[0] != sources[1]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            ["cake"],
            r"has 1 class names for pets\n.*2, one for each class: cheese_plate, cheesecake",
        ),
        (["a", 1], "no list of texts"),
        (["a", " "], "no list of texts"),
        ([], "no list of texts"),
        (
            {"pets": {"cat": ["a"]}},
            r"has 1 entries, and none for 2 of 2 classes of pets: cheese_plate, cheesecake\n",
        ),
        ("cat", "no list of texts"),
        (
            ["Cheesecake", "cheese plate"],
            r"calls class 0 of pets 'Cheesecake', which is the name of class 1",
        ),
    ],
)
def test_class_names_that_do_not_fit(tmp_path: Path, pets: str, entries: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(pets, classnames=write(tmp_path, entries))
    assert "words.json" in str(caught.value)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"food101": ["a", "b"]}, "known: food101"),
        ({"pet": ["a", "b"]}, "did you mean 'pet'"),
        ({}, "keeps its own"),
    ],
)
def test_without_an_entry_a_data_set_keeps_its_own_words(
    tmp_path: Path, pets: str, entries: Any, message: str
) -> None:
    file = write(tmp_path, entries)
    with pytest.warns(
        UserWarning, match=rf"words\.json has no entry for 'pets'.*{message}"
    ) as told:
        dataset = load_dataset(pets, classnames=file, templates=file)
    assert ["class names" in str(told[0].message), "templates" in str(told[1].message)] == [
        True,
        True,
    ]
    plain = load_dataset(pets)
    assert (dataset.display_names, dataset.templates) == (plain.display_names, plain.templates)
    assert dataset.source == plain.source, "the manifest names only words that were used"


def test_a_background_before_the_classes_is_dropped(tmp_path: Path, pets: str) -> None:
    dataset = load_dataset(
        pets, classnames=write(tmp_path, {"pets": ["background", "plate of cheese", "cake"]})
    )
    assert dataset.display_names == ("plate of cheese", "cake")
    with pytest.raises(DatasetError, match="has 3 class names"):
        load_dataset(
            pets, classnames=write(tmp_path, {"pets": ["plate", "plate of cheese", "cake"]})
        )


@pytest.mark.parametrize("template", ["a photo", "{c} and {c}", "{c} and {}", "{name}"])
def test_templates_that_do_not_fit(tmp_path: Path, pets: str, template: str) -> None:
    with pytest.raises(DatasetError, match=r"the template .* of .*words\.json"):
        load_dataset(pets, templates=write(tmp_path, ["a {c}", template]))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_json(tmp_path: Path, pets: str, content: bytes) -> None:
    (tmp_path / "words.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"words\.json cannot be read"):
        load_dataset(pets, classnames=tmp_path / "words.json")
    with pytest.raises(DatasetError, match=r"gone\.json cannot be read"):
        load_dataset(pets, templates=tmp_path / "gone.json")


def test_a_name_before_the_spec(pets: str) -> None:
    dataset = load_dataset(f"My pets={pets}")
    assert (dataset.name, dataset.spec) == ("My pets", f"My pets={pets}")
    assert dataset.fingerprint == load_dataset(pets).fingerprint


def test_an_equals_sign_in_a_path_is_no_name(tmp_path: Path, pets: str) -> None:
    (tmp_path / "pets").rename(tmp_path / "lr=3")
    assert load_dataset(f"folder:{tmp_path}/lr=3").name == "lr_3"


@pytest.mark.parametrize("label", ["", " ", "a\nb"])
def test_a_name_that_no_file_can_have(pets: str, label: str) -> None:
    with pytest.raises(DatasetError, match="label"):
        load_dataset(f"{label}={pets}")


def test_words_are_found_by_either_name(tmp_path: Path, pets: str) -> None:
    own = write(tmp_path, {"pets": ["a", "b"]})
    assert load_dataset(f"Mine={pets}", classnames=own).display_names == ("a", "b")
    both = write(tmp_path, {"pets": ["a", "b"], "Mine": ["c", "d"]})
    assert load_dataset(f"Mine={pets}", classnames=both).display_names == ("c", "d")


@pytest.mark.parametrize(
    "entries",
    [
        {"0": "a plate", "1": "a cake"},
        {"1": "a cake", "0": "a plate"},
        {"architectures": ["X"], "id2label": {"0": "a plate", "1": "a cake"}},
        {"model_type": "x", "label2id": {"a cake": 1, "a plate": 0}},
        {"a cake": 1, "a plate": 0},
        {"0": ["cheesecake", "a cake"], "1": ["cheese_plate", "a plate"]},
        {
            "7": ["cheesecake", "a cake"],
            "9": ["cheese_plate", "a plate"],
            "3": ["n02119789", "kit fox"],
        },
        {"0": ["n01", "a plate"], "1": ["n02", "a cake"]},
        {"cheesecake": "a cake", "cheese_plate": "a plate", "fox": "a fox"},
        {"pets": {"cheesecake": "a cake", "cheese_plate": "a plate"}},
        {"pets": {"0": "a plate", "1": "a cake"}, "other": ["x"]},
    ],
)
def test_class_names_by_label_or_by_class(tmp_path: Path, pets: str, entries: Any) -> None:
    dataset = load_dataset(pets, classnames=write(tmp_path, entries))
    assert dataset.display_names == ("a plate", "a cake")
    assert dataset.source["classnames"].endswith(
        (", read as label to name", ", read as class to name")
    )


@pytest.mark.parametrize(
    "entries",
    [
        {"1": "a plate", "2": "a cake"},
        {"0": "a plate", "1": "a cake", "2": "a fox"},
        {"0": "a plate", "00": "a cake"},
        {"cheesecake": "a cake"},
        {"cheesecake": "a cake", "cheese_plate": 1},
        {"cheesecake": "a cake", "cheese_plate": " "},
        {"a plate": True, "a cake": False},
        {"id2label": {"0": "a plate"}},
    ],
)
def test_names_that_are_not_complete_are_refused(tmp_path: Path, pets: str, entries: Any) -> None:
    with pytest.raises(DatasetError, match=r"words\.json has \d entr.* of 2 classes of pets"):
        load_dataset(pets, classnames=write(tmp_path, entries))


def test_names_by_label_in_another_order_are_refused_as_in_a_list(
    tmp_path: Path, pets: str
) -> None:
    with pytest.raises(DatasetError, match="which is the name of class 1"):
        load_dataset(pets, classnames=write(tmp_path, {"0": "cheesecake", "1": "cheese plate"}))


def test_templates_by_name_are_refused(tmp_path: Path, pets: str) -> None:
    with pytest.raises(DatasetError, match="no list of texts"):
        load_dataset(pets, templates=write(tmp_path, {"0": "a {c}.", "1": "the {c}."}))
