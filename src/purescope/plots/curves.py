"""Accuracy, silhouette and gap against the neurons kept."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from purescope.plots.axes import (
    band,
    both_curves,
    curve,
    dataset_title,
    draws,
    finish,
    heading,
    level,
    line,
    line_within_view,
    new_axes,
    note,
    pick_metric,
    whole_numbers,
    zero_line,
)
from purescope.plots.style import BAND, LABELS, RANGE

NO_SILHOUETTE = "No silhouette here:\nit needs two classes,\nand one with two images."


def plot_accuracy(
    table: pd.DataFrame,
    *,
    model: str | None = None,
    dataset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Zero-shot accuracy in % against the neurons kept, for high purity, low purity and random
    orders.

    Random orders appear as their median, a band from the 5 % to the 95 % quantile over the draws
    and, fainter, from the least to the greatest; all neurons as a horizontal line; chance too,
    where it lies within view.

    Args:
        table: a result table, see `purescope.tables.schemas.RESULTS`.
        model: which model of the table; needs no naming where there is one only.
        dataset: which dataset, likewise.
        ax: where to draw. Without it a new figure is made, with its legend; ``ax.legend()`` adds
            one to yours.

    Returns:
        The axes, `ax` where it was given; ``plot_accuracy(table).figure.savefig("accuracy.png")``
        saves a new figure.

    Raises:
        InputError: no model or dataset of that name, or several and none is named.

    Examples:
        >>> import purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> table = ps.sweep(made.features, made.projections, keep=[4, 8, 12], draws=5, resamples=100)
        >>> panel = Figure().subplots()
        >>> plot_accuracy(table, ax=panel) is panel
        True
        >>> panel.lines[0].get_label(), panel.lines[0].get_xdata().tolist()
        ('highest purity kept', [4, 8, 12])
    """
    own, rows = ax is None, pick_metric(table, "accuracy", model, dataset)
    ax = axes_by_k(rows, ax)
    _curves(rows, ax, scale=100.0)
    ax.set_ylabel("Zero-shot accuracy (%)")
    chance = 100 / rows.classes.iloc[0]
    line_within_view(ax, chance, label=f"chance ({chance:.3g} %)")
    return finish(ax, legend=own)


def plot_silhouette(
    table: pd.DataFrame,
    *,
    model: str | None = None,
    dataset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Cosine silhouette of the image features against the neurons kept; otherwise as
    `plot_accuracy`.

    Where the table has no silhouette, because the labels admit none, the axes say so.

    Args:
        table, model, dataset, ax: as of `plot_accuracy`.

    Returns:
        The axes; y is the silhouette, -1 to 1 (best).

    Raises:
        InputError: as of `plot_accuracy`.

    Examples:
        >>> import purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> table = ps.sweep(made.features, made.projections, keep=[4, 8, 12], draws=5, resamples=100)
        >>> panel = Figure().subplots()
        >>> plot_silhouette(table, ax=panel) is panel
        True
        >>> panel.get_ylabel()
        'Silhouette score (cosine)'
    """
    own, rows = ax is None, pick_metric(table, "silhouette", model, dataset)
    ax = axes_by_k(rows, ax)
    if rows.value.isna().all():
        return note(ax, NO_SILHOUETTE)
    _curves(rows, ax, scale=1.0)
    ax.set_ylabel("Silhouette score (cosine)")
    line_within_view(ax, 0.0)
    return finish(ax, legend=own)


def plot_gap(
    table: pd.DataFrame,
    *,
    model: str | None = None,
    dataset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """What ranking by purity gains, in percentage points of accuracy, beside what chance alone
    makes of two orders.

    Lines: high minus low purity, and high purity minus the median random order. The band belongs to
    the second: the 5 % to 95 % quantile of one random order minus the median one.

    Args:
        table, model, dataset, ax: as of `plot_accuracy`.

    Returns:
        The axes; y is in percentage points, above 0 where the purest are better.

    Raises:
        InputError: as of `plot_accuracy`; or the table has not both purity strategies.

    Examples:
        Planted so that the purest neurons carry most, here at 4, 8 and 12 neurons of 16:

        >>> import purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> table = ps.sweep(made.features, made.projections, keep=[4, 8, 12], draws=5, resamples=100)
        >>> panel = Figure().subplots()
        >>> plot_gap(table, ax=panel) is panel
        True
        >>> panel.lines[0].get_label(), panel.lines[0].get_ydata().round(1).tolist()
        ('highest minus lowest purity', [8.3, 6.7, 8.3])
    """
    own, rows = ax is None, pick_metric(table, "accuracy", model, dataset)
    high, low = (values * 100 for values in both_curves(rows))
    ax = axes_by_k(rows, ax)
    line(ax, high - low, "gap", label="highest minus lowest purity")
    random = draws(rows) * 100
    if len(random):
        line(
            ax, high - random.median(), "gap_to_random", label="highest purity minus median random"
        )
    if len(random) > 1:
        differences = random - random.median()
        label = f"one random minus the median: 5–95 % of {len(random)} orders"
        band(ax, differences.quantile(0.05), differences.quantile(0.95), label=label)
    zero_line(ax)
    ax.set_ylabel("Accuracy gap (percentage points)")
    return finish(ax, legend=own)


def _curves(rows: pd.DataFrame, ax: Axes, scale: float) -> None:
    for strategy, label in LABELS.items():
        line(ax, curve(rows, strategy) * scale, strategy, label=label)
    random = draws(rows) * scale
    if len(random):
        spread = f": median, 5–95 % of {len(random)} draws (faint: all)" if len(random) > 1 else ""
        line(ax, random.median(), "random", label=f"random order{spread}")
    if len(random) > 1:
        band(ax, random.min(), random.max(), color=RANGE)
        band(ax, random.quantile(0.05), random.quantile(0.95), color=BAND)
    for k, value in curve(rows, "full").items():
        level(ax, value * scale, "full", label=f"all {k:,} neurons")


def axes_by_k(rows: pd.DataFrame, ax: Axes | None) -> Axes:
    """Axes with title and x axis, and no data yet."""
    ax = new_axes() if ax is None else ax
    heading(ax, f"{rows.model.iloc[0]} on {dataset_title(rows)}")
    ax.set_xlabel(f"Neurons kept (k of {rows.neurons.iloc[0]:,})")
    ks = np.unique(rows[rows.strategy != "full"].k)
    if len(ks) == 1:
        ax.set_xlim(ks[0] - 10, ks[0] + 10)
    if len(ks) and (np.diff(ks) >= 0.1 * np.ptp(ks)).all():
        ax.set_xticks(ks)
    else:
        whole_numbers(ax)
    return ax
