"""Features on disk, so that nothing is encoded twice and an interrupted encoding goes on where it
stopped.

An entry holds the features of one tower: of images, for one model, preprocess, precision and set of
images; of classes, for one model, precision and set of prompts. What its numbers depend on is its
key, so a changed checkpoint or prompt is another entry, and names and paths are no part of it::

    CACHE/images/KEY/manifest.json         what the key stands for, how many rows there are
    CACHE/images/KEY/00000.safetensors     rows 0 to 1023, with a checksum
    CACHE/text/KEY/...

A shard appears whole, by a rename, or not at all. Whoever makes one holds its lock, so that
processes share the work of an entry; the system takes the lock of a killed process back. A damaged
shard or manifest is made again.

Of an entry, what is missing is encoded, shared with other processes, and stored (`complete`).
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
    """``$PURESCOPE_CACHE``, or purescope's folder among the platform's caches.

    Raises:
        OutputError: none is named, and this user has no home.
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
        folder: where; made when something is stored.

    Examples:
        >>> import tempfile, torch
        >>> folder = tempfile.TemporaryDirectory()
        >>> cache = Cache(folder.name)
        >>> entry = cache.entry("text", {"weights": "5f3a"}, rows=2, neurons=3)
        >>> entry.write(range(0, 2), torch.eye(2, 3))
        >>> [found.rows for found in cache.entries()], entry.read(range(0, 2)).shape
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
        """The entry of this identity, new if there is none.

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
            found = read_entry(entry.folder)
        except PermissionError as error:
            found = Damaged(entry.folder, reason(error))
        if isinstance(found, Entry):
            with suppress(OSError):  # when it was last used; a read-only cache does not tell
                os.utime(manifest)
            return entry
        if found.why != GONE:
            warnings.warn(f"{manifest} is damaged and made again: {found.why}", stacklevel=2)
        try:
            clear(manifest)
            with atomic_path(manifest) as temporary:
                temporary.write_text(
                    json.dumps(content | {"about": entry.about}, indent=1), encoding="utf-8"
                )
        except (OSError, OutputError) as error:
            raise OutputError(
                f"the cache {self.folder} cannot be written: {reason(error)}", fix=REMEDY
            ) from error
        return entry

    def entries(self) -> list[Entry]:
        """All whole entries, those last used first.

        Raises:
            InputError: a folder or a manifest may not be read.
        """
        return [entry for entry in self._all() if isinstance(entry, Entry)]

    def damaged(self) -> list[Damaged]:
        """All entries whose manifest cannot be used; what they held is encoded again when it is
        needed.

        Raises:
            InputError: a folder or a manifest may not be read.
        """
        return [entry for entry in self._all() if isinstance(entry, Damaged)]

    def _all(self) -> list[Entry | Damaged]:
        found = []
        for folder in self.folders():
            try:
                found.append(read_entry(folder))
            except PermissionError as error:
                raise unreadable(folder / MANIFEST, error) from error
        return found

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
                for path in own_files(folder):
                    clear(path)
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(
                    f"{folder} cannot be removed: {reason(error)}", fix="check its permissions"
                ) from error
            with suppress(OSError):  # somebody else's file keeps the folder
                folder.rmdir()
        return list(chosen)

    def folders(self) -> list[Path]:
        """The folder of every entry, whole or damaged, those last used first.

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
    """All rows of an entry: from its shards where they are there, else encoded and stored.

    Args:
        entry: where to look and to store.
        encode: gives the features of batches of rows, in order; reads ahead of what is asked for as
            it likes.
        batch: rows of a batch; none crosses a shard, so an interrupted encoding gives the same bits
            as another.
        progress: wraps the batches that must be encoded, given their number.

    Raises:
        OutputError: the cache cannot be written.
    """
    found = {shard: rows for shard in entry.shards if (rows := entry.read(shard)) is not None}
    missing = [shard for shard in entry.shards if shard not in found]
    others: list[range] = []  # shards that another process is making
    pending: deque[tuple[range, range]] = deque()  # shard and rows of batches that were handed out

    with ExitStack() as held:
        locks: dict[range, filelock.BaseFileLock] = {}

        def batches() -> Iterator[range]:
            for shard in missing:
                if not _try(lock := entry.lock(shard)):
                    others.append(shard)
                    continue
                held.callback(lock.release)
                if (rows := entry.read(shard)) is not None:  # made by another process meanwhile
                    found[shard] = rows
                    lock.release()
                    continue
                locks[shard] = lock
                for part in split(shard, batch):
                    pending.append((shard, part))
                    yield part

        parts: list[Tensor] = []
        total = sum(len(split(shard, batch)) for shard in missing)
        for rows in progress(encode(batches()), total):
            shard, part = pending.popleft()
            parts.append(rows)
            if part.stop == shard.stop:
                found[shard], parts = torch.cat(parts), []
                entry.write(shard, found[shard])
                locks.pop(shard).release()
    for shard in others:
        with entry.lock(shard):
            rows_there = entry.read(shard)
            if rows_there is None:  # whoever was making it was stopped
                rows_there = torch.cat([*encode(split(shard, batch))])
                entry.write(shard, rows_there)
            found[shard] = rows_there
    return torch.cat([found[shard] for shard in entry.shards])


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
