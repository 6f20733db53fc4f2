"""``hf:REPO`` and ``hf:FOLDER``: image data sets of the Hugging Face hub, and those that `datasets`
has saved.

Options stand behind a question mark: ``hf:uoft-cs/cifar100?split=test&label=fine_label``. Images
are read from the Arrow table and decoded by us, never by `datasets`: the same formats and the same
errors as everywhere.
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

from purescope.datasets.archives import check_unpacked
from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.decoding import MOST_BYTES, Convert
from purescope.datasets.hub_folders import (
    CARDS,
    check_builder,
    check_cards,
    check_folder,
    is_below,
    is_saved,
    reader_of,
)
from purescope.datasets.images import FINGERPRINTED, LazyImages, look_at_images, open_rgb
from purescope.datasets.names import check_class_names, in_order, warn_of_number_order
from purescope.datasets.prompts import PLAIN_TEMPLATES, clean_name
from purescope.errors import DatasetError, MissingExtraError, listed, near_miss
from purescope.files.guard import guarded
from purescope.files.reading import read_bytes
from purescope.specs import is_folder, short_name, to_path

if typing.TYPE_CHECKING:
    import pyarrow

# `datasets` comes without types.
_Split = typing.Any
_Splits = Mapping[str, _Split]
_Builder = typing.Any

_LABELS = (
    "label",
    "labels",
    "class",
    "class_name",
    "category",
)  # of columns that hold the names themselves
_OPTIONS = ("split", "config", "revision", "image", "label")


def load(name: str, *, offline: bool = False) -> Dataset:
    """The split of a data set that has one column of images and one of class labels.

    Args:
        name: OWNER/REPO on the hub, or a folder: one that `save_to_disk` wrote, or of files that
            `load_dataset` reads. Options: ``split`` (default: test, or the only one), ``config``,
            ``revision``, and ``image`` and ``label``, the columns to take where there are several.
        offline: take what is on this disk, and fail before anything is asked of the hub.

    Raises:
        MissingExtraError: `datasets` is not installed.
        DatasetError: it cannot be found or read; or the split or a column is missing or could be
            one of several.
    """
    where, options = _parse(name)
    # A folder needs none: whatever is asked for it is asked by somebody else.
    network = not offline and not is_folder(to_path(where))
    with guarded(to_path(where), error=DatasetError, what=f"hf:{where}", network=network):
        splits = _open(where, options, offline)
    split, data = _split(name, splits, options.get("split"))
    image = _column(name, data, "Image", options.get("image"))
    label = _label_column(name, data, options.get("label"))
    try:
        table = data.select_columns([image, label]).with_format("arrow")[:]
        table.validate(full=True)  # offsets too: those of a damaged file can lead anywhere
        values = table[label].to_pylist()
    except Exception as error:  # as for `_open`
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
    classes = tuple(_class_names(data.features[label], values))
    check_class_names(classes, DatasetError, where=f"hf:{name}: ")
    if isinstance(values[0], str):
        warn_of_number_order(classes, f"hf:{name}")
        number_of = {text: number for number, text in enumerate(classes)}
        values = [number_of[text] for text in values]
    labels = torch.tensor(values, dtype=torch.int64)
    images, parts = _images(name, table[image], _roots(to_path(where)))
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
        fingerprint=fingerprint(classes, labels, parts),
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
            f"hf:{where} is no folder",
            expected="one, or OWNER/REPO on the Hugging Face hub",
            fix="check the path",
        )
    try:
        if is_folder(folder):
            return _open_folder(folder, options)
        return _open_repository(where, options, offline or datasets.config.HF_HUB_OFFLINE)
    except DatasetError:
        raise
    # Its errors have no common base: builders raise whatever their files make them.
    except Exception as error:
        raise DatasetError(
            f"hf:{where} cannot be {'read' if is_folder(folder) else 'fetched or read'}: "
            f"{_first_line(error)}",
            expected="a data set that `datasets.load_dataset` reads without running code",
            fix=""
            if is_folder(folder)
            else "check the name; if you are offline (HF_HUB_OFFLINE), fetch it once online",
        ) from error


def _open_folder(folder: Path, options: Mapping[str, str]) -> _Splits:
    import datasets

    check_folder(folder)
    if is_saved(folder):
        found = datasets.load_from_disk(str(folder))
        return found if isinstance(found, dict) else {str(found.split or "all"): found}
    folder = folder.resolve()
    if "::" in str(folder):
        raise ValueError(f"{folder} would be taken for an address, for the :: in it")
    check_cards(folder / name for name in CARDS)
    builder = datasets.load_dataset_builder(
        str(folder), options.get("config"), revision=options.get("revision")
    )
    check_unpacked(check_builder(builder, folder), tar=reader_of(builder) == "webdataset")
    return _prepared(builder)


def _open_repository(where: str, options: Mapping[str, str], offline: bool) -> _Splits:
    """What its README says is looked at before `datasets` follows it; what cannot be fetched, is
    not followed.
    """
    import datasets

    revision = options.get("revision")
    failure = None
    if not offline:
        try:
            check_cards(_fetch_cards(where, revision))
        except ValueError:
            raise
        except Exception as error:  # what was prepared before can be read all the same
            failure = error
    try:
        with _offline() if offline or failure else contextlib.nullcontext():
            builder = datasets.load_dataset_builder(where, options.get("config"), revision=revision)
            check_builder(builder, None)
            return _prepared(builder)
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
        except LocalEntryNotFoundError as error:  # nobody could be asked; a ValueError, too
            raise ConnectionError(str(error)) from error
        except EntryNotFoundError:
            continue
    return cards


def _prepared(builder: _Builder) -> _Splits:
    builder.download_and_prepare()
    splits: _Splits = builder.as_dataset()
    return splits


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """As HF_HUB_OFFLINE=1, which the libraries read only once, when they are imported."""
    modules = [
        importlib.import_module(name) for name in ("datasets.config", "huggingface_hub.constants")
    ]
    before = [vars(module)["HF_HUB_OFFLINE"] for module in modules]
    for module in modules:
        vars(module)["HF_HUB_OFFLINE"] = True
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            vars(module)["HF_HUB_OFFLINE"] = value


def _split(name: str, found: _Splits, split: str | None) -> tuple[str, _Split]:
    if split is None:
        split = "test" if "test" in found else next(iter(found)) if len(found) == 1 else ""
    if not split:
        raise DatasetError(
            f"hf:{name} has the splits {listed(found)}",
            expected="one called test, or a choice",
            fix=f"hf:NAME?split={next(iter(found), '')}",
        )
    if split not in found:
        raise DatasetError(f"hf:{name} has no split {split!r}", **near_miss(split, found))
    return split, found[split]


def _label_column(name: str, data: _Split, wanted: str | None) -> str:
    """The column of class labels; where none has that type, the one that is named, or called label,
    if it has words.

    Raises:
        DatasetError: there is none; it holds numbers, whose names nobody knows; or there are
            several.
    """
    features = data.features
    plain = [wanted] if wanted is not None else [column for column in _LABELS if column in features]
    if wanted is None and any(
        type(feature).__name__ == "ClassLabel" for feature in features.values()
    ):
        plain = []
    if len(plain) != 1 or type(features.get(plain[0])).__name__ != "Value":
        return _column(name, data, "ClassLabel", wanted)
    kind = features[plain[0]].dtype
    if kind not in ("string", "large_string"):
        raise DatasetError(
            f"hf:{name}: the column {plain[0]} holds {kind}, and nothing says what the classes are "
            f"called",
            expected="class labels (ClassLabel), or the names of classes as text",
            fix=f'datasets.Dataset.cast_column("{plain[0]}", datasets.ClassLabel(names=[...])) and save it again',
        )
    return plain[0]


def _class_names(feature: typing.Any, values: Sequence[typing.Any]) -> Sequence[str]:
    """The names of the classes: those that labels stand for, or those that are there."""
    return feature.names if type(feature).__name__ == "ClassLabel" else in_order(values)


def _column(name: str, data: _Split, kind: str, wanted: str | None) -> str:
    """The one column of this kind of feature."""
    fitting: list[str] = [
        column for column, feature in data.features.items() if type(feature).__name__ == kind
    ]
    if wanted is not None:
        fitting = [column for column in fitting if column == wanted]
    if len(fitting) == 1:
        return fitting[0]
    columns = listed(
        [f"{column} ({type(feature).__name__})" for column, feature in data.features.items()]
    )
    raise DatasetError(
        f"hf:{name} has the columns {columns}",
        expected=f"one of type {kind}" + (f" called {wanted!r}" if wanted is not None else ""),
        fix=_how_to_get(kind, data, wanted, fitting)
        + "; tar shards of the CLIP benchmark are read with wds:FOLDER",
    )


def _how_to_get(kind: str, data: _Split, wanted: str | None, fitting: Sequence[str]) -> str:
    """What to do about a column of images or labels that is not there, or not the only one."""
    option, cast = ("image", "Image()") if kind == "Image" else ("label", "ClassLabel(names=[...])")
    if len(fitting) > 1:
        return f"name it: hf:NAME?{option}=COLUMN"
    if wanted is not None and wanted not in data.features:
        return f"name one that is there: hf:NAME?{option}=COLUMN"
    likely = ("image", "img") if kind == "Image" else _LABELS
    column = wanted or next((name for name in likely if name in data.features), None)
    if column is None:
        return f"name it: hf:NAME?{option}=COLUMN"
    return f'datasets.Dataset.cast_column("{column}", datasets.{cast}) and save it again'


def _roots(folder: Path) -> list[Path]:
    """Where images may lie that rows name by their paths."""
    if is_folder(folder):
        return [folder.resolve()]
    from datasets import config
    from huggingface_hub.constants import HF_HUB_CACHE

    kept = (
        config.HF_DATASETS_CACHE,
        config.DOWNLOADED_DATASETS_PATH,
        config.EXTRACTED_DATASETS_PATH,
    )
    return [Path(HF_HUB_CACHE), *map(Path, kept)]


def _images(
    name: str, column: "pyarrow.ChunkedArray", roots: list[Path]
) -> tuple[LazyImages, Sequence[bytes]]:
    """The images, and what to fingerprint them by."""
    import pyarrow.compute

    # Only what a row is called: the bytes stay in the file that Arrow has mapped.
    paths = pyarrow.compute.struct_field(column, "path").to_pylist()

    def called(index: int) -> str:
        return f"{index} of hf:{name}" + (f" ({paths[index]})" if paths[index] else "")

    def content(index: int) -> bytes:
        stored: bytes | None = column[index]["bytes"].as_py()
        if stored is not None:
            return stored
        path = Path(os.path.abspath(roots[0] / (paths[index] or "")))  # noqa: PTH100 without "..", as it is checked
        if not is_below(path, roots):
            raise DatasetError(
                f"image {called(index)}: its path leads out of the data set",
                expected="a file in its folder, or bytes in the table",
            )
        try:
            return read_bytes(path, most=MOST_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DatasetError(
                f"image {called(index)}: {reason}", expected="a file, or bytes in the table"
            ) from error

    def read(index: int, convert: Convert) -> Image.Image:
        return open_rgb(io.BytesIO(content(index)), called(index), convert=convert)

    looked = look_at_images(
        [Path(path or "").name for path in paths], lambda index: io.BytesIO(content(index))
    )
    looked.warn(f"hf:{name}")
    return looked.images(read), looked.contents


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
