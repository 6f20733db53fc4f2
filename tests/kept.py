"""Features are encoded once for all tests, in the cache that tests/conftest.py makes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from shutil import copyfile
from typing import Any

import pytest
from jaxtyping import Float
from torch import Tensor

from purescope.features.cache import Cache, default_folder
from purescope.features.entry import Entry


@contextmanager
def keeping() -> Iterator[None]:
    """Whatever cache is named, fill its entries from the tests' own, and that one from them.

    A test that names another cache is of commands that list and clear it. An entry's key is of
    everything that its numbers depend on.
    """
    own, make, write = Cache(default_folder()), Cache.entry, Entry.write

    def filled(cache: Cache, kind: str, identity: Mapping[str, str], **of: Any) -> Entry:
        entry = make(cache, kind, identity, **of)
        for file in (own.folder / kind / entry.folder.name).glob("[0-9]*.safetensors"):
            if not (entry.folder / file.name).exists():
                copyfile(file, entry.folder / file.name)
        return entry

    def written(entry: Entry, shard: range, rows: Float[Tensor, "row neuron"]) -> None:
        write(entry, shard, rows)
        kept = make(own, entry.kind, entry.identity, rows=entry.rows, neurons=entry.neurons)
        with kept.lock(shard):
            if not kept.has(shard):
                write(kept, shard, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cache, "entry", filled)
        patch.setattr(Entry, "write", written)
        yield
