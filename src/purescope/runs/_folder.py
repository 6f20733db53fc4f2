"""The folder of a run: whose it is, what is done in it already, and which files in it are ours.

A run owns a folder by its manifest. What stands in the manifest as settings and identities must be the same for a run
to go on there; how something was spelt need not.
"""

import datetime
import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import torch

from purescope import schemas
from purescope.comparison import adjust
from purescope.datasets import Dataset
from purescope.datasets.dataset import fingerprint
from purescope.errors import InputError, OutputError
from purescope.features import Features
from purescope.models import Model
from purescope.prompts import prompts_for
from purescope.runs._inputs import Settings, ks, name_of
from purescope.schemas import VOCABULARY, Schema
from purescope.specs import exists, is_folder, is_text
from purescope.tables import check_table, read_manifest, read_table, unfinished, versions, write_manifest

Tables: TypeAlias = dict[str, pd.DataFrame]  # by the name of the schema
Pair: TypeAlias = tuple[str, str]  # of model and data set

_SPELLING = ("spec", "source", "skipped")  # where something was found; hashes say what it is

# All that a run writes, of whatever kind it is; nothing else in its folder is touched.
_FILES = (
    *(f"{one.name}{end}" for one in vars(schemas).values() if isinstance(one, Schema) for end in (".csv", ".parquet")),
    "result_*/*_vs_sam.csv",
    "cosines_*.npz",
    "report.html",
    *(f"figures/{kind}_*{end}" for kind in ("neuron_pruning", "purity_gap") for end in (".png", ".svg")),
)


@dataclass
class Done:
    """What a run has measured so far, by model and data set, and of all of them together."""

    tables: dict[Pair, Tables] = field(default_factory=dict)
    whole: Tables = field(default_factory=dict)
    timings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def together(self, kinds: Iterable[Schema], pairs: Sequence[Pair]) -> Tables:
        """One table of each kind, in the order of the run, whenever its parts were measured."""
        there = [self.tables[pair] for pair in pairs if pair in self.tables]
        tables = {}
        for schema in kinds:
            parts = [part[schema.name] for part in there if schema.name in part]
            filled = [part for part in parts if len(part)] or parts[:1]
            tables[schema.name] = check_table(pd.concat(filled, ignore_index=True), schema)
        if "comparisons" in tables:
            tables["comparisons"] = adjust(tables["comparisons"])
        return tables

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        return {"timings": self.timings, "notes": list(dict.fromkeys(self.notes))}


def new_manifest(
    kinds: Iterable[Schema], models: Sequence[Model], sets: Iterable[Dataset | Features], settings: Settings
) -> dict[str, Any]:
    """What a run is, as it will be read back."""
    manifest = {
        "purescope": version("purescope"),
        "tables": [schema.name for schema in kinds],
        "settings": asdict(settings) | {"keep": {model.label: ks(settings, model) for model in models}},
        **identities(models, sets, settings.protocol),
        "threads": torch.get_num_threads(),
        "started": now(),
    }
    return dict(json.loads(json.dumps(manifest)))


def identities(models: Sequence[Model], sets: Iterable[Dataset | Features], protocol: str = "native") -> dict[str, Any]:
    """What numbers rest on: models, data and versions, as manifests have them."""
    return {
        "models": [{"label": m.label, "spec": m.spec, **m.identity, "preprocess": str(m.preprocess)} for m in models],
        "datasets": [{"name": name_of(item), **_identity(item, protocol)} for item in sets],
        "versions": versions(),
    }


def note_identities(models: Sequence[Model], sets: Iterable[Dataset | Features], out: Path) -> None:
    """Write them into the manifest of a folder that is no run's, beside the models that it has already."""
    earlier = read_manifest(out) or {}
    if "settings" not in earlier:
        labels = {model.label for model in models}
        others = [one for one in earlier.get("models", []) if one.get("label") not in labels]
        found = identities(models, sets)
        data = found["datasets"] or earlier.get("datasets", [])
        write_manifest(found | {"models": [*others, *found["models"]], "datasets": data}, out)


def _identity(item: Dataset | Features, protocol: str) -> Mapping[str, Any]:
    if isinstance(item, Features):
        arrays = (array.contiguous().numpy().tobytes() for array in (item.image, item.text))
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


def claim(
    out: Path, kinds: Sequence[Schema], whole: Sequence[Schema], manifest: Mapping[str, Any], *, overwrite: bool
) -> Done:
    """Make `out` this run's folder, or refuse, before anything is computed; and give what is done there already.

    Args:
        out: the folder.
        kinds: of tables with rows of each pair.
        whole: of tables that are made when all pairs are there.
        manifest: what the run is.
        overwrite: take the folder whatever it holds.

    Raises:
        OutputError: it is no folder or cannot be written; or it holds another run, and `overwrite` is not set.
    """
    if not is_text(str(out)):
        raise OutputError(f"{str(out)!r} is no text", expected="a path in UTF-8", fix="choose another --out")
    if exists(out) and not is_folder(out):
        raise OutputError(f"{out} is a file", expected="a folder", fix="choose another --out")
    if not overwrite:
        _refuse_another_run(out, manifest)
    _remove(out, [unfinished(pattern) for pattern in (*_FILES, "manifest.json")])  # of a run that was killed
    if overwrite:
        _remove(out, _FILES)
    done = Done() if overwrite else _done_before(out, kinds, whole, manifest)
    write_manifest({**manifest, **done.told()}, out)
    return done


def _remove(out: Path, patterns: Iterable[str]) -> None:
    """Remove files, and the folders that they leave empty."""
    for path in _found(out, patterns):
        try:
            path.unlink(missing_ok=True)
            if path.parent != out and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            raise OutputError(f"cannot remove {path}: {error.strerror or error}", fix="choose another --out") from error


def _found(out: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in out.glob(pattern)) if is_folder(out) else []


def _refuse_another_run(out: Path, manifest: Mapping[str, Any]) -> None:
    expected = "a folder without results, or that of a run with the same models, data and settings"
    fix = "choose another --out, or replace what is there with --overwrite"
    earlier = read_manifest(out)
    if earlier is None:
        ours = [path.relative_to(out).as_posix() for path in _found(out, _FILES)]
        if ours:
            more = f" and {len(ours) - 3} more files" if len(ours) > 3 else ""
            raise OutputError(f"{out} holds {', '.join(ours[:3])}{more}, of no known run", expected=expected, fix=fix)
        return
    parts = ("tables", "settings", "models", "datasets")
    different = [part for part in parts if _unspelt(earlier.get(part)) != _unspelt(manifest[part])]
    if different and (earlier.get("timings") or _found(out, _FILES)):  # else it was stopped before it measured anything
        options = _settings_told(earlier.get("settings"), manifest["settings"])
        raise OutputError(
            f"{out} holds another run: its {' and '.join(different)} differ{options}", expected=expected, fix=fix
        )


def _settings_told(earlier: Any, now: Mapping[str, Any]) -> str:
    """Which settings differ, theirs and ours."""
    theirs = earlier if isinstance(earlier, dict) else {}
    told = [
        f"{name} {theirs.get(name)} there, {value} here" for name, value in now.items() if theirs.get(name) != value
    ]
    return f" ({'; '.join(told)})" if told else ""


def _unspelt(part: Any) -> Any:
    """A part of a manifest without what may differ between two calls of one run."""
    if not isinstance(part, list):
        return part
    return [
        {key: value for key, value in entry.items() if key not in _SPELLING} if isinstance(entry, dict) else entry
        for entry in part
    ]


def _done_before(out: Path, kinds: Sequence[Schema], whole: Sequence[Schema], manifest: Mapping[str, Any]) -> Done:
    """The pairs that the same run finished before it was stopped, and what came after; none of another version's."""
    earlier = read_manifest(out) or {}
    if any(earlier.get(key) != manifest[key] for key in ("purescope", "versions")) or not earlier.get("timings"):
        return Done()
    try:
        timings, notes = _told_before(earlier)
        tables = {schema.name: read_table(out, schema) for schema in kinds}
    except InputError as error:
        warnings.warn(f"measured anew, since {error.came}", stacklevel=2)
        return Done()
    results = tables["results"]
    there = set(zip(results.model, results.dataset, strict=True))
    done = Done(notes=notes)
    for timing in timings:
        model, dataset = timing["model"], timing["dataset"]
        if (model, dataset) in there:  # written last: then its rows stand in all tables
            done.timings.append(timing)
            done.tables[model, dataset] = {
                name: table[(table.model == model) & (table.dataset == dataset)] for name, table in tables.items()
            }
    of_vocabulary = tables["words"][tables["words"].dataset == VOCABULARY]
    for model, words in of_vocabulary.groupby("model"):
        done.tables[str(model), VOCABULARY] = {"words": words}
    if "finished" in earlier:
        for schema in whole:
            with suppress(InputError):  # lost or damaged, and made again
                done.whole[schema.name] = read_table(out, schema)
    return done


def _told_before(earlier: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Timings and notes of a manifest.

    Raises:
        InputError: they are none, so the file was damaged or edited.
    """
    timings, notes = earlier.get("timings"), earlier.get("notes")
    named = isinstance(timings, list) and all(
        isinstance(timing, dict) and isinstance(timing.get("model"), str) and isinstance(timing.get("dataset"), str)
        for timing in timings
    )
    if not (named and isinstance(notes, list) and all(isinstance(note, str) for note in notes)):
        raise InputError("the manifest's timings or notes are damaged")
    return list(timings or []), notes


def now() -> str:
    """In UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
