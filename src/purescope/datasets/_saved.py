"""Folders that `datasets` is to read, looked at before it opens anything in them.

It opens the files that ``state.json`` names, whatever their paths, and follows every link.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from purescope.datasets._walk import is_system_folder
from purescope.files.reading import open_regular, open_whole, read_json

_STORED = (".arrow", ".parquet", ".tar", ".zip", ".csv", ".jsonl")  # what rows and images are kept in
_SMALL = 1024  # bytes; a pointer of git-lfs has about 130
DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` has written this folder."""
    return any(os.path.lexists(folder / file) for file in (DICT, STATE))


def check_folder(folder: Path) -> None:
    """Refuse a folder that leads out of itself where it should not, or holds what never ends.

    Raises:
        OSError, ValueError: it does; the message says where.
    """
    _check_kinds(folder)
    if is_saved(folder):
        for part in _parts(folder):
            _check_part(folder, part)


def _check_kinds(folder: Path) -> None:
    """Refuse pipes and devices, and links to a folder that is walked anyway: it would be walked without an end."""
    real = folder.resolve()
    folders = {_id_of(path) for path in (real, *real.parents)}
    links = []
    for parent, names, _ in os.walk(real, onerror=_raise):
        folders.add(_id_of(Path(parent)))
        # Those with two underscores `datasets` leaves out itself.
        made = next((name for name in names if is_system_folder(name) and not name.startswith("__")), None)
        if made is not None:
            raise ValueError(f"{Path(parent) / made} is made by a system, and its files would be read: remove it")
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_symlink():
                    links.append(Path(entry.path))
                elif not entry.is_dir() and not entry.is_file():
                    raise ValueError(f"{entry.path} is not a regular file")
                elif entry.name.lower().endswith(_STORED) and entry.stat().st_size < _SMALL:
                    open_whole(Path(entry.path)).close()
    for link in links:
        if link.is_dir() and _id_of(link) in folders:
            raise ValueError(f"{link} is a link to a folder that it lies in, or beside")
        if link.exists() and not link.is_dir() and not link.is_file():
            raise ValueError(f"{link} is not a regular file")


def _parts(folder: Path) -> Iterator[Path]:
    """The folder of each split; the folder itself where it is one."""
    if not os.path.lexists(folder / DICT):
        yield folder
        return
    content = _object(folder / DICT)
    for name in _names(folder / DICT, content.get("splits"), "splits"):
        yield folder / name


def _check_part(folder: Path, part: Path) -> None:
    state = _object(part / STATE)
    _object(part / INFO)
    for key in ("_data_files", "_indices_data_files"):
        entries = state.get(key)
        if entries is None and key != "_data_files":  # there is none where rows stand as they were written
            continue
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{key} in {part / STATE} is no list of files")
        for name in _names(part / STATE, [entry.get("filename") for entry in entries], key):
            if not (part / name).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{part / name} is a link that leads out of the folder")
            open_regular(part / name).close()


def _object(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no object")
    return content


def _names(file: Path, names: Any, key: str) -> list[str]:
    """Names of what lies beside a file, and nowhere else."""
    if not isinstance(names, list):
        raise ValueError(f"{key} in {file} is no list")
    for name in names:
        if not isinstance(name, str) or name in ("", ".", "..") or set(name) & {"/", "\\", ":", "\0"}:
            raise ValueError(f"{file} names {name!r}, which is no file in its folder")
    return names


def _id_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _raise(error: OSError) -> None:
    raise error
