"""The experiment, from names to a folder of results: ``purescope sweep``, and ``purescope demo``.

The demo is the whole experiment on the bundled pair, told to a newcomer.
"""

from pathlib import Path
from typing import Any

import click

from purescope.cli import options, terminal
from purescope.cli.paths import RESULTS, check_named


@click.command(short_help="Run the pruning experiment on models and datasets.")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@options.evaluated
@options.attributed
@options.measured
@options.read
def sweep(
    models: tuple[str, ...],
    data: tuple[str, ...],
    out: Path,
    overwrite: bool,
    rotations: int | None,
    **rest: Any,
) -> None:
    """Keep the purest, least pure or random k neurons of each MODEL and measure what is left, for
    every k.

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
    from purescope.runs.run import run_sweep

    drawing, sources, settings = (
        options.drawing(rest),
        options.sources(rest),
        options.settings(rest),
    )
    with terminal.telling():
        results = run_sweep(
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
    terminal.summary(results, settings)


MODELS = ("bundled:clip", "bundled:laclip")
DATASETS = ("emoji", "flags", "icons", "clipart", "fashion-mnist", "openmoji")

_STORY = """\
[bold]purescope demo[/bold]: can half of an embedding go, and does it matter which half?
Two small CLIP models, trained by this project on drawings, turn pictures and class names into 512
numbers, one for each neuron. A neuron is [bold]pure[/bold] when its weights point in a direction of their own.
Kept are k neurons: the purest, the least pure, or 50 random choices, of which the median is shown; or k
other axes of the same numbers, those that carry most weight ([bold]svd[/bold]).
The question is which class name fits each picture best; small curves show accuracy as k grows.
"""


@click.command(
    short_help="The whole experiment on the bundled models and images, in one to two minutes."
)
@click.option(
    "--out",
    type=RESULTS,
    default=Path("purescope-demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for the results.",
)
def demo(out: Path) -> None:
    """Run the pruning experiment on two small models and six image sets that come with
    purescope.
    """
    from purescope.runs.inputs import Settings, Sources
    from purescope.runs.run import run_sweep

    screen = terminal.console()
    screen.print(_STORY)
    with terminal.telling(most=2):
        results = run_sweep(
            MODELS,
            [f"bundled:{name}" for name in DATASETS],
            out,
            sources=Sources(cache=options.default_cache()),
            settings=Settings(strategies=("high_purity", "low_purity", "svd")),
            progress=terminal.progress,
        )
    terminal.accuracies(screen, results)
    terminal.conclusions(screen, results)
    terminal.run_ends(
        screen,
        out,
        **{
            "All neurons, ranked": terminal.typed("purescope purity bundled:laclip"),
            "Your checkpoint and images": terminal.typed(
                "purescope sweep MY.pt --data folder:MY_IMAGES --out results"
            ),
        },
    )
