"""Checkpoints in, one row for each and each dataset out.

A row says what one state of a model is like, and what pruning it by purity gains on one dataset.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from purescope import __version__
from purescope.datasets.dataset import Dataset
from purescope.errors import InputError, ModelError
from purescope.features.extraction import extract
from purescope.features.features import Features
from purescope.files.writing import lock_folder
from purescope.maths.accuracy import accuracy_by_k
from purescope.maths.cells import check_keep, default_keep
from purescope.maths.curves import mean_over_k
from purescope.maths.layer_measures import effective_rank
from purescope.maths.overlaps import Projections, overlap, relative_overlap
from purescope.maths.silhouette import has_silhouette, silhouette_by_k
from purescope.maths.strategies import order_neurons
from purescope.models import load_model
from purescope.models.model import Model
from purescope.specs import to_folder
from purescope.studies.bench import in_space
from purescope.studies.settings import DRAWS, Options
from purescope.studies.training.checkpoints import Checkpoint, find_checkpoints
from purescope.studies.training.table import Log

_BAND = (0.05, 0.95)  # of the random draws


@dataclass(frozen=True)
class TrackSettings:
    """How checkpoints are measured; every field changes numbers and stands in the manifest.

    `keep` None is the experiment's default for each model, see
    `purescope.maths.cells.default_keep`; `space` is where overlap is measured, see `purescope.studies.sweeps.sweep`.
    """

    keep: Sequence[int] | None = None
    draws: int = DRAWS
    seed: int = 0
    protocol: str = "native"
    space: str = "weights"
    renormalise: bool = False

    def __post_init__(self) -> None:
        Options(
            draws=self.draws, space=self.space, renormalise=self.renormalise
        )  # raises as a sweep would

    def as_json(self) -> dict[str, Any]:
        """As it is read back from a manifest."""
        return {
            **asdict(self),
            "keep": None if self.keep is None else sorted({int(k) for k in self.keep}),
        }


def measure(
    projections: Projections | None, features: Features | None, settings: TrackSettings
) -> dict[str, Any]:
    """The columns of `purescope.studies.training.table.COLUMNS` that the arrays tell; accuracies
    only where there are features.
    """
    if features is not None and (projections is not None or settings.space != "weights"):
        projections = in_space(settings.space, features, projections)
    if projections is None:
        raise InputError(
            f"nothing to measure the overlap of {settings.space} on",
            expected="projections for the space weights, features for the others",
        )
    row: dict[str, Any] = {"neurons": projections.neurons}
    for tower, projection in (("image", projections.image), ("text", projections.text)):
        row |= {f"{tower}_{name}": value for name, value in _purity(projection).items()}
    high = order_neurons(projections, "high_purity")
    row["order"] = high.tolist()
    return row | (
        _pruned(features, projections, high, settings) if features is not None else {"dataset": ""}
    )


def _purity(projection: Float[Tensor, "neuron width"]) -> dict[str, float]:
    """Of the neurons that live."""
    scores = overlap(projection)
    scores = scores[~scores.isnan()]
    mean = scores.mean().item()
    return {
        "overlap": mean,
        "relative_overlap": relative_overlap(projection).nanmean().item(),
        "purity": (1 / scores).mean().item(),
        "purity_sd": (1 / scores).std(correction=0).item(),
        "effective_rank": effective_rank(projection),
    }


def _pruned(
    features: Features, projections: Projections, high: Tensor, settings: TrackSettings
) -> dict[str, Any]:
    neurons = features.image.shape[1]
    ks = check_keep(default_keep(neurons) if settings.keep is None else settings.keep, neurons)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dead neurons, which the first order has told
        others = [order_neurons(projections, "low_purity")]
        others += [
            order_neurons(projections, "random", seed=settings.seed + draw)
            for draw in range(settings.draws)
        ]
    image, text, labels, renormalise = (
        features.image,
        features.text,
        features.labels,
        settings.renormalise,
    )
    accuracy = accuracy_by_k(
        image, text, labels, torch.stack([high, *others]), ks, renormalise=renormalise
    ).top1
    draws = accuracy[2:]
    median = draws.quantile(0.5, dim=0) if len(draws) else torch.full_like(accuracy[0], torch.nan)
    by_k = {"high_purity": accuracy[0], "low_purity": accuracy[1], "random": median}
    means = {name: mean_over_k(values, ks).item() for name, values in by_k.items()}
    band = [mean_over_k(draws, ks).quantile(q).item() if len(draws) else torch.nan for q in _BAND]
    return {
        "dataset": features.dataset,
        "n": len(image),
        "classes": len(text),
        "accuracy": accuracy_by_k(image, text, labels, high, [neurons]).top1.item(),
        "silhouette": silhouette_by_k(image, labels, high, [neurons]).item()
        if has_silhouette(labels)
        else torch.nan,
        **means,
        "random_low": band[0],
        "random_high": band[1],
        "gap": means["high_purity"] - means["low_purity"],
        "gap_to_random": means["high_purity"] - means["random"],
        **{
            f"{name}_{k}": value.item()
            for name, curve in by_k.items()
            for k, value in zip(ks, curve, strict=True)
        },
    }


def track(
    checkpoints: Sequence[str | Path | tuple[int, Model]],
    data: Sequence[Dataset] = (),
    *,
    out: str | Path | None = None,
    settings: TrackSettings | None = None,
    load: Callable[[str], Model] = load_model,
    encode: Callable[..., Features] = extract,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Purity, accuracy and what pruning by purity gains, at each checkpoint of one training or
    several.

    Args:
        checkpoints: files, folders of them, patterns, or steps with loaded models, see
            `find_checkpoints`.
        data: what to measure accuracy on; without it purity alone is measured, which needs no
            images.
        out: a folder for ``track.csv`` and ``track.parquet``, written after each row. The same call
            with more checkpoints, or after it was stopped, measures only what is missing, and keeps
            what was there.
        settings: how to measure.
        load: makes a model of what a checkpoint is named, as `load_model` does.
        encode: makes features of a model and a dataset, as `extract` does, for instance from a
            cache.
        overwrite: forget what `out` holds.

    Returns:
        A row for each checkpoint and dataset, see `purescope.studies.training.table.COLUMNS`.

    Raises:
        ModelError: a checkpoint is damaged, or cannot be named; all others are measured, and
            written, before.
        InputError: a setting does not fit the model.
        OutputError: `out` holds a table measured by other settings.

    Examples:
        >>> import torch, purescope as ps
        >>> model = ps.load_model("bundled:clip")
        >>> track([(4000, model)])[["model", "step", "neurons"]].values.tolist()
        [['Bundled CLIP', 4000, 512]]
    """
    settings = settings or TrackSettings()
    found = find_checkpoints(checkpoints)
    folder = to_folder(out) if out is not None else None
    with lock_folder(folder) if folder is not None else nullcontext():
        notes = [note for dataset in data for note in dataset.notes]
        log = Log(folder, settings.as_json(), overwrite=overwrite, notes=notes)
        failed: list[tuple[str, ModelError | InputError]] = []
        for checkpoint in found:
            try:
                _measure(checkpoint, data, log, settings, load, encode)
            except (ModelError, InputError) as error:
                failed.append((checkpoint.name, error))
    if failed:
        raise _told(failed, len(found), log)
    return log.table()


def _measure(
    checkpoint: Checkpoint,
    data: Sequence[Dataset],
    log: Log,
    settings: TrackSettings,
    load: Callable[[str], Model],
    encode: Callable[..., Features],
) -> None:
    """Put the rows of one checkpoint into the log, but for those that are there."""
    model = load(checkpoint.source) if isinstance(checkpoint.source, str) else checkpoint.source
    model = replace(
        model, label=f"{checkpoint.model} {checkpoint.step}"
    )  # for the progress of encoding
    projections = model.projections if settings.space == "weights" else None
    for dataset in data or (None,):
        row = {
            "model": checkpoint.model,
            "step": checkpoint.step,
            "checkpoint": checkpoint.name,
            "dataset": dataset.name if dataset is not None else "",
            "identity": _identity(model, dataset),
        }
        if not log.has(row):
            features = (
                encode(model, dataset, protocol=settings.protocol) if dataset is not None else None
            )
            log.add(row | measure(projections, features, settings))


def _identity(model: Model, dataset: Dataset | None) -> str:
    """A hash of the weights, the images, the prompts, and the code that measures."""
    data = (
        ()
        if dataset is None
        else (dataset.fingerprint, dataset.display_names, dataset.templates, dataset.classes)
    )
    code = {"purescope": __version__, "torch": version("torch")}
    told = json.dumps([dict(model.identity), data, code], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _told(
    failed: list[tuple[str, ModelError | InputError]], of: int, log: Log
) -> ModelError | InputError:
    """One error for all; as it is where nothing could be measured, which need not be the
    checkpoints' fault.
    """
    if len(failed) == of:
        return failed[0][1]
    kept = f", and kept in {log.out}" if log.out is not None else ""
    return ModelError(
        f"{len(failed)} of {of} checkpoints cannot be measured: "
        + "; ".join(
            error.came if name in error.came else f"{name}: {error.came}" for name, error in failed
        ),
        expected=f"whole checkpoints; the {of - len(failed)} others are measured{kept}",
        fix="copy or remove what is damaged, and call again: only what is missing is measured",
    )
