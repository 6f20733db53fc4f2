"""``purescope purity`` and ``purescope importance``: the single neurons of a model."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, output, terminal
from purescope.cli.paths import RESULTS, check_named

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from purescope.maths.overlaps import Projections


@click.command(short_help="Show how pure the neurons of models are; no images needed.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--out",
    type=RESULTS,
    metavar="DIR",
    help="Folder to write to: all neurons, ranked, in purity_LABEL.csv, and the histogram in "
    "purity_LABEL.png and .svg.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Number of purest and of least pure neurons to print.",
)
@click.option(
    "--measure",
    "measures",
    multiple=True,
    metavar="NAME",
    help="Add this measure of each neuron, such as linf or r2; see `purescope sweep --help`.",
)
@click.option(
    "--space",
    type=click.Choice(["weights", "activations", "centred"]),
    default="weights",
    show_default=True,
    help="Vectors whose overlap is measured: weights, or activations over --data.",
)
@click.option(
    "--data",
    metavar="DATASET",
    help="Dataset whose images and class prompts give the activations.",
)
@options.add_options(*options.SOURCES)
def purity(
    models: tuple[str, ...],
    out: Path | None,
    top: int,
    measures: tuple[str, ...],
    space: str,
    data: str | None,
    **rest: Any,
) -> None:
    """Measure the overlap and purity (1 / overlap) of each MODEL's neurons.

    The overlap of a neuron is its mean absolute cosine with the others.

    \b
    Examples:
      purescope purity bundled:clip bundled:laclip
      purescope purity hf:google/siglip-base-patch16-224 --space centred --data folder:my_images
    """  # noqa: D301 click does not wrap a paragraph after this mark
    check_named(models, [data] if data else (), **options.data_folder(rest))
    from purescope.runs.inputs import Settings, features_of, open_data, open_model
    from purescope.studies.neurons import neuron_table
    from purescope.studies.orders import in_space

    if (space == "weights") == (data is not None):
        raise click.UsageError("give --data with --space activations or centred, and only then")
    sources, settings = options.pop_sources(rest), Settings(space=space)
    console = terminal.make_console()
    with output.show_messages():
        dataset = None if data is None else open_data(data, sources)
        for spec in models:
            model = open_model(spec, sources, settings)
            if dataset is None:
                projections, name = model.projections, model.label
            else:
                features = features_of(model, dataset, settings, sources, output.show_progress)
                projections = in_space(space, features, None)
                name = f"{model.label}, {space} on {features.dataset}"
            neurons = neuron_table(projections, measures=measures)
            mean = (neurons.image_overlap + neurons.text_overlap) / 2
            console.print(_tower_table(name, projections, neurons, centred=space == "centred"))
            console.print(terminal.histogram(mean, "overlap, mean of the towers"), "")
            console.print(_purity_table(neurons, top))
            if out is not None:
                path = _write_purity(name, projections, neurons, out)
                output.print_line(f"All neurons, ranked: {path}")
    if out is not None:
        step, words = "Report", ["purescope", "report", str(out)]
    else:
        given = {
            "--arch": sources.arch,
            "--space": space if data else None,
            "--data": data or "bundled:flags",
            "--out": "results",
        }
        pairs = [(option, value) for option, value in given.items() if value is not None]
        step = "Prune by purity"
        words = ["purescope", "sweep", *models, *(word for pair in pairs for word in pair)]
    terminal.print_next_steps(console, {step: terminal.runnable(shlex.join(words))})


def _tower_table(
    name: str, projections: "Projections", neurons: "pd.DataFrame", *, centred: bool
) -> "Table":
    """Return the overlap of each tower, beside that of random neurons."""
    from purescope.maths.overlaps import random_overlap

    table = terminal.make_table(f"{name}: overlap of {len(neurons)} neurons")
    for column in ("tower", "width", "mean", "min", "max", "random", "mean / random"):
        table.add_column(column, justify="left" if column == "tower" else "right")
    for tower, projection in (("image", projections.image), ("text", projections.text)):
        width, values = projection.shape[1], neurons[f"{tower}_overlap"]
        # Subtracting the mean removes one dimension.
        random = random_overlap(width - 1 if centred else width)
        figures = (values.mean(), values.min(), values.max(), random)
        cells = [f"{value:.4f}" for value in figures]
        terminal.add_row(table, tower, str(width), *cells, f"{values.mean() / random:.2f}")
    return table


def _purity_table(neurons: "pd.DataFrame", top: int) -> "Table":
    """Return the first and the last neurons of the ranking."""
    table = terminal.make_table(f"Purest {top} and least pure {top}")
    for column in neurons.columns:
        table.add_column(output.escape(column.replace("_", " ")), justify="right")
    _add_ends(table, neurons, top)
    return table


def _add_ends(table: "Table", neurons: "pd.DataFrame", top: int) -> None:
    """Add the first and the last rows of a ranking to a table."""
    for rows in (neurons.head(top), neurons.tail(top)):
        for row in rows.itertuples(index=False):
            cells = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in row]
            terminal.add_row(table, *cells)
        table.add_section()


def _write_purity(
    name: str, projections: "Projections", neurons: "pd.DataFrame", out: Path
) -> Path:
    """Write the table and the histogram of all neurons; return the path of the table."""
    from matplotlib.figure import Figure

    from purescope.files.writing import slug
    from purescope.plots.neurons import plot_overlap
    from purescope.plots.saving import save_figure
    from purescope.tables.files import write_csv
    from purescope.tables.result_table import refuse_others_file

    path = out / f"purity_{slug(name)}.csv"
    refuse_others_file(path, {"model": name})
    table = neurons.copy()
    table.insert(0, "model", name)
    write_csv(table, path)
    figure = plot_overlap(projections, model=name).figure
    if isinstance(figure, Figure):
        save_figure(figure, path.with_suffix(""))
    return path


_IMPORTANCE_COLUMNS = (
    "neuron",
    "accuracy_drop",
    "low",
    "high",
    "loss_change",
    "margin_change",
    "image_purity",
    "text_purity",
)


@click.command(short_help="Show what accuracy, loss and margin lose without each neuron.")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--per-class",
    is_flag=True,
    help="Write class_importance_MODEL_DATASET.csv too, with the importance for each class.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Number of most and of least important neurons to print.",
)
@options.add_options(*options.IMPORTANCE, *options.SOURCES)
def importance(
    models: tuple[str, ...],
    data: tuple[str, ...],
    out: Path,
    per_class: bool,
    top: int,
    **rest: Any,
) -> None:
    """Measure the accuracy drop without each neuron of each MODEL, and correlate it with purity.

    Each drop is exact. Writes importance_MODEL_DATASET.csv, with one row for each neuron.

    \b
    Example:
      purescope importance bundled:clip bundled:laclip --data bundled:flags --out results
    """  # noqa: D301 click does not wrap a paragraph after this mark
    names = options.dataset_names(data)
    check_named(models, names, **options.data_folder(rest))
    from purescope.files.writing import slug
    from purescope.maths.overlaps import Projections
    from purescope.runs.inputs import (
        dataset_name,
        features_of,
        models_or_origin,
        named_model,
        open_data,
    )
    from purescope.studies.importance import importance_and_purity, importance_tables
    from purescope.tables.files import write_csv
    from purescope.tables.result_table import refuse_others_file

    sources, settings = options.pop_sources(rest), options.pop_settings(rest)
    ablation, seed = settings.ablation, settings.seed
    console = terminal.make_console()
    with output.show_messages():
        sets = [open_data(name, sources, alone=not models) for name in names]
        for model in models_or_origin(models, sets):
            if isinstance(model, str):
                model = named_model(model, sources, precision=settings.precision)
            weights = model.weight_space
            projections = weights if isinstance(weights, Projections) else None
            for dataset in sets:
                file = f"importance_{slug(model.label)}_{slug(dataset_name(dataset))}.csv"
                paths = [out / file, out / f"class_{file}"]
                for path in paths if per_class else paths[:1]:
                    refuse_others_file(
                        path, {"model": model.label, "dataset": dataset_name(dataset)}
                    )
                features = features_of(model, dataset, settings, sources, output.show_progress)
                table, classes = importance_tables(
                    features, projections, ablation=ablation, seed=seed
                )
                write_csv(table, paths[0])
                if per_class:
                    write_csv(classes, paths[1])
                title = f"{model.label} on {features.dataset}, {ablation} ablation"
                console.print(_importance_table(table, top, title))
                if projections is not None:
                    sentence = _correlation_sentence(importance_and_purity(table))
                    console.print(sentence, soft_wrap=True)
                output.print_line(f"All neurons, ranked: {paths[0]}")
                console.print()


def _importance_table(neurons: "pd.DataFrame", top: int, title: str) -> "Table":
    """Return the neurons with the largest and the smallest accuracy drop."""
    table = terminal.make_table(f"{title}: most and least important {top}")
    columns = [column for column in _IMPORTANCE_COLUMNS if column in neurons]
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    _add_ends(table, neurons[columns], top)
    return table


def _correlation_sentence(correlations: "pd.DataFrame") -> str:
    """Return whether pure neurons cost more accuracy, judged by the confidence interval."""
    by_importance = correlations[correlations.purity == "both"].set_index("importance")
    row = by_importance.loc["accuracy_drop"]
    if row.isna().any():
        return "No correlation with purity: accuracy is the same whichever neuron is left out."
    words = "matter no more and no less"
    if row.low > 0:
        words = "matter more"
    elif row.high < 0:
        words = "matter less"
    return (
        f"Pure neurons {words}: Spearman's correlation of purity and accuracy drop is "
        f"{row.rho:+.3f} ({row.low:+.3f} to {row.high:+.3f}) over {row.neurons} neurons; given "
        f"their norms and variance {row.partial:+.3f} "
        f"({row.partial_low:+.3f} to {row.partial_high:+.3f})."
    )
