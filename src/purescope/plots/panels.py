"""Figures of several panels, one for each question, and those that a run and a training write by
themselves.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from purescope.errors import InputError
from purescope.files.writing import slug
from purescope.plots.axes import dataset_title, headed, heading, new_grid, stacks, title
from purescope.plots.cosines import plot_cosines
from purescope.plots.courses import OF_A_DATASET, plot_dynamics, plot_layers
from purescope.plots.curves import plot_accuracy, plot_gap, plot_silhouette
from purescope.plots.experiment import plot_pruning, plot_pruning_gap, plot_published
from purescope.plots.neurons import plot_importance
from purescope.plots.saving import save_figure
from purescope.plots.style import current
from purescope.tables.cosines import colour_limit
from purescope.tables.files import check_table


def pruning_figure(table: pd.DataFrame) -> Figure:
    """One dataset: accuracy and silhouette side by side, a row for each model."""
    models = list(table.model.unique())
    seen = table[table.metric == "silhouette"].value.notna().any()
    figure, grid = new_grid(len(models), 2, ratios=(1.0, 1.0 if seen else 0.45))
    for model, (left, right) in zip(models, grid, strict=True):
        plot_accuracy(table, model=model, ax=left)
        plot_silhouette(table, model=model, ax=right)
        title(left, model)
        title(right, "")
    return headed(figure, dataset_title(table), grid.flat)


def gap_figure(table: pd.DataFrame) -> Figure:
    """One dataset: the gap of each model, two in a row, on one scale."""
    models = list(table.model.unique())
    columns = 1 if stacks(len(models)) else min(2, len(models))
    rows = -(-len(models) // columns)
    figure, grid = new_grid(rows, columns, width=current().wide, share=True)
    for model, ax in zip(models, grid.flat, strict=False):
        plot_gap(table, model=model, ax=ax)
        title(ax, model)
        if not ax.get_subplotspec().is_first_col():
            ax.set_ylabel("")
    for ax in grid.flat[len(models) :]:
        ax.set_axis_off()
    return headed(figure, dataset_title(table), grid.flat)


def experiment_figure(table: pd.DataFrame) -> Figure:
    """One model on one dataset: the experiment's two figures side by side."""
    figure, ((left, right),) = new_grid(1, 2)
    plot_pruning(table, ax=left)
    plot_pruning_gap(table, ax=right)
    heading(left, "Effect of Neuron Pruning on Accuracy")
    heading(right, "High-Purity vs Low-Purity Neurons")
    return headed(figure, f"{table.model.iloc[0]} on {dataset_title(table)}", [left, right])


def published_figure(table: pd.DataFrame, published: pd.DataFrame | None = None) -> Figure:
    """One model: high, random and low at each k, accuracy above silhouette for each dataset."""
    datasets, across = list(table.dataset.unique()), current().across
    columns, blocks = min(across, len(datasets)), -(-len(datasets) // across)
    figure, grid = new_grid(2 * blocks, columns, height=0.8, width=current().wide, by_column=True)
    for ax in grid.flat:
        ax.set_axis_off()
    for place, dataset in enumerate(datasets):
        rows = table[table.dataset == dataset]
        block, column = divmod(place, columns)
        above, below = grid[2 * block : 2 * block + 2, column]
        for metric, ax in (("accuracy", above), ("silhouette", below)):
            ax.set_axis_on()
            plot_published(rows, metric, published=published, ax=ax)
            title(ax, str(dataset) if metric == "accuracy" else "")
            if not ax.get_subplotspec().is_first_col():
                ax.set_ylabel("")
        if below.axison:
            above.set_xlabel("")
    return headed(figure, f"{table.model.iloc[0]}: high purity, random and low purity", grid.flat)


def cosines_figure(cosines: Mapping[str, Any], order: Sequence[int], model: str) -> Figure:
    """One model: both towers' cosines on one scale."""
    towers = [tower for tower in ("image", "text") if tower in cosines]
    limit = colour_limit(*(cosines[tower] for tower in towers))
    figure, grid = new_grid(1, len(towers), square=True)
    for tower, ax in zip(towers, grid.flat, strict=True):
        plot_cosines(cosines[tower], order=order, tower=tower, limit=limit, ax=ax)
        title(ax, f"{tower} tower")
    return headed(figure, f"{model}: |cosine| of each neuron with each other", [])


def importance_figure(table: pd.DataFrame, correlations: pd.DataFrame | None = None) -> Figure:
    """One dataset: accuracy and loss without each neuron against purity, a row for each model."""
    models = list(table.model.unique())
    figure, grid = new_grid(len(models), 2)
    for model, panels in zip(models, grid, strict=True):
        for importance, ax in zip(("accuracy_drop", "loss_change"), panels, strict=True):
            plot_importance(
                table, importance=importance, correlations=correlations, model=model, ax=ax
            )
            title(ax, str(model) if ax is panels[0] else "")
    return headed(figure, f"{table.dataset.iloc[0]}: importance and purity of each neuron", [])


def layers_figure(table: pd.DataFrame) -> Figure:
    """One model: overlap and effective rank side by side, a row for each space."""
    spaces = list(table.space.unique())
    figure, grid = new_grid(len(spaces), 2)
    for space, panels in zip(spaces, grid, strict=True):
        for show, ax in zip(("overlap", "effective_rank"), panels, strict=True):
            plot_layers(table, show, space=space, ax=ax)
            title(ax, str(space) if ax is panels[0] else "")
            if space != spaces[-1]:
                ax.set_xlabel("")
    return headed(figure, f"{table.model.iloc[0]}: layers by depth", grid.flat)


def dynamics_figure(table: pd.DataFrame) -> Figure:
    """For each model overlap and order, and beside them for each dataset accuracy and gap; without
    any, the models.
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
                ("overlap", "order") if dataset is None else OF_A_DATASET, axes, strict=True
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


def ranked(neurons: pd.DataFrame, model: str) -> list[int]:
    """The neurons of a model, purest first."""
    return [int(neuron) for neuron in neurons[neurons.model == model].sort_values("rank").neuron]


def write_figures(
    table: pd.DataFrame, out: Path, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Write ``figures/neuron_pruning_<dataset>`` and ``figures/purity_gap_<dataset>`` below `out`,
    in each format.

    The first has accuracy and silhouette side by side, a row for each model; the second one panel
    for each model.

    Returns:
        The files written, dataset by dataset.

    Raises:
        InputError: the table is empty, a format is unknown, or two datasets would share a file.
        OutputError: the folder does not take them.
    """
    table = check_table(table)
    datasets = [str(name) for name in table.dataset.unique()]
    names = [slug(dataset) for dataset in datasets]
    if not datasets or len(set(names)) < len(names):
        raise InputError(
            f"a result table with the datasets {datasets}",
            expected="one or more, each with a file name of its own",
        )
    written = []
    for dataset, name in zip(datasets, names, strict=True):
        part = table[table.dataset == dataset]
        written += save_figure(
            pruning_figure(part), out / "figures" / f"neuron_pruning_{name}", formats
        )
        written += save_figure(gap_figure(part), out / "figures" / f"purity_gap_{name}", formats)
    return written


def write_dynamics(
    table: pd.DataFrame, out: Path, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Write ``dynamics.png`` and so on below `out`.

    For each model overlap and order, and beside them for each dataset accuracy and gap, see
    `plot_dynamics`.

    Raises:
        InputError: a format is unknown.
        OutputError: the folder does not take it.
    """
    return save_figure(dynamics_figure(table), out / "dynamics", formats)
