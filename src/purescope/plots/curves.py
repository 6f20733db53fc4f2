"""Curves: against the neurons kept, or the depth of a model."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from purescope.errors import InputError, near_miss
from purescope.formats import has_both_purities, looks
from purescope.plots.axes import (
    band,
    both_curves,
    curve,
    dataset_title,
    dotted_line,
    draws,
    finish,
    heading,
    level,
    line,
    line_within_view,
    named_rows,
    new_axes,
    note,
    pick_metric,
    whole_numbers,
    zero_line,
)
from purescope.plots.style import BAND, LABELS, RANGE, look_of

NO_SILHOUETTE = "No silhouette here:\nit needs two classes,\nand one with two images."


def plot_accuracy(
    table: pd.DataFrame,
    *,
    model: str | None = None,
    dataset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw zero-shot accuracy in % against the neurons kept, for high, low and random.

    A sweep without high or low purity is drawn with all of its strategies instead. For random
    orders it shows the median, a band from the 5 % to the 95 % quantile over the draws, and a
    fainter band from the least to the greatest. All neurons are a horizontal line, and so is
    chance, where it lies within view.

    Args:
        table: a result table, see `purescope.tables.schemas.RESULTS`.
        model, dataset: the one to draw; needed if the table has several.
        ax: axes to draw on; ``ax.legend()`` then adds a legend. By default those of a new figure
            with a legend.

    Returns:
        The axes, `ax` if it was given; ``plot_accuracy(table).figure.savefig("accuracy.png")``
        saves a new figure.

    Raises:
        InputError: there is no model or dataset of that name, or there are several and none is
            named.

    Examples:
        >>> import purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> options = {"keep": [4, 8, 12], "draws": 5, "resamples": 100}
        >>> table = ps.sweep(made.features, made.projections, **options)
        >>> panel = Figure().subplots()
        >>> plot_accuracy(table, ax=panel) is panel
        True
        >>> panel.lines[0].get_label(), panel.lines[0].get_xdata().tolist()
        ('highest purity kept', [4, 8, 12])
    """
    own, rows = ax is None, pick_metric(table, "accuracy", model, dataset)
    ax = axes_by_k(rows, ax)
    draw_curves(rows, ax, scale=100.0)
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
    """Draw the cosine silhouette of the image features against the neurons kept.

    The rest is as in `plot_accuracy`. Where the table has no silhouette, because the labels allow
    none, the axes say so.

    Args:
        table, model, dataset, ax: as in `plot_accuracy`.

    Returns:
        The axes; y is the silhouette, -1 to 1 (best).

    Raises:
        InputError: as in `plot_accuracy`.

    Examples:
        >>> import purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> options = {"keep": [4, 8, 12], "draws": 5, "resamples": 100}
        >>> table = ps.sweep(made.features, made.projections, **options)
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
    draw_curves(rows, ax, scale=1.0)
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
    """Draw what ranking by purity gains, in percentage points of accuracy.

    The lines are high minus low purity, and high purity minus the median random order. The band
    belongs to the second line: it shows chance, from the 5 % to the 95 % quantile of a random order
    minus the median one.

    Args:
        table, model, dataset, ax: as in `plot_accuracy`.

    Returns:
        The axes; y is in percentage points, above 0 where the purest are better.

    Raises:
        InputError: as in `plot_accuracy`; or the table lacks one of the two purity strategies.

    Examples:
        The data is made so that the purest neurons carry most, here at 4, 8 and 12 of 16 neurons:

        >>> import purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> options = {"keep": [4, 8, 12], "draws": 5, "resamples": 100}
        >>> table = ps.sweep(made.features, made.projections, **options)
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


def draw_curves(rows: pd.DataFrame, ax: Axes, scale: float) -> None:
    """Draw high, low and random, and all neurons as a horizontal line.

    Where high or low purity was not measured, all strategies are drawn.
    """
    strategies = [str(name) for name in rows.strategy.unique() if name != "full"]
    if has_both_purities(strategies):
        strategies = [*LABELS]
    for look in looks(strategies):
        if look.name != "random":
            label = LABELS.get(look.name, f"{look.label} kept")
            base, changes = look_of(look)
            line(ax, curve(rows, look.name) * scale, base, label=label, **changes)
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
    """Return axes with a title and an x axis, without data."""
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


_SHOWN = {
    "overlap": "Overlap / that of random neurons",
    "effective_rank": "Effective rank / that of random neurons",
    "participation_ratio": "Participation ratio / that of random neurons",
}
_SPACES = ("weights", "activations", "centred")
_COLUMNS = ("model", "tower", "depth", "kind", "space")
# One marker for each kind of layer; the towers differ in colour and line.
_MARKERS = {"stem": "v", "attention": "o", "mlp": "s", "conv": "^"}
_MARKERS |= {"residual": "D", "projection": "*"}
_LARGER = {"projection": 11, "residual": 5}


def plot_layers(
    table: pd.DataFrame,
    show: str = "overlap",
    *,
    space: str = "weights",
    model: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw overlap or rank of each layer, relative to random neurons of the same shape.

    Args:
        table: a table of `purescope.studies.layers.layer_table`.
        show: ``overlap``, ``effective_rank`` or ``participation_ratio``.
        space: ``weights``, ``activations`` or ``centred``.
        model: the model to draw; needed if the table has several.
        ax: axes to draw on; by default those of a new figure.

    Returns:
        The axes, with a line for each tower and kind of layer.

    Raises:
        InputError: `show` or `space` is unknown or was not measured, the table is not a table of
            layers, or there is no such model.

    Examples:
        >>> import pandas as pd
        >>> from matplotlib.figure import Figure
        >>> mlps = {"model": "tiny", "tower": "image", "kind": "mlp", "space": "weights"}
        >>> overlaps = [{"depth": depth, "relative_overlap": 1 + depth / 10} for depth in (1, 2, 3)]
        >>> table = pd.DataFrame([mlps | overlap for overlap in overlaps])
        >>> panel = Figure().subplots()
        >>> plot_layers(table, "overlap", ax=panel) is panel
        True
        >>> panel.lines[0].get_label(), panel.lines[0].get_ydata().tolist()
        ('image tower, mlp', [1.1, 1.2, 1.3])
    """
    for name, known in ((show, _SHOWN), (space, _SPACES)):
        if name not in known:
            raise InputError(f"unknown {name!r}", **near_miss(name, known))
    column = f"relative_{show}"
    missing = [name for name in (*_COLUMNS, column) if name not in table]
    if missing:
        raise InputError(
            f"a table without the columns {', '.join(missing)}",
            expected="a table of purescope.layer_table",
        )
    rows = named_rows(table, "model", model)
    rows = rows[rows.space == space]
    if rows.empty:
        raise InputError(
            f"a table of layers without {space}", expected="layers measured on a dataset (--data)"
        )
    own, ax = ax is None, new_axes() if ax is None else ax
    for (tower, kind), layers in rows.groupby(["tower", "kind"], sort=False):
        look: dict[str, Any] = {
            "marker": _MARKERS.get(str(kind), "P"),
            "label": f"{tower} tower, {kind}",
        }
        if kind in _LARGER:
            look["markersize"] = _LARGER[str(kind)]
        if layers.depth.duplicated().any():
            look["linestyle"] = "none"  # several layers at one depth have no single successor
        line(ax, layers.set_index("depth")[column], str(tower), **look)
    dotted_line(ax, 1.0, label="random neurons")
    heading(ax, f"{rows.model.iloc[0]}: {space}")
    ax.set(xlabel="Depth (blocks from the input)", ylabel=_SHOWN[show])
    whole_numbers(ax)
    return finish(ax, legend=own)
