"""Run the experiment: from names of models and datasets to a folder of results.

The folder is claimed before anything is encoded, and each finished pair of model and dataset is
written at once. Whatever stops a run, the same run continues after the pairs that it finished.
With a cache of features, an encoding that was stopped continues too.
"""

import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.dataset import Dataset
from purescope.errors import noting
from purescope.features.captions import CaptionFeatures
from purescope.features.extraction import Progress, quiet
from purescope.features.features import Features
from purescope.files.npz import write_cosines
from purescope.files.writing import lock_folder
from purescope.models.model import Model
from purescope.report.writing import try_report
from purescope.runs.captions import Captions, Data, check_captions, open_any
from purescope.runs.folder import Record, claim
from purescope.runs.identity import new_manifest, now
from purescope.runs.inputs import (
    Settings,
    Sources,
    check_names,
    check_origin,
    check_words,
    models_or_origin,
    open_model,
)
from purescope.runs.pairs import (
    Measurement,
    Opened,
    Pair,
    Study,
    Tables,
    measure_pair,
    plain_sweep,
    projections_of,
)
from purescope.specs import to_folder
from purescope.studies.neurons import cosine_maps, vocabulary_table
from purescope.tables.columns import ALL, VOCABULARY
from purescope.tables.files import check_table, write_csv
from purescope.tables.result_table import ResultTable, write_wide
from purescope.tables.results import Results
from purescope.tables.retrieval import IMAGE_TABLES, RETRIEVAL_TABLES
from purescope.tables.schema import Schema, each_row, plain_texts
from purescope.tables.schemas import THUMBNAILS

_log = logging.getLogger(__name__)


def run_sweep(
    models: Sequence[str | Model],
    data: Sequence[str | Data],
    out: str | Path,
    *,
    settings: Settings | None = None,
    sources: Sources | None = None,
    overwrite: bool = False,
    figures: bool = True,
    report: bool = True,
    rotations: int | None = None,
    progress: Progress = quiet,
) -> Results:
    """Run the whole experiment, and write tables, figures and the report into `out`.

    It loads models and datasets, encodes, ranks neurons and evaluates.

    Args:
        models: model specs, see `load_model`, or loaded models; their labels must differ.
        data: dataset specs, see `load_dataset`, ``features:FILE``, ``captions:PATH``, or what they
            load; their names must differ. Retrieval is measured with captions: they take no part
            in the verdict. Features that say which model made them must be of each model. With
            features only, `models` may be empty: the space ``activations`` needs no model.
        out: a folder without results, or that of an earlier run with the same models, data and
            settings.
        settings: what to measure.
        sources: where datasets are and how they are read.
        overwrite: remove the files of another run in `out`, and measure everything anew.
        figures: draw the figures, into ``figures``.
        report: write the page, ``report.html``. Without both, only tables and manifest are written;
            `purescope.plots.folder.draw_folder` and `write_report` can draw from them later.
        rotations: number of random rotations, and of orders of the same norms, that test whether
            purity is the reason; 0 does not test it. None takes 200 if that takes seconds, and
            otherwise 0.
        progress: wraps the batches of each encoding, for a progress bar.

    Returns:
        The results: ``.table("results")`` is the tidy table, ``.verdicts`` has the verdict on each
        model; `purescope.open_results` opens the folder again.

    Raises:
        PurescopeError: a name, file, image or setting cannot be used, or `out` holds another run.

    Warns:
        UserWarning: dead neurons, labels without a silhouette, and doubts of
            `purescope.studies.sanity`; the manifest has all of them.

    Examples:
        Features alone, ranked by their own activations; with a model it is
        ``run_sweep(["runs/mine.pt"], ["cifar10"], "out")``:

        >>> import tempfile, purescope as ps
        >>> from purescope.studies.synthetic import plant
        >>> planted = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> settings = Settings(keep=[8], draws=2, space="activations", resamples=100)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     results = run_sweep(
        ...         [], [planted.features], out, settings=settings, figures=False, report=False
        ...     )
        ...     again = ps.open_results(out)
        ...     sorted(path.name for path in Path(out).glob("r*"))
        ['result_planted', 'results.csv', 'results.parquet']
        >>> again.table("results").equals(results.table("results"))
        True
    """
    return run(
        models,
        data,
        out,
        settings=settings,
        sources=sources,
        overwrite=overwrite,
        figures=figures,
        report=report,
        study=plain_sweep(rotations),
        progress=progress,
    )


def run(
    models: Sequence[str | Model],
    data: Sequence[str | Data],
    out: str | Path,
    *,
    study: Study | None = None,
    settings: Settings | None = None,
    sources: Sources | None = None,
    overwrite: bool = False,
    figures: bool = True,
    report: bool = True,
    progress: Progress = quiet,
) -> Results:
    """Measure every model on every dataset, pair by pair, and write each pair when it is finished.

    Args:
        models, data, out, settings, sources, overwrite, figures, report, progress: as in
            `run_sweep`.
        study: what is measured besides the sweep and the portraits of the neurons.

    Returns:
        The results, with all tables.
    """
    folder, study = to_folder(out), study or Study()
    _log.info("loading models and data")
    with noting() as noted:
        opened = _open(models, data, settings or Settings(), sources or Sources(), progress)
        check_captions(opened.datasets, opened.settings, allowed=study.captions)
    if any(isinstance(item, Captions) for item in opened.datasets):
        study = replace(study, pair_schemas=(*study.pair_schemas, *RETRIEVAL_TABLES))
    if opened.settings.metrics:
        study = replace(study, pair_schemas=(*study.pair_schemas, *IMAGE_TABLES))
    datasets = [item for item in opened.datasets if isinstance(item, Dataset | CaptionDataset)]
    loading = list(dict.fromkeys([*noted, *(note for item in datasets for note in item.notes)]))
    whole = [schema for schema, _ in study.whole]
    schemas = [*study.schemas, *whole]
    manifest = new_manifest(
        schemas, opened.models, opened.datasets, opened.settings, study.rotations
    )
    with plain_texts(), lock_folder(folder):
        record = claim(folder, study.schemas, whole, _labels(opened), manifest, overwrite=overwrite)
        record.notes = [*loading, *(note for note in record.notes if note not in loading)]
        for place, pair in enumerate(opened.pairs):
            if pair not in record.tables:
                _log.info("%d of %d: %s", place + 1, len(opened.pairs), " on ".join(pair))
                record.save(measure_pair(opened, place, study))
        _measure_words(record, opened)
        if not study.more_whole:  # given features are large, and nothing else asks for them again
            opened = replace(opened, datasets=datasets)
        tables = record.combined()
        for note in dict.fromkeys(note for note in record.notes if note not in loading):
            warnings.warn(note, stacklevel=2)
        for schema, make in study.whole:
            earlier = record.whole.get(schema.name)
            table = check_table(make(opened, tables), schema) if earlier is None else earlier
            tables[schema.name] = table
        measured = opened.models
        del opened  # features are large, and nothing below needs them
        record.finish(tables, schemas)
        _write_csv(tables, schemas, folder)
        _write_cosines(measured, folder)
        if figures:
            _log.info("figures")
            _figures(tables["results"], folder)
        record.write_manifest(finished=now(), verdict=_outcomes(tables["verdicts"]))
        if report:
            _log.info("report")
            try_report(folder)
    tables["results"] = ResultTable(tables["results"])
    return Results(folder, tables)


def _open(
    models: Sequence[str | Model],
    data: Sequence[str | Data],
    settings: Settings,
    sources: Sources,
    progress: Progress,
) -> Opened:
    """Open models and data, and check them before anything is computed."""
    check_words(settings.protocol, sources)
    datasets = [open_any(spec, sources, alone=not models) for spec in data]
    loaded = [open_model(model, sources, settings) for model in models_or_origin(models, datasets)]
    check_names(loaded, datasets)
    for item in datasets:
        if isinstance(item, Features | CaptionFeatures):
            for model in loaded:
                check_origin(item, model, settings)
    return Opened(loaded, datasets, settings, sources, progress)


def _labels(opened: Opened) -> list[Pair]:
    """Return the labels of all pairs, then each model with the vocabulary, as in the tables."""
    return opened.pairs + [(model.label, VOCABULARY) for model in opened.models]


def _measure_words(record: Record, opened: Opened) -> None:
    """Measure the words closest to each neuron, once for each model."""
    for model in opened.models:
        pair = (model.label, VOCABULARY)
        if pair not in record.tables and model.encodes:
            _log.info("words closest to the neurons of %s", model.label)
            words = vocabulary_table(model, opened.settings.protocol, opened.sources.cache)
            record.save(Measurement(pair, {"words": words}))


def _outcomes(verdicts: pd.DataFrame) -> dict[str, Any]:
    """Return outcome and attribution of each model over all of its datasets."""
    rows = verdicts[verdicts.dataset == ALL]
    return {
        row.model: {"outcome": row.outcome, "attribution": row.attribution}
        for row in each_row(rows)
    }


def _write_csv(tables: Tables, schemas: Iterable[Schema], folder: Path) -> None:
    """Write the CSV files of all tables but the thumbnails, which are not text."""
    for schema in schemas:
        if schema is not THUMBNAILS:
            write_csv(tables[schema.name], folder / f"{schema.name}.csv")
    write_wide(tables["results"], folder)


def _write_cosines(models: Sequence[Model], folder: Path) -> None:
    for model in models:
        projections = projections_of(model)
        if projections is not None:
            write_cosines(cosine_maps(projections), folder, model.label)


def _figures(results: pd.DataFrame, folder: Path) -> None:
    from purescope.plots.folder import write_figures

    write_figures(results, folder)
