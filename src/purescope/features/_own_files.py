"""Which files of a cache's folder are its own: nothing else in there is ever touched."""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from purescope.errors import InputError
from purescope.files.writing import unfinished

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
