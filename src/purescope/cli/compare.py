"""``purescope compare``: two models on the same images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, terminal
from purescope.cli.paths import check_named

if TYPE_CHECKING:
    import pandas as pd

    from purescope.cli.screen import Table

_SHOWN = {
    ("full", "all", "accuracy"): "accuracy, %",
    ("full", "all", "silhouette"): "silhouette, x 100",
    ("high_purity", "area", "accuracy"): "high purity, mean over k, %",
    ("random", "area", "accuracy"): "random, mean over k, %",
    ("low_purity", "area", "accuracy"): "low purity, mean over k, %",
    ("gap", "area", "accuracy"): "high minus low, points",
    ("full", "all", "image_relative_overlap"): "overlap of the image tower, % of random",
    ("full", "all", "text_relative_overlap"): "overlap of the text tower, % of random",
}


@click.command(short_help="Compare two models on the same images, with paired tests.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@options.evaluated
@options.attributed
@options.measured
@options.read
def compare(
    first: str, second: str, data: tuple[str, ...], out: Path, overwrite: bool, rotations: int | None, **rest: Any
) -> None:
    """Accuracy, silhouette, purity and pruning curves of models A and B, and which differences are real.

    \b
    Example:
      purescope compare bundled:clip bundled:laclip --data bundled:flags,bundled:icons --out clip-or-laclip
    """  # noqa: D301 click's mark for lines to leave alone
    check_named((first, second), options.datasets(data), **options.places(rest))
    from purescope.runs.doors import run_compare

    drawing, sources, settings = options.drawing(rest), options.sources(rest), options.settings(rest)
    with terminal.telling():
        tables = run_compare(
            first,
            second,
            options.datasets(data),
            out,
            settings=settings,
            sources=sources,
            overwrite=overwrite,
            **drawing,
            rotations=rotations,
            progress=terminal.progress,
        )
    rivals, screen = tables["rivals"], terminal.console()
    for dataset in rivals.dataset.unique():
        screen.print(_table(rivals[rivals.dataset == dataset]))
        screen.print()
    screen.print("p is Holm's over the datasets: McNemar's exact test for accuracy, else of the bootstrap.\n")
    terminal.summary(tables["results"], out, settings)


def _table(rows: "pd.DataFrame") -> "Table":
    from purescope.studies.comparisons import interval, points

    one, other, dataset = rows.iloc[0][["first", "second", "dataset"]]
    screen = terminal.table(f"{one} and {other}" if dataset == "all" else f"{one} and {other} on {dataset}")
    for name in ("", one, other, "difference (95 % interval)", "p"):
        screen.add_column(terminal.plain(name), justify="right" if name else "left")
    found = rows.set_index(["strategy", "k", "metric"])
    for key, name in _SHOWN.items():
        if key in found.index:
            row = found.loc[[key]].iloc[0]
            difference = f"{points(row.difference)} ({interval(row.low, row.high)})"
            values = (f"{100 * row.first_value:.2f}", f"{100 * row.second_value:.2f}")
            screen.add_row(name, *values, difference, f"{row.p_holm:.2g}")
    return screen
