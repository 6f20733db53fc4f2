"""Open a folder of results: its tables, verdicts, manifest, cosines and thumbnails."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from purescope.errors import InputError, near_miss
from purescope.files.manifest import MANIFEST, check_hash, is_ours, read_manifest
from purescope.files.npz import read_cosines
from purescope.files.writing import AGAIN
from purescope.specs import exists, to_path
from purescope.tables import columns, schemas
from purescope.tables.columns import METRICS
from purescope.tables.files import (
    check_table,
    has_table,
    nothing_in,
    parquet_name,
    read_csv_table,
    read_table,
    write_table,
)
from purescope.tables.metrics import OF_IMAGES, RETRIEVAL_METRICS
from purescope.tables.result_table import ResultTable, check_wide_paths, curve_points, write_wide
from purescope.tables.schema import Schema, plain_texts
from purescope.tables.schemas import LAYERS, PURITY, RESULTS, RUN_TABLES, TRACK
from purescope.tables.verdicts import Verdict, read_verdicts

_ACROSS_DATASETS = (
    "rivals",
    "verdicts",
    "mean_points",
    "choices",
)  # they have rows of no single dataset
_LARGEST_THUMBNAIL = 100_000  # bytes; 48 x 48 pixels take 2,000


@dataclass(frozen=True, eq=False)
class Results:
    """The results of a run: its tables, its verdicts and its files.

    All `run_*` functions return one, and `open_results` reads one from a folder.

    Args:
        path: the folder.
        tables: the tables of the folder that have rows, by name; see `purescope.tables.schemas`.

    Examples:
        >>> import purescope as ps
        >>> from purescope.studies.synthetic import plant
        >>> planted = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> table = ps.sweep(
        ...     planted.features, planted.projections, keep=[4, 8], draws=2, resamples=100
        ... )
        >>> results = Results(Path("out"), {"results": table})
        >>> results.models, results.strategies
        (['planted'], ['high_purity', 'low_purity', 'random'])
        >>> results
        Results('out': results)
    """

    path: Path
    tables: Mapping[str, pd.DataFrame]

    def table(self, name: str) -> pd.DataFrame:
        """Return a table by its name.

        Raises:
            InputError: the folder has no table of that name.
        """
        if name not in self.tables:
            known = [schema.name for schema in RUN_TABLES]
            if name not in known:
                raise InputError(f"no table is called {name!r}", **near_miss(name, known))
            raise InputError(
                f"{self.path} has no table {name}",
                expected=f"one of {', '.join(self.tables)}",
                fix="`purescope evidence` and `purescope compare` write more tables than a sweep",
            )
        return self.tables[name]

    def rows(self, schema: Schema) -> pd.DataFrame:
        """Return the table of a schema; without rows if the folder does not have it."""
        return self.tables.get(schema.name, pd.DataFrame(columns=list(schema.columns)))

    def pair(self, schema: Schema, model: str, dataset: str) -> pd.DataFrame:
        """Return the rows of one model and dataset."""
        if schema.name not in self._pairs:
            groups = self.rows(schema).groupby(["model", "dataset"], sort=False)
            self._pairs[schema.name] = dict(iter(groups))
        return self._pairs[schema.name].get((model, dataset), self.rows(schema)[:0])

    @cached_property
    def _pairs(self) -> dict[str, dict[Any, pd.DataFrame]]:
        return {}

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on each model, by its label."""
        return {verdict.model: verdict for verdict in read_verdicts(self.rows(schemas.VERDICTS))}

    @property
    def figures(self) -> list[Path]:
        """The files of the figures, in any format."""
        return sorted(path for path in (self.path / "figures").rglob("*") if path.is_file())

    @property
    def report(self) -> Path | None:
        """The file of the report; None if there is none."""
        report = self.path / "report.html"
        return report if report.is_file() else None

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Settings, identities and notes; empty if the folder has no manifest of purescope."""
        return _manifest(self.path)

    @property
    def notes(self) -> list[str]:
        """What a reader must know about the numbers: the warnings of the run."""
        return [str(note) for note in self.manifest.get("notes", [])]

    @cached_property
    def runs(self) -> "dict[str, Results]":
        """The results under each protocol, for the folder of a reproduction; otherwise empty."""
        folders = {name: self.path / name for name in ("paper", "native")}
        return {
            name: open_results(path)
            for name, path in folders.items()
            if has_table(path, schemas.RESULTS)
        }

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The layer tables of all models, one below the other; empty if there are none."""
        layers = [read_csv_table(file, LAYERS) for file in sorted(self.path.glob("layers_*.csv"))]
        return pd.concat(layers, ignore_index=True) if layers else pd.DataFrame()

    @cached_property
    def track(self) -> pd.DataFrame:
        """The table of a training; empty if there is none."""
        file = self.path / parquet_name(TRACK)
        return read_track(self.path) if exists(file) else pd.DataFrame()

    @cached_property
    def cosines(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Cosines of all pairs of neurons by model and tower, ``[neuron, neuron]``."""
        cosines = {
            model: maps
            for model in self.models
            if (maps := read_cosines(self.path, model)) is not None
        }
        neurons = self.rows(schemas.NEURONS).groupby("model").size()
        for model, maps in cosines.items():
            for tower, matrix in maps.items():
                if model in neurons and len(matrix) != neurons[model]:
                    raise InputError(
                        f"the cosines of {model} in {self.path} are of {len(matrix):,} neurons in "
                        f"the {tower} tower",
                        expected=f"{neurons[model]:,}, as in neurons.parquet",
                        fix=AGAIN,
                    )
        return cosines

    @cached_property
    def thumbnails(self) -> Mapping[tuple[str, int], bytes]:
        """Pictures as WebP files, by dataset and image."""
        return _thumbnails(self.rows(schemas.THUMBNAILS))

    @cached_property
    def models(self) -> list[str]:
        """Labels of the models of the sweep in the order of the run, then of models that have only
        a table of neurons.
        """
        swept = self.rows(schemas.RESULTS).model
        alone = self.rows(schemas.NEURONS).model
        return list(dict.fromkeys([*map(str, swept.unique()), *map(str, alone.unique())]))

    @cached_property
    def datasets(self) -> list[str]:
        """Names of the datasets of the sweep, in the order of the run."""
        return [str(name) for name in self.rows(schemas.RESULTS).dataset.unique()]

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics that have at least one value."""
        results = self.rows(schemas.RESULTS)
        measured = set(results.metric[results.value.notna()])
        known = (*METRICS, *OF_IMAGES, *RETRIEVAL_METRICS)
        return [metric for metric in known if metric in measured]

    @cached_property
    def strategies(self) -> list[str]:
        """The strategies without full; high purity, low purity and random come first."""
        names = self.rows(schemas.RESULTS).strategy.unique()
        swept = [str(name) for name in names if name != "full"]
        first = [name for name in ("high_purity", "low_purity", "random") if name in swept]
        return first + [name for name in swept if name not in first]

    def __repr__(self) -> str:
        """Name the folder and its tables; their rows would fill the screen."""
        return f"Results({str(self.path)!r}: {', '.join(self.tables)})"

    def _repr_html_(self) -> str | None:
        """Show the accuracies and curves in a notebook."""
        return ResultTable(self.rows(schemas.RESULTS))._repr_html_() if self.datasets else None


def open_results(folder: str | Path) -> Results:
    """Open a folder of results.

    Args:
        folder: the ``--out`` folder of a purescope command, or `out` of a `run_*` function.

    Returns:
        Its tables, every value of them checked, its verdicts and its files.

    Raises:
        InputError: the folder has no results of purescope, or a file cannot be read.
        OutputError: its manifest cannot be read.

    Warns:
        UserWarning: a table is not the one that its run wrote.

    Examples:
        >>> import tempfile, purescope as ps
        >>> from purescope.studies.synthetic import plant
        >>> planted = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> settings = ps.Settings(keep=[4, 8], draws=50, space="activations", resamples=100)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     _ = ps.run_sweep(
        ...         [], [planted.features], out, settings=settings, figures=False, report=False
        ...     )
        ...     again = open_results(out)
        >>> again.table("standings").strategy.tolist()
        ['full', 'high_purity', 'random', 'low_purity']
        >>> again.verdicts["planted"].overall.outcome
        'not decided'
    """
    path = to_path(folder)
    with plain_texts():
        return _open(path)


def _open(path: Path) -> Results:
    """Read and check all files of a folder."""
    tables = {
        schema.name: read_table(path, schema) for schema in RUN_TABLES if has_table(path, schema)
    }
    if schemas.NEURONS.name not in tables and (neurons := _neurons_alone(path)) is not None:
        tables[schemas.NEURONS.name] = neurons
    tables = {name: table for name, table in tables.items() if len(table)}
    if RESULTS.name in tables:
        tables[RESULTS.name] = ResultTable(tables[RESULTS.name])
        if schemas.CURVE_POINTS.name not in tables:  # as in folders of earlier versions
            tables[schemas.CURVE_POINTS.name] = curve_points(tables[RESULTS.name])
    _check_names(path, tables)
    results = Results(path, tables)
    _ = results.manifest, results.layers, results.track, results.thumbnails  # read and checked
    if not tables and results.layers.empty and results.track.empty:
        raise nothing_in(path, _has_results)
    _ = results.cosines
    return results


def _check_names(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Refuse a table with a model or dataset that the results do not have.

    Raises:
        InputError: there is such a table.
    """
    results = tables.get(schemas.RESULTS.name)
    if results is None:
        return
    known = {column: {*results[column], columns.VOCABULARY} for column in ("model", "dataset")}
    for name, table in tables.items():
        if name in _ACROSS_DATASETS:
            continue
        for column in [column for column in known if column in table]:
            others = [label for label in table[column].unique() if label not in known[column]]
            if others:
                raise InputError(
                    f"{path / name}.parquet names the {column} {others[0]!r}, which "
                    f"results.parquet does not have",
                    expected="the tables of one run, as it wrote them",
                    fix=AGAIN,
                )


def _manifest(path: Path) -> Mapping[str, Any]:
    """Read the manifest, and compare the tables with it; empty if it is not purescope's.

    Raises:
        OutputError: it is damaged.

    Warns:
        UserWarning: it is not purescope's, or a table is not the one that its run wrote.
    """
    manifest = read_manifest(path) or {}
    if manifest and not is_ours(manifest):
        warnings.warn(f"{path / MANIFEST} is not purescope's, and is left out", stacklevel=2)
        return {}
    for name in manifest.get("hashes", {}):
        if Path(name).name == name and (path / name).is_file():
            try:
                check_hash(path / name, manifest)
            except InputError as error:
                warnings.warn(f"{error.came}; it is shown as it is", stacklevel=2)
    return manifest


def _has_results(path: Path) -> bool:
    """Tell whether a folder has results, by the names of its files."""
    names = [parquet_name(schema) for schema in (*RUN_TABLES, TRACK)]
    patterns = [*names, "layers_*.csv", "purity_*.csv"]
    return any(True for pattern in patterns for _ in path.glob(pattern))


def _neurons_alone(path: Path) -> pd.DataFrame | None:
    """Read the neurons that `purescope purity` wrote, which have no random baseline."""
    tables = [
        read_csv_table(file, PURITY, model=file.stem.removeprefix("purity_"))
        for file in sorted(path.glob("purity_*.csv"))
    ]
    if not tables:
        return None
    return pd.concat(tables, ignore_index=True).reindex(columns=list(schemas.NEURONS.columns))


def _thumbnails(table: pd.DataFrame) -> dict[tuple[str, int], bytes]:
    """Return the pictures, each a small WebP file.

    Raises:
        InputError: one is something else.
    """
    pictures = {}
    rows = table.reindex(columns=list(schemas.THUMBNAILS.columns))
    for dataset, image, picture in rows.itertuples(index=False):
        webp = isinstance(picture, bytes) and picture[:4] == b"RIFF" and picture[8:12] == b"WEBP"
        if not webp or len(picture) > _LARGEST_THUMBNAIL:
            raise InputError(
                f"the thumbnail of image {image} of {dataset} is no small WebP file",
                expected="thumbnails.parquet as a run writes it",
                fix=AGAIN,
            )
        pictures[str(dataset), int(image)] = picture
    return pictures


def read_track(out: str | Path) -> pd.DataFrame:
    """Read the table that `purescope.studies.training` wrote into a folder.

    Its columns are those of `purescope.tables.schemas.TRACK`.

    Raises:
        InputError: there is no such table, or it cannot be read.
    """
    table = read_table(to_path(out), TRACK)
    neurons = [len(order) if isinstance(order, np.ndarray) else -1 for order in table.order]
    if neurons != table.neurons.tolist():
        raise InputError(
            f"{to_path(out) / parquet_name(TRACK)}: an order with another number of neurons than "
            f"its row",
            expected="the table of purescope track",
            fix="make it again: purescope track, with --overwrite (overwrite=True)",
        )
    return table


def write_results(table: pd.DataFrame, out: Path) -> None:
    """Write ``results.csv``, ``results.parquet`` and the experiment's wide CSV files.

    Raises:
        InputError: it is not a result table, or two labels would write the same file; then nothing
            is written.
        OutputError: a file cannot be written.

    Examples:
        The wide files of the label "CC3M LaCLIP" and the dataset "cifar10":
        ``result_cc3m_laclip/cifar10_laclip_accuracy_vs_sam.csv`` and ``..._silhouette_vs_sam.csv``.
    """
    table = check_table(table)
    check_wide_paths(table, out)
    write_table(table, out, RESULTS)
    write_wide(table, out)
