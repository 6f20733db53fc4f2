"""Read captions from text files beside the images: ``DIR/a.jpg`` and ``DIR/a.txt``.

The text file ends in .txt or .caption and has one caption a line; a .json file holds ``caption`` or
``captions``, as img2dataset and shards have it.
"""

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.captions.listing import Where, make_dataset
from purescope.datasets.folder import is_system_folder
from purescope.datasets.images import path_below
from purescope.errors import DatasetError, listed
from purescope.files.reading import read_bytes
from purescope.specs import short_name

TEXTS = ("txt", "caption", "json")
"""Endings of files with captions; a .json is only read where there is no other."""

_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_KEYS = ("captions", "caption", "text")


def load(where: Where, root: Path) -> CaptionDataset:
    """Load the images below a folder, each with the text file of its name.

    Raises:
        DatasetError: there is no image, an image has no text file or two, or a text file has no
            caption.
    """
    where.refuse_options("text files beside the images")
    images, texts = _find_files(root)
    if not images:
        raise DatasetError(
            f"{where.spec}: no captions were found in {root}",
            expected="tar shards; metadata.jsonl or metadata.csv; dataset_*.json or "
            "captions_*.json; a .csv or .tsv with images and captions; a dataset saved by "
            "`datasets`; img_emb and text_emb of clip-retrieval; or images with .txt files",
            fix="name the file that holds the captions: captions:FILE",
        )
    captions: dict[Path, list[str]] = {}
    bare, used = [], set()
    for image in images:
        files = {ending: texts.get(image.with_suffix(f".{ending}")) for ending in TEXTS}
        beside = [file for ending, file in files.items() if file and ending != "json"]
        file = beside[0] if beside else files["json"]
        if len(beside) > 1:
            raise DatasetError(
                f"{image} has {listed(file.name for file in beside)} beside it",
                expected="one file of captions for each image",
                fix="keep one of them",
            )
        if file is None:
            bare.append(image)
            continue
        used |= {file, files["json"]}
        captions[image] = read_captions(file.suffix[1:].lower(), _read(file), str(file))
    if bare:
        raise DatasetError(
            f"{where.spec}: {len(bare)} of {len(images)} images have no captions, the first is "
            f"{bare[0]}",
            expected=f"a text file beside each image, such as {bare[0].with_suffix('.txt').name}; "
            "or a table of images and captions",
            fix="write them, or name the file that holds the captions: captions:FILE",
        )
    unused = [path_below(root, file) for file in texts.values() if file not in used]
    if unused:
        warnings.warn(
            f"{where.spec}: {len(unused)} text files have no image beside them and are left out: "
            f"{listed(unused, 3)}",
            stacklevel=3,
        )
    return make_dataset(
        where,
        captions,
        root=root,
        name=short_name(root.resolve().name),
        source={"format": "text files beside the images", "split": "all images"},
    )


def read_captions(ending: str, content: bytes, name: str) -> list[str]:
    r"""Read the captions in a text file or a member of a shard.

    Args:
        ending: its ending; "json" for an object that holds them, otherwise one caption a line.
        content: its bytes.
        name: a name for it in errors.

    Raises:
        DatasetError: it has no caption, or cannot be read.

    Examples:
        >>> read_captions("txt", b"a cat\na cat on a mat\n", "1.txt")
        ['a cat', 'a cat on a mat']
        >>> read_captions("json", b'{"caption": "a cat", "url": ""}', "1.json")
        ['a cat']
    """
    try:
        # Not splitlines: a caption may hold a character that it takes for the end of a line.
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        lines = _parse(text, name) if ending == "json" else text.split("\n")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name} is not UTF-8 text: {error}", fix="save it as UTF-8") from error
    captions = [line.strip() for line in lines if line.strip()]
    if not captions:
        raise DatasetError(f"{name} is empty", expected="at least one caption, one a line")
    return captions


def _parse(text: str, name: str) -> list[str]:
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{name} is not JSON: {error}") from error
    keys: Mapping[str, Any] = content if isinstance(content, dict) else {}
    value = next((keys[key] for key in _KEYS if keys.get(key)), None)
    captions = [value] if isinstance(value, str) else value
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise DatasetError(
            f"{name} has {listed(keys) or 'no keys'}",
            expected=f"a text, or a list of texts, called {' or '.join(_KEYS)}",
        )
    return captions


def _read(file: Path) -> bytes:
    try:
        return read_bytes(file, most=1_000_000)
    except OSError as error:
        raise DatasetError(
            f"{file} cannot be read: {error.strerror or error}",
            expected="a text file with one caption a line",
        ) from error


def _find_files(root: Path) -> tuple[list[Path], dict[Path, Path]]:
    """Return the images below a folder, sorted, and the text files by path in lower-case ending.

    Links to folders are not followed, and a warning counts them.
    """
    images, texts, links = [], {}, []
    try:
        for parent, folders, files in os.walk(root, onerror=_raise):
            folder = Path(parent)
            links += [folder / name for name in folders if (folder / name).is_symlink()]
            folders[:] = sorted(
                name for name in folders if name[0] != "." and not is_system_folder(name)
            )
            for name in sorted(files):
                path = folder / name
                if name[0] == ".":
                    continue
                if path.suffix.lower() in _IMAGES:
                    images.append(path)
                elif path.suffix.lower()[1:] in TEXTS:
                    texts[path.with_suffix(path.suffix.lower())] = path
    except OSError as error:
        raise DatasetError(
            f"{root} cannot be read: {error}", fix="check its permissions"
        ) from error
    if links:
        warnings.warn(
            f"{root}: {len(links)} links to folders are not followed: {listed(map(str, links), 3)}",
            stacklevel=4,
        )
    return sorted(images, key=lambda path: (str(path.parent), path.name)), texts


def _raise(error: OSError) -> None:
    raise error
