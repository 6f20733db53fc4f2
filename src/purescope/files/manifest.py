"""The manifest of a results folder: what its numbers rest on, whose folder it is, which tables it
vouches for.
"""

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


def versions() -> dict[str, str]:
    """Return what numbers depend on besides settings: purescope, the libraries that make them, and
    Python.
    """
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"purescope": __version__} | libraries | {"python": platform.python_version()}


def write_manifest(manifest: Mapping[str, Any], out: Path) -> None:
    """Write ``manifest.json``: settings, identities, versions, timings and hashes of tables of a
    run.
    """
    with atomic_path(out / MANIFEST) as temporary:
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        # A byte of a path that is no UTF-8 is a lone surrogate, which JSON writes as this escape.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_manifest(out: Path) -> dict[str, Any] | None:
    """Read the manifest of a folder; return None where there is none.

    Raises:
        OutputError: it is there, but cannot be read, or holds something else than a manifest does.
    """
    path = out / MANIFEST
    if not exists(path):
        return None
    try:
        manifest = read_json(path)
    except (ValueError, OSError) as error:
        raise _damaged(
            path, f"cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    if not isinstance(manifest, dict):
        raise _damaged(path, f"holds a {type(manifest).__name__}")
    if is_ours(manifest):
        for key, (is_right, what) in _PARTS.items():
            if key in manifest and not is_right(manifest[key]):
                raise _damaged(path, f"{key} is no {what}")
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
    """Tell whether a damaged manifest is what is left of one of ours: its first words are those
    that we write first.
    """
    try:
        with open_regular(out / MANIFEST) as file:
            start = b"".join(file.read(200).split())
    except OSError:
        return False
    return start.startswith((b'{"purescope":"', b'{"models":[{"label":"', b'{"settings":{"keep"'))


def own_manifest(out: Path, *, overwrite: bool = False) -> dict[str, Any] | None:
    """Read the manifest of a folder that is to be written into.

    Args:
        out: the folder.
        overwrite: whether what is left of a damaged manifest of ours may be replaced.

    Returns:
        The manifest; empty where a damaged one may be replaced; None where there is none.

    Raises:
        OutputError: it is damaged, or not purescope's.
    """
    try:
        manifest = read_manifest(out)
    except OutputError:
        if overwrite and looks_like_ours(out):
            return {}
        raise
    if manifest is not None and not is_ours(manifest):
        raise OutputError(
            f"{out} holds {MANIFEST}, of no known run",
            expected="a folder without results, or that of a purescope command: it has a manifest "
            "that says so",
            fix="choose another --out, or move this file away",
        )
    return manifest


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, as the manifest keeps it of each table.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def check_hash(path: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse a table that is not the one which its run wrote.

    Raises:
        InputError: its hash is none that the manifest has of it, or the manifest has none.
    """
    if not exists(path):
        raise InputError(
            f"no {path.name} in {path.parent}",
            expected="all tables of the run",
            fix="make it again",
        )
    known = manifest.get("hashes", {}).get(path.name)
    if known is None or hash_of(path) not in known:
        raise InputError(
            f"{path} is not the file that its run wrote: "
            + (
                "the manifest has no hash of it"
                if known is None
                else "its hash is not the one in the manifest"
            ),
            expected="the tables of a run as they were written",
            fix=AGAIN,
        )


def _damaged(path: Path, what: str) -> OutputError:
    return OutputError(
        f"{path} {what}",
        expected="the manifest of a purescope run, as it was written",
        fix="run the command that wrote it again, with --overwrite (overwrite=True); or remove the "
        "file: "
        "without it, the tables can still be shown",
    )


Test: TypeAlias = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _list(is_right: Test) -> Test:
    return lambda value: isinstance(value, list) and all(map(is_right, value))


def _dictionary(is_right: Test) -> Test:
    return lambda value: isinstance(value, dict) and all(map(is_right, value.values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    """Tell whether something is a setting: a word, a number, or a list or dictionary of such."""
    if isinstance(value, list | dict):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, str | int | float | bool)


def _is_named(*names: str) -> Test:
    return lambda value: (
        isinstance(value, dict) and all(isinstance(value.get(name), str) for name in names)
    )


def is_timing(value: Any) -> bool:
    """Tell whether something is the timing of a pair: its names, and seconds."""
    return _is_named("model", "dataset")(value) and _dictionary(_is_number)(value.get("seconds"))


# What each part is, wherever it stands.
_PARTS: dict[str, tuple[Test, str]] = {
    "purescope": (_is_text, "version"),
    "versions": (_dictionary(_is_text), "list of versions"),
    "tables": (_list(_is_text), "list of tables"),
    "settings": (_dictionary(_is_plain), "list of settings"),
    "models": (_list(_is_named("label", "spec")), "list of models"),
    "datasets": (_list(_is_named("name")), "list of datasets"),
    "threads": (_is_number, "number"),
    "started": (_is_text, "time"),
    "finished": (_is_text, "time"),
    "timings": (_list(is_timing), "list of timings"),
    "notes": (_list(_is_text), "list of notes"),
    "hashes": (_dictionary(_list(_is_text)), "list of hashes"),
}
