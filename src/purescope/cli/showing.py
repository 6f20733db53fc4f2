"""``purescope report`` and ``purescope plot``: a page, or figures, of a folder that another command
has filled.
"""

from pathlib import Path

import click

from purescope.cli import terminal
from purescope.cli.paths import RESULTS, check_results


@click.command(short_help="Write the report of a folder of results: one HTML page for a browser.")
@click.argument("folder", type=RESULTS, metavar="DIR")
def report(folder: Path) -> None:
    """Write DIR/report.html from what DIR holds, and print where it stands; nothing is measured.

    Every command with --out writes it by itself; this one renews it, or makes it for an older
    folder.

    \b
    Examples:
      purescope report purescope-demo
    """  # noqa: D301 click's mark for lines to leave alone
    check_results(folder)
    from purescope.report.writing import write_report

    with terminal.telling():
        written = write_report(folder)
    terminal.say(written)


_VENUES = ("neurips", "iclr", "icml", "cvpr", "eccv", "acl", "aaai", "ieee", "tmlr", "jmlr")


@click.command(short_help="Draw all figures of a folder of results, for a screen or for a paper.")
@click.argument("folder", metavar="DIR", type=RESULTS)
@click.option(
    "--style",
    type=click.Choice(["screen", "paper"]),
    default="screen",
    show_default=True,
    help="paper: as wide as a venue's columns, 8 and 9 pt type, thin lines, no headings.",
)
@click.option(
    "--venue",
    type=click.Choice(_VENUES),
    help="Whose columns figures in the paper style fit; cvpr is ICCV's and WACV's too.  [default: "
    "neurips]",
)
@click.option(
    "--width",
    type=click.Choice(["column", "text"]),
    help="Where the venue has two columns: up to four panels stacked in one of them, or side by "
    "side over both.  "
    "[default: column]",
)
@click.option(
    "--format",
    "formats",
    metavar="NAMES",
    help="Of png, svg and pdf, separated by commas.  [default: png,svg; with --style paper "
    "png,svg,pdf]",
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

    DIR is the --out folder of sweep, demo, compare, evidence, track, layers or reproduce.

    \b
    Examples:
      purescope plot purescope-demo
      purescope plot results --style paper --venue icml --format pdf --out paper/figures
    """  # noqa: D301 click's mark for lines to leave alone
    check_results(folder)
    from torch import get_num_threads

    from purescope.plots.folder import draw_folder
    from purescope.plots.style import style as drawn_in
    from purescope.tables.published import published_figures

    for option, given in (("--venue", venue), ("--width", width)):
        if given and style != "paper":
            raise click.UsageError(f"{option} goes with --style paper")
    names = [
        name.strip()
        for name in (formats or ("png,svg,pdf" if style == "paper" else "png,svg")).split(",")
    ]
    if out is None:
        out = folder / "figures" / (f"paper_{venue or 'neurips'}" if style == "paper" else "")
    screen = terminal.console()

    def tell(path: Path) -> None:
        terminal.clear()
        screen.say(path)

    with terminal.telling(), drawn_in(style, venue=venue or "neurips", width=width or "column"):
        drawn = draw_folder(
            folder,
            out,
            names,
            published=published_figures(),
            processes=get_num_threads(),
            tell=tell,
        )
    for line in drawn.missing:
        screen.say(f"Not drawn: {line}")
