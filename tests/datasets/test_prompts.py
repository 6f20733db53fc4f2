import json
from types import SimpleNamespace

import pytest

from purescope.datasets.prompts import Prompts, clean_name, prompts_for, words_for
from purescope.errors import InputError

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
    import purescope.datasets.prompts

    words = {"mine": {"source": "me", "templates": ["my {}"], "display_names": {"A_B": "c"}}}
    monkeypatch.setattr(
        purescope.datasets.prompts, "_all_words", lambda: json.loads(json.dumps(words))
    )
    assert words_for("mine").clean(["A_B", "D_E"]) == ("c", "D E")
