"""Leaving one neuron out equals d evaluations, each with one neuron ablated."""

import math

import pytest
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.cells import ablation_values
from purescope.maths.leave_one_out import LeaveOneOut, leave_one_out
from tests import oracles
from tests.maths.test_accuracy import (
    EXACT,
    SPREAD,
    Case,
    in_float64,
    narrow_cone,
    random_case,
    with_rows,
)

OUTLIER = random_case(30, 5, 8, seed=20)
CASES = {
    **EXACT,
    **{name: case for name, case in SPREAD.items() if name != "one sample"},
    "one large neuron": with_rows(
        OUTLIER, image=((slice(None), 2), 40.0), text=((slice(None), 2), 3.0)
    ),
    "a neuron that never changes": with_rows(OUTLIER, image=((slice(None), 2), 0.1)),
    "one neuron decides": with_rows(OUTLIER, image=((slice(None), 1), 9.0), text=((2, 1), 5.0)),
}


def ablated(case: Case, ablation: str, neuron: int | None) -> tuple[list[bool], float, float]:
    """Return which samples are right, the mean cross-entropy and the mean margin, from the
    definitions.

    `neuron` None ablates none.
    """
    image = case.image.clone()
    values = ablation_values(case.image, ablation)
    if neuron is not None:
        image[:, neuron] = 0 if values is None else values[:, neuron]
    text, everything = case.text.tolist(), range(case.text.shape[1])
    right, losses, margins = [], [], []
    for row, label in zip(image.tolist(), case.labels.tolist(), strict=True):
        logits = [oracles.dot(row, feature) for feature in text]
        right.append(oracles.ranking(row, text, everything)[0] == label)
        margins.append(logits[label] - max(logit for c, logit in enumerate(logits) if c != label))
        largest = max(logits)
        losses.append(
            largest
            - logits[label]
            + math.log(math.fsum(math.exp(logit - largest) for logit in logits))
        )
    return right, math.fsum(losses) / len(losses), math.fsum(margins) / len(margins)


def check(case: Case, measured: LeaveOneOut, ablation: str) -> None:
    samples, labels = len(case.labels), case.labels.tolist()
    right, loss, margin = ablated(case, ablation, None)
    assert measured.accuracy == sum(right) / samples
    assert (measured.loss, measured.margin) == pytest.approx((loss, margin), abs=1e-10)
    lost, gained = [], []
    for j in range(case.image.shape[1]):
        without, new_loss, new_margin = ablated(case, ablation, j)
        pairs = list(zip(right, without, strict=True))
        lost += [[j, i] for i, pair in enumerate(pairs) if pair == (True, False)]
        gained += [[j, i] for i, pair in enumerate(pairs) if pair == (False, True)]
        assert measured.accuracy_drop[j].item() == (sum(right) - sum(without)) / samples
        assert measured.loss_change[j].item() == pytest.approx(new_loss - loss, abs=1e-10)
        assert measured.margin_change[j].item() == pytest.approx(new_margin - margin, abs=1e-10)
        for c in range(len(case.text)):
            own = [
                before - after
                for (before, after), label in zip(pairs, labels, strict=True)
                if label == c
            ]
            expected = sum(own) / len(own) if own else math.nan
            assert measured.recall_drop[j, c].item() == pytest.approx(
                expected, abs=1e-15, nan_ok=True
            )
    assert measured.lost.tolist() == lost and measured.gained.tolist() == gained


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("name", CASES)
def test_it_is_ablating_one_neuron_after_the_other(name: str, ablation: str) -> None:
    case = CASES[name]
    check(case, leave_one_out(*case, ablation=ablation, scale=1.0), ablation)


def test_float32_features_are_evaluated_in_float64() -> None:
    image, text, labels = random_case(40, 6, 12, seed=3)
    measured = leave_one_out(image.float(), text.float(), labels, scale=1.0)
    check(Case(image.float().double(), text.float().double(), labels), measured, "zero")


@pytest.mark.parametrize("ablation", ["mean", "resample"])
def test_blocks_change_nothing(ablation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case(50, 5, 9, seed=5)
    whole = leave_one_out(*case, ablation=ablation)
    monkeypatch.setattr("purescope.maths.cells.BLOCK_SAMPLES", 7)
    in_blocks = leave_one_out(*case, ablation=ablation)
    for name, value in vars(whole).items():
        torch.testing.assert_close(
            getattr(in_blocks, name), value, equal_nan=True, rtol=1e-12, atol=1e-12
        )


def test_the_loss_is_pytorch_s_at_clip_s_scale_and_at_any_other() -> None:
    image, text, labels = random_case(200, 20, 32, seed=8)
    for scale in (0.5, 100.0, 5000.0):
        measured = leave_one_out(image, text, labels, scale=scale)
        before = torch.nn.functional.cross_entropy(scale * image @ text.T, labels)
        for j in range(32):
            masked = image.index_fill(1, torch.tensor([j]), 0.0)
            after = torch.nn.functional.cross_entropy(scale * masked @ text.T, labels)
            assert measured.loss_change[j].item() == pytest.approx(
                (after - before).item(), rel=1e-9, abs=1e-10
            )


def test_norms_of_classes_in_a_narrow_cone_are_one_beyond_float32() -> None:
    case = narrow_cone(1e-4)
    right = int((in_float64(case, torch.arange(64)) == case.labels).sum())
    as_stored = (case.image.double() @ case.text.double().T).argmax(1)
    assert right - int((as_stored == case.labels).sum()) > 40
    assert abs(round(400 * leave_one_out(*case, loss=False).accuracy) - right) <= 1


def test_adding_to_the_logits_of_all_classes_changes_no_drop() -> None:
    case = random_case(60, 6, 10, seed=11)
    shifted = case._replace(text=case.text + torch.linspace(-2, 2, 10, dtype=torch.float64))
    first, second = leave_one_out(*case), leave_one_out(*shifted)
    assert torch.equal(first.lost, second.lost) and torch.equal(first.gained, second.gained)
    torch.testing.assert_close(first.loss_change, second.loss_change, rtol=0, atol=1e-10)


def test_neurons_in_another_order_give_the_same_in_that_order() -> None:
    image, text, labels = random_case(60, 6, 10, seed=14)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    first, second = (
        leave_one_out(image, text, labels),
        leave_one_out(image[:, order], text[:, order], labels),
    )
    assert torch.equal(first.accuracy_drop[order], second.accuracy_drop)
    torch.testing.assert_close(first.margin_change[order], second.margin_change, rtol=0, atol=1e-12)


def test_a_neuron_at_its_mean_has_nothing_to_lose() -> None:
    measured = leave_one_out(*CASES["a neuron that never changes"], ablation="mean")
    assert measured.accuracy_drop[2] == 0 and abs(measured.loss_change[2].item()) < 1e-12
    assert abs(leave_one_out(*CASES["a neuron that never changes"]).loss_change[2].item()) > 1e-3


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ablation": "zeros"}, "did you mean 'zero'"),
        ({"text": torch.ones(1, 3), "labels": torch.zeros(4, dtype=torch.int64)}, "at least two"),
        ({"labels": torch.tensor([0, 1, 2, 0])}, "label 2"),
        ({"image": torch.full((4, 3), math.nan)}, "NaN"),
        ({"text": torch.ones(2, 5)}, "same number of neurons"),
    ],
)
def test_bad_input_is_named(change: dict[str, Tensor | str], message: str) -> None:
    given = {
        "image": torch.ones(4, 3),
        "text": torch.ones(2, 3),
        "labels": torch.tensor([0, 1, 0, 1]),
    } | change
    with pytest.raises(InputError, match=message):
        leave_one_out(**given)  # type: ignore[arg-type]
