"""What a search finds, what a vector takes, and how long it takes, by dimensions and code.

The frontier is the set of rows of which no other finds more with as few bytes.
"""

from math import inf

import pandas as pd

from purescope.tables.columns import DATASET, MODEL, RESULT_COLUMNS, K
from purescope.tables.schema import Column, Rule, Schema, each_row, flag, real, text, whole

STAGES = ("single", "reranked")
QUERIES = ("held-out", "text")
TASKS = ("same_label", "own_image", "")

_LOW = "lower end of its 95 % bootstrap confidence interval over queries"
_HIGH = "upper end of that interval"

SEARCH_COLUMNS: dict[str, Column] = {
    "model": MODEL,
    "dataset": DATASET,
    "queries": text("held-out: vectors that are not in the index; text: texts", *QUERIES),
    "axes": text(
        "axes whose first k are kept, such as svd; first_k for the dimensions as they are"
    ),
    "k": K,
    "code": text("f32, f16, int8, binary, or pq with its number of bytes"),
    "stage": text(
        "single: the ten that the index finds; reranked: the ten best of its candidates by the "
        "whole vectors",
        *STAGES,
    ),
    "recall": real(
        "recall@10: share of the ten returned that are as near as the ten that an exact search "
        "with all dimensions finds",
        0,
        1,
    ),
    "recall_low": real(_LOW, 0, 1),
    "recall_high": real(_HIGH, 0, 1),
    "task": real("what the task measures; NaN without labels or captions", 0, 1, missing=True),
    "task_low": real(_LOW, 0, 1, missing=True),
    "task_high": real(_HIGH, 0, 1, missing=True),
    "task_exact": real("the same for an exact search with all dimensions", 0, 1, missing=True),
    "task_metric": text(
        "same_label: share of the ten that have the label of the query; own_image: share of "
        "captions whose image is among the ten; empty without labels or captions",
        *TASKS,
    ),
    "bytes": whole("bytes of a vector in the index", 1),
    "shared_bytes": whole("bytes of what all share: ranges, codebooks, centres, a rotation"),
    "build_seconds": real("seconds to build the index", 0),
    "query_ms": real("milliseconds a query, with many queries at once on all cores", 0),
    "candidates": whole("number of candidates that are ordered again by the whole vectors", 1),
    "vectors": whole("number of vectors in the index", 1),
    "n": whole("number of queries", 2),
    "neurons": RESULT_COLUMNS["neurons"],
    "normalise": flag("whether rows and queries were scaled to length 1 over the kept axes"),
    "seed": whole("seed of queries, codebooks and rotations that are drawn", -inf),
}

SEARCHES = Schema(
    "searches",
    "search",
    SEARCH_COLUMNS,
    ("model", "dataset", "queries", "axes", "k", "code", "stage"),
    (
        Rule("k <= neurons", lambda of: of["k"] > of["neurons"]),
        Rule("recall_low <= recall_high", lambda of: of["recall_low"] > of["recall_high"]),
        Rule("task_low <= task_high", lambda of: of["task_low"] > of["task_high"]),
    ),
)


def find_frontier(table: pd.DataFrame, stage: str) -> pd.DataFrame:
    """Return the rows of which no other finds more with as few bytes, by rising bytes.

    Args:
        table: rows of one model and dataset.
        stage: ``single`` or ``reranked``.

    Examples:
        >>> rows = {"stage": "single", "bytes": [8, 8, 16, 32], "recall": [0.5, 0.6, 0.4, 0.9]}
        >>> find_frontier(pd.DataFrame(rows), "single").bytes.tolist()
        [8, 32]
    """
    rows = table[table.stage == stage].sort_values(
        ["bytes", "recall"], ascending=[True, False], kind="stable"
    )
    places, best = [], -1.0
    for place, row in enumerate(each_row(rows)):
        if row.recall > best:
            places.append(place)
            best = row.recall
    return rows.iloc[places]


def family_of(code: str) -> str:
    """Return the code without its number of bytes, by which codes are drawn alike.

    Examples:
        >>> family_of("pq64"), family_of("int8")
        ('pq', 'int8')
    """
    return "pq" if code.startswith("pq") else code


def find_lines(table: pd.DataFrame, show: str = "recall") -> pd.DataFrame:
    """Return for each stage, family of codes and number of bytes the row of the largest value.

    ``pq`` takes the same bytes for each number of axes, so most of its rows are not among them.

    Args:
        table: rows of one model and dataset.
        show: ``recall`` or ``task``.

    Returns:
        Rows with the additional column ``family``, by rising bytes.
    """
    rows = table.assign(family=table.code.map(family_of))
    best = rows.groupby(["stage", "family", "bytes"], sort=False)[show].idxmax()
    return rows.loc[best.to_numpy()].sort_values("bytes", kind="stable")
