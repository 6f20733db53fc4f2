"""The figure of a training: overlap and order of the neurons, accuracy and gap, step by step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from purescope.plots.axes import headed, new_grid, title
from purescope.plots.curves import BY_DATASET, plot_dynamics
from purescope.plots.saving import save_figure
from purescope.plots.style import current


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
                ("overlap", "order") if dataset is None else BY_DATASET, axes, strict=True
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
