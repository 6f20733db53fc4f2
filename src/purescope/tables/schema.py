"""Describe a table: its columns with types and ranges, and the columns that identify a row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

Number: TypeAlias = int | float
Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Flags: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

STRINGS = pd.StringDtype("python")
"""The type of columns of text. A run makes and checks many small tables, and Arrow's type takes
twice the time for them.
"""


@contextmanager
def plain_texts() -> Iterator[None]:
    """Hold texts that pandas finds in new tables, and names of columns, as Python's and not as
    Arrow's: a run of one small model takes a tenth less time.
    """
    with pd.option_context("mode.string_storage", "python"):
        yield


_ROUNDING = 1e-6  # of single precision: a cosine may be 1.0000002


def each_row(table: pd.DataFrame) -> Iterator[Any]:
    """Return each row of a table, with its columns as attributes."""
    yield from table.itertuples(index=False)


def stack_tables(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return tables of one kind one below the other; at least one is given.

    Tables without rows are left out, because the types of their columns are unknown.
    """
    filled = [table for table in tables if len(table)] or tables[:1]
    return pd.concat(filled, ignore_index=True)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        dtype: pandas' name of its type.
        about: what it holds, for readers of the files.
        low, high: the range of its numbers, both ends included.
        missing: whether NaN is allowed.
        infinite: whether infinity is allowed.
        choices: the texts that are allowed; empty allows any text.
    """

    dtype: str
    about: str
    low: Number = -inf
    high: Number = inf
    missing: bool = False
    infinite: bool = False
    choices: tuple[str, ...] = ()

    def wrong(self, values: Array) -> Flags:
        """Tell which values are not allowed; `values` have the type of the column."""
        fine: Flags = np.ones(len(values), dtype=bool)
        if self.choices:
            allowed = frozenset(self.choices)  # faster than pandas on small tables
            fine = np.array([value in allowed for value in values.tolist()], dtype=bool)
        elif self.dtype in ("float64", "int64"):
            fine = (values >= self.low - _ROUNDING) & (values <= self.high + _ROUNDING)
            if self.dtype == "float64":
                fine &= np.isfinite(values)
                if self.missing:
                    fine |= np.isnan(values)
                if self.infinite:
                    fine |= np.isinf(values)
        return ~fine

    @property
    def expected(self) -> str:
        """The values that are allowed, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        ends = [
            f"from {self.low:g}" if self.low > -inf else "",
            f"up to {self.high:g}" if self.high < inf else "",
            "infinite" if self.infinite else "",
            "or NaN" if self.missing else "",
        ]
        kind = "whole numbers" if self.dtype == "int64" else "numbers"
        return " ".join(filter(None, [kind, *ends]))


def text(about: str, *choices: str) -> Column:
    """Describe a column of texts."""
    return Column("string", about, choices=choices)


def whole(about: str, low: Number = 0, high: Number = inf) -> Column:
    """Describe a column of whole numbers."""
    return Column("int64", about, low, high)


def real(
    about: str,
    low: Number = -inf,
    high: Number = inf,
    *,
    missing: bool = False,
    infinite: bool = False,
) -> Column:
    """Describe a column of numbers."""
    return Column("float64", about, low, high, missing, infinite)


def flag(about: str) -> Column:
    """Describe a column of yes and no."""
    return Column("bool", about)


@dataclass(frozen=True)
class Rule:
    """A condition on the values of a row.

    Args:
        says: the condition, in words.
        broken: tells which rows break it, given the values of each column.
    """

    says: str
    broken: Callable[[Mapping[str, Array]], Flags]


@dataclass(frozen=True)
class Schema:
    """The columns of a tidy table, and those that identify a row.

    Args:
        name: the name of its files.
        row: what a row is, in one word.
        described: the columns by name, in their order in the files.
        key: the columns that identify a row.
        rules: further conditions on each row.
        more: what additional columns hold; None allows any.
    """

    name: str
    row: str
    described: Mapping[str, Column]
    key: Sequence[str]
    rules: Sequence[Rule] = ()
    more: Column | None = None

    @cached_property
    def columns(self) -> dict[str, str]:
        """The type of each column, by its name."""
        return {name: column.dtype for name, column in self.described.items()}
