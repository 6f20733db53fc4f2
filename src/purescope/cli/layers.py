"""``purescope layers`` and ``purescope track``: purity over the depth and over the training."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, output, terminal
from purescope.cli.paths import RESULTS, check_named

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

_SPACES = ("weights", "activations", "centred")
_LEGEND = """\
×: overlap and effective rank, divided by those of random neurons of the same shape. Overlap above \
1 is less pure than random, rank below 1 is less spread out.
Centred: each neuron's mean activation is subtracted. Activations are those of the token that the \
tower reads its feature from, or the mean over all tokens or positions."""


@click.command(short_help="Show how pure every layer of models is, from the first to the last.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--data",
    metavar="DATASET",
    help="Measure the neurons' activations too, over this dataset's images and prompts.",
)
@click.option(
    "--out",
    type=RESULTS,
    metavar="DIR",
    help="Folder to write to: every number in layers_LABEL.csv, and a report.",
)
@options.add_options("no-report", *options.ENCODING)
def layers(
    models: tuple[str, ...], data: str | None, out: Path | None, no_report: bool, **rest: Any
) -> None:
    """Measure overlap and effective rank at every depth of each MODEL's towers.

    Overlap is the mean absolute cosine of the neurons. Beside each value is its ratio to that of
    random neurons of the same shape, because widths differ.

    \b
    Examples:
      purescope layers bundled:clip bundled:laclip
      purescope layers cc3m_laclip.pt --data bundled:flags --out results
    """  # noqa: D301 click does not wrap a paragraph after this mark
    check_named(models, [data] if data else (), **options.data_folder(rest))
    from purescope.files.writing import slug
    from purescope.report.writing import write_report
    from purescope.runs.identity import is_run, note_identities
    from purescope.runs.inputs import named_dataset, named_model
    from purescope.studies.layers import layer_table
    from purescope.tables.files import write_csv
    from purescope.tables.result_table import refuse_others_file

    sources = options.pop_sources(rest)
    console = terminal.make_console()
    with output.show_messages():
        if out is not None:
            is_run(out)  # refuses a folder of something else before anything is measured
        dataset = None if data is None else named_dataset(data, sources)
        for spec in models:
            model = named_model(spec, sources, precision="fp32")
            if out is not None:
                refuse_others_file(out / f"layers_{slug(model.label)}.csv", {"model": model.label})
            table = layer_table(
                model, dataset, batch_size=sources.batch_size, progress=output.show_progress
            )
            console.print(_depth_table(table, model.label))
            if out is not None:
                write_csv(table, out / f"layers_{slug(model.label)}.csv")
                note_identities([model], [dataset] if dataset is not None else [], out)
    console.print(_LEGEND if data else _LEGEND.partition("\n")[0])
    if out is not None:
        if not no_report:
            write_report(out)
        figures = terminal.runnable(shlex.join(["purescope", "plot", str(out)]))
        files = {"Tables": str(out), "Figures": figures}
        terminal.print_next_steps(console, terminal.report_line(out) | files)


def _depth_table(layer_rows: "pd.DataFrame", label: str) -> "Table":
    """Return a line for each layer; overlap and effective rank in each space side by side."""
    spaces = [space for space in _SPACES if (layer_rows.space == space).any()]
    table = terminal.make_table(f"{label}: layers by depth", collapse_padding=True)
    for name in ("tower", "depth", "kind", "neurons"):
        table.add_column(name, justify="left" if name in ("tower", "kind") else "right")
    for space in spaces:
        for name in (f"{space}\noverlap", "\n×", "\nrank ×"):
            table.add_column(name, justify="right")
    for tower, tower_rows in layer_rows.groupby("tower", sort=False):
        for (depth, _), rows in tower_rows.groupby(["depth", "name"], sort=False):
            by_space, first = rows.set_index("space"), rows.iloc[0]
            names = (str(tower), str(depth), output.escape(first.kind), str(first.neurons))
            cells = [cell for space in spaces for cell in _layer_cells(by_space, space)]
            terminal.add_row(table, *names, *cells)
        table.add_section()
    return table


def _layer_cells(by_space: "pd.DataFrame", space: str) -> list[str]:
    if space not in by_space.index:
        return ["", "", ""]
    row = by_space.loc[space]
    return [
        f"{row.overlap:.4f}",
        f"{row.relative_overlap:.2f}",
        f"{row.relative_effective_rank:.2f}",
    ]


@click.command(
    short_help="Follow purity, accuracy and the pruning gap over the checkpoints of a training."
)
@click.argument("checkpoints", nargs=-1, required=True, metavar="CKPT...")
@click.option(
    "--data",
    multiple=True,
    metavar="DATASET",
    help="Dataset to measure accuracy on. Give the option once for each dataset, or separate "
    "datasets by commas. Without a dataset, only purity is measured.",
)
@click.option(
    "--out",
    type=RESULTS,
    required=True,
    metavar="DIR",
    help="Folder for table and figure. It must hold no results, or those of an earlier call with "
    "the same settings, to which checkpoints and datasets are added.",
)
@click.option("--overwrite", is_flag=True, help="Replace the results in --out.")
@options.add_options(*options.DRAWING, *options.TRACK_SETTINGS, *options.SOURCES)
def track(
    checkpoints: tuple[str, ...],
    data: tuple[str, ...],
    out: Path,
    keep: str | None,
    overwrite: bool,
    **rest: Any,
) -> None:
    """Measure purity, accuracy and the gain from pruning by purity at each CKPT of a training.

    The table also shows when the ranking of the neurons settles.

    \b
    CKPT     a checkpoint or a folder with a model, as MODEL of `purescope sweep`; a folder of them;
             or a pattern, such as 'run/epoch_*.pt'. The number after step or epoch in a name,
             otherwise the last one, is its step; LABEL@STEP=, LABEL= or @STEP= may stand before it

    \b
    Examples:
      purescope track 'runs/laclip/epoch_*.pt' --data cifar10 --data-root DATA --out dynamics
      purescope track bundle/snapshots @4000=bundled:clip @4000=bundled:laclip \\
        --data bundled:flags --out dynamics
    """  # noqa: D301 click does not wrap a paragraph after this mark
    names = options.dataset_names(data)
    check_named((), names, **options.data_folder(rest))
    from purescope.features.extraction import extract
    from purescope.plots.dynamics import write_dynamics
    from purescope.report.writing import write_report
    from purescope.runs.inputs import check_words, named_dataset, named_model
    from purescope.specs import parse_keep
    from purescope.studies.training import tracking

    drawing, sources = options.pop_drawing(rest), options.pop_sources(rest)
    precision = rest.pop("precision")
    rest["renormalise"] = bool(rest["renormalise"])  # there are classes only
    settings = tracking.TrackSettings(keep=parse_keep(keep) if keep is not None else None, **rest)
    encode = partial(
        extract,
        batch_size=sources.batch_size,
        cache=sources.cache,
        progress=output.show_progress,
    )
    with output.show_messages():
        check_words(settings.protocol, sources)
        table = tracking.track(
            checkpoints,
            [named_dataset(spec, sources) for spec in names],
            out=out,
            settings=settings,
            load=partial(named_model, sources=sources, precision=precision),
            encode=encode,
            overwrite=overwrite,
        )
    console = terminal.make_console()
    console.print(_step_table(table))
    for sentence in _change_sentences(table):
        console.print(output.escape(sentence))
    if drawing["figures"]:
        write_dynamics(table, out)
    if drawing["report"]:
        write_report(out)
    files = "Table and figure" if drawing["figures"] else "Table"
    terminal.print_next_steps(console, terminal.report_line(out) | {files: str(out)})


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


def _step_table(steps: "pd.DataFrame") -> "Table":
    """Return a row for each checkpoint and dataset."""
    table = terminal.make_table("Over the training")
    has_accuracy = bool(steps.n.any())
    columns = _COLUMNS | (_ACCURACIES if has_accuracy else {})
    for name in ("model", "step", "dataset") if has_accuracy else ("model", "step"):
        table.add_column(name, justify="right" if name == "step" else "left")
    for heading, _ in columns.values():
        table.add_column(heading, justify="right")
    for model, rows in steps.groupby("model", sort=False):
        for _, row in rows.iterrows():
            names = [output.escape(model), f"{row.step:,}"]
            if has_accuracy:
                names.append(output.escape(row.dataset))
            cells = [_step_cell(name, row[name], form) for name, (_, form) in columns.items()]
            terminal.add_row(table, *names, *cells)
        table.add_section()
    return table


def _step_cell(name: str, value: float, form: str) -> str:
    if value != value:  # NaN
        return "-"
    return form.format(100 * value if name in _ACCURACIES else value)


def _change_sentences(table: "pd.DataFrame") -> list[str]:
    """Return, for each model, what changed from the first to the last step.

    The numbers are counts and differences, without tests of significance.
    """
    sentences = []
    for model, rows in table.groupby("model", sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        overlap = ", ".join(
            f"{tower} {first[f'{tower}_relative_overlap']:.2f} to "
            f"{last[f'{tower}_relative_overlap']:.2f}"
            for tower in ("image", "text")
        )
        sentence = (
            f"{model}, step {first.step:,} to {last.step:,}: "
            f"overlap in units of random weights, {overlap}."
        )
        for dataset, dataset_rows in rows[rows.n > 0].groupby("dataset", sort=False):
            end = dataset_rows.iloc[-1]
            sentence += f" On {dataset} high purity ends {100 * end.gap:+.1f} points from low"
            if end.random == end.random:  # not NaN
                sentence += (
                    f" and {100 * end.gap_to_random:+.1f} from the median random order, "
                    f"{_position(end)}"
                )
            sentence += "."
        sentences.append(sentence)
    return sentences


def _position(row: "pd.Series[Any]") -> str:
    """Return the position of high purity among the random orders."""
    if row.high_purity > row.random_high:
        return "above 95 % of the random orders"
    if row.high_purity < row.random_low:
        return "below 95 % of them"
    return "within the middle 90 % of them"
