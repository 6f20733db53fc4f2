"""What a page is built of: sections with answers, figures and tables.

Among the parts of a section are the classes that are confused more or less often without the
dropped neurons, and the texts at the pointer of a chart.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from purescope import formats
from purescope.formats import Look, strategy_name

Row = dict[str, Any]
Spec = dict[str, Any]

HIGH, LOW, RANDOM, INK = (
    "var(--high-purity)",
    "var(--low-purity)",
    "var(--random)",
    "currentColor",
)
DATA_COLOURS = [HIGH, LOW, *(f"var(--more-{number})" for number in range(1, 5))]
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down")
"""Shapes of the points of each kind of value, in the order of the kinds."""


_CHANGES = 6  # pairs of classes that are confused more often, and as many confused less often


@dataclass(frozen=True)
class Change:
    """A pair of classes, and how many images are confused.

    Args:
        truth, predicted: the classes.
        full: number of images with all neurons.
        count: number of images with k neurons.
    """

    truth: str
    predicted: str
    full: int
    count: int

    @property
    def kind(self) -> str:
        """The class of its HTML element: whether there are more images, or fewer."""
        return "more" if self.count > self.full else "less"

    @property
    def difference(self) -> str:
        """The change in the number of images, with its sign."""
        return formats.minus(f"{self.count - self.full:+d}")


@dataclass(frozen=True)
class Key:
    """One entry of a legend: the meaning of a colour, a dash and a shape."""

    label: str
    colour: str
    dash: tuple[int, ...] = (1, 0)
    shape: str = ""
    filled: bool = True
    band: bool = False


def keys_of(colours: Mapping[str, str], *, lines: bool = True) -> tuple[Key, ...]:
    """Return the legend of a chart of dots or lines, which mark kinds in the same way."""
    solid, dashed = ((1, 0), (6, 2)) if lines else ((), ())
    return tuple(
        Key(label, colour, solid if number % 2 == 0 else dashed, shape, filled=number % 2 == 0)
        for number, ((label, colour), shape) in enumerate(
            zip(colours.items(), SHAPES * 3, strict=False)
        )
    )


def strategy_keys(looks: Iterable[Look]) -> tuple[Key, ...]:
    """Return the legend of a chart of curves: the strategies, all neurons and chance."""
    keys = [
        Key(look.label, look.colour, look.dash, look.shape, look.filled, look.name == "random")
        for look in looks
    ]
    return (*keys, Key("all neurons", INK, (3, 3)), Key("chance", INK, (1, 4)))


@dataclass(frozen=True)
class Figure:
    """A chart with its heading and its description.

    Args:
        name: id of its HTML element, valid in HTML and CSS.
        title: its heading.
        alt: what it shows, in numbers, for readers who do not see it.
        spec: its Vega-Lite specification.
        keys: its legend.
        choices: other rows that the reader can switch to, by "model/dataset" as numbers: for each,
            the named sets of rows.
        chosen: the choice that is shown first.
        note: text below the heading.
        alts: what each choice shows, in the same form as `alt`, by "model/dataset" as numbers.
        hovers: the texts at the pointer of a chart of curves, see `purescope.report.blocks`.
        filled: the named sets of rows that the script fills from other data of the page.
    """

    name: str
    title: str
    alt: str
    spec: Spec
    keys: tuple[Key, ...] = ()
    choices: Mapping[str, Mapping[str, list[Row]]] = field(default_factory=dict)
    chosen: str = ""
    note: str = ""
    alts: Mapping[str, str] = field(default_factory=dict)
    hovers: list[Row] = field(default_factory=list)
    filled: tuple[str, ...] = ()

    @property
    def live(self) -> dict[str, Any]:
        """The data that the script needs to draw the figure."""
        rows = self.spec["datasets"] | dict.fromkeys(self.filled, ())
        optional = {"choices": self.choices, "alts": self.alts, "hovers": self.hovers}
        return {"spec": self.spec | {"datasets": rows}} | {
            name: value for name, value in optional.items() if value
        }


@dataclass(frozen=True)
class Cell:
    """A cell of a table: the text that is shown, and the value behind it."""

    shown: str
    value: float | int | str | None = None

    @property
    def full(self) -> str:
        """The value with all digits, for sorting and for copies."""
        if self.value is None or self.value != self.value:
            return ""
        return repr(float(self.value)) if isinstance(self.value, float) else str(self.value)


def interval_cell(low: Any, high: Any, show: Callable[[Any], str]) -> Cell:
    """Return a cell with both ends of an interval; a dash where there is none."""
    if low is None or low != low:
        return Cell(formats.NONE)
    return Cell(f"{show(low)} to {show(high)}", f"{low} {high}")


@dataclass(frozen=True)
class Heading:
    """The heading of a column.

    Args:
        text: its words.
        numeric: whether the column holds numbers.
        name: its name in a copy; for an interval, whose cells hold two numbers, two names.
    """

    text: str
    numeric: bool = False
    name: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Args:
        name: a short unique name, for its HTML element and for the files made of it.
        caption: what it shows.
        headings, rows: the first cell of a row is the heading of that row.
    """

    name: str
    caption: str
    headings: list[Heading]
    rows: list[list[Cell]] = field(default_factory=list)


@dataclass(frozen=True)
class Column:
    """A column of a table to show: its name, its heading, and the format of its values."""

    name: str
    heading: str
    show: Callable[[Any], str] | None = None


NAMED = [Column("model", "Model"), Column("dataset", "Dataset")]


def ends(name: str, show: Callable[[Any], str]) -> list[Column]:
    """Return the columns of the two ends of an interval: `name` with the suffixes low and high."""
    prefix = f"{name}_" if name else ""
    return [Column(f"{prefix}low", "from", show), Column(f"{prefix}high", "to", show)]


def make_table(name: str, caption: str, table: pd.DataFrame, columns: Iterable[Column]) -> Table:
    """Show columns of a table, in their order, without those that have no value."""
    shown = [
        column for column in columns if column.name in table and table[column.name].notna().any()
    ]
    headings = [Heading(column.heading, column.show is not None, column.name) for column in shown]
    values = [table[column.name].to_list() for column in shown]
    rows = [
        [_cell(value, column) for value, column in zip(row, shown, strict=True)]
        for row in zip(*values, strict=True)
    ]
    return Table(name, caption, headings, rows)


def _cell(value: Any, column: Column) -> Cell:
    if pd.isna(value):
        return Cell(formats.NONE if column.show else "", None)
    if column.show is None:
        return Cell(str(value), str(value))
    return Cell(column.show(value), value)


def groups(table: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Group the rows by these columns, in the order in which the groups first appear.

    Yields:
        The value of the column, or a tuple of the values of several columns; and the rows.
    """
    yield from table.groupby(columns[0] if len(columns) == 1 else list(columns), sort=False)


@dataclass(frozen=True)
class Answer:
    """One result in words; each text is empty where it was not measured.

    Args:
        word: outcome of the verdict.
        claim: the result in one sentence.
        half: how much accuracy about half of the neurons keeps, which the title of the page asks.
        evidence: the numbers behind the claim.
    """

    word: str
    claim: str
    half: str = ""
    evidence: str = ""


@dataclass(frozen=True)
class Section:
    """Figures and tables under one heading.

    Args:
        name: id of its HTML element.
        short: its name in the navigation of the page.
        title: its heading.
        lead: one sentence on what it shows.
        figures, tables: what it shows, in this order.
        answers: its results in words, which stand at the top of the page.
        links: addresses and texts of related pages.
        commands: what to run next, each with the sentence before it.
        swaps: tables that the script swaps for the first one, by "model/dataset" as numbers, or by
            "model/dataset/metric" where each metric has its own; and by k.
        changes: the confusions that change, by "model/dataset" as numbers and "strategy/k".
        data, packed: what the script needs; `packed` is compressed.
    """

    name: str
    short: str
    title: str
    lead: str = ""
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    swaps: Mapping[str, Mapping[int, Table]] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, list[Change]]] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    packed: Mapping[str, Any] = field(default_factory=dict)


def confusion_changes(table: pd.DataFrame) -> dict[str, list[Change]]:
    """Return the pairs of classes whose count changes most, by "strategy/k".

    Args:
        table: the confusions of one model and dataset.

    Returns:
        Up to `_CHANGES` pairs that are confused more often, and as many that are confused less
        often.
    """
    pairs = table.groupby(["truth", "predicted"], sort=True)
    pair_of_row = pairs.ngroup().to_numpy()
    names = [(str(truth), str(predicted)) for truth, predicted in pairs.size().index]
    images = table["count"].to_numpy()
    kept: Any = table.groupby(["strategy", "k"], sort=False).indices
    counts = {
        (str(strategy), k): np.bincount(pair_of_row[rows], images[rows], len(names)).astype(int)
        for (strategy, k), rows in kept.items()
    }
    none = np.zeros(len(names), int)
    full = sum((count for (name, _), count in counts.items() if name == "full"), none)
    changes = {}
    for (strategy, k), count in counts.items():
        if strategy == "full":
            continue
        change = count - full
        more, less = np.argsort(-change, kind="stable"), np.argsort(change, kind="stable")
        ends = [i for i in more[:_CHANGES] if change[i] > 0]
        ends += [i for i in less[:_CHANGES] if change[i] < 0]
        changes[f"{strategy}/{k}"] = [
            Change(truth, predicted, int(full[i]), int(count[i]))
            for i in ends
            for truth, predicted in [names[i]]
        ]
    return changes


def hover_rows(rows: Sequence[Row], levels: Sequence[Row]) -> list[Row]:
    """Write the text of each k, and the range of ks in which the pointer shows it.

    Args:
        rows, levels: those of a `purescope.report.curves.Curve`.

    Returns:
        ``k``; ``from`` and ``to``, half way to the next ks, None at both ends; ``title``;
        ``texts``: strategy, label and value of each curve at this k, then of each level, whose
        strategy is empty. The script leaves out the curves that are hidden.
    """
    ks = sorted({row["k"] for row in rows})
    across = [["", level["name"], level["text"]] for level in levels]
    hovers = []
    for before, k, after in zip([None, *ks], ks, [*ks[1:], None], strict=False):
        texts = [
            [
                row["strategy"],
                strategy_name(row["strategy"])
                + (", median" if row["strategy"] == "random" else ""),
                row["text"] + (f" ({row['range']})" if row["range"] else ""),
            ]
            for row in rows
            if row["k"] == k
        ]
        ends = {
            "from": None if before is None else (before + k) / 2,
            "to": None if after is None else (k + after) / 2,
        }
        hovers.append({"k": k, **ends, "title": f"{k:,} neurons kept", "texts": texts + across})
    return hovers
