"""Open a split of a dataset of the hub, or one that `datasets` saved: its columns and its images.

Images are read from the Arrow table and decoded here, never by `datasets`, so that formats and
errors are the same for all datasets.
"""

import contextlib
import importlib
import io
import os
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl

from PIL import Image

from purescope.datasets.archives import check_packed
from purescope.datasets.decoding import MAX_BYTES, Convert
from purescope.datasets.hub_folders import (
    CARDS,
    check_builder,
    check_cards,
    check_folder,
    is_below,
    is_saved,
    reader_of,
)
from purescope.datasets.images import LazyImages, open_rgb, scan_images
from purescope.errors import DatasetError, MissingExtraError, listed, near_miss
from purescope.files.guard import guarded
from purescope.files.reading import read_bytes
from purescope.specs import is_folder, to_path

if typing.TYPE_CHECKING:
    import pyarrow

# `datasets` has no type hints.
Split: typing.TypeAlias = typing.Any
_Splits = Mapping[str, Split]
_Builder = typing.Any

LABELS = ("label", "labels", "class", "class_name", "category")
"""Usual names of a column that holds the class names themselves."""


def open_split(
    name: str, known: Sequence[str], *, offline: bool = False
) -> tuple[str, Mapping[str, str], str, Split]:
    """Open the split that a name asks for: test by default, or the only one.

    Args:
        name: OWNER/REPO or a folder, and options behind a question mark.
        known: the options that there are.
        offline: use what is on this disk.

    Returns:
        The repository or folder, the options, the name of the split, and the split.

    Raises:
        MissingExtraError: `datasets` is not installed.
        DatasetError: the dataset cannot be found or read, or it has no such split.
    """
    where, options = _parse(name, known)
    # A folder needs no network: any request would come from the files in it.
    network = not offline and not is_folder(to_path(where))
    with guarded(to_path(where), error=DatasetError, what=f"hf:{where}", network=network):
        splits = _open(where, options, offline)
    split, data = _choose_split(name, splits, options.get("split"))
    return where, options, split, data


def read_columns(name: str, data: Split, columns: Sequence[str]) -> "pyarrow.Table":
    """Read columns of a split as a checked Arrow table.

    Raises:
        DatasetError: the file is damaged.
    """
    try:
        table: pyarrow.Table = data.select_columns([*columns]).with_format("arrow")[:]
        table.validate(full=True)  # also the offsets, which a damaged file may have wrong
    except Exception as error:  # as in `_open`
        raise DatasetError(
            f"hf:{name} cannot be read: {_first_line(error)}",
            expected="a whole Arrow table",
            fix="save or fetch it again",
        ) from error
    return table


def _parse(name: str, known: Sequence[str]) -> tuple[str, Mapping[str, str]]:
    where, mark, query = name.rpartition("?")
    if not mark or is_folder(to_path(name)):
        return name, {}
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option in options or [query]:
        if option not in known:
            raise DatasetError(f"hf:{name} has the option {option!r}", **near_miss(option, known))
    return where, options


def _open(where: str, options: Mapping[str, str], offline: bool) -> _Splits:
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("datasets", "hf") from error

    folder = to_path(where)
    if not is_folder(folder) and not re.fullmatch(r"[\w.-]+/[\w.-]+", where):
        raise DatasetError(
            f"hf:{where} is not a folder",
            expected="a folder, or OWNER/REPO on the Hugging Face hub",
            fix="check the path",
        )
    try:
        if is_folder(folder):
            return _open_folder(folder, options)
        return _open_repository(where, options, offline or datasets.config.HF_HUB_OFFLINE)
    except DatasetError:
        raise
    # The errors of `datasets` have no common base class: its builders raise errors of any kind.
    except Exception as error:
        action, fix = "read", ""
        if not is_folder(folder):
            action = "fetched or read"
            fix = "check the name; if you are offline (HF_HUB_OFFLINE), fetch it once online"
        raise DatasetError(
            f"hf:{where} cannot be {action}: {_first_line(error)}",
            expected="a dataset that `datasets.load_dataset` reads without running code",
            fix=fix,
        ) from error


def _open_folder(folder: Path, options: Mapping[str, str]) -> _Splits:
    import datasets

    check_folder(folder)
    if is_saved(folder):
        saved = datasets.load_from_disk(str(folder))
        return saved if isinstance(saved, dict) else {str(saved.split or "all"): saved}
    folder = folder.resolve()
    if "::" in str(folder):
        raise ValueError(f"{folder} has a :: in it, and would be read as an address")
    check_cards(folder / name for name in CARDS)
    builder = datasets.load_dataset_builder(
        str(folder), options.get("config"), revision=options.get("revision")
    )
    check_packed(check_builder(builder, folder), tar=reader_of(builder) == "webdataset")
    return _prepare(builder)


def _open_repository(where: str, options: Mapping[str, str], offline: bool) -> _Splits:
    """Open a repository of the hub once its README is checked.

    If the README cannot be fetched, `datasets` runs offline: it may have the dataset in its cache.
    """
    import datasets

    revision = options.get("revision")
    failure = None
    if not offline:
        try:
            check_cards(_fetch_cards(where, revision))
        except ValueError:
            raise
        except Exception as error:
            failure = error
    try:
        with _offline() if offline or failure else contextlib.nullcontext():
            builder = datasets.load_dataset_builder(where, options.get("config"), revision=revision)
            check_builder(builder, None)
            return _prepare(builder)
    except Exception as error:
        raise failure or error from error


def _fetch_cards(repository: str, revision: str | None) -> list[Path]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    cards = []
    for name in CARDS:
        try:
            cards.append(
                Path(hf_hub_download(repository, name, repo_type="dataset", revision=revision))
            )
        except LocalEntryNotFoundError as error:  # the hub was not reached; also a ValueError
            raise ConnectionError(str(error)) from error
        except EntryNotFoundError:
            continue
    return cards


def _prepare(builder: _Builder) -> _Splits:
    builder.download_and_prepare()
    splits: _Splits = builder.as_dataset()
    return splits


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Set HF_HUB_OFFLINE for the libraries, which read it only when they are imported."""
    names = ("datasets.config", "huggingface_hub.constants")
    modules = [importlib.import_module(name) for name in names]
    before = [vars(module)["HF_HUB_OFFLINE"] for module in modules]
    for module in modules:
        vars(module)["HF_HUB_OFFLINE"] = True
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            vars(module)["HF_HUB_OFFLINE"] = value


def _choose_split(name: str, splits: _Splits, wanted: str | None) -> tuple[str, Split]:
    """Return the wanted split with its name; by default test, or the only one."""
    if wanted is None and "test" in splits:
        wanted = "test"
    elif wanted is None and len(splits) == 1:
        wanted = next(iter(splits))
    if not wanted:
        raise DatasetError(
            f"hf:{name} has the splits {listed(splits)}",
            expected="a split called test, or your choice",
            fix=f"hf:NAME?split={next(iter(splits), '')}",
        )
    if wanted not in splits:
        raise DatasetError(f"hf:{name} has no split {wanted!r}", **near_miss(wanted, splits))
    return wanted, splits[wanted]


def choose_column(name: str, data: Split, kind: str, wanted: str | None) -> str:
    """Return the only column whose feature is of this kind: Image or ClassLabel.

    Raises:
        DatasetError: there is none, or there are several.
    """
    fitting: list[str] = [
        column for column, feature in data.features.items() if type_name(feature) == kind
    ]
    if wanted is not None:
        fitting = [column for column in fitting if column == wanted]
    if len(fitting) == 1:
        return fitting[0]
    columns = listed(
        f"{column} ({type_name(feature)})" for column, feature in data.features.items()
    )
    raise DatasetError(
        f"hf:{name} has the columns {columns}",
        expected=f"one of type {kind}" + (f" called {wanted!r}" if wanted is not None else ""),
        fix=_how_to_choose(kind, data, wanted, fitting)
        + "; tar shards of the CLIP benchmark are read with wds:FOLDER",
    )


def _how_to_choose(kind: str, data: Split, wanted: str | None, fitting: Sequence[str]) -> str:
    """Say what to do where no column fits, or several do."""
    option, usual = ("image", ("image", "img")) if kind == "Image" else ("label", LABELS)
    if len(fitting) <= 1 and wanted is not None and wanted not in data.features:
        return f"name a column that exists: hf:NAME?{option}=COLUMN"
    column = wanted or next((name for name in usual if name in data.features), None)
    if len(fitting) > 1 or column is None:
        return f"name it: hf:NAME?{option}=COLUMN"
    return how_to_cast(column, kind)


def how_to_cast(column: str, kind: str) -> str:
    """Say how to give a column another type."""
    feature = "Image()" if kind == "Image" else "ClassLabel(names=[...])"
    return f'datasets.Dataset.cast_column("{column}", datasets.{feature}) and save it again'


def type_name(feature: typing.Any) -> str:
    """Return the name of the type of a column, such as Image."""
    return type(feature).__name__


def _roots(folder: Path) -> list[Path]:
    """Return the folders that may hold images which rows name by their paths."""
    if is_folder(folder):
        return [folder.resolve()]
    from datasets import config
    from huggingface_hub.constants import HF_HUB_CACHE

    return [
        Path(HF_HUB_CACHE),
        Path(config.HF_DATASETS_CACHE),
        Path(config.DOWNLOADED_DATASETS_PATH),
        Path(config.EXTRACTED_DATASETS_PATH),
    ]


def read_images(
    name: str, column: "pyarrow.ChunkedArray", where: str
) -> tuple[LazyImages, Sequence[bytes]]:
    """Return the images of a column, and their contents for the fingerprint.

    Args:
        name: a name for the dataset in errors and warnings.
        column: bytes, or paths below the folder `where` or in the cache of the hub.
        where: the folder or the repository.
    """
    import pyarrow.compute

    roots = _roots(to_path(where))

    # Only the names of the rows: the bytes stay in the file, which Arrow has memory-mapped.
    paths = pyarrow.compute.struct_field(column, "path").to_pylist()

    def name_of(index: int) -> str:
        return f"{index} of hf:{name}" + (f" ({paths[index]})" if paths[index] else "")

    def read_bytes_of(index: int) -> bytes:
        stored: bytes | None = column[index]["bytes"].as_py()
        if stored is not None:
            return stored
        # Without "..": the path that is checked is the one that is read.
        path = Path(os.path.abspath(roots[0] / (paths[index] or "")))  # noqa: PTH100
        if not is_below(path, roots):
            raise DatasetError(
                f"image {name_of(index)}: its path leads out of the dataset",
                expected="a file in its folder, or bytes in the table",
            )
        try:
            return read_bytes(path, most=MAX_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DatasetError(
                f"image {name_of(index)}: {reason}", expected="a file, or bytes in the table"
            ) from error

    def read(index: int, convert: Convert) -> Image.Image:
        return open_rgb(io.BytesIO(read_bytes_of(index)), name_of(index), convert=convert)

    names = [Path(path or "").name for path in paths]
    scan = scan_images(names, lambda index: io.BytesIO(read_bytes_of(index)))
    scan.warn(f"hf:{name}")
    return scan.lazy_images(read), scan.contents


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
