"""The texts at the pointer of a chart of curves."""

from typing import Any

from purescope.report.blocks import hover_rows


def row(strategy: str, k: int, text: str, ends: str = "") -> dict[str, Any]:
    return {"strategy": strategy, "k": k, "text": text, "range": ends}


def test_each_k_has_all_its_values_and_a_range_of_the_pointer() -> None:
    rows = [
        row("high_purity", 1000, "70 %", "60 to 80"),
        row("high_purity", 1500, "80 %"),
        row("random", 1000, "50 %", "40 to 60"),
        row("random", 4000, "90 %"),
    ]
    level = {"name": "chance", "text": "25 %", "label": "", "value": 0.25, "below": False}
    chance = ["", "chance", "25 %"]
    assert hover_rows(rows, [level]) == [
        {
            "k": 1000,
            "from": None,
            "to": 1250.0,
            "title": "1,000 neurons kept",
            "texts": [
                ["high_purity", "highest purity", "70 % (60 to 80)"],
                ["random", "random, median", "50 % (40 to 60)"],
                chance,
            ],
        },
        {
            "k": 1500,
            "from": 1250.0,
            "to": 2750.0,
            "title": "1,500 neurons kept",
            "texts": [["high_purity", "highest purity", "80 %"], chance],
        },
        {
            "k": 4000,
            "from": 2750.0,
            "to": None,
            "title": "4,000 neurons kept",
            "texts": [["random", "random, median", "90 %"], chance],
        },
    ]


def test_without_curves_there_is_nothing_to_point_at() -> None:
    assert hover_rows([], []) == []
