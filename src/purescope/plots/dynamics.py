"""The figure of a training: overlap and order of the neurons, accuracy and gap, step by step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purescope.errors import InputError, near_miss
from purescope.plots.axes import (
    band,
    dataset_title,
    dotted_line,
    finish,
    headed,
    heading,
    line,
    named_rows,
    new_axes,
    new_grid,
    title,
    whole_numbers,
    zero_line,
)
from purescope.plots.saving import save_figure
from purescope.plots.style import LABELS, current


def plot_dynamics(
    table: pd.DataFrame,
    show: str = "overlap",
    *,
    model: str | None = None,
    dataset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw purity or accuracy of a model against the step of its training.

    Args:
        table: a table of `purescope.studies.training.tracking.track` or of a `Tracker`.
        show: ``overlap``, of both towers, relative to random weights; ``order``, Spearman's
            correlation of the order by purity with that of the last step; ``accuracy``, with all
            neurons and as a mean over k with the purest, the least pure and random neurons, whose
            band holds 90 % of the draws; ``gap``, these means minus that of the median random
            order.
        model: the model to draw; needed if the table has several.
        dataset: the dataset to draw, likewise; ``overlap`` and ``order`` need none.
        ax: axes to draw on; by default those of a new figure.

    Returns:
        The axes, `ax` if it was given.

    Raises:
        InputError: `show` is unknown or was not measured, or there is no such model or dataset.

    Examples:
        The neurons of the text tower turn towards one direction:

        >>> import tempfile, torch, purescope as ps
        >>> from matplotlib.figure import Figure
        >>> with tempfile.TemporaryDirectory() as out:
        ...     tracker = ps.Tracker(out)
        ...     for step in range(3):
        ...         tracker.record(step, ps.Projections(torch.eye(4), torch.eye(4) + step))
        >>> panel = Figure().subplots()
        >>> plot_dynamics(tracker.table(), "overlap", ax=panel) is panel
        True
        >>> panel.lines[1].get_label(), panel.lines[1].get_ydata().round(2).tolist()
        ('overlap, text tower', [0.0, 2.02, 2.24])
    """
    if show not in _COURSES:
        raise InputError(f"show = {show!r}", **near_miss(show, _COURSES))
    rows = named_rows(table, "model", model)
    if show in _BY_DATASET:
        rows = named_rows(rows[rows.n > 0], "dataset", dataset)
        if show == "gap" and rows.random.isna().all():
            raise InputError(
                "a table without random orders", expected="one measured with draws=1 or more"
            )
    own, ax = ax is None, new_axes() if ax is None else ax
    _COURSES[show](rows.drop_duplicates("step").set_index("step"), ax)
    on = f" on {dataset_title(rows)}" if show in _BY_DATASET else ""
    heading(ax, f"{rows.model.iloc[0]}{on}")
    ax.set_xlabel("Training step")
    whole_numbers(ax, most=6)
    return finish(ax, legend=own)


def _overlap_by_step(rows: pd.DataFrame, ax: Axes) -> None:
    for tower in ("image", "text"):
        line(ax, rows[f"{tower}_relative_overlap"], tower, label=f"overlap, {tower} tower")
    dotted_line(ax, 1.0, label="random weights")
    ax.set_ylabel("Overlap / that of random weights")


def _order_by_step(rows: pd.DataFrame, ax: Axes) -> None:
    line(ax, rows.rank_last, "order", label="order by purity, with that of the last step")
    zero_line(ax)
    ax.set_ylim(min(-0.1, rows.rank_last.min() - 0.05), 1.05)
    ax.set_ylabel("Spearman correlation")


def _accuracy_by_step(rows: pd.DataFrame, ax: Axes) -> None:
    line(ax, rows.accuracy * 100, "full", label="all neurons")
    _strategies_by_step(rows, ax, minus=rows.accuracy * 0)
    ax.set_ylabel("Zero-shot accuracy (%)")


def _gap_by_step(rows: pd.DataFrame, ax: Axes) -> None:
    _strategies_by_step(rows, ax, minus=rows.random)
    ax.set_ylabel("Points from a random order")


def _strategies_by_step(rows: pd.DataFrame, ax: Axes, minus: pd.Series) -> None:
    """Draw the means over k of each strategy, in percentage points."""
    for strategy, label in LABELS.items():
        line(ax, (rows[strategy] - minus) * 100, strategy, label=f"{label}, mean over k")
    if rows.random.notna().any():
        label = "random order: median, 5–95 % of the draws"
        line(ax, (rows.random - minus) * 100, "random", label=label)
        band(ax, (rows.random_low - minus) * 100, (rows.random_high - minus) * 100)


_COURSES = {
    "overlap": _overlap_by_step,
    "order": _order_by_step,
    "accuracy": _accuracy_by_step,
    "gap": _gap_by_step,
}
_BY_DATASET = ("accuracy", "gap")


def dynamics_figure(table: pd.DataFrame) -> Figure:
    """Draw overlap and order of each model, and beside them accuracy and gap on each dataset.

    Without datasets, the models stand side by side.
    """
    models, datasets = list(table.model.unique()), list(table[table.n > 0].dataset.unique())
    places: list[list[tuple[Any, Any]]] = [
        [(model, dataset) for dataset in (None, *datasets)] for model in models
    ]
    if not datasets:
        places = [[(model, None) for model in models]]
    blocks = [row[start : start + 4] for row in places for start in range(0, len(row), 4)]
    columns = max(map(len, blocks))
    width = 0.6 + 3.6 * columns if current().headings else current().wide
    figure, grid = new_grid(2 * len(blocks), columns, height=2.7 / 3.1, width=width, by_column=True)
    for ax in grid.flat:
        ax.set_axis_off()
    for block, row in enumerate(blocks):
        for (model, dataset), axes in zip(row, grid[2 * block : 2 * block + 2].T, strict=False):
            rows = table[table.model == model]
            rows = rows if dataset is None else rows[rows.dataset == dataset]
            for show, ax in zip(
                ("overlap", "order") if dataset is None else _BY_DATASET, axes, strict=True
            ):
                if rows.empty or (show == "gap" and rows.random.isna().all()):
                    continue
                ax.set_axis_on()
                plot_dynamics(rows, show, ax=ax)
                title(
                    ax,
                    str(model if dataset is None else f"{model} on {dataset}")
                    if ax is axes[0]
                    else "",
                )
    return headed(figure, "", grid.flat, columns=4 if columns > 2 else 2)


def write_dynamics(
    table: pd.DataFrame, out: Path, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Write the figure of a training as ``dynamics.png`` and so on below `out`.

    It shows overlap and order of each model, and accuracy and gap on each dataset, see
    `plot_dynamics`.

    Raises:
        InputError: a format is unknown.
        OutputError: the file cannot be written into the folder.
    """
    return save_figure(dynamics_figure(table), out / "dynamics", formats)
