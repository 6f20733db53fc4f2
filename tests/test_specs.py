"""Texts that users type: labels, paths, names of datasets, and the ks to keep."""

import re
from pathlib import Path

import pytest

from purescope.errors import InputError, OutputError
from purescope.specs import (
    closest_beside,
    exists,
    is_folder,
    is_inside,
    is_label,
    is_text,
    no_model,
    parse_keep,
    short_name,
    split_label,
    split_part,
    to_folder,
    to_path,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder the current one and the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("mine=a.pt", ("mine", "a.pt")),
        ("mine=a=b.pt", ("mine", "a=b.pt")),
        ("=a.pt", ("", "a.pt")),
        ("a.pt", (None, "a.pt")),
        ("hub:a=b", (None, "hub:a=b")),
        ("run/lr=3", (None, "run/lr=3")),
        ("run\\lr=3", (None, "run\\lr=3")),
        ("there=1.pt", (None, "there=1.pt")),
    ],
)
def test_a_label_is_no_part_of_a_path(spec: str, parts: tuple[str | None, str]) -> None:
    Path("there=1.pt").touch()
    assert split_label(spec) == parts


def test_a_part_of_a_file_is_no_part_of_its_name() -> None:
    Path("there#1.pt").touch()
    assert split_part("there#1.pt") == ("there#1.pt", None)
    assert split_part("a#b#ema") == ("a#b", "ema")
    assert split_part("a.pt") == ("a.pt", None)


@pytest.mark.parametrize("text", ["a", "x" * 100, "é" * 50, "my pets (new)"])
def test_labels(text: str) -> None:
    assert is_label(text) and is_text(text)


@pytest.mark.parametrize(
    "text", ["", " ", "x" * 101, "é" * 51, "a/b", "a\\b", "a\nb", "a\0", "a\x1f", "a\udce9"]
)
def test_what_is_no_label(text: str) -> None:
    assert not is_label(text)
    assert is_text(text) == ("\udce9" not in text)


def test_names_of_datasets_keep_letters_dots_and_dashes() -> None:
    assert short_name("My-pets_2.0 (new)/é") == "My-pets_2.0_new_é"


def test_a_path_never_begins_with_a_tilde(folder: Path) -> None:
    assert to_path("~") == folder / "home"
    assert to_path("~/a") == folder / "home" / "a"
    assert to_path("~nobody-has-this-name") == folder / "~nobody-has-this-name"
    assert to_path(folder / "~") == folder / "~"
    assert to_path("./~") == to_path(to_path("./~")) == folder / "~"
    assert to_path("a/~") == Path("a/~")
    assert to_path("") == Path()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "a folder without a name"),
        ("  ", "a folder without a name"),
        ("a\0b", "a folder called"),
        ("a\udce9", "a folder called"),
        ("loop", "a link that leads back to itself"),
    ],
)
def test_what_is_no_folder_to_write_into(name: str, message: str) -> None:
    Path("loop").symlink_to("loop")
    with pytest.raises(OutputError, match=message):
        to_folder(name)


def test_a_folder_to_write_into_need_not_exist() -> None:
    assert to_folder("new/one") == Path("new/one")
    assert to_folder(Path("x" * 5000)) == Path("x" * 5000)


def test_paths_that_no_file_can_have_do_not_exist(folder: Path) -> None:
    assert exists(folder) and is_folder(folder)
    for name in ("x" * 5000, "none"):
        assert not exists(Path(name)) and not is_folder(Path(name))
    assert not exists(Path("a\0b"))
    Path("file").touch()
    assert exists(Path("file")) and not is_folder(Path("file"))


@pytest.mark.parametrize(
    "name", ["", "..", "a/..", "a\\..\\b", "/a", "C:/a", "C:a", "~", "~a", "a\0"]
)
def test_what_leads_out_of_a_folder(name: str) -> None:
    assert not is_inside(name)


def test_what_stays_in_a_folder() -> None:
    assert all(map(is_inside, ("a", "a/b", "a/~", ".", "..a")))


def test_a_missing_model_gets_names_beside_it_of_its_kind() -> None:
    for name in ("model1.pt", "model2.txt", "model3.zip", "model4.safetensors"):
        Path(name).touch()
    Path("model5").mkdir()
    beside = {"model1.pt", "model4.safetensors", "model5"}
    assert beside - {"model4.safetensors"} <= set(closest_beside(Path("model.pt"))) <= beside
    assert "model3.zip" in closest_beside(Path("model.zip"))
    assert closest_beside(Path("nothing/like.pt")) == closest_beside(Path()) == []
    assert no_model("model.pt").fix.startswith("did you mean 'model1.pt'")
    assert no_model("zzz").fix == ""


@pytest.mark.parametrize(
    ("text", "ks"),
    [
        ("7", [7]),
        ("200:500:50", [200, 250, 300, 350, 400, 450, 500]),
        ("100:512:20", list(range(100, 512, 20))),
        ("3:5", [3, 4, 5]),
        ("4:4", [4]),
        (" 8 , 1:3 ,5:9:4", [8, 1, 2, 3, 5, 9]),
        ("1:1000000:500000", [1, 500_001]),
        ("1000000", [1_000_000]),
    ],
)
def test_a_text_names_ks(text: str, ks: list[int]) -> None:
    assert parse_keep(text) == ks


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"),
        ("1,", "''"),
        ("a few", "'a few'"),
        ("2.5", "'2.5'"),
        ("3:", "'3:'"),
        (":", "':'"),
        ("1:2:3:4", "'1:2:3:4'"),
        ("1:9:0", "'1:9:0'"),
        ("16,500:200:50", "'500:200:50'"),
        ("500:200:-50", "'500:200:-50'"),
        ("1:9:-1", "'1:9:-1'"),
        ("1:1000001:500000", "'1:1000001:500000'"),
    ],
)
def test_a_bad_text_is_quoted_back(text: str, part: str) -> None:
    with pytest.raises(
        InputError, match=re.escape(f"--keep {text!r}: {part}") + r"(?s:.*)200:500:50"
    ):
        parse_keep(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("100-500", "100:500:50"),
        ("200 to 500", "200:500:50"),
        ("16,1..8", "1:8:1"),
        ("500:200:-50", "200:500:50"),
        ("100-600", "100:600:50"),
        ("1-11", "1:11:1"),
        ("1-12", "1:12:5"),
        ("1-10001", "1:10001:1000"),
    ],
)
def test_a_range_in_another_spelling_is_understood(text: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"to fix:   did you mean {meant}\\?"):
        parse_keep(text)
    assert len(parse_keep(meant)) < 12
