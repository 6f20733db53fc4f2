"""``purescope purity``: how pure the neurons of a model are; needs no images but for their
activations.
"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, terminal
from purescope.cli.paths import RESULTS, check_named

if TYPE_CHECKING:
    import pandas as pd

    from purescope.cli.screen import Table
    from purescope.maths.overlaps import Projections


@click.command(short_help="Show how pure the neurons of models are; no images needed.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--out",
    type=RESULTS,
    metavar="DIR",
    help="Also write all neurons, ranked, to purity_LABEL.csv, and the histogram to "
    "purity_LABEL.png and .svg.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Purest and least pure neurons to print.",
)
@click.option(
    "--measure",
    "measures",
    multiple=True,
    metavar="NAME",
    help="One more measure of each neuron, such as linf or r2; see `purescope sweep --help`.",
)
@click.option(
    "--space",
    type=click.Choice(["weights", "activations", "centred"]),
    default="weights",
    show_default=True,
    help="Where overlap is measured; activations are those over --data.",
)
@click.option(
    "--data", metavar="DATASET", help="Whose images and class prompts the activations are of."
)
@options.read
def purity(
    models: tuple[str, ...],
    out: Path | None,
    top: int,
    measures: tuple[str, ...],
    space: str,
    data: str | None,
    **rest: Any,
) -> None:
    """Overlap (mean absolute cosine with the others) and purity (1 / overlap) of each MODEL's
    neurons.

    \b
    Examples:
      purescope purity bundled:clip bundled:laclip
      purescope purity hf:google/siglip-base-patch16-224 --space centred --data folder:my_images
    """  # noqa: D301 click's mark for lines to leave alone
    check_named(models, [data] if data else (), **options.places(rest))
    from purescope.runs.inputs import Settings, features_of, open_data, open_model
    from purescope.studies.bench import in_space
    from purescope.studies.neurons import neuron_table

    if (space == "weights") == (data is not None):
        raise click.UsageError("give --data with --space activations or centred, and only then")
    sources, settings = options.sources(rest), Settings(space=space)
    how = [
        ("--arch", sources.arch),
        ("--space", space if data else None),
        ("--data", data or "bundled:flags"),
    ]
    given = [word for option, value in how if value is not None for word in (option, value)]
    sweep = ["purescope", "sweep", *models, *given, "--out", "results"]
    screen = terminal.console()
    with terminal.telling():
        item = None if data is None else open_data(data, sources)
        for spec in models:
            model = open_model(spec, sources, settings)
            if item is None:
                projections, name = model.projections, model.label
            else:
                features = features_of(model, item, settings, sources, terminal.progress)
                projections = in_space(space, features, None)
                name = f"{model.label}, {space} on {features.dataset}"
            neurons = neuron_table(projections, measures=measures)
            mean = (neurons.image_overlap + neurons.text_overlap) / 2
            screen.print(_towers(name, projections, neurons, centred=space == "centred"))
            screen.print(terminal.histogram(mean, "overlap, mean of the towers"), "")
            screen.print(_ends(neurons, top))
            if out is not None:
                screen.say(f"All neurons, ranked: {_write(name, projections, neurons, out)}")
    steps = (
        [("Prune by purity", sweep)]
        if out is None
        else [("Report", ["purescope", "report", str(out)])]
    )
    terminal.next_steps(screen, {what: terminal.typed(shlex.join(words)) for what, words in steps})


def _towers(
    name: str, projections: "Projections", neurons: "pd.DataFrame", *, centred: bool
) -> "Table":
    """Overlap of each tower, beside what random neurons would have."""
    from purescope.maths.overlaps import random_overlap

    table = terminal.table(f"{name}: overlap of {len(neurons)} neurons")
    for column in ("tower", "width", "mean", "min", "max", "random", "mean / random"):
        table.add_column(column, justify="left" if column == "tower" else "right")
    for tower, projection in (("image", projections.image), ("text", projections.text)):
        width, values = projection.shape[1], neurons[f"{tower}_overlap"]
        random = random_overlap(
            width - 1 if centred else width
        )  # a mean that is taken away leaves one less
        figures = (values.mean(), values.min(), values.max(), random)
        table.add_row(
            tower,
            str(width),
            *(f"{value:.4f}" for value in figures),
            f"{values.mean() / random:.2f}",
        )
    return table


def _ends(neurons: "pd.DataFrame", top: int) -> "Table":
    """The first and the last rows of the ranking."""
    table = terminal.table(f"Purest {top} and least pure {top}")
    for column in neurons.columns:
        table.add_column(terminal.plain(column.replace("_", " ")), justify="right")
    for part in (neurons.head(top), neurons.tail(top)):
        for row in part.itertuples(index=False):
            table.add_row(
                *(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row)
            )
        table.add_section()
    return table


def _write(name: str, projections: "Projections", neurons: "pd.DataFrame", out: Path) -> Path:
    from matplotlib.figure import Figure

    from purescope.files.writing import slug
    from purescope.plots.neurons import plot_overlap
    from purescope.plots.saving import save_figure
    from purescope.tables.files import write_csv
    from purescope.tables.wide import refuse_others_file

    path = out / f"purity_{slug(name)}.csv"
    refuse_others_file(path, {"model": name})
    table = neurons.copy()
    table.insert(0, "model", name)
    write_csv(table, path)
    figure = plot_overlap(projections, model=name).figure
    if isinstance(figure, Figure):
        save_figure(figure, path.with_suffix(""))
    return path
