"""The neurons of a model as figures: overlaps against their null, cosines as a map, purity against
importance.

The map has neurons in their order by purity, and is dark where two of them point the same way.
"""

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image

from purescope import formats
from purescope.plots.style import COLOUR_MAP
from purescope.report.charts import Row, histogram_chart, scatter_chart
from purescope.report.figures import Figure
from purescope.tables import schemas
from purescope.tables.cosines import colour_limit
from purescope.tables.results import Results
from purescope.tables.schema import each_row

SIDE = 512  # pixels; more neurons share them, each showing the largest cosine within
_STEPS = 16  # of colour


@dataclass(frozen=True)
class Map:
    """One tower's.

    Args:
        tower: its name.
        picture: as a ``data:`` address.
        limit: the cosine of the darkest colour.
        above: share of the cosines above that.
        neurons: of the model.
        across: neurons in a pixel's row.
    """

    tower: str
    picture: str
    limit: float
    above: float
    neurons: int
    across: int


def cosine_map(cosines: np.ndarray, order: np.ndarray, *, tower: str) -> Map:
    """Absolute cosines ``[neuron, neuron]`` as a picture, the neurons of `order` from the top
    left.
    """
    limit = colour_limit(cosines)
    size = np.abs(cosines)[np.ix_(order, order)]
    others = ~np.eye(len(size), dtype=bool)
    above = float((size[others] > limit).mean()) if len(size) > 1 else 0.0
    np.fill_diagonal(size, 0.0)
    across = -(-len(size) // SIDE)
    steps = (
        np.clip(_largest(size, across) / limit * (_STEPS - 1), 0, _STEPS - 1)
        .round()
        .astype(np.uint8)
    )
    picture = Image.fromarray(steps)
    colours = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, _STEPS), bytes=True)[:, :3]
    picture.putpalette(colours.astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", bits=4, compress_level=9)
    address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return Map(tower, address, limit, above, len(cosines), across)


def colour_steps(count: int = 9) -> list[str]:
    """Colours from cosine 0 up, for the legend."""
    colours = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, count))
    return [matplotlib.colors.to_hex(colour) for colour in colours]


def _largest(size: np.ndarray, across: int) -> np.ndarray:
    """The largest of each block."""
    padding = -len(size) % across
    blocks = np.pad(size, (0, padding)).reshape(
        len(size) // across + (padding > 0), across, -1, across
    )
    return np.asarray(blocks.max(axis=(1, 3)))


_BINS = 48


def histogram(folder: Results, model: int, tower: str) -> Figure | None:
    """How many neurons of a tower have which overlap, and the range of random ones."""
    table = folder.rows(schemas.NEURONS)
    table = table[table.model == folder.models[model]]
    overlap, null = table[f"{tower}_overlap"].dropna(), table[f"{tower}_random"].dropna()
    if overlap.empty:
        return None
    counts, edges = np.histogram(overlap, bins=min(_BINS, max(1, len(overlap) // 4)))
    rows = [
        {"tower": tower, "start": start, "end": end, "neurons": int(count)}
        for count, start, end in zip(counts, edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    alt = (
        f"{tower.capitalize()} tower: overlap of {len(overlap):,} neurons, median "
        f"{overlap.median():.4f}, from "
        f"{overlap.min():.4f} to {overlap.max():.4f}."
    )
    nulls: list[Row] = []
    if len(null):
        told = f"overlap {null.min():.4f} to {null.max():.4f}"
        nulls = [
            {
                "tower": tower,
                "least": float(null.min()),
                "greatest": float(null.max()),
                "told": told,
            }
        ]
        purer = int((overlap < null.min()).sum())
        alt += (
            f" Random neurons of that width: {told[8:]}, median {null.median():.4f}; {purer:,} "
            f"neurons are purer than "
            "all of these."
        )
    return Figure(
        f"overlap-{model}-{tower}", f"{tower.capitalize()} tower", alt, histogram_chart(rows, nulls)
    )


def beside_random(folder: Results, model: int) -> str:
    """Whether the neurons are purer than chance: their mean overlap beside that of random ones."""
    table = folder.rows(schemas.NEURONS)
    table = table[table.model == folder.models[model]]
    times = {
        tower: float(table[f"{tower}_overlap"].mean() / table[f"{tower}_random"].mean())
        for tower in ("image", "text")
    }
    known = {tower: ratio for tower, ratio in times.items() if not math.isnan(ratio)}
    if not known:
        return ""
    purer = [tower for tower, ratio in known.items() if ratio < 1]
    told = ", in the ".join(f"{tower} tower {ratio:.2f} times" for tower, ratio in known.items())
    so = (
        f"purer than chance in the {' and the '.join(purer)} tower"
        if purer
        else "no purer than chance"
    )
    return f"Mean overlap is in the {told} that of random neurons: the model is {so}."


def maps(folder: Results, model: int) -> list[Map]:
    """Both towers' cosines, the purest neuron first."""
    label = folder.models[model]
    table = folder.rows(schemas.NEURONS)
    order = table[table.model == label].sort_values("rank").neuron.to_numpy()
    cosines = folder.cosines.get(label, {})
    return [
        cosine_map(matrix, order, tower=tower)
        for tower, matrix in cosines.items()
        if len(order) == len(matrix)
    ]


def scatter(folder: Results, model: int, chosen: int) -> Figure | None:
    """Purity against importance on the chosen data set."""
    table = folder.rows(schemas.IMPORTANCE)
    table = table[(table.model == folder.models[model]) & table.total_overlap.notna()]
    if table.empty:
        return None
    dataset = (
        folder.datasets[chosen]
        if (table.dataset == folder.datasets[chosen]).any()
        else table.dataset.iloc[0]
    )
    table = table[table.dataset == dataset]
    table = table[table.ablation == table.ablation.iloc[0]].sort_values(
        "total_overlap", kind="stable"
    )
    ranks = _ranks(folder, model)
    rows: list[Row] = [
        {
            "neuron": int(row.neuron),
            "rank": ranks.get(int(row.neuron)),
            "total_overlap": row.total_overlap,
            "accuracy_drop": row.accuracy_drop,
            "low": row.low,
            "high": row.high,
        }
        for row in each_row(table)
    ]
    most = max(rows, key=lambda row: row["accuracy_drop"])
    alt = (
        f"{folder.models[model]} on {dataset}: accuracy lost without each of {len(rows):,} neurons "
        f"against its "
        f"overlap. Most is lost without neuron {most['neuron']}, "
        f"{formats.points(most['accuracy_drop'])} points; "
        f"{sum(row['accuracy_drop'] < 0 for row in rows):,} neurons cost "
        f"accuracy.{_rho(folder, model, dataset)}"
    )
    return Figure(
        f"importance-{model}", "Purity against importance", alt, scatter_chart(rows, len(ranks))
    )


def ends(folder: Results, model: int, each: int) -> tuple[list[int], list[int]]:
    """The purest neurons, and the least pure of those that live, least pure first."""
    table = folder.rows(schemas.NEURONS)
    table = table[table.model == folder.models[model]].sort_values("rank")
    live = table[table.total_overlap.notna()]
    count = min(each, len(live) // 2)
    return live.neuron.head(count).to_list(), live.neuron.tail(count).to_list()[::-1]


def _ranks(folder: Results, model: int) -> dict[int, int]:
    table = folder.rows(schemas.NEURONS)
    table = table[table.model == folder.models[model]]
    return dict(zip(table.neuron.to_list(), table["rank"].to_list(), strict=True))


def _rho(folder: Results, model: int, dataset: str) -> str:
    table = folder.rows(schemas.CORRELATIONS)
    rows: pd.DataFrame = table[
        (table.model == folder.models[model])
        & (table.dataset == dataset)
        & (table.importance == "accuracy_drop")
        & (table.purity == "both")
    ]
    if rows.empty:
        return ""
    row: Any = rows.iloc[0]
    return f" Spearman's rho with purity: {row.rho:.2f} ({row.low:.2f} to {row.high:.2f})."
