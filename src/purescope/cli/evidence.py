"""``purescope evidence``: is the difference real, and what else explains it? ``purescope compare``:
two models.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, terminal
from purescope.cli.paths import check_named

if TYPE_CHECKING:
    import pandas as pd

    from purescope.cli.screen import Table
    from purescope.tables.results import Results


# As `purescope.runs.doors.evidence_settings`, which is too heavy to import for a help text; a test
# holds them together.
DEFAULTS = {"strategies": "all", "draws": 1000}


@click.command(
    short_help="Test the claim on models and datasets: all strategies, nulls, single neurons.",
    context_settings={"default_map": DEFAULTS},
)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@options.evaluated
@click.option(
    "--rotations",
    type=click.IntRange(min=2),
    default=200,
    show_default=True,
    metavar="N",
    help="Random rotations of each model, and shuffles of its purity.",
)
@options.measured
@options.read
def evidence(
    models: tuple[str, ...],
    data: tuple[str, ...],
    out: Path,
    overwrite: bool,
    rotations: int,
    **rest: Any,
) -> None:
    """A sweep of each MODEL with all strategies and 1,000 random orders, held against what else
    could explain it.

    Nulls: Gaussian weights, random rotations of both towers, shuffled purity. Variants: every
    measure of overlap, one tower alone, other ablations. Single neurons: what is lost without each,
    and whether the pure ones matter more.

    \b
    Example:
      purescope evidence bundled:clip bundled:laclip --data bundled:flags,bundled:icons --out evidence
    """  # noqa: D301 click's mark for lines to leave alone
    check_named(models, options.datasets(data), **options.places(rest))
    from purescope.runs.doors import run_evidence

    drawing, sources, settings = (
        options.drawing(rest),
        options.sources(rest),
        options.settings(rest),
    )
    with terminal.telling():
        results = run_evidence(
            models,
            options.datasets(data),
            out,
            settings=settings,
            sources=sources,
            rotations=rotations,
            overwrite=overwrite,
            **drawing,
            progress=terminal.progress,
        )
    screen = terminal.console()
    for model in results.models:
        screen.print(_against_nulls(results, model))
        screen.print(_variants(results.table("variants"), model), soft_wrap=True)
    terminal.summary(results, settings)


def _against_nulls(results: "Results", model: str) -> "Table":
    """High minus low purity beside what rotations and shuffles make of it, and what purity says of
    single neurons.
    """
    from purescope.formats import signed_interval, signed_points
    from purescope.tables.schemas import CORRELATIONS, NULLS

    nulls, correlations = (results.rows(schema) for schema in (NULLS, CORRELATIONS))
    nulls, correlations = nulls[nulls.model == model], correlations[correlations.model == model]
    screen = terminal.table(
        f"{model}: high minus low purity over all k, in points; purity and loss without a neuron"
    )
    screen.add_column("dataset")
    for name in (
        "high - low",
        "rotated, 95 %",
        "shuffled, 95 %",
        "Spearman (95 %)",
        "given norm, variance",
    ):
        screen.add_column(name, justify="right")
    gaps = nulls[nulls.statistic == "gap"].set_index(["dataset", "null"])
    told = correlations[
        (correlations.importance == "loss_change") & (correlations.purity == "both")
    ]
    for dataset in nulls.dataset.unique():
        rotated, shuffled = gaps.loc[(dataset, "rotation")], gaps.loc[(dataset, "shuffled purity")]
        ranges = [signed_interval(row.null_low, row.null_high) for row in (rotated, shuffled)]
        screen.add_row(
            terminal.plain(dataset),
            signed_points(rotated.value),
            *ranges,
            *_correlation(told[told.dataset == dataset]),
        )
    return screen


def _correlation(rows: "pd.DataFrame") -> tuple[str, str]:
    if rows.empty:
        return "", ""
    row = rows.iloc[0]
    return (
        f"{row.rho:+.2f} ({row.low:+.2f} to {row.high:+.2f})",
        f"{row.partial:+.2f} ({row.partial_low:+.2f} to {row.partial_high:+.2f})",
    )


def _variants(variants: "pd.DataFrame", model: str) -> str:
    """In how many variants of the experiment high purity beats random orders; the sweep itself is
    none of them.
    """
    rows = variants[(variants.model == model) & (variants.option != "as swept")]
    return (
        f"In {len(rows)} variants (measure, towers, space, ablation, renormalisation; on each "
        f"dataset) high purity is "
        f"above 97.5 % of the random orders in {(rows.percentile > 97.5).sum()}, below 97.5 % of "
        f"them in "
        f"{(rows.percentile < 2.5).sum()}, among them in "
        f"{rows.percentile.between(2.5, 97.5).sum()}.\n"
    )


_SHOWN = {
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
@options.evaluated
@options.attributed
@options.measured
@options.read
def compare(
    first: str,
    second: str,
    data: tuple[str, ...],
    out: Path,
    overwrite: bool,
    rotations: int | None,
    **rest: Any,
) -> None:
    """Accuracy, silhouette, purity and pruning curves of models A and B, and which differences are
    real.

    \b
    Example:
      purescope compare bundled:clip bundled:laclip --data bundled:flags,bundled:icons --out both
    """  # noqa: D301 click's mark for lines to leave alone
    check_named((first, second), options.datasets(data), **options.places(rest))
    from purescope.runs.doors import run_compare

    drawing, sources, settings = (
        options.drawing(rest),
        options.sources(rest),
        options.settings(rest),
    )
    with terminal.telling():
        results = run_compare(
            first,
            second,
            options.datasets(data),
            out,
            settings=settings,
            sources=sources,
            overwrite=overwrite,
            **drawing,
            rotations=rotations,
            progress=terminal.progress,
        )
    rivals, screen = results.table("rivals"), terminal.console()
    for dataset in rivals.dataset.unique():
        screen.print(_table(rivals[rivals.dataset == dataset]))
        screen.print()
    screen.print(
        "p is Holm's over the datasets: McNemar's exact test for accuracy, else of the bootstrap.\n"
    )
    terminal.summary(results, settings)


def _table(rows: "pd.DataFrame") -> "Table":
    from purescope.formats import signed_interval, signed_points

    one, other, dataset = rows.iloc[0][["first", "second", "dataset"]]
    screen = terminal.table(
        f"{one} and {other}" if dataset == "all" else f"{one} and {other} on {dataset}"
    )
    for name in ("", one, other, "difference (95 % interval)", "p"):
        screen.add_column(terminal.plain(name), justify="right" if name else "left")
    found = rows.set_index(["strategy", "k", "metric"])
    for key, name in _SHOWN.items():
        if key in found.index:
            row = found.loc[[key]].iloc[0]
            difference = f"{signed_points(row.difference)} ({signed_interval(row.low, row.high)})"
            values = (f"{100 * row.first_value:.2f}", f"{100 * row.second_value:.2f}")
            screen.add_row(name, *values, difference, f"{row.p_holm:.2g}")
    return screen
