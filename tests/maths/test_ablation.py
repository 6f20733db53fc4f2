"""What dropped neurons are set to: masking by the definition, value by value."""

import pytest
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells
from purescope.maths.accuracy import accuracy_by_k, ranks_by_k
from purescope.maths.cells import ABLATIONS, ablation_values
from tests import oracles
from tests.maths.test_accuracy import random_case, whole_case

FEW, MANY = [5], [1, 3, 8, 14, 20]  # as one large product, and as running sums over the neurons


def order(neurons: int, seed: int = 0) -> Tensor:
    return torch.randperm(neurons, generator=torch.Generator().manual_seed(seed))


def defined(image: Tensor, ablation: str, other: list[int]) -> list[list[float]]:
    """What a row has where a neuron is dropped."""
    rows = image.tolist()
    by_name = {
        "zero": [[0.0] * len(rows[0]) for _ in rows],
        "mean": [[sum(column) / len(rows) for column in zip(*rows, strict=True)] for _ in rows],
        "resample": [rows[i] for i in other],
    }
    return by_name[ablation]


def drawn(image: Tensor, seed: int) -> list[int]:
    """Which image each takes its values from."""
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
    found = ranks_by_k(
        image, text, labels, orders, ks, dropped=ablation_values(image, ablation, seed=3)
    )
    values = defined(image, ablation, drawn(image, 3))
    for row, kept_first in enumerate(orders.tolist()):
        for place, k in enumerate(ks):
            kept = set(kept_first[:k])
            for i, (own, other) in enumerate(zip(image.tolist(), values, strict=True)):
                masked = [x if j in kept else other[j] for j, x in enumerate(own)]
                ranking = oracles.ranking(masked, text.tolist(), range(20))
                assert found[row, place, i] == ranking.index(int(labels[i]))


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
    seen = set()
    for seed in range(20):
        other = drawn(image, seed)
        assert sorted(other) == list(range(images))
        assert all(i != j for i, j in enumerate(other))
        seen.add(tuple(other))
    assert len(seen) == (1 if images == 2 else 2 if images == 3 else 20)
    assert drawn(image, 7) == drawn(image, 7)


def test_a_mean_is_the_neurons_own_and_tells_no_images_apart() -> None:
    image, text, labels = random_case(130, 4, 70)
    values = ablation_values(image, "mean")
    assert values is not None and values.shape == (1, 70) and values.dtype == image.dtype
    assert values[0].tolist() == pytest.approx([sum(column) / 130 for column in image.T.tolist()])
    # Kept neurons alike, so are the images: what was dropped adds the same logits to all of them.
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


def test_what_is_refused() -> None:
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
