"""Orders: the experiment's own selection, the rules for ties and dead neurons, and the ks."""

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from purescope.errors import InputError
from purescope.ordering import STRATEGIES, check_keep, default_keep, order_neurons, parse_keep
from purescope.purity import Projections, total_overlap
from tests import oracles
from tests.test_purity import MATRICES, matrices, plain, seeds, signed

RANKED = {"high_purity": False, "low_purity": True}  # strategy: are the largest totals kept first?
DRAWN = {"random"}


def live(projections: Projections) -> list[int]:
    dead = (projections.image == 0).all(1) | (projections.text == 0).all(1)
    return [j for j in range(projections.neurons) if not dead[j]]


def quiet_order(projections: Projections, strategy: str, seed: int = 0) -> list[int]:
    """Without the warning of dead neurons."""
    return STRATEGIES[strategy](projections, seed).tolist()


@st.composite
def projection_pairs(draw: st.DrawFn) -> Projections:
    image = draw(matrices())
    return Projections(image, draw(matrices(rows=len(image))))


def test_every_strategy_is_covered_here() -> None:
    assert RANKED.keys() | DRAWN == STRATEGIES.keys()


# --- what the orders are


@pytest.mark.parametrize("strategy", RANKED)
@pytest.mark.parametrize("tower", ["image", "text", "both"])
@pytest.mark.parametrize("name", MATRICES)
def test_order_is_the_definition_on_degenerate_matrices(name: str, tower: str, strategy: str) -> None:
    rows = MATRICES[name]
    other = rows if tower == "both" else signed(len(rows), 4, seed=2)
    projections = Projections(other, rows) if tower == "text" else Projections(rows, other)
    totals = oracles.total_overlap(plain(projections.image), plain(projections.text))
    assert quiet_order(projections, strategy) == oracles.order(totals, largest=RANKED[strategy])


@pytest.mark.parametrize("strategy", RANKED)
@pytest.mark.parametrize(("neurons", "image", "text"), [(64, 48, 32), (100, 10, 200), (512, 384, 512), (1, 3, 3)])
def test_prefixes_are_the_experiments_selection(neurons: int, image: int, text: int, strategy: str) -> None:
    projections = Projections(signed(neurons, image, seed=3).float(), signed(neurons, text, seed=4).float())
    totals = total_overlap(projections).sort().values
    # Where neighbours are nearer than float32 sums can tell, the experiment's own order is a matter of rounding.
    blurred = 1e-4
    order = quiet_order(projections, strategy)
    for sam in {1, neurons // 2 or 1, max(1, neurons - 1), neurons}:
        kept = oracles.experiment_order(projections.image, projections.text, sam, largest=RANKED[strategy])
        edge = totals[sam - 1] if not RANKED[strategy] else totals[neurons - sam]
        unsure = {j for j, t in enumerate(total_overlap(projections)) if abs(t - edge) < blurred}
        assert set(order[:sam]) - unsure == set(kept) - unsure
        assert len(unsure) < max(2, neurons / 20)


@pytest.mark.parametrize("strategy", RANKED)
def test_order_is_the_experiments_to_the_last_place(strategy: str) -> None:
    # Neuron j of d is turned away from its neighbours by 1/(j+2) radians: no two totals are near each other.
    angles = torch.tensor([0.11 * j + 1 / (j + 2) for j in range(12)])
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    projections = Projections(rows, -3 * rows)
    assert total_overlap(projections).sort().values.diff().min() > 1e-3
    for sam in range(1, 13):
        kept = oracles.experiment_order(rows, -3 * rows, sam, largest=RANKED[strategy])
        assert quiet_order(projections, strategy)[:sam] == kept


def test_order_worked_by_hand() -> None:
    # |cos|: 0-1 is 0.6, 0-2 is 0.8, 1-2 is 0; 3 is dead. Totals of one tower: 1.4, 0.6, 0.8.
    rows = torch.tensor([[3.0, 4.0], [-2.0, 0.0], [0.0, 7.0], [0.0, 0.0]])
    projections = Projections(rows, rows)
    with pytest.warns(UserWarning, match="1 of 4 neurons have norm zero and rank last"):
        assert order_neurons(projections, "high_purity").tolist() == [1, 2, 0, 3]
    with pytest.warns(UserWarning, match="norm zero"):
        assert order_neurons(projections, "low_purity").tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize("strategy", RANKED)
def test_ties_stand_by_index_however_the_sums_were_taken(strategy: str) -> None:
    # 40 copies of one row, and flips of it: all totals are equal, and their float64 sums are not always.
    row = signed(1, 33, seed=5)
    signs = torch.tensor([1.0, -1.0, 2.5, -0.1], dtype=torch.float64).repeat(10)[:, None]
    projections = Projections(signs * row, signed(1, 9, seed=6).repeat(40, 1))
    assert quiet_order(projections, strategy) == list(range(40))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_neuron_dead_in_one_tower_stands_last_with_a_warning(tower: str, strategy: str) -> None:
    rows, holed = signed(6, 4), signed(6, 4, seed=1)
    holed[[4, 1]] = 0
    projections = Projections(holed, rows) if tower == "image" else Projections(rows, holed)
    with pytest.warns(UserWarning, match="2 of 6 neurons have norm zero and rank last"):
        order = order_neurons(projections, strategy, seed=7)
    assert order[-2:].tolist() == [1, 4]


# --- random orders


def test_random_orders_are_uniform() -> None:
    projections = Projections(signed(3, 2), signed(3, 2))
    drawn = [tuple(quiet_order(projections, "random", seed)) for seed in range(1200)]
    for permutation in itertools.permutations(range(3)):
        assert 150 < drawn.count(permutation) < 250  # 200 expected, standard deviation 13


def test_random_orders_of_a_layer_with_a_dead_neuron_still_draw_the_others() -> None:
    rows = signed(4, 2)
    rows[0] = 0
    drawn = {tuple(quiet_order(Projections(rows, rows), "random", seed)) for seed in range(100)}
    assert drawn == {(*live_part, 0) for live_part in itertools.permutations((1, 2, 3))}


def test_random_orders_neither_read_nor_move_the_global_generator() -> None:
    projections = Projections(signed(20, 2), signed(20, 2))
    torch.manual_seed(1)
    first, state = quiet_order(projections, "random"), torch.get_rng_state()
    torch.manual_seed(2)
    assert quiet_order(projections, "random") == first
    torch.manual_seed(1)
    assert torch.get_rng_state().equal(state)


def test_a_seed_means_the_same_order_on_every_machine() -> None:
    projections = Projections(signed(8, 2), signed(8, 2))
    assert quiet_order(projections, "random", seed=0) == [4, 0, 7, 3, 2, 5, 1, 6]


# --- what holds for every strategy


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=40)
@given(projections=projection_pairs(), seed=seeds)
def test_an_order_holds_every_neuron_once_and_dead_ones_last(
    strategy: str, projections: Projections, seed: int
) -> None:
    order = quiet_order(projections, strategy, seed)
    alive = live(projections)
    assert sorted(order) == list(range(projections.neurons))
    assert set(order[: len(alive)]) == set(alive)
    assert order[len(alive) :] == sorted(order[len(alive) :])
    assert quiet_order(projections, strategy, seed) == order


@pytest.mark.parametrize("strategy", RANKED)
@settings(max_examples=40)
@given(projections=projection_pairs())
def test_totals_never_fall_back_along_an_order(strategy: str, projections: Projections) -> None:
    totals = total_overlap(projections)[quiet_order(projections, strategy)][: len(live(projections))]
    steps = -totals.diff() if RANKED[strategy] else totals.diff()
    assert (steps > -2e-9).all()


@pytest.mark.parametrize("strategy", RANKED)
@settings(max_examples=40)
@given(projections=projection_pairs(), seed=seeds)
def test_permuting_neurons_permutes_the_totals_kept_by_every_prefix(
    strategy: str, projections: Projections, seed: int
) -> None:
    permutation = torch.randperm(projections.neurons, generator=torch.Generator().manual_seed(seed))
    permuted = Projections(projections.image[permutation], projections.text[permutation])
    before = total_overlap(projections)[quiet_order(projections, strategy)]
    after = total_overlap(permuted)[quiet_order(permuted, strategy)]
    np.testing.assert_allclose(after, before, rtol=0, atol=2e-9)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=40)
@given(projections=projection_pairs(), seed=seeds, data=st.data())
def test_scaling_or_flipping_neurons_changes_no_order(
    strategy: str, projections: Projections, seed: int, data: st.DataObject
) -> None:
    # Powers of two scale without rounding, so that ties remain.
    factor = st.sampled_from([-4.0, -1.0, 0.25, 1.0, 8.0])
    factors = data.draw(st.lists(factor, min_size=projections.neurons, max_size=projections.neurons))
    scaled = Projections(projections.image * torch.tensor(factors, dtype=torch.float64)[:, None], projections.text)
    assert quiet_order(scaled, strategy, seed) == quiet_order(projections, strategy, seed)


def test_an_unknown_strategy_gets_a_suggestion() -> None:
    projections = Projections(signed(3, 2), signed(3, 2))
    with pytest.raises(InputError, match=r"unknown strategy 'high_purty'(?s:.*)did you mean 'high_purity'"):
        order_neurons(projections, "high_purty")
    with pytest.raises(InputError, match=r"known: high_purity, low_purity, random"):
        order_neurons(projections, "xyzzy")


# --- ks


KEEPS = {
    "one number": (3, [3]),
    "a list": ([5, 1, 5], [1, 5]),
    "a range": (range(2, 11, 4), [2, 6, 10]),
    "a generator": (iter([4, 2]), [2, 4]),
    "all": (10, [10]),
    "numpy's numbers": ([np.int64(7), np.int32(2)], [2, 7]),
}
UNTYPED_KEEPS = {
    "numpy's number": (np.int64(7), [7]),
    "an array": (np.array([3, 1]), [1, 3]),
    "a tensor": (torch.tensor([3, 1]), [1, 3]),
    "a tensor of no dimension": (torch.tensor(3), [3]),
}
BAD_KEEPS = {
    "zero": (0, "k = 0 neurons"),
    "negative": ([3, -1], "k = -1 neurons"),
    "more than there are": ([3, 11], "k = 11 neurons"),
    "a fraction": (2.5, r"k = 2\.5 neurons"),
    "a whole float": ([2.0], r"k = 2\.0 neurons"),
    "a truth": (True, "k = True neurons"),
    "a truth in a list": ([True], "k = True neurons"),
    "a text": ("3", "k = '3' neurons"),
    "a text in a list": (["3"], "k = '3' neurons"),
    "a fraction in a tensor": (torch.tensor([2.5]), r"k = 2\.5 neurons"),
    "truths in an array": (np.array([True]), "k = True neurons"),
    "NaN": ([float("nan")], "k = nan neurons"),
    "nothing in a list": ([None], "k = None neurons"),
    "too large for a machine word": (2**70, f"k = {2**70} neurons"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", KEEPS | UNTYPED_KEEPS)
def test_ks_are_ascending_whole_numbers(name: str) -> None:
    keep, expected = (KEEPS | UNTYPED_KEEPS)[name]
    ks = check_keep(keep, neurons=10)
    assert ks == expected
    assert all(type(k) is int for k in ks)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", BAD_KEEPS)
def test_bad_ks_are_refused(name: str) -> None:
    keep, message = BAD_KEEPS[name]
    with pytest.raises(InputError, match=f"{message} to keep\n.*a whole number from 1 to 10(?s:.*)--keep"):
        check_keep(keep, neurons=10)


def test_no_k_is_refused() -> None:
    with pytest.raises(InputError, match=r"no k to evaluate\n.*at least one from 1 to 10"):
        check_keep([], neurons=10)


@pytest.mark.parametrize(
    ("text", "ks"),
    [
        ("7", [7]),
        ("200:500:50", [200, 250, 300, 350, 400, 450, 500]),
        ("100:512:20", list(range(100, 512, 20))),
        ("3:5", [3, 4, 5]),
        ("4:4", [4]),
        (" 8 , 1:3 ,5:9:4", [8, 1, 2, 3, 5, 9]),
    ],
)
def test_a_text_names_ks(text: str, ks: list[int]) -> None:
    assert parse_keep(text) == ks


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"),
        ("1,", "''"),
        ("a few", "'a few'"),
        ("2.5", "'2.5'"),
        ("3:", "'3:'"),
        (":", "':'"),
        ("1:2:3:4", "'1:2:3:4'"),
        ("1:9:0", "'1:9:0'"),
        ("16,500:200:50", "'500:200:50'"),
        ("500:200:-50", "'500:200:-50'"),
        ("1:9:-1", "'1:9:-1'"),
    ],
)
def test_a_bad_text_is_quoted_back(text: str, part: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"--keep {text!r}: {part}") + r"(?s:.*)200:500:50"):
        parse_keep(text)


def test_default_ks_are_the_experiments() -> None:
    assert default_keep(512) == list(range(200, 501, 50))


@pytest.mark.parametrize("neurons", [1, 2, 3, 16, 384, 768, 1024, 4096])
def test_default_ks_are_the_same_fractions_of_any_width(neurons: int) -> None:
    ks = default_keep(neurons)
    assert check_keep(ks, neurons) == ks
    for k in range(200, 501, 50):
        assert min(abs(other - k * neurons / 512) for other in ks) <= (0.5 if neurons > 2 else 1)
