"""Measure a pair of model and dataset, and keep each finished pair until the run is complete.

``DIR/pairs/0001`` holds the tables of one pair as Parquet files, and ``pair.json``: which pair it
is, of which run, how long it took, the notes, and the hash of each file. Such a folder is renamed
into its place when it is complete, so a pair is written once, and is either complete or missing.
When all pairs are measured, their tables are put together and these folders are removed.
"""

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from purescope.datasets.dataset import Dataset
from purescope.errors import InputError, OutputError
from purescope.features.extraction import Progress
from purescope.features.features import Features
from purescope.files.manifest import hash_of, is_timing
from purescope.files.reading import read_json
from purescope.files.writing import atomic_folder
from purescope.maths.overlaps import Projections
from purescope.maths.significance import against_chance
from purescope.models.model import Model
from purescope.runs.inputs import Settings, Sources, dataset_name, features_of
from purescope.studies.comparisons import compare_strategies, curve_table
from purescope.studies.judging import mean_points, standings_table, verdicts_of
from purescope.studies.neurons import PORTRAIT, neuron_portraits, portrait, thumbnail_table
from purescope.studies.nulls import ROTATIONS, attribution_table, is_cheap
from purescope.studies.sanity import doubts
from purescope.studies.shares import share_table
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.tables.files import (
    PAIRS,
    check_table,
    parquet_bytes,
    parquet_name,
    read_parquet_table,
)
from purescope.tables.result_table import curve_points
from purescope.tables.schema import Schema, stack_tables
from purescope.tables.schemas import (
    ATTRIBUTIONS,
    COMPARISONS,
    CURVE_POINTS,
    CURVES,
    MEAN_POINTS,
    NEURONS,
    RESULTS,
    STANDINGS,
    THUMBNAILS,
    VERDICTS,
)
from purescope.tables.shares import SHARES
from purescope.tables.verdicts import verdict_table

Tables: TypeAlias = dict[str, pd.DataFrame]  # by the name of the schema
Pair: TypeAlias = tuple[str, str]  # labels of a model and a dataset

ENTRY = "pair.json"


@dataclass(frozen=True)
class Measurement:
    """A finished pair.

    Args:
        pair: labels of the model and of the dataset.
        tables: its tables, by the name of their schema.
        timing: seconds of each step, as in the manifest; None if they were not taken.
        notes: the warnings of its measurement.
    """

    pair: Pair
    tables: Tables
    timing: dict[str, Any] | None = None
    notes: Sequence[str] = ()


SWEPT = (RESULTS, COMPARISONS, CURVES, CURVE_POINTS, ATTRIBUTIONS, SHARES, *PORTRAIT)
"""The tables of a pair that every run measures."""


@dataclass(frozen=True)
class Opened:
    """The opened models and data of a run, and how they are measured."""

    models: Sequence[Model]
    datasets: Sequence[Dataset | Features]
    settings: Settings
    sources: Sources
    progress: Progress

    @property
    def pairs(self) -> list[Pair]:
        """Labels of model and dataset of all pairs, dataset by dataset."""
        return [
            (model.label, dataset_name(data)) for data in self.datasets for model in self.models
        ]

    def features(self, model: Model, data: Dataset | Features) -> Features:
        """Return the features of a pair, encoded or read."""
        return features_of(model, data, self.settings, self.sources, self.progress)


PairTables: TypeAlias = Callable[[Measured, Tables], Tables]
WholeTable: TypeAlias = Callable[[Opened, Tables], pd.DataFrame]


@dataclass(frozen=True)
class Study:
    """The tables that a run measures besides the sweep and the portraits of the neurons.

    Args:
        pair_tables: returns more tables of a pair, from its sweep and the tables so far.
        pair_schemas: the schemas of these tables.
        rotations: number of rotations in the attribution of each pair; None takes 200 if that is
            cheap, and otherwise none.
        more_whole: more tables of the whole run, each with the function that makes it from the
            tables of all pairs.
    """

    pair_tables: PairTables = lambda measured, tables: {}
    pair_schemas: Sequence[Schema] = ()
    rotations: int | None = None
    more_whole: Sequence[tuple[Schema, WholeTable]] = ()

    @property
    def schemas(self) -> tuple[Schema, ...]:
        """The schemas of all tables of a pair."""
        return (*SWEPT, *self.pair_schemas)

    @property
    def whole(self) -> tuple[tuple[Schema, WholeTable], ...]:
        """All tables of the whole run, each with the function that makes it."""
        return (
            (NEURONS, _neurons),
            (THUMBNAILS, _thumbnails),
            (MEAN_POINTS, lambda opened, tables: mean_points(tables["results"])),
            (STANDINGS, _standings),
            (VERDICTS, _verdicts),
            *self.more_whole,
        )


def measure_pair(opened: Opened, place: int, study: Study) -> Measurement:
    """Encode and measure a pair, and check its tables.

    Args:
        opened: the run.
        place: number of the pair in `opened.pairs`.
        study: what to measure.

    Raises:
        ModelError: the settings need projections that the model does not have.
    """
    item, model = divmod(place, len(opened.models))
    settings, seconds = opened.settings, {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        features = opened.features(opened.models[model], opened.datasets[item])
        seconds["encode"] = features.seconds
        start = time.perf_counter()
        projections = _projections_to_rank(opened.models[model], settings)
        measured = measure_strategies(features, projections, settings)
        results = measured.table.assign(protocol=settings.protocol)
        tables = {
            "results": results,
            "comparisons": compare_strategies(measured),
            "curves": curve_table(measured),
            "curve_points": curve_points(results),
            "attributions": _attributions(measured, study.rotations),
            "shares": share_table(measured),
            **portrait(measured),
        }
        tables |= study.pair_tables(measured, tables)
        for schema in (RESULTS, *study.pair_schemas):  # others are checked where they are made
            tables[schema.name] = check_table(tables[schema.name], schema)
        for doubt in doubts(features):
            warnings.warn(doubt, stacklevel=2)
    seconds["sweep"] = time.perf_counter() - start
    pair = opened.pairs[place]
    timing = {
        "model": pair[0],
        "dataset": pair[1],
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
    }
    notes = [f"{' on '.join(pair)}: {warning.message}" for warning in caught]
    return Measurement(pair, tables, timing, notes)


def _projections_to_rank(model: Model, settings: Settings) -> Projections | None:
    """Return the projections of a model; None if it has none, and another space ranks neurons.

    Raises:
        ModelError: it has none, and the space is that of the weights.
    """
    return model.projections if settings.space == "weights" else projections_of(model)


def projections_of(model: Model) -> Projections | None:
    """Return the projections of a model; None if a tower ends without one."""
    return model.weight_space if isinstance(model.weight_space, Projections) else None


def _attributions(measured: Measured, rotations: int | None) -> pd.DataFrame:
    """Measure the attribution if it was asked or is cheap, and accuracy is above chance."""
    images, neurons = measured.features.image.shape
    classes = len(measured.features.text)
    if against_chance(float(measured.full[0]), 1 / classes, images) != "above":
        rotations = 0
    if rotations is None:
        rotations = ROTATIONS if is_cheap(images, classes, neurons) else 0
    if not rotations:
        return check_table(pd.DataFrame(columns=list(ATTRIBUTIONS.columns)), ATTRIBUTIONS)
    return attribution_table(measured, draws=rotations)


def _neurons(opened: Opened, tables: Tables) -> pd.DataFrame:
    return stack_tables(
        [
            neuron_portraits(model.label, projections_of(model), seed=opened.settings.seed)
            for model in opened.models
        ]
    )


def _standings(opened: Opened, tables: Tables) -> pd.DataFrame:
    return standings_table(tables["results"], tables["comparisons"], tables["curves"])


def _verdicts(opened: Opened, tables: Tables) -> pd.DataFrame:
    sources = (tables[name] for name in ("results", "comparisons", "attributions"))
    return verdict_table(verdicts_of(*sources))


def _thumbnails(opened: Opened, tables: Tables) -> pd.DataFrame:
    datasets = [data for data in opened.datasets if isinstance(data, Dataset)]
    return thumbnail_table(tables["examples"], datasets, progress=opened.progress)


def write_pair(
    out: Path, place: int, run: str, schemas: Iterable[Schema], finished: Measurement
) -> None:
    """Write a finished pair.

    Args:
        out: the folder of the run.
        place: number of the pair in the run, from 0.
        run: identifies the run.
        schemas: the schemas of the tables that a pair can have.
        finished: the pair.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_folder(pair_folder(out, place)) as temporary:
        hashes = {}
        for schema in schemas:
            if schema.name in finished.tables:
                content = parquet_bytes(finished.tables[schema.name])
                (temporary / parquet_name(schema)).write_bytes(content)
                hashes[parquet_name(schema)] = hashlib.sha256(content).hexdigest()
        entry = {
            "run": run,
            "model": finished.pair[0],
            "dataset": finished.pair[1],
            "timing": finished.timing,
            "notes": list(finished.notes),
            "hashes": hashes,
        }
        (temporary / ENTRY).write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")


def read_pair(
    out: Path, place: int, run: str, schemas: Iterable[Schema], pair: Pair
) -> Measurement | None:
    """Read a finished pair.

    Args:
        out, place, run, schemas: as for `write_pair`.
        pair: the labels that are expected.

    Returns:
        The pair; None if it was not written.

    Raises:
        InputError: it belongs to another pair or another run, or is damaged.
    """
    folder = pair_folder(out, place)
    if not folder.is_dir():
        return None
    try:
        entry = read_json(folder / ENTRY)
        _check_entry(entry, run, pair)
        tables = {}
        for schema in schemas:
            name = parquet_name(schema)
            if name in entry["hashes"]:
                if hash_of(folder / name) != entry["hashes"][name]:
                    raise ValueError(f"{name} is not the file that the run wrote")
                tables[schema.name] = read_parquet_table(folder / name, schema)
    except (ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{folder} cannot be used: {reason}") from error
    return Measurement(pair, tables, entry["timing"], entry["notes"])


def remove_pairs(out: Path) -> None:
    """Remove the folders of finished pairs, and unfinished ones of a killed process.

    Raises:
        OutputError: as for `remove_pair`.
    """
    pairs = out / PAIRS
    for folder in sorted(pairs.iterdir()) if pairs.is_dir() else ():
        remove_pair(folder)
    with suppress(OSError):  # it does not exist, or holds something else
        pairs.rmdir()


def remove_pair(folder: Path) -> None:
    """Remove the folder of one pair.

    Raises:
        OutputError: it holds files that are not purescope's, or cannot be removed.
    """
    if not folder.is_dir() or not folder.name.strip(".").partition("-")[0].isdecimal():
        return  # not the folder of a pair
    try:
        others = [
            path for path in folder.iterdir() if path.suffix != ".parquet" and path.name != ENTRY
        ]
        if not others:
            shutil.rmtree(folder)
            return
    except OSError as error:
        raise OutputError(
            f"cannot remove {folder}: {error.strerror or error}", fix="choose another --out"
        ) from error
    raise OutputError(
        f"{folder} holds {others[0].name}, which is not purescope's",
        expected="the files of a finished pair",
        fix="move it away, or choose another --out",
    )


def pair_folder(out: Path, place: int) -> Path:
    """Return the folder of a finished pair, by its number in the run, from 0."""
    return out / PAIRS / f"{place + 1:04d}"


def _check_entry(entry: Any, run: str, pair: Pair) -> None:
    """Refuse an entry that is damaged, or belongs to another run or pair.

    Raises:
        ValueError: the reason.
    """
    if not isinstance(entry, dict) or entry.get("run") != run:
        raise ValueError("it belongs to another run")
    if (entry.get("model"), entry.get("dataset")) != pair:
        raise ValueError(f"it is not {' on '.join(pair)}")
    texts, hashes, timing = entry.get("notes"), entry.get("hashes"), entry.get("timing")
    if (
        not isinstance(texts, list)
        or not all(isinstance(note, str) for note in texts)
        or not isinstance(hashes, Mapping)
        or not (timing is None or is_timing(timing))
    ):
        raise ValueError(f"{ENTRY} is damaged")
