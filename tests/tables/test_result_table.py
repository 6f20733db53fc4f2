"""Points of curves, the picture of a notebook by hand, and the experiment's file names."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from purescope.errors import InputError, OutputError
from purescope.formats import PALETTE
from purescope.tables.result_table import (
    check_wide_paths,
    curve_points,
    random_band,
    refuse_others_file,
    results_html,
    wide_path,
)
from purescope.tables.schemas import CURVE_POINTS
from tests.tables.test_files import result_table

COLUMNS = ["model", "dataset", "metric", "strategy", "k", "value", "draw"]
RANDOM = {1: (0.5, 0.1, 0.2), 2: (0.6, 0.4, 0.9)}  # by k, of three draws


def drawn(model: str = "m") -> pd.DataFrame:
    rows = [
        (model, "d", "accuracy", "random", k, value, draw)
        for k in (2, 1)
        for draw, value in enumerate(RANDOM[k])
    ]
    return pd.DataFrame(rows, columns=COLUMNS).assign(
        low=np.nan, high=np.nan, n=1000, chance=0.1, neurons=8
    )


def of(strategy: str, values: dict[int, float], model: str = "m", draw: int = 0) -> pd.DataFrame:
    """Accuracies by k, of one of 8 neurons' orders on 1,000 images."""
    rows = [(model, "d", "accuracy", strategy, k, value, draw) for k, value in values.items()]
    return pd.DataFrame(rows, columns=COLUMNS).assign(
        low=np.nan, high=np.nan, n=1000, chance=0.1, neurons=8
    )


def filled(table: pd.DataFrame) -> pd.DataFrame:
    """With all that the table of points has."""
    known = result_table().iloc[0]
    return table.assign(
        **{
            name: known[name]
            for name in CURVE_POINTS.columns
            if name in known and name not in table
        }
    )


def test_the_band_is_median_quantiles_and_range_of_the_draws_in_their_order() -> None:
    band = random_band(filled(pd.concat([drawn("z"), drawn("a")])))
    assert list(band) == list(CURVE_POINTS.columns)
    assert list(zip(band.model, band.k, strict=True)) == [("z", 2), ("z", 1), ("a", 2), ("a", 1)]
    for row in band.itertuples():
        low, middle, high = sorted(RANDOM[row.k])
        quantiles = (low + 0.1 * (middle - low), middle + 0.9 * (high - middle))
        assert (row.low, row.high) == pytest.approx(quantiles)
        assert (row.value, row.least, row.greatest, row.draws) == (middle, low, high, 3)
    assert len(random_band(filled(drawn())[:0])) == 0
    one = random_band(filled(drawn())[:1])
    assert (one.value.item(), one.low.item(), one.draws.item()) == (RANDOM[2][0], RANDOM[2][0], 1)


def test_points_stand_together_in_the_order_of_the_results() -> None:
    table = pd.concat([of("svd", {1: 0.3, 2: np.nan}, "z"), drawn("z"), of("pca", {1: 0.2}, "a")])
    points = curve_points(filled(table))
    assert list(zip(points.model, points.strategy, points.k, strict=True)) == [
        ("z", "svd", 1),
        ("z", "random", 2),
        ("z", "random", 1),
        ("a", "pca", 1),
    ]
    assert points.draws.tolist() == [1, 3, 3, 1]
    assert points.least.isna().tolist() == [True, False, False, True]
    assert points.index.tolist() == [0, 1, 2, 3]


# --- the picture of a notebook


FULL = of("full", {8: 0.9})
HIGH, LOW = of("high_purity", {2: 0.4, 4: 0.6, 8: 0.8}), of("low_purity", {2: 0.2, 4: 0.3, 8: 0.8})
DRAWS = [of("random", {2: 0.3, 4: 0.5, 8: 0.8}), of("random", {2: 0.5, 4: 0.1, 8: 0.8}, draw=1)]


def points(html: str) -> dict[str, list[tuple[float, float]]]:
    """The points of each line of the first picture, by its colour."""
    picture = re.findall(r"<svg.*?</svg>", html)[0]
    return {
        colour: [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]
        for line, colour in re.findall(
            r'<polyline points="([^"]*)" fill="none" stroke="([^"]*)"', picture
        )
    }


def test_a_picture_by_hand() -> None:
    """150 by 44 pixels with 4 at each edge: 71 pixels from k to k, and 60 pixels for 1."""
    html = results_html(pd.concat([FULL, HIGH, LOW]))
    assert points(html) == {
        PALETTE["high_purity"]: [(4, 28), (75, 16), (146, 4)],
        PALETTE["low_purity"]: [(4, 40), (75, 34), (146, 4)],
    }
    assert "Zero-shot accuracy, k from 2 to 8 of 8 neurons." in html
    assert "random orders" not in html and "median of" not in html


def test_one_order_at_one_k_and_equal_values_are_drawn_too() -> None:
    one = results_html(pd.concat([FULL, HIGH[:1]]))
    assert '<circle cx="75" cy="40.0" r="3"' in one and "polyline" not in one
    level = results_html(pd.concat([FULL, of("high_purity", {2: 0.5, 8: 0.5})]))
    assert points(level) == {PALETTE["high_purity"]: [(4, 40), (146, 40)]}
    nothing = results_html(FULL)
    assert "<svg" not in nothing and "all neurons" in nothing


def test_a_curve_that_lacks_a_k_is_left_out() -> None:
    assert list(points(results_html(pd.concat([FULL, HIGH, LOW[1:]])))) == [PALETTE["high_purity"]]


def test_the_sentence_needs_high_purity_and_random_orders_alone() -> None:
    """Their means over k by the trapezoid rule are 0.6333, and 0.6 and 0.4: 2 x 0.4 + 4 x 0.65,
    by 6, is 0.5667, and 2 x 0.3 + 4 x 0.45 is 0.4.
    """
    html = results_html(pd.concat([FULL, HIGH, *DRAWS]))
    assert (
        "Over k from 2 to 8 of 8 neurons, high purity keeps 15.00 points more than random orders "
        "do on average, and more than 2 of 2 of them."
    ) in html
    assert "means over k and over the random orders" in html and "random (median of 2)" in html
    single = results_html(pd.concat([FULL, HIGH, DRAWS[0]]))
    assert "and more than 1 of 1 of them." in single and "median of" not in single
    assert "means over k. Curves" in single


def test_sentences_of_several_models_name_them_in_their_order() -> None:
    tables = [
        pd.concat([FULL, HIGH, *DRAWS]).assign(model=name, value=value)
        for name, value in (("z", 0.5), ("a", 0.25))
    ]
    html = results_html(pd.concat(tables))
    assert html.index("<p>z: over k from 2") < html.index("<p>a: over k from 2")
    bare = results_html(pd.concat([table[table.strategy == "full"] for table in tables]))
    assert "<p>z: zero-shot accuracy, all neurons.</p><p>a: zero-shot" in bare
    two = results_html(pd.concat([tables[0], tables[0].assign(dataset="other")]))
    assert "<p>Over k from 2 to 8 of 8 neurons and 2 datasets, high purity keeps 0.00" in two


def test_twelve_pairs_are_drawn_and_the_others_counted() -> None:
    pairs = [pd.concat([FULL, HIGH]).assign(dataset=f"set {number}") for number in range(13)]
    assert "more, in the table" not in results_html(pd.concat(pairs[:12]))
    html = results_html(pd.concat(pairs))
    assert html.count("<svg") == 12 and "<p>and 1 more, in the table</p>" in html


# --- the experiment's files


OWNER = {"Model": "mine", "Dataset": "d"}


def test_a_file_of_others_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    refuse_others_file(path, OWNER)
    path.write_text("Model,Dataset,sam\nmine,d,1\nother,d,2\n", encoding="utf-8-sig")
    refuse_others_file(path, OWNER)
    path.write_text("Model,Dataset\nmine,e\n")
    with pytest.raises(OutputError, match=r"a\.csv holds 'mine', 'e', and would be replaced by 'm"):
        refuse_others_file(path, OWNER)
    for content in (b"", b"sam\n1\n", b"\xff\xfe\xff"):
        path.write_bytes(content)
        with pytest.raises(OutputError, match="holds something else, and would"):
            refuse_others_file(path, OWNER)


def test_labels_that_share_a_file_are_named(tmp_path: Path) -> None:
    pairs = pd.DataFrame({"model": ["A b", "A b", "a-b"], "dataset": ["d", "e", "D"]})
    check_wide_paths(pairs[:2], tmp_path)
    with pytest.raises(InputError, match=r"'a-b' on 'D' and 'A b' on 'd' share the file"):
        check_wide_paths(pairs, tmp_path)
    path = wide_path(tmp_path, "CC3M a b", "My set", "accuracy")
    assert path.relative_to(tmp_path) == Path("result_cc3m_a_b", "my_set_b_accuracy_vs_sam.csv")
