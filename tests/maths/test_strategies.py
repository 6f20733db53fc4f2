"""Orders: the experiment's own selection, and the rules for ties and dead neurons."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.leave_one_out import leave_one_out
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import Projections, activation_space, total_overlap
from purescope.maths.scores import StrategyInput
from purescope.maths.strategies import STRATEGIES, order_neurons
from tests import oracles
from tests.maths.test_overlaps import MATRICES, matrices, plain, seeds, signed

RANKED = {"high_purity": False, "low_purity": True}  # strategy: are the largest totals kept first?
BY_INDEX = {"random", "first_k"}
# Single neurons may be scaled and flipped; the other strategies depend on lengths or on features.
BY_DIRECTION = {*RANKED, *BY_INDEX, "greedy_purity"}
BY_LENGTH = {"weight_norm", "pivoted_qr"}
BY_FEATURES = {"activation_variance", "ape", "importance"}


def live(projections: Projections) -> list[int]:
    dead = (projections.image == 0).all(1) | (projections.text == 0).all(1)
    return [j for j in range(projections.neurons) if not dead[j]]


def given_for(
    projections: Projections, *, measure: str = "l1", towers: str = "both"
) -> StrategyInput:
    """Add features of three classes with four images each, which vary from neuron to neuron."""
    labels = torch.arange(12) % 3
    text = torch.nn.functional.normalize(signed(3, projections.neurons, seed=8), dim=1)
    image = torch.nn.functional.normalize(
        text[labels] + 2 * signed(12, projections.neurons, seed=9), dim=1
    )
    return StrategyInput(
        projections, image=image, text=text, labels=labels, measure=measure, towers=towers
    )


def quiet_order(projections: Projections, strategy: str, seed: int = 0) -> list[int]:
    """Return the order without the warning about dead neurons."""
    return STRATEGIES[strategy].order(given_for(projections), seed).tolist()


def permuted_input(given: StrategyInput, permutation: Tensor) -> StrategyInput:
    projections = Projections(
        given.projections.image[permutation], given.projections.text[permutation]
    )
    assert given.image is not None and given.text is not None
    image, text = given.image[:, permutation], given.text[:, permutation]
    return replace(given, projections=projections, image=image, text=text)


@st.composite
def projection_pairs(draw: st.DrawFn) -> Projections:
    image = draw(matrices())
    return Projections(image, draw(matrices(rows=len(image))))


def test_every_strategy_is_covered_here() -> None:
    assert STRATEGIES.keys() == BY_DIRECTION | BY_LENGTH | BY_FEATURES
    assert {name for name, strategy in STRATEGIES.items() if strategy.seeded} == {"random"}
    assert {
        name for name, strategy in STRATEGIES.items() if strategy.needs != "weights"
    } == BY_FEATURES
    assert all(strategy.what for strategy in STRATEGIES.values())


# --- what the orders are


@pytest.mark.parametrize("strategy", RANKED)
@pytest.mark.parametrize("tower", ["image", "text", "both"])
@pytest.mark.parametrize("name", MATRICES)
def test_order_is_the_definition_on_degenerate_matrices(
    name: str, tower: str, strategy: str
) -> None:
    rows = MATRICES[name]
    other = rows if tower == "both" else signed(len(rows), 4, seed=2)
    projections = Projections(other, rows) if tower == "text" else Projections(rows, other)
    totals = oracles.total_overlap(plain(projections.image), plain(projections.text))
    assert quiet_order(projections, strategy) == oracles.order(totals, largest=RANKED[strategy])


@pytest.mark.parametrize("strategy", RANKED)
@pytest.mark.parametrize(
    ("neurons", "image", "text"), [(64, 48, 32), (100, 10, 200), (512, 384, 512), (1, 3, 3)]
)
def test_prefixes_are_the_experiments_selection(
    neurons: int, image: int, text: int, strategy: str
) -> None:
    projections = Projections(
        signed(neurons, image, seed=3).float(), signed(neurons, text, seed=4).float()
    )
    totals = total_overlap(projections).sort().values
    # Where two totals differ by less than the rounding of float32 sums, the experiment's own order
    # depends on rounding.
    blurred = 1e-4
    order = quiet_order(projections, strategy)
    for sam in {1, neurons // 2 or 1, max(1, neurons - 1), neurons}:
        kept = oracles.experiment_order(
            projections.image, projections.text, sam, largest=RANKED[strategy]
        )
        edge = totals[sam - 1] if not RANKED[strategy] else totals[neurons - sam]
        unsure = {j for j, t in enumerate(total_overlap(projections)) if abs(t - edge) < blurred}
        assert set(order[:sam]) - unsure == set(kept) - unsure
        assert len(unsure) < max(2, neurons / 20)


@pytest.mark.parametrize("strategy", RANKED)
def test_order_is_the_experiments_to_the_last_place(strategy: str) -> None:
    # Neuron j of d is rotated from its neighbours by 1/(j+2) radians, so no two totals are close.
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
    # 40 copies of one row, some flipped: all totals are equal, but their float64 sums may not be.
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
        given = given_for(projections)
        features = {"image": given.image, "text": given.text, "labels": given.labels}
        order = order_neurons(projections, strategy, seed=7, **features)  # type: ignore[arg-type]
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
    totals = total_overlap(projections)[quiet_order(projections, strategy)][
        : len(live(projections))
    ]
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


@pytest.mark.parametrize("strategy", sorted(STRATEGIES.keys() - BY_INDEX))
@settings(max_examples=25)
@given(seed=seeds, neurons=st.integers(3, 9))
def test_no_strategy_but_by_index_knows_how_neurons_are_numbered(
    strategy: str, seed: int, neurons: int
) -> None:
    given = given_for(Projections(signed(neurons, 4, seed), signed(neurons, 6, seed + 1)))
    permutation = torch.randperm(neurons, generator=torch.Generator().manual_seed(seed))
    before = STRATEGIES[strategy].order(given, 0).tolist()
    after = permutation[STRATEGIES[strategy].order(permuted_input(given, permutation), 0)].tolist()
    ties = (
        2 if strategy == "greedy_purity" else 0
    )  # the last two left overlap with each other alone
    assert after[ties:] == before[ties:]
    assert sorted(after) == sorted(before)


@pytest.mark.parametrize("strategy", sorted(BY_DIRECTION | BY_FEATURES))
@settings(max_examples=40)
@given(projections=projection_pairs(), seed=seeds, data=st.data())
def test_scaling_or_flipping_neurons_changes_no_order(
    strategy: str, projections: Projections, seed: int, data: st.DataObject
) -> None:
    # Powers of two scale without rounding, so that ties remain.
    factor = st.sampled_from([-4.0, -1.0, 0.25, 1.0, 8.0])
    factors = data.draw(
        st.lists(factor, min_size=projections.neurons, max_size=projections.neurons)
    )
    scaled = Projections(
        projections.image * torch.tensor(factors, dtype=torch.float64)[:, None], projections.text
    )
    assert quiet_order(scaled, strategy, seed) == quiet_order(projections, strategy, seed)


@pytest.mark.parametrize("strategy", sorted(BY_LENGTH))
@settings(max_examples=25)
@given(projections=projection_pairs(), data=st.data())
def test_flipping_neurons_or_scaling_a_tower_changes_no_order(
    strategy: str, projections: Projections, data: st.DataObject
) -> None:
    sign = st.sampled_from([-8.0, 8.0])
    signs = data.draw(st.lists(sign, min_size=projections.neurons, max_size=projections.neurons))
    factors = torch.tensor(signs, dtype=torch.float64)[:, None]
    scaled = Projections(projections.image * factors, projections.text * factors / 64)
    assert quiet_order(scaled, strategy) == quiet_order(projections, strategy)


@pytest.mark.parametrize("strategy", sorted(BY_FEATURES))
@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_the_scale_of_features_changes_no_order_but_by_loss(strategy: str, scale: float) -> None:
    given = given_for(Projections(signed(9, 4), signed(9, 5)))
    assert given.image is not None and given.text is not None
    scaled = replace(given, image=given.image * scale, text=given.text / scale)
    assert STRATEGIES[strategy].order(scaled, 0).equal(STRATEGIES[strategy].order(given, 0))


# --- purity by other measures, and of other towers


IMAGE, TEXT = signed(8, 5, seed=11), signed(8, 7, seed=12)


@pytest.mark.parametrize("measure", MEASURES)
def test_purity_is_by_the_measure_that_was_asked_for(measure: str) -> None:
    given = given_for(Projections(IMAGE, TEXT), measure=measure)
    assert given.image is not None and given.text is not None
    space = (
        activation_space(given.image, given.text)
        if MEASURES[measure].needs == "activations"
        else given.projections
    )
    of = MEASURES[measure].of
    expected = oracles.order((of(space.image) + of(space.text)).tolist())
    assert STRATEGIES["high_purity"].order(given, 0).tolist() == expected
    assert STRATEGIES["low_purity"].order(given, 0).tolist() == expected[::-1]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("strategy", RANKED)
def test_ties_stand_by_index_by_every_measure(strategy: str, measure: str) -> None:
    rows, features = signed(1, 33).repeat(40, 1), signed(9, 1, seed=3).repeat(1, 40)
    given = StrategyInput(Projections(rows, rows), image=features, text=features, measure=measure)
    assert STRATEGIES[strategy].order(given, 0).tolist() == list(range(40))


# --- the other strategies


def greedily_dropped(image: Tensor, text: Tensor) -> list[int]:
    """Drop neurons by computing all overlaps again after each drop."""
    kept, dropped = list(range(len(image))), []
    while kept:
        totals = oracles.total_overlap(image[kept].tolist(), text[kept].tolist())
        worst = max(i for i, total in enumerate(totals) if total >= max(totals) - oracles.TIE)
        dropped.append(kept.pop(worst))
    return dropped[::-1]


@settings(max_examples=40)
@given(projections=projection_pairs())
def test_greedy_purity_is_the_definition(projections: Projections) -> None:
    alive = live(projections)
    rows = [
        torch.tensor(plain(tower[alive])).double()
        for tower in (projections.image, projections.text)
    ]
    expected = [alive[j] for j in greedily_dropped(*rows)] if alive else []
    assert quiet_order(projections, "greedy_purity")[: len(alive)] == expected


def test_a_tie_is_a_share_of_the_largest_variance() -> None:
    """Neuron 1 varies more than neuron 0 only by rounding, however little neuron 2 varies."""
    image = (
        torch.tensor([1.0, 1 + 1e-12, 1e-5], dtype=torch.float64)
        * torch.tensor([[1.0], [-1.0]]).double()
    )
    tower = torch.eye(3)
    order = order_neurons(
        Projections(tower, tower), "activation_variance", image=image, text=tower.double()
    )
    assert order.tolist() == [0, 1, 2]
    little = torch.tensor([1e-6, 2e-6, 3e-6], dtype=torch.float64) * image.sign()
    order = order_neurons(
        Projections(tower, tower), "activation_variance", image=little, text=tower.double()
    )
    assert order.tolist() == [2, 1, 0]


def test_greedy_purity_keeps_one_of_two_twins() -> None:
    """Neurons 0 and 1 are parallel, the others are not: high purity puts both of them last."""
    rows = torch.eye(5, dtype=torch.float64)
    rows[1] = rows[0]
    projections = Projections(rows, rows)
    assert quiet_order(projections, "high_purity") == [2, 3, 4, 0, 1]
    assert quiet_order(projections, "greedy_purity") == [0, 2, 3, 4, 1]


def tower_scores(towers: str) -> list[float]:
    """Join the scores of the towers by numpy and scipy."""
    image, text = (np.array(oracles.overlap(rows.tolist())) for rows in (IMAGE, TEXT))
    return {
        "both": image + text,
        "image": image,
        "text": text,
        "z_sum": scipy.stats.zscore(image) + scipy.stats.zscore(text),
        "rank_mean": (scipy.stats.rankdata(image) + scipy.stats.rankdata(text)) / 2,
    }[towers].tolist()


@pytest.mark.parametrize("towers", ["image", "text", "z_sum", "rank_mean"])
def test_greedy_purity_joins_towers_as_asked(towers: str) -> None:
    given = given_for(Projections(IMAGE, TEXT), towers=towers)
    greedy = STRATEGIES["greedy_purity"].order(given, 0).tolist()
    assert greedy[-1] == oracles.order(tower_scores(towers), largest=True)[0]
    if towers in ("image", "text"):
        tower = IMAGE if towers == "image" else TEXT
        assert greedy == greedily_dropped(tower, tower)


def test_greedy_purity_knows_one_measure() -> None:
    with pytest.raises(InputError, match="greedy_purity with the measure 'l2'"):
        order_neurons(Projections(IMAGE, TEXT), "greedy_purity", measure="l2")


@pytest.mark.parametrize("neurons", [3, 9, 12, 30])
def test_pivots_are_scipys(neurons: int) -> None:
    projections = Projections(signed(neurons, 5, seed=1), 9 * signed(neurons, 7, seed=2))
    stacked = np.hstack(
        [
            rows.numpy() / np.linalg.norm(rows.numpy())
            for rows in (projections.image, projections.text)
        ]
    )
    pivots = scipy.linalg.qr(stacked.T, pivoting=True, mode="r")[1]
    rank = min(neurons, 12)
    order = quiet_order(projections, "pivoted_qr")
    assert order[:rank] == pivots[:rank].tolist()
    assert order[rank:] == sorted(order[rank:])


def test_pivots_by_hand() -> None:
    """The longest comes first; then the one with the largest part orthogonal to it, not the longer
    one that is almost parallel to it.
    """
    rows = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.9, 0.1], [0.0, 0.5]], dtype=torch.float64)
    assert quiet_order(Projections(rows, rows), "pivoted_qr") == [1, 3, 0, 2]


def test_weight_norm_multiplies_the_towers() -> None:
    image, text = (
        torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]]),
        torch.tensor([[1.0], [-6.0], [2.0]]),
    )
    assert quiet_order(Projections(image, text), "weight_norm") == [1, 0, 2]  # 5, 6, 4
    assert quiet_order(
        Projections(1e200 * image.double(), 1e200 * text.double()), "weight_norm"
    ) == [1, 0, 2]


def test_first_k_is_by_index() -> None:
    assert quiet_order(Projections(IMAGE, TEXT), "first_k") == list(range(8))


def test_activation_variance_is_numpys() -> None:
    given = given_for(Projections(IMAGE, TEXT))
    assert given.image is not None
    assert quiet_order(given.projections, "activation_variance") == oracles.order(
        np.var(given.image.numpy(), axis=0).tolist(), largest=True
    )


def test_ape_is_its_criterion_over_pairs_of_classes() -> None:
    given = given_for(Projections(IMAGE, TEXT))
    assert given.text is not None
    scores = []
    for column in given.text.T.tolist():
        products = [a * b for a, b in itertools.permutations(column, 2)]
        scores.append(-0.2 * np.mean(products) + 0.8 * np.var(column, ddof=1))
    assert quiet_order(given.projections, "ape") == oracles.order(scores, largest=True)


def test_ape_has_nothing_to_tell_apart_in_one_class() -> None:
    with pytest.raises(InputError, match="ape for one class"):
        order_neurons(Projections(IMAGE, TEXT), "ape", image=signed(4, 8), text=signed(1, 8))


def test_importance_is_the_loss_without_each_neuron() -> None:
    given = given_for(Projections(IMAGE, TEXT))
    assert given.image is not None and given.text is not None and given.labels is not None

    def loss(image: Tensor) -> float:
        return torch.nn.functional.cross_entropy(100 * image @ given.text.T, given.labels).item()  # type: ignore[union-attr]

    without = [loss(given.image * (torch.arange(8) != j)) for j in range(8)]
    assert quiet_order(given.projections, "importance") == oracles.order(without, largest=True)
    change = leave_one_out(given.image, given.text, given.labels).loss_change
    np.testing.assert_allclose(change, np.array(without) - loss(given.image), atol=1e-9)


@pytest.mark.parametrize("strategy", sorted(BY_FEATURES))
def test_what_a_strategy_lacks_is_named(strategy: str) -> None:
    given = given_for(Projections(IMAGE, TEXT))
    with pytest.raises(InputError, match=f"{strategy} without features(?s:.*)image= and text="):
        order_neurons(given.projections, strategy, labels=given.labels, image=given.image)
    if STRATEGIES[strategy].needs == "labels":
        with pytest.raises(
            InputError, match=f"{strategy} without labels(?s:.*)you do not evaluate on"
        ):
            order_neurons(given.projections, strategy, image=given.image, text=given.text)


def test_an_unknown_strategy_gets_a_suggestion() -> None:
    projections = Projections(signed(3, 2), signed(3, 2))
    with pytest.raises(
        InputError, match=r"unknown strategy 'high_purty'(?s:.*)did you mean 'high_purity'"
    ):
        order_neurons(projections, "high_purty")
    with pytest.raises(
        InputError,
        match=r"expected: one of activation_variance, ape, first_k, greedy_purity, high_purity",
    ):
        order_neurons(projections, "xyzzy")


def test_pivots_are_compared_by_their_size() -> None:
    """One of 64 rows at right angles is longer by 3e-9, far less than all together."""
    rows = torch.eye(64, dtype=torch.float64)
    rows[5] *= 1 + 3e-9
    order = order_neurons(Projections(rows, rows.clone()), "pivoted_qr").tolist()
    assert order == [5, *(place for place in range(64) if place != 5)]
