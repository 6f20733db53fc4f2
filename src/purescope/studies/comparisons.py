"""Compare strategies, and compare models, on the same images: paired intervals and tests.

Two kinds of chance are kept apart. The bootstrap and McNemar's test ask whether a difference would
hold on other images; they say nothing about neurons. A strategy's percentile and permutation
p-value among random orders of the neurons, on these images, say whether choosing by the strategy is
better than choosing at random. A claim about a strategy needs both.

Two models are paired by image: both are resampled in the same way, and McNemar's test counts the
images that only one of them gets right. Neurons are not paired. So overlaps are compared by a
bootstrap over the neurons of each model, and relative to the overlap of random weights of the same
width, because widths differ.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from purescope.errors import InputError
from purescope.formats import Difference
from purescope.maths.cells import area_between, halves, mean_over_k
from purescope.maths.intervals import NORMAL_975, bootstrap_means, bootstrap_p, percentile_interval
from purescope.maths.overlaps import Projections, relative_overlap
from purescope.maths.significance import (
    benjamini_hochberg,
    holm,
    mcnemar,
    percentile_of,
    permutation_p,
)
from purescope.studies.curve_numbers import describe_curve
from purescope.studies.settings import PURITY
from purescope.studies.sweeps import Measured
from purescope.tables.columns import AREA, METRICS
from purescope.tables.files import check_table
from purescope.tables.schemas import COMPARISONS, CURVES, RIVALS

ALL = "all"  # in a comparison of models: all neurons, or all datasets

Adjustment: TypeAlias = Callable[[Tensor], Tensor]
Curve: TypeAlias = tuple[Float[Tensor, " k"], Float[Tensor, "resample k"]]

ADJUSTMENTS: Mapping[str, Adjustment] = {"holm": holm, "bh": benjamini_hochberg}


def compare_strategies(measured: Measured) -> pd.DataFrame:
    """Compare the accuracy of each strategy with random orders, and high with low purity.

    Returns:
        The table `purescope.tables.schemas.COMPARISONS`. Adjusted p-values are those of this one
        dataset, see `adjust`.
    """
    rows = [row for pair in measured.compared for row in _compare_pair(measured, *pair)]
    features = measured.features
    table = pd.DataFrame(rows, columns=list(COMPARISONS.columns)).assign(
        model=features.model, dataset=features.dataset, draws=len(measured.draws)
    )
    return check_table(adjust(table), COMPARISONS)


def adjust(
    comparisons: pd.DataFrame,
    *,
    by: Sequence[str] = ("model", "first", "second"),
    tests: Sequence[str] = ("mcnemar", "permutation"),
) -> pd.DataFrame:
    """Adjust p-values for all tests of one comparison of strategies.

    These are the tests of all ks and datasets; areas are adjusted over datasets only. Holm's
    p-values limit the chance of any false difference, those of Benjamini and Hochberg the fraction
    of false ones.

    Args:
        comparisons: one row for each dataset and k.
        by: the columns that say which comparison it is.
        tests: the tests whose p-values are adjusted.
    """
    table = comparisons.reset_index(drop=True)
    columns = {
        f"{test}_{name}": (f"{test}_p", adjustment)
        for test in tests
        for name, adjustment in ADJUSTMENTS.items()
    }
    return adjusted(table, [*by, table.k == AREA], columns)


def adjusted(
    table: pd.DataFrame,
    by: Sequence[str | pd.Series],
    columns: Mapping[str, tuple[str, Adjustment]],
) -> pd.DataFrame:
    """Return the table with p-values adjusted for all tests of a group.

    Args:
        table: one row for each test.
        by: columns, or values for each row, that are equal within a group.
        columns: for each column to fill, the column of its p-values and the adjustment.
    """
    # The rows of each group, without pandas, which takes ten times as long.
    groups: dict[tuple[object, ...], list[int]] = {}
    labels = [(table[column] if isinstance(column, str) else column).tolist() for column in by]
    for row, group in enumerate(zip(*labels, strict=True)):
        groups.setdefault(group, []).append(row)
    filled = {}
    for column, (source, adjustment) in columns.items():
        p = torch.from_numpy(table[source].to_numpy(float, copy=True))
        filled[column] = torch.full_like(p, torch.nan)
        for rows in map(torch.tensor, groups.values()):
            filled[column][rows] = adjustment(p[rows])
    return table.assign(**{column: values.numpy() for column, values in filled.items()})


def _compare_pair(measured: Measured, first: str, second: str) -> Iterator[dict[str, object]]:
    """Return a row for each k and one for the area between the curves."""
    curves = measured.curve(first), measured.curve(second)
    random = measured.draws[:, :, 0] if second == "random" else None
    columns, _ = curve_differences(*curves, measured.ks, random)
    by_image = mcnemar(measured.right_of(first), measured.right_of(second))
    columns["mcnemar_p"] = torch.cat([by_image, torch.full((1,), torch.nan)])  # none of an area
    yield from comparison_rows(columns, measured.ks, first=first, second=second)


def curve_differences(
    one: Curve, other: Curve, ks: list[int], random: Float[Tensor, "draw k"] | None
) -> tuple[dict[str, Tensor], Float[Tensor, "resample k_and_area"]]:
    """Return how two curves differ at each k and in the area between them.

    Args:
        one, other: each curve, and the same in the resamples.
        ks: the ks of both.
        random: the curve of each random order, if `other` is their mean.

    Returns:
        The columns that all comparisons have, and the differences in the resamples.
    """
    (curve, resampled), (other_curve, other_resampled) = one, other
    area = area_between(resampled, other_resampled, ks)
    resampled_differences = torch.cat([resampled - other_resampled, area[:, None]], dim=1)
    low, high = percentile_interval(resampled_differences)
    differences = torch.cat([curve - other_curve, area_between(curve, other_curve, ks)[None]])
    percentile = p = torch.full_like(differences, torch.nan)
    if random is not None:
        values = torch.cat([curve, mean_over_k(curve, ks)[None]])
        random_values = torch.cat([random, mean_over_k(random, ks)[:, None]], dim=1)
        percentile, p = percentile_of(values, random_values), permutation_p(values, random_values)
    columns = {
        "difference": differences,
        "low": low,
        "high": high,
        "deviation": resampled_differences.std(0),
        "percentile": percentile,
        "permutation_p": p,
    }
    return columns, resampled_differences


def comparison_rows(
    columns: Mapping[str, Tensor], ks: list[int], **names: str
) -> Iterator[dict[str, object]]:
    """Return a row for each k and one for the area, with the names of what is compared."""
    for place, k in enumerate([*map(str, ks), AREA]):
        yield {**names, "k": k} | {name: column[place].item() for name, column in columns.items()}


def pooled_difference(areas: pd.DataFrame) -> Difference:
    """Return the mean difference of areas over datasets; for one dataset, its own interval.

    The interval of a mean is that of a normal sum of independent differences, too narrow for two
    views of the same images.

    Args:
        areas: rows of comparisons of the same strategies, `k` being `AREA`, one for each dataset.
    """
    if len(areas) == 1:
        row = areas.iloc[0]
        return Difference(float(row.difference), float(row.low), float(row.high))
    half_width = NORMAL_975 * areas.deviation
    return pooled_mean(areas.difference, half_width, half_width)


def pooled_mean(values: pd.Series, below: pd.Series, above: pd.Series) -> Difference:
    """Return the mean over independent datasets: the sides of their intervals add in squares.

    Args:
        values: one value for each dataset.
        below, above: distances from each value to the ends of its interval.
    """
    mean = float(values.mean())
    down, up = (math.sqrt(float(np.square(side).sum())) / len(values) for side in (below, above))
    return Difference(mean, mean - down, mean + up)


def pooled_p(table: pd.DataFrame, *, model: str, strategy: str) -> float:
    """Return the permutation p-value of a strategy's mean area over all datasets.

    The same random orders are drawn for every dataset, so this is one test, whatever the number of
    datasets.
    """
    rows = table[(table.model == model) & (table.metric == "accuracy")]
    value, draws = (mean_areas(rows[rows.strategy == name]) for name in (strategy, "random"))
    return float(permutation_p(value[0], draws))


def mean_areas(rows: pd.DataFrame) -> Float[Tensor, " draw"]:
    """Return the mean accuracy over ks and datasets of each draw that all datasets have.

    Args:
        rows: accuracies of one model and one strategy in a table of results.
    """
    # Without pandas, which takes ten times as long.
    names = ("draw", "dataset", "k")
    labels = [np.unique(rows[name].to_numpy(), return_inverse=True) for name in names]
    values = np.full([len(found) for found, _ in labels], np.nan)
    values[tuple(places for _, places in labels)] = rows["value"].to_numpy(float)
    areas = mean_over_k(torch.from_numpy(values), labels[2][0].tolist()).mean(1)
    return areas[~areas.isnan()]


def curve_table(measured: Measured) -> pd.DataFrame:
    """Describe the accuracy curve of each strategy by a few numbers.

    Returns:
        The table `purescope.tables.schemas.CURVES`.
    """
    ks, neurons, features = measured.ks, measured.bench.neurons, measured.features
    # The last row of resampled values is the measured value itself.
    full = torch.cat([measured.resampled_full[:, 0], measured.full[:1]])
    rows = []
    for name in measured.curve_names:
        curve, resampled = measured.curve(name)
        curves = torch.cat([resampled, curve[None]])
        rows.append(
            [
                features.model,
                features.dataset,
                name,
                *describe_curve(curves, full, ks, neurons),
                *mean_over_k(_mean_of_halves(measured, name), ks).tolist(),
            ]
        )
    return check_table(pd.DataFrame(rows, columns=list(CURVES.columns)), CURVES)


def _mean_of_halves(measured: Measured, name: str) -> Float64[Tensor, "half k"]:
    """Return the accuracy of a curve on each half of the images."""
    half = halves(measured.features.labels)
    means = [
        torch.stack([right[:, half == part].mean(1) for part in (0, 1)])
        for places in measured.some_ks
        for right in [measured.rightness(name, places)]
    ]
    return torch.cat(means, dim=1)


def compare_models(first: Measured, second: Measured) -> pd.DataFrame:
    """Compare all metrics of the full embedding and the curves of two models on one dataset.

    Curves are compared at each k if both models were swept at the same ks, otherwise by their areas
    only.

    Args:
        first, second: sweeps of the same dataset with the same options.

    Returns:
        The table `purescope.tables.schemas.RIVALS`.

    Raises:
        InputError: the sweeps are of different images.
    """
    a, b = first.features, second.features
    if a.dataset != b.dataset or not torch.equal(a.labels, b.labels):
        raise InputError(
            f"{a.model} on {a.dataset}, {len(a.labels)} images; {b.model} on {b.dataset}, "
            f"{len(b.labels)} images",
            expected="two models on the same images",
        )
    rows = [*_compare_full(first, second), *_compare_curves(first, second)]
    table = pd.DataFrame(rows, columns=list(RIVALS.columns)).assign(
        first=a.model, second=b.model, dataset=a.dataset
    )
    return adjust_models(table)


def compare_purity(
    first: tuple[str, Projections],
    second: tuple[str, Projections],
    *,
    resamples: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the mean relative overlap of two models' neurons in each tower.

    A mean over pairs of neurons is a U-statistic. It varies as if each neuron's own mean counted
    twice: by 4 zeta / d, where a mean of d independent values has zeta / d (Hoeffding 1948). So
    resamples are moved to twice their distance from the value.

    Args:
        first, second: label and projections.
        resamples: number of bootstrap resamples of the neurons of each model.
        seed: seed of the bootstrap.

    Returns:
        Rows like those of `compare_models`.
    """
    rows = []
    for tower in ("image", "text"):
        values, resampled = [], []
        for stream, (_, projections) in enumerate((first, second)):
            overlaps = relative_overlap(getattr(projections, tower))
            live = overlaps[~overlaps.isnan()]
            one_group, mean = torch.zeros(len(live), dtype=torch.int64), live.mean()
            means = bootstrap_means(live, one_group, resamples=resamples, seed=seed + stream)
            values.append(mean)
            resampled.append(mean + 2 * (means - mean))
        rows.append(_model_row("full", ALL, f"{tower}_relative_overlap", values, resampled))
    table = pd.DataFrame(rows, columns=list(RIVALS.columns))
    return adjust_models(table.assign(first=first[0], second=second[0], dataset=ALL))


def adjust_models(table: pd.DataFrame) -> pd.DataFrame:
    """Add Holm's p-values over the datasets, for the same strategy, k and metric."""
    columns = {"p_holm": ("p", holm)}
    return check_table(adjusted(table, ["strategy", "k", "metric"], columns), RIVALS)


def _compare_full(first: Measured, second: Measured) -> Iterator[dict[str, object]]:
    for place, metric in enumerate(METRICS):
        values = [first.full[place], second.full[place]]
        resampled = [first.resampled_full[:, place], second.resampled_full[:, place]]
        p = mcnemar(first.full_right, second.full_right) if metric == "accuracy" else None
        if not values[0].isnan():
            yield _model_row("full", ALL, metric, values, resampled, p)


def _compare_curves(first: Measured, second: Measured) -> Iterator[dict[str, object]]:
    """Return a row for the area of each curve, then, for equal ks, one for each strategy and k."""
    common = [name for name in first.strategies if name in second.strategies]
    random = bool(len(first.draws) and len(second.draws))
    both = [_curves(measured, common, random=random) for measured in (first, second)]
    for (name, metric, curve), (_, _, other) in zip(*both, strict=True):
        if not curve[0].isnan().any():
            areas = [mean_over_k(values, first.ks) for values in curve]
            other_areas = [mean_over_k(values, second.ks) for values in other]
            values, resampled = map(list, zip(areas, other_areas, strict=True))
            yield _model_row(name, AREA, metric, values, resampled)
    if first.ks == second.ks:
        for name in common:
            (value, resamples), (other_value, other_resamples) = (
                first.curve(name),
                second.curve(name),
            )
            p = mcnemar(first.right_of(name), second.right_of(name))
            for place, k in enumerate(first.ks):
                values = [value[place], other_value[place]]
                resampled = [resamples[:, place], other_resamples[:, place]]
                yield _model_row(name, str(k), METRICS[0], values, resampled, p[place])


def _curves(
    measured: Measured, strategies: Sequence[str], *, random: bool
) -> Iterator[tuple[str, str, Curve]]:
    """Return the curves of strategies, of the purity gap and of random, with name and metric."""
    for place, metric in enumerate(METRICS):
        for name in strategies:
            yield name, metric, measured.curve(name, place)
        if set(PURITY) <= set(strategies):
            high, low = (measured.curve(name, place) for name in PURITY)
            yield "gap", metric, (high[0] - low[0], high[1] - low[1])
    if random:
        yield "random", METRICS[0], measured.curve("random")


def _model_row(
    strategy: str,
    k: str,
    metric: str,
    values: list[Tensor],
    resampled: list[Tensor],
    p: Tensor | None = None,
) -> dict[str, object]:
    """Return a row of `RIVALS`; without an exact p-value, p is that of the bootstrap."""
    differences = resampled[0] - resampled[1]
    low, high = percentile_interval(differences)
    return {
        "strategy": strategy,
        "k": k,
        "metric": metric,
        "first_value": values[0].item(),
        "second_value": values[1].item(),
        "difference": (values[0] - values[1]).item(),
        "low": low.item(),
        "high": high.item(),
        "p": (bootstrap_p(differences) if p is None else p).item(),
    }
