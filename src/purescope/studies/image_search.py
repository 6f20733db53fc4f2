"""Search images by images and fit linear probes with every strategy and some random orders.

These metrics need images and labels, and no class features. A sweep measures them if it is asked:

- ``knn``: ``knn_accuracy@n``, the accuracy of a vote of the n nearest other images.
- ``map``: ``mean_average_precision`` of the search of each image for the others of its label.
- ``probe``: ``linear_probe_accuracy``, of a ridge regression that is fitted on every other image of
  each label and judged on the others.

Only the kept neurons count, whatever the value of the others. By default images are scaled again
over them, as in a smaller model. Images are resampled as those that search; the images that are
searched, and those that a probe is fitted on, stay the same.

The time of a search grows with the square of the number of images, see
`purescope.maths.neighbours`. Memory grows with the number of images: what each adds to each metric.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor

from purescope.maths.cells import halves
from purescope.maths.neighbours import NEIGHBOURS, image_search_by_k
from purescope.maths.probe import linear_probe_by_k
from purescope.parallel import per_turn
from purescope.studies.bench import SILHOUETTE_DRAWS, Bench
from purescope.studies.summed import Summed, means, resample
from purescope.tables.metrics import IMAGE_METRICS
from purescope.tables.result_table import ResultTable
from purescope.tables.schema import stack_tables

_BATCH_BYTES = 1 << 26  # of what each image adds, for several random orders at a time
_NEEDS = {
    "knn": "two images",
    "map": "two images that are not alone with their label",
    "probe": "two images to judge, of labels that have others to fit on",
}


@dataclass(frozen=True)
class _Family:
    """The metrics of one option, and the images that count for them."""

    option: str
    counted: Int64[Tensor, " counted"]

    @property
    def metrics(self) -> tuple[str, ...]:
        return IMAGE_METRICS[self.option]

    def chance(self, labels: Int64[Tensor, " image"], classes: int) -> list[float]:
        """Return the value of guessing, of each metric."""
        if self.option == "map":
            return [chance_of_precision(labels)]
        return [1 / classes] * len(self.metrics)


def measure_images(bench: Bench) -> list[Summed]:
    """Measure the metrics that the options name, one result for each of `IMAGE_METRICS`.

    Random orders beyond the first 50 are not measured, as for silhouettes.

    Args:
        bench: features, orders and options.

    Returns:
        The results over the images that count; their axis `metric` is that of `IMAGE_METRICS`.

    Warns:
        UserWarning: the labels do not admit a metric, which is left out.
    """
    options, labels, ks = bench.options, bench.features.labels, bench.ks
    families = list(_families(options.metrics, labels))
    if not families:
        return []
    named: list[list[Tensor]] = [[] for _ in families]
    for strategy in options.names:
        axes, orders = bench.on_axes(strategy)
        for place, sums in enumerate(_sums(axes, orders, ks, families)):
            named[place].append(_held_out(sums, halves(labels)[families[place].counted]))
    everything = torch.arange(bench.neurons)[None]
    full = [sums[:, 0, 0] for sums in _sums(bench, everything, [bench.neurons], families)]
    orders = bench.random_orders(min(options.draws, SILHOUETTE_DRAWS))
    random = [
        torch.zeros(len(family.metrics), len(ks), len(family.counted), dtype=torch.float64)
        for family in families
    ]
    draws: list[list[Tensor]] = [[] for _ in families]
    cells = sum(len(family.metrics) for family in families) * len(ks) * len(labels)
    for batch in orders.split(per_turn(_BATCH_BYTES, 4 * cells)) if len(orders) else ():
        for place, sums in enumerate(_sums(bench, batch, ks, families)):
            random[place] += sums.sum(1, dtype=torch.float64) / len(orders)
            draws[place].append(means(_counts(families[place]), sums).permute(1, 2, 0))
    results = zip(families, named, full, random, draws, strict=True)
    return [_summed(bench, *result) for result in results]


def with_images(table: pd.DataFrame, searched: Sequence[Summed]) -> ResultTable:
    """Return a table of results with those of `measure_images` below them."""
    return ResultTable(stack_tables([table, *(one.table for one in searched)]))


def chance_of_precision(labels: Int64[Tensor, " image"]) -> float:
    """Return mean average precision, the mean over all rankings, which is that of guessing.

    Of M other images, R are of the label. At place i stands one of them with probability R / M, and
    each of the i - 1 before is then one with (R - 1) / (M - 1). So average precision is the mean
    over i of ``(1 + (i - 1) (R - 1) / (M - 1)) / i``.

    Examples:
        Two images of each of two labels: the other one is at place 1, 2 or 3.

        >>> round(chance_of_precision(torch.tensor([0, 0, 1, 1])), 4)
        0.6111
    """
    others = len(labels) - 1
    same = (labels.bincount()[labels] - 1).double()
    place = torch.arange(1, others + 1, dtype=torch.float64)
    ahead = (same[same > 0] - 1) / max(1, others - 1)
    constant, slope = (1 / place).mean(), ((place - 1) / place).mean()
    return float((constant + slope * ahead).mean())


def _families(options: Sequence[str], labels: Int64[Tensor, " image"]) -> Iterator[_Family]:
    """Yield the metrics that the labels admit, with the images that count."""
    shared = labels.bincount()[labels] > 1
    judged = shared & (halves(labels) == 1)
    counted: dict[str, Bool[Tensor, " image"]] = {
        "knn": torch.ones_like(shared),
        "map": shared,
        "probe": judged,
    }
    for option in IMAGE_METRICS:
        if option in options:
            images = counted[option].nonzero()[:, 0]
            if len(images) < 2:
                names = ", ".join(IMAGE_METRICS[option])
                warnings.warn(f"no {names}: it needs {_NEEDS[option]}", stacklevel=3)
            else:
                yield _Family(option, images)


def _sums(
    bench: Bench, orders: Int64[Tensor, "order neuron"], ks: list[int], families: list[_Family]
) -> Iterator[Shaped[Tensor, "metric order k counted"]]:
    """Yield what each image that counts adds, for each family."""
    image, labels = bench.features.image, bench.features.labels
    renormalise = scaled_again(bench)
    asked = {family.option for family in families}
    sums: dict[str, list[Tensor]] = {}
    if asked & {"knn", "map"}:
        votes, precision = image_search_by_k(
            image,
            labels,
            orders,
            ks,
            neighbours=NEIGHBOURS if "knn" in asked else (),
            precision="map" in asked,
            renormalise=renormalise,
        )
        sums |= {"knn": [vote.sums > 0 for vote in votes.values()], "map": [precision.sums]}
    if "probe" in asked:
        probe = linear_probe_by_k(image, labels, orders, ks, renormalise=renormalise)
        sums["probe"] = [probe.sums > 0]
    for family in families:
        yield torch.stack([own.index_select(-1, family.counted) for own in sums[family.option]])


def scaled_again(bench: Bench) -> bool:
    """Tell whether images are scaled again over the kept neurons: by default they are."""
    return bench.options.renormalise is not False


def _held_out(
    sums: Shaped[Tensor, "metric order k counted"], half: Int64[Tensor, " counted"]
) -> Shaped[Tensor, "metric k counted"]:
    """Return the results of one order, or of two, each for its half of the images."""
    return sums[:, 0] if sums.shape[1] == 1 else torch.where(half == 0, sums[:, 0], sums[:, 1])


def _counts(family: _Family) -> Float64[Tensor, "metric counted"]:
    return torch.ones(len(family.metrics), len(family.counted), dtype=torch.float64)


def _summed(
    bench: Bench,
    family: _Family,
    named: list[Tensor],
    full: Shaped[Tensor, "metric counted"],
    random: Float[Tensor, "metric k counted"],
    draws: list[Tensor],
) -> Summed:
    """Return the results of one family, with their resamples."""
    labels, counts = bench.features.labels, _counts(family)
    shape = len(family.metrics), 0, len(bench.ks), len(family.counted)
    by_image = torch.stack(named, dim=1) if named else full.new_empty(shape)
    groups = labels[family.counted].unique(return_inverse=True)[1]
    no_draws = torch.empty(0, len(bench.ks), len(family.metrics), dtype=torch.float64)
    return Summed(
        bench=bench,
        metrics=family.metrics,
        chance=family.chance(labels, len(bench.features.text)),
        renormalise=scaled_again(bench),
        groups=groups,
        counts=counts,
        by_image=by_image,
        full_by_image=full,
        random_by_image=random,
        draws=torch.cat(draws) if draws else no_draws,
        **resample(bench.options, groups, counts, by_image, full, random),
    )
