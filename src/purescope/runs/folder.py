"""Claim the folder of a run, and keep what the run measures in it.

A run owns a folder by its manifest. A run continues in a folder if its settings and identities are
those of the manifest. Names and paths may be written in another way.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from purescope.errors import InputError, OutputError
from purescope.files.manifest import MANIFEST, check_hash, own_manifest, write_manifest
from purescope.files.writing import unfinished, write_bytes
from purescope.runs.pair_files import (
    ENTRY,
    pair_folder,
    read_pair,
    remove_pair,
    remove_pairs,
    write_pair,
)
from purescope.runs.pairs import Measurement, Pair, Tables
from purescope.specs import is_folder
from purescope.studies.comparisons import adjust
from purescope.studies.retrieval_tables import adjust_retrieval
from purescope.tables.columns import VOCABULARY
from purescope.tables.files import PAIRS, parquet_bytes, parquet_name, read_table
from purescope.tables.schema import Schema, stack_tables
from purescope.tables.schemas import RUN_TABLES

# Entries of a manifest that identify a run.
_IDENTITY = ("tables", "settings", "models", "datasets")

# Keys that may differ between two calls of one run: hashes identify models and data.
_NOT_IDENTITY = ("spec", "source", "skipped", "device")

# Tables with p-values that are adjusted over all datasets of a run.
_ADJUSTED: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "comparisons": adjust,
    "retrieval_comparisons": adjust_retrieval,
    "image_comparisons": adjust_retrieval,
}

# All files that runs of any kind write; nothing else in a folder is touched.
_FILES = (
    *(f"{schema.name}{end}" for schema in RUN_TABLES for end in (".csv", ".parquet")),
    "result_*/*_vs_sam.csv",
    "cosines_*.npz",
    "report.html",
    f"{PAIRS}/[0-9]*/{ENTRY}",
    *(
        f"figures/{kind}_*{end}"
        for kind in ("neuron_pruning", "purity_gap", "retrieval")
        for end in (".png", ".svg")
    ),
)


@dataclass
class Record:
    """The tables that a run has measured so far, and how they are written.

    Args:
        out: the folder of the run.
        manifest: the manifest that the run began with.
        schemas: the schemas of the tables of a pair.
        pairs: all pairs, in the order of the tables.
        tables: the tables of each finished pair.
        whole: tables of the whole run.
        timings, notes, hashes: entries of the manifest.
        written: each table of a pair that was written last, and the content of its file.
    """

    out: Path
    manifest: Mapping[str, Any]
    schemas: Sequence[Schema]
    pairs: Sequence[Pair]
    tables: dict[Pair, Tables] = field(default_factory=dict)
    whole: Tables = field(default_factory=dict)
    timings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hashes: dict[str, list[str]] = field(default_factory=dict)
    written: dict[str, tuple[pd.DataFrame, bytes]] = field(default_factory=dict)

    def add(self, finished: Measurement) -> None:
        """Add a finished pair."""
        self.tables[finished.pair] = finished.tables
        self.notes.extend(finished.notes)
        if finished.timing is not None:
            self.timings.append(finished.timing)

    def save(self, finished: Measurement) -> None:
        """Add a finished pair, and write it."""
        self.add(finished)
        place = self.pairs.index(finished.pair)
        contents = write_pair(self.out, place, run_id(self.manifest), self.schemas, finished)
        for name, content in contents.items():
            self.written[name] = finished.tables[name], content

    def combined(self) -> Tables:
        """Return the tables of all pairs, one below the other in the order of the run.

        They were checked when they were measured. P-values are adjusted over all datasets here.
        """
        finished = [self.tables[pair] for pair in self.pairs if pair in self.tables]
        combined: Tables = {}
        for schema in self.schemas:
            tables = [pair[schema.name] for pair in finished if schema.name in pair]
            combined[schema.name] = tables[0] if len(tables) == 1 else stack_tables(tables)
        for name, adjusting in _ADJUSTED.items():
            if name in combined:
                combined[name] = adjusting(combined[name])
        return combined

    def finish(self, tables: Tables, schemas: Sequence[Schema]) -> None:
        """Write the tables of all pairs and their hashes in the manifest, then remove the pairs."""
        contents = {schema.name: self._content(tables, schema.name) for schema in schemas}
        for schema in schemas:
            name, content = parquet_name(schema), contents[schema.name]
            write_bytes(content, self.out / name)
            self.hashes[name] = [hashlib.sha256(content).hexdigest()]
        self.write_manifest()
        remove_pairs(self.out)

    def _content(self, tables: Tables, name: str) -> bytes:
        """Return the content of the file of a table; a run of one pair has made most of them."""
        table, content = self.written.get(name, (None, b""))
        return content if table is tables[name] else parquet_bytes(tables[name])

    def write_manifest(self, **more: Any) -> None:
        """Write the manifest, with the timings and notes so far."""
        measured = {"timings": self.timings, "notes": list(dict.fromkeys(self.notes))}
        write_manifest({**self.manifest, **more, **measured, "hashes": self.hashes}, self.out)


def run_id(manifest: Mapping[str, Any]) -> str:
    """Return a hash that identifies a run: of its tables, settings, models, data and versions."""
    identity = {entry: _identity(manifest[entry]) for entry in (*_IDENTITY, "versions")}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def claim(
    out: Path,
    schemas: Sequence[Schema],
    whole: Sequence[Schema],
    pairs: Sequence[Pair],
    manifest: Mapping[str, Any],
    *,
    overwrite: bool,
) -> Record:
    """Make `out` the folder of this run before anything is computed, or refuse.

    Args:
        out: the folder.
        schemas: the schemas of the tables of a pair.
        whole: the schemas of the tables of the whole run.
        pairs: all pairs of the run.
        manifest: identifies the run.
        overwrite: replace another run in the folder.

    Returns:
        What the same run has already measured there.

    Raises:
        OutputError: it cannot be written; it holds files that are not purescope's; or it holds
            another run, and `overwrite` is not set.
    """
    earlier = own_manifest(out, overwrite=overwrite)
    if earlier is None:
        _refuse_unknown(out)
    _refuse_links(out, overwrite=overwrite)
    if not overwrite:
        _refuse_another_run(out, earlier, manifest)
    _remove(out, [unfinished(pattern) for pattern in (*_FILES, MANIFEST)])  # from a killed run
    for folder in out.glob(f"{PAIRS}/.*"):
        remove_pair(folder)
    if overwrite:
        _remove(out, _FILES)
        remove_pairs(out)
    record = Record(out, manifest, schemas, pairs)
    if not overwrite:
        _continue(record, whole, earlier or {})
    record.write_manifest()
    return record


def _refuse_unknown(out: Path) -> None:
    """Refuse a folder without a manifest that has files with the names of ours.

    Raises:
        OutputError: there are such files.
    """
    names = [path.relative_to(out).as_posix() for path in _files(out, _FILES)]
    if names:
        more = f" and {len(names) - 3} more files" if len(names) > 3 else ""
        raise OutputError(
            f"{out} holds {', '.join(names[:3])}{more}, of no known run",
            expected="a folder without results, or that of a purescope run: it has a manifest.json "
            "that says so",
            fix="choose another --out, or move these files away",
        )


def _refuse_links(out: Path, *, overwrite: bool) -> None:
    """Refuse links in the place of a run's folders; `overwrite` removes them, not their targets.

    Raises:
        OutputError: there are such links, and `overwrite` is not set.
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
    """Remove files, and folders that become empty; the target of a link stays."""
    for path in _files(out, patterns):
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


def _files(out: Path, patterns: Iterable[str]) -> list[Path]:
    """Return the files of these names that are not below a link."""
    if not is_folder(out):
        return []
    paths = sorted(path for pattern in patterns for path in out.glob(pattern))
    return [path for path in paths if path.parent == out or not path.parent.is_symlink()]


def _refuse_another_run(
    out: Path, earlier: Mapping[str, Any] | None, manifest: Mapping[str, Any]
) -> None:
    """Refuse the folder of another run, unless that run was stopped before it measured anything.

    Raises:
        OutputError: it holds another run.
    """
    if earlier is None or "settings" not in earlier:
        return
    different = [
        entry for entry in _IDENTITY if _identity(earlier.get(entry)) != _identity(manifest[entry])
    ]
    if different and (earlier.get("timings") or _files(out, _FILES)):
        options = _setting_differences(earlier.get("settings"), manifest["settings"])
        raise OutputError(
            f"{out} holds another run: its {' and '.join(different)} differ{options}",
            expected="a folder without results, or that of a run with the same models, data and "
            "settings",
            fix="choose another --out, or replace what is there with --overwrite",
        )


def _setting_differences(earlier: Any, now: Mapping[str, Any]) -> str:
    """Name the settings that differ, with the values there and here."""
    theirs = earlier if isinstance(earlier, dict) else {}
    differences = [
        f"{name} {theirs.get(name)} there, {value} here"
        for name, value in now.items()
        if theirs.get(name) != value
    ]
    return f" ({'; '.join(differences)})" if differences else ""


def _identity(entry: Any) -> Any:
    """Return an entry of a manifest without keys that may differ between two calls of one run."""
    if not isinstance(entry, list):
        return entry
    return [
        {key: value for key, value in item.items() if key not in _NOT_IDENTITY}
        if isinstance(item, dict)
        else item
        for item in entry
    ]


def _continue(record: Record, whole: Sequence[Schema], earlier: Mapping[str, Any]) -> None:
    """Read what the same run finished before it was stopped, unless other versions measured it.

    In a complete run the manifest has the hashes of the tables of all pairs. Until then, each
    finished pair has a folder of its own.

    Warns:
        UserWarning: some of it cannot be used, and is measured anew.
    """
    out, reasons = record.out, []
    if _files(out, [parquet_name(schema) for schema in record.schemas]):
        try:
            _read_tables(record, whole, earlier)
        except (InputError, OSError) as error:
            reasons.append(error.came if isinstance(error, InputError) else str(error))
    if not record.tables and (out / PAIRS).is_dir():
        table_reasons, reasons = reasons, _read_pairs(record, earlier)
        if not record.tables:
            reasons = reasons or table_reasons
    for reason in dict.fromkeys(reasons):
        warnings.warn(f"{out}: measured anew, since {reason}", stacklevel=3)


def _read_pairs(record: Record, earlier: Mapping[str, Any]) -> list[str]:
    """Read the finished pairs, and remove those that cannot be used.

    Returns:
        The reasons why pairs cannot be used.
    """
    reasons: list[str] = []
    run = run_id(record.manifest)
    for place, pair in enumerate(record.pairs):
        try:
            _check_versions(earlier, record.manifest)
            finished = read_pair(record.out, place, run, record.schemas, pair)
        except InputError as error:
            reasons.append(error.came)
            remove_pair(pair_folder(record.out, place))
            continue
        if finished is not None:
            record.add(finished)
    return reasons


def _read_tables(record: Record, whole: Sequence[Schema], earlier: Mapping[str, Any]) -> None:
    """Read the tables of all pairs.

    Raises:
        InputError: one is not the table that the run wrote, or cannot be read.
    """
    out = record.out
    _check_versions(earlier, record.manifest)
    if not earlier.get("timings"):
        raise InputError("its manifest does not say which pairs of model and dataset were finished")
    for schema in record.schemas:
        check_hash(out / parquet_name(schema), earlier)
    tables = {schema.name: read_table(out, schema) for schema in record.schemas}
    record.notes, record.timings = list(earlier.get("notes", [])), list(earlier["timings"])
    record.hashes = dict(earlier["hashes"])
    for pair in record.pairs:
        model, dataset = pair
        rows = {
            name: table[(table.model == model) & (table.dataset == dataset)]
            for name, table in tables.items()
        }
        if dataset == VOCABULARY:
            rows = {"words": rows["words"]} if len(rows["words"]) else {}
        if rows:
            record.tables[pair] = rows
    if "finished" in earlier:
        for schema in whole:
            with suppress(InputError, OSError):  # a lost or damaged table is made again
                check_hash(out / parquet_name(schema), earlier)
                record.whole[schema.name] = read_table(out, schema)


def _check_versions(earlier: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Refuse to continue what other versions measured.

    Raises:
        InputError: it names the versions that differ.
    """
    theirs, ours = (
        dict(entries.get("versions", {})) | {"purescope": entries.get("purescope")}
        for entries in (earlier, manifest)
    )
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    if names:
        differences = ", ".join(
            f"{name} {theirs.get(name, 'none')} there, {ours.get(name, 'none')} here"
            for name in names
        )
        raise InputError(f"its versions differ: {differences}")
