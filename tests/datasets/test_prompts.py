"""Test prompts, published words, and class names and templates from the user's JSON."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from purescope.datasets import load_dataset, prompts
from purescope.datasets.prompts import Prompts, clean_name, prompts_for, words_for
from purescope.errors import DatasetError, InputError
from tests.datasets.pictures import picture

FOOD = SimpleNamespace(
    classes=("apple_pie", "tuna_tartare"),
    display_names=("apple pie", "tuna tartare"),
    templates=("a photo of {}, a type of food.", "{}!"),
)


def test_paper_takes_raw_names_and_the_one_prompt_of_the_experiment() -> None:
    assert prompts_for(FOOD, "paper").texts() == [
        "a photo of a apple_pie",
        "a photo of a tuna_tartare",
    ]


def test_native_takes_clean_names_and_the_set_own_templates_class_by_class() -> None:
    assert prompts_for(FOOD, "native").texts() == [
        "a photo of apple pie, a type of food.",
        "apple pie!",
        "a photo of tuna tartare, a type of food.",
        "tuna tartare!",
    ]


def test_unknown_protocol() -> None:
    with pytest.raises(InputError, match="did you mean 'paper'"):
        prompts_for(FOOD, "papers")


def test_braces_in_a_class_name_are_only_braces() -> None:
    assert Prompts(names=("{0}", "a{}b"), templates=("a {}.",)).texts() == ["a {0}.", "a a{}b."]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("apple_pie", "apple pie"),
        ("a/b", "a b"),
        ("_a__b_", "a b"),
        ("polka-dotted", "polka-dotted"),
        ("é", "é"),
    ],
)
def test_clean_name(raw: str, clean: str) -> None:
    assert clean_name(raw) == clean


@pytest.mark.parametrize(
    ("dataset", "templates"),
    [("cifar10", 18), ("cifar100", 18), ("food101", 1), ("caltech101", 34), ("pets", 1), ("dtd", 8),
     ("eurosat", 3), ("stl10", 2)],
)  # fmt: skip
def test_words_of_the_benchmarks(dataset: str, templates: int) -> None:
    words = words_for(dataset)
    assert len(set(words.templates)) == templates
    assert all(template.count("{}") == 1 for template in words.templates)
    assert "https://" in words.source


def test_words_replace_names_that_cleaning_cannot() -> None:
    assert words_for("eurosat").clean(["AnnualCrop", "SeaLake"]) == (
        "annual crop land",
        "lake or sea",
    )
    assert words_for("caltech101").clean(["Faces_easy", "yin_yang", "sea_horse"]) == (
        "centered face",
        "yin and yang symbol",
        "sea horse",
    )
    assert len(set(words_for("eurosat").display_names.values())) == 10


def test_words_are_data(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"mine": {"source": "me", "templates": ["my {}"], "display_names": {"A_B": "c"}}}
    monkeypatch.setattr(prompts, "_all_words", lambda: json.loads(json.dumps(words)))
    assert words_for("mine").clean(["A_B", "D_E"]) == ("c", "D E")


# --- class names and templates of the user


@pytest.fixture
def pets(tmp_path: Path) -> str:
    """Make the classes cheese_plate and cheesecake; other lists have them in the other order."""
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
        (["a", 1], "not a list of texts"),
        (["a", " "], "not a list of texts"),
        ([], "not a list of texts"),
        (
            {"pets": {"cat": ["a"]}},
            r"has 1 entries, and none for 2 of 2 classes of pets: cheese_plate, cheesecake\n",
        ),
        ("cat", "not a list of texts"),
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
def test_without_an_entry_a_dataset_keeps_its_own_words(
    tmp_path: Path, pets: str, entries: Any, message: str
) -> None:
    file = write(tmp_path, entries)
    with pytest.warns(
        UserWarning, match=rf"words\.json has no entry for 'pets'.*{message}"
    ) as caught:
        dataset = load_dataset(pets, classnames=file, templates=file)
    assert ["class names" in str(caught[0].message), "templates" in str(caught[1].message)] == [
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
    with pytest.raises(DatasetError, match="not a list of texts"):
        load_dataset(pets, templates=write(tmp_path, {"0": "a {c}.", "1": "the {c}."}))
