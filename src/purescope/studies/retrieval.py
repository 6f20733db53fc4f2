"""Evaluate every strategy and every random order by retrieval between images and captions.

Images are resampled with all their captions, because captions of one image are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from purescope.errors import InputError
from purescope.features.captions import CaptionFeatures
from purescope.maths.bases import is_basis, make_basis, rotate
from purescope.maths.overlaps import Projections
from purescope.maths.retrieval import (
    PLACES,
    RECALL_AT,
    RetrievalRanks,
    retrieval_metrics,
    retrieval_ranks_by_k,
)
from purescope.maths.strategies import STRATEGIES
from purescope.parallel import per_turn
from purescope.studies.orders import Ranked, warn_of_dead
from purescope.studies.settings import Options
from purescope.studies.summed import Summed, means, resample
from purescope.tables.metrics import RETRIEVAL_METRICS

_RANK_BYTES = 1 << 26  # places of several orders at a time, of 2 bytes each


@dataclass(frozen=True, eq=False)
class RetrievalBench(Ranked):
    """One model's features of images and captions, and how orders of its neurons are evaluated."""

    features: CaptionFeatures

    @classmethod
    def make(
        cls, features: CaptionFeatures, projections: Projections | None, options: Options
    ) -> "RetrievalBench":
        """Make the bench of a sweep; arguments and errors are those of `purescope.sweep`."""
        check_caption_options(options)
        if features.image.dtype == torch.float16:
            features = replace(features, image=features.image.float(), text=features.text.float())
        bench = cls(features, projections, options)
        bench.check_orders()
        return bench

    @property
    def renormalise(self) -> bool:
        """Whether images and captions are scaled again over the kept neurons: by default they
        are.
        """
        return self.options.renormalise is not False

    @cached_property
    def counts(self) -> Float64[Tensor, "metric image"]:
        """The weight of each image in each metric: its captions, or 1."""
        captions = self.features.image_of.bincount(minlength=len(self.features.image)).double()
        is_mean_over_captions = torch.tensor(
            [name.startswith("image_retrieval") for name in RETRIEVAL_METRICS]
        )
        return torch.where(is_mean_over_captions[:, None], captions, 1.0)

    def in_basis(self, basis: Float[Tensor, "neuron neuron"]) -> "RetrievalBench":
        """Return the bench of the same images and captions in another basis."""
        image, text = (rotate(rows, basis) for rows in (self.features.image, self.features.text))
        return replace(self, features=replace(self.features, image=image, text=text))

    def by_image(
        self, orders: Int64[Tensor, "order neuron"], ks: Sequence[int]
    ) -> "list[Float32[Tensor, 'metric k image']]":
        """Return for each order what each image adds to each metric at each k."""
        features = self.features
        ranks = retrieval_ranks_by_k(
            features.image,
            features.text,
            features.image_of,
            orders,
            ks,
            renormalise=self.renormalise,
        )
        results = []
        for place in range(len(orders)):
            own = RetrievalRanks(*(rank[place : place + 1] for rank in ranks))
            metrics = retrieval_metrics(own, features.image_of, len(features.image))
            results.append(torch.stack([metrics[name].sums[0] for name in RETRIEVAL_METRICS]))
        return results


def check_caption_options(options: Options) -> None:
    """Refuse options that need labels, or that a smaller model cannot have.

    Raises:
        InputError: a strategy uses labels, or dropped neurons get a value.
    """
    labelled = [name for name in options.strategies if _uses_labels(name)]
    if labelled:
        raise InputError(
            f"the strategy {labelled[0]!r} for captions",
            expected="strategies without labels: captions have no classes",
            fix="leave it out of --strategies (strategies=), or sweep captions by themselves",
        )
    if options.metrics:
        raise InputError(
            f"the metric {options.metrics[0]!r} for captions",
            expected="metrics without labels: captions have no classes",
            fix="leave out --metrics (metrics=), or sweep captions by themselves",
        )
    if options.ablation != "zero":
        raise InputError(
            f"ablation {options.ablation!r} for captions",
            expected="zero: in retrieval a neuron is kept or left out",
            fix="leave out --ablation (ablation=), or sweep captions by themselves",
        )


def _uses_labels(strategy: str) -> bool:
    return strategy in STRATEGIES and STRATEGIES[strategy].needs == "labels"


@dataclass(frozen=True, eq=False)
class MeasuredRetrieval(Summed):
    """The retrieval of one model on one dataset.

    The axis `metric` is `purescope.tables.metrics.RETRIEVAL_METRICS`, in that order.

    Args:
        bench: features, neurons, orders and options.
    """

    bench: RetrievalBench

    @property
    def features(self) -> CaptionFeatures:
        """The features that were evaluated."""
        return self.bench.features


def measure_retrieval(
    features: CaptionFeatures, projections: Projections | None, options: Options
) -> MeasuredRetrieval:
    """Sweep a dataset of captions; arguments and errors are those of `purescope.sweep`.

    Warns:
        UserWarning: some neurons are dead.
    """
    bench = RetrievalBench.make(features, projections, options)
    warn_of_dead(bench.strategy_input)
    ks, names = bench.ks, options.names
    first = torch.arange(bench.neurons)[None]
    cells = len(RETRIEVAL_METRICS), len(names), len(ks), len(features.image)
    by_image = torch.empty(cells)
    for place, name in enumerate(names):
        if is_basis(name):
            rotated = bench.in_basis(make_basis(name, bench.strategy_input, options.seed))
            by_image[:, place] = rotated.by_image(first, ks)[0]
    own = [place for place, name in enumerate(names) if not is_basis(name)]
    orders = [bench.order(names[place])[None] for place in own]
    random = torch.zeros(cells[0], *cells[2:], dtype=torch.float64)
    draws = []
    at_a_time = per_turn(_RANK_BYTES, 2 * len(ks) * len(features.text))
    for number, order_batch in _numbered(
        torch.cat([*orders, bench.random_orders(options.draws)]), at_a_time
    ):
        for offset, sums in enumerate(bench.by_image(order_batch, ks)):
            if number + offset < len(own):
                by_image[:, own[number + offset]] = sums
            else:
                random += sums.double() / options.draws
                draws.append(means(bench.counts, sums).T)
    full = bench.by_image(first, [bench.neurons])[0][:, 0]
    no_draws = torch.empty(0, len(ks), cells[0], dtype=torch.float64)
    images = torch.zeros(len(features.image), dtype=torch.int64)
    return MeasuredRetrieval(
        bench=bench,
        metrics=RETRIEVAL_METRICS,
        chance=chance_of_retrieval(features),
        renormalise=bench.renormalise,
        groups=images,
        counts=bench.counts,
        by_image=by_image,
        full_by_image=full,
        random_by_image=random,
        draws=torch.stack(draws) if draws else no_draws,
        **resample(options, images, bench.counts, by_image, full, random),
    )


def _numbered(orders: Tensor, length: int) -> "list[tuple[int, Tensor]]":
    """Return batches of orders, each with the number of its first."""
    return [(first, orders[first : first + length]) for first in range(0, len(orders), length)]


def chance_of_retrieval(features: CaptionFeatures) -> list[float]:
    """Return the mean of each of `RETRIEVAL_METRICS` over all rankings, which is that of guessing.

    Examples:
        Two images with one caption each: half of the guesses are right at once.

        >>> pair = CaptionFeatures(torch.eye(2), torch.eye(2), torch.tensor([0, 1]))
        >>> chance_of_retrieval(pair)[:2]
        [0.5, 1.0]
    """
    images, captions = len(features.image), len(features.text)
    own = features.image_of.bincount(minlength=images).double()
    gains = 1 / torch.arange(2, PLACES + 2, dtype=torch.float64).log2()
    best = gains.cumsum(0)[own.long().clamp(max=PLACES) - 1]
    image_gain, text_gain = (float(gains[:many].sum()) / many for many in (images, captions))
    values = {
        f"image_retrieval_ndcg@{PLACES}": image_gain,
        f"text_retrieval_ndcg@{PLACES}": float((own * text_gain / best).mean()),
    }
    for n in RECALL_AT:
        # None of the captions of an image is among the first n of all captions.
        missed = torch.ones(images, dtype=torch.float64)
        for place in range(min(n, captions)):
            missed *= (captions - own - place).clamp(min=0) / (captions - place)
        values[f"image_retrieval_recall@{n}"] = min(n, images) / images
        values[f"text_retrieval_recall@{n}"] = 1 - float(missed.mean())
        values[f"text_retrieval_true_recall@{n}"] = min(n, captions) / captions
    return [values[name] for name in RETRIEVAL_METRICS]
