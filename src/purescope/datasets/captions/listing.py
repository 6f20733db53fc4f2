"""Turn a list of image files and captions, from a file of any format, into a dataset."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from purescope.datasets.captions.dataset import CaptionDataset, hash_contents
from purescope.datasets.folder import is_system_folder
from purescope.datasets.images import open_files
from purescope.errors import DatasetError, listed
from purescope.files.reading import require_room
from purescope.specs import is_folder, is_inside, short_name

IMAGE_NAMES = (
    "path", "file", "filepath", "file_path", "filename", "file_name", "image", "image_path",
    "image_name", "img_path",
)  # fmt: skip
"""Names of a column or key that holds the path of an image; the first one that is there is used."""

CAPTION_NAMES = (
    "caption", "captions", "text", "texts", "sentences", "title", "sentence", "comment",
    "description",
)  # fmt: skip
"""Names of a column or key that holds a caption, or several; the first one there is used."""

_COVERED = "names and contents of the image files"
_MOST_FOLDERS = 1000  # sub-folders that are looked into for the images


LARGEST = 1_000_000_000
"""Most bytes of a file of JSON: five times those of COCO's."""

_MEMORY = 12  # bytes of memory for a byte of JSON


def require_room_for(file: Path) -> None:
    """Refuse a file of JSON whose content does not fit into memory.

    Raises:
        OSError: it does not exist.
        DatasetError: it is too large for the free memory.
    """
    size = file.stat().st_size
    require_room(
        size,
        stored=size,
        what=str(file),
        most_per_byte=1,
        error=DatasetError,
        needed=_MEMORY * min(size, LARGEST),
    )


@dataclass(frozen=True)
class Where:
    """Say what the user named.

    Args:
        spec: the whole name, for errors.
        split: the split, if one is named.
        images: the folder of the images, if one is named.
        image, caption: the columns to use, if they are named.
    """

    spec: str
    split: str | None = None
    images: Path | None = None
    image: str | None = None
    caption: str | None = None

    def refuse_options(self, form: str, *used: str) -> None:
        """Refuse options that a format does not use.

        Args:
            form: a name for the format in the error.
            used: the options that it uses.

        Raises:
            DatasetError: another option is given.
        """
        given = {name: getattr(self, name) for name in ("split", "images", "image", "caption")}
        unused = [name for name, value in given.items() if value is not None and name not in used]
        if unused:
            raise DatasetError(
                f"{self.spec} has the option {unused[0]}, and holds {form}",
                expected=f"the options {', '.join(used)}" if used else "no option",
                fix="leave it out",
            )


@dataclass
class Captions:
    """Collect the captions of a file, image by image, each row with its place for errors.

    Args:
        file: the file that lists them.
        anywhere: whether a path may lead out of the folder of the images.
    """

    file: Path
    anywhere: bool = False
    by_image: dict[str, list[str]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def add(self, image: object, captions: object, place: str) -> None:
        """Add the captions of one row.

        Args:
            image: the path of the image, as written.
            captions: a text, or a list of texts.
            place: where the row is, in words.

        Raises:
            DatasetError: the path or a caption is missing or not a text, or the path leads out of
                the folder.
        """
        if not isinstance(image, str) or not image.strip():
            raise self._error(place, f"the image {image!r}", "the path of an image")
        name = image.strip()
        if not self.anywhere and not is_inside(name):
            raise self._error(
                place, f"the image {name!r}, which leads out of its folder", "a path below it"
            )
        texts = [captions] if isinstance(captions, str) else captions
        if not isinstance(texts, list) or not texts:
            raise self._error(place, f"the captions {captions!r}", "a text, or a list of texts")
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise self._error(place, f"the caption {text!r}", "a text")
        # "a.jpg" and "./a.jpg" are one image.
        key = os.path.normpath(name)
        self.by_image.setdefault(key, []).extend(text.strip() for text in texts)
        self.places.setdefault(key, place)

    def _error(self, place: str, came: str, expected: str) -> DatasetError:
        return DatasetError(
            f"{self.file}, {place}: {came}", expected=expected, fix="correct it, or leave it out"
        )


def open_listed(where: Where, captions: Captions, *, split: str, form: str) -> CaptionDataset:
    """Open the images that a file lists.

    Args:
        where: what the user named.
        captions: the captions that the file lists.
        split: the name of the split.
        form: a name for the format.

    Raises:
        DatasetError: the folder of the images is not found, or images are missing in it.
    """
    names = list(captions.by_image)
    if not names:
        raise DatasetError(f"{captions.file} lists no image", expected="images and their captions")
    root = _find_root(where, captions.file, names[0])
    paths = [root / name for name in names]
    # A pipe or device exists: it is an error of that image, when it is asked for.
    missing = [name for name, path in zip(names, paths, strict=True) if not _is_there(path)]
    if missing:
        first = ", ".join(f"{name} ({captions.places[name]})" for name in missing[:3])
        raise DatasetError(
            f"{captions.file} lists {len(missing)} of {len(names)} images that do not exist in "
            f"{root}: {first}",
            expected="a file for each image",
            fix="fetch them, or name another folder: captions:FILE?images=DIR",
        )
    return make_dataset(
        where,
        dict(zip(paths, captions.by_image.values(), strict=True)),
        root=root,
        name=_name(captions.file),
        source={"format": form, "split": split, "captions": captions.file.name},
    )


def make_dataset(
    where: Where,
    captions: Mapping[Path, Sequence[str]],
    *,
    root: Path,
    name: str,
    source: Mapping[str, str],
) -> CaptionDataset:
    """Make a dataset of image files and their captions; `root` is not part of its identity.

    Raises:
        DatasetError: a file may not be read, or `CaptionDataset` refuses the captions.
    """
    try:
        images, scan = open_files([*captions], root, where.spec)
    except OSError as error:
        raise DatasetError(
            f"an image of {where.spec} cannot be read: {error}", fix="check its permissions"
        ) from error
    return CaptionDataset(
        name=name,
        spec=where.spec,
        images=images,
        captions=tuple(map(tuple, captions.values())),
        source={**source, "fingerprint_of": _COVERED},
        image_fingerprint=hash_contents(scan.contents),
    )


def _name(file: Path) -> str:
    """Make the name of a dataset from its file, or from its folder where every folder has one."""
    stem = file.stem
    generic = stem.lower() in ("metadata", "captions", "annotations")
    return short_name(file.resolve().parent.name if generic else stem) or "captions"


def _find_root(where: Where, file: Path, first: str) -> Path:
    """Find the folder that the paths of a file start from: the first that has the first image.

    Looked into are the folder that is named; or that of the file, the folder above if it is called
    annotations, and the folders in these.
    """
    if where.images is not None:
        folders = [where.images]
        if not is_folder(where.images):
            raise DatasetError(
                f"{where.images} is not a folder", expected="the folder of the images"
            )
    else:
        beside = [file.parent]
        if file.parent.resolve().name.lower() in ("annotations", "annotation", "captions"):
            beside.append(file.parent.resolve().parent)
        try:
            folders = [*beside, *(inner for folder in beside for inner in _folders_in(folder))]
        except OSError as error:
            raise DatasetError(
                f"{file.parent} cannot be read: {error}", fix="check its permissions"
            ) from error
    found = next((folder for folder in folders if _is_there(folder / first)), None)
    if found is None:
        raise DatasetError(
            f"{file}: its first image {first} is not there",
            expected=f"a file in {listed(map(str, folders), 4)}",
            fix="name the folder of the images: captions:FILE?images=DIR",
        )
    return found


def _folders_in(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if entry.name[0] != "." and not is_system_folder(entry.name) and entry.is_dir()
        )
    return [folder / name for name in names[:_MOST_FOLDERS]]


def _is_there(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # a name that is too long, or contains NUL
        return False
