"""The section on searches: what is found against the bytes that a vector takes."""

from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd

from purescope import formats
from purescope.report.blocks import (
    DATA_COLOURS,
    HIGH,
    INK,
    LOW,
    NAMED,
    Answer,
    Column,
    Figure,
    Key,
    Row,
    Section,
    Spec,
    ends,
    groups,
    make_table,
)
from purescope.report.charts import HALF, WIDE, by_kind, finished, named
from purescope.tables.results import Results
from purescope.tables.schema import each_row, stack_tables
from purescope.tables.searches import SEARCHES, STAGES, find_frontier, find_lines

_ENOUGH = {"single": 0.95, "reranked": 0.99}  # recall that the answer asks for
_TASKS = {
    "same_label": ("same label", "share of the ten with the label of the query"),
    "own_image": ("own image", "share of captions whose image is among the ten"),
}
_LOOKS = {
    "f32": (INK, "diamond"),
    "f16": (HIGH, "circle"),
    "int8": (DATA_COLOURS[2], "square"),
    "binary": (LOW, "triangle-up"),
    "pq": (DATA_COLOURS[3], "triangle-down"),
}
_DASH = (6, 2)


def searches(folder: Results) -> Section:
    """Show recall against bytes, the rows that no other beats, and how few bytes are enough."""
    lead = (
        "recall@10 against an exact search with all dimensions: of the ten that an index finds, "
        "and of its candidates after they were ordered again by the whole vectors. Bars are 95 % "
        "confidence intervals over queries. All rows are in searches.csv."
    )
    table = folder.rows(SEARCHES)
    section = Section("searches", "Search", "A search in fewer bytes", lead)
    if table.empty:
        return section
    pairs = [*groups(table, "model", "dataset")]
    panels = [
        (f"searches-{number}-{show}", _title(table, *names), rows, show)
        for number, (names, rows) in enumerate(pairs)
        for show in ("recall", "task")
        if rows[show].notna().any()
    ]
    width = HALF if len(panels) > 1 else WIDE
    section.figures.extend(_figure(*panel, width=width) for panel in panels)
    section.answers.extend(_answer(model, dataset, rows) for (model, dataset), rows in pairs)
    frontiers = [find_frontier(rows, stage) for _, rows in pairs for stage in STAGES]
    columns = [
        *NAMED,
        Column("stage", "Stage"),
        Column("bytes", "Bytes", lambda v: f"{v:,}"),
        Column("shared_bytes", "Shared bytes", lambda v: f"{v:,}"),
        Column("code", "Code"),
        Column("k", "Axes kept", lambda v: f"{v:,}"),
        Column("recall", "Recall@10, %", formats.percent),
        *ends("recall", formats.percent),
        Column("task", "Task, %", formats.percent),
        *ends("task", formats.percent),
        Column("task_exact", "exact search, %", formats.percent),
        Column("build_seconds", "Build, s", lambda v: formats.plain(v, 1)),
        Column("query_ms", "Query, ms", lambda v: formats.plain(v, 2)),
    ]
    caption = "The rows of which no other finds more with as few bytes"
    section.tables.append(make_table("searches-table", caption, stack_tables(frontiers), columns))
    return section


def _title(table: pd.DataFrame, model: str, dataset: str) -> str:
    return f"{dataset} ({model})" if table.model.nunique() > 1 else dataset


def _answer(model: str, dataset: str, rows: pd.DataFrame) -> Answer:
    """Say how few bytes are enough, by the lower end of the interval."""
    first = rows.iloc[0]
    whole = 4 * int(first.neurons)
    claims = []
    for stage, enough in _ENOUGH.items():
        frontier = find_frontier(rows, stage)
        reached = frontier[frontier.recall_low >= enough]
        row = (reached if len(reached) else frontier.tail(1)).iloc[0]
        size = f"{row.code} of {row.k:,} axes, {_times(whole / row.bytes)} float32"
        claims.append(f"{row.bytes:,} bytes a vector ({size}) find {_interval(row)}{_after(row)}")
    claim = f"{model} on {dataset}, {first.vectors:,} vectors: {'; '.join(claims)}."
    evidence = (
        f"Each the fewest bytes of which the lower end of the interval is at least "
        f"{formats.percent(_ENOUGH['single'], 0)} %, or reranked "
        f"{formats.percent(_ENOUGH['reranked'], 0)} %; where none is, the largest recall. "
        f"{first.n:,} queries."
    )
    return Answer("", claim, evidence=evidence)


def _times(share: float) -> str:
    """Return how many times fewer bytes something takes.

    Examples:
        >>> _times(32), _times(16 / 3), _times(1)
        ('32 times fewer than', '5.3 times fewer than', 'as many as')
    """
    return f"{round(share, 1):g} times fewer than" if share > 1 else "as many as"


def _after(row: Any) -> str:
    if row.stage == "single":
        return " of the ten nearest"
    return f" of them after {row.candidates:,} candidates were ordered again"


def _interval(row: Any, show: str = "recall") -> str:
    value, low, high = (
        formats.percent(getattr(row, f"{show}{end}")) for end in ("", "_low", "_high")
    )
    return f"{value} % ({low} to {high})"


def _figure(name: str, title: str, rows: pd.DataFrame, show: str, *, width: int) -> Figure:
    first, lines = rows.iloc[0], find_lines(rows, show)
    families = [str(family) for family in lines.family.unique()]
    values = [
        {
            "bytes": int(row.bytes),
            "kind": str(row.family),
            "stage": row.stage,
            "value": 100 * getattr(row, show),
            "low": 100 * getattr(row, f"{show}_low"),
            "high": 100 * getattr(row, f"{show}_high"),
            "axes": f"{row.k:,}",
            "text": _interval(row, show),
        }
        for row in each_row(lines)
    ]
    what, note = "recall@10", f"{first.vectors:,} vectors, {first.n:,} queries"
    keys = [Key(family, _LOOKS[family][0], shape=_LOOKS[family][1]) for family in families]
    keys.append(Key("reranked", INK, _DASH, filled=False))
    if show == "task":
        what, about = _TASKS[first.task_metric]
        note, title = f"{note}; {about}", f"{title}: {what}"
        keys.append(Key("exact search", INK, (1, 4)))
    what = what.capitalize()
    spec = _chart(values, families, f"{what} (%)", width, _level(rows, show))
    alt_text = f"{title}, {what} against bytes a vector. {' '.join(_in_words(rows, show))}"
    return Figure(name, title, alt_text, spec, tuple(keys), note=note)


def _level(rows: pd.DataFrame, show: str) -> list[Row]:
    return [{"value": 100 * float(rows.task_exact.iloc[0])}] if show == "task" else []


def _in_words(rows: pd.DataFrame, show: str) -> Iterator[str]:
    for stage in STAGES:
        points = [
            f"{row.bytes:,} bytes ({row.code}, {row.k:,} axes) "
            f"{formats.percent(getattr(row, show))} %"
            for row in each_row(find_frontier(rows, stage))
        ]
        yield f"{'Found' if stage == 'single' else 'Reranked'}: {', '.join(points)}."


def _chart(values: list[Row], kinds: list[str], title: str, width: int, level: list[Row]) -> Spec:
    """Draw a line for each code and stage against bytes, on a logarithmic axis."""
    colours, shapes = ([_LOOKS[kind][place] for kind in kinds] for place in (0, 1))
    least, most = (end(row["bytes"] for row in values) for end in (min, max))
    ticks = [1 << power for power in range(40) if least <= 1 << power <= most] or [least]
    across = alt.X(
        "bytes:Q",
        title="Bytes a vector",
        scale=alt.Scale(type="log", base=2, nice=False, padding=8),
        axis=alt.Axis(grid=False, format=",d", values=ticks, labelOverlap="greedy"),
    )
    scale, axis = alt.Scale(zero=False, nice=True), alt.Axis(format="~f", tickCount=5)
    up = alt.Y("value:Q", title=title, scale=scale, axis=axis)
    tooltip = [
        alt.Tooltip("kind:N", title=" "),
        alt.Tooltip("stage:N"),
        alt.Tooltip("bytes:Q", title="bytes a vector", format=",d"),
        alt.Tooltip("axes:N", title="axes kept"),
        alt.Tooltip("text:N", title=title),
    ]
    base = alt.Chart(named("rows")).encode(
        x=across, stroke=by_kind(alt.Stroke, kinds, colours), tooltip=tooltip
    )
    stages = alt.Scale(domain=list(STAGES), range=[[1, 0], _DASH])
    points = base.encode(y=up, shape=by_kind(alt.Shape, kinds, shapes))
    point: dict[str, Any] = {"size": 44, "strokeWidth": 1.6, "opacity": 1}
    layers: list[Any] = [
        base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(
            y=alt.Y("low:Q", title=title, scale=scale), y2=alt.Y2("high:Q")
        ),
        base.mark_line(strokeWidth=2).encode(
            y=up, strokeDash=alt.StrokeDash("stage:N", scale=stages, legend=None)
        ),
        points.transform_filter("datum.stage == 'single'")
        .mark_point(**point)
        .encode(fill=by_kind(alt.Fill, kinds, colours)),
        points.transform_filter("datum.stage != 'single'").mark_point(**point, fill="var(--page)"),
    ]
    if level:
        layers.append(
            alt.Chart(named("level"))
            .mark_rule(stroke="currentColor", strokeDash=[1, 4], opacity=0.75)
            .encode(y=alt.Y("value:Q"))
        )
    return finished(alt.layer(*layers), width, 300, rows=values, level=level)


def search_facts(folder: Results) -> tuple[list[str], list[str]]:
    """Return what was searched, and how: one fact for each dataset, and the settings."""
    table, settings = folder.rows(SEARCHES), folder.manifest.get("settings", {})
    if table.empty:
        return [], []
    data = [
        f"{dataset}: {rows.vectors.iloc[0]:,} vectors of {rows.neurons.iloc[0]:,}, "
        f"{rows.n.iloc[0]:,} queries ({rows.queries.iloc[0]})"
        for (_, dataset), rows in groups(table, "model", "dataset")
    ]
    scaled = "scaled to length 1 over the kept axes" if table.normalise.all() else "not scaled"
    how = [
        f"axes {', '.join(map(str, table['axes'].unique()))}",
        f"vectors and queries are {scaled}",
        f"{table.candidates.iloc[0]:,} candidates are ordered again",
        *(f"{name} {settings[name]:,}" for name in ("seed", "resamples") if name in settings),
    ]
    return data, how
