"""Show a result table in a notebook: accuracies and small curves, as HTML without any style sheet.

Labels and class names come from outside and are escaped: they are text, never markup.
"""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from purescope.looks import PALETTE

_CHOICES = {"high_purity": "high purity", "random": "random", "low_purity": "low purity"}
_DASHES = {"high_purity": "", "random": "1 2", "low_purity": "5 2"}
_RULES = {
    "high_purity": "solid",
    "random": "dotted",
    "low_purity": "dashed",
}  # the same in the legend
_MOST = (
    12  # pairs of model and data set that are drawn; a table of more says how many it leaves out
)


class ResultTable(pd.DataFrame):
    """A result table (`purescope.tables.schemas.RESULTS`) that a notebook shows as its curves.

    It is a plain frame in all else, and whatever is picked or computed from it is one.

    Examples:
        >>> type(ResultTable({"value": [0.5]}).head()).__name__
        'DataFrame'
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str | None:
        """Accuracy of each model on each data set; as pandas shows it, where columns were taken
        away.
        """
        plain = pd.DataFrame(self)
        if not {
            "model",
            "dataset",
            "strategy",
            "draw",
            "k",
            "metric",
            "value",
            "n",
            "neurons",
        } <= set(plain):
            return plain.to_html(max_rows=20)
        return results_html(plain)


def results_html(table: pd.DataFrame) -> str:
    """A line for each model, and for each model and data set accuracies in a row of a table, with
    its curves.
    """
    rows = table[table.metric == "accuracy"]
    pairs = [part for _, part in rows.groupby(["model", "dataset"], sort=False)]
    models = [part for _, part in rows.groupby("model", sort=False)]
    said = "".join(
        f"<p>{escape(_sentence(part, named=len(models) > 1))}</p>" for part in models[:_MOST]
    )
    head = ["model", "data set", "images", "chance", "all neurons", *_CHOICES.values(), "over k"]
    body = "".join(f"<tr>{''.join(_cells(part))}</tr>" for part in pairs[:_MOST])
    left = f"<p>and {len(pairs) - _MOST} more, in the table</p>" if len(pairs) > _MOST else ""
    names = "".join(f"<th>{name}</th>" for name in head)
    drawn = (
        " and, of random orders, over them"
        if rows[rows.strategy == "random"].draw.nunique() > 1
        else ""
    )
    return (
        f"<div>{said}<table><thead><tr>{names}</tr></thead>"
        f"<tbody>{body}</tbody></table>{left}<p>Accuracies in %, means over k{drawn}. Curves: "
        f"{_legend(rows)}. "
        f"{len(table):,} rows, {len(table.columns)} columns.</p></div>"
    )


def _sentence(rows: pd.DataFrame, *, named: bool) -> str:
    """How high purity compares with the random orders, over all that was swept with one model."""
    areas, ks, sets = _areas(rows), _ks(rows), rows.dataset.nunique()
    kept = (
        f"k from {ks[0]:,} to {ks[-1]:,} of {rows.neurons.max():,} neurons" if ks else "all neurons"
    )
    about = f"{rows.model.iloc[0]}: " if named else ""
    if not {"high_purity", "random"} <= set(areas.index.get_level_values("strategy")):
        return f"{about}zero-shot accuracy, {kept}." if named else f"Zero-shot accuracy, {kept}."
    [high], drawn = (
        areas[areas.index.get_level_values("strategy") == name]
        for name in ("high_purity", "random")
    )
    over = f"{kept} and {sets} data sets" if sets > 1 else kept
    difference = 100 * (high - drawn.mean())
    return (
        f"{about}{'over' if named else 'Over'} {over}, high purity keeps {abs(difference):.2f} "
        f"points "
        f"{'less' if difference < 0 else 'more'} than random orders do on average, and more than "
        f"{(high > drawn).sum()} of {len(drawn)} of them."
    )


def _areas(rows: pd.DataFrame) -> "pd.Series[float]":
    """Mean accuracy over k of each order, by strategy and draw; of several data sets the mean of
    theirs.

    By the trapezoid rule, as `purescope.maths.curves.mean_over_k`, which stands on a floor above
    this one: a test holds them together.
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
    curves = {name: _curve(rows, name, ks) for name in _CHOICES}
    areas = _areas(rows).groupby("strategy").mean()
    full = rows[rows.strategy == "full"].value
    values = [
        escape(str(first.model)),
        escape(str(first.dataset)),
        f"{first.n:,}",
        f"{100 * first.chance:.1f}" if "chance" in rows else "",
        f"{100 * full.iloc[0]:.1f}" if len(full) else "",
        *(f"{100 * areas[name]:.1f}" if curve else "" for name, curve in curves.items()),
        _svg(curves, f"accuracy of {first.model} on {first.dataset} over k"),
    ]
    return [f"<td>{value}</td>" for value in values]


def _curve(rows: pd.DataFrame, strategy: str, ks: Sequence[int]) -> list[float]:
    """Accuracy at each k, of several orders the median; empty where it was not measured."""
    found = rows[rows.strategy == strategy].groupby("k").value.median()
    return [float(found[k]) for k in ks] if len(found) == len(ks) else []


def _svg(
    curves: Mapping[str, Sequence[float]], title: str, width: int = 150, height: int = 44
) -> str:
    """Curves on one scale, by colour and dashes; a point where there is one k."""
    values = [value for curve in curves.values() for value in curve]
    if not values:
        return ""
    low, spread = min(values), (max(values) - min(values)) or 1
    lines = []
    for name, curve in curves.items():
        step = (width - 8) / max(len(curve) - 1, 1)
        at = [
            (4 + i * step, height - 4 - (value - low) / spread * (height - 8))
            for i, value in enumerate(curve)
        ]
        if len(at) == 1:
            lines.append(
                f'<circle cx="{width / 2:.0f}" cy="{at[0][1]:.1f}" r="3" fill="{PALETTE[name]}"/>'
            )
        elif at:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
            lines.append(
                f'<polyline points="{points}" fill="none" stroke="{PALETTE[name]}" stroke-width="2" '
                f'stroke-dasharray="{_DASHES[name]}"/>'
            )
    return (
        f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f"<title>{escape(title)}</title>{''.join(lines)}</svg>"
    )


def _legend(rows: pd.DataFrame) -> str:
    """What the lines are, in the page's own ink above the line itself; of random, how many
    orders.
    """
    said = []
    for name, text in _CHOICES.items():
        draws = rows[rows.strategy == name].draw.nunique()
        if draws:
            many = f" (median of {draws})" if draws > 1 else ""
            said.append(
                f'<span style="border-bottom:2px {_RULES[name]} {PALETTE[name]}">{text}{many}</span>'
            )
    return ", ".join(said)
