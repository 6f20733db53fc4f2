"""One entry of the cache: the features of one tower, in shards, each with a checksum.

Which files of a cache's folder are its own is told here, too: nothing else in there is ever
touched.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import filelock
import safetensors
import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor

from purescope.errors import InputError, OutputError, PurescopeError
from purescope.files.reading import read_bytes, read_json
from purescope.files.writing import unfinished, write_bytes

MANIFEST = "manifest.json"

_OWN = (
    MANIFEST,
    unfinished(MANIFEST),
    "[0-9]*.safetensors",
    unfinished("[0-9]*.safetensors"),
    "[0-9]*.lock",
    ".tmp??????",  # what safetensors leaves of a shard where a version before this one was killed
)
_KEY = re.compile(r"[0-9a-f]{32}")  # what the folder of an entry is called


def entry_folders(folder: Path) -> list[Path]:
    """The folders of a cache's folder that are called as entries are.

    Raises:
        InputError: it cannot be read.
    """
    return _listed(folder, lambda entry: bool(_KEY.fullmatch(entry.name)) and entry.is_dir())


def own_files(folder: Path) -> list[Path]:
    """The files of an entry, whole or damaged.

    Raises:
        InputError: its folder cannot be read.
    """
    return _listed(folder, lambda entry: any(fnmatchcase(entry.name, pattern) for pattern in _OWN))


def size_on_disk(folder: Path) -> int:
    """Bytes of an entry, whole or damaged.

    Raises:
        InputError: its folder cannot be read.
    """
    total = 0
    for path in own_files(folder):
        with suppress(OSError):  # another process has removed it
            total += path.lstat().st_size
    return total


def clear(path: Path) -> None:
    """Remove a folder that stands where a file of ours belongs."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def unreadable(path: Path, error: OSError) -> InputError:
    """What to say of a part of the cache that cannot be read."""
    return InputError(
        f"the cache cannot be read: {path}: {error.strerror or error}",
        fix="check its permissions, or give another folder: --cache DIR",
    )


def _listed(folder: Path, fits: Callable[[os.DirEntry[str]], bool]) -> list[Path]:
    """What fits in a folder, by names; nothing where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if fits(entry))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error


REMEDY = "give another folder (--cache DIR, cache='DIR'), or none at all (--no-cache, cache=None)"
GONE = "it has no manifest"

_VERSION = 1  # of what stands in the files; part of every key
_SHARD = 1024  # rows; at most so much is lost by a kill
_HEADER = 10_000  # bytes that a shard has beside its rows, at most
_MOST = {"rows": 10**9, "neurons": 10**6}  # that an entry can have: more is no entry
_KEYED = ("version", "kind", "rows", "neurons", "identity")
# What comes out of a shard that is damaged, whatever the damage is.
_DAMAGE = (safetensors.SafetensorError, OSError, ValueError, LookupError, TypeError, RecursionError)


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

    @property
    def present(self) -> list[range]:
        """The rows of each shard for which there is a file, whatever is in it."""
        numbers = (
            re.fullmatch(r"(\d{5,7})\.safetensors", path.name) for path in own_files(self.folder)
        )
        firsts = sorted({_SHARD * int(number[1]) for number in numbers if number})
        return [
            range(first, min(first + _SHARD, self.rows)) for first in firsts if first < self.rows
        ]

    def read(self, shard: range) -> Float[Tensor, "row neuron"] | None:
        """The rows of a shard; None where it is not there, or is damaged, with a warning then."""
        path = self._path(shard)
        if not self.is_there(shard):
            return None
        try:
            return self._rows(shard)
        except _DAMAGE as error:
            damage = getattr(error, "strerror", None) or error
        warnings.warn(f"{path} is damaged and made again: {damage}", stacklevel=2)
        return None

    def _rows(self, shard: range) -> Float[Tensor, "row neuron"]:
        content = read_bytes(self._path(shard), most=4 * len(shard) * self.neurons + _HEADER)
        rows: Tensor = load(content)["rows"]
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])[
            "__metadata__"
        ]
        if metadata["checksum"] != self._checksum(shard, rows):
            raise ValueError("its checksum does not fit")
        return rows

    def write(self, shard: range, rows: Float[Tensor, "row neuron"]) -> None:
        """Store the rows of a shard, whose lock is held, and remove what a killed process had begun
        of it.

        Raises:
            OutputError: the disk does not take it.
        """
        try:
            clear(self._path(shard))
            for path in self.folder.glob(unfinished(self._path(shard).name)):
                path.unlink(missing_ok=True)
            # Not `save_file`, which writes into a file of its own beside this one, and leaves it
            # there when killed.
            content = save({"rows": rows.contiguous()}, {"checksum": self._checksum(shard, rows)})
            write_bytes(content, self._path(shard))
        except (OSError, OutputError, safetensors.SafetensorError) as error:
            raise OutputError(
                f"the cache does not take {self._path(shard)}: {reason(error)}", fix=REMEDY
            ) from error

    def lock(self, shard: range) -> filelock.BaseFileLock:
        """To be held while a shard is made."""
        return filelock.FileLock(self._path(shard).with_suffix(".lock"))

    def is_damaged(self, shard: range) -> bool:
        """Whether a shard is there and cannot be used.

        Raises:
            InputError: it may not be read, so nobody knows.
        """
        try:
            self._rows(shard)
        except FileNotFoundError:
            return os.path.lexists(self._path(shard))
        except PermissionError as error:
            raise unreadable(self._path(shard), error) from error
        except _DAMAGE:
            return True
        return False

    def is_there(self, shard: range) -> bool:
        """Whether there is a file for a shard, whatever is in it."""
        return os.path.lexists(self._path(shard))

    def _path(self, shard: range) -> Path:
        return self.folder / f"{shard.start // _SHARD:05d}.safetensors"

    def _checksum(self, shard: range, rows: Tensor) -> str:
        digest = hashlib.sha256(
            f"{self.folder.name} {shard.start} {rows.dtype} {list(rows.shape)}\n".encode()
        )
        expected = [len(shard), self.neurons]
        if rows.dtype != torch.float32 or list(rows.shape) != expected:
            raise ValueError(
                f"{rows.dtype} of shape {list(rows.shape)} in place of float32 {expected}"
            )
        digest.update(rows.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Damaged:
    """What is no entry any more: its manifest is gone, or is not the one that its key was made of;
    and why.
    """

    folder: Path
    why: str


def split(rows: range, length: int) -> list[range]:
    """Consecutive parts of a range, all but the last of one length.

    Examples:
        >>> split(range(5), 2)
        [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [
        range(first, min(first + length, rows.stop))
        for first in range(rows.start, rows.stop, length)
    ]


def content_of(
    kind: str, identity: Mapping[str, str], *, rows: int, neurons: int
) -> dict[str, Any]:
    """What the manifest of an entry says, as far as it is part of its key."""
    return {
        "version": _VERSION,
        "kind": kind,
        "rows": rows,
        "neurons": neurons,
        "identity": dict(identity),
    }


def key_of(content: Mapping[str, Any]) -> str:
    """The key of an entry, after which its folder is called."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def read_entry(folder: Path) -> Entry | Damaged:
    """The entry in a folder, if its manifest is the very one that the folder is named after.

    Raises:
        PermissionError: it may not be read.
    """
    try:
        content = read_json(folder / MANIFEST)
        named = {name: content[name] for name in _KEYED}
        about = content["about"]
        if key_of(named) != folder.name or named["kind"] != folder.parent.name:
            return Damaged(folder, "its key does not fit")
        for name, most in _MOST.items():
            if type(named[name]) is not int or not 1 <= named[name] <= most:
                return Damaged(folder, f"it has {named[name]!r} {name}")
        if not _are_texts(about) or not _are_texts(named["identity"]):
            return Damaged(folder, "it does not say what it is about")
        return Entry(
            folder, named["kind"], named["rows"], named["neurons"], named["identity"], about
        )
    except (FileNotFoundError, NotADirectoryError):
        return Damaged(folder, GONE)
    except PermissionError:
        raise
    except (OSError, ValueError, LookupError, TypeError) as error:
        return Damaged(folder, f"{type(error).__name__}: {reason(error)}")


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def reason(error: Exception) -> str:
    """What happened, without the advice that fits another place."""
    return (
        error.came
        if isinstance(error, PurescopeError)
        else str(getattr(error, "strerror", None) or error)
    )
