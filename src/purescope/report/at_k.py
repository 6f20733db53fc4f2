"""Every strategy at one k, as the page shows it before a reader chooses another."""

from collections.abc import Mapping
from typing import Any

from purescope import formats
from purescope.looks import METRIC_NAMES, strategy_name
from purescope.report.curves import Curve
from purescope.report.tables import Cell, Heading, Table
from purescope.tables import schemas
from purescope.tables.results import Folder

_INTERVAL = "95 % interval"


def at_table(folder: Folder, there: Mapping[tuple[str, str, str], Curve], chosen: Mapping[str, Any]) -> Table:
    """All metrics of every strategy at the chosen model, data set and k, of all neurons, and of guessing."""
    model, dataset, k = folder.models[chosen["model"]], folder.datasets[chosen["dataset"]], chosen["k"]
    metrics = [metric for metric in folder.metrics if (model, dataset, metric) in there]
    values = {
        (metric, row["strategy"]): row
        for metric in metrics
        for row in there[model, dataset, metric].rows
        if row["k"] == k
    }
    table = folder.table(schemas.COMPARISONS)
    table = table[
        (table.model == model) & (table.dataset == dataset) & (table.second == "random") & (table.k == str(k))
    ]
    differences = table.set_index("first")
    headings = [Heading("Kept", name="strategy")]
    for metric in metrics:
        headings.append(Heading(METRIC_NAMES[metric] + ("" if metric == "silhouette" else ", %"), True, metric))
        if metric == "accuracy":
            headings.append(Heading(_INTERVAL, name="accuracy_low accuracy_high"))
    headings += [
        Heading("Minus random", True, "minus_random"),
        Heading(_INTERVAL, name="minus_random_low minus_random_high"),
        Heading("p", True, "p"),
        Heading("p (Holm)", True, "p_holm"),
    ]
    rows = []
    for strategy in [*folder.strategies, "full"]:
        found = {
            m: there[model, dataset, m].full if strategy == "full" else values.get((m, strategy), {}) for m in metrics
        }
        if not any(found.values()):
            continue
        row = [Cell(strategy_name(strategy), strategy)]
        for metric in metrics:
            one = found[metric]
            row.append(Cell(formats.measure(one.get("value"), metric), one.get("value")))
            if metric == "accuracy":
                row.append(_interval(one.get("low"), one.get("high"), formats.percent))
        difference: Any = differences.loc[strategy] if strategy in differences.index else {}
        row += [
            Cell(formats.points(difference.get("difference")), difference.get("difference")),
            _interval(difference.get("low"), difference.get("high"), formats.points),
            Cell(formats.short(difference.get("permutation_p"), 2), difference.get("permutation_p")),
            Cell(formats.short(difference.get("permutation_holm"), 2), difference.get("permutation_holm")),
        ]
        rows.append(row)
    chances = {metric: there[model, dataset, metric].chance for metric in metrics}
    if any(chance == chance for chance in chances.values()):
        row = [Cell("chance", "chance")]
        for metric, chance in chances.items():
            row.append(Cell(formats.measure(chance, metric), chance))
            if metric == "accuracy":
                row.append(Cell(formats.NONE))
        rows.append([*row, *(Cell(formats.NONE) for _ in range(len(headings) - len(row)))])
    return Table("at", f"{model} on {dataset}, {k:,} neurons kept", headings, rows)


def _interval(low: Any, high: Any, show: Any) -> Cell:
    if low is None or low != low:
        return Cell(formats.NONE)
    return Cell(f"{show(low)} to {show(high)}", f"{low} {high}")
