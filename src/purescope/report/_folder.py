"""What a folder holds, read once: tables, cosines, thumbnails and manifest, whichever of them are there."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from purescope import schemas
from purescope.dynamics import read_track
from purescope.portraits import read_cosines
from purescope.schemas import METRICS, Schema
from purescope.tables import nothing_in, read_manifest, read_table

_SCHEMAS = tuple(one for one in vars(schemas).values() if isinstance(one, Schema))


@dataclass(frozen=True)
class Folder:
    """What there is to show.

    Args:
        path: of the folder.
        manifest: settings, identities and notes; empty where there is none.
        tables: those of `purescope.schemas` that are there and have rows, by name.
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
            self._pairs[schema.name] = dict(iter(self.table(schema).groupby(["model", "dataset"], sort=False)))
        return self._pairs[schema.name].get((model, dataset), self.table(schema)[:0])

    @cached_property
    def _pairs(self) -> dict[str, dict[Any, pd.DataFrame]]:
        return {}

    @cached_property
    def models(self) -> list[str]:
        """Labels of those that were swept, in the order of the run, and then of those whose neurons alone are there."""
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
        swept = [str(name) for name in self.table(schemas.RESULTS).strategy.unique() if name != "full"]
        first = [name for name in ("high_purity", "low_purity", "random") if name in swept]
        return first + [name for name in swept if name not in first]


def read_folder(path: Path) -> Folder:
    """Read all that a report can show.

    Raises:
        InputError: there is nothing of purescope in the folder, or a file cannot be read.
        OutputError: its manifest cannot be read.
    """
    tables = {one.name: read_table(path, one) for one in _SCHEMAS if (path / f"{one.name}.parquet").is_file()}
    if schemas.NEURONS.name not in tables and (ranked := _ranked(path)) is not None:
        tables[schemas.NEURONS.name] = ranked
    tables = {name: table for name, table in tables.items() if len(table)}
    layers = [pd.read_csv(file) for file in sorted(path.glob("layers_*.csv"))]
    folder = Folder(
        path=path,
        manifest=read_manifest(path) or {},
        tables=tables,
        layers=pd.concat(layers, ignore_index=True) if layers else pd.DataFrame(),
        track=read_track(path) if (path / "track.parquet").is_file() else pd.DataFrame(),
        thumbnails=_thumbnails(tables.get(schemas.THUMBNAILS.name, pd.DataFrame())),
    )
    if not tables and folder.layers.empty and folder.track.empty:
        raise nothing_in(path, _holds)
    cosines = {model: read_cosines(path, model) for model in folder.models}
    return replace(folder, cosines={model: maps for model, maps in cosines.items() if maps is not None})


def _holds(path: Path) -> bool:
    """Whether there is something to show, by the names of the files."""
    files = [*(f"{one.name}.parquet" for one in _SCHEMAS), "track.parquet", "layers_*.csv", "purity_*.csv"]
    return any(True for pattern in files for _ in path.glob(pattern))


def _ranked(path: Path) -> pd.DataFrame | None:
    """The neurons as `purescope purity` writes them: without a null."""
    files = sorted(path.glob("purity_*.csv"))
    parts = [pd.read_csv(file).assign(model=file.stem.removeprefix("purity_")) for file in files]
    if not parts:
        return None
    return pd.concat(parts, ignore_index=True).reindex(columns=list(schemas.NEURONS.columns))


def _thumbnails(table: pd.DataFrame) -> dict[tuple[str, int], bytes]:
    if table.empty:
        return {}
    return {
        (str(dataset), int(image)): bytes(picture)
        for dataset, image, picture in zip(table.dataset, table.image, table.thumbnail, strict=True)
    }
