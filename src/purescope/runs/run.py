"""One run of the experiment, from the names of models and datasets to a folder of results.

The folder is claimed before anything is encoded, and its tables are written anew, atomically, after
each pair of model and dataset: whatever stops a run, what it finished is there, and the same run
goes on after it. Features can be kept in a cache, where a stopped encoding goes on too.
"""

import logging
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from purescope.datasets.dataset import Dataset
from purescope.errors import noting
from purescope.features.extraction import Progress, quiet
from purescope.features.features import Features
from purescope.files.manifest import write_manifest
from purescope.files.writing import lock_folder
from purescope.formats import ResultTable
from purescope.models.model import Model
from purescope.runs.folder import Done, Tables, claim, new_manifest, now
from purescope.runs.inputs import (
    Settings,
    Sources,
    check_names,
    check_origin,
    check_words,
    name_of,
    named_or_behind,
    open_data,
    open_model,
)
from purescope.runs.study import Opened, Study, measure_pair, projections_of
from purescope.specs import to_folder
from purescope.studies.neurons import cosine_maps, vocabulary_table
from purescope.studies.sanity import doubts
from purescope.studies.verdict import ALL
from purescope.tables.columns import VOCABULARY
from purescope.tables.cosines import write_cosines
from purescope.tables.files import check_table, write_csv
from purescope.tables.schema import Schema
from purescope.tables.schemas import THUMBNAILS
from purescope.tables.wide import write_wide

_log = logging.getLogger(__name__)


def run_sweep(
    models: Sequence[str | Model],
    data: Sequence[str | Dataset | Features],
    out: str | Path,
    *,
    settings: Settings | None = None,
    sources: Sources | None = None,
    overwrite: bool = False,
    figures: bool = True,
    report: bool = True,
    rotations: int | None = None,
    progress: Progress = quiet,
) -> pd.DataFrame:
    """The whole experiment: load, encode, rank, evaluate, and write tables, figures and report into
    `out`.

    Args:
        models: model specs, see `load_model`, or loaded models; their labels must differ.
        data: dataset specs, see `load_dataset`, ``features:FILE``, or what they load; their names
            must differ. Features must be of each model, where they say what made them; with
            features only, `models` may be
            empty: in the space ``activations`` they need none.
        out: a folder without results, or that of an earlier run with the same models, data and
            settings.
        settings: what to measure.
        sources: where datasets lie and how they are read.
        overwrite: take `out` even if it holds another run, whose files are removed, and measure
            everything anew.
        figures: draw the figures, into ``figures``.
        report: draw the page, ``report.html``. Without either, only tables and manifest are
            written, for those with many runs; `purescope.plots.folder.draw_folder` and
            `write_report` draw later from them.
        rotations: random rotations, and orders of the same norms, that ask whether it is purity
            that does it; 0 does not ask. By default 200 where they take seconds, else none.
        progress: wraps the batches of each encoding, for a progress bar.

    Returns:
        The tidy table, as in ``results.parquet``; beside it stand ``comparisons`` and ``curves``,
        see `purescope.tables.schemas`.

    Raises:
        PurescopeError: a name, file, image or setting is not usable, or `out` holds another run.

    Warns:
        UserWarning: dead neurons, labels without a silhouette, what `purescope.studies.sanity`
            doubts; all in the manifest too.

    Examples:
        Features alone, ranked by their own activations; with a model it is
        ``run_sweep(["runs/mine.pt"], ["cifar10"], "out")``:

        >>> import tempfile, purescope as ps
        >>> from purescope.studies.synthetic import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> settings = Settings(keep=[8], draws=2, space="activations", resamples=100)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     table = run_sweep([], [made.features], out, settings=settings, figures=False, report=False)
        ...     again = ps.read_results(Path(out))
        ...     sorted(path.name for path in Path(out).glob("r*"))
        ['result_planted', 'results.csv', 'results.parquet']
        >>> again.equals(table)
        True
    """
    tables = run(
        models,
        data,
        out,
        settings=settings,
        sources=sources,
        overwrite=overwrite,
        figures=figures,
        report=report,
        study=Study(rotations=rotations),
        progress=progress,
    )
    return ResultTable(tables["results"])


def run(
    models: Sequence[str | Model],
    data: Sequence[str | Dataset | Features],
    out: str | Path,
    *,
    study: Study | None = None,
    settings: Settings | None = None,
    sources: Sources | None = None,
    overwrite: bool = False,
    figures: bool = True,
    report: bool = True,
    progress: Progress = quiet,
) -> Tables:
    """Measure every model on every data set, one pair after the other, each written as soon as it
    is there.

    Args:
        models, data, out, settings, sources, overwrite, figures, report, progress: as in
            `run_sweep`.
        study: what is measured beside the sweep and the portraits of its neurons.

    Returns:
        All tables by name.
    """
    folder, study = to_folder(out), study or Study()
    _log.info("loading models and data")
    with noting() as found:
        opened = _open(models, data, settings or Settings(), sources or Sources(), progress)
    told = dict.fromkeys(
        [
            *found,
            *(note for item in opened.sets if isinstance(item, Dataset) for note in item.notes),
        ]
    )
    whole = [schema for schema, _ in study.whole]
    kinds = [*study.kinds, *whole]
    manifest = new_manifest(kinds, opened.models, opened.sets, opened.settings, study.rotations)
    with lock_folder(folder):
        done = claim(folder, study.kinds, whole, manifest, overwrite=overwrite)
        done.notes = [*told, *(note for note in done.notes if note not in told)]
        _measure(done, opened, study, folder, manifest)
        tables = done.together(study.kinds, _parts(opened))
        for note in dict.fromkeys(note for note in done.notes if note not in told):
            warnings.warn(note, stacklevel=2)
        for schema, of_all in study.whole:
            kept = done.whole.get(schema.name)
            tables[schema.name] = (
                check_table(of_all(opened, tables), schema) if kept is None else kept
            )
        done.write([*study.kinds, *whole], tables, manifest, folder)
        _write_csv(tables, [*study.kinds, *whole], folder)
        _write_cosines(opened.models, folder)
        del opened  # features are large, and nothing below needs them
        if figures:
            _log.info("figures")
            _figures(tables["results"], folder)
        write_manifest(
            manifest | {"finished": now()} | done.told() | _verdict(tables["verdicts"]), folder
        )
        if report:
            _log.info("report")
            _report(folder)
    return tables


def _open(
    models: Sequence[str | Model],
    data: Sequence[str | Dataset | Features],
    settings: Settings,
    sources: Sources,
    progress: Progress,
) -> Opened:
    """Everything a run is made of, checked before anything is computed."""
    check_words(settings.protocol, sources)
    sets = [open_data(spec, sources, alone=not models) for spec in data]
    loaded = [open_model(model, sources, settings) for model in named_or_behind(models, sets)]
    check_names(loaded, sets)
    for item in sets:
        if isinstance(item, Features):
            for model in loaded:
                check_origin(item, model, settings)
    return Opened(loaded, sets, settings, sources, progress)


def _parts(opened: Opened) -> list[tuple[str, str]]:
    """The pairs, and for each model the words of the vocabulary, in the order of the tables."""
    pairs = [(model.label, name_of(item)) for model, item in opened.pairs]
    return pairs + [(model.label, VOCABULARY) for model in opened.models]


def _measure(
    done: Done, opened: Opened, study: Study, folder: Path, manifest: Mapping[str, Any]
) -> None:
    """What is missing, written after each part of it."""

    def keep(part: tuple[str, str], tables: Tables) -> None:
        done.tables[part] = tables
        touched = [schema for schema in study.kinds if schema.name in tables]
        done.write(touched, done.together(touched, _parts(opened)), manifest, folder)

    pairs = opened.pairs
    there = sum((model.label, name_of(item)) in done.tables for model, item in pairs)
    if there:
        _log.info(
            "%s: %d of %d pairs of model and data set are measured already",
            folder,
            there,
            len(pairs),
        )
    for number, (model, item) in enumerate(pairs, 1):
        pair = (model.label, name_of(item))
        if pair in done.tables:
            continue
        _log.info("%d of %d: %s", number, len(pairs), " on ".join(pair))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            features = opened.features(model, item)
            start = time.perf_counter()
            tables = measure_pair(features, model, opened.settings, study)
            for doubt in doubts(features):
                warnings.warn(doubt, stacklevel=2)
        seconds = {
            "encode": round(features.seconds, 3),
            "sweep": round(time.perf_counter() - start, 3),
        }
        done.timings.append({"model": pair[0], "dataset": pair[1], "seconds": seconds})
        done.notes.extend(f"{' on '.join(pair)}: {warning.message}" for warning in caught)
        keep(pair, tables)
    for model in opened.models:
        part = (model.label, VOCABULARY)
        if part not in done.tables and model.encodes:
            _log.info("words closest to the neurons of %s", model.label)
            keep(
                part,
                {"words": vocabulary_table(model, opened.settings.protocol, opened.sources.cache)},
            )


def _verdict(verdicts: pd.DataFrame) -> dict[str, Any]:
    """For the manifest: outcome and attribution of each model, over all of its data sets."""
    rows = verdicts[verdicts.dataset == ALL]
    return {
        "verdict": {
            row.model: {"outcome": row.outcome, "attribution": row.attribution}
            for row in rows.itertuples()
        }
    }


def _write_csv(tables: Tables, kinds: Iterable[Schema], folder: Path) -> None:
    """Write what is looked at once all pairs are there, however few were missing; pictures are no
    text.
    """
    for schema in kinds:
        if schema is not THUMBNAILS:
            write_csv(tables[schema.name], folder / f"{schema.name}.csv")
    write_wide(tables["results"], folder)


def _write_cosines(models: Sequence[Model], folder: Path) -> None:
    for model in models:
        projections = projections_of(model)
        if projections is not None:
            write_cosines(cosine_maps(projections), folder, model.label)


def _figures(results: pd.DataFrame, folder: Path) -> None:
    from purescope.plots.panels import write_figures

    write_figures(results, folder)


def _report(folder: Path) -> None:
    """Draw the page from what the folder holds; whatever goes wrong with that, the run is measured
    and stays so.
    """
    try:
        from purescope.report.writing import write_report

        write_report(folder)
    except Exception as error:
        warnings.warn(f"no report: {error}; `purescope report {folder}` draws it", stacklevel=2)
