"""Places equal the definition, whatever the blocks; recalls equal CLIP_benchmark's."""

import math

import pytest
import torch
from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import screening
from purescope.maths.retrieval import (
    RetrievalRanks,
    retrieval_metrics,
    retrieval_ranks_by_k,
)
from tests import oracles
from tests.maths.test_accuracy import generator, some_orders


def pairs(
    images: int, captions: int, neurons: int, *, noise: float = 1.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Make features with what pairs have in common; captions are in random order."""
    drawn = torch.randint(images, (captions,), generator=generator(seed))
    own = torch.cat([torch.arange(images), drawn])[:captions]
    own = own[torch.randperm(captions, generator=generator(seed + 1))]
    common = torch.randn(images, neurons, generator=generator(seed + 2), dtype=torch.float64)
    image = common + noise * torch.randn(
        images, neurons, generator=generator(seed + 3), dtype=torch.float64
    )
    text = common[own] + noise * torch.randn(
        captions, neurons, generator=generator(seed + 4), dtype=torch.float64
    )
    return image * torch.rand(images, 1, generator=generator(seed + 5)), text, own


def with_ties() -> tuple[Tensor, Tensor, Tensor]:
    """Make equal images, equal captions, zero rows and neurons of two values."""
    image, text, own = pairs(40, 70, 9, seed=3)
    image, text = image.sign(), text.sign()
    image[30:36], image[3], image[11:13, :4] = image[2], 0, 0
    text[60:], text[5], text[6:9, :5] = text[1], 0, 0
    return image, text, own


CASES = {
    "more captions than images": pairs(37, 90, 8),
    "images without captions": pairs(50, 20, 8, seed=10),
    "one image": pairs(1, 12, 5, seed=20),
    "one pair": pairs(1, 1, 3, seed=30),
    "nearly all right": pairs(45, 60, 12, noise=0.1, seed=40),
    "ties": with_ties(),
    "all equal": (torch.ones(20, 4).double(), torch.ones(33, 4).double(), torch.arange(33) % 20),
}


def plain_places(
    image: Tensor, text: Tensor, own: Tensor, kept: Tensor, *, renormalise: bool
) -> tuple[list[int], list[int]]:
    """Rank by the definition, as loops; scores as near as `oracles.TIE` are equal."""
    kept_only = kept.tolist()

    def scaled(rows: Tensor) -> list[list[float]]:
        if renormalise:
            return [oracles.unit(oracles.masked(row, kept_only)) for row in rows.tolist()]
        return [oracles.masked(oracles.unit(row), kept_only) for row in rows.tolist()]

    images, texts = scaled(image), scaled(text)
    scores = [[oracles.dot(row, other) for other in images] for row in texts]

    def place(values: list[float], right: int) -> int:
        better = 0
        for other, value in enumerate(values):
            gap = value - values[right]
            better += gap > oracles.TIE or (abs(gap) <= oracles.TIE and other < right)
        return min(better, 10)

    by_image = [place(scores[c], i) for c, i in enumerate(own.tolist())]
    by_text = [place([row[i] for row in scores], c) for c, i in enumerate(own.tolist())]
    return by_image, by_text


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CASES)
def test_places_are_the_definition(name: str, dtype: torch.dtype, renormalise: bool) -> None:
    image, text, own = CASES[name]
    image, text = image.to(dtype), text.to(dtype)
    neurons = image.shape[1]
    orders, ks = some_orders(neurons, 2), sorted({1, neurons // 2, neurons - 1, neurons})
    ranks = retrieval_ranks_by_k(image, text, own, orders, ks, renormalise=renormalise)
    assert ranks.image_rank.dtype == torch.uint8
    for position, order in enumerate(orders):
        for column, k in enumerate(ks):
            expected = plain_places(
                image.double(), text.double(), own, order[:k], renormalise=renormalise
            )
            assert ranks.image_rank[position, column].tolist() == expected[0]
            assert ranks.text_rank[position, column].tolist() == expected[1]


@pytest.mark.parametrize(("most", "notes"), [(0, 1 << 16), (4, 1 << 16), (10**9, 1 << 16), (4, 3)])
@pytest.mark.parametrize("name", ["ties", "more captions than images", "all equal"])
def test_blocks_and_float64_change_no_place(
    name: str, most: int, notes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small blocks; queries that are all given up to float64, near pairs one by one, little room
    for them.
    """
    image, text, own = CASES[name]
    orders, ks = some_orders(image.shape[1], 2)[1:], [1, 3, image.shape[1]]
    expected = retrieval_ranks_by_k(image, text, own, orders, ks)
    monkeypatch.setattr(screening, "_IMAGES", 16)
    monkeypatch.setattr(screening, "_CAPTIONS", 32)
    monkeypatch.setattr(screening, "_EXACT_ROWS", 3)
    monkeypatch.setattr(screening, "_MOST", most)
    monkeypatch.setattr(screening, "_NOTES", notes)
    for one, other in zip(
        retrieval_ranks_by_k(image, text, own, orders, ks), expected, strict=True
    ):
        assert torch.equal(one, other)


def test_pairs_nearer_than_float32_are_told_apart() -> None:
    """The second image is better by 1e-9, which float32 features of float64 could not say."""
    image = torch.tensor([[1.0, 0.5], [1.0, 0.5 - 1e-9]], dtype=torch.float64)
    text = torch.tensor([[1.0, 0.4], [1.0, 0.4]], dtype=torch.float64)
    ranks = retrieval_ranks_by_k(image, text, torch.tensor([0, 1]), torch.arange(2), [2])
    assert ranks.image_rank.tolist() == [[[1, 0]]]
    assert ranks.text_rank.tolist() == [[[0, 1]]]


@pytest.mark.parametrize("scales", [(1e-25, 1e-25), (1e-12, 1e-12), (1e-46, 1), (1, 1e-46)])
def test_kept_neurons_of_tiny_values_are_compared(scales: tuple[float, float]) -> None:
    """Their products vanish in float32, or they do."""
    image, text, own = pairs(40, 60, 6, seed=50)
    expected = retrieval_ranks_by_k(image[:, :5], text[:, :5], own, torch.arange(5), [3])
    image, text = image.clone(), text.clone()
    image[:, :5] *= scales[0]
    text[:, :5] *= scales[1]
    ranks = retrieval_ranks_by_k(image, text, own, torch.arange(6), [3])
    assert torch.equal(ranks.image_rank, expected.image_rank)
    assert torch.equal(ranks.text_rank, expected.text_rank)


def test_places_of_many_pairs() -> None:
    """Blocks of full size, several of them, against one float64 product."""
    image, text, own = pairs(1100, 2100, 24, noise=0.6, seed=60)
    orders, ks = some_orders(24, 2)[1:], [6, 24]
    ranks = retrieval_ranks_by_k(image.float(), text.float(), own, orders, ks)
    for position, order in enumerate(orders):
        for column, k in enumerate(ks):
            images, texts = (
                torch.nn.functional.normalize(rows.float().double()[:, order[:k]], dim=1)
                for rows in (image, text)
            )
            scores = texts @ images.T
            right = scores.gather(1, own[:, None])
            by_image = (scores > right).sum(1).clamp(max=10)
            by_text = (scores[:, own] > right[:, 0]).sum(0).clamp(max=10)
            assert torch.equal(ranks.image_rank[position, column].long(), by_image)
            assert torch.equal(ranks.text_rank[position, column].long(), by_text)
            # Easy and hard queries, and some between.
            assert len(by_image.unique()) == len(by_text.unique()) == 11


@pytest.mark.parametrize("name", ["more captions than images", "nearly all right"])
def test_recalls_are_clip_benchmarks(name: str) -> None:
    image, text, own = CASES[name]
    orders, ks = some_orders(image.shape[1], 2), [3, image.shape[1]]
    ranks = retrieval_ranks_by_k(image, text, own, orders, ks)
    metrics = retrieval_metrics(ranks, own, len(image))
    for position, order in enumerate(orders):
        for column, k in enumerate(ks):
            kept = [
                torch.nn.functional.normalize(rows[:, order[:k]], dim=1) for rows in (image, text)
            ]
            scores = kept[1] @ kept[0].T
            positive = torch.zeros_like(scores, dtype=torch.bool)
            positive[torch.arange(len(scores)), own] = True
            for n in (1, 5, 10):
                by_text = batchify(recall_at_k, scores, positive, 16, "cpu", k=n)
                by_image = batchify(recall_at_k, scores.T, positive.T, 16, "cpu", k=n)
                expected = {
                    f"image_retrieval_recall@{n}": (by_text > 0).double().mean(),
                    f"text_retrieval_recall@{n}": (by_image > 0).double().mean(),
                    f"text_retrieval_true_recall@{n}": by_image.double().mean(),
                }
                for metric, value in expected.items():
                    measured = metrics[metric].mean()[position, column].item()
                    assert measured == pytest.approx(value.item(), abs=1e-6), (metric, k)


def test_metrics_by_hand() -> None:
    """Image 0 has captions in places 0, 2 and after ten; image 1 has none; image 2 one, in place 6.

    DCG of image 0 is 1 / log2(2) + 1 / log2(4) = 1.5, the best for three captions
    1 + 1 / log2(3) + 1 / 2; image 2 has 1 / log2(8) = 1/3 of 1.
    """
    own = torch.tensor([2, 0, 0, 0])
    rank = torch.tensor([[[6, 2, 10, 0]]], dtype=torch.uint8)
    metrics = retrieval_metrics(RetrievalRanks(rank, rank), own, images=3)
    expected = {
        "image_retrieval_recall@1": ([1, 0, 0], [3, 0, 1]),
        "image_retrieval_recall@5": ([2, 0, 0], [3, 0, 1]),
        "image_retrieval_recall@10": ([2, 0, 1], [3, 0, 1]),
        "text_retrieval_recall@1": ([1, 0, 0], [1, 0, 1]),
        "text_retrieval_recall@5": ([1, 0, 0], [1, 0, 1]),
        "text_retrieval_recall@10": ([1, 0, 1], [1, 0, 1]),
        "text_retrieval_true_recall@1": ([1 / 3, 0, 0], [1, 0, 1]),
        "text_retrieval_true_recall@5": ([2 / 3, 0, 0], [1, 0, 1]),
        "text_retrieval_true_recall@10": ([2 / 3, 0, 1], [1, 0, 1]),
        "image_retrieval_ndcg@10": ([1.5, 0, 1 / 3], [3, 0, 1]),
        "text_retrieval_ndcg@10": ([1.5 / (1.5 + 1 / math.log2(3)), 0, 1 / 3], [1, 0, 1]),
    }
    assert metrics.keys() == expected.keys()
    for name, (sums, counts) in expected.items():
        assert metrics[name].sums[0, 0].tolist() == pytest.approx(sums), name
        assert metrics[name].counts.tolist() == counts, name
        assert metrics[name].mean()[0, 0] == pytest.approx(sum(sums) / sum(counts)), name


def test_ndcg_is_rounded_once() -> None:
    """Gains of all places and their ratios are the nearest numbers of float32."""
    own = torch.arange(10)
    rank = torch.arange(10).to(torch.uint8)[None, None]
    metrics = retrieval_metrics(RetrievalRanks(rank, rank), own, images=10)
    gains = torch.tensor([1 / math.log2(place + 2) for place in range(10)])
    for name in ("image_retrieval_ndcg@10", "text_retrieval_ndcg@10"):
        assert metrics[name].sums[0, 0].tolist() == gains.tolist()


def test_perfect_ndcg_is_one_with_more_captions_than_places() -> None:
    rank = torch.arange(12).clamp(max=10).to(torch.uint8)[None, None]
    metrics = retrieval_metrics(RetrievalRanks(rank, rank), torch.zeros(12).long(), images=1)
    assert metrics["text_retrieval_ndcg@10"].mean().item() == pytest.approx(1)
    assert metrics["text_retrieval_true_recall@10"].mean().item() == pytest.approx(10 / 12)


def test_a_pair_keeps_its_place_if_all_are_turned_or_listed_differently() -> None:
    image, text, own = CASES["more captions than images"]
    order = torch.arange(8)
    expected = retrieval_ranks_by_k(image, text, own, order, [8])
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator(1), dtype=torch.float64))[0]
    turned = retrieval_ranks_by_k(3 * image @ turn, text @ turn, own, order, [8])
    assert torch.equal(turned.image_rank, expected.image_rank)
    listed = torch.randperm(len(text), generator=generator(2))
    shuffled = torch.randperm(len(image), generator=generator(3))
    moved = retrieval_ranks_by_k(
        image[shuffled], text[listed], shuffled.argsort()[own[listed]], order, [8]
    )
    assert torch.equal(moved.text_rank, expected.text_rank[:, :, listed])
    assert torch.equal(moved.image_rank, expected.image_rank[:, :, listed])


def test_a_smaller_model_scales_rows_again_unless_told_otherwise() -> None:
    """Kept alone, the second image is as near as the first, which is the longer one."""
    image = torch.tensor([[0.9, 0.0, 0.44], [0.1, 0.1, 0.99]])
    text, own, order = torch.tensor([[1.0, 0.9, 0.0]]), torch.tensor([1]), torch.arange(3)
    scaled = retrieval_ranks_by_k(image, text, own, order, [2])
    as_they_are = retrieval_ranks_by_k(image, text, own, order, [2], renormalise=False)
    assert (scaled.image_rank.item(), as_they_are.image_rank.item()) == (0, 1)


def test_more_better_ones_than_a_byte_counts_are_ten_or_more() -> None:
    """Of 259 equal images, 256 and more of lower index come before the own one."""
    image, text = torch.ones(259, 3), torch.ones(2, 3)
    ranks = retrieval_ranks_by_k(image, text, torch.tensor([256, 258]), torch.arange(3), [1, 3])
    assert ranks.image_rank.tolist() == [[[10, 10], [10, 10]]]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_of": torch.tensor([7, 9])}, r"image_of\[0\] = 7(?s:.*)2 are outside"),
        ({"image_of": torch.tensor([0, 9])}, r"image_of\[1\] = 9"),
        ({"image_of": torch.tensor([0, -1])}, r"image_of\[1\] = -1"),
        ({"image_of": torch.tensor([0])}, "for 2 captions"),
        ({"image_of": torch.tensor([0.0, 1.0])}, "float32"),
        ({"text": torch.ones(2, 4)}, "same number of neurons"),
        ({"text": torch.tensor([[0.0, math.nan, 1.0], [0.0, 0.0, 1.0]])}, "first in row 0"),
        ({"text": torch.ones(0, 3)}, "text features"),
        ({"orders": torch.tensor([0, 0, 1])}, "not a permutation"),
        ({"ks": [0]}, "k = 0"),
    ],
)
def test_wrong_input_is_explained(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "image": torch.ones(2, 3),
        "text": torch.ones(2, 3),
        "image_of": torch.tensor([0, 1]),
        "orders": torch.arange(3),
        "ks": [1],
    }
    with pytest.raises(InputError, match=message):
        retrieval_ranks_by_k(**(arguments | change))  # type: ignore[arg-type]


@pytest.mark.usefixtures("unchecked")
def test_metrics_of_other_images_are_refused() -> None:
    rank = torch.zeros(1, 1, 2, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"image_of\[1\] = 3"):
        retrieval_metrics(RetrievalRanks(rank, rank), torch.tensor([0, 3]), images=3)
