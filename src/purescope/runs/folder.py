"""The folder of a run: whose it is, what is done in it already, and which files in it are ours.

A run owns a folder by its manifest. What stands in the manifest as settings and identities must be
the same for a run to go on there; how something was spelt need not.
"""

import datetime
import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import torch

from purescope import __version__
from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.prompts import prompts_for
from purescope.errors import InputError, OutputError
from purescope.features.features import Features
from purescope.files.manifest import (
    MANIFEST,
    check_hash,
    own_manifest,
    read_manifest,
    versions,
    write_manifest,
)
from purescope.files.writing import lock_folder, unfinished, write_bytes
from purescope.models.model import Model
from purescope.runs.inputs import Settings, ks, name_of
from purescope.specs import is_folder
from purescope.studies.comparisons import adjust
from purescope.tables.columns import VOCABULARY
from purescope.tables.files import parquet_bytes, parquet_name, read_table
from purescope.tables.schema import Schema
from purescope.tables.schemas import OF_RUNS, RESULTS

Tables: TypeAlias = dict[str, pd.DataFrame]  # by the name of the schema
Pair: TypeAlias = tuple[str, str]  # of model and data set

_WAIT = 10.0  # seconds for another command to write its identities

_SPELLING = ("spec", "source", "skipped")  # where something was found; hashes say what it is

# All that a run writes, of whatever kind it is; nothing else in its folder is touched.
_FILES = (
    *(f"{schema.name}{end}" for schema in OF_RUNS for end in (".csv", ".parquet")),
    "result_*/*_vs_sam.csv",
    "cosines_*.npz",
    "report.html",
    *(
        f"figures/{kind}_*{end}"
        for kind in ("neuron_pruning", "purity_gap")
        for end in (".png", ".svg")
    ),
)


@dataclass
class Done:
    """What a run has measured so far, by model and data set, and of all of them together."""

    tables: dict[Pair, Tables] = field(default_factory=dict)
    whole: Tables = field(default_factory=dict)
    timings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hashes: dict[str, list[str]] = field(default_factory=dict)

    def together(self, kinds: Iterable[Schema], pairs: Sequence[Pair]) -> Tables:
        """One table of each kind, in the order of the run, whenever its parts were measured; they
        were checked then.
        """
        there = [self.tables[pair] for pair in pairs if pair in self.tables]
        tables = {}
        for schema in kinds:
            parts = [part[schema.name] for part in there if schema.name in part]
            filled = [part for part in parts if len(part)] or parts[:1]
            tables[schema.name] = pd.concat(filled, ignore_index=True)
        if "comparisons" in tables:
            tables["comparisons"] = adjust(tables["comparisons"])
        return tables

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "timings": self.timings,
            "notes": list(dict.fromkeys(self.notes)),
            "hashes": self.hashes,
        }

    def write(
        self, kinds: Iterable[Schema], tables: Tables, manifest: Mapping[str, Any], out: Path
    ) -> None:
        """Write tables, checked already, which the manifest vouches for before they stand in their
        places.

        Until all of them do, it vouches for those that they replace, too: a run that is killed in
        between goes on.
        """
        # Last the results: what stands there stands in all tables.
        ordered = sorted(kinds, key=lambda schema: schema is RESULTS)
        contents = {parquet_name(schema): parquet_bytes(tables[schema.name]) for schema in ordered}
        new = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        for name, digest in new.items():
            self.hashes[name] = [*self.hashes.get(name, [])[-1:], digest]
        write_manifest({**manifest, **self.told()}, out)
        for name, content in contents.items():
            write_bytes(content, out / name)
        self.hashes |= {name: [digest] for name, digest in new.items()}
        write_manifest({**manifest, **self.told()}, out)


def new_manifest(
    kinds: Iterable[Schema],
    models: Sequence[Model],
    sets: Iterable[Dataset | Features],
    settings: Settings,
    rotations: int | None,
) -> dict[str, Any]:
    """What a run is, as it will be read back."""
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
    """What numbers rest on: models, data and versions, as manifests have them."""
    return {
        "models": [
            {"label": m.label, "spec": m.spec, **m.identity, "preprocess": str(m.preprocess)}
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
    """What was told of the data when it was loaded."""
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


def claim(
    out: Path,
    kinds: Sequence[Schema],
    whole: Sequence[Schema],
    manifest: Mapping[str, Any],
    *,
    overwrite: bool,
) -> Done:
    """Make `out` this run's folder, or refuse, before anything is computed; and give what is done
    there already.

    Args:
        out: the folder.
        kinds: of tables with rows of each pair.
        whole: of tables that are made when all pairs are there.
        manifest: what the run is.
        overwrite: take the folder of another run, too.

    Raises:
        OutputError: it cannot be written; it holds something that is not purescope's; or it holds
            another run, and `overwrite` is not set.
    """
    earlier = own_manifest(out, overwrite=overwrite)
    if earlier is None:
        _refuse_unknown(out)
    _refuse_links(out, overwrite=overwrite)
    if not overwrite:
        _refuse_another_run(out, earlier, manifest)
    _remove(
        out, [unfinished(pattern) for pattern in (*_FILES, MANIFEST)]
    )  # of a run that was killed
    if overwrite:
        _remove(out, _FILES)
    done = Done() if overwrite else _done_before(out, kinds, whole, earlier or {}, manifest)
    write_manifest({**manifest, **done.told()}, out)
    return done


def _refuse_unknown(out: Path) -> None:
    """Refuse files with the names of ours that no manifest explains.

    Raises:
        OutputError: there are some.
    """
    names = [path.relative_to(out).as_posix() for path in _found(out, _FILES)]
    if names:
        more = f" and {len(names) - 3} more files" if len(names) > 3 else ""
        raise OutputError(
            f"{out} holds {', '.join(names[:3])}{more}, of no known run",
            expected="a folder without results, or that of a purescope run: it has a manifest.json "
            "that says so",
            fix="choose another --out, or move these files away",
        )


def _refuse_links(out: Path, *, overwrite: bool) -> None:
    """Leave what links in the folder lead to alone: with `overwrite` the links go, and nothing
    behind them.

    Raises:
        OutputError: there are links where a run has folders of its own.
    """
    folders = sorted({pattern.partition("/")[0] for pattern in _FILES if "/" in pattern})
    links = [path for pattern in folders for path in sorted(out.glob(pattern)) if path.is_symlink()]
    for link in links:
        if not overwrite:
            raise OutputError(
                f"{link} is a link to {link.readlink()}",
                expected="a folder in the folder of the run, or none",
                fix="remove the link, or choose another --out",
            )
        _unlink(link)


def _remove(out: Path, patterns: Iterable[str]) -> None:
    """Remove files, and the folders that they leave empty; a link is removed, and what it leads to
    stays.
    """
    for path in _found(out, patterns):
        _unlink(path)
        if path.parent != out:
            with suppress(OSError):  # it holds something else
                path.parent.rmdir()


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot remove {path}: {error.strerror or error}", fix="choose another --out"
        ) from error


def _found(out: Path, patterns: Iterable[str]) -> list[Path]:
    """Files of these names, but for those that stand behind a link."""
    found = (
        sorted(path for pattern in patterns for path in out.glob(pattern)) if is_folder(out) else []
    )
    return [path for path in found if path.parent == out or not path.parent.is_symlink()]


def _refuse_another_run(
    out: Path, earlier: Mapping[str, Any] | None, manifest: Mapping[str, Any]
) -> None:
    if earlier is None or "settings" not in earlier:
        return
    parts = ("tables", "settings", "models", "datasets")
    different = [part for part in parts if _unspelt(earlier.get(part)) != _unspelt(manifest[part])]
    if different and (
        earlier.get("timings") or _found(out, _FILES)
    ):  # else it was stopped before it measured anything
        options = _settings_told(earlier.get("settings"), manifest["settings"])
        raise OutputError(
            f"{out} holds another run: its {' and '.join(different)} differ{options}",
            expected="a folder without results, or that of a run with the same models, data and "
            "settings",
            fix="choose another --out, or replace what is there with --overwrite",
        )


def _settings_told(earlier: Any, now: Mapping[str, Any]) -> str:
    """Which settings differ, theirs and ours."""
    theirs = earlier if isinstance(earlier, dict) else {}
    told = [
        f"{name} {theirs.get(name)} there, {value} here"
        for name, value in now.items()
        if theirs.get(name) != value
    ]
    return f" ({'; '.join(told)})" if told else ""


def _unspelt(part: Any) -> Any:
    """A part of a manifest without what may differ between two calls of one run."""
    if not isinstance(part, list):
        return part
    return [
        {key: value for key, value in entry.items() if key not in _SPELLING}
        if isinstance(entry, dict)
        else entry
        for entry in part
    ]


def _done_before(
    out: Path,
    kinds: Sequence[Schema],
    whole: Sequence[Schema],
    earlier: Mapping[str, Any],
    manifest: Mapping[str, Any],
) -> Done:
    """The pairs that the same run finished before it was stopped, and what came after; none of
    another version's.
    """
    timings, notes = earlier.get("timings", []), earlier.get("notes", [])
    if not _found(out, [parquet_name(schema) for schema in kinds]):
        return Done()
    try:
        _check_versions(earlier, manifest)
        for schema in kinds:
            check_hash(out / parquet_name(schema), earlier)
        tables = {schema.name: read_table(out, schema) for schema in kinds}
    except (InputError, OSError) as error:
        reason = error.came if isinstance(error, InputError) else str(error)
        warnings.warn(f"{out}: measured anew, since {reason}", stacklevel=2)
        return Done()
    results = tables["results"]
    there = set(zip(results.model, results.dataset, strict=True))
    done = Done(notes=list(notes), hashes=dict(earlier["hashes"]))
    for timing in timings:
        model, dataset = timing["model"], timing["dataset"]
        if (model, dataset) in there:  # written last: then its rows stand in all tables
            done.timings.append(timing)
            done.tables[model, dataset] = {
                name: table[(table.model == model) & (table.dataset == dataset)]
                for name, table in tables.items()
            }
    of_vocabulary = tables["words"][tables["words"].dataset == VOCABULARY]
    for model, words in of_vocabulary.groupby("model"):
        done.tables[str(model), VOCABULARY] = {"words": words}
    if "finished" in earlier:
        for schema in whole:
            with suppress(InputError, OSError):  # lost, damaged or changed, and made again
                check_hash(out / parquet_name(schema), earlier)
                done.whole[schema.name] = read_table(out, schema)
    return done


def _check_versions(earlier: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Refuse to go on with what other versions measured.

    Raises:
        InputError: it says which of them differ; or there are no timings, which tell what was
            finished.
    """
    theirs, ours = (
        dict(one.get("versions", {})) | {"purescope": one.get("purescope")}
        for one in (earlier, manifest)
    )
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    if names:
        told = ", ".join(
            f"{name} {theirs.get(name, 'none')} there, {ours.get(name, 'none')} here"
            for name in names
        )
        raise InputError(f"its versions differ: {told}")
    if not earlier.get("timings"):
        raise InputError("its manifest does not say which pairs of model and dataset were finished")


def now() -> str:
    """In UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
