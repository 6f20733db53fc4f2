"""One run of the experiment, from the names of models and datasets to a folder of results.

The folder is claimed before anything is encoded, and its tables are written anew, atomically, after each pair of model
and dataset: whatever stops a run, what it finished is there, and the same run goes on after it. Features can be kept in
a cache, where a stopped encoding goes on too.
"""

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from purescope.comparison import compare_strategies, curve_table
from purescope.datasets import Dataset
from purescope.features import Features, Progress, quiet
from purescope.models import Model
from purescope.runs._folder import Tables, claim, new_manifest, now
from purescope.runs._inputs import (
    Settings,
    Sources,
    check_names,
    check_origin,
    check_words,
    features_of,
    name_of,
    open_data,
    open_model,
)
from purescope.sanity import doubts
from purescope.schemas import COMPARISONS, CURVES, RESULTS, Schema
from purescope.sweep import Measured, measure_strategies
from purescope.tables import write_manifest, write_results, write_table


def run_sweep(
    models: Sequence[str | Model],
    data: Sequence[str | Dataset | Features],
    out: str | Path,
    *,
    settings: Settings | None = None,
    sources: Sources | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> pd.DataFrame:
    """The whole experiment: load, encode, rank, evaluate, and write tables, figures and manifest into `out`.

    Args:
        models: model specs, see `load_model`, or loaded models; their labels must differ.
        data: dataset specs, see `load_dataset`, ``features:FILE``, or what they load; their names must differ.
            Features must be of each model, where they say what made them.
        out: a folder without results, or that of an earlier run with the same models, data and settings.
        settings: what to measure.
        sources: where datasets lie and how they are read.
        overwrite: take `out` even if it holds another run, whose files are removed, and measure everything anew.
        progress: wraps the batches of each encoding, for a progress bar.

    Returns:
        The tidy table, as in ``results.parquet``; beside it stand ``comparisons`` and ``curves``, see
        `purescope.schemas`.

    Raises:
        PurescopeError: a name, file, image or setting is not usable, or `out` holds another run.

    Warns:
        UserWarning: dead neurons, labels without a silhouette, what `purescope.sanity` doubts; all in the manifest too.
    """
    return run(
        _sweep,
        (RESULTS, COMPARISONS, CURVES),
        models,
        data,
        out,
        settings=settings or Settings(),
        sources=sources or Sources(),
        overwrite=overwrite,
        progress=progress,
    )["results"]


def run(
    measure: Callable[[Features, Model, Settings], Tables],
    schemas: Sequence[Schema],
    models: Sequence[str | Model],
    data: Sequence[str | Dataset | Features],
    out: str | Path,
    *,
    settings: Settings,
    sources: Sources,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> Tables:
    """Measure every model on every data set, one pair after the other, each written as soon as it is there.

    Args:
        measure: what a pair is measured by; gives a table for each of `schemas`, results among them.
        schemas: of the tables.
        models, data, out, settings, sources, overwrite, progress: as in `run_sweep`.
    """
    from purescope.plots import write_figures

    folder = Path(out)
    check_words(settings.protocol, sources)
    loaded = [open_model(model, sources, settings) for model in models]
    sets = [open_data(spec, sources) for spec in data]
    check_names(loaded, sets)
    for item in sets:
        if isinstance(item, Features):
            for model in loaded:
                check_origin(item, model, settings)
    manifest = new_manifest(schemas, loaded, sets, settings)
    done = claim(folder, schemas, manifest, overwrite=overwrite)

    pairs = [(model.label, name_of(item)) for item in sets for model in loaded]
    for item in sets:
        for model in loaded:
            pair = (model.label, name_of(item))
            if pair in done.tables:
                continue
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                features = features_of(model, item, settings, sources, progress)
                start = time.perf_counter()
                done.tables[pair] = measure(features, model, settings)
                for doubt in doubts(features):
                    warnings.warn(doubt, stacklevel=2)
            seconds = {"encode": round(features.seconds, 3), "sweep": round(time.perf_counter() - start, 3)}
            done.timings.append({"model": pair[0], "dataset": pair[1], "seconds": seconds})
            done.notes.extend(f"{' on '.join(pair)}: {warning.message}" for warning in caught)
            _write(done.together(schemas, pairs), schemas, folder, csv=False)
            write_manifest(manifest | done.told(), folder)
    tables = done.together(schemas, pairs)
    _write(tables, schemas, folder, csv=True)
    for note in dict.fromkeys(done.notes):
        warnings.warn(note, stacklevel=2)
    write_figures(tables["results"], folder)
    write_manifest(manifest | {"finished": now()} | done.told(), folder)
    return tables


def _write(tables: Tables, schemas: Iterable[Schema], folder: Path, *, csv: bool) -> None:
    """Parquet to go on from, after each pair; CSV to be looked at, once all are there, however few were missing."""
    for schema in schemas:
        if schema is not RESULTS:
            write_table(tables[schema.name], folder, schema, csv=csv)
    if csv:
        write_results(tables["results"], folder)
    else:  # last: a pair that stands in the results stands in all tables
        write_table(tables["results"], folder, RESULTS, csv=False)


def measured(features: Features, model: Model, settings: Settings) -> Measured:
    """The sweep of one pair under the settings of a run."""
    return measure_strategies(features, model.projections if settings.space == "weights" else None, settings)


def sweep_tables(found: Measured, settings: Settings) -> Tables:
    """The tables of a sweep."""
    return {
        "results": found.table.assign(protocol=settings.protocol),
        "comparisons": compare_strategies(found),
        "curves": curve_table(found),
    }


def _sweep(features: Features, model: Model, settings: Settings) -> Tables:
    return sweep_tables(measured(features, model, settings), settings)
