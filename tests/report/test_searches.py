"""The section on searches shows the rows of the table, and says how few bytes are enough."""

from pathlib import Path

import pandas as pd
import pytest

from purescope.files.manifest import write_manifest
from purescope.report.searches import searches
from purescope.report.summary import facts, question, title
from purescope.report.writing import write_report
from purescope.tables.files import write_table
from purescope.tables.results import Results
from purescope.tables.searches import SEARCHES, find_frontier
from tests.report.parsed import parse
from tests.searched import made_searches

TABLE = pd.concat([made_searches(), made_searches("", "b")], ignore_index=True)


def test_a_folder_without_searches_has_no_section() -> None:
    section = searches(Results(Path("out"), {}))
    assert not (section.figures or section.tables or section.answers)


def test_each_point_is_the_best_row_of_its_bytes() -> None:
    section = searches(Results(Path("out"), {"searches": TABLE}))
    assert [figure.title for figure in section.figures] == ["a_$b$", "a_$b$: same label", "b"]
    for figure, dataset, show in zip(
        section.figures, ("a_$b$", "a_$b$", "b"), ("recall", "task", "recall"), strict=True
    ):
        rows = TABLE[TABLE.dataset == dataset]
        for point in figure.spec["datasets"]["rows"]:
            same = rows[
                rows.code.str.startswith(point["kind"])
                & (rows.stage == point["stage"])
                & (rows.bytes == point["bytes"])
            ]
            best = same.loc[same[show].idxmax()]
            shown = [100 * best[f"{show}{end}"] for end in ("", "_low", "_high")]
            assert [point[name] for name in ("value", "low", "high")] == pytest.approx(shown)
            assert point["axes"] == str(best.k)
        assert len(figure.spec["datasets"]["rows"]) == 10
        levels = [row["value"] for row in figure.spec["datasets"]["level"]]
        assert levels == ([75] if show == "task" else [])


def test_the_table_is_the_frontier_of_each_dataset() -> None:
    (table,) = searches(Results(Path("out"), {"searches": TABLE})).tables
    names = [heading.name for heading in table.headings]
    shown = [
        [cell.value for heading, cell in zip(names, row, strict=True) if heading in ("k", "recall")]
        for row in table.rows
    ]
    frontiers = [
        find_frontier(TABLE[TABLE.dataset == dataset], stage)[["k", "recall"]].values.tolist()
        for dataset in ("a_$b$", "b")
        for stage in ("single", "reranked")
    ]
    assert shown == [row for rows in frontiers for row in rows]


@pytest.mark.parametrize(("low", "size"), [(0.96, 32), (0.9, 64)])
def test_the_answer_is_the_fewest_bytes_that_are_enough(low: float, size: int) -> None:
    rows = TABLE[TABLE.dataset == "b"].copy()
    rows["recall"], rows["recall_low"], rows["recall_high"] = 0.3, 0.2, 0.4
    for bytes_, recall, end in ((32, 0.97, low), (64, 0.98, 0.9)):
        enough = (rows.bytes == bytes_) & (rows.code == "f32") & (rows.stage == "single")
        rows.loc[enough, ["recall", "recall_low", "recall_high"]] = recall, end, 0.99
    (answer,) = searches(Results(Path("out"), {"searches": rows})).answers
    times = "2 times fewer than" if size == 32 else "as many as"
    shown = "97.0 % (96.0 to 99.0)" if size == 32 else "98.0 % (90.0 to 99.0)"
    assert f"{size} bytes a vector (f32 of {size // 4} axes, {times} float32) find {shown}" in (
        answer.claim
    )
    assert "30.0 % (20.0 to 40.0) of them after 100 candidates" in answer.claim


def test_the_top_of_the_page_says_what_was_searched() -> None:
    folder = Results(Path("out"), {"searches": TABLE})
    assert question(folder) == "How small can a vector be?" and title(folder) == "m"
    told = dict(facts(folder))
    assert told["Data"][1] == "b: 900 vectors of 16, 50 queries (held-out)"
    assert told["Search"][0] == "axes svd"


@pytest.mark.slow
def test_the_page_has_the_section(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path, SEARCHES)
    write_manifest({"purescope": "0", "settings": {"seed": 3, "resamples": 1000}}, tmp_path)
    page = parse(write_report(tmp_path))
    section = page.one("section", id="searches")
    assert len(section.all("figure")) == 3 and len(section.all("svg")) >= 3
    assert "resamples 1,000" in page.text
    assert "Reranked means" in page.text and "not decided" not in page.text
