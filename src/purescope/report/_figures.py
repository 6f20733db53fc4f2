"""A figure of the page: a specification, the still picture made of it, and its words."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import vl_convert
from altair import SCHEMA_VERSION

from purescope.report._charts import Row, Spec
from purescope.report._kinds import SHAPES

VEGA_LITE = ".".join(SCHEMA_VERSION.split(".")[:2])


@dataclass(frozen=True)
class Key:
    """An entry of a legend: what a colour, a dash and a shape stand for."""

    label: str
    colour: str
    dash: list[int] = field(default_factory=lambda: [1, 0])
    shape: str = ""
    filled: bool = True
    band: bool = False


@dataclass(frozen=True)
class Figure:
    """A chart with its heading and the text that stands for it.

    Args:
        name: of its element, as HTML and CSS take it.
        title: in the page's words.
        alt: what it shows, in numbers, for those who do not see it.
        spec: Vega-Lite.
        keys: its legend.
        choices: other rows, by "model/data set" in numbers, that the reader can switch to: sets by name, and alt.
        chosen: which of them is shown first.
        note: below it.
    """

    name: str
    title: str
    alt: str
    spec: Spec
    keys: tuple[Key, ...] = ()
    choices: Mapping[str, Mapping[str, list[Row]]] = field(default_factory=dict)
    chosen: str = ""
    note: str = ""

    @property
    def live(self) -> dict[str, Any]:
        """What a script needs to draw it."""
        return {"spec": self.spec} | ({"choices": self.choices} if self.choices else {})


def stills(figures: Iterable[Figure]) -> dict[str, str]:
    """The picture of each figure by its name, as SVG whose ids no other picture has.

    Figures that differ in their rows alone are compiled from Vega-Lite to Vega once.
    """
    compiled: dict[str, Spec] = {}
    pictures = {}
    for figure in figures:
        rows = figure.spec["datasets"]
        same = json.dumps({**figure.spec, "datasets": list(rows)})
        if same not in compiled:
            compiled[same] = vl_convert.vegalite_to_vega(figure.spec, vl_version=VEGA_LITE)
        vega = compiled[same]
        data = [{**one, "values": rows[one["name"]]} if one["name"] in rows else one for one in vega["data"]]
        svg = vl_convert.vega_to_svg({**vega, "data": data})
        svg = re.sub(r'id="([^"]+)"', rf'id="{figure.name}-\1"', svg)
        pictures[figure.name] = re.sub(r"url\(#([^)]+)\)", rf"url(#{figure.name}-\1)", svg)
    return pictures


def keys_of(colours: Mapping[str, str], *, lines: bool = True) -> tuple[Key, ...]:
    """The legend of `dots_chart` and `lines_chart`, which tell kinds apart in the same way."""
    return tuple(
        Key(
            label,
            colour,
            dash=([1, 0] if place % 2 == 0 else [6, 2]) if lines else [],
            shape=shape,
            filled=place % 2 == 0,
        )
        for place, ((label, colour), shape) in enumerate(zip(colours.items(), SHAPES * 3, strict=False))
    )
