"""Strategies against one another on the same images: paired intervals and tests, at each k and over
all of them.

Two kinds of chance are kept apart. The bootstrap and McNemar's test ask whether a difference would
stand on other images; they say nothing about neurons. Among random orders of the neurons, on these
images, a strategy's percentile and permutation p-value say whether choosing by it is more than
choosing blindly. A claim about a strategy needs both.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from purescope.formats import Difference
from purescope.maths.curves import area_between, halves, mean_over_k, neurons_needed, rising
from purescope.maths.intervals import NORMAL_975, percentile_interval
from purescope.maths.significance import (
    benjamini_hochberg,
    holm,
    mcnemar,
    percentile_of,
    permutation_p,
)
from purescope.studies.sweeps import Measured
from purescope.tables.columns import AREA
from purescope.tables.files import check_table
from purescope.tables.schemas import COMPARISONS, CURVES

ENOUGH = 0.95  # of full accuracy

Adjustment: TypeAlias = Callable[[Tensor], Tensor]

_ADJUSTED = ("mcnemar", "permutation")
_HOW: Mapping[str, Adjustment] = {"holm": holm, "bh": benjamini_hochberg}


def compare_strategies(measured: Measured) -> pd.DataFrame:
    """Accuracy of each strategy minus that of random orders, and of high minus low purity:
    `COMPARISONS` as a table.

    The columns for many tests are those of this one data set, see `adjust`.
    """
    rows = [row for pair in _pairs(measured) for row in _compare(measured, *pair)]
    features = measured.features
    table = pd.DataFrame(rows, columns=list(COMPARISONS.columns)).assign(
        model=features.model, dataset=features.dataset, draws=len(measured.draws)
    )
    return check_table(adjust(table), COMPARISONS)


def adjust(comparisons: pd.DataFrame) -> pd.DataFrame:
    """p-values adjusted for all the tests of one comparison: over ks and data sets; those of areas
    over data sets.

    Holm's hold the chance of any false difference at the level, Benjamini and Hochberg's the share
    of false ones.
    """
    table = comparisons.reset_index(drop=True)
    columns = {
        f"{test}_{name}": (f"{test}_p", how) for test in _ADJUSTED for name, how in _HOW.items()
    }
    return adjusted(table, ["model", "first", "second", table.k == AREA], columns)


def adjusted(
    table: pd.DataFrame,
    by: Sequence[str | pd.Series],
    columns: Mapping[str, tuple[str, Adjustment]],
) -> pd.DataFrame:
    """The table with p-values adjusted for all the tests of a group.

    Args:
        table: with a row for each test.
        by: what groups have in common.
        columns: the column to fill, the one of its p-values, and how.
    """
    places: dict[
        tuple[object, ...], list[int]
    ] = {}  # of the rows of each group; pandas takes ten times as long
    labels = [(table[of] if isinstance(of, str) else of).tolist() for of in by]
    for place, group in enumerate(zip(*labels, strict=True)):
        places.setdefault(group, []).append(place)
    groups = [torch.tensor(rows) for rows in places.values()]
    filled = {}
    for column, (source, how) in columns.items():
        p = torch.from_numpy(table[source].to_numpy(float, copy=True))
        filled[column] = _nan(len(p))
        for rows in groups:
            filled[column][rows] = how(p[rows])
    return table.assign(**{column: values.numpy() for column, values in filled.items()})


def curve_table(measured: Measured) -> pd.DataFrame:
    """Each strategy's curve of accuracy in a few numbers: `CURVES` as a table."""
    ks, features = list(measured.ks), measured.features
    neurons = features.image.shape[1]
    middle = min(range(len(ks)), key=lambda place: abs(ks[place] - neurons / 2))
    half = halves(features.labels)
    rows = []
    for name in (*measured.strategies, *(["random"] if len(measured.draws) else [])):
        curve, resampled = measured.curve(name)
        # The last resampled row is the measurement itself.
        curves = torch.cat([resampled, curve[None]])
        full = torch.cat([measured.resampled_full[:, 0], measured.full[:1]])
        right = (
            measured.drawn_right
            if name == "random"
            else measured.right[measured.strategies.index(name)].double()
        )
        rows.append(
            [
                features.model,
                features.dataset,
                name,
                *_measured(mean_over_k(curves, ks)),
                *_needed(curves, full, ks, neurons),
                ks[middle],
                *_measured(curves[:, middle] / full.masked_fill(full == 0, torch.nan)),
                *(mean_over_k(right[:, half == part].mean(1), ks).item() for part in (0, 1)),
            ]
        )
    return check_table(pd.DataFrame(rows, columns=list(CURVES.columns)), CURVES)


def _measured(values: Float[Tensor, " resample_and_value"]) -> tuple[float, float, float]:
    """The last one, and the interval of the others."""
    low, high = percentile_interval(values[:-1])
    return values[-1].item(), low.item(), high.item()


def _needed(
    curves: Float[Tensor, "resample_and_value k"],
    full: Float[Tensor, " resample_and_value"],
    ks: list[int],
    all_: int,
) -> tuple[float, float, float]:
    """Neurons for 95 % of full accuracy, and between which numbers they lie.

    Curves wander about the target, so the last k at which one is below says too much: the value is
    read off the curve that never falls. It lies above all ks at which the curve is below the target
    in 97.5 % of the resamples, up to the first at which it is not; and from the upper end on, the
    curve reaches it in 97.5 % of them at every k. Each end needs one test at one k to be right, so
    both hold in 95 % of samples or more.
    """
    if ks[-1] != all_:
        curves, ks = torch.cat([curves, full[:, None]], dim=1), [*ks, all_]
    over = curves - ENOUGH * full[:, None]
    below, above = percentile_interval(over[:-1])
    zero = torch.zeros((), dtype=torch.float64)
    least, most = neurons_needed(above.cummax(0).values, ks, zero), neurons_needed(below, ks, zero)
    value = neurons_needed(rising(over[-1]), ks, zero)
    return torch.maximum(least, torch.minimum(value, most)).item(), least.item(), most.item()


def pooled_difference(areas: pd.DataFrame) -> Difference:
    """Of the areas of one data set, with the interval they have; of several their mean.

    The interval of a mean is that of a normal sum of independent ones: two views of the same images
    make it too narrow.

    Args:
        areas: rows of comparisons of the same strategies, `k` being `AREA`, one a data set.
    """
    if len(areas) == 1:
        row = areas.iloc[0]
        return Difference(float(row.difference), float(row.low), float(row.high))
    mean = float(areas.difference.mean())
    half = NORMAL_975 * math.sqrt(float(np.square(areas.deviation).sum())) / len(areas)
    return Difference(mean, mean - half, mean + half)


def pooled_p(table: pd.DataFrame, *, model: str, strategy: str) -> float:
    """Permutation p-value of a strategy's mean area over all data sets, among those of the random
    orders.

    The same orders are drawn for every data set, so this is one test whatever the number of data
    sets.
    """
    rows = table[(table.model == model) & (table.metric == "accuracy")]
    value, draws = (_mean_areas(rows[rows.strategy == name]) for name in (strategy, "random"))
    return float(permutation_p(value[0], draws))


def _mean_areas(rows: pd.DataFrame) -> Float[Tensor, " draw"]:
    """Mean accuracy over the ks and over the data sets."""
    wide = rows.pivot(index=["draw", "dataset"], columns="k", values="value")
    curves = torch.from_numpy(wide.to_numpy(float, copy=True))
    areas = mean_over_k(curves, [int(k) for k in wide.columns])
    means = pd.Series(areas.numpy(), index=wide.index).groupby("draw").mean()
    return torch.from_numpy(means.to_numpy(float, copy=True))


def _pairs(measured: Measured) -> Iterator[tuple[str, str]]:
    if len(measured.draws):
        yield from ((name, "random") for name in measured.strategies)
    if {"high_purity", "low_purity"} <= set(measured.strategies):
        yield "high_purity", "low_purity"


def _compare(measured: Measured, first: str, second: str) -> Iterator[dict[str, object]]:
    ks = list(measured.ks)
    (curve, resampled), (other, other_resampled) = (
        measured.curve(name) for name in (first, second)
    )
    differences = torch.cat([curve - other, area_between(curve, other, ks)[None]])
    area = area_between(resampled, other_resampled, ks)
    resampled_differences = torch.cat([resampled - other_resampled, area[:, None]], dim=1)
    low, high = percentile_interval(resampled_differences)
    columns = {
        "difference": differences,
        "low": low,
        "high": high,
        "deviation": resampled_differences.std(0),
        "mcnemar_p": torch.cat(
            [mcnemar(_right(measured, first), _right(measured, second)), _nan(1)]
        ),
        "percentile": _nan(len(differences)),
        "permutation_p": _nan(len(differences)),
    }
    if second == "random":
        drawn = measured.draws[:, :, 0]
        values = torch.cat([curve, mean_over_k(curve, ks)[None]])
        draws = torch.cat([drawn, mean_over_k(drawn, ks)[:, None]], dim=1)
        columns["percentile"] = percentile_of(values, draws)
        columns["permutation_p"] = permutation_p(values, draws)
    for place, k in enumerate([*map(str, ks), AREA]):
        yield {"first": first, "second": second, "k": k} | {
            name: column[place].item() for name, column in columns.items()
        }


def _right(measured: Measured, name: str) -> Tensor:
    return (
        measured.random.typical_right
        if name == "random"
        else measured.right[measured.strategies.index(name)]
    )


def _nan(count: int) -> Float[Tensor, " test"]:
    return torch.full((count,), torch.nan, dtype=torch.float64)
