"""Read captions from one JSON file: COCO's ``captions_*.json``, Karpathy's ``dataset_*.json``, or a
list of objects with an image and its captions.
"""

import os
from pathlib import Path
from typing import Any

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.captions.listing import (
    LARGEST,
    Captions,
    Where,
    open_listed,
    require_room_for,
)
from purescope.datasets.captions.tables import load_objects
from purescope.errors import DatasetError, listed, near_miss
from purescope.files.reading import read_json

_EXPECTED = (
    'COCO\'s {"images": [...], "annotations": [...]}, Karpathy\'s {"images": [{"filename": ..., '
    '"sentences": [{"raw": ...}], "split": ...}]}, or a list of {"image": ..., "caption": ...}'
)


def load(where: Where, file: Path) -> CaptionDataset:
    """Load the captions of a JSON file, whose format its content shows.

    Raises:
        DatasetError: the file cannot be read, has another format or contradicts itself, or images
            are missing.
    """
    content = _read(file)
    if isinstance(content, list):
        rows = {f"entry {index}": row for index, row in enumerate(content)}
        return load_objects(where, file, rows)
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        if isinstance(content.get("annotations"), list):
            return _load_coco(where, file, content)
        if any("sentences" in image for image in content["images"] if isinstance(image, dict)):
            return _load_karpathy(where, file, content["images"])
    keys = listed(map(str, content)) if isinstance(content, dict) else type(content).__name__
    raise DatasetError(f"{file} has {keys or 'nothing'}", expected=_EXPECTED)


def _read(file: Path) -> Any:
    try:
        require_room_for(file)
        return read_json(file, most=LARGEST)
    except (OSError, ValueError, MemoryError) as error:
        raise DatasetError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or error}",
            expected="a whole JSON file in UTF-8",
            fix="fetch it again",
        ) from error


def _load_coco(where: Where, file: Path, content: dict[str, Any]) -> CaptionDataset:
    where.refuse_options("captions of COCO", "split", "images")
    if where.split is not None and where.split != file.stem.removeprefix("captions_"):
        raise DatasetError(
            f"{file} has no split {where.split!r}",
            expected="a file for each split",
            fix="name the file of the split, or its folder with the split: captions:DIR#val2017",
        )
    names: dict[Any, Any] = {}
    for index, image in enumerate(content["images"]):
        number, name = (_get(file, "images", index, image, key) for key in ("id", "file_name"))
        if number in names:
            raise DatasetError(f"{file}: two images have the id {number!r}", expected="one")
        names[number] = name
    texts: dict[Any, list[Any]] = {number: [] for number in names}
    for index, annotation in enumerate(content["annotations"]):
        number, caption = (
            _get(file, "annotations", index, annotation, key) for key in ("image_id", "caption")
        )
        if number not in texts:
            raise DatasetError(
                f"{file}: annotation {index} is of image {number!r}",
                expected="an image that is listed",
            )
        texts[number].append(caption)
    bare = [name for number, name in names.items() if not texts[number]]
    if bare:
        raise DatasetError(
            f"{file}: {len(bare)} of {len(names)} images have no caption, the first is {bare[0]}",
            expected="at least one caption for each image",
            fix="leave them out of the file",
        )
    captions = Captions(file)
    for number, name in names.items():
        if isinstance(name, str) and os.path.normpath(name) in captions.by_image:
            raise DatasetError(f"{file}: two images are called {name!r}", expected="one")
        captions.add(name, texts[number], f"image {number!r}")
    return open_listed(where, captions, split=file.stem.removeprefix("captions_"), form="COCO")


def _load_karpathy(where: Where, file: Path, images: list[Any]) -> CaptionDataset:
    where.refuse_options("captions of Karpathy", "split", "images")
    splits = [
        str(_get(file, "images", index, image, "split")) for index, image in enumerate(images)
    ]
    known = sorted({*splits})
    wanted = where.split or ("test" if "test" in known else known[0] if len(known) == 1 else None)
    if wanted is None:
        raise DatasetError(
            f"{file} has the splits {listed(known)}",
            expected="a split called test, or your choice",
            fix=f"captions:FILE#{known[0]}",
        )
    if wanted not in known:
        raise DatasetError(f"{file} has no split {wanted!r}", **near_miss(wanted, known))
    captions = Captions(file)
    for index, image in enumerate(images):
        if splits[index] != wanted:
            continue
        sentences = _get(file, "images", index, image, "sentences")
        texts = [
            _get(file, f"images {index}, sentences", number, sentence, "raw")
            for number, sentence in enumerate(sentences if isinstance(sentences, list) else [None])
        ]
        name = _get(file, "images", index, image, "filename")
        folder = image.get("filepath")
        if isinstance(folder, str) and folder and isinstance(name, str):
            name = f"{folder}/{name}"
        captions.add(name, texts, f"images {index}")
    return open_listed(where, captions, split=wanted, form="Karpathy")


def _get(file: Path, kind: str, index: int, entry: Any, key: str) -> Any:
    if not isinstance(entry, dict) or key not in entry or isinstance(entry[key], dict):
        raise DatasetError(f"{file}: {kind} {index} has no {key!r}", expected=_EXPECTED)
    if key in ("id", "image_id") and not isinstance(entry[key], int | str):
        raise DatasetError(
            f"{file}: {kind} {index} has the {key} {entry[key]!r}", expected="a number"
        )
    return entry[key]
