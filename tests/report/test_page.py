"""The page as it is written, without a browser."""

import itertools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from purescope.errors import InputError
from purescope.formats import looks, plain, purer
from purescope.report import document, writing
from purescope.report.curves import Curve, curves_of, explorer, first_choice
from purescope.report.neurons import _larger, beside_random, neuron_texts, neuron_values
from purescope.report.summary import answers
from purescope.report.writing import write_report
from purescope.studies.judging import judge, standings_table
from purescope.tables.files import write_table
from purescope.tables.results import Results, open_results
from purescope.tables.schemas import (
    CLASS_IMPORTANCE,
    COMPARISONS,
    CONFUSIONS,
    CURVE_POINTS,
    CURVES,
    IMPORTANCE,
    NEURONS,
    REPRODUCTION,
    RESULTS,
    RIVALS,
    STANDINGS,
    TRACK,
)
from tests.report.made import IMAGES, KS, NEURONS_MADE, derive, make_folder, read
from tests.report.parsed import Element, card_of, details_of, parse, parse_text, unpacked
from tests.report.remembered import draw_anew

pytestmark = pytest.mark.slow

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "</script><script>alert(2)</script>",
    "$x_1$ & 50 % {more} #~^\\",
    "\u202eright to left\u2066 שלום",
    "<!--<script>",
    "x" * 400,
]
# As names of models and of datasets: two of them in each dataset's, since pairs take time.
HOSTILE_MODELS = HOSTILE[:2]
HOSTILE_DATASETS = [" ".join(HOSTILE[2:4]), " ".join(HOSTILE[4:6])]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `made`, of one of these models."""
    out = make_folder(tmp_path_factory.mktemp("report") / "single", models=["First"])
    write_report(out)
    return out


def test_the_page_is_whole_and_small(made: Path, page: Element) -> None:
    assert [element.tag for element in page.children if isinstance(element, Element)] == ["html"]
    assert (made / "report.html").stat().st_size < 8_000_000
    assert [path.name for path in made.iterdir() if path.name.startswith(".")] == []
    order = [int(element.tag[1]) for element in page.all() if re.fullmatch("h[1-6]", element.tag)]
    assert order[0] == 1 and order.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(order))
    assert len(page.all("main")) == len(page.all("nav")) == len(page.all("footer")) == 1


def test_nothing_is_asked_of_the_network(page: Element) -> None:
    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-eval" not in policy and "http" not in policy
    asked = [
        element.attributes[name]
        for element in page.all()
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
        if name in element.attributes
    ]
    assert asked and all(re.match(r"#|data:image/", address) for address in asked)
    styles = "".join(element.text for element in page.all("style"))
    assert "@import" not in styles
    assert all(
        address.startswith("data:image/webp;base64,")
        for address in re.findall(r"url\(([^)]*)", styles)
    )


def test_the_scripts_that_run_are_those_of_the_policy(page: Element) -> None:
    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    running = [
        one for one in page.all("script") if one.attributes.get("type", "module") == "module"
    ]
    assert len(running) == 3
    assert all(f"'sha256-{document._sha(one.text)}'" in policy for one in running)
    notice = (Path(document.__file__).parent / "page" / "notice.txt").read_text()
    assert "University of Washington" in notice


def test_names_are_data_and_never_markup(tmp_path: Path) -> None:
    out = make_folder(
        tmp_path,
        models=HOSTILE_MODELS,
        datasets=HOSTILE_DATASETS,
        classes=HOSTILE,
        words=HOSTILE,
        notes=HOSTILE,
    )
    page = parse(write_report(out))
    kinds = [one.attributes.get("type", "") for one in page.all("script")]
    assert sorted(kinds) == [
        "",
        "application/gzip",
        "application/json",
        "application/json",
        "module",
        "module",
    ]
    assert len(page.all("img")) == 4 and not [
        one for one in page.all() if "onerror" in one.attributes
    ]
    options = [one.text for one in page.one("select", id="model").all("option")]
    assert options == HOSTILE_MODELS
    assert json.loads(page.one("script", id="data").text)["datasets"] == HOSTILE_DATASETS
    assert "{{7*7}}" in page.one("main").text
    raw = page.one("script", id="data").text + page.one("script", id="charts").text
    assert not set("<>&\u2028\u2029") & set(raw)
    assert [one.text for one in page.one("details").all("li")] == HOSTILE
    details = details_of(page)
    tags = {"header", "h4", "h5", "button", "p", "dl", "div", "dt", "dd", "b", "span", "ul", "li"}
    cards = [parse_text(text) for own in details["cards"].values() for text in unpacked(own)]
    assert len(cards) == 2 * NEURONS_MADE
    assert {one.tag for card in cards for one in card.all()} == tags | {"small", "section"}
    labels = {one.attributes["title"] for card in cards for one in card.all("li", class_="thumb")}
    assert {label.rpartition(", activation ")[0] for label in labels} == set(HOSTILE)
    words = [*filter(None, (card.one("p", class_="words").text for card in cards))]
    assert words == [
        "Words "
        + ", ".join(
            f"{name} ({3 - place / 5:.1f})" for place, name in enumerate(HOSTILE[:5], start=1)
        )
    ] * len(cards)
    lists = [parse_text(text) for own in details["confusions"].values() for text in own.values()]
    told = {one.text for each in lists for li in each.all("li") for one in li.all("span")}
    assert told <= {f"{a} → {b}" for a, b in itertools.permutations(HOSTILE, 2)} and told


def test_the_verdict_is_the_verdicts(made: Path, page: Element) -> None:
    told = page.one("section", class_="answer").text
    for model in ("First", "Second"):
        verdict = judge(read(made), read(made, COMPARISONS), model=model)
        assert verdict.claim in told and verdict.evidence.replace("-", "\u2212") in told.replace(
            "-", "\u2212"
        )
        assert not re.search(r"[ (]-\d", told)
    assert "a doubt about <b>farm</b>" in page.one("details", class_="notes").text


def test_only_numbers_of_the_verdict_get_a_minus(tmp_path: Path) -> None:
    made = make_folder(tmp_path, models=["-1 (-2) is -3"], datasets=["ViT-B -32", "(-4)"])
    answer = parse(write_report(made)).all("div", class_="verdict")[0]
    verdict = judge(read(tmp_path), read(tmp_path, COMPARISONS), model="-1 (-2) is -3")
    told = answer.one("p", class_="note").text
    assert (
        answer.one("p", class_="claim").text == verdict.claim
        and told.replace("\u2212", "-") == verdict.evidence
    )
    assert verdict.claim.startswith("-1 (-2) is -3: whether high-purity neurons keep more is ")
    for difference in (
        verdict.overall.over_random,
        verdict.overall.over_low,
        verdict.overall.low_over_random,
    ):
        assert " is " + str(difference).replace("-", "\u2212") in told


def test_the_answer_says_what_half_of_the_neurons_keeps(made: Path, page: Element) -> None:
    results, curves = read(made), read(made, CURVES)
    answered = page.all("div", class_="verdict")[:2]
    for model, answer in zip(("First", "Second"), answered, strict=True):
        rows = results[(results.model == model) & (results.metric == "accuracy")]
        full = rows[rows.strategy == "full"].set_index("dataset").value
        means = (
            rows[rows.k == 8].groupby(["strategy", "dataset"]).value.mean()
        )  # 8 is the nearest below half of 20
        kept = (100 * (means / full).groupby("strategy").mean()).round().astype(int)
        of_model = curves[curves.model == model].groupby("strategy")
        below = np.sqrt(
            of_model.apply(lambda part: ((part.kept - part.kept_low) ** 2).sum())
        ) / len(full)
        low = (100 * (of_model.kept.mean() - below)).round().astype(int)
        told = answer.one("p", class_="half").text.replace(
            "\u00a0", " "
        )  # which keeps numbers and % together
        assert told.startswith(
            f"Of the {100 * full.mean():.1f} % that all 20 neurons get right (chance: 25.0 %), "
        )
        said = {
            "high_purity": "the 8 purest",
            "low_purity": "the 8 least pure",
            "random": "8 random ones",
        }
        shares = {
            name: int(re.findall(rf"{words}(?: keep)? (\d+) %", told)[0])
            for name, words in said.items()
        }
        assert shares == kept.to_dict()
        in_order = [int(share) for share in re.findall(r" (\d+) % \(\d+ to \d+\)(?:,|\.$)", told)]
        assert in_order == sorted(shares.values(), reverse=True)
        ends = {
            name: int(re.findall(rf"{words}(?: keep)? \d+ % \((\d+) to", told)[0])
            for name, words in said.items()
        }
        assert ends == low.to_dict()


def test_it_is_said_whether_a_model_is_purer_than_chance(made: Path, page: Element) -> None:
    table = read(made, NEURONS)
    for model in ("First", "Second"):
        part = table[table.model == model]
        times = {
            tower: part[f"{tower}_overlap"].mean() / part[f"{tower}_random"].mean()
            for tower in ("image", "text")
        }
        assert min(times.values()) > 1  # as made
        assert (
            f"Relative to random neurons, the mean overlap is {times['image']:.2f} in the image "
            f"tower and {times['text']:.2f} in the text tower: the model is no purer than chance."
            in page.text
        )
    first = table[table.model == "First"]
    sentence = beside_random(first.assign(image_overlap=first.image_random / 2))
    assert "is 0.50 in the image tower and " in sentence
    assert sentence.endswith("the model is purer than chance in the image tower.")
    assert beside_random(table.iloc[:0]) == ""


def test_the_answer_names_a_better_strategy_and_nothing_that_was_not_measured(made: Path) -> None:
    folder = open_results(made)
    results, curves = folder.tables["results"], folder.tables["curves"]

    def half(results: pd.DataFrame, curves: pd.DataFrame) -> str:
        standings = standings_table(results, folder.tables["comparisons"], curves)
        return answers(Results(made, {**folder.tables, "standings": standings}))[0].half

    pca = curves[curves.strategy == "high_purity"].assign(
        strategy="pca", kept=1.0, kept_low=1.0, kept_high=1.0
    )
    told = [half(results, pd.concat([curves, pca.assign(kept=kept)])) for kept in (1.0, 0.0)]
    assert (
        ", the first 8 by PCA basis keep 100 % (100 to 100), " in told[0] and "PCA" not in told[1]
    )
    assert half(results[results.strategy != "full"], curves) == ""
    assert half(results, curves.assign(kept=np.nan)) == ""
    assert "chance" not in half(results.assign(chance=np.nan), curves)


def test_numbers_of_the_page_are_the_tables(made: Path, page: Element) -> None:
    results, comparisons = read(made), read(made, COMPARISONS)
    k = 8  # of 20 neurons
    here = results[(results.model == "First") & (results.dataset == "pets")]
    rows = page.one("div", id="at").one("tbody").all("tr")
    heads = [one.text for one in page.one("div", id="at").one("thead").all("th")]
    kept = [row.all("th")[0].text for row in rows]
    assert kept == ["highest purity", "lowest purity", "random", "all neurons", "chance"]
    chances = [cell.attributes["data-value"] for cell in rows[-1].all("td")]
    assert chances == [
        "0.25",
        "",
        "1.0",
        "0.25",
        "",
        "",
        "",
        "",
        "",
    ]  # top 5 of 4 classes is all of them
    for row, strategy in zip(
        rows[:-1], ("high_purity", "low_purity", "random", "full"), strict=True
    ):
        cells = dict(zip(heads[:3], [*row.all("th"), *row.all("td")], strict=False))
        at = here[(here.strategy == strategy) & (here.metric == "accuracy")]
        values = at.value if strategy == "full" else at.value[at.k == k]
        assert float(cells["Accuracy, %"].attributes["data-value"]) == np.median(values)
        assert cells["Accuracy, %"].text == f"{100 * np.median(values):.1f}"
    difference = comparisons[
        (comparisons.model == "First")
        & (comparisons.dataset == "pets")
        & (comparisons["first"] == "high_purity")
        & (comparisons.second == "random")
        & (comparisons.k == str(k))
    ].iloc[0]
    cells = [*rows[0].all("th"), *rows[0].all("td")]
    assert (
        float(cells[heads.index("Minus random")].attributes["data-value"]) == difference.difference
    )
    assert (
        float(cells[heads.index("p (Holm)")].attributes["data-value"])
        == difference.permutation_holm
    )


def test_every_row_of_the_areas_is_there_to_the_last_digit(made: Path, page: Element) -> None:
    curves = read(made, CURVES)
    rows = page.one("div", id="areas").one("tbody").all("tr")
    assert len(rows) == len(curves)
    shown = [[float(cell.attributes["data-value"]) for cell in row.all("td")[2:]] for row in rows]
    columns = ["area", "area_low", "area_high", "needed", "needed_low", "needed_high"]
    np.testing.assert_array_equal(shown, curves[columns].to_numpy())


def test_curves_in_the_data_are_the_tables(made: Path, page: Element) -> None:
    results = read(made)
    data = json.loads(page.one("script", id="data").text)
    assert data["models"] == ["First", "Second"] and data["datasets"] == ["pets", "farm"]
    assert len(data["curves"]) == 2 * 2 * 4
    one = data["curves"]["1/0/silhouette"]
    rows = results[
        (results.model == "Second") & (results.dataset == "pets") & (results.metric == "silhouette")
    ]
    high = rows[rows.strategy == "high_purity"].sort_values("k")
    told = [row for row in one["rows"] if row["strategy"] == "high_purity"]
    assert [(row["k"], row["value"], row["low"], row["high"]) for row in told] == [
        *zip(high.k, high.value, high.low, high.high, strict=True)
    ]
    random = rows[(rows.strategy == "random") & (rows.k == KS[0])].value
    first = next(row for row in one["rows"] if row["strategy"] == "random" and row["k"] == KS[0])
    assert first["value"] == random.median() and first["least"] == random.min()
    assert first["low"] == pytest.approx(np.quantile(random, 0.05), abs=1e-15)


def test_confusion_changes_are_differences_of_counts(made: Path, page: Element) -> None:
    table = read(made, CONFUSIONS)
    shown = parse_text(details_of(page)["confusions"]["0/1"]["low_purity/4"])
    assert shown.one("h4").text.strip() == "lowest purity"
    changes = [
        (*one.one("span").text.split(" → "), *map(int, one.one("small").text.split(" → ")))
        for one in shown.all("li")
    ]
    assert changes
    told = [(one.one("b").text, one.one("b").attributes["class"]) for one in shown.all("li")]
    assert told == [
        (f"{then - full:+d}".replace("-", "\u2212"), "more" if then > full else "less")
        for *_, full, then in changes
    ]
    table = table[(table.model == "First") & (table.dataset == "farm")]
    for truth, predicted, full, then in changes:
        assert truth != predicted and full != then
        pair = table[(table.truth == truth) & (table.predicted == predicted)]
        assert full == pair["count"][pair.strategy == "full"].sum()
        assert then == pair["count"][(pair.strategy == "low_purity") & (pair.k == 4)].sum()


def test_cards_of_the_ends_stand_without_scripts(made: Path, page: Element) -> None:
    neurons = read(made, NEURONS)
    first = neurons[neurons.model == "First"].sort_values("rank")
    shown = [
        one.attributes["id"]
        for one in page.all("article")
        if one.attributes["id"].startswith("card-0-")
    ]
    assert shown == [f"card-0-{n}" for n in [*first.neuron.head(6), *first.neuron.tail(6)[::-1]]]
    card = page.one("article", id=f"card-0-{first.neuron.iloc[0]}")
    assert f"{first.image_overlap.iloc[0]:.4f}" in card.text and "rank 1 of 20" in card.text
    assert "sofa (2.8), lamp (2.6)" in card.text
    neuron = first.neuron.iloc[0]
    cosines = np.load(made / "cosines_first.npz")["image"].astype(np.float64)[neuron]
    cosines[neuron] = 0
    near = [
        f"{n} ({cosines[n]:.2f})".replace("-", "\u2212")
        for n in np.abs(cosines).argsort()[::-1][:6]
    ]
    nearest = card.all("div", class_="near")[0]
    assert [one.text for one in nearest.all("li")] == near and "nearest" in nearest.text
    assert all("disabled" in one.attributes for one in card.all("button"))
    lost = read(made, CLASS_IMPORTANCE)
    lost = lost[(lost.model == "First") & (lost.dataset == "pets")]
    neuron = lost.neuron[lost.neuron.isin([*first.neuron.head(6), *first.neuron.tail(6)])].iloc[0]
    most = (
        lost[lost.neuron == neuron]
        .sort_values("recall_drop", key=lambda drop: -drop.abs(), kind="stable")
        .iloc[0]
    )
    told = f"Recall lost by class: {most['class']} {100 * most.recall_drop:+.0f}".replace(
        "-", "\u2212"
    )
    assert told in page.one("article", id=f"card-0-{neuron}").text
    assert [one.text for one in card.all("div", class_="strip")[0].all("span")] == ["most"]
    assert [one.text for one in card.all("div", class_="least")[0].all("span")] == ["least"]
    explained = page.one("div", id="cards-reading").text
    assert "drawn at random" in explained and "standard deviations" in explained
    assert len(card.all("li", class_="thumb")) == 2 * (4 + 4)
    assert all(
        one.attributes["role"] == "img" and one.attributes["aria-label"]
        for one in card.all("li", class_="thumb")
    )


def test_details_are_those_of_the_tables(made: Path, page: Element) -> None:
    details = details_of(page)
    importance = read(made, IMPORTANCE)
    rows = importance[(importance.model == "Second") & (importance.dataset == "farm")].sort_values(
        "neuron"
    )
    assert details["1/1"]["drop"] == rows.accuracy_drop.to_list()
    examples = pd.read_parquet(made / "examples.parquet")
    here = examples[
        (examples.model == "Second") & (examples.dataset == "farm") & (examples.neuron == 3)
    ]
    most = card_of(details, 1, 3).all("section")[1].one("div", class_="most")
    assert [one.attributes["class"] for one in most.all("li")] == [
        f"thumb t1-{image}" for image in here[here.place > 0].sort_values("place").image[:4]
    ]
    table = read(made, NEURONS)
    table = table[table.model == "Second"]
    neurons = neuron_values(table, open_results(made).cosines["Second"])
    cosines = np.load(made / "cosines_second.npz")["text"].astype(np.float64)
    np.fill_diagonal(cosines, 0)
    assert neurons["text"]["near"][5][0] == np.abs(cosines[5]).argmax()
    assert neurons["text"]["cosine"][5][0] == pytest.approx(
        cosines[5][np.abs(cosines[5]).argmax()], rel=1e-3
    )
    row = table[table.neuron == 5].iloc[0]
    above = 100 * (table.text_random > row.text_overlap).mean()
    assert neurons["text"]["below"][5] == pytest.approx(above, abs=0.05)
    texts = neuron_texts(neurons)
    cards = [parse_text(text) for text in unpacked(details["cards"]["1"])]
    for place, tower in enumerate(("image", "text")):
        for neuron, card in enumerate(cards):
            shown = card.all("dd")[place]
            own = texts[tower]
            told = f"{own['overlap'][neuron]} overlap, {own['purity'][neuron]}nearest, by cosine "
            assert shown.text.startswith(told)
            assert [one.text for one in shown.all("li")] == [
                f"{other} ({cosine})" for other, cosine in own["near"][neuron]
            ]
    for tower in ("image", "text"):
        own, numbers = texts[tower], neurons[tower]
        assert own["overlap"] == [plain(value, 4) for value in numbers["overlap"]]
        for near, others, values in zip(
            own["near"], numbers["near"], numbers["cosine"], strict=True
        ):
            assert near == [[n, plain(c, 2)] for n, c in zip(others, values, strict=True)]
        for text, purity, below in zip(
            own["purity"], numbers["purity"], numbers["below"], strict=True
        ):
            assert text == f"purity {plain(purity, 1)}; {purer(below)}"
    assert (
        details["neurons"]["1"]["rank"]
        == neurons["rank"]
        == table.sort_values("neuron")["rank"].to_list()
    )


def test_a_scatter_is_described_on_each_dataset(made: Path, page: Element) -> None:
    chart = json.loads(page.one("script", id="charts").text)["importance-1"]
    assert chart["spec"]["datasets"]["neurons"] == [], "the script fills them"
    table = read(made, IMPORTANCE)
    for place, dataset in enumerate(("pets", "farm")):
        rows = table[(table.model == "Second") & (table.dataset == dataset)]
        told = chart["alts"][f"1/{place}"]
        assert told.startswith(f"Second on {dataset}: accuracy lost without each of 20 neurons ")
        most = re.findall(r"without neuron (\d+), (\S+) points; (\d+) neurons cost", told)[0]
        lost = rows.accuracy_drop[rows.neuron == int(most[0])].item()
        assert lost == rows.accuracy_drop.max() and most[1] == f"{100 * lost:+.2f}"
        assert int(most[2]) == (rows.accuracy_drop < 0).sum()
    (still,) = [
        one
        for one in page.all("div", class_="chart")
        if one.attributes["data-chart"] == "importance-1"
    ]
    assert still.attributes["aria-label"] == chart["alts"]["1/0"]


@pytest.mark.parametrize(
    ("below", "said"),
    [
        (None, ""),
        (float("nan"), ""),
        (0.0, "more overlap than every random neuron"),
        (0.4, "less overlap than 0.4 % of random neurons"),
        (1.0, "less overlap than 1 % of random neurons"),
        (36.5, "less overlap than 37 % of random neurons"),
        (99.9, "less overlap than 99.9 % of random neurons"),
        (100.0, "less overlap than every random neuron"),
    ],
)
def test_how_pure_among_random_neurons_is_said_in_words(below: float | None, said: str) -> None:
    assert purer(below) == said


def test_none_and_all_of_the_random_neurons_are_exact() -> None:
    random, overlap = np.arange(1.0, 4001.0), np.array([0.5, 1.5, 2000.0, 3999.5, 4000.5, np.nan])
    assert _larger(random, overlap) == [100.0, 99.9, 50.0, 0.1, 0.0, None]


def test_a_dead_neuron_is_not_compared(tmp_path: Path, single: Path) -> None:
    shutil.copytree(single, tmp_path / "run")
    table = read(single, NEURONS)
    gone = [name for name in table.columns if re.search("overlap|purity", str(name))]
    table.loc[table.neuron == 7, gone] = np.nan
    write_table(table, tmp_path / "run", NEURONS)
    page = parse(write_report(tmp_path / "run"))
    folder = open_results(tmp_path / "run")
    values = neuron_values(folder.tables["neurons"], folder.cosines["First"])
    assert values["image"]["below"][7] is None
    shown = card_of(details_of(page), 0, 7).all("dd")[0].text
    assert shown.startswith("\N{EN DASH} overlap, purity \N{EN DASH}nearest")


def test_the_k_nearest_to_half_comes_first(made: Path) -> None:
    there = curves_of(open_results(made).rows(CURVE_POINTS))
    (key, one), *_ = there.items()
    pairs = {key[:2]: "0/0"}
    for ks, first in (((4, 8, 12, 16), 8), ((2, 11, 14), 11), ((12, 14), 12), ((3,), 3)):
        rows = [{"strategy": "random", "k": k} for k in ks]
        assert first_choice(pairs, {key: replace(one, rows=rows)})["k"] == first


@pytest.mark.parametrize(
    ("ks", "ticks", "few"),
    [
        ([200, 250, 300, 350, 400, 450, 500], [200, 250, 300, 350, 400, 450, 500], [200, 350, 500]),
        ([10], [10], [10]),
        ([*range(20, 521, 20)], [*range(20, 521, 60)], [20, 280, 520]),
    ],
)
def test_the_axis_names_the_ks(ks: list[int], ticks: list[int], few: list[int]) -> None:
    one = Curve([{"k": k} for k in ks], [], 512, 1, 2, 0.5, {})
    assert one.ticks == ticks and one.few == few


def test_the_ks_stand_at_the_axes(page: Element) -> None:
    data = json.loads(page.one("script", id="data").text)
    assert data["curves"]["0/0/accuracy"]["ticks"] == [*KS]
    for name, ks in (
        ("key-0", KS),
        ("explorer", KS),
        ("panel-0-0-accuracy", (KS[0], KS[2], KS[3])),
    ):
        (picture,) = [
            one for one in page.all("div", class_="chart") if one.attributes["data-chart"] == name
        ]
        said = [one.text for one in picture.all("text")]
        assert said[: len(ks)] == [str(k) for k in ks]
        assert ("neurons" in said or "all 20" in "".join(said)) == (name[:5] != "panel")


def test_an_axis_of_models_of_several_sizes_names_none(made: Path) -> None:
    folder = open_results(made)
    there, seen = curves_of(folder.rows(CURVE_POINTS)), looks(folder.strategies)
    for neurons, title in ((NEURONS_MADE, "Neurons kept, of 20"), (30, "Neurons kept")):
        several = {
            key: replace(one, neurons=neurons) if key[0] == "Second" else one
            for key, one in there.items()
        }
        figure = explorer(several, seen, 8)
        assert f'"{title}"' in json.dumps(figure.spec)


def test_the_chart_of_one_model_has_the_width_of_the_page(single: Path, page: Element) -> None:
    one = parse(single / "report.html")
    widths = []
    for whole in (one, page):
        figures = whole.one("section", class_="answer").one("div", class_="figures")
        widths.append(float(figures.all("svg")[0].attributes["viewbox"].split()[2]))
        assert ("two" in figures.attributes["class"].split()) == (whole is page)
    assert widths == [1000, 500]


def test_every_picture_says_in_numbers_what_it_shows(page: Element) -> None:
    charts = page.all("div", class_="chart")
    assert len(charts) == 2 + 1 + 8 + 4 + 2 + 1 + 2
    for chart in charts:
        assert chart.attributes["role"] == "img"
        assert len(re.findall(r"\d", chart.attributes["aria-label"])) >= 3
        assert chart.one("svg")
    maps = page.all("img")
    assert len(maps) == 4 and all(re.search(r"\d", one.attributes["alt"]) for one in maps)


def test_what_does_not_fit_is_left_out_and_told(
    tmp_path: Path, single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(single, tmp_path / "run")
    full = (single / "report.html").stat().st_size
    thumbnails = sum(map(len, re.findall(r"\.t\d+-\d+\{.*", (single / "report.html").read_text())))
    monkeypatch.setattr(document, "LIMIT", full - thumbnails // 2)
    page = parse(write_report(tmp_path / "run"))
    assert (tmp_path / "run" / "report.html").stat().st_size <= document.LIMIT
    left = re.search(r"(\d+) of (\d+) thumbnails are left out", page.one("main").text)
    assert left and 0 < int(left[1]) < int(left[2]) <= 2 * IMAGES
    assert page.all("li", class_="none")


def test_an_older_folder_says_what_it_lacks_and_how_to_get_it(tmp_path: Path, single: Path) -> None:
    for name in ("results", "comparisons", "curves"):
        shutil.copy(single / f"{name}.parquet", tmp_path)
    page = parse(write_report(tmp_path))
    told = page.one("p", class_="missing").text
    assert "which classes are confused" in told and "--overwrite" in told
    assert page.one("section", id="curves") and not page.all("section", id="neurons")


def test_recall_that_would_be_written_as_nothing_is_left_out(tmp_path: Path, single: Path) -> None:
    shutil.copytree(single, tmp_path / "run")
    table = read(single, CLASS_IMPORTANCE)
    drops = {0: (0.004, -0.004, 0.03), 1: (0.004,)}
    rows = [
        {
            "model": "First",
            "dataset": dataset,
            "ablation": "zero",
            "neuron": neuron,
            "class": name,
            "recall_drop": drop,
        }
        for dataset in ("pets", "farm")
        for neuron, values in drops.items()
        for name, drop in zip(("cat", "dog", "hen"), values, strict=False)
    ]
    table = pd.concat([table[table.neuron > 1], pd.DataFrame(rows)], ignore_index=True)
    write_table(table, tmp_path / "run", CLASS_IMPORTANCE)
    details = details_of(parse(write_report(tmp_path / "run")))
    for neuron, told in ((0, ["Recall lost by class: hen +3 points"] * 2), (1, [])):
        texts = [one.text for one in card_of(details, 0, neuron).all("p")]
        assert [text for text in texts if "Recall" in text] == told


def test_a_table_without_rows_lacks_nothing(tmp_path: Path, single: Path) -> None:
    shutil.copytree(single, tmp_path / "run")
    for schema in (NEURONS, CONFUSIONS):
        write_table(read(single, schema)[:0], tmp_path / "run", schema)
    page = parse(write_report(tmp_path / "run"))
    assert not page.all("p", class_="missing")
    assert page.one("section", id="curves")


@pytest.mark.parametrize(
    ("away", "named"), [(0.0, ["all 20 neurons, chance", ""]), (0.2, ["all 20 neurons", "chance"])]
)
def test_names_of_lines_that_would_stand_on_each_other_are_one(
    tmp_path: Path, made: Path, away: float, named: list[str]
) -> None:
    results = read(made, RESULTS)
    everything = (results.strategy == "full") & (results.metric == "accuracy")
    changed = results.assign(
        chance=0.25,
        value=results.value.where(~everything, 0.25 + away),
        low=results.low.where(~everything, np.nan),
        high=results.high.where(~everything, np.nan),
    )
    shutil.copytree(made, tmp_path / "run")
    write_table(changed, tmp_path / "run", RESULTS)
    derive(tmp_path / "run")
    points = open_results(tmp_path / "run").rows(CURVE_POINTS)
    found = curves_of(points)["First", "pets", "accuracy"].levels
    assert [level["label"] for level in found] == named
    assert [level["value"] for level in found] == [0.25 + away, 0.25]


def test_a_model_without_projections_has_curves_and_no_neurons(
    tmp_path: Path, single: Path
) -> None:
    shutil.copytree(single, tmp_path / "run")
    for name in ("neurons.parquet", "cosines_first.npz", "thumbnails.parquet"):
        (tmp_path / "run" / name).unlink()
    importance = read(single, IMPORTANCE)
    dead = {column: np.nan for column in list(IMPORTANCE.columns)[-5:]}
    write_table(importance.assign(**dead), tmp_path / "run", IMPORTANCE)
    page = parse(write_report(tmp_path / "run"))
    assert page.one("section", id="curves") and not page.all("section", id="neurons")


def test_a_bound_is_no_number_of_neurons_needed(tmp_path: Path, single: Path) -> None:
    shutil.copytree(single, tmp_path / "run")
    table = read(single, CURVES)
    table.loc[:, ["needed", "needed_low"]] = float(min(KS))
    write_table(table.assign(needed_high=9.0), tmp_path / "run", CURVES)
    cells = (
        parse(write_report(tmp_path / "run"))
        .one("div", id="areas")
        .one("tbody")
        .all("tr")[0]
        .all("td")
    )
    assert [cell.text for cell in cells][-3:] == ["≤ 4", "≤ 4", "9"]
    assert [cell.attributes["data-value"] for cell in cells][-3:] == ["4.0", "4.0", "9.0"]


def test_two_models_are_compared_first(tmp_path: Path, made: Path) -> None:
    shutil.copytree(made, tmp_path / "run")
    row = {
        "first": "First",
        "second": "Second",
        "metric": "accuracy",
        "first_value": 0.75,
        "second_value": 0.5,
    }
    ends = {"low": 0.125, "high": 0.375, "p": 0.001, "p_holm": 0.002}
    sets = [("pets", 0.25, 0.002), ("farm", -0.25, 0.04), ("zoo", 0.25, 0.06)]
    rows = [
        row
        | ends
        | {"dataset": name, "difference": difference, "p_holm": p, "strategy": strategy, "k": k}
        for name, difference, p in sets
        for strategy, k in (("full", "all"), ("gap", "area"), ("random", "8"))
    ]
    write_table(pd.DataFrame(rows), tmp_path / "run", RIVALS)
    page = parse(write_report(tmp_path / "run"))
    first = page.all("div", class_="verdict")[0]
    assert first.one("p", class_="claim").text == (
        "More accurate with all neurons, on the same images: First on pets; Second on farm; not "
        "decided on zoo."
    )
    assert (
        "pets +25.00 (+12.50 to +37.50), farm \u221225.00 (" in first.one("p", class_="note").text
    )
    table = page.one("div", id="rivals-table")
    shown = [
        [cell.text for cell in [*row.all("th"), *row.all("td")]]
        for row in table.one("tbody").all("tr")
    ]
    assert shown[0] == [
        "pets", "all neurons", "all neurons", "Accuracy",
        "75.0", "50.0", "+25.00", "+12.50 to +37.50", "0.002",
    ]  # fmt: skip
    assert [one[1] for one in shown] == ["all neurons", "highest minus lowest purity"] * 3


def test_one_k_one_set_and_no_draws_are_enough(tmp_path: Path, single: Path) -> None:
    table = read(single, RESULTS)
    table = table[
        (table.model == "First") & (table.dataset == "pets") & table.k.isin((4, NEURONS_MADE))
    ]
    write_table(table[table.strategy != "random"], tmp_path, RESULTS)
    curves = read(single, CURVES)
    write_table(
        curves[(curves.model == "First") & (curves.dataset == "pets")].assign(half=4),
        tmp_path,
        CURVES,
    )
    none = pd.DataFrame(columns=list(COMPARISONS.columns))
    standings = standings_table(read(tmp_path), none, read(tmp_path, CURVES))
    write_table(standings, tmp_path, STANDINGS)
    page = parse(write_report(tmp_path))
    answer = page.one("div", class_="verdict")
    empty, half = (one.text for one in answer.all("p"))
    assert empty == "" and half.startswith("First: of the ") and "the 4 purest" in half
    assert page.one("section", id="curves")


@pytest.mark.parametrize("kind", ["layers", "track", "purity"])
def test_other_folders_have_their_own_sections_only(kind: str, tmp_path: Path, made: Path) -> None:
    if kind == "layers":
        space = {
            "model": "M",
            "dataset": "",
            "space": "weights",
            "token": "",
            "width": 8,
            "dead": 0,
            "neurons": 4,
        }
        rows = [
            {**space, "tower": tower, "depth": depth, "kind": "mlp", "name": f"{tower}.{depth}"}
            | {
                f"{prefix}{measure}": 1.0 + depth
                for prefix in ("", "random_", "relative_")
                for measure in ("overlap", "effective_rank", "participation_ratio")
            }
            for tower in ("image", "text")
            for depth in range(3)
        ]
        pd.DataFrame(rows).to_csv(tmp_path / "layers_m.csv", index=False)
    elif kind == "track":
        towers = {f"{tower}_relative_overlap": 2.0 for tower in ("image", "text")}
        accuracies = {
            name: 0.5
            for name in (
                "accuracy",
                "high_purity",
                "low_purity",
                "random",
                "random_low",
                "random_high",
            )
        }
        rows = [
            {
                "model": "M",
                "step": step,
                "dataset": "pets",
                "n": 9,
                "rank_last": 0.5,
                **towers,
                **accuracies,
            }
            for step in (1, 2)
        ]
        empty = {"string": "", "int64": 1, "float64": float("nan"), "object": [0]}
        rest = {name: empty[column.dtype] for name, column in TRACK.described.items()}
        pd.DataFrame([rest | row for row in rows]).to_parquet(tmp_path / "track.parquet")
    else:
        neurons = read(made, NEURONS)
        part = neurons[neurons.model == "First"].drop(
            columns=["model", "image_random", "text_random"]
        )
        part.to_csv(tmp_path / "purity_first.csv", index=False)
    page = parse(write_report(tmp_path))
    sections = {
        one.attributes["id"] for one in page.one("main").all("section") if "id" in one.attributes
    }
    assert sections == {{"layers": "layers", "track": "training", "purity": "neurons"}[kind]}
    goes = "against that of random neurons, goes in the image tower from"
    assert [one.text for one in page.all("p", class_="claim")] == {
        "layers": [
            f"M: the overlap of weights, {goes} 1.00 times (mlp) to 3.00 times (mlp), in the text "
            "tower from 1.00 times (mlp) to 3.00 times (mlp)."
        ],
        "track": [
            f"M, step 1 to 2: overlap, {goes} 2.00 to 2.00 times, in the text tower from 2.00 to "
            f"2.00 times."
        ],
        "purity": [],
    }[kind]
    rests = [one.text for one in page.one("section", class_="rests").all("dd")]
    assert {
        "layers": "M: 6 layers in 2 towers" in rests,
        "track": {"M: 2 checkpoints, step 1 to 2, 1 neurons", "pets: 9 images, 1 classes"}
        <= set(rests),
        "purity": rests == ["first"],
    }[kind]


def test_a_reproduction_shows_published_and_ours_and_leads_to_the_runs(tmp_path: Path) -> None:
    names = ("published", "paper", "native", "paper_difference", "native_difference")
    rows = [
        {
            "dataset": "pets",
            "metric": "accuracy",
            "strategy": strategy,
            "k": k,
            "marker_partly_hidden": False,
        }
        | dict(zip(names, (0.5, 0.51, 0.52, 0.01, 0.02), strict=True))
        for strategy in ("high_purity", "random", "low_purity")
        for k in (200, 250)
    ]
    write_table(pd.DataFrame(rows), tmp_path, REPRODUCTION)
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "report.html").touch()
    page = parse(write_report(tmp_path))
    assert [one.attributes["id"] for one in page.one("main").all("section")] == ["reproduction"]
    cells = [cell.attributes["data-value"] for cell in page.one("tbody").all("tr")[0].all("td")]
    assert cells == ["accuracy", "highest purity", "200", "0.5", "0.51", "0.01", "0.52", "0.02"]
    assert [one.attributes["href"] for one in page.one("main").all("a")] == ["native/report.html"]


def test_nothing_to_show_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results in"):
        write_report(tmp_path)
    with pytest.raises(
        InputError,
        match=r"there is no folder .*gone\n(.|\n)*to fix:   name one, or make one: `pure",
    ):
        write_report(tmp_path / "gone")
    (tmp_path / "track.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"track\.parquet cannot be read"):
        write_report(tmp_path)
    pd.DataFrame({"step": [1]}).to_parquet(tmp_path / "track.parquet")
    with pytest.raises(InputError, match=r"track\.parquet: a table without the columns model"):
        write_report(tmp_path)


def test_a_mistyped_folder_is_answered_with_the_one_near_it(made: Path) -> None:
    with pytest.raises(
        InputError, match=rf"there is no folder(.|\n)*to fix:   did you mean .*{made.name}\?"
    ):
        write_report(made.with_name(made.name[:-1]))


def test_the_same_folder_gives_the_same_page_and_the_script_is_bundled_once_for_all(
    tmp_path: Path, single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the process that draws, and never by this one, which V8 would take along when memory runs
    out.
    """
    assert writing._library, "a page was written before"
    monkeypatch.setattr(writing, "_library", [])
    monkeypatch.setattr(writing, "drawing", draw_anew)
    shutil.copytree(single, tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    assert write_report(tmp_path / "run").read_bytes() == (single / "report.html").read_bytes()
    assert len(writing._library) == 1
