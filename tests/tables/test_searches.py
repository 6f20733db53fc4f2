"""The frontier and the lines of a figure are the rows that their definitions choose."""

from purescope.tables.searches import find_frontier, find_lines
from tests.searched import made_searches


def test_no_row_of_the_frontier_is_beaten() -> None:
    rows = made_searches()
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


def test_a_line_has_the_best_row_of_each_number_of_bytes() -> None:
    rows = made_searches()
    for show in ("recall", "task"):
        chosen = find_lines(rows, show)
        keys = ["stage", "family", "bytes"]
        assert not chosen.duplicated(keys).any() and chosen.bytes.is_monotonic_increasing
        every = rows.assign(family=[code.rstrip("4") for code in rows.code]).groupby(keys)[show]
        assert chosen.set_index(keys)[show].to_dict() == every.max().to_dict()
