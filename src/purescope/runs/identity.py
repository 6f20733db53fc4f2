"""Identify a run: what its numbers rest on, as its manifest has it."""

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from purescope import __version__
from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.prompts import prompts_for
from purescope.features.features import Features
from purescope.files.manifest import own_manifest, read_manifest, versions, write_manifest
from purescope.files.writing import lock_folder
from purescope.models.model import Model
from purescope.runs.inputs import Settings, ks, name_of
from purescope.tables.schema import Schema

_WAIT = 10.0  # seconds for another command to write its identities


def new_manifest(
    kinds: Iterable[Schema],
    models: Sequence[Model],
    sets: Iterable[Dataset | Features],
    settings: Settings,
    rotations: int | None,
) -> dict[str, Any]:
    """Return the manifest that a run begins with, as it will be read back."""
    manifest = {
        "purescope": __version__,
        "tables": [schema.name for schema in kinds],
        "settings": asdict(settings)
        | {"keep": {model.label: ks(settings, model) for model in models}, "rotations": rotations},
        **identities(models, sets, settings.protocol),
        "threads": torch.get_num_threads(),
        "started": now(),
    }
    return dict(json.loads(json.dumps(manifest)))


def identities(
    models: Sequence[Model], sets: Iterable[Dataset | Features], protocol: str = "native"
) -> dict[str, Any]:
    """Return models, data and versions, as manifests have them."""
    return {
        "models": [
            {"label": m.label, "spec": m.spec, **m.identity}
            | {"preprocess": str(m.preprocess), "device": m.device}
            for m in models
        ],
        "datasets": [{"name": name_of(item), **_identity(item, protocol)} for item in sets],
        "versions": versions(),
    }


def note_identities(models: Sequence[Model], sets: Sequence[Dataset | Features], out: Path) -> None:
    """Write them into the manifest of a folder that is no run's, beside the models that it has
    already.

    Raises:
        OutputError: the folder has a manifest that is not purescope's, or cannot be written.
    """
    if is_run(out):
        return
    with lock_folder(out, wait=_WAIT):
        earlier = read_manifest(out) or {}
        labels = {model.label for model in models}
        others = [one for one in earlier.get("models", []) if one.get("label") not in labels]
        found = identities(models, sets)
        data = found["datasets"] or earlier.get("datasets", [])
        notes = list(dict.fromkeys([*earlier.get("notes", []), *_notes(sets)]))
        told = {"notes": notes} if notes else {}
        write_manifest(
            found | {"models": [*others, *found["models"]], "datasets": data} | told, out
        )


def _notes(sets: Iterable[Dataset | Features]) -> list[str]:
    """Return the notes that came when the data was loaded."""
    return [note for item in sets if isinstance(item, Dataset) for note in item.notes]


def is_run(out: Path) -> bool:
    """Tell whether a folder is a run's; it may be nobody's, or that of purity or layers.

    Raises:
        OutputError: it has a manifest that is damaged, or not purescope's.
    """
    return "settings" in (own_manifest(out) or {})


def _identity(item: Dataset | Features, protocol: str) -> Mapping[str, Any]:
    if isinstance(item, Features):
        arrays = (array.contiguous().numpy().data for array in (item.image, item.text))
        return {
            "spec": "features",
            "images": len(item.image),
            "classes": len(item.classes),
            "fingerprint": fingerprint(item.classes, item.labels, arrays),
            "model": item.model,
            **item.identity,
        }
    prompts = prompts_for(item, protocol)
    return {
        "spec": item.spec,
        "images": len(item),
        "classes": len(item.classes),
        "fingerprint": item.fingerprint,
        "templates": list(prompts.templates),
        "names": hashlib.sha256(json.dumps(prompts.names).encode()).hexdigest(),
        "skipped": list(item.skipped),
        "source": dict(item.source),
    }


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
