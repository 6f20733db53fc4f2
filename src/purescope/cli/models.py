"""``purescope models``, what MODEL can be and what of it is on this disk; ``purescope convert``, a
safe copy of one.
"""

from pathlib import Path

import click

from purescope.cli import terminal
from purescope.cli.paths import RESULTS, check_named


@click.command(short_help="List the models that can be named.")
def models() -> None:
    """What MODEL can be, and what of it is on this disk."""
    from purescope.models import available_models

    table = terminal.table("Models", "MODEL", "what it is", "here")
    for row in available_models():
        here = {True: "yes", False: "no", None: ""}[row.present]
        table.add_row(terminal.plain(row.spec), terminal.plain(row.description), here)
    terminal.console().print(table)


@click.command(short_help="Write a safe copy of a checkpoint: safetensors and a configuration.")
@click.argument("checkpoint", metavar="CKPT")
@click.argument("out", type=RESULTS, metavar="OUT")
@click.option(
    "--arch",
    metavar="ARCH",
    help="Architecture of a bare file of open_clip's weights: its name, ARCH/TAG for the "
    "preprocess of one of its "
    "tags, or a file of your own, FILE.json, with a model_cfg.",
)
@click.option("--offline", is_flag=True, help="Fetch nothing.")
def convert(checkpoint: str, out: Path, arch: str | None, offline: bool) -> None:
    """Write a copy of CKPT into the new folder OUT, for whose reading no code is needed.

    CKPT is anything that loads. OUT takes open_clip's local-dir: form wherever open_clip has the
    architecture, transformers' for models of transformers, and purescope's own for LaCLIP
    checkpoints.

    \b
    Example:
      purescope convert ViT-B-16.pt vit-b-16
    """  # noqa: D301 click's mark for lines to leave alone
    check_named((checkpoint,))
    from purescope.models.convert import convert

    with terminal.telling():
        form = convert(checkpoint, out, arch=arch, offline=offline)
    terminal.say(f"{out}: in the form of {form}")
    if form == "open_clip":
        terminal.say(f"  open_clip loads it as local-dir:{out}")
