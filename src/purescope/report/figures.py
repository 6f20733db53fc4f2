"""A figure of the page: a specification, the still picture made of it, and its words.

Charts of values come by kind: dots in rows, and lines along a course.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import altair as alt
from altair import SCHEMA_VERSION

from purescope import formats
from purescope.report.charts import HALF, Row, Spec, finished, named

SHAPES = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "triangle-down",
)  # of kinds, in their order
_TICKS = 8  # at most so many places on the axis are all named


def dot(name: str, kind: str, value: float, low: float, high: float) -> Row:
    """A row of `dots_chart` for a difference of accuracies, in points, with its interval."""
    told = f"{formats.points(value)} points ({formats.points(low)} to {formats.points(high)})"
    return {
        "name": str(name),
        "kind": kind,
        "value": 100 * value,
        "low": 100 * low,
        "high": 100 * high,
        "told": told,
    }


def dots_chart(
    rows: list[Row],
    *,
    title: str,
    colours: dict[str, str],
    step: int = 24,
    zero: bool = True,
    intervals: bool = True,
    form: str = "+~f",
    span: tuple[float, float] | None = None,
    width: int = HALF,
) -> Spec:
    """A row for each name, a dot for each kind of value, its interval as a line.

    Args:
        rows: name, kind, value, low, high, told (for the pointer).
        title: of the axis of values.
        colours: CSS colour by kind; the keys are the kinds in their order.
        step: height of a row.
        zero: whether a line marks 0.
        intervals: whether the rows have them.
        form: of the axis' numbers.
        span: of the axis of values, for charts to be compared; None for that of the rows.
        width: in pixels.
    """
    kinds = list(colours)
    data = named("rows")
    domain = alt.Undefined if span is None else [min(0, span[0]), max(0, span[1])]
    y = alt.Y(
        "name:N",
        title=None,
        sort=None,
        axis=alt.Axis(
            domain=False, ticks=False, labelLimit=210, labelPadding=8, grid=True, gridDash=[1, 3]
        ),
    )
    x = alt.X(
        "value:Q",
        title=title,
        scale=alt.Scale(zero=False, nice=True, domain=domain),
        axis=alt.Axis(format=form, tickCount=6),
    )
    colour = alt.Stroke(
        "kind:N", scale=alt.Scale(domain=kinds, range=list(colours.values())), legend=None
    )
    offset = (
        alt.YOffset("kind:N", scale=alt.Scale(domain=kinds, paddingInner=0.3, paddingOuter=0.6))
        if intervals and len(kinds) > 1
        else None
    )
    tooltip = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("kind:N", title="of"),
        alt.Tooltip("told:N", title="value"),
    ]
    coded = {"y": y, "stroke": colour, "tooltip": tooltip} | (
        {"yOffset": offset} if offset is not None else {}
    )
    shapes = (list(SHAPES) * 3)[: len(kinds)]
    fills = [colours[kind] if place % 2 == 0 else "var(--page)" for place, kind in enumerate(kinds)]
    layers: list[Any] = []
    if zero:
        layers.append(
            alt.Chart(named("zero"))
            .mark_rule(stroke="currentColor", opacity=0.6)
            .encode(x=alt.X("value:Q"))
        )
    if intervals:
        layers.append(
            alt.Chart(data)
            .mark_rule(strokeWidth=2, opacity=0.6)
            .encode(x=alt.X("low:Q", title=title), x2=alt.X2("high:Q"), **coded)
        )
    layers.append(
        alt.Chart(data)
        .mark_point(size=60, strokeWidth=1.8, opacity=1)
        .encode(
            x=x,
            shape=alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=shapes), legend=None),
            fill=alt.Fill("kind:N", scale=alt.Scale(domain=kinds, range=fills), legend=None),
            **coded,
        )
    )
    return finished(
        alt.layer(*layers), width, {"step": step}, rows=rows, zero=[{"value": 0}] if zero else []
    )


def lines_chart(
    rows: list[Row],
    *,
    x: str,
    y: str,
    colours: dict[str, str],
    dashes: dict[str, list[int]] | None = None,
    level: float | None = None,
    band: bool = False,
    form: str | None = "~f",
    log: bool = False,
    width: int = HALF,
    height: int = 220,
) -> Spec:
    """A line for each kind of value: through the depths of a model, the steps of a training, or ks.

    Args:
        rows: x, kind, value, told, and low and high where `band` is set.
        x, y: titles of the axes.
        colours: CSS colour by kind.
        dashes: by kind; without, the second and every other one after it is dashed.
        level: where a dotted line runs across.
        band: whether an area spans low to high.
        form: of the numbers at the axis of values; without, as many digits as tell them apart.
        log: whether that axis is logarithmic.
        width, height: in pixels.
    """
    kinds = list(colours)
    dashes = dashes or {
        kind: [1, 0] if place % 2 == 0 else [6, 2] for place, kind in enumerate(kinds)
    }
    data = named("rows")
    scale = alt.Scale(type="log" if log else "linear", zero=False, nice=True)
    places = sorted({row["x"] for row in rows})
    ticks: dict[str, Any] = (
        {"values": places} if len(places) <= _TICKS else {"tickCount": 6, "tickMinStep": 1}
    )
    across = alt.X(
        "x:Q",
        title=x,
        scale=alt.Scale(zero=False, nice=False),
        axis=alt.Axis(grid=False, format="~d", **ticks),
    )
    up = alt.Y(
        "value:Q", title=y, scale=scale, axis=alt.Axis(format=form or alt.Undefined, tickCount=5)
    )
    colour = alt.Stroke(
        "kind:N", scale=alt.Scale(domain=kinds, range=list(colours.values())), legend=None
    )
    shapes = (list(SHAPES) * 3)[: len(kinds)]
    fills = [colours[kind] if place % 2 == 0 else "var(--page)" for place, kind in enumerate(kinds)]
    tooltip = [
        alt.Tooltip("kind:N", title=" "),
        alt.Tooltip("x:Q", title=x),
        alt.Tooltip("told:N", title=y),
    ]
    layers: list[Any] = []
    if band:
        layers.append(
            alt.Chart(data)
            .transform_filter("datum.low != null")
            .mark_area(opacity=0.2)
            .encode(
                x=across,
                y=alt.Y("low:Q", title=y, scale=scale),
                y2=alt.Y2("high:Q"),
                fill=alt.Fill(
                    "kind:N",
                    scale=alt.Scale(domain=kinds, range=list(colours.values())),
                    legend=None,
                ),
            )
        )
    if level is not None:
        layers.append(
            alt.Chart(named("level"))
            .mark_rule(stroke="currentColor", strokeDash=[2, 3], opacity=0.7)
            .encode(y=alt.Y("value:Q"))
        )
    line = alt.Chart(data).encode(x=across, y=up, stroke=colour, tooltip=tooltip)
    layers += [
        line.mark_line(strokeWidth=2).encode(
            strokeDash=alt.StrokeDash(
                "kind:N",
                scale=alt.Scale(domain=kinds, range=[dashes[kind] for kind in kinds]),
                legend=None,
            )
        ),
        line.mark_point(size=40, strokeWidth=1.6, opacity=1).encode(
            shape=alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=shapes), legend=None),
            fill=alt.Fill("kind:N", scale=alt.Scale(domain=kinds, range=fills), legend=None),
        ),
    ]
    return finished(
        alt.layer(*layers).resolve_scale(fill="independent"),
        width,
        height,
        rows=rows,
        level=[{"value": level}],
    )


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
        choices: other rows, by "model/data set" in numbers, that the reader can switch to: sets by
            name, and alt.
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
        for place, ((label, colour), shape) in enumerate(
            zip(colours.items(), SHAPES * 3, strict=False)
        )
    )
