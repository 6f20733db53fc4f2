"""Tables of the page: what is shown, and the whole number behind it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pandas as pd

from purescope import formats
from purescope.report.figures import Figure


def groups(table: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The rows that share these columns' values, in the order they come; of one column the value,
    else a tuple.
    """
    yield from table.groupby(columns[0] if len(columns) == 1 else list(columns), sort=False)


@dataclass(frozen=True)
class Cell:
    """What is shown, and the value it stands for: a number of the table, or text."""

    shown: str
    value: float | int | str | None = None

    @property
    def full(self) -> str:
        """The value to the last digit, for sorting and for copies."""
        if self.value is None or self.value != self.value:
            return ""
        return repr(float(self.value)) if isinstance(self.value, float) else str(self.value)


@dataclass(frozen=True)
class Heading:
    """Of a column.

    Args:
        text: its words.
        numeric: whether numbers stand below it.
        name: what it is called in a copy; two names of an interval, whose cells hold two numbers.
    """

    text: str
    numeric: bool = False
    name: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a name of its own on the page.

    Args:
        name: a short one, for its element and for the files made of it.
        caption: what it shows.
        headings, rows: the first cell of a row is its heading.
    """

    name: str
    caption: str
    headings: list[Heading]
    rows: list[list[Cell]] = field(default_factory=list)


@dataclass(frozen=True)
class Column:
    """A column of a table to show: its name there, its heading, and how its values are written."""

    name: str
    heading: str
    show: Callable[[Any], str] | None = None


Found: TypeAlias = tuple[list[Figure], list[Table]]
"""What a section shows."""


def make_table(name: str, caption: str, table: pd.DataFrame, columns: Iterable[Column]) -> Table:
    """The columns of a table, in its order, leaving out those without any value."""
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
