"""What a run measured beside its curves, each only where its table is there; and two models
compared.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from purescope import formats
from purescope.looks import METRIC_NAMES, strategy_name
from purescope.report.charts import Row
from purescope.report.figures import Figure, dot, dots_chart, keys_of
from purescope.report.tables import Cell, Column, Found, Heading, Table, groups, make_table
from purescope.tables import schemas
from purescope.tables.columns import AREA
from purescope.tables.results import Results
from purescope.tables.schema import each_row
from purescope.tables.verdicts import LEVEL, best_sentence


def rivals(folder: Results) -> Found:
    """Two models on the same images."""
    table = folder.rows(schemas.RIVALS)
    if table.empty:
        return [], []
    first, second = str(table["first"].iloc[0]), str(table["second"].iloc[0])
    named = {
        ("full", "all"): "all neurons",
        ("high_purity", AREA): "highest purity, all k",
        ("random", AREA): "random, all k",
    }
    colours = dict(
        zip(named.values(), ("currentColor", "var(--high-purity)", "var(--random)"), strict=True)
    )
    rows = [
        dot(row.dataset, named[row.strategy, row.k], row.difference, row.low, row.high)
        for row in each_row(table[table.metric == "accuracy"])
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
    shown = [_rival(row) for row in each_row(table[table.k.isin([AREA, "all"])])]
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
        Cell(
            _GAP if row.strategy == "gap" else strategy_name(str(row.strategy)), str(row.strategy)
        ),
        Cell("all k" if row.k == AREA else "all neurons", str(row.k)),
        Cell(METRIC_NAMES.get(metric, metric.replace("_", " ")), metric),
        *(Cell(value(one), one) for one in (row.first_value, row.second_value)),
        Cell(difference(row.difference), row.difference),
        Cell(f"{difference(row.low)} to {difference(row.high)}", f"{row.low} {row.high}"),
        Cell(formats.short(row.p_holm, 2), row.p_holm),
    ]


def better(folder: Results) -> tuple[str, str]:
    """Which of two models is better with all neurons, in a sentence, and the differences; empty
    without two.
    """
    table = folder.rows(schemas.RIVALS)
    table = table[(table.metric == "accuracy") & (table.strategy == "full")]
    if table.empty:
        return "", ""
    first, second = str(table["first"].iloc[0]), str(table["second"].iloc[0])
    decided, ahead = table.p_holm <= LEVEL, table.difference > 0
    parts = {
        first: table[decided & ahead],
        second: table[decided & ~ahead],
        "not decided": table[~decided],
    }
    said = [
        f"{name} on {', '.join(map(str, rows.dataset))}"
        for name, rows in parts.items()
        if len(rows)
    ]
    numbers_of = [
        f"{row.dataset} {formats.points(row.difference)} ({formats.points(row.low)} to "
        f"{formats.points(row.high)})"
        for row in each_row(table)
    ]
    sentence = f"More accurate with all neurons, on the same images: {'; '.join(said)}."
    return sentence, (
        f"{first} minus {second}, points with 95 % intervals over images: {', '.join(numbers_of)}. "
        f"Decided is what has "
        f"p at most {LEVEL} by McNemar's exact test, Holm's over the data sets."
    )


_HIGH, _LOW, _RANDOM, _INK = (
    "var(--high-purity)",
    "var(--low-purity)",
    "var(--random)",
    "currentColor",
)
NAMED = [Column("model", "Model"), Column("dataset", "Data set")]
DATA_COLOURS = [_HIGH, _LOW, *(f"var(--more-{place})" for place in range(1, 5))]
_DRAWN_NULLS = ("rotation", "shuffled purity", "shuffled towers")


def comparison(folder: Results) -> Found:
    """What purity gains on each data set, for each model, and how two models differ."""
    figures, tables = rivals(folder)
    if len(folder.models) > 1 or len(folder.datasets) > 1:
        figures += _by_dataset(folder)
    return figures, tables + _areas(folder)


def _by_dataset(folder: Results) -> list[Figure]:
    """High purity against random orders and against low purity, over all k, data set by data set;
    on one scale.
    """
    table = folder.rows(schemas.COMPARISONS)
    table = table[(table["first"] == "high_purity") & (table.k == AREA) & table.second.isin(_MINUS)]
    if table.empty:
        return []
    span = (100 * float(table.low.min()), 100 * float(table.high.max()))
    labels = [
        (place, label) for place, label in enumerate(folder.models) if (table.model == label).any()
    ]
    return [_of_model(folder, place, table[table.model == label], span) for place, label in labels]


_MINUS = {"random": "minus random", "low_purity": "minus lowest purity"}


def _of_model(
    folder: Results, model: int, table: pd.DataFrame, span: tuple[float, float]
) -> Figure:
    rows = [
        dot(row.dataset, _MINUS[row.second], row.difference, row.low, row.high)
        for row in each_row(table.sort_values("second", ascending=False, kind="stable"))
    ]
    rows.sort(key=lambda row: folder.datasets.index(row["name"]))
    colours = {"minus random": _HIGH, "minus lowest purity": _LOW}
    ahead = sum(row["low"] > 0 for row in rows if row["kind"] == "minus random")
    behind = sum(row["high"] < 0 for row in rows if row["kind"] == "minus random")
    total = sum(row["kind"] == "minus random" for row in rows)
    spec = dots_chart(
        rows,
        title="Highest purity: difference in accuracy over all k (points)",
        colours=colours,
        step=15,
        span=span,
    )
    label = folder.models[model]
    alt = (
        f"{label}: accuracy of the highest purity minus random over all k, with 95 % intervals. "
        f"The whole interval is "
        f"above 0 on {ahead} and below 0 on {behind} of {total} data sets. "
        + " ".join(f"{row['name']}, {row['kind']}: {row['told']}." for row in rows)
    )
    return Figure(f"sets-{model}", label, alt, spec, keys_of(colours, lines=False))


def _areas(folder: Results) -> list[Table]:
    """Mean accuracy over the ks of each strategy, and the neurons it needs."""
    table = folder.rows(schemas.CURVES)
    if table.empty:
        return []
    table = table.assign(strategy=[strategy_name(str(name)) for name in table.strategy])
    needed = _needed(folder)
    columns = [
        *NAMED,
        Column("strategy", "Kept"),
        Column("area", "Mean accuracy, %", formats.percent),
        Column("area_low", "from", formats.percent),
        Column("area_high", "to", formats.percent),
        Column("needed", "Neurons for 95 % of full", needed),
        Column("needed_low", "from", needed),
        Column("needed_high", "to", needed),
    ]
    caption = "Over all k: mean accuracy, and the neurons that keep 95 % of full accuracy"
    return [make_table("areas", caption, table, columns)]


def _needed(folder: Results) -> Callable[[float | None], str]:
    """How neurons needed are shown: the fewest that were tried are an upper bound."""
    results = folder.rows(schemas.RESULTS)
    fewest = results.k.min() if len(results) else 0
    return lambda needed: (
        ("≤ " if needed is not None and needed <= fewest else "") + formats.plain(needed, 0)
    )


def strategies(folder: Results) -> Found:
    """All strategies of each model, best first, where there are more than the experiment's."""
    standings = folder.rows(schemas.STANDINGS)
    if standings.empty or not set(folder.strategies) - {"high_purity", "low_purity", "random"}:
        return [], []
    figures, tables, needed = [], [], _needed(folder)
    for place, model in enumerate(folder.models):
        board = standings[(standings.model == model) & (standings.place > 0)]
        if board.empty:
            continue
        count = int(board.sets.iloc[0])
        sets = f"{count} dataset{'s' if count > 1 else ''}"
        rows = [
            dot(strategy_name(row.strategy), "minus random", *differences)
            for row in each_row(board)
            if (differences := _over_random(row))
        ]
        alt = (
            f"{model}: {len(rows)} strategies, accuracy over all k minus random on {sets}: "
            + "; ".join(f"{row['name']} {row['told']}" for row in rows)
            + "."
        )
        spec = dots_chart(
            rows,
            title="Accuracy over all k, minus random (points)",
            colours={"minus random": _HIGH},
        )
        if rows:
            figures.append(Figure(f"board-{place}", model, alt, spec))
        best = best_sentence(board)
        caption = f"{model}: strategies over all k, on {sets}" + (f". {best}" if best else "")
        cells = [_standing(row, needed) for row in each_row(board)]
        tables.append(Table(f"board-table-{place}", caption, _BOARD, cells))
    return figures, tables


def _over_random(row: Any) -> tuple[float, float, float] | None:
    """Return the difference from the random orders with its interval; None where it has none."""
    values = (row.over_random, row.over_random_low, row.over_random_high)
    return None if any(math.isnan(value) for value in values) else values


_BOARD = [
    Heading("Kept", name="strategy"),
    Heading("Mean accuracy, %", True, "area"),
    Heading("Minus random", True, "minus_random"),
    Heading("from", True, "minus_random_low"),
    Heading("to", True, "minus_random_high"),
    Heading("p", True, "p"),
    Heading("Neurons for 95 %", True, "needed"),
]


def _standing(row: Any, needed: Callable[[float | None], str]) -> list[Cell]:
    differences = _over_random(row) or (None, None, None)
    return [
        Cell(strategy_name(row.strategy), row.strategy),
        Cell(formats.percent(row.area, 2), row.area),
        *(Cell(formats.points(value), value) for value in differences),
        Cell(formats.short(row.p, 2), row.p),
        Cell(needed(row.needed), row.needed),
    ]


def nulls(folder: Results) -> Found:
    """What was observed against what nulls give: in their standard deviations as a figure, in
    numbers as a table.
    """
    table = folder.rows(schemas.NULLS)
    if table.empty:
        return [], []
    figures = []
    for place, model in enumerate(folder.models):
        drawn = table[(table.model == model) & table.null.isin(_DRAWN_NULLS) & table.z.notna()]
        if drawn.empty:
            continue
        sets = [str(name) for name in drawn.dataset.unique()]
        colours = {name: DATA_COLOURS[i % len(DATA_COLOURS)] for i, name in enumerate(sets)}
        rows = [
            {
                "name": f"{row.statistic} ({row.null})",
                "kind": row.dataset,
                "value": row.z,
                "told": _against(row),
            }
            for row in each_row(drawn)
        ]
        outside = sum(
            row.value < row.null_low or row.value > row.null_high for row in each_row(drawn)
        )
        alt = (
            f"{model}: {outside} of {len(drawn)} statistics lie outside the middle 95 % of their "
            f"null. "
            + " ".join(f"{row['name']} on {row['kind']}: {row['told']}." for row in rows[:12])
        )
        spec = dots_chart(
            rows,
            title="Standard deviations of the null from its mean",
            colours=colours,
            intervals=False,
            form="+~f",
        )
        figures.append(Figure(f"nulls-{place}", model, alt, spec, keys_of(colours, lines=False)))
    short = formats.short
    columns = [
        *NAMED,
        Column("null", "Held against"),
        Column("statistic", "Statistic"),
        Column("value", "Observed", short),
        Column("null_mean", "Null: mean", short),
        Column("null_low", "2.5 %", short),
        Column("null_high", "97.5 %", short),
        Column("z", "z", short),
        Column("p", "p", lambda p: short(p, 2)),
        Column("draws", "Draws", str),
    ]
    return figures, [
        make_table("nulls-table", "Observed values and what nulls give", table, columns)
    ]


def variants(folder: Results, chosen: str) -> Found:
    """Mean accuracy of high, low and random with one choice of the experiment changed at a time."""
    table = folder.rows(schemas.VARIANTS)
    if table.empty:
        return [], []
    colours = {"highest purity": _HIGH, "lowest purity": _LOW, "random": _RANDOM}
    columns = dict(zip(("high", "low", "random"), colours, strict=True))
    choices: dict[str, dict[str, list[Row]]] = {}
    for key, part in _by_pair(folder, table):
        choices[key] = {
            "rows": [
                {
                    "name": f"{row.option}: {row.choice}" if row.choice else str(row.option),
                    "kind": kind,
                    "value": 100 * getattr(row, column),
                    "told": f"{formats.percent(getattr(row, column), 2)} %",
                }
                for row in each_row(part)
                for column, kind in columns.items()
                if getattr(row, column) == getattr(row, column)
            ]
        }
    first = choices.get(chosen) or next(iter(choices.values()))
    spec = dots_chart(
        first["rows"],
        title="Mean accuracy over all k (%)",
        colours=colours,
        zero=False,
        intervals=False,
        form="~f",
    )
    above = int((table.high > table.random).sum())
    alt = (
        f"Mean accuracy with one choice changed at a time: the highest purity is above random in "
        f"{above} of "
        f"{len(table)} variants of all models and data sets."
    )
    shown = make_table(
        "variants-table",
        "One choice of the experiment changed at a time: mean accuracy over all k",
        table,
        [
            *NAMED,
            Column("option", "Changed"),
            Column("choice", "To"),
            Column("high", "Highest purity, %", lambda v: formats.percent(v, 2)),
            Column("low", "Lowest purity, %", lambda v: formats.percent(v, 2)),
            Column("random", "Random, %", lambda v: formats.percent(v, 2)),
            Column("percentile", "Percentile among random", lambda v: formats.plain(v, 1)),
            Column("permutation_p", "p", lambda p: formats.short(p, 2)),
        ],
    )
    figure = Figure(
        "variants",
        "One choice changed at a time",
        alt,
        spec,
        keys_of(colours, lines=False),
        choices,
        chosen,
    )
    return [figure], [shown]


def correlations(folder: Results) -> Found:
    """Do pure neurons matter more? Rank correlations over the neurons."""
    table = folder.rows(schemas.CORRELATIONS)
    if table.empty:
        return [], []
    show = formats.plain
    columns = [
        *NAMED,
        Column("importance", "What is lost"),
        Column("purity", "Purity of"),
        Column("rho", "Spearman's rho", show),
        Column("low", "from", show),
        Column("high", "to", show),
        Column("partial", "Partial rho", show),
        Column("partial_low", "from", show),
        Column("partial_high", "to", show),
    ]
    table = table.assign(importance=[str(name).replace("_", " ") for name in table.importance])
    caption = "Purity and importance over the neurons; partial: given weight norms and activation variance"
    return [], [make_table("correlations-table", caption, table, columns)]


def _by_pair(folder: Results, table: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    """Rows by "model/data set", in numbers."""
    for (model, dataset), part in groups(table, "model", "dataset"):
        if str(model) in folder.models and str(dataset) in folder.datasets:
            yield f"{folder.models.index(str(model))}/{folder.datasets.index(str(dataset))}", part


def _against(row: Any) -> str:
    short = formats.short
    return f"{short(row.value)}, null {short(row.null_low)} to {short(row.null_high)}"
