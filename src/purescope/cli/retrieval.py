"""Print what a sweep measured beside accuracies: recall of captions, and metrics of images."""

from typing import TYPE_CHECKING

from purescope.cli import terminal
from purescope.cli.output import escape
from purescope.formats import METRIC_NAMES, Difference
from purescope.tables.metrics import SHOWN

_SHOWN_OF_IMAGES = ("knn_accuracy@5", "mean_average_precision", "linear_probe_accuracy")
_SCALED = {True: "again over the kept neurons", False: "over all neurons"}

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from purescope.tables.results import Results


def print_retrieval(console: "Console", results: "Results") -> None:
    """Print the retrieval of each model, and which strategies keep more than random orders.

    Without captions nothing is printed.
    """
    from purescope.tables.retrieval import RETRIEVAL_COMPARISONS, RETRIEVAL_CURVES

    points, curves = results.table("curve_points"), results.rows(RETRIEVAL_CURVES)
    points = points[points.metric.isin(SHOWN)]
    if points.empty:
        return
    for _, own in points.groupby("model", sort=False):
        for metric in SHOWN:
            console.print(terminal.accuracy_table(own, console.width, metric))
            console.print()
    compared = results.rows(RETRIEVAL_COMPARISONS)
    _print_strategies(console, results, curves[curves.metric.isin(SHOWN)], compared)
    console.print(_remarks(results))


def print_more(console: "Console", results: "Results") -> None:
    """Print everything that was measured beside accuracies."""
    print_images(console, results)
    print_retrieval(console, results)


def print_images(console: "Console", results: "Results") -> None:
    """Print the metrics of images of each model and strategy, and each band against its basis.

    Without ``--metrics`` nothing is printed.
    """
    from purescope.tables.columns import AREA
    from purescope.tables.retrieval import IMAGE_COMPARISONS, IMAGE_CURVES
    from purescope.tables.schema import each_row

    curves, compared = results.rows(IMAGE_CURVES), results.rows(IMAGE_COMPARISONS)
    if curves.empty:
        return
    shown = curves.metric.isin(_SHOWN_OF_IMAGES)
    _print_strategies(console, results, curves[shown], compared)
    bands = compared[
        compared["first"].str.contains("@") & (compared.second != "random") & (compared.k == AREA)
    ]
    for row in each_row(bands):
        difference = Difference(row.difference, row.low, row.high)
        text = (
            f"{row.model} on {row.dataset}: {METRIC_NAMES[str(row.metric)].lower()}, mean over k, "
        )
        text += f"of {row.first} minus {row.second}: {difference}, p {row.paired_holm:.2g}."
        console.print(escape(text))
    rows = results.table("results")
    scaled = bool(rows.renormalise[rows.metric.isin(_SHOWN_OF_IMAGES)].all())
    remark = (
        f"Images are scaled to unit length {_SCALED[scaled]}, and each searches all others. All "
        "metrics are in results.csv, their tests in image_comparisons.csv."
    )
    console.print(remark)
    console.print()


def _print_strategies(
    console: "Console", results: "Results", curves: "pd.DataFrame", compared: "pd.DataFrame"
) -> None:
    for (model, metric), own in curves.groupby(["model", "metric"], sort=False):
        console.print(_strategies(results, str(model), str(metric), own, compared))
        console.print()


def _strategies(
    results: "Results",
    model: str,
    metric: str,
    curves: "pd.DataFrame",
    compared: "pd.DataFrame",
) -> "Table":
    """Return all strategies of one model on each dataset, best first."""
    from purescope.tables.columns import AREA
    from purescope.tables.schema import each_row

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
    scaled = _SCALED[bool(rows.renormalise.all())]
    text = (
        f"Images and captions are scaled to unit length {scaled}. Recall at 1 and 10, true recall "
        "and nDCG are in results.csv, their tests in retrieval_comparisons.csv."
    )
    if results.verdicts:
        text += " Captions take no part in the verdict, which is about classes."
    return text
