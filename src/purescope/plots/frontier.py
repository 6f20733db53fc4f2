"""What a search finds against the bytes that a vector takes, by code and number of dimensions."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from purescope.errors import InputError
from purescope.files.writing import slug
from purescope.plots.axes import (
    dotted_line,
    finish,
    headed,
    heading,
    new_axes,
    new_grid,
    pick,
    title,
)
from purescope.plots.saving import save_figure
from purescope.plots.style import DASHED, INK, current
from purescope.tables.searches import SEARCHES, STAGES, find_lines

# Okabe and Ito's; markers differ too.
_LOOKS = {
    "f32": ("#000000", "D"),
    "f16": ("#0072B2", "o"),
    "int8": ("#009E73", "s"),
    "binary": ("#D55E00", "^"),
    "pq": ("#CC79A7", "v"),
}
_LABELS = {"recall": "Recall@10 (%)", "same_label": "Same label among ten (%)"}
_OWN_IMAGE = "Own image among ten (%)"


def plot_frontier(
    table: pd.DataFrame,
    *,
    model: str | None = None,
    dataset: str | None = None,
    show: str = "recall",
    ax: Axes | None = None,
) -> Axes:
    """Draw recall@10 in % against the bytes of a vector, a line for each code.

    Full lines are what the index finds by itself, dashed ones with open points what is left of its
    candidates after they were ordered again by the whole vectors. Of each code and number of bytes,
    the best is drawn. Vertical strokes are 95 % confidence intervals.

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
    if own:
        heading(ax, search_title(rows))
    lines = find_lines(rows, show)
    for family in lines.family.unique():
        for stage in STAGES:
            _draw_line(ax, lines[(lines.family == family) & (lines.stage == stage)], show)
    if (lines.stage == "reranked").any():
        ax.plot([], [], label="reranked", color=INK, marker="o", **_look(is_single=False))
    first = rows.iloc[0]
    if show == "task":
        dotted_line(ax, 100 * float(first.task_exact), "exact search")
    _set_bytes(ax, rows)
    ax.set_ylabel(_LABELS.get(first.task_metric if show == "task" else show, _OWN_IMAGE))
    return finish(ax, legend=own)


def search_title(rows: pd.DataFrame) -> str:
    """Return what is searched, for a heading."""
    first = rows.iloc[0]
    return f"{first.dataset}: {first.vectors:,} vectors, {first.n:,} queries"


def _draw_line(ax: Axes, points: pd.DataFrame, show: str) -> None:
    if points.empty:
        return
    first = points.iloc[0]
    colour, marker = _LOOKS[first.family]
    is_single = first.stage == "single"
    ax.plot(
        points.bytes,
        100 * points[show],
        color=colour,
        marker=marker,
        label=first.family if is_single else None,
        gid=f"{first.family}-{first.stage}",
        zorder=3 if is_single else 2.5,
        **_look(is_single),
    )
    low, high = 100 * points[f"{show}_low"], 100 * points[f"{show}_high"]
    ax.vlines(points.bytes, low, high, color=colour, linewidth=current().line)


def _look(is_single: bool) -> dict[str, Any]:
    scale = current().line
    style: dict[str, Any] = {} if is_single else {"linestyle": DASHED, "markerfacecolor": "white"}
    return {"markersize": 5 * scale, "linewidth": 1.6 * scale, **style}


def _set_bytes(ax: Axes, rows: pd.DataFrame) -> None:
    """Set a logarithmic axis with a tick at each power of two."""
    least, most = int(rows.bytes.min()), int(rows.bytes.max())
    ax.set_xscale("log", base=2)
    ticks = [1 << power for power in range(40) if least <= 1 << power <= most] or [least]
    ax.xaxis.set_major_locator(FixedLocator([float(tick) for tick in ticks]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set_xlabel("Bytes a vector")


def frontier_figure(rows: pd.DataFrame) -> Figure:
    """Draw the frontier of one model and dataset; with a task, beside that of recall.

    Args:
        rows: the rows of one model and dataset.
    """
    shown = ["recall", *(["task"] if rows.task.notna().any() else [])]
    figure, grid = new_grid(1, len(shown))
    for show, ax in zip(shown, grid.flat, strict=True):
        plot_frontier(rows, show=show, ax=ax)
        title(ax, "")
    return headed(figure, search_title(rows), grid.flat)


def frontier_drawings(table: pd.DataFrame) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the name and the drawing of the figure of each model and dataset."""
    groups: Any = table.groupby(["model", "dataset"], sort=False)
    for (model, dataset), rows in groups:
        yield f"searches_{slug(str(model))}_{slug(str(dataset))}", partial(frontier_figure, rows)


def write_frontiers(
    table: pd.DataFrame, out: Path, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Write ``figures/searches_<model>_<dataset>`` below `out`, for each model and dataset.

    Raises:
        OutputError: the files cannot be written into the folder.
    """
    written = []
    for name, draw in frontier_drawings(table):
        written += save_figure(draw(), out / "figures" / name, formats)
    return written
