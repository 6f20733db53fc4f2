"""Choose how many neurons or axes to keep: the fewest that keep a share of the metric.

The choice is made on one half of the images and judged on the other, so that the best of many is
not judged by the images that made it the best.
"""

import math
import os
from collections.abc import Iterator, Mapping

import pandas as pd

from purescope.errors import InputError, near_miss
from purescope.reduce.commands import Named, named_in
from purescope.reduce.shares import Choice, MetricShares, Share, choose_fewest, mean_over
from purescope.specs import to_path
from purescope.tables.files import check_table
from purescope.tables.metrics import IMAGE_METRICS, OF_IMAGES, RETRIEVAL_METRICS
from purescope.tables.results import Results, open_results
from purescope.tables.schemas import VERDICTS
from purescope.tables.shares import CHOICES, OTHERS, SHARES, TARGETS

METRICS = ("accuracy", *OF_IMAGES, *RETRIEVAL_METRICS)
OVER = ("worst", "mean")

_DATA = (
    {"accuracy": "DATASET --renormalise"}
    | dict.fromkeys(RETRIEVAL_METRICS, "captions:PATH")
    | {
        name: f"DATASET --metrics {option}"
        for option in IMAGE_METRICS
        for name in IMAGE_METRICS[option]
    }
)


def choose(
    results: Results | str | os.PathLike[str],
    *,
    keep_at_least: float = 0.99,
    of: str = "accuracy",
    over: str = "worst",
    multiple_of: int = 1,
) -> list[Choice]:
    """Choose the fewest dimensions of each model that keep a share of a metric.

    It is the smallest measured k at which the lower end of the 95 % confidence interval of the
    share reaches the target, on one half of the images. Its share on the other half is the one to
    quote.

    Args:
        results: the results of a sweep, or their folder.
        keep_at_least: the share, above 0 and at most 1.
        of: the metric: ``accuracy``, one of images such as ``mean_average_precision``, or one of
            captions such as ``image_retrieval_recall@5``.
        over: ``worst``: the target is reached on every dataset; ``mean``: in the mean over them.
        multiple_of: consider only ks that this number divides.

    Raises:
        InputError: an argument is out of range, or the results have no table of shares.

    Examples:
        >>> import purescope as ps
        >>> from purescope.studies.synthetic import plant
        >>> planted = plant(effect=1.0, neurons=16, images=600, classes=3)
        >>> from purescope.studies.shares import share_table
        >>> from purescope.studies.settings import Options
        >>> from purescope.studies.sweeps import measure_strategies
        >>> measured = measure_strategies(
        ...     planted.features, planted.projections, Options(keep=[4, 8, 12], draws=2)
        ... )
        >>> tables = {"results": measured.table, "shares": share_table(measured)}
        >>> (choice,) = choose(Results(to_path("out"), tables), keep_at_least=0.8)
        >>> choice.k, choice.strategy
        (8, 'high_purity')
    """
    if not 0 < keep_at_least <= 1:
        raise InputError(
            f"keep_at_least = {keep_at_least:g}", expected="a share above 0 and at most 1"
        )
    if multiple_of < 1:
        raise InputError(f"multiple_of = {multiple_of}", expected="1 or more")
    for option, name, known in (("of", of, METRICS), ("over", over, OVER)):
        if name not in known:
            raise InputError(f"unknown {option} {name!r}", **near_miss(name, known))
    opened = results if isinstance(results, Results) else open_results(to_path(results))
    shares = opened.rows(SHARES)
    shares = shares[(shares.metric == of) & (shares.k % multiple_of == 0)]
    if not len(shares):
        multiples = f" at a multiple of {multiple_of}" if multiple_of > 1 else ""
        raise InputError(
            f"{opened.path} has no shares of {of}{multiples}",
            expected="the folder of a sweep of this version of purescope",
            fix=f"measure again: `purescope sweep MODEL --data {_DATA[of]} --out DIR`"
            ", with --keep for other numbers of neurons",
        )
    verdicts, named = opened.rows(VERDICTS), named_in(opened.manifest)
    return [
        choose_fewest(
            MetricShares(str(model), of, over, rows, opened.table("results"), verdicts, named),
            keep_at_least,
        )
        for model, rows in shares.groupby("model", sort=False)
    ]


def choice_table(tables: Mapping[str, pd.DataFrame], named: Named) -> pd.DataFrame:
    """Choose for each model, metric and share of `purescope.tables.shares.TARGETS`.

    Args:
        tables: the tables of a run: results, shares and verdicts.
        named: what its models and datasets were called.

    Returns:
        The table `purescope.tables.shares.CHOICES`: a row for each dataset that counts, and one for
        the worst of all of them.
    """
    rows = []
    for (model, metric), shares in tables["shares"].groupby(["model", "metric"], sort=False):
        rest = (tables["results"], tables["verdicts"], named)
        datasets = dict(iter(shares.groupby("dataset", sort=False)))
        parts = {"": shares} | (datasets if len(datasets) > 1 else {})
        found = {
            dataset: _choice_rows(MetricShares(str(model), str(metric), "worst", part, *rest))
            for dataset, part in parts.items()
        }
        for dataset in ("", *datasets):  # of one dataset, it is the worst of all
            same = found.get(dataset, found[""])
            rows += [{"model": model, "dataset": dataset, "metric": metric, **row} for row in same]
    return check_table(pd.DataFrame(rows, columns=list(CHOICES.columns)), CHOICES)


def _choice_rows(given: MetricShares) -> list[dict[str, object]]:
    return [row for target in TARGETS for row in _choice_row(given, target)]


def _choice_row(given: MetricShares, target: float) -> Iterator[dict[str, object]]:
    """Yield the row of a choice, or of what comes closest; none where no dataset counts."""
    choice, closest = choose_fewest(given, target), None
    strategy, k, chosen, judged = choice.strategy, choice.k, choice.chosen, choice.judged
    if choice.closest is not None:
        closest = choice.closest
        strategy, k, chosen, judged = closest.strategy, closest.k, closest.share, closest.judged
    if strategy is None or k is None or chosen is None or judged is None:
        return
    row: dict[str, object] = {
        "target": target,
        "enough": closest is None,
        "k": k,
        "strategy": strategy,
        "chosen": chosen.share,
        "chosen_low": chosen.low,
        "chosen_high": chosen.high,
        "share": judged.share,
        "low": judged.low,
        "high": judged.high,
        "sets": len(choice.counted),
        "neurons": choice.neurons,
        "deployed": choice.as_deployed,
        "command": choice.command,
    }
    cells = given.judged(strategy, k)
    for other in OTHERS:
        row[other] = share.share if (share := given.points["judge"].get((other, k))) else math.nan
        over = mean_over(cells, other) or Share(math.nan, math.nan, math.nan)
        ends = {f"over_{other}_low": over.low, f"over_{other}_high": over.high}
        row |= {f"over_{other}": over.share, **ends}
    yield row
