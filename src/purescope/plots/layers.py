"""Overlap and effective rank from the first layer to the last."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from purescope.errors import InputError, near_miss
from purescope.plots.axes import dotted_line, finish, heading, line, named_rows, new_axes, whole_numbers

_SHOWN = {
    "overlap": "Overlap / that of random neurons",
    "effective_rank": "Effective rank / that of random neurons",
    "participation_ratio": "Participation ratio / that of random neurons",
}
_SPACES = ("weights", "activations", "centred")
_COLUMNS = ("model", "tower", "depth", "kind", "space")
# One marker for each kind of layer, the same in both towers, which differ in colour and line.
_MARKERS = {"stem": "v", "attention": "o", "mlp": "s", "conv": "^", "residual": "D", "projection": "*"}
_LARGER = {"projection": 11, "residual": 5}


def plot_layers(
    table: pd.DataFrame,
    show: str = "overlap",
    *,
    space: str = "weights",
    model: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How pure, or how spread out, the neurons of each layer are, in units of random neurons of the same shape.

    Args:
        table: of `purescope.studies.layers.table.layer_table`.
        show: ``overlap``, ``effective_rank`` or ``participation_ratio``.
        space: ``weights``, ``activations`` or ``centred``.
        model: which model of the table; needs no naming where there is one only.
        ax: where to draw; a new figure without it.

    Returns:
        The axes, a line for each tower and kind of layer.

    Raises:
        InputError: `show` or `space` is unknown or was not measured, the table is none of layers, or there is no such
            model.

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
            expected="what purescope.studies.layers.table.layer_table gives",
        )
    rows = named_rows(table, "model", model)
    rows = rows[rows.space == space]
    if rows.empty:
        raise InputError(f"a table of layers without {space}", expected="layers measured on a dataset (--data)")
    own, ax = ax is None, new_axes() if ax is None else ax
    for (tower, kind), part in rows.groupby(["tower", "kind"], sort=False):
        look: dict[str, Any] = {"marker": _MARKERS.get(str(kind), "P"), "label": f"{tower} tower, {kind}"}
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
