"""Planted models are what they say they are, and the verdict finds in them what was planted."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k
from purescope.maths.overlaps import overlap
from purescope.studies.comparisons import adjust, compare_strategies
from purescope.studies.judging import judge
from purescope.studies.nulls import attribution_table
from purescope.studies.settings import Options
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.studies.synthetic import Planted, World, plant
from purescope.tables.schema import plain_texts
from purescope.tables.verdicts import Verdict


def data_sets(made: Planted, count: int, *, model: str = "planted") -> list[Features]:
    """The images of a planted model in as many data sets of equal size: other images, the same
    neurons.
    """
    image, labels = made.features.image.chunk(count), made.features.labels.chunk(count)
    return [
        replace(made.features, image=image[i], labels=labels[i], model=model, dataset=f"set {i}")
        for i in range(count)
    ]


def accuracies(measured: Measured) -> pd.DataFrame:
    """What verdict and leaderboard read of `measured.table`, which takes longer to make than all
    the rest.
    """
    curves = [("random", draw, values) for draw, values in enumerate(measured.draws)]
    curves += [
        (name, 0, values) for name, values in zip(measured.strategies, measured.values, strict=True)
    ]
    rows = [
        (strategy, draw, k, value)
        for strategy, draw, values in curves
        for k, value in zip(measured.ks, values[:, 0].tolist(), strict=True)
    ]
    table = pd.DataFrame(rows, columns=["strategy", "draw", "k", "value"])
    return table.assign(
        model=measured.features.model, dataset=measured.features.dataset, metric="accuracy"
    )


# --- the generator


def test_overlap_rises_with_the_share_planted() -> None:
    made = plant(0.0, neurons=64, seed=3)
    for tower in (made.projections.image, made.projections.text):
        found = overlap(tower)
        assert scipy.stats.spearmanr(found, made.pure.double()).statistic < -0.8
        assert found[made.pure].mean() < found[~made.pure].mean()
    assert made.pure.sum() == 32


@pytest.mark.parametrize("effect", [-1.0, 0.0, 0.5, 1.0])
def test_amplitude_follows_purity_as_strongly_as_asked(effect: float) -> None:
    """By least squares over many neurons: from the most mixed to the purest it rises by 2 x effect
    x signal.
    """
    made = plant(effect, neurons=2000, images=2, classes=2, signal=0.25, seed=1)
    order = overlap(made.projections.image).argsort().argsort().double() / 1999
    fit = scipy.stats.linregress(order, made.amplitude)
    assert fit.slope == pytest.approx(-2 * effect * 0.25, abs=0.03)
    assert made.amplitude.mean().item() == pytest.approx(0.25, rel=0.05)
    # Neurons differ in worth whatever the effect: luck of up to half the mean amplitude, either
    # way.
    residual = made.amplitude.numpy() - fit.intercept - fit.slope * order.numpy()
    assert residual.std() == pytest.approx(0.25 * 0.5 / np.sqrt(3), rel=0.1)


def test_features_carry_the_amplitude_planted() -> None:
    """Class features regressed on: what a neuron's activation has of its class feature is its
    amplitude, up to scale.

    Rows of features are scaled to norm 1, each by nearly the same number in many dimensions.
    """
    made = plant(1.0, neurons=200, images=4000, classes=20, signal=0.5, seed=5)
    image, text = made.features.image.double(), made.features.text.double()[made.features.labels]
    slope = (image * text).sum(0) / text.square().sum(0)
    assert np.corrcoef(slope, made.amplitude)[0, 1] > 0.95


def test_the_better_half_keeps_more_accuracy_and_none_does_without_an_effect() -> None:
    gaps = {}
    for effect in (-1.0, 0.0, 1.0):
        found = []
        for seed in range(20):
            made = plant(effect, neurons=64, images=300, seed=seed)
            pure_first = made.pure.double().argsort(descending=True, stable=True)
            orders = torch.stack([pure_first, pure_first.flip(0)])
            features = made.features
            high, low = accuracy_by_k(
                features.image, features.text, features.labels, orders, [32]
            ).top1.flatten()
            found.append(float(high - low))
        gaps[effect] = np.mean(found), scipy.stats.sem(found)
    assert gaps[1.0][0] > 5 * gaps[1.0][1]
    assert gaps[-1.0][0] < -5 * gaps[-1.0][1]
    assert abs(gaps[0.0][0]) < 3 * gaps[0.0][1]


def test_a_seed_gives_one_model_and_another_seed_another() -> None:
    first, again, other = plant(1.0, seed=4), plant(1.0, seed=4), plant(1.0, seed=5)
    assert first.features.image.equal(again.features.image)
    assert first.projections.text.equal(again.projections.text)
    assert not first.amplitude.equal(other.amplitude)
    assert not first.projections.image.equal(first.projections.text)


@pytest.mark.parametrize("sizes", [{"neurons": 1}, {"images": 1}, {"classes": 1}])
def test_less_than_two_of_anything_is_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least two of each"):
        plant(1.0, **sizes)  # type: ignore[arg-type]


# --- the verdict, over many planted models

# The stated power: 64 neurons, 120 images of 6 classes in each data set, amplitudes from 0.5 x luck
# to twice the mean.
NEURONS, CLASSES, IMAGES, KEEP, RESAMPLES = 64, 6, 120, (16, 32), 200

# Where purity has nothing to do with what a neuron is worth, whatever else neurons are like.
NULLS = {
    "nothing else": World(),
    "unequal norms": World(norms=0.3),
    "the purest are short": World(norms=0.3, tied=-0.7),
    "twins": World(group=2, alike=0.9),
    "groups of eight": World(group=8, alike=0.7),
    "a common mean": World(mean=2.0),
    "common noise": World(noise=0.5),
}


@plain_texts()  # as in a run
def verdict_on(
    effect: float,
    seed: int,
    *,
    sets: int = 1,
    draws: int = 59,
    world: World | None = None,
    rotations: int = 0,
) -> Verdict:
    """The verdict on a planted model; where it decides, with its attribution by so many
    rotations.
    """
    made = plant(
        effect, neurons=NEURONS, images=IMAGES * sets, classes=CLASSES, seed=seed, world=world
    )
    options = Options(keep=KEEP, draws=draws, resamples=RESAMPLES, seed=100_000 + 1000 * seed)
    measured = [
        measure_strategies(features, made.projections, options)
        for features in data_sets(made, sets)
    ]
    comparisons = [compare_strategies(of_set) for of_set in measured]
    table = pd.concat([accuracies(of_set) for of_set in measured])
    compared = adjust(pd.concat(comparisons)) if sets > 1 else comparisons[0]
    verdict = judge(table, compared, model="planted")
    if not rotations or verdict.overall.outcome == "not decided":
        return verdict
    nulls = pd.concat([attribution_table(of_set, draws=rotations) for of_set in measured])
    return judge(table, compared, nulls, model="planted")


@pytest.fixture
def unseparated(monkeypatch: pytest.MonkeyPatch) -> None:
    """No silhouettes of random orders: no verdict is of them."""
    monkeypatch.setattr("purescope.studies.bench.SILHOUETTE_DRAWS", 0)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked", "unseparated")
@pytest.mark.parametrize(("effect", "right"), [(1.0, "supported"), (-1.0, "contradicted")])
def test_planted_effects_are_found(effect: float, right: str) -> None:
    outcomes = Counter(verdict_on(effect, seed).overall.outcome for seed in range(40))
    assert outcomes[right] >= 0.95 * 40, outcomes


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked", "unseparated")
@pytest.mark.parametrize("name", NULLS)
def test_where_purity_means_nothing_the_claim_is_neither_supported_nor_contradicted(
    name: str,
) -> None:
    """Of 59 random orders none may be as extreme at 5 %, which happens to 2 in 60 of nulls: 3.3 %,
    at most.
    """
    findings = [
        verdict_on(0.0, seed, world=NULLS[name], rotations=59).overall for seed in range(25)
    ]
    found = Counter((finding.outcome, finding.attribution) for finding in findings)
    supported = sum(count for (outcome, _), count in found.items() if outcome == "supported")
    assert supported <= 0.05 * 25, found
    assert found["contradicted", "beyond both"] <= 0.05 * 25, found


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked", "unseparated")
@pytest.mark.parametrize(
    ("effect", "models", "right"),
    [(1.0, 8, "supported"), (-1.0, 8, "contradicted"), (0.0, 12, "not decided")],
)
def test_the_verdict_on_three_data_sets_of_a_model_is_right_on_95_percent(
    effect: float, models: int, right: str
) -> None:
    """The neurons' luck is the same in all three, and is mistaken for an effect no more often for
    that.

    A few, for time: docs/evidence.md has more.
    """
    verdicts = [verdict_on(effect, seed, sets=3) for seed in range(models)]
    assert all(len(verdict.by_dataset) == 3 for verdict in verdicts)
    outcomes = Counter(verdict.overall.outcome for verdict in verdicts)
    assert outcomes[right] >= 0.95 * models, outcomes
