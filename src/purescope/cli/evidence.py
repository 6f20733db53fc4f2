"""``purescope evidence``: test the claim; ``purescope compare``: compare two models."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, output, terminal
from purescope.cli.paths import check_named

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from purescope.tables.results import Results


# The same as `purescope.runs.doors.evidence_settings`, which takes too long to import for a help
# text. A test compares them.
DEFAULTS = {"strategies": "all", "draws": 1000}


@click.command(
    short_help="Test the claim on models and datasets: all strategies, nulls, single neurons.",
    context_settings={"default_map": DEFAULTS},
)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@options.add_options(*options.RUN)
@click.option(
    "--rotations",
    type=click.IntRange(min=2),
    default=200,
    show_default=True,
    metavar="N",
    help="Number of random rotations of each model, and of shuffles of its purity.",
)
@options.add_options(*options.SETTINGS, *options.SOURCES)
def evidence(
    models: tuple[str, ...],
    data: tuple[str, ...],
    out: Path,
    overwrite: bool,
    rotations: int,
    **rest: Any,
) -> None:
    """Sweep each MODEL with all strategies and 1,000 random orders, and test other explanations.

    Nulls: Gaussian weights, random rotations of both towers, shuffled purity. Variants: every
    measure of overlap, one tower alone, other ablations. Single neurons: the loss without each one,
    and whether pure neurons matter more.

    \b
    Example:
      purescope evidence bundled:clip bundled:laclip --data bundled:flags,bundled:icons --out claim
    """  # noqa: D301 click does not wrap a paragraph after this mark
    names = options.dataset_names(data)
    check_named(models, names, **options.data_folder(rest))
    from purescope.runs.doors import run_evidence

    arguments = options.pop_run(rest)
    with output.show_messages():
        results = run_evidence(
            models,
            names,
            out,
            rotations=rotations,
            overwrite=overwrite,
            **arguments,
            progress=output.show_progress,
        )
    console = terminal.make_console()
    for model in results.models:
        console.print(_null_table(results, model))
        console.print(_variants_sentence(results.table("variants"), model), soft_wrap=True)
    terminal.print_summary(results, arguments["settings"])


def _null_table(results: "Results", model: str) -> "Table":
    """Return high minus low purity beside its values under rotations and shuffles.

    The last columns are the correlations of the purity of single neurons with their importance.
    """
    from purescope.formats import signed_interval, signed_points
    from purescope.tables.schemas import CORRELATIONS, NULLS

    nulls, correlations = (results.rows(schema) for schema in (NULLS, CORRELATIONS))
    nulls, correlations = nulls[nulls.model == model], correlations[correlations.model == model]
    table = terminal.make_table(
        f"{model}: high minus low purity over all k, in points; purity and loss without a neuron"
    )
    table.add_column("dataset")
    for name in (
        "high - low",
        "rotated, 95 %",
        "shuffled, 95 %",
        "Spearman (95 %)",
        "given norm, variance",
    ):
        table.add_column(name, justify="right")
    gaps = nulls[nulls.statistic == "gap"].set_index(["dataset", "null"])
    loss_rows = correlations[
        (correlations.importance == "loss_change") & (correlations.purity == "both")
    ]
    for dataset in nulls.dataset.unique():
        rotated, shuffled = gaps.loc[(dataset, "rotation")], gaps.loc[(dataset, "shuffled purity")]
        ranges = [signed_interval(row.null_low, row.null_high) for row in (rotated, shuffled)]
        terminal.add_row(
            table,
            output.escape(dataset),
            signed_points(rotated.value),
            *ranges,
            *_correlation_cells(loss_rows[loss_rows.dataset == dataset]),
        )
    return table


def _correlation_cells(rows: "pd.DataFrame") -> tuple[str, str]:
    if rows.empty:
        return "", ""
    row = rows.iloc[0]
    return (
        f"{row.rho:+.2f} ({row.low:+.2f} to {row.high:+.2f})",
        f"{row.partial:+.2f} ({row.partial_low:+.2f} to {row.partial_high:+.2f})",
    )


def _variants_sentence(variants: "pd.DataFrame", model: str) -> str:
    """Return in how many variants of the experiment high purity beats the random orders.

    The sweep itself is not a variant.
    """
    rows = variants[(variants.model == model) & (variants.option != "as swept")]
    above, below = (rows.percentile > 97.5).sum(), (rows.percentile < 2.5).sum()
    between = rows.percentile.between(2.5, 97.5).sum()
    return (
        f"In {len(rows)} variants (measure, towers, space, ablation, renormalisation; on each "
        f"dataset) high purity is above 97.5 % of the random orders in {above}, below 97.5 % of "
        f"them in {below}, among them in {between}.\n"
    )


_QUANTITIES = {
    ("full", "all", "accuracy"): "accuracy, %",
    ("full", "all", "silhouette"): "silhouette, x 100",
    ("high_purity", "area", "accuracy"): "high purity, mean over k, %",
    ("random", "area", "accuracy"): "random, mean over k, %",
    ("low_purity", "area", "accuracy"): "low purity, mean over k, %",
    ("gap", "area", "accuracy"): "high minus low, points",
    ("full", "all", "image_relative_overlap"): "overlap of the image tower, % of random",
    ("full", "all", "text_relative_overlap"): "overlap of the text tower, % of random",
}


@click.command(short_help="Compare two models on the same images, with paired tests.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@options.add_options(*options.RUN, "rotations", *options.SETTINGS, *options.SOURCES)
def compare(
    first: str,
    second: str,
    data: tuple[str, ...],
    out: Path,
    overwrite: bool,
    rotations: int | None,
    **rest: Any,
) -> None:
    """Compare models A and B in accuracy, silhouette, purity and pruning curves, with paired tests.

    \b
    Example:
      purescope compare bundled:clip bundled:laclip --data bundled:flags,bundled:icons --out both
    """  # noqa: D301 click does not wrap a paragraph after this mark
    names = options.dataset_names(data)
    check_named((first, second), names, **options.data_folder(rest))
    from purescope.runs.doors import run_compare

    arguments = options.pop_run(rest)
    with output.show_messages():
        results = run_compare(
            first,
            second,
            names,
            out,
            overwrite=overwrite,
            **arguments,
            rotations=rotations,
            progress=output.show_progress,
        )
    rivals, console = results.table("rivals"), terminal.make_console()
    for dataset in rivals.dataset.unique():
        console.print(_comparison_table(rivals[rivals.dataset == dataset]))
        console.print()
    console.print(
        "p is Holm's over the datasets: McNemar's exact test for accuracy, else of the bootstrap.\n"
    )
    terminal.print_summary(results, arguments["settings"])


def _comparison_table(rows: "pd.DataFrame") -> "Table":
    from purescope.formats import signed_interval, signed_points

    first, second, dataset = rows.iloc[0][["first", "second", "dataset"]]
    models = f"{first} and {second}"
    table = terminal.make_table(models if dataset == "all" else f"{models} on {dataset}")
    for name in ("", first, second, "difference (95 % interval)", "p"):
        table.add_column(output.escape(name), justify="right" if name else "left")
    by_quantity = rows.set_index(["strategy", "k", "metric"])
    for key, name in _QUANTITIES.items():
        if key in by_quantity.index:
            row = by_quantity.loc[[key]].iloc[0]
            difference = f"{signed_points(row.difference)} ({signed_interval(row.low, row.high)})"
            values = (f"{100 * row.first_value:.2f}", f"{100 * row.second_value:.2f}")
            terminal.add_row(table, name, *values, difference, f"{row.p_holm:.2g}")
    return table
