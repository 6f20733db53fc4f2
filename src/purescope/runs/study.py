"""What a run measures: of each pair of model and dataset, and once all pairs are measured."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

from purescope.datasets.dataset import Dataset
from purescope.features.extraction import Progress
from purescope.features.features import Features
from purescope.maths.overlaps import Projections
from purescope.maths.significance import against_chance
from purescope.models.model import Model
from purescope.runs.inputs import Settings, Sources, features_of, name_of
from purescope.runs.pairs import Measurement, Pair, Tables
from purescope.studies.comparisons import compare_strategies, curve_table
from purescope.studies.judging import mean_points, standings_table, verdicts_of
from purescope.studies.neurons import PORTRAIT, neuron_portraits, portrait, thumbnail_table
from purescope.studies.nulls import ROTATIONS, attribution_table, is_cheap
from purescope.studies.sanity import doubts
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.tables.files import check_table
from purescope.tables.points import curve_points
from purescope.tables.schema import Schema
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
from purescope.tables.verdicts import verdict_table

SWEPT = (RESULTS, COMPARISONS, CURVES, CURVE_POINTS, ATTRIBUTIONS, *PORTRAIT)
"""The tables that every run measures of a pair."""


@dataclass(frozen=True)
class Opened:
    """The models and data of a run, and how they are measured."""

    models: Sequence[Model]
    sets: Sequence[Dataset | Features]
    settings: Settings
    sources: Sources
    progress: Progress

    @property
    def pairs(self) -> list[Pair]:
        """Labels of model and dataset of all pairs, dataset by dataset."""
        return [(model.label, name_of(item)) for item in self.sets for model in self.models]

    def features(self, model: Model, item: Dataset | Features) -> Features:
        """Return the features of a pair, encoded or read."""
        return features_of(model, item, self.settings, self.sources, self.progress)


PairTables: TypeAlias = Callable[[Measured, Tables], Tables]
WholeTable: TypeAlias = Callable[[Opened, Tables], pd.DataFrame]


@dataclass(frozen=True)
class Study:
    """What a run measures besides the sweep and the portraits of the neurons.

    Args:
        pair_tables: returns more tables of a pair, from its sweep and the tables so far.
        pair_kinds: their schemas.
        rotations: of the attribution of every pair; None, 200 where that is cheap, and else none.
        more_whole: more tables of the run as a whole, each with the function that makes it from the
            tables of all pairs.
    """

    pair_tables: PairTables = lambda measured, tables: {}
    pair_kinds: Sequence[Schema] = ()
    rotations: int | None = None
    more_whole: Sequence[tuple[Schema, WholeTable]] = ()

    @property
    def kinds(self) -> tuple[Schema, ...]:
        """The schemas of all tables of a pair."""
        return (*SWEPT, *self.pair_kinds)

    @property
    def whole(self) -> tuple[tuple[Schema, WholeTable], ...]:
        """All tables of the run as a whole, each with the function that makes it."""
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
        place: of the pair in `opened.pairs`.
        study: what is measured.
    """
    item, model = divmod(place, len(opened.models))
    settings, seconds = opened.settings, {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        features = opened.features(opened.models[model], opened.sets[item])
        seconds["encode"] = features.seconds
        start = time.perf_counter()
        measured = measure_strategies(
            features, _ranked_by(opened.models[model], settings), settings
        )
        results = measured.table.assign(protocol=settings.protocol)
        tables = {
            "results": results,
            "comparisons": compare_strategies(measured),
            "curves": curve_table(measured),
            "curve_points": curve_points(results),
            "attributions": _attributions(measured, study.rotations),
            **portrait(measured),
        }
        tables |= study.pair_tables(measured, tables)
        for schema in (RESULTS, *study.pair_kinds):  # the others are checked where they are made
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


def _ranked_by(model: Model, settings: Settings) -> Projections | None:
    """Return the projections of a model; None where it has none, and other spaces rank it.

    Raises:
        ModelError: it has none, and they are to rank its neurons.
    """
    return model.projections if settings.space == "weights" else projections_of(model)


def projections_of(model: Model) -> Projections | None:
    """Return the projections of a model; None where a tower ends without one."""
    return model.weight_space if isinstance(model.weight_space, Projections) else None


def _attributions(measured: Measured, rotations: int | None) -> pd.DataFrame:
    """Measure the attribution where it was asked for or is cheap, unless accuracy is at chance."""
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
    parts = [
        neuron_portraits(model.label, projections_of(model), seed=opened.settings.seed)
        for model in opened.models
    ]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _standings(opened: Opened, tables: Tables) -> pd.DataFrame:
    return standings_table(tables["results"], tables["comparisons"], tables["curves"])


def _verdicts(opened: Opened, tables: Tables) -> pd.DataFrame:
    sources = (tables[name] for name in ("results", "comparisons", "attributions"))
    return verdict_table(verdicts_of(*sources))


def _thumbnails(opened: Opened, tables: Tables) -> pd.DataFrame:
    sets = [item for item in opened.sets if isinstance(item, Dataset)]
    return thumbnail_table(tables["examples"], sets, progress=opened.progress)
