"""A bench holds one model's features and orders: each way to evaluate them, by the definition."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.bases import random_rotations
from purescope.maths.cells import ablation_values, halves
from purescope.maths.strategies import order_neurons
from purescope.studies.bench import Bench, ByImage
from purescope.studies.settings import Options
from tests import oracles
from tests.studies.test_sweeps import FEATURES, IMAGES, KEEP, NEURONS, PROJECTIONS, make_features

IMAGE, TEXT, LABELS = (
    FEATURES.image.tolist(),
    FEATURES.text.tolist(),
    FEATURES.labels.tolist(),
)


def bench(**options: Any) -> Bench:
    return Bench.make(FEATURES, PROJECTIONS, Options(**{"keep": KEEP, "seed": 5, **options}))


def rankings(order: Tensor, k: int) -> list[list[int]]:
    return [oracles.ranking(row, TEXT, order[:k].tolist()) for row in IMAGE]


@pytest.mark.parametrize("strategy", ["high_purity", "low_purity"])
def test_the_best_other_class_is_the_first_in_the_ranking_that_is_not_the_own(
    strategy: str,
) -> None:
    given = bench()
    order = given.order(strategy)
    others = given.best_others(order, [3, 7])
    for found, k in zip(others.tolist(), (3, 7), strict=True):
        assert found == [
            next(label for label in ranking if label != own)
            for ranking, own in zip(rankings(order, k), LABELS, strict=True)
        ]


def test_orders_image_by_image() -> None:
    given = bench()
    orders = torch.stack([given.order("high_purity"), given.order("low_purity")])
    results = given.by_image(orders, KEEP)
    for place, order in enumerate(orders):
        for number, k in enumerate(KEEP):
            ranks = [
                ranking.index(own) for ranking, own in zip(rankings(order, k), LABELS, strict=True)
            ]
            cell = results.order(place)
            assert cell.right[number].tolist() == [rank == 0 for rank in ranks]
            assert cell.top5[number].tolist() == [rank < 5 for rank in ranks]
            masked = [oracles.masked(row, order[:k].tolist()) for row in IMAGE]
            expected = oracles.silhouette(masked, LABELS)
            assert cell.silhouette[number].tolist() == pytest.approx(expected, abs=1e-5)
            assert cell.pseudovalue[number].mean().item() == pytest.approx(
                sum(expected) / IMAGES, abs=1e-5
            )


def test_metrics_are_means_in_double_precision() -> None:
    """Class 2 has no image; of 40 images 2 are of class 0, half of which are right."""
    labels = torch.tensor([0] * 2 + [1] * 38)
    given = Bench.make(make_features(labels), PROJECTIONS, Options(keep=[3], draws=0))
    right = torch.tensor([[True, False] + [True] * 19 + [False] * 19])
    top5 = torch.ones(1, 40, dtype=torch.bool)
    silhouette = torch.tensor([[1.0] + [1e-8] * 39])
    of_each = ByImage(right, top5, silhouette, silhouette)
    [found] = given.metrics(right, top5, of_each.mean_silhouette).tolist()
    assert found[:3] == pytest.approx([20 / 40, 1, (1 / 2 + 19 / 38) / 2], abs=1e-15)
    assert found[3] == pytest.approx((1 + 39e-8) / 40, rel=1e-12)


def test_more_random_orders_are_counted_than_a_byte_holds() -> None:
    """With all neurons every order gets the same images right."""
    given = Bench.make(FEATURES, PROJECTIONS, Options(keep=[NEURONS], draws=300))
    [count] = given.evaluate_random(given.random_orders(300)).right_count
    [right] = given.by_image(given.order("high_purity")[None], [NEURONS]).order(0).right
    assert right.any() and not right.all() and count.equal(300 * right.to(count.dtype))


def test_orders_are_made_once_and_random_ones_from_their_seeds() -> None:
    given = bench()
    assert given.order("high_purity") is given.order("high_purity")
    assert given.random_orders(0).shape == (0, NEURONS)
    more = given.random_orders(3)
    assert given.random_orders(2).equal(more[:2])
    for draw, order in enumerate(more):
        assert order.equal(order_neurons(PROJECTIONS, "random", seed=5 + draw))


def test_held_out_orders_are_fitted_on_the_other_half() -> None:
    given, half = bench(), halves(FEATURES.labels)
    for evaluated, order in enumerate(given.held_out_orders("importance")):
        other = half != evaluated
        part = replace(
            FEATURES, image=FEATURES.image[other].clone(), labels=FEATURES.labels[other].clone()
        )
        fitted = Bench.make(part, PROJECTIONS, Options(keep=KEEP, seed=5))
        assert order.equal(fitted.order("importance"))
        assert not order.equal(given.order("importance"))


def test_random_orders_are_evaluated_as_each_alone() -> None:
    given = bench()
    orders = given.random_orders(4)
    results, each = given.evaluate_random(orders), given.by_image(orders, KEEP)
    right = each.right.numpy()
    assert results.values[:, :, 0].numpy() == pytest.approx(right.mean(2), abs=1e-12)
    assert results.values[:, :, 1].numpy() == pytest.approx(each.top5.numpy().mean(2), abs=1e-12)
    assert results.values[:, :, 3].numpy() == pytest.approx(
        each.silhouette.numpy().mean(2), abs=1e-6
    )
    assert (results.right_count.numpy() == right.sum(0)).all()
    assert (results.first_right.numpy() == right[0]).all()
    for place in range(len(KEEP)):  # the lower one of the middle two of four
        middle = sorted(range(4), key=lambda draw: (right[draw, place].mean(), draw))[1]
        assert (results.median_right[place].numpy() == right[middle, place]).all()
    nothing = given.evaluate_random(orders[:0])
    assert nothing.values.shape == (0, 3, 4)
    for none in (nothing.right_count, nothing.median_right, nothing.first_right):
        assert none.shape == (3, IMAGES) and not none.any()


def test_areas_are_means_over_k() -> None:
    given = bench()
    orders = given.purity_orders("l1", "both")
    assert orders[0].equal(given.order("high_purity"))
    assert orders[1].equal(given.order("low_purity"))
    accuracies = given.by_image(orders, KEEP).right.double().mean(2).numpy()
    high, low = np.trapezoid(accuracies, KEEP) / (KEEP[-1] - KEEP[0])
    found = given.purity_areas(orders)
    assert (found["high"], found["low"], found["gap"]) == pytest.approx((high, low, high - low))
    many = given.random_orders(41)  # more than two batches
    assert given.areas_on_each_core(many).equal(given.areas(many))


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_in_another_basis_all_axes_together_say_the_same(ablation: str) -> None:
    given = bench(ablation=ablation)
    [basis] = random_rotations(NEURONS, 1, seed=0)
    turned = given.in_basis(basis)
    assert turned.features.image.double().numpy() == pytest.approx(
        FEATURES.image.double().numpy() @ basis.double().numpy(), abs=1e-5
    )
    full = torch.arange(NEURONS)
    assert turned.by_image(full[None], [NEURONS]).right.equal(
        given.by_image(full[None], [NEURONS]).right
    )
    assert (turned.dropped is None) == (ablation == "zero")
    if turned.dropped is not None:
        expected = ablation_values(turned.features.image, "mean")
        torch.testing.assert_close(turned.dropped, expected, rtol=0, atol=1e-6)


def test_other_options_have_other_values_of_dropped_neurons() -> None:
    given = bench()
    assert given.dropped is None and given.with_options(space="activations").dropped is None
    mean = given.with_options(ablation="mean")
    assert mean.dropped is not None and mean.options.ablation == "mean"
    assert mean.dropped.equal(ablation_values(FEATURES.image, "mean"))
    assert mean.with_options(renormalise=False).dropped is mean.dropped


def test_an_order_of_ones_own_has_all_neurons() -> None:
    mine = list(range(NEURONS))[::-1]
    assert bench(orders={"mine": mine}).order("mine").tolist() == mine
    with pytest.raises(InputError, match="the order 'mine' of 11 neurons"):
        bench(orders={"mine": list(range(11))})
