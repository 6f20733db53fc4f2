"""``purescope report`` and ``purescope plot``: draw a folder of results that another command wrote.

Both need tables only: what they import here or in a run must not import torch.
"""

import os
from pathlib import Path

import click

from purescope.cli import output
from purescope.cli.paths import RESULTS, check_results


@click.command(short_help="Write the report of a folder of results: one HTML page for a browser.")
@click.argument("folder", type=RESULTS, metavar="DIR")
def report(folder: Path) -> None:
    """Write DIR/report.html from the tables in DIR, and print its path. Nothing is measured.

    Every command with --out writes the report itself. This command renews it, or writes it for an
    older folder.

    \b
    Examples:
      purescope report purescope-demo
    """  # noqa: D301 click does not wrap a paragraph after this mark
    check_results(folder)
    from purescope.report.writing import write_report

    with output.show_messages():
        path = write_report(folder)
    output.print_line(path)


_VENUES = ("neurips", "iclr", "icml", "cvpr", "eccv", "acl", "aaai", "ieee", "tmlr", "jmlr")


@click.command(short_help="Draw all figures of a folder of results, for a screen or for a paper.")
@click.argument("folder", metavar="DIR", type=RESULTS)
@click.option(
    "--style",
    type=click.Choice(["screen", "paper"]),
    default="screen",
    show_default=True,
    help="Style of the figures. paper fits the columns of a venue: 8 and 9 pt type, thin lines, no "
    "headings.",
)
@click.option(
    "--venue",
    type=click.Choice(_VENUES),
    help="Size figures in the paper style for this venue's columns; cvpr also fits ICCV and WACV.  "
    "[default: neurips]",
)
@click.option(
    "--width",
    type=click.Choice(["column", "text"]),
    help="Width of figures for a venue with two columns: up to four panels stacked in one column, "
    "or side by side over both.  [default: column]",
)
@click.option(
    "--format",
    "formats",
    metavar="NAMES",
    help="File formats, of png, svg and pdf, separated by commas.  [default: png,svg; with --style "
    "paper png,svg,pdf]",
)
@click.option(
    "--out",
    type=RESULTS,
    metavar="DIR2",
    help="Folder for the figures.  [default: DIR/figures, or DIR/figures/paper_VENUE]",
)
def plot(
    folder: Path,
    style: str,
    venue: str | None,
    width: str | None,
    formats: str | None,
    out: Path | None,
) -> None:
    """Draw every figure that DIR has the data for.

    DIR is the --out folder of sweep, demo, compare, evidence, track, layers, index or reproduce.

    \b
    Examples:
      purescope plot purescope-demo
      purescope plot results --style paper --venue icml --format pdf --out paper/figures
    """  # noqa: D301 click does not wrap a paragraph after this mark
    check_results(folder)
    from purescope.plots.folder import draw_folder
    from purescope.plots.style import style as use_style
    from purescope.tables.published import published_figures

    for option, value in (("--venue", venue), ("--width", width)):
        if value and style != "paper":
            raise click.UsageError(f"{option} goes with --style paper")
    formats = formats or ("png,svg,pdf" if style == "paper" else "png,svg")
    if out is None:
        out = folder / "figures" / (f"paper_{venue or 'neurips'}" if style == "paper" else "")

    def print_path(path: Path) -> None:
        output.clear_step()
        output.print_line(path)

    with (
        output.show_messages(),
        use_style(style, venue=venue or "neurips", width=width or "column"),
    ):
        drawn = draw_folder(
            folder,
            out,
            [name.strip() for name in formats.split(",")],
            published=published_figures(),
            processes=_available_cores(),
            tell=print_path,
        )
    for reason in drawn.missing:
        output.print_line(f"Not drawn: {reason}")


def _available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
