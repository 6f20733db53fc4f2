"""``purescope purity``: how pure the neurons of a model are; needs no images."""

from pathlib import Path

import click

from purescope.cli import terminal


@click.command(short_help="Show how pure the neurons of models are; no images needed.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Also write all neurons, ranked, to purity_LABEL.csv and the histogram to purity_LABEL.png and .svg.")  # fmt: skip
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Purest and least pure neurons to print.")  # fmt: skip
def purity(models: tuple[str, ...], out: Path | None, top: int) -> None:
    """Overlap (mean absolute cosine with the others) and purity (1 / overlap) of each MODEL's neurons.

    \b
    Example:
      purescope purity bundled:clip bundled:laclip
    """
    from rich.table import Table

    from purescope.models import load_model
    from purescope.neurons import neuron_table
    from purescope.plots import plot_overlap, save_figure
    from purescope.purity import random_overlap
    from purescope.tables import slug, write_csv

    screen = terminal.console()
    with terminal.warnings_as_notes():
        for spec in models:
            model = load_model(spec)
            neurons = neuron_table(model.projections)
            d = len(neurons)
            summary = Table(
                title=f"{model.label}: overlap of {d} neurons", title_justify="left", title_style="bold"
            )
            for name in ("tower", "width", "mean", "min", "max", "random rows of that width"):
                summary.add_column(name, justify="left" if name == "tower" else "right")
            for tower, projection in (("image", model.projections.image), ("text", model.projections.text)):
                values = neurons[f"{tower}_overlap"]
                figures = (values.mean(), values.min(), values.max(), random_overlap(projection.shape[1]))
                summary.add_row(tower, str(projection.shape[1]), *(f"{value:.4f}" for value in figures))
            screen.print(summary)
            screen.print(
                terminal.histogram(neurons.total_overlap / (2 * max(d - 1, 1)), "overlap, mean of the towers")
            )
            ranked = Table(title=f"purest {top} and least pure {top}", title_justify="left")
            for column in neurons.columns:
                ranked.add_column(column.replace("_", " "), justify="right")
            for part in (neurons.head(top), neurons.tail(top)):
                for row in part.itertuples(index=False):
                    ranked.add_row(
                        *(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row)
                    )
                ranked.add_section()
            screen.print(ranked)
            if out is not None:
                path = out / f"purity_{slug(model.label)}.csv"
                write_csv(neurons, path)
                write_overlap_figures(
                    model.projections, out, name=f"purity_{slug(model.label)}", title=model.label
                )
                screen.print(f"All neurons, ranked: {path}", soft_wrap=True)
