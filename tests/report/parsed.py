"""A page read as a browser without scripts would: elements, attributes, text; and what is wrong
with its markup.
"""

import base64
import gzip
import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

_VOID = {"meta", "link", "img", "input", "br", "hr", "source", "wbr", "col"}


@dataclass(eq=False)
class Element:
    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    def all(self, tag: str = "", **attributes: str) -> list["Element"]:
        """Those within, of this tag and with these attributes; a class among others counts."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if (not tag or child.tag == tag) and all(
                    child.has(*item) for item in attributes.items()
                ):
                    found.append(child)
                found += child.all(tag, **attributes)
        return found

    def one(self, tag: str = "", **attributes: str) -> "Element":
        (found,) = self.all(tag, **attributes)
        return found

    def has(self, name: str, value: str) -> bool:
        own = self.attributes.get(name.rstrip("_"))
        return own is not None and (own == value or (name == "class_" and value in own.split()))

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open, self.faults, self.ids = [self.root], list[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.faults.append(f"an attribute twice in <{tag}>: {names}")
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if "id" in element.attributes:
            self.ids.append(element.attributes["id"])
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1].tag != tag:
            self.faults.append(f"</{tag}> closes <{self.open[-1].tag}>")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(path: Path) -> Element:
    """The page; its faults are an AssertionError."""
    return parse_text(path.read_text(encoding="utf-8"))


def parse_text(text: str) -> Element:
    """A part of a page; its faults are an AssertionError."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    left = [element.tag for element in parser.open[1:]]
    twice = sorted({name for name in parser.ids if parser.ids.count(name) > 1})
    assert not parser.faults and not left and not twice, (parser.faults[:5], left, twice)
    return parser.root


def details_of(page: Element) -> dict[str, Any]:
    """What the page holds compressed for its script."""
    packed = base64.b64decode(page.one("script", id="details").text)
    return dict(json.loads(gzip.decompress(packed)))


def unpacked(packed: dict[str, Any]) -> list[str]:
    """The stretches of `purescope.report.pieces.packed`, value by value."""
    used = [0 for _ in packed["forms"]]
    stretches = []
    for place in packed["stretches"]:
        text = ""
        for form in packed["orders"][place]:
            piece = packed["forms"][form]
            # Slots first become what no value holds, so that a value is never taken for a slot.
            for slot in range(len(packed["values"][form])):
                piece = piece.replace(f"{{{slot}}}", f"\0{slot}\0")
            for slot, column in enumerate(packed["values"][form]):
                piece = piece.replace(f"\0{slot}\0", str(column[used[form]]))
            used[form] += 1
            text += piece
        stretches.append(text)
    return stretches


def card_of(details: dict[str, Any], model: int, neuron: int) -> Element:
    """The card of any neuron, from what the page holds for its script."""
    return parse_text(unpacked(details["cards"][str(model)])[neuron])
