"""Accuracy and silhouette at every k: the same as masking and measuring each k by itself."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_samples, silhouette_score
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from purescope.errors import InputError
from purescope.maths import accuracy as _logits
from purescope.maths import cells, silhouette
from purescope.maths.accuracy import accuracy_by_k, best_other_by_k, ranks_by_k
from purescope.maths.silhouette import silhouette_by_k, silhouette_samples_by_k
from tests import oracles


class Case(NamedTuple):
    image: Tensor
    text: Tensor
    labels: Tensor


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_case(
    samples: int, classes: int, neurons: int, *, seed: int = 0, unit: bool = True
) -> Case:
    """Signed features that lean on those of their class; labels in no order."""
    labels = torch.randint(classes, (samples,), generator=generator(seed))
    text = torch.randn(classes, neurons, generator=generator(seed + 1), dtype=torch.float64)
    image = (
        torch.randn(samples, neurons, generator=generator(seed + 2), dtype=torch.float64)
        + text[labels]
    )
    if unit:
        image, text = image / image.norm(dim=1, keepdim=True), text / text.norm(dim=1, keepdim=True)
    return Case(image, text, labels)


def whole_case(samples: int, classes: int, neurons: int, *, seed: int = 0) -> Case:
    """Whole numbers from -2 to 2: sums are exact in any order, and logits often tie."""
    image = torch.randint(-2, 3, (samples, neurons), generator=generator(seed)).double()
    text = torch.randint(-2, 3, (classes, neurons), generator=generator(seed + 1)).double()
    return Case(image, text, torch.randint(classes, (samples,), generator=generator(seed + 2)))


def with_rows(case: Case, **changes: tuple[Any, Any]) -> Case:
    """A copy with ``field=(index, value)`` written."""
    copy = Case(*(array.clone() for array in case))
    for name, (index, value) in changes.items():
        getattr(copy, name)[index] = value
    return copy


BASE, WHOLE = random_case(37, 7, 11), whole_case(40, 7, 6)
EXACT = {
    "whole numbers": WHOLE,
    "duplicate classes": with_rows(WHOLE, text=([6, 3, 5], WHOLE.text[[0, 0, 2]])),
    "all classes equal": with_rows(WHOLE, text=(slice(None), WHOLE.text[0])),
    "zero images": with_rows(WHOLE, image=([0, 5, 39], 0.0)),
    "a zero class": with_rows(WHOLE, text=(2, 0.0)),
    "first neurons zero": with_rows(WHOLE, image=((slice(None), [0, 1, 2]), 0.0)),
    "first neurons of classes zero": with_rows(WHOLE, text=((slice(None), [0, 1, 2]), 0.0)),
}
SPREAD = {
    "random": BASE,
    "not unit rows": random_case(30, 6, 9, seed=3, unit=False),
    "two classes": random_case(20, 2, 5, seed=6),
    "one neuron": random_case(25, 4, 1, seed=9, unit=False),
    "an empty class": with_rows(BASE, labels=(BASE.labels == 3, 5)),
    "one sample": Case(BASE.image[:1], BASE.text, BASE.labels[:1]),
    "more classes than samples": random_case(9, 30, 12, seed=12),
}

# Constants of the loops: as they are; blocks of 5 that end within classes, one order a turn; one
# sample a block.
LOOPS = {
    "one block": {},
    "blocks of 5, orders in turns": {"samples": 5, "sums": 1, "rows": 1},
    "blocks by bytes, orders in pairs": {
        "samples": 1024,
        "bytes": 1200,
        "sums": 2 * 8 * 7 * 11 * 11,
        "rows": 2 * 7 * 11,
    },
    "one sample a block": {"bytes": 1},
}
CONSTANTS: dict[str, tuple[Any, str]] = {
    "samples": (cells, "BLOCK_SAMPLES"),
    "bytes": (cells, "BLOCK_BYTES"),
    "sums": (silhouette, "_CLASS_SUM_BYTES"),
    "rows": (_logits, "_PRODUCT_ROWS"),
}


@pytest.fixture(params=LOOPS)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LOOPS[request.param].items():
        monkeypatch.setattr(*CONSTANTS[name], value)


def some_orders(neurons: int, count: int = 3) -> Tensor:
    """The natural one first."""
    drawn = [torch.randperm(neurons, generator=generator(seed)) for seed in range(count - 1)]
    return torch.stack([torch.arange(neurons), *drawn])


def check_accuracy(
    case: Case, *, renormalise: bool = False, dtype: torch.dtype = torch.float64
) -> None:
    neurons = case.image.shape[1]
    orders, ks = some_orders(neurons), range(1, neurons + 1)
    image, text = case.image.to(dtype), case.text.to(dtype)
    found = accuracy_by_k(image, text, case.labels, orders, ks, renormalise=renormalise)
    ranks = ranks_by_k(image, text, case.labels, orders, ks, renormalise=renormalise)
    rows, classes, labels = image.double().tolist(), text.double().tolist(), case.labels.tolist()
    for i, order in enumerate(orders.tolist()):
        for j, k in enumerate(ks):
            rankings = [
                oracles.ranking(row, classes, order[:k], renormalise=renormalise) for row in rows
            ]
            assert ranks[i, j].tolist() == [
                r.index(c) for r, c in zip(rankings, labels, strict=True)
            ]
            measured = (found.top1[i, j].item(), found.top5[i, j].item(), found.recall[i, j].item())
            assert measured == pytest.approx(oracles.accuracy(rankings, labels), abs=1e-15)


# --- accuracy


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["whole numbers", "duplicate classes", "first neurons zero"])
def test_accuracy_is_masking_in_blocks(name: str, dtype: torch.dtype) -> None:
    check_accuracy(EXACT[name], dtype=dtype)


@pytest.mark.parametrize("name", EXACT)
def test_ties_go_to_the_lower_class(name: str) -> None:
    check_accuracy(EXACT[name])


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SPREAD)
def test_accuracy_is_masking(name: str, dtype: torch.dtype, renormalise: bool) -> None:
    check_accuracy(SPREAD[name], renormalise=renormalise, dtype=dtype)


def test_renormalise_changes_a_winner_and_leaves_a_zero_prefix_at_zero() -> None:
    # With neuron 0 alone the classes have (3, 4, 0): logits of an image at -1 are -3, -4, 0; of
    # unit ones -1, -1, 0. At k = 2 the image (1, 1) has logits 3, 4 + 3, 5; with unit rows 1, 7/5,
    # 1.
    text = torch.tensor([[3.0, 0.0], [4.0, 3.0], [0.0, 5.0]])
    image, labels = torch.tensor([[-1.0, 0.0], [1.0, 1.0]]), torch.tensor([1, 0])
    ranks = ranks_by_k(image, text, labels, torch.arange(2), [1, 2])
    assert ranks.tolist() == [[[2, 1], [2, 2]]]
    ranks = ranks_by_k(image, text, labels, torch.arange(2), [1, 2], renormalise=True)
    assert ranks.tolist() == [[[2, 0], [1, 1]]]


def test_ks_come_back_ascending_and_once() -> None:
    orders = some_orders(11)
    mixed = accuracy_by_k(*BASE, orders, [9, 2, 9, 5])
    in_order = accuracy_by_k(*BASE, orders, [2, 5, 9])
    assert mixed.top1.shape == (3, 3)
    assert mixed.top1.equal(in_order.top1)
    assert silhouette_by_k(BASE.image, BASE.labels, orders, [9, 2]).equal(
        silhouette_by_k(BASE.image, BASE.labels, orders, [2, 9])
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_labels_may_be_any_whole_numbers(dtype: torch.dtype) -> None:
    orders = some_orders(11)
    expected = accuracy_by_k(*BASE, orders, [4]).recall
    assert accuracy_by_k(BASE.image, BASE.text, BASE.labels.to(dtype), orders, [4]).recall.equal(
        expected
    )
    assert silhouette_by_k(BASE.image, BASE.labels.to(dtype), orders, [4]).equal(
        silhouette_by_k(BASE.image, BASE.labels, orders, [4])
    )


def test_one_order_is_a_list_of_one() -> None:
    order = some_orders(11)[2]
    assert accuracy_by_k(*BASE, order, [4]).top1.equal(accuracy_by_k(*BASE, order[None], [4]).top1)


def test_features_may_be_views_of_any_layout() -> None:
    wide = torch.stack([BASE.image, -BASE.image], dim=2)[:, :, 0]
    assert not wide.is_contiguous()
    orders = some_orders(11)
    text = BASE.text.T.contiguous().T
    assert accuracy_by_k(wide, text, BASE.labels, orders, [4]).top1.equal(
        accuracy_by_k(*BASE, orders, [4]).top1
    )
    assert silhouette_by_k(wide, BASE.labels, orders, [4]).equal(
        silhouette_by_k(BASE.image, BASE.labels, orders, [4])
    )


# --- silhouette


def lonely() -> Case:
    """Classes of one, and one label that no sample has."""
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
        for i, order in enumerate(orders):
            for j, k in enumerate(ks):
                expected = silhouette_samples(
                    image[:, order[:k]].double(), case.labels, metric="cosine"
                )
                assert means[i, j].item() == pytest.approx(expected.mean(), abs=tolerance)
                np.testing.assert_allclose(samples[i, j], expected, rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize("name", CLUSTERS)
def test_silhouette_is_the_definition(name: str) -> None:
    case = CLUSTERS[name]
    order = some_orders(case.image.shape[1])[1]
    ks = [1, case.image.shape[1] // 2, case.image.shape[1]]
    found = silhouette_samples_by_k(case.image, case.labels, order, ks)
    for j, k in enumerate(ks):
        expected = oracles.silhouette(case.image[:, order[:k]].tolist(), case.labels.tolist())
        assert found[0, j].tolist() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silhouette_of_samples_in_few_directions(dtype: torch.dtype) -> None:
    # Parallel vectors are at distance 0, which scikit-learn misses by rounding: the definition
    # alone can tell here.
    image = torch.tensor(
        [[3.0, 4.0], [6.0, 8.0], [0.3, 0.4], [9.0, 12.0], [1.0, 0.0], [7.0, 0.0]], dtype=dtype
    )
    for labels in ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 1, 1], [0, 1, 1, 2, 3, 3]):
        expected = oracles.silhouette(image.tolist(), labels)
        found = silhouette_samples_by_k(image, torch.tensor(labels), torch.arange(2), [2])
        assert found[0, 0].tolist() == pytest.approx(expected, abs=2e-6)


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
    found = silhouette_samples_by_k(
        torch.cat([pair, -pair]), torch.tensor([4, 4, 0, 0]), torch.arange(2), [2]
    )
    assert found[0, 0].tolist() == pytest.approx([5 / 7] * 4, abs=1e-6)


def test_silhouette_of_narrow_float32_features_keeps_six_places() -> None:
    # As CLIP's are: all features in a cone, cosines about 0.9.
    case = random_case(600, 10, 64, seed=40)
    image = (case.image + 3 * case.image[0]).float()
    image /= image.norm(dim=1, keepdim=True)
    found = silhouette_by_k(image, case.labels, torch.arange(64), [32, 64])
    for j, k in enumerate([32, 64]):
        expected = silhouette_score(image[:, :k].double().numpy(), case.labels, metric="cosine")
        assert found[0, j].item() == pytest.approx(expected, abs=1e-6)


def cone(width: float, *, samples: int = 60, classes: int = 5, neurons: int = 16) -> Case:
    """Float32 unit rows that are `width` from one direction, and not quite as far from one
    another.
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
    """Down to distances that the rows themselves no longer carry; every k and order is as right as
    the others.
    """
    image, _, labels = cone(width)
    orders, ks = some_orders(image.shape[1], 2), [8, 16]
    found = silhouette_samples_by_k(image, labels, orders, ks)
    assert found.dtype == torch.float32
    for i, order in enumerate(orders):
        for j, k in enumerate(ks):
            expected = silhouette_samples(image[:, order[:k]].double(), labels, metric="cosine")
            np.testing.assert_allclose(found[i, j], expected, rtol=0, atol=1e-4)
            assert found[i, j].double().mean().item() == pytest.approx(expected.mean(), abs=1e-5)


def test_silhouette_of_two_classes_in_a_cone_among_others_far_away() -> None:
    """What is small is the distance to the nearest class: the spread of all samples does not show
    it.
    """
    far, near = random_case(200, 4, 16, seed=60).image.float(), cone(1e-3, classes=2, neurons=16)
    image, labels = (
        torch.cat([near.image, far]),
        torch.cat([near.labels, 2 + torch.arange(200) % 4]),
    )
    found = silhouette_samples_by_k(image, labels, torch.arange(16), [16])
    expected = silhouette_samples(image.double(), labels, metric="cosine")
    np.testing.assert_allclose(found[0, 0], expected, rtol=0, atol=1e-4)


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


# --- invariances


@st.composite
def whole_cases(draw: st.DrawFn) -> Case:
    classes, neurons, samples = (
        draw(st.integers(2, 4)),
        draw(st.integers(1, 5)),
        draw(st.integers(5, 12)),
    )
    return whole_case(samples, classes, neurons, seed=draw(st.integers(0, 2**31)))


def everything(image: Tensor, text: Tensor, labels: Tensor, order: Tensor) -> dict[str, Tensor]:
    """All that is measured, at every k, one number a sample or a (k) cell."""
    ks = range(1, image.shape[1] + 1)
    accuracy = accuracy_by_k(image, text, labels, order, ks)
    found = {"top1": accuracy.top1, "top5": accuracy.top5, "recall": accuracy.recall}
    found["ranks"] = ranks_by_k(image, text, labels, order, ks)[0]
    if 2 <= len(labels.unique()) < len(labels):
        found["silhouette"] = silhouette_by_k(image, labels, order, ks)
        found["silhouettes"] = silhouette_samples_by_k(image, labels, order, ks)[0]
    return found


def permute_samples(case: Case, order: Tensor, shuffled: Tensor) -> tuple[Case, Tensor]:
    return Case(case.image[shuffled], case.text, case.labels[shuffled]), order


def scale_images(case: Case, order: Tensor, shuffled: Tensor) -> tuple[Case, Tensor]:
    return Case(case.image * 2.0 ** (shuffled[:, None] - 4), case.text, case.labels), order


def rename_neurons(case: Case, order: Tensor, shuffled: Tensor) -> tuple[Case, Tensor]:
    names = shuffled[shuffled < len(order)]  # a permutation of as many as there are neurons
    return Case(case.image[:, names], case.text[:, names], case.labels), names.argsort()[order]


def flip_neurons(case: Case, order: Tensor, shuffled: Tensor) -> tuple[Case, Tensor]:
    signs = 1.0 - 2.0 * (shuffled[: len(order)] % 2)
    return Case(case.image * signs, case.text * signs, case.labels), order


def scale_all_classes(case: Case, order: Tensor, shuffled: Tensor) -> tuple[Case, Tensor]:
    return Case(case.image, case.text * 4, case.labels), order


INVARIANCES: dict[str, Callable[[Case, Tensor, Tensor], tuple[Case, Tensor]]] = {
    "the order of the samples": permute_samples,
    "norms of images": scale_images,
    "names of neurons": rename_neurons,
    "signs of neurons": flip_neurons,
    "a common norm of classes": scale_all_classes,
}


@pytest.mark.parametrize("name", INVARIANCES)
@settings(max_examples=25)
@given(case=whole_cases(), seed=st.integers(0, 2**31))
def test_what_must_not_matter(name: str, case: Case, seed: int) -> None:
    order = torch.randperm(case.image.shape[1], generator=generator(seed))
    shuffled = torch.randperm(len(case.image), generator=generator(seed + 1))
    before = everything(*case, order)
    changed, changed_order = INVARIANCES[name](case, order, shuffled)
    after = everything(*changed, changed_order)
    for key, value in before.items():
        moved = name == "the order of the samples" and key in ("ranks", "silhouettes")
        expected = value[:, shuffled] if moved else value
        np.testing.assert_allclose(
            after[key], expected, rtol=0, atol=1e-12, err_msg=f"{key} after changing {name}"
        )


@settings(max_examples=25)
@given(case=whole_cases(), seed=st.integers(0, 2**31))
def test_only_the_set_of_kept_neurons_matters(case: Case, seed: int) -> None:
    neurons = case.image.shape[1]
    k = seed % neurons + 1
    order = torch.randperm(neurons, generator=generator(seed))
    other = torch.cat([order[:k].sort().values, order[k:].flip(0)])
    ranks = [ranks_by_k(*case, o, [k]) for o in (order, other)]
    assert ranks[0].equal(ranks[1])
    if 2 <= len(case.labels.unique()) < len(case.labels):
        scores = [silhouette_samples_by_k(case.image, case.labels, o, [k]) for o in (order, other)]
        np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-12)


def test_renaming_classes_renames_the_answers() -> None:
    names = torch.randperm(7, generator=generator(1))
    orders, ks = some_orders(11), [1, 4, 11]
    renamed = Case(BASE.image, BASE.text[names], names.argsort()[BASE.labels])
    assert ranks_by_k(*renamed, orders, ks).equal(ranks_by_k(*BASE, orders, ks))
    np.testing.assert_allclose(
        silhouette_samples_by_k(BASE.image, renamed.labels, orders, ks),
        silhouette_samples_by_k(BASE.image, BASE.labels, orders, ks),
        rtol=0,
        atol=1e-12,
    )


def test_no_argument_is_changed() -> None:
    copy = Case(*(array.clone() for array in BASE))
    orders = some_orders(11)
    accuracy_by_k(*BASE, orders, [3, 5], renormalise=True)
    silhouette_by_k(BASE.image, BASE.labels, orders, [3, 5])
    assert all(array.equal(before) for array, before in zip(BASE, copy, strict=True))
    assert orders.equal(some_orders(11))


# --- memory


class Largest(TorchDispatchMode):
    """The largest tensor that any operation returns, in numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


def test_no_tensor_grows_faster_than_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, neurons, ks = 1200, 48, [16, 48]
    case = random_case(samples, 4, neurons)
    monkeypatch.setattr(cells, "BLOCK_SAMPLES", 20)
    results = samples * len(ks)
    for measure in (
        lambda: accuracy_by_k(*case, torch.arange(neurons), ks),
        lambda: silhouette_by_k(case.image, case.labels, torch.arange(neurons), ks),
    ):
        with Largest() as largest:
            measure()
        assert results <= largest.numbers < 2 * results < samples * neurons


def test_the_largest_tensor_is_seen() -> None:
    with Largest() as largest:
        BASE.image @ BASE.image.T
    assert largest.numbers == 37 * 37


# --- what is refused


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


# name: (the arguments, the message, whether the silhouette sees it too)
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
def test_what_is_refused(name: str) -> None:
    arguments, message, both = REFUSED[name]
    with pytest.raises(InputError, match=message):
        accuracy_by_k(**arguments)
    if both:
        with pytest.raises(InputError, match=message):
            silhouette_by_k(**{key: value for key, value in arguments.items() if key != "text"})


@pytest.mark.usefixtures("unchecked")
def test_the_good_arguments_are_not_refused() -> None:
    accuracy_by_k(**refused())


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("classes", [5, 37, 600])
def test_classes_of_one_feature_have_one_logit(classes: int, renormalise: bool) -> None:
    """Wherever they stand: a product of matrices rounds by place, and the lower class must win each
    of these ties.
    """
    seeded = generator(classes)
    image, text = (torch.randn(rows, 40, generator=seeded) for rows in (100, classes))
    labels, orders, ks = torch.arange(100) % classes, some_orders(40), [3, 17, 40]
    twins = torch.cat([text, text])
    ranks = ranks_by_k(image, twins, labels, orders, ks, renormalise=renormalise)
    of_twins = ranks_by_k(image, twins, labels + classes, orders, ks, renormalise=renormalise)
    assert (of_twins - ranks == 1).all(), "its twin, and no other, comes before it"
    assert ranks.equal(2 * ranks_by_k(image, text, labels, orders, ks, renormalise=renormalise))
    others = best_other_by_k(image, twins, labels + classes, orders, ks, renormalise=renormalise)
    assert (others < classes).all()


@pytest.mark.parametrize("width", [1e-2, 1e-3, 3e-4, 1e-4])
def test_classes_in_a_narrow_cone_are_told_apart_as_float64_tells_them(width: float) -> None:
    """What all class features have in common changes no answer; its rounding in float32 changes
    most of them.
    """
    generator = torch.Generator().manual_seed(0)
    axis = torch.nn.functional.normalize(torch.randn(64, generator=generator), dim=0)
    text = torch.nn.functional.normalize(
        axis + width / 8 * torch.randn(20, 64, generator=generator), dim=1
    )
    labels = torch.arange(400) % 20
    image = text[labels] + width / 3 * torch.randn(400, 64, generator=generator)
    order = torch.randperm(64, generator=generator)
    for k in (32, 64):
        kept = order[:k]
        products = image[:, kept].double() @ text[:, kept].double().T
        expected = (products.argmax(1) == labels).double().mean().item()
        found = accuracy_by_k(image, text, labels, order, [k]).top1.item()
        assert found == pytest.approx(expected, abs=1 / 400)  # a tie of float64 may be one here
    plain = ((image @ text.T).argmax(1) == labels).double().mean().item()
    assert width > 3e-4 or abs(plain - expected) > 0.02  # what is tested can fail
