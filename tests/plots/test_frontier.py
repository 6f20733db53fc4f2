"""The figure of the frontier shows the best rows of each code."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from purescope.errors import InputError
from purescope.plots.folder import draw_folder
from purescope.plots.frontier import frontier_figure, plot_frontier, write_frontiers
from purescope.tables.files import write_table
from purescope.tables.searches import SEARCHES
from tests.searched import made_searches


def lines(panel: Axes) -> dict[str, Line2D]:
    return {str(line.get_gid()): line for line in panel.lines if line.get_gid()}


@pytest.mark.parametrize("show", ["recall", "task"])
def test_each_code_has_two_lines_of_its_best_rows(show: str) -> None:
    table = made_searches()
    panel = plot_frontier(table, show=show, ax=Figure().subplots())
    drawn = lines(panel)
    assert sorted(drawn) == [
        f"{name}-{s}" for name in ("f32", "int8", "pq") for s in ("reranked", "single")
    ]
    for name, line in drawn.items():
        family, stage = name.split("-")
        rows = table[table.code.str.startswith(family) & (table.stage == stage)]
        best = {size: max(rows[rows.bytes == size][show]) for size in sorted(set(rows.bytes))}
        assert np.asarray(line.get_xdata()).tolist() == list(best)
        assert line.get_ydata() == pytest.approx([100 * value for value in best.values()])
        assert len(best) == (1 if family == "pq" else 2)
    assert [tick for tick in panel.get_xticks() if tick < 100] == [4, 8, 16, 32, 64]


def test_a_plot_that_stands_alone_has_a_heading_and_a_legend() -> None:
    panel = plot_frontier(made_searches())
    assert panel.get_title(loc="left") == "a_$b$: 900 vectors, 50 queries"
    (legend,) = panel.figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"f32", "int8", "pq", "reranked"}


def test_the_task_has_the_line_of_the_exact_search() -> None:
    panel = plot_frontier(made_searches("own_image"), show="task", ax=Figure().subplots())
    level = next(line for line in panel.lines if line.get_label() == "exact search")
    assert list(level.get_ydata()) == [75, 75] and "Own image" in panel.get_ylabel()
    with pytest.raises(InputError, match="without a task"):
        plot_frontier(made_searches(""), show="task")


def test_the_task_stands_beside_recall_where_it_is_known() -> None:
    figure = frontier_figure(made_searches())
    names = [panel.get_ylabel().replace("\n", " ") for panel in figure.axes]
    assert names == ["Recall@10 (%)", "Same label among ten (%)"]
    assert len(frontier_figure(made_searches("")).axes) == 1


@pytest.mark.slow
def test_each_dataset_has_a_file_that_plot_draws_again(tmp_path: Path) -> None:
    table = pd.concat([made_searches(), made_searches("", "b")], ignore_index=True)
    written = write_frontiers(table, tmp_path, ("svg",))
    assert [path.name for path in written] == ["searches_m_a_b.svg", "searches_m_b.svg"]
    before = [path.read_bytes() for path in written]
    assert min(map(len, before)) > 1000
    write_table(table, tmp_path, SEARCHES)
    shutil.rmtree(tmp_path / "figures")
    drawn = draw_folder(tmp_path, tmp_path / "figures", ("svg",))
    assert list(drawn.written) == written
    assert [path.read_bytes() for path in written] == before
