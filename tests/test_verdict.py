"""The verdict follows the tests and nothing else; how often it is right says `test_planted`."""

from typing import Any

import pandas as pd
import pytest

from purescope.comparison import AREA, Difference, adjust, compare_strategies
from purescope.errors import InputError
from purescope.planted import plant
from purescope.schemas import COMPARISONS
from purescope.sweep import Options, measure_strategies
from purescope.verdict import Finding, Verdict, judge
from tests.test_planted import accuracies, data_sets

ABOVE, BELOW, ACROSS = (0.02, 0.01, 0.03), (-0.02, -0.03, -0.01), (0.0, -0.01, 0.01)


def comparisons(*sets: tuple[tuple[float, ...], tuple[float, ...], float], draws: int = 199) -> pd.DataFrame:
    """For each data set: high minus random and high minus low as value, low, high; and the adjusted p."""
    rows: list[dict[str, Any]] = []
    for place, (over_random, over_low, p) in enumerate(sets):
        for second, (value, low, high) in (("random", over_random), ("low_purity", over_low)):
            row = {"second": second, "difference": value, "low": low, "high": high, "deviation": (high - low) / 4}
            rows.append(row | {"dataset": f"set {place}", "permutation_holm": p, "permutation_p": p})
    table = pd.DataFrame(rows, columns=list(COMPARISONS.columns))
    return table.assign(model="m", first="high_purity", k=AREA, draws=draws)


def results(high: float, random: list[float], sets: int = 1) -> pd.DataFrame:
    """Accuracy at two ks, alike on all data sets."""
    rows = [
        {"dataset": f"set {place}", "strategy": strategy, "draw": draw, "k": k, "value": value}
        for place in range(sets)
        for strategy, values in (("high_purity", [high]), ("random", random))
        for draw, value in enumerate(values)
        for k in (2, 4)
    ]
    return pd.DataFrame(rows).assign(model="m", metric="accuracy")


@pytest.mark.parametrize(
    ("over_random", "over_low", "p", "word"),
    [
        (ABOVE, ABOVE, 0.05, "supported"),
        (ABOVE, ABOVE, 0.0501, "not decided"),
        (ABOVE, ACROSS, 0.01, "not decided"),
        (ABOVE, BELOW, 0.01, "not decided"),
        (ACROSS, ABOVE, 0.01, "not decided"),
        (BELOW, BELOW, 0.05, "contradicted"),
        (BELOW, ACROSS, 0.01, "contradicted"),
        (BELOW, ABOVE, 0.01, "contradicted"),
        (BELOW, BELOW, 0.06, "not decided"),
        (ACROSS, BELOW, 0.01, "not decided"),
        ((0.01, 0.0, 0.02), ABOVE, 0.01, "not decided"),
        (ABOVE, (0.01, 0.0, 0.02), 0.01, "not decided"),
    ],
)
def test_the_word_by_its_rule(over_random: tuple[float, ...], over_low: tuple[float, ...], p: float, word: str) -> None:
    verdict = judge(results(0.9, [0.5]), comparisons((over_random, over_low, p)), model="m")
    assert verdict.overall == Finding("set 0", word, Difference(*over_random), Difference(*over_low), p)
    assert verdict.by_dataset == (verdict.overall,)
    assert f"is {word} by this data" in verdict.sentence


def test_the_sentence_says_with_which_numbers() -> None:
    verdict = judge(results(0.9, [0.5]), comparisons((ABOVE, (0.05, 0.04, 0.06), 0.014), draws=1999), model="m")
    assert verdict.sentence == (
        "m: the claim that high-purity neurons carry more is supported by this data. Over all k and set 0, high purity "
        "minus random is +2.00 points (+1.00 to +3.00), high minus low is +5.00 points (+4.00 to +6.00): 95 % "
        "intervals, over images. Among 1,999 random orders, high purity has p = 0.014."
    )


@pytest.mark.parametrize(
    ("over_random", "p", "draws", "said"),
    [
        (ABOVE, 0.3, 1999, "as many random choices differ as much"),
        (BELOW, 0.3, 1999, "as many random choices differ as much"),
        (ACROSS, 0.01, 1999, "other images may say otherwise"),
        (ACROSS, 0.6, 1999, "has p = 0.6."),
        (ABOVE, 0.33, 5, "5 random orders are too few to decide: use more draws."),
    ],
)
def test_images_and_random_orders_that_disagree_are_told_apart(
    over_random: tuple[float, float, float], p: float, draws: int, said: str
) -> None:
    table = comparisons((over_random, ABOVE, p), draws=draws)
    verdict = judge(results(0.9, [0.5]), table, model="m")
    assert verdict.overall.word == "not decided" and verdict.sentence.endswith(said + "." * (not said.endswith(".")))
    assert verdict.sentence.count("too few") == (draws == 5)


def test_all_data_sets_together_are_one_test_on_their_mean() -> None:
    """No data set decides by itself; their mean stands above all of 199 random orders: p = 2 / 200."""
    weak = (0.02, -0.001, 0.041)
    table = comparisons(*[(weak, weak, 0.2)] * 4)
    drawn = [0.5 + i / 1000 for i in range(199)]
    verdict = judge(results(0.9, drawn, sets=4), table, model="m")
    assert [finding.word for finding in verdict.by_dataset] == ["not decided"] * 4
    assert verdict.overall.word == "supported"
    assert verdict.overall.p == pytest.approx(0.01)
    assert verdict.overall.over_random.value == pytest.approx(0.02)
    assert verdict.overall.over_random.low == pytest.approx(0.02 - 1.96 * 0.0105 / 2, abs=1e-5)
    assert "Over all k and all 4 data sets" in verdict.sentence
    assert verdict.sentence.endswith("By data set: not decided on any.")
    amid = judge(results(0.55, drawn, sets=4), table, model="m")
    assert amid.overall.word == "not decided"
    # In the middle of them, but below all in the other direction:
    below = comparisons(*[((-0.02, -0.041, 0.001), weak, 0.2)] * 4)
    assert judge(results(0.1, drawn, sets=4), below, model="m").overall.word == "contradicted"


def test_each_data_set_is_named_with_its_word() -> None:
    table = comparisons((ABOVE, ABOVE, 0.01), (BELOW, BELOW, 0.01), (ACROSS, ABOVE, 0.5), (ABOVE, ABOVE, 0.02))
    verdict = judge(results(0.5, [0.5] * 199, sets=4), table, model="m")
    assert [finding.about for finding in verdict.by_dataset] == ["set 0", "set 1", "set 2", "set 3"]
    assert "supported on set 0, set 3, contradicted on set 1, not decided on 1" in verdict.sentence
    decided = judge(results(0.5, [0.5] * 199, sets=2), comparisons(*[(ABOVE, ABOVE, 0.01)] * 2), model="m")
    assert decided.sentence.endswith("By data set: supported on set 0, set 1.")


@pytest.mark.parametrize(("sets", "enough"), [(1, 39), (3, 119)])
def test_too_few_random_orders_are_said_to_be(sets: int, enough: int) -> None:
    """The least p is 2 / (draws + 1), and Holm's as many times that as there are data sets."""
    given = comparisons(*[(ACROSS, ACROSS, 1.0)] * sets)
    table = results(0.5, [0.5] * 10, sets=sets)
    assert "too few" not in judge(table, given.assign(draws=enough), model="m").sentence
    assert "too few" in judge(table, given.assign(draws=enough - 1), model="m").sentence


def test_the_data_set_with_fewest_random_orders_says_whether_they_are_enough() -> None:
    given = comparisons((ABOVE, ABOVE, 0.3), (ABOVE, ABOVE, 0.3))
    uneven = given.assign(draws=given.dataset.map({"set 0": 1999, "set 1": 5}))
    sentence = judge(results(0.9, [0.5] * 5, sets=2), uneven, model="m").sentence
    assert "5 random orders are too few to decide: use more draws." in sentence


def test_other_models_and_comparisons_are_left_alone() -> None:
    mine = comparisons((ABOVE, ABOVE, 0.01))
    others = [
        comparisons((BELOW, BELOW, 0.01)).assign(model="other"),
        comparisons((BELOW, BELOW, 0.01)).assign(first="weight_norm"),
        comparisons((BELOW, BELOW, 0.01)).assign(k="200"),
    ]
    assert judge(results(0.9, [0.5]), pd.concat([*others, mine]), model="m").overall.word == "supported"


@pytest.mark.parametrize("second", ["random", "low_purity"])
def test_without_both_comparisons_there_is_no_verdict(second: str) -> None:
    table = comparisons((ABOVE, ABOVE, 0.01))
    with pytest.raises(InputError, match=r"no comparison of high purity(?s:.*)--draws 1 or more"):
        judge(results(0.9, [0.5]), table[table.second != second], model="m")
    with pytest.raises(InputError, match="for 'unknown'"):
        judge(results(0.9, [0.5]), table, model="unknown")


@pytest.mark.slow
def test_a_sweeps_own_tables_are_judged() -> None:
    """Through the tables as they are written: the same as from accuracy alone."""
    made = plant(1.0, neurons=32, images=240, classes=4, seed=0)
    options = Options(keep=[8, 16], draws=59, resamples=200, seed=50)
    measured = [measure_strategies(features, made.projections, options) for features in data_sets(made, 2)]
    adjusted = adjust(pd.concat([compare_strategies(one) for one in measured]))
    whole = judge(pd.concat([one.table for one in measured]), adjusted, model="planted")
    assert isinstance(whole, Verdict) and whole.draws == 59
    assert whole == judge(pd.concat([accuracies(one) for one in measured]), adjusted, model="planted")
    assert whole.overall.word == "supported"
    alone = judge(measured[0].table, compare_strategies(measured[0]), model="planted")
    assert alone.overall.about == "set 0"
