"""Sections on the evidence: models, strategies, nulls, variants and the importance of neurons."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from purescope import formats
from purescope.formats import METRIC_NAMES, strategy_name
from purescope.report.blocks import (
    DATA_COLOURS,
    HIGH,
    INK,
    LOW,
    NAMED,
    RANDOM,
    Answer,
    Cell,
    Column,
    Figure,
    Heading,
    Row,
    Section,
    Table,
    ends,
    groups,
    interval_cell,
    keys_of,
    make_table,
)
from purescope.report.charts import dot, dots_chart
from purescope.tables import schemas
from purescope.tables.columns import AREA
from purescope.tables.results import Results
from purescope.tables.schema import each_row
from purescope.tables.verdicts import LEVEL, best_sentence

_MINUS = {"random": "minus random", "low_purity": "minus lowest purity"}
_DRAWN_NULLS = ("rotation", "shuffled purity", "shuffled towers")


def comparison(folder: Results) -> Section:
    """Show what purity gains on each dataset, for each model, and how two models differ."""
    rivals, differences = folder.rows(schemas.RIVALS), folder.rows(schemas.COMPARISONS)
    differences = differences[
        (differences["first"] == "high_purity")
        & (differences.k == AREA)
        & differences.second.isin(_MINUS)
    ]
    figures, tables, answers = _rivals(rivals) if len(rivals) else ([], [], [])
    if len(differences) and (len(folder.models) > 1 or len(folder.datasets) > 1):
        # All models share one scale.
        span = (100 * float(differences.low.min()), 100 * float(differences.high.max()))
        figures += [
            _gains(differences[differences.model == model], span, f"sets-{number}", folder.datasets)
            for number, model in enumerate(folder.models)
            if (differences.model == model).any()
        ]
    tables += _areas(folder.rows(schemas.CURVES), needed_format(folder.rows(schemas.RESULTS)))
    lead = (
        "Accuracy of the highest purity over all k, minus that of random orders and minus that of "
        "the lowest purity, with 95 % confidence intervals over images. Right of the line, purity "
        "helps."
        if figures
        else "Each strategy as one number, and the number of neurons that it needs."
    )
    title = "The models side by side" if len(folder.models) > 1 else "Over all k"
    return Section("models", "Comparison", title, lead, figures, tables, answers)


def _rivals(table: pd.DataFrame) -> tuple[list[Figure], list[Table], list[Answer]]:
    """Compare two models on the same images: a figure, a table and an answer."""
    first, second = str(table["first"].iloc[0]), str(table["second"].iloc[0])
    drawn = {
        ("full", "all"): ("all neurons", INK),
        ("high_purity", AREA): ("highest purity, all k", HIGH),
        ("random", AREA): ("random, all k", RANDOM),
    }
    colours = dict(drawn.values())
    rows = [
        dot(row.dataset, drawn[row.strategy, row.k][0], row.difference, row.low, row.high)
        for row in each_row(table[table.metric == "accuracy"])
        if (row.strategy, row.k) in drawn
    ]
    alt = f"Accuracy of {first} minus {second} (points). {_in_words(rows)}"
    spec = dots_chart(rows, title="Difference in accuracy (points)", colours=colours, step=13)
    figure = Figure("rivals", f"{first} minus {second}", alt, spec, keys_of(colours, lines=False))
    named = {"Dataset": "dataset", "Kept": "strategy", "k": "k", "Metric": "metric"}
    headings = [
        *(Heading(text, name=name) for text, name in named.items()),
        Heading(first, True, "first_value"),
        Heading(second, True, "second_value"),
        Heading("Difference", True, "difference"),
        Heading("95 % interval", name="low high"),
        Heading("p (Holm)", True, "p_holm"),
    ]
    cells = [_rival(row) for row in each_row(table[table.k.isin([AREA, "all"])])]
    caption = (
        f"{first} and {second} on the same images: accuracies in %, differences (first minus "
        f"second) in points"
    )
    everything = table[(table.metric == "accuracy") & (table.strategy == "full")]
    return (
        [figure] if rows else [],
        [Table("rivals-table", caption, headings, cells)],
        [] if everything.empty else [_better(everything, first, second)],
    )


def _in_words(rows: list[Row]) -> str:
    return " ".join(f"{row['name']}, {row['kind']}: {row['text']}." for row in rows)


def _rival(row: Any) -> list[Cell]:
    metric, strategy = str(row.metric), str(row.strategy)
    if metric in METRIC_NAMES and metric != "silhouette":
        value, difference = formats.percent, formats.points
    else:
        value = difference = formats.short
    kept = "highest minus lowest purity" if strategy == "gap" else strategy_name(strategy)
    return [
        Cell(str(row.dataset), str(row.dataset)),
        Cell(kept, strategy),
        Cell("all k" if row.k == AREA else "all neurons", str(row.k)),
        Cell(METRIC_NAMES.get(metric, metric.replace("_", " ")), metric),
        *(Cell(value(accuracy), accuracy) for accuracy in (row.first_value, row.second_value)),
        Cell(difference(row.difference), row.difference),
        interval_cell(row.low, row.high, difference),
        Cell(formats.short(row.p_holm, 2), row.p_holm),
    ]


def _better(table: pd.DataFrame, first: str, second: str) -> Answer:
    """Say which of two models is better with all neurons, and by how much."""
    decided, ahead = table.p_holm <= LEVEL, table.difference > 0
    outcomes = {
        first: table[decided & ahead],
        second: table[decided & ~ahead],
        "not decided": table[~decided],
    }
    datasets = [
        f"{outcome} on {', '.join(map(str, rows.dataset))}"
        for outcome, rows in outcomes.items()
        if len(rows)
    ]
    differences = [
        f"{row.dataset} {formats.points(row.difference)} ({formats.points(row.low)} to "
        f"{formats.points(row.high)})"
        for row in each_row(table)
    ]
    claim = f"More accurate with all neurons, on the same images: {'; '.join(datasets)}."
    evidence = (
        f"{first} minus {second}, in points, with 95 % confidence intervals over images: "
        f"{', '.join(differences)}. A difference is decided when p is at most {LEVEL}, by "
        f"McNemar's exact test with Holm's correction over the datasets."
    )
    return Answer("", claim, evidence=evidence)


def _gains(
    table: pd.DataFrame, span: tuple[float, float], name: str, datasets: list[str]
) -> Figure:
    """Draw high purity minus random and minus low purity for one model, dataset by dataset."""
    rows = [
        dot(row.dataset, _MINUS[row.second], row.difference, row.low, row.high)
        for row in each_row(table.sort_values("second", ascending=False, kind="stable"))
    ]
    rows.sort(key=lambda row: datasets.index(row["name"]))
    colours = {"minus random": HIGH, "minus lowest purity": LOW}
    title = "Highest purity: difference in accuracy over all k (points)"
    spec = dots_chart(rows, title=title, colours=colours, step=15, span=span)
    over_random = [row for row in rows if row["kind"] == "minus random"]
    model = str(table.model.iloc[0])
    alt = (
        f"{model}: accuracy of the highest purity minus random over all k, with 95 % confidence "
        f"intervals. The whole interval is above 0 on {sum(row['low'] > 0 for row in over_random)} "
        f"and below 0 on {sum(row['high'] < 0 for row in over_random)} of {len(over_random)} "
        f"datasets. {_in_words(rows)}"
    )
    return Figure(name, model, alt, spec, keys_of(colours, lines=False))


def _areas(table: pd.DataFrame, needed: Callable[[float | None], str]) -> list[Table]:
    """Show the mean accuracy over the ks of each strategy, and the neurons it needs."""
    if table.empty:
        return []
    table = table.assign(strategy=[strategy_name(str(name)) for name in table.strategy])
    columns = [
        *NAMED,
        Column("strategy", "Kept"),
        Column("area", "Mean accuracy, %", formats.percent),
        *ends("area", formats.percent),
        Column("needed", "Neurons for 95 % of full", needed),
        *ends("needed", needed),
    ]
    caption = "Over all k: mean accuracy, and the neurons that keep 95 % of full accuracy"
    return [make_table("areas", caption, table, columns)]


def needed_format(results: pd.DataFrame) -> Callable[[float | None], str]:
    """Return the format of numbers of neurons needed: the smallest k tried is an upper bound."""
    fewest = results.k.min() if len(results) else 0
    return lambda needed: (
        ("≤ " if needed is not None and needed <= fewest else "") + formats.plain(needed, 0)
    )


_BOARD = [
    Heading("Kept", name="strategy"),
    Heading("Mean accuracy, %", True, "area"),
    Heading("Minus random", True, "minus_random"),
    Heading("from", True, "minus_random_low"),
    Heading("to", True, "minus_random_high"),
    Heading("p", True, "p"),
    Heading("Neurons for 95 %", True, "needed"),
]


def strategies(folder: Results) -> Section:
    """Rank all strategies of each model, where there are more than the experiment's three."""
    lead = "All strategies of this run, by mean accuracy over all k."
    section = Section("strategies", "Strategies", "All strategies", lead)
    standings, needed = folder.rows(schemas.STANDINGS), needed_format(folder.rows(schemas.RESULTS))
    if not set(folder.strategies) - {"high_purity", "low_purity", "random"}:
        return section
    for number, model in enumerate(folder.models):
        board = standings[(standings.model == model) & (standings.place > 0)]
        if board.empty:
            continue
        count = int(board.sets.iloc[0])
        sets = f"{count} dataset{'s' if count > 1 else ''}"
        cells, rows = [], []
        for row in each_row(board):
            name = strategy_name(row.strategy)
            differences = (row.over_random, row.over_random_low, row.over_random_high)
            compared = not any(math.isnan(value) for value in differences)
            if compared:
                rows.append(dot(name, "minus random", *differences))
            shown = differences if compared else (None, None, None)
            cells.append(
                [
                    Cell(name, row.strategy),
                    Cell(formats.percent(row.area, 2), row.area),
                    *(Cell(formats.points(value), value) for value in shown),
                    Cell(formats.short(row.p, 2), row.p),
                    Cell(needed(row.needed), row.needed),
                ]
            )
        if rows:
            title = "Accuracy over all k, minus random (points)"
            alt = (
                f"{model}: {len(rows)} strategies, accuracy over all k minus random on {sets}: "
                + "; ".join(f"{row['name']} {row['text']}" for row in rows)
                + "."
            )
            spec = dots_chart(rows, title=title, colours={"minus random": HIGH})
            section.figures.append(Figure(f"board-{number}", model, alt, spec))
        best = best_sentence(board)
        caption = f"{model}: strategies over all k, on {sets}" + (f". {best}" if best else "")
        section.tables.append(Table(f"board-table-{number}", caption, _BOARD, cells))
    return section


def nulls(folder: Results) -> Section:
    """Compare what was observed with nulls: standard deviations in figures, numbers in a table."""
    lead = (
        "The same statistics where purity can have no meaning: with random weights, random "
        "rotations of the embedding, and shuffled neurons."
    )
    section = Section("nulls", "Nulls", "Other explanations", lead)
    table = folder.rows(schemas.NULLS)
    if table.empty:
        return section
    short = formats.short
    for number, model in enumerate(folder.models):
        drawn = table[(table.model == model) & table.null.isin(_DRAWN_NULLS) & table.z.notna()]
        if drawn.empty:
            continue
        datasets = [str(name) for name in drawn.dataset.unique()]
        colours = {name: DATA_COLOURS[i % len(DATA_COLOURS)] for i, name in enumerate(datasets)}
        rows = [
            {
                "name": f"{row.statistic} ({row.null})",
                "kind": row.dataset,
                "value": row.z,
                "text": f"{short(row.value)}, null {short(row.null_low)} to {short(row.null_high)}",
            }
            for row in each_row(drawn)
        ]
        outside = int(((drawn.value < drawn.null_low) | (drawn.value > drawn.null_high)).sum())
        alt = (
            f"{model}: {outside} of {len(drawn)} statistics lie outside the middle 95 % of their "
            f"null. "
            + " ".join(f"{row['name']} on {row['kind']}: {row['text']}." for row in rows[:12])
        )
        title = "Standard deviations of the null from its mean"
        spec = dots_chart(rows, title=title, colours=colours, intervals=False, form="+~f")
        keys = keys_of(colours, lines=False)
        section.figures.append(Figure(f"nulls-{number}", model, alt, spec, keys))
    columns = [
        *NAMED,
        Column("null", "Null"),
        Column("statistic", "Statistic"),
        Column("value", "Observed", short),
        Column("null_mean", "Null: mean", short),
        Column("null_low", "2.5 %", short),
        Column("null_high", "97.5 %", short),
        Column("z", "z", short),
        Column("p", "p", lambda p: short(p, 2)),
        Column("draws", "Draws", str),
    ]
    caption = "Observed values, and the values under the nulls"
    section.tables.append(make_table("nulls-table", caption, table, columns))
    return section


def variants(folder: Results, chosen: str) -> Section:
    """Show high, low and random with one option of the experiment changed at a time.

    Args:
        folder: the results.
        chosen: model and dataset that are shown first, "model/dataset" as numbers.
    """
    lead = "Mean accuracy of high, low and random with one option of the experiment changed."
    section = Section("variants", "Variants", "Does it hold with other options?", lead)
    table = folder.rows(schemas.VARIANTS)
    if table.empty:
        return section
    colours = {"highest purity": HIGH, "lowest purity": LOW, "random": RANDOM}
    kinds = dict(zip(("high", "low", "random"), colours, strict=True))
    choices: dict[str, dict[str, list[Row]]] = {}
    for (model, dataset), rows in groups(table, "model", "dataset"):
        if str(model) in folder.models and str(dataset) in folder.datasets:
            pair = f"{folder.models.index(str(model))}/{folder.datasets.index(str(dataset))}"
            choices[pair] = {
                "rows": [
                    {
                        "name": f"{row.option}: {row.choice}" if row.choice else str(row.option),
                        "kind": kind,
                        "value": 100 * value,
                        "text": f"{formats.percent(value, 2)} %",
                    }
                    for row in each_row(rows)
                    for column, kind in kinds.items()
                    if not math.isnan(value := getattr(row, column))
                ]
            }
    first = choices.get(chosen) or next(iter(choices.values()))
    look: Any = {"colours": colours, "zero": False, "intervals": False, "form": "~f"}
    spec = dots_chart(first["rows"], title="Mean accuracy over all k (%)", **look)
    alt = (
        f"Mean accuracy with one option changed at a time: the highest purity is above random in "
        f"{int((table.high > table.random).sum())} of {len(table)} variants of all models and "
        f"datasets."
    )
    heading, keys = "One option changed at a time", keys_of(colours, lines=False)
    section.figures.append(Figure("variants", heading, alt, spec, keys, choices, chosen))
    columns = [
        *NAMED,
        Column("option", "Changed"),
        Column("choice", "To"),
        Column("high", "Highest purity, %", lambda v: formats.percent(v, 2)),
        Column("low", "Lowest purity, %", lambda v: formats.percent(v, 2)),
        Column("random", "Random, %", lambda v: formats.percent(v, 2)),
        Column("percentile", "Percentile among random", lambda v: formats.plain(v, 1)),
        Column("permutation_p", "p", lambda p: formats.short(p, 2)),
    ]
    caption = "One option of the experiment changed at a time: mean accuracy over all k"
    section.tables.append(make_table("variants-table", caption, table, columns))
    return section


def correlations(folder: Results) -> Section:
    """Show the rank correlations of purity with importance over the neurons."""
    lead = (
        "Rank correlation of purity with the loss without a neuron. Above 0, purer neurons matter "
        "more."
    )
    section = Section("correlations", "Importance", "Do pure neurons matter more?", lead)
    table = folder.rows(schemas.CORRELATIONS)
    if table.empty:
        return section
    columns = [
        *NAMED,
        Column("importance", "Measure of importance"),
        Column("purity", "Tower of the purity"),
        Column("rho", "Spearman's rho", formats.plain),
        *ends("", formats.plain),
        Column("partial", "Partial rho", formats.plain),
        *ends("partial", formats.plain),
    ]
    table = table.assign(importance=[str(name).replace("_", " ") for name in table.importance])
    caption = (
        "Purity and importance over the neurons; partial: controlled for weight norms and "
        "activation variance"
    )
    section.tables.append(make_table("correlations-table", caption, table, columns))
    return section
