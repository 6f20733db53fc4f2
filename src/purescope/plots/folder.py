"""Every figure that a folder of results has the data for."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

import pandas as pd
from matplotlib.figure import Figure

from purescope.errors import InputError, PurescopeError
from purescope.files.writing import slug
from purescope.plots.neurons import plot_overlap
from purescope.plots.panels import (
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
from purescope.plots.saving import Drawing, check_formats, save_all
from purescope.specs import to_path
from purescope.tables.cosines import read_cosines
from purescope.tables.files import PAIRS, has_table, misfit, nothing_in, read_csv_table, read_table
from purescope.tables.results import read_track
from purescope.tables.schemas import CORRELATIONS, IMPORTANCE, LAYERS, NEURONS, RESULTS

_log = logging.getLogger(__name__)
_PARTS = ("paper", "native")  # of a reproduction, by protocol

Drawings: TypeAlias = Iterator[
    tuple[str, Callable[[], Figure]]
]  # file name without suffix, and what draws it


@dataclass(frozen=True)
class Drawn:
    """Files written, and what the folder had no data for."""

    written: tuple[Path, ...]
    missing: tuple[str, ...]


def draw_folder(
    folder: Path,
    out: Path,
    formats: Sequence[str] = ("png", "svg"),
    *,
    published: pd.DataFrame | None = None,
    processes: int = 1,
    tell: Callable[[Path], object] = lambda path: None,
) -> Drawn:
    """Draw all that the folder of a run, a training, a layer table or a reproduction has data for,
    into `out`.

    Args:
        folder: with the files of `purescope sweep`, ``compare``, ``evidence``, ``track`` or
            ``layers``; or with such folders named ``paper`` and ``native`` in it, whose figures go
            into folders of these names.
        out: where the figures go.
        formats: of ``png``, ``svg`` and ``pdf``.
        published: values to show beside ours in the folders of a reproduction, see
            `plot_published`.
        processes: how many draw at once, where there are figures enough to gain by it. A script
            that asks for more than one needs its ``if __name__ == "__main__":``.
        tell: called with each file when it is written.

    Raises:
        InputError: there is nothing to draw, a format is unknown, a file cannot be read, or two
            labels would share a file.
        OutputError: `out` does not take them.
    """
    check_formats(formats)
    folder, out = to_path(folder), to_path(out)
    parts = [part for part in _PARTS if has_table(folder / part, RESULTS)]
    if not parts and not _sources(folder):
        raise nothing_in(folder, lambda path: bool(_sources(path)))
    found: list[tuple[Path, Path, pd.DataFrame | None]] = (
        [(folder, out, None)] if _sources(folder) else []
    )
    found += [(folder / part, out / part, published) for part in parts]
    written: list[Path] = []
    missing: list[str] = []
    for source, target, values in found:
        _log.info("drawing the figures of %s", source)
        try:
            for paths in save_all(_drawings(source, target, values), formats, processes=processes):
                written += paths
                for path in paths:
                    tell(path)
        except (PurescopeError, OSError):
            raise
        except (
            Exception
        ) as error:  # tables that no run wrote together can contradict each other in any way
            raise misfit(source, error) from error
        absent = [one for one in _SOURCES if one not in _sources(source)]
        missing += [f"{one.what}: no {one.files} in {source}" for one in absent]
    return Drawn(tuple(written), tuple(missing))


def _drawings(folder: Path, out: Path, published: pd.DataFrame | None) -> list[Drawing]:
    """All of a folder, each with a file name of its own."""
    found: dict[str, Callable[[], Figure]] = {}
    for source in _sources(folder):
        for name, figure in source.drawings(folder, published):
            if name in found:
                raise InputError(
                    f"two figures of {folder} share the file name {name}",
                    expected="labels of models and datasets that differ in their letters or digits",
                    fix="run it again with other labels: LABEL=MODEL, NAME=DATASET",
                )
            found[name] = figure
    return [(out / name, figure) for name, figure in found.items()]


def _sources(folder: Path) -> "list[_Source]":
    """Return the kinds of files that a folder has, or that its finished pairs have."""
    found = []
    for source in _SOURCES:
        patterns = (source.files, f"{PAIRS}/[0-9]*/{source.files}")
        if any(True for pattern in patterns for _ in folder.glob(pattern)):
            found.append(source)
    return found


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
        name = f"cosines_{slug(str(model))}"
        if (folder / f"{name}.npz").is_file():
            yield name, partial(_maps, folder, str(model), ranked(neurons, str(model)))


def _maps(folder: Path, model: str, order: Sequence[int]) -> Figure:
    """Read only when it is drawn: the maps of many models need not be in memory at once."""
    return cosines_figure(read_cosines(folder, model) or {}, order, model)


def _of_importance(folder: Path, published: pd.DataFrame | None) -> Drawings:
    table = read_table(folder, IMPORTANCE)
    there = (folder / "correlations.parquet").is_file()
    correlations = read_table(folder, CORRELATIONS) if there else None
    for dataset, rows in table[table.total_overlap.notna()].groupby("dataset", sort=False):
        yield f"importance_{slug(str(dataset))}", partial(importance_figure, rows, correlations)


def _of_layers(folder: Path, published: pd.DataFrame | None) -> Drawings:
    for path in sorted(folder.glob("layers_*.csv")):
        yield path.stem, partial(layers_figure, read_csv_table(path, LAYERS))


def _of_track(folder: Path, published: pd.DataFrame | None) -> Drawings:
    yield "dynamics", partial(dynamics_figure, read_track(folder))


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
