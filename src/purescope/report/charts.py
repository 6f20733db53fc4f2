"""Specify the charts of the page in Vega-Lite, with Altair.

The still picture and the live chart share one specification. Colours are CSS variables and
``currentColor``, so the stylesheet decides on light and dark. Whatever a reader can switch is a
parameter of the specification (``percent``, ``ticks``) or a named set of rows.
"""

import functools
from collections.abc import Sequence
from typing import Any

import altair as alt

from purescope import formats
from purescope.formats import Look
from purescope.report.blocks import SHAPES, Row, Spec

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
WIDE, HALF, SMALL = 1000, 500, 250  # widths of a still picture, in pixels
_LEVEL_DASH = "datum.name == 'chance' ? [1, 4] : [3, 3]"
_AXIS = "percent ? format(datum.value, '.1~%') : format(datum.value, '.3~f')"
_TOWERS = alt.Scale(domain=["image", "text"], range=["var(--image)", "var(--text)"])


def curve_chart(
    rows: list[Row],
    levels: list[Row],
    looks: Sequence[Look],
    *,
    at: int | None,
    percent: bool,
    neurons: int | None,
    ticks: list[int],
    span: tuple[float, float] | None = None,
    width: int = WIDE,
    height: int = 320,
    small: bool = False,
) -> Spec:
    """Draw values against k, with bands for the random orders and lines for the other strategies.

    Args:
        rows, levels: those of a `purescope.report.curves.Curve`.
        looks: the looks of the strategies among them.
        at: the chosen k, marked by a vertical line; None for a chart without a choice.
        percent: whether values are fractions, shown in per cent.
        neurons: number of neurons of the model, for the title of the axis; None where models of
            several sizes share the axis.
        ticks: the ks that are labelled at the axis.
        span: range of the axis of values, for charts to be compared; None for the range of the
            rows.
        width, height: in pixels.
        small: whether the chart is one of many, without titles of axes and without intervals.
    """
    has_intervals = any(row["strategy"] != "random" and row["low"] == row["low"] for row in rows)
    spec = _curves(
        tuple(looks),
        neurons,
        tuple(ticks),
        span,
        (width, height),
        percent=percent,
        small=small,
        has_choice=at is not None,
        has_intervals=has_intervals and not small,
    )
    return with_rows(spec, curves=rows, levels=levels, chosen=[{"k": at}], hover=[])


@functools.lru_cache(maxsize=64)
def _curves(
    looks: tuple[Look, ...],
    neurons: int | None,
    ticks: tuple[int, ...],
    span: tuple[float, float] | None,
    size: tuple[int, int],
    *,
    percent: bool,
    small: bool,
    has_choice: bool,
    has_intervals: bool,
) -> Spec:
    """Specify a chart of curves without its rows; Altair takes 30 ms for it."""
    width, height = size
    curves, lines = named("curves"), named("levels")
    value_axis = alt.Axis(title=None, labelExpr=_AXIS, tickCount=4 if small else 6)
    base = alt.Chart(curves).encode(x=k_axis(neurons, small))
    domain = alt.Undefined if span is None else list(span)
    y = alt.Y(
        "value:Q",
        scale=alt.Scale(zero=False, nice=False, padding=6, domain=domain),
        axis=value_axis,
    )
    low = alt.Y("low:Q", scale=alt.Scale(zero=False, nice=False), axis=value_axis)
    random, others = "datum.strategy == 'random'", "datum.strategy != 'random'"
    colour = by_strategy(alt.Stroke, looks, [look.colour for look in looks])
    dash = by_strategy(alt.StrokeDash, looks, [look.dash for look in looks])
    band = base.transform_filter(random)
    layers: list[Any] = [
        band.mark_area(fill="var(--random)", opacity=0.10).encode(
            y=alt.Y("least:Q", axis=value_axis), y2=alt.Y2("greatest:Q")
        ),
        band.mark_area(fill="var(--random)", opacity=0.22).encode(y=low, y2=alt.Y2("high:Q")),
        alt.Chart(lines)
        .transform_filter("!datum.below")
        .mark_rule(stroke="currentColor", strokeDash=alt.ExprRef(_LEVEL_DASH), opacity=0.75)
        .encode(y=alt.Y("value:Q", axis=value_axis)),
    ]
    if not small:
        layers += [  # names of the lines, right of the plot, where no curve is
            _names(lines, below=False).encode(y=alt.Y("value:Q")),
            _names(lines, below=True).encode(y=alt.value(height - 16)),
        ]
    if has_intervals:
        # Two intervals at one k stand side by side, so that neither covers the other.
        beside = alt.ExprRef("datum.strategy == 'low_purity' ? 2.5 : -2.5")
        bars = base.transform_filter(others).mark_rule(strokeWidth=1.5, opacity=0.8, xOffset=beside)
        layers.append(bars.encode(y=low, y2=alt.Y2("high:Q"), stroke=colour))
    shown = [look for look in looks if look.shape]
    points = base.transform_filter(others).encode(y=y, stroke=colour)
    if has_choice:
        chosen = alt.Chart(named("chosen")).mark_rule(
            stroke="var(--accent)", strokeWidth=1.5, opacity=0.9
        )
        layers.append(chosen.encode(x=alt.X("k:Q")))
    layers += [
        base.mark_line(strokeWidth=1.6 if small else 2).encode(y=y, stroke=colour, strokeDash=dash),
        points.mark_point(strokeWidth=1.8, opacity=1).encode(
            shape=by_strategy(alt.Shape, shown, [look.shape for look in shown]),
            fill=by_strategy(
                alt.Fill, shown, [look.colour if look.filled else "var(--page)" for look in shown]
            ),
            size=alt.value(22 if small else 52),
        ),
        # Invisible areas for the pointer, one for each k, with a tooltip of all values at this k,
        # so that nobody has to hit a line. The page's script fills them.
        alt.Chart(named("hover")).mark_rect(
            x=alt.ExprRef("datum.from === null ? 0 : scale('x', datum.from)"),
            x2=alt.ExprRef("datum.to === null ? width : scale('x', datum.to)"),
            y=0,
            y2=alt.ExprRef("height"),
            opacity=0,
            tooltip=alt.ExprRef("datum.text"),
        ),
    ]
    chart = alt.layer(*layers).add_params(
        alt.param("percent", value=percent), alt.param("ticks", value=list(ticks))
    )
    return finished(chart, width, height)


def histogram_chart(rows: list[Row], nulls: list[Row]) -> Spec:
    """Draw a histogram of overlaps over the range of the overlaps of random neurons.

    Args:
        rows: the bins, with tower, start, end and neurons.
        nulls: the range of random neurons: tower, least, greatest, text (for the pointer).
    """
    x = alt.X(
        "start:Q",
        bin="binned",
        title="Overlap (low = pure)",
        axis=alt.Axis(grid=False, tickCount=6, format=".2~f"),
    )
    bars = (
        alt.Chart(named("bins"))
        .mark_bar(opacity=1, binSpacing=1)
        .encode(
            x=x,
            x2=alt.X2("end:Q"),
            y=alt.Y(
                "neurons:Q", title="Neurons", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=4)
            ),
            fill=alt.Fill("tower:N", scale=_TOWERS, legend=None),
            tooltip=[
                alt.Tooltip("tower:N"),
                alt.Tooltip("start:Q", title="overlap from", format=".4f"),
                alt.Tooltip("end:Q", title="to", format=".4f"),
                alt.Tooltip("neurons:Q"),
            ],
        )
    )
    layers: list[Any] = [bars]
    if nulls:
        null = alt.Chart(named("nulls"))
        tooltip = [alt.Tooltip("text:N", title="random neurons")]
        layers = [
            null.mark_rect(fill="var(--random)", opacity=0.35).encode(
                x=alt.X("least:Q"), x2=alt.X2("greatest:Q"), tooltip=tooltip
            ),
            bars,
            null.mark_text(
                align="left", dx=6, dy=4, baseline="top", fill="currentColor", fontSize=11
            ).encode(
                x=alt.X("greatest:Q"), y=alt.value(0), text=alt.value("range of random neurons")
            ),
        ]
    return finished(alt.layer(*layers), HALF, 150, bins=rows, nulls=nulls)


def scatter_chart(rows: list[Row], neurons: int) -> Spec:
    """Draw the accuracy lost without each neuron against its overlap, the purest on the left.

    Args:
        rows: neuron, rank, total_overlap, accuracy_drop, low, high.
        neurons: number of neurons of the model: the total overlap is a sum over the other neurons
            in two towers.
    """
    mean = f"datum.total_overlap / {2 * max(neurons - 1, 1)}"
    base = alt.Chart(named("neurons")).transform_calculate(
        Lost="format(100 * datum.accuracy_drop, '+.2f') + ' points'",
        Interval="format(100 * datum.low, '+.2f') + ' to ' + format(100 * datum.high, '+.2f')",
        drop="100 * datum.accuracy_drop",
        overlap=mean,
    )
    drop = "100 * datum.accuracy_drop"
    chosen = alt.Chart(named("chosen")).transform_calculate(drop=drop, overlap=mean)
    x = alt.X(
        "overlap:Q",
        title="Overlap, mean of both towers (low = pure)",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(tickCount=6, grid=False, format=".2~f"),
    )
    y = alt.Y("drop:Q", title="Accuracy lost without it (points)")
    tooltip = [
        alt.Tooltip("neuron:N"),
        alt.Tooltip("rank:Q", title="rank by purity"),
        alt.Tooltip("overlap:Q", format=".4f"),
        alt.Tooltip("Lost:N", title="lost without it"),
        alt.Tooltip("Interval:N", title="95 % interval"),
    ]
    zero = alt.Chart(named("zero")).mark_rule(stroke="currentColor", opacity=0.5)
    points = base.mark_point(
        filled=True, size=34, opacity=0.7, fill="var(--high-purity)", cursor="pointer"
    ).encode(x=x, y=y, tooltip=tooltip)
    ring = chosen.mark_point(size=170, stroke="var(--accent)", strokeWidth=2.5, opacity=1).encode(
        x=x, y=y
    )
    return finished(
        alt.layer(zero.encode(y=alt.Y("drop:Q")), points, ring),
        WIDE,
        300,
        neurons=rows,
        chosen=rows[:1],
        zero=[{"drop": 0}],
    )


def dot(name: str, kind: str, value: float, low: float, high: float) -> Row:
    """Return a row of `dots_chart` for a difference of accuracies, in points, with interval."""
    text = f"{formats.points(value)} points ({formats.points(low)} to {formats.points(high)})"
    numbers = {"value": 100 * value, "low": 100 * low, "high": 100 * high}
    return {"name": str(name), "kind": kind, **numbers, "text": text}


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
) -> Spec:
    """Draw a row for each name, with a dot for each kind of value and a line for its interval.

    Args:
        rows: name, kind, value, low, high, text (for the pointer).
        title: title of the axis of values.
        colours: CSS colour by kind; the keys are the kinds in their order.
        step: height of a row in pixels.
        zero: whether a line marks 0.
        intervals: whether the rows have intervals.
        form: format of the numbers at the axis.
        span: range of the axis of values, for charts to be compared; None for that of the rows.
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
    shapes, fills = points_by_kind(colours)
    colour = by_kind(alt.Stroke, kinds, list(colours.values()))
    offset = (
        alt.YOffset("kind:N", scale=alt.Scale(domain=kinds, paddingInner=0.3, paddingOuter=0.6))
        if intervals and len(kinds) > 1
        else None
    )
    tooltip = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("kind:N", title="of"),
        alt.Tooltip("text:N", title="value"),
    ]
    coded = {"y": y, "stroke": colour, "tooltip": tooltip} | (
        {"yOffset": offset} if offset is not None else {}
    )
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
            shape=by_kind(alt.Shape, kinds, shapes),
            fill=by_kind(alt.Fill, kinds, fills),
            **coded,
        )
    )
    return finished(
        alt.layer(*layers), HALF, {"step": step}, rows=rows, zero=[{"value": 0}] if zero else []
    )


def by_kind(channel: Any, kinds: list[str], values: list[Any]) -> Any:
    """Give each kind of value one colour, shape or dash on a channel."""
    return channel("kind:N", scale=alt.Scale(domain=kinds, range=values), legend=None)


def points_by_kind(colours: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the shape and the fill of the points of each kind; every second kind is open."""
    shapes = (list(SHAPES) * 3)[: len(colours)]
    values = enumerate(colours.values())
    return shapes, [colour if number % 2 == 0 else "var(--page)" for number, colour in values]


def _names(lines: alt.NamedData, *, below: bool) -> Any:
    """Write the name beside each line; at the lower edge for a line below the plot."""
    return (
        alt.Chart(lines)
        .transform_filter("datum.below" if below else "!datum.below")
        .transform_calculate(
            label="replace(replace(datum.label, ' neurons', '\\nneurons'), ', ', ',\\n')"
        )
        .mark_text(
            align="left",
            baseline="middle",
            lineBreak="\n",
            dx=6,
            fill="currentColor",
            fontSize=11,
            opacity=0.85,
        )
        .encode(x=alt.value("width"), text=alt.Text("label:N"))
    )


def named(name: str) -> alt.NamedData:
    """Name a set of rows, which the specification holds apart from the layers."""
    return alt.NamedData(name=name)


def by_strategy(channel: Any, looks: Sequence[Look], values: list[Any]) -> Any:
    """Give each strategy its colour, shape or dash on a channel."""
    scale = alt.Scale(domain=[look.name for look in looks], range=values)
    return channel("strategy:N", scale=scale, legend=None)


def k_axis(neurons: int | None, small: bool = False) -> alt.X:
    """Return the axis of the neurons kept; the parameter ``ticks`` says which k are labelled."""
    title = None if small else "Neurons kept" + (f", of {neurons:,}" if neurons else "")
    axis = alt.Axis(
        grid=False,
        values=alt.ExprRef("ticks"),
        format="~d",
        labelOverlap="greedy",
        labelSeparation=4,
    )
    return alt.X("k:Q", title=title, scale=alt.Scale(zero=False, nice=False, padding=8), axis=axis)


def finished(chart: Any, width: int, height: int | dict[str, int], **datasets: list[Row]) -> Spec:
    """Return the specification of a chart with its rows and the look that all charts share."""
    axis = {
        **{f"{part}Color": "currentColor" for part in ("label", "title", "domain", "tick", "grid")},
        "domainOpacity": 0.35,
        "tickOpacity": 0.35,
        "gridOpacity": 0.12,
        "labelFontSize": 11.5,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelOpacity": 0.85,
        "tickSize": 4,
    }
    spec: Spec = chart.properties(width=width, height=height).to_dict(validate=False)
    spec["background"] = None
    spec["autosize"] = (
        {"type": "fit-x", "contains": "padding"} if isinstance(height, int) else {"type": "pad"}
    )
    spec["config"] = {
        "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu "
        "Sans', sans-serif",
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"domain": False, "ticks": False},
        "aria": False,
    }
    return with_rows(_plain(spec), **datasets)


def with_rows(spec: Spec, **datasets: list[Row]) -> Spec:
    """Return a specification with these rows."""
    return {**spec, "datasets": _plain(datasets)}


def _plain(spec: Any) -> Any:
    """Replace NaN by null, since JSON has no NaN."""
    if isinstance(spec, dict):
        return {key: _plain(value) for key, value in spec.items()}
    if isinstance(spec, list):
        return [_plain(value) for value in spec]
    return None if isinstance(spec, float) and spec != spec else spec
