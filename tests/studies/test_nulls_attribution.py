"""High minus random under nulls, by plain steps; how often the attribution is right says
`test_planted`.
"""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k
from purescope.maths.bases import random_rotations, rotate
from purescope.maths.overlaps import Projections
from purescope.maths.scores import StrategyInput
from purescope.maths.strategies import STRATEGIES, order_neurons
from purescope.studies.nulls import (
    attribution_table,
    is_cheap,
    matched_orders,
    norm_groups,
    norms_of,
    rotate_model,
)
from purescope.studies.settings import Options
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.studies.synthetic import World, plant

NEURONS, DRAWS, SEED, KEEP = 24, 6, 9, [4, 9, 16]
MADE = plant(1.0, neurons=NEURONS, images=90, classes=5, signal=0.4, world=World(norms=0.4), seed=2)


def measure(**changes: Any) -> Measured:
    options = {"keep": KEEP, "draws": 11, "resamples": 20, "seed": SEED, **changes}
    return measure_strategies(MADE.features, MADE.projections, Options(**options))


def area(order: Tensor, image: Tensor, text: Tensor) -> float:
    """Mean accuracy over the ks, by numpy."""
    curve = accuracy_by_k(image, text, MADE.features.labels, order, KEEP).top1[0]
    return float(np.trapezoid(curve, KEEP) / (KEEP[-1] - KEEP[0]))


def random_orders(count: int) -> list[Tensor]:
    given = StrategyInput(Projections(torch.eye(NEURONS), torch.eye(NEURONS)))
    return [STRATEGIES["random"].order(given, SEED + draw) for draw in range(count)]


def differences(table: pd.DataFrame, null: str) -> list[float]:
    rows = table[table.null == null]
    assert rows.draw.tolist() == list(range(len(rows)))
    return rows.difference.tolist()


def by_plain_steps(high: Any) -> dict[str, list[float]]:
    """Of an order of high purity: ``high(projections, features)`` gives it."""
    features, projections = MADE.features, MADE.projections
    mine = high(projections, features)
    base = np.mean([area(order, features.image, features.text) for order in random_orders(11)])
    found: dict[str, list[float]] = {"none": [area(mine, features.image, features.text) - base]}
    there = []
    for basis, drawn in zip(
        random_rotations(NEURONS, DRAWS, SEED).double(), random_orders(DRAWS), strict=True
    ):
        image, text = (rotate(rows, basis) for rows in (features.image, features.text))
        turned = Features(image, text, features.labels, features.classes, model="m", dataset="d")
        order = high(rotate(projections, basis), turned)
        there.append((area(order, image, text), area(drawn, image, text)))
    found["rotation"] = [
        of_high - np.mean([of_random for _, of_random in there]) for of_high, _ in there
    ]
    return found


def test_the_difference_and_its_rotations_are_what_they_are_by_plain_steps() -> None:
    expected = by_plain_steps(lambda projections, _: order_neurons(projections, "high_purity"))
    table = attribution_table(measure(), draws=DRAWS)
    for null, values in expected.items():
        assert differences(table, null) == pytest.approx(values, abs=1e-6)
    assert set(table.model) == {"planted"} and set(table.dataset) == {"effect 1"}
    at_hand = attribution_table(measure(), rotate_model(MADE.projections, draws=DRAWS, seed=SEED))
    pd.testing.assert_frame_equal(
        at_hand[at_hand.null == "rotation"], table[table.null == "rotation"]
    )


@pytest.mark.parametrize(
    "options",
    [{"measure": "l2"}, {"towers": "image"}, {"space": "activations"}, {"space": "centred"}],
    ids=str,
)
def test_purity_is_that_of_the_sweep(options: dict[str, str]) -> None:
    measured = measure(**options)

    def high(projections: Projections, features: Features) -> Tensor:
        turned = measure_strategies(
            features,
            projections,
            Options(keep=KEEP, draws=0, strategies=["high_purity"], resamples=2, **options),
        )
        given = turned.options
        space = (
            projections
            if given.space == "weights"
            else Projections(features.image.T, features.text.T)
        )
        if given.space == "centred":
            space = Projections(
                *(rows - rows.mean(1, keepdim=True) for rows in (space.image, space.text))
            )
        seen = StrategyInput(
            space, features.image, features.text, measure=given.measure, towers=given.towers
        )
        return STRATEGIES["high_purity"].order(seen, 0)

    found = attribution_table(measured, draws=DRAWS)
    for null, values in by_plain_steps(high).items():
        assert differences(found, null) == pytest.approx(values, abs=1e-6)


def test_orders_of_the_same_norms_are_measured_beside_the_random_ones() -> None:
    """Where all neurons have one norm they are random orders; where each has its own group they
    would be the order.
    """
    measured = measure()
    table = attribution_table(measured, draws=DRAWS)
    norms = torch.stack([MADE.projections.image.norm(dim=1), MADE.projections.text.norm(dim=1)])
    orders = matched_orders(
        order_neurons(MADE.projections, "high_purity"), norms, draws=DRAWS, seed=SEED
    )
    image, text = MADE.features.image, MADE.features.text
    base = np.mean([area(order, image, text) for order in random_orders(11)])
    expected = [area(order, image, text) - base for order in orders]
    assert differences(table, "norms") == pytest.approx(expected, abs=1e-6)


def test_a_matched_order_has_a_neuron_of_about_the_same_norms_at_each_place() -> None:
    """Of 130 living neurons: four strata by the image tower's norm, each of four groups by the text
    tower's.
    """
    generator = torch.Generator().manual_seed(0)
    norms = torch.rand(2, 133, generator=generator)
    norms[0, [3, 30]], norms[1, 77] = 0, 0  # dead
    live = (norms > 0).all(0)
    order = torch.randperm(133, generator=generator)
    orders = matched_orders(order, norms, draws=300, seed=1)
    groups = norm_groups(norms)
    assert torch.cat(groups).sort().values.equal(live.nonzero()[:, 0]) and {
        len(group) for group in groups
    } == {8, 9}
    image, text = norms
    strata = [torch.cat(groups[first : first + 4]) for first in range(0, 16, 4)]
    assert all(image[low].max() <= image[high].min() for low, high in itertools.pairwise(strata))
    for first in range(0, 16, 4):
        assert all(
            text[a].max() <= text[b].min() for a, b in itertools.pairwise(groups[first : first + 4])
        )
    group_of = torch.full((133,), -1)
    for number, group in enumerate(groups):
        group_of[group] = number
    for drawn in orders:
        assert drawn.sort().values.tolist() == list(range(133))
        assert drawn[~live[order]].equal(order[~live[order]]) and group_of[drawn].equal(
            group_of[order]
        )
    first = Counter(orders[:, int(live[order].nonzero()[0])].tolist())
    assert len(first) in (8, 9) and max(first.values()) < 2 * 300 / 8
    assert matched_orders(order, norms, draws=2, seed=1).equal(orders[:2])
    assert not matched_orders(order, norms, draws=2, seed=2).equal(orders[:2])


@pytest.mark.parametrize("few", [0, 1, 5, 8])
def test_few_live_neurons_are_one_group(few: int) -> None:
    norms = torch.cat([torch.ones(few), torch.zeros(3)]).expand(2, -1)
    drawn = matched_orders(torch.arange(few + 3), norms, draws=5, seed=0)
    assert drawn.sort(dim=1).values.equal(torch.arange(few + 3).expand(5, -1))
    assert drawn[:, few:].equal(torch.arange(few, few + 3).expand(5, -1))


@pytest.mark.parametrize("changes", [{"draws": 0}, {"strategies": ["low_purity"]}])
def test_without_random_orders_or_high_purity_nothing_is_asked(changes: dict[str, Any]) -> None:
    assert len(attribution_table(measure(**changes), draws=DRAWS)) == 0


def test_what_is_cheap_grows_with_images_classes_and_neurons() -> None:
    assert is_cheap(images=1_000, classes=100, neurons=512) and is_cheap(
        images=100_000, classes=10, neurons=64
    )
    assert not is_cheap(
        images=1_000, classes=1_000, neurons=512
    )  # 2 x 10^11 to rotate, 3 x 10^11 to evaluate
    # To rotate takes (images + classes) d^2 + 4 d^3: 9 x 10^11 for 1,000 classes of 2,048 neurons.
    assert not is_cheap(images=1_000, classes=1_000, neurons=1_024, draws=60)
    assert not is_cheap(images=50_000, classes=10, neurons=512) and is_cheap(
        50_000, 10, 512, draws=20
    )


def test_norms_are_told_apart_in_double_precision() -> None:
    measured = measure()
    norms = norms_of(measured.bench)
    assert norms.dtype == torch.float64
    torch.testing.assert_close(norms[1], MADE.projections.text.double().norm(dim=1), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("images", "classes", "neurons"),
    [(1000, 900, 256), (100, 5000, 64), (5000, 2, 512), (2, 2, 900)],
)
def test_what_is_cheap_takes_at_most_4e11_multiplications(
    images: int, classes: int, neurons: int
) -> None:
    rotation = images * neurons**2 + classes * neurons**2 + 4 * neurons**3
    draws = int(4e11 // (rotation + 3 * images * classes * neurons))
    assert is_cheap(images, classes, neurons, draws=draws)
    assert not is_cheap(images, classes, neurons, draws=draws + 1)
