"""What tables are made of: columns, their types and ranges, and what tells rows apart."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

Number: TypeAlias = int | float
Flags: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

STRINGS = pd.StringDtype("python")
"""The type of columns of words. A run makes and checks many small tables; Arrow's words take twice
the time there.
"""

_ROUNDING = 1e-6  # of what was measured in single precision: a cosine of 1.0000002 is one


def each_row(table: pd.DataFrame) -> Iterator[Any]:
    """Return each row of a table, with its columns as attributes."""
    yield from table.itertuples(index=False)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        dtype: pandas' name of its type.
        about: what it holds, in a few words, for readers of the files.
        low, high: the range of its numbers, both ends included.
        missing: whether NaN may stand in it.
        infinite: whether infinity may.
        choices: the words that may stand in it; any, where none is named.
    """

    dtype: str
    about: str
    low: Number = -inf
    high: Number = inf
    missing: bool = False
    infinite: bool = False
    choices: tuple[str, ...] = ()

    def wrong(self, values: "pd.Series[Any]") -> Flags:
        """Tell which values cannot stand in this column; `values` have its type already."""
        wrong: Flags = np.zeros(len(values), dtype=bool)
        if self.choices:
            wrong = ~values.isin(self.choices).to_numpy(dtype=bool)
        elif self.dtype in ("float64", "int64"):
            numbers = (
                values.to_numpy()
            )  # a run checks many small tables, where pandas would take most of its time
            wrong = (numbers < self.low - _ROUNDING) | (numbers > self.high + _ROUNDING)
            if self.dtype == "float64":
                endless = np.isinf(numbers)
                wrong = (
                    (wrong & ~endless)
                    | (endless & (not self.infinite))
                    | (np.isnan(numbers) & (not self.missing))
                )
        return wrong

    @property
    def expected(self) -> str:
        """Which values can stand in it, in words."""
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
    """Describe a column of words."""
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
    """What the values of a row must be to each other.

    Args:
        says: what holds where it is kept.
        broken: tells which rows of a table break it.
    """

    says: str
    broken: Callable[[pd.DataFrame], "pd.Series[bool]"]


@dataclass(frozen=True)
class Schema:
    """The columns of a tidy table, and those that tell its rows apart.

    Args:
        name: of its files.
        row: what a row is.
        described: the columns by name, in the order in the files.
        key: columns that no two rows share.
        rules: what else holds in each row.
        more: what further columns hold, where there can be some.
    """

    name: str
    row: str
    described: Mapping[str, Column]
    key: Sequence[str]
    rules: Sequence[Rule] = ()
    more: Column | None = None

    @property
    def columns(self) -> dict[str, str]:
        """Name and type of each column."""
        return {name: column.dtype for name, column in self.described.items()}
