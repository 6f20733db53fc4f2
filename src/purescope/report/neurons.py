"""The section on neurons: overlaps, cosines, importance, and which neurons' cards always show."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from purescope import formats
from purescope.files.npz import colour_limit
from purescope.report.blocks import Figure, Row, groups
from purescope.report.charts import histogram_chart, scatter_chart
from purescope.tables import schemas
from purescope.tables.results import Results
from purescope.tables.schema import each_row

TOWERS = ("image", "text")
NEAREST = 6  # neurons on a card
_CARDS = 6  # still cards at each end of the ranking
_BINS = 48  # of a histogram
_SIDE = 512  # pixels of a map; with more neurons, a pixel shows the largest of several cosines
_COLOURS = 16  # of a map

Details = dict[str, Any]


@dataclass(frozen=True)
class Map:
    """The cosines of one tower as a picture.

    Args:
        tower: name of the tower.
        picture: the picture as a ``data:`` address.
        limit: cosine of the darkest colour.
        above: share of the cosines above that.
        neurons: number of neurons.
        across: number of neurons in one row of pixels.
    """

    tower: str
    picture: str
    limit: float
    above: float
    neurons: int
    across: int


@dataclass(frozen=True)
class ModelNeurons:
    """What the page shows of the neurons of one model without a search.

    Args:
        number, label: the model.
        beside_random: a sentence that compares its overlaps with random neurons.
        figures: histograms of overlaps.
        maps: maps of cosines.
        scatter: importance against purity; None where it was not measured.
        purest, impurest: neurons whose cards always show.
        data: what the cards show of its towers, see `neuron_texts`.
    """

    number: int
    label: str
    beside_random: str
    figures: list[Figure]
    maps: list[Map]
    scatter: Figure | None
    purest: list[int]
    impurest: list[int]
    data: Details


def neurons_section(folder: Results, dataset: str) -> list[ModelNeurons]:
    """Return the figures and cards of each model.

    Args:
        folder: the results.
        dataset: the dataset whose importance is shown first.
    """
    neurons, importance = folder.rows(schemas.NEURONS), folder.rows(schemas.IMPORTANCE)
    models = []
    for number, label in enumerate(folder.models):
        table = neurons[neurons.model == label].sort_values("rank", kind="stable")
        if table.empty:
            continue
        cosines = folder.cosines.get(label, {})
        live = table[table.total_overlap.notna()]
        cards = min(_CARDS, len(live) // 2)
        lost = importance[(importance.model == label) & importance.total_overlap.notna()]
        models.append(
            ModelNeurons(
                number=number,
                label=label,
                beside_random=beside_random(table),
                figures=[
                    _histogram(table, tower, f"overlap-{number}-{tower}")
                    for tower in TOWERS
                    if table[f"{tower}_overlap"].notna().any()
                ],
                maps=[
                    cosine_map(matrix, table.neuron.to_numpy(), tower=tower)
                    for tower, matrix in cosines.items()
                    if len(table) == len(matrix)
                ],
                scatter=_scatter(lost, table, folder, dataset, number),
                purest=live.neuron.head(cards).to_list(),
                impurest=live.neuron.tail(cards).to_list()[::-1],
                data=neuron_texts(neuron_values(table, cosines)),
            )
        )
    return models


def beside_random(table: pd.DataFrame) -> str:
    """Say whether the neurons of a model are purer than chance, by their mean overlaps."""
    ratios = {
        tower: float(table[f"{tower}_overlap"].mean() / table[f"{tower}_random"].mean())
        for tower in TOWERS
    }
    known = {tower: ratio for tower, ratio in ratios.items() if ratio == ratio}
    if not known:
        return ""
    words = " and ".join(f"{ratio:.2f} in the {tower} tower" for tower, ratio in known.items())
    purer = [tower for tower, ratio in known.items() if ratio < 1]
    where = f"in the {' and the '.join(purer)} tower"
    verdict = f"purer than chance {where}" if purer else "no purer than chance"
    return f"Relative to random neurons, the mean overlap is {words}: the model is {verdict}."


def _histogram(table: pd.DataFrame, tower: str, name: str) -> Figure:
    """Draw the overlaps of one tower over the range of random ones."""
    overlap, null = table[f"{tower}_overlap"].dropna(), table[f"{tower}_random"].dropna()
    counts, edges = np.histogram(overlap, bins=min(_BINS, max(1, len(overlap) // 4)))
    rows = [
        {"tower": tower, "start": start, "end": end, "neurons": int(count)}
        for count, start, end in zip(counts, edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    title = f"{tower.capitalize()} tower"
    alt = (
        f"{title}: overlap of {len(overlap):,} neurons, median {overlap.median():.4f}, from "
        f"{overlap.min():.4f} to {overlap.max():.4f}."
    )
    nulls: list[Row] = []
    if len(null):
        least, greatest = float(null.min()), float(null.max())
        text = f"overlap {least:.4f} to {greatest:.4f}"
        nulls = [{"tower": tower, "least": least, "greatest": greatest, "text": text}]
        alt += (
            f" Random neurons of that width: {least:.4f} to {greatest:.4f}, median "
            f"{null.median():.4f}; {int((overlap < least).sum()):,} neurons are purer than all of "
            f"these."
        )
    return Figure(name, title, alt, histogram_chart(rows, nulls))


def cosine_map(cosines: np.ndarray, order: np.ndarray, *, tower: str) -> Map:
    """Draw the absolute cosines ``[neuron, neuron]``, the neurons of `order` from the top left."""
    limit = colour_limit(cosines)
    size = np.abs(cosines)[np.ix_(order, order)]
    others = ~np.eye(len(size), dtype=bool)
    above = float((size[others] > limit).mean()) if len(size) > 1 else 0.0
    np.fill_diagonal(size, 0.0)
    across = -(-len(size) // _SIDE)
    # The largest cosine of each block of `across` x `across` neurons is one pixel.
    rows = len(size) // across + (len(size) % across > 0)
    blocks = np.pad(size, (0, -len(size) % across)).reshape(rows, across, -1, across)
    shades = blocks.max(axis=(1, 3)) / limit * (_COLOURS - 1)
    picture = Image.fromarray(np.clip(shades, 0, _COLOURS - 1).round().astype(np.uint8))
    colours = _colour_map()(np.linspace(0, 1, _COLOURS), bytes=True)[:, :3]
    picture.putpalette(colours.astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", bits=4, compress_level=9)
    address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return Map(tower, address, limit, above, len(cosines), across)


def _colour_map() -> Any:
    # Imported here, so that the rest of the report does not wait for matplotlib.
    import matplotlib

    from purescope.plots.style import COLOUR_MAP

    return matplotlib.colormaps[COLOUR_MAP]


def colour_steps(count: int = 9) -> list[str]:
    """Return colours for cosines from 0 up, in hexadecimal digits, for the legend of the maps."""
    colours = (255 * _colour_map()(np.linspace(0, 1, count))[:, :3]).round().astype(int)
    return ["#" + "".join(f"{part:02x}" for part in colour) for colour in colours]


def _scatter(
    lost: pd.DataFrame, neurons: pd.DataFrame, folder: Results, first: str, number: int
) -> Figure | None:
    """Draw importance against purity on the dataset `first`, or on any dataset that has it.

    Args:
        lost: importance of the live neurons of one model.
        neurons: all neurons of the model.
        folder: the results.
        first: name of the dataset.
        number: number of the model.
    """
    if lost.empty:
        return None
    of_datasets = {
        str(dataset): rows[rows.ablation == rows.ablation.iloc[0]]
        for dataset, rows in groups(lost, "dataset")
    }
    correlations = folder.rows(schemas.CORRELATIONS)
    alts = {dataset: _lost_words(rows, correlations) for dataset, rows in of_datasets.items()}
    dataset = first if first in of_datasets else next(iter(of_datasets))
    lost = of_datasets[dataset].sort_values("total_overlap", kind="stable")
    ranks = dict(zip(neurons.neuron.to_list(), neurons["rank"].to_list(), strict=True))
    columns = ["neuron", "total_overlap", "accuracy_drop", "low", "high"]
    rows: list[Row] = [
        {**dict(zip(columns, values, strict=True)), "rank": ranks.get(values[0])}
        for values in zip(*(lost[name].to_list() for name in columns), strict=True)
    ]
    return Figure(
        f"importance-{number}",
        "Purity against importance",
        alts[dataset],
        scatter_chart(rows, len(ranks)),
        alts={
            f"{number}/{folder.datasets.index(dataset)}": alt
            for dataset, alt in alts.items()
            if dataset in folder.datasets
        },
        filled=("neurons", "chosen"),
    )


def _lost_words(lost: pd.DataFrame, correlations: pd.DataFrame) -> str:
    """Describe the importance of the live neurons of one model on one dataset."""
    first = lost.iloc[0]
    model, dataset = str(first.model), str(first.dataset)
    most = lost.sort_values(["accuracy_drop", "total_overlap"], ascending=[False, True]).iloc[0]
    alt = (
        f"{model} on {dataset}: accuracy lost without each of {len(lost):,} neurons against its "
        f"overlap. Most is lost without neuron {most.neuron}, "
        f"{formats.points(most.accuracy_drop)} points; "
        f"{int((lost.accuracy_drop < 0).sum()):,} neurons cost accuracy."
    )
    own = correlations[(correlations.model == model) & (correlations.dataset == dataset)]
    for row in each_row(own[(own.importance == "accuracy_drop") & (own.purity == "both")]):
        alt += f" Spearman's rho with purity: {row.rho:.2f} ({row.low:.2f} to {row.high:.2f})."
    return alt


def neuron_values(table: pd.DataFrame, cosines: Mapping[str, np.ndarray]) -> Details:
    """Return the numbers of all neurons of a model, by the neurons' own numbering.

    Args:
        table: the neurons of the model.
        cosines: cosines of its neurons by tower, ``[neuron, neuron]``.

    Returns:
        ``rank``, ``total_overlap``, and for each tower: ``overlap``, ``purity``, ``below`` (per
        cent of random neurons whose overlap is larger; None for a dead neuron), ``near`` (the
        neurons of largest absolute cosine) and ``cosine`` (their cosines, to four decimals).
    """
    table = table.sort_values("neuron")
    values: Details = {
        "rank": table["rank"].to_list(),
        "total_overlap": table.total_overlap.to_list(),
    }
    for tower in TOWERS:
        overlap = table[f"{tower}_overlap"].to_numpy(float)
        null = table[f"{tower}_random"].dropna().to_numpy(float)
        own: Details = {"overlap": overlap.tolist(), "purity": table[f"{tower}_purity"].to_list()}
        if len(null):
            own["below"] = _larger(null, overlap)
        if tower in cosines:
            near, cosine = _nearest(cosines[tower])
            own |= {"near": near.tolist(), "cosine": cosine.astype(float).round(4).tolist()}
        values[tower] = own
    return values


def neuron_texts(values: Details) -> Details:
    """Return what cards show of the neurons of a model: the numbers of each tower as text.

    Returns:
        ``rank`` and ``total_overlap`` as numbers, and for each tower: ``overlap``, ``purity``
        (with its place among random neurons) and ``near`` (neuron and cosine of each).
    """
    texts: Details = {name: values[name] for name in ("rank", "total_overlap")}
    for tower in TOWERS:
        own = values[tower]
        places = map(formats.purer, own.get("below", [None] * len(own["purity"])))
        texts[tower] = {
            "overlap": [formats.plain(value, 4) for value in own["overlap"]],
            "purity": [
                f"purity {formats.plain(purity, 1)}" + (f"; {place}" if place else "")
                for purity, place in zip(own["purity"], places, strict=True)
            ],
        }
        if "near" in own:
            texts[tower]["near"] = [
                [[other, formats.plain(cosine, 2)] for other, cosine in zip(*pair, strict=True)]
                for pair in zip(own["near"], own["cosine"], strict=True)
            ]
    return texts


def _nearest(cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each neuron the others of largest absolute cosine, and those cosines."""
    size = np.abs(cosines)
    np.fill_diagonal(size, -1.0)
    near = np.argsort(-size, axis=1, kind="stable")[:, : min(NEAREST, len(cosines) - 1)]
    return near, np.take_along_axis(cosines, near, axis=1)


def _larger(null: np.ndarray, overlap: np.ndarray) -> list[float | None]:
    """Return the per cent of random overlaps above each overlap, to one decimal.

    0 and 100 mean exactly none and all of them. The value of a dead neuron is None.
    """
    count = len(null) - np.searchsorted(np.sort(null), overlap, side="right")
    tenths = np.clip((1000 * count / len(null)).round(), np.sign(count), 999 + (count == len(null)))
    return [
        None if dead else value
        for value, dead in zip((tenths / 10).tolist(), np.isnan(overlap), strict=True)
    ]
