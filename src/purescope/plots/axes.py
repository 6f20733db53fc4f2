"""Parts that all plots share: selection of rows, figures, lines, bands, titles and a legend."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from purescope.errors import InputError, near_miss
from purescope.formats import PALETTE
from purescope.plots.style import AXIS, BAND, DOTTED, GRID, INK, LINES, RANGE, current
from purescope.tables.files import check_table
from purescope.tables.metrics import RETRIEVAL_METRICS
from purescope.tables.schema import Schema
from purescope.tables.schemas import RESULTS


def pick(
    table: pd.DataFrame, wanted: Mapping[str, str | None], schema: Schema = RESULTS
) -> pd.DataFrame:
    """Select rows by name, column by column; None stands for the only name of the column."""
    table = check_table(table, schema)
    for column, name in sorted(wanted.items(), key=lambda item: item[1] is None):
        table = named_rows(table, column, name)
    return table


def pick_metric(
    table: pd.DataFrame, metric: str, model: str | None, dataset: str | None
) -> pd.DataFrame:
    """Select the rows of one metric, model and dataset of a result table."""
    table = pick(table, {"model": model, "dataset": dataset})
    rows = table[table.metric == metric]
    if rows.empty:
        raise InputError(f"a table without {metric}", expected=f"rows of the metric {metric}")
    return rows


def named_rows(table: pd.DataFrame, column: str, name: str | None) -> pd.DataFrame:
    """Select the rows of a name, or of the only name of the column."""
    names = [str(value) for value in table[column].unique()]
    if name is None and len(names) != 1:
        raise InputError(
            f"a table of {len(names)} {column}s",
            expected="one",
            fix=f"name it, {column}=: {', '.join(names)}",
        )
    if name is not None and name not in names:
        raise InputError(f"no {column} {name!r} in this table", **near_miss(name, names))
    return table[table[column] == (names[0] if name is None else name)]


def curve(rows: pd.DataFrame, strategy: str) -> pd.Series:
    """Return the values by k of a strategy that has one order."""
    return rows[rows.strategy == strategy].set_index("k").value.sort_index()


def draws(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the values of the random orders: a row for each draw, a column for each k."""
    return rows[rows.strategy == "random"].pivot(index="draw", columns="k", values="value")


def both_curves(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the curves of high and of low purity.

    Raises:
        InputError: the table lacks one of them.
    """
    high, low = (curve(rows, strategy) for strategy in ("high_purity", "low_purity"))
    if high.empty or low.empty:
        raise InputError(
            f"a table with the strategies {', '.join(rows.strategy.unique())}",
            expected="high_purity and low_purity",
        )
    return high, low


def dataset_title(rows: pd.DataFrame) -> str:
    """Return the name and the size of the dataset, for a heading."""
    captions = "metric" in rows and rows.metric.iloc[0] in RETRIEVAL_METRICS
    many = f"{rows.classes.iloc[0]:,} {'captions' if captions else 'classes'}"
    return f"{rows.dataset.iloc[0]}, {many}, {rows.n.iloc[0]:,} images"


_WIDTHS = ("linewidth", "markersize", "markeredgewidth")


def new_axes() -> Axes:
    """Make the axes of a new figure of one panel."""
    return new_figure(current().column, current().single).subplots()


def new_figure(width: float, height: float) -> Figure:
    """Make a figure of this size in inches, with the margins of the style."""
    pad = current().pad
    layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=pad / 2, hspace=pad / 2)
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def new_grid(
    rows: int,
    columns: int,
    *,
    height: float = 1.0,
    width: float | None = None,
    ratios: Sequence[float] | None = None,
    square: bool = False,
    share: bool = False,
    by_column: bool = False,
) -> tuple[Figure, Any]:
    """Make a figure and its panels, ``[row, column]``.

    The panels stand side by side, or one above another where the style stacks so few of them.

    Args:
        rows, columns: shape of the grid.
        height: height of a row, relative to that of the style.
        width: width in inches, unless the panels are stacked; by default the width of a column for
            one panel, otherwise that of the page.
        ratios: widths of the columns; heights of the panels where they are stacked.
        square: whether to make a row about as high as its panels are wide.
        share: whether all panels share one y axis.
        by_column: whether to stack column after column instead of row after row.
    """
    style, stacked = current(), stacks(rows * columns)
    down, across = (rows * columns, 1) if stacked else (rows, columns)
    if stacked or width is None:
        width = style.column if across == 1 else style.wide
    heights = [*ratios] * rows if stacked and ratios else [1.0] * down
    row = width / across - style.margin - 0.45 if square else style.row * height
    figure = new_figure(width, style.margin + row * sum(heights))
    widths = None if stacked else ratios
    panels = figure.subplots(
        down, across, squeeze=False, sharey=share, width_ratios=widths, height_ratios=heights
    )
    if by_column:
        return figure, panels.reshape(columns, rows).T if stacked else panels
    return figure, panels.reshape(rows, columns)


def stacks(panels: int) -> bool:
    """Tell whether the style stacks this number of panels one above another."""
    return panels <= current().stack


def line(ax: Axes, values: pd.Series, look: str, **changes: Any) -> None:
    """Draw a line in one of the looks of `LINES`; a single point gets a marker."""
    if len(values) == 1 and not LINES[look]["marker"]:
        changes = {"marker": "D", **changes}
    ax.plot(values.index, values, **_look(look, {"markeredgecolor": PALETTE[look], **changes}))


def level(ax: Axes, value: float, look: str, **changes: Any) -> None:
    """Draw a horizontal line in one of the looks."""
    ax.axhline(value, **_look(look, changes))


def _look(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    options = {**LINES[name], "color": PALETTE[name], **changes}
    scaled = {width: options[width] * current().line for width in _WIDTHS if width in options}
    return options | scaled


def band(
    ax: Axes, low: pd.Series, high: pd.Series, *, color: str = BAND, label: str | None = None
) -> None:
    """Draw an area from low to high."""
    k = low.index.to_numpy(dtype=float)
    if len(k) == 1:  # an area over one point would not be visible, so it gets a width
        k, low, high = k + np.array([-1.0, 1.0]), low.repeat(2), high.repeat(2)
    zorder = 1.5 if color == RANGE else 1.6
    ax.fill_between(k, low, high, color=color, linewidth=0, zorder=zorder, label=label)


def zero_line(ax: Axes) -> None:
    """Draw a horizontal line at 0."""
    ax.axhline(0, color=INK, linewidth=0.8 * current().line, zorder=2)


def dotted_line(ax: Axes, value: float, label: str | None = None) -> None:
    """Draw a dotted horizontal line."""
    ax.axhline(
        value, color=INK, linewidth=1.3 * current().line, linestyle=DOTTED, zorder=2, label=label
    )


def line_within_view(ax: Axes, value: float, label: str | None = None) -> None:
    """Draw a dotted horizontal line where it lies within the present limits of the axis."""
    low, high = ax.get_ylim()
    if low <= value <= high:
        ax.set_ylim(low, high)
        dotted_line(ax, value, label)


def note(ax: Axes, text: str) -> Axes:
    """Write why there is no plot, in its place."""
    ax.text(
        0.5,
        0.5,
        text,
        transform=ax.transAxes,
        ha="center",
        va="center",
        color=INK,
        fontsize=current().label,
    )
    ax.set_axis_off()
    return ax


def whole_numbers(ax: Axes, most: int = 7) -> None:
    """Set ticks at whole numbers, as many as fit into the width of the panel."""
    room = max(3, int((_panel(ax)[0] - 0.5) * 72 / (3.0 * current().small)))
    ax.xaxis.set_major_locator(
        MaxNLocator(nbins=min(most, room), steps=[1, 2, 5, 10], integer=True)
    )


def finish(ax: Axes, *, legend: bool, grid: Literal["x", "y", "both"] = "y") -> Axes:
    """Give the axes the plain look of all plots, and a legend if asked for."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(AXIS)
    small_ticks(ax)
    wrap_labels(ax)
    ax.grid(axis=grid, color=GRID, linewidth=0.8 * current().line)
    ax.set_axisbelow(True)
    if legend:
        add_legend(ax.figure, [ax], columns=2)
    return ax


def small_ticks(ax: Axes) -> None:
    """Set the colours and sizes of ticks and labels."""
    ax.tick_params(color=AXIS, labelcolor=INK, labelsize=current().small)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=INK, fontsize=current().label)


def wrap_labels(ax: Axes) -> None:
    """Break the labels of the axes into lines that fit the panel."""
    width, height = _panel(ax)
    for label, inches in ((ax.xaxis.label, width - 0.35), (ax.yaxis.label, height)):
        letters = max(12, int((inches - 0.3) * 72 / (current().letter * current().label)))
        label.set_text("\n".join(_balanced(line, letters) for line in label.get_text().split("\n")))
        label.set_linespacing(current().spacing)


def _balanced(text: str, letters: int) -> str:
    """Break a text into as few lines as possible, of about equal length."""
    lines = textwrap.wrap(text, letters, break_long_words=False)
    while letters > 1 and len(
        shorter := textwrap.wrap(text, letters - 1, break_long_words=False)
    ) <= len(lines):
        lines, letters = shorter, letters - 1
        if max(map(len, lines), default=0) > letters:
            break
    return "\n".join(lines)


def _panel(ax: Axes) -> tuple[float, float]:
    """Return width and height of a panel in inches."""
    figure, spec = ax.get_figure(root=True), ax.get_subplotspec()
    rows, columns = spec.get_gridspec().get_geometry() if spec is not None else (1, 1)
    width, height = (
        figure.get_size_inches() if figure is not None else (current().column, current().single)
    )
    return float(width) / columns, (float(height) - current().margin) / rows


def title(ax: Axes, text: str) -> None:
    """Write a title over a panel, as it is: a dollar sign starts no formula."""
    size = current().title
    letters = max(12, int((_panel(ax)[0] - 0.5) * 72 / (0.62 * size)))
    ax.set_title(
        textwrap.fill(text, letters), loc="left", fontsize=size, color=INK, parse_math=False
    )


def heading(ax: Axes, text: str) -> None:
    """Write the title of a plot that stands alone; in a paper, the caption replaces it."""
    title(ax, text if current().headings else "")


def headed(figure: Figure, text: str, axes: Iterable[Axes], columns: int = 3) -> Figure:
    """Add a heading above all panels, where the style has headings, and a legend below.

    In a stack of panels, equal x labels are written once.
    """
    for above, below in pairwise(figure.axes if stacks(len(figure.axes)) else []):
        if below.axison and above.get_xlabel() == below.get_xlabel():
            above.set_xlabel("")
    if text and current().headings:
        text = textwrap.fill(text, int(8 * figure.get_figwidth()))
        size = current().title + 1.5
        figure.suptitle(
            text, x=0.012, ha="left", fontsize=size, fontweight="bold", color=INK, parse_math=False
        )
    add_legend(figure, axes, columns)
    return figure


def add_legend(figure: FigureBase, axes: Iterable[Axes], columns: int) -> None:
    """Add one legend below all axes, with each label once.

    It has as many columns as fit, up to `columns`, with at least two entries in each.
    """
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(
                label, (Patch(color=BAND), handle) if label.startswith("random order:") else handle
            )
    if not entries:
        return
    root = figure.get_figure(root=True)
    for count in range(min(columns, math.ceil(len(entries) / 2)), 0, -1):
        legend = _legend(figure, entries, count)
        over = legend.get_window_extent().width - root.bbox.width
        if over <= 0:
            return
        if count > 1:
            legend.remove()
    widths = [text.get_window_extent().width for text in legend.get_texts()]
    for text, width in zip(legend.get_texts(), widths, strict=True):
        if width > max(widths) - over:
            letters = int(len(text.get_text()) * (max(widths) - over) / width)
            text.set(
                text=_balanced(text.get_text(), max(1, letters)), linespacing=current().spacing
            )


def _legend(figure: FigureBase, entries: dict[str, Any], columns: int) -> Legend:
    spacing = (
        {}
        if current().headings
        else {"columnspacing": 1.2, "handletextpad": 0.5, "labelspacing": 0.25}
    )
    legend: Legend = figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        fontsize=current().small,
        labelcolor=INK,
        handlelength=3,
        **spacing,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend
