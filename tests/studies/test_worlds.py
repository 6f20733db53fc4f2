"""A planted world has the norms, groups, mean and noise that it is asked for."""

import pytest
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.studies.synthetic import Planted, World, plant

NEURONS, IMAGES, CLASSES = 120, 3000, 150


def made(seed: int = 0, **world: float) -> Planted:
    return plant(
        0.0, neurons=NEURONS, images=IMAGES, classes=CLASSES, seed=seed,
        world=World(**world),  # type: ignore[arg-type]
    )  # fmt: skip


def logs(rows: Tensor) -> Tensor:
    """The logarithm of the length of each row, without the mean."""
    lengths = rows.double().norm(dim=1).log()
    return lengths - lengths.mean()


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])


def cosines(rows: Tensor) -> Tensor:
    rows = torch.nn.functional.normalize(rows.double(), dim=1)
    return (rows @ rows.T).fill_diagonal_(0)


def test_a_neuron_of_twice_the_norm_has_it_in_weights_and_activations() -> None:
    given = made(norms=0.7)
    weights = logs(given.projections.image)
    assert float(weights.std()) == pytest.approx(0.7, rel=0.2)
    for rows in (given.projections.text, given.features.image.T, given.features.text.T):
        assert correlation(weights, logs(rows)) > 0.97
        slope = float((logs(rows) * weights).sum() / weights.square().sum())
        assert slope == pytest.approx(1, abs=0.1)


def test_without_a_spread_all_norms_are_about_one() -> None:
    given = made(group=2)
    for rows in (given.projections.image, given.features.image.T, given.features.text.T):
        assert float(logs(rows).std()) < 0.2
    assert float(given.projections.image.norm(dim=1).mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("tied", [-1.0, -0.6, 0.0, 0.6, 1.0])
def test_norms_go_with_purity_as_far_as_they_are_tied(tied: float) -> None:
    given = made(norms=0.5, tied=tied)
    weights = logs(given.projections.image)
    # Half of the neurons are the purest: with the whole order the correlation is a bit higher.
    assert correlation(weights, given.pure.double()) == pytest.approx(0.87 * tied, abs=0.2)
    assert float(weights.std()) == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("alike", [0.5, 0.9])
def test_neurons_of_a_group_are_alike_in_weights_and_activations(alike: float) -> None:
    given = made(group=4, alike=alike)
    for tower in (given.projections.image, given.projections.text):
        near = cosines(tower)
        partners = near.topk(3, dim=1)
        # What is not shared is mixed with a direction of all neurons, 0.3 of it on average.
        expected = alike + 0.3 * (1 - alike)
        assert float(partners.values.mean()) == pytest.approx(expected, abs=0.06)
        # Each group is closed: its members are the nearest of one another.
        groups = {
            tuple(sorted([row, *map(int, others)])) for row, others in enumerate(partners.indices)
        }
        assert len(groups) == NEURONS // 4
        members = [list(group) for group in groups]
        assert all(bool((given.pure[group] == given.pure[group[0]]).all()) for group in members)
        for rows in (given.features.image.T, given.features.text.T):
            same = cosines(rows - rows.mean(dim=1, keepdim=True))
            inside = torch.stack([same[group][:, group].sum() / 12 for group in members])
            assert float(inside.mean()) == pytest.approx(alike, abs=0.1)


def test_a_group_of_one_is_no_group() -> None:
    given = made(group=1, norms=1e-9)
    rows = given.features.image.T
    assert float(cosines(rows - rows.mean(dim=1, keepdim=True)).abs().mean()) < 0.03


@pytest.mark.parametrize("mean", [0.0, 0.5, 2.0])
def test_the_mean_has_its_length_in_deviations_of_the_noise(mean: float) -> None:
    """All features are scaled to length 1, so the ratio is what stays."""
    rows = made(mean=mean, norms=1e-9).features.image
    centre = rows.mean(dim=0)
    spread = (rows - centre).square().sum(dim=1).mean().sqrt()
    assert float(centre.norm() / spread) == pytest.approx(mean, rel=0.35, abs=0.12)


def test_common_noise_is_in_few_directions() -> None:
    def shares(noise: float) -> Tensor:
        rows = made(noise=noise, norms=1e-9).features.image.double()
        values = torch.linalg.eigvalsh(torch.cov(rows.T)).flip(0)
        return values / values.sum()

    alone, common = shares(0.0), shares(0.9)
    assert float(common[:12].sum()) > 3 * float(alone[:12].sum())
    assert float(shares(0.5)[:12].sum()) < float(common[:12].sum())


@pytest.mark.parametrize(
    "world",
    [{"tied": -1.0}, {"tied": 1.0}, {"alike": 0.0}, {"alike": 1.0}, {"noise": 0.0}, {"noise": 1.0},
     {"group": 1}, {"norms": 0.0}, {"mean": 0.0}],
    ids=str,
)  # fmt: skip
def test_the_ends_of_each_range_are_in_it(world: dict[str, float]) -> None:
    World(**world)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("world", "message"),
    [
        ({"tied": -1.01}, "tied = -1.01(?s:.*)from -1 to 1"),
        ({"tied": 1.01}, "tied = 1.01"),
        ({"alike": -0.01}, "alike = -0.01(?s:.*)from 0 to 1"),
        ({"alike": 1.01}, "alike = 1.01"),
        ({"noise": -0.01}, "noise = -0.01(?s:.*)from 0 to 1"),
        ({"noise": 1.01}, "noise = 1.01"),
        ({"group": 0}, "a group of one or more neurons"),
        ({"norms": -0.01}, "norms and mean of 0 or more"),
        ({"mean": -0.01}, "norms and mean of 0 or more"),
    ],
    ids=str,
)
def test_beyond_them_is_refused(world: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        World(**world)  # type: ignore[arg-type]
