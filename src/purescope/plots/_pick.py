"""Which rows of a table a plot is of."""

from collections.abc import Mapping

import pandas as pd

from purescope.errors import InputError, near_miss
from purescope.tables.files import check_table
from purescope.tables.schema import Schema
from purescope.tables.schemas import RESULTS


def pick(table: pd.DataFrame, wanted: Mapping[str, str | None], schema: Schema = RESULTS) -> pd.DataFrame:
    """The rows of those names, column by column; a name that is None is the only one there is."""
    table = check_table(table, schema)
    for column, name in sorted(wanted.items(), key=lambda item: item[1] is None):
        table = named_rows(table, column, name)
    return table


def pick_metric(table: pd.DataFrame, metric: str, model: str | None, dataset: str | None) -> pd.DataFrame:
    """The rows of one metric, model and dataset of a result table."""
    table = pick(table, {"model": model, "dataset": dataset})
    rows = table[table.metric == metric]
    if rows.empty:
        raise InputError(f"a table without {metric}", expected=f"rows of the metric {metric}")
    return rows


def named_rows(table: pd.DataFrame, column: str, name: str | None) -> pd.DataFrame:
    """The rows of that name, or of the only name there is."""
    names = [str(there) for there in table[column].unique()]
    if name is None and len(names) != 1:
        raise InputError(
            f"a table of {len(names)} {column}s", expected="one", fix=f"name it, {column}=: {', '.join(names)}"
        )
    if name is not None and name not in names:
        raise InputError(f"no {column} {name!r} in this table", **near_miss(name, names))
    return table[table[column] == (names[0] if name is None else name)]


def curve(rows: pd.DataFrame, strategy: str) -> pd.Series:
    """Value by k of a strategy that has one order."""
    return rows[rows.strategy == strategy].set_index("k").value.sort_index()


def draws(rows: pd.DataFrame) -> pd.DataFrame:
    """Value of the random orders, one row for each draw, one column for each k."""
    return rows[rows.strategy == "random"].pivot(index="draw", columns="k", values="value")


def both_curves(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Of high and of low purity.

    Raises:
        InputError: one is not there.
    """
    high, low = (curve(rows, strategy) for strategy in ("high_purity", "low_purity"))
    if high.empty or low.empty:
        raise InputError(
            f"a table with the strategies {', '.join(rows.strategy.unique())}", expected="high_purity and low_purity"
        )
    return high, low


def dataset_title(rows: pd.DataFrame) -> str:
    return f"{rows.dataset.iloc[0]}, {rows.classes.iloc[0]:,} classes, {rows.n.iloc[0]:,} images"
