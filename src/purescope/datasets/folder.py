"""Load ``folder:DIR``: a sub-folder of images for each class, as torchvision's ImageFolder does.

Each file below the class folders is counted once, whatever links there are. A link is followed
where it leads to something new. A link to a folder above it, or to something counted already, would
count the same images again; in the worst case forty times, until the system stops following.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from purescope.datasets.dataset import Dataset, fingerprint, sort_names, warn_of_number_order
from purescope.datasets.images import FINGERPRINTED, open_files, path_below
from purescope.datasets.prompts import PLAIN_TEMPLATES, clean_name
from purescope.errors import DatasetError, listed
from purescope.files.reading import read_text
from purescope.specs import short_name, to_path

_log = logging.getLogger(__name__)

_FileId = tuple[int, int]  # device and inode: the same for every path to a file

# Folders that systems and programs put beside the user's own, some with thumbnails; lower case.
_SYSTEM = frozenset({
    "__macosx", "temporary items", "network trash folder", "thevolumesettingsfolder",  # macOS
    "$recycle.bin", "recycler", "recycled", "system volume information", "msocache",  # Windows
    "lost+found", "~snapshot",  # Unix, NetApp
    "__pycache__",
})  # fmt: skip
_SYSTEM_PATTERN = re.compile(
    r"[@#](eadir|__thumb|recycle|recently|snapshot|tmp|syno|sharebin|app|database|transcode)"
    r"[^/]*"  # Synology, QNAP
    r"|found\.[0-9]{3}",  # chkdsk
    re.IGNORECASE,
)


def is_system_folder(name: str) -> bool:
    """Tell whether a folder is not the user's: a bin, thumbnails, or a rest of a macOS archive.

    Examples:
        >>> [is_system_folder(name) for name in ("__MACOSX", "@eaDir", "lost+found", "#recycle")]
        [True, True, True, True]
        >>> is_system_folder("macos"), is_system_folder("@home")
        (False, False)
    """
    return name.lower() in _SYSTEM or bool(_SYSTEM_PATTERN.fullmatch(name))


@dataclass
class ClassFiles:
    """Hold the files below the sub-folders of a root.

    Args:
        files: the files of each class folder, sorted by folder and then by name; of any kind and
            any ending.
        left_out: links to files or folders that are counted elsewhere, and folders that a link led
            to before.
        system: folders that `is_system_folder` recognizes; their files are not counted.
    """

    files: dict[str, list[Path]] = field(default_factory=dict)
    left_out: list[Path] = field(default_factory=list)
    system: list[Path] = field(default_factory=list)


def find_class_files(root: Path) -> ClassFiles:
    """Find all files below each sub-folder of `root`.

    Folders of the system and names that begin with a dot are passed over. What is reached first
    counts: folders before links to them, and links among the classes before links within a class.

    Raises:
        OSError: a folder cannot be read.
    """
    walk = _Walk(root)
    with os.scandir(root) as entries:
        folders = [entry for entry in entries if entry.name[0] != "." and _is_folder(entry)]
    for entry in sorted(folders, key=lambda entry: (entry.is_symlink(), entry.name)):
        if is_system_folder(entry.name):
            walk.system.append(root / entry.name)
        else:
            walk.add_class(entry.name)
    walk.follow_links()
    return ClassFiles(
        {
            name: sorted(walk.files[name], key=lambda path: (str(path.parent), path.name))
            for name in sort_names(walk.files)
        },
        sorted(walk.left_out),
        sorted(walk.system),
    )


class _Walk:
    def __init__(self, root: Path) -> None:
        self.root = root
        real = root.resolve()
        self.above = {_file_id(path) for path in (real, *real.parents)}
        self.folder_ids: set[_FileId] = set()
        self.file_ids: set[_FileId] = set()
        self.files: dict[str, list[Path]] = {}
        self.left_out: list[Path] = []
        self.system: list[Path] = []
        self.links: list[tuple[str, Path]] = []  # still to be followed, each with its class

    def add_class(self, name: str) -> None:
        """Walk a sub-folder of the root; a link to a folder that is counted already is no class."""
        if self._is_new(self.root / name):
            self.files[name] = []
            self._walk_folder(name, self.root / name)

    def follow_links(self) -> None:
        """Follow the links that were met, in the order of their paths, and those met on the way."""
        while self.links:
            links, self.links = sorted(self.links), []
            for name, path in links:
                if not path.is_dir():
                    self._add_linked_file(name, path)
                elif self._is_new(path):
                    self._walk_folder(name, path)

    def _walk_folder(self, name: str, folder: Path) -> None:
        """Add the files of a new folder and of those in it; leave its links for later."""
        waiting = [folder]
        while waiting:
            parent = waiting.pop()
            device = parent.stat().st_dev
            with os.scandir(parent) as entries:
                for entry in entries:
                    path = parent / entry.name
                    if entry.name[0] == ".":
                        continue
                    if is_system_folder(entry.name) and _is_folder(entry):
                        self.system.append(path)
                    elif entry.is_symlink():
                        self.links.append((name, path))
                    elif not entry.is_dir():
                        self.file_ids.add((device, entry.inode()))
                        self.files[name].append(path)
                    elif self._is_new(path):
                        waiting.append(path)

    def _is_new(self, folder: Path) -> bool:
        folder_id = _file_id(folder)
        if folder_id in self.above or folder_id in self.folder_ids:
            self.left_out.append(folder)
            return False
        self.folder_ids.add(folder_id)
        return True

    def _add_linked_file(self, name: str, path: Path) -> None:
        try:
            file_id = _file_id(path)
        except OSError:  # a broken link: an error of that image, when it is asked for
            self.files[name].append(path)
            return
        if file_id in self.file_ids:
            self.left_out.append(path)
        else:
            self.file_ids.add(file_id)
            self.files[name].append(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file_id(path: Path) -> _FileId:
    status = path.stat()
    return status.st_dev, status.st_ino


_EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
# Files that may lie beside images; they need no warning.
_NO_PICTURES = (".txt", ".json", ".csv", ".md", ".xml", ".html", ".db", ".ini")
_SPLITS = frozenset({
    "train", "training", "test", "tests", "testing", "val", "vali", "valid", "validate",
    "validation", "validating", "dev", "eval", "evaluation", "holdout", "unlabeled", "unlabelled",
    "trainval", "testdev", "minival",
})  # fmt: skip
_SPLIT_NAMES = _SPLITS | {
    "set", "data", "dataset", "images", "imgs", "img", "image", "split", "seg", "pred", "folder",
    "raw", "hold", "out", "extra",
}  # fmt: skip
_LAYOUT = "a folder with a sub-folder of images for each class: DIR/cat/1.jpg, DIR/dog/1.jpg"


def load(folder: str) -> Dataset:
    """Load the images below `folder`.

    Each sub-folder is a class. Labels follow the sorted names of the sub-folders, by value where
    all are numbers. Class names are those of the sub-folders, or come from ``DIR/classes.txt``: one
    name a line in that order, or lines of sub-folder, tab, name. A sub-folder without images stays
    a class that can be predicted.

    Reported are sub-folders without images, files that are not images by their names, folders that
    systems and programs make, such as ``@eaDir``, and links that are not followed because they lead
    to something counted already. Names that begin with a dot are passed over.

    Raises:
        DatasetError: the folder is missing, has no images in sub-folders, has splits in place of
            classes, or ``classes.txt`` does not fit it.
    """
    root = to_path(folder)
    try:
        class_files = _find_files(root)
        _refuse_splits(root, class_files)
        _warn_of_same_sub_folders(root, class_files)
        classes = list(class_files.files)
        names = _read_class_names(root, classes)
        warn_of_number_order(classes, f"folder:{root}")
        _warn_of_left_out(root, class_files.system, "folders that systems and programs make")
        _warn_of_other_files(root, class_files)
        _warn_of_left_out(root, class_files.left_out, "links that lead to what is counted already")
        images_of = {name: _images_among(files) for name, files in class_files.files.items()}
        empty = _report_empty(root, images_of)
        paths = [path for images in images_of.values() for path in images]
        labels = torch.tensor(
            [label for label, images in enumerate(images_of.values()) for _ in images],
            dtype=torch.int64,
        )
        images, scan = open_files(paths, root, f"folder:{root}")
        return Dataset(
            name=short_name(root.resolve().name),
            spec=f"folder:{folder}",
            classes=tuple(names),
            labels=labels,
            images=images,
            # Names in classes.txt were written to be read; folder names were not.
            display_names=tuple(map(clean_name, names) if names == classes else names),
            templates=PLAIN_TEMPLATES,
            source={
                "sub_folders_without_images": ", ".join(empty),
                "fingerprint_of": FINGERPRINTED,
            },
            fingerprint=fingerprint(names, labels, scan.contents),
        )
    except OSError as error:
        raise DatasetError(
            f"folder:{folder} cannot be read: {error}", fix="check its permissions"
        ) from error


def _find_files(root: Path) -> ClassFiles:
    if not root.is_dir():
        raise DatasetError(f"folder:{root} is not a folder", expected=_LAYOUT, fix="check the path")
    class_files = find_class_files(root)
    if class_files.files:
        return class_files
    entries = [entry for entry in root.iterdir() if entry.name[0] != "."]
    loose = len(_images_among(entries))
    if loose:
        came = f"has no sub-folder, {loose} image{'s' * (loose != 1)} directly in it"
        fix = "put the images of each class into a sub-folder of its own"
    else:
        came = f"has no sub-folder, {len(entries)} files and no image" if entries else "is empty"
        fix = "check the path"
    raise DatasetError(f"folder:{root} {came}", expected=_LAYOUT, fix=fix)


def _read_class_names(root: Path, sub_folders: list[str]) -> list[str]:
    """Read the class names from ``classes.txt``; the names of the sub-folders where it is missing.

    Raises:
        DatasetError: the file cannot be read, or does not name each sub-folder once.
    """
    file = root / "classes.txt"
    if not os.path.lexists(file):
        return sub_folders
    try:
        text = read_text(file, encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(
            f"{file} cannot be read: {error.strerror}", expected="a class name a line"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 text: {error}", fix="save it as UTF-8") from error
    lines = [line for line in text.splitlines() if line.strip()]
    table = [line.partition("\t")[::2] for line in lines if "\t" in line]
    pairs = table or zip(sub_folders, lines, strict=False)
    names = {sub_folder.strip(): name.strip() for sub_folder, name in pairs}
    if len(lines) != len(sub_folders) or set(names) != set(sub_folders):
        raise DatasetError(
            f"{file} has {len(lines)} lines that name {len(names)} of {len(sub_folders)} "
            "sub-folders",
            expected="one line for each sub-folder: its class name, in the order of the "
            "sub-folders, or sub-folder, tab, class name",
            fix=f"the sub-folders are {listed(sub_folders)}",
        )
    return [names[sub_folder] for sub_folder in sub_folders]


def _warn_of_other_files(root: Path, class_files: ClassFiles) -> None:
    """Warn of files that may be images and are not read, such as .heic files."""
    others = [
        path
        for files in class_files.files.values()
        for path in files
        if not path.name.lower().endswith((*_EXTENSIONS, *_NO_PICTURES))
    ]
    if others:
        endings = ", ".join(sorted({path.suffix.lower() or "no ending" for path in others})[:8])
        warnings.warn(
            f"folder:{root}: {len(others)} files are not images by their names ({endings}) and are "
            f"left out, the first is {path_below(root, others[0])}; read are files in "
            f"{', '.join(_EXTENSIONS)}",
            stacklevel=3,
        )


def _warn_of_left_out(root: Path, left_out: list[Path], kind: str) -> None:
    """Warn of links or folders below `root` that are passed over."""
    if left_out:
        names = listed([path_below(root, path) for path in left_out])
        warnings.warn(f"folder:{root}: {len(left_out)} {kind} are left out: {names}", stacklevel=3)


def _refuse_splits(root: Path, class_files: ClassFiles) -> None:
    """Refuse a folder whose sub-folders are splits: each of them would become a class."""
    filled = [name for name, files in class_files.files.items() if _images_among(files)]
    if not any(map(_is_split, filled)) or not all(_words(name) <= _SPLIT_NAMES for name in filled):
        return
    test = next((name for name in filled if re.search("test", name, re.IGNORECASE)), filled[-1])
    raise DatasetError(
        f"folder:{root} has the sub-folders {listed(filled)}, which are splits, not classes",
        expected=_LAYOUT,
        fix=f"name the split: folder:{root / test}",
    )


def _warn_of_same_sub_folders(root: Path, class_files: ClassFiles) -> None:
    """Warn where the classes may lie one level deeper: the same folders in each sub-folder."""
    inner: dict[str, set[str]] = {}
    for name, files in class_files.files.items():
        parts = [path.relative_to(root / name).parts for path in _images_among(files)]
        if any(len(part) == 1 for part in parts):
            return
        if parts:
            inner[name] = {part[0] for part in parts}
    shared = set.intersection(*inner.values()) if len(inner) > 1 else set()
    if len(shared) > 1:
        warnings.warn(
            f"folder:{root}: all of its {len(inner)} sub-folders have the sub-folders "
            f"{listed(sorted(shared))}: if those are the classes, name one of the {len(inner)}, "
            f"such as folder:{root / next(iter(inner))}",
            stacklevel=3,
        )


def _is_split(name: str) -> bool:
    """Tell whether a folder has the name of a split.

    Examples:
        >>> [_is_split(name) for name in ("train", "seg_test", "val2017", "Training Set")]
        [True, True, True, True]
        >>> _is_split("trainer"), _is_split("test tube")
        (False, False)
    """
    return bool(_words(name) & _SPLITS) and _words(name) <= _SPLIT_NAMES


def _words(name: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", name.lower()))


def _images_among(files: Iterable[Path]) -> list[Path]:
    """Return the files that are images by their names."""
    return [file for file in files if file.name.lower().endswith(_EXTENSIONS)]


def _report_empty(root: Path, images: dict[str, list[Path]]) -> list[str]:
    """Return the class folders without images, and log them.

    Raises:
        DatasetError: no class folder has an image.
    """
    empty = [name for name, paths in images.items() if not paths]
    if len(empty) == len(images):
        raise DatasetError(
            f"folder:{root} has {len(empty)} sub-folders and no image in them",
            expected=f"files in {', '.join(_EXTENSIONS)}",
            fix="check the path, or convert images of other formats",
        )
    if empty:
        _log.warning(
            "folder:%s: no image in %d of %d sub-folders: %s", root, len(empty), len(images), empty
        )
    return empty
