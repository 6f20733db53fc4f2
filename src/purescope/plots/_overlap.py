"""How many neurons have which overlap, beside random ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from purescope.errors import InputError
from purescope.looks import PALETTE
from purescope.plots._axes import finish, heading, new_axes
from purescope.plots._pick import pick
from purescope.plots._style import DASH_DOTTED, DASHED, DOTTED, INK, current
from purescope.tables.schemas import NEURONS

if TYPE_CHECKING:
    from purescope.maths.overlaps import Projections

Floats: TypeAlias = npt.NDArray[np.float64]
# Opacity of the fill, and outline. No hatches: some readers of PDF leave them out.
_LOOKS: dict[str, tuple[str, Any]] = {"image": ("88", "-"), "text": ("30", DASHED)}
_REFERENCES: tuple[Any, Any] = (DOTTED, DASH_DOTTED)


@dataclass(frozen=True)
class _Shown:
    """Overlaps of the live neurons of each tower, and random ones: one a neuron, or one for each width."""

    model: str
    neurons: int
    live: dict[str, Floats]
    names: dict[str, str]
    random: dict[str, Floats]
    means: dict[int, float]


def plot_overlap(neurons: "Projections | pd.DataFrame", *, model: str | None = None, ax: Axes | None = None) -> Axes:
    """How many neurons have which overlap, for each tower, beside what random Gaussian neurons would have.

    Args:
        neurons: both towers' projections, to have one mean for the random neurons of each width; or a run's table
            ``neurons``, see `purescope.tables.schemas.NEURONS`, to have as many random ones as outlines. A neuron dead
            in a tower has no overlap there and is not drawn.
        model: of projections, its label for the title; of a table, which one, if it has several.
        ax: where to draw; a new figure without it.

    Returns:
        The axes: x is the overlap, 0 to 1, y the number of neurons.

    Raises:
        InputError: the table is none of neurons, or has several models and none is named; or no neuron lives.

    Examples:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from purescope.maths.overlaps import Projections
        >>> panel = Figure().subplots()
        >>> plot_overlap(Projections(torch.eye(4), torch.ones(4, 2)), model="tiny", ax=panel) is panel
        True
        >>> panel.get_title(loc="left")
        'tiny: 4 neurons'
    """
    shown = _of_table(neurons, model) if isinstance(neurons, pd.DataFrame) else _of_projections(neurons, model or "")
    own, ax = ax is None, new_axes() if ax is None else ax
    values = np.concatenate([*shown.live.values(), *shown.random.values(), [*shown.means.values()]])
    if not len(values):
        raise InputError("neurons without overlaps", expected="at least one that lives")
    edges = np.linspace(values.min() - 1e-3, values.max() + 1e-3, 61)
    width = 1.5 * max(current().line, 0.6)
    for tower, scores in shown.live.items():
        fill, dashes = _LOOKS[tower]
        look = {"facecolor": PALETTE[tower] + fill, "edgecolor": PALETTE[tower], "linestyle": dashes, "zorder": 3}
        _histogram(ax, scores, edges, histtype="stepfilled", label=shown.names[tower], linewidth=width, **look)
    for (tower, scores), dashes in zip(shown.random.items(), _REFERENCES, strict=False):
        look = {"edgecolor": INK, "linestyle": dashes, "linewidth": width, "zorder": 4}
        label = f"{tower} tower: as many random neurons"
        _histogram(ax, scores, edges, histtype="step", label=label, **look)
    for (of_width, mean), dashes in zip(shown.means.items(), _REFERENCES, strict=False):
        label = f"random neurons of width {of_width:,}"
        ax.axvline(mean, label=label, color=INK, linestyle=dashes, linewidth=width, zorder=4)
    heading(ax, f"{shown.model}: {shown.neurons:,} neurons" if shown.model else f"{shown.neurons:,} neurons")
    ax.set_xlabel("Overlap: mean |cosine| with the others (low = pure)")
    ax.set_ylabel("Neurons")
    return finish(ax, legend=own)


def _of_projections(projections: "Projections", model: str) -> _Shown:
    from purescope.maths.overlaps import overlap, random_overlap  # torch, which a table does not need

    towers = {"image": projections.image, "text": projections.text}
    scores = {tower: overlap(projection).numpy() for tower, projection in towers.items()}
    live = {tower: score[np.isfinite(score)] for tower, score in scores.items()}
    widths = {tower: projection.shape[1] for tower, projection in towers.items()}
    names = {tower: f"{tower} tower: {len(live[tower]):,} neurons of width {widths[tower]:,}" for tower in towers}
    means = {width: random_overlap(width) for width in widths.values()}
    return _Shown(model, projections.neurons, live, names, {}, means)


def _of_table(table: pd.DataFrame, model: str | None) -> _Shown:
    rows = pick(table, {"model": model}, NEURONS)
    live = {tower: rows[f"{tower}_overlap"].dropna().to_numpy() for tower in ("image", "text")}
    random = {tower: rows[f"{tower}_random"].dropna().to_numpy() for tower in ("image", "text")}
    names = {tower: f"{tower} tower: {len(scores):,} neurons" for tower, scores in live.items()}
    return _Shown(str(rows.model.iloc[0]), len(rows), live, names, random, {})


def _histogram(ax: Axes, scores: Floats, edges: Floats, **look: object) -> None:
    """Over the bins that the scores are in; nothing where there are none."""
    if len(scores):
        first, last = np.searchsorted(edges, (scores.min(), scores.max()))
        ax.hist(scores, bins=list(edges[first - 1 : last + 1]), **look)  # type: ignore[arg-type]
