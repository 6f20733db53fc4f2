"""What evaluations share: the ks, checked arguments, and ablations by the definition."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells
from purescope.maths.accuracy import accuracy_by_k, ranks_by_k
from purescope.maths.cells import ABLATIONS, ablation_values, check_keep, default_keep
from purescope.maths.silhouette import silhouette_by_k
from tests import oracles
from tests.maths.test_accuracy import (
    BASE,
    random_case,
    whole_case,
)

FEW, MANY = [5], [1, 3, 8, 14, 20]  # as one large product, and as running sums over the neurons


def order(neurons: int, seed: int = 0) -> Tensor:
    return torch.randperm(neurons, generator=torch.Generator().manual_seed(seed))


def defined(image: Tensor, ablation: str, other: list[int]) -> list[list[float]]:
    """Return the values of dropped neurons by the definition."""
    rows = image.tolist()
    by_name = {
        "zero": [[0.0] * len(rows[0]) for _ in rows],
        "mean": [[sum(column) / len(rows) for column in zip(*rows, strict=True)] for _ in rows],
        "resample": [rows[i] for i in other],
    }
    return by_name[ablation]


def drawn(image: Tensor, seed: int) -> list[int]:
    """Return the image that each image takes its values from."""
    values = ablation_values(image, "resample", seed=seed)
    assert values is not None and len(values) == len(image)
    return [int((image == row).all(1).nonzero().item()) for row in values]


@pytest.mark.parametrize("ks", [FEW, MANY])
@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("block", [2048, 7])
def test_ranks_are_those_of_masked_embeddings(
    ablation: str, ks: list[int], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "BLOCK_SAMPLES", block)
    image, text, labels = random_case(40, 4, 20)
    orders = torch.stack([order(20), order(20, 1)])
    measured = ranks_by_k(
        image, text, labels, orders, ks, dropped=ablation_values(image, ablation, seed=3)
    )
    values = defined(image, ablation, drawn(image, 3))
    for row, kept_first in enumerate(orders.tolist()):
        for place, k in enumerate(ks):
            kept = set(kept_first[:k])
            for i, (own, other) in enumerate(zip(image.tolist(), values, strict=True)):
                masked = [x if j in kept else other[j] for j, x in enumerate(own)]
                ranking = oracles.ranking(masked, text.tolist(), range(20))
                assert measured[row, place, i] == ranking.index(int(labels[i]))


def test_ablations_differ_where_neurons_are_dropped_and_nowhere_else() -> None:
    image, text, labels = random_case(60, 5, 20)
    ranks = {
        name: ranks_by_k(
            image, text, labels, order(20), [6, 20], dropped=ablation_values(image, name, seed=1)
        )[0]
        for name in ABLATIONS
    }
    for first, second in (("zero", "mean"), ("zero", "resample"), ("mean", "resample")):
        assert not ranks[first][0].equal(ranks[second][0])
        assert ranks[first][1].equal(ranks[second][1])


@pytest.mark.parametrize("images", [2, 3, 10, 101])
def test_every_image_is_drawn_once_and_never_for_itself(images: int) -> None:
    image = torch.arange(images, dtype=torch.float64)[:, None].expand(-1, 2).contiguous()
    drawings = set()
    for seed in range(20):
        other = drawn(image, seed)
        assert sorted(other) == list(range(images))
        assert all(i != j for i, j in enumerate(other))
        drawings.add(tuple(other))
    assert len(drawings) == (1 if images == 2 else 2 if images == 3 else 20)
    assert drawn(image, 7) == drawn(image, 7)


def test_a_mean_is_the_neurons_own_and_tells_no_images_apart() -> None:
    image, text, labels = random_case(130, 4, 70)
    values = ablation_values(image, "mean")
    assert values is not None and values.shape == (1, 70) and values.dtype == image.dtype
    assert values[0].tolist() == pytest.approx([sum(column) / 130 for column in image.T.tolist()])
    # Images that agree in the kept neuron are equal: dropped neurons add the same to all of them.
    image = image.clone()
    image[:, 0] = image[0, 0]
    means = ablation_values(image, "mean")
    ranks = ranks_by_k(image, text, torch.zeros_like(labels), torch.arange(70), [1], dropped=means)
    assert len(ranks.unique()) == 1


def test_no_dropped_values_are_zeros() -> None:
    image, text, labels = whole_case(40, 7, 6)
    assert ablation_values(image, "zero") is None
    plain = accuracy_by_k(image, text, labels, order(6), [1, 3, 6])
    zeros = accuracy_by_k(
        image, text, labels, order(6), [1, 3, 6], dropped=torch.zeros(1, 6, dtype=torch.float64)
    )
    assert (
        plain.top1.equal(zeros.top1)
        and plain.recall.equal(zeros.recall)
        and plain.top5.equal(zeros.top5)
    )


def test_bad_ablations_are_refused() -> None:
    image, text, labels = random_case(5, 3, 4)
    with pytest.raises(InputError, match="did you mean 'resample'"):
        ablation_values(image, "resampled")
    with pytest.raises(InputError, match=r"only one image(?s:.*)'mean'"):
        ablation_values(image[:1], "resample")
    dropped = ablation_values(image, "mean")
    with pytest.raises(
        InputError, match="renormalised class features together with values for dropped neurons"
    ):
        ranks_by_k(image, text, labels, order(4), [2], renormalise=True, dropped=dropped)


# --- arguments


def refused(**changes: Any) -> dict[str, Any]:
    good = {
        "image": BASE.image,
        "text": BASE.text,
        "labels": BASE.labels,
        "orders": torch.arange(11),
        "ks": [3],
    }
    return {**good, **changes}


def broken(array: Tensor, row: int, value: float) -> Tensor:
    copy = array.clone()
    copy[row, 2] = value
    return copy


# name: (the arguments, the message, whether the silhouette refuses them too)
REFUSED: dict[str, tuple[dict[str, Any], str, bool]] = {
    "k of 0": (refused(ks=[0]), "k = 0 neurons to keep\n.*from 1 to 11", True),
    "k above d": (refused(ks=[3, 12]), "k = 12 neurons to keep\n.*from 1 to 11", True),
    "a fraction of k": (refused(ks=[2.5]), r"k = 2\.5 neurons", True),
    "a truth for k": (refused(ks=[True]), "k = True neurons", True),
    "a text for k": (refused(ks=["3"]), "k = '3' neurons", True),
    "no k": (refused(ks=[]), "no k to evaluate", True),
    "NaN in images": (
        refused(image=broken(BASE.image, 8, math.nan)),
        "image features have a NaN.*row 8",
        True,
    ),
    "infinity in images": (
        refused(image=broken(BASE.image, 9, -math.inf)),
        "image features.*row 9",
        True,
    ),
    "NaN in classes": (
        refused(text=broken(BASE.text, 4, math.nan)),
        "text features have a NaN.*row 4",
        False,
    ),
    "no images": (
        refused(image=BASE.image[:0], labels=BASE.labels[:0]),
        r"image features are.*\[0, 11\]",
        True,
    ),
    "no neurons": (refused(image=BASE.image[:, :0]), r"image features are.*\[37, 0\]", True),
    "no classes": (refused(text=BASE.text[:0]), r"text features are.*\[0, 11\]", False),
    "images in a row": (refused(image=BASE.image[0]), r"image features are.*\[11\]", True),
    "half precision": (
        refused(image=BASE.image.half(), text=BASE.text.half()),
        r"image features.*float16",
        True,
    ),
    "whole numbers": (refused(image=BASE.image.long()), "image features.*int64", True),
    "another width": (refused(text=BASE.text[:, :9]), r"image.*\[37, 11\], text.*\[7, 9\]", False),
    "another precision": (
        refused(text=BASE.text.float()),
        "image torch.float64.*text torch.float32",
        False,
    ),
    "a label too large": (
        refused(labels=torch.where(torch.arange(37) < 35, 0, 7)),
        r"label 7 of sample 35\n.*0 to 6; 2 labels are outside",
        False,
    ),
    "a negative label": (
        refused(labels=torch.arange(37) % 3 - 1),
        r"label -1 of sample 0\n.*0 to .*; 13 labels are outside",
        True,
    ),
    "labels too few": (refused(labels=BASE.labels[:-1]), "36 labels for 37 samples", True),
    "labels in a table": (refused(labels=BASE.labels[:, None]), "37 labels for 37 samples", True),
    "fractions of labels": (refused(labels=BASE.labels + 0.5), "labels are torch.float", True),
    "truths for labels": (refused(labels=BASE.labels > 2), "labels are torch.bool", True),
    "a neuron twice": (
        refused(orders=torch.tensor([0, *range(10)])),
        "not a permutation of the 11",
        True,
    ),
    "a neuron too many": (refused(orders=torch.arange(1, 12)), "not a permutation of the 11", True),
    "one bad order of two": (
        refused(orders=torch.stack([torch.arange(11), torch.zeros(11).long()])),
        "not a permutation of the 11",
        True,
    ),
    "a short order": (
        refused(orders=torch.arange(5)),
        r"orders are torch.int64 of shape \[5\]",
        True,
    ),
    "an order of one": (refused(orders=torch.zeros(1).long()), r"orders are.*\[1\]", True),
    "orders in a cube": (
        refused(orders=torch.arange(11)[None, None]),
        r"orders are.*\[1, 1, 11\]",
        True,
    ),
    "a number for an order": (refused(orders=torch.tensor(3)), r"orders are.*\[\]", True),
    "no order": (refused(orders=torch.empty(0, 11).long()), r"orders are.*\[0, 11\]", True),
    "an order of floats": (refused(orders=torch.arange(11.0)), "orders are torch.float32", True),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", REFUSED)
def test_bad_arguments_are_refused(name: str) -> None:
    arguments, message, both = REFUSED[name]
    with pytest.raises(InputError, match=message):
        accuracy_by_k(**arguments)
    if both:
        with pytest.raises(InputError, match=message):
            silhouette_by_k(**{key: value for key, value in arguments.items() if key != "text"})


@pytest.mark.usefixtures("unchecked")
def test_the_good_arguments_are_not_refused() -> None:
    accuracy_by_k(**refused())


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
    with pytest.raises(
        InputError, match=f"{message} to keep\n.*a whole number from 1 to 10(?s:.*)--keep"
    ):
        check_keep(keep, neurons=10)


def test_no_k_is_refused() -> None:
    with pytest.raises(InputError, match=r"no k to evaluate\n.*at least one from 1 to 10"):
        check_keep([], neurons=10)


def test_default_ks_are_the_experiments() -> None:
    assert default_keep(512) == list(range(200, 501, 50))


@pytest.mark.parametrize("neurons", [1, 2, 3, 16, 384, 768, 1024, 4096])
def test_default_ks_are_the_same_fractions_of_any_width(neurons: int) -> None:
    ks = default_keep(neurons)
    assert check_keep(ks, neurons) == ks
    for k in range(200, 501, 50):
        assert min(abs(other - k * neurons / 512) for other in ks) <= (0.5 if neurons > 2 else 1)
