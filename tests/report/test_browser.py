"""The page in a browser: what a reader does to it, and what it then shows."""

import csv
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from purescope.report import document
from purescope.report.content import PHRASES
from purescope.report.writing import write_report
from purescope.tables.schemas import COMPARISONS, NEURONS, ORDERS, WORDS
from tests.report.made import KS, make_captions, make_folder, read
from tests.report.test_page import HOSTILE, HOSTILE_DATASETS, HOSTILE_MODELS

pytestmark = pytest.mark.slow

DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"


@dataclass
class Visit:
    """A page, and what it said and asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


Go = Callable[..., Visit]


def isolated(browser: Browser, **options: Any) -> BrowserContext:
    """A context without a network."""
    options = {"viewport": DESKTOP, "reduced_motion": "reduce", **options}
    context = browser.new_context(**options)
    context.route(re.compile("^(https?|wss?):"), lambda route: route.abort())
    return context


def opened(context: BrowserContext) -> Visit:
    """A blank page."""
    found = Visit(context.new_page())
    found.page.on("console", lambda message: found.said.append(message.text))
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    found.page.on("request", lambda request: found.asked.append(request.url))
    return found


def load(visit: Visit, report: Path, address: str = "") -> Visit:
    """Open a report; what an earlier one said and asked for is forgotten."""
    visit.page.bring_to_front()  # behind another one it would draw nothing
    visit.page.goto("about:blank")  # another address within the same page would load nothing
    visit.said.clear()
    visit.asked.clear()
    visit.page.goto(report.as_uri() + address)
    visit.page.wait_for_selector('[data-chart="explorer"].drawn')
    return visit


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all pages that run scripts: what each other one compiles takes longer than a page."""
    found = isolated(browser, permissions=["clipboard-read", "clipboard-write"])
    yield found
    found.close()


@pytest.fixture(scope="module")
def window(context: BrowserContext) -> Visit:
    """A page for all tests that load what they look at."""
    return opened(context)


@pytest.fixture
def visit(window: Visit, made: Path) -> Iterator[Go]:
    """Load a report, as it is first seen."""

    def go(report: Path | None = None, address: str = "", **media: Any) -> Visit:
        window.page.emulate_media(**media)
        return load(window, report or made / "report.html", address)

    yield go
    window.page.emulate_media(media="null", color_scheme="null")
    window.page.set_viewport_size(DESKTOP)


@pytest.fixture(scope="module")
def standing(context: BrowserContext, made: Path) -> Visit:
    """A report that is loaded once, for tests that change no more than a choice."""
    return load(opened(context), made / "report.html")


@pytest.fixture
def page(standing: Visit) -> Iterator[Page]:
    """That report with the choices that it opens with, but for the neuron, which any test may
    leave; it says nothing meanwhile.
    """
    standing.page.bring_to_front()
    standing.page.evaluate(_CHOOSE, OPENING)
    yield standing.page
    assert standing.said == []


OPENING = "#model=First&data=pets&metric=accuracy&k=8&kept=high_purity,low_purity,random"
# As when a reader edits the address; at once, where the browser would tell of it a little later.
_CHOOSE = """address => {
  history.replaceState(null, "", address);
  dispatchEvent(new HashChangeEvent("hashchange"));
}"""


@pytest.fixture
def strange(hostile: Visit) -> Visit:
    """That report, in front."""
    hostile.page.bring_to_front()
    return hostile


@pytest.fixture(scope="module")
def hostile(context: BrowserContext, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """The report of a folder in which every name is hostile, loaded once."""
    out = tmp_path_factory.mktemp("strange") / "run"
    make_folder(
        out,
        models=HOSTILE_MODELS,
        datasets=HOSTILE_DATASETS,
        classes=HOSTILE,
        words=["côte d’ivoire", *HOSTILE],
    )
    return load(opened(context), write_report(out))


def cells(page: Page, table: str = "at") -> list[dict[str, str]]:
    """A table of the page, whole values by heading; of two headings alike the first."""
    heads = page.locator(f"#{table} thead th").all_text_contents()
    rows = page.locator(f"#{table} tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.cells].map(c => c.dataset.value))"
    )
    return [dict(reversed([*zip(heads, row, strict=True)])) for row in rows]


def accuracy(made: Path, model: str, dataset: str, strategy: str, k: int) -> float:
    table = read(made)
    rows = table[
        (table.model == model)
        & (table.dataset == dataset)
        & (table.strategy == strategy)
        & (table.k == k)
    ]
    return float(rows.value[rows.metric == "accuracy"].median())


def scroll_through(page: Page) -> None:
    """Bring every chart near the window, so that it is drawn."""
    waiting = page.locator(".chart:visible:not(.drawn)")
    for _ in range(200):  # the page grows and shrinks while charts take their places
        if waiting.count() == 0:
            return
        waiting.first.scroll_into_view_if_needed()
        page.wait_for_timeout(50)
    raise AssertionError(waiting.first.get_attribute("data-chart"))


def look(page: Page, name: str) -> None:
    """A picture of the whole page, for a person who asks for it by `PURESCOPE_PICTURES`: it takes
    longer than most tests.
    """
    if not os.environ.get("PURESCOPE_PICTURES"):
        return
    page.evaluate("window.scrollTo(0, 0)")
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
    assert (PICTURES / f"{name}.png").stat().st_size > 50_000


def test_it_opens_from_a_file_in_silence_and_asks_for_nothing(standing: Visit, made: Path) -> None:
    scroll_through(standing.page)
    assert standing.page.locator(".live svg").count() >= 2 + 1 + 2 + 2 + 1
    assert standing.said == []
    assert {re.split("[:,]", address)[0] for address in standing.asked} <= {"file", "data"}
    assert [address for address in standing.asked if address.startswith("file")] == [
        (made / "report.html").as_uri()
    ]
    look(standing.page, "report-desktop")


def test_the_slider_moves_table_curves_and_confusions(page: Page, made: Path) -> None:
    slider, confusions = page.locator("#k"), page.locator("#confusion-lists")
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    before = confusions.inner_text()
    rule = page.locator(
        '[data-chart="explorer"] .live .mark-rule path, '
        '[data-chart="explorer"] .live .mark-rule line'
    )
    places = rule.evaluate_all("all => all.map(one => one.getAttribute('transform'))")
    slider.focus()
    page.keyboard.press("Home")
    for k in KS:
        expect(page.locator("#k-shown")).to_have_text(f"{k} of 20, {5 * k} %")
        assert slider.get_attribute("aria-valuetext") == f"{k} of 20, {5 * k} %"
        for row, strategy in zip(
            cells(page), ("high_purity", "low_purity", "random"), strict=False
        ):
            assert row["Kept"] == strategy
            assert float(row["Accuracy, %"]) == accuracy(made, "First", "pets", strategy, k)
        assert f"k={k}" in page.url
        page.keyboard.press("ArrowRight")
    assert confusions.inner_text() != before
    page.wait_for_function(
        "([rules, before]) => rules.some((one, at) => one.getAttribute('transform') !== "
        "before[at])",
        arg=[rule.element_handles(), places],
    )


def test_switches_change_what_is_shown(page: Page, made: Path) -> None:
    page.select_option("#model", label="Second")
    page.select_option("#dataset", label="farm")
    expect(page.locator("#explorer-title")).to_have_text("Second on farm")
    k = int(page.locator("#k-shown").inner_text().split()[0])
    shown = cells(page)
    assert float(shown[0]["Accuracy, %"]) == accuracy(made, "Second", "farm", "high_purity", k)
    comparisons = read(made, COMPARISONS)
    row = comparisons[
        (comparisons.model == "Second")
        & (comparisons.dataset == "farm")
        & (comparisons["first"] == "high_purity")
        & (comparisons.second == "random")
        & (comparisons.k == str(k))
    ].iloc[0]
    assert float(shown[0]["Minus random"]) == row.difference
    assert float(shown[0]["p"]) == row.permutation_p
    points = page.locator('[data-chart="explorer"] .live .mark-symbol path')
    expect(points.first).to_be_attached()
    many = points.count()
    page.get_by_role("checkbox", name="lowest purity").uncheck()
    expect(page.locator("#at tbody tr")).to_have_count(4)
    expect(points).not_to_have_count(many)
    assert "Second on farm" in str(
        page.locator('[data-chart="explorer"]').get_attribute("aria-label")
    )
    page.select_option("#metric", label="Silhouette")
    expect(page.locator("#explorer-note")).to_contain_text("Silhouette")
    expect(page.locator(".of-model:visible h3").first).to_have_text("Second")


def test_an_address_brings_the_same_view_back_and_begins_there(page: Page, visit: Go) -> None:
    page.select_option("#dataset", label="farm")
    page.get_by_label("random", exact=True).uncheck()
    page.locator("#k").focus()
    page.keyboard.press("End")
    page.locator("#neuron").fill("7")
    expect(page.locator("#card-shown h4")).to_have_text("Neuron 7")
    shown = cells(page)
    again = visit(address="#" + page.url.split("#")[1]).page
    assert cells(again) == shown
    expect(again.locator("#card-shown h4")).to_have_text("Neuron 7")
    expect(again.get_by_label("random", exact=True)).not_to_be_checked()
    stands_at(again, "finder")
    nowhere = visit(address="#model=nobody&data=none&metric=x&k=999&neuron=999&kept=y")
    expect(nowhere.page.locator("#k-shown")).to_have_text("16 of 20, 80 %")
    assert nowhere.said == []
    stands_at(visit(address="#models").page, "models")


def stands_at(page: Page, name: str) -> None:
    expect(page.locator(f"#{name}")).to_be_in_viewport()
    page.wait_for_timeout(500)
    assert abs(page.locator(f"#{name}").bounding_box()["y"]) < 250  # type: ignore[index]


def test_hover_says_all_that_is_drawn_at_the_nearest_k(page: Page, made: Path) -> None:
    results = read(made)
    here = results[
        (results.model == "First") & (results.dataset == "pets") & (results.metric == "accuracy")
    ]
    box = page.locator('[data-chart="explorer"]')
    box.scroll_into_view_if_needed()
    plot = box.locator(".live .mark-rect path").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect()).map(r => [r.left, r.right, r.top, "
        "r.bottom])"
    )
    assert len(plot) == len(KS) and [right for _, right, *_ in plot[:-1]] == pytest.approx(
        [left for left, *_ in plot[1:]]
    )
    tooltip = page.locator("#vg-tooltip-element")
    for k, (left, right, top, bottom) in zip(KS, plot, strict=True):
        page.mouse.move(left + 0.4 * (right - left), top + 0.3 * (bottom - top))
        expect(tooltip.locator("h2")).to_have_text(f"{k} neurons kept")
        told = dict(
            row.all_inner_texts()
            for row in map(lambda one: one.locator("td"), tooltip.locator("tr").all())
        )
        high = here[(here.strategy == "high_purity") & (here.k == k)].iloc[0]
        draws = 100 * here.value[(here.strategy == "random") & (here.k == k)]
        full = here.value[here.strategy == "full"].iloc[0]
        assert told == {
            "highest purity": f"{100 * high.value:.1f} % ({100 * high.low:.1f} to "
            f"{100 * high.high:.1f})",
            "lowest purity": told["lowest purity"],
            "random, median": f"{draws.median():.1f} % ({draws.quantile(0.05):.1f} to "
            f"{draws.quantile(0.95):.1f})",
            "all 20 neurons": f"{100 * full:.1f} %",
            "chance": "25.0 %",
        }
    page.mouse.move(0, 0)


def test_any_neuron_has_its_card(page: Page, made: Path) -> None:
    neurons = read(made, NEURONS)
    row = neurons[(neurons.model == "First") & (neurons.neuron == 13)].iloc[0]
    card = page.locator("#card-shown")
    page.locator("#neuron").fill("13")
    expect(card.locator("h4")).to_have_text("Neuron 13")
    expect(card).to_contain_text(f"rank {row['rank']} of 20")
    expect(card).to_contain_text(f"{row.text_overlap:.4f}")
    examples = pd.read_parquet(made / "examples.parquet")
    here = examples[
        (examples.model == "First") & (examples.dataset == "pets") & (examples.neuron == 13)
    ]
    shown = (
        card.locator(".thumbs")
        .first.locator("li")
        .evaluate_all("all => all.map(one => one.className)")
    )
    assert shown == [
        f"thumb t0-{image}" for image in here[here.place > 0].sort_values("place").image[:4]
    ]
    picture = card.locator(".thumb").first.evaluate("one => getComputedStyle(one).backgroundImage")
    assert picture.startswith('url("data:image/webp')
    near = card.locator(".near button").first
    other = near.inner_text().split()[0]
    near.click()
    expect(card.locator("h4")).to_have_text(f"Neuron {other}")
    page.locator("#next").click()
    expect(card).not_to_contain_text(f"Neuron {other}")


def test_a_number_that_no_neuron_has_is_said(page: Page) -> None:
    field, said = page.locator("#neuron"), page.locator("#finder").get_by_role("status")
    field.fill("13")
    for wrong in ("99", "20", "-1", "2.5"):
        field.fill(wrong)
        field.blur()
        expect(said).to_have_text(
            f"There is no neuron {wrong}, only 0 to 19. Still shown: neuron 13."
        )
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_value(wrong)
        expect(page.locator("#card-shown h4")).to_have_text("Neuron 13")
    page.locator("#next").click()
    expect(said).to_be_empty()
    expect(field).to_have_attribute("aria-invalid", "false")
    assert f"Neuron {field.input_value()}" == page.locator("#card-shown h4").inner_text()
    field.fill("")
    field.blur()
    assert f"Neuron {field.input_value()}" == page.locator("#card-shown h4").inner_text()


def test_neurons_are_found_by_word_and_class(page: Page, made: Path) -> None:
    field, said, found = (
        page.locator("#neuron"),
        page.locator("#found-said"),
        page.locator("#found button"),
    )
    words = read(made, WORDS)
    here = words[(words.model == "First") & (words.word == "cow") & (words.place <= 5)]
    best = here.sort_values("score", ascending=False, kind="stable").drop_duplicates("neuron")
    field.fill(" COW ")
    expect(found).to_have_count(min(12, len(best)))
    expect(said).to_have_text(
        f"{len(best)} neurons with “COW” in a closest word or class; the 12 closest:"
    )
    first = best.iloc[0]
    expect(found.first).to_have_text(
        f"neuron {first.neuron}: cow ({first.dataset}) {first.score:.1f}"
    )
    shown = [int(text.split()[1].rstrip(":")) for text in found.all_inner_texts()]
    scores = best.set_index("neuron").score.round(4)
    assert [scores[one] for one in shown] == sorted(scores, reverse=True)[:12]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(found.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#card-shown h4")).to_have_text(f"Neuron {shown[1]}")
    expect(found.nth(1)).to_be_focused()
    expect(found.nth(1)).to_have_attribute("aria-current", "true")
    expect(field).to_have_value(" COW ")
    field.fill("amp")
    expect(found.first).to_have_text("neuron 0: lamp (words) 2.6")
    page.keyboard.press("Enter")
    expect(page.locator("#card-shown h4")).to_have_text("Neuron 0")
    field.fill("zebra")
    expect(said).to_have_text("Nothing found: no neuron with “zebra” in a closest word or class.")
    expect(found).to_have_count(0)
    page.keyboard.press("Escape")
    expect(said).to_be_empty()
    expect(field).to_have_value("0")


def test_a_search_is_of_the_chosen_model(page: Page, made: Path) -> None:
    page.locator("#neuron").fill("hen")
    words = read(made, WORDS)
    for model in ("First", "Second"):
        page.select_option("#model", label=model)
        row = words[(words.model == model) & (words.word == "hen")].sort_values("score").iloc[-1]
        expected = f"neuron {row.neuron}: hen ({row.dataset}) {row.score:.1f}"
        expect(page.locator("#found button").first).to_have_text(expected)
    page.locator("#neuron").press("Escape")


def test_names_are_found_without_their_accents_and_stay_text(strange: Visit) -> None:
    field, found = strange.page.locator("#neuron"), strange.page.locator("#found button")
    field.fill("COTE D")
    expect(found.first).to_have_text("neuron 0: côte d’ivoire (words) 2.8")
    field.fill("<script>alert(1)")
    expect(found.first).to_contain_text(HOSTILE[0])
    assert found.count() == 12
    assert strange.page.locator("#found *").evaluate_all(
        "all => [...new Set(all.map(one => one.tagName))]"
    ) == [
        "LI",
        "BUTTON",
        "SMALL",
    ]
    assert strange.said == []


def test_a_live_card_is_the_still_one(page: Page, made: Path) -> None:
    for number in (0, 7):
        still = page.locator(".of-model:visible .cards .card").nth(number)
        page.locator("#neuron").fill(still.locator("h4").inner_text().split()[1])
        live = page.locator("#card-shown")
        html = [
            one.evaluate("one => one.innerHTML").replace(' disabled=""', "")
            for one in (live, still)
        ]
        assert html[0] == html[1] and html[0].count("<li") == 2 * 6 + 2 * (4 + 4)
        assert live.locator(".near button:enabled").count() == 2 * 6
        assert live.locator("h4 button:enabled").count() == 0
        assert still.locator("button:enabled").all_inner_texts() == [
            live.locator("h4").inner_text()
        ]
    assert page.locator(".strip > span").all_inner_texts()[:2] == ["most", "least"]


def test_the_script_writes_no_numbers_and_shows_those_of_the_still_page(
    page: Page, made: Path
) -> None:
    script = (Path(document.__file__).parent / "page" / "report.js").read_text(encoding="utf-8")
    assert not re.findall(r"toFixed|toPrecision|toLocale|Math\.round|NumberFormat", script)
    assert not re.findall(r"[\"'`>]\s*</?[a-z]", script), "it writes no elements"
    used = set(re.findall(r'phrase\("([^"]+)"', script))
    assert used <= PHRASES.keys()
    assert all(f'"{name}"' in script for name in PHRASES)
    html = {
        name: page.locator(f"#at {name}").evaluate("one => one.innerHTML")
        for name in ("caption", "tbody")
    }
    still = page.evaluate(
        "text => [...new DOMParser().parseFromString(text, 'text/html').querySelectorAll("
        "'#at caption, #at tbody')].map(one => one.innerHTML)",
        (made / "report.html").read_text(encoding="utf-8"),
    )
    assert [re.sub(r"\s*\n\s*", "", text) for text in html.values()] == [
        re.sub(r"\s*\n\s*", "", text) for text in still
    ]


def test_a_point_of_the_scatter_opens_its_card(page: Page) -> None:
    chart = page.locator('[data-chart="importance-0"]')
    chart.scroll_into_view_if_needed()
    point = chart.locator(".live .mark-symbol path").first
    point.wait_for()
    expect(chart).to_have_attribute(
        "aria-label", re.compile("^First on pets: accuracy lost without each of 20 neurons")
    )
    expect(page.locator("#importance-0 h3")).to_have_text("Purity against importance, on pets")
    assert chart.locator(".live .mark-symbol path").count() == 20 + 1  # and the ring
    page.locator("#next").click()
    before = page.locator("#card-shown h4").inner_text()
    point.dispatch_event("click")
    chart.locator(".live .mark-symbol path").nth(5).click(force=True)
    expect(page.locator("#card-shown h4")).not_to_have_text(before)


def test_copies_have_every_digit(page: Page, made: Path) -> None:
    table = page.locator("#areas")
    with page.expect_download() as download:
        table.get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename.startswith("over-all-k-mean-accuracy-")
    rows = list(csv.reader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    curves = pd.read_parquet(made / "curves.parquet")
    assert rows[0] == [
        "model",
        "dataset",
        "strategy",
        "area",
        "area_low",
        "area_high",
        "needed",
        "needed_low",
        "needed_high",
    ]
    assert [float(row[3]) for row in rows[1:]] == curves.area.to_list()
    table.get_by_role("button", name="Copy").click()
    expect(table.get_by_role("status")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert [float(line.split("\t")[3]) for line in copied[1:-1]] == curves.area.to_list()


def test_what_is_copied_is_no_formula(visit: Go, tmp_path: Path) -> None:
    """Labels, class names and words are anybody's; numbers, negative ones too, stay numbers."""
    names = {
        "models": ("=HYPERLINK(1)",),
        "datasets": (
            "+cmd|' /C calc'!A0",
            "-1+2",
            " =3",
            "\N{FULLWIDTH EQUALS SIGN}4+1",
            "@SUM(1)",
        ),
    }
    out = make_folder(tmp_path / "run", **names, classes=("\t=1", "\r=1", "cat", "= dog"))
    page = visit(write_report(out)).page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    tables, saved, copied = page.locator("[data-table]:visible"), list[str](), list[str]()
    for at in range(tables.count()):
        with page.expect_download() as download:
            tables.nth(at).get_by_role("button", name="CSV").click()
        text = download.value.path().read_text(encoding="utf-8")
        saved += [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
        tables.nth(at).get_by_role("button", name="Copy").click()
        expect(tables.nth(at).get_by_role("status")).to_have_text("Copied")
        lines = page.evaluate("navigator.clipboard.readText()").split("\n")
        copied += [cell for line in lines for cell in line.split("\t")]
    for cells in (saved, copied):
        assert {f"'{name}" for one in names.values() for name in one} <= set(cells)
        starts = ("=", "+", "-", "@", "\t", "\r", "\N{FULLWIDTH EQUALS SIGN}")
        formulas = [cell for cell in cells if cell.lstrip(" ").startswith(starts)]
        assert formulas, "no negative number is among them"
        assert all(map(is_number, formulas))


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_a_copy_of_an_interval_has_both_ends_and_names_what_it_is_of(
    page: Page, made: Path
) -> None:
    page.locator("#k").focus()
    page.keyboard.press("End")
    with page.expect_download() as download:
        page.locator("#at").get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename == "first-on-pets-16-neurons-kept.csv"
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    results = read(made)
    high = results[
        (results.model == "First")
        & (results.dataset == "pets")
        & (results.metric == "accuracy")
        & (results.strategy == "high_purity")
        & (results.k == 16)
    ].iloc[0]
    assert [row["strategy"] for row in rows] == [
        "high_purity",
        "low_purity",
        "random",
        "full",
        "chance",
    ]
    assert [float(rows[0][name]) for name in ("accuracy", "accuracy_low", "accuracy_high")] == [
        high.value,
        high.low,
        high.high,
    ]
    assert (
        float(rows[4]["accuracy"]) == 0.25
        and rows[4]["accuracy_low"] == rows[4]["silhouette"] == ""
    )


def test_the_neurons_that_are_kept_can_be_taken_along(page: Page, made: Path) -> None:
    page.locator("#k").focus()
    page.keyboard.press("Home")
    orders = read(made, ORDERS)
    for strategy, words in (("high_purity", "highest purity"), ("low_purity", "lowest purity")):
        page.get_by_role("button", name=f"Copy the 4 of {words}").click()
        expect(page.locator("#taken")).to_have_text(f"Indices of the 4 of {words} copied")
        rows = orders[
            (orders.model == "First") & (orders.dataset == "pets") & (orders.strategy == strategy)
        ]
        assert (
            page.evaluate("navigator.clipboard.readText().then(JSON.parse)")
            == rows.neuron[rows.place <= 4].to_list()
        )
    expect(page.locator("#takes button")).to_have_count(2)


def test_a_standing_card_opens_the_whole_one(page: Page) -> None:
    heading = page.locator(".of-model:visible .card h4 button").nth(3)
    name = heading.inner_text()
    heading.click()
    expect(page.locator("#card-shown h4")).to_have_text(name)
    expect(page.locator("#card-shown")).to_be_focused()


def test_the_last_strategy_cannot_be_switched_off(page: Page) -> None:
    boxes = page.locator('input[name="strategy"]')
    for at in range(3):
        boxes.nth(at).click()
    assert boxes.evaluate_all("all => all.map(one => one.checked)") == [False, False, True]
    expect(page.locator("#at tbody tr")).to_have_count(3)


def test_a_browser_that_cannot_run_the_script_shows_the_still_page(
    browser: Browser, made: Path
) -> None:
    page = browser.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto((made / "report.html").as_uri())
    expect(page.locator(".failed")).to_be_visible()
    for selector in ("#controls", "#finder", "#theme"):
        expect(page.locator(selector)).to_be_hidden()
    for selector in ("#panels-plain svg >> nth=0", "#explorer .still svg"):
        expect(page.locator(selector)).to_be_visible()
    page.close()


def test_latex_is_escaped(strange: Visit) -> None:
    page = strange.page
    page.locator("#areas").get_by_role("button", name="LaTeX").click()
    expect(page.locator("#areas").get_by_role("status")).to_have_text("Copied")
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith(
        "\\begin{tabular}{lllrrrrrr}\n\\toprule\nModel & Dataset & Kept & Mean accuracy, \\% &"
    )
    escaped = (
        "\\$x\\_1\\$ \\& 50 \\% \\{more\\} "
        "\\#\\textasciitilde{}\\textasciicircum{}\\textbackslash{}"
    )
    assert f"{HOSTILE[0]} & {escaped} {HOSTILE[5]} & highest purity & " in text
    assert text.endswith("\\bottomrule\n\\end{tabular}\n")


def test_hostile_names_stay_text(strange: Visit) -> None:
    page = strange.page
    for place in range(len(HOSTILE_DATASETS)):
        page.select_option("#dataset", index=place)
    page.select_option("#model", index=1)
    expect(page.locator("#explorer-title")).to_have_text(
        f"{HOSTILE_MODELS[1]} on {HOSTILE_DATASETS[1]}"
    )
    scroll_through(page)
    assert strange.said == []
    assert page.locator("img").count() == 4 and page.locator("script").count() == 6
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_without_scripts_all_is_still_there(browser: Browser, made: Path) -> None:
    page = opened(isolated(browser, java_script_enabled=False)).page
    page.goto((made / "report.html").as_uri())
    for selector in (
        ".verdict",
        "#explorer svg",
        "#at tbody tr",
        "#panels-plain svg",
        ".card",
        "#areas td",
    ):
        expect(page.locator(selector).first).to_be_visible()
    for selector in ("#controls", "#finder", "#theme", "#panels"):
        expect(page.locator(selector)).to_be_hidden()
    assert page.locator(".card:visible").count() == 2 * 12
    page.context.close()


def test_text_can_be_read_in_either_theme(page: Page) -> None:
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark", "light")
    for scheme, other in itertools.pairwise(schemes):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(_CONTRAST) == []
        page.locator("#theme").click()
        expect(page.locator("#theme")).to_have_text(scheme.capitalize())
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == other
        assert page.evaluate(_CONTRAST) == []
        in_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        assert in_dark == (scheme == "dark")
        page.evaluate("localStorage.clear(); delete document.documentElement.dataset.theme")
    page.emulate_media(color_scheme="null")


# Text whose contrast with what is behind it is below WCAG's AA: its words and the ratio.
_CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = rgba(colour).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgba(colour)[3] > 200) return colour;
    }
    return "white";
  };
  const found = [];
  for (const one of document.querySelectorAll("main *, header *, footer *")) {
    const told = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (one.closest("svg") || !told || !one.checkVisibility()) continue;
    const style = getComputedStyle(one);
    const [a, b] = [light(style.color), light(behind(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const least = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
    if (ratio < least) found.push(`${one.textContent.slice(0, 40)}: ${ratio}`);
  }
  return found;
}"""


def test_everything_that_acts_has_a_name_and_can_be_reached_by_keys(visit: Go) -> None:
    page = visit().page
    nameless = page.locator(
        "button:visible, input:visible, select:visible, a:visible"
    ).evaluate_all(
        "all => all.filter(one => !(one.labels?.length || one.getAttribute('aria-label') || "
        "one.textContent.trim())).map(one => one.outerHTML)"
    )
    assert nameless == []
    reached = []
    for _ in range(24):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.value || "
                "document.activeElement.textContent"
            )
        )
    assert reached[0].startswith("Skip")
    for name in ("theme", "model", "dataset", "metric", "high_purity", "low_purity", "random", "k"):
        assert name in reached
    page.locator("#neuron").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#card-shown h4")).to_have_text(
        f"Neuron {page.locator('#neuron').input_value()}"
    )
    page.get_by_role("radio", name="number").check()
    page.locator("#neuron").fill("3")
    first = page.locator("#card-shown h4").inner_text()
    page.locator("#next").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#card-shown h4")).not_to_have_text(first)
    second = page.locator("#card-shown h4").inner_text()
    page.locator("#card-shown").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#card-shown h4")).not_to_have_text(second)


def test_tables_sort_by_their_numbers_and_stay_sorted(strange: Visit) -> None:
    page = strange.page
    heading = page.locator("#areas thead th").filter(has_text="Mean accuracy")
    for direction, turned in (("ascending", False), ("descending", True)):
        heading.get_by_role("button").click()
        expect(heading).to_have_attribute("aria-sort", direction)
        values = [float(row["Mean accuracy, %"]) for row in cells(page, "areas")]
        assert values == sorted(values, reverse=turned)
    # Intervals sort by their lower end, also at the next k.
    heading = page.locator("#at thead th").nth(2)
    heading.get_by_role("button").click()
    for key in ("Home", "ArrowRight", "End"):
        page.locator("#k").focus()
        page.keyboard.press(key)
        expect(heading).to_have_attribute("aria-sort", "ascending")
        values = page.locator("#at tbody tr td:nth-child(3)").evaluate_all(
            "all => all.map(one => one.dataset.value)"
        )
        lows = [float(value.split()[0]) for value in values if value]
        assert len(lows) == 4 and lows == sorted(lows)


def test_captions_show_all_that_was_measured(visit: Go, tmp_path: Path) -> None:
    """Of a sweep without purities: in every chart, and in a table of the chosen metric."""
    shown = visit(write_report(make_captions(tmp_path / "run")))
    page = shown.page
    lines = page.locator('[data-chart="explorer"] .live .mark-line path')
    expect(lines).to_have_count(3)
    page.locator("#panels").scroll_into_view_if_needed()
    panel = page.locator("#panels .panel .live .mark-line path")
    expect(panel).to_have_count(3)
    assert all(len(panel.nth(at).get_attribute("d") or "") > 20 for at in range(3))
    table = page.locator("#at")
    expect(table.locator("thead th")).to_have_count(7)
    widths = "box => [box.scrollWidth, box.clientWidth]"
    for metric in ("image_retrieval_recall@1", "text_retrieval_ndcg@10"):
        page.locator("#metric").select_option(metric)
        expect(table.locator("thead th").nth(1)).to_have_attribute("data-name", metric)
        assert len(set(table.locator(".scroll").evaluate(widths))) == 1
        expect(table.locator("tbody tr")).to_have_count(5)
    page.locator("#smaller").scroll_into_view_if_needed()
    expect(page.locator("#smaller .live")).to_have_count(2)
    assert len(set(page.locator("#smaller-table .scroll").evaluate(widths))) == 1
    assert shown.said == []


def test_the_figure_of_what_can_go_follows_the_choice(page: Page) -> None:
    chart = page.locator('[data-chart="smaller-accuracy"]')
    chart.scroll_into_view_if_needed()
    expect(chart.locator(".live .mark-line path")).to_have_count(3)
    before = chart.locator(".live .mark-line path").first.get_attribute("d")
    heading = page.locator("#smaller-accuracy h3")
    expect(heading).to_have_text("Share kept: accuracy, First on pets")
    page.locator("#model").select_option("1")
    page.locator("#dataset").select_option("1")
    expect(heading).to_have_text("Share kept: accuracy, Second on farm")
    expect(chart).to_have_attribute("aria-label", re.compile("^Second on farm: share of the "))
    expect(chart.locator(".live .mark-line path").first).not_to_have_attribute("d", str(before))


def test_a_phone_needs_no_scrolling_sideways(visit: Go, window: Visit) -> None:
    window.page.set_viewport_size({"width": 360, "height": 740})
    page = visit().page
    scroll_through(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    outside = page.evaluate(
        """() => [...document.querySelectorAll("main *")]
        .filter((one) => !one.closest(".scroll, svg, pre, .skip"))
        .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > 361)
        .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert outside == []
    look(page, "report-phone")


def test_paper_shows_what_was_chosen_under_its_own_name_and_is_light_and_whole(
    visit: Go, made: Path
) -> None:
    page = visit(color_scheme="dark").page
    # One that was not drawn yet keeps its picture, and the name of that.
    other = page.locator("#importance-1 h3")
    before = other.inner_text() if other.count() else ""
    page.select_option("#dataset", label="farm")
    page.select_option("#metric", label="Silhouette")
    page.emulate_media(media="print")
    expect(page.locator("#explorer-title")).to_have_text("First on farm")
    results = read(made)
    full = results[
        (results.model == "First") & (results.dataset == "farm") & (results.strategy == "full")
    ]
    label = page.locator("#explorer .chart").get_attribute("aria-label") or ""
    assert (
        f"All 20 neurons: {full.value[full.metric == 'silhouette'].iloc[0]:.3f}"
        in label.replace("\u2212", "-")
    )
    expect(page.locator("#explorer .live svg")).to_be_visible()
    assert not before or other.inner_text() == before
    page.emulate_media(media="screen")
    scroll_through(page)
    page.emulate_media(media="print")
    for selector in (
        "#controls",
        "#finder",
        "#theme",
        "nav",
        "#explorer .still",
        ".tools >> nth=0",
    ):
        expect(page.locator(selector)).to_be_hidden()
    for selector in (
        "#explorer .live svg",
        "#panels-plain svg >> nth=0",
        "#at table",
        ".card >> nth=20",
    ):
        expect(page.locator(selector)).to_be_visible()
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 251)"
    assert page.pdf(format="A4")[:4] == b"%PDF"
