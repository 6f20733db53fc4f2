"""What a run measures: of each pair of model and data set, and once all pairs are there."""

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
from purescope.runs.folder import Tables
from purescope.runs.inputs import Settings, Sources, features_of
from purescope.studies.attribution import attribution_table, is_cheap
from purescope.studies.comparisons import compare_strategies, curve_table
from purescope.studies.judging import verdicts_of
from purescope.studies.neurons import PORTRAIT, neuron_portraits, portrait
from purescope.studies.nulls import ROTATIONS
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.studies.thumbnails import thumbnail_table
from purescope.studies.verdict import verdict_table
from purescope.tables.files import check_table
from purescope.tables.schema import Schema
from purescope.tables.schemas import (
    ATTRIBUTIONS,
    COMPARISONS,
    CURVES,
    NEURONS,
    RESULTS,
    THUMBNAILS,
    VERDICTS,
)

SWEPT = (RESULTS, COMPARISONS, CURVES, ATTRIBUTIONS, *PORTRAIT)
"""What every run measures of a pair."""


@dataclass(frozen=True)
class Opened:
    """Models and data of a run, as they were found, and how they are measured."""

    models: Sequence[Model]
    sets: Sequence[Dataset | Features]
    settings: Settings
    sources: Sources
    progress: Progress

    @property
    def pairs(self) -> list[tuple[Model, Dataset | Features]]:
        """Data set by data set."""
        return [(model, item) for item in self.sets for model in self.models]

    def features(self, model: Model, item: Dataset | Features) -> Features:
        return features_of(model, item, self.settings, self.sources, self.progress)


OfPair: TypeAlias = Callable[[Measured, Model, Tables], Tables]
OfAll: TypeAlias = Callable[[Opened, Tables], pd.DataFrame]


@dataclass(frozen=True)
class Study:
    """What a run measures beside the sweep and the portraits of its neurons.

    Args:
        of_pair: gives more tables of a model on a data set, from its sweep, the model and the
            tables so far.
        pair_kinds: their schemas.
        rotations: of the attribution of every pair; None, as many as it takes where that is cheap,
            and else none.
        of_all: tables of the run as a whole, by what gives each from the tables of all pairs.
    """

    of_pair: OfPair = lambda measured, model, tables: {}
    pair_kinds: Sequence[Schema] = ()
    rotations: int | None = None
    of_all: Sequence[tuple[Schema, OfAll]] = ()

    @property
    def kinds(self) -> tuple[Schema, ...]:
        """Of all tables of a pair."""
        return (*SWEPT, *self.pair_kinds)

    @property
    def whole(self) -> tuple[tuple[Schema, OfAll], ...]:
        """All tables of the run as a whole."""
        return ((NEURONS, _neurons), (THUMBNAILS, _thumbnails), (VERDICTS, _verdicts), *self.of_all)


def measured(features: Features, model: Model, settings: Settings) -> Measured:
    """The sweep of one pair under the settings of a run."""
    return measure_strategies(
        features, model.projections if settings.space == "weights" else None, settings
    )


def measure_pair(features: Features, model: Model, settings: Settings, study: Study) -> Tables:
    """All tables of a pair, checked."""
    found = measured(features, model, settings)
    tables = {
        "results": found.table.assign(protocol=settings.protocol),
        "comparisons": compare_strategies(found),
        "curves": curve_table(found),
        "attributions": _attributions(found, projections_of(model), study.rotations),
        **portrait(found, projections_of(model)),
    }
    tables |= study.of_pair(found, model, tables)
    unchecked = (RESULTS, *study.pair_kinds)  # the others are checked where they are made
    return tables | {schema.name: check_table(tables[schema.name], schema) for schema in unchecked}


def _attributions(
    found: Measured, projections: Projections | None, rotations: int | None
) -> pd.DataFrame:
    """What else explains the difference, where that was asked or is cheap, and there is anything to
    explain.
    """
    images, neurons = found.features.image.shape
    classes = len(found.features.text)
    if against_chance(float(found.full[0]), 1 / classes, images) != "above":
        rotations = 0
    if rotations is None:
        rotations = ROTATIONS if is_cheap(images, classes, neurons) else 0
    if not rotations:
        return check_table(pd.DataFrame(columns=list(ATTRIBUTIONS.columns)), ATTRIBUTIONS)
    return attribution_table(found, projections, draws=rotations)


def projections_of(model: Model) -> Projections | None:
    """None where a tower ends without a projection."""
    return model.weight_space if isinstance(model.weight_space, Projections) else None


def _neurons(opened: Opened, tables: Tables) -> pd.DataFrame:
    parts = [
        neuron_portraits(model.label, projections_of(model), seed=opened.settings.seed)
        for model in opened.models
    ]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _verdicts(opened: Opened, tables: Tables) -> pd.DataFrame:
    return verdict_table(
        verdicts_of(tables["results"], tables["comparisons"], tables["attributions"])
    )


def _thumbnails(opened: Opened, tables: Tables) -> pd.DataFrame:
    sets = [item for item in opened.sets if isinstance(item, Dataset)]
    return thumbnail_table(tables["examples"], sets, progress=opened.progress)
