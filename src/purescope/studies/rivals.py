"""Two models on the same images: which is better, by how much, and which of them has the purer
neurons.

Everything is paired by image: both models are resampled alike, and McNemar's test counts the images
that only one of them gets right. Neurons are not paired, so overlaps are compared by a bootstrap
over the neurons of each, and relative to what random weights of the same width have, since widths
differ.
"""

from collections.abc import Iterator

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.curves import mean_over_k
from purescope.maths.intervals import bootstrap_means, bootstrap_p, percentile_interval
from purescope.maths.overlaps import Projections, relative_overlap
from purescope.maths.significance import holm, mcnemar
from purescope.studies.comparisons import adjusted
from purescope.studies.settings import PURITY
from purescope.studies.sweeps import Measured
from purescope.tables.columns import AREA, METRICS
from purescope.tables.files import check_table
from purescope.tables.schemas import RIVALS

ALL = "all"  # neurons; or data sets, where it does not depend on one


def compare_models(first: Measured, second: Measured) -> pd.DataFrame:
    """All metrics of the full embedding and the curves of two models on one data set:
    `purescope.tables.schemas.RIVALS`.

    Curves are compared k by k where both models were swept at the same ks, and else by their areas
    alone.

    Args:
        first, second: of the same data set, with the same options.

    Raises:
        InputError: they are not of the same images.
    """
    a, b = first.features, second.features
    if a.dataset != b.dataset or not torch.equal(a.labels, b.labels):
        raise InputError(
            f"{a.model} on {a.dataset}, {len(a.labels)} images; {b.model} on {b.dataset}, "
            f"{len(b.labels)} images",
            expected="two models on the same images",
        )
    rows = [*_full(first, second), *_curves(first, second)]
    table = pd.DataFrame(rows, columns=list(RIVALS.columns)).assign(
        first=a.model, second=b.model, dataset=a.dataset
    )
    return adjust(table)


def compare_purity(
    first: tuple[str, Projections],
    second: tuple[str, Projections],
    *,
    resamples: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean relative overlap of two models' neurons in each tower, in rows as those of
    `compare_models`.

    A mean over pairs of neurons is a U-statistic: it varies as if each neuron's own mean counted
    twice, by 4 zeta / d where a mean of d independent values has zeta / d (Hoeffding 1948), so
    resamples lie twice as far from the value.

    Args:
        first, second: label and projections.
        resamples, seed: of the bootstrap over the neurons of each.
    """
    rows = []
    for tower in ("image", "text"):
        values, resampled = [], []
        for stream, (_, projections) in enumerate((first, second)):
            found = relative_overlap(getattr(projections, tower))
            alive = found[~found.isnan()]
            one_group, mean = torch.zeros(len(alive), dtype=torch.int64), alive.mean()
            means = bootstrap_means(alive, one_group, resamples=resamples, seed=seed + stream)
            values.append(mean)
            resampled.append(mean + 2 * (means - mean))
        of_both = (values[0], values[1]), (resampled[0], resampled[1])
        rows.append(_row("full", ALL, f"{tower}_relative_overlap", *of_both, None))
    table = pd.DataFrame(rows, columns=list(RIVALS.columns))
    return adjust(table.assign(first=first[0], second=second[0], dataset=ALL))


def adjust(table: pd.DataFrame) -> pd.DataFrame:
    """Holm's p-values over the data sets, for the same strategy, k and metric."""
    return check_table(
        adjusted(table, ["strategy", "k", "metric"], {"p_holm": ("p", holm)}), RIVALS
    )


def _full(first: Measured, second: Measured) -> Iterator[dict[str, object]]:
    for place, metric in enumerate(METRICS):
        values = (first.full[place], second.full[place])
        resampled = (first.resampled_full[:, place], second.resampled_full[:, place])
        exact = (
            mcnemar(first.full_right, second.full_right).item() if metric == "accuracy" else None
        )
        if not values[0].isnan():
            yield _row("full", ALL, metric, values, resampled, exact)


def _curves(first: Measured, second: Measured) -> Iterator[dict[str, object]]:
    both = [name for name in first.strategies if name in second.strategies]
    for place, metric in enumerate(METRICS):
        for name in both:
            curves = tuple(of.curve(name, place) for of in (first, second))
            if not curves[0][0].isnan().any():
                yield _area(name, metric, first, second, curves)
        if set(PURITY) <= set(both):
            gaps = tuple(_gap(of, place) for of in (first, second))
            if not gaps[0][0].isnan().any():
                yield _area("gap", metric, first, second, gaps)
    if len(first.draws) and len(second.draws):
        drawn = tuple(of.curve("random") for of in (first, second))
        yield _area("random", METRICS[0], first, second, drawn)
    if first.ks == second.ks:
        for name in both:
            (curve, resampled), (other, other_resampled) = (
                of.curve(name, 0) for of in (first, second)
            )
            right, other_right = (of.right[of.strategies.index(name)] for of in (first, second))
            for place, k in enumerate(first.ks):
                exact = mcnemar(right[place], other_right[place]).item()
                resamples = (resampled[:, place], other_resampled[:, place])
                yield _row(name, str(k), METRICS[0], (curve[place], other[place]), resamples, exact)


def _gap(of: Measured, metric: int) -> tuple[Float[Tensor, " k"], Float[Tensor, "resample k"]]:
    (high, high_resampled), (low, low_resampled) = (of.curve(name, metric) for name in PURITY)
    return high - low, high_resampled - low_resampled


def _area(
    name: str,
    metric: str,
    first: Measured,
    second: Measured,
    curves: tuple[tuple[Tensor, Tensor], ...],
) -> dict[str, object]:
    areas = [
        tuple(mean_over_k(curve, of.ks) for curve in pair)
        for of, pair in zip((first, second), curves, strict=True)
    ]
    return _row(name, AREA, metric, (areas[0][0], areas[1][0]), (areas[0][1], areas[1][1]), None)


def _row(
    strategy: str,
    k: str,
    metric: str,
    values: tuple[Tensor, Tensor],
    resampled: tuple[Tensor, Tensor],
    exact: float | None,
) -> dict[str, object]:
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
        "p": bootstrap_p(differences).item() if exact is None else exact,
    }
