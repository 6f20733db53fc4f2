"""``purescope layers``: how pure and how spread out every layer of both towers is."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, terminal
from purescope.cli.paths import RESULTS, check_named

if TYPE_CHECKING:
    import pandas as pd

    from purescope.cli.screen import Table

_SPACES = ("weights", "activations", "centred")
_LEGEND = """\
×: overlap, and effective rank, over those of random neurons of the same shape; above 1 in overlap is less pure than \
chance, below 1 in rank is less spread out.
Centred: each neuron's mean activation is taken away. Activations are of the token that the tower reads its feature \
from, or the mean over all tokens or positions."""


@click.command(short_help="Show how pure every layer of models is, from the first to the last.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--data",
    metavar="DATASET",
    help="Also measure the neurons' activations, over this dataset's images and prompts.",
)
@click.option(
    "--out",
    type=RESULTS,
    metavar="DIR",
    help="Also write every number to layers_LABEL.csv, and a report.",
)
@options.no_report
@options.encoded
def layers(
    models: tuple[str, ...], data: str | None, out: Path | None, no_report: bool, **rest: Any
) -> None:
    """Overlap (mean absolute cosine of neurons) and effective rank at every depth of each MODEL's
    towers.

    Beside each figure stands how many times that of random neurons of the same shape it is, as
    widths differ.

    \b
    Examples:
      purescope layers bundled:clip bundled:laclip
      purescope layers cc3m_laclip.pt --data bundled:flags --out results
    """  # noqa: D301 click's mark for lines to leave alone
    check_named(models, [data] if data else (), **options.places(rest))
    from purescope.files.writing import slug
    from purescope.report.writing import write_report
    from purescope.runs.identity import is_run, note_identities
    from purescope.runs.inputs import named_dataset, named_model
    from purescope.studies.layers import layer_table
    from purescope.tables.files import write_csv
    from purescope.tables.wide import refuse_others_file

    sources = options.sources(rest)
    screen = terminal.console()
    with terminal.telling():
        if out is not None:
            is_run(out)  # or nobody's; somebody else's is refused before anything is measured
        dataset = None if data is None else named_dataset(data, sources)
        for spec in models:
            model = named_model(spec, sources, precision="fp32")
            if out is not None:
                refuse_others_file(out / f"layers_{slug(model.label)}.csv", {"model": model.label})
            table = layer_table(
                model, dataset, batch_size=sources.batch_size, progress=terminal.progress
            )
            screen.print(_by_depth(table, model.label))
            if out is not None:
                write_csv(table, out / f"layers_{slug(model.label)}.csv")
                note_identities([model], [dataset] if dataset is not None else [], out)
    screen.print(_LEGEND if data else _LEGEND.partition("\n")[0])
    if out is not None:
        figures = terminal.typed(shlex.join(["purescope", "plot", str(out)]))
        if not no_report:
            write_report(out)
        terminal.next_steps(screen, terminal.page(out) | {"Tables": str(out), "Figures": figures})


def _by_depth(table: "pd.DataFrame", label: str) -> "Table":
    """A line a place; overlap and effective rank in each space side by side."""
    spaces = [space for space in _SPACES if (table.space == space).any()]
    screen = terminal.table(f"{label}: layers by depth", collapse_padding=True)
    for name in ("tower", "depth", "kind", "neurons"):
        screen.add_column(name, justify="left" if name in ("tower", "kind") else "right")
    for space in spaces:
        for name in (f"{space}\noverlap", "\n×", "\nrank ×"):
            screen.add_column(name, justify="right")
    for tower, places in table.groupby("tower", sort=False):
        for (depth, _), rows in places.groupby(["depth", "name"], sort=False):
            by_space = rows.set_index("space")
            first = rows.iloc[0]
            cells = [cell for space in spaces for cell in _figures(by_space, space)]
            screen.add_row(
                str(tower), str(depth), terminal.plain(first.kind), str(first.neurons), *cells
            )
        screen.add_section()
    return screen


def _figures(by_space: "pd.DataFrame", space: str) -> list[str]:
    if space not in by_space.index:
        return ["", "", ""]
    row = by_space.loc[space]
    return [
        f"{row.overlap:.4f}",
        f"{row.relative_overlap:.2f}",
        f"{row.relative_effective_rank:.2f}",
    ]
