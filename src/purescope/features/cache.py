"""Features on disk, so that nothing is encoded twice and an interrupted encoding goes on where it stopped.

An entry holds the features of one tower: of images, for one model, preprocess, precision and set of images; of classes,
for one model, precision and set of prompts. What its numbers depend on is its key, so a changed checkpoint or prompt
is another entry, and names and paths are no part of it::

    CACHE/images/KEY/manifest.json         what the key stands for, how many rows there are
    CACHE/images/KEY/00000.safetensors     rows 0 to 1023, with a checksum
    CACHE/text/KEY/...

A shard appears whole, by a rename, or not at all. Whoever makes one holds its lock, so that processes share the work of
an entry; the system takes the lock of a killed process back. A damaged shard or manifest is made again.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import platformdirs
import safetensors
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from purescope.errors import InputError, OutputError
from purescope.tables import atomic_path, unfinished

_VERSION = 1  # of what stands in the files; part of every key
_SHARD = 1024  # rows; at most so much is lost by a kill
_KINDS = ("images", "text")
_MANIFEST = "manifest.json"
_OWN = (_MANIFEST, unfinished(_MANIFEST), "*.safetensors", "*.lock")  # the third, of unfinished shards too
_GONE = "it has no manifest"
REMEDY = "give another folder (--cache DIR, cache='DIR'), or none at all (--no-cache, cache=None)"


def default_folder() -> Path:
    """``$PURESCOPE_CACHE``, or purescope's folder among the platform's caches."""
    return Path(os.environ.get("PURESCOPE_CACHE") or platformdirs.user_cache_dir("purescope", appauthor=False))


@dataclass(frozen=True)
class Entry:
    """The rows of one tower, in shards; see the module.

    Args:
        folder: where it is; its name is the key.
        rows, neurons: of all shards together.
        identity: what the numbers depend on.
        about: what to call it; no part of the key.
    """

    folder: Path
    kind: str
    rows: int
    neurons: int
    identity: Mapping[str, str]
    about: Mapping[str, str]

    @property
    def shards(self) -> list[range]:
        """The rows of each shard."""
        return split(range(self.rows), _SHARD)

    def read(self, shard: range) -> Float[Tensor, "row neuron"] | None:
        """The rows of a shard; None where it is not there, or is damaged, with a warning then."""
        path = self._path(shard)
        if not self.is_there(shard):
            return None
        try:
            with safetensors.safe_open(path, framework="pt") as content:
                rows: Tensor = content.get_tensor("rows")
                metadata = content.metadata() or {}
            if metadata.get("checksum") == self._checksum(shard, rows):
                return rows
            damage = "its checksum does not fit"
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            damage = str(error)
        warnings.warn(f"{path} is damaged and made again: {damage}", stacklevel=2)
        return None

    def write(self, shard: range, rows: Float[Tensor, "row neuron"]) -> None:
        """Store the rows of a shard, whose lock is held, and remove what a killed process had begun of it.

        Raises:
            OutputError: the disk does not take it.
        """
        try:
            _clear(self._path(shard))
            for path in self.folder.glob(unfinished(self._path(shard).name)):
                path.unlink(missing_ok=True)
            with atomic_path(self._path(shard)) as temporary:
                save_file({"rows": rows.contiguous()}, temporary, {"checksum": self._checksum(shard, rows)})
        except (OSError, OutputError, safetensors.SafetensorError) as error:
            raise OutputError(f"the cache does not take {self._path(shard)}: {error}", fix=REMEDY) from error

    def lock(self, shard: range) -> filelock.BaseFileLock:
        """To be held while a shard is made."""
        return filelock.FileLock(self._path(shard).with_suffix(".lock"))

    def is_damaged(self, shard: range) -> bool:
        """Whether a shard is there and cannot be used."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.is_there(shard) and self.read(shard) is None

    def is_there(self, shard: range) -> bool:
        """Whether there is a file for a shard, whatever is in it."""
        return self._path(shard).exists()

    def _path(self, shard: range) -> Path:
        return self.folder / f"{shard.start // _SHARD:05d}.safetensors"

    def _checksum(self, shard: range, rows: Tensor) -> str:
        digest = hashlib.sha256(f"{self.folder.name} {shard.start} {rows.dtype} {list(rows.shape)}\n".encode())
        expected = [len(shard), self.neurons]
        if rows.dtype != torch.float32 or list(rows.shape) != expected:
            raise ValueError(f"{rows.dtype} of shape {list(rows.shape)} in place of float32 {expected}")
        digest.update(rows.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Damaged:
    """What is no entry any more: its manifest is gone, or is not the one that its key was made of; and why."""

    folder: Path
    why: str


class Cache:
    """A folder of entries.

    Args:
        folder: where; made when something is stored.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> cache = Cache(folder.name)
        >>> entry = cache.entry("text", {"weights": "5f3a"}, rows=2, neurons=3)
        >>> entry.write(range(0, 2), torch.eye(2, 3))
        >>> [found.rows for found in cache.entries()], entry.read(range(0, 2)).shape
        ([2], torch.Size([2, 3]))
        >>> folder.cleanup()
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser()

    def entry(
        self, kind: str, identity: Mapping[str, str], *, rows: int, neurons: int, about: Mapping[str, str] | None = None
    ) -> Entry:
        """The entry of this identity, new if there is none.

        Raises:
            OutputError: the folder cannot be written.
        """
        content = {"version": _VERSION, "kind": kind, "rows": rows, "neurons": neurons, "identity": dict(identity)}
        entry = Entry(self.folder / kind / _key(content), kind, rows, neurons, dict(identity), dict(about or {}))
        manifest = entry.folder / _MANIFEST
        found = _read_entry(entry.folder)
        if isinstance(found, Entry):
            with suppress(OSError):  # when it was last used; a read-only cache does not tell
                os.utime(manifest)
            return entry
        if found.why != _GONE:
            warnings.warn(f"{manifest} is damaged and made again: {found.why}", stacklevel=2)
        try:
            _clear(manifest)
            with atomic_path(manifest) as temporary:
                temporary.write_text(json.dumps(content | {"about": entry.about}, indent=1), encoding="utf-8")
        except (OSError, OutputError) as error:
            raise OutputError(f"the cache {self.folder} cannot be written: {error}", fix=REMEDY) from error
        return entry

    def entries(self) -> list[Entry]:
        """All whole entries, those last used first."""
        return [entry for entry in map(_read_entry, self.folders()) if isinstance(entry, Entry)]

    def damaged(self) -> list[Damaged]:
        """All entries whose manifest cannot be used; what they held is encoded again when it is needed."""
        return [entry for entry in map(_read_entry, self.folders()) if isinstance(entry, Damaged)]

    def remove(self, keys: Iterable[str]) -> list[Path]:
        """Remove entries, damaged ones too, by their keys or the beginnings of them.

        Nothing but their own files is touched.

        Returns:
            The folders they were in.

        Raises:
            InputError: a key is that of no entry.
            OutputError: a file cannot be removed.
        """
        folders = self.folders()
        chosen = {}
        for key in keys:
            found = [folder for folder in folders if key and folder.name.startswith(key)]
            if not found:
                raise InputError(
                    f"no entry {key!r} in {self.folder}",
                    expected="a key, or its beginning",
                    fix="list them: purescope cache ls",
                )
            chosen.update(dict.fromkeys(found))
        for folder in chosen:
            try:
                for path in _own_files(folder):
                    _clear(path)
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{folder} cannot be removed: {error}", fix="check its permissions") from error
            with suppress(OSError):  # somebody else's file keeps the folder
                folder.rmdir()
        return list(chosen)

    def folders(self) -> list[Path]:
        """The folder of every entry, whole or damaged, those last used first."""
        folders = [folder for kind in _KINDS for folder in (self.folder / kind).glob("*") if _own_files(folder)]
        return sorted(folders, key=_last_used, reverse=True)


def size_on_disk(folder: Path) -> int:
    """Bytes of an entry, whole or damaged."""
    total = 0
    for path in _own_files(folder):
        with suppress(OSError):  # another process has removed it
            total += path.stat().st_size
    return total


def split(rows: range, length: int) -> list[range]:
    """Consecutive parts of a range, all but the last of one length.

    Examples:
        >>> split(range(5), 2)
        [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(first, min(first + length, rows.stop)) for first in range(rows.start, rows.stop, length)]


def _key(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _read_entry(folder: Path) -> Entry | Damaged:
    """The entry in a folder, if its manifest is the very one that the folder is named after."""
    try:
        content = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        named = {name: content[name] for name in ("version", "kind", "rows", "neurons", "identity")}
        about = content["about"]
        if _key(named) != folder.name or named["kind"] != folder.parent.name:
            return Damaged(folder, "its key does not fit")
        if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
            return Damaged(folder, "it does not say what it is about")
        return Entry(folder, named["kind"], named["rows"], named["neurons"], named["identity"], about)
    except (FileNotFoundError, NotADirectoryError):
        return Damaged(folder, _GONE)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        return Damaged(folder, f"{type(error).__name__}: {error}")


def _own_files(folder: Path) -> list[Path]:
    return [path for pattern in _OWN for path in folder.glob(pattern)]


def _last_used(folder: Path) -> float:
    try:
        return (folder / _MANIFEST).stat().st_mtime
    except OSError:
        return 0.0


def _clear(path: Path) -> None:
    """Remove a folder that stands where a file of ours belongs."""
    if path.is_dir():
        shutil.rmtree(path)
