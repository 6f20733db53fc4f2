"""Sections that follow a course: the layers of a model, a training, and the published figures."""

from typing import Any

import altair as alt
import pandas as pd

from purescope import formats
from purescope.formats import strategy_name
from purescope.report.blocks import (
    DATA_COLOURS,
    HIGH,
    INK,
    LOW,
    NAMED,
    RANDOM,
    Answer,
    Column,
    Figure,
    Row,
    Section,
    Spec,
    groups,
    keys_of,
    make_table,
)
from purescope.report.charts import HALF, by_kind, finished, named, points_by_kind
from purescope.tables import schemas
from purescope.tables.results import Results
from purescope.tables.schema import each_row

_TICKS = 8  # up to this number of values, the axis labels all of them
_TOWERS = {"image": "image_relative_overlap", "text": "text_relative_overlap"}


def layers(folder: Results) -> Section:
    """Show the overlap at each depth, relative to random neurons of the same shape."""
    lead = "Overlap at each depth, relative to that of random neurons of the same shape."
    section, table = Section("layers", "Layers", "Layer by layer", lead), folder.layers
    if table.empty:
        return section
    for number, (model, model_rows) in enumerate(groups(table, "model")):
        changes = []
        for tower, tower_rows in groups(model_rows[model_rows.space == "weights"], "tower"):
            first, last = tower_rows.iloc[0], tower_rows.iloc[-1]
            changes.append(
                f"in the {tower} tower from {first.relative_overlap:.2f} times ({first.kind}) to "
                f"{last.relative_overlap:.2f} times ({last.kind})"
            )
            section.figures.append(_layer_figure(f"layers-{number}-{tower}", tower_rows))
        if changes:
            claim = (
                f"{model}: the overlap of weights, against that of random neurons, goes "
                f"{', '.join(changes)}."
            )
            evidence = (
                "At 1, weights overlap like random neurons of the same shape; more is less pure."
            )
            section.answers.append(Answer("", claim, evidence=evidence))
    columns = [
        *NAMED,
        Column("tower", "Tower"),
        Column("depth", "Depth", str),
        Column("kind", "Kind"),
        Column("space", "Space"),
        Column("neurons", "Neurons", str),
        Column("overlap", "Overlap", lambda v: formats.plain(v, 4)),
        Column("relative_overlap", "× random", lambda v: formats.plain(v, 2)),
        Column("effective_rank", "Effective rank", lambda v: formats.plain(v, 1)),
        Column("relative_effective_rank", "× random", lambda v: formats.plain(v, 2)),
    ]
    caption = "All layers, from the first to the last"
    section.tables.append(make_table("layers-table", caption, table, columns))
    return section


def _layer_figure(name: str, table: pd.DataFrame) -> Figure:
    """Draw the relative overlap of the weights of one tower against depth."""
    first, last = table.iloc[0], table.iloc[-1]
    kinds = [str(kind) for kind in table.kind.unique()]
    colours = {kind: DATA_COLOURS[i % len(DATA_COLOURS)] for i, kind in enumerate(kinds)}
    rows = [
        {
            "x": int(row.depth),
            "kind": row.kind,
            "value": row.relative_overlap,
            "text": f"{row.relative_overlap:.2f}",
        }
        for row in each_row(table)
    ]
    spec = lines_chart(
        rows, x="Depth", y="Overlap, × random", colours=colours, level=1.0, form=None
    )
    alt_text = (
        f"{first.model}, {first.tower} tower: overlap of weights relative to that of random "
        f"neurons, from {first.relative_overlap:.2f} at depth {first.depth} ({first.kind}) to "
        f"{last.relative_overlap:.2f} at depth {last.depth} ({last.kind}); 1 is the overlap of "
        f"random neurons."
    )
    return Figure(name, f"{first.model}: {first.tower} tower", alt_text, spec, keys_of(colours))


def training(folder: Results) -> Section:
    """Show overlap and accuracy against the training step."""
    lead = "Purity and accuracy, checkpoint by checkpoint."
    section, table = Section("training", "Training", "During training", lead), folder.track
    if table.empty:
        return section
    for number, (model, model_rows) in enumerate(groups(table, "model")):
        measured = [*groups(model_rows[model_rows.n > 0], "dataset")]
        section.figures.append(_overlap_by_step(f"training-{number}", model_rows))
        section.figures.extend(
            _accuracy_by_step(f"training-{number}-{place}", f"{model} on {dataset}", rows)
            for place, (dataset, rows) in enumerate(measured)
        )
        section.answers.append(_training_answer(str(model), model_rows, dict(measured)))
    columns = [
        Column("model", "Model"),
        Column("step", "Step", lambda v: f"{v:,}"),
        Column("dataset", "Dataset"),
        Column("image_relative_overlap", "Image overlap, × random", lambda v: formats.plain(v, 2)),
        Column("text_relative_overlap", "Text overlap, × random", lambda v: formats.plain(v, 2)),
        Column("rank_last", "Correlation with last order", lambda v: formats.plain(v, 2)),
        Column("accuracy", "Accuracy, %", formats.percent),
        Column("high_purity", "Highest purity, %", formats.percent),
        Column("random", "Random, %", formats.percent),
        Column("low_purity", "Lowest purity, %", formats.percent),
    ]
    caption = "All checkpoints; strategies are means over k"
    section.tables.append(make_table("training-table", caption, table, columns))
    return section


def _training_answer(model: str, table: pd.DataFrame, datasets: dict[str, pd.DataFrame]) -> Answer:
    """Compare the first step with the last."""
    first, last = table.iloc[0], table.iloc[-1]
    changes = [
        f"{tower} tower from {first[column]:.2f} to {last[column]:.2f} times"
        for tower, column in _TOWERS.items()
    ]
    claim = (
        f"{model}, step {first.step:,} to {last.step:,}: overlap, against that of random neurons, "
        f"goes in the {', in the '.join(changes)}."
    )
    gaps = [
        f"on {dataset} accuracy from {formats.percent(start.accuracy)} to "
        f"{formats.percent(end.accuracy)} %, highest purity minus random from "
        f"{formats.points(start.gap_to_random)} to {formats.points(end.gap_to_random)} points"
        for dataset, rows in datasets.items()
        for start, end in [(rows.iloc[0], rows.iloc[-1])]
    ]
    return Answer("", claim, f"First to last step: {'; '.join(gaps)}." if gaps else "")


def _overlap_by_step(name: str, table: pd.DataFrame) -> Figure:
    steps = table.drop_duplicates("step")
    rows = [
        {"x": int(step), "kind": f"{tower} tower", "value": value, "text": f"{value:.2f}"}
        for tower, column in _TOWERS.items()
        for step, value in zip(steps.step, steps[column], strict=True)
    ]
    colours = {f"{tower} tower": f"var(--{tower})" for tower in _TOWERS}
    spec = lines_chart(
        rows, x="Training step", y="Overlap, × random", colours=colours, level=1.0, form=None
    )
    first, last = steps.iloc[0], steps.iloc[-1]
    changes = [
        f"{tower} tower {first[column]:.2f} to {last[column]:.2f}"
        for tower, column in _TOWERS.items()
    ]
    alt_text = (
        f"{first.model}, step {first.step:,} to {last.step:,}: overlap relative to that of random "
        f"weights, {', '.join(changes)}."
    )
    return Figure(name, f"{first.model}: overlap", alt_text, spec, keys_of(colours))


def _accuracy_by_step(name: str, title: str, table: pd.DataFrame) -> Figure:
    """Draw accuracy against the step, with all neurons and as a mean over k of each strategy."""
    colours = {"all neurons": INK, "lowest purity": LOW, "highest purity": HIGH, "random": RANDOM}
    columns = dict(zip(colours, ("accuracy", "low_purity", "high_purity", "random"), strict=True))
    rows: list[Row] = []
    for kind, column in columns.items():
        for row in each_row(table[table[column].notna()]):
            value = getattr(row, column)
            interval: dict[str, float | None] = {"low": None, "high": None}
            if column == "random":
                interval = {"low": 100 * row.random_low, "high": 100 * row.random_high}
            text = f"{formats.percent(value, 2)} %"
            numbers = {"x": int(row.step), "value": 100 * value, **interval}
            rows.append({"kind": kind, "text": text, **numbers})
    spec = lines_chart(rows, x="Training step", y="Accuracy (%)", colours=colours, band=True)
    last = table.iloc[-1]
    alt_text = f"{title}, at the last step {last.step:,}: " + ", ".join(
        f"{kind} {formats.percent(last[column])} %"
        for kind, column in columns.items()
        if last[column] == last[column]
    )
    return Figure(name, title, alt_text + ".", spec, keys_of(colours))


def reproduction(folder: Results) -> Section:
    """Compare our values with the published figures, and link to the reports of the runs."""
    lead = "Published values, read from the figures, and our values under both protocols."
    section = Section("reproduction", "Reproduction", "Comparison with the published figures", lead)
    table = folder.rows(schemas.REPRODUCTION)
    if table.empty:
        return section
    sources = {
        "published": ("published", [6, 2]),
        "paper": ("ours, protocol paper", [1, 0]),
        "native": ("ours, protocol native", [2, 2]),
    }
    kept = {"high_purity": HIGH, "random": RANDOM, "low_purity": LOW}
    accuracy = table[(table.metric == "accuracy") & table.strategy.isin(kept)]
    for number, (dataset, dataset_rows) in enumerate(groups(accuracy, "dataset")):
        rows, colours, dashes = [], {}, {}
        for strategy, colour in kept.items():
            strategy_rows = dataset_rows[dataset_rows.strategy == strategy]
            for column, (source, dash) in sources.items():
                kind = f"{strategy_name(strategy)}, {source}"
                measured = strategy_rows[strategy_rows[column].notna()]
                if len(measured):
                    colours[kind], dashes[kind] = colour, dash
                rows += [
                    {
                        "x": int(k),
                        "kind": kind,
                        "value": 100 * value,
                        "text": f"{formats.percent(value, 2)} %",
                    }
                    for k, value in zip(measured.k, measured[column], strict=True)
                ]
        spec = lines_chart(rows, x="Neurons kept", y="Accuracy (%)", colours=colours, dashes=dashes)
        furthest = dataset_rows.paper_difference.abs().max()
        alt_text = (
            f"{dataset}: accuracy against neurons kept, published and ours. Under protocol paper, "
            f"ours differs from the published accuracy by at most {formats.percent(furthest)} "
            f"points."
        )
        section.figures.append(Figure(f"reproduction-{number}", str(dataset), alt_text, spec))
    shown = table.assign(strategy=[strategy_name(str(name)) for name in table.strategy])

    def four(value: float) -> str:
        return formats.plain(value, 4)

    columns = [
        Column("dataset", "Dataset"),
        Column("metric", "Metric"),
        Column("strategy", "Kept"),
        Column("k", "k", str),
        Column("published", "Published", four),
        Column("paper", "Ours, paper", four),
        Column("paper_difference", "minus published", four),
        Column("native", "Ours, native", four),
        Column("native_difference", "minus published", four),
    ]
    caption = "Published figures and ours"
    section.tables.append(make_table("reproduction-table", caption, shown, columns))
    section.links.extend(
        (f"{name}/report.html", f"protocol {name}")
        for name in ("paper", "native")
        if (folder.path / name / "report.html").is_file()
    )
    return section


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
) -> Spec:
    """Draw a line for each kind of value against depth, training step or k.

    Args:
        rows: x, kind, value, text, and low and high where `band` is set.
        x, y: titles of the axes.
        colours: CSS colour by kind.
        dashes: dashes by kind; by default, every second kind is dashed.
        level: value of a dotted horizontal line.
        band: whether to draw an area from low to high.
        form: format of the numbers at the axis of values; None for as many digits as needed.
    """
    kinds = list(colours)
    dashes = dashes or {
        kind: [1, 0] if number % 2 == 0 else [6, 2] for number, kind in enumerate(kinds)
    }
    data = named("rows")
    scale = alt.Scale(type="linear", zero=False, nice=True)
    positions = sorted({row["x"] for row in rows})
    ticks: dict[str, Any] = (
        {"values": positions} if len(positions) <= _TICKS else {"tickCount": 6, "tickMinStep": 1}
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
    colour = by_kind(alt.Stroke, kinds, list(colours.values()))
    shapes, fills = points_by_kind(colours)
    tooltip = [
        alt.Tooltip("kind:N", title=" "),
        alt.Tooltip("x:Q", title=x),
        alt.Tooltip("text:N", title=y),
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
                fill=by_kind(alt.Fill, kinds, list(colours.values())),
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
            strokeDash=by_kind(alt.StrokeDash, kinds, [dashes[kind] for kind in kinds])
        ),
        line.mark_point(size=40, strokeWidth=1.6, opacity=1).encode(
            shape=by_kind(alt.Shape, kinds, shapes),
            fill=by_kind(alt.Fill, kinds, fills),
        ),
    ]
    return finished(
        alt.layer(*layers).resolve_scale(fill="independent"),
        HALF,
        220,
        rows=rows,
        level=[{"value": level}],
    )
