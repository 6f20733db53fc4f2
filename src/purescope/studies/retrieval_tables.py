"""Compare strategies in retrieval, describe their curves, and measure which share they keep."""

from collections.abc import Iterator
from functools import partial

import pandas as pd
import torch
from jaxtyping import Float64
from torch import Tensor

from purescope.maths.cells import halves, mean_over_k
from purescope.maths.intervals import bootstrap_p
from purescope.maths.significance import mcnemar
from purescope.studies.comparisons import adjust, comparison_rows, curve_differences
from purescope.studies.curve_numbers import describe_curve
from purescope.studies.retrieval import MeasuredRetrieval
from purescope.studies.shares import Task, shares_of
from purescope.tables.files import check_table
from purescope.tables.metrics import RETRIEVAL_METRICS
from purescope.tables.retrieval import RETRIEVAL_COMPARISONS, RETRIEVAL_CURVES


def compare_retrieval(measured: MeasuredRetrieval) -> pd.DataFrame:
    """Compare each strategy with random orders, and high with low purity, in every metric.

    Returns:
        The table `purescope.tables.retrieval.RETRIEVAL_COMPARISONS`. Adjusted p-values are those of
        this one dataset, see `adjust_retrieval`.
    """
    rows = [
        row
        for metric in range(len(RETRIEVAL_METRICS))
        for pair in measured.compared
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
    by, tests = ("model", "metric", "first", "second"), ("paired", "permutation")
    return adjust(table, by=by, tests=tests)


def _compare_pair(
    measured: MeasuredRetrieval, metric: int, first: str, second: str
) -> Iterator[dict[str, object]]:
    """Return a row for each k and one for the area between the curves."""
    curves = measured.curve(first, metric), measured.curve(second, metric)
    random = measured.draws[:, :, metric] if second == "random" else None
    columns, resampled = curve_differences(*curves, measured.ks, random)
    columns["paired_p"] = bootstrap_p(resampled)
    if second != "random" and is_right_or_wrong(measured, metric):
        places = [measured.strategies.index(name) for name in (first, second)]
        columns["paired_p"][:-1] = mcnemar(
            *(measured.by_image[metric, place] > 0 for place in places)
        )
    names = {"metric": RETRIEVAL_METRICS[metric], "first": first, "second": second}
    yield from comparison_rows(columns, measured.ks, **names)


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
    half = _halves(measured)
    rows = []
    for metric, metric_name in enumerate(RETRIEVAL_METRICS):
        # The last row of resampled values is the measured value itself.
        full = torch.cat([measured.resampled_full[:, metric], measured.full[metric][None]])
        counts = measured.bench.counts[metric]
        for name in measured.curve_names:
            curve, resampled = measured.curve(name, metric)
            curves = torch.cat([resampled, curve[None]])
            sums = _sums(measured, metric, name)
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
    table = pd.DataFrame(rows, columns=list(RETRIEVAL_CURVES.columns))
    return check_table(table, RETRIEVAL_CURVES)


def retrieval_share_table(measured: MeasuredRetrieval) -> pd.DataFrame:
    """Return the share of each metric that strategies and random orders keep, on each half.

    A half has every second image, with its captions. All of them were searched, so that the task
    is not easier on a half.

    Returns:
        The table `purescope.tables.shares.SHARES`.
    """
    tasks = [
        Task(
            name,
            partial(_sums, measured, metric),
            measured.full_by_image[metric].double(),
            measured.bench.counts[metric],
            exact=is_right_or_wrong(measured, metric),
        )
        for metric, name in enumerate(RETRIEVAL_METRICS)
    ]
    return shares_of(measured, tasks, _halves(measured))


def _sums(
    measured: MeasuredRetrieval, metric: int, name: str, ks: slice = slice(None)
) -> Float64[Tensor, "k image"]:
    """Return what each image adds to a metric; for random, the mean over the orders."""
    if name == "random":
        return measured.random_by_image[metric, ks]
    return measured.by_image[metric, measured.strategies.index(name), ks].double()


def _halves(measured: MeasuredRetrieval) -> Tensor:
    return halves(torch.zeros(len(measured.features.image), dtype=torch.int64))
