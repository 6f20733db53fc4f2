"""Are the pure neurons the important ones? One point a neuron."""

import pandas as pd
from matplotlib.axes import Axes

from purescope.errors import InputError, near_miss
from purescope.looks import PALETTE
from purescope.plots._axes import finish, heading, new_axes, zero_line
from purescope.plots._pick import pick
from purescope.plots._style import current
from purescope.tables.schemas import CORRELATIONS, IMPORTANCE

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

    Points are where the table has them. Equal accuracy drops, which come in steps of one image, lie on one line.

    Args:
        table: of importance, see `purescope.tables.schemas.IMPORTANCE`. Dead neurons have no purity and are left out.
        importance: ``accuracy_drop``, ``loss_change`` or ``margin_change``.
        against: ``total_overlap``, by which the experiment ranks, falling to the right; ``image_purity``;
            ``text_purity``.
        correlations: a table as `purescope.studies.importance.importance_and_purity` gives it, to state Spearman's rho
            and its 95 % interval.
        model: which model of the table; needs no naming where there is one only.
        dataset: which dataset, likewise.
        ablation: which ablation, likewise.
        ax: where to draw; a new figure without it.

    Returns:
        The axes: accuracy in percentage points, loss in thousandths of a nat, overlap a sum over both towers.

    Raises:
        InputError: a column, model, dataset or ablation is unknown or not named among several; no neuron has a
            purity; the correlations have no row for this plot.

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
    ax.scatter(rows[against], rows[importance] * scale, s=size, color=colour, alpha=0.45, linewidths=0, zorder=3)
    zero_line(ax)
    first = rows.iloc[0]
    if correlations is not None:
        x_words += "\n" + _rho(correlations, importance, towers, {name: str(first[name]) for name in wanted})
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
