"""Read and write one entry of the cache: the features of one tower, in shards with checksums.

This module also says which files in a cache's folder are its own. No other file there is ever
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
    ".tmp??????",  # temporary files of safetensors, when an earlier version was killed
)
_KEY = re.compile(r"[0-9a-f]{32}")  # the name of an entry's folder


def entry_folders(folder: Path) -> list[Path]:
    """Return the folders in a cache's folder that are named as entries are.

    Raises:
        InputError: the folder cannot be read.
    """
    return _listed(folder, lambda entry: bool(_KEY.fullmatch(entry.name)) and entry.is_dir())


def own_files(folder: Path) -> list[Path]:
    """Return the files of an entry, whole or damaged.

    Raises:
        InputError: its folder cannot be read.
    """
    return _listed(folder, lambda entry: any(fnmatchcase(entry.name, pattern) for pattern in _OWN))


def size_on_disk(folder: Path) -> int:
    """Return the size of an entry in bytes, whole or damaged.

    Raises:
        InputError: its folder cannot be read.
    """
    total = 0
    for path in own_files(folder):
        with suppress(OSError):  # another process has removed it
            total += path.lstat().st_size
    return total


def clear(path: Path) -> None:
    """Remove a folder that has the path of a file of ours."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the error for a part of the cache that cannot be read."""
    return InputError(
        f"the cache cannot be read: {path}: {error.strerror or error}",
        fix="check its permissions, or give another folder: --cache DIR",
    )


def _listed(folder: Path, fits: Callable[[os.DirEntry[str]], bool]) -> list[Path]:
    """Return the entries of a folder that fit, sorted by name; none if there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries if fits(entry))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error


REMEDY = "give another folder (--cache DIR, cache='DIR'), or none at all (--no-cache, cache=None)"
GONE = "it has no manifest"

_VERSION = 1  # of the format of the files; part of every key
_SHARD = 1024  # rows; the most that is lost when a process is killed
_HEADER = 10_000  # the most bytes of a shard beside its rows
_MOST = {"rows": 10**9, "neurons": 10**6}  # an entry cannot have more
_KEYED = ("version", "kind", "rows", "neurons", "identity")
# The errors of reading a damaged shard, whatever the damage is.
_DAMAGE = (safetensors.SafetensorError, OSError, ValueError, LookupError, TypeError, RecursionError)


@dataclass(frozen=True)
class Entry:
    """The rows of one tower, in shards; see the module.

    Args:
        folder: its folder, whose name is the key.
        kind: "images" or "text".
        rows, neurons: shape of all shards together.
        identity: everything that the numbers depend on.
        about: names to show; not part of the key.
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
        """The rows of each shard that has a file, whatever its content."""
        numbers = (
            re.fullmatch(r"(\d{5,7})\.safetensors", path.name) for path in own_files(self.folder)
        )
        firsts = sorted({_SHARD * int(number[1]) for number in numbers if number})
        return [
            range(first, min(first + _SHARD, self.rows)) for first in firsts if first < self.rows
        ]

    def read(self, shard: range) -> Float[Tensor, "row neuron"] | None:
        """Return the rows of a shard; None if it is missing or damaged.

        Warns:
            UserWarning: the shard is damaged.
        """
        path = self._path(shard)
        if not self.has(shard):
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
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        if header["__metadata__"]["checksum"] != self._checksum(shard, rows):
            raise ValueError("its checksum does not fit")
        return rows

    def write(self, shard: range, rows: Float[Tensor, "row neuron"]) -> None:
        """Store the rows of a shard whose lock is held, and remove unfinished files of it.

        Raises:
            OutputError: the shard cannot be written.
        """
        try:
            clear(self._path(shard))
            for path in self.folder.glob(unfinished(self._path(shard).name)):
                path.unlink(missing_ok=True)
            # Not with `save_file`, whose temporary file remains when the process is killed.
            content = save({"rows": rows.contiguous()}, {"checksum": self._checksum(shard, rows)})
            write_bytes(content, self._path(shard))
        except (OSError, OutputError, safetensors.SafetensorError) as error:
            raise OutputError(
                f"the cache cannot store {self._path(shard)}: {reason(error)}", fix=REMEDY
            ) from error

    def lock(self, shard: range) -> filelock.BaseFileLock:
        """Return the lock that is held while a shard is made."""
        return filelock.FileLock(self._path(shard).with_suffix(".lock"))

    def is_damaged(self, shard: range) -> bool:
        """Tell whether a shard has a file that cannot be used.

        Raises:
            InputError: the file may not be read.
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

    def has(self, shard: range) -> bool:
        """Tell whether a shard has a file, whatever its content."""
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
    """An entry that cannot be used, because its manifest is missing or does not fit its key.

    Args:
        folder: its folder.
        why: what is wrong, for messages.
    """

    folder: Path
    why: str


def split(rows: range, length: int) -> list[range]:
    """Split a range into consecutive parts of one length; the last may be shorter.

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
    """Return the part of an entry's manifest that determines its key."""
    return {
        "version": _VERSION,
        "kind": kind,
        "rows": rows,
        "neurons": neurons,
        "identity": dict(identity),
    }


def key_of(content: Mapping[str, Any]) -> str:
    """Return the key of an entry, which is the name of its folder."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def read_entry(folder: Path) -> Entry | Damaged:
    """Return the entry in a folder, if the folder's name is the key of its manifest.

    Raises:
        PermissionError: the manifest may not be read.
    """
    try:
        content = read_json(folder / MANIFEST)
        keyed = {name: content[name] for name in _KEYED}
        about = content["about"]
        if key_of(keyed) != folder.name or keyed["kind"] != folder.parent.name:
            return Damaged(folder, "its key does not fit")
        for name, most in _MOST.items():
            if type(keyed[name]) is not int or not 1 <= keyed[name] <= most:
                return Damaged(folder, f"it has {keyed[name]!r} {name}")
        if not _are_texts(about) or not _are_texts(keyed["identity"]):
            return Damaged(folder, "its identity and names are no texts")
        return Entry(
            folder, keyed["kind"], keyed["rows"], keyed["neurons"], keyed["identity"], about
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
    """Return the message of an error, without a fix that is meant for another place."""
    if isinstance(error, PurescopeError):
        return error.came
    return str(getattr(error, "strerror", None) or error)
