"""Identify a run in its manifest by everything that its numbers depend on."""

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from purescope import __version__
from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.prompts import prompts_for
from purescope.features.captions import CaptionFeatures
from purescope.features.features import Features
from purescope.files.manifest import own_manifest, read_manifest, versions, write_manifest
from purescope.files.writing import lock_folder
from purescope.models.model import Model
from purescope.runs.captions import Captions, Data
from purescope.runs.inputs import Settings, dataset_name, numbers_kept
from purescope.tables.schema import Schema

_WAIT = 10.0  # seconds for another command to write its identities


def new_manifest(
    schemas: Iterable[Schema],
    models: Sequence[Model],
    datasets: Sequence[Data],
    settings: Settings,
    rotations: int | None,
) -> dict[str, Any]:
    """Return the manifest that a run begins with, in the types that JSON gives back."""
    keep = {model.label: numbers_kept(settings, model) for model in models}
    manifest = {
        "purescope": __version__,
        "tables": [schema.name for schema in schemas],
        "settings": _plain(settings)
        | {"renormalise": _renormalise(datasets, settings)}
        | {"keep": keep, "rotations": rotations},
        **identities(models, datasets, settings.protocol),
        "threads": torch.get_num_threads(),
        "started": now(),
    }
    return dict(json.loads(json.dumps(manifest)))


def _plain(settings: Settings) -> dict[str, Any]:
    """Return the settings as an entry; without metrics, it is that of versions without them."""
    entry = asdict(settings)
    return entry if settings.metrics else {key: entry[key] for key in entry if key != "metrics"}


def _renormalise(datasets: Sequence[Data], settings: Settings) -> bool | str:
    """Return what is scaled again over the kept neurons: all, nothing, captions, or metrics."""
    are_captions = [isinstance(data, Captions) for data in datasets]
    if settings.renormalise is not None or not (any(are_captions) or settings.metrics):
        return bool(settings.renormalise)
    if settings.metrics:  # there are no captions
        return "metrics"
    return True if all(are_captions) else "captions"


def identities(
    models: Sequence[Model], datasets: Iterable[Data], protocol: str = "native"
) -> dict[str, Any]:
    """Return the entries of a manifest about models, data and versions."""
    return {
        "models": [
            {"label": model.label, "spec": model.spec, **model.identity}
            | {"preprocess": str(model.preprocess), "device": model.device}
            for model in models
        ],
        "datasets": [
            {"name": dataset_name(dataset), **_identity(dataset, protocol)} for dataset in datasets
        ],
        "versions": versions(),
    }


def note_identities(
    models: Sequence[Model], datasets: Sequence[Dataset | Features], out: Path
) -> None:
    """Write models and data into the manifest of a folder that does not belong to a run.

    Other models in the manifest stay.

    Raises:
        OutputError: the folder has a manifest that is not purescope's, or cannot be written.
    """
    if is_run(out):
        return
    with lock_folder(out, wait=_WAIT):
        earlier = read_manifest(out) or {}
        labels = {model.label for model in models}
        others = [model for model in earlier.get("models", []) if model.get("label") not in labels]
        manifest = identities(models, datasets)
        manifest["models"] = [*others, *manifest["models"]]
        manifest["datasets"] = manifest["datasets"] or earlier.get("datasets", [])
        loading = [note for data in datasets if isinstance(data, Dataset) for note in data.notes]
        if notes := list(dict.fromkeys([*earlier.get("notes", []), *loading])):
            manifest["notes"] = notes
        write_manifest(manifest, out)


def is_run(out: Path) -> bool:
    """Tell whether a folder belongs to a run, and not to `purity`, `layers` or nothing.

    Raises:
        OutputError: its manifest is damaged, or not purescope's.
    """
    return "settings" in (own_manifest(out) or {})


def _identity(data: Data, protocol: str) -> Mapping[str, Any]:
    if isinstance(data, Features):
        arrays = (array.contiguous().numpy().data for array in (data.image, data.text))
        return {
            "spec": "features",
            "images": len(data.image),
            "classes": len(data.classes),
            "fingerprint": fingerprint(data.classes, data.labels, arrays),
            "model": data.model,
            **data.identity,
        }
    if isinstance(data, CaptionFeatures):
        arrays = (array.contiguous().numpy().data for array in (data.image, data.text))
        return {
            "spec": "features",
            "images": len(data.image),
            "captions": len(data.text),
            "fingerprint": fingerprint(data.captions, data.image_of, arrays),
            "model": data.model,
            **data.identity,
        }
    if isinstance(data, CaptionDataset):
        return {
            "spec": data.spec,
            "images": len(data),
            "captions": len(data.texts),
            "fingerprint": data.fingerprint,
            "skipped": list(data.skipped),
            "source": dict(data.source),
        }
    prompts = prompts_for(data, protocol)
    return {
        "spec": data.spec,
        "images": len(data),
        "classes": len(data.classes),
        "fingerprint": data.fingerprint,
        "templates": list(prompts.templates),
        "names": hashlib.sha256(json.dumps(prompts.names).encode()).hexdigest(),
        "skipped": list(data.skipped),
        "source": dict(data.source),
    }


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
