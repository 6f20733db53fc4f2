"""One neuron a point or a count: which overlaps there are, beside random ones, and whether the pure
ones matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from purescope.errors import InputError, near_miss
from purescope.looks import PALETTE
from purescope.plots.axes import finish, heading, new_axes, pick, zero_line
from purescope.plots.style import DASH_DOTTED, DASHED, DOTTED, INK, current
from purescope.tables.schemas import CORRELATIONS, IMPORTANCE, NEURONS

Floats: TypeAlias = npt.NDArray[np.float64]
# Opacity of the fill, and outline. No hatches: some readers of PDF leave them out.
_LOOKS: dict[str, tuple[str, Any]] = {"image": ("88", "-"), "text": ("30", DASHED)}
_REFERENCES: tuple[Any, Any] = (DOTTED, DASH_DOTTED)


class HasOverlaps(Protocol):
    """Projections of both towers: this floor draws numbers, and does not compute overlaps."""

    @property
    def neurons(self) -> int:
        """The number of neurons d."""

    def tower_overlaps(self) -> Mapping[str, tuple[Sequence[float], int, float]]:
        """Return by tower the overlaps, the width, and the overlap of random neurons."""


@dataclass(frozen=True)
class _Shown:
    """Overlaps of the live neurons of each tower, and random ones: one a neuron, or one for each
    width.
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
    """How many neurons have which overlap, for each tower, beside what random Gaussian neurons
    would have.

    Args:
        neurons: both towers' projections, to have one mean for the random neurons of each width; or
            a run's table ``neurons``, see `purescope.tables.schemas.NEURONS`, to have as many
            random ones as outlines. A neuron dead in a tower has no overlap there and is not drawn.
        model: of projections, its label for the title; of a table, which one, if it has several.
        ax: where to draw; a new figure without it.

    Returns:
        The axes: x is the overlap, 0 to 1, y the number of neurons.

    Raises:
        InputError: the table is none of neurons, or has several models and none is named; or no
            neuron lives.

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
    shown = (
        _of_table(neurons, model)
        if isinstance(neurons, pd.DataFrame)
        else _of_projections(neurons, model or "")
    )
    own, ax = ax is None, new_axes() if ax is None else ax
    values = np.concatenate([*shown.live.values(), *shown.random.values(), [*shown.means.values()]])
    if not len(values):
        raise InputError("neurons without overlaps", expected="at least one that lives")
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
    for (of_width, mean), dashes in zip(shown.means.items(), _REFERENCES, strict=False):
        label = f"random neurons of width {of_width:,}"
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


def _of_projections(projections: HasOverlaps, model: str) -> _Shown:
    towers = projections.tower_overlaps()
    live = {tower: np.array(values) for tower, (values, _, _) in towers.items()}
    names = {
        tower: f"{tower} tower: {len(values):,} neurons of width {width:,}"
        for tower, (values, width, _) in towers.items()
    }
    means = {width: random for _, width, random in towers.values()}
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


# Column: the axis' words, and which purity of a correlation table it is.
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
_TURNED = ("total_overlap", "margin_change")  # less of it is purer, or matters more


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
    """What is lost without each neuron against how pure it is: up matters more, right is purer.

    Points are where the table has them. Equal accuracy drops, which come in steps of one image, lie
    on one line.

    Args:
        table: of importance, see `purescope.tables.schemas.IMPORTANCE`. Dead neurons have no purity
            and are left out.
        importance: ``accuracy_drop``, ``loss_change`` or ``margin_change``.
        against: ``total_overlap``, by which the experiment ranks, falling to the right;
            ``image_purity``; ``text_purity``.
        correlations: a table as `purescope.studies.importance.importance_and_purity` gives it, to
            state Spearman's rho and its 95 % interval.
        model: which model of the table; needs no naming where there is one only.
        dataset: which dataset, likewise.
        ablation: which ablation, likewise.
        ax: where to draw; a new figure without it.

    Returns:
        The axes: accuracy in percentage points, loss in thousandths of a nat, overlap a sum over
        both towers.

    Raises:
        InputError: a column, model, dataset or ablation is unknown or not named among several; no
            neuron has a purity; the correlations have no row for this plot.

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
    if against in _TURNED:
        ax.xaxis.set_inverted(True)
    if importance in _TURNED:
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
    """Two decimals with a true minus."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "\N{MINUS SIGN}")
