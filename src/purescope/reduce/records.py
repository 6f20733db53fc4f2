"""Keep beside each shortened file what it was made of: ``NAME.purescope.json``.

The record says the rotation, the options, and the size and CRC-32 of the source. It is written just
before the file appears. So a run that was stopped knows which files are finished, and a source that
has changed since is noticed.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from purescope import __version__
from purescope.errors import OutputError
from purescope.files.reading import open_regular, read_json
from purescope.files.writing import write_bytes
from purescope.reduce.collections.job import Job
from purescope.reduce.rows import Counts
from purescope.specs import exists

SUFFIX = ".purescope.json"


def record_path(target: Path) -> Path:
    """Return the path of the record of a file.

    Examples:
        >>> record_path(Path("short/img_emb_0.npy")).as_posix()
        'short/img_emb_0.npy.purescope.json'
    """
    return target.with_name(target.name + SUFFIX)


def describe_options(job: Job) -> dict[str, Any]:
    """Return what besides the source determines a file: the rotation and the options."""
    digest = hashlib.sha256()
    for axes in (job.axes.image, job.axes.text):
        digest.update(axes.tobytes())
    return {
        "rotation": {"sha256": digest.hexdigest(), **job.axes.recipe},
        "keep": job.keep,
        "dtype": job.dtype or "as the source, float16 or float32",
        "normalise": job.normalise,
        "tower": job.tower or ("both alike" if job.is_shared else "by name"),
        "column": job.column,
        "array": job.array,
    }


def write_record(
    target: Path, options: Mapping[str, Any], source: Mapping[str, Any], counts: Counts, size: int
) -> None:
    """Write the record of a file of `size` bytes that is about to appear."""
    record = {
        "purescope": __version__,
        "shrunk": dict(options),
        "source": dict(source),
        "rows": counts.rows,
        "rows_of_zeros": counts.zeros,
        "bytes": size,
    }
    text = json.dumps(record, indent=2, ensure_ascii=True) + "\n"
    write_bytes(text.encode(), record_path(target))


def describe_source(file: Path) -> dict[str, Any]:
    """Return the name and the state of a file, by which a change is noticed without reading it.

    Raises:
        OSError: it cannot be read.
    """
    state = file.stat()
    return {
        "name": file.name,
        "bytes": state.st_size,
        "modified_ns": state.st_mtime_ns,
        "changed_ns": state.st_ctime_ns,
    }


def checksum(file: Path) -> int:
    """Return the CRC-32 of a file.

    Raises:
        OSError: it cannot be read.
    """
    value = 0
    with open_regular(file) as stream:
        while block := stream.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def read_record(target: Path) -> dict[str, Any] | None:
    """Return the record of a file; None if there is none.

    Raises:
        OutputError: it cannot be read.
    """
    path = record_path(target)
    if not exists(path):
        return None
    try:
        record = read_json(path)
        parts = [record["shrunk"], record["source"]]
        if not all(isinstance(part, dict) for part in parts) or not isinstance(
            record["bytes"] + record["rows"] + record["rows_of_zeros"], int
        ):
            raise ValueError("it is no record of purescope")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}",
            expected="the record of a file that `purescope shrink` wrote",
            fix=f"remove it and {target.name}, or choose another --out",
        ) from error
    return dict(record)


def is_finished(
    target: Path, options: Mapping[str, Any], source: Path | None, *, overwrite: bool
) -> dict[str, Any] | None:
    """Tell whether an earlier run has made a file of the same source, in the same way.

    Returns:
        Its record, or None if the file is to be made (again).

    Raises:
        OutputError: there is a file that was not made by this command, or in another way.
    """
    record = read_record(target)
    if not exists(target):
        return None
    if record is None:
        raise OutputError(
            f"{target} exists, and nothing beside it says that purescope made it",
            expected=f"a new file, or one with its {record_path(target).name}",
            fix="choose another --out, or move it away",
        )
    if record["shrunk"] != json.loads(json.dumps(options)):
        if overwrite:
            return None
        wrong = [name for name in options if record["shrunk"].get(name) != options[name]]
        name = wrong[0] if wrong else "record"
        earlier = record["shrunk"].get(name)
        what = "rotation" if name == "rotation" else f"{name} ({earlier})"
        raise OutputError(
            f"{target} was made with another {what}",
            expected="the same rotation and options",
            fix="choose another --out, or replace it with --overwrite (overwrite=True)",
        )
    if source is None:  # standard input leaves nothing to compare with
        if overwrite:
            return None
        raise OutputError(
            f"{target} exists",
            expected="a new file, since standard input cannot be compared with the earlier one",
            fix="choose another --out, or replace it with --overwrite (overwrite=True)",
        )
    is_whole = target.stat().st_size == record["bytes"]
    return record if is_whole and _is_same(source, record["source"]) else None


def _is_same(file: Path, recorded: Mapping[str, Any]) -> bool:
    state = describe_source(file)
    if state["bytes"] != recorded.get("bytes"):
        return False
    if all(state[name] == recorded.get(name) for name in ("modified_ns", "changed_ns")):
        return True
    return checksum(file) == recorded.get("crc32")
