"""Runs that ask more than a sweep: all the evidence about one claim, and two models against each other."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from purescope.datasets import Dataset
from purescope.features import Features, Progress, quiet
from purescope.importance import importance_and_purity, neuron_importance
from purescope.model_comparison import adjust, compare_models, compare_purity
from purescope.models import Model
from purescope.nulls import ROTATIONS, Rotations, null_table, rotate_model
from purescope.purity import Projections
from purescope.runs import (
    Settings,
    Sources,
    Tables,
    features_of,
    measured,
    open_data,
    open_model,
    run,
    sweep_tables,
)
from purescope.schemas import COMPARISONS, CORRELATIONS, CURVES, IMPORTANCE, NULLS, RESULTS, RIVALS, VARIANTS
from purescope.sweep import Measured, all_strategies
from purescope.tables import check_table, write_table
from purescope.variants import variant_table

EVIDENCE_DRAWS = 1000


def evidence_settings() -> Settings:
    """Every strategy, and as many random orders as a p-value of 0.002 takes."""
    return Settings(strategies=all_strategies(), draws=EVIDENCE_DRAWS)


def run_evidence(
    models: Sequence[str | Model],
    data: Sequence[str | Dataset | Features],
    out: str | Path,
    *,
    settings: Settings | None = None,
    sources: Sources | None = None,
    rotations: int = ROTATIONS,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> Tables:
    """A sweep with every strategy, and what a reviewer would ask: nulls, variants and single neurons.

    Args:
        models, data, out, settings, sources, overwrite, progress: as in `purescope.runs.run_sweep`; `settings` are
            `evidence_settings` by default.
        rotations: random rotations of each model, and shuffles of its purity.

    Returns:
        The tables by name: ``results``, ``comparisons``, ``curves``, ``nulls``, ``variants``, ``importance``,
        ``correlations``; see `purescope.schemas`.

    Raises:
        PurescopeError: as `purescope.runs.run_sweep`.
    """
    turned: dict[str, Rotations] = {}

    def measure(features: Features, model: Model, settings: Settings) -> Tables:
        found, projections = measured(features, model, settings), _projections(model)
        if settings.space == "weights" and projections is not None and model.label not in turned:
            turned[model.label] = rotate_model(projections, draws=rotations, seed=settings.seed)
        importance = neuron_importance(features, projections, ablation=settings.ablation, seed=settings.seed)
        correlations = pd.DataFrame(columns=list(CORRELATIONS.columns))
        return {
            **sweep_tables(found, settings),
            "nulls": null_table(found, projections, turned.get(model.label), draws=rotations),
            "variants": variant_table(found, projections),
            "importance": check_table(importance.reindex(columns=list(IMPORTANCE.columns)), IMPORTANCE),
            "correlations": correlations if projections is None else importance_and_purity(importance),
        }

    return run(
        measure,
        (RESULTS, COMPARISONS, CURVES, NULLS, VARIANTS, IMPORTANCE, CORRELATIONS),
        models,
        data,
        out,
        settings=settings or evidence_settings(),
        sources=sources or Sources(),
        overwrite=overwrite,
        progress=progress,
    )


def run_compare(
    first: str | Model,
    second: str | Model,
    data: Sequence[str | Dataset | Features],
    out: str | Path,
    *,
    settings: Settings | None = None,
    sources: Sources | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> Tables:
    """A sweep of two models on the same images, and their differences with paired tests.

    Args:
        first, second: models, as in `purescope.runs.run_sweep`.
        data, out, settings, sources, overwrite, progress: as there.

    Returns:
        The tables of the sweep by name, and ``rivals``.

    Raises:
        PurescopeError: as `purescope.runs.run_sweep`.
    """
    settings, sources = settings or Settings(), sources or Sources()
    pair = [open_model(model, sources, settings) for model in (first, second)]
    sets = [open_data(item, sources) for item in data]
    found: dict[tuple[str, str], Measured] = {}

    def measure(features: Features, model: Model, settings: Settings) -> Tables:
        found[model.label, features.dataset] = measured(features, model, settings)
        return sweep_tables(found[model.label, features.dataset], settings)

    tables = run(
        measure,
        (RESULTS, COMPARISONS, CURVES),
        pair,
        sets,
        out,
        settings=settings,
        sources=sources,
        overwrite=overwrite,
        progress=progress,
    )
    compared = []
    for item in sets:
        name = item.dataset if isinstance(item, Features) else item.name
        for model in pair:
            if (model.label, name) not in found:  # a run that went on after a stop: tables are there, images are not
                features = features_of(model, item, settings, sources, progress)
                measure(features, model, settings)
        compared.append(compare_models(found[pair[0].label, name], found[pair[1].label, name]))
    named = [(model.label, projections) for model in pair if (projections := _projections(model)) is not None]
    if len(named) == 2:
        compared.append(compare_purity(named[0], named[1], resamples=settings.resamples, seed=settings.seed))
    rivals = adjust(pd.concat(compared, ignore_index=True))
    write_table(rivals, Path(out), RIVALS)
    return tables | {"rivals": rivals}


def _projections(model: Model) -> Projections | None:
    return model.weight_space if isinstance(model.weight_space, Projections) else None
