"""Stretches of HTML in pieces: written, and packed for the script."""

import pytest

from purescope.report.pieces import Piece, html, packed, text
from tests.report.parsed import unpacked

_OPEN, _ITEM, _END = "<ul>", '<li title="{0}: {1}">{0}</li>', "</ul>"


def stretch(*items: tuple[object, object]) -> list[Piece]:
    return [(_OPEN, ()), *((_ITEM, item) for item in items), (_END, ())]


def test_what_was_packed_is_the_same_letter_for_letter() -> None:
    stretches = [
        stretch(("a", 1), ("{1}", "{0}")),
        [],
        stretch(),
        stretch(("c", "\u2212\ud800")),
        [*stretch(("d", 2)), ("<hr>", ())],
        stretch(("e", "{}"), ("f", "{2}")),
    ]
    assert html(stretches[0]) == '<ul><li title="a: 1">a</li><li title="{1}: {0}">{1}</li></ul>'
    parts = packed(stretches)
    assert unpacked(parts) == [html(each) for each in stretches]
    assert parts["forms"] == [_OPEN, _ITEM, _END, "<hr>"]
    assert parts["stretches"] == [0, 1, 2, 3, 4, 0], "each sequence of forms stands once"


def test_nothing_packs_to_nothing() -> None:
    assert unpacked(packed([])) == []


@pytest.mark.parametrize("name", ["</li>", '" onload="x', "'", "&lt;", "a<b>&c"])
def test_a_name_can_end_neither_an_element_nor_an_attribute(name: str) -> None:
    assert not set("<>\"'") & set(text(name))
