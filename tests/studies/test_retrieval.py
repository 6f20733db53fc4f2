"""A sweep of captions, against counts by hand and against all rankings."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.features.captions import CaptionFeatures
from purescope.maths.bases import make_basis, rotate
from purescope.maths.overlaps import Projections
from purescope.maths.retrieval import RetrievalRanks, retrieval_metrics
from purescope.maths.scores import StrategyInput
from purescope.maths.strategies import order_neurons
from purescope.studies.retrieval import (
    MeasuredRetrieval,
    chance_of_retrieval,
    measure_retrieval,
)
from purescope.studies.settings import Options
from purescope.studies.summed import independent_images
from purescope.studies.sweeps import sweep
from purescope.tables.metrics import RETRIEVAL_METRICS, SHOWN

KS, NEURONS, IMAGES = [3, 6], 12, 30


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1)


def captioned(captions: Tensor, noise: float = 0.5, seed: int = 0) -> CaptionFeatures:
    """Return images, and as many captions of each as are asked, in a mixed order."""
    own = torch.arange(len(captions)).repeat_interleave(captions)
    own = own[torch.randperm(len(own), generator=generator(seed))]
    image = torch.randn(len(captions), NEURONS, generator=generator(seed + 1))
    text = image[own] + noise * torch.randn(len(own), NEURONS, generator=generator(seed + 2))
    return CaptionFeatures(unit(image), unit(text), own, model="made", dataset="captions")


SEVERAL = captioned(torch.arange(IMAGES) % 3 + 1)
SINGLE = captioned(torch.ones(IMAGES, dtype=torch.int64))
WEIGHTS = Projections(*torch.randn(2, NEURONS, 20, generator=generator(9)))
OPTIONS = Options(keep=KS, draws=4, resamples=60, strategies=("high_purity", "low_purity", "svd"))


@pytest.fixture(scope="session")
def measured() -> MeasuredRetrieval:
    return measure_retrieval(SEVERAL, WEIGHTS, OPTIONS)


def recall_by_hand(features: CaptionFeatures, kept: Tensor, n: int) -> tuple[float, float]:
    """Count image and text recall at n of a smaller model, caption by caption."""
    image, text = (unit(rows[:, kept].double()) for rows in (features.image, features.text))
    scores, own = text @ image.T, features.image_of.tolist()
    found_images = [
        image_index in scores[caption].argsort(descending=True)[:n].tolist()
        for caption, image_index in enumerate(own)
    ]
    found_texts = []
    for index in range(len(image)):
        first = scores[:, index].argsort(descending=True)[:n].tolist()
        found_texts.append(any(own[caption] == index for caption in first))
    return sum(found_images) / len(own), sum(found_texts) / len(image)


@pytest.mark.parametrize("n", [1, 5])
def test_recalls_are_those_of_a_smaller_model(measured: MeasuredRetrieval, n: int) -> None:
    table = measured.table
    rows = table[table.draw == 0].set_index(["strategy", "k", "metric"]).value
    order = order_neurons(WEIGHTS, "high_purity")
    basis = make_basis("svd", StrategyInput(WEIGHTS))
    rotated = replace(SEVERAL, image=rotate(SEVERAL.image, basis), text=rotate(SEVERAL.text, basis))
    everything = torch.arange(NEURONS)
    for strategy, k, features, kept in (
        ("high_purity", 3, SEVERAL, order[:3]),
        ("high_purity", 6, SEVERAL, order[:6]),
        ("svd", 6, rotated, everything[:6]),
        ("full", NEURONS, SEVERAL, everything),
    ):
        image, text = recall_by_hand(features, kept, n)
        assert rows[strategy, k, f"image_retrieval_recall@{n}"] == pytest.approx(image)
        assert rows[strategy, k, f"text_retrieval_recall@{n}"] == pytest.approx(text)


def test_every_cell_has_a_row_and_its_settings(measured: MeasuredRetrieval) -> None:
    table = measured.table
    cells = 1 + (3 + 4) * len(KS)
    assert len(table) == cells * len(RETRIEVAL_METRICS)
    assert table.groupby("metric", sort=False).size().index.tolist() == [*RETRIEVAL_METRICS]
    assert (table.n == IMAGES).all() and (table.classes == len(SEVERAL.text)).all()
    assert table.renormalise.all() and table.binomial_low.isna().all()
    named = table[table.strategy != "random"]
    assert (named.low <= named.value + 1e-9).all() and (named.value <= named.high + 1e-9).all()
    assert table[table.strategy == "random"].low.isna().all()
    seeds = table[table.strategy == "random"].groupby("draw").seed.first()
    assert seeds.tolist() == [0, 1, 2, 3]


def test_random_orders_are_the_seeded_ones(measured: MeasuredRetrieval) -> None:
    table = measured.table
    rows = table[(table.strategy == "random") & (table.metric == SHOWN[0])]
    by_hand = []
    for draw in range(4):
        order = order_neurons(WEIGHTS, "random", seed=draw)
        by_hand += [recall_by_hand(SEVERAL, order[:k], 5)[0] for k in KS]
    assert rows.value.tolist() == pytest.approx(by_hand)
    curve, resampled = measured.curve("random", RETRIEVAL_METRICS.index(SHOWN[0]))
    assert curve[0].item() == pytest.approx(sum(by_hand[::2]) / 4)
    assert resampled.mean(0).tolist() == pytest.approx(curve.tolist(), abs=0.05)


def test_the_mean_of_random_orders_is_taken_in_double_precision() -> None:
    """A third is no number of single precision."""
    measured = measure_retrieval(SEVERAL, WEIGHTS, replace(OPTIONS, draws=3, strategies=()))
    sums = measured.bench.by_image(measured.bench.random_orders(3), KS)
    expected = sum(of_order.double() for of_order in sums) / 3
    assert torch.allclose(measured.random_by_image, expected, rtol=0, atol=1e-14)


def test_names_are_those_of_the_maths() -> None:
    ranks = torch.zeros(1, 1, 2, dtype=torch.uint8)
    own = torch.tensor([0, 1])
    assert set(retrieval_metrics(RetrievalRanks(ranks, ranks), own, 2)) == set(RETRIEVAL_METRICS)


def test_without_renormalising_other_rows_are_measured() -> None:
    plain = sweep(SEVERAL, WEIGHTS, keep=KS, draws=1, resamples=10, renormalise=False)
    scaled = sweep(SEVERAL, WEIGHTS, keep=KS, draws=1, resamples=10)
    assert not plain.renormalise.any() and scaled.renormalise.all()
    own = (plain.strategy != "full") & (plain.metric == "image_retrieval_recall@1")
    assert (plain.value[own] != scaled.value[own]).any()
    full = plain.strategy == "full"
    assert plain.value[full].tolist() == scaled.value[full].tolist()


def test_images_are_resampled_with_their_captions() -> None:
    """The resamples of a ratio have the spread of the delta method over images."""
    bench = measure_retrieval(SEVERAL, WEIGHTS, replace(OPTIONS, resamples=4000, draws=0))
    for metric in (RETRIEVAL_METRICS.index(name) for name in SHOWN):
        counts = bench.bench.counts[metric]
        sums = bench.by_image[metric, 0, 0].double()
        value = sums.sum() / counts.sum()
        spread = (sums - value * counts).std() / counts.mean() / IMAGES**0.5
        assert bench.resampled[:, 0, 0, metric].std().item() == pytest.approx(
            spread.item(), rel=0.1
        )


def test_where_everything_is_found_the_interval_is_not_empty() -> None:
    perfect = captioned(torch.arange(IMAGES) % 3 + 1, noise=0.0)
    table = sweep(perfect, WEIGHTS, keep=[12], draws=0, resamples=20)
    rows = table[table.metric == SHOWN[0]]
    assert (rows.value == 1).all() and rows.high.tolist() == pytest.approx([1, 1, 1])
    assert rows.low.between(0.8, 0.95).all()


def test_captions_of_an_image_are_at_worst_copies() -> None:
    counts = torch.tensor([[5.0] * 10, [1.0, 1, 1, 1, 1, 1, 1, 1, 1, 10]]).double()
    assert independent_images(counts) == [10, 3]  # 19 ** 2 / 109


@pytest.mark.parametrize("captions", [(1, 1, 1), (2, 1, 1), (1, 3, 1)])
def test_chance_is_the_mean_over_all_rankings(captions: tuple[int, ...]) -> None:
    features = captioned(torch.tensor(captions))
    own, images, texts = features.image_of, len(captions), sum(captions)
    totals = dict.fromkeys(RETRIEVAL_METRICS, 0.0)
    of_images = list(itertools.permutations(range(images)))
    of_texts = list(itertools.permutations(range(texts)))
    # The ranking of one query does not matter to another one, so all queries share it.
    for ranking in of_images:
        image_rank = torch.tensor([ranking[image] for image in own.tolist()], dtype=torch.uint8)
        ranks = RetrievalRanks(image_rank[None, None], image_rank[None, None])
        for name, metric in retrieval_metrics(ranks, own, images).items():
            if name.startswith("image"):
                totals[name] += metric.mean().item() / len(of_images)
    for ranking in of_texts:
        text_rank = torch.tensor(ranking, dtype=torch.uint8)[None, None]
        for name, metric in retrieval_metrics(
            RetrievalRanks(text_rank, text_rank), own, images
        ).items():
            if name.startswith("text"):
                totals[name] += metric.mean().item() / len(of_texts)
    assert chance_of_retrieval(features) == pytest.approx([*totals.values()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategies": ("importance",)}, "strategy 'importance' for captions"),
        ({"ablation": "mean"}, "ablation 'mean' for captions"),
        ({"orders": {"mine": [1, 0]}}, "order 'mine' of 2 neurons"),
        ({"keep": 99}, "k = 99"),
    ],
)
def test_what_captions_do_not_have_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sweep(SEVERAL, WEIGHTS, **options)  # type: ignore[arg-type]


def test_own_orders_and_half_precision_are_measured() -> None:
    order = torch.arange(NEURONS - 1, -1, -1)
    halved = replace(SINGLE, image=SINGLE.image.half(), text=SINGLE.text.half())
    table = sweep(
        halved, None, keep=4, draws=0, resamples=5, space="activations", strategies=(),
        orders={"mine": order},
    )  # fmt: skip
    rows = table[(table.strategy == "mine") & (table.metric == SHOWN[0])]
    rounded = replace(SINGLE, image=halved.image.float(), text=halved.text.float())
    assert rows.value.item() == pytest.approx(recall_by_hand(rounded, order[:4], 5)[0])
