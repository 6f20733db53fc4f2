"""The figures of the experiment's script, and figures in the published style."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from purescope.errors import InputError, near_miss
from purescope.files.writing import slug
from purescope.formats import PALETTE
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
    new_axes,
    note,
    pick_metric,
    whole_numbers,
    zero_line,
)
from purescope.plots.curves import NO_SILHOUETTE
from purescope.plots.style import current

_METRICS = {"accuracy": ("Zero-shot accuracy (%)", 100.0), "silhouette": ("Silhouette score", 1.0)}
_MARKERS = {"high_purity": "o", "random": "D", "low_purity": "s"}
_WORDS = {"high_purity": "high purity", "random": "random", "low_purity": "low purity"}
_PUBLISHED = ("dataset", "metric", "strategy", "k", "value", "marker_partly_hidden")


def plot_pruning(
    table: pd.DataFrame,
    *,
    model: str | None = None,
    dataset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the experiment's first figure: accuracy in % of its three strategies, by its own names.

    All neurons are a dashed black line. Min Sparse, which keeps the purest neurons, has blue
    circles; Max Sparse has red squares.

    Args:
        table, model, dataset, ax: as in `purescope.plots.curves.plot_accuracy`.

    Returns:
        The axes, `ax` if it was given.

    Raises:
        InputError: as in `purescope.plots.curves.plot_gap`.

    Examples:
        >>> import purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> options = {"keep": [4, 8, 12], "draws": 5, "resamples": 100}
        >>> table = ps.sweep(made.features, made.projections, **options)
        >>> panel = Figure().subplots()
        >>> plot_pruning(table, ax=panel) is panel
        True
        >>> [line.get_label() for line in panel.lines]
        ['Full (16)', 'Min Sparse (High Purity)', 'Max Sparse (Low Purity)']
    """
    own, rows = ax is None, pick_metric(table, "accuracy", model, dataset)
    high, low = both_curves(rows)
    ax = _axes(rows, ax)
    dashes = {"linestyle": "--", "linewidth": 2}
    for k, value in curve(rows, "full").items():
        level(ax, value * 100, "full", label=f"Full ({k:,})", **dashes)
    line(ax, high * 100, "high_purity", label="Min Sparse (High Purity)")
    filled = {"linestyle": "-", "markerfacecolor": PALETTE["low_purity"]}
    line(ax, low * 100, "low_purity", label="Max Sparse (Low Purity)", **filled)
    ax.set_ylabel("Zero-shot Accuracy (%)")
    return finish(ax, legend=own, grid="both")


def plot_pruning_gap(
    table: pd.DataFrame,
    *,
    model: str | None = None,
    dataset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the experiment's second figure: Min Sparse minus Max Sparse in points, and a zero line.

    Args:
        table, model, dataset, ax: as in `purescope.plots.curves.plot_accuracy`.

    Returns:
        The axes, `ax` if it was given.

    Raises:
        InputError: as in `purescope.plots.curves.plot_gap`.

    Examples:
        >>> import purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> options = {"keep": [4, 8, 12], "draws": 5, "resamples": 100}
        >>> table = ps.sweep(made.features, made.projections, **options)
        >>> panel = Figure().subplots()
        >>> plot_pruning_gap(table, ax=panel) is panel
        True
        >>> panel.lines[0].get_ydata().round(1).tolist()
        [8.3, 6.7, 8.3]
    """
    rows = pick_metric(table, "accuracy", model, dataset)
    high, low = both_curves(rows)
    ax = _axes(rows, ax)
    line(ax, (high - low) * 100, "gap")
    zero_line(ax)
    ax.set_ylabel("Accuracy Gap (Min - Max) %")
    return finish(ax, legend=False, grid="both")


def plot_published(
    table: pd.DataFrame,
    metric: str = "accuracy",
    *,
    published: pd.DataFrame | None = None,
    model: str | None = None,
    dataset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw high purity, random and low purity in the style of the published figures.

    Random is the median of the draws, with a band from their 5 % to their 95 % quantile.

    Args:
        table: a result table, see `purescope.tables.schemas.RESULTS`.
        metric: ``accuracy`` or ``silhouette``.
        published: values to draw beside ours, dotted and open, with the columns ``dataset``,
            ``metric``, ``strategy``, ``k``, ``value`` (a fraction) and ``marker_partly_hidden``
            (drawn as a cross). Names of datasets are compared without case and without the signs
            between words. A dataset without published values is drawn alone.
        model, dataset: the one to draw; needed if the table has several.
        ax: axes to draw on; by default those of a new figure.

    Returns:
        The axes; y is in % for accuracy, and from -1 to 1 for the silhouette.

    Raises:
        InputError: the metric is unknown or not in the table; there is no model or dataset of that
            name; `published` lacks a column.

    Examples:
        A made-up model beside the published values of CIFAR-10:

        >>> import dataclasses, purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=256, images=30)
        >>> features = dataclasses.replace(made.features, dataset="CIFAR10")
        >>> table = ps.sweep(features, made.projections, keep=[200, 250], draws=1, resamples=100)
        >>> panel = Figure().subplots()
        >>> plot_published(table, published=ps.published_figures(), ax=panel) is panel
        True
        >>> [line.get_label() for line in panel.lines][:3]
        ['high purity', 'high purity, published', 'random']
    """
    if metric not in _METRICS:
        raise InputError(f"unknown metric {metric!r}", **near_miss(metric, _METRICS))
    own, rows = ax is None, pick_metric(table, metric, model, dataset)
    words, scale = _METRICS[metric]
    beside = (
        _beside(published, metric, str(rows.dataset.iloc[0])) if published is not None else None
    )
    ax = _axes(rows, ax)
    if rows.value.isna().all():
        return note(ax, NO_SILHOUETTE)
    random = draws(rows) * scale
    if len(random) > 1:
        band(ax, random.quantile(0.05), random.quantile(0.95))
    ours = {strategy: curve(rows, strategy) * scale for strategy in ("high_purity", "low_purity")}
    ours["random"] = random.median() if len(random) else curve(rows, "random")
    for strategy, marker in _MARKERS.items():
        filled = {
            "marker": marker,
            "markerfacecolor": PALETTE[strategy],
            "linestyle": "-",
            "linewidth": 1.6,
        }
        if len(ours[strategy]):
            line(ax, ours[strategy], strategy, label=_label(strategy, len(random)), **filled)
        if beside is not None:
            _draw_beside(ax, beside[beside.strategy == strategy], strategy, scale)
    ax.set_ylabel(words)
    return finish(ax, legend=own)


def _label(strategy: str, drawn: int) -> str:
    spread = (
        f" order: median, 5–95 % of {drawn} draws" if strategy == "random" and drawn > 1 else ""
    )
    return _WORDS[strategy] + spread


def _beside(published: pd.DataFrame, metric: str, dataset: str) -> pd.DataFrame:
    missing = [name for name in _PUBLISHED if name not in published]
    if missing:
        raise InputError(
            f"published values without the columns {', '.join(missing)}",
            expected=", ".join(_PUBLISHED),
        )
    of_dataset = published.dataset.astype(str).map(slug) == slug(dataset)
    return published[of_dataset & (published.metric == metric)].sort_values("k")


def _draw_beside(ax: Axes, rows: pd.DataFrame, strategy: str, scale: float) -> None:
    if rows.empty:
        return
    values = rows.set_index("k").value * scale
    hidden = rows.marker_partly_hidden.astype(bool).to_numpy()
    look: dict[str, Any] = {
        "linestyle": (0, (1, 1.5)),
        "linewidth": 1.3,
        "markeredgewidth": 1.2,
        "zorder": 3.5,
    }
    visible: Any = {"markerfacecolor": "white", "markevery": (~hidden).nonzero()[0].tolist()}
    line(
        ax,
        values,
        strategy,
        marker=_MARKERS[strategy],
        label=f"{_WORDS[strategy]}, published",
        **look | visible,
    )
    if hidden.any():
        cross = {
            "linestyle": "none",
            "marker": "x",
            "label": f"{_WORDS[strategy]}, published, marker partly hidden",
        }
        line(ax, values[hidden], strategy, **look | cross)


def _axes(rows: pd.DataFrame, ax: Axes | None) -> Axes:
    ax = new_axes() if ax is None else ax
    heading(ax, f"{rows.model.iloc[0]} on {dataset_title(rows)}")
    ax.set_xlabel("Number of Retained Neurons")
    whole_numbers(ax)
    ax.margins(x=0.06 if current().headings else 0.08)
    return ax
