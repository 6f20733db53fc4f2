"""Derive the points of the curves that figures show from a result table.

Every strategy has one value at each k. The random orders have many: their median, their 5 % and
95 % quantiles, and their smallest and largest value. This is the one definition of that band.
"""

import pandas as pd

from purescope.tables.files import check_table
from purescope.tables.schemas import CURVE_POINTS

_GROUP = ["model", "dataset", "metric"]
_FACTS = ["chance", "n", "classes", "neurons"]


def curve_points(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each model, dataset, metric, strategy and k of a result table.

    Metrics without any value, as a silhouette that the labels do not admit, have no rows.

    Args:
        results: the table `purescope.tables.schemas.RESULTS`, or some rows of it.

    Returns:
        The table `purescope.tables.schemas.CURVE_POINTS`, in the order of `results`.

    Examples:
        >>> import purescope as ps
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> table = ps.sweep(made.features, made.projections, keep=[4, 8], draws=5, resamples=100)
        >>> points = curve_points(table[table.metric == "accuracy"])
        >>> points[["strategy", "k", "draws"]].values.tolist()[-3:]
        [['low_purity', 8, 1], ['random', 4, 5], ['random', 8, 5]]
    """
    results = results[results.value.notna()]
    random = results.strategy == "random"
    points = [
        results[~random].assign(least=float("nan"), greatest=float("nan"), draws=1),
        random_band(results[random]),
    ]
    table = pd.concat([part for part in points if len(part)] or points[:1], ignore_index=True)
    # All points of one model, dataset and metric together, as in the results.
    pairs = pd.MultiIndex.from_frame(results[_GROUP].drop_duplicates())
    order = pairs.get_indexer(pd.MultiIndex.from_frame(table[_GROUP]))
    table = table.iloc[order.argsort(kind="stable")]
    return check_table(table[list(CURVE_POINTS.columns)], CURVE_POINTS)


def random_band(draws: pd.DataFrame) -> pd.DataFrame:
    """Return the median, quantiles and range of the random orders at each k.

    Args:
        draws: rows of random orders; each draw has one value at each k.
    """
    values = draws.groupby([*_GROUP, "k"], sort=False)
    facts = values[_FACTS].first()
    band = facts.assign(
        strategy="random",
        value=values.value.median(),
        low=values.value.quantile(0.05),
        high=values.value.quantile(0.95),
        least=values.value.min(),
        greatest=values.value.max(),
        draws=values.size(),
    ).reset_index()
    return band[list(CURVE_POINTS.columns)]
