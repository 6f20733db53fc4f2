"""Figures of several panels, and all figures that a folder of results has data for."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import pandas as pd
from matplotlib.figure import Figure

from purescope.errors import InputError, PurescopeError
from purescope.files.npz import colour_limit, read_cosines
from purescope.files.writing import slug
from purescope.formats import has_both_purities
from purescope.plots.axes import dataset_title, headed, heading, new_grid, stacks, title
from purescope.plots.curves import (
    plot_accuracy,
    plot_gap,
    plot_layers,
    plot_silhouette,
)
from purescope.plots.dynamics import dynamics_figure
from purescope.plots.experiment import plot_pruning, plot_pruning_gap, plot_published
from purescope.plots.frontier import frontier_drawings
from purescope.plots.neurons import plot_cosines, plot_importance, plot_overlap
from purescope.plots.retrieval import OF_CAPTIONS, retrieval_drawings
from purescope.plots.saving import Drawing, check_formats, save_all, save_figure
from purescope.plots.style import current
from purescope.specs import to_path
from purescope.tables.files import (
    PAIRS,
    check_table,
    has_table,
    misfit,
    nothing_in,
    read_csv_table,
    read_table,
)
from purescope.tables.metrics import RETRIEVAL_METRICS, has_captions
from purescope.tables.results import read_track
from purescope.tables.schema import plain_texts
from purescope.tables.schemas import CORRELATIONS, IMPORTANCE, LAYERS, NEURONS, RESULTS
from purescope.tables.searches import SEARCHES

_log = logging.getLogger(__name__)
_PROTOCOLS = ("paper", "native")  # folders of a reproduction

# File name without suffix, and the function that draws the figure.
Drawings: TypeAlias = Iterator[tuple[str, Callable[[], Figure]]]


@dataclass(frozen=True)
class Drawn:
    """The files written, and the figures that the folder has no data for."""

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
    """Draw all figures that a folder of results has data for, into `out`.

    Args:
        folder: the folder of `purescope sweep`, ``compare``, ``evidence``, ``track``, ``layers`` or
            ``index``; or a folder with such folders named ``paper`` and ``native``, whose figures
            are written into folders of these names.
        out: the folder of the figures.
        formats: one or more of ``png``, ``svg`` and ``pdf``.
        published: values to show beside ours in the folders of a reproduction, see
            `plot_published`.
        processes: number of processes, used where there are enough figures to gain time. A script
            that asks for more than one needs its ``if __name__ == "__main__":``.
        tell: called with each file when it is written.

    Raises:
        InputError: there is nothing to draw, a format is unknown, a file cannot be read, or two
            labels would share a file.
        OutputError: the files cannot be written into `out`.
    """
    check_formats(formats)
    folder, out = to_path(folder), to_path(out)
    protocols = [name for name in _PROTOCOLS if has_table(folder / name, RESULTS)]
    if not protocols and not _sources(folder):
        raise nothing_in(folder, lambda path: bool(_sources(path)))
    folders: list[tuple[Path, Path, pd.DataFrame | None]] = (
        [(folder, out, None)] if _sources(folder) else []
    )
    folders += [(folder / name, out / name, published) for name in protocols]
    written: list[Path] = []
    missing: list[str] = []
    for source, target, values in folders:
        _log.info("drawing the figures of %s", source)
        try:
            with plain_texts():
                drawings = _drawings(source, target, values)
                for paths in save_all(drawings, formats, processes=processes):
                    written += paths
                    for path in paths:
                        tell(path)
        except (PurescopeError, OSError):
            raise
        # Tables that no run wrote together can contradict each other in any way.
        except Exception as error:
            raise misfit(source, error) from error
        absent = [kind for kind in _SOURCES if kind not in _sources(source)]
        missing += [f"{kind.what}: no {kind.files} in {source}" for kind in absent]
    return Drawn(tuple(written), tuple(missing))


def _drawings(folder: Path, out: Path, published: pd.DataFrame | None) -> list[Drawing]:
    """Return all figures of a folder, each with its own file name."""
    figures: dict[str, Callable[[], Figure]] = {}
    for source in _sources(folder):
        for name, figure in source.drawings(folder, published):
            if name in figures:
                raise InputError(
                    f"two figures of {folder} share the file name {name}",
                    expected="labels of models and datasets that differ in their letters or digits",
                    fix="run it again with other labels: LABEL=MODEL, NAME=DATASET",
                )
            figures[name] = figure
    return [(out / name, figure) for name, figure in figures.items()]


def _sources(folder: Path) -> "list[_Source]":
    """Return the kinds of files that a folder has, or that its finished pairs have."""
    sources = []
    for source in _SOURCES:
        patterns = (source.files, f"{PAIRS}/[0-9]*/{source.files}")
        if any(True for pattern in patterns for _ in folder.glob(pattern)):
            sources.append(source)
    return sources


def _draw_results(folder: Path, published: pd.DataFrame | None) -> Drawings:
    table = read_table(folder, RESULTS)
    yield from retrieval_drawings(table)
    table = table[~table.metric.isin(RETRIEVAL_METRICS)]
    for dataset, rows in table.groupby("dataset", sort=False):
        yield f"neuron_pruning_{slug(str(dataset))}", partial(pruning_figure, rows)
        if _has_gap(rows):
            yield f"purity_gap_{slug(str(dataset))}", partial(gap_figure, rows)
            for model, model_rows in rows.groupby("model", sort=False):
                name = f"experiment_{slug(str(model))}_{slug(str(dataset))}"
                yield name, partial(experiment_figure, model_rows)
    for model, rows in table.groupby("model", sort=False):
        if _has_gap(rows):
            yield f"published_style_{slug(str(model))}", partial(published_figure, rows, published)


def _draw_neurons(folder: Path, published: pd.DataFrame | None) -> Drawings:
    for model, rows in read_table(folder, NEURONS).groupby("model", sort=False):
        yield f"overlap_{slug(str(model))}", partial(overlap_figure, rows)


def _draw_cosines(folder: Path, published: pd.DataFrame | None) -> Drawings:
    neurons = read_table(folder, NEURONS)
    for model in neurons.model.unique():
        name = f"cosines_{slug(str(model))}"
        if (folder / f"{name}.npz").is_file():
            yield name, partial(_maps, folder, str(model), ranked(neurons, str(model)))


def _maps(folder: Path, model: str, order: Sequence[int]) -> Figure:
    """Read and draw the maps of one model, so that not all models are in memory at once."""
    return cosines_figure(read_cosines(folder, model) or {}, order, model)


def _draw_importance(folder: Path, published: pd.DataFrame | None) -> Drawings:
    table = read_table(folder, IMPORTANCE)
    known = (folder / "correlations.parquet").is_file()
    correlations = read_table(folder, CORRELATIONS) if known else None
    for dataset, rows in table[table.total_overlap.notna()].groupby("dataset", sort=False):
        yield f"importance_{slug(str(dataset))}", partial(importance_figure, rows, correlations)


def _draw_layers(folder: Path, published: pd.DataFrame | None) -> Drawings:
    for path in sorted(folder.glob("layers_*.csv")):
        yield path.stem, partial(layers_figure, read_csv_table(path, LAYERS))


def _draw_track(folder: Path, published: pd.DataFrame | None) -> Drawings:
    yield "dynamics", partial(dynamics_figure, read_track(folder))


def _draw_searches(folder: Path, published: pd.DataFrame | None) -> Drawings:
    yield from frontier_drawings(read_table(folder, SEARCHES))


@dataclass(frozen=True)
class _Source:
    """One kind of file, and the figures drawn from it."""

    files: str
    what: str
    drawings: Callable[[Path, pd.DataFrame | None], Drawings]


_SOURCES = (
    _Source("results.parquet", "accuracy, silhouette and gap against k", _draw_results),
    _Source("neurons.parquet", "overlap histogram", _draw_neurons),
    _Source("cosines_*.npz", "cosine heat maps", _draw_cosines),
    _Source("importance.parquet", "importance against purity", _draw_importance),
    _Source("layers_*.csv", "layers by depth", _draw_layers),
    _Source("track.parquet", "training curves", _draw_track),
    _Source("searches.parquet", "what a search finds", _draw_searches),
)


def pruning_figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy and silhouette on one dataset side by side, a row for each model."""
    models = list(table.model.unique())
    measured = table[table.metric == "silhouette"].value.notna().any()
    figure, grid = new_grid(len(models), 2, ratios=(1.0, 1.0 if measured else 0.45))
    for model, (left, right) in zip(models, grid, strict=True):
        plot_accuracy(table, model=model, ax=left)
        plot_silhouette(table, model=model, ax=right)
        title(left, model)
        title(right, "")
    return headed(figure, dataset_title(table), grid.flat)


def gap_figure(table: pd.DataFrame) -> Figure:
    """Draw the gap of each model on one dataset, two in a row, on one scale."""
    models = list(table.model.unique())
    columns = 1 if stacks(len(models)) else min(2, len(models))
    rows = -(-len(models) // columns)
    figure, grid = new_grid(rows, columns, width=current().wide, share=True)
    for model, ax in zip(models, grid.flat, strict=False):
        plot_gap(table, model=model, ax=ax)
        title(ax, model)
        if not ax.get_subplotspec().is_first_col():
            ax.set_ylabel("")
    for ax in grid.flat[len(models) :]:
        ax.set_axis_off()
    return headed(figure, dataset_title(table), grid.flat)


def experiment_figure(table: pd.DataFrame) -> Figure:
    """Draw the experiment's two figures of one model and dataset side by side."""
    figure, ((left, right),) = new_grid(1, 2)
    plot_pruning(table, ax=left)
    plot_pruning_gap(table, ax=right)
    heading(left, "Effect of Neuron Pruning on Accuracy")
    heading(right, "High-Purity vs Low-Purity Neurons")
    return headed(figure, f"{table.model.iloc[0]} on {dataset_title(table)}", [left, right])


def published_figure(table: pd.DataFrame, published: pd.DataFrame | None = None) -> Figure:
    """Draw high, random and low of one model, accuracy above silhouette for each dataset."""
    datasets, across = list(table.dataset.unique()), current().across
    columns, blocks = min(across, len(datasets)), -(-len(datasets) // across)
    figure, grid = new_grid(2 * blocks, columns, height=0.8, width=current().wide, by_column=True)
    for ax in grid.flat:
        ax.set_axis_off()
    for place, dataset in enumerate(datasets):
        rows = table[table.dataset == dataset]
        block, column = divmod(place, columns)
        above, below = grid[2 * block : 2 * block + 2, column]
        for metric, ax in (("accuracy", above), ("silhouette", below)):
            ax.set_axis_on()
            plot_published(rows, metric, published=published, ax=ax)
            title(ax, str(dataset) if metric == "accuracy" else "")
            if not ax.get_subplotspec().is_first_col():
                ax.set_ylabel("")
        if below.axison:
            above.set_xlabel("")
    return headed(figure, f"{table.model.iloc[0]}: high purity, random and low purity", grid.flat)


def overlap_figure(table: pd.DataFrame) -> Figure:
    """Draw the overlaps of one model."""
    return cast(Figure, plot_overlap(table).figure)


def cosines_figure(cosines: Mapping[str, Any], order: Sequence[int], model: str) -> Figure:
    """Draw the cosines of both towers of one model on one scale."""
    towers = [tower for tower in ("image", "text") if tower in cosines]
    limit = colour_limit(*(cosines[tower] for tower in towers))
    figure, grid = new_grid(1, len(towers), square=True)
    for tower, ax in zip(towers, grid.flat, strict=True):
        plot_cosines(cosines[tower], order=order, tower=tower, limit=limit, ax=ax)
        title(ax, f"{tower} tower")
    return headed(figure, f"{model}: |cosine| of each neuron with each other", [])


def importance_figure(table: pd.DataFrame, correlations: pd.DataFrame | None = None) -> Figure:
    """Draw accuracy and loss without each neuron against purity, a row for each model."""
    models = list(table.model.unique())
    figure, grid = new_grid(len(models), 2)
    for model, panels in zip(models, grid, strict=True):
        for importance, ax in zip(("accuracy_drop", "loss_change"), panels, strict=True):
            plot_importance(
                table, importance=importance, correlations=correlations, model=model, ax=ax
            )
            title(ax, str(model) if ax is panels[0] else "")
    return headed(figure, f"{table.dataset.iloc[0]}: importance and purity of each neuron", [])


def layers_figure(table: pd.DataFrame) -> Figure:
    """Draw overlap and effective rank of the layers side by side, a row for each space."""
    spaces = list(table.space.unique())
    figure, grid = new_grid(len(spaces), 2)
    for space, panels in zip(spaces, grid, strict=True):
        for show, ax in zip(("overlap", "effective_rank"), panels, strict=True):
            plot_layers(table, show, space=space, ax=ax)
            title(ax, str(space) if ax is panels[0] else "")
            if space != spaces[-1]:
                ax.set_xlabel("")
    return headed(figure, f"{table.model.iloc[0]}: layers by depth", grid.flat)


def ranked(neurons: pd.DataFrame, model: str) -> list[int]:
    """Return the neurons of a model, purest first."""
    return [int(neuron) for neuron in neurons[neurons.model == model].sort_values("rank").neuron]


def write_figures(
    table: pd.DataFrame, out: Path, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Write ``figures/neuron_pruning_<dataset>`` and ``figures/purity_gap_<dataset>`` below `out`.

    The first figure has accuracy and silhouette side by side, a row for each model. The second one
    has a panel for each model; a sweep without high and low purity does not have it. Captions have
    ``figures/retrieval_<dataset>`` instead.

    Returns:
        The files written, dataset by dataset.

    Raises:
        InputError: the table is empty, a format is unknown, or two datasets would share a file.
        OutputError: the files cannot be written into the folder.
    """
    table = check_table(table)
    datasets = [str(name) for name in table.dataset.unique()]
    names = [slug(dataset) for dataset in datasets]
    if not datasets or len(set(names)) < len(names):
        raise InputError(
            f"a result table with the datasets {datasets}",
            expected="one or more, each with a file name of its own",
        )
    written = []
    for dataset, name in zip(datasets, names, strict=True):
        rows = table[table.dataset == dataset]
        for kind, draw in _kinds(rows).items():
            written += save_figure(draw(rows), out / "figures" / f"{kind}_{name}", formats)
    return written


def _kinds(rows: pd.DataFrame) -> dict[str, Callable[[pd.DataFrame], Figure]]:
    """Return the figures of one dataset by name; without both purities there is no gap to draw."""
    if has_captions(rows):
        return dict(OF_CAPTIONS)
    gap = {"purity_gap": gap_figure} if _has_gap(rows) else {}
    return {"neuron_pruning": pruning_figure, **gap}


def _has_gap(rows: pd.DataFrame) -> bool:
    return has_both_purities(set(rows.strategy))
