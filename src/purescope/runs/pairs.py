"""Keep each finished pair of a run in a folder of its own until the whole run is written.

``DIR/pairs/0001`` holds the tables of one pair of model and dataset as Parquet files, and
``pair.json``: which pair it is, of which run, how long it took, the notes, and the hash of each
file. Such a folder is renamed into its place when it is complete, so a pair is written once, and it
is either there as a whole or not at all. When all pairs are measured, their tables are put together
and these folders are removed.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from purescope.errors import InputError, OutputError
from purescope.files.manifest import hash_of, is_timing
from purescope.files.reading import read_json
from purescope.files.writing import atomic_folder
from purescope.tables.files import PAIRS, parquet_bytes, parquet_name, read_parquet_table
from purescope.tables.schema import Schema

Tables: TypeAlias = dict[str, pd.DataFrame]  # by the name of the schema
Pair: TypeAlias = tuple[str, str]  # of model and dataset

ENTRY = "pair.json"


@dataclass(frozen=True)
class Measurement:
    """A finished pair.

    Args:
        pair: labels of the model and of the dataset.
        tables: by the name of their schema.
        timing: seconds of each step, as the manifest has them; None where none were taken.
        notes: the warnings that came while it was measured.
    """

    pair: Pair
    tables: Tables
    timing: dict[str, Any] | None = None
    notes: Sequence[str] = ()


def write_pair(out: Path, place: int, run: str, kinds: Iterable[Schema], done: Measurement) -> None:
    """Write a finished pair.

    Args:
        out: the folder of the run.
        place: of the pair in the run, from 0 on.
        run: what identifies the run.
        kinds: the schemas of tables that a pair can have.
        done: the pair.

    Raises:
        OutputError: the folder or the disk does not take it.
    """
    with atomic_folder(_folder(out, place)) as temporary:
        hashes = {}
        for schema in kinds:
            if schema.name in done.tables:
                content = parquet_bytes(done.tables[schema.name])
                (temporary / parquet_name(schema)).write_bytes(content)
                hashes[parquet_name(schema)] = hashlib.sha256(content).hexdigest()
        entry = {
            "run": run,
            "model": done.pair[0],
            "dataset": done.pair[1],
            "timing": done.timing,
            "notes": list(done.notes),
            "hashes": hashes,
        }
        (temporary / ENTRY).write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")


def read_pair(
    out: Path, place: int, run: str, kinds: Iterable[Schema], pair: Pair
) -> Measurement | None:
    """Read a finished pair.

    Args:
        out, place, run, kinds: as of `write_pair`.
        pair: that should stand there.

    Returns:
        The pair; None where there is none.

    Raises:
        InputError: what stands there is another pair's or another run's, or is damaged.
    """
    folder = _folder(out, place)
    if not folder.is_dir():
        return None
    try:
        entry = read_json(folder / ENTRY)
        _check_entry(entry, run, pair)
        tables = {}
        for schema in kinds:
            name = parquet_name(schema)
            if name in entry["hashes"]:
                if hash_of(folder / name) != entry["hashes"][name]:
                    raise ValueError(f"{name} is not the file that the run wrote")
                tables[schema.name] = read_parquet_table(folder / name, schema)
    except (ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{folder} cannot be used: {reason}") from error
    return Measurement(pair, tables, entry["timing"], entry["notes"])


def remove_pairs(out: Path) -> None:
    """Remove the folders of finished pairs and what a killed process left of one.

    Raises:
        OutputError: as `remove_pair`.
    """
    pairs = out / PAIRS
    for folder in sorted(pairs.iterdir()) if pairs.is_dir() else ():
        remove_pair(folder)
    with suppress(OSError):  # it is not there, or holds something else
        pairs.rmdir()


def remove_pair(folder: Path) -> None:
    """Remove one such folder.

    Raises:
        OutputError: it holds files that are not ours, or cannot be removed.
    """
    if not folder.is_dir() or not folder.name.strip(".").partition("-")[0].isdecimal():
        return  # nobody's pair
    try:
        others = [
            path for path in folder.iterdir() if path.suffix != ".parquet" and path.name != ENTRY
        ]
        if not others:
            shutil.rmtree(folder)
            return
    except OSError as error:
        raise OutputError(
            f"cannot remove {folder}: {error.strerror or error}", fix="choose another --out"
        ) from error
    raise OutputError(
        f"{folder} holds {others[0].name}, which is not purescope's",
        expected="the files of a finished pair",
        fix="move it away, or choose another --out",
    )


def _folder(out: Path, place: int) -> Path:
    return out / PAIRS / f"{place + 1:04d}"


def _check_entry(entry: Any, run: str, pair: Pair) -> None:
    """Refuse an entry that is another's or no entry.

    Raises:
        ValueError: it is.
    """
    if not isinstance(entry, dict) or entry.get("run") != run:
        raise ValueError("it is of another run")
    if (entry.get("model"), entry.get("dataset")) != pair:
        raise ValueError(f"it is not {' on '.join(pair)}")
    texts, hashes, timing = entry.get("notes"), entry.get("hashes"), entry.get("timing")
    if (
        not isinstance(texts, list)
        or not all(isinstance(note, str) for note in texts)
        or not isinstance(hashes, Mapping)
        or not (timing is None or is_timing(timing))
    ):
        raise ValueError(f"{ENTRY} is damaged")
