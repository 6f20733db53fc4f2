"""Keep features on disk, so that nothing is encoded twice and an interrupted encoding continues.

An entry holds the features of one tower: of images, for one model, preprocess, precision and set of
images; of classes, for one model, precision and set of prompts. Its key is a hash of everything
that its numbers depend on, so a changed checkpoint or prompt has another entry. Names and paths are
not part of the key::

    CACHE/images/KEY/manifest.json         the content of the key, the number of rows
    CACHE/images/KEY/00000.safetensors     rows 0 to 1023, with a checksum
    CACHE/text/KEY/...

A shard appears whole, by a rename, or not at all. The process that makes a shard holds its lock, so
that processes share the work of an entry; the system releases the lock of a killed process. A
damaged shard or manifest is made again. `complete` encodes and stores the missing shards of an
entry.
"""

import json
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import filelock
import platformdirs
import torch
from jaxtyping import Float
from torch import Tensor

from purescope.errors import InputError, OutputError
from purescope.features.entry import (
    GONE,
    MANIFEST,
    REMEDY,
    Damaged,
    Entry,
    clear,
    content_of,
    entry_folders,
    key_of,
    own_files,
    read_entry,
    reason,
    split,
    unreadable,
)
from purescope.files.writing import atomic_path
from purescope.specs import to_path

_KINDS = ("images", "text")


def default_folder() -> Path:
    """Return ``$PURESCOPE_CACHE``, or purescope's folder among the platform's caches.

    Raises:
        OutputError: the variable is not set, and this user has no home folder.
    """
    try:
        folder = Path(
            os.environ.get("PURESCOPE_CACHE")
            or platformdirs.user_cache_dir("purescope", appauthor=False)
        )
    except (KeyError, RuntimeError) as error:  # in a container whose user has no name
        raise OutputError("this user has no home folder for a cache", fix=REMEDY) from error
    return folder


class Cache:
    """A folder of entries.

    Args:
        folder: path of the folder; it is made when something is stored.

    Examples:
        >>> import tempfile, torch
        >>> folder = tempfile.TemporaryDirectory()
        >>> cache = Cache(folder.name)
        >>> entry = cache.entry("text", {"weights": "5f3a"}, rows=2, neurons=3)
        >>> entry.write(range(0, 2), torch.eye(2, 3))
        >>> [entry.rows for entry in cache.entries()], entry.read(range(0, 2)).shape
        ([2], torch.Size([2, 3]))
        >>> folder.cleanup()
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = to_path(folder)

    def entry(
        self,
        kind: str,
        identity: Mapping[str, str],
        *,
        rows: int,
        neurons: int,
        about: Mapping[str, str] | None = None,
    ) -> Entry:
        """Return the entry of this identity, or make a new one.

        Raises:
            OutputError: the folder cannot be written.
        """
        content = content_of(kind, identity, rows=rows, neurons=neurons)
        entry = Entry(
            self.folder / kind / key_of(content),
            kind,
            rows,
            neurons,
            dict(identity),
            dict(about or {}),
        )
        manifest = entry.folder / MANIFEST
        try:
            existing = read_entry(entry.folder)
        except PermissionError as error:
            existing = Damaged(entry.folder, reason(error))
        if isinstance(existing, Entry):
            with suppress(OSError):  # the time of the last use; a read-only cache does not keep it
                os.utime(manifest)
            return entry
        if existing.why != GONE:
            warnings.warn(f"{manifest} is damaged and made again: {existing.why}", stacklevel=2)
        try:
            clear(manifest)
            with atomic_path(manifest) as temporary:
                text = json.dumps(content | {"about": entry.about}, indent=1)
                temporary.write_text(text, encoding="utf-8")
        except (OSError, OutputError) as error:
            raise OutputError(
                f"the cache {self.folder} cannot be written: {reason(error)}", fix=REMEDY
            ) from error
        return entry

    def entries(self) -> list[Entry]:
        """Return all whole entries, the last used first.

        Raises:
            InputError: a folder or a manifest may not be read.
        """
        return [entry for entry in self._all() if isinstance(entry, Entry)]

    def damaged(self) -> list[Damaged]:
        """Return all entries whose manifest cannot be used.

        Their features are encoded again when they are needed.

        Raises:
            InputError: a folder or a manifest may not be read.
        """
        return [entry for entry in self._all() if isinstance(entry, Damaged)]

    def _all(self) -> list[Entry | Damaged]:
        entries = []
        for folder in self.folders():
            try:
                entries.append(read_entry(folder))
            except PermissionError as error:
                raise unreadable(folder / MANIFEST, error) from error
        return entries

    def remove(self, keys: Iterable[str]) -> list[Path]:
        """Remove entries, damaged ones too, by their keys or the beginnings of their keys.

        Only the files of these entries are touched.

        Returns:
            The folders of the entries.

        Raises:
            InputError: there is no entry of a key.
            OutputError: a file cannot be removed.
        """
        folders = self.folders()
        chosen = {}
        for key in keys:
            matches = [folder for folder in folders if key and folder.name.startswith(key)]
            if not matches:
                raise InputError(
                    f"no entry {key!r} in {self.folder}",
                    expected="a key, or its beginning",
                    fix="list them: purescope cache ls",
                )
            chosen.update(dict.fromkeys(matches))
        for folder in chosen:
            try:
                for path in own_files(folder):
                    clear(path)
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(
                    f"{folder} cannot be removed: {reason(error)}", fix="check its permissions"
                ) from error
            with suppress(OSError):  # the folder stays if it holds files of others
                folder.rmdir()
        return list(chosen)

    def folders(self) -> list[Path]:
        """Return the folder of every entry, whole or damaged, the last used first.

        Raises:
            InputError: the cache may not be read.
        """
        folders = [
            folder
            for kind in _KINDS
            for folder in entry_folders(self.folder / kind)
            if own_files(folder)
        ]
        return sorted(folders, key=_last_used, reverse=True)


def _last_used(folder: Path) -> float:
    try:
        return (folder / MANIFEST).stat().st_mtime
    except OSError:
        return 0.0


def complete(
    entry: Entry,
    encode: Callable[[Iterable[range]], Iterator[Float[Tensor, "n neuron"]]],
    *,
    batch: int,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda iterable, total: iterable,
) -> Float[Tensor, "row neuron"]:
    """Return all rows of an entry: existing shards are read, missing ones encoded and stored.

    Args:
        entry: the entry to complete.
        encode: returns the features of batches of rows, in order; it may read batches ahead.
        batch: rows in a batch; no batch crosses a shard, so an interrupted encoding has the same
            bits as another.
        progress: wraps the batches that have to be encoded, given their number.

    Raises:
        OutputError: the cache cannot be written.
    """
    shards = {shard: rows for shard in entry.shards if (rows := entry.read(shard)) is not None}
    missing = [shard for shard in entry.shards if shard not in shards]
    others: list[range] = []  # shards that another process is making
    pending: deque[tuple[range, range]] = deque()  # shard and rows of each batch not yet encoded

    with ExitStack() as held:
        locks: dict[range, filelock.BaseFileLock] = {}

        def batches() -> Iterator[range]:
            for shard in missing:
                if not _try(lock := entry.lock(shard)):
                    others.append(shard)
                    continue
                held.callback(lock.release)
                if (rows := entry.read(shard)) is not None:  # made by another process meanwhile
                    shards[shard] = rows
                    lock.release()
                    continue
                locks[shard] = lock
                for batch_rows in split(shard, batch):
                    pending.append((shard, batch_rows))
                    yield batch_rows

        encoded: list[Tensor] = []
        total = sum(len(split(shard, batch)) for shard in missing)
        for features in progress(encode(batches()), total):
            shard, batch_rows = pending.popleft()
            encoded.append(features)
            if batch_rows.stop == shard.stop:
                shards[shard], encoded = torch.cat(encoded), []
                entry.write(shard, shards[shard])
                locks.pop(shard).release()
    for shard in others:
        with entry.lock(shard):
            rows = entry.read(shard)
            if rows is None:  # the process that was making it was stopped
                rows = torch.cat([*encode(split(shard, batch))])
                entry.write(shard, rows)
            shards[shard] = rows
    return torch.cat([shards[shard] for shard in entry.shards])


def _try(lock: filelock.BaseFileLock) -> bool:
    """Take a lock if it is free.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return False
    except OSError as error:
        raise OutputError(
            f"the cache cannot be written: {error.strerror or error}", fix=REMEDY
        ) from error
    return True
