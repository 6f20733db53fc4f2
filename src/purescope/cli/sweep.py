"""``purescope sweep``: the experiment, from names to a folder of results."""

from pathlib import Path
from typing import Any

import click

from purescope.cli import options, terminal

_SPACES = {"weights": "weights", "activations": "activations", "centred": "centred activations"}
_PROTOCOLS = {
    "native": "native: each checkpoint's preprocess, each dataset's prompts and cleaned class names",
    "paper": "paper: OpenAI's preprocess, 'a photo of a {}' and raw class names, whatever the checkpoint",
}


@click.command(short_help="Run the pruning experiment on models and datasets.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="DATASET",
    help="A dataset to evaluate on; give it once for each, or several separated by commas.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the results: one without results, or that of the same run.",
)
@click.option("--overwrite", is_flag=True, help="Replace the results of another run in --out.")
@options.measured
@options.read
def sweep(
    models: tuple[str, ...], data: tuple[str, ...], out: Path, keep: str | None, overwrite: bool, **rest: Any
) -> None:
    """Keep the purest, least pure or random k neurons of each MODEL and measure what is left, for every k.

    \b
    MODEL    bundled:clip | path/to/checkpoint.pt | local-dir:FOLDER | open_clip:ARCH/TAG |
             open_clip:hf-hub:OWNER/REPO | hf:OWNER/REPO; LABEL= may stand before it
    DATASET  bundled:NAME | cifar10 cifar100 food101 caltech101 pets dtd eurosat stl10 |
             folder:DIR | manifest:FILE | wds:DIR | hf:OWNER/REPO | features:FILE;
             LABEL= may stand before it

    \b
    Examples:
      purescope sweep bundled:clip bundled:laclip --data bundled:flags --out results
      purescope sweep "CC3M LaCLIP=cc3m_laclip.pt" --data cifar10,dtd --data-root DATA --out results
    """  # noqa: D301 click's mark for lines to leave alone
    from purescope.ordering import parse_keep
    from purescope.runs import Settings, run_sweep

    sources = options.sources(rest)
    names = [name for item in data for name in _split(item)]
    settings = Settings(keep=parse_keep(keep) if keep is not None else None, **rest)
    with terminal.warnings_as_notes():
        table = run_sweep(
            models,
            names,
            out,
            settings=settings,
            sources=sources,
            overwrite=overwrite,
            progress=terminal.progress,
        )
    screen = terminal.console()
    screen.print(f"Protocol {_PROTOCOLS[settings.protocol]}.\nPurity of {_SPACES[settings.space]}.\n")
    for model in table.model.unique():
        screen.print(terminal.result_table(table, model))
    for verdict in terminal.verdicts(table):
        screen.print(verdict.sentence)
    screen.print(f"\nTables, figures and manifest: {out}", soft_wrap=True)


def _split(item: str) -> list[str]:
    """A path may hold commas; a list of plain names is split at them."""
    return [item] if Path(item.partition(":")[2] or item).exists() else item.split(",")
