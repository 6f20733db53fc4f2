"""The folder of a run: whose it is, what is done in it already, and which files in it are ours.

A run owns a folder by its manifest. What stands in the manifest as settings and identities must be
the same for a run to go on there; how something was spelt need not.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from purescope.errors import InputError, OutputError
from purescope.files.manifest import MANIFEST, check_hash, own_manifest, write_manifest
from purescope.files.writing import unfinished, write_bytes
from purescope.runs.pairs import (
    ENTRY,
    Measurement,
    Pair,
    Tables,
    read_pair,
    remove_pair,
    remove_pairs,
    write_pair,
)
from purescope.specs import is_folder
from purescope.studies.comparisons import adjust
from purescope.tables.columns import VOCABULARY
from purescope.tables.files import PAIRS, parquet_bytes, parquet_name, read_table
from purescope.tables.schema import Schema
from purescope.tables.schemas import RUN_TABLES

_PARTS = ("tables", "settings", "models", "datasets")  # of a manifest: what makes runs the same
_SPELLING = (
    "spec",
    "source",
    "skipped",
    "device",
)  # where something was found; hashes say what it is

# All that a run writes, of whatever kind it is; nothing else in its folder is touched.
_FILES = (
    *(f"{schema.name}{end}" for schema in RUN_TABLES for end in (".csv", ".parquet")),
    "result_*/*_vs_sam.csv",
    "cosines_*.npz",
    "report.html",
    f"{PAIRS}/[0-9]*/{ENTRY}",
    *(
        f"figures/{kind}_*{end}"
        for kind in ("neuron_pruning", "purity_gap")
        for end in (".png", ".svg")
    ),
)


@dataclass
class Done:
    """What a run has measured so far, and how it is written.

    Args:
        out: the folder of the run.
        manifest: the manifest that the run began with.
        kinds: the schemas of the tables of a pair.
        pairs: all pairs, in the order of the tables.
        tables: of each finished pair.
        whole: tables of the run as a whole.
        timings, notes, hashes: for the manifest.
    """

    out: Path
    manifest: Mapping[str, Any]
    kinds: Sequence[Schema]
    pairs: Sequence[Pair]
    tables: dict[Pair, Tables] = field(default_factory=dict)
    whole: Tables = field(default_factory=dict)
    timings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hashes: dict[str, list[str]] = field(default_factory=dict)

    def take(self, done: Measurement) -> None:
        """Take in a finished pair."""
        self.tables[done.pair] = done.tables
        self.notes.extend(done.notes)
        if done.timing is not None:
            self.timings.append(done.timing)

    def keep(self, done: Measurement) -> None:
        """Take in a finished pair, and write it."""
        self.take(done)
        place = self.pairs.index(done.pair)
        write_pair(self.out, place, run_id(self.manifest), self.kinds, done)

    def together(self) -> Tables:
        """Return one table of each kind, in the order of the run, whenever its pairs were measured.

        They were checked when they were measured; p-values are adjusted over all datasets here.
        """
        finished = [self.tables[pair] for pair in self.pairs if pair in self.tables]
        tables: Tables = {}
        for schema in self.kinds:
            of_kind = [one[schema.name] for one in finished if schema.name in one]
            filled = [table for table in of_kind if len(table)] or of_kind[:1]
            tables[schema.name] = pd.concat(filled, ignore_index=True)
        return tables | {"comparisons": adjust(tables["comparisons"])}

    def finish(self, tables: Tables, schemas: Sequence[Schema]) -> None:
        """Write the tables of all pairs, which the manifest then vouches for."""
        contents = {parquet_name(one): parquet_bytes(tables[one.name]) for one in schemas}
        for name, content in contents.items():
            write_bytes(content, self.out / name)
            self.hashes[name] = [hashlib.sha256(content).hexdigest()]
        self.write_manifest()
        remove_pairs(self.out)

    def write_manifest(self, **more: Any) -> None:
        """Write the manifest, with what was measured and noted so far."""
        measured = {"timings": self.timings, "notes": list(dict.fromkeys(self.notes))}
        write_manifest({**self.manifest, **more, **measured, "hashes": self.hashes}, self.out)


def run_id(manifest: Mapping[str, Any]) -> str:
    """Return what identifies a run: a hash of its tables, settings, models, data and versions."""
    parts = {part: _unspelt(manifest[part]) for part in (*_PARTS, "versions")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def claim(
    out: Path,
    kinds: Sequence[Schema],
    whole: Sequence[Schema],
    pairs: Sequence[Pair],
    manifest: Mapping[str, Any],
    *,
    overwrite: bool,
) -> Done:
    """Make `out` the folder of this run before anything is computed, or refuse.

    Args:
        out: the folder.
        kinds: the schemas of tables with rows of each pair.
        whole: the schemas of tables that are made when all pairs are measured.
        pairs: all pairs of the run.
        manifest: what the run is.
        overwrite: take the folder of another run, too.

    Returns:
        What the same run has done there already.

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
    _remove(out, [unfinished(pattern) for pattern in (*_FILES, MANIFEST)])  # of a killed run
    for folder in out.glob(f"{PAIRS}/.*"):
        remove_pair(folder)
    if overwrite:
        _remove(out, _FILES)
        remove_pairs(out)
    done = Done(out, manifest, kinds, pairs)
    if not overwrite:
        _go_on(done, whole, earlier or {})
    done.write_manifest()
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
    folders = {
        parent.as_posix() for pattern in _FILES for parent in PurePosixPath(pattern).parents[:-1]
    }
    paths = [path for pattern in sorted(folders) for path in sorted(out.glob(pattern))]
    links = [path for path in paths if path.is_symlink()]
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
    different = [part for part in _PARTS if _unspelt(earlier.get(part)) != _unspelt(manifest[part])]
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


def _go_on(done: Done, whole: Sequence[Schema], earlier: Mapping[str, Any]) -> None:
    """Take in what the same run finished before it was stopped; nothing of another version's.

    Once all pairs are written together, the manifest vouches for those tables. Until then, each
    finished pair stands in a folder of its own.

    Warns:
        UserWarning: some of it cannot be used, and is measured anew.
    """
    out, reasons = done.out, []
    if _found(out, [parquet_name(schema) for schema in done.kinds]):
        try:
            _take_tables(done, whole, earlier)
        except (InputError, OSError) as error:
            reasons.append(error.came if isinstance(error, InputError) else str(error))
    if not done.tables and (out / PAIRS).is_dir():
        finished_tables, reasons = reasons, []
        for place, pair in enumerate(done.pairs):
            try:
                _check_versions(earlier, done.manifest)
                found = read_pair(out, place, run_id(done.manifest), done.kinds, pair)
            except InputError as error:
                reasons.append(error.came)
                remove_pair(out / PAIRS / f"{place + 1:04d}")
                continue
            if found is not None:
                done.take(found)
        reasons = reasons or (finished_tables if not done.tables else [])
    for reason in dict.fromkeys(reasons):
        warnings.warn(f"{out}: measured anew, since {reason}", stacklevel=3)


def _take_tables(done: Done, whole: Sequence[Schema], earlier: Mapping[str, Any]) -> None:
    """Take in the tables of all pairs.

    Raises:
        InputError: one is not the table that the run wrote, or cannot be read.
    """
    out = done.out
    _check_versions(earlier, done.manifest)
    if not earlier.get("timings"):
        raise InputError("its manifest does not say which pairs of model and dataset were finished")
    for schema in done.kinds:
        check_hash(out / parquet_name(schema), earlier)
    tables = {schema.name: read_table(out, schema) for schema in done.kinds}
    done.notes, done.timings = list(earlier.get("notes", [])), list(earlier["timings"])
    done.hashes = dict(earlier["hashes"])
    for pair in done.pairs:
        model, dataset = pair
        rows = {
            name: table[(table.model == model) & (table.dataset == dataset)]
            for name, table in tables.items()
        }
        if dataset == VOCABULARY:
            rows = {"words": rows["words"]} if len(rows["words"]) else {}
        if rows:
            done.tables[pair] = rows
    if "finished" in earlier:
        for schema in whole:
            with suppress(InputError, OSError):  # lost, damaged or changed, and made again
                check_hash(out / parquet_name(schema), earlier)
                done.whole[schema.name] = read_table(out, schema)


def _check_versions(earlier: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Refuse to go on with what other versions measured.

    Raises:
        InputError: it says which of them differ.
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
