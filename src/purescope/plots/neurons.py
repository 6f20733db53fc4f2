"""Plots of neurons: overlaps, importance against purity, and a map of cosines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from purescope.errors import InputError, near_miss
from purescope.files.npz import check_cosines, colour_limit
from purescope.formats import PALETTE
from purescope.plots.axes import (
    finish,
    heading,
    new_axes,
    pick,
    small_ticks,
    wrap_labels,
    zero_line,
)
from purescope.plots.style import (
    AXIS,
    COLOUR_MAP,
    DASH_DOTTED,
    DASHED,
    DOTTED,
    INK,
    current,
)
from purescope.tables.schemas import CORRELATIONS, IMPORTANCE, NEURONS

Floats: TypeAlias = npt.NDArray[np.float64]
# Opacity of the fill, and outline. No hatches: some readers of PDF leave them out.
_LOOKS: dict[str, tuple[str, Any]] = {"image": ("88", "-"), "text": ("30", DASHED)}
_REFERENCES: tuple[Any, Any] = (DOTTED, DASH_DOTTED)


class HasOverlaps(Protocol):
    """Projections of both towers, which compute their overlaps themselves."""

    @property
    def neurons(self) -> int:
        """The number of neurons d."""

    def tower_overlaps(self) -> Mapping[str, tuple[Sequence[float], int, float]]:
        """Return by tower the overlaps, the width, and the overlap of random neurons."""


@dataclass(frozen=True)
class _Shown:
    """Overlaps of the live neurons of each tower, and of random neurons.

    There is one random overlap for each neuron (`random`), or a mean for each width (`means`).
    """

    model: str
    neurons: int
    live: dict[str, Floats]
    names: dict[str, str]
    random: dict[str, Floats]
    means: dict[int, float]


def plot_overlap(
    neurons: HasOverlaps | pd.DataFrame, *, model: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw a histogram of overlaps for each tower, beside the overlaps of random Gaussian neurons.

    Args:
        neurons: both towers' projections, beside which random neurons are a line at the mean for
            each width; or a run's table ``neurons``, see `purescope.tables.schemas.NEURONS`, beside
            which as many random neurons are outlines. A neuron that is dead in a tower has no
            overlap there and is not drawn.
        model: for projections, the label for the title; for a table, the model to draw, needed if
            the table has several.
        ax: axes to draw on; by default those of a new figure.

    Returns:
        The axes: x is the overlap, 0 to 1, y the number of neurons.

    Raises:
        InputError: the table is not a table of neurons, or has several models and none is named; or
            no neuron is live.

    Examples:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from purescope.maths.overlaps import Projections
        >>> panel = Figure().subplots()
        >>> projections = Projections(torch.eye(4), torch.ones(4, 2))
        >>> plot_overlap(projections, model="tiny", ax=panel) is panel
        True
        >>> panel.get_title(loc="left")
        'tiny: 4 neurons'
    """
    shown = (
        _table_overlaps(neurons, model)
        if isinstance(neurons, pd.DataFrame)
        else _projection_overlaps(neurons, model or "")
    )
    own, ax = ax is None, new_axes() if ax is None else ax
    values = np.concatenate([*shown.live.values(), *shown.random.values(), [*shown.means.values()]])
    if not len(values):
        raise InputError("neurons without overlaps", expected="at least one live neuron")
    edges = np.linspace(values.min() - 1e-3, values.max() + 1e-3, 61)
    width = 1.5 * max(current().line, 0.6)
    for tower, scores in shown.live.items():
        fill, dashes = _LOOKS[tower]
        look = {
            "facecolor": PALETTE[tower] + fill,
            "edgecolor": PALETTE[tower],
            "linestyle": dashes,
            "zorder": 3,
        }
        _histogram(
            ax,
            scores,
            edges,
            histtype="stepfilled",
            label=shown.names[tower],
            linewidth=width,
            **look,
        )
    for (tower, scores), dashes in zip(shown.random.items(), _REFERENCES, strict=False):
        look = {"edgecolor": INK, "linestyle": dashes, "linewidth": width, "zorder": 4}
        label = f"{tower} tower: as many random neurons"
        _histogram(ax, scores, edges, histtype="step", label=label, **look)
    for (neuron_width, mean), dashes in zip(shown.means.items(), _REFERENCES, strict=False):
        label = f"random neurons of width {neuron_width:,}"
        ax.axvline(mean, label=label, color=INK, linestyle=dashes, linewidth=width, zorder=4)
    heading(
        ax,
        f"{shown.model}: {shown.neurons:,} neurons"
        if shown.model
        else f"{shown.neurons:,} neurons",
    )
    ax.set_xlabel("Overlap: mean |cosine| with the others (low = pure)")
    ax.set_ylabel("Neurons")
    return finish(ax, legend=own)


def _projection_overlaps(projections: HasOverlaps, model: str) -> _Shown:
    towers = projections.tower_overlaps()
    live = {tower: np.array(values) for tower, (values, _, _) in towers.items()}
    names = {
        tower: f"{tower} tower: {len(values):,} neurons of width {width:,}"
        for tower, (values, width, _) in towers.items()
    }
    means = {width: random for _, width, random in towers.values()}
    return _Shown(model, projections.neurons, live, names, {}, means)


def _table_overlaps(table: pd.DataFrame, model: str | None) -> _Shown:
    rows = pick(table, {"model": model}, NEURONS)
    live = {tower: rows[f"{tower}_overlap"].dropna().to_numpy() for tower in ("image", "text")}
    random = {tower: rows[f"{tower}_random"].dropna().to_numpy() for tower in ("image", "text")}
    names = {tower: f"{tower} tower: {len(scores):,} neurons" for tower, scores in live.items()}
    return _Shown(str(rows.model.iloc[0]), len(rows), live, names, random, {})


def _histogram(ax: Axes, scores: Floats, edges: Floats, **look: object) -> None:
    """Draw a histogram over the bins that hold scores; nothing without scores."""
    if len(scores):
        first, last = np.searchsorted(edges, (scores.min(), scores.max()))
        ax.hist(scores, bins=list(edges[first - 1 : last + 1]), **look)  # type: ignore[arg-type]


# By column: label of the axis, and the purity in a table of correlations.
_AGAINST = {
    "total_overlap": ("Total overlap of both towers (purer →)", "both"),
    "image_purity": ("Purity in the image tower (purer →)", "image"),
    "text_purity": ("Purity in the text tower (purer →)", "text"),
}
_IMPORTANCE = {
    "accuracy_drop": ("Accuracy lost without it (points)", 100),
    "loss_change": ("Loss gained without it (10⁻³ nats)", 1000),
    "margin_change": ("Margin change without it (matters more ↑)", 1),
}
_INVERTED = ("total_overlap", "margin_change")  # lower values are purer, or matter more


def plot_importance(
    table: pd.DataFrame,
    *,
    importance: str = "accuracy_drop",
    against: str = "total_overlap",
    correlations: pd.DataFrame | None = None,
    model: str | None = None,
    dataset: str | None = None,
    ablation: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what is lost without each neuron against its purity.

    Neurons further up matter more, neurons further right are purer. Points are not jittered:
    accuracy drops come in steps of one image, so equal ones lie on one line.

    Args:
        table: a table of importance, see `purescope.tables.schemas.IMPORTANCE`. Dead neurons have
            no purity and are left out.
        importance: ``accuracy_drop``, ``loss_change`` or ``margin_change``.
        against: ``total_overlap``, by which the experiment ranks, falling to the right;
            ``image_purity``; ``text_purity``.
        correlations: a table of `purescope.studies.importance.importance_and_purity`, to state
            Spearman's rho and its 95 % confidence interval.
        model, dataset, ablation: the one to draw; needed if the table has several.
        ax: axes to draw on; by default those of a new figure.

    Returns:
        The axes: accuracy in percentage points, loss in thousandths of a nat, overlap as the sum
        over both towers.

    Raises:
        InputError: a column, model, dataset or ablation is unknown, or there are several and none
            is named; no neuron has a purity; the correlations have no row for this plot.

    Examples:
        >>> import purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.studies.importance import importance_and_purity
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> table = ps.neuron_importance(made.features, made.projections)
        >>> panel = Figure().subplots()
        >>> plot_importance(table, correlations=importance_and_purity(table), ax=panel) is panel
        True
        >>> panel.get_title(loc="left"), len(panel.collections[0].get_offsets())
        ('planted on effect 1: 16 neurons', 16)
    """
    for name, known in ((importance, _IMPORTANCE), (against, _AGAINST)):
        if name not in known:
            raise InputError(f"unknown column {name!r}", **near_miss(name, known))
    wanted = {"model": model, "dataset": dataset, "ablation": ablation}
    rows = pick(table, wanted, IMPORTANCE).dropna(subset=[against])
    if rows.empty:
        raise InputError(
            f"an importance table without {against}",
            expected="one of a model with projections",
            fix="give neuron_importance the model's projections",
        )
    ax = new_axes() if ax is None else ax
    (x_words, towers), (y_words, scale) = _AGAINST[against], _IMPORTANCE[importance]
    size, colour = (5 * current().line) ** 2, PALETTE["high_purity"]
    ax.scatter(
        rows[against],
        rows[importance] * scale,
        s=size,
        color=colour,
        alpha=0.45,
        linewidths=0,
        zorder=3,
    )
    zero_line(ax)
    first = rows.iloc[0]
    if correlations is not None:
        x_words += "\n" + _rho(
            correlations, importance, towers, {name: str(first[name]) for name in wanted}
        )
    ax.set(xlabel=x_words, ylabel=y_words)
    if against in _INVERTED:
        ax.xaxis.set_inverted(True)
    if importance in _INVERTED:
        ax.yaxis.set_inverted(True)
    heading(ax, f"{first.model} on {first.dataset}: {len(rows):,} neurons")
    return finish(ax, legend=False, grid="both")


def _rho(correlations: pd.DataFrame, importance: str, towers: str, of: dict[str, str]) -> str:
    table = pick(correlations, of, CORRELATIONS)
    row = table[(table.importance == importance) & (table.purity == towers)]
    if row.empty:
        raise InputError(
            f"a table of correlations without {importance} and the purity of {towers}",
            expected="what purescope.studies.importance.importance_and_purity gives",
        )
    rho, low, high = (signed(row.iloc[0][name]) for name in ("rho", "low", "high"))
    return f"Spearman’s \N{GREEK SMALL LETTER RHO} = {rho} (95 %: {low} to {high})"


def signed(value: float) -> str:
    """Write a number with two decimals and a true minus sign."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "\N{MINUS SIGN}")


def plot_cosines(
    cosines: npt.ArrayLike,
    *,
    order: npt.ArrayLike,
    tower: str = "",
    model: str = "",
    limit: float | None = None,
    bar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw the absolute cosine of each pair of neurons, in their order by purity.

    Colours run from 0 to `limit`, by default the 99 % quantile of the cosines. Larger cosines have
    the darkest colour; the colour bar says how many there are. The diagonal is left out.

    Args:
        cosines: ``[neuron, neuron]``, in the neurons' own numbering, as in a run's
            ``cosines_LABEL.npz``.
        order: the neurons, purest first.
        tower: name of the tower for the title, ``image`` or ``text``.
        model: label of the model for the title.
        limit: cosine of the darkest colour, to draw several maps on one scale; see `colour_limit`.
        bar: whether to draw the colour bar.
        ax: axes to draw on; by default those of a new figure.

    Returns:
        The axes, with the purest neuron at the top left.

    Raises:
        InputError: the cosines are not a square matrix of finite numbers, the order is not an
            order of its neurons, or `limit` is not above 0.

    Examples:
        The second and third purest enclose 45 degrees, the purest is orthogonal to both:

        >>> import torch, purescope as ps
        >>> from matplotlib.figure import Figure
        >>> from purescope.maths.overlaps import cosine_gram
        >>> weights = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
        >>> order = ps.order_neurons(ps.Projections(weights, weights))
        >>> panel = Figure().subplots()
        >>> plot_cosines(cosine_gram(weights), order=order, tower="image", ax=panel) is panel
        True
        >>> panel.images[0].get_array().filled(np.nan).round(3)
        array([[  nan, 0.   , 0.   ],
               [0.   ,   nan, 0.707],
               [0.   , 0.707,   nan]], dtype=float32)
    """
    matrix = check_cosines(cosines)
    places = np.asarray(order)
    if places.shape != (len(matrix),) or not np.array_equal(
        np.sort(places), np.arange(len(matrix))
    ):
        raise InputError(
            f"an order of shape {list(places.shape)} for {len(matrix)} neurons",
            expected=f"each of 0 to {len(matrix) - 1} once",
        )
    limit = colour_limit(matrix) if limit is None else limit
    if not limit > 0:
        raise InputError(f"limit = {limit}", expected="a cosine above 0")
    ax = new_axes() if ax is None else ax
    others = ~np.eye(len(matrix), dtype=bool)
    shown = np.ma.masked_array(matrix[np.ix_(places, places)], ~others)
    above = float((matrix[others] > limit).mean()) if len(matrix) > 1 else 0.0
    ends = (0.5, len(matrix) + 0.5, len(matrix) + 0.5, 0.5)
    image = ax.imshow(shown, cmap=COLOUR_MAP, vmin=0, vmax=limit, extent=ends)
    if bar:
        # As tall as the map, whatever the shape of the figure.
        beside = ax.inset_axes((1.03, 0.0, 0.045, 1.0))
        colours = ax.figure.colorbar(image, cax=beside, extend="max" if above else "neither")
        colours.set_label(
            f"|cosine|; {100 * above:.1f} % are above {limit:.2g}" if above else "|cosine|"
        )
        colours.outline.set_visible(False)
        small_ticks(colours.ax)
    names = (model, f"{tower} tower" if tower else "")
    heading(ax, ", ".join(name for name in names if name))
    ax.set(xlabel="Neuron by purity (1 = purest)", ylabel="Neuron by purity")
    last = len(matrix)
    ticks = (
        [1, *range(step := max(1, round(last / 4)), last - step // 2, step), last]
        if last > 1
        else [1]
    )
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    ax.spines[:].set(color=AXIS, linewidth=0.8 * current().line)
    small_ticks(ax)
    wrap_labels(ax)
    return ax
