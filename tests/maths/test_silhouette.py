"""The silhouette equals scikit-learn's and the definition; intervals of its pseudo-values hold."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import sklearn.metrics
import torch
from sklearn.metrics import silhouette_samples, silhouette_score
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import silhouette
from purescope.maths.intervals import bootstrap_means, percentile_interval
from purescope.maths.silhouette import (
    silhouette_by_k,
    silhouette_pseudovalues_by_k,
    silhouette_samples_by_k,
    silhouette_strata,
)
from tests import oracles
from tests.maths.test_accuracy import BASE, Case, generator, random_case, some_orders, with_rows


def lonely() -> Case:
    """Make classes of one sample, and one label that no sample has."""
    case = random_case(31, 5, 8, seed=20)
    labels = torch.where(case.labels == 2, 0, case.labels)
    labels[4], labels[17] = 6, 2
    return Case(case.image, case.text, torch.where(labels == 3, 7, labels))


CLUSTERS = {
    "random": BASE,
    "not unit rows": random_case(40, 5, 9, seed=30, unit=False),
    "two classes": random_case(23, 2, 6, seed=33),
    "classes of one and empty ones": lonely(),
    "zero vectors": with_rows(BASE, image=([0, 5, 20], 0.0)),
    "a class of zero vectors": with_rows(BASE, image=(BASE.labels == 1, 0.0)),
    "first neurons zero": with_rows(BASE, image=((slice(0, 15), slice(0, 4)), 0.0)),
    "one large class": Case(
        BASE.image, BASE.text, (torch.arange(37) == 30).long() + (torch.arange(37) < 3) * 2
    ),
    "cone": Case(BASE.image + 2 * BASE.image[0], BASE.text, BASE.labels),
    "two samples of three in a class": Case(BASE.image[:3], BASE.text, torch.tensor([1, 0, 1])),
}


@functools.cache
def scikit_learns(name: str, dtype: torch.dtype) -> list[list[np.ndarray]]:
    """The silhouettes of a case's samples for every order and k, whatever blocks ours are in."""
    image, labels = CLUSTERS[name].image.to(dtype), CLUSTERS[name].labels
    return [
        [
            silhouette_samples(image[:, order[:k]].double(), labels, metric="cosine")
            for k in range(1, len(order) + 1)
        ]
        for order in some_orders(image.shape[1], 2)
    ]


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("name", CLUSTERS)
def test_silhouette_is_scikit_learns(name: str) -> None:
    case = CLUSTERS[name]
    orders, ks = some_orders(case.image.shape[1], 2), range(1, case.image.shape[1] + 1)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-6)):
        image = case.image.to(dtype)
        means = silhouette_by_k(image, case.labels, orders, ks)
        samples = silhouette_samples_by_k(image, case.labels, orders, ks)
        assert samples.dtype == dtype
        for i, of_order in enumerate(scikit_learns(name, dtype)):
            for j, expected in enumerate(of_order):
                assert means[i, j].item() == pytest.approx(expected.mean(), abs=tolerance)
                np.testing.assert_allclose(samples[i, j], expected, rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize("name", CLUSTERS)
def test_silhouette_is_the_definition(name: str) -> None:
    case = CLUSTERS[name]
    order = some_orders(case.image.shape[1])[1]
    ks = [1, case.image.shape[1] // 2, case.image.shape[1]]
    measured = silhouette_samples_by_k(case.image, case.labels, order, ks)
    for j, k in enumerate(ks):
        expected = oracles.silhouette(case.image[:, order[:k]].tolist(), case.labels.tolist())
        assert measured[0, j].tolist() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silhouette_of_samples_in_few_directions(dtype: torch.dtype) -> None:
    # Parallel vectors have distance 0. scikit-learn's rounding misses that, so only the definition
    # is compared.
    image = torch.tensor(
        [[3.0, 4.0], [6.0, 8.0], [0.3, 0.4], [9.0, 12.0], [1.0, 0.0], [7.0, 0.0]], dtype=dtype
    )
    for labels in ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 1, 1], [0, 1, 1, 2, 3, 3]):
        expected = oracles.silhouette(image.tolist(), labels)
        measured = silhouette_samples_by_k(image, torch.tensor(labels), torch.arange(2), [2])
        assert measured[0, 0].tolist() == pytest.approx(expected, abs=2e-6)


def test_silhouette_worked_by_hand() -> None:
    # Class 0: two vectors at right angles, (1, 0) and (0, 1); class 1: (-1, 0) alone; class 2: two
    # zero vectors. (1, 0): a = 1; to class 1 it is 2, to class 2 it is 1: b = 1, s = 0. (0, 1): a =
    # 1, b = 1, s = 0. (-1, 0): alone, s = 0. A zero vector: a = 1 to the other zero, b = 1, s = 0.
    # With k = 1, (0, 1) is a zero vector too: nothing changes for it; (1, 0): a = 1, b = min(2, 1),
    # s = 0.
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 2, 2])
    assert silhouette_samples_by_k(image, labels, torch.arange(2), [1, 2]).tolist() == [
        [[0.0] * 5, [0.0] * 5]
    ]
    # Two pairs, each at 60 degrees (a = 1/2), opposite to one another: (1, 0) is at 2 and 3/2 from
    # the other pair, b = 7/4, s = (7/4 - 1/2) / (7/4) = 5/7, and by symmetry for all four.
    pair = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]])
    measured = silhouette_samples_by_k(
        torch.cat([pair, -pair]), torch.tensor([4, 4, 0, 0]), torch.arange(2), [2]
    )
    assert measured[0, 0].tolist() == pytest.approx([5 / 7] * 4, abs=1e-6)


def test_silhouette_of_narrow_float32_features_keeps_six_places() -> None:
    # Like CLIP's features: all in a cone, with cosines of about 0.9.
    case = random_case(600, 10, 64, seed=40)
    image = (case.image + 3 * case.image[0]).float()
    image /= image.norm(dim=1, keepdim=True)
    measured = silhouette_by_k(image, case.labels, torch.arange(64), [32, 64])
    for j, k in enumerate([32, 64]):
        expected = silhouette_score(image[:, :k].double().numpy(), case.labels, metric="cosine")
        assert measured[0, j].item() == pytest.approx(expected, abs=1e-6)


def cone(width: float, *, samples: int = 60, classes: int = 5, neurons: int = 16) -> Case:
    """Make float32 unit rows at distance `width` from one direction, and slightly closer to each
    other.
    """
    around, mean = random_case(samples, classes, neurons, seed=50, unit=False), generator(53)
    direction = torch.randn(neurons, generator=mean, dtype=torch.float64)
    image, text = (direction + width * rows for rows in (around.image, around.text))
    return Case(
        *(torch.nn.functional.normalize(rows, dim=1).float() for rows in (image, text)),
        around.labels,
    )


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("width", [0.1, 0.03, 1e-3, 1e-4, 1e-5])
def test_silhouette_of_a_cone_is_that_of_its_float32_rows(width: float) -> None:
    """This holds down to distances that float32 rows cannot represent, for every k and order."""
    image, _, labels = cone(width)
    orders, ks = some_orders(image.shape[1], 2), [8, 16]
    measured = silhouette_samples_by_k(image, labels, orders, ks)
    assert measured.dtype == torch.float32
    for i, order in enumerate(orders):
        for j, k in enumerate(ks):
            expected = silhouette_samples(image[:, order[:k]].double(), labels, metric="cosine")
            np.testing.assert_allclose(measured[i, j], expected, rtol=0, atol=1e-4)
            assert measured[i, j].double().mean().item() == pytest.approx(expected.mean(), abs=1e-5)


def test_silhouette_of_two_classes_in_a_cone_among_others_far_away() -> None:
    """The distance to the nearest class is small, which the spread of all samples does not show."""
    far, near = random_case(200, 4, 16, seed=60).image.float(), cone(1e-3, classes=2, neurons=16)
    image, labels = (
        torch.cat([near.image, far]),
        torch.cat([near.labels, 2 + torch.arange(200) % 4]),
    )
    measured = silhouette_samples_by_k(image, labels, torch.arange(16), [16])
    expected = silhouette_samples(image.double(), labels, metric="cosine")
    np.testing.assert_allclose(measured[0, 0], expected, rtol=0, atol=1e-4)


def test_silhouette_of_wide_features_takes_no_second_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    measure = silhouette._measure
    monkeypatch.setattr(
        silhouette, "_measure", lambda *given: passes.append(given[0].dtype) or measure(*given)
    )
    for image in (BASE.image.float(), BASE.image, cone(1e-3).image.double(), cone(1e-3).image):
        silhouette_by_k(image, torch.arange(len(image)) % 3, torch.arange(image.shape[1]), [4, 8])
    assert passes == [torch.float32, torch.float64, torch.float64, torch.float32, torch.float64]


@pytest.mark.parametrize("labels", [[0] * 5, [2] * 5, [4, 1, 2, 0, 3]])
def test_silhouette_needs_classes_that_can_be_compared(labels: list[int]) -> None:
    classes = len(set(labels))
    with pytest.raises(
        InputError, match=rf"{classes} classes among 5 samples\n.*at least two classes"
    ):
        silhouette_by_k(BASE.image[:5], torch.tensor(labels), torch.arange(11), [2])


# --- pseudo-values: derivatives by the definition, and intervals that hold


def pseudovalues(image: Tensor, labels: Tensor) -> Tensor:
    """Compute pseudo-values with all neurons, in float64."""
    neurons = image.shape[1]
    return silhouette_pseudovalues_by_k(image.double(), labels, torch.arange(neurons), [neurons])[
        1
    ][0, 0]


def weighted(image: Tensor, labels: Sequence[int], weights: Sequence[float]) -> list[float]:
    """Compute silhouettes with weighted samples, by loops over all distances."""
    unit = [row / row.norm() if row.norm() > 0 else row for row in image.double()]
    measured = []
    for i, mine in enumerate(labels):
        means = {}
        for label in set(labels):
            others = [j for j in range(len(labels)) if labels[j] == label and j != i]
            distances = [weights[j] * (1 - float(unit[i] @ unit[j])) for j in others]
            total = sum(weights[j] for j in others)
            means[label] = sum(distances) / total if total else math.nan
        a, b = means.pop(mine), min(means.values())
        measured.append((b - a) / max(a, b) if not math.isnan(a) else 0.0)
    return measured


@pytest.mark.parametrize("zeros", [False, True])
def test_they_are_the_derivatives_of_the_mean_by_each_samples_weight(zeros: bool) -> None:
    """``s_i + sum_j ds_j / dw_i``, by finite differences of the definition."""
    generator = torch.Generator().manual_seed(3)
    labels = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    centres = torch.randn(3, 5, generator=generator)
    image = centres[labels] + 0.7 * torch.randn(10, 5, generator=generator)
    if zeros:
        image[4] = 0
    values = pseudovalues(image, torch.tensor(labels))
    plain = weighted(image, labels, [1.0] * 10)
    step = 1e-5
    for i in range(10):
        ends = []
        for sign in (1, -1):
            weights = [1.0 + sign * step * (j == i) for j in range(10)]
            ends.append(sum(weighted(image, labels, weights)))
        assert values[i].item() == pytest.approx(
            plain[i] + (ends[0] - ends[1]) / (2 * step), abs=1e-6
        )


@pytest.mark.parametrize("sizes", [(3, 3), (5, 1, 4), (2, 2, 2), (1, 1, 6, 2)])
def test_their_mean_is_the_silhouette(sizes: tuple[int, ...]) -> None:
    labels = torch.tensor([label for label, size in enumerate(sizes) for _ in range(size)])
    image = torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(sum(sizes)))
    expected = sklearn.metrics.silhouette_score(image.numpy(), labels.numpy(), metric="cosine")
    assert pseudovalues(image, labels).mean().item() == pytest.approx(expected, abs=1e-6)
    kept = torch.tensor([5, 2, 1])
    scores = silhouette_samples_by_k(
        image, labels, torch.cat([kept, torch.tensor([0, 3, 4, 6, 7])]), [3]
    )[0, 0]
    assert pseudovalues(image[:, kept], labels).mean().item() == pytest.approx(
        scores.mean().item(), abs=1e-5
    )


def test_vectors_that_point_the_same_way_have_no_derivative() -> None:
    image = torch.tensor([[1.0, 0.0]] * 6)
    assert pseudovalues(image, torch.tensor([0, 0, 0, 1, 1, 1])).tolist() == [0.0] * 6


def test_classes_of_one_or_two_are_resampled_together() -> None:
    labels = torch.tensor([7, 7, 7, 2, 5, 5, 9, 9, 9, 9])
    assert silhouette_strata(labels).tolist() == [0, 0, 0, 2, 2, 2, 1, 1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "each"), [(20, 2), (20, 3), (20, 10), (10, 50)])
@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_intervals_cover(classes: int, each: int, noise: float) -> None:
    """In 300 datasets of the same classes the coverage is 93 to 97 %, up to the error of 300 draws,
    and at least that with classes of two.
    """
    rng = np.random.default_rng([classes, each])
    centres = rng.normal(size=(classes, 16))
    labels = torch.arange(classes).repeat_interleave(each)
    values = torch.stack(
        [
            pseudovalues(
                torch.from_numpy(centres[labels] + noise * rng.normal(size=(len(labels), 16))),
                labels,
            )
            for _ in range(300)
        ]
    )
    # The same draws for all datasets, so that they are made once.
    resampled = bootstrap_means(values, silhouette_strata(labels), resamples=1000, seed=0)
    low, high = percentile_interval(resampled)
    truth = values.mean()
    covered = ((low <= truth) & (truth <= high)).double().mean().item()
    assert covered >= 0.90 and (each == 2 or covered <= 0.985), covered


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(20, 17, 13), (1, 2, 2, 1, 9), (2,) * 9])
def test_each_order_and_k_is_as_if_alone(
    dtype: torch.dtype, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([label for label, size in enumerate(sizes) for _ in range(size)])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    image = torch.randn(len(labels), 12, generator=generator, dtype=dtype)
    image[3] = 0
    orders, ks = (
        torch.stack([torch.randperm(12, generator=generator) for _ in range(3)]),
        [1, 5, 12],
    )
    scores, values = silhouette_pseudovalues_by_k(image, labels, orders, ks)
    assert (
        scores.equal(silhouette_samples_by_k(image, labels, orders, ks)) and values.dtype == dtype
    )
    close = {"rtol": 0, "atol": 3e-5 if dtype == torch.float32 else 1e-12}
    for place, order in enumerate(orders):
        for number, k in enumerate(ks):
            torch.testing.assert_close(
                values[place, number].double(), pseudovalues(image[:, order[:k]], labels), **close
            )
    monkeypatch.setattr("purescope.maths.cells.BLOCK_SAMPLES", 7)
    torch.testing.assert_close(
        silhouette_pseudovalues_by_k(image, labels, orders, ks)[1], values, **close
    )


def test_a_narrow_cone_is_measured_in_float64() -> None:
    """Its distances are about 1e-6, which float32 cannot represent."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 4
    image = 1 + 1e-3 * (
        torch.randn(4, 16, generator=generator)[labels] + torch.randn(60, 16, generator=generator)
    )
    values = silhouette_pseudovalues_by_k(image, labels, torch.arange(16), [16])[1][0, 0]
    torch.testing.assert_close(values.double(), pseudovalues(image, labels), rtol=0, atol=1e-6)
