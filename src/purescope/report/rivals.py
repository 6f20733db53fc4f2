"""Two models on the same images: which is better, and by how much."""

from typing import Any

from purescope import formats
from purescope.looks import METRIC_NAMES, strategy_name
from purescope.report.figures import Figure, dot, dots_chart, keys_of
from purescope.report.tables import Cell, Found, Heading, Table
from purescope.report.tables import rows as each
from purescope.studies.comparisons import AREA
from purescope.studies.verdict import LEVEL
from purescope.tables import schemas
from purescope.tables.results import Folder


def rivals(folder: Folder) -> Found:
    """Two models on the same images."""
    table = folder.table(schemas.RIVALS)
    if table.empty:
        return [], []
    first, second = str(table["first"].iloc[0]), str(table["second"].iloc[0])
    named = {
        ("full", "all"): "all neurons",
        ("high_purity", AREA): "highest purity, all k",
        ("random", AREA): "random, all k",
    }
    colours = dict(zip(named.values(), ("currentColor", "var(--high-purity)", "var(--random)"), strict=True))
    rows = [
        dot(row.dataset, named[row.strategy, row.k], row.difference, row.low, row.high)
        for row in each(table[table.metric == "accuracy"])
        if (row.strategy, row.k) in named
    ]
    title = f"Accuracy of {first} minus {second} (points)"
    alt = f"{title}. " + " ".join(f"{row['name']}, {row['kind']}: {row['told']}." for row in rows)
    spec = dots_chart(rows, title="Difference in accuracy (points)", colours=colours, step=13)
    figure = Figure("rivals", f"{first} minus {second}", alt, spec, keys_of(colours, lines=False))
    headings = [
        *(Heading(text, name=name) for text, name in _RIVAL_NAMES.items()),
        Heading(first, True, "first_value"),
        Heading(second, True, "second_value"),
        Heading("Difference", True, "difference"),
        Heading("95 % interval", name="low high"),
        Heading("p (Holm)", True, "p_holm"),
    ]
    shown = [_rival(row) for row in each(table[table.k.isin([AREA, "all"])])]
    caption = f"{first} and {second} on the same images: accuracies in %, differences (first minus second) in points"
    return [figure] if rows else [], [Table("rivals-table", caption, headings, shown)]


_RIVAL_NAMES = {"Data set": "dataset", "Kept": "strategy", "k": "k", "Metric": "metric"}
_GAP = "highest minus lowest purity"


def _rival(row: Any) -> list[Cell]:
    metric = str(row.metric)
    if metric in METRIC_NAMES and metric != "silhouette":
        value, difference = formats.percent, formats.points
    else:
        value = difference = formats.short
    return [
        Cell(str(row.dataset), str(row.dataset)),
        Cell(_GAP if row.strategy == "gap" else strategy_name(str(row.strategy)), str(row.strategy)),
        Cell("all k" if row.k == AREA else "all neurons", str(row.k)),
        Cell(METRIC_NAMES.get(metric, metric.replace("_", " ")), metric),
        *(Cell(value(one), one) for one in (row.first_value, row.second_value)),
        Cell(difference(row.difference), row.difference),
        Cell(f"{difference(row.low)} to {difference(row.high)}", f"{row.low} {row.high}"),
        Cell(formats.short(row.p_holm, 2), row.p_holm),
    ]


def better(folder: Folder) -> tuple[str, str]:
    """Which of two models is better with all neurons, in a sentence, and the differences; empty without two."""
    table = folder.table(schemas.RIVALS)
    table = table[(table.metric == "accuracy") & (table.strategy == "full")]
    if table.empty:
        return "", ""
    first, second = str(table["first"].iloc[0]), str(table["second"].iloc[0])
    decided, ahead = table.p_holm <= LEVEL, table.difference > 0
    parts = {first: table[decided & ahead], second: table[decided & ~ahead], "not decided": table[~decided]}
    said = [f"{name} on {', '.join(map(str, rows.dataset))}" for name, rows in parts.items() if len(rows)]
    numbers_of = [
        f"{row.dataset} {formats.points(row.difference)} ({formats.points(row.low)} to {formats.points(row.high)})"
        for row in each(table)
    ]
    sentence = f"More accurate with all neurons, on the same images: {'; '.join(said)}."
    return sentence, (
        f"{first} minus {second}, points with 95 % intervals over images: {', '.join(numbers_of)}. Decided is what has "
        f"p at most {LEVEL} by McNemar's exact test, Holm's over the data sets."
    )
