"""The result table: its view in a notebook, the points of curves, and the experiment's files.

A notebook shows accuracies and small curves as HTML without a style sheet; labels and class names
come from outside and are escaped. `curve_points` derives the points that figures show. `write_wide`
writes the experiment's CSV files, one for each model, dataset and metric.
"""

import io
from collections.abc import Hashable, Iterator, Mapping, Sequence
from csv import DictReader
from csv import Error as CsvError
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from purescope.errors import InputError, OutputError
from purescope.files.reading import open_regular
from purescope.files.writing import slug
from purescope.formats import METRIC_NAMES, PALETTE
from purescope.specs import exists
from purescope.tables.files import check_table, write_csv
from purescope.tables.metrics import SHOWN, has_captions
from purescope.tables.schema import stack_tables
from purescope.tables.schemas import CURVE_POINTS

_GROUP = ["model", "dataset", "metric"]

_STRATEGIES = {"high_purity": "high purity", "random": "random", "low_purity": "low purity"}
_DASHES = {"high_purity": "", "random": "1 2", "low_purity": "5 2"}
_BORDERS = {"high_purity": "solid", "random": "dotted", "low_purity": "dashed"}  # in the legend
_SHOWN = {"model", "dataset", "strategy", "draw", "k", "metric", "value", "n", "neurons"}
_MOST = 12  # pairs of model and dataset that are drawn; the page says how many are left out


def curve_points(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each model, dataset, metric, strategy and k of a result table.

    Metrics without any value, such as a silhouette that the labels do not allow, have no rows.

    Args:
        results: the table `purescope.tables.schemas.RESULTS`, or some rows of it.

    Returns:
        The table `purescope.tables.schemas.CURVE_POINTS`, in the order of `results`.

    Examples:
        >>> import purescope as ps
        >>> from purescope.studies.synthetic import plant
        >>> planted = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> table = ps.sweep(
        ...     planted.features, planted.projections, keep=[4, 8], draws=5, resamples=100
        ... )
        >>> points = curve_points(table[table.metric == "accuracy"])
        >>> points[["strategy", "k", "draws"]].values.tolist()[-3:]
        [['low_purity', 8, 1], ['random', 4, 5], ['random', 8, 5]]
    """
    results = results[results.value.notna()]
    random = results.strategy == "random"
    points = [
        results[~random].assign(least=float("nan"), greatest=float("nan"), draws=1),
        random_band(results[random]),
    ]
    table = stack_tables(points)
    # All points of one model, dataset and metric together, as in the results.
    place = {group: number for number, group in enumerate(_rows_by(results, _GROUP))}
    order = np.argsort([place[group] for group in _keys(table, _GROUP)], kind="stable")
    return check_table(table[list(CURVE_POINTS.columns)].iloc[order], CURVE_POINTS)


def _keys(table: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[Hashable, ...]]:
    """Return the values of these columns, row by row."""
    return zip(*(table[name].tolist() for name in names), strict=True)


def _rows_by(table: pd.DataFrame, names: Sequence[str]) -> dict[tuple[Hashable, ...], list[int]]:
    """Return the rows of each group of equal values, as found; pandas takes longer on small
    tables.
    """
    rows: dict[tuple[Hashable, ...], list[int]] = {}
    for row, key in enumerate(_keys(table, names)):
        rows.setdefault(key, []).append(row)
    return rows


def random_band(draws: pd.DataFrame) -> pd.DataFrame:
    """Return the median, quantiles and range of the random orders at each k.

    Args:
        draws: rows of random orders; each draw has one value at each k.
    """
    values = draws.value.to_numpy(float)
    groups = _rows_by(draws, [*_GROUP, "k"])
    first = draws.iloc[[rows[0] for rows in groups.values()]].reset_index(drop=True)
    # In one pass: pandas takes a pass for each of them.
    bands = [
        (*np.quantile(values[rows], (0.5, 0.05, 0.95)), values[rows].min(), values[rows].max())
        for rows in groups.values()
    ]
    columns = ("value", "low", "high", "least", "greatest")
    band = first.assign(
        **dict(zip(columns, np.array(bands).reshape(-1, 5).T, strict=True)),
        draws=[len(rows) for rows in groups.values()],
    )
    return band[list(CURVE_POINTS.columns)]


class ResultTable(pd.DataFrame):
    """A result table (`purescope.tables.schemas.RESULTS`) that a notebook shows as its curves.

    In everything else it is a plain frame, and whatever is selected or computed from it is a plain
    frame.

    Examples:
        >>> type(ResultTable({"value": [0.5]}).head()).__name__
        'DataFrame'
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str | None:
        """Show the accuracies; as pandas does, if columns were removed."""
        frame = pd.DataFrame(self)
        return results_html(frame) if set(frame) >= _SHOWN else frame.to_html(max_rows=20)


def results_html(table: pd.DataFrame) -> str:
    """Return a sentence for each model, and a row with accuracies and curves for each pair."""
    metric = SHOWN[0] if has_captions(table) and "accuracy" not in set(table.metric) else "accuracy"
    words = "Accuracies" if metric == "accuracy" else METRIC_NAMES[metric]
    rows = table[table.metric == metric]
    pairs = [pair_rows for _, pair_rows in rows.groupby(["model", "dataset"], sort=False)]
    models = [model_rows for _, model_rows in rows.groupby("model", sort=False)]
    sentences = [_sentence(model_rows, named=len(models) > 1) for model_rows in models[:_MOST]]
    text = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    names = ["model", "dataset", "images", "chance", "all neurons", *_STRATEGIES.values(), "over k"]
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(_cells(pair_rows))}</tr>" for pair_rows in pairs[:_MOST])
    left = f"<p>and {len(pairs) - _MOST} more, in the table</p>" if len(pairs) > _MOST else ""
    many = rows[rows.strategy == "random"].draw.nunique() > 1
    return (
        f"<div>{text}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{left}"
        f"<p>{words} in %, means over k{' and over the random orders' if many else ''}. Curves: "
        f"{_legend(rows)}. {len(table):,} rows, {len(table.columns)} columns.</p></div>"
    )


def _sentence(rows: pd.DataFrame, *, named: bool) -> str:
    """Compare high purity with the random orders, over all datasets of one model."""
    areas, ks, sets = _areas(rows), _ks(rows), rows.dataset.nunique()
    kept = (
        f"k from {ks[0]:,} to {ks[-1]:,} of {rows.neurons.max():,} neurons" if ks else "all neurons"
    )
    label = f"{rows.model.iloc[0]}: " if named else ""
    strategies = areas.index.get_level_values("strategy")
    if not {"high_purity", "random"} <= set(strategies):
        name = "retrieval" if has_captions(rows) else "zero-shot accuracy"
        return f"{label}{name if named else name.capitalize()}, {kept}."
    [high], random = areas[strategies == "high_purity"], areas[strategies == "random"]
    over = f"{kept} and {sets} datasets" if sets > 1 else kept
    difference = 100 * (high - random.mean())
    return (
        f"{label}{'over' if named else 'Over'} {over}, high purity keeps {abs(difference):.2f} "
        f"points {'less' if difference < 0 else 'more'} than random orders do on average, and more "
        f"than {(high > random).sum()} of {len(random)} of them."
    )


def _areas(rows: pd.DataFrame) -> "pd.Series[float]":
    """Return the mean accuracy over k of each order, by strategy and draw, over all datasets.

    By the trapezoid rule, as `purescope.maths.cells.mean_over_k`, which is on a higher floor: a
    test compares the two.
    """
    swept = rows[rows.strategy != "full"]
    if swept.empty:
        return swept.set_index(["strategy", "draw"]).value
    wide = swept.pivot_table(index=["strategy", "draw", "dataset"], columns="k", values="value")
    values, at = wide.to_numpy(float), wide.columns.to_numpy(float)
    means = np.trapezoid(values, at) / (at[-1] - at[0]) if len(at) > 1 else values.mean(1)
    return pd.Series(means, wide.index).groupby(["strategy", "draw"]).mean()


def _ks(rows: pd.DataFrame) -> list[int]:
    return [int(k) for k in sorted(rows[rows.strategy != "full"].k.unique())]


def _cells(rows: pd.DataFrame) -> list[str]:
    first, ks = rows.iloc[0], _ks(rows)
    curves = {strategy: _curve(rows, strategy, ks) for strategy in _STRATEGIES}
    areas = _areas(rows).groupby("strategy").mean()
    full = rows[rows.strategy == "full"].value
    values = [
        escape(str(first.model)),
        escape(str(first.dataset)),
        f"{first.n:,}",
        f"{100 * first.chance:.1f}" if "chance" in rows else "",
        f"{100 * full.iloc[0]:.1f}" if len(full) else "",
        *(f"{100 * areas[strategy]:.1f}" if curve else "" for strategy, curve in curves.items()),
        _svg(
            curves,
            f"{METRIC_NAMES[first.metric].lower()} of {first.model} on {first.dataset} over k",
        ),
    ]
    return [f"<td>{value}</td>" for value in values]


def _curve(rows: pd.DataFrame, strategy: str, ks: Sequence[int]) -> list[float]:
    """Return the accuracy at each k, the median of several orders; empty if it is incomplete."""
    medians = rows[rows.strategy == strategy].groupby("k").value.median()
    return [float(medians[k]) for k in ks] if len(medians) == len(ks) else []


def _svg(
    curves: Mapping[str, Sequence[float]], title: str, width: int = 150, height: int = 44
) -> str:
    """Draw curves on one scale, by colour and dashes; a single k is a point."""
    values = [value for curve in curves.values() for value in curve]
    if not values:
        return ""
    low, spread = min(values), (max(values) - min(values)) or 1
    shapes = []
    for name, curve in curves.items():
        step = (width - 8) / max(len(curve) - 1, 1)
        heights = [height - 4 - (value - low) / spread * (height - 8) for value in curve]
        if len(heights) == 1:
            at, colour = f'cx="{width / 2:.0f}" cy="{heights[0]:.1f}"', PALETTE[name]
            shapes.append(f'<circle {at} r="3" fill="{colour}"/>')
        elif heights:
            points = " ".join(f"{4 + i * step:.1f},{y:.1f}" for i, y in enumerate(heights))
            shapes.append(
                f'<polyline points="{points}" fill="none" stroke="{PALETTE[name]}" '
                f'stroke-width="2" stroke-dasharray="{_DASHES[name]}"/>'
            )
    return (
        f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f"<title>{escape(title)}</title>{''.join(shapes)}</svg>"
    )


def _legend(rows: pd.DataFrame) -> str:
    """Name the lines, in the colour of the page's text above the line itself."""
    entries = []
    for strategy, name in _STRATEGIES.items():
        draws = rows[rows.strategy == strategy].draw.nunique()
        if draws:
            many = f" (median of {draws})" if draws > 1 else ""
            style = f"border-bottom:2px {_BORDERS[strategy]} {PALETTE[strategy]}"
            entries.append(f'<span style="{style}">{name}{many}</span>')
    return ", ".join(entries)


_WIDE_COLUMNS = {
    "full": "Full Features",
    "high_purity": "Min Sparse Features",
    "low_purity": "Max Sparse Features",
}


def write_wide(table: pd.DataFrame, out: Path) -> None:
    """Write the experiment's wide CSV files of a table of results, for each model and dataset."""
    table = table[table.metric.isin(("accuracy", "silhouette"))]  # captions have neither
    for (model, dataset), rows in table.groupby(["model", "dataset"], sort=False):
        for metric in ("accuracy", "silhouette"):
            write_csv(wide_table(rows, metric), wide_path(out, str(model), str(dataset), metric))


def wide_table(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the experiment's table of one model and dataset.

    It has a row for each ``sam`` (k), and a column for each strategy of the experiment.
    """
    rows = table[(table.metric == metric) & table.strategy.isin(_WIDE_COLUMNS)]
    strategies, all_ks, values = (rows[name].to_numpy() for name in ("strategy", "k", "value"))
    is_full = strategies == "full"
    ks = np.unique(all_ks[~is_full])
    wide = {"sam": ks, "Model": rows.model.iloc[0], "Full Features": values[is_full][0]}
    for strategy, name in _WIDE_COLUMNS.items():
        if strategy != "full":
            wide[name] = np.full(len(ks), np.nan)  # empty for a strategy that was not swept
            of_strategy = strategies == strategy
            wide[name][np.searchsorted(ks, all_ks[of_strategy])] = values[of_strategy]
    return pd.DataFrame(wide)


def wide_path(out: Path, model: str, dataset: str, metric: str) -> Path:
    """Return the path of a wide CSV file.

    The folder has the label of the model, and the name of the file its last word.
    """
    label = slug(model)
    tag = label.rsplit("_", 1)[-1]
    return out / f"result_{label}" / f"{slug(dataset)}_{tag}_{metric}_vs_sam.csv"


def refuse_others_file(path: Path, owner: Mapping[str, str]) -> None:
    """Refuse to replace a CSV file of another model or dataset whose label gives the same name.

    Args:
        path: the file that is to be written.
        owner: the values that the first row of an existing file must have, by column.

    Raises:
        OutputError: the file belongs to another model or dataset.
    """
    if not exists(path):
        return
    try:
        with open_regular(path) as file:
            rows = DictReader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
            first = next(rows, {})
            theirs = {name: first.get(name) for name in owner}
    except (OSError, ValueError, CsvError):
        theirs = {}
    if theirs != dict(owner):
        known = ", ".join(repr(value) for value in theirs.values() if value) or "something else"
        raise OutputError(
            f"{path} holds {known}, and would be replaced by "
            f"{', '.join(map(repr, owner.values()))}",
            expected="a file name of its own for each model and dataset",
            fix="give one of them another label (LABEL=MODEL, NAME=DATASET), choose another --out, "
            "or remove the file",
        )


def check_wide_paths(table: pd.DataFrame, out: Path) -> None:
    """Refuse labels that would overwrite each other's files: they differ only in what `slug` drops.

    Raises:
        InputError: there are such labels.
    """
    taken: dict[Path, tuple[str, str]] = {}
    for model, dataset in table[["model", "dataset"]].drop_duplicates().itertuples(index=False):
        path = wide_path(out, model, dataset, "accuracy")
        if taken.setdefault(path, (model, dataset)) != (model, dataset):
            raise InputError(
                f"{model!r} on {dataset!r} and {taken[path][0]!r} on {taken[path][1]!r} share the "
                f"file {path}",
                expected="labels that differ in their letters or digits",
                fix="give one of them another label: label=MODEL",
            )
