"""A cache entry from what is there of it: what is missing is encoded, shared with other processes, and stored."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import filelock
import torch
from jaxtyping import Float
from torch import Tensor

from purescope.errors import OutputError
from purescope.features._entry import REMEDY, Entry, split


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
        encode: gives the features of batches of rows, in order; reads ahead of what is asked for as it likes.
        batch: rows of a batch; none crosses a shard, so an interrupted encoding gives the same bits as another.
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
        raise OutputError(f"the cache cannot be written: {error.strerror or error}", fix=REMEDY) from error
    return True
