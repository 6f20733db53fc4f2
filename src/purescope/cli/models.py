"""``purescope models`` and ``purescope datasets``: what can be named, and what is on this disk."""

from pathlib import Path

import click

from purescope.cli import terminal


@click.command(short_help="List the models that can be named.")
def models() -> None:
    """What MODEL can be, and what of it is on this disk."""
    from rich.table import Table

    from purescope.models import available_models

    table = Table("MODEL", "what it is", "here", title="Models", title_justify="left", title_style="bold")
    for row in available_models():
        here = {True: "yes", False: "no", None: ""}[row.present]
        table.add_row(row.spec, row.description, here)
    terminal.console().print(table)


@click.command(short_help="List the datasets that can be named.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the torchvision datasets.")
def datasets(data_root: Path | None) -> None:
    """What DATASET can be, and what of it is on this disk."""
    from rich.table import Table

    from purescope.datasets import available_datasets

    table = Table(title="Datasets", title_justify="left", title_style="bold")
    for name in ("DATASET", "what it is", "images", "classes", "here"):
        table.add_column(name, justify="right" if name in {"images", "classes"} else "left", overflow="fold")
    for row in available_datasets(data_root):
        counts = (f"{count:,}" if count is not None else "" for count in (row.images, row.classes))
        table.add_row(row.spec, row.what, *counts, "yes" if row.present else row.get)
    terminal.console().print(table)
