"""The texts at the pointer of a chart of curves: all values at the nearest k."""

from collections.abc import Sequence

from purescope.formats import strategy_name
from purescope.report.blocks import Row


def hover_rows(rows: Sequence[Row], levels: Sequence[Row]) -> list[Row]:
    """Write the text of each k, and the range of ks in which the pointer shows it.

    Args:
        rows, levels: those of a `purescope.report.curves.Curve`.

    Returns:
        ``k``; ``from`` and ``to``, half way to the next ks, None at both ends; ``title``;
        ``texts``: strategy, label and value of each curve at this k, then of each level, whose
        strategy is empty. The script leaves out the curves that are hidden.
    """
    ks = sorted({row["k"] for row in rows})
    across = [["", level["name"], level["text"]] for level in levels]
    hovers = []
    for before, k, after in zip([None, *ks], ks, [*ks[1:], None], strict=False):
        texts = [
            [
                row["strategy"],
                strategy_name(row["strategy"])
                + (", median" if row["strategy"] == "random" else ""),
                row["text"] + (f" ({row['range']})" if row["range"] else ""),
            ]
            for row in rows
            if row["k"] == k
        ]
        ends = {
            "from": None if before is None else (before + k) / 2,
            "to": None if after is None else (k + after) / 2,
        }
        hovers.append({"k": k, **ends, "title": f"{k:,} neurons kept", "texts": texts + across})
    return hovers
