"""Small tables, and what is read back from a drawing."""

import dataclasses
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.path import Path as MatplotlibPath

from purescope.tables.files import check_table
from purescope.tables.schemas import LAYERS

KS = (100, 200, 300)
HIGH, LOW, FULL = (0.31, 0.35, 0.41), (0.22, 0.29, 0.40), 0.42
Floats: TypeAlias = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Made:
    """A small table and the random values that went into it, [draw, k]."""

    table: pd.DataFrame
    random: Floats


def made(
    model: str = "CC3M LaCLIP",
    dataset: str = "emoji",
    *,
    draws: int = 7,
    ks: tuple[int, ...] = KS,
    classes: int = 66,
    silhouette: float = 0.1,
) -> Made:
    """Accuracies as above, a random one at every draw, and silhouettes `silhouette` times as
    large.
    """
    random = np.random.default_rng(0).uniform(0.2, 0.4, (draws, len(ks)))
    cells = [("full", 0, 512, FULL)]
    cells += [("high_purity", 0, k, HIGH[i]) for i, k in enumerate(ks)]
    cells += [("low_purity", 0, k, LOW[i]) for i, k in enumerate(ks)]
    cells += [
        ("random", draw, k, random[draw, i]) for draw in range(draws) for i, k in enumerate(ks)
    ]
    # Shuffled: what is drawn must not hang on the order of the rows.
    rows = pd.DataFrame(cells, columns=["strategy", "draw", "k", "value"]).sample(
        frac=1, random_state=1
    )
    parts = [
        rows.assign(metric="accuracy"),
        rows.assign(metric="silhouette", value=rows.value * silhouette),
    ]
    table = pd.concat(parts, ignore_index=True).assign(
        model=model,
        dataset=dataset,
        low=np.nan,
        binomial_low=np.nan,
        binomial_high=np.nan,
        chance=np.nan,
        high=np.nan,
        n=1500,
        classes=classes,
        neurons=512,
        seed=0,
        space="weights",
        measure="l1",
        towers="both",
        ablation="zero",
        renormalise=False,
        protocol="native",
    )
    return Made(check_table(table), random)


def joined(*parts: Made) -> pd.DataFrame:
    return pd.concat([part.table for part in parts], ignore_index=True)


def line(ax: Axes, label: str) -> Line2D:
    """The one line whose label begins so."""
    (found,) = [drawn for drawn in ax.lines if str(drawn.get_label()).startswith(label)]
    return found


def x(drawn: Line2D) -> Floats:
    return np.asarray(drawn.get_xdata(), dtype=float)


def y(drawn: Line2D) -> Floats:
    return np.asarray(drawn.get_ydata(), dtype=float)


def corners(path: MatplotlibPath) -> Floats:
    """Of an area, [corner, 2]."""
    return np.asarray(path.vertices, dtype=float)


def labels(ax: Axes) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def bands(ax: Axes) -> list[PolyCollection]:
    return [drawn for drawn in ax.collections if isinstance(drawn, PolyCollection)]


def edges(band: PolyCollection) -> dict[float, tuple[float, float]]:
    """Lower and upper edge of a band at each x."""
    x, y = corners(band.get_paths()[0]).T
    return {at: (y[x == at].min(), y[x == at].max()) for at in np.unique(x)}


def check_band(band: PolyCollection, values: Floats, low: float, high: float) -> None:
    """The band runs between two numpy quantiles of [draw, k]."""
    drawn = edges(band)
    assert list(drawn) == list(KS)
    for i, k in enumerate(KS):
        expected = (np.quantile(values[:, i], low), np.quantile(values[:, i], high))
        np.testing.assert_allclose(drawn[k], expected, rtol=1e-12)


def neurons_table(model: str = "a $x$", neurons: int = 40) -> pd.DataFrame:
    """A run's table of neurons, with overlaps drawn at random."""
    random = np.random.default_rng(0)
    drawn = {
        f"{tower}_{what}": random.uniform(0.1, 0.3, neurons)
        for tower in ("image", "text")
        for what in ("overlap", "random")
    }
    table = pd.DataFrame(
        {
            "model": model,
            "neuron": random.permutation(neurons),
            "rank": range(1, neurons + 1),
            **drawn,
        }
    )
    return table.assign(
        total_overlap=(table.image_overlap + table.text_overlap) * (neurons - 1),
        image_purity=1 / table.image_overlap,
        text_purity=1 / table.text_overlap,
    )


def importance_table(
    model: str = "a $x$", dataset: str = "emoji", neurons: int = 30
) -> pd.DataFrame:
    """Of importance, with numbers of both signs."""
    random = np.random.default_rng(1)
    columns = ("accuracy_drop", "low", "high", "loss_change", "margin_change")
    table = pd.DataFrame({name: random.normal(0, 0.01, neurons) for name in columns})
    positive = (
        "variance",
        "image_norm",
        "text_norm",
        "image_purity",
        "text_purity",
        "total_overlap",
    )
    table = table.assign(**{name: random.uniform(1, 9, neurons) for name in positive})
    return table.assign(model=model, dataset=dataset, ablation="zero", neuron=range(neurons))


def layer_table(model: str = "a $x$") -> pd.DataFrame:
    """Two blocks of a text tower, and two stems and a block of an image tower."""
    rows = [
        ("image", 0, "stem", 1.1, 0.9),
        ("image", 0, "stem", 1.2, 0.8),
        ("image", 1, "mlp", 2.0, 0.7),
    ]
    rows += [
        ("text", depth, kind, depth + 0.5, 0.5 / depth)
        for depth in (1, 2)
        for kind in ("attention", "mlp")
    ]
    columns = ["tower", "depth", "kind", "relative_overlap", "relative_effective_rank"]
    table = pd.DataFrame(rows, columns=columns)
    names = [f"{tower}.{number}" for number, tower in enumerate(table.tower)]
    table = table.assign(
        model=model, space="weights", dataset="", token="", name=names, neurons=4, width=9, dead=0
    )
    return table.reindex(columns=list(LAYERS.described))
