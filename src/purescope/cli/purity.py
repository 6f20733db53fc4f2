"""``purescope purity``: how pure the neurons of a model are; needs no images."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from purescope.cli import options, terminal

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from purescope.models import Model


@click.command(short_help="Show how pure the neurons of models are; no images needed.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also write all neurons, ranked, to purity_LABEL.csv, and the histogram to purity_LABEL.png and .svg.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, help="Purest and least pure neurons to print."
)
@options.named
def purity(models: tuple[str, ...], out: Path | None, top: int, arch: str | None, offline: bool) -> None:
    """Overlap (mean absolute cosine with the others) and purity (1 / overlap) of each MODEL's neurons.

    \b
    Example:
      purescope purity bundled:clip bundled:laclip
    """  # noqa: D301 click's mark for lines to leave alone
    from purescope.models import load_model
    from purescope.neurons import neuron_table

    screen = terminal.console()
    with terminal.warnings_as_notes():
        for spec in models:
            model = load_model(spec, arch=arch, offline=offline)
            neurons = neuron_table(model.projections)
            mean = (neurons.image_overlap + neurons.text_overlap) / 2
            screen.print(_towers(model, neurons))
            screen.print(terminal.histogram(mean, "overlap, mean of the towers"), "")
            screen.print(_ends(neurons, top))
            if out is not None:
                screen.print(f"All neurons, ranked: {_write(model, neurons, out)}", soft_wrap=True)


def _towers(model: "Model", neurons: "pd.DataFrame") -> "Table":
    """Overlap of each tower, beside what random weights would have."""
    from rich.table import Table

    from purescope.purity import random_overlap

    title = f"{model.label}: overlap of {len(neurons)} neurons"
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("tower", "width", "mean", "min", "max", "random weights"):
        table.add_column(name, justify="left" if name == "tower" else "right")
    for tower, projection in (("image", model.projections.image), ("text", model.projections.text)):
        width, values = projection.shape[1], neurons[f"{tower}_overlap"]
        figures = (values.mean(), values.min(), values.max(), random_overlap(width))
        table.add_row(tower, str(width), *(f"{value:.4f}" for value in figures))
    return table


def _ends(neurons: "pd.DataFrame", top: int) -> "Table":
    """The first and the last rows of the ranking."""
    from rich.table import Table

    table = Table(title=f"Purest {top} and least pure {top}", title_justify="left", title_style="bold")
    for column in neurons.columns:
        table.add_column(column.replace("_", " "), justify="right")
    for part in (neurons.head(top), neurons.tail(top)):
        for row in part.itertuples(index=False):
            table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
        table.add_section()
    return table


def _write(model: "Model", neurons: "pd.DataFrame", out: Path) -> Path:
    from matplotlib.figure import Figure

    from purescope.plots import plot_overlap, save_figure
    from purescope.tables import slug, write_csv

    path = out / f"purity_{slug(model.label)}.csv"
    write_csv(neurons, path)
    figure = plot_overlap(model.projections, model=model.label).figure
    if isinstance(figure, Figure):
        save_figure(figure, path.with_suffix(""))
    return path
