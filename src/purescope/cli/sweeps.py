"""The experiment: ``purescope sweep``, ``purescope demo`` and ``purescope reproduce``.

The demo runs the experiment on the bundled pair and explains it to a newcomer; reproduce runs it as
it was published, and shows the published numbers beside ours.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, output, terminal
from purescope.cli.paths import RESULTS, check_named

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from purescope.tables.results import Results


@click.command(short_help="Run the pruning experiment on models and datasets.")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@options.add_options(*options.RUN, "rotations", *options.SETTINGS, "metrics", *options.SOURCES)
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
             folder:DIR | manifest:FILE | wds:DIR | hf:OWNER/REPO | features:FILE |
             captions:PATH, whose retrieval is measured; LABEL= may stand before it

    \b
    Examples:
      purescope sweep bundled:clip bundled:laclip --data bundled:flags --out results
      purescope sweep "CC3M LaCLIP=cc3m_laclip.pt" --data cifar10,dtd --data-root DATA --out results
      purescope sweep --data features:mine.npz --space activations --out results
    """  # noqa: D301 click does not wrap a paragraph after this mark
    names = options.dataset_names(data)
    check_named(models, names, **options.data_folder(rest))
    from purescope.cli.retrieval import print_more
    from purescope.runs.pairs import plain_sweep
    from purescope.runs.run import run

    arguments = options.pop_run(rest)
    with output.show_messages():
        results = run(
            models,
            names,
            out,
            overwrite=overwrite,
            **arguments,
            study=plain_sweep(rotations),
            progress=output.show_progress,
        )
    terminal.print_summary(results, arguments["settings"], print_more)


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
    from purescope.reduce.choosing import choose
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
    commands = [choice.command for choice in choose(results, over="mean") if choice.command]
    if commands:
        next_commands["A smaller model"] = commands[0]
    steps = {name: terminal.runnable(line) for name, line in next_commands.items()}
    terminal.print_files(console, out, **steps)


_STRATEGIES = {"high_purity": "high purity", "random": "random", "low_purity": "low purity"}
_TITLES = {
    "accuracy": "Zero-shot accuracy in %, mean over k",
    "silhouette": "Silhouette x 100, mean over k",
}


@click.command(
    short_help="Repeat the published experiment on CC3M LaCLIP, and compare with its numbers."
)
@click.argument("checkpoint", metavar="CKPT")
@click.option(
    "--data",
    multiple=True,
    metavar="DATASET",
    help="Datasets to run on, of cifar10 cifar100 food101 caltech101 pets dtd eurosat stl10. "
    "Default: the first seven, and stl10 if it is in --data-root.",
)
@click.option(
    "--out",
    type=RESULTS,
    default=Path("purescope-reproduction"),
    show_default=True,
    metavar="DIR",
    help="Folder for the results. It must hold no results, or those of the same run.",
)
@options.add_options(*options.REPRODUCTION)
def reproduce(
    checkpoint: str,
    data: tuple[str, ...],
    out: Path,
    overwrite: bool,
    rotations: int | None,
    **rest: Any,
) -> None:
    """Prune CKPT, the CC3M checkpoint of LaCLIP, as published: both protocols, the same datasets.

    The table that it prints and writes has the published numbers beside ours. reproduction.md lists
    the known reasons for differences, and contradictions in the published numbers.

    \b
    Examples:
      purescope reproduce cc3m_laclip.pt --data-root DATA
      purescope reproduce cc3m_laclip.pt --data-root DATA --download --data cifar10,dtd --out two
    """  # noqa: D301 click does not wrap a paragraph after this mark
    check_named((checkpoint,), (), **options.data_folder(rest))
    from purescope.runs.reproduction import run_reproduction

    arguments = options.pop_run(rest)
    with output.show_messages(most=6):
        results = run_reproduction(
            checkpoint,
            out,
            data=options.dataset_names(data) or None,
            overwrite=overwrite,
            **arguments,
            rotations=rotations,
            progress=output.show_progress,
        )
    _print_results(results)


def _print_results(results: "Results") -> None:
    from purescope.runs.reproduction import means_over_k

    console, out = terminal.make_console(), results.path
    means = means_over_k(results.table("reproduction"))
    for metric in _TITLES:
        rows = means[means.index.get_level_values("metric") == metric].droplevel("metric")
        console.print(published_table(rows, metric))
        console.print()
    for protocol, run in results.runs.items():
        for verdict in run.verdicts.values():
            console.print(terminal.verdict_line(verdict, protocol))
    for note in results.notes:
        console.print(output.escape(note))
    files = {
        "Why they differ": str(out / "reproduction.md"),
        "Every number": str(out / "reproduction.csv"),
        "Curves and tests": f"{out / 'paper'} and {out / 'native'}",
    }
    terminal.print_next_steps(console, terminal.report_line(out) | files)


def published_table(means: "pd.DataFrame", metric: str) -> "Table":
    """Return the published, paper and native mean of each dataset and strategy.

    Args:
        means: rows of `purescope.runs.reproduction.means_over_k` for one metric.
        metric: the metric, which gives the title.
    """
    title = _TITLES[metric]
    if means.published.isna().all():
        title += "; nothing was published for these ks"
    table = terminal.make_table(title)
    table.add_column("\ndataset")
    for name in _STRATEGIES.values():
        table.add_column(f"{name}\npublished", justify="right", style="bold")
        table.add_column("\npaper", justify="right")
        table.add_column("\nnative", justify="right")
    for dataset in dict.fromkeys(means.index.get_level_values("dataset")):
        rows = means.loc[dataset].reindex(list(_STRATEGIES))
        values = rows[["published", "paper", "native"]].to_numpy().ravel()
        cells = ["-" if value != value else f"{100 * value:.1f}" for value in values]
        terminal.add_row(table, output.escape(dataset), *cells)
    return table
