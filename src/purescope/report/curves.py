"""The section on curves: metrics against the neurons kept, with a table at each k."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from purescope import formats
from purescope.formats import METRIC_NAMES, Look, strategy_name
from purescope.report.blocks import (
    Cell,
    Figure,
    Heading,
    Row,
    Section,
    Table,
    confusion_changes,
    groups,
    hover_rows,
    interval_cell,
    strategy_keys,
)
from purescope.report.charts import SMALL, curve_chart
from purescope.tables import schemas
from purescope.tables.metrics import RETRIEVAL_METRICS, SHOWN
from purescope.tables.results import Results
from purescope.tables.retrieval import RETRIEVAL_COMPARISONS
from purescope.tables.schema import each_row

_TICKS = 12  # labels at an axis, at most
_NAME_HEIGHT = 0.1  # height of a name with two lines, as a share of the height of the chart
_ENDS = ("value", "low", "high", "least", "greatest")
_SMALL_METRICS = ("accuracy", "silhouette", *SHOWN)
_WITH_INTERVAL = ("accuracy", *RETRIEVAL_METRICS)
Pairs: TypeAlias = Mapping[tuple[str, str], str]  # "model/dataset" as numbers, by their names
Curves: TypeAlias = "dict[tuple[str, str, str], Curve]"  # by model, dataset and metric


@dataclass(frozen=True)
class Curve:
    """The values of one model, dataset and metric against k.

    Args:
        rows: strategy, k, value, low, high (for random orders the 5 % and 95 % quantiles), least,
            greatest; text and range, the same in words.
        levels: horizontal lines, each with name, label, value, text, and whether it lies below
            the plot.
        neurons: number of neurons of the model.
        images, classes: size of the dataset; captions are no classes, but count here.
        chance: accuracy of guessing; NaN for a metric without it.
        full: value, low and high with all neurons; empty where that was not measured.
        what: what `classes` counts: classes or captions.
    """

    rows: list[Row]
    levels: list[Row]
    neurons: int
    images: int
    classes: int
    chance: float
    full: Row
    what: str = "classes"

    @property
    def ks(self) -> list[int]:
        """The numbers of neurons kept, in increasing order."""
        return sorted({row["k"] for row in self.rows})

    @property
    def half(self) -> int:
        """The k nearest to half of the neurons; the smaller one of two equally near."""
        return min(self.ks, key=lambda k: abs(k - self.neurons / 2))

    @property
    def ticks(self) -> list[int]:
        """The ks labelled at the axis: all of them, or every second or third of many."""
        return self.ks[:: -(-len(self.ks) // _TICKS)]

    @property
    def few(self) -> list[int]:
        """The ks labelled in a small figure: the first, the middle one and the last."""
        return [*dict.fromkeys((self.ks[0], self.ks[len(self.ks) // 2], self.ks[-1]))]

    @property
    def data(self) -> dict[str, Any]:
        """What the script shows of the curve: rows to draw, and numbers as text."""
        ks = self.ks
        return {
            "rows": [_drawn(row) for row in self.rows],
            "levels": self.levels,
            "ticks": self.ticks,
            "few": self.few,
            "counts": {k: f"{k:,}" for k in ks},
            "shares": {
                k: f"{k:,} of {self.neurons:,}, {formats.percent(k / self.neurons, 0)} %"
                for k in ks
            },
            "full": f"All {self.neurons:,} neurons: {self.full['text']}." if self.full else "",
            "size": f"{self.images:,} images, {self.classes:,} {self.what}",
        }


def drawn_values(rows: list[Row]) -> list[float]:
    """Return all values and ends of intervals that are drawn."""
    return [row[end] for row in rows for end in _ENDS if end in row and row[end] == row[end]]


def curve(points: pd.DataFrame, metric: str) -> Curve | None:
    """Return the curve of one model, dataset and metric; None where nothing was swept.

    Args:
        points: their rows of `purescope.tables.schemas.CURVE_POINTS`.
        metric: decides on the format of the values.
    """
    swept = points[points.strategy != "full"].sort_values("k", kind="stable")
    if swept.empty:
        return None
    unit = "" if metric == "silhouette" else " %"

    def text(value: float) -> str:
        return formats.measure(value, metric) + unit

    rows: list[Row] = []
    for row in each_row(
        swept.sort_values("strategy", key=lambda name: name == "random", kind="stable")
    ):
        ends = _ENDS if row.strategy == "random" else _ENDS[:3]
        low, high = (formats.measure(end, metric) for end in (row.low, row.high))
        words = {"text": text(row.value), "range": "" if row.low != row.low else f"{low} to {high}"}
        numbers = {end: getattr(row, end) for end in ends}
        rows.append({"strategy": row.strategy, "k": int(row.k), **numbers, **words})
    first, full = points.iloc[0], points[points.strategy == "full"]
    everything: Row = {end: float(full[end].iloc[0]) for end in _ENDS[:3]} if len(full) else {}
    levels = _levels(rows, everything.get("value"), float(first.chance), int(first.neurons))
    return Curve(
        rows=rows,
        levels=[level | {"text": text(level["value"])} for level in levels],
        neurons=int(first.neurons),
        images=int(first.n),
        classes=int(first.classes),
        chance=float(first.chance),
        full=everything | ({"text": text(everything["value"])} if everything else {}),
        what="captions" if metric in RETRIEVAL_METRICS else "classes",
    )


def _levels(rows: list[Row], full: float | None, chance: float, neurons: int) -> list[Row]:
    """Return the horizontal lines for all neurons and for chance.

    Chance lies below the plot where its line would press the curves together. Two lines share one
    name where their names would overlap.
    """
    levels: list[Row] = []
    if full is not None:
        name = f"all {neurons:,} neurons"
        levels.append({"name": name, "label": name, "value": full, "below": False})
    values = [row["value"] for row in [*rows, *levels]]
    if not values or chance != chance:
        return levels
    below = bool(chance < min(values) - 0.4 * (max(values) - min(values)))
    label = f"↓ chance\n{formats.percent(chance)}%" if below else "chance"
    levels.append({"name": "chance", "label": label, "value": chance, "below": below})
    drawn = drawn_values([*rows, *levels])
    near = _NAME_HEIGHT * (max(drawn) - min(drawn))
    if not below and len(levels) == 2 and abs(levels[0]["value"] - chance) <= near:
        levels[0]["label"] += ", chance"
        levels[1]["label"] = ""
    return levels


def curves_of(points: pd.DataFrame) -> Curves:
    """Return all curves of a table of `purescope.tables.schemas.CURVE_POINTS`."""
    return {
        (str(model), str(dataset), str(metric)): own
        for (model, dataset, metric), rows in groups(points, "model", "dataset", "metric")
        if (own := curve(rows, str(metric)))
    }


def explorer(curves: Curves, looks: Sequence[Look], k: int) -> Figure:
    """Draw the first curve, as the figure in which the reader switches between all curves."""
    (model, dataset, metric), first = next(iter(curves.items()))
    shown = [look for look in looks if look.shown]
    sizes = {each.neurons for each in curves.values()}
    spec = curve_chart(
        rows_of(first, shown),
        first.levels,
        looks,
        at=k,
        percent=metric != "silhouette",
        neurons=first.neurons if len(sizes) == 1 else None,
        ticks=first.ticks,
    )
    title = f"{model} on {dataset}"
    about = f"{METRIC_NAMES[metric].lower()} against neurons kept"
    alt = f"{title}: {about}. {in_words(first, shown)}"
    return Figure("explorer", title, alt, spec, strategy_keys(shown))


def _panels(pairs: Pairs, curves: Curves, looks: Sequence[Look], k: int) -> list[Figure]:
    """Draw a small figure of each curve, for readers without scripts and for paper."""
    shown = [look for look in looks if look.shown]
    figures = []
    panels = [
        (f"panel-{pair.replace('/', '-')}-{metric.replace('@', '-')}", (model, dataset, metric))
        for metric in _SMALL_METRICS
        for (model, dataset), pair in pairs.items()
        if (model, dataset, metric) in curves
    ]
    for name, (model, dataset, metric) in panels:
        own, percent = curves[model, dataset, metric], metric != "silhouette"
        spec = curve_chart(
            rows_of(own, shown),
            own.levels,
            shown,
            at=k,
            percent=percent,
            neurons=own.neurons,
            ticks=own.few,
            width=SMALL,
            height=170,
            small=True,
        )
        words = METRIC_NAMES[metric].lower()
        alt = f"{model} on {dataset}: {words}. {in_words(own, shown)}"
        figures.append(Figure(name, f"{dataset}, {words}", alt, spec, note=model))
    return figures


def rows_of(own: Curve, shown: list[Look]) -> list[Row]:
    """Return the rows of the strategies that are shown, without their texts."""
    names = {look.name for look in shown}
    return [_drawn(row) for row in own.rows if row["strategy"] in names]


def _drawn(row: Row) -> Row:
    """Return a row without its texts, which are no part of a drawing."""
    return {name: value for name, value in row.items() if name not in ("text", "range")}


def in_words(own: Curve, shown: list[Look]) -> str:
    """Describe a curve: the values at the smallest, the middle and the largest k."""
    sentences = [own.data["full"]] if own.full else []
    chance = [level["text"] for level in own.levels if level["name"] == "chance"]
    sentences += [f"Chance: {text}." for text in chance]
    texts = {(row["strategy"], row["k"]): row["text"] for row in own.rows}
    for k in own.few:
        values = [
            f"{look.label} {texts[look.name, k]}" for look in shown if (look.name, k) in texts
        ]
        sentences.append(f"At {k:,}: {', '.join(values)}.")
    return " ".join(sentences)


_INTERVAL = "95 % interval"


def _tables_of(folder: Results, curves: Curves, pairs: Pairs) -> dict[str, dict[int, Table]]:
    """Return the tables at each k: one of all metrics of classes, or one for each of captions.

    Returns:
        The tables by "model/dataset" as numbers, and for captions by "model/dataset/metric".
    """
    compared: dict[Any, dict[Any, Any]] = {}
    classes = folder.rows(schemas.COMPARISONS).assign(metric="accuracy")
    for comparisons in (classes, folder.rows(RETRIEVAL_COMPARISONS)):
        for row in each_row(comparisons[comparisons.second == "random"]):
            own = compared.setdefault((str(row.model), str(row.dataset), row.metric), {})
            own[str(row.first), str(row.k)] = row
    tables = {}
    for (model, dataset), pair in pairs.items():
        by_metric = {name: curves.get((model, dataset, name)) for name in folder.metrics}
        measured = {name: own for name, own in by_metric.items() if own}
        captions = {name: own for name, own in measured.items() if name in RETRIEVAL_METRICS}
        together = {pair: {name: own for name, own in measured.items() if name not in captions}}
        alone = {f"{pair}/{name}": {name: own} for name, own in captions.items()}
        for key, group in (alone or together).items():
            metric = next(iter(group), "accuracy")
            differences = compared.get((model, dataset, metric), {})
            tables[key] = _tables_at_k(
                f"{model} on {dataset}", group, differences, folder.strategies
            )
    return tables


def _tables_at_k(
    title: str, curves: Mapping[str, Curve], differences: Mapping[Any, Any], strategies: list[str]
) -> dict[int, Table]:
    """Return for each k a table of all metrics of each strategy, of all neurons and of chance.

    Args:
        title: model and dataset, for the caption.
        curves: the curves of this model and dataset, by metric.
        differences: the comparisons with random, by strategy and k.
        strategies: their names, in order.
    """
    headings = [Heading("Kept", name="strategy")]
    for metric in curves:
        unit = "" if metric == "silhouette" else ", %"
        headings.append(Heading(METRIC_NAMES[metric] + unit, True, metric))
        if metric in _WITH_INTERVAL:
            headings.append(Heading(_INTERVAL, name=f"{metric}_low {metric}_high"))
    headings += [
        Heading("Minus random", True, "minus_random"),
        Heading(_INTERVAL, name="minus_random_low minus_random_high"),
        Heading("p", True, "p"),
        Heading("p (Holm)", True, "p_holm"),
    ]
    chances = {
        metric: {"value": own.chance} for metric, own in curves.items() if own.chance == own.chance
    }
    full = {metric: own.full for metric, own in curves.items() if own.full}
    tables = {}
    for k in sorted({k for own in curves.values() for k in own.ks}):
        kept = {name: dict[str, Row]() for name in strategies} | {"full": full, "chance": chances}
        for metric, own in curves.items():
            for row in own.rows:
                if row["k"] == k:
                    kept[row["strategy"]][metric] = row
        rows = [
            _row(name, values, [*curves], differences.get((name, str(k))))
            for name, values in kept.items()
            if values
        ]
        tables[k] = Table("at", f"{title}, {k:,} neurons kept", headings, rows)
    return tables


def _row(strategy: str, values: Mapping[str, Row], metrics: list[str], compared: Any) -> list[Cell]:
    """Return one row of the table at one k: values by metric, and the comparison with random."""
    cells = [Cell(strategy_name(strategy), strategy)]
    for metric in metrics:
        ends = values.get(metric, {})
        cells.append(Cell(formats.measure(ends.get("value"), metric), ends.get("value")))
        if metric in _WITH_INTERVAL:
            cells.append(interval_cell(ends.get("low"), ends.get("high"), formats.percent))
    if compared is None:
        return cells + [Cell(formats.NONE)] * 4
    p, holm = compared.permutation_p, compared.permutation_holm
    return [
        *cells,
        Cell(formats.points(compared.difference), compared.difference),
        interval_cell(compared.low, compared.high, formats.points),
        Cell(formats.short(p, 2), p),
        Cell(formats.short(holm, 2), holm),
    ]


def first_choice(pairs: Pairs, curves: Curves) -> dict[str, Any]:
    """Choose what is shown first: the first curve, at about half of the neurons.

    The title of the page asks about half of the neurons.
    """
    if not curves:
        return {"model": 0, "dataset": 0, "metric": "accuracy", "k": 0}
    (model, dataset, metric), first = next(iter(curves.items()))
    number, place = map(int, pairs[model, dataset].split("/"))
    return {"model": number, "dataset": place, "metric": metric, "k": first.half}


def curves_section(folder: Results, looks: Sequence[Look]) -> Section:
    """Show all curves of the folder, with a table at each k and the confusions of classes."""
    curves = curves_of(folder.rows(schemas.CURVE_POINTS))
    pairs = {
        (model, dataset): f"{number}/{place}"
        for number, model in enumerate(folder.models)
        for place, dataset in enumerate(folder.datasets)
    }
    chosen = first_choice(pairs, curves)
    confusions = folder.rows(schemas.CONFUSIONS)
    confusions = confusions[confusions.truth != confusions.predicted]
    changes = {
        pairs[str(model), str(dataset)]: confusion_changes(rows)
        for (model, dataset), rows in groups(confusions, "model", "dataset")
    }
    tables = _tables_of(folder, curves, pairs)
    data, hovers = {}, {}
    for (model, dataset, metric), each in curves.items():
        key = f"{pairs[model, dataset]}/{metric}"
        start = f"{METRIC_NAMES[metric]}. {each.data['full']}".strip()
        data[key] = each.data | {"start": start}
        hovers[key] = hover_rows(each.rows, each.levels)
    figures = _panels(pairs, curves, looks, chosen["k"])
    pair = f"{chosen['model']}/{chosen['dataset']}"
    first = tables.get(f"{pair}/{chosen['metric']}", tables.get(pair, {})).get(chosen["k"])
    return Section(
        "curves",
        "Curves",
        "What is lost at each k",
        figures=[explorer(curves, looks, chosen["k"]), *figures] if curves else [],
        tables=[first] if first else [],
        swaps=tables,
        changes=changes,
        data={"chosen": chosen, "curves": data},
        packed={"hovers": hovers},
    )
