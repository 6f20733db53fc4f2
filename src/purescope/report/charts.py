"""The charts of the page as Vega-Lite, made with Altair: one specification for the still picture
and the live view.

Colours are CSS variables and ``currentColor``, so light and dark are the stylesheet's. What a
reader switches is a parameter of the specification (``at``, ``percent``) or a named set of rows.
"""

from collections.abc import Sequence
from typing import Any, cast

import altair as alt

from purescope.looks import Look

Row = dict[str, Any]
Spec = dict[str, Any]

WIDE, HALF, SMALL = 1000, 500, 250  # pixels of a still picture, as much as the page has for it
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
    """Values against k: bands for the random orders, lines and intervals for the others, a rule at
    the chosen k.

    Args:
        rows, levels: as a `Curve` has them.
        looks: of the strategies among them.
        at: the chosen k; None for a figure without one.
        percent: whether values are fractions to be shown in per cent.
        neurons: of the model, for the axis; None where models of several sizes share it.
        ticks: ks that the axis names.
        span: of the axis of values, for charts to be compared; None for that of the rows.
        width, height: in pixels.
        small: one of many: no axis titles, no intervals.
    """
    curves, lines = named("curves"), named("levels")
    base = alt.Chart(curves).encode(x=_k_axis(neurons, small))
    domain = alt.Undefined if span is None else list(span)
    y = alt.Y(
        "value:Q",
        scale=alt.Scale(zero=False, nice=False, padding=6, domain=domain),
        axis=_value_axis(small),
    )
    low = alt.Y("low:Q", scale=alt.Scale(zero=False, nice=False), axis=_value_axis(small))
    random, others = "datum.strategy == 'random'", "datum.strategy != 'random'"
    colour = _by_strategy(looks, "stroke", [look.colour for look in looks])
    dash = alt.StrokeDash(
        "strategy:N", scale=_scale(looks, [look.dash for look in looks]), legend=None
    )
    band = base.transform_filter(random)
    layers: list[Any] = [
        band.mark_area(fill="var(--random)", opacity=0.10).encode(
            y=alt.Y("least:Q", axis=_value_axis(small)), y2=alt.Y2("greatest:Q")
        ),
        band.mark_area(fill="var(--random)", opacity=0.22).encode(y=low, y2=alt.Y2("high:Q")),
        alt.Chart(lines)
        .transform_filter("!datum.below")
        .mark_rule(stroke="currentColor", strokeDash=alt.ExprRef(_LEVEL_DASH), opacity=0.75)
        .encode(y=alt.Y("value:Q", axis=_value_axis(small))),
    ]
    if not small:
        layers += [  # the names of the lines, right of the plot where no curve comes
            _names(lines, below=False).encode(y=alt.Y("value:Q")),
            _names(lines, below=True).encode(y=alt.value(height - 16)),
        ]
    if not small and any(row["strategy"] != "random" and row["low"] == row["low"] for row in rows):
        beside = alt.ExprRef(
            "datum.strategy == 'low_purity' ? 2.5 : -2.5"
        )  # two at one k do not cover each other
        bars = base.transform_filter(others).mark_rule(strokeWidth=1.5, opacity=0.8, xOffset=beside)
        layers.append(bars.encode(y=low, y2=alt.Y2("high:Q"), stroke=colour))
    shown = [look for look in looks if look.shape]
    points = base.transform_filter(others).encode(y=y, stroke=colour)
    if at is not None:
        chosen = alt.Chart(named("chosen")).mark_rule(
            stroke="var(--accent)", strokeWidth=1.5, opacity=0.9
        )
        layers.append(chosen.encode(x=alt.X("k:Q")))
    layers += [
        base.mark_line(strokeWidth=1.6 if small else 2).encode(y=y, stroke=colour, strokeDash=dash),
        points.mark_point(strokeWidth=1.8, opacity=1).encode(
            shape=alt.Shape(
                "strategy:N", scale=_scale(shown, [look.shape for look in shown]), legend=None
            ),
            fill=alt.Fill(
                "strategy:N",
                scale=_scale(
                    shown, [look.colour if look.filled else "var(--page)" for look in shown]
                ),
                legend=None,
            ),
            size=alt.value(22 if small else 52),
        ),
        # What the pointer meets: all values at the nearest k, so that no line need be hit. The
        # page's script fills it.
        alt.Chart(named("hover")).mark_rect(
            x=alt.ExprRef("datum.from === null ? 0 : scale('x', datum.from)"),
            x2=alt.ExprRef("datum.to === null ? width : scale('x', datum.to)"),
            y=0,
            y2=alt.ExprRef("height"),
            opacity=0,
            tooltip=alt.ExprRef("datum.told"),
        ),
    ]
    chart = alt.layer(*layers).add_params(
        alt.param("percent", value=percent), alt.param("ticks", value=ticks)
    )
    return finished(chart, width, height, curves=rows, levels=levels, chosen=[{"k": at}], hover=[])


def histogram_chart(rows: list[Row], nulls: list[Row]) -> Spec:
    """Overlaps of both towers as stepped areas, above the range of those of random neurons.

    Args:
        rows: tower, start, end, neurons: the bins.
        nulls: tower, least, greatest: of random neurons.
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
        tooltip = [alt.Tooltip("told:N", title="random neurons")]
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
    """Accuracy lost without each neuron against its overlap; the purest on the left.

    Args:
        rows: neuron, rank, total_overlap, accuracy_drop, low, high.
        neurons: of the model; the total overlap is a sum over the others in two towers.
    """
    mean = f"datum.total_overlap / {2 * max(neurons - 1, 1)}"
    base = alt.Chart(named("neurons")).transform_calculate(
        Lost="format(100 * datum.accuracy_drop, '+.2f') + ' points'",
        Interval="format(100 * datum.low, '+.2f') + ' to ' + format(100 * datum.high, '+.2f')",
        drop="100 * datum.accuracy_drop",
        overlap=mean,
    )
    chosen = alt.Chart(named("chosen")).transform_calculate(
        drop="100 * datum.accuracy_drop", overlap=mean
    )
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
    zero = (
        alt.Chart(named("zero"))
        .mark_rule(stroke="currentColor", opacity=0.5)
        .encode(y=alt.Y("drop:Q"))
    )
    points = base.mark_point(
        filled=True, size=34, opacity=0.7, fill="var(--high-purity)", cursor="pointer"
    ).encode(x=x, y=y, tooltip=tooltip)
    ring = chosen.mark_point(size=170, stroke="var(--accent)", strokeWidth=2.5, opacity=1).encode(
        x=x, y=y
    )
    return finished(
        alt.layer(zero, points, ring), WIDE, 300, neurons=rows, chosen=rows[:1], zero=[{"drop": 0}]
    )


def _names(lines: alt.NamedData, *, below: bool) -> Any:
    """What the lines are called; of one that lies below the plot, at its lower edge."""
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
    return alt.NamedData(name=name)


def _scale(looks: Sequence[Look], values: list[Any]) -> alt.Scale:
    return alt.Scale(domain=[look.name for look in looks], range=values)


def _by_strategy(looks: Sequence[Look], channel: str, values: list[Any]) -> Any:
    return alt.Stroke("strategy:N", scale=_scale(looks, values), legend=None)


def _k_axis(neurons: int | None, small: bool) -> alt.X:
    title = None if small else "Neurons kept" + (f", of {neurons:,}" if neurons else "")
    axis = alt.Axis(
        grid=False,
        values=alt.ExprRef("ticks"),
        format="~d",
        labelOverlap="greedy",
        labelSeparation=4,
    )
    return alt.X("k:Q", title=title, scale=alt.Scale(zero=False, nice=False, padding=8), axis=axis)


def _value_axis(small: bool) -> alt.Axis:
    return alt.Axis(title=None, labelExpr=_AXIS, tickCount=4 if small else 6)


def finished(chart: Any, width: int, height: int | dict[str, int], **datasets: list[Row]) -> Spec:
    """The look that all charts share, as a specification."""
    axis = {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
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
    spec["datasets"] = datasets
    return cast(Spec, _plain(spec))


def _plain(spec: Any) -> Any:
    """The same with null for what JSON has no word for."""
    if isinstance(spec, dict):
        return {key: _plain(value) for key, value in spec.items()}
    if isinstance(spec, list):
        return [_plain(value) for value in spec]
    return None if isinstance(spec, float) and spec != spec else spec
