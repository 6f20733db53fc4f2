"""Texts that users type: the ks to keep."""

import re

import pytest

from purescope.errors import InputError
from purescope.specs import parse_keep


@pytest.mark.parametrize(
    ("text", "ks"),
    [
        ("7", [7]),
        ("200:500:50", [200, 250, 300, 350, 400, 450, 500]),
        ("100:512:20", list(range(100, 512, 20))),
        ("3:5", [3, 4, 5]),
        ("4:4", [4]),
        (" 8 , 1:3 ,5:9:4", [8, 1, 2, 3, 5, 9]),
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
    ],
)
def test_a_range_in_another_spelling_is_understood(text: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"to fix:   did you mean {meant}\\?"):
        parse_keep(text)
    assert len(parse_keep(meant)) < 12
