"""The check of the built site finds what it is there to find."""

from pathlib import Path

import pytest

from docs.check_links import faults


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="other.html">', "other.html: no such file"),
        ('<a href="#nowhere">', "#nowhere: no such anchor"),
        ('<img src="gone.png">', "gone.png: no such file"),
        (
            '<script src="https://cdn.example/x.js">',
            "loads https://cdn.example/x.js from elsewhere",
        ),
        (
            '<link rel="stylesheet" href="//cdn.example/x.css">',
            "loads //cdn.example/x.css from elsewhere",
        ),
    ],
)
def test_a_fault_is_found(body: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(body)
    assert [fault in said for said in faults(tmp_path)] == [True]


def test_a_font_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("")
    (tmp_path / "a.css").write_text("@font-face { src: url(https://fonts.example/a.woff) }")
    assert len(faults(tmp_path)) == 1


def test_what_leads_somewhere_is_none(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="#here"><a href="b.html#there"><a href="https://example.org"><p id="here">'
    )
    (tmp_path / "b.html").write_text('<p id="there"><a href="index.html">')
    assert faults(tmp_path) == []


def test_a_site_without_a_page_is_none(tmp_path: Path) -> None:
    assert faults(tmp_path) != []
