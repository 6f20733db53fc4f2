"""Find out what ``captions:PATH`` is, and load it with the reader of its format."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from purescope.datasets.captions import (
    annotations,
    beside,
    bundled_names,
    hub,
    shards,
    tables,
)
from purescope.datasets.captions.dataset import (
    CaptionDataset,
    drop_bad_captioned,
    warn_of_equal_captions,
)
from purescope.datasets.captions.listing import Where
from purescope.datasets.hub_folders import is_saved
from purescope.datasets.tables import READERS
from purescope.errors import DatasetError, InputError, listed, near_miss, noting
from purescope.specs import exists, is_folder, split_part, to_path

_OPTIONS = ("split", "images", "image", "caption")
_ANNOTATIONS = re.compile(r"(dataset_(?!infos?\.|dict\.).*|captions_.*)\.json")
_FORM = "captions:PATH, captions:PATH#SPLIT or captions:PATH?images=DIR&image=COLUMN&caption=COLUMN"


@dataclass(frozen=True)
class _Candidate:
    """A file or folder that may be meant, and the function that loads it."""

    path: Path
    load: Callable[[], CaptionDataset]


def load(
    name: str,
    *,
    spec: str = "",
    offline: bool = False,
    on_bad_image: Literal["error", "skip"] | str = "error",
) -> CaptionDataset:
    """Load the images and captions that `name` names, which is what follows ``captions:``.

    Args:
        name: ``bundled:NAME``, ``hf:OWNER/REPO``, a file, a folder or a pattern of shards, with its
            split and options.
        spec: the whole name that the user gave.
        offline: do not use the network.
        on_bad_image: ``error`` or ``skip``, as in `purescope.load_dataset`.

    Raises:
        DatasetError: there are no captions, several files may be meant, or they cannot be read.
        MissingExtraError: a dataset of `datasets` without the extra.
        InputError: `on_bad_image` is neither value.
    """
    if on_bad_image not in ("error", "skip"):
        raise InputError(f"on_bad_image = {on_bad_image!r}", expected="'error' or 'skip'")
    with noting() as notes:
        dataset = _load(name, spec or f"captions:{name}", offline)
        if on_bad_image == "skip":
            dataset = drop_bad_captioned(dataset)
        warn_of_equal_captions(dataset.name, dataset.texts, dataset.image_of, len(dataset))
    return replace(dataset, notes=tuple(notes))


def _load(name: str, spec: str, offline: bool) -> CaptionDataset:
    if name.startswith("hf:"):
        return hub.load(Where(spec), name.removeprefix("hf:"), offline=offline)
    text, where = _parse(name, spec)
    if text.startswith("bundled:"):
        return bundled_names.load(where, text.removeprefix("bundled:"))
    if not text.strip():
        raise DatasetError(f"{spec!r} names nothing", expected=_FORM)
    path = to_path(text)
    if is_folder(path):
        return _load_folder(path, where, offline)
    if text.endswith(".tar"):  # also a pattern of several
        return shards.load(where, text)
    if not exists(path):
        raise DatasetError(
            f"{spec}: there is no {path}", expected=_FORM, fix="check the path, or quote it"
        )
    reader = _reader(path)
    if reader is None:
        raise DatasetError(
            f"{spec}: {path.name} is not a file of captions by its ending",
            expected=f"a file that ends in {', '.join([*READERS, *tables.ROWS])}, .json, .txt or "
            ".tar; or a folder",
        )
    return reader(where, path)


def _parse(name: str, spec: str) -> tuple[str, Where]:
    """Split ``PATH#SPLIT?OPTION=VALUE`` unless a file or folder has the whole name."""
    if exists(to_path(name)):
        return name, Where(spec)
    text, mark, query = name.partition("?")
    options: dict[str, str] = {}
    for entry in query.split("&") if mark else ():
        option, equals, value = entry.partition("=")
        if option not in _OPTIONS or not equals or not value:
            raise DatasetError(f"{spec} has the option {entry!r}", **near_miss(option, _OPTIONS))
        options[option] = value
    text, split = split_part(text)
    return text, Where(
        spec,
        split=split or options.get("split"),
        images=to_path(options["images"]) if "images" in options else None,
        image=options.get("image"),
        caption=options.get("caption"),
    )


def _reader(path: Path) -> Callable[[Where, Path], CaptionDataset] | None:
    suffix = path.suffix.lower()
    if suffix in READERS or suffix == ".txt":
        return tables.load_table
    if suffix in tables.ROWS:
        return tables.load_rows
    return annotations.load if suffix == ".json" else None


def _load_folder(folder: Path, where: Where, offline: bool) -> CaptionDataset:
    """Load what a folder holds: the only thing with captions in it, or text files beside images."""
    try:
        candidates = _candidates(folder, where, offline)
        inner = folder / (where.split or "test")
        if not candidates and is_folder(inner):
            # The folder of a split: the rest of the name has nothing to choose there.
            folder, where = inner, replace(where, split=None)
            candidates = _candidates(folder, where, offline)
    except OSError as error:
        raise DatasetError(
            f"{where.spec} cannot be read: {error}", fix="check its permissions"
        ) from error
    if len(candidates) > 1:
        names = [str(candidate.path) for candidate in candidates]
        raise DatasetError(
            f"{where.spec} has captions in {listed(names)}",
            expected="one of them",
            fix=f"name it: captions:{names[0]}",
        )
    if candidates:
        return candidates[0].load()
    if where.split is not None:
        raise DatasetError(
            f"{where.spec}: {folder} has no split {where.split!r}",
            expected=f"a folder {where.split} in it, or a file that names the splits",
            fix="leave out the split",
        )
    return beside.load(where, folder)


def _candidates(folder: Path, where: Where, offline: bool) -> list[_Candidate]:
    """Return what may be meant in a folder, without looking into sub-folders of images."""
    if is_saved(folder):
        options = {"split": where.split, "image": where.image, "caption": where.caption}
        query = "&".join(f"{name}={value}" for name, value in options.items() if value)
        name = f"{folder}?{query}" if query else str(folder)
        return [_Candidate(folder, partial(hub.load, where, name, offline=offline))]
    entries = [path for path in sorted(folder.iterdir()) if path.name[0] != "."]
    inner = folder / "annotations"
    annotated = [
        path
        for path in [*entries, *(sorted(inner.iterdir()) if is_folder(inner) else ())]
        if _ANNOTATIONS.fullmatch(path.name)
    ]
    # The name of a file of COCO is that of its split.
    chosen = [path for path in annotated if path.stem == f"captions_{where.split}"]
    files = [
        _Candidate(path, partial(annotations.load, where, path)) for path in chosen or annotated
    ]
    for path in entries:
        reader = _reader(path) if _is_listing(path) else None
        if reader is not None:
            files.append(_Candidate(path, partial(reader, where, path)))
    if [*folder.glob("*.tar")]:
        files.append(_Candidate(folder / "*.tar", partial(shards.load, where, str(folder))))
    return files


def _is_listing(path: Path) -> bool:
    """Tell whether a file in a folder is a table of images and captions, by its name and header."""
    suffix = path.suffix.lower()
    if path.stem == "metadata" and (suffix in tables.ROWS or suffix in READERS):
        return True
    if suffix in (".csv", ".tsv") or path.name.lower() == "captions.txt":
        return path.is_file() and tables.has_columns(path)
    return False
