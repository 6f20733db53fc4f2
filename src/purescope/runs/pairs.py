"""Measure a pair of model and dataset: its tables, its time and its notes."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.dataset import Dataset
from purescope.features.captions import CaptionFeatures
from purescope.features.extraction import Progress
from purescope.features.features import Features
from purescope.maths.overlaps import Projections
from purescope.maths.significance import against_chance
from purescope.models.model import Model
from purescope.reduce.choosing import choice_table
from purescope.reduce.commands import Named
from purescope.runs.captions import Captions, Data, caption_features_of
from purescope.runs.inputs import Settings, Sources, dataset_name, features_of
from purescope.studies.comparisons import compare_strategies, curve_table
from purescope.studies.image_search import measure_images, with_images
from purescope.studies.judging import mean_points, standings_table, verdicts_of
from purescope.studies.neurons import PORTRAIT, neuron_portraits, portrait, thumbnail_table
from purescope.studies.nulls import ROTATIONS, attribution_table, is_cheap
from purescope.studies.retrieval import MeasuredRetrieval, measure_retrieval
from purescope.studies.retrieval_tables import (
    compare_retrieval,
    retrieval_curve_table,
    retrieval_share_table,
)
from purescope.studies.sanity import doubts
from purescope.studies.shares import share_table
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.tables.files import (
    check_table,
)
from purescope.tables.result_table import curve_points
from purescope.tables.retrieval import (
    IMAGE_COMPARISONS,
    IMAGE_CURVES,
    IMAGE_TABLES,
    RETRIEVAL_TABLES,
)
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
from purescope.tables.shares import CHOICES, SHARES
from purescope.tables.verdicts import verdict_table

Tables: TypeAlias = dict[str, pd.DataFrame]  # by the name of the schema
Pair: TypeAlias = tuple[str, str]  # labels of a model and a dataset


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
    datasets: Sequence[Data]
    settings: Settings
    sources: Sources
    progress: Progress

    @property
    def pairs(self) -> list[Pair]:
        """Labels of model and dataset of all pairs, dataset by dataset."""
        return [
            (model.label, dataset_name(data)) for data in self.datasets for model in self.models
        ]

    @property
    def labelled(self) -> list[Dataset | Features]:
        """The data with classes, and not captions."""
        return [data for data in self.datasets if not isinstance(data, Captions)]

    def features(self, model: Model, data: Dataset | Features) -> Features:
        """Return the features of a pair, encoded or read."""
        return features_of(model, data, self.settings, self.sources, self.progress)

    def captions(self, model: Model, data: Captions) -> CaptionFeatures:
        """Return the features of images and captions, encoded or read."""
        return caption_features_of(model, data, self.settings, self.sources, self.progress)


PairTables: TypeAlias = Callable[[Measured, Tables], Tables]
WholeTable: TypeAlias = Callable[[Opened, Tables], pd.DataFrame]


@dataclass(frozen=True)
class Study:
    """The tables that a run measures besides the sweep and the portraits of the neurons.

    Args:
        pair_tables: returns more tables of a pair, from its sweep and the tables so far.
        pair_schemas: the schemas of these tables.
        captions: whether datasets of captions can be measured.
        rotations: number of rotations in the attribution of each pair; None takes 200 if that is
            cheap, and otherwise none.
        more_whole: more tables of the whole run, each with the function that makes it from the
            tables of all pairs.
    """

    pair_tables: PairTables = lambda measured, tables: {}
    pair_schemas: Sequence[Schema] = ()
    rotations: int | None = None
    captions: bool = False
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
            (CHOICES, _choices),
            *self.more_whole,
        )


def plain_sweep(rotations: int | None) -> Study:
    """Return the study of a sweep, from the command and from Python alike."""
    return Study(rotations=rotations, captions=True)


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
        data = opened.datasets[item]
        projections = _projections_to_rank(opened.models[model], settings)
        if isinstance(data, Captions):
            captions = opened.captions(opened.models[model], data)
            seconds["encode"] = captions.seconds
            start = time.perf_counter()
            of_captions = measure_retrieval(captions, projections, settings)
            tables = _caption_tables(of_captions, settings)
        else:
            features = opened.features(opened.models[model], data)
            seconds["encode"] = features.seconds
            start = time.perf_counter()
            of_classes = measure_strategies(features, projections, settings)
            tables = _class_tables(of_classes, settings, study)
            for doubt in doubts(features):
                warnings.warn(doubt, stacklevel=2)
        # A dataset of captions has no tables about classes, and the reverse.
        missing = [schema for schema in study.schemas if schema.name not in tables]
        tables |= {schema.name: _empty(schema) for schema in missing}
    seconds["sweep"] = time.perf_counter() - start
    pair = opened.pairs[place]
    timing = {
        "model": pair[0],
        "dataset": pair[1],
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
    }
    notes = [f"{' on '.join(pair)}: {warning.message}" for warning in caught]
    return Measurement(pair, tables, timing, notes)


def _class_tables(measured: Measured, settings: Settings, study: Study) -> Tables:
    """Return the tables of a pair with classes."""
    searched = measure_images(measured.bench)
    results = with_images(measured.table, searched).assign(protocol=settings.protocol)
    tables = {
        "results": results,
        "comparisons": compare_strategies(measured),
        "curves": curve_table(measured),
        "curve_points": curve_points(results),
        "attributions": _attributions(measured, study.rotations),
        "shares": stack_tables([share_table(measured), *map(retrieval_share_table, searched)]),
        **portrait(measured),
    }
    if settings.metrics:
        makers = (IMAGE_COMPARISONS, compare_retrieval), (IMAGE_CURVES, retrieval_curve_table)
        for schema, make in makers:
            made = [make(one, schema) for one in searched]
            tables[schema.name] = stack_tables(made) if made else _empty(schema)
    tables |= study.pair_tables(measured, tables)
    for schema in (RESULTS, *study.pair_schemas):  # others are checked where they are made
        if schema not in (*RETRIEVAL_TABLES, *IMAGE_TABLES):
            tables[schema.name] = check_table(tables[schema.name], schema)
    return tables


def _caption_tables(measured: MeasuredRetrieval, settings: Settings) -> Tables:
    """Return the tables of a pair with captions."""
    results = check_table(measured.table.assign(protocol=settings.protocol), RESULTS)
    return {
        "results": results,
        "curve_points": curve_points(results),
        "shares": retrieval_share_table(measured),
        "retrieval_comparisons": compare_retrieval(measured),
        "retrieval_curves": retrieval_curve_table(measured),
    }


def _empty(schema: Schema) -> pd.DataFrame:
    return check_table(pd.DataFrame(columns=list(schema.columns)), schema)


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
        return _empty(ATTRIBUTIONS)
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


def _choices(opened: Opened, tables: Tables) -> pd.DataFrame:
    """Choose the fewest dimensions, once the verdicts say which datasets count."""
    models = {model.label: model.spec for model in opened.models}
    datasets = {
        dataset_name(data): data.spec
        for data in opened.datasets
        if isinstance(data, Dataset | CaptionDataset)
    }
    return choice_table(tables, Named(models, datasets, opened.settings.seed))


def _thumbnails(opened: Opened, tables: Tables) -> pd.DataFrame:
    datasets = [data for data in opened.datasets if isinstance(data, Dataset)]
    return thumbnail_table(tables["examples"], datasets, progress=opened.progress)
