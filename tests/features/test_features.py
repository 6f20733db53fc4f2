from typing import Any

import pytest
import torch

from purescope.errors import InputError
from purescope.features.features import check_arrays, check_finite, unit_rows

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
        ({"text": torch.tensor([[0, 0, 0], [0, float("nan"), 0]])}, "text row 1 has a value that is NaN"),
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
