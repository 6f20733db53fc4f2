"""What can go: the section says what the tables hold, and nothing stronger."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from purescope.formats import looks
from purescope.report.blocks import Section
from purescope.report.smaller import smaller
from purescope.report.writing import write_report
from purescope.tables.metrics import RETRIEVAL_METRICS, SHOWN
from purescope.tables.results import Results, open_results
from purescope.tables.shares import CHOICES, SHARES
from tests.report.made import KS, NEURONS_MADE, make_captions, make_folder, read
from tests.report.parsed import Element, details_of, parse, parse_text

COMMAND = "purescope export bundled:clip --keep 8 --axes svd --out smaller"


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a sweep of captions without purities."""
    return make_captions(tmp_path_factory.mktemp("captions") / "run")


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The tables of a sweep of classes without purities."""
    out = make_folder(
        tmp_path_factory.mktemp("classes") / "run", models=["First"], strategies=("svd", "first_k")
    )
    return open_results(out)


def section(folder: Results, **changes: Any) -> Section:
    """The section of a folder whose choices are changed."""
    choices = folder.rows(CHOICES).assign(**changes)
    changed = Results(folder.path, {**folder.tables, "choices": choices})
    return smaller(changed, looks(folder.strategies), "0/0")


ENOUGH: dict[str, Any] = {
    "enough": True, "k": 8, "strategy": "svd", "command": COMMAND, "sets": 2, "deployed": True,
    "chosen": 0.999, "chosen_low": 0.991, "chosen_high": 1.01,
    "share": 0.995, "low": 0.98, "high": 1.002,
    "first_k": 0.7, "over_first_k": 0.2, "over_first_k_low": 0.15, "over_first_k_high": 0.25,
    "random": 0.8, "over_random": 0.1, "over_random_low": -0.05, "over_random_high": 0.125,
}  # fmt: skip


def test_the_answer_says_how_few_are_enough_and_how_sure_that_is(classes: Results) -> None:
    (answer,) = section(classes, **ENOUGH).answers
    assert answer.claim == (
        "First: 8 of 20 dimensions (SVD basis) are the fewest measured that keep 99 % of the "
        "accuracy for certain, on the worst of 2 datasets."
    )
    assert (
        "They keep 99.9 % (99.1 to 101.0) of it on the half of the images that" in answer.evidence
    )
    assert "and 99.5 % (98.0 to 100.2) on the other half." in answer.evidence
    # The other half alone does not reach the target, and the page does not hide it.
    assert "The other half by itself is not certain of 99 %." in answer.evidence
    first, random = answer.evidence.split(" There ")[1:]
    assert first == (
        "the first 8 dimensions as they are keep 70.0 %, a difference of +20.00 points of accuracy "
        "(+15.00 to +25.00) in the mean over the datasets."
    )
    assert random.startswith("8 random dimensions keep 80.0 %, a difference of +10.00 points of ")
    assert "(\u22125.00 to +12.50)" in random
    sure = section(classes, **{**ENOUGH, "low": 0.99, "sets": 1}).answers[0]
    assert "by itself" not in sure.evidence and "worst" not in sure.claim
    assert "in the mean" not in sure.evidence


def test_if_only_the_smaller_share_is_certain_both_are_said(classes: Results) -> None:
    choices = classes.rows(CHOICES)
    enough = (choices.target == 0.95).to_numpy()
    shown = section(classes, **{**ENOUGH, "enough": enough})
    assert "keep 95 % of the accuracy for certain" in shown.answers[0].claim
    assert shown.answers[0].claim.endswith("None that was measured keeps 99 % for certain.")
    ((text, command),) = shown.commands
    assert command == COMMAND and "with 8 dimensions, which keep 95 % of the accuracy" in text
    cells = [row[2].shown for row in shown.tables[0].rows]
    assert cells == ["none; closest 8", "8"] * 3


def test_if_nothing_is_certain_it_says_what_comes_closest(classes: Results) -> None:
    shown = section(classes, **{**ENOUGH, "enough": False})
    (answer,) = shown.answers
    assert answer.claim == (
        "First: no number of dimensions that was measured keeps 95 % of the accuracy for certain, "
        "on the worst of 2 datasets."
    )
    assert answer.evidence.startswith("The closest, 8, SVD basis, keep 99.9 % (99.1 to 101.0)")
    assert answer.evidence.endswith("More images, or more k, can decide it.")
    assert "by itself" not in answer.evidence and shown.commands == []
    marks = [rows["marks"] for rows in shown.figures[0].choices.values()]
    assert marks == [[], []]


def test_all_dimensions_are_no_smaller_model(classes: Results) -> None:
    shown = section(classes, **{**ENOUGH, "k": NEURONS_MADE, "command": ""})
    assert "only all 20 dimensions keep 99 % of the accuracy" in shown.answers[0].claim
    assert shown.commands == []


def test_what_was_not_measured_is_said(classes: Results) -> None:
    lead = section(classes, **ENOUGH).lead
    assert "not measured" not in lead and "scaled again" not in lead and "PCA" not in lead
    lead = section(classes, **{**ENOUGH, "deployed": False, "first_k": np.nan}).lead
    assert "not scaled again" in lead and "--strategies first_k" in lead
    assert "axes of PCA were fitted to all images" in section(classes, strategy="pca").lead
    choices = classes.rows(CHOICES)
    left = Results(classes.path, {**classes.tables, "choices": choices[choices.dataset != "farm"]})
    told = smaller(left, looks(left.strategies), "0/0").lead
    assert told.endswith("cannot be told from chance there: farm (accuracy).")
    assert "PCA" not in told


def test_without_the_table_there_is_no_section(classes: Results) -> None:
    for name in ("choices", "shares"):
        without = {key: table for key, table in classes.tables.items() if key != name}
        shown = smaller(Results(classes.path, without), looks(classes.strategies), "0/0")
        assert not shown.figures and not shown.tables and not shown.answers


def test_the_figure_is_the_table_of_shares(classes: Results) -> None:
    (figure,) = section(classes).figures
    shares = classes.rows(SHARES)
    assert set(figure.choices) == set(figure.alts) == {"0/0", "0/1"} and figure.chosen == "0/0"
    for place, dataset in enumerate(("pets", "farm")):
        own = shares[(shares.dataset == dataset) & (shares.half == "judge")]
        drawn = pd.DataFrame(figure.choices[f"0/{place}"]["curves"]).set_index(["strategy", "k"])
        assert len(drawn) == len(own) == 3 * len(KS)
        for row in own.itertuples():
            values = drawn.loc[(row.strategy, row.k)]
            assert (values.value, values.low, values.high) == (row.share, row.low, row.high)
        svd = own[(own.strategy == "svd") & (own.k == KS[-1])].share.item()
        last = figure.alts[f"0/{place}"].rpartition("At 16: ")[2]
        assert f"SVD basis {100 * svd:.1f} % (" in last
    assert [key.label for key in figure.keys] == [
        "random", "SVD basis", "first by index", "99 % and 95 % of all dimensions",
    ]  # fmt: skip


def test_the_table_is_that_of_the_choices(classes: Results) -> None:
    (table,) = section(classes).tables
    choices = classes.rows(CHOICES)
    assert [heading.text for heading in table.headings][:2] == ["Dataset", "To keep, %"]
    assert len(table.rows) == len(choices) == 6
    names = [name for heading in table.headings for name in heading.name.split()]
    for cells, row in zip(table.rows, choices.itertuples(), strict=True):
        values = dict(zip([h.name for h in table.headings], cells, strict=True))
        for name in ("target", "share", "first_k", "random", "over_first_k", "over_random"):
            assert values[name].value == getattr(row, name) or np.isnan(values[name].value)
        assert values["low high"].value == f"{row.low} {row.high}"
        assert values["k"].value == (row.k if row.enough else None)
    assert set(names) <= set(choices.columns)


@pytest.mark.slow
def test_the_page_of_classes_has_the_section(page: Element, made: Path) -> None:
    shown = page.one("section", id="smaller")
    assert "What can go" in [one.text for one in page.one("nav").all("a")]
    assert len(shown.one("tbody").all("tr")) == len(read(made, CHOICES))
    told = page.one("section", class_="answer").text
    for model in ("First", "Second"):
        assert f"{model}: no number of dimensions that was measured" in told
    assert not shown.all("pre")


@pytest.fixture(scope="module")
def captioned(captions: Path) -> Element:
    """The page of that folder."""
    return parse(write_report(captions))


@pytest.mark.slow
def test_the_page_of_captions(captioned: Element) -> None:
    page = captioned
    told = page.one("section", class_="answer")
    assert all(one.text for one in told.all("p", class_="claim"))
    halves = [one.text for one in told.all("p", class_="half")]
    assert halves[0].startswith("First: of the image recall at 5 on said, ")
    shown = page.one("section", id="smaller")
    charts = [one.attributes["data-chart"] for one in shown.all("div", class_="chart")]
    assert charts == [f"smaller-{metric.replace('@', '-').replace('_', '-')}" for metric in SHOWN]
    assert len(shown.one("tbody").all("tr")) == 2 * len(RETRIEVAL_METRICS)
    boxes = page.all("input", type="checkbox")
    assert [one.attributes["value"] for one in boxes] == ["random", "svd", "first_k"]
    assert all("checked" in one.attributes for one in boxes)


@pytest.mark.slow
def test_captions_have_a_table_for_each_metric(captions: Path, captioned: Element) -> None:
    page = captioned
    tables = details_of(page)["tables"]
    assert set(tables) == {f"0/0/{metric}" for metric in RETRIEVAL_METRICS}
    comparisons = pd.read_parquet(captions / "retrieval_comparisons.parquet")
    for metric in (RETRIEVAL_METRICS[0], RETRIEVAL_METRICS[-1]):
        own = tables[f"0/0/{metric}"]
        assert len(parse_text(f"<table><tr>{own['headings']}</tr></table>").all("th")) == 7
        row = comparisons[
            (comparisons.metric == metric)
            & (comparisons["first"] == "svd")
            & (comparisons.second == "random")
            & (comparisons.k == "8")
        ].iloc[0]
        rows = parse_text(f"<table>{own['8'][1]}</table>").all("tr")
        (svd,) = [one for one in rows if one.all("th")[0].text == "SVD basis"]
        values = [cell.attributes["data-value"] for cell in svd.all("td")]
        assert float(values[2]) == row.difference
        assert values[3] == f"{row.low} {row.high}"
    first = page.one("div", id="at").one("thead").all("th")
    assert [one.text for one in first][:3] == [
        "Kept", "Image retrieval, recall at 1, %", "95 % interval",
    ]  # fmt: skip
    chosen = json.loads(page.one("script", id="data").text)["chosen"]
    assert chosen["metric"] == RETRIEVAL_METRICS[0]
