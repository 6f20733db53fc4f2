"""A run's folder without models and images: random features through the library's own tables."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.nn.functional import normalize

from purescope.features.captions import CaptionFeatures
from purescope.features.features import Features
from purescope.files.manifest import write_manifest
from purescope.files.writing import slug
from purescope.maths.overlaps import Projections
from purescope.reduce.choosing import choice_table
from purescope.reduce.commands import Named
from purescope.studies.comparisons import adjust, compare_strategies, curve_table
from purescope.studies.judging import mean_points, standings_table, verdicts_of
from purescope.studies.neurons import PORTRAIT, cosine_maps, neuron_portraits, portrait, thumbnail
from purescope.studies.retrieval import measure_retrieval
from purescope.studies.retrieval_tables import (
    compare_retrieval,
    retrieval_curve_table,
    retrieval_share_table,
)
from purescope.studies.settings import Options
from purescope.studies.shares import share_table
from purescope.studies.sweeps import measure_strategies
from purescope.tables.columns import VOCABULARY
from purescope.tables.files import write_table
from purescope.tables.result_table import curve_points
from purescope.tables.results import write_results
from purescope.tables.retrieval import RETRIEVAL_COMPARISONS, RETRIEVAL_CURVES
from purescope.tables.schema import Schema, plain_texts
from purescope.tables.schemas import (
    COMPARISONS,
    CURVE_POINTS,
    CURVES,
    MEAN_POINTS,
    NEURONS,
    RESULTS,
    STANDINGS,
    THUMBNAILS,
    VERDICTS,
    WORDS,
)
from purescope.tables.shares import CHOICES, SHARES
from purescope.tables.verdicts import verdict_table

KS = (4, 8, 12, 16)
NEURONS_MADE, IMAGES = 20, 48
CLASSES = ("cat", "dog", "hen", "cow")


@plain_texts()
def make_folder(
    out: Path,
    *,
    models: Sequence[str] = ("First", "Second"),
    datasets: Sequence[str] = ("pets", "farm"),
    classes: Sequence[str] = CLASSES,
    words: Sequence[str] = ("sofa", "lamp", "barn", "milk"),
    strategies: Sequence[str] = ("high_purity", "low_purity"),
    notes: Sequence[str] = (),
) -> Path:
    """Write what a run writes, but for its figures; the same bytes for the same arguments."""
    parts: dict[str, list[pd.DataFrame]] = {}
    options = Options(keep=KS, strategies=strategies, draws=12, resamples=100)
    for place, model in enumerate(models):
        projections = _projections(place)
        for at, dataset in enumerate(datasets):
            features = _features(model, dataset, classes, 10 * place + at)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                measured = measure_strategies(features, projections, options)
            found = {
                "results": measured.table.assign(protocol="native"),
                "comparisons": compare_strategies(measured),
                "curves": curve_table(measured),
                "shares": share_table(measured),
                **portrait(measured),
            }
            for name, table in found.items():
                parts.setdefault(name, []).append(table)
        parts.setdefault("neurons", []).append(neuron_portraits(model, projections))
        parts["words"].append(_vocabulary(model, words))
        np.savez(_made(out) / f"cosines_{slug(model)}.npz", **cosine_maps(projections))
    tables = {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}
    tables["comparisons"] = adjust(tables["comparisons"])
    write_results(tables["results"], out)
    for schema in (COMPARISONS, CURVES, NEURONS, SHARES, *PORTRAIT):
        write_table(tables[schema.name], out, schema)
    derive(out)
    write_table(_thumbnails(datasets), out, THUMBNAILS, csv=False)
    write_manifest(_manifest(models, datasets, notes), out)
    return out


@plain_texts()
def derive(out: Path) -> None:
    """Write the tables that a run makes of the others, once a test has changed one of those."""
    results, comparisons, curves = (read(out, kind) for kind in (RESULTS, COMPARISONS, CURVES))
    write_table(curve_points(results), out, CURVE_POINTS)
    write_table(mean_points(results), out, MEAN_POINTS)
    write_table(standings_table(results, comparisons, curves), out, STANDINGS)
    verdicts = verdict_table(verdicts_of(results, comparisons))
    write_table(verdicts, out, VERDICTS)
    tables = {"results": results, "shares": read(out, SHARES), "verdicts": verdicts}
    write_table(choice_table(tables, _named(results)), out, CHOICES)


@plain_texts()
def make_captions(out: Path, *, strategies: Sequence[str] = ("svd", "first_k")) -> Path:
    """Write what a sweep of captions writes that the report reads."""
    generator = torch.Generator().manual_seed(5)
    text = normalize(torch.randn(2 * IMAGES, NEURONS_MADE, generator=generator), dim=1)
    image_of = torch.arange(2 * IMAGES) // 2
    image = text[::2] + 0.2 * torch.randn(IMAGES, NEURONS_MADE, generator=generator)
    features = CaptionFeatures(
        normalize(image, dim=1), text, image_of, model="First", dataset="said"
    )
    options = Options(keep=KS, strategies=strategies, draws=12, resamples=100)
    measured = measure_retrieval(features, _projections(0), options)
    results = measured.table.assign(protocol="native")
    shares = retrieval_share_table(measured)
    write_results(results, _made(out))
    tables = {"results": results, "shares": shares, "verdicts": _no_verdicts()}
    for schema, table in (
        (CURVE_POINTS, curve_points(results)),
        (SHARES, shares),
        (CHOICES, choice_table(tables, _named(results))),
        (RETRIEVAL_COMPARISONS, compare_retrieval(measured)),
        (RETRIEVAL_CURVES, retrieval_curve_table(measured)),
    ):
        write_table(table, out, schema)
    return out


def _named(results: pd.DataFrame) -> Named:
    models, datasets = (
        {name: f"bundled:{name}" for name in results[column].unique()}
        for column in ("model", "dataset")
    )
    return Named(models, datasets)


def _no_verdicts() -> pd.DataFrame:
    return pd.DataFrame(columns=list(VERDICTS.columns))


def read(out: Path, schema: Schema = RESULTS) -> pd.DataFrame:
    """A table of the folder."""
    return pd.read_parquet(out / f"{schema.name}.parquet")


def _made(out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    return out


def _projections(seed: int) -> Projections:
    generator = torch.Generator().manual_seed(seed)
    image, text = (
        torch.randn(NEURONS_MADE, width, generator=generator) + 0.4 for width in (24, 32)
    )
    return Projections(image, text)


def _features(model: str, dataset: str, classes: Sequence[str], seed: int) -> Features:
    generator = torch.Generator().manual_seed(100 + seed)
    text = normalize(torch.randn(len(classes), NEURONS_MADE, generator=generator), dim=1)
    labels = torch.arange(IMAGES) % len(classes)
    image = text[labels] + 0.25 * torch.randn(IMAGES, NEURONS_MADE, generator=generator)
    return Features(
        normalize(image, dim=1), text, labels, tuple(classes), model=model, dataset=dataset
    )


def _vocabulary(model: str, words: Sequence[str]) -> pd.DataFrame:
    rows = [
        {
            "model": model,
            "dataset": VOCABULARY,
            "neuron": neuron,
            "place": place,
            "word": word,
            "score": 3.0 - place / 5,
        }
        for neuron in range(NEURONS_MADE)
        for place, word in enumerate(words, start=1)
    ]
    return pd.DataFrame(rows, columns=list(WORDS.columns))


def _thumbnails(datasets: Sequence[str]) -> pd.DataFrame:
    rows = [
        {
            "dataset": dataset,
            "image": image,
            "thumbnail": thumbnail(Image.new("RGB", (60, 40), (image * 5, 90, 160))),
        }
        for dataset in datasets
        for image in range(IMAGES)
    ]
    return pd.DataFrame(rows)


def _manifest(
    models: Sequence[str], datasets: Sequence[str], notes: Sequence[str]
) -> dict[str, Any]:
    manifest = {
        "purescope": "0.1.0",
        "settings": {"seed": 0, "resamples": 100},
        "models": [
            {"label": model, "spec": f"bundled:{model}", "weights": "0123456789abcdef"}
            for model in models
        ],
        "datasets": [{"name": name, "spec": f"bundled:{name}"} for name in datasets],
        "versions": {"purescope": "0.1.0", "torch": "2.6"},
        "started": "2026-01-02T03:04:05+00:00",
        "notes": list(notes),
    }
    return dict(json.loads(json.dumps(manifest)))
