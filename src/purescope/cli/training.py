"""``purescope track``: purity and what pruning by it gains, over the checkpoints of a training."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, terminal
from purescope.cli.paths import RESULTS, check_named

if TYPE_CHECKING:
    import pandas as pd

    from purescope.cli.screen import Table


@click.command(
    short_help="Follow purity, accuracy and the pruning gap over the checkpoints of a training."
)
@click.argument("checkpoints", nargs=-1, required=True, metavar="CKPT...")
@click.option(
    "--data",
    multiple=True,
    metavar="DATASET",
    help="A dataset to measure accuracy on; give it once for each, or several separated by commas. "
    "Without one, purity alone is measured.",
)
@click.option(
    "--out",
    type=RESULTS,
    required=True,
    metavar="DIR",
    help="Folder for table and figure: one without results, or that of an earlier call with the "
    "same settings, "
    "to which checkpoints and datasets are added.",
)
@click.option("--overwrite", is_flag=True, help="Forget what --out holds.")
@options.drawn
@options.tracked
@options.read
def track(
    checkpoints: tuple[str, ...],
    data: tuple[str, ...],
    out: Path,
    keep: str | None,
    overwrite: bool,
    **rest: Any,
) -> None:
    """Purity, accuracy and what pruning by purity gains at each CKPT, and when the ranking of the
    neurons settles.

    \b
    CKPT     a checkpoint or a folder with a model, as MODEL of `purescope sweep`; a folder of them;
             or a pattern, such as 'run/epoch_*.pt'. The number after step or epoch in a name,
             otherwise the last one, is its step; LABEL@STEP=, LABEL= or @STEP= may stand before it

    \b
    Examples:
      purescope track 'runs/laclip/epoch_*.pt' --data cifar10 --data-root DATA --out dynamics
      purescope track bundle/snapshots @4000=bundled:clip @4000=bundled:laclip \\
        --data bundled:flags --out dynamics
    """  # noqa: D301 click's mark for lines to leave alone
    check_named((), options.datasets(data), **options.places(rest))
    from purescope.features.extraction import extract
    from purescope.plots.folder import write_dynamics
    from purescope.report.writing import write_report
    from purescope.runs.inputs import check_words, named_dataset, named_model
    from purescope.specs import parse_keep
    from purescope.studies.training import tracking

    drawing, sources, precision = (
        options.drawing(rest),
        options.sources(rest),
        rest.pop("precision"),
    )
    settings = tracking.TrackSettings(keep=parse_keep(keep) if keep is not None else None, **rest)
    with terminal.telling():
        check_words(settings.protocol, sources)
        sets = [named_dataset(spec, sources) for spec in options.datasets(data)]
        load = partial(named_model, sources=sources, precision=precision)
        encode = partial(
            extract, batch_size=sources.batch_size, cache=sources.cache, progress=terminal.progress
        )
        table = tracking.track(
            checkpoints,
            sets,
            out=out,
            settings=settings,
            load=load,
            encode=encode,
            overwrite=overwrite,
        )
    screen = terminal.console()
    screen.print(_steps(table))
    for sentence in _sentences(table):
        screen.print(terminal.plain(sentence))
    if drawing["figures"]:
        write_dynamics(table, out)
    if drawing["report"]:
        write_report(out)
    terminal.next_steps(
        screen,
        terminal.page(out) | {"Table and figure" if drawing["figures"] else "Table": str(out)},
    )


_COLUMNS = {
    "image_relative_overlap": ("overlap / random\nimage", "{:.2f}"),
    "text_relative_overlap": ("\ntext", "{:.2f}"),
    "image_effective_rank": ("effective rank\nimage", "{:.0f}"),
    "text_effective_rank": ("\ntext", "{:.0f}"),
    "rank_last": ("order as\nin the last", "{:+.2f}"),
}
_ACCURACIES = {
    "accuracy": ("accuracy in %\nall", "{:.1f}"),
    "high_purity": ("mean over k\nhigh", "{:.1f}"),
    "random": ("\nrandom", "{:.1f}"),
    "low_purity": ("\nlow", "{:.1f}"),
}


def _steps(table: "pd.DataFrame") -> "Table":
    """A row for each checkpoint and dataset."""
    screen = terminal.table("Over the training")
    measured = table.n.any()
    shown = {**_COLUMNS, **(_ACCURACIES if measured else {})}
    for name in ("model", "step", *(["dataset"] if measured else [])):
        screen.add_column(name, justify="right" if name == "step" else "left")
    for heading, _ in shown.values():
        screen.add_column(heading, justify="right")
    for model, part in table.groupby("model", sort=False):
        for _, row in part.iterrows():
            values = [(100 if name in _ACCURACIES else 1) * row[name] for name in shown]
            cells = [
                "-" if v != v else form.format(v)
                for v, (_, form) in zip(values, shown.values(), strict=True)
            ]
            names = [terminal.plain(row.dataset)] if measured else []
            screen.add_row(terminal.plain(model), f"{row.step:,}", *names, *cells)
        screen.add_section()
    return screen


def _sentences(table: "pd.DataFrame") -> list[str]:
    """What changed from the first to the last step, for each model; counts and differences, no
    significance.
    """
    told = []
    for model, rows in table.groupby("model", sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        overlap = ", ".join(
            f"{tower} {first[f'{tower}_relative_overlap']:.2f} to "
            f"{last[f'{tower}_relative_overlap']:.2f}"
            for tower in ("image", "text")
        )
        sentence = f"{model}, step {first.step:,} to {last.step:,}: overlap in units of random weights, {overlap}."
        for dataset, part in rows[rows.n > 0].groupby("dataset", sort=False):
            end = part.iloc[-1]
            sentence += f" On {dataset} high purity ends {100 * end.gap:+.1f} points from low"
            if end.random == end.random:
                sentence += f" and {100 * end.gap_to_random:+.1f} from the median random order, {_place(end)}"
            sentence += "."
        told.append(sentence)
    return told


def _place(row: "pd.Series[Any]") -> str:
    """Of high purity among the random orders."""
    if row.high_purity > row.random_high:
        return "above 95 % of the random orders"
    return (
        "below 95 % of them"
        if row.high_purity < row.random_low
        else "within the middle 90 % of them"
    )
