"""A figure of the page: a specification, the still picture made of it, and its words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
