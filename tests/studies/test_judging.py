"""The verdict follows the tests and nothing else; how often it is right says `test_planted`."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch

from purescope.errors import InputError
from purescope.formats import Difference
from purescope.studies.comparisons import adjust, compare_strategies
from purescope.studies.judging import judge, verdicts_of
from purescope.studies.settings import Options
from purescope.studies.sweeps import measure_strategies
from purescope.studies.synthetic import plant
from purescope.tables.columns import AREA
from purescope.tables.schemas import COMPARISONS
from purescope.tables.verdicts import Verdict, read_verdicts, verdict_table
from tests.studies.test_synthetic import accuracies, data_sets

ABOVE, BELOW, ACROSS = (0.02, 0.01, 0.03), (-0.02, -0.03, -0.01), (0.0, -0.01, 0.01)
Ends = tuple[float, float, float]
Set = tuple[Ends, Ends, Ends, float, float]


def comparisons(*sets: Set, draws: int = 199) -> pd.DataFrame:
    """For each data set: high minus random, high minus low, low minus random; p of high and of low
    purity.
    """
    rows: list[dict[str, Any]] = []
    for place, (over_random, over_low, low, p, low_p) in enumerate(sets):
        pairs = {
            ("high_purity", "random"): (over_random, p),
            ("high_purity", "low_purity"): (over_low, math.nan),
            ("low_purity", "random"): (low, low_p),
        }
        for (first, second), ((value, least, most), of_pair) in pairs.items():
            row = {
                "first": first,
                "second": second,
                "difference": value,
                "low": least,
                "high": most,
            }
            row |= {
                "deviation": (most - least) / 4,
                "permutation_p": of_pair,
                "dataset": f"set {place}",
            }
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COMPARISONS.columns)).assign(
        model="m", k=AREA, draws=draws
    )


RANDOM = [0.5 + place / 100_000 for place in range(-20, 20)]  # as alike as can be


def results(
    high: float, random: list[float], sets: int = 1, full: dict[int, float] | None = None
) -> pd.DataFrame:
    """Accuracy at two ks, alike on all data sets; of all neurons 0.9 of 200 images of 10 classes,
    or `full`.
    """
    rows = [
        {"dataset": f"set {place}", "strategy": strategy, "draw": draw, "k": k, "value": value}
        for place in range(sets)
        for strategy, values in (
            ("full", [(full or {}).get(place, 0.9)]),
            ("high_purity", [high]),
            ("low_purity", [0.5]),
            ("random", random),
        )
        for draw, value in enumerate(values)
        for k in ((2, 4) if strategy != "full" else (8,))
    ]
    return pd.DataFrame(rows).assign(model="m", metric="accuracy", n=200, chance=0.1)


def attributions(
    value: float, rotated: list[float], matched: list[float], sets: int = 1
) -> pd.DataFrame:
    """Alike on all data sets."""
    nulls = {"none": [value], "rotation": rotated, "norms": matched}
    rows = [
        {"dataset": f"set {place}", "null": null, "draw": draw, "difference": difference}
        for place in range(sets)
        for null, values in nulls.items()
        for draw, difference in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(model="m")


@pytest.mark.parametrize(
    ("over_random", "over_low", "low", "p", "low_p", "outcome"),
    [
        (ABOVE, ABOVE, ACROSS, 0.05, 0.5, "supported"),
        (ABOVE, ABOVE, ABOVE, 0.05, 0.01, "both ends win"),
        (ABOVE, ABOVE, ACROSS, 0.0501, 0.5, "not decided"),
        (ABOVE, ACROSS, ACROSS, 0.01, 0.5, "not decided"),
        (ABOVE, BELOW, ACROSS, 0.01, 0.5, "not decided"),
        (ACROSS, ABOVE, BELOW, 0.01, 0.01, "not decided"),
        (BELOW, BELOW, ACROSS, 0.05, 0.5, "contradicted"),
        (BELOW, BELOW, BELOW, 0.05, 0.01, "both ends lose"),
        (BELOW, ACROSS, ACROSS, 0.01, 0.5, "not decided"),
        (BELOW, ACROSS, BELOW, 0.01, 0.05, "both ends lose"),
        (BELOW, ABOVE, BELOW, 0.01, 0.01, "both ends lose"),
        (BELOW, ACROSS, BELOW, 0.01, 0.0501, "not decided"),
        (BELOW, ACROSS, BELOW, 0.0501, 0.01, "not decided"),
        (BELOW, BELOW, ACROSS, 0.06, 0.5, "not decided"),
        (ABOVE, ACROSS, ABOVE, 0.01, 0.05, "both ends win"),
        (ABOVE, BELOW, ABOVE, 0.01, 0.01, "both ends win"),
        (ABOVE, ACROSS, ABOVE, 0.01, 0.06, "not decided"),
        (ABOVE, ACROSS, BELOW, 0.01, 0.01, "not decided"),
        ((0.01, 0.0, 0.02), ABOVE, ACROSS, 0.01, 0.5, "not decided"),
        (ABOVE, (0.01, 0.0, 0.02), ACROSS, 0.01, 0.5, "not decided"),
        (BELOW, (-0.01, -0.02, 0.0), ACROSS, 0.01, 0.5, "not decided"),
        (BELOW, ACROSS, (-0.01, -0.02, 0.0), 0.01, 0.01, "not decided"),
    ],
)
def test_the_outcome_by_its_rule(
    over_random: Ends, over_low: Ends, low: Ends, p: float, low_p: float, outcome: str
) -> None:
    verdict = judge(
        results(0.9, RANDOM), comparisons((over_random, over_low, low, p, low_p)), model="m"
    )
    found = verdict.overall
    assert (found.about, found.sets, found.outcome, found.attribution) == (
        "set 0",
        1,
        outcome,
        "not asked",
    )
    assert (found.over_random, found.over_low) == (Difference(*over_random), Difference(*over_low))
    assert (found.low_over_random, found.p, found.low_p) == (Difference(*low), p, low_p)
    assert verdict.by_dataset == (found,)


LOW, HIGH = [i / 10_000 for i in range(39)], [i / 1_000 for i in range(-20, 19)]


@pytest.mark.parametrize(
    ("value", "rotated", "matched", "attribution"),
    [
        (0.02, LOW, LOW, "beyond both"),
        (0.01, HIGH, LOW, "any axes do the same"),
        (0.01, LOW, HIGH, "explained by norms"),
        (0.01, HIGH, HIGH, "any axes do the same"),
        # Less than random axes do, or a loss smaller than theirs: as much of a mark as none.
        (0.02, [0.03 + one for one in LOW], LOW, "any axes do the same"),
        (0.02, LOW, [0.03 + one for one in LOW], "explained by norms"),
        (-0.02, LOW, LOW, "beyond both"),
        (-0.02, [-0.03 - one for one in LOW], LOW, "any axes do the same"),
    ],
)
def test_the_attribution_by_its_rule(
    value: float, rotated: list[float], matched: list[float], attribution: str
) -> None:
    ends = (value, value - 0.001, value + 0.001)
    given = comparisons((ends, ends, ACROSS, 0.01, 0.5))
    found = judge(
        results(0.9, RANDOM), given, attributions(value, rotated, matched), model="m"
    ).overall
    assert (
        found.outcome == ("supported" if value > 0 else "contradicted")
        and found.attribution == attribution
    )
    assert found.rotation is not None and found.norms is not None
    assert found.rotation.draws == 39 and found.rotation.mean == pytest.approx(sum(rotated) / 39)
    assert found.norms.mean == pytest.approx(sum(matched) / 39)


def test_an_attribution_is_asked_of_every_data_set_or_of_none() -> None:
    given = comparisons(*[(ABOVE, ABOVE, ACROSS, 0.01, 0.5)] * 2)
    drawn = [0.5 + i / 100_000 for i in range(199)]
    asked = attributions(0.02, LOW, LOW, sets=2)
    both = judge(results(0.9, drawn, sets=2), given, asked, model="m")
    assert [each.attribution for each in (both.overall, *both.by_dataset)] == ["beyond both"] * 3
    half = judge(results(0.9, drawn, sets=2), given, asked[asked.dataset == "set 1"], model="m")
    assert [each.attribution for each in (half.overall, *half.by_dataset)] == [
        "not asked",
        "not asked",
        "beyond both",
    ]


def test_the_sentence_says_with_which_numbers() -> None:
    given = comparisons((ABOVE, (0.05, 0.04, 0.06), BELOW, 0.014, 0.3), draws=1999)
    verdict = judge(results(0.9, RANDOM), given, attributions(0.02, LOW, LOW), model="m")
    assert verdict.sentence == (
        "m: high-purity neurons keep more than random and than low-purity ones: the claim is "
        "supported. Neither other axes nor orders of the same norms do as much: it is purity, or "
        "goes with it. Over all k and set 0, high purity minus random is +2.00 points (+1.00 to "
        "+3.00), high minus low is +5.00 points (+4.00 to +6.00), low minus random is -2.00 "
        "points (-3.00 to -1.00): 95 % intervals, over images. Among 1,999 random orders, high "
        "purity has p = 0.014, low purity p = 0.3. On 39 random axes high purity minus random is "
        "+0.19 points (p = 0.05 of the difference as it is), in 39 orders of the same norms +0.19 "
        "(p = 0.05)."
    )
    unasked = judge(results(0.9, RANDOM), given, model="m").sentence
    assert (
        "was not asked; `purescope sweep --rotations 200` does, as `purescope evidence`. Over all k"
        in unasked
    )
    assert "random axes" not in unasked


def test_what_could_have_been_found_stands_beside_not_decided() -> None:
    """Of 200 orders with a spread of 2 points and an interval of images of 1 point to either
    side.
    """
    drawn = torch.linspace(-1, 1, 200).double()
    drawn = 0.5 + 0.02 * drawn / drawn.std()
    given = comparisons((ACROSS, ACROSS, ACROSS, 0.5, 0.5))
    verdict = judge(results(0.5, drawn.tolist()), given, model="m")
    images = 0.01 / 1.96
    expected = 1.96 * 0.02 + 0.8416 * math.hypot(0.02, images)
    assert verdict.overall.detectable == pytest.approx(expected, rel=1e-4)
    assert (
        f"A difference of {100 * expected:.2f} points would be found in 80 % of such data."
        in verdict.claim
    )
    # The wider of the two spreads decides: here that of images, one point of which is 1.96 errors.
    alike = [0.5 + place * 1e-6 for place in range(200)]
    narrow = judge(results(0.5, alike), given, model="m").overall
    assert narrow.detectable == pytest.approx((1.96 + 0.8416) * images, rel=1e-3)


@pytest.mark.parametrize(
    ("over_random", "p", "draws", "said"),
    [
        (ABOVE, 0.3, 1999, "as many random choices differ as much"),
        (BELOW, 0.3, 1999, "as many random choices differ as much"),
        (ACROSS, 0.01, 1999, "other images may say otherwise"),
        (ACROSS, 0.6, 1999, "low purity p = 0.5."),
        (ABOVE, 0.33, 5, "5 random orders are too few to decide: use more draws."),
    ],
)
def test_images_and_random_orders_that_disagree_are_told_apart(
    over_random: Ends, p: float, draws: int, said: str
) -> None:
    table = comparisons((over_random, ABOVE, ACROSS, p, 0.5), draws=draws)
    verdict = judge(results(0.9, RANDOM), table, model="m")
    assert verdict.overall.outcome == "not decided"
    assert verdict.sentence.endswith(said + "." * (not said.endswith(".")))
    assert verdict.sentence.count("too few") == (draws == 5)


def test_all_data_sets_together_are_one_test_on_their_mean() -> None:
    """No data set decides by itself; their mean stands above all of 199 random orders: p = 2 /
    200.
    """
    weak = (0.02, -0.001, 0.041)
    table = comparisons(*[(weak, weak, ACROSS, 0.2, 0.5)] * 4)
    drawn = [0.5 + i / 100_000 for i in range(199)]
    verdict = judge(results(0.9, drawn, sets=4), table, model="m")
    assert [finding.outcome for finding in verdict.by_dataset] == ["not decided"] * 4
    assert (verdict.overall.outcome, verdict.overall.about, verdict.overall.sets) == (
        "supported",
        "",
        4,
    )
    assert verdict.overall.p == pytest.approx(0.01)
    assert verdict.overall.over_random.value == pytest.approx(0.02)
    assert verdict.overall.over_random.low == pytest.approx(0.02 - 1.96 * 0.0105 / 2, abs=1e-5)
    assert "Over all k and 4 datasets" in verdict.sentence
    assert verdict.sentence.endswith("By dataset: not decided on any.")
    amid = judge(results(0.501, drawn, sets=4), table, model="m")
    assert amid.overall.outcome == "not decided"
    # In the middle of them, but below all in the other direction:
    lost = (-0.02, -0.041, 0.001)
    below = comparisons(*[(lost, lost, ACROSS, 0.2, 0.5)] * 4)
    assert judge(results(0.1, drawn, sets=4), below, model="m").overall.outcome == "contradicted"


@pytest.mark.parametrize(
    ("ends", "low", "outcome"), [(ABOVE, ACROSS, "supported"), (BELOW, ACROSS, "contradicted")]
)
def test_two_ends_of_a_random_ranking_differ_twice_as_much_as_one_differs_from_the_mean(
    ends: Ends, low: Ends, outcome: str
) -> None:
    """High minus low is 2 points either way; of 79 orders, 2 in 80 are at least as far from the
    mean on that side.
    """
    for spread, found in ((0.0099, outcome), (0.0101, "not decided")):
        random = [0.5 + spread * math.cos(math.pi * place / 78) for place in range(79)]
        verdict = judge(results(0.9, random), comparisons((ends, ends, low, 0.01, 0.5)), model="m")
        assert verdict.overall.outcome == found
        assert (verdict.overall.ends_p <= 0.05) == (found == outcome)
        assert ("as far apart" in verdict.sentence) == (found == "not decided")


def test_each_data_set_is_named_with_its_outcome() -> None:
    table = comparisons(
        (ABOVE, ABOVE, ACROSS, 0.01, 0.5),
        (BELOW, BELOW, ACROSS, 0.01, 0.5),
        (ACROSS, ABOVE, ACROSS, 0.5, 0.5),
        (ABOVE, ABOVE, ACROSS, 0.01, 0.5),
    )
    verdict = judge(results(0.5, [0.5] * 199, sets=4), table, model="m")
    assert [finding.about for finding in verdict.by_dataset] == ["set 0", "set 1", "set 2", "set 3"]
    assert "supported on set 0, set 3, contradicted on set 1, not decided on 1" in verdict.sentence
    decided = judge(
        results(0.5, [0.5] * 199, sets=2),
        comparisons(*[(ABOVE, ABOVE, ACROSS, 0.01, 0.5)] * 2),
        model="m",
    )
    assert decided.sentence.endswith("By dataset: supported on set 0, set 1.")


def test_p_values_of_data_sets_are_holms_over_those_that_count() -> None:
    sets = [(ABOVE, ABOVE, ACROSS, p, 0.5) for p in (0.02, 0.03, 0.001)]
    drawn = [0.5 + i / 100_000 for i in range(199)]
    verdict = judge(results(0.9, drawn, sets=3), comparisons(*sets), model="m")
    assert [each.p for each in verdict.by_dataset] == pytest.approx([0.04, 0.04, 0.003])
    fewer = judge(results(0.9, drawn, sets=3, full={2: 0.1}), comparisons(*sets), model="m")
    assert [each.p for each in fewer.counted] == pytest.approx([0.04, 0.04])


@pytest.mark.parametrize(
    ("accuracy", "outcome", "said"),
    [(0.12, "at chance", "cannot be told from chance"), (0.02, "below chance", "is below chance")],
)
def test_what_is_no_better_than_chance_takes_no_part_and_is_named(
    accuracy: float, outcome: str, said: str
) -> None:
    """Of 200 images and 10 classes three standard errors are 6.4 points."""
    sets = [
        (ABOVE, ABOVE, ACROSS, 0.01, 0.5),
        (BELOW, BELOW, ACROSS, 0.01, 0.5),
        (ABOVE, ABOVE, ACROSS, 0.01, 0.5),
    ]
    drawn = [0.5 + i / 100_000 for i in range(199)]
    verdict = judge(results(0.9, drawn, sets=3, full={1: accuracy}), comparisons(*sets), model="m")
    assert [each.outcome for each in verdict.by_dataset] == ["supported", outcome, "supported"]
    assert (verdict.overall.outcome, verdict.overall.sets) == ("supported", 2)
    assert verdict.overall.over_random.value == pytest.approx(0.02)
    assert verdict.sentence.endswith(f"Left out: set 1 (accuracy {said}).")
    assert (
        "supported on set 0, set 2." in verdict.sentence
        and "Over all k and 2 datasets" in verdict.sentence
    )
    one = judge(results(0.9, drawn, sets=2, full={1: accuracy}), comparisons(*sets[:2]), model="m")
    assert (
        one.overall == one.by_dataset[0]
        and "Over all k and set 0" in one.sentence
        and "Left out" in one.sentence
    )
    none = judge(results(0.9, drawn, full={0: accuracy}), comparisons(*sets[:1]), model="m")
    assert none.overall.outcome == outcome and none.overall.sets == 0
    assert (
        none.sentence.startswith("m: accuracy with all neurons") and "points" not in none.sentence
    )
    assert none.evidence.startswith("Left out: set 0")


def test_verdicts_are_read_from_their_table_as_they_were() -> None:
    sets = [(ABOVE, ABOVE, BELOW, 0.01, 0.02), (BELOW, BELOW, ACROSS, 0.01, 0.5)]
    drawn = [0.5 + i / 100_000 for i in range(199)]
    asked = judge(
        results(0.9, drawn, sets=2),
        comparisons(*sets),
        attributions(0.02, LOW, HIGH, sets=2),
        model="m",
    )
    table = verdict_table([asked])
    assert table.dataset.tolist() == ["", "set 0", "set 1"] and table.rotations.tolist() == [39] * 3
    assert read_verdicts(table) == [asked]
    left = judge(results(0.9, drawn, sets=2, full={1: 0.1}), comparisons(*sets), model="m")
    (again,) = read_verdicts(verdict_table([left]))
    assert again.sentence == left.sentence and again.overall.sets == 1
    both = [replace(asked, model=name) for name in ("second", "first")]
    assert read_verdicts(verdict_table(both)) == both
    assert verdicts_of(results(0.9, []), comparisons(sets[0])) == []


@pytest.mark.parametrize(("sets", "enough"), [(1, 39), (3, 119)])
def test_too_few_random_orders_are_said_to_be(sets: int, enough: int) -> None:
    """The least p is 2 / (draws + 1), and Holm's as many times that as there are data sets."""
    given = comparisons(*[(ACROSS, ACROSS, ACROSS, 1.0, 1.0)] * sets)
    table = results(0.5, [0.5] * 10, sets=sets)
    assert "too few" not in judge(table, given.assign(draws=enough), model="m").sentence
    assert "too few" in judge(table, given.assign(draws=enough - 1), model="m").sentence


def test_the_data_set_with_fewest_random_orders_says_whether_they_are_enough() -> None:
    given = comparisons(*[(ABOVE, ABOVE, ACROSS, 0.3, 0.5)] * 2)
    uneven = given.assign(draws=given.dataset.map({"set 0": 1999, "set 1": 5}))
    sentence = judge(results(0.9, RANDOM[:5], sets=2), uneven, model="m").sentence
    assert "5 random orders are too few to decide: use more draws." in sentence


def test_other_models_and_comparisons_are_left_alone() -> None:
    mine = comparisons((ABOVE, ABOVE, ACROSS, 0.01, 0.5))
    others = [
        comparisons((BELOW, BELOW, ACROSS, 0.01, 0.5)).assign(model="other"),
        comparisons((BELOW, BELOW, ACROSS, 0.01, 0.5)).assign(first="weight_norm", second="x"),
        comparisons((BELOW, BELOW, ACROSS, 0.01, 0.5)).assign(k="200"),
    ]
    assert (
        judge(results(0.9, RANDOM), pd.concat([*others, mine]), model="m").overall.outcome
        == "supported"
    )


@pytest.mark.parametrize("second", ["random", "low_purity"])
def test_without_both_comparisons_there_is_no_verdict(second: str) -> None:
    table = comparisons((ABOVE, ABOVE, ACROSS, 0.01, 0.5))
    with pytest.raises(InputError, match=r"no comparison of high purity(?s:.*)--draws 1 or more"):
        judge(results(0.9, RANDOM), table[table.second != second], model="m")
    with pytest.raises(InputError, match="for 'unknown'"):
        judge(results(0.9, RANDOM), table, model="unknown")


@pytest.mark.slow
def test_a_sweeps_own_tables_are_judged() -> None:
    """Through the tables as they are written: the same as from accuracy alone."""
    made = plant(1.0, neurons=32, images=240, classes=4, seed=0)
    options = Options(keep=[8, 16], draws=59, resamples=200, seed=50)
    measured = [
        measure_strategies(features, made.projections, options) for features in data_sets(made, 2)
    ]
    adjusted = adjust(pd.concat([compare_strategies(one) for one in measured]))
    whole = judge(pd.concat([one.table for one in measured]), adjusted, model="planted")
    assert isinstance(whole, Verdict) and whole.overall.draws == 59
    assert whole == judge(
        pd.concat([accuracies(one) for one in measured]), adjusted, model="planted"
    )
    assert whole.overall.outcome == "supported"
    alone = judge(measured[0].table, compare_strategies(measured[0]), model="planted")
    assert alone.overall.about == "set 0"


def test_one_random_order_has_no_spread() -> None:
    given = comparisons((ACROSS, ACROSS, ACROSS, 0.5, 0.5), draws=1)
    found = judge(results(0.5, [0.5]), given, model="m").overall
    assert found.detectable == pytest.approx((1.96 + 0.8416) * 0.01 / 1.96, rel=1e-3)


def test_a_p_of_exactly_the_level_is_enough() -> None:
    """Between 0.05 and what is above it: the other images, or the random choices, disagree."""
    for p, said in ((0.05, "other images may say otherwise."), (0.0501, "")):
        given = comparisons((ACROSS, ABOVE, ACROSS, p, 0.5), draws=1999)
        sentence = judge(results(0.9, RANDOM), given, model="m").sentence
        assert said in sentence and ("otherwise" in sentence) == bool(said)
    for p, said in ((0.05, False), (0.0501, True)):
        given = comparisons((ABOVE, ACROSS, ACROSS, p, 0.5), draws=1999)
        sentence = judge(results(0.9, RANDOM), given, model="m").sentence
        assert ("as many random choices differ as much" in sentence) == said


def test_an_interval_that_ends_at_zero_is_not_apart() -> None:
    for ends in ((0.01, 0.0, 0.02), (-0.01, -0.02, 0.0)):
        given = comparisons((ends, ABOVE, ACROSS, 0.3, 0.5), draws=1999)
        assert "random choices differ" not in judge(results(0.9, RANDOM), given, model="m").sentence
