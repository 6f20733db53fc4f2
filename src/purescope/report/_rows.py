"""Rows of a table, one after the other."""

from collections.abc import Iterator
from typing import Any

import pandas as pd


def rows(table: pd.DataFrame) -> Iterator[Any]:
    """Each row with its columns as attributes."""
    yield from table.itertuples(index=False)


def groups(table: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The rows that share these columns' values, in the order they come; of one column the value, else a tuple."""
    yield from table.groupby(columns[0] if len(columns) == 1 else list(columns), sort=False)
