"""The figure of the share that each strategy keeps at each k, with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from purescope import formats
from purescope.formats import METRIC_NAMES, Look, strategy_name
from purescope.report.blocks import INK, Figure, Key, Row, Spec
from purescope.report.charts import by_strategy, finished, k_axis, named
from purescope.tables.results import Results
from purescope.tables.schema import each_row
from purescope.tables.shares import CHOICES, SHARES, TARGETS

_TICKS = 12  # labels at an axis, at most
_DASH = (3, 3)  # of the lines of what is to be kept


def share_text(value: float, low: float, high: float) -> str:
    """Write a share with its interval.

    Examples:
        >>> share_text(0.5, 0.25, 1.0)
        '50.0 % (25.0 to 100.0)'
    """
    return f"{formats.percent(value)} % ({formats.percent(low)} to {formats.percent(high)})"


def metric_text(metric: str) -> str:
    """Return the name of a metric within a sentence.

    Examples:
        >>> metric_text("accuracy"), metric_text("image_retrieval_ndcg@10")
        ('accuracy', 'image nDCG at 10')
    """
    name = METRIC_NAMES[metric].replace(" retrieval,", "")
    return name[0].lower() + name[1:]


def per_cent(target: float) -> str:
    """Write a share to keep, such as ``99 %``."""
    return f"{100 * target:g} %"


def share_figure(
    folder: Results, metric: str, looks: Sequence[Look], chosen: str, width: int
) -> Figure:
    """Draw the share that each strategy keeps against k; the reader chooses model and dataset."""
    shares, choices = folder.rows(SHARES), folder.rows(CHOICES)
    shares = shares[(shares.metric == metric) & (shares.half == "judge")]
    names = {look.name for look in looks}
    pairs: dict[str, dict[str, list[Row]]] = {}
    alts, ks = {}, set[int]()
    for number, model in enumerate(folder.models):
        for place, dataset in enumerate(folder.datasets):
            own = shares[(shares.model == model) & (shares.dataset == dataset)]
            own = own[own.strategy.isin(names)].sort_values("k", kind="stable")
            marks = choices[
                (choices.model == model) & (choices.dataset == dataset) & (choices.metric == metric)
            ]
            pair = f"{number}/{place}"
            pairs[pair] = {"curves": _rows(own), "marks": _marks(marks)}
            if len(own):
                alts[pair] = _in_words(f"{model} on {dataset}", metric, own, looks)
                ks |= set(own.k.tolist())
    first = chosen if chosen in alts else next(iter(alts))
    neurons = shares.neurons.unique()
    ticks = sorted(ks)[:: -(-len(ks) // _TICKS)]
    spec = share_chart(
        pairs[first],
        looks,
        neurons=int(neurons[0]) if len(neurons) == 1 else None,
        ticks=ticks,
        width=width,
    )
    title = f"Share kept: {metric_text(metric)}"
    name = f"smaller-{metric.replace('@', '-').replace('_', '-')}"
    keys = (
        *(
            Key(look.label, look.colour, look.dash, look.shape, look.filled, band=True)
            for look in looks
        ),
        Key(f"{' and '.join(map(per_cent, TARGETS))} of all dimensions", INK, _DASH),
    )
    note = "Bands are 95 % confidence intervals on the half of the images that judges."
    return Figure(name, title, alts[first], spec, keys, pairs, first, note, alts)


def _rows(shares: pd.DataFrame) -> list[Row]:
    return [
        {
            "strategy": row.strategy,
            "name": strategy_name(str(row.strategy)),
            "k": int(row.k),
            "value": row.share,
            "low": row.low,
            "high": row.high,
            "text": share_text(row.share, row.low, row.high),
        }
        for row in each_row(shares)
        if row.share == row.share
    ]


def _marks(choices: pd.DataFrame) -> list[Row]:
    """Return the k that are enough, each with the targets that it reaches."""
    targets: dict[int, list[float]] = {}
    for row in each_row(choices[choices.enough.astype(bool)]):
        targets.setdefault(int(row.k), []).append(row.target)
    return [
        {"k": k, "label": f"{k:,} for {' and '.join(map(per_cent, own))}"}
        for k, own in targets.items()
    ]


def _in_words(title: str, metric: str, shares: pd.DataFrame, looks: Sequence[Look]) -> str:
    """Describe the shares at the smallest, the middle and the largest k."""
    texts = {
        (str(row.strategy), int(row.k)): share_text(row.share, row.low, row.high)
        for row in each_row(shares)
    }
    ks = sorted(set(shares.k.tolist()))
    few = dict.fromkeys((ks[0], ks[len(ks) // 2], ks[-1]))
    sentences = [f"{title}: share of the {metric_text(metric)} that is kept."]
    for k in few:
        values = [
            f"{look.label} {texts[look.name, k]}" for look in looks if (look.name, k) in texts
        ]
        sentences.append(f"At {k:,}: {', '.join(values)}.")
    return " ".join(sentences)


def share_chart(
    rows: Mapping[str, list[Row]],
    looks: Sequence[Look],
    *,
    neurons: int | None,
    ticks: list[int],
    width: int,
) -> Spec:
    """Draw shares against k with their bands, lines at what is to be kept, and the k chosen.

    Args:
        rows: ``curves``: strategy, name, k, value, low, high, text; ``marks``: k, label.
        looks: the looks of the strategies among them.
        neurons, ticks: as in `purescope.report.charts.curve_chart`.
        width: in pixels.
    """
    height = 320
    base = alt.Chart(named("curves")).encode(x=k_axis(neurons))
    scale = alt.Scale(zero=False, nice=False, padding=6)
    axis = alt.Axis(title=None, format=".1~%", tickCount=6)
    y = alt.Y("value:Q", scale=scale, axis=axis)
    colours = [look.colour for look in looks]
    pointed = [look for look in looks if look.shape]
    levels = alt.Chart(named("levels"))
    marks = alt.Chart(named("marks"))
    tooltip = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("k:Q", title="kept"),
        alt.Tooltip("text:N", title="share"),
    ]
    layers: list[Any] = [
        base.mark_area(opacity=0.13).encode(
            y=alt.Y("low:Q", axis=axis),
            y2=alt.Y2("high:Q"),
            color=by_strategy(alt.Color, looks, colours),
        ),
        levels.mark_rule(stroke="currentColor", strokeDash=_DASH, opacity=0.75).encode(y=y),
        levels.mark_text(align="left", dx=6, fill="currentColor", fontSize=11, opacity=0.85).encode(
            y=y, x=alt.value("width"), text=alt.Text("label:N")
        ),
        marks.mark_rule(stroke="var(--accent)", strokeWidth=1.5, opacity=0.9).encode(
            x=alt.X("k:Q")
        ),
        marks.mark_text(align="left", dx=4, dy=-6, fill="var(--accent)", fontSize=11).encode(
            x=alt.X("k:Q"), y=alt.value(height), text=alt.Text("label:N")
        ),
        base.mark_line(strokeWidth=2).encode(
            y=y,
            stroke=by_strategy(alt.Stroke, looks, colours),
            strokeDash=by_strategy(alt.StrokeDash, looks, [look.dash for look in looks]),
        ),
        base.transform_filter("datum.strategy != 'random'")
        .mark_point(strokeWidth=1.8, opacity=1, size=52)
        .encode(
            y=y,
            stroke=by_strategy(alt.Stroke, looks, colours),
            shape=by_strategy(alt.Shape, pointed, [look.shape for look in pointed]),
            fill=by_strategy(
                alt.Fill,
                pointed,
                [look.colour if look.filled else "var(--page)" for look in pointed],
            ),
            tooltip=tooltip,
        ),
    ]
    chart = alt.layer(*layers).add_params(alt.param("ticks", value=ticks))
    lines = [{"value": target, "label": per_cent(target)} for target in TARGETS]
    return finished(chart, width, height, levels=lines, **rows)
