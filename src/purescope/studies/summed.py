"""A sweep whose metrics are sums over images: values, resamples, and their table.

Retrieval, search of images by images and probes are measured in this way. Images are resampled
within groups, with everything that belongs to them; what they search stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from purescope.maths.intervals import bootstrap_each, percentile_interval, wilson_interval
from purescope.studies.settings import Options
from purescope.studies.swept import FEW_IMAGES, Swept
from purescope.tables.result_table import ResultTable


@dataclass(frozen=True, eq=False)
class Summed(Swept):
    """Metrics of one model on one dataset, image by image where tests need it.

    Args:
        metrics: their names.
        chance: the value of guessing, of each metric.
        renormalise: whether features were scaled again over the kept neurons.
        groups: the group of each image within which it is resampled, such as its label.
        counts: the weight of each image in each metric.
        by_image: what each image adds to each metric, for each strategy and k.
        full_by_image: the same with all neurons.
        random_by_image: the same, the mean over the random orders.
        draws: metrics of each random order.
        resampled: metrics of the strategies in bootstrap resamples of the images.
        resampled_full, resampled_random: the same of all neurons, and of the mean of the random
            orders.
    """

    metrics: tuple[str, ...]
    chance: Sequence[float]
    renormalise: bool
    groups: Int64[Tensor, " image"]
    counts: Float64[Tensor, "metric image"]
    by_image: Shaped[Tensor, "metric strategy k image"]
    full_by_image: Shaped[Tensor, "metric image"]
    random_by_image: Float64[Tensor, "metric k image"]
    draws: Float64[Tensor, "draw k metric"]
    resampled: Float64[Tensor, "resample strategy k metric"]
    resampled_full: Float64[Tensor, "resample metric"]
    resampled_random: Float64[Tensor, "resample k metric"]

    @cached_property
    def values(self) -> Float64[Tensor, "strategy k metric"]:
        """Metrics of each strategy at each k."""
        return means(self.counts, self.by_image).permute(1, 2, 0)

    @cached_property
    def full(self) -> Float64[Tensor, " metric"]:
        """Metrics with all neurons."""
        return means(self.counts, self.full_by_image)

    @cached_property
    def half(self) -> Int64[Tensor, " image"]:
        """The half of each image, 0 and 1 in turns through the groups one after the other.

        Both halves have images even where each group has one.
        """
        half = torch.empty_like(self.groups)
        half[self.groups.argsort(stable=True)] = torch.arange(len(half)) % 2
        return half

    def curve(
        self, strategy: str, metric: int
    ) -> tuple[Float64[Tensor, " k"], Float64[Tensor, "resample k"]]:
        """Return a metric at each k, and the same in each resample; for random, the mean of the
        orders.
        """
        if strategy == "random":
            mean = means(self.counts, self.random_by_image)[metric]
            return mean, self.resampled_random[:, :, metric]
        place = self.strategies.index(strategy)
        return self.values[place, :, metric], self.resampled[:, place, :, metric]

    def sums(
        self, metric: int, strategy: str, ks: slice = slice(None)
    ) -> Float64[Tensor, "k image"]:
        """Return what each image adds to a metric; for random, the mean over the orders."""
        if strategy == "random":
            return self.random_by_image[metric, ks]
        return self.by_image[metric, self.strategies.index(strategy), ks].double()

    def is_right_or_wrong(self, metric: int) -> bool:
        """Tell whether each image is simply right or wrong: it counts once, and adds 0 or 1."""
        is_right_or_wrong = self.metrics[metric].startswith(_RIGHT_OR_WRONG)
        return is_right_or_wrong and bool((self.counts[metric] == 1).all())

    @property
    def table(self) -> ResultTable:
        """The results as the table `purescope.tables.schemas.RESULTS`."""
        full = self.full, *self._interval(self.resampled_full, self.full)
        values = self.values, *self._interval(self.resampled, self.values)
        table = self.rows(self.metrics, full, values, self.draws)
        table = table.assign(
            binomial_low=np.nan,
            binomial_high=np.nan,
            chance=table.metric.map(dict(zip(self.metrics, self.chance, strict=True))),
            classes=len(self.bench.features.text),
            renormalise=self.renormalise,
        )
        return self.finished(table)

    def _interval(
        self,
        resampled: Float64[Tensor, "resample *cell metric"],
        values: Float64[Tensor, "*cell metric"],
    ) -> tuple[Float64[Tensor, "*cell metric"], Float64[Tensor, "*cell metric"]]:
        """Return bootstrap intervals; where nearly all or nearly no images count, binomial ones.

        Values between 0 and 1 vary at most as much as right and wrong ones of the same mean, and
        captions of an image are at worst copies of one another. So a binomial interval of as many
        images is never too narrow.
        """
        low, high = percentile_interval(resampled)
        for metric, images in enumerate(independent_images(self.counts)):
            own = values[..., metric]
            few = torch.minimum(own, 1 - own) * images < FEW_IMAGES
            for end, wilson in zip((low, high), wilson_interval(own, images), strict=True):
                end[..., metric] = torch.where(few, wilson, end[..., metric])
        return low, high


# An image that counts once has no part of these metrics, but all or nothing.
_RIGHT_OR_WRONG = (
    "image_retrieval_recall",
    "text_retrieval_recall",
    "knn_accuracy",
    "linear_probe_accuracy",
)


def means(
    counts: Float64[Tensor, "metric image"], by_image: Shaped[Tensor, "metric *cell image"]
) -> Float64[Tensor, " metric *cell"]:
    """Return metrics, from the weight of each image and what it adds."""
    totals = counts.sum(1)
    return torch.stack(
        [sums.double().sum(-1) / total for sums, total in zip(by_image, totals, strict=True)]
    )


def independent_images(counts: Float64[Tensor, "metric image"]) -> list[int]:
    """Return how many images of equal weight would tell as much, metric by metric (Kish 1965)."""
    return [max(1, int(own.sum() ** 2 / own.square().sum())) for own in counts]


def resample(
    options: Options,
    groups: Int64[Tensor, " image"],
    counts: Float64[Tensor, "metric image"],
    by_image: Shaped[Tensor, "metric strategy k image"],
    full: Shaped[Tensor, "metric image"],
    random: Float[Tensor, "metric k image"],
) -> dict[str, Tensor]:
    """Return all metrics in the same bootstrap resamples of the images, as `Summed` has them.

    A metric is a ratio of sums over images, and both sums are resampled.
    """
    resampled = bootstrap_each(
        [(part, None) for part in (*by_image, *full, *random, *counts)],
        groups,
        resamples=options.resamples,
        seed=options.seed,
    )
    metrics = len(counts)
    strategies, alls, randoms, weights = (
        torch.stack(resampled[first : first + metrics], dim=-1)
        for first in range(0, 4 * metrics, metrics)
    )
    return {
        "resampled": strategies / weights[:, None, None],
        "resampled_full": alls / weights,
        "resampled_random": randoms / weights[:, None],
    }
