"""Runs that ask more than a sweep: all the evidence about one claim, and two models against each other."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from purescope.datasets import Dataset
from purescope.features import Features, Progress, quiet
from purescope.importance import importance_and_purity
from purescope.model_comparison import adjust, compare_models, compare_purity
from purescope.models import Model
from purescope.nulls import ROTATIONS, Rotations, null_table, rotate_model
from purescope.runs import Opened, Settings, Sources, Study, Tables, measured, name_of, projections_of, run
from purescope.schemas import CORRELATIONS, NULLS, RIVALS, VARIANTS
from purescope.sweep import Measured, all_strategies
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
        The tables of a sweep by name, and ``nulls``, ``variants`` and ``correlations``; see `purescope.schemas`.

    Raises:
        PurescopeError: as `purescope.runs.run_sweep`.
    """
    turned: dict[str, Rotations] = {}

    def of_pair(found: Measured, model: Model, tables: Tables) -> Tables:
        options, projections = found.options, projections_of(model)
        if options.space == "weights" and projections is not None and model.label not in turned:
            turned[model.label] = rotate_model(projections, draws=rotations, seed=options.seed)
        correlations = pd.DataFrame(columns=list(CORRELATIONS.columns))
        return {
            "nulls": null_table(found, projections, turned.get(model.label), draws=rotations),
            "variants": variant_table(found, projections),
            "correlations": correlations if projections is None else importance_and_purity(tables["importance"]),
        }

    return run(
        models,
        data,
        out,
        study=Study(of_pair, (NULLS, VARIANTS, CORRELATIONS)),
        settings=settings or evidence_settings(),
        sources=sources,
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
    found: dict[tuple[str, str], Measured] = {}

    def of_pair(swept: Measured, model: Model, tables: Tables) -> Tables:
        found[model.label, swept.features.dataset] = swept
        return {}

    def rivals(opened: Opened, tables: Tables) -> pd.DataFrame:
        one, other = opened.models
        compared = []
        for item in opened.sets:
            for model in opened.models:
                if (model.label, name_of(item)) not in found:  # of a run that went on after a stop
                    found[model.label, name_of(item)] = measured(opened.features(model, item), model, opened.settings)
            compared.append(compare_models(found[one.label, name_of(item)], found[other.label, name_of(item)]))
        named = [(model.label, projections) for model in (one, other) if (projections := projections_of(model))]
        if len(named) == 2:
            options = opened.settings
            compared.append(compare_purity(*named, resamples=options.resamples, seed=options.seed))
        return adjust(pd.concat(compared, ignore_index=True))

    return run(
        (first, second),
        data,
        out,
        study=Study(of_pair, of_all=((RIVALS, rivals),)),
        settings=settings,
        sources=sources,
        overwrite=overwrite,
        progress=progress,
    )
