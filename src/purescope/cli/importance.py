"""``purescope importance``: what is lost without each neuron, and whether the pure ones matter
more.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, terminal
from purescope.cli.paths import check_named

if TYPE_CHECKING:
    import pandas as pd

    from purescope.cli.screen import Table

_SHOWN = (
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
    help="Also write class_importance_MODEL_DATASET.csv, for each class.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Most and least important to print.",
)
@options.ablated
@options.read
def importance(
    models: tuple[str, ...],
    data: tuple[str, ...],
    out: Path,
    per_class: bool,
    top: int,
    **rest: Any,
) -> None:
    """Accuracy drop without each single neuron of each MODEL, all exactly, and its correlation with
    purity.

    Writes importance_MODEL_DATASET.csv, one row a neuron.

    \b
    Example:
      purescope importance bundled:clip bundled:laclip --data bundled:flags --out results
    """  # noqa: D301 click's mark for lines to leave alone
    check_named(models, options.datasets(data), **options.places(rest))
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
    from purescope.tables.wide import refuse_others_file

    sources, settings = options.sources(rest), options.settings(rest)
    ablation, seed = settings.ablation, settings.seed
    screen = terminal.console()
    with terminal.telling():
        sets = [open_data(name, sources, alone=not models) for name in options.datasets(data)]
        for named in models_or_origin(models, sets):
            model = (
                named_model(named, sources, precision=settings.precision)
                if isinstance(named, str)
                else named
            )
            projections = (
                model.weight_space if isinstance(model.weight_space, Projections) else None
            )
            for item in sets:
                name = f"importance_{slug(model.label)}_{slug(dataset_name(item))}.csv"
                for file in (name, f"class_{name}") if per_class else (name,):
                    refuse_others_file(
                        out / file, {"model": model.label, "dataset": dataset_name(item)}
                    )
                features = features_of(model, item, settings, sources, terminal.progress)
                table, classes = importance_tables(
                    features, projections, ablation=ablation, seed=seed
                )
                write_csv(table, out / name)
                if per_class:
                    write_csv(classes, out / f"class_{name}")
                screen.print(
                    _ends(table, top, f"{model.label} on {features.dataset}, {ablation} ablation")
                )
                if projections is not None:
                    screen.print(_sentence(importance_and_purity(table)), soft_wrap=True)
                screen.say(f"All neurons, ranked: {out / name}")
                screen.print()


def _ends(table: "pd.DataFrame", top: int, title: str) -> "Table":
    """The neurons that cost most accuracy to leave out, and those that cost least."""
    screen = terminal.table(f"{title}: most and least important {top}")
    shown = [column for column in _SHOWN if column in table]
    for column in shown:
        screen.add_column(column.replace("_", " "), justify="right")
    for part in (table.head(top), table.tail(top)):
        for row in part[shown].itertuples(index=False):
            screen.add_row(
                *(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row)
            )
        screen.add_section()
    return screen


def _sentence(correlations: "pd.DataFrame") -> str:
    """Whether pure neurons cost more accuracy, in words that follow the interval and not the
    sign.
    """
    found = correlations[correlations.purity == "both"].set_index("importance").loc["accuracy_drop"]
    if found.isna().any():
        return "No correlation with purity: accuracy is the same whichever neuron is left out."
    words = (
        "matter more"
        if found.low > 0
        else "matter less"
        if found.high < 0
        else "matter no more and no less"
    )
    return (
        f"Pure neurons {words}: Spearman's correlation of purity and accuracy drop is "
        f"{found.rho:+.3f} "
        f"({found.low:+.3f} to {found.high:+.3f}) over {found.neurons} neurons; given their norms "
        f"and variance "
        f"{found.partial:+.3f} ({found.partial_low:+.3f} to {found.partial_high:+.3f})."
    )
