"""Class names in the wrong order are found, and weak models are not taken for it."""

import itertools
import random

import pytest
import torch
from torch import Tensor

from purescope.datasets import load_dataset
from purescope.features.cache import default_folder
from purescope.features.extraction import extract
from purescope.features.features import Features
from purescope.models import load_model
from purescope.studies.sanity import assign_names, doubts, predictions
from tests.maths.test_accuracy import in_float64, narrow_cone


def features(image: Tensor, text: Tensor, labels: Tensor) -> Features:
    names = tuple(f"name {label}" for label in range(len(text)))
    return Features(image, text, labels, names, model="m", dataset="d")


def honest(classes: int, images: int, signal: float, seed: int = 0) -> Features:
    """Images around their class's direction: accuracy from chance (signal 0) to 1."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(classes, 64, generator=generator)
    labels = torch.arange(images) % classes
    return features(
        signal * text[labels] + torch.randn(images, 64, generator=generator), text, labels
    )


def accuracy(result: Features) -> float:
    labels = result.labels.tolist()
    right = [
        int((result.text @ row).argmax()) == label
        for row, label in zip(result.image, labels, strict=True)
    ]
    return sum(right) / len(right)


def renamed(result: Features, order: Tensor) -> Features:
    return features(result.image, result.text[order], result.labels)


def order_doubts(result: Features) -> list[str]:
    return [doubt for doubt in doubts(result) if "right order" in doubt]


SIZES = [(2, 200), (10, 500), (10, 60), (100, 1000), (100, 250)]
SIGNALS = [0.1, 0.2, 0.4, 1.0]


@pytest.mark.parametrize(("classes", "images"), SIZES)
@pytest.mark.parametrize("signal", [0.0, *SIGNALS])
def test_honest_results_raise_no_doubt_about_the_order(
    classes: int, images: int, signal: float
) -> None:
    for seed in range(3):
        assert order_doubts(honest(classes, images, signal, seed)) == []


@pytest.mark.parametrize(("classes", "images"), [(2, 200), (10, 500), (100, 1000)])
@pytest.mark.parametrize("signal", SIGNALS[1:])
def test_names_shifted_by_one_are_found(classes: int, images: int, signal: float) -> None:
    result = honest(classes, images, signal)
    (doubt,) = order_doubts(renamed(result, torch.arange(classes).roll(1)))
    assert "are the class names in the right order?" in doubt
    lifted = float(doubt.split("would be ")[1].split(" %")[0]) / 100
    assert 0 < lifted <= accuracy(result) + 0.01, (
        "a lower bound, but for what the odd confusion adds"
    )
    if signal == 1:
        assert lifted == pytest.approx(accuracy(result), abs=0.02)
        # Images of class 0 lie where text 0 did, which is called "name 1" now.
        assert "of 'name 0' called 'name 1'" in doubt


def test_names_shuffled_are_found() -> None:
    for seed in range(5):
        order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
        assert order_doubts(renamed(honest(20, 400, 0.4), order))


def test_half_of_the_names_out_of_step_is_found() -> None:
    order = torch.arange(20)
    order[10:] = order[10:].roll(1)
    (doubt,) = order_doubts(renamed(honest(20, 400, 1.0), order))
    assert (
        "of 'name 10' called 'name 11', of 'name 11' called 'name 12', of 'name 12' called 'name "
        "13':" in doubt
    )


def test_one_image_a_class_tells_nothing() -> None:
    assert order_doubts(renamed(honest(50, 50, 1.0), torch.arange(50).roll(1))) == []


def test_a_handful_of_images_tells_nothing() -> None:
    """Two classes and six images: whatever the labels, chance explains it."""
    text = torch.eye(2)
    for wrong in itertools.product([0, 1], repeat=6):
        assert (
            order_doubts(features(text[list(wrong)], text, torch.tensor([0, 0, 0, 1, 1, 1]))) == []
        )


def test_chance_level() -> None:
    assert (
        "12.0 % of 100 images cannot be told from chance, 10.0 % for 10 classes"
        in doubts(right_in(12, 100, 10))[0]
    )
    assert not [doubt for doubt in doubts(right_in(30, 100, 10)) if "chance" in doubt]


def right_in(right: int, images: int, classes: int) -> Features:
    """The first `right` images are right, the others called by the next name."""
    labels = torch.arange(images) % classes
    called = torch.where(torch.arange(images) < right, labels, (labels + 1) % classes)
    return features(torch.eye(classes)[called], torch.eye(classes), labels)


def test_a_class_that_is_never_right_is_named_if_it_has_images_enough() -> None:
    labels = torch.tensor([0] * 40 + [1] * 40 + [2] * 10 + [3] * 2)
    called = torch.tensor([0] * 40 + [1] * 40 + [1] * 10 + [1] * 2)
    result = features(torch.eye(5)[called], torch.eye(5), labels)
    assert doubts(result) == ["recall is 0 for 1 of 5 classes: 'name 2'"], (
        "3 has too few images, and 4 none"
    )


def test_many_classes_that_are_never_right_are_counted() -> None:
    labels = torch.arange(400) % 8
    result = features(torch.eye(8)[labels.clamp(max=3)], torch.eye(8), labels)
    assert doubts(result)[0] == "recall is 0 for 4 of 8 classes: 'name 4', 'name 5', 'name 6', ..."


def test_predictions_are_the_largest_logit() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(5000, 6, generator=generator), torch.randn(7, 6, generator=generator)
    called = predictions(image, text)
    for i in (0, 1, 4095, 4096, 4999):
        logits = [sum(float(a * b) for a, b in zip(image[i], row, strict=True)) for row in text]
        assert int(called[i]) == logits.index(max(logits))


def test_predictions_in_a_narrow_cone_are_those_of_float64() -> None:
    case = narrow_cone(1e-4)
    expected = in_float64(case, torch.arange(64))
    assert int((predictions(case.image, case.text) != expected).sum()) <= 1


def test_names_are_assigned_once_and_well() -> None:
    """Against every assignment there is: the greedy one is right for at least half as many images
    as the best.
    """
    rng = random.Random(0)
    for _ in range(50):
        labels = torch.tensor([rng.randrange(4) for _ in range(20)])
        called = torch.tensor([rng.randrange(5) for _ in range(20)])
        names = assign_names(labels, called, 5)
        given = [name for name in names.tolist() if name >= 0]
        assert len(given) == len(set(given))
        best = max(
            sum(
                order[label] == name
                for label, name in zip(labels.tolist(), called.tolist(), strict=True)
            )
            for order in itertools.permutations(range(5))
        )
        assert best / 2 <= int((names[labels] == called).sum()) <= best


def test_a_level_choice_keeps_the_own_name() -> None:
    labels, called = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    assert assign_names(labels, called, 2).tolist() == [0, 1]


@pytest.mark.slow
def test_a_bundled_model_on_flags_and_with_its_names_shifted() -> None:
    model, flags = load_model("bundled:laclip"), load_dataset("bundled:flags")
    result = extract(model, flags, cache=default_folder())
    assert doubts(result) == []
    assert order_doubts(renamed(result, torch.arange(len(result.text)).roll(1)))


@pytest.mark.parametrize(
    ("right", "swapped", "found"),
    [
        (300, 460, True),  # 16 points more
        (300, 440, False),  # 14 points
        (60, 160, True),  # 2.7 times
        (60, 140, False),  # 2.3 times
    ],
)
def test_names_are_doubted_where_another_order_is_so_much_better(
    right: int, swapped: int, found: bool
) -> None:
    """Of 1,000 images of each of ten classes so many are right, and so many called by the next
    class; the others are called by all classes alike.
    """
    labels, called = [], []
    for label in range(10):
        others = [(label + 2 + step % 8) % 10 for step in range(1000 - right - swapped)]
        labels += [label] * (right + swapped + len(others))
        # Mixed, so that both halves of the images are alike.
        called += [label] * right + [(label + 1) % 10] * swapped + others
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    result = features(
        torch.eye(10)[torch.tensor(called)[shuffled]], torch.eye(10), torch.tensor(labels)[shuffled]
    )
    assert bool(order_doubts(result)) == found
