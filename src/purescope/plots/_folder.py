"""Every figure that a folder of results has the data for."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

import pandas as pd
from matplotlib.figure import Figure

from purescope.dynamics import read_track
from purescope.errors import InputError
from purescope.plots._figures import (
    cosines_figure,
    dynamics_figure,
    experiment_figure,
    gap_figure,
    importance_figure,
    layers_figure,
    pruning_figure,
    published_figure,
    ranked,
)
from purescope.plots._overlap import plot_overlap
from purescope.plots._save import check_formats, save_figure
from purescope.portraits import read_cosines
from purescope.schemas import CORRELATIONS, IMPORTANCE, NEURONS, RESULTS
from purescope.tables import nothing_in, read_table, slug

_log = logging.getLogger(__name__)
_PARTS = ("paper", "native")  # of a reproduction, by protocol

Drawings: TypeAlias = Iterator[tuple[str, Callable[[], Figure]]]  # file name without suffix, and what draws it


@dataclass(frozen=True)
class Drawn:
    """Files written, and what the folder had no data for."""

    written: tuple[Path, ...]
    missing: tuple[str, ...]


def draw_folder(
    folder: Path, out: Path, formats: Sequence[str] = ("png", "svg"), *, published: pd.DataFrame | None = None
) -> Drawn:
    """Draw all that the folder of a run, a training, a layer table or a reproduction has data for, into `out`.

    Args:
        folder: with the files of `purescope sweep`, ``compare``, ``evidence``, ``track`` or ``layers``; or with such
            folders named ``paper`` and ``native`` in it, whose figures go into folders of these names.
        out: where the figures go.
        formats: of ``png``, ``svg`` and ``pdf``.
        published: values to show beside ours in the folders of a reproduction, see `plot_published`.

    Raises:
        InputError: there is nothing to draw, a format is unknown, a file cannot be read, or two labels would share a
            file.
        OutputError: `out` does not take them.
    """
    check_formats(formats)
    parts = [part for part in _PARTS if (folder / part / "results.parquet").is_file()]
    if not parts and not _sources(folder):
        raise nothing_in(folder, lambda path: bool(_sources(path)))
    found = [_draw(folder, out, formats, None)] if _sources(folder) else []
    found += [_draw(folder / part, out / part, formats, published) for part in parts]
    written = (path for drawn in found for path in drawn.written)
    return Drawn(tuple(written), tuple(line for drawn in found for line in drawn.missing))


def _draw(folder: Path, out: Path, formats: Sequence[str], published: pd.DataFrame | None) -> Drawn:
    written: list[Path] = []
    names: set[str] = set()
    there = _sources(folder)
    _log.info("drawing the figures of %s", folder)
    for source in there:
        for name, figure in source.drawings(folder, published):
            if name in names:
                raise InputError(
                    f"two figures of {folder} share the file name {name}",
                    expected="labels of models and datasets that differ in their letters or digits",
                    fix="run it again with other labels: LABEL=MODEL, NAME=DATASET",
                )
            names.add(name)
            written += save_figure(figure(), out / name, formats)
    missing = [f"{source.what}: no {source.files} in {folder}" for source in _SOURCES if source not in there]
    return Drawn(tuple(written), tuple(missing))


def _sources(folder: Path) -> "list[_Source]":
    return [source for source in _SOURCES if any(folder.glob(source.files))]


def _of_results(folder: Path, published: pd.DataFrame | None) -> Drawings:
    table = read_table(folder, RESULTS)
    for dataset, rows in table.groupby("dataset", sort=False):
        yield f"neuron_pruning_{slug(str(dataset))}", partial(pruning_figure, rows)
        if {"high_purity", "low_purity"} <= set(rows.strategy):
            yield f"purity_gap_{slug(str(dataset))}", partial(gap_figure, rows)
            for model, part in rows.groupby("model", sort=False):
                name = f"experiment_{slug(str(model))}_{slug(str(dataset))}"
                yield name, partial(experiment_figure, part)
    for model, rows in table.groupby("model", sort=False):
        yield f"published_style_{slug(str(model))}", partial(published_figure, rows, published)


def _of_neurons(folder: Path, published: pd.DataFrame | None) -> Drawings:
    for model, rows in read_table(folder, NEURONS).groupby("model", sort=False):
        yield f"overlap_{slug(str(model))}", partial(_whole, rows)


def _whole(rows: pd.DataFrame) -> Figure:
    figure = plot_overlap(rows).figure
    return cast(Figure, figure)


def _of_cosines(folder: Path, published: pd.DataFrame | None) -> Drawings:
    neurons = read_table(folder, NEURONS)
    for model in neurons.model.unique():
        cosines = read_cosines(folder, str(model))
        if cosines is not None:
            order = ranked(neurons, str(model))
            yield f"cosines_{slug(str(model))}", partial(cosines_figure, cosines, order, str(model))


def _of_importance(folder: Path, published: pd.DataFrame | None) -> Drawings:
    table = read_table(folder, IMPORTANCE)
    there = (folder / "correlations.parquet").is_file()
    correlations = read_table(folder, CORRELATIONS) if there else None
    for dataset, rows in table[table.total_overlap.notna()].groupby("dataset", sort=False):
        yield f"importance_{slug(str(dataset))}", partial(importance_figure, rows, correlations)


def _of_layers(folder: Path, published: pd.DataFrame | None) -> Drawings:
    for path in sorted(folder.glob("layers_*.csv")):
        table = pd.read_csv(path, keep_default_na=False, na_values={"overlap": [""], "effective_rank": [""]})
        yield path.stem, partial(layers_figure, table)


def _of_track(folder: Path, published: pd.DataFrame | None) -> Drawings:
    yield "dynamics", lambda: dynamics_figure(read_track(folder))


@dataclass(frozen=True)
class _Source:
    """One kind of file, and what is drawn of it."""

    files: str
    what: str
    drawings: Callable[[Path, pd.DataFrame | None], Drawings]


_SOURCES = (
    _Source("results.parquet", "accuracy, silhouette and gap against k", _of_results),
    _Source("neurons.parquet", "overlap histogram", _of_neurons),
    _Source("cosines_*.npz", "cosine heat maps", _of_cosines),
    _Source("importance.parquet", "importance against purity", _of_importance),
    _Source("layers_*.csv", "layers by depth", _of_layers),
    _Source("track.parquet", "training curves", _of_track),
)
