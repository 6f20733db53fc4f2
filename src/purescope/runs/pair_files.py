"""Keep each finished pair of model and dataset until the run is complete.

``DIR/pairs/0001`` holds the tables of one pair as Parquet files, and ``pair.json``: which pair it
is, of which run, how long it took, the notes, and the hash of each file. Such a folder is renamed
into its place when it is complete, so a pair is written once, and is either complete or missing.
When all pairs are measured, their tables are put together and these folders are removed.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from purescope.errors import InputError, OutputError
from purescope.files.manifest import hash_of, is_timing
from purescope.files.reading import read_json
from purescope.files.writing import atomic_folder
from purescope.runs.pairs import Measurement, Pair
from purescope.tables.files import PAIRS, parquet_bytes, parquet_name, read_parquet_table
from purescope.tables.schema import Schema

ENTRY = "pair.json"


def write_pair(
    out: Path, place: int, run: str, schemas: Iterable[Schema], finished: Measurement
) -> dict[str, bytes]:
    """Write a finished pair.

    Args:
        out: the folder of the run.
        place: number of the pair in the run, from 0.
        run: identifies the run.
        schemas: the schemas of the tables that a pair can have.
        finished: the pair.

    Returns:
        The content of the file of each table, by the table's name.

    Raises:
        OutputError: it cannot be written.
    """
    own = [schema for schema in schemas if schema.name in finished.tables]
    contents = {schema.name: parquet_bytes(finished.tables[schema.name]) for schema in own}
    with atomic_folder(pair_folder(out, place)) as temporary:
        hashes = {}
        for schema in own:
            (temporary / parquet_name(schema)).write_bytes(contents[schema.name])
            hashes[parquet_name(schema)] = hashlib.sha256(contents[schema.name]).hexdigest()
        entry = {
            "run": run,
            "model": finished.pair[0],
            "dataset": finished.pair[1],
            "timing": finished.timing,
            "notes": list(finished.notes),
            "hashes": hashes,
        }
        (temporary / ENTRY).write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    return contents


def read_pair(
    out: Path, place: int, run: str, schemas: Iterable[Schema], pair: Pair
) -> Measurement | None:
    """Read a finished pair.

    Args:
        out, place, run, schemas: as for `write_pair`.
        pair: the labels that are expected.

    Returns:
        The pair; None if it was not written.

    Raises:
        InputError: it belongs to another pair or another run, or is damaged.
    """
    folder = pair_folder(out, place)
    if not folder.is_dir():
        return None
    try:
        entry = read_json(folder / ENTRY)
        _check_entry(entry, run, pair)
        tables = {}
        for schema in schemas:
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
    """Remove the folders of finished pairs, and unfinished ones of a killed process.

    Raises:
        OutputError: as for `remove_pair`.
    """
    pairs = out / PAIRS
    for folder in sorted(pairs.iterdir()) if pairs.is_dir() else ():
        remove_pair(folder)
    with suppress(OSError):  # it does not exist, or holds something else
        pairs.rmdir()


def remove_pair(folder: Path) -> None:
    """Remove the folder of one pair.

    Raises:
        OutputError: it holds files that are not purescope's, or cannot be removed.
    """
    if not folder.is_dir() or not folder.name.strip(".").partition("-")[0].isdecimal():
        return  # not the folder of a pair
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


def pair_folder(out: Path, place: int) -> Path:
    """Return the folder of a finished pair, by its number in the run, from 0."""
    return out / PAIRS / f"{place + 1:04d}"


def _check_entry(entry: Any, run: str, pair: Pair) -> None:
    """Refuse an entry that is damaged, or belongs to another run or pair.

    Raises:
        ValueError: the reason.
    """
    if not isinstance(entry, dict) or entry.get("run") != run:
        raise ValueError("it belongs to another run")
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
