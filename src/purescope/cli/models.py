"""``purescope models``: what MODEL can be, and what of it is on this disk."""

import click

from purescope.cli import terminal


@click.command(short_help="List the models that can be named.")
def models() -> None:
    """What MODEL can be, and what of it is on this disk."""
    from purescope.models import available_models

    table = terminal.table("Models", "MODEL", "what it is", "here")
    for row in available_models():
        here = {True: "yes", False: "no", None: ""}[row.present]
        table.add_row(terminal.plain(row.spec), terminal.plain(row.description), here)
    terminal.console().print(table)
