"""Run more than a sweep: all the evidence about the claim, or a comparison of two models."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from purescope.datasets.dataset import Dataset
from purescope.features.extraction import Progress, quiet
from purescope.features.features import Features
from purescope.models.model import Model
from purescope.runs.inputs import Settings, Sources, dataset_name
from purescope.runs.pairs import Opened, Pair, Study, Tables, projections_of
from purescope.runs.run import run
from purescope.studies.comparisons import adjust_models, compare_models, compare_purity
from purescope.studies.importance import importance_and_purity
from purescope.studies.nulls import ROTATIONS, null_table
from purescope.studies.sanity import variant_table
from purescope.studies.settings import all_strategies
from purescope.studies.sweeps import Measured, measure_strategies
from purescope.tables.results import Results
from purescope.tables.schemas import CORRELATIONS, NULLS, RIVALS, VARIANTS

EVIDENCE_DRAWS = 1000


def evidence_settings() -> Settings:
    """Return settings with every strategy, and random orders enough for a p-value of 0.002."""
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
    figures: bool = True,
    report: bool = True,
    progress: Progress = quiet,
) -> Results:
    """Run a sweep with every strategy, and test null models, variants and single neurons.

    Args:
        models, data, out, sources, overwrite, figures, report, progress: as in
            `purescope.run_sweep`.
        settings: as in `purescope.run_sweep`; `evidence_settings` by default.
        rotations: number of random rotations of each model, and of shuffles of its purity.

    Returns:
        The results: the tables of a sweep, and ``nulls``, ``variants`` and ``correlations``.

    Raises:
        PurescopeError: as `purescope.run_sweep`.

    Examples:
        Features alone; with a model it is ``run_evidence(["runs/mine.pt"], ["cifar10"], "out")``:

        >>> import tempfile
        >>> from purescope.studies.synthetic import plant
        >>> planted = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> settings = Settings(keep=[8], draws=3, space="activations", resamples=100)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     results = run_evidence(
        ...         [], [planted.features], out,
        ...         settings=settings, rotations=3, figures=False, report=False,
        ...     )
        >>> sorted(set(results.table("nulls").null))
        ['rotation', 'shuffled purity', 'shuffled towers', 'svd basis']
    """

    def pair_tables(measured: Measured, tables: Tables) -> Tables:
        correlations = pd.DataFrame(columns=list(CORRELATIONS.columns))
        if measured.bench.projections is not None:
            correlations = importance_and_purity(tables["importance"])
        return {
            "nulls": null_table(measured, attributions=tables["attributions"], draws=rotations),
            "variants": variant_table(measured),
            "correlations": correlations,
        }

    return run(
        models,
        data,
        out,
        study=Study(pair_tables, (NULLS, VARIANTS, CORRELATIONS), rotations),
        settings=settings or evidence_settings(),
        sources=sources,
        overwrite=overwrite,
        figures=figures,
        report=report,
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
    figures: bool = True,
    report: bool = True,
    rotations: int | None = None,
    progress: Progress = quiet,
) -> Results:
    """Run a sweep of two models on the same images, and compare them with paired tests.

    Args:
        first, second: models, as in `purescope.run_sweep`.
        data, out, settings, sources, overwrite, figures, report, rotations, progress: as there.

    Returns:
        The results: the tables of a sweep, and ``rivals``.

    Raises:
        PurescopeError: as `purescope.run_sweep`.

    Examples:
        Two models made by hand; the second sees nothing in the dark:

        >>> import dataclasses, tempfile, torch, purescope as ps
        >>> from PIL import Image
        >>> from purescope.models import Preprocess
        >>> names = ("red", "green", "blue")
        >>> def encode_text(texts):
        ...     return torch.tensor([[name in text for name in names] for text in texts]).float()
        >>> sees = Model(
        ...     label="sees", spec="made by hand", neurons=3, identity={},
        ...     weight_space=ps.Projections(torch.eye(3), torch.eye(3)),
        ...     preprocess=Preprocess(size=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        ...     encode_image=lambda pixels: pixels[:, :, 0, 0], encode_text=encode_text,
        ... )
        >>> blind = dataclasses.replace(
        ...     sees, label="blind", encode_image=lambda pixels: pixels[:, :, 0, 0].round()
        ... )
        >>> shades = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (99, 0, 0), (0, 99, 0), (0, 0, 99)]
        >>> colours = Dataset(
        ...     name="colours", spec="made by hand", classes=names, labels=torch.arange(36) % 3,
        ...     images=[Image.new("RGB", (2, 2), shade) for shade in shades * 6],
        ...     display_names=names, templates=("something {}.",), source={}, fingerprint="",
        ... )
        >>> with tempfile.TemporaryDirectory() as out:
        ...     settings = Settings(keep=[1], draws=1, resamples=100)
        ...     results = run_compare(
        ...         sees, blind, [colours], out, settings=settings, figures=False, report=False
        ...     )
        >>> rows = results.table("rivals").query("k == 'all' and metric == 'accuracy'")
        >>> rows[["first_value", "second_value", "difference"]]
           first_value  second_value  difference
        0          1.0      0.666667    0.333333
    """
    sweeps: dict[Pair, Measured] = {}

    def pair_tables(measured: Measured, tables: Tables) -> Tables:
        sweeps[measured.features.model, measured.features.dataset] = measured
        return {}

    def rivals(opened: Opened, tables: Tables) -> pd.DataFrame:
        compared = []
        for item in opened.labelled:
            pair = []
            for model in opened.models:
                measured = sweeps.get((model.label, dataset_name(item)))
                if measured is None:  # an earlier call of the run measured this pair
                    features = opened.features(model, item)
                    measured = measure_strategies(features, projections_of(model), opened.settings)
                pair.append(measured)
            compared.append(compare_models(*pair))
        weights = [
            (model.label, projections)
            for model in opened.models
            if (projections := projections_of(model))
        ]
        if len(weights) == 2:
            settings = opened.settings
            compared.append(
                compare_purity(*weights, resamples=settings.resamples, seed=settings.seed)
            )
        return adjust_models(pd.concat(compared, ignore_index=True))

    return run(
        (first, second),
        data,
        out,
        study=Study(pair_tables, rotations=rotations, more_whole=((RIVALS, rivals),)),
        settings=settings,
        sources=sources,
        overwrite=overwrite,
        figures=figures,
        report=report,
        progress=progress,
    )
