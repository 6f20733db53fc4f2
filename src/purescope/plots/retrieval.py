"""Curves of retrieval between images and captions against the neurons kept."""

from collections.abc import Callable, Iterator
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from purescope.files.writing import slug
from purescope.formats import METRIC_NAMES
from purescope.plots.axes import (
    dataset_title,
    finish,
    headed,
    line_within_view,
    new_grid,
    pick_metric,
    title,
)
from purescope.plots.curves import axes_by_k, draw_curves
from purescope.tables.metrics import RETRIEVAL_METRICS, SHOWN


def plot_retrieval(
    table: pd.DataFrame,
    metric: str = SHOWN[0],
    *,
    model: str | None = None,
    dataset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric of retrieval in % against the neurons kept, for high, low and random.

    The rest is as in `purescope.plot_accuracy`.

    Args:
        table, model, dataset, ax: as in `purescope.plot_accuracy`.
        metric: one of `purescope.tables.metrics.RETRIEVAL_METRICS`.

    Returns:
        The axes; y is in per cent.

    Raises:
        InputError: as in `purescope.plot_accuracy`, or the table does not have the metric.

    Examples:
        >>> import torch, purescope as ps
        >>> from matplotlib.figure import Figure
        >>> rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
        >>> captions = ps.CaptionFeatures(rows, rows, torch.arange(6))
        >>> table = ps.sweep(captions, ps.Projections(rows.T, rows.T), keep=[1, 2], resamples=10)
        >>> plot_retrieval(table, ax=Figure().subplots()).get_ylabel()
        'Image retrieval, recall at 5 (%)'
    """
    own, rows = ax is None, pick_metric(table, metric, model, dataset)
    ax = axes_by_k(rows, ax)
    draw_curves(rows, ax, scale=100.0)
    ax.set_ylabel(f"{METRIC_NAMES[metric]} (%)")
    chance = 100 * rows.chance.iloc[0]
    line_within_view(ax, chance, label=f"chance ({chance:.3g} %)")
    return finish(ax, legend=own)


def retrieval_figure(table: pd.DataFrame) -> Figure:
    """Draw recall at 5 in both directions on one dataset, a row for each model."""
    models = list(table.model.unique())
    figure, grid = new_grid(len(models), len(SHOWN))
    for model, panels in zip(models, grid, strict=True):
        for metric, ax in zip(SHOWN, panels, strict=True):
            plot_retrieval(table, metric, model=model, ax=ax)
            title(ax, model if metric == SHOWN[0] else "")
    return headed(figure, dataset_title(table), grid.flat)


def retrieval_drawings(table: pd.DataFrame) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the name and the drawing of the figure of each dataset of captions."""
    captions = table[table.metric.isin(RETRIEVAL_METRICS)]
    for dataset, rows in captions.groupby("dataset", sort=False):
        yield f"retrieval_{slug(str(dataset))}", partial(retrieval_figure, rows)


OF_CAPTIONS = {"retrieval": retrieval_figure}
"""The figures of a dataset of captions, by the beginning of their file names."""
