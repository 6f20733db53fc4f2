"""A folder of results, read once: tables, cosines, thumbnails and manifest, whichever of them are
there.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from purescope.errors import InputError
from purescope.files.manifest import MANIFEST, check_hash, is_ours, read_manifest
from purescope.files.writing import AGAIN
from purescope.formats import ResultTable
from purescope.specs import exists, to_path
from purescope.tables import columns, schemas
from purescope.tables.columns import METRICS
from purescope.tables.cosines import read_cosines
from purescope.tables.files import (
    check_table,
    nothing_in,
    parquet_name,
    read_csv_table,
    read_table,
    write_table,
)
from purescope.tables.schema import Schema
from purescope.tables.schemas import LAYERS, OF_RUNS, PURITY, RESULTS, TRACK
from purescope.tables.wide import check_wide_paths, write_wide

_LARGEST_THUMBNAIL = 100_000  # bytes; 48 pixels a side take 2,000


@dataclass(frozen=True)
class Folder:
    """What there is to show.

    Args:
        path: of the folder.
        manifest: settings, identities and notes; empty where there is none.
        tables: those of `purescope.tables.schemas` that are there and have rows, by name.
        layers: the tables of all models' layers, one below the other; empty without.
        track: the table of a training; empty without.
        cosines: by model and tower, ``[neuron, neuron]``.
        thumbnails: WebP pictures by data set and image.
    """

    path: Path
    manifest: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    layers: pd.DataFrame
    track: pd.DataFrame
    cosines: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    thumbnails: Mapping[tuple[str, int], bytes] = field(default_factory=dict)

    def table(self, schema: Schema) -> pd.DataFrame:
        """The table of a schema; one without rows where the folder has none."""
        return self.tables.get(schema.name, pd.DataFrame(columns=list(schema.columns)))

    def pair(self, schema: Schema, model: str, dataset: str) -> pd.DataFrame:
        """The rows of one model and data set."""
        if schema.name not in self._pairs:
            self._pairs[schema.name] = dict(
                iter(self.table(schema).groupby(["model", "dataset"], sort=False))
            )
        return self._pairs[schema.name].get((model, dataset), self.table(schema)[:0])

    @cached_property
    def _pairs(self) -> dict[str, dict[Any, pd.DataFrame]]:
        return {}

    @cached_property
    def models(self) -> list[str]:
        """Labels of those that were swept, in the order of the run, and then of those whose neurons
        alone are there.
        """
        swept = self.table(schemas.RESULTS).model
        alone = self.table(schemas.NEURONS).model
        return list(dict.fromkeys([*map(str, swept.unique()), *map(str, alone.unique())]))

    @cached_property
    def datasets(self) -> list[str]:
        """Names of the data sets of the sweep, in the order of the run."""
        return [str(name) for name in self.table(schemas.RESULTS).dataset.unique()]

    @cached_property
    def metrics(self) -> list[str]:
        """Those that have values anywhere."""
        results = self.table(schemas.RESULTS)
        there = set(results.metric[results.value.notna()])
        return [metric for metric in METRICS if metric in there]

    @cached_property
    def strategies(self) -> list[str]:
        """Those that keep fewer neurons than all, both purities and random first."""
        swept = [
            str(name) for name in self.table(schemas.RESULTS).strategy.unique() if name != "full"
        ]
        first = [name for name in ("high_purity", "low_purity", "random") if name in swept]
        return first + [name for name in swept if name not in first]


def read_folder(path: Path) -> Folder:
    """Read all that a report can show.

    Raises:
        InputError: there is nothing of purescope in the folder, or a file cannot be read.
        OutputError: its manifest cannot be read.
    """
    tables = {
        one.name: read_table(path, one) for one in OF_RUNS if exists(path / parquet_name(one))
    }
    if schemas.NEURONS.name not in tables and (ranked := _ranked(path)) is not None:
        tables[schemas.NEURONS.name] = ranked
    tables = {name: table for name, table in tables.items() if len(table)}
    _check_names(path, tables)
    layers = [read_csv_table(file, LAYERS) for file in sorted(path.glob("layers_*.csv"))]
    folder = Folder(
        path=path,
        manifest=_manifest(path),
        tables=tables,
        layers=pd.concat(layers, ignore_index=True) if layers else pd.DataFrame(),
        track=read_track(path) if exists(path / parquet_name(TRACK)) else pd.DataFrame(),
        thumbnails=_thumbnails(tables.get(schemas.THUMBNAILS.name, pd.DataFrame())),
    )
    if not tables and folder.layers.empty and folder.track.empty:
        raise nothing_in(path, _holds)
    cosines = {
        model: maps for model in folder.models if (maps := read_cosines(path, model)) is not None
    }
    neurons = folder.table(schemas.NEURONS).groupby("model").size()
    for model, maps in cosines.items():
        for tower, of_pairs in maps.items():
            if model in neurons and len(of_pairs) != neurons[model]:
                raise InputError(
                    f"the cosines of {model} in {path} are of {len(of_pairs):,} neurons in the "
                    f"{tower} tower",
                    expected=f"{neurons[model]:,}, as in neurons.parquet",
                    fix=AGAIN,
                )
    return replace(folder, cosines=cosines)


def _check_names(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Refuse a table of models or datasets that the results do not have.

    Raises:
        InputError: there is one.
    """
    results = tables.get(schemas.RESULTS.name)
    if results is None:
        return
    known = {column: {*results[column], columns.VOCABULARY} for column in ("model", "dataset")}
    for name, table in tables.items():
        if name in (schemas.RIVALS.name, schemas.VERDICTS.name):  # which have rows of no dataset
            continue
        for column in [column for column in known if column in table]:
            others = [one for one in table[column].unique() if one not in known[column]]
            if others:
                raise InputError(
                    f"{path / name}.parquet names the {column} {others[0]!r}, which "
                    f"results.parquet does not have",
                    expected="the tables of one run, as it wrote them",
                    fix=AGAIN,
                )


def _manifest(path: Path) -> Mapping[str, Any]:
    """The manifest, if it is one of ours; what does not fit to it is said.

    Raises:
        OutputError: it is damaged.

    Warns:
        UserWarning: it is somebody else's, or a table is not the one that its run wrote.
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


def _holds(path: Path) -> bool:
    """Whether there is something to show, by the names of the files."""
    files = [*(parquet_name(one) for one in (*OF_RUNS, TRACK)), "layers_*.csv", "purity_*.csv"]
    return any(True for pattern in files for _ in path.glob(pattern))


def _ranked(path: Path) -> pd.DataFrame | None:
    """The neurons as `purescope purity` writes them: without a null."""
    files = sorted(path.glob("purity_*.csv"))
    parts = [
        read_csv_table(file, PURITY, model=file.stem.removeprefix("purity_")) for file in files
    ]
    if not parts:
        return None
    return pd.concat(parts, ignore_index=True).reindex(columns=list(schemas.NEURONS.columns))


def _thumbnails(table: pd.DataFrame) -> dict[tuple[str, int], bytes]:
    """The pictures, each a small WebP file as we write it.

    Raises:
        InputError: one is something else.
    """
    found = {}
    rows = table.reindex(columns=list(schemas.THUMBNAILS.columns))
    for dataset, image, picture in rows.itertuples(index=False):
        webp = isinstance(picture, bytes) and picture[:4] == b"RIFF" and picture[8:12] == b"WEBP"
        if not webp or len(picture) > _LARGEST_THUMBNAIL:
            raise InputError(
                f"the thumbnail of image {image} of {dataset} is no small WebP file",
                expected="thumbnails.parquet as a run writes it",
                fix=AGAIN,
            )
        found[str(dataset), int(image)] = picture
    return found


def read_track(out: str | Path) -> pd.DataFrame:
    """The table that `purescope.studies.training` wrote into a folder; columns as in
    `purescope.tables.schemas.TRACK`.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    table = read_table(to_path(out), TRACK)
    neurons = [len(order) if isinstance(order, np.ndarray) else -1 for order in table.order]
    if neurons != table.neurons.tolist():
        raise InputError(
            f"{to_path(out) / parquet_name(TRACK)}: an order of another number of neurons than its "
            f"row says",
            expected="the table of purescope track",
            fix="make it again: purescope track, with --overwrite (overwrite=True)",
        )
    return table


def write_results(table: pd.DataFrame, out: Path) -> None:
    """Write ``results.csv``, ``results.parquet`` and, for each model and dataset, the experiment's
    wide CSV files.

    Raises:
        InputError: the table is not one, or two labels would write the same file; nothing is
            written then.
        OutputError: the folder or the disk does not take it.

    Examples:
        The wide files of the label "CC3M LaCLIP" and the dataset "cifar10":
        ``result_cc3m_laclip/cifar10_laclip_accuracy_vs_sam.csv`` and ``..._silhouette_vs_sam.csv``.
    """
    table = check_table(table)
    check_wide_paths(table, out)
    write_table(table, out, RESULTS)
    write_wide(table, out)


def read_results(out: Path) -> pd.DataFrame:
    """The tidy table of a run's folder, as `purescope.run_sweep` returned it.

    Args:
        out: the folder, with ``results.parquet`` in it.

    Returns:
        One row for each model, data set, strategy, draw, k and metric:
        `purescope.tables.schemas.RESULTS`.

    Raises:
        InputError: there is none, its checksums do not fit, or it is not a purescope table.

    Examples:
        >>> import tempfile
        >>> import purescope as ps
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_results(ps.sweep(made.features, made.projections, keep=[4, 8], draws=2), Path(folder))
        ...     table = read_results(Path(folder))
        >>> table[table.metric == "accuracy"].groupby("strategy").size().to_dict()
        {'full': 1, 'high_purity': 2, 'low_purity': 2, 'random': 4}
    """
    return ResultTable(read_table(to_path(out), RESULTS))
