"""``purescope sweep``: the experiment, from names to a folder of results."""

from pathlib import Path
from typing import Any

import click

from purescope.cli import options, terminal
from purescope.cli.there import check_named


@click.command(short_help="Run the pruning experiment on models and datasets.")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@options.evaluated
@options.attributed
@options.measured
@options.read
def sweep(
    models: tuple[str, ...], data: tuple[str, ...], out: Path, overwrite: bool, rotations: int | None, **rest: Any
) -> None:
    """Keep the purest, least pure or random k neurons of each MODEL and measure what is left, for every k.

    \b
    MODEL    bundled:clip | path/to/checkpoint.pt | local-dir:FOLDER | open_clip:ARCH/TAG |
             open_clip:ARCH/FILE | open_clip:hf-hub:OWNER/REPO | hf:OWNER/REPO;
             LABEL= may stand before it
    DATASET  bundled:NAME | cifar10 cifar100 food101 caltech101 pets dtd eurosat stl10 |
             folder:DIR | manifest:FILE | wds:DIR | hf:OWNER/REPO | features:FILE;
             LABEL= may stand before it

    \b
    Examples:
      purescope sweep bundled:clip bundled:laclip --data bundled:flags --out results
      purescope sweep "CC3M LaCLIP=cc3m_laclip.pt" --data cifar10,dtd --data-root DATA --out results
      purescope sweep --data features:mine.npz --space activations --out results
    """  # noqa: D301 click's mark for lines to leave alone
    check_named(models, options.datasets(data), **options.places(rest))
    from purescope.runs._run import run_sweep

    drawing, sources, settings = options.drawing(rest), options.sources(rest), options.settings(rest)
    with terminal.telling():
        table = run_sweep(
            models,
            options.datasets(data),
            out,
            settings=settings,
            sources=sources,
            overwrite=overwrite,
            **drawing,
            rotations=rotations,
            progress=terminal.progress,
        )
    terminal.summary(table, out, settings)
