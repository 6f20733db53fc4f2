"""Print what a sweep measured with captions: recall at 5 in both directions."""

from typing import TYPE_CHECKING

from purescope.cli import terminal
from purescope.cli.output import escape
from purescope.formats import METRIC_NAMES, Difference
from purescope.tables.metrics import SHOWN

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from purescope.tables.results import Results


def print_retrieval(console: "Console", results: "Results") -> None:
    """Print the retrieval of each model, and which strategies keep more than random orders.

    Without captions nothing is printed.
    """
    from purescope.tables.retrieval import RETRIEVAL_CURVES

    points, curves = results.table("curve_points"), results.rows(RETRIEVAL_CURVES)
    points = points[points.metric.isin(SHOWN)]
    if points.empty:
        return
    for _, own in points.groupby("model", sort=False):
        for metric in SHOWN:
            console.print(terminal.accuracy_table(own, console.width, metric))
            console.print()
    curves = curves[curves.metric.isin(SHOWN)]
    for (model, name), own in curves.groupby(["model", "metric"], sort=False):
        console.print(_strategies(results, str(model), str(name), own))
        console.print()
    console.print(_remarks(results))


def _strategies(results: "Results", model: str, metric: str, curves: "pd.DataFrame") -> "Table":
    """Return all strategies of one model on each dataset, best first."""
    from purescope.tables.columns import AREA
    from purescope.tables.retrieval import RETRIEVAL_COMPARISONS
    from purescope.tables.schema import each_row

    compared = results.rows(RETRIEVAL_COMPARISONS)
    compared = compared[
        (compared.model == model)
        & (compared.metric == metric)
        & (compared.second == "random")
        & (compared.k == AREA)
    ]
    areas = {(str(row.dataset), str(row.first)): row for row in each_row(compared)}
    smallest_k = int(results.table("results").k.min())
    table = terminal.make_table(f"{model}: {METRIC_NAMES[metric]}, mean over k")
    for name in ("dataset", "strategy", "%", "minus random (95 % interval)", "p", "for 95 %"):
        table.add_column(name, justify="left" if name in ("dataset", "strategy") else "right")
    for dataset, rows in curves.groupby("dataset", sort=False):
        for row in each_row(rows.sort_values("area", ascending=False, kind="stable")):
            area = areas.get((str(dataset), str(row.strategy)))
            terminal.add_row(
                table,
                escape(str(dataset)),
                escape(str(row.strategy)),
                f"{100 * row.area:.2f}",
                str(Difference(area.difference, area.low, area.high)) if area else "",
                f"{area.permutation_holm:.2g}" if area else "",
                f"≤ {row.needed:.0f}" if row.needed <= smallest_k else f"{row.needed:.0f}",
            )
    table.caption = "p is among the random orders, by Holm over the datasets."
    return table


def _remarks(results: "Results") -> str:
    """Say how captions were measured, and what is not shown."""
    table = results.table("results")
    rows = table[table.metric.isin(SHOWN)]
    scaled = "again over the kept neurons" if bool(rows.renormalise.all()) else "over all neurons"
    text = (
        f"Images and captions are scaled to unit length {scaled}. Recall at 1 and 10, true recall "
        "and nDCG are in results.csv, their tests in retrieval_comparisons.csv."
    )
    if results.verdicts:
        text += " Captions take no part in the verdict, which is about classes."
    return text
