"""The fewest dimensions that keep a share, from tables written by hand."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from purescope.errors import InputError
from purescope.reduce.choosing import choice_table, choose
from purescope.reduce.commands import Named
from purescope.reduce.shares import Choice
from purescope.tables.results import Results
from purescope.tables.schemas import SHARES, VERDICTS

RANKED = {"metric": "accuracy", "space": "weights", "measure": "l1", "towers": "both"}
Lows = Mapping[str, Mapping[int, tuple[float, float]]]  # lower ends of choose and judge


def results(tables: Mapping[str, Lows], *, chance: tuple[str, ...] = ()) -> Results:
    """Results whose shares are 0.01 above their lower end, on one dataset or several."""
    rows = [
        {
            "model": "clip",
            "dataset": dataset,
            "strategy": strategy,
            "k": k,
            "metric": "accuracy",
            "half": half,
            "value": 0.5,
            "full": 0.5,
            "share": low + 0.01,
            "low": low,
            "high": low + 0.02,
            "over_random": 0.1 if strategy != "random" else None,
            "over_random_low": 0.08,
            "over_random_high": 0.12,
            "over_first_k": 0.2 if strategy == "svd" and "first_k" in lows else None,
            "over_first_k_low": 0.17,
            "over_first_k_high": 0.25,
            "n": 100,
            "neurons": 512,
        }
        for dataset, lows in tables.items()
        for strategy, by_k in lows.items()
        for k, ends in by_k.items()
        for half, low in zip(("choose", "judge"), ends, strict=True)
    ]
    verdicts = pd.DataFrame(columns=list(VERDICTS.columns))
    for name in chance:
        verdicts.loc[len(verdicts)] = {"model": "clip", "dataset": name, "outcome": "at chance"}
    return Results(
        Path("out"),
        {
            "results": pd.DataFrame(
                {"model": "clip", "dataset": [*tables], "renormalise": True, **RANKED}
            ),
            "shares": pd.DataFrame(rows, columns=list(SHARES.columns)),
            "verdicts": verdicts,
        },
    )


ONE = {
    "svd": {8: (0.90, 0.91), 16: (0.985, 0.96), 24: (0.992, 0.97), 32: (0.999, 0.99)},
    "first_k": {8: (0.2, 0.2), 16: (0.4, 0.4), 24: (0.6, 0.6), 32: (0.991, 0.98)},
    "random": {8: (0.3, 0.3), 16: (0.5, 0.5), 24: (0.7, 0.7), 32: (0.8, 0.8)},
}


def one(tables: Mapping[str, Lows], **options: object) -> Choice:
    (choice,) = choose(results(tables), **options)  # type: ignore[arg-type]
    return choice


def test_the_smallest_k_whose_lower_end_reaches_the_target() -> None:
    choice = one({"flags": ONE})
    assert (choice.k, choice.strategy, choice.neurons) == (24, "svd", 512)
    assert choice.chosen is not None and choice.chosen.low == 0.992
    assert choice.judged is not None and choice.judged.low == 0.97  # of the other half
    assert choice.needed == {"svd": 24, "first_k": 32, "random": None}
    assert choice.at_k["random"].low == 0.7 and choice.at_k["first_k"].low == 0.6
    assert choice.over_random is not None and choice.over_random.share == pytest.approx(0.1)
    assert choice.over_first_k is not None
    ends = (choice.over_first_k.share, choice.over_first_k.low, choice.over_first_k.high)
    assert ends == pytest.approx((0.2, 0.17, 0.25))
    assert one({"flags": ONE}, keep_at_least=0.985).k == 16  # the end itself is enough
    assert one({"flags": ONE}, multiple_of=16).k == 32
    assert one({"flags": ONE}, multiple_of=16).needed == {"svd": 32, "first_k": 32, "random": None}


def test_strategies_that_need_as_few_are_compared_by_judgement() -> None:
    tables = {"svd": {8: (0.995, 0.97)}, "pca": {8: (0.991, 0.98)}}
    assert one({"flags": tables}).strategy == "pca"


def test_the_worst_dataset_or_the_mean_decides() -> None:
    other = {"svd": {8: (0.97, 0.97), 16: (0.999, 0.999), 24: (0.98, 0.98), 32: (1.0, 1.0)}}
    both = {"flags": {"svd": ONE["svd"]}, "icons": other}
    worst = one(both)
    assert (worst.k, worst.worst) == (32, "flags") and set(worst.datasets) == {"flags", "icons"}
    assert {name: share.low for name, share in worst.datasets.items()} == {
        "flags": 0.99, "icons": 1.0
    }  # fmt: skip
    mean = one(both, over="mean")
    # Each end is 0.01 away, so that of the mean of two is 0.01 / sqrt(2).
    assert mean.k == 16 and mean.judged is not None
    assert mean.judged.share == pytest.approx((0.97 + 1.009) / 2)
    assert mean.judged.low == pytest.approx((0.97 + 1.009) / 2 - 0.01 / 2**0.5)


def test_datasets_at_chance_take_no_part() -> None:
    bad = {"svd": {8: (0.1, 0.1), 24: (0.1, 0.1)}}
    tables = {"flags": {"svd": ONE["svd"]}, "noise": bad}
    (choice,) = choose(results(tables, chance=("noise",)))
    assert (choice.k, choice.counted, choice.uncounted) == (24, ["flags"], ["noise"])
    (none,) = choose(results({"noise": bad}, chance=("noise",)))
    assert none.k is None and none.counted == [] and none.closest is None


def test_what_comes_closest_is_said_where_nothing_is_enough() -> None:
    choice = one({"flags": ONE}, keep_at_least=1.0)
    assert (choice.k, choice.strategy, choice.judged) == (None, None, None)
    assert choice.closest is not None
    assert (choice.closest.strategy, choice.closest.k) == ("svd", 32)
    assert choice.closest.share.low == 0.999 and choice.closest.judged.low == 0.99


def test_over_several_datasets_the_differences_are_the_mean() -> None:
    other = {name: dict(by_k) for name, by_k in ONE.items()}
    choice = one({"flags": ONE, "icons": other}, over="worst")
    assert choice.over_first_k is not None
    assert choice.over_first_k.share == pytest.approx(0.2)
    assert choice.over_first_k.low == pytest.approx(0.2 - 0.03 / 2**0.5)
    assert choice.over_first_k.high == pytest.approx(0.2 + 0.05 / 2**0.5)
    (alone,) = choose(results({"flags": {"svd": ONE["svd"]}}))
    assert alone.over_first_k is None


NAMED = Named({"clip": "bundled:clip"}, {"flags": "bundled:flags", "icons": "bundled:icons"})


def test_the_table_has_each_dataset_and_the_worst_of_all() -> None:
    noise = {"svd": {8: (0.1, 0.1)}}
    other = {"svd": {8: (0.97, 0.96), 16: (0.999, 0.97), 24: (0.98, 0.98), 32: (1.0, 1.0)}}
    given = results({"flags": ONE, "icons": other, "noise": noise}, chance=("noise",))
    table = choice_table(given.tables, NAMED).set_index(["dataset", "target"])
    assert sorted({name for name, _ in table.index}) == ["", "flags", "icons"]
    assert table.k.to_dict() == {
        ("", 0.99): 32, ("", 0.95): 16, ("flags", 0.99): 24, ("flags", 0.95): 16,
        ("icons", 0.99): 16, ("icons", 0.95): 8,
    }  # fmt: skip
    assert table.enough.all() and table.deployed.all() and set(table.sets) == {1, 2}
    flags = table.loc["flags", 0.99]
    assert (flags.strategy, flags.chosen_low, flags.low, flags.first_k) == (
        "svd", 0.992, 0.97, pytest.approx(0.61),
    )  # fmt: skip
    assert (flags.random, flags.over_random) == (pytest.approx(0.71), pytest.approx(0.1))
    assert flags.command == "purescope export bundled:clip --keep 24 --axes svd --out smaller"
    whole = table.loc["", 0.99]
    assert whole.low == pytest.approx(0.99) and whole.command.count("--keep 32") == 1


def test_what_comes_closest_stands_in_the_table_without_a_command() -> None:
    lows = {"svd": {8: (0.5, 0.55), 16: (0.9, 0.8)}, "random": {8: (0.1, 0.1), 16: (0.95, 0.9)}}
    table = choice_table(results({"flags": lows}).tables, NAMED)
    assert not table.enough.any() and set(table.k) == {16} and set(table.command) == {""}
    assert set(table.low) == {0.8} and table.random.tolist() == pytest.approx([0.91] * 4)
    assert table.first_k.isna().all() and table.over_first_k.isna().all()


def test_all_dimensions_are_nothing_smaller() -> None:
    (choice,) = choose(results({"flags": {"svd": {256: (0.9, 0.9), 512: (1.0, 1.0)}}}))
    assert (choice.k, choice.command) == (512, "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_at_least": 0.0}, "keep_at_least = 0"),
        ({"keep_at_least": 1.01}, "keep_at_least = 1.01"),
        ({"multiple_of": 0}, "multiple_of = 0"),
        ({"of": "acuracy"}, r"unknown of 'acuracy'(?s:.*)did you mean 'accuracy'"),
        ({"over": "best"}, "unknown over 'best'"),
        ({"multiple_of": 7}, r"no shares of accuracy at a multiple of 7(?s:.*)--renormalise"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        one({"flags": ONE}, **options)
