"""The probe equals scikit-learn's ridge classifier at every k, and the normal equations."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.cells import halves
from purescope.maths.probe import linear_probe_by_k
from tests.maths.test_accuracy import Case, random_case, some_orders

CASES = {
    "five labels": random_case(60, 5, 12, seed=70),
    "two labels, norms": random_case(50, 2, 9, seed=73, unit=False),
    "fewer images than neurons": random_case(12, 3, 16, seed=76),
}


def unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows.double(), dim=1)


@pytest.mark.parametrize("penalty", [1.0, 0.01])
@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_probe_is_scikit_learns(name: str, renormalise: bool, penalty: float) -> None:
    case: Case = CASES[name]
    neurons = case.image.shape[1]
    orders, ks = some_orders(neurons, 2), range(1, neurons + 1)
    fitted = halves(case.labels) == 0
    result = linear_probe_by_k(
        case.image, case.labels, orders, ks, penalty=penalty, renormalise=renormalise
    )
    assert result.counts.tolist() == (~fitted).tolist()
    assert not result.sums[:, :, fitted].any()
    for position, order in enumerate(orders):
        for column, k in enumerate(ks):
            rows = unit(case.image)[:, order[:k]]
            rows = unit(rows) if renormalise else rows
            model = RidgeClassifier(alpha=penalty, solver="cholesky")
            model.fit(rows[fitted].numpy(), case.labels[fitted].numpy())
            answers = torch.from_numpy(model.predict(rows[~fitted].numpy()))
            right = (answers == case.labels[~fitted]).float()
            assert torch.equal(result.sums[position, column, ~fitted], right), (order, k)


def test_probe_solves_the_normal_equations() -> None:
    """With the ones of the intercept as a column without penalty, by NumPy's general solver."""
    case = CASES["five labels"]
    fitted = torch.arange(len(case.labels)) < 40
    result = linear_probe_by_k(case.image, case.labels, torch.arange(12), [7], fitted=fitted)
    rows = unit(unit(case.image)[:, :7]).numpy()
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    targets = np.eye(5)[case.labels[fitted]]
    seen = rows[fitted.numpy()]
    weights = np.linalg.solve(seen.T @ seen + np.diag([1.0] * 7 + [0]), seen.T @ targets)
    right = (rows @ weights).argmax(1) == case.labels.numpy()
    assert result.sums[0, 0, ~fitted].tolist() == right[~fitted.numpy()].tolist()
    assert result.mean().item() == pytest.approx(right[~fitted.numpy()].mean())
    assert 0.5 < result.mean().item() < 1


def test_a_neuron_that_is_zero_changes_nothing() -> None:
    case = CASES["five labels"]
    dead = torch.cat([case.image, torch.zeros(60, 1).double()], 1)
    order = torch.cat([torch.tensor([12]), torch.arange(12)])
    expected = linear_probe_by_k(case.image, case.labels, torch.arange(12), [5, 12])
    result = linear_probe_by_k(dead, case.labels, order, [6, 13])
    assert torch.equal(result.sums, expected.sums)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fitted": torch.tensor([1, 0, 1])}, "fitted is torch.int64"),
        ({"fitted": torch.tensor([True, False])}, r"shape \[2\] for 3 images"),
        ({"fitted": torch.tensor([True] * 3)}, "3 of 3 images"),
        ({"labels": torch.tensor([0, 1, 2])}, "3 of 3 images"),
        ({"penalty": 0.0}, "penalty = 0.0"),
        ({"penalty": float("nan")}, "penalty = nan"),
        ({"ks": [3]}, "k = 3"),
    ],
)
def test_wrong_input_is_explained(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "image": torch.eye(3)[:, :2],
        "labels": torch.tensor([0, 0, 1]),
        "orders": torch.arange(2),
        "ks": [1],
    }
    with pytest.raises(InputError, match=message):
        linear_probe_by_k(**(arguments | change))  # type: ignore[arg-type]
