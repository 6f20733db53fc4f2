"""Figures of a result table: table in, matplotlib `Axes` out.

Nothing is measured here: rows are picked, subtracted and, over the random draws, summarised by quantiles. Figures are
plain `matplotlib.figure.Figure` objects, never pyplot's, so they need no display, are freed with their last reference
and are saved with ``plot_accuracy(table).figure.savefig("accuracy.png")``.
"""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from purescope.errors import InputError, OutputError, did_you_mean
from purescope.purity import Projections, overlap, random_overlap
from purescope.tables import atomic_path, check_table, slug

# One palette for the project: Okabe and Ito's colours, which stay apart for colour-blind eyes. Blue and vermilion are
# equally dark in grey print, so no two lines share both line style and marker.
PALETTE = {
    "high_purity": "#0072B2",
    "low_purity": "#D55E00",
    "random": "#6E6E6E",
    "full": "#000000",
    "gap": "#000000",
    "gap_to_random": "#0072B2",
    "image": "#56B4E9",
    "text": "#E69F00",
}
_INK, _GRID = "#262626", "#E3E3E3"

_DASHED, _DOTTED = (0, (6, 1.5)), (0, (1, 1.5))
_OPEN = {"markerfacecolor": "white", "markeredgewidth": 1.7}
_LINES: dict[str, dict[str, Any]] = {
    "high_purity": {"linestyle": "-", "marker": "o", "linewidth": 2, "markersize": 6, "zorder": 5},
    "low_purity": {"linestyle": _DASHED, "marker": "s", "linewidth": 2, "markersize": 6, "zorder": 4, **_OPEN},
    "random": {"linestyle": "-", "marker": "", "linewidth": 1.3, "zorder": 3},
    "full": {"linestyle": (0, (3, 2)), "marker": "", "linewidth": 1.3, "zorder": 2.5},
    "gap": {"linestyle": "-", "marker": "^", "linewidth": 2, "markersize": 7, "zorder": 5},
    "gap_to_random": {"linestyle": _DASHED, "marker": "o", "linewidth": 2, "markersize": 6, "zorder": 5, **_OPEN},
    "image": {"linestyle": "-", "marker": "o", "linewidth": 2, "markersize": 6, "zorder": 5},
    "text": {"linestyle": _DASHED, "marker": "s", "linewidth": 2, "markersize": 6, "zorder": 4, **_OPEN},
}
_LABELS = {"high_purity": "highest purity kept", "low_purity": "lowest purity kept"}
_BAND, _RANGE = "#CFCFCF", "#ECECEC"

# What savefig writes into a file besides the drawing: nothing that changes from one run to the next.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": "purescope"},
    "svg": {"Creator": "purescope", "Date": None},
    "pdf": {"Creator": "purescope", "Producer": None, "CreationDate": None},
}


def plot_accuracy(
    table: pd.DataFrame, *, model: str | None = None, dataset: str | None = None, ax: Axes | None = None
) -> Axes:
    """Zero-shot accuracy in % against the neurons kept, for high purity, low purity and random orders.

    Random orders appear as their median, a band from the 5 % to the 95 % quantile over the draws and, fainter, from
    the least to the greatest; all neurons as a horizontal line; chance too, where it lies within view.

    Args:
        table: a result table, see `purescope.schemas.RESULTS`.
        model: which model of the table; needs no naming where there is one only.
        dataset: which dataset, likewise.
        ax: where to draw. Without it a new figure is made, with its legend; ``ax.legend()`` adds one to yours.

    Raises:
        InputError: no model or dataset of that name, or several and none is named.
    """
    own, rows = ax is None, _pick(table, "accuracy", model, dataset)
    ax = _axes(rows, ax)
    _curves(rows, ax, scale=100.0)
    ax.set_ylabel("Zero-shot accuracy (%)")
    chance = 100 / rows.classes.iloc[0]
    _line_within_view(ax, chance, label=f"chance ({chance:.3g} %)")
    return _finish(ax, legend=own)


def plot_silhouette(
    table: pd.DataFrame, *, model: str | None = None, dataset: str | None = None, ax: Axes | None = None
) -> Axes:
    """Cosine silhouette of the image features against the neurons kept; otherwise as `plot_accuracy`.

    Where the table has no silhouette, because the labels admit none, the axes say so.
    """
    own, rows = ax is None, _pick(table, "silhouette", model, dataset)
    ax = _axes(rows, ax)
    if rows.value.isna().all():
        note = "No silhouette here:\nit needs two classes,\nand one with two images."
        ax.text(0.5, 0.5, note, transform=ax.transAxes, ha="center", va="center", color=_INK, fontsize=10)
        ax.set_axis_off()
        return ax
    _curves(rows, ax, scale=1.0)
    ax.set_ylabel("Silhouette score (cosine)")
    _line_within_view(ax, 0.0)
    return _finish(ax, legend=own)


def plot_gap(
    table: pd.DataFrame, *, model: str | None = None, dataset: str | None = None, ax: Axes | None = None
) -> Axes:
    """What ranking by purity gains, in percentage points of accuracy, beside what chance alone makes of two orders.

    Lines: high minus low purity, and high purity minus the median random order. The band is what two random orders
    differ by: 5 % to 95 % quantile of each draw's accuracy minus that of the draw before it.

    Arguments and errors are those of `plot_accuracy`; a table without both purity strategies is an InputError too.
    """
    own, rows = ax is None, _pick(table, "accuracy", model, dataset)
    high, low = (_curve(rows, strategy) * 100 for strategy in ("high_purity", "low_purity"))
    if high.empty or low.empty:
        raise InputError(
            f"a table with the strategies {', '.join(rows.strategy.unique())}", expected="high_purity and low_purity"
        )
    ax = _axes(rows, ax)
    _line(ax, high - low, "gap", label="highest minus lowest purity")
    draws = _draws(rows) * 100
    if len(draws):
        _line(ax, high - draws.median(), "gap_to_random", label="highest purity minus median random")
    differences = draws.diff().iloc[1:]
    if len(differences):
        label = f"one random minus another: 5–95 % of {len(differences)} pairs"
        _band(ax, differences.quantile(0.05), differences.quantile(0.95), color=_BAND, label=label)
    ax.axhline(0, color=_INK, linewidth=0.8, zorder=2)
    ax.set_ylabel("Accuracy gap (percentage points)")
    return _finish(ax, legend=own)


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
        table: a table of `purescope.dynamics.track` or of a `Tracker`.
        show: ``overlap``, both towers' in units of random weights; ``order``, Spearman's correlation of the neurons'
            order by purity with that of the last step; ``accuracy``, with all neurons and as a mean over k with
            the purest, the least pure and random ones, whose band holds 90 % of the draws; ``gap``, the means less
            that of the median random order.
        model: which model of the table; needs no naming where there is one only.
        dataset: which dataset, likewise; ``overlap`` and ``order`` need none.
        ax: where to draw; a new figure without it.

    Raises:
        InputError: `show` is unknown, there is no such model or dataset, or what is to be shown was not measured.
    """
    if show not in _DYNAMICS:
        raise InputError(f"show = {show!r}", expected=did_you_mean(show, _DYNAMICS))
    rows = _named_rows(table, "model", model)
    if show in _OF_A_DATASET:
        rows = _named_rows(rows[rows.n > 0], "dataset", dataset)
        if show == "gap" and rows.random.isna().all():
            raise InputError("a table without random orders", expected="one measured with draws=1 or more")
    own, ax = ax is None, _new_axes() if ax is None else ax
    _DYNAMICS[show](rows.drop_duplicates("step").set_index("step"), ax)
    on = f" on {_dataset_title(rows)}" if show in _OF_A_DATASET else ""
    _title(ax, f"{rows.model.iloc[0]}{on}", width=64)
    ax.set_xlabel("Training step")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
    return _finish(ax, legend=own)


def _overlap_by_step(rows: pd.DataFrame, ax: Axes) -> None:
    for tower in ("image", "text"):
        _line(ax, rows[f"{tower}_relative_overlap"], tower, label=f"overlap, {tower} tower")
    ax.axhline(1.0, color=_INK, linewidth=1.3, linestyle=_DOTTED, zorder=2, label="random weights")
    ax.set_ylabel("Overlap / that of random weights")


def _order_by_step(rows: pd.DataFrame, ax: Axes) -> None:
    _line(ax, rows.rank_last, "gap", label="order by purity, with that of the last step")
    ax.axhline(0.0, color=_INK, linewidth=0.8, zorder=2)
    ax.set_ylim(min(-0.1, rows.rank_last.min() - 0.05), 1.05)
    ax.set_ylabel("Spearman correlation")


def _accuracy_by_step(rows: pd.DataFrame, ax: Axes) -> None:
    _line(ax, rows.accuracy * 100, "full", label="all neurons")
    _strategies_by_step(rows, ax, minus=rows.accuracy * 0)
    ax.set_ylabel("Zero-shot accuracy (%)")


def _gap_by_step(rows: pd.DataFrame, ax: Axes) -> None:
    _strategies_by_step(rows, ax, minus=rows.random)
    ax.set_ylabel("Points from a random order")


def _strategies_by_step(rows: pd.DataFrame, ax: Axes, minus: pd.Series) -> None:
    """Means over k, in percentage points."""
    for strategy, label in _LABELS.items():
        _line(ax, (rows[strategy] - minus) * 100, strategy, label=f"{label}, mean over k")
    if rows.random.notna().any():
        _line(ax, (rows.random - minus) * 100, "random", label="random order: median, 5–95 % of the draws")
        _band(ax, (rows.random_low - minus) * 100, (rows.random_high - minus) * 100, color=_BAND)


_DYNAMICS = {
    "overlap": _overlap_by_step,
    "order": _order_by_step,
    "accuracy": _accuracy_by_step,
    "gap": _gap_by_step,
}
_OF_A_DATASET = ("accuracy", "gap")


def plot_overlap(projections: Projections, *, model: str = "", ax: Axes | None = None) -> Axes:
    """How many neurons have which overlap, for each tower, beside what random Gaussian neurons would have.

    Args:
        projections: both towers' projections; a neuron dead in a tower has no overlap there and is not drawn.
        model: its label, for the title.
        ax: where to draw; a new figure without it.

    Examples:
        >>> import torch
        >>> plot_overlap(Projections(torch.eye(4), torch.ones(4, 2)), model="tiny").get_title(loc="left")
        'tiny: 4 neurons'
    """
    own, ax = ax is None, _new_axes() if ax is None else ax
    towers = {"image": projections.image, "text": projections.text}
    widths = dict.fromkeys(projection.shape[1] for projection in towers.values())
    scores = {tower: overlap(projection).numpy() for tower, projection in towers.items()}
    live = {tower: score[np.isfinite(score)] for tower, score in scores.items()}
    values = np.concatenate([*live.values(), [random_overlap(width) for width in widths]])
    edges = np.linspace(values.min() - 1e-3, values.max() + 1e-3, 61)
    for (tower, score), hatch in zip(live.items(), ("", "////"), strict=True):
        if len(score):
            first, last = np.searchsorted(edges, (score.min(), score.max()))
            ax.hist(
                score,
                bins=list(edges[first - 1 : last + 1]),
                histtype="stepfilled",
                label=f"{tower} tower: {len(score):,} neurons of width {towers[tower].shape[1]:,}",
                facecolor=PALETTE[tower] + "66",
                edgecolor=PALETTE[tower],
                hatch=hatch,
                linewidth=1.5,
                zorder=3,
            )
    for width, dashes in zip(widths, (_DASHED, _DOTTED), strict=False):
        label = f"random neurons of width {width:,}"
        ax.axvline(random_overlap(width), label=label, color=_INK, linestyle=dashes, linewidth=1.5, zorder=4)
    _title(ax, f"{model}: {projections.neurons:,} neurons" if model else f"{projections.neurons:,} neurons", width=64)
    ax.set_xlabel("Overlap: mean |cosine| of a neuron with the others (low = pure)")
    ax.set_ylabel("Neurons")
    return _finish(ax, legend=own)


def write_figures(table: pd.DataFrame, out: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``figures/neuron_pruning_<dataset>`` and ``figures/purity_gap_<dataset>`` below `out`, in each format.

    The first has accuracy and silhouette side by side, a row for each model; the second one panel for each model.

    Returns:
        The files written, dataset by dataset.

    Raises:
        InputError: the table is empty, a format is unknown, or two datasets would share a file.
        OutputError: the folder does not take them.
    """
    table = check_table(table)
    datasets = [str(name) for name in table.dataset.unique()]
    names = [slug(dataset) for dataset in datasets]
    if not datasets or len(set(names)) < len(names):
        raise InputError(
            f"a result table with the datasets {datasets}", expected="one or more, each with a file name of its own"
        )
    written = []
    for dataset, name in zip(datasets, names, strict=True):
        part = table[table.dataset == dataset]
        written += save_figure(_pruning_figure(part), out / "figures" / f"neuron_pruning_{name}", formats)
        written += save_figure(_gap_figure(part), out / "figures" / f"purity_gap_{name}", formats)
    return written


def write_dynamics(table: pd.DataFrame, out: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``dynamics.png`` and so on below `out`.

    For each model overlap and order, and beside them for each dataset accuracy and gap, see `plot_dynamics`.

    Raises:
        InputError: a format is unknown.
        OutputError: the folder does not take it.
    """
    models = list(table.model.unique())
    datasets = [None, *table.dataset[table.n > 0].unique()]
    figure = _new_figure(0.6 + 3.6 * len(datasets), 0.9 + 5.4 * len(models))
    grid = figure.subplots(2 * len(models), len(datasets), squeeze=False)
    for row, model in enumerate(models):
        part = table[table.model == model]
        for dataset, axes in zip(datasets, grid[2 * row : 2 * row + 2].T, strict=True):
            rows = part if dataset is None else part[part.dataset == dataset]
            for show, ax in zip(("overlap", "order") if dataset is None else _OF_A_DATASET, axes, strict=True):
                if rows.empty or (show == "gap" and rows.random.isna().all()):
                    ax.set_axis_off()
                    continue
                plot_dynamics(rows, show, ax=ax)
                _title(ax, str(model if dataset is None else f"{model} on {dataset}") if ax is axes[0] else "")
    _legend(figure, grid.flat, columns=4 if len(datasets) > 2 else 2)
    return save_figure(figure, out / "dynamics", formats)


def save_figure(figure: Figure, stem: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``stem.png``, ``stem.svg`` ..., each whole or not at all, and the same bytes for the same table.

    Text in SVG stays text, so it can be searched, selected and read aloud.

    Raises:
        InputError: a format is none of png, svg, pdf.
        OutputError: the folder does not take it.
    """
    unknown = [name for name in formats if name not in _METADATA]
    if unknown:
        raise InputError(f"unknown figure format {unknown[0]!r}", expected=f"one of {', '.join(_METADATA)}")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {stem.parent}: {error.strerror}", fix="choose another --out") from error
    paths = [stem.with_name(f"{stem.name}.{name}") for name in formats]
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, for all formats: a third of the time
    for path, name in zip(paths, formats, strict=True):
        svg = matplotlib.rc_context({"svg.hashsalt": "purescope", "svg.fonttype": "none"})
        with atomic_path(path) as temporary, svg:
            figure.savefig(temporary, format=name, dpi=200, metadata=_METADATA[name])
    return paths


def _pruning_figure(table: pd.DataFrame) -> Figure:
    """One dataset: accuracy and silhouette side by side, a row for each model."""
    models = list(table.model.unique())
    seen = table[table.metric == "silhouette"].value.notna().any()
    figure = _new_figure(9.0, 0.9 + 3.1 * len(models))
    grid = figure.subplots(len(models), 2, squeeze=False, width_ratios=(1, 1 if seen else 0.45))
    for model, (left, right) in zip(models, grid, strict=True):
        plot_accuracy(table, model=model, ax=left)
        plot_silhouette(table, model=model, ax=right)
        _title(left, model)
        _title(right, "")
    return _headed(figure, _dataset_title(table), grid.flat)


def _gap_figure(table: pd.DataFrame) -> Figure:
    """One dataset: the gap of each model, two in a row, on one scale."""
    models = list(table.model.unique())
    rows, columns = -(-len(models) // 2), min(2, len(models))
    figure = _new_figure(9.0, 0.9 + 3.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for model, ax in zip(models, grid.flat, strict=False):
        plot_gap(table, model=model, ax=ax)
        _title(ax, model)
    for ax in grid[:, 1:].flat:
        ax.set_ylabel("")
    for ax in grid.flat[len(models) :]:
        ax.set_axis_off()
    return _headed(figure, _dataset_title(table), grid.flat)


def _pick(table: pd.DataFrame, metric: str, model: str | None, dataset: str | None) -> pd.DataFrame:
    """The rows of one metric, model and dataset."""
    table = check_table(table)
    wanted = {"model": model, "dataset": dataset}
    for column, name in sorted(wanted.items(), key=lambda item: item[1] is None):
        table = _named_rows(table, column, name)
    rows = table[table.metric == metric]
    if rows.empty:
        raise InputError(f"a table without {metric}", expected=f"rows of the metric {metric}")
    return rows


def _named_rows(table: pd.DataFrame, column: str, name: str | None) -> pd.DataFrame:
    """The rows of that name, or of the only name there is."""
    names = [str(there) for there in table[column].unique()]
    if name is None and len(names) != 1:
        raise InputError(
            f"a table of {len(names)} {column}s", expected="one", fix=f"name it, {column}=: {', '.join(names)}"
        )
    if name is not None and name not in names:
        raise InputError(f"no {column} {name!r} in this table", expected=did_you_mean(name, names))
    return table[table[column] == (names[0] if name is None else name)]


def _curve(rows: pd.DataFrame, strategy: str) -> pd.Series:
    """Value by k of a strategy that has one order."""
    return rows[rows.strategy == strategy].set_index("k").value.sort_index()


def _draws(rows: pd.DataFrame) -> pd.DataFrame:
    """Value of the random orders, one row for each draw, one column for each k."""
    return rows[rows.strategy == "random"].pivot(index="draw", columns="k", values="value")


def _curves(rows: pd.DataFrame, ax: Axes, scale: float) -> None:
    for strategy, label in _LABELS.items():
        _line(ax, _curve(rows, strategy) * scale, strategy, label=label)
    draws = _draws(rows) * scale
    if len(draws):
        spread = f": median, 5–95 % of {len(draws)} draws (faint: all)" if len(draws) > 1 else ""
        _line(ax, draws.median(), "random", label=f"random order{spread}")
    if len(draws) > 1:
        _band(ax, draws.min(), draws.max(), color=_RANGE)
        _band(ax, draws.quantile(0.05), draws.quantile(0.95), color=_BAND)
    for k, value in _curve(rows, "full").items():
        ax.axhline(value * scale, color=PALETTE["full"], label=f"all {k:,} neurons", **_LINES["full"])


def _line(ax: Axes, values: pd.Series, style: str, **changes: Any) -> None:
    if len(values) == 1 and not _LINES[style]["marker"]:
        changes["marker"] = "D"  # a line through one point shows nothing
    options = {**_LINES[style], "color": PALETTE[style], "markeredgecolor": PALETTE[style], **changes}
    ax.plot(values.index, values, **options)


def _band(ax: Axes, low: pd.Series, high: pd.Series, *, color: str, label: str | None = None) -> None:
    k = low.index.to_numpy(dtype=float)
    if len(k) == 1:  # an area over one point shows nothing: give it a width
        k, low, high = k + np.array([-1.0, 1.0]), low.repeat(2), high.repeat(2)
    zorder = 1.5 if color == _RANGE else 1.6
    ax.fill_between(k, low, high, color=color, linewidth=0, zorder=zorder, label=label)


def _line_within_view(ax: Axes, value: float, label: str | None = None) -> None:
    """A dotted horizontal line, unless it would change what is in view."""
    low, high = ax.get_ylim()
    if low <= value <= high:
        ax.set_ylim(low, high)
        ax.axhline(value, color=_INK, linewidth=1.3, linestyle=_DOTTED, zorder=2, label=label)


def _axes(rows: pd.DataFrame, ax: Axes | None) -> Axes:
    """Axes with title and x axis, and no data yet."""
    ax = _new_axes() if ax is None else ax
    _title(ax, f"{rows.model.iloc[0]} on {_dataset_title(rows)}", width=64)
    ax.set_xlabel(f"Neurons kept (k of {rows.neurons.iloc[0]:,})")
    ks = np.unique(rows[rows.strategy != "full"].k)
    if len(ks) == 1:
        ax.set_xlim(ks[0] - 10, ks[0] + 10)
    if len(ks) and (np.diff(ks) >= 0.1 * np.ptp(ks)).all():
        ax.set_xticks(ks)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10], integer=True))
    return ax


def _finish(ax: Axes, *, legend: bool) -> Axes:
    """The plain look of all plots."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#8A8A8A")
    ax.tick_params(color="#8A8A8A", labelcolor=_INK, labelsize=9)
    ax.grid(axis="y", color=_GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=_INK, fontsize=10)
    if legend:
        _legend(ax.figure, [ax], columns=2)
    return ax


def _new_axes() -> Axes:
    return _new_figure(6.8, 4.4).subplots()


def _new_figure(width: float, height: float) -> Figure:
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.04, hspace=0.05)
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def _headed(figure: Figure, title: str, axes: Iterable[Axes]) -> Figure:
    title = textwrap.fill(title, 72)
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=_INK, parse_math=False)
    _legend(figure, axes, columns=3)
    return figure


def _legend(figure: FigureBase, axes: Iterable[Axes], columns: int) -> None:
    """One legend below all axes, each label once, two entries in a column where they fit."""
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, (Patch(color=_BAND), handle) if label.startswith("random order:") else handle)
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": _INK, "handlelength": 3}
    columns = min(columns, -(-len(entries) // 2))
    figure.legend(list(entries.values()), list(entries), loc="outside lower left", ncols=columns, **style)


def _title(ax: Axes, text: str, width: int = 44) -> None:
    # A name is shown as it is: a dollar sign begins no formula.
    ax.set_title(textwrap.fill(text, width), loc="left", fontsize=10.5, color=_INK, parse_math=False)


def _dataset_title(rows: pd.DataFrame) -> str:
    return f"{rows.dataset.iloc[0]}, {rows.classes.iloc[0]:,} classes, {rows.n.iloc[0]:,} images"
