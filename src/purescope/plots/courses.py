"""A quantity along a course: over the depth of a model, or over the steps of its training."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from purescope.errors import InputError, near_miss
from purescope.plots.axes import (
    band,
    dataset_title,
    dotted_line,
    finish,
    heading,
    line,
    named_rows,
    new_axes,
    whole_numbers,
    zero_line,
)
from purescope.plots.style import LABELS

_SHOWN = {
    "overlap": "Overlap / that of random neurons",
    "effective_rank": "Effective rank / that of random neurons",
    "participation_ratio": "Participation ratio / that of random neurons",
}
_SPACES = ("weights", "activations", "centred")
_COLUMNS = ("model", "tower", "depth", "kind", "space")
# One marker for each kind of layer, the same in both towers, which differ in colour and line.
_MARKERS = {
    "stem": "v",
    "attention": "o",
    "mlp": "s",
    "conv": "^",
    "residual": "D",
    "projection": "*",
}
_LARGER = {"projection": 11, "residual": 5}


def plot_layers(
    table: pd.DataFrame,
    show: str = "overlap",
    *,
    space: str = "weights",
    model: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How pure, or how spread out, the neurons of each layer are, in units of random neurons of the
    same shape.

    Args:
        table: of `purescope.studies.layers.layer_table`.
        show: ``overlap``, ``effective_rank`` or ``participation_ratio``.
        space: ``weights``, ``activations`` or ``centred``.
        model: which model of the table; needs no naming where there is one only.
        ax: where to draw; a new figure without it.

    Returns:
        The axes, a line for each tower and kind of layer.

    Raises:
        InputError: `show` or `space` is unknown or was not measured, the table is none of layers,
            or there is no such model.

    Examples:
        >>> import pandas as pd
        >>> from matplotlib.figure import Figure
        >>> mlps = {"model": "tiny", "tower": "image", "kind": "mlp", "space": "weights"}
        >>> table = pd.DataFrame([mlps | {"depth": depth, "relative_overlap": 1 + depth / 10} for depth in (1, 2, 3)])
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
            expected="what purescope.studies.layers.layer_table gives",
        )
    rows = named_rows(table, "model", model)
    rows = rows[rows.space == space]
    if rows.empty:
        raise InputError(
            f"a table of layers without {space}", expected="layers measured on a dataset (--data)"
        )
    own, ax = ax is None, new_axes() if ax is None else ax
    for (tower, kind), part in rows.groupby(["tower", "kind"], sort=False):
        look: dict[str, Any] = {
            "marker": _MARKERS.get(str(kind), "P"),
            "label": f"{tower} tower, {kind}",
        }
        if kind in _LARGER:
            look["markersize"] = _LARGER[str(kind)]
        if part.depth.duplicated().any():
            look["linestyle"] = "none"  # several side by side: no line says which leads on
        line(ax, part.set_index("depth")[column], str(tower), **look)
    dotted_line(ax, 1.0, label="random neurons")
    heading(ax, f"{rows.model.iloc[0]}: {space}")
    ax.set(xlabel="Depth (blocks from the input)", ylabel=_SHOWN[show])
    whole_numbers(ax)
    return finish(ax, legend=own)


def plot_dynamics(
    table: pd.DataFrame,
    show: str = "overlap",
    *,
    model: str | None = None,
    dataset: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """What happens to a model in training, against the step.

    Args:
        table: a table of `purescope.studies.training.tracking.track` or of a `Tracker`.
        show: ``overlap``, both towers' in units of random weights; ``order``, Spearman's
            correlation of the neurons' order by purity with that of the last step; ``accuracy``,
            with all neurons and as a mean over k with the purest, the least pure and random ones,
            whose band holds 90 % of the draws; ``gap``, the means less that of the median random
            order.
        model: which model of the table; needs no naming where there is one only.
        dataset: which dataset, likewise; ``overlap`` and ``order`` need none.
        ax: where to draw; a new figure without it.

    Returns:
        The axes, `ax` where it was given.

    Raises:
        InputError: `show` is unknown, there is no such model or dataset, or what is to be shown was
            not measured.

    Examples:
        Neurons of the text tower that turn towards one direction:

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
    if show not in _STRATEGIES_SHOWN:
        raise InputError(f"show = {show!r}", **near_miss(show, _STRATEGIES_SHOWN))
    rows = named_rows(table, "model", model)
    if show in OF_A_DATASET:
        rows = named_rows(rows[rows.n > 0], "dataset", dataset)
        if show == "gap" and rows.random.isna().all():
            raise InputError(
                "a table without random orders", expected="one measured with draws=1 or more"
            )
    own, ax = ax is None, new_axes() if ax is None else ax
    _STRATEGIES_SHOWN[show](rows.drop_duplicates("step").set_index("step"), ax)
    on = f" on {dataset_title(rows)}" if show in OF_A_DATASET else ""
    heading(ax, f"{rows.model.iloc[0]}{on}")
    ax.set_xlabel("Training step")
    whole_numbers(ax, most=6)
    return finish(ax, legend=own)


def _overlap(rows: pd.DataFrame, ax: Axes) -> None:
    for tower in ("image", "text"):
        line(ax, rows[f"{tower}_relative_overlap"], tower, label=f"overlap, {tower} tower")
    dotted_line(ax, 1.0, label="random weights")
    ax.set_ylabel("Overlap / that of random weights")


def _order(rows: pd.DataFrame, ax: Axes) -> None:
    line(ax, rows.rank_last, "order", label="order by purity, with that of the last step")
    zero_line(ax)
    ax.set_ylim(min(-0.1, rows.rank_last.min() - 0.05), 1.05)
    ax.set_ylabel("Spearman correlation")


def _accuracy(rows: pd.DataFrame, ax: Axes) -> None:
    line(ax, rows.accuracy * 100, "full", label="all neurons")
    _strategies(rows, ax, minus=rows.accuracy * 0)
    ax.set_ylabel("Zero-shot accuracy (%)")


def _gap(rows: pd.DataFrame, ax: Axes) -> None:
    _strategies(rows, ax, minus=rows.random)
    ax.set_ylabel("Points from a random order")


def _strategies(rows: pd.DataFrame, ax: Axes, minus: pd.Series) -> None:
    """Means over k, in percentage points."""
    for strategy, label in LABELS.items():
        line(ax, (rows[strategy] - minus) * 100, strategy, label=f"{label}, mean over k")
    if rows.random.notna().any():
        line(
            ax,
            (rows.random - minus) * 100,
            "random",
            label="random order: median, 5–95 % of the draws",
        )
        band(ax, (rows.random_low - minus) * 100, (rows.random_high - minus) * 100)


_STRATEGIES_SHOWN = {"overlap": _overlap, "order": _order, "accuracy": _accuracy, "gap": _gap}
OF_A_DATASET = ("accuracy", "gap")
