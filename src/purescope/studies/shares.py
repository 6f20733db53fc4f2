"""Measure which share of a metric each strategy keeps at each k, on each half of the images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import pandas as pd
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from purescope.maths.cells import halves
from purescope.maths.intervals import NORMAL_975
from purescope.maths.shares import mean_share_interval, share_interval
from purescope.studies.importance import drop_interval
from purescope.studies.summed import independent_images
from purescope.studies.sweeps import Measured
from purescope.studies.swept import FEW_IMAGES, Swept
from purescope.tables.files import check_table
from purescope.tables.shares import HALVES, OTHERS, SHARES


@dataclass(frozen=True, eq=False)
class Task:
    """A metric as sums over images, of which a share is kept.

    Args:
        metric: its name.
        sums: returns what each image adds with the kept neurons, ``[k, image]`` float64, for the
            name of a strategy and some ks; for random, the mean over the random orders.
        full: what each image adds with all neurons.
        counts: the weight of each image.
        exact: whether each image counts once, and is simply right or wrong.
    """

    metric: str
    sums: Callable[[str, slice], Float64[Tensor, "k image"]]
    full: Float64[Tensor, " image"]
    counts: Float64[Tensor, " image"]
    exact: bool


def share_table(measured: Measured) -> pd.DataFrame:
    """Return the share of the accuracy that each strategy and the random orders keep.

    The halves are those of `purescope.maths.cells.halves`, so both have images of every class with
    two. A dataset of which one half has no image has no rows.

    Args:
        measured: the sweep of a model on a dataset.

    Returns:
        The table `purescope.tables.shares.SHARES`.
    """
    full = measured.full_right.double()
    task = Task("accuracy", measured.rightness, full, torch.ones_like(full), exact=True)
    return shares_of(measured, [task], halves(measured.features.labels))


def shares_of(swept: Swept, tasks: Sequence[Task], half: Int64[Tensor, " image"]) -> pd.DataFrame:
    """Return the share of each metric that strategies and random orders keep, on each half.

    Args:
        swept: the sweep.
        tasks: the metrics.
        half: the half of each image, 0 or 1. There are no rows if one of them has no image.
    """
    has_both = all(bool((half == place).any()) for place in range(len(HALVES)))
    rows = [
        {"metric": task.metric, "half": name, **row}
        for task in (tasks if has_both else ())
        for place, name in enumerate(HALVES)
        for row in _rows(swept, task, half == place)
    ]
    features = swept.bench.features
    table = pd.DataFrame(rows, columns=list(SHARES.columns)).assign(
        model=features.model, dataset=features.dataset, neurons=swept.bench.neurons
    )
    return check_table(table, SHARES)


def _rows(swept: Swept, task: Task, inside: Bool[Tensor, " image"]) -> Iterator[dict[str, object]]:
    """Return a row for each strategy and k on one half: strategy by strategy, random last."""
    full, counts = task.full[inside], task.counts[inside]
    whole = float(full.sum() / counts.sum())
    known = [name for name in OTHERS if name in swept.curve_names]
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in swept.curve_names}
    for ks in swept.some_ks:
        others = {other: task.sums(other, ks)[:, inside] for other in known}
        for name in swept.curve_names:
            sums = others[name] if name in others else task.sums(name, ks)[:, inside]
            columns = {
                "value": sums.sum(1) / counts.sum(),
                "share": torch.where(full.sum() > 0, sums.sum(1) / full.sum(), torch.nan),
            }
            if name == "random":
                _, columns["low"], columns["high"] = mean_share_interval(sums, full)
            else:
                columns["low"], columns["high"] = _interval(sums, full, counts, exact=task.exact)
            for other in OTHERS:
                over = torch.full((3, len(sums)), torch.nan, dtype=torch.float64)
                if other in others and name not in (other, "random"):
                    exact = None if other == "random" else task.exact
                    over = torch.stack(_over(sums, others[other], counts, exact=exact))
                for end, values in zip(("", "_low", "_high"), over, strict=True):
                    columns[f"over_{other}{end}"] = values
            for place, k in enumerate(swept.ks[ks]):
                cells = {column: values[place].item() for column, values in columns.items()}
                own = {"strategy": name, "k": k, "full": whole, "n": len(counts)}
                rows[name].append(own | cells)
    return chain(*rows.values())


def _over(
    sums: Float64[Tensor, "k image"],
    other: Float64[Tensor, "k image"],
    counts: Float64[Tensor, " image"],
    *,
    exact: bool | None,
) -> tuple[Float64[Tensor, " k"], Float64[Tensor, " k"], Float64[Tensor, " k"]]:
    """Return how much more a strategy keeps than another on the same images, with its interval.

    Where images are right or wrong, or few of them change, the interval is Tango's, which also
    holds where none changes. For the mean of random orders (`exact` None) nearly all images change
    by a little, and the interval is normal.
    """
    differences = sums - other
    mean = differences.sum(1) / counts.sum()
    # A ratio of two sums varies by what each image adds beyond its share.
    effects = (differences - mean[:, None] * counts) / counts.mean()
    error = NORMAL_975 * effects.std(1) / len(counts) ** 0.5
    low, high = mean - error, mean + error
    few = (differences != 0).sum(1) < FEW_IMAGES
    if exact is None or not (exact or bool(few.any())):
        return mean, low, high
    images = len(counts) if exact else independent_images(counts[None])[0]
    scale = images / float(counts.sum())
    better, worse = (differences.mul(sign).clamp(min=0).sum(1) * scale for sign in (1, -1))
    score_low, score_high = drop_interval(better, worse, images)
    chosen = few | exact
    return mean, torch.where(chosen, score_low, low), torch.where(chosen, score_high, high)


def _interval(
    sums: Float64[Tensor, "k image"],
    full: Float64[Tensor, " image"],
    counts: Float64[Tensor, " image"],
    *,
    exact: bool,
) -> tuple[Float64[Tensor, " k"], Float64[Tensor, " k"]]:
    """Return the interval of the share: of counts where images are right or wrong, else normal.

    Where few images change, no normal interval holds. Values between 0 and 1 then count as that
    many right and wrong ones, of as many images as are independent.
    """
    shared = torch.minimum(sums, full).sum(1)
    scale = 1.0 if exact else independent_images(counts[None])[0] / float(counts.sum())
    kept, whole = sums.sum(1) * scale, full.sum() * scale
    both = torch.minimum(shared * scale, torch.minimum(kept, whole))  # not above by rounding
    low, high = share_interval(kept, both, whole.expand_as(kept))
    if exact:
        return low, high
    _, normal_low, normal_high = mean_share_interval(sums, full)
    many = (sums != full).sum(1) >= FEW_IMAGES
    return torch.where(many, normal_low, low), torch.where(many, normal_high, high)
