"""The figures and tables of what a run measured beside its curves, each only where its table is there."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import pandas as pd

from purescope import schemas
from purescope.comparison import AREA
from purescope.leaderboard import Standing, leaderboard
from purescope.report import _numbers as numbers
from purescope.report._charts import Row
from purescope.report._figures import Figure, keys_of
from purescope.report._folder import Folder
from purescope.report._kinds import dots_chart
from purescope.report._looks import METRIC_NAMES, NAMES
from purescope.report._rows import groups
from purescope.report._rows import rows as each
from purescope.report._tables import Cell, Column, Heading, Table, make_table

_HIGH, _LOW, _RANDOM, _INK = "var(--high-purity)", "var(--low-purity)", "var(--random)", "currentColor"
NAMED = [Column("model", "Model"), Column("dataset", "Data set")]
Found: TypeAlias = tuple[list[Figure], list[Table]]
DATA_COLOURS = [_HIGH, _LOW, *(f"var(--more-{place})" for place in range(1, 5))]
_DRAWN_NULLS = ("rotation", "shuffled purity", "shuffled towers")


def strategy_name(name: str) -> str:
    """A strategy in words."""
    return NAMES.get(name, name.replace("_", " "))


def comparison(folder: Folder) -> Found:
    """What purity gains on each data set, for each model, and how two models differ."""
    figures, tables = _rivals(folder)
    if len(folder.models) > 1 or len(folder.datasets) > 1:
        figures = [*filter(None, (_by_dataset(folder, place) for place in range(len(folder.models)))), *figures]
    return figures, tables + _areas(folder)


def _by_dataset(folder: Folder, model: int) -> Figure | None:
    """High purity against random orders and against low purity, over all k, data set by data set."""
    table, label = folder.table(schemas.COMPARISONS), folder.models[model]
    table = table[(table.model == label) & (table["first"] == "high_purity") & (table.k == AREA)]
    kinds = {"random": "minus random", "low_purity": "minus lowest purity"}
    table = table[table.second.isin(kinds)]
    if table.empty:
        return None
    rows = [
        _dot(row.dataset, kinds[row.second], row.difference, row.low, row.high)
        for row in each(table.sort_values("second", ascending=False, kind="stable"))
    ]
    rows.sort(key=lambda row: folder.datasets.index(row["name"]))
    colours = {"minus random": _HIGH, "minus lowest purity": _LOW}
    ahead = sum(row["low"] > 0 for row in rows if row["kind"] == "minus random")
    behind = sum(row["high"] < 0 for row in rows if row["kind"] == "minus random")
    total = sum(row["kind"] == "minus random" for row in rows)
    spec = dots_chart(
        rows, title="Highest purity: difference in accuracy over all k (points)", colours=colours, step=15
    )
    alt = (
        f"{label}: accuracy of the highest purity minus random over all k, with 95 % intervals. The whole interval is "
        f"above 0 on {ahead} and below 0 on {behind} of {total} data sets. "
        + " ".join(f"{row['name']}, {row['kind']}: {row['told']}." for row in rows)
    )
    return Figure(f"sets-{model}", label, alt, spec, keys_of(colours, lines=False))


def _areas(folder: Folder) -> list[Table]:
    """Mean accuracy over the ks of each strategy, and the neurons it needs."""
    table = folder.table(schemas.CURVES)
    if table.empty:
        return []
    table = table.assign(strategy=[strategy_name(str(name)) for name in table.strategy])
    columns = [
        *NAMED,
        Column("strategy", "Kept"),
        Column("area", "Mean accuracy, %", numbers.percent),
        Column("area_low", "from", numbers.percent),
        Column("area_high", "to", numbers.percent),
        Column("needed", "Neurons for 95 % of full", lambda n: numbers.plain(n, 0)),
        Column("needed_low", "from", lambda n: numbers.plain(n, 0)),
        Column("needed_high", "to", lambda n: numbers.plain(n, 0)),
    ]
    caption = "Over all k: mean accuracy, and the neurons that keep 95 % of full accuracy"
    return [make_table("areas", caption, table, columns)]


def strategies(folder: Folder) -> Found:
    """All strategies of each model, best first, where there are more than the experiment's."""
    results, comparisons, curves = (
        folder.table(kind) for kind in (schemas.RESULTS, schemas.COMPARISONS, schemas.CURVES)
    )
    if curves.empty or comparisons.empty or not set(folder.strategies) - {"high_purity", "low_purity", "random"}:
        return [], []
    sets = f"{len(folder.datasets)} data sets" if len(folder.datasets) > 1 else folder.datasets[0]
    figures, tables = [], []
    for place, model in enumerate(folder.models):
        board = leaderboard(results, comparisons, curves, model=model)
        rows = [
            _dot(strategy_name(one.strategy), "minus random", found.value, found.low, found.high)
            for one in board
            if (found := one.over_random) is not None
        ]
        told = "; ".join(f"{row['name']} {row['told']}" for row in rows)
        alt = f"{model}: {len(rows)} strategies, accuracy over all k minus random on {sets}: {told}."
        spec = dots_chart(rows, title="Accuracy over all k, minus random (points)", colours={"minus random": _HIGH})
        if rows:
            figures.append(Figure(f"board-{place}", model, alt, spec))
        caption = f"{model}: strategies over all k, on {sets}"
        tables.append(Table(f"board-table-{place}", caption, _BOARD, [_standing(one) for one in board]))
    return figures, tables


_BOARD = [
    Heading("Kept"),
    *(Heading(text, True) for text in ("Mean accuracy, %", "Minus random", "from", "to", "p", "Neurons for 95 %")),
]


def _standing(one: Standing) -> list[Cell]:
    found = one.over_random
    ends = (None, None, None) if found is None else (found.value, found.low, found.high)
    return [
        Cell(strategy_name(one.strategy), one.strategy),
        Cell(numbers.percent(one.area, 2), one.area),
        *(Cell(numbers.points(value), value) for value in ends),
        Cell(numbers.short(one.p, 2), one.p),
        Cell(numbers.plain(one.needed, 0), one.needed),
    ]


def nulls(folder: Folder) -> Found:
    """What was observed against what nulls give: in their standard deviations as a figure, in numbers as a table."""
    table = folder.table(schemas.NULLS)
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
            {"name": f"{row.statistic} ({row.null})", "kind": row.dataset, "value": row.z, "told": _against(row)}
            for row in each(drawn)
        ]
        outside = sum(row.value < row.null_low or row.value > row.null_high for row in each(drawn))
        alt = f"{model}: {outside} of {len(drawn)} statistics lie outside the middle 95 % of their null. " + " ".join(
            f"{row['name']} on {row['kind']}: {row['told']}." for row in rows[:12]
        )
        spec = dots_chart(
            rows, title="Standard deviations of the null from its mean", colours=colours, intervals=False, form="+~f"
        )
        figures.append(Figure(f"nulls-{place}", model, alt, spec, keys_of(colours, lines=False)))
    short = numbers.short
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
    return figures, [make_table("nulls-table", "Observed values and what nulls give", table, columns)]


def variants(folder: Folder, chosen: str) -> Found:
    """Mean accuracy of high, low and random with one choice of the experiment changed at a time."""
    table = folder.table(schemas.VARIANTS)
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
                    "told": f"{numbers.percent(getattr(row, column), 2)} %",
                }
                for row in each(part)
                for column, kind in columns.items()
                if getattr(row, column) == getattr(row, column)
            ]
        }
    first = choices.get(chosen) or next(iter(choices.values()))
    spec = dots_chart(
        first["rows"], title="Mean accuracy over all k (%)", colours=colours, zero=False, intervals=False, form="~f"
    )
    above = int((table.high > table.random).sum())
    alt = (
        f"Mean accuracy with one choice changed at a time: the highest purity is above random in {above} of "
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
            Column("high", "Highest purity, %", lambda v: numbers.percent(v, 2)),
            Column("low", "Lowest purity, %", lambda v: numbers.percent(v, 2)),
            Column("random", "Random, %", lambda v: numbers.percent(v, 2)),
            Column("percentile", "Percentile among random", lambda v: numbers.plain(v, 1)),
            Column("permutation_p", "p", lambda p: numbers.short(p, 2)),
        ],
    )
    figure = Figure(
        "variants", "One choice changed at a time", alt, spec, keys_of(colours, lines=False), choices, chosen
    )
    return [figure], [shown]


def correlations(folder: Folder) -> Found:
    """Do pure neurons matter more? Rank correlations over the neurons."""
    table = folder.table(schemas.CORRELATIONS)
    if table.empty:
        return [], []
    show = numbers.plain
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


def _rivals(folder: Folder) -> Found:
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
    colours = dict(zip(named.values(), (_INK, _HIGH, _RANDOM), strict=True))
    shown = table[(table.metric == "accuracy")]
    rows = [
        _dot(row.dataset, named[row.strategy, row.k], row.difference, row.low, row.high)
        for row in each(shown)
        if (row.strategy, row.k) in named
    ]
    title = f"Accuracy of {first} minus {second} (points)"
    alt = f"{title}. " + " ".join(f"{row['name']}, {row['kind']}: {row['told']}." for row in rows)
    spec = dots_chart(rows, title="Difference in accuracy (points)", colours=colours, step=13)
    figure = Figure("rivals", f"{first} against {second}", alt, spec, keys_of(colours, lines=False))
    table = table[table.k.isin([AREA, "all"])]
    table = table.assign(
        strategy=[strategy_name(str(name)) for name in table.strategy],
        k=table.k.replace({AREA: "all k", "all": "all neurons"}),
        metric=[METRIC_NAMES.get(str(name), str(name).replace("_", " ")) for name in table.metric],
    )
    columns = [
        Column("dataset", "Data set"),
        Column("strategy", "Kept"),
        Column("k", "k"),
        Column("metric", "Metric"),
        Column("first_value", first, lambda v: numbers.short(v, 4)),
        Column("second_value", second, lambda v: numbers.short(v, 4)),
        Column("difference", "Difference", lambda v: numbers.short(v, 3)),
        Column("low", "from", lambda v: numbers.short(v, 3)),
        Column("high", "to", lambda v: numbers.short(v, 3)),
        Column("p_holm", "p (Holm)", lambda p: numbers.short(p, 2)),
    ]
    caption = f"{first} and {second} on the same images"
    return [figure] if rows else [], [make_table("rivals-table", caption, table, columns)]


def _by_pair(folder: Folder, table: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    """Rows by "model/data set", in numbers."""
    for (model, dataset), part in groups(table, "model", "dataset"):
        if str(model) in folder.models and str(dataset) in folder.datasets:
            yield f"{folder.models.index(str(model))}/{folder.datasets.index(str(dataset))}", part


def _dot(name: str, kind: str, value: float, low: float, high: float) -> Row:
    told = f"{numbers.points(value)} points ({numbers.points(low)} to {numbers.points(high)})"
    return {"name": str(name), "kind": kind, "value": 100 * value, "low": 100 * low, "high": 100 * high, "told": told}


def _against(row: Any) -> str:
    short = numbers.short
    return f"{short(row.value)}, null {short(row.null_low)} to {short(row.null_high)}"
