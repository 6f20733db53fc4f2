"""The curves: over all data sets, the one that a reader explores, a small one of each, and a table
at one k.

The rows behind them are the tables' own values, and of the random orders their median and
quantiles.

"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from purescope import formats
from purescope.looks import METRIC_NAMES, Look, strategy_name
from purescope.report.charts import HALF, SMALL, WIDE, curve_chart
from purescope.report.figures import Figure, Key
from purescope.report.tables import Cell, Heading, Table, groups
from purescope.tables import schemas
from purescope.tables.results import Results
from purescope.tables.schema import each_row

Row = dict[str, Any]

_TICKS = 12
_ONE_NAME = 0.1  # of the height: a name of two lines and one of one need as much
_ENDS = ("value", "low", "high", "least", "greatest")


@dataclass(frozen=True)
class Curve:
    """One model, data set and metric.

    Args:
        rows: strategy, k, value, low, high (of random orders the 5 and 95 % quantile), least,
            greatest.
        levels: horizontal lines: name, label, value, and whether it lies below the plot.
        neurons: of the model.
        images, classes: of the data set.
        chance: accuracy of guessing; nan for what has none.
        full: value, low and high with all neurons; empty where that was not measured.
    """

    rows: list[Row]
    levels: list[Row]
    neurons: int
    images: int
    classes: int
    chance: float
    full: Row

    @property
    def ks(self) -> list[int]:
        """Numbers of neurons kept, rising."""
        return sorted({row["k"] for row in self.rows})

    @property
    def span(self) -> tuple[float, float]:
        """The least and the most that is drawn."""
        levels = [level for level in self.levels if not level["below"]]
        drawn = [
            row[end]
            for row in [*self.rows, *levels]
            for end in _ENDS
            if end in row and row[end] == row[end]
        ]
        return min(drawn), max(drawn)

    @property
    def half(self) -> int:
        """The k nearest to half of the neurons; of two as near the fewer."""
        return min(self.ks, key=lambda k: abs(k - self.neurons / 2))

    @property
    def ticks(self) -> list[int]:
        """Those of them that stand at the axis: all, or every second, every third of many."""
        return self.ks[:: -(-len(self.ks) // _TICKS)]

    @property
    def few(self) -> list[int]:
        """Those at the axis of a small figure: the first, the middle one and the last."""
        return [*dict.fromkeys((self.ks[0], self.ks[len(self.ks) // 2], self.ks[-1]))]


def curve(points: pd.DataFrame) -> Curve | None:
    """Return the curve of one model, dataset and metric; None where nothing was swept.

    Args:
        points: their rows of `purescope.tables.schemas.CURVE_POINTS`.
    """
    swept = points[points.strategy != "full"].sort_values("k", kind="stable")
    if swept.empty:
        return None
    rows = [
        {"strategy": row.strategy, "k": int(row.k)}
        | {end: getattr(row, end) for end in (_ENDS if row.strategy == "random" else _ENDS[:3])}
        for row in each_row(swept.sort_values("strategy", key=_is_random, kind="stable"))
    ]
    first, full = points.iloc[0], points[points.strategy == "full"]
    everything = {end: float(full[end].iloc[0]) for end in _ENDS[:3]} if len(full) else {}
    return Curve(
        rows=rows,
        levels=_levels(rows, everything.get("value"), float(first.chance), int(first.neurons)),
        neurons=int(first.neurons),
        images=int(first.n),
        classes=int(first.classes),
        chance=float(first.chance),
        full=everything,
    )


def _is_random(strategy: "pd.Series[str]") -> "pd.Series[bool]":
    return strategy == "random"


def mean_curves(folder: Results) -> dict[str, Curve]:
    """Return the accuracy of each model as the mean over its datasets."""
    grouped = groups(folder.rows(schemas.MEAN_POINTS), "model")
    return {str(model): found for model, points in grouped if (found := curve(points))}


def curves(folder: Results) -> dict[tuple[str, str, str], Curve]:
    """All curves, by model, data set and metric."""
    grouped = groups(folder.rows(schemas.CURVE_POINTS), "model", "dataset", "metric")
    return {
        (str(model), str(dataset), str(metric)): found
        for (model, dataset, metric), points in grouped
        if (found := curve(points))
    }


def _levels(rows: list[Row], full: float | None, chance: float, neurons: int) -> list[Row]:
    """Lines across: all neurons; and chance, below the plot where its line would press the curves
    together.

    Two lines so close that their names would stand on each other share one name.
    """
    levels: list[Row] = []
    if full is not None:
        name = f"all {neurons:,} neurons"
        levels.append({"name": name, "label": name, "value": full, "below": False})
    values = [row["value"] for row in rows] + [level["value"] for level in levels]
    if not values or chance != chance:
        return levels
    below = bool(chance < min(values) - 0.4 * (max(values) - min(values)))
    label = f"↓ chance\n{formats.percent(chance)}%" if below else "chance"
    levels.append({"name": "chance", "label": label, "value": chance, "below": below})
    shown = [*rows, *(level for level in levels if not level["below"])]
    drawn = [row[end] for row in shown for end in _ENDS if end in row and row[end] == row[end]]
    if (
        not below
        and len(levels) == 2
        and abs(levels[0]["value"] - chance) <= _ONE_NAME * (max(drawn) - min(drawn))
    ):
        levels[0] |= {"label": f"{levels[0]['label']}, chance"}
        levels[1] |= {"label": ""}
    return levels


_DRAWN = ("accuracy", "silhouette")


def key_figures(
    folder: Results,
    there: Mapping[tuple[str, str, str], Curve],
    means: Mapping[str, Curve],
    seen: list[Look],
) -> list[Figure]:
    """Accuracy of each model over all its data sets; `means` by its label."""
    figures = []
    shown = [look for look in seen if look.shown]
    spans = [replace(one, rows=_of(one, shown)).span for one in means.values()]
    for place, model in enumerate(folder.models):
        if model not in means:
            continue
        one = means[model]
        spec = curve_chart(
            _of(one, shown),
            one.levels,
            shown,
            at=None,
            percent=True,
            neurons=one.neurons,
            ticks=one.ticks,
            span=(min(low for low, _ in spans), max(high for _, high in spans)),
            width=WIDE if len(folder.models) == 1 else HALF,
            height=260,
        )
        sets = [
            dataset for label, dataset, metric in there if label == model and metric == "accuracy"
        ]
        about = f"the mean over {len(sets)} data sets" if len(sets) > 1 else sets[0]
        alt = f"{model}, accuracy on {about} against neurons kept. {_told(one, shown, 'accuracy')}"
        figures.append(Figure(f"key-{place}", model, alt, spec, _keys(shown)))
    return figures


def explorer(
    folder: Results,
    there: Mapping[tuple[str, str, str], Curve],
    seen: list[Look],
    chosen: Mapping[str, Any],
) -> Figure | None:
    if not there:
        return None
    (model, dataset, metric), one = next(iter(there.items()))
    shown = [look for look in seen if look.shown]
    sizes = {each.neurons for each in there.values()}
    spec = curve_chart(
        _of(one, shown),
        one.levels,
        seen,
        at=chosen["k"],
        percent=metric != "silhouette",
        neurons=one.neurons if len(sizes) == 1 else None,
        ticks=one.ticks,
    )
    alt = f"{model} on {dataset}: {METRIC_NAMES[metric].lower()} against neurons kept. {_told(one, shown, metric)}"
    return Figure("explorer", f"{model} on {dataset}", alt, spec, _keys(shown))


def panels(
    folder: Results,
    there: Mapping[tuple[str, str, str], Curve],
    seen: list[Look],
    chosen: Mapping[str, Any],
) -> list[Figure]:
    """A small figure of each curve, for readers without scripts and on paper."""
    shown = [look for look in seen if look.shown]
    figures = []
    spec = None
    for metric in _DRAWN:
        for place, model in enumerate(folder.models):
            for at, dataset in enumerate(folder.datasets):
                one = there.get((model, dataset, metric))
                if one is None:
                    continue
                rows, percent = _of(one, shown), metric != "silhouette"
                if spec is None or spec[0] != (one.neurons, percent, one.few):
                    made = curve_chart(
                        [],
                        [],
                        shown,
                        at=0,
                        percent=percent,
                        neurons=one.neurons,
                        ticks=one.few,
                        width=SMALL,
                        height=170,
                        small=True,
                    )
                    spec = (one.neurons, percent, one.few), made
                datasets = {"curves": rows, "levels": one.levels, "chosen": [{"k": chosen["k"]}]}
                alt = f"{model} on {dataset}: {METRIC_NAMES[metric].lower()}. {_told(one, shown, metric)}"
                title = f"{dataset}, {METRIC_NAMES[metric].lower()}"
                name = f"panel-{place}-{at}-{metric}"
                figures.append(
                    Figure(name, title, alt, {**spec[1], "datasets": datasets}, note=model)
                )
    return figures


def _of(one: Curve, shown: list[Look]) -> list[dict[str, Any]]:
    names = {look.name for look in shown}
    return [row for row in one.rows if row["strategy"] in names]


def _told(one: Curve, shown: list[Look], metric: str) -> str:
    """A curve in words: what is kept of all at the least, the middle and the most neurons."""
    unit = "" if metric == "silhouette" else " %"
    told = []
    if one.full:
        told.append(
            f"All {one.neurons:,} neurons: {formats.measure(one.full['value'], metric)}{unit}."
        )
    if one.chance == one.chance:
        told.append(f"Chance: {formats.measure(one.chance, metric)}{unit}.")
    by_k = {(row["strategy"], row["k"]): row["value"] for row in one.rows}
    ks = one.ks
    for k in dict.fromkeys((ks[0], ks[len(ks) // 2], ks[-1])):
        values = [
            f"{look.label} {formats.measure(by_k[look.name, k], metric)}{unit}"
            for look in shown
            if (look.name, k) in by_k
        ]
        told.append(f"At {k:,}: {', '.join(values)}.")
    return " ".join(told)


def _keys(shown: list[Look]) -> tuple[Key, ...]:
    keys = [
        Key(look.label, look.colour, look.dash, look.shape, look.filled, look.name == "random")
        for look in shown
    ]
    return (
        *keys,
        Key("all neurons", "currentColor", [3, 3]),
        Key("chance", "currentColor", [1, 4]),
    )


_INTERVAL = "95 % interval"


def at_table(
    folder: Results, there: Mapping[tuple[str, str, str], Curve], chosen: Mapping[str, Any]
) -> Table:
    """All metrics of every strategy at the chosen model, data set and k, of all neurons, and of
    guessing.
    """
    model, dataset, k = (
        folder.models[chosen["model"]],
        folder.datasets[chosen["dataset"]],
        chosen["k"],
    )
    metrics = [metric for metric in folder.metrics if (model, dataset, metric) in there]
    values = {
        (metric, row["strategy"]): row
        for metric in metrics
        for row in there[model, dataset, metric].rows
        if row["k"] == k
    }
    table = folder.rows(schemas.COMPARISONS)
    table = table[
        (table.model == model)
        & (table.dataset == dataset)
        & (table.second == "random")
        & (table.k == str(k))
    ]
    differences = table.set_index("first")
    headings = [Heading("Kept", name="strategy")]
    for metric in metrics:
        headings.append(
            Heading(METRIC_NAMES[metric] + ("" if metric == "silhouette" else ", %"), True, metric)
        )
        if metric == "accuracy":
            headings.append(Heading(_INTERVAL, name="accuracy_low accuracy_high"))
    headings += [
        Heading("Minus random", True, "minus_random"),
        Heading(_INTERVAL, name="minus_random_low minus_random_high"),
        Heading("p", True, "p"),
        Heading("p (Holm)", True, "p_holm"),
    ]
    rows = []
    for strategy in [*folder.strategies, "full"]:
        found = {
            m: there[model, dataset, m].full
            if strategy == "full"
            else values.get((m, strategy), {})
            for m in metrics
        }
        if not any(found.values()):
            continue
        row = [Cell(strategy_name(strategy), strategy)]
        for metric in metrics:
            one = found[metric]
            row.append(Cell(formats.measure(one.get("value"), metric), one.get("value")))
            if metric == "accuracy":
                row.append(_interval(one.get("low"), one.get("high"), formats.percent))
        difference: Any = differences.loc[strategy] if strategy in differences.index else {}
        row += [
            Cell(formats.points(difference.get("difference")), difference.get("difference")),
            _interval(difference.get("low"), difference.get("high"), formats.points),
            Cell(
                formats.short(difference.get("permutation_p"), 2), difference.get("permutation_p")
            ),
            Cell(
                formats.short(difference.get("permutation_holm"), 2),
                difference.get("permutation_holm"),
            ),
        ]
        rows.append(row)
    chances = {metric: there[model, dataset, metric].chance for metric in metrics}
    if any(chance == chance for chance in chances.values()):
        row = [Cell("chance", "chance")]
        for metric, chance in chances.items():
            row.append(Cell(formats.measure(chance, metric), chance))
            if metric == "accuracy":
                row.append(Cell(formats.NONE))
        rows.append([*row, *(Cell(formats.NONE) for _ in range(len(headings) - len(row)))])
    return Table("at", f"{model} on {dataset}, {k:,} neurons kept", headings, rows)


def _interval(low: Any, high: Any, show: Any) -> Cell:
    if low is None or low != low:
        return Cell(formats.NONE)
    return Cell(f"{show(low)} to {show(high)}", f"{low} {high}")
