"""The manifest of a results folder: the origin of its numbers and the hashes of its tables."""

import functools
import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from purescope import __version__
from purescope.errors import InputError, OutputError
from purescope.files.reading import open_regular, read_json
from purescope.files.writing import AGAIN, atomic_path
from purescope.specs import exists

MANIFEST = "manifest.json"

_LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "numpy", "pandas", "pillow")
_version = functools.cache(version)  # which reads files anew at each call


def versions() -> dict[str, str]:
    """Return the versions that numbers depend on: purescope, the libraries that compute them,
    Python.
    """
    libraries = {name: _version(name) for name in _LIBRARIES}
    return {"purescope": __version__} | libraries | {"python": platform.python_version()}


def write_manifest(manifest: Mapping[str, Any], out: Path) -> None:
    """Write ``manifest.json``: a run's settings, identities, versions, timings and table hashes."""
    with atomic_path(out / MANIFEST) as temporary:
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        # A byte of a path that is not UTF-8 is a lone surrogate; JSON writes it as an escape.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_manifest(out: Path) -> dict[str, Any] | None:
    """Read the manifest of a folder; return None if there is none.

    Raises:
        OutputError: it cannot be read, or its content is not that of a manifest.
    """
    path = out / MANIFEST
    if not exists(path):
        return None
    try:
        manifest = read_json(path)
    except (ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _damaged(path, f"cannot be read: {reason}") from error
    if not isinstance(manifest, dict):
        raise _damaged(path, f"holds a {type(manifest).__name__}")
    if is_ours(manifest):
        for key, (is_valid, description) in _ENTRIES.items():
            if key in manifest and not is_valid(manifest[key]):
                raise _damaged(path, f"{key} is not a {description}")
    return manifest


def is_ours(manifest: Mapping[str, Any] | None) -> bool:
    """Tell whether purescope wrote a manifest: it names the library and its version.

    Examples:
        >>> is_ours({"versions": {"purescope": "0.1.0"}}), is_ours({"name": "my site", "icons": []})
        (True, False)
    """
    manifest = manifest or {}
    versions = manifest.get("versions")
    return "purescope" in manifest or (isinstance(versions, dict) and "purescope" in versions)


def looks_like_ours(out: Path) -> bool:
    """Tell whether a damaged manifest was one of ours: it begins as ours do."""
    try:
        with open_regular(out / MANIFEST) as file:
            start = b"".join(file.read(200).split())
    except OSError:
        return False
    return start.startswith((b'{"purescope":"', b'{"models":[{"label":"', b'{"settings":{"keep"'))


def own_manifest(out: Path, *, overwrite: bool = False) -> dict[str, Any] | None:
    """Read the manifest of a folder to write into.

    Args:
        out: the folder.
        overwrite: whether a damaged manifest of ours may be replaced.

    Returns:
        The manifest; empty if a damaged one may be replaced; None if there is none.

    Raises:
        OutputError: it is damaged, or purescope did not write it.
    """
    try:
        manifest = read_manifest(out)
    except OutputError:
        if overwrite and looks_like_ours(out):
            return {}
        raise
    if manifest is not None and not is_ours(manifest):
        raise OutputError(
            f"{out} holds a {MANIFEST} that purescope did not write",
            expected="a folder without results, or the results of a purescope command with its "
            "manifest",
            fix="choose another --out, or move this file away",
        )
    return manifest


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file; the manifest stores that of each table.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def check_hash(path: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse a table that is not the one that its run wrote.

    Raises:
        InputError: the manifest has another hash for it, or none.
    """
    if not exists(path):
        raise InputError(
            f"no {path.name} in {path.parent}",
            expected="all tables of the run",
            fix="make it again",
        )
    known = manifest.get("hashes", {}).get(path.name)
    if known is None or hash_of(path) not in known:
        reason = "its hash is not the one in the manifest"
        if known is None:
            reason = "the manifest has no hash of it"
        raise InputError(
            f"{path} is not the file that its run wrote: {reason}",
            expected="the tables of a run as they were written",
            fix=AGAIN,
        )


def _damaged(path: Path, what: str) -> OutputError:
    return OutputError(
        f"{path} {what}",
        expected="the manifest of a purescope run, as it was written",
        fix="run the command that wrote it again, with --overwrite (overwrite=True); or remove the "
        "file: the tables can be shown without it",
    )


Check: TypeAlias = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _list_of(is_valid: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(is_valid, value))


def _dictionary_of(is_valid: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(is_valid, value.values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    """Tell whether a value is a setting: a text, a number, or a list or dictionary of settings."""
    if isinstance(value, list | dict):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, str | int | float | bool)


def _has_texts(*keys: str) -> Check:
    return lambda value: (
        isinstance(value, dict) and all(isinstance(value.get(key), str) for key in keys)
    )


def is_timing(value: Any) -> bool:
    """Tell whether a value is the timing of a pair: names of a model and a dataset, and seconds."""
    is_pair = _has_texts("model", "dataset")
    return is_pair(value) and _dictionary_of(_is_number)(value.get("seconds"))


# The type of each entry of a manifest, and its name in an error.
_ENTRIES: dict[str, tuple[Check, str]] = {
    "purescope": (_is_text, "version"),
    "versions": (_dictionary_of(_is_text), "list of versions"),
    "tables": (_list_of(_is_text), "list of tables"),
    "settings": (_dictionary_of(_is_plain), "list of settings"),
    "models": (_list_of(_has_texts("label", "spec")), "list of models"),
    "datasets": (_list_of(_has_texts("name")), "list of datasets"),
    "threads": (_is_number, "number"),
    "started": (_is_text, "time"),
    "finished": (_is_text, "time"),
    "timings": (_list_of(is_timing), "list of timings"),
    "notes": (_list_of(_is_text), "list of notes"),
    "hashes": (_dictionary_of(_list_of(_is_text)), "list of hashes"),
}
