"""``purescope report``: a folder of results as one HTML page."""

from pathlib import Path

import click

from purescope.cli import terminal
from purescope.cli.paths import RESULTS, check_results


@click.command(short_help="Write the report of a folder of results: one HTML page for a browser.")
@click.argument("folder", type=RESULTS, metavar="DIR")
def report(folder: Path) -> None:
    """Write DIR/report.html from what DIR holds, and print where it stands; nothing is measured.

    Every command with --out writes it by itself; this one renews it, or makes it for an older folder.

    \b
    Examples:
      purescope report purescope-demo
    """  # noqa: D301 click's mark for lines to leave alone
    check_results(folder)
    from purescope.report.writing import write_report

    with terminal.telling():
        written = write_report(folder)
    terminal.say(written)
