"""Check which files a dataset makes `datasets` open: those of its README and those of its folder.

`datasets` resolves ``data_files`` with fsspec. That reads any path, asks any address, and knows
schemes that put environment variables into the addresses they ask. So only patterns of files beside
the README are allowed.

In a folder that it has saved, `datasets` opens the files that ``state.json`` names, whatever their
paths, and follows every link. So such folders are checked before anything in them is opened.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from purescope.datasets.folder import is_system_folder
from purescope.files.reading import open_regular, open_whole, read_bytes, read_json
from purescope.specs import is_inside

CARDS = ("README.md", ".huggingface.yaml")
READERS = ("parquet", "csv", "json", "arrow", "imagefolder", "webdataset")
"""The readers of `datasets` that can give images with classes, and read only their own files."""

_TEXTS = ("description", "features")  # class names may have colons; they are not paths
_PREPARED = "cache"  # the reader of what was prepared before
_MAX_VALUES = 100_000
_HUB = "hf://datasets/"


def check_cards(cards: Iterable[Path]) -> None:
    """Refuse a README, or its YAML equivalent, that leads to files elsewhere than beside it.

    Raises:
        OSError, ValueError: a card leads elsewhere; the message says where. Other errors come from
            damaged files.
    """
    for card in cards:
        if not os.path.lexists(card):
            continue
        read_bytes(card)  # refuses what is not a regular file, or is too large
        configs = _read_configs(card)
        for config in configs if isinstance(configs, list) else [configs]:
            for key, value in config.items() if isinstance(config, dict) else [("", config)]:
                if key not in _TEXTS:
                    _check_value(card, str(key), value)


def check_builder(builder: Any, folder: Path | None) -> list[Path]:
    """Refuse readers of other formats, and files outside the folder or outside the repository.

    Args:
        builder: a `datasets.DatasetBuilder` that has found its files and read none of them.
        folder: the local folder; None for a repository of the hub.

    Returns:
        The local files that the builder will open.

    Raises:
        OSError, ValueError: as `check_cards`.
    """
    reader = reader_of(builder)
    is_packaged = type(builder).__module__.startswith("datasets.packaged_modules.")
    if not is_packaged or reader not in (*READERS, _PREPARED):
        raise ValueError(f"its files are those of {reader}; those of {', '.join(READERS)} are read")
    files = [str(file) for files in (builder.config.data_files or {}).values() for file in files]
    if folder is None:
        for file in files:
            if not file.startswith(_HUB) or "::" in file or ".." in file.split("/"):
                raise ValueError(f"it leads to {file}, which is not in its repository")
        return []
    for file in files:
        may_link = _is_image(file, reader)
        if "::" in file or "://" in file or not _lies_in(Path(file), folder, may_link=may_link):
            raise ValueError(f"it leads to {file}, which is not in its folder")
    return [Path(file) for file in files if not _is_image(file, reader)]


def reader_of(builder: Any) -> str:
    """Return the name that `datasets` gives to a builder, such as parquet."""
    return type(builder).__module__.rpartition(".")[2]


def _read_configs(card: Path) -> Any:
    """Read the configurations as `datasets` does, with its own reader."""
    if card.suffix == ".md":
        from huggingface_hub import DatasetCard

        data = DatasetCard.load(card, ignore_metadata_errors=False).data.to_dict()
    else:
        import yaml  # type: ignore[import-untyped]

        data = yaml.safe_load(card.read_text(encoding="utf-8")) or {}
    return data.get("configs") or [] if isinstance(data, dict) else []


def _check_value(card: Path, key: str, value: Any) -> None:
    holds_paths = key in ("data_files", "data_dir")
    for text in _all_texts(value):
        # Other values may have a colon, such as a separator of columns; only files have paths.
        if "::" in text or "://" in text or (holds_paths and not _stays_below(text)):
            raise ValueError(f"{key} in {card.name} leads to {text}, which is no file beside it")


def _all_texts(value: Any) -> Iterator[str]:
    """Yield all texts in a YAML value, which may hold one list many times, and even itself."""
    waiting, count = [value], 0
    while waiting:
        count += 1
        item = waiting.pop()
        is_list = isinstance(item, list | tuple | set)
        if count > _MAX_VALUES or (is_list and len(item) > _MAX_VALUES):
            raise ValueError(f"a configuration has more than {_MAX_VALUES:,} values")
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif is_list:
            waiting += item


def _stays_below(pattern: str) -> bool:
    """Tell whether a pattern of files is relative and leads nowhere but down.

    Examples:
        >>> _stays_below("data/test-*.parquet")
        True
        >>> [_stays_below(path) for path in ("/etc/x.csv", "~/x.csv", "../x.csv", "zip://x::y")]
        [False, False, False, False]
    """
    return not pattern or (is_inside(pattern) and ":" not in pattern)


def _is_image(file: str, reader: str) -> bool:
    """Tell whether a file is an image that only we open, as the images of ``folder:``."""
    if reader != "imagefolder":
        return False
    from datasets.packaged_modules.imagefolder import imagefolder  # type: ignore[import-untyped]

    return Path(file).suffix.lower() in imagefolder.ImageFolder.EXTENSIONS


def _lies_in(file: Path, folder: Path, *, may_link: bool) -> bool:
    """Tell whether a file is in a folder.

    Args:
        file: its path.
        folder: the folder.
        may_link: whether the file may be a link that leads out. Other links may only lead to
            ``blobs``, where the cache of the hub keeps the files of a snapshot.
    """
    if not is_below(file, [folder]):
        return False
    real = folder.resolve()
    blobs = [parent.parent / "blobs" for parent in real.parents if _is_snapshots_folder(parent)]
    return may_link or is_below(file.resolve(), [real, *blobs])


def _is_snapshots_folder(folder: Path) -> bool:
    """Tell whether a folder holds the snapshots of a repository in the hub's cache."""
    return folder.name == "snapshots" and folder.parent.name.startswith("datasets--")


def is_below(file: Path, folders: Iterable[Path]) -> bool:
    """Tell whether a path leads down from one of these folders; links are not followed.

    Examples:
        >>> is_below(Path("/data/pets/../x.png"), [Path("/data/pets")])
        False
        >>> is_below(Path("/data/x"), [Path("/data")])
        True
    """
    path = Path(os.path.abspath(file))  # noqa: PTH100 pathlib would leave ".." as it is
    return any(path.is_relative_to(os.path.abspath(folder)) for folder in folders)  # noqa: PTH100


# The endings of files that hold rows and images.
_STORED = (".arrow", ".parquet", ".tar", ".zip", ".csv", ".jsonl")
_SMALL = 1024  # bytes; a pointer of git-lfs has about 130
DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"


def is_saved(folder: Path) -> bool:
    """Tell whether `save_to_disk` has written this folder."""
    return any(os.path.lexists(folder / file) for file in (DICT, STATE))


def check_folder(folder: Path) -> None:
    """Refuse a folder that leads out of itself where it must not, or that cannot be walked.

    Raises:
        OSError, ValueError: the folder is refused; the message says where the fault is.
    """
    _check_entries(folder)
    if is_saved(folder):
        for split in _split_folders(folder):
            _check_split(folder, split)


def _check_entries(folder: Path) -> None:
    """Refuse pipes, devices, folders of the system, pointers of git-lfs and endless links.

    A link to a folder that is walked anyway would be followed without an end.
    """
    real = folder.resolve()
    folder_ids = {_file_id(path) for path in (real, *real.parents)}
    links = []
    for parent, names, _ in os.walk(real, onerror=_raise):
        folder_ids.add(_file_id(Path(parent)))
        for name in names:
            # `datasets` itself leaves out those with two underscores.
            if is_system_folder(name) and not name.startswith("__"):
                raise ValueError(
                    f"{Path(parent) / name} is made by a system, and its files would be read: "
                    "remove it"
                )
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_symlink():
                    links.append(Path(entry.path))
                elif not entry.is_dir() and not entry.is_file():
                    raise ValueError(f"{entry.path} is not a regular file")
                elif entry.name.lower().endswith(_STORED) and entry.stat().st_size < _SMALL:
                    open_whole(Path(entry.path)).close()  # refuses a pointer
    for link in links:
        if link.is_dir() and _file_id(link) in folder_ids:
            raise ValueError(f"{link} is a link to a folder that it lies in, or beside")
        if link.exists() and not link.is_dir() and not link.is_file():
            raise ValueError(f"{link} is not a regular file")


def _split_folders(folder: Path) -> Iterator[Path]:
    """Yield the folder of each split; the folder itself where it has only one."""
    if not os.path.lexists(folder / DICT):
        yield folder
        return
    content = _read_object(folder / DICT)
    for name in _check_names(folder / DICT, content.get("splits"), "splits"):
        yield folder / name


def _check_split(folder: Path, split: Path) -> None:
    state = _read_object(split / STATE)
    _read_object(split / INFO)
    for key in ("_data_files", "_indices_data_files"):
        entries = state.get(key)
        if entries is None and key == "_indices_data_files":  # rows are in the order of the files
            continue
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{key} in {split / STATE} is not a list of files")
        for name in _check_names(split / STATE, [entry.get("filename") for entry in entries], key):
            if not (split / name).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{split / name} is a link that leads out of the folder")
            open_regular(split / name).close()


def _read_object(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} does not hold a JSON object")
    return content


def _check_names(file: Path, names: Any, key: str) -> list[str]:
    """Return names of files that lie beside `file`; refuse any other paths."""
    if not isinstance(names, list):
        raise ValueError(f"{key} in {file} is not a list")
    for name in names:
        is_name = isinstance(name, str) and name not in ("", ".", "..")
        if not is_name or set(name) & {"/", "\\", ":", "\0"}:
            raise ValueError(f"{file} names {name!r}, which is no file in its folder")
    return names


def _file_id(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _raise(error: OSError) -> None:
    raise error
