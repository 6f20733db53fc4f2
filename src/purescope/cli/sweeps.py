"""``purescope sweep`` and ``purescope demo``: the experiment, from names to a folder of results."""

from pathlib import Path
from typing import Any

import click

from purescope.cli import options, output, terminal
from purescope.cli.paths import RESULTS, check_named


@click.command(short_help="Run the pruning experiment on models and datasets.")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@options.add_options(*options.RUN, "rotations", *options.SETTINGS, *options.SOURCES)
def sweep(
    models: tuple[str, ...],
    data: tuple[str, ...],
    out: Path,
    overwrite: bool,
    rotations: int | None,
    **rest: Any,
) -> None:
    """Keep the purest, least pure or random k neurons of each MODEL, and measure what is left.

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
    """  # noqa: D301 click does not wrap a paragraph after this mark
    names = options.dataset_names(data)
    check_named(models, names, **options.data_folder(rest))
    from purescope.runs.run import run_sweep

    drawing, sources = options.pop_drawing(rest), options.pop_sources(rest)
    settings = options.pop_settings(rest)
    with output.show_messages():
        results = run_sweep(
            models,
            names,
            out,
            settings=settings,
            sources=sources,
            overwrite=overwrite,
            **drawing,
            rotations=rotations,
            progress=output.show_progress,
        )
    terminal.print_summary(results, settings)


MODELS = ("bundled:clip", "bundled:laclip")
DATASETS = ("emoji", "flags", "icons", "clipart", "fashion-mnist", "openmoji")

_STORY = """\
[bold]purescope demo[/bold]: can half of an embedding be removed, and does it matter which half?
Two small CLIP models, which this project trained on drawings, turn images and class names into 512
numbers, one for each neuron. A neuron is [bold]pure[/bold] if its weights point in a direction of \
their own.
The demo keeps k neurons: the purest, the least pure, or 50 random choices, of which it shows the \
median.
It also keeps k other axes of the same numbers, those along which the weights are largest \
([bold]svd[/bold]).
The task is to find the class name that fits each image best. Small curves show accuracy as k grows.
"""


@click.command(
    short_help="Run the whole experiment on bundled models and images, in one to two minutes."
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
    """Run the pruning experiment on two models and six image datasets that come with purescope."""
    from purescope.runs.inputs import Settings, Sources
    from purescope.runs.run import run_sweep

    console = terminal.make_console()
    console.print(_STORY)
    with output.show_messages(most=2):
        results = run_sweep(
            MODELS,
            [f"bundled:{name}" for name in DATASETS],
            out,
            sources=Sources(cache=options.default_cache()),
            settings=Settings(strategies=("high_purity", "low_purity", "svd")),
            progress=output.show_progress,
        )
    terminal.print_accuracies(console, results)
    terminal.print_conclusions(console, results)
    next_commands = {
        "All neurons, ranked": "purescope purity bundled:laclip",
        "Your checkpoint and images": "purescope sweep MY.pt --data folder:MY_IMAGES --out results",
    }
    steps = {name: terminal.runnable(line) for name, line in next_commands.items()}
    terminal.print_files(console, out, **steps)
