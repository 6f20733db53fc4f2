"""Load ``hf:REPO`` and ``hf:FOLDER``: image datasets of the hub, or saved by `datasets`.

Options follow a question mark: ``hf:uoft-cs/cifar100?split=test&label=fine_label``. Images are read
from the Arrow table and decoded here, never by `datasets`, so that formats and errors are the same
for all datasets.
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

import torch
from PIL import Image

from purescope.datasets.archives import check_packed
from purescope.datasets.dataset import (
    Dataset,
    check_class_names,
    fingerprint,
    sort_names,
    warn_of_number_order,
)
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
from purescope.datasets.images import FINGERPRINTED, LazyImages, open_rgb, scan_images
from purescope.datasets.prompts import PLAIN_TEMPLATES, clean_name
from purescope.errors import DatasetError, MissingExtraError, listed, near_miss
from purescope.files.guard import guarded
from purescope.files.reading import read_bytes
from purescope.specs import is_folder, short_name, to_path

if typing.TYPE_CHECKING:
    import pyarrow

# `datasets` has no type hints.
_Split = typing.Any
_Splits = Mapping[str, _Split]
_Builder = typing.Any

# Usual names of a column that holds the class names themselves.
_LABELS = ("label", "labels", "class", "class_name", "category")
_OPTIONS = ("split", "config", "revision", "image", "label")


def load(name: str, *, offline: bool = False) -> Dataset:
    """Load a split that has one column of images and one of class labels.

    Args:
        name: OWNER/REPO on the hub, or a folder: one that `save_to_disk` wrote, or one of files
            that `datasets.load_dataset` reads. Options: ``split`` (default: test, or the only one),
            ``config``, ``revision``, and ``image`` and ``label``, the columns to use where there
            are several.
        offline: use what is on this disk, and fail before anything is asked of the hub.

    Raises:
        MissingExtraError: `datasets` is not installed.
        DatasetError: the dataset cannot be found or read; or the split or a column is missing or
            ambiguous.
    """
    where, options = _parse(name)
    # A folder needs no network: any request would come from the files in it.
    network = not offline and not is_folder(to_path(where))
    with guarded(to_path(where), error=DatasetError, what=f"hf:{where}", network=network):
        splits = _open(where, options, offline)
    split, data = _choose_split(name, splits, options.get("split"))
    image = _column(name, data, "Image", options.get("image"))
    label = _label_column(name, data, options.get("label"))
    try:
        table = data.select_columns([image, label]).with_format("arrow")[:]
        table.validate(full=True)  # also the offsets, which a damaged file may have wrong
        values = table[label].to_pylist()
    except Exception as error:  # as in `_open`
        raise DatasetError(
            f"hf:{name} cannot be read: {_first_line(error)}",
            expected="a whole Arrow table",
            fix="save or fetch it again",
        ) from error
    if None in values:
        raise DatasetError(
            f"hf:{name}: image {values.index(None)} of split {split} has no label",
            expected="a label for each image",
            fix="name a split that has them: hf:NAME?split=SPLIT",
        )
    feature = data.features[label]
    classes = tuple(feature.names if _type_name(feature) == "ClassLabel" else sort_names(values))
    check_class_names(classes, DatasetError, where=f"hf:{name}: ")
    if isinstance(values[0], str):
        warn_of_number_order(classes, f"hf:{name}")
        label_of = {class_name: index for index, class_name in enumerate(classes)}
        values = [label_of[class_name] for class_name in values]
    labels = torch.tensor(values, dtype=torch.int64)
    images, contents = _read_images(name, table[image], _roots(to_path(where)))
    return Dataset(
        name=short_name(Path(where).resolve().name),
        spec=f"hf:{name}",
        classes=classes,
        labels=labels,
        images=images,
        display_names=tuple(map(clean_name, classes)),
        templates=PLAIN_TEMPLATES,
        source={
            "split": split,
            "licence": data.info.license or "not stated",
            "version": str(options.get("revision") or data.info.version or "not stated"),
            "columns": f"{image}, {label}",
            "fingerprint_of": FINGERPRINTED,
        },
        fingerprint=fingerprint(classes, labels, contents),
    )


def _parse(name: str) -> tuple[str, Mapping[str, str]]:
    where, mark, query = name.rpartition("?")
    if not mark or is_folder(to_path(name)):
        return name, {}
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option in options or [query]:
        if option not in _OPTIONS:
            raise DatasetError(
                f"hf:{name} has the option {option!r}", **near_miss(option, _OPTIONS)
            )
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


def _choose_split(name: str, splits: _Splits, wanted: str | None) -> tuple[str, _Split]:
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


def _label_column(name: str, data: _Split, wanted: str | None) -> str:
    """Return the column of class labels.

    Where no column has the type ClassLabel, or where the wanted one has another type, a column of
    class names as text is used: the wanted one, or the only one with a usual name for labels.

    Raises:
        DatasetError: there is no such column, or there are several; or it holds numbers without
            class names.
    """
    features = data.features
    if wanted is not None:
        candidates = [wanted]
    elif any(_type_name(feature) == "ClassLabel" for feature in features.values()):
        candidates = []
    else:
        candidates = [column for column in _LABELS if column in features]
    if len(candidates) != 1 or _type_name(features.get(candidates[0])) != "Value":
        return _column(name, data, "ClassLabel", wanted)
    (column,) = candidates
    dtype = features[column].dtype
    if dtype not in ("string", "large_string"):
        raise DatasetError(
            f"hf:{name}: the column {column} holds {dtype}, without the names of the classes",
            expected="class labels (ClassLabel), or the names of classes as text",
            fix=_how_to_cast(column, "ClassLabel"),
        )
    return column


def _column(name: str, data: _Split, kind: str, wanted: str | None) -> str:
    """Return the only column whose feature is of this kind."""
    fitting: list[str] = [
        column for column, feature in data.features.items() if _type_name(feature) == kind
    ]
    if wanted is not None:
        fitting = [column for column in fitting if column == wanted]
    if len(fitting) == 1:
        return fitting[0]
    columns = listed(
        f"{column} ({_type_name(feature)})" for column, feature in data.features.items()
    )
    raise DatasetError(
        f"hf:{name} has the columns {columns}",
        expected=f"one of type {kind}" + (f" called {wanted!r}" if wanted is not None else ""),
        fix=_how_to_choose(kind, data, wanted, fitting)
        + "; tar shards of the CLIP benchmark are read with wds:FOLDER",
    )


def _how_to_choose(kind: str, data: _Split, wanted: str | None, fitting: Sequence[str]) -> str:
    """Say what to do where no column fits, or several do."""
    option, usual = ("image", ("image", "img")) if kind == "Image" else ("label", _LABELS)
    if len(fitting) <= 1 and wanted is not None and wanted not in data.features:
        return f"name a column that exists: hf:NAME?{option}=COLUMN"
    column = wanted or next((name for name in usual if name in data.features), None)
    if len(fitting) > 1 or column is None:
        return f"name it: hf:NAME?{option}=COLUMN"
    return _how_to_cast(column, kind)


def _how_to_cast(column: str, kind: str) -> str:
    feature = "Image()" if kind == "Image" else "ClassLabel(names=[...])"
    return f'datasets.Dataset.cast_column("{column}", datasets.{feature}) and save it again'


def _type_name(feature: typing.Any) -> str:
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


def _read_images(
    name: str, column: "pyarrow.ChunkedArray", roots: list[Path]
) -> tuple[LazyImages, Sequence[bytes]]:
    """Return the images, and their contents for the fingerprint."""
    import pyarrow.compute

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
