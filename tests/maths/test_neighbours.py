"""Neighbours' votes and average precision equal scikit-learn's and the definition."""

import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import neighbours
from purescope.maths.neighbours import (
    image_search_by_k,
    knn_accuracy_by_k,
    mean_average_precision_by_k,
)
from tests import oracles
from tests.maths.test_accuracy import BASE, some_orders

TIED = torch.cat([BASE.image.sign(), torch.zeros(2, BASE.image.shape[1]).double()])
TIED_LABELS = torch.cat([BASE.labels, torch.tensor([0, 1])])
LONELY = torch.cat([BASE.labels[:-1], torch.tensor([99])])
CASES = {
    "plain": (BASE.image, BASE.labels),
    "norms": (BASE.image * torch.arange(1, len(BASE.image) + 1)[:, None], BASE.labels),
    "ties and zero rows": (TIED, TIED_LABELS),
    "a label of one image": (BASE.image, LONELY),
    "two images": (BASE.image[:2], torch.tensor([0, 0])),
}
KS = [1, 4, BASE.image.shape[1]]


def cosines(image: Tensor, kept: Tensor) -> list[list[float]]:
    rows = image[:, kept].tolist()
    return [[oracles.cosine(row, other) for other in rows] for row in rows]


def products(image: Tensor, kept: Tensor) -> list[list[float]]:
    """Products over the kept neurons of rows that are of norm 1 over all neurons."""
    rows = torch.nn.functional.normalize(image.double(), dim=1)[:, kept].tolist()
    return [[sum(a * b for a, b in zip(row, other, strict=True)) for other in rows] for row in rows]


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CASES)
def test_votes_and_precisions_are_the_definition(
    name: str, dtype: torch.dtype, renormalise: bool
) -> None:
    image, labels = CASES[name]
    image = image.to(dtype)
    order = some_orders(image.shape[1], 2)[1]
    votes, precision = image_search_by_k(
        image, labels, order, KS, neighbours=[1, 5, 20], renormalise=renormalise
    )
    named = labels.tolist()
    for column, k in enumerate(KS):
        table = (cosines if renormalise else products)(image, order[:k])
        for i, row in enumerate(table):
            others = [j for j in range(len(row)) if j != i]
            nearest = sorted(others, key=lambda j: (-round(row[j] * 2**40), j))
            for n, result in votes.items():
                chosen = [named[j] for j in nearest[:n]]
                most = max(chosen.count(label) for label in chosen)
                winner = min(label for label in chosen if chosen.count(label) == most)
                assert result.sums[0, column, i] == (winner == named[i]), (k, i, n)
            same = [j for j in others if named[j] == named[i]]
            total = 0.0
            for j in same:
                before = [m for m in others if row[m] >= row[j] - oracles.TIE]
                total += sum(named[m] == named[i] for m in before) / len(before)
            expected = total / len(same) if same else 0.0
            assert precision.sums[0, column, i].item() == pytest.approx(expected, abs=1e-6)
            assert precision.counts[i] == bool(same)


def test_votes_are_scikit_learns() -> None:
    order = some_orders(BASE.image.shape[1], 2)
    votes = knn_accuracy_by_k(BASE.image, BASE.labels, order, KS)
    for position, chosen in enumerate(order):
        for column, k in enumerate(KS):
            rows = BASE.image[:, chosen[:k]].numpy()
            for n, result in votes.items():
                if k == 1:
                    continue  # cosines of one neuron are all equal, or opposite
                for i in range(0, len(rows), 4):
                    others = torch.arange(len(rows)) != i
                    model = KNeighborsClassifier(n, metric="cosine", algorithm="brute")
                    model.fit(rows[others], BASE.labels[others].numpy())
                    right = model.predict(rows[i : i + 1])[0] == BASE.labels[i].item()
                    assert result.sums[position, column, i] == right


@pytest.mark.parametrize("name", ["plain", "ties and zero rows"])
def test_precision_is_scikit_learns(name: str) -> None:
    image, labels = CASES[name]
    order = torch.arange(image.shape[1])
    precision = mean_average_precision_by_k(image, labels, order, KS)
    for column, k in enumerate(KS):
        table = torch.tensor(cosines(image, order[:k])).mul(2**30).round()
        for i, row in enumerate(table):
            others = torch.arange(len(row)) != i
            expected = average_precision_score(
                (labels[others] == labels[i]).numpy(), row[others].numpy()
            )
            assert precision.sums[0, column, i].item() == pytest.approx(expected, abs=1e-6)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image, labels = CASES["ties and zero rows"]
    orders = some_orders(image.shape[1], 2)
    votes = knn_accuracy_by_k(image, labels, orders, KS)
    precision = mean_average_precision_by_k(image, labels, orders, KS)
    monkeypatch.setattr(neighbours, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(neighbours, "_LEAST_ROWS", 3)
    for n, result in knn_accuracy_by_k(image, labels, orders, KS).items():
        assert torch.equal(result.sums, votes[n].sums)
    again = mean_average_precision_by_k(image, labels, orders, KS)
    assert torch.allclose(again.sums, precision.sums, rtol=0, atol=1e-7)


@pytest.mark.usefixtures("unchecked")
def test_wrong_input_is_explained() -> None:
    one, order = torch.ones(1, 2), torch.arange(2)
    with pytest.raises(InputError, match="one image"):
        knn_accuracy_by_k(one, torch.tensor([0]), order, [1])
    with pytest.raises(InputError, match="one image"):
        mean_average_precision_by_k(one, torch.tensor([0]), order, [1])
    two, labels = torch.ones(2, 2), torch.tensor([0, 1])
    for numbers in ([], [0, 1]):
        with pytest.raises(InputError, match="neighbours = "):
            knn_accuracy_by_k(two, labels, order, [1], neighbours=numbers)
    with pytest.raises(InputError, match="label -1"):
        knn_accuracy_by_k(two, labels - 1, order, [1])
