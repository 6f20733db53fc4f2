"""Compare strategies in retrieval, describe their curves, and measure which share they keep."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from purescope.maths.cells import area_between, halves, mean_over_k
from purescope.maths.intervals import NORMAL_975, bootstrap_p, percentile_interval
from purescope.maths.shares import mean_share_interval, share_interval
from purescope.maths.significance import mcnemar, percentile_of, permutation_p
from purescope.studies.comparisons import ADJUSTMENTS, adjusted
from purescope.studies.curve_numbers import needed_with_interval, value_and_interval
from purescope.studies.result_rows import FEW_IMAGES
from purescope.studies.retrieval import MeasuredRetrieval, independent_images
from purescope.studies.settings import PURITY
from purescope.tables.columns import AREA
from purescope.tables.files import check_table
from purescope.tables.metrics import RETRIEVAL_METRICS
from purescope.tables.retrieval import RETRIEVAL_COMPARISONS, RETRIEVAL_CURVES
from purescope.tables.shares import HALVES, SHARES


def compare_retrieval(measured: MeasuredRetrieval) -> pd.DataFrame:
    """Compare each strategy with random orders, and high with low purity, in every metric.

    Returns:
        The table `purescope.tables.retrieval.RETRIEVAL_COMPARISONS`. Adjusted p-values are those of
        this one dataset, see `adjust_retrieval`.
    """
    pairs = [(name, "random") for name in measured.strategies if len(measured.draws)]
    if set(PURITY) <= set(measured.strategies):
        pairs.append(PURITY)
    rows = [
        row
        for metric in range(len(RETRIEVAL_METRICS))
        for pair in pairs
        for row in _compare_pair(measured, metric, *pair)
    ]
    features = measured.features
    table = pd.DataFrame(rows, columns=list(RETRIEVAL_COMPARISONS.columns)).assign(
        model=features.model, dataset=features.dataset, draws=len(measured.draws)
    )
    return check_table(adjust_retrieval(table), RETRIEVAL_COMPARISONS)


def adjust_retrieval(table: pd.DataFrame) -> pd.DataFrame:
    """Adjust p-values for all tests of one comparison and metric: of all ks and datasets.

    Areas are adjusted over datasets only.
    """
    table = table.reset_index(drop=True)
    columns = {
        f"{test}_{name}": (f"{test}_p", adjustment)
        for test in ("paired", "permutation")
        for name, adjustment in ADJUSTMENTS.items()
    }
    return adjusted(table, ["model", "metric", "first", "second", table.k == AREA], columns)


def _compare_pair(
    measured: MeasuredRetrieval, metric: int, first: str, second: str
) -> Iterator[dict[str, object]]:
    """Return a row for each k and one for the area between the curves."""
    ks = measured.ks
    (curve, resampled), (other, other_resampled) = (
        measured.curve(name, metric) for name in (first, second)
    )
    differences = torch.cat([curve - other, area_between(curve, other, ks)[None]])
    area = area_between(resampled, other_resampled, ks)
    resampled_differences = torch.cat([resampled - other_resampled, area[:, None]], dim=1)
    low, high = percentile_interval(resampled_differences)
    unknown = torch.full_like(differences, torch.nan)
    columns = {
        "difference": differences,
        "low": low,
        "high": high,
        "deviation": resampled_differences.std(0),
        "paired_p": bootstrap_p(resampled_differences),
        "percentile": unknown,
        "permutation_p": unknown,
    }
    if second == "random":
        random = measured.draws[:, :, metric]
        values = torch.cat([curve, mean_over_k(curve, ks)[None]])
        random_values = torch.cat([random, mean_over_k(random, ks)[:, None]], dim=1)
        columns["percentile"] = percentile_of(values, random_values)
        columns["permutation_p"] = permutation_p(values, random_values)
    elif is_right_or_wrong(measured, metric):
        places = [measured.strategies.index(name) for name in (first, second)]
        columns["paired_p"][:-1] = mcnemar(
            *(measured.by_image[metric, place] > 0 for place in places)
        )
    for place, k in enumerate([*map(str, ks), AREA]):
        yield {"metric": RETRIEVAL_METRICS[metric], "first": first, "second": second, "k": k} | {
            name: column[place].item() for name, column in columns.items()
        }


def is_right_or_wrong(measured: MeasuredRetrieval, metric: int) -> bool:
    """Tell whether each image is simply right or wrong: it counts once, and adds 0 or 1."""
    name, counts = RETRIEVAL_METRICS[metric], measured.bench.counts[metric]
    is_recall = name.startswith(("image_retrieval_recall", "text_retrieval_recall"))
    return is_recall and bool((counts == 1).all())


def retrieval_curve_table(measured: MeasuredRetrieval) -> pd.DataFrame:
    """Describe the curve of each metric and strategy by a few numbers.

    Returns:
        The table `purescope.tables.retrieval.RETRIEVAL_CURVES`.
    """
    ks, neurons, features = measured.ks, measured.bench.neurons, measured.features
    middle = min(range(len(ks)), key=lambda place: abs(ks[place] - neurons / 2))
    half = _halves(measured)
    rows = []
    for metric, metric_name in enumerate(RETRIEVAL_METRICS):
        # The last row of resampled values is the measured value itself.
        full = torch.cat([measured.resampled_full[:, metric], measured.full[metric][None]])
        counts = measured.bench.counts[metric]
        for name in _curve_names(measured):
            curve, resampled = measured.curve(name, metric)
            curves = torch.cat([resampled, curve[None]])
            sums = _sums(measured, name, metric)
            areas = (
                mean_over_k(sums[:, half == part].sum(1) / counts[half == part].sum(), ks).item()
                for part in (0, 1)
            )
            row = [
                *(features.model, features.dataset, metric_name, name),
                *value_and_interval(mean_over_k(curves, ks)),
                *needed_with_interval(curves, full, ks, neurons),
                ks[middle],
                *value_and_interval(curves[:, middle] / full.masked_fill(full == 0, torch.nan)),
                *areas,
            ]
            rows.append(row)
    table = pd.DataFrame(rows, columns=list(RETRIEVAL_CURVES.columns))
    return check_table(table, RETRIEVAL_CURVES)


def retrieval_share_table(measured: MeasuredRetrieval) -> pd.DataFrame:
    """Return the share of each metric that strategies and random orders keep, on each half.

    A half has every second image, with its captions. All of them were searched, so that the task
    is not easier on a half.

    Returns:
        The table `purescope.tables.shares.SHARES`.
    """
    half = _halves(measured)
    blocks = [
        _share_columns(measured, metric, half == place, name)
        for metric in range(len(RETRIEVAL_METRICS))
        for place, name in enumerate(HALVES)
    ]
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    features = measured.features
    table = pd.DataFrame(columns).assign(model=features.model, dataset=features.dataset)
    return check_table(table, SHARES)


def _share_columns(
    measured: MeasuredRetrieval, metric: int, inside: Bool[Tensor, " image"], half: str
) -> dict[str, Any]:
    """Return the columns of one metric on one half: strategy by strategy, then random orders."""
    ks, names = measured.ks, _curve_names(measured)
    counts = measured.bench.counts[metric, inside]
    full = measured.full_by_image[metric, inside].double()
    sums = torch.stack([_sums(measured, name, metric)[:, inside] for name in names])
    low, high = _share_interval(sums, full, counts, exact=is_right_or_wrong(measured, metric))
    columns = {
        "value": sums.sum(2) / counts.sum(),
        "share": torch.where(full.sum() > 0, sums.sum(2) / full.sum(), torch.nan),
        "low": low,
        "high": high,
    }
    columns |= {
        f"over_random{end}": torch.full_like(low, torch.nan) for end in ("", "_low", "_high")
    }
    if len(measured.draws):
        mean_share, *ends = mean_share_interval(sums[-1], full)
        for name, values in zip(("share", "low", "high"), (mean_share, *ends), strict=True):
            columns[name][-1] = values
        differences = sums[:-1] - sums[-1]
        mean = differences.sum(2) / counts.sum()
        # A ratio of two sums varies by what each image adds beyond its share.
        effects = (differences - mean[..., None] * counts) / counts.mean()
        error = NORMAL_975 * effects.std(2) / len(counts) ** 0.5
        for end, values in (("", mean), ("_low", mean - error), ("_high", mean + error)):
            columns[f"over_random{end}"][:-1] = values
    cells = len(names) * len(ks)
    return {
        "strategy": np.repeat(np.array(names, dtype=object), len(ks)),
        "k": np.tile(np.array(ks), len(names)),
        "metric": np.array([RETRIEVAL_METRICS[metric]] * cells, dtype=object),
        "half": np.array([half] * cells, dtype=object),
        **{name: values.flatten().numpy() for name, values in columns.items()},
        "full": np.full(cells, float(full.sum() / counts.sum())),
        "n": np.full(cells, len(counts)),
        "neurons": np.full(cells, measured.bench.neurons),
    }


def _share_interval(
    sums: Float64[Tensor, "order k image"],
    full: Float64[Tensor, " image"],
    counts: Float64[Tensor, " image"],
    *,
    exact: bool,
) -> tuple[Float64[Tensor, "order k"], Float64[Tensor, "order k"]]:
    """Return the interval of the share: of counts where images are right or wrong, else normal.

    Where few images change, no normal interval holds. Values between 0 and 1 then count as that
    many right and wrong ones, of as many images as are independent.
    """
    shared = torch.minimum(sums, full).sum(2)
    scale = 1.0 if exact else independent_images(counts[None])[0] / float(counts.sum())
    kept, whole = sums.sum(2) * scale, full.sum() * scale
    both = torch.minimum(shared * scale, torch.minimum(kept, whole))  # not above by rounding
    low, high = share_interval(kept, both, whole.expand_as(kept))
    if exact:
        return low, high
    _, normal_low, normal_high = mean_share_interval(sums, full)
    many = (sums != full).sum(2) >= FEW_IMAGES
    return torch.where(many, normal_low, low), torch.where(many, normal_high, high)


def _curve_names(measured: MeasuredRetrieval) -> list[str]:
    return [*measured.strategies, *(["random"] if len(measured.draws) else [])]


def _sums(measured: MeasuredRetrieval, name: str, metric: int) -> Float64[Tensor, "k image"]:
    """Return what each image adds to a metric; for random, the mean over the orders."""
    if name == "random":
        return measured.random_by_image[metric]
    return measured.by_image[metric, measured.strategies.index(name)].double()


def _halves(measured: MeasuredRetrieval) -> Tensor:
    return halves(torch.zeros(len(measured.features.image), dtype=torch.int64))
