"""The frontier and its figure show the rows of the table."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from purescope.errors import InputError
from purescope.plots.frontier import find_frontier, plot_frontier, write_frontiers
from purescope.tables.files import check_table
from purescope.tables.searches import SEARCHES

RNG = np.random.default_rng(0)


def made(task: str = "same_label", dataset: str = "a_$b$") -> pd.DataFrame:
    rows = []
    for k, (code, size), stage in product(
        (8, 16), (("f32", 32), ("int8", 8), ("pq4", 0)), ("single", "reranked")
    ):
        recall, right = RNG.random(2)
        rows.append(
            {"model": "m", "dataset": dataset, "queries": "held-out", "axes": "svd"}
            | {"k": k, "code": code, "stage": stage, "bytes": size * k // 8 or 4}
            | {"recall": recall, "recall_low": recall / 2, "recall_high": (1 + recall) / 2}
            | {"task": right, "task_low": right / 2, "task_high": 1.0, "task_exact": 0.75}
            | {"task_metric": task, "shared_bytes": 0, "build_seconds": 1.0, "query_ms": 0.5}
            | {"candidates": 100, "vectors": 900, "n": 50, "neurons": 16}
            | {"normalise": True, "seed": 0}
        )
    return check_table(pd.DataFrame(rows), SEARCHES)


def test_each_code_has_two_lines_of_its_rows() -> None:
    table = made()
    panel = plot_frontier(table, ax=Figure().subplots())
    lines = {str(line.get_label()): line for line in panel.lines}
    assert list(lines) == [
        name + end for name in ("f32", "int8", "pq4") for end in ("", ", reranked")
    ]
    for name, line in lines.items():
        code, stage = name.split(",")[0], "reranked" if "," in name else "single"
        rows = table[(table.code == code) & (table.stage == stage)].sort_values("k")
        assert line.get_xdata().tolist() == rows.bytes.tolist()
        assert line.get_ydata() == pytest.approx(100 * rows.recall.to_numpy())
    assert panel.get_title(loc="left") == "a_$b$: 900 vectors, 50 queries"
    assert [tick for tick in panel.get_xticks() if tick < 100] == [4, 8, 16, 32, 64]


def test_the_task_has_the_line_of_the_exact_search() -> None:
    panel = plot_frontier(made("own_image"), show="task", ax=Figure().subplots())
    level = next(line for line in panel.lines if line.get_label() == "exact search")
    assert list(level.get_ydata()) == [75, 75] and "Own image" in panel.get_ylabel()
    empty = made("").assign(task=math.nan, task_low=math.nan, task_high=math.nan)
    with pytest.raises(InputError, match="without a task"):
        plot_frontier(empty, show="task")


def test_no_row_of_the_frontier_is_beaten() -> None:
    rows = made()
    for stage in ("single", "reranked"):
        own = rows[rows.stage == stage]
        frontier = find_frontier(rows, stage)
        for row in own.itertuples():
            beaten = any(
                other.recall >= row.recall
                and other.bytes <= row.bytes
                and (other.recall, -other.bytes) != (row.recall, -row.bytes)
                for other in own.itertuples()
            )
            assert ((frontier.k == row.k) & (frontier.code == row.code)).any() == (not beaten)


@pytest.mark.slow
def test_each_dataset_has_a_file(tmp_path: Path) -> None:
    table = pd.concat([made(), made(dataset="b")], ignore_index=True)
    written = write_frontiers(table, tmp_path, ("svg",))
    assert [path.name for path in written] == ["searches_m_a_b.svg", "searches_m_b.svg"]
    assert all(path.stat().st_size > 1000 for path in written)
