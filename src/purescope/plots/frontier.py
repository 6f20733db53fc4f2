"""What a search finds against the bytes that a vector takes, by code and number of dimensions."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from purescope.errors import InputError
from purescope.files.writing import slug
from purescope.plots.axes import finish, heading, new_axes, pick
from purescope.plots.saving import save_figure
from purescope.plots.style import DASHED, current
from purescope.tables.schema import each_row
from purescope.tables.searches import SEARCHES

# Okabe and Ito's; markers differ too.
_LOOKS = {
    "f32": ("#000000", "D"),
    "f16": ("#0072B2", "o"),
    "int8": ("#009E73", "s"),
    "binary": ("#D55E00", "^"),
    "pq": ("#CC79A7", "v"),
}


def plot_frontier(
    table: pd.DataFrame,
    *,
    model: str | None = None,
    dataset: str | None = None,
    show: str = "recall",
    ax: Axes | None = None,
) -> Axes:
    """Draw recall@10 in % against the bytes of a vector, a line for each code.

    Full lines are what the index finds by itself, dashed ones what is left of its candidates after
    they were ordered again by the whole vectors. Vertical strokes are 95 % confidence intervals.

    Args:
        table: a table of `purescope.tables.searches.SEARCHES`.
        model, dataset: the one to draw; needed if the table has several.
        show: ``recall`` or ``task``.
        ax: axes to draw on; by default those of a new figure with a legend.

    Returns:
        The axes.

    Raises:
        InputError: there is no model or dataset of that name, or nothing is known of the task.
    """
    own, rows = ax is None, pick(table, {"model": model, "dataset": dataset}, SEARCHES)
    if rows[show].isna().all():
        raise InputError(f"a table without a {show}", expected="features with labels, or captions")
    ax = new_axes() if ax is None else ax
    first = rows.iloc[0]
    heading(ax, f"{first.dataset}: {first.vectors:,} vectors, {first.n:,} queries")
    for (name, stage), points in rows.groupby(["code", "stage"], sort=False):
        code = str(name)
        points = points.sort_values(["bytes", "k"])
        colour, marker = _LOOKS["pq" if code.startswith("pq") else code]
        is_single = stage == "single"
        ax.plot(
            points.bytes,
            100 * points[show],
            color=colour,
            marker=marker,
            markerfacecolor=colour if is_single else "white",
            markersize=5 * current().line,
            linewidth=1.6 * current().line,
            linestyle="-" if is_single else DASHED,
            label=code if is_single else f"{code}, reranked",
            zorder=3 if is_single else 2.5,
        )
        ends = points[f"{show}_low"], points[f"{show}_high"]
        ax.vlines(points.bytes, 100 * ends[0], 100 * ends[1], color=colour, linewidth=1)
    if show == "task":
        exact = 100 * float(first.task_exact)
        ax.axhline(exact, color="#000000", linewidth=1, linestyle=":", label="exact search")
    _set_bytes(ax, rows)
    names = {"recall": "Recall@10 (%)", "task": _task_name(first.task_metric)}
    ax.set_ylabel(names[show])
    return finish(ax, legend=own)


def _task_name(metric: str) -> str:
    return "Own image among ten (%)" if metric == "own_image" else "Same label among ten (%)"


def _set_bytes(ax: Axes, rows: pd.DataFrame) -> None:
    """Set a logarithmic axis with a tick at each power of two."""
    least, most = int(rows.bytes.min()), int(rows.bytes.max())
    ax.set_xscale("log", base=2)
    ticks = [1 << power for power in range(40) if least <= 1 << power <= most] or [least]
    ax.xaxis.set_major_locator(FixedLocator([float(tick) for tick in ticks]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set_xlabel("Bytes a vector")


def find_frontier(table: pd.DataFrame, stage: str) -> pd.DataFrame:
    """Return the rows of which no other finds more with as few bytes, by rising bytes.

    Args:
        table: rows of one model and dataset.
        stage: ``single`` or ``reranked``.

    Examples:
        >>> rows = {"stage": "single", "bytes": [8, 8, 16, 32], "recall": [0.5, 0.6, 0.4, 0.9]}
        >>> find_frontier(pd.DataFrame(rows), "single").bytes.tolist()
        [8, 32]
    """
    rows = table[table.stage == stage].sort_values(
        ["bytes", "recall"], ascending=[True, False], kind="stable"
    )
    places, best = [], -1.0
    for place, row in enumerate(each_row(rows)):
        if row.recall > best:
            places.append(place)
            best = row.recall
    return rows.iloc[places]


def write_frontiers(
    table: pd.DataFrame, out: Path, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Write ``figures/searches_<model>_<dataset>`` below `out`, for each model and dataset.

    Raises:
        OutputError: the files cannot be written into the folder.
    """
    written = []
    for (model, dataset), rows in table.groupby(["model", "dataset"], sort=False):
        figure = cast(Figure, plot_frontier(rows).figure)
        name = f"searches_{slug(str(model))}_{slug(str(dataset))}"
        written += save_figure(figure, out / "figures" / name, formats)
    return written
