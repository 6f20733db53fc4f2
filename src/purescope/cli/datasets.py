"""``purescope datasets``: what DATASET can be, and what of it is on this disk."""

from pathlib import Path

import click

from purescope.cli import terminal
from purescope.cli.paths import FOLDER, check_root


@click.command(short_help="List the datasets that can be named, or check those on this disk.")
@click.option("--data-root", type=FOLDER, metavar="DIR", help="Folder of the torchvision datasets.")
@click.option(
    "--check",
    type=FOLDER,
    metavar="DIR",
    help="Open each torchvision dataset in DIR: is it whole, and how to get it if not.",
)
def datasets(data_root: Path | None, check: Path | None) -> None:
    """What DATASET can be, and what of it is on this disk.

    With --check the exit code is 2 where a dataset is there and incomplete; one that is missing is
    no fault.
    """
    check_root(data_root if check is None else check)
    if check is None:
        _list(data_root)
    else:
        _check(check)


def _list(data_root: Path | None) -> None:

    from purescope.datasets import available_datasets

    table = terminal.table("Datasets")
    for name in ("DATASET", "what it is", "images", "classes", "here"):
        table.add_column(
            name, justify="right" if name in {"images", "classes"} else "left", overflow="fold"
        )
    for row in available_datasets(data_root):
        counts = (f"{count:,}" if count is not None else "" for count in (row.images, row.classes))
        spec, what, here = map(
            terminal.plain, (row.spec, row.what, "yes" if row.present else row.get)
        )
        table.add_row(spec, what, *counts, here)
    terminal.console().print(table)


def _check(root: Path) -> None:

    from purescope.datasets.torchvision import check_datasets
    from purescope.errors import DatasetError

    rows = check_datasets(root)
    table = terminal.table(f"Datasets in {root}")
    for name in ("DATASET", "state", "images", "classes"):
        table.add_column(
            name, justify="left" if name in {"DATASET", "state"} else "right", overflow="fold"
        )
    for row in rows:
        images, classes = (
            _of(row.images, row.expected_images),
            _of(row.classes, row.expected_classes),
        )
        table.add_row(terminal.plain(row.name), row.state, images, classes)
    screen = terminal.console()
    screen.print(table)
    for row in rows:
        if row.problem:
            screen.say(f"{row.name}: {row.problem}")
            screen.say(f"  to get it: {row.get}")
    broken = [row.name for row in rows if row.state == "incomplete"]
    if broken:
        raise DatasetError(f"incomplete in {root}: {', '.join(broken)}", fix="as said above")


def _of(found: int | None, expected: int) -> str:
    return f"{found:,} of {expected:,}" if found is not None else f"- of {expected:,}"
