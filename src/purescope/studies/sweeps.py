"""The sweep: every strategy, draw and k on one set of features; encoded once, ordered once, each k
a prefix.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float64, Int32
from torch import Tensor

from purescope.features.features import Features
from purescope.formats import ResultTable
from purescope.maths.cells import ablation_values, check_keep, default_keep
from purescope.maths.intervals import (
    Part,
    bootstrap_each,
    mean_recall_interval,
    percentile_interval,
    wilson_interval,
)
from purescope.maths.overlaps import Projections
from purescope.maths.silhouette import has_silhouette, silhouette_strata
from purescope.maths.strategies import STRATEGIES
from purescope.studies.bench import (
    SILHOUETTE_DRAWS,
    ByImage,
    Case,
    Evaluator,
    in_space,
    strategy_input,
)
from purescope.studies.settings import DRAWS, PURITY, RESAMPLES, Options
from purescope.tables.columns import METRICS
from purescope.tables.files import check_table

FEW_IMAGES, FEW_OF_CLASS = (
    15,
    10,
)  # right or wrong images, and images of a class, below which the bootstrap fails


@dataclass(frozen=True)
class Measured:
    """What a sweep measured on one model and dataset, per image where tests need it.

    `metric` is one of `purescope.tables.columns.METRICS`, in that order; NaN where there is no
    silhouette.

    Args:
        features: what was measured on.
        strategies: names, without random.
        ks: neurons kept, ascending.
        values: of each strategy.
        full: of all neurons.
        draws: of each random order.
        right: which images each strategy gets right.
        full_right: which images all neurons get right.
        hits: how many of the random orders get an image right.
        typical_right: which images the random order of median accuracy gets right, one order for
            each k.
        first_right: which images the first random order gets right.
        resampled: `values` in bootstrap resamples of the images.
        resampled_full: `full` likewise.
        resampled_drawn: mean accuracy of the random orders likewise; the same resamples for all
            three.
        options: by which it was measured.
    """

    features: Features
    strategies: tuple[str, ...]
    ks: tuple[int, ...]
    values: Float[Tensor, "strategy k metric"]
    full: Float[Tensor, " metric"]
    draws: Float[Tensor, "draw k metric"]
    right: Bool[Tensor, "strategy k image"]
    full_right: Bool[Tensor, " image"]
    hits: Int32[Tensor, "k image"]
    typical_right: Bool[Tensor, "k image"]
    first_right: Bool[Tensor, "k image"]
    resampled: Float[Tensor, "resample strategy k metric"]
    resampled_full: Float[Tensor, "resample metric"]
    resampled_drawn: Float[Tensor, "resample k"]
    options: Options

    @property
    def drawn_right(self) -> Float64[Tensor, "k image"]:
        """Share of the random orders that get an image right."""
        return self.hits / torch.tensor(len(self.draws), dtype=torch.float64)

    @property
    def table(self) -> pd.DataFrame:
        """The table `purescope.tables.schemas.RESULTS`."""
        neurons, classes = self.features.image.shape[1], len(self.features.text)
        none = torch.full_like(self.draws, torch.nan)
        low, high = self._interval(self.resampled, self.values, self.right)
        full_low, full_high = self._interval(self.resampled_full, self.full, self.full_right)
        ks, draws = list(self.ks), [("random", draw) for draw in range(len(self.draws))]
        parts = [
            _rows(
                [("full", 0)],
                [neurons],
                *(part[None, None] for part in (self.full, full_low, full_high)),
            ),
            _rows([(strategy, 0) for strategy in self.strategies], ks, self.values, low, high),
            _rows(draws, ks, self.draws, none, none),
        ]
        cells = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        beyond = (cells["metric"] == "silhouette") & (cells["draw"] >= SILHOUETTE_DRAWS)
        table = pd.DataFrame({name: column[~beyond] for name, column in cells.items()})
        values = torch.from_numpy(table["value"].to_numpy(copy=True))
        counted = torch.from_numpy(table.metric.isin(METRICS[:2]).to_numpy(copy=True))
        binomial_low, binomial_high = (
            torch.where(counted, end, torch.nan).numpy()
            for end in wilson_interval(values, len(self.features.image))
        )
        by_guessing = [1 / classes, min(5, classes) / classes, 1 / classes, np.nan]
        table = table.assign(
            binomial_low=binomial_low,
            binomial_high=binomial_high,
            chance=table.metric.map(dict(zip(METRICS, by_guessing, strict=True))),
            model=self.features.model,
            dataset=self.features.dataset,
            n=len(self.features.image),
            classes=classes,
            neurons=neurons,
            seed=self.options.seed + table.draw,
            protocol=self.features.identity.get("protocol", ""),
            space=self.options.space,
            measure=self.options.measure,
            towers=self.options.towers,
            ablation=self.options.ablation,
            renormalise=self.options.renormalise,
        )
        return ResultTable(check_table(table))

    def _interval(
        self,
        resampled: Float[Tensor, "resample *cell metric"],
        values: Float[Tensor, "*cell metric"],
        right: Bool[Tensor, "*cell image"],
    ) -> tuple[Float[Tensor, "*cell metric"], Float[Tensor, "*cell metric"]]:
        """The bootstrap's intervals; where it fails, that of a fraction, or of the mean of recalls.

        It fails where few images are right, or few are wrong, and where classes have few images:
        their resamples differ less than other images would.
        """
        low, high = percentile_interval(resampled)
        images, sizes = len(self.features.labels), self.features.labels.bincount()
        shares = values[..., :2]
        few = torch.minimum(shares, 1 - shares) * images < FEW_IMAGES
        for end, other in zip((low, high), wilson_interval(shares, images), strict=True):
            end[..., :2] = torch.where(few, other.double(), end[..., :2])
        if int(sizes[sizes > 0].min()) < FEW_OF_CLASS:
            classes = torch.nn.functional.one_hot(self.features.labels, len(sizes)).double()
            low[..., 2], high[..., 2] = mean_recall_interval(right.double() @ classes, sizes)
        return low, high

    def curve(
        self, strategy: str, metric: int = 0
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, "resample k"]]:
        """A metric at each k, and in each resample; of random, the mean accuracy of the orders and
        nothing else.
        """
        if strategy == "random":
            return self.draws[:, :, 0].mean(0), self.resampled_drawn
        place = self.strategies.index(strategy)
        return self.values[place, :, metric], self.resampled[:, place, :, metric]


def _rows(
    runs: list[tuple[str, int]], ks: list[int], values: Tensor, low: Tensor, high: Tensor
) -> dict[str, np.ndarray]:
    """Columns with a row for each run, k and metric."""
    strategies, draws = ([run[place] for run in runs] for place in (0, 1))
    each, metrics = len(ks) * len(METRICS), len(METRICS)
    return {
        "strategy": np.repeat(np.array(strategies, dtype=object), each),
        "draw": np.repeat(np.array(draws, dtype=np.int64), each),
        "k": np.tile(np.repeat(np.array(ks), metrics), len(runs)),
        "metric": np.tile(np.array(METRICS, dtype=object), len(runs) * len(ks)),
        **{
            name: part.flatten().numpy()
            for name, part in (("value", values), ("low", low), ("high", high))
        },
    }


def sweep(
    features: Features,
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
    renormalise: bool = False,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Accuracy and silhouette of every strategy at every k, as the table
    `purescope.tables.schemas.RESULTS`.

    Args:
        features: image and class features of one model on one dataset.
        projections: that model's projections, by which the neurons are ranked in the space
            ``weights``.
        keep: the ks; by default the experiment's, see `default_keep`.
        strategies: names in `purescope.maths.strategies.STRATEGIES` or
            `purescope.maths.bases.BASES`; random orders and the full embedding are always measured.
            One that looks at labels is fitted on one half of the images and judged on the other,
            for both halves.
        draws: how many random orders; draw r has the seed ``seed + r``. Silhouettes are measured
            for the first 50.
        seed: of the first random order, of strategies that are drawn, and of the bootstrap.
        space: where overlap is measured: ``weights``, the experiment's; ``activations`` or
            ``centred``, the neurons' activations in `features`, see
            `purescope.maths.overlaps.activation_space`.
        measure: of overlap, a name in `purescope.maths.measures.MEASURES`; ``l1`` is the
            experiment's.
        towers: how the towers' measures make one score; ``both``, their sum, is the experiment's.
        ablation: what a dropped neuron is set to: ``zero``, the experiment's, ``mean`` or
            ``resample``, see `purescope.maths.cells.ablation_values`. The silhouette is that of the
            neurons kept, whatever the others are.
        renormalise: give class features unit norm again over the neurons kept; the experiment does
            not.
        resamples: of the bootstrap over images that gives the intervals.

    Returns:
        One row for each strategy, draw, k and metric. ``value`` is a fraction, or a silhouette from
        -1 to 1; ``low`` to ``high`` is its 95 % interval.

    Raises:
        InputError: a k is out of range, `draws` is negative, an option is unknown, or features and
            projections differ in neurons.

    Warns:
        UserWarning: some neurons are dead, or the labels admit no silhouette.

    Examples:
        Neuron 2 is orthogonal to the others, and it alone tells these cats from dogs:

        >>> weights = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> text = torch.tensor([[0.8, 0.0, 0.6], [0.8, 0.0, -0.6]])
        >>> labels = torch.tensor([0, 1, 0, 1])
        >>> features = Features(text[labels], text, labels, ("cat", "dog"), model="tiny", dataset="pets")
        >>> table = sweep(features, Projections(weights, weights), keep=1, draws=1, resamples=100)
        >>> table[table.metric == "accuracy"][["strategy", "k", "value"]]
               strategy  k  value
        0          full  3    1.0
        4   high_purity  1    1.0
        8    low_purity  1    0.5
        12       random  1    1.0
    """
    options = Options(
        keep, strategies, draws, seed, space, measure, towers, ablation, renormalise, resamples
    )
    return measure_strategies(features, projections, options).table


def measure_strategies(
    features: Features, projections: Projections | None, options: Options
) -> Measured:
    """What `sweep` tabulates, with the images that each strategy gets right; arguments and errors
    as there.
    """
    seen = strategy_input(features, projections, options)
    if seen.dead.any():
        warnings.warn(
            f"{seen.dead.sum()} of {seen.neurons} neurons have norm zero and rank last",
            stacklevel=2,
        )
    if not has_silhouette(features.labels):
        warnings.warn("no silhouette: it needs two classes, and one with two images", stacklevel=2)
    ks = check_keep(
        default_keep(seen.neurons) if options.keep is None else options.keep, seen.neurons
    )
    dropped = ablation_values(features.image, options.ablation, seed=options.seed)
    evaluator = Evaluator(features, dropped, options.renormalise)
    cells = _Cells(evaluator, len(options.strategies), len(ks))
    for place, name in enumerate(options.strategies):
        cells.take(place, evaluator.strategy(name, seen, ks, options.seed))
    cells.take_full(evaluator.orders(torch.arange(seen.neurons)[None], [seen.neurons]).of(0))
    orders = [
        STRATEGIES["random"].order(seen, options.seed + draw) for draw in range(options.draws)
    ]
    drawn, hits, typical_right, first_right = evaluator.draws(
        torch.stack(orders) if orders else None, ks
    )
    resampled, resampled_full, resampled_drawn = cells.resampled(hits, options)
    return Measured(
        features=features,
        strategies=tuple(options.strategies),
        ks=tuple(ks),
        values=cells.values[:-1].unflatten(0, (len(options.strategies), len(ks))),
        full=cells.values[-1],
        draws=drawn,
        right=cells.right[:-1].unflatten(0, (len(options.strategies), len(ks))),
        full_right=cells.right[-1],
        hits=hits,
        typical_right=typical_right,
        first_right=first_right,
        resampled=resampled,
        resampled_full=resampled_full,
        resampled_drawn=resampled_drawn,
        options=options,
    )


class _Cells:
    """What each image says of each strategy and k, and last of all neurons: as few bytes of each as
    that takes.

    A silhouette is no mean of independent values: what is resampled are its pseudo-values, see
    their module.
    """

    def __init__(self, evaluator: Evaluator, strategies: int, ks: int) -> None:
        self._evaluator, self._shape = evaluator, (strategies, ks)
        cells, images = strategies * ks + 1, len(evaluator.features.image)
        self.right = torch.empty(cells, images, dtype=torch.bool)
        self._top5 = torch.empty(cells, images, dtype=torch.bool)
        self._pseudovalues = torch.empty(cells, images)
        self.values = torch.empty(cells, len(METRICS), dtype=torch.float64)

    def take(self, strategy: int, by_image: ByImage) -> None:
        """Take in a strategy."""
        ks = self._shape[1]
        self._take(slice(strategy * ks, (strategy + 1) * ks), by_image)

    def take_full(self, by_image: ByImage) -> None:
        """Take in all neurons."""
        self._take(slice(len(self.right) - 1, None), by_image)

    def _take(self, cells: slice, by_image: ByImage) -> None:
        self.right[cells], self._top5[cells] = by_image.right, by_image.top5
        self._pseudovalues[cells] = by_image.pseudovalue
        self.values[cells] = self._evaluator.means(
            by_image.right, by_image.top5, by_image.silhouette
        )

    def resampled(
        self, hits: Int32[Tensor, "k image"], options: Options
    ) -> tuple[
        Float[Tensor, "resample strategy k metric"],
        Float[Tensor, "resample metric"],
        Float[Tensor, "resample k"],
    ]:
        """The metrics in resamples of the images, and the mean accuracy of the random orders."""
        labels = self._evaluator.features.labels
        counted = [
            (self.right, None),
            (self._top5, None),
            (self.right, self._evaluator.weight),
            (hits, None),
        ]
        spread = [(self._pseudovalues, None)]
        groups, strata = labels.unique(return_inverse=True)[1], silhouette_strata(labels)

        def means(parts: Sequence[Part], groups: Tensor) -> list[Tensor]:
            return bootstrap_each(parts, groups, resamples=options.resamples, seed=options.seed)

        if torch.equal(strata, groups):  # the same draws serve both
            right, top5, recall, drawn, pseudovalues = means([*counted, *spread], groups)
        else:
            right, top5, recall, drawn, pseudovalues = (
                *means(counted, groups),
                *means(spread, strata),
            )
        metrics = torch.stack([right, top5, recall, pseudovalues], dim=2)
        return metrics[:, :-1].unflatten(1, self._shape), metrics[:, -1], drawn / options.draws


def case_of(measured: Measured, projections: Projections | None) -> Case:
    """What a sweep was made on; `projections` are None for a model that has none."""
    options, features = measured.options, measured.features
    return Case(
        features,
        in_space(options.space, features, projections),
        list(measured.ks),
        options.renormalise,
        ablation_values(features.image, options.ablation, seed=options.seed),
    )
