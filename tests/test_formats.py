"""What notebooks show: the numbers of the table, and names as text, whatever is in them."""

import pickle
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from purescope.datasets.dataset import Dataset
from purescope.features.features import Features
from purescope.formats import PALETTE, definitions, looks
from purescope.maths.overlaps import Projections
from purescope.models.model import Model, Preprocess
from purescope.studies.comparisons import compare_strategies
from purescope.studies.judging import judge
from purescope.studies.settings import Options
from purescope.studies.sweeps import measure_strategies, sweep
from purescope.tables.columns import AREA
from purescope.tables.files import read_table, write_table
from purescope.tables.result_table import ResultTable, results_html
from purescope.tables.schemas import RESULTS
from tests.studies.test_sweeps import DRAWS, FEATURES, KEEP, PROJECTIONS, make_features

HOSTILE = '<script>alert("1")</script>&\'"<img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return sweep(FEATURES, PROJECTIONS, keep=KEEP, draws=DRAWS, resamples=20)


def tree(html: str) -> ET.Element:
    """The page as a tree: it must be well formed, and have no element or attribute but ours."""
    root = ET.fromstring(html)
    for element in root.iter():
        assert element.tag in {
            "div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "span", "svg", "title",
            "polyline", "circle",
        }  # fmt: skip
        assert not any(name.startswith("on") or name in {"href", "src"} for name in element.attrib)
    return root


def test_a_sweep_shows_its_accuracies(table: pd.DataFrame) -> None:
    root = tree(ResultTable(table)._repr_html_())
    head = [cell.text for cell in root.iter("th")]
    row = dict(zip(head, [cell.text for cell in root.iter("td")], strict=True))
    accuracy = table[table.metric == "accuracy"]
    for name in ("high purity", "random", "low purity"):
        means = over_k(accuracy[accuracy.strategy == name.replace(" ", "_")])
        assert row[name] == f"{100 * sum(means) / len(means):.1f}"
    assert row["all neurons"] == f"{100 * accuracy[accuracy.strategy == 'full'].value.item():.1f}"
    assert row["images"] == str(len(FEATURES.image))
    [figure] = root.iter("svg")
    assert {line.get("stroke") for line in figure.iter("polyline")} == {
        PALETTE[name] for name in ("high_purity", "random", "low_purity")
    }
    legend = [
        (span.text, span.get("style")) for span in root.iter("span")
    ]  # its words in the page's ink
    assert [text for text, _ in legend] == [
        "high purity",
        f"random (median of {DRAWS})",
        "low purity",
    ]
    assert not any("color" in str(style) for _, style in legend)
    assert legend[0][1] == f"border-bottom:2px solid {PALETTE['high_purity']}"
    high = next(
        line for line in figure.iter("polyline") if line.get("stroke") == PALETTE["high_purity"]
    )
    heights = [-float(point.split(",")[1]) for point in high.get("points", "").split()]
    values = accuracy[accuracy.strategy == "high_purity"].sort_values("k").value.tolist()
    assert len(heights) == len(KEEP) and sorted(range(3), key=heights.__getitem__) == sorted(
        range(3), key=values.__getitem__
    )


def over_k(rows: pd.DataFrame) -> list[float]:
    """The mean of each order over k, its curve being straight between the ks: the area of each
    piece, by hand.
    """
    means = []
    for _, curve in rows.groupby("draw"):
        at = curve.sort_values("k")[["k", "value"]].to_numpy().tolist()
        pieces = [(k1 - k0) * (v0 + v1) / 2 for (k0, v0), (k1, v1) in pairwise(at)]
        means.append(sum(pieces) / (at[-1][0] - at[0][0]))
    return means


def test_curves_fill_their_picture_on_one_scale(table: pd.DataFrame) -> None:
    """The least of all values stands 4 pixels above the lower edge, the largest 4 below the upper
    one, and the ks stand evenly from 4 pixels after the left edge to 4 before the right one.
    """
    accuracy = table[table.metric == "accuracy"]
    curves = {
        name: accuracy[accuracy.strategy == name].groupby("k").value.median().tolist()
        for name in ("high_purity", "random", "low_purity")
    }
    values = [value for curve in curves.values() for value in curve]
    [figure] = tree(results_html(table)).iter("svg")
    assert (figure.get("width"), figure.get("height")) == ("150", "44")
    for line in figure.iter("polyline"):
        [curve] = [curves[name] for name in curves if PALETTE[name] == line.get("stroke")]
        points = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        across, up = 142 / (len(curve) - 1), 36 / (max(values) - min(values))
        expected = [
            (4 + across * place, 40 - up * (value - min(values)))
            for place, value in enumerate(curve)
        ]
        assert points == [pytest.approx(point, abs=0.051) for point in expected]


def test_the_line_above_counts_random_orders_by_their_mean_over_k(table: pd.DataFrame) -> None:
    accuracy = table[table.metric == "accuracy"]
    [high], drawn = (
        over_k(accuracy[accuracy.strategy == name]) for name in ("high_purity", "random")
    )
    difference = 100 * (high - sum(drawn) / DRAWS)
    word = "less" if difference < 0 else "more"
    assert (
        f"high purity keeps {abs(difference):.2f} points {word} than random orders do on average, "
        f"and more than {sum(high > one for one in drawn)} of {DRAWS} of them."
    ) in results_html(table)


def test_line_table_and_verdict_say_the_same_numbers() -> None:
    """Over ks that are not evenly spaced, a mean of the values, or of medians, would be another
    number.
    """
    options = Options(keep=[2, 3, 5, 9, 12], draws=DRAWS, resamples=20)
    tables = [
        measure_strategies(make_features(dataset=name), PROJECTIONS, options)
        for name in ("one", "two")
    ]
    results = pd.concat([found.table for found in tables], ignore_index=True)
    comparisons = pd.concat([compare_strategies(found) for found in tables], ignore_index=True)
    areas = comparisons[(comparisons["first"] == "high_purity") & (comparisons.k == AREA)]
    differences = {
        name: 100 * rows.set_index("dataset").difference for name, rows in areas.groupby("second")
    }
    overall = judge(results, comparisons, model="CC3M LaCLIP").overall.over_random.value
    root = tree(results_html(results))
    assert f"and 2 datasets, high purity keeps {abs(100 * overall):.2f} points" in "".join(
        root.itertext()
    )
    head = [cell.text for cell in root.iter("th")]
    for row in list(root.iter("tr"))[1:]:
        cells = dict(zip(head, [cell.text for cell in row.iter("td")], strict=True))
        for name, by_dataset in differences.items():
            shown = float(cells["high purity"] or "") - float(
                cells[str(name).replace("_", " ")] or ""
            )
            assert shown == pytest.approx(
                by_dataset[cells["dataset"]], abs=0.1001
            )  # of two rounded numbers


def test_models_of_other_widths_have_a_line_and_curves_each(table: pd.DataFrame) -> None:
    wide = table.assign(model="Wide", k=10 * table.k, neurons=10 * table.neurons)
    root = tree(results_html(pd.concat([table, wide])))
    lines = [line.text or "" for line in root.iter("p")][:2]
    assert lines[0].startswith(
        f"CC3M LaCLIP: over k from {KEEP[0]} to {KEEP[-1]} of 12 neurons, high purity keeps"
    )
    assert lines[1].startswith(
        f"Wide: over k from {KEEP[0]}0 to {KEEP[-1]}0 of 120 neurons, high purity keeps"
    )
    assert [len(list(figure.iter("polyline"))) for figure in root.iter("svg")] == [3, 3]


def test_names_are_text(table: pd.DataFrame) -> None:
    hostile = table.assign(model=HOSTILE, dataset=HOSTILE[::-1] + HOSTILE)
    shown = ResultTable(hostile)._repr_html_()
    cells = [cell.text for cell in tree(shown).iter("td")]
    assert cells[0] == HOSTILE and "<script" not in shown and "<img" not in shown
    assert HOSTILE in "".join(tree(definitions(HOSTILE, {HOSTILE: HOSTILE})).itertext())


def test_it_stays_a_frame(table: pd.DataFrame, tmp_path: Path) -> None:
    shown = ResultTable(table)
    assert isinstance(shown, pd.DataFrame)
    for derived in (
        shown.head(),
        shown[["k"]],
        shown[shown.k > 3],
        shown.assign(x=1),
        shown.copy(),
    ):
        assert type(derived) is pd.DataFrame
    assert type(table) is ResultTable
    pd.testing.assert_frame_equal(shown, pd.DataFrame(table))
    assert pickle.loads(pickle.dumps(shown)).equals(table)
    write_table(shown, tmp_path, RESULTS)
    pd.testing.assert_frame_equal(read_table(tmp_path, RESULTS), pd.DataFrame(table))


def test_a_table_with_columns_taken_away_is_shown_as_pandas_does(table: pd.DataFrame) -> None:
    assert "dataframe" in ResultTable(table[["k", "value"]])._repr_html_()


def test_one_k_and_no_random_orders_and_many_pairs(table: pd.DataFrame) -> None:
    one = table[(table.strategy != "random") & table.k.isin([KEEP[0], 12])]
    one = one[(one.strategy == "full") | (one.k == KEEP[0])]
    root = tree(results_html(one))
    assert len(list(root.iter("circle"))) == 2 and "random orders" not in "".join(root.itertext())
    many = pd.concat([table.assign(dataset=f"set {i}") for i in range(14)])
    shown = tree(results_html(many))
    assert len(list(shown.iter("svg"))) == 12 and "and 2 more" in "".join(shown.itertext())
    nothing = table[table.strategy == "full"]
    assert "all neurons" in "".join(tree(results_html(nothing)).itertext())


def test_models_data_and_features_show_what_they_are() -> None:
    model = Model(
        label=HOSTILE, spec="made", weight_space=Projections(torch.eye(3), torch.eye(3)), neurons=3,
        preprocess=Preprocess(size=8, mean=(0.0,) * 3, std=(1.0,) * 3),
        encode_image=lambda _: torch.zeros(1, 3), encode_text=lambda _: torch.zeros(1, 3),
        identity={"format": HOSTILE, "weights": "abc"},
    )  # fmt: skip
    dataset = Dataset(
        name=HOSTILE, spec="made", classes=(HOSTILE, "dog"), labels=torch.tensor([0, 1]),
        images=[Image.new("RGB", (4, 4))] * 2, display_names=("cat", "dog"),
        templates=(HOSTILE + "{}",), source={}, fingerprint="",
    )  # fmt: skip
    features: Features = make_features(model=HOSTILE, dataset=HOSTILE)
    for shown, says in ((model, "3"), (dataset, "dog"), (features, "40")):
        text = "".join(tree(shown._repr_html_()).itertext())
        assert HOSTILE in text and says in text


def test_a_verdict_shows_its_word_for_each_data_set() -> None:
    tables = [
        measure_strategies(
            make_features(dataset=name), PROJECTIONS, Options(keep=KEEP, draws=DRAWS, resamples=20)
        )
        for name in ("one", HOSTILE)
    ]
    results = pd.concat([found.table for found in tables], ignore_index=True)
    comparisons = pd.concat([compare_strategies(found) for found in tables], ignore_index=True)
    verdict = judge(results, comparisons, model="CC3M LaCLIP")
    text = "".join(tree(verdict._repr_html_()).itertext())
    assert verdict.overall.outcome in text and HOSTILE in text and re.search(r"points", text)


def test_no_two_strategies_look_alike_and_those_of_a_sweep_without_purities_are_shown() -> None:
    purities, others = ["high_purity", "low_purity", "random"], ["svd", "first_k", "pca", "cross"]
    for names, hidden in (
        ([*purities, *others], others),
        (["random", *others], []),
        (["high_purity", "random", "svd"], []),
    ):
        styles = looks(names)
        assert [look.name for look in styles] == names
        assert [look.name for look in styles if not look.shown] == hidden
        assert len({(look.colour, *look.dash, look.shape) for look in styles}) == len(names)
    # A strategy has one look, whatever else is measured.
    assert looks(["random", *others])[1].colour == looks([*purities, *others])[3].colour
