"""Joining the scores of two towers, and the input that strategies refuse."""

import pytest
import torch

from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.overlaps import Projections
from purescope.maths.scores import TOWERS, StrategyInput, join_towers
from purescope.maths.strategies import order_neurons
from tests import oracles
from tests.maths.test_overlaps import signed
from tests.maths.test_strategies import IMAGE, RANKED, TEXT, tower_scores


@pytest.mark.parametrize("towers", TOWERS)
@pytest.mark.parametrize("strategy", RANKED)
def test_towers_are_joined_as_asked(strategy: str, towers: str) -> None:
    order = order_neurons(Projections(IMAGE, TEXT), strategy, towers=towers)
    assert order.tolist() == oracles.order(tower_scores(towers), largest=RANKED[strategy])


@pytest.mark.parametrize("towers", TOWERS)
def test_a_neuron_dead_in_one_tower_stands_last_whichever_tower_is_asked(towers: str) -> None:
    rows = IMAGE.clone()
    rows[2] = 0
    with pytest.warns(UserWarning, match="1 of 8 neurons"):
        assert order_neurons(Projections(rows, TEXT), "high_purity", towers=towers)[-1] == 2
        assert order_neurons(Projections(IMAGE, rows), "low_purity", towers=towers)[-1] == 2


@pytest.mark.parametrize("towers", ["z_sum", "rank_mean"])
def test_a_tower_that_tells_nothing_leaves_the_order_to_the_other(towers: str) -> None:
    flat = Projections(IMAGE, torch.ones(8, 3))
    expected = oracles.order(oracles.overlap(IMAGE.tolist()))
    assert order_neurons(flat, towers=towers).tolist() == expected


def test_equal_scores_share_their_mean_rank() -> None:
    """Image ranks are 1.5, 1.5, 3 and 4, text ranks 2, 3, 1 and 4; twice the means are 3.5, 4.5, 4
    and 8.
    """
    image, text = torch.tensor([0.1, 0.1, 0.2, 0.3]), torch.tensor([0.2, 0.3, 0.1, 0.4])
    assert TOWERS["rank_mean"](image, text).tolist() == [1.75, 2.25, 2, 4]


def test_a_measure_of_activations_asks_for_them() -> None:
    with pytest.raises(InputError, match="the measure 'pearson' without features"):
        order_neurons(Projections(IMAGE, TEXT), measure="pearson")


def test_features_of_another_model_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"image features of shape \[4, 7\], projections of 8 neurons"
    ):
        StrategyInput(Projections(IMAGE, TEXT), image=signed(4, 7))


def test_an_unknown_measure_or_tower_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"unknown measure 'media'(?s:.*)did you mean 'median'"):
        order_neurons(Projections(IMAGE, TEXT), measure="media")
    with pytest.raises(InputError, match=r"unknown towers 'imagee'(?s:.*)did you mean 'image'"):
        order_neurons(Projections(IMAGE, TEXT), towers="imagee")


@pytest.mark.parametrize("towers", TOWERS)
def test_a_score_that_one_tower_lacks_is_no_score_and_moves_no_other(towers: str) -> None:
    image = torch.tensor([0.1, float("nan"), 0.9, 0.2, 0.4]).double()
    text = torch.tensor([0.3, 0.1, 0.2, float("nan"), 0.7]).double()
    both = torch.tensor([0, 2, 4])
    joined = join_towers(image, text, towers)
    assert joined.isnan().tolist() == [False, True, False, True, False]
    torch.testing.assert_close(joined[both], join_towers(image[both], text[both], towers))


def test_logits_are_scaled_by_100_where_nobody_says_otherwise() -> None:
    """As features have it."""
    eye = torch.eye(2)
    features = Features(eye, eye, torch.tensor([0, 1]))
    assert StrategyInput(Projections(eye, eye)).scale == features.logit_scale == 100.0
