"""Evaluate every strategy, every random order and every k on the features of one model and dataset.

Images are encoded once and each order is made once; each k keeps the first k neurons of an order.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from purescope.features.captions import CaptionFeatures
from purescope.features.features import Features
from purescope.maths.cells import halves
from purescope.maths.intervals import (
    Part,
    bootstrap_each,
    mean_recall_interval,
    percentile_interval,
    wilson_interval,
)
from purescope.maths.overlaps import Projections
from purescope.maths.silhouette import has_silhouette, silhouette_strata
from purescope.studies.bench import SILHOUETTE_DRAWS, Bench, ByImage, RandomResults
from purescope.studies.image_search import measure_images, with_images
from purescope.studies.orders import warn_of_dead
from purescope.studies.retrieval import measure_retrieval
from purescope.studies.settings import DRAWS, PURITY, RESAMPLES, Options, OwnOrder
from purescope.studies.swept import FEW_IMAGES, Swept
from purescope.tables.columns import METRICS

# The bootstrap fails below so many images of a class.
FEW_OF_CLASS = 10


@dataclass(frozen=True, eq=False)
class Measured(Swept):
    """The results of a sweep of one model on one dataset, image by image where tests need it.

    The axis `metric` is `purescope.tables.columns.METRICS`, in that order; the silhouette is NaN
    where the labels admit none.

    Args:
        bench: features, neurons, orders and options.
        values: metrics of each strategy at each k.
        full: metrics with all neurons.
        random: results of the random orders.
        right: which images each strategy gets right at each k.
        full_right: which images are right with all neurons.
        resampled: `values` in bootstrap resamples of the images.
        resampled_full: `full` in the same resamples.
        resampled_random: mean accuracy of the random orders in the same resamples.
    """

    bench: Bench
    values: Float[Tensor, "strategy k metric"]
    full: Float[Tensor, " metric"]
    random: RandomResults
    right: Bool[Tensor, "strategy k image"]
    full_right: Bool[Tensor, " image"]
    resampled: Float[Tensor, "resample strategy k metric"]
    resampled_full: Float[Tensor, "resample metric"]
    resampled_random: Float[Tensor, "resample k"]

    @property
    def features(self) -> Features:
        """The features that were evaluated."""
        return self.bench.features

    @property
    def draws(self) -> Float[Tensor, "draw k metric"]:
        """Metrics of each random order."""
        return self.random.values

    def right_of(self, strategy: str) -> Bool[Tensor, "k image"]:
        """Return which images a strategy gets right; for random, the order of median accuracy."""
        if strategy == "random":
            return self.random.median_right
        return self.right[self.strategies.index(strategy)]

    def rightness(self, strategy: str, ks: slice = slice(None)) -> Float64[Tensor, "k image"]:
        """Return how right each image is: 0 or 1, and for random the fraction of its orders.

        Args:
            strategy: a strategy or random.
            ks: the places of some ks, where those of all would not fit into memory.
        """
        if strategy == "random":
            return self.random.right_count[ks] / torch.tensor(len(self.draws), dtype=torch.float64)
        return self.right_of(strategy)[ks].double()

    def curve(
        self, strategy: str, metric: int = 0
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, "resample k"]]:
        """Return a metric at each k, and the same in each resample.

        For random it is the mean accuracy of the orders, whatever the metric.
        """
        if strategy == "random":
            return self.draws[:, :, 0].mean(0), self.resampled_random
        place = self.strategies.index(strategy)
        return self.values[place, :, metric], self.resampled[:, place, :, metric]

    @property
    def table(self) -> pd.DataFrame:
        """The results as the table `purescope.tables.schemas.RESULTS`."""
        images, classes = len(self.features.image), len(self.features.text)
        table = self._values_and_intervals()
        values = torch.from_numpy(table["value"].to_numpy(copy=True))
        is_fraction = torch.from_numpy(table.metric.isin(METRICS[:2]).to_numpy(copy=True))
        binomial_low, binomial_high = (
            torch.where(is_fraction, end, torch.nan).numpy()
            for end in wilson_interval(values, images)
        )
        chance = [1 / classes, min(5, classes) / classes, 1 / classes, np.nan]
        table = table.assign(
            binomial_low=binomial_low,
            binomial_high=binomial_high,
            chance=table.metric.map(dict(zip(METRICS, chance, strict=True))),
            classes=classes,
            renormalise=bool(self.options.renormalise),
        )
        return self.finished(table)

    def _values_and_intervals(self) -> pd.DataFrame:
        """Return the rows that were measured: only the first random orders have a silhouette."""
        full = self.full, *self._interval(self.resampled_full, self.full, self.full_right)
        values = self.values, *self._interval(self.resampled, self.values, self.right)
        table = self.rows(METRICS, full, values, self.draws)
        missing = (table.metric == "silhouette") & (table.draw >= SILHOUETTE_DRAWS)
        return table[~missing].reset_index(drop=True)

    def _interval(
        self,
        resampled: Float[Tensor, "resample *cell metric"],
        values: Float[Tensor, "*cell metric"],
        right: Bool[Tensor, "*cell image"],
    ) -> tuple[Float[Tensor, "*cell metric"], Float[Tensor, "*cell metric"]]:
        """Return bootstrap intervals; where these fail, intervals of a fraction or a mean recall.

        The bootstrap fails where few images are right or few are wrong, and where classes have few
        images: their resamples differ less than other images would.
        """
        low, high = percentile_interval(resampled)
        images, sizes = len(self.features.labels), self.features.labels.bincount()
        fractions = values[..., :2]
        few = torch.minimum(fractions, 1 - fractions) * images < FEW_IMAGES
        for end, wilson in zip((low, high), wilson_interval(fractions, images), strict=True):
            end[..., :2] = torch.where(few, wilson.double(), end[..., :2])
        if int(sizes[sizes > 0].min()) < FEW_OF_CLASS:
            classes = torch.nn.functional.one_hot(self.features.labels, len(sizes)).double()
            low[..., 2], high[..., 2] = mean_recall_interval(right.double() @ classes, sizes)
        return low, high


def sweep(
    features: Features | CaptionFeatures,
    projections: Projections | None = None,
    *,
    keep: int | Iterable[int] | None = None,
    strategies: Sequence[str] = PURITY,
    draws: int = DRAWS,
    seed: int = 0,
    space: str = "weights",
    measure: str = "l1",
    towers: str = "both",
    ablation: str = "zero",
    renormalise: bool | None = None,
    resamples: int = RESAMPLES,
    orders: Mapping[str, OwnOrder] | None = None,
    metrics: Sequence[str] = (),
) -> pd.DataFrame:
    """Measure accuracy and silhouette, or retrieval, of every strategy at every k.

    Args:
        features: image and class features of one model on one dataset; or features of images and
            captions, for which retrieval is measured, see `purescope.maths.retrieval`.
        projections: projections of the same model, which rank the neurons in the space
            ``weights``.
        keep: one or more ks, the numbers of neurons to keep; by default those of the experiment,
            see `purescope.maths.cells.default_keep`.
        strategies: names in `purescope.maths.strategies.STRATEGIES` or
            `purescope.maths.bases.BASES`, or a band of a basis such as ``svd@8``, see
            `purescope.maths.bases.make_basis`; random orders and the full embedding are always
            measured.
            A strategy that uses labels is fitted on one half of the images and evaluated on the
            other, for both halves.
        draws: number of random orders; draw r has the seed ``seed + r``. Silhouettes are measured
            for the first 50.
        seed: seed of the first random order, of strategies that draw, and of the bootstrap.
        space: where overlap is measured: ``weights``, as in the experiment; ``activations`` or
            ``centred``, the neurons' activations in `features`, see
            `purescope.maths.overlaps.activation_space`.
        measure: measure of overlap, a name in `purescope.maths.measures.MEASURES`; the experiment
            uses ``l1``.
        towers: how the measures of both towers make one score; the experiment uses ``both``, their
            sum.
        ablation: value of a dropped neuron: ``zero``, as in the experiment, ``mean`` or
            ``resample``, see `purescope.maths.cells.ablation_values`. The silhouette is that of the
            kept neurons, whatever the value of the others.
        renormalise: scale features to unit norm again over the kept neurons, as a smaller model
            does. By default captions and their images are scaled again, and images for
            `metrics`; class features are not, as in the experiment.
        resamples: number of bootstrap resamples of the images for the confidence intervals.
        orders: your own orders by name. Each is a permutation of the neurons, and its first neurons
            are kept first. They are measured and tested in the same way as the strategies.
        metrics: more metrics of the images alone, by their labels: ``knn``, ``map``, ``probe``, see
            `purescope.studies.image_search`.

    Returns:
        The table `purescope.tables.schemas.RESULTS`: one row for each strategy, draw, k and metric.
        ``value`` is a fraction, or a silhouette from -1 to 1; ``low`` to ``high`` is its 95 %
        confidence interval.

    Raises:
        InputError: a k is out of range, `draws` is negative, an option is unknown, features and
            projections differ in neurons, or captions are given with a strategy or a metric that
            uses labels or with values for dropped neurons.

    Warns:
        UserWarning: some neurons are dead, or the labels admit no silhouette or another metric.

    Examples:
        Neuron 2 is orthogonal to the others, and it alone distinguishes these cats from dogs:

        >>> weights = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> text = torch.tensor([[0.8, 0.0, 0.6], [0.8, 0.0, -0.6]])
        >>> labels = torch.tensor([0, 1, 0, 1])
        >>> features = Features(text[labels], text, labels, ("cat", "dog"), "tiny", "pets")
        >>> table = sweep(features, Projections(weights, weights), keep=1, draws=1, resamples=100)
        >>> table[table.metric == "accuracy"][["strategy", "k", "value"]]
               strategy  k  value
        0          full  3    1.0
        4   high_purity  1    1.0
        8    low_purity  1    0.5
        12       random  1    1.0
    """
    options = Options(
        keep,
        strategies,
        draws,
        seed,
        space,
        measure,
        towers,
        ablation,
        renormalise,
        resamples,
        orders or {},
        metrics,
    )
    if isinstance(features, CaptionFeatures):
        return measure_retrieval(features, projections, options).table
    measured = measure_strategies(features, projections, options)
    return with_images(measured.table, measure_images(measured.bench))


def measure_strategies(
    features: Features, projections: Projections | None, options: Options
) -> Measured:
    """Run a sweep and keep its results image by image; arguments and errors as in `sweep`."""
    bench = Bench.make(features, projections, options)
    warn_of_dead(bench.strategy_input)
    if not has_silhouette(features.labels):
        warnings.warn("no silhouette: it needs two classes, and one with two images", stacklevel=2)
    results = _Results(bench)
    for strategy in options.names:
        axes, orders = bench.on_axes(strategy)
        results.add(_held_out(axes.by_image(orders, bench.ks), features.labels))
    all_neurons = torch.arange(bench.neurons)[None]
    results.add(bench.by_image(all_neurons, [bench.neurons]).order(0))
    random = bench.evaluate_random(bench.random_orders(options.draws))
    return results.with_resamples(random)


def _held_out(by_image: ByImage, labels: Int64[Tensor, " image"]) -> ByImage:
    """Return the results of one order, or of two, each for its half of the images."""
    if len(by_image.right) == 1:
        return by_image.order(0)
    first_half = halves(labels) == 0
    pairs = zip(by_image.order(0), by_image.order(1), strict=True)
    return ByImage(*(torch.where(first_half, *pair) for pair in pairs))


class _Results:
    """Results image by image of every strategy at every k, followed by those of all neurons.

    Only what the bootstrap needs is kept, in few bytes. A silhouette is no mean of independent
    values, so its pseudo-values are resampled, see `silhouette_pseudovalues_by_k`.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench, self._filled = bench, 0
        self._shape = len(bench.options.names), len(bench.ks)
        cells, images = self._shape[0] * self._shape[1] + 1, len(bench.features.image)
        self._right = torch.empty(cells, images, dtype=torch.bool)
        self._top5 = torch.empty(cells, images, dtype=torch.bool)
        self._pseudovalues = torch.empty(cells, images)
        self._values = torch.empty(cells, len(METRICS), dtype=torch.float64)

    def add(self, by_image: ByImage) -> None:
        """Add the next strategy, or at the end all neurons."""
        cells = slice(self._filled, self._filled + len(by_image.right))
        self._right[cells], self._top5[cells] = by_image.right, by_image.top5
        self._pseudovalues[cells] = by_image.pseudovalue
        self._values[cells] = self._bench.metrics(
            by_image.right, by_image.top5, by_image.mean_silhouette
        )
        self._filled = cells.stop

    def with_resamples(self, random: RandomResults) -> Measured:
        """Return all results, together with their bootstrap resamples over images."""
        labels, options = self._bench.features.labels, self._bench.options
        fractions = [
            (self._right, None),
            (self._top5, None),
            (self._right, self._bench.recall_weights),
            (random.right_count, None),
        ]
        silhouettes = [(self._pseudovalues, None)]
        groups = labels.unique(return_inverse=True)[1]

        def bootstrap(parts: Sequence[Part], groups: Tensor) -> list[Tensor]:
            return bootstrap_each(parts, groups, resamples=options.resamples, seed=options.seed)

        if torch.equal(silhouette_strata(labels), groups):  # the same resamples serve both
            means = bootstrap([*fractions, *silhouettes], groups)
        else:
            by_stratum = bootstrap(silhouettes, silhouette_strata(labels))
            means = [*bootstrap(fractions, groups), *by_stratum]
        right, top5, recall, right_count, pseudovalues = means
        resampled = torch.stack([right, top5, recall, pseudovalues], dim=2)
        return Measured(
            bench=self._bench,
            values=self._values[:-1].unflatten(0, self._shape),
            full=self._values[-1],
            random=random,
            right=self._right[:-1].unflatten(0, self._shape),
            full_right=self._right[-1],
            resampled=resampled[:, :-1].unflatten(1, self._shape),
            resampled_full=resampled[:, -1],
            resampled_random=right_count / options.draws,
        )
