"""Compare strategies in metrics that are sums over images, describe their curves and their shares.

These are the metrics of retrieval, and those of image search and probes.
"""

from collections.abc import Iterator
from functools import partial

import pandas as pd
import torch

from purescope.maths.cells import mean_over_k
from purescope.maths.intervals import bootstrap_p
from purescope.maths.significance import mcnemar
from purescope.studies.comparisons import adjust, comparison_rows, curve_differences
from purescope.studies.curve_numbers import describe_curve
from purescope.studies.shares import Task, shares_of
from purescope.studies.summed import Summed
from purescope.tables.files import check_table
from purescope.tables.retrieval import RETRIEVAL_COMPARISONS, RETRIEVAL_CURVES
from purescope.tables.schema import Schema


def compare_retrieval(measured: Summed, schema: Schema = RETRIEVAL_COMPARISONS) -> pd.DataFrame:
    """Compare the pairs of strategies of a sweep in every metric.

    Args:
        measured: the sweep.
        schema: the table, one of `purescope.tables.retrieval`.

    Returns:
        That table. Adjusted p-values are those of this one dataset, see `adjust_retrieval`.
    """
    rows = [
        row
        for metric in range(len(measured.metrics))
        for pair in measured.compared
        for row in _compare_pair(measured, metric, *pair)
    ]
    features = measured.bench.features
    table = pd.DataFrame(rows, columns=list(schema.columns)).assign(
        model=features.model, dataset=features.dataset, draws=len(measured.draws)
    )
    return check_table(adjust_retrieval(table), schema)


def adjust_retrieval(table: pd.DataFrame) -> pd.DataFrame:
    """Adjust p-values for all tests of one comparison and metric: of all ks and datasets.

    Areas are adjusted over datasets only.
    """
    by, tests = ("model", "metric", "first", "second"), ("paired", "permutation")
    return adjust(table, by=by, tests=tests)


def _compare_pair(
    measured: Summed, metric: int, first: str, second: str
) -> Iterator[dict[str, object]]:
    """Return a row for each k and one for the area between the curves."""
    curves = measured.curve(first, metric), measured.curve(second, metric)
    random = measured.draws[:, :, metric] if second == "random" else None
    columns, resampled = curve_differences(*curves, measured.ks, random)
    columns["paired_p"] = bootstrap_p(resampled)
    if second != "random" and measured.is_right_or_wrong(metric):
        right = (measured.sums(metric, name) > 0 for name in (first, second))
        columns["paired_p"][:-1] = mcnemar(*right)
    names = {"metric": measured.metrics[metric], "first": first, "second": second}
    yield from comparison_rows(columns, measured.ks, **names)


def retrieval_curve_table(measured: Summed, schema: Schema = RETRIEVAL_CURVES) -> pd.DataFrame:
    """Describe the curve of each metric and strategy by a few numbers.

    Args:
        measured: the sweep.
        schema: the table, one of `purescope.tables.retrieval`.

    Returns:
        That table.
    """
    ks, neurons, features = measured.ks, measured.bench.neurons, measured.bench.features
    half = measured.half
    rows = []
    for metric, metric_name in enumerate(measured.metrics):
        # The last row of resampled values is the measured value itself.
        full = torch.cat([measured.resampled_full[:, metric], measured.full[metric][None]])
        counts = measured.counts[metric]
        for name in measured.curve_names:
            curve, resampled = measured.curve(name, metric)
            curves = torch.cat([resampled, curve[None]])
            sums = measured.sums(metric, name)
            areas = (
                mean_over_k(sums[:, half == part].sum(1) / counts[half == part].sum(), ks).item()
                for part in (0, 1)
            )
            row = [
                *(features.model, features.dataset, metric_name, name),
                *describe_curve(curves, full, ks, neurons),
                *areas,
            ]
            rows.append(row)
    table = pd.DataFrame(rows, columns=list(schema.columns))
    return check_table(table, schema)


def retrieval_share_table(measured: Summed) -> pd.DataFrame:
    """Return the share of each metric that strategies and random orders keep, on each half.

    A half has every second image of each group, with its captions. It searches everything, so that
    the task is not easier on a half.

    Returns:
        The table `purescope.tables.shares.SHARES`.
    """
    tasks = [
        Task(
            name,
            partial(measured.sums, metric),
            measured.full_by_image[metric].double(),
            measured.counts[metric],
            exact=measured.is_right_or_wrong(metric),
        )
        for metric, name in enumerate(measured.metrics)
    ]
    return shares_of(measured, tasks, measured.half)
