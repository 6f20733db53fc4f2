"""``purescope reproduce``: the experiment as it was published, and the published numbers beside
ours.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, terminal
from purescope.cli.paths import RESULTS, check_named

if TYPE_CHECKING:
    import pandas as pd

    from purescope.cli.screen import Table
    from purescope.tables.results import Results

_SHOWN = {"high_purity": "high purity", "random": "random", "low_purity": "low purity"}
_TITLES = {
    "accuracy": "Zero-shot accuracy in %, mean over k",
    "silhouette": "Silhouette x 100, mean over k",
}


@click.command(
    short_help="Repeat the published experiment on CC3M LaCLIP, beside the published numbers."
)
@click.argument("checkpoint", metavar="CKPT")
@click.option(
    "--data",
    multiple=True,
    metavar="DATASET",
    help="Only these of cifar10 cifar100 food101 caltech101 pets dtd eurosat stl10. "
    "Default: the first seven, and stl10 where it is there.",
)
@click.option(
    "--out",
    type=RESULTS,
    default=Path("purescope-reproduction"),
    show_default=True,
    metavar="DIR",
    help="Folder for the results: one without results, or that of the same run.",
)
@options.reproduced
def reproduce(
    checkpoint: str,
    data: tuple[str, ...],
    out: Path,
    overwrite: bool,
    rotations: int | None,
    **rest: Any,
) -> None:
    """Prune CKPT, the CC3M checkpoint of LaCLIP, as it was published: under both protocols, on the
    same data sets.

    The table that it prints and writes has the published numbers beside ours; reproduction.md says
    what is known of the differences, and what in the published numbers does not fit together.

    \b
    Examples:
      purescope reproduce cc3m_laclip.pt --data-root DATA
      purescope reproduce cc3m_laclip.pt --data-root DATA --download --data cifar10,dtd --out two
    """  # noqa: D301 click's mark for lines to leave alone
    check_named((checkpoint,), (), **options.places(rest))
    from purescope.runs.reproduction import run_reproduction

    drawing, sources, settings = (
        options.drawing(rest),
        options.sources(rest),
        options.settings(rest),
    )
    with terminal.telling(most=6):
        results = run_reproduction(
            checkpoint,
            out,
            sources=sources,
            data=options.datasets(data) or None,
            settings=settings,
            overwrite=overwrite,
            **drawing,
            rotations=rotations,
            progress=terminal.progress,
        )
    _print(results)


def _print(results: "Results") -> None:
    from purescope.runs.reproduction import means_over_k

    screen, out = terminal.console(), results.path
    means = means_over_k(results.table("reproduction"))
    for metric in _TITLES:
        rows = means[means.index.get_level_values("metric") == metric].droplevel("metric")
        screen.print(beside(rows, metric))
        screen.print()
    for protocol, run in results.runs.items():
        for verdict in run.verdicts.values():
            screen.print(terminal.verdict_line(verdict, protocol))
    for note in results.notes:
        screen.print(terminal.plain(note))
    terminal.next_steps(
        screen,
        terminal.page(out)
        | {
            "Why they differ": str(out / "reproduction.md"),
            "Every number": str(out / "reproduction.csv"),
            "Curves and tests": f"{out / 'paper'} and {out / 'native'}",
        },
    )


def beside(means: "pd.DataFrame", metric: str) -> "Table":
    """Published, paper and native for each data set and choice of neurons; `means` as
    `means_over_k` has them.
    """
    title = _TITLES[metric]
    if means.published.isna().all():
        title += "; nothing was published at these"
    screen = terminal.table(title)
    screen.add_column("\ndata set")
    for name in _SHOWN.values():
        screen.add_column(f"{name}\npublished", justify="right", style="bold")
        screen.add_column("\npaper", justify="right")
        screen.add_column("\nnative", justify="right")
    for dataset in dict.fromkeys(means.index.get_level_values("dataset")):
        values = (
            means.loc[dataset]
            .reindex(list(_SHOWN))[["published", "paper", "native"]]
            .to_numpy()
            .ravel()
        )
        screen.add_row(
            terminal.plain(dataset),
            *("-" if value != value else f"{100 * value:.1f}" for value in values),
        )
    return screen
