from fractions import Fraction
from math import isqrt
from typing import Any

import pytest
import torch

from purescope.errors import InputError
from purescope.features import features
from purescope.features.features import Features, check_arrays, check_finite, unit_rows

GOOD: dict[str, Any] = {
    "image": torch.eye(3),
    "text": torch.eye(3)[:2],
    "labels": torch.tensor([0, 1, 1]),
    "classes": 2,
}


def test_good_arrays() -> None:
    check_arrays(**GOOD)
    check_arrays(**{**GOOD, "labels": torch.tensor([1, 1, 1])})  # a class may have no image


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": torch.zeros(3)}, "image is torch.float32 of shape [3]"),
        ({"text": torch.zeros(2, 3, 1)}, "text is torch.float32 of shape [2, 3, 1]"),
        ({"image": torch.zeros(3, 3, dtype=torch.int64)}, "image is torch.int64"),
        ({"image": torch.zeros(0, 3)}, "shape [0, 3]"),
        ({"text": torch.zeros(2, 4)}, "image has 3 neurons, text has 4"),
        (
            {"text": torch.tensor([[0, 0, 0], [0, float("nan"), 0]])},
            "text row 1 has a value that is NaN",
        ),
        ({"image": torch.tensor([[0, 0, 0], [0, 0, 0], [float("-inf"), 0, 0]])}, "image row 2"),
        ({"classes": 3}, "3 class names for 2 rows"),
        ({"text": torch.eye(3)[:1], "classes": 1}, "at least two classes"),
        ({"labels": torch.tensor([0, 1])}, "labels is torch.int64 of shape [2]"),
        ({"labels": torch.tensor([0.0, 1.0, 1.0])}, "labels is torch.float32"),
        ({"labels": torch.tensor([0, 2, -1])}, "the label 2 of image 1"),
        ({"labels": torch.tensor([0, 1, -1])}, "the label -1 of image 2"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_arrays(**{**GOOD, **changes})
    assert message in str(caught.value)


def test_rows_are_counted_from_the_first() -> None:
    with pytest.raises(InputError, match="image row 101 "):
        check_finite(torch.tensor([[0.0], [float("inf")]]), "image", first_row=100)


def test_unit_rows() -> None:
    rows = torch.tensor([[3.0, -4.0], [0.0, 0.0], [3e-30, 4e-30], [3e30, 4e30]])
    expected = torch.tensor([[0.6, -0.8], [0.0, 0.0], [0.6, 0.8], [0.6, 0.8]])
    torch.testing.assert_close(unit_rows(rows), expected)


@pytest.mark.parametrize("power", [-1074, -1040, -1022, -149, -126, 0, 127, 1020])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_unit_rows_of_every_scale(power: int, dtype: torch.dtype) -> None:
    """Against whole fractions: what a number is, down to the last bit of a denormal one."""
    rows = torch.tensor([[3.0, -4.0, 0.0], [1.0, 2.0, 7.0], [0.0, 0.0, 0.0]]).double() * 2.0 ** max(
        power, -1022
    )
    rows = (rows * 2.0 ** min(power + 1022, 0)).to(dtype)
    rows = rows.clamp(-torch.finfo(dtype).max, torch.finfo(dtype).max)
    for row, unit in zip(rows.tolist(), unit_rows(rows).tolist(), strict=True):
        exact = [Fraction(value) for value in row]
        square = sum(value * value for value in exact)
        for value, scaled in zip(exact, unit, strict=True):
            # sign(v) sqrt(v^2 / square), to 30 digits
            root = isqrt(int(value * value / square * 10**60)) / 1e30 if square else 0.0
            assert scaled == pytest.approx(root if value >= 0 else -root, rel=1e-7)


def test_ordinary_rows_have_the_bits_that_they_had() -> None:
    """A power of two changes no digit: what was encoded yesterday is what is encoded today."""
    rows = torch.randn(3000, 37, generator=torch.Generator().manual_seed(0)) * 7
    assert torch.equal(unit_rows(rows), (rows / rows.double().norm(dim=1, keepdim=True)).float())


def test_turns_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at_once, own = unit_rows(rows), rows.float()
    monkeypatch.setattr(features, "_BLOCK", 24)
    assert torch.equal(unit_rows(rows), at_once)
    assert unit_rows(own, out=own) is own
    torch.testing.assert_close(own, at_once, atol=1e-7, rtol=0)
    rows[41, 3] = torch.nan
    with pytest.raises(InputError, match="image row 41 "):
        check_finite(rows, "image")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("classes", [("a", ""), ("a", " \t"), ("a", "\ud800"), ("a", 3)])
def test_a_class_without_a_name(classes: tuple[Any, ...]) -> None:
    with pytest.raises(InputError, match="class 1 has the name"):
        Features(torch.eye(2), torch.eye(2), torch.tensor([0, 1]), classes, model="m", dataset="d")


@pytest.mark.parametrize("text", ["0", "-3", "inf", "nan", "", "much"])
def test_a_scale_that_is_none_is_100(text: str) -> None:
    eye, labels = torch.eye(2), torch.tensor([0, 1])
    known = Features(eye, eye, labels, identity={"model_logit_scale": text})
    assert known.logit_scale == Features(eye, eye, labels).logit_scale == 100
    small = Features(eye, eye, labels, identity={"model_logit_scale": "0.5"})
    assert small.logit_scale == 0.5


def test_arrays_alone_have_names_and_took_no_time() -> None:
    alone = Features(torch.eye(3)[:, :2], torch.eye(2), torch.tensor([0, 1, 1]))
    assert (alone.model, alone.dataset, alone.seconds) == ("model", "dataset", 0)
    assert (alone.classes, alone.identity) == (("class 0", "class 1"), {})


@pytest.mark.parametrize(("images", "transposed"), [(3, True), (4, False)])
def test_arrays_in_columns_are_recognised(images: int, transposed: bool) -> None:
    """Five neurons of two classes, in columns."""
    with pytest.raises(InputError, match="transpose both" if transposed else "of one model"):
        check_arrays(torch.ones(5, 3), torch.ones(5, 2), torch.zeros(images, dtype=torch.int64), 2)
