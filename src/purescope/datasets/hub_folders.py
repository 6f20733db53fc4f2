"""Where a data set leads `datasets` to: what its README says, and the files that were found by it.

`datasets` resolves ``data_files`` with fsspec, which reads any path, asks any address, and knows
schemes that fill variables of the environment into the addresses that they ask. Only patterns of
files beside the README are left.

Of a folder that it has saved, `datasets` opens the files that ``state.json`` names, whatever their
paths, and follows every link: such folders are looked at before it opens anything in them.
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
"""Those of `datasets` that can make images with classes, and read nothing but the files that they
are given.
"""

_WORDS = ("description", "features")  # names of classes may have colons, and lead nowhere
_PREPARED = "cache"  # what was read once and is kept
_MOST_VALUES = 100_000
_HUB = "hf://datasets/"


def check_cards(cards: Iterable[Path]) -> None:
    """Refuse what leads anywhere but to files beside these, in a README and what stands for one.

    Raises:
        OSError, ValueError: something does; the message says where. Other errors are those of a
            damaged file.
    """
    for card in cards:
        if not os.path.lexists(card):
            continue
        read_bytes(card)  # a regular file, of a size that is read in no time
        configs = _configs(card)
        for config in configs if isinstance(configs, list) else [configs]:
            for key, value in config.items() if isinstance(config, dict) else [("", config)]:
                if key not in _WORDS:
                    _check_value(card, str(key), value)


def check_builder(builder: Any, folder: Path | None) -> list[Path]:
    """Refuse files elsewhere than in a folder, or on the hub where there is none, and readers of
    other formats.

    Args:
        builder: a `datasets.DatasetBuilder` that has found its files, and read none of them.
        folder: the local one.

    Returns:
        The local files that it will open.

    Raises:
        OSError, ValueError: as `check_cards`.
    """
    reader = reader_of(builder)
    if not type(builder).__module__.startswith("datasets.packaged_modules.") or reader not in (
        *READERS,
        _PREPARED,
    ):
        raise ValueError(f"its files are those of {reader}; those of {', '.join(READERS)} are read")
    found = [str(file) for files in (builder.config.data_files or {}).values() for file in files]
    if folder is None:
        for file in found:
            if not file.startswith(_HUB) or "::" in file or ".." in file.split("/"):
                raise ValueError(f"it leads to {file}, which is not in its repository")
        return []
    for file in found:
        if (
            "::" in file
            or "://" in file
            or not _lies_in(Path(file), folder, links=_is_image(file, reader))
        ):
            raise ValueError(f"it leads to {file}, which is not in its folder")
    return [Path(file) for file in found if not _is_image(file, reader)]


def reader_of(builder: Any) -> str:
    """What a builder is called by `datasets`, such as parquet."""
    return type(builder).__module__.rpartition(".")[2]


def _configs(card: Path) -> Any:
    """The configurations that `datasets` will see, by its own reader."""
    if card.suffix == ".md":
        from huggingface_hub import DatasetCard

        data = DatasetCard.load(card, ignore_metadata_errors=False).data.to_dict()
    else:
        import yaml  # type: ignore[import-untyped]

        data = yaml.safe_load(card.read_text(encoding="utf-8")) or {}
    return data.get("configs") or [] if isinstance(data, dict) else []


def _check_value(card: Path, key: str, value: Any) -> None:
    leads = key in ("data_files", "data_dir")
    for text in _texts(value):
        # A separator of columns may be a colon; nothing but files is named by a path.
        if "::" in text or "://" in text or (leads and not _stays(text)):
            raise ValueError(f"{key} in {card.name} leads to {text}, which is no file beside it")


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value of YAML, which may hold one list very often, and itself."""
    waiting, count = [value], 0
    while waiting:
        count += 1
        if count > _MOST_VALUES:
            raise ValueError(f"a configuration has more than {_MOST_VALUES:,} values")
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set):
            if len(part) > _MOST_VALUES:
                raise ValueError(f"a configuration has more than {_MOST_VALUES:,} values")
            waiting += part


def _stays(pattern: str) -> bool:
    """Whether a pattern of files is a relative one, that goes nowhere but down.

    Examples:
        >>> [_stays(p) for p in ("data/test-*.parquet", "/etc/x.csv", "~/x.csv", "../x.csv", "zip://x::y")]
        [True, False, False, False, False]
    """
    return not pattern or (is_inside(pattern) and ":" not in pattern)


def _is_image(file: str, reader: str) -> bool:
    """Whether a file is one of those images that are not opened before we do, as those of
    ``folder:`` are.
    """
    if reader != "imagefolder":
        return False
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder  # type: ignore[import-untyped]

    return Path(file).suffix.lower() in ImageFolder.EXTENSIONS


def _lies_in(file: Path, folder: Path, *, links: bool) -> bool:
    """Whether a file is in a folder; `links` may lead out of it. In the hub's cache, others lead to
    ``blobs``.
    """
    if not is_below(file, [folder]):
        return False
    allowed = [
        folder.resolve(),
        *(parent.parent / "blobs" for parent in folder.resolve().parents if _is_cache(parent)),
    ]
    return links or is_below(file.resolve(), allowed)


def _is_cache(folder: Path) -> bool:
    """Whether a folder is that of the snapshots of a repository."""
    return folder.name == "snapshots" and folder.parent.name.startswith("datasets--")


def is_below(file: Path, folders: Iterable[Path]) -> bool:
    """Whether a path leads down from one of these folders; links are not followed.

    Examples:
        >>> is_below(Path("/data/pets/../x.png"), [Path("/data/pets")]), is_below(Path("/data/x"), [Path("/data")])
        (False, True)
    """
    path = Path(os.path.abspath(file))  # noqa: PTH100 pathlib would leave ".." as it is
    return any(path.is_relative_to(os.path.abspath(folder)) for folder in folders)  # noqa: PTH100


_STORED = (
    ".arrow",
    ".parquet",
    ".tar",
    ".zip",
    ".csv",
    ".jsonl",
)  # what rows and images are kept in
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
    """Refuse pipes and devices, and links to a folder that is walked anyway: it would be walked
    without an end.
    """
    real = folder.resolve()
    folders = {_id_of(path) for path in (real, *real.parents)}
    links = []
    for parent, names, _ in os.walk(real, onerror=_raise):
        folders.add(_id_of(Path(parent)))
        # Those with two underscores `datasets` leaves out itself.
        made = next(
            (name for name in names if is_system_folder(name) and not name.startswith("__")), None
        )
        if made is not None:
            raise ValueError(
                f"{Path(parent) / made} is made by a system, and its files would be read: remove it"
            )
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
    for name in _stored_names(folder / DICT, content.get("splits"), "splits"):
        yield folder / name


def _check_part(folder: Path, part: Path) -> None:
    state = _object(part / STATE)
    _object(part / INFO)
    for key in ("_data_files", "_indices_data_files"):
        entries = state.get(key)
        if (
            entries is None and key != "_data_files"
        ):  # there is none where rows stand as they were written
            continue
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"{key} in {part / STATE} is no list of files")
        for name in _stored_names(part / STATE, [entry.get("filename") for entry in entries], key):
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


def _stored_names(file: Path, names: Any, key: str) -> list[str]:
    """Names of what lies beside a file, and nowhere else."""
    if not isinstance(names, list):
        raise ValueError(f"{key} in {file} is no list")
    for name in names:
        if (
            not isinstance(name, str)
            or name in ("", ".", "..")
            or set(name) & {"/", "\\", ":", "\0"}
        ):
            raise ValueError(f"{file} names {name!r}, which is no file in its folder")
    return names


def _id_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _raise(error: OSError) -> None:
    raise error
