"""Checkpoints in, one row for each and each dataset out."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from purescope import __version__
from purescope.datasets.dataset import Dataset
from purescope.dynamics._checkpoints import Checkpoint, find_checkpoints
from purescope.dynamics._measure import TrackSettings, measure
from purescope.dynamics._table import Log
from purescope.errors import InputError, ModelError
from purescope.features.extraction import extract
from purescope.features.features import Features
from purescope.files.locks import lock_folder
from purescope.models import load_model
from purescope.models.model import Model
from purescope.specs import to_folder


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
    """Purity, accuracy and what pruning by purity gains, at each checkpoint of one training or several.

    Args:
        checkpoints: files, folders of them, patterns, or steps with loaded models, see `find_checkpoints`.
        data: what to measure accuracy on; without it purity alone is measured, which needs no images.
        out: a folder for ``track.csv`` and ``track.parquet``, written after each row. The same call with more
            checkpoints, or after it was stopped, measures only what is missing, and keeps what was there.
        settings: how to measure.
        load: makes a model of what a checkpoint is named, as `load_model` does.
        encode: makes features of a model and a dataset, as `extract` does, for instance from a cache.
        overwrite: forget what `out` holds.

    Returns:
        A row for each checkpoint and dataset, see `purescope.dynamics.COLUMNS`.

    Raises:
        ModelError: a checkpoint is damaged, or cannot be named; all others are measured, and written, before.
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
    model = replace(model, label=f"{checkpoint.model} {checkpoint.step}")  # for the progress of encoding
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
            features = encode(model, dataset, protocol=settings.protocol) if dataset is not None else None
            log.add(row | measure(projections, features, settings))


def _identity(model: Model, dataset: Dataset | None) -> str:
    """A hash of the weights, the images, the prompts, and the code that measures."""
    data = () if dataset is None else (dataset.fingerprint, dataset.display_names, dataset.templates, dataset.classes)
    code = {"purescope": __version__, "torch": version("torch")}
    told = json.dumps([dict(model.identity), data, code], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _told(failed: list[tuple[str, ModelError | InputError]], of: int, log: Log) -> ModelError | InputError:
    """One error for all; as it is where nothing could be measured, which need not be the checkpoints' fault."""
    if len(failed) == of:
        return failed[0][1]
    kept = f", and kept in {log.out}" if log.out is not None else ""
    return ModelError(
        f"{len(failed)} of {of} checkpoints cannot be measured: "
        + "; ".join(error.came if name in error.came else f"{name}: {error.came}" for name, error in failed),
        expected=f"whole checkpoints; the {of - len(failed)} others are measured{kept}",
        fix="copy or remove what is damaged, and call again: only what is missing is measured",
    )
