"""Accuracy and silhouette at every k equal masking the features and measuring each k separately."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from purescope.maths import accuracy, cells
from purescope.maths.accuracy import (
    accuracy_by_k,
    apart,
    best_other_by_k,
    distinct_rows,
    ranks_by_k,
)
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
    """Make signed features that resemble those of their class; labels are in random order."""
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
    """Make whole numbers from -2 to 2: sums are exact in any order, and logits often tie."""
    image = torch.randint(-2, 3, (samples, neurons), generator=generator(seed)).double()
    text = torch.randint(-2, 3, (classes, neurons), generator=generator(seed + 1)).double()
    return Case(image, text, torch.randint(classes, (samples,), generator=generator(seed + 2)))


def with_rows(case: Case, **changes: tuple[Any, Any]) -> Case:
    """Copy a case with ``field=(index, value)`` written into it."""
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


def some_orders(neurons: int, count: int = 3) -> Tensor:
    """Draw random orders, after the order by index."""
    drawn = [torch.randperm(neurons, generator=generator(seed)) for seed in range(count - 1)]
    return torch.stack([torch.arange(neurons), *drawn])


def check_accuracy(
    case: Case, *, renormalise: bool = False, dtype: torch.dtype = torch.float64
) -> None:
    neurons = case.image.shape[1]
    orders, ks = some_orders(neurons), range(1, neurons + 1)
    image, text = case.image.to(dtype), case.text.to(dtype)
    result = accuracy_by_k(image, text, case.labels, orders, ks, renormalise=renormalise)
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
            measured = (
                result.top1[i, j].item(),
                result.top5[i, j].item(),
                result.recall[i, j].item(),
            )
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


@pytest.mark.parametrize("classes", [255, 256, 257, 300])
def test_ranks_and_classes_beyond_a_byte(classes: int) -> None:
    """Of logits 0, 1, 2 and so on, the class that is right has each place once."""
    image, text = torch.ones(classes, 1), torch.arange(float(classes))[:, None]
    given = image, text, torch.arange(classes), torch.arange(1), [1]
    assert ranks_by_k(*given).flatten().tolist() == list(range(classes - 1, -1, -1))
    best = [classes - 1] * (classes - 1) + [classes - 2]
    assert best_other_by_k(*given).flatten().tolist() == best


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
    """Measure everything at every k: one number for each sample, or for each cell (k)."""
    ks = range(1, image.shape[1] + 1)
    accuracy = accuracy_by_k(image, text, labels, order, ks)
    result = {"top1": accuracy.top1, "top5": accuracy.top5, "recall": accuracy.recall}
    result["ranks"] = ranks_by_k(image, text, labels, order, ks)[0]
    if 2 <= len(labels.unique()) < len(labels):
        result["silhouette"] = silhouette_by_k(image, labels, order, ks)
        result["silhouettes"] = silhouette_samples_by_k(image, labels, order, ks)[0]
    return result


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
    """The size of the largest tensor that any operation returns."""

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


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("classes", [5, 37, 600])
def test_classes_of_one_feature_have_one_logit(classes: int, renormalise: bool) -> None:
    """The rounding of a matrix product depends on the position of a row, and the lower class must
    win each of these ties.
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


def test_classes_of_one_feature_are_multiplied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, multiply = [], accuracy._prefix_products

    def counted(weights: Tensor, features: Tensor, ks: list[int]) -> Tensor:
        rows.append(len(weights))
        return multiply(weights, features, ks)

    monkeypatch.setattr(accuracy, "_prefix_products", counted)
    case = random_case(30, 20, 8)
    twins = case._replace(text=torch.cat([case.text, case.text]))
    ranks_by_k(*twins, some_orders(8), [3, 8])
    assert set(rows) == {20}


def test_only_class_features_of_norm_one_are_scaled_again() -> None:
    rows = narrow_cone(1e-3).text / 2
    expected = (rows.double() - rows.double().mean(0)).float()
    assert apart(rows).equal(expected)
    rows[0] *= 2  # one of norm 1 among others, which are no longer close together
    assert apart(rows).equal(rows)


def narrow_cone(width: float, wide: int = 0) -> Case:
    """Make 20 classes that are close together in 64 neurons, and far apart in some more."""
    seeded = generator(0)
    axis = torch.nn.functional.normalize(torch.randn(64, generator=seeded), dim=0)
    narrow = axis + width / 8 * torch.randn(20, 64, generator=seeded)
    text = torch.cat([narrow, torch.randn(20, wide, generator=seeded) / 8], dim=1)
    text = torch.nn.functional.normalize(text, dim=1)
    labels = torch.arange(400) % 20
    image = text[labels] + width / 3 * torch.randn(400, 64 + wide, generator=seeded)
    return Case(image, text, labels)


def in_float64(case: Case, kept: Tensor, *, renormalise: bool = False) -> Tensor:
    """Return the class of the largest cosine in float64."""
    rows = torch.nn.functional.normalize(case.text.double(), dim=1)[:, kept]
    rows = torch.nn.functional.normalize(rows, dim=1) if renormalise else rows
    return (case.image[:, kept].double() @ rows.T).argmax(1)


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("wide", [0, 32])
@pytest.mark.parametrize("width", [1e-2, 1e-3, 3e-4, 1e-4])
def test_classes_in_a_narrow_cone_are_told_apart_as_float64_tells_them(
    width: float, wide: int, renormalise: bool
) -> None:
    """The common part of all class features changes no answer, but its rounding in float32 changes
    most of them, and so does that of their norms.
    """
    case = narrow_cone(width, wide)
    order = torch.cat([torch.randperm(64, generator=generator(1)), torch.arange(64, 64 + wide)])
    for k in (32, 64):
        best = in_float64(case, order[:k], renormalise=renormalise)
        right = int((best == case.labels).sum())
        top1 = accuracy_by_k(*case, order, [k], renormalise=renormalise).top1.item()
        assert abs(round(400 * top1) - right) <= 1  # a tie in float64 may be broken
        others = best_other_by_k(*case, order, [k], renormalise=renormalise)[0, 0]
        assert int((others == best).sum()) >= 400 - right - 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_rows_are_found_in_a_square_and_in_a_wide_table(dtype: torch.dtype) -> None:
    for rows, kept, group in (
        ([[1.0, 2.0], [1.0, 2.0]], [0], [0, 0]),
        ([[1.0, 2.0], [2.0, 1.0]], [0, 1], [0, 1]),
        ([[0.0, 3.0, 1.0], [2.0, 2.0, 2.0], [-0.0, 3.0, 1.0]], [0, 1], [0, 1, 0]),
        ([[1.0, 2.0, 3.0]] * 2 + [[1.0, 2.0, 4.0]], [0, 2], [0, 0, 1]),
    ):
        found = distinct_rows(torch.tensor(rows, dtype=dtype))
        assert (found[0].tolist(), found[1].tolist()) == (kept, group)
