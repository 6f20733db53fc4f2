"""Nothing moved that nobody meant to move: `make goldens` accepts what was meant."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from purescope.cli.run import cli
from tests.goldens import compare, describe
from tests.goldens.commands import COMMANDS
from tests.goldens.goldens import GOLDENS, KEPT, kept
from tests.sandbox import sandbox

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[str]]]:
    """All of them, in their order, as they are now."""
    with sandbox(tmp_path_factory.mktemp("goldens")):
        yield {}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name: str, found: dict[str, list[str]]) -> None:
    for before in list(GOLDENS)[: list(GOLDENS).index(name) + 1]:
        if before not in found:
            found[before] = list(GOLDENS[before]())
    changed = compare.difference(kept(name), found[name])
    assert not changed, f"{name} moved; if it was meant to, `make goldens` accepts it:\n{changed}"


def test_every_command_has_one() -> None:
    assert set(cli.commands) <= set(COMMANDS)
    assert {path.stem for path in KEPT.iterdir()} == set(GOLDENS)


def column(values: list[object]) -> list[str]:
    return list(describe.table(pd.DataFrame({"one": values})))


@pytest.mark.parametrize(
    "values",
    [
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6001],
        [0.1, 0.2, 0.3, 0.4, 0.6, 0.5],
        [0.1, 0.2, 0.3, 0.4, 0.5, np.nan],
        [0.1, 0.2, 0.3, 0.4, 0.5],
    ],
)
def test_a_value_that_moves_is_seen_wherever_it_stands(values: list[object]) -> None:
    before = column([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert compare.difference(before, column(values))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 6, 5]),
        (list("abcdef"), list("abcdfe")),
        ([True, False], [False, True]),
    ],
)
def test_what_is_exact_is_held_to_the_letter(one: list[object], other: list[object]) -> None:
    assert compare.difference(column(one), column(other))


def test_a_last_bit_is_no_difference_and_stays_as_it_was_kept() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=1000)
    before = column(list(values))
    after = column(list(values * (1 + 1e-7 * rng.normal(size=1000))))
    assert before != after and not compare.difference(before, after)
    assert compare.settled(before, after) == before
    assert compare.settled(before, [*after[:-1], "new"]) == [*before[:-1], "new"]
