"""Texts of others stay in their block, cell or code, whatever they hold."""

import re

import pytest

from purescope.reduce.forms.card import _block, _code, _table


@pytest.mark.parametrize("text", ["plain", "`", "```", "a ```` b\n`````", "two\nlines\n\n"])
def test_no_line_ends_its_block(text: str) -> None:
    first, *lines, last = _block("sh", text).split("\n")
    assert re.fullmatch("(`{3,})sh", first) and first == f"{last}sh"
    assert lines == text.rstrip("\n").split("\n")
    assert last not in text
    if "```" not in text:
        assert last == "```"


@pytest.mark.parametrize("text", ["a", "`", "``b`", "b``", "a`b"])
def test_code_is_shown_literally(text: str) -> None:
    shown = _code(text)
    fence = re.match("`+", shown)
    assert fence is not None and fence[0] not in text
    inside = shown.removeprefix(fence[0]).removesuffix(fence[0])
    assert inside == (f" {text} " if text[0] == "`" or text[-1] == "`" else text)


def test_a_bar_ends_no_cell() -> None:
    assert _table(["a", "b"], [["1|2", "3"]]).split("\n") == [
        "| a | b |", "| --- | --- |", r"| 1\|2 | 3 |"
    ]  # fmt: skip
