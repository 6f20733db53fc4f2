"""``folder:DIR``: a sub-folder of images for each class, as torchvision's ImageFolder takes it.

The files below class folders are counted once, whatever links there are. Links are followed where
they lead to something new. One that leads to a folder above it, or to what is counted already,
would count its images again, in the worst case each of them forty times, until the system has
enough.

"""

import logging
import os
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch

from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.images import FINGERPRINTED, name_below, open_files
from purescope.datasets.names import in_order, warn_of_number_order
from purescope.datasets.prompts import PLAIN_TEMPLATES, clean_name
from purescope.errors import DatasetError, listed
from purescope.files.reading import read_text
from purescope.specs import short_name, to_path

_Id = tuple[int, int]  # device and number: what a file is, by whatever path


# What systems and programs put beside the files of users, thumbnails of them among it; in small
# letters.
_SYSTEM = frozenset({
    "__macosx", "temporary items", "network trash folder", "thevolumesettingsfolder",  # macOS
    "$recycle.bin", "recycler", "recycled", "system volume information", "msocache",  # Windows
    "lost+found", "~snapshot",  # Unix, NetApp
    "__pycache__",
})  # fmt: skip
_SYSTEM_PATTERN = re.compile(
    r"[@#](eadir|__thumb|recycle|recently|snapshot|tmp|syno|sharebin|app|database|transcode)[^/]*"  # Synology, QNAP
    r"|found\.[0-9]{3}",  # chkdsk
    re.IGNORECASE,
)


def is_system_folder(name: str) -> bool:
    """Tell whether a folder is none of the user's: a bin, thumbnails, or what an archive of macOS
    leaves.

    Examples:
        >>> [is_system_folder(name) for name in ("__MACOSX", "@eaDir", "lost+found", "#recycle", "macos", "@home")]
        [True, True, True, True, False, False]
    """
    return name.lower() in _SYSTEM or bool(_SYSTEM_PATTERN.fullmatch(name))


@dataclass
class ClassFiles:
    """What lies below the sub-folders of a root.

    Args:
        files: of each sub-folder that is a class, by folders and then by names; of any kind and any
            ending.
        left_out: links to what is counted elsewhere, and folders that a link has led to before.
        system: folders that are passed over, for `is_system_folder` says that they are none of the
            user's.
    """

    files: dict[str, list[Path]] = field(default_factory=dict)
    left_out: list[Path] = field(default_factory=list)
    system: list[Path] = field(default_factory=list)


def class_files(root: Path) -> ClassFiles:
    """Find all files below each sub-folder of `root`, but for folders of the system and what begins
    with a dot.

    Folders come before links to them, and links among the classes before those within one: what
    comes first counts.

    Raises:
        OSError: a folder cannot be read.
    """
    walk = _Walk(root)
    with os.scandir(root) as entries:
        folders = sorted(
            (e for e in entries if e.name[0] != "." and _is_dir(e)), key=lambda entry: entry.name
        )
    for entry in sorted(folders, key=lambda entry: entry.is_symlink()):
        if is_system_folder(entry.name):
            walk.system.append(root / entry.name)
        else:
            walk.class_folder(entry.name)
    walk.follow_links()
    found = {
        name: sorted(paths, key=lambda path: (str(path.parent), path.name))
        for name, paths in walk.found.items()
    }
    return ClassFiles(
        {name: found[name] for name in in_order(found)}, sorted(walk.left_out), sorted(walk.system)
    )


class _Walk:
    def __init__(self, root: Path) -> None:
        self.root = root
        real = root.resolve()
        self.above = {_id_of(path) for path in (real, *real.parents)}
        self.folders: set[_Id] = set()
        self.files: set[_Id] = set()
        self.found: dict[str, list[Path]] = {}
        self.left_out: list[Path] = []
        self.system: list[Path] = []
        self.links: list[
            tuple[str, Path]
        ] = []  # with the class that each belongs to, still to be followed

    def class_folder(self, name: str) -> None:
        """Walk a sub-folder of the root; a link to what is counted already makes no class."""
        if self._is_new(self.root / name):
            self.found[name] = []
            self._walk(name, self.root / name)

    def follow_links(self) -> None:
        """Walk what links have led to so far, in the order of their paths, and what links in there
        lead to.
        """
        while self.links:
            turn, self.links = sorted(self.links), []
            for name, path in turn:
                if path.is_dir():
                    if self._is_new(path):
                        self._walk(name, path)
                else:
                    self._file_behind(name, path)

    def _walk(self, name: str, folder: Path) -> None:
        """Take the files of a new folder and of those in it; leave its links for later."""
        waiting = [folder]
        while waiting:
            parent = waiting.pop()
            device = parent.stat().st_dev
            with os.scandir(parent) as entries:
                for entry in entries:
                    path = parent / entry.name
                    if entry.name[0] == ".":
                        continue
                    if is_system_folder(entry.name) and _is_dir(entry):
                        self.system.append(path)
                    elif entry.is_symlink():
                        self.links.append((name, path))
                    elif not entry.is_dir():
                        self.files.add((device, entry.inode()))
                        self.found[name].append(path)
                    elif self._is_new(path):
                        waiting.append(path)

    def _is_new(self, folder: Path) -> bool:
        folder_id = _id_of(folder)
        if folder_id in self.above or folder_id in self.folders:
            self.left_out.append(folder)
            return False
        self.folders.add(folder_id)
        return True

    def _file_behind(self, name: str, path: Path) -> None:
        try:
            file_id = _id_of(path)
        except OSError:  # it leads nowhere: an error of that image, when it is asked for
            self.found[name].append(path)
            return
        if file_id in self.files:
            self.left_out.append(path)
        else:
            self.files.add(file_id)
            self.found[name].append(path)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _id_of(path: Path) -> _Id:
    found = path.stat()
    return found.st_dev, found.st_ino


_log = logging.getLogger(__name__)

_EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_NO_PICTURES = (
    ".txt",
    ".json",
    ".csv",
    ".md",
    ".xml",
    ".html",
    ".db",
    ".ini",
)  # what may lie beside them
_SPLITS = (
    "train", "training", "test", "tests", "testing", "val", "vali", "valid", "validate", "validation", "validating",
    "dev", "eval", "evaluation", "holdout", "unlabeled", "unlabelled", "trainval", "testdev", "minival",
)  # fmt: skip
_BESIDE_SPLITS = (
    "set",
    "data",
    "dataset",
    "images",
    "imgs",
    "img",
    "image",
    "split",
    "seg",
    "pred",
    "folder",
    "raw",
    "hold",
    "out",
    "extra",
)
_LAYOUT = "a folder with a sub-folder of images for each class: DIR/cat/1.jpg, DIR/dog/1.jpg"


def load(folder: str) -> Dataset:
    """The images below `folder`.

    A class is a sub-folder; labels follow their sorted names, or their numbers where all are called
    by one. Class names are those of the sub-folders, or come from ``DIR/classes.txt``: one name a
    line in that order, or lines of sub-folder, tab, name. A sub-folder without images stays a class
    that can be chosen, and is reported, as are files that are no images by their names, and folders
    that systems and programs make, as ``@eaDir``. Links are followed to what is not counted yet;
    others are left out, and reported. What has a name that begins with a dot is passed over.

    Raises:
        DatasetError: it is missing, has no images in sub-folders, has splits for classes, or
            ``classes.txt`` does not fit it.
    """
    root = to_path(folder)
    try:
        below = _class_files(root)
        _refuse_splits(root, below)
        _warn_of_same_sub_folders(root, below)
        classes, files = list(below.files), list(below.files.values())
        names = _class_names(root, classes)
        warn_of_number_order(classes, f"folder:{root}")
        _report_left_out(root, below.system, "folders that systems and programs make")
        _report_others(root, [path for part in files for path in part])
        _report_left_out(root, below.left_out, "links lead to what is counted already and")
        found = [[path for path in part if _is_image(path.name)] for part in files]
        empty = _empty_classes(root, classes, found)
        paths = [path for part in found for path in part]
        labels = torch.tensor(
            [label for label, part in enumerate(found) for _ in part], dtype=torch.int64
        )
        images, looked = open_files(paths, root, f"folder:{root}")
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
            fingerprint=fingerprint(names, labels, looked.contents),
        )
    except OSError as error:
        raise DatasetError(
            f"folder:{folder} cannot be read: {error}", fix="check its permissions"
        ) from error


def _class_files(root: Path) -> ClassFiles:
    if not root.is_dir():
        raise DatasetError(f"folder:{root} is not a folder", expected=_LAYOUT, fix="check the path")
    below = class_files(root)
    if not below.files:
        entries = [entry for entry in root.iterdir() if entry.name[0] != "."]
        loose = sum(_is_image(entry.name) for entry in entries)
        told = (
            f"{loose} image{'s' * (loose != 1)} directly in it"
            if loose
            else f"{len(entries)} files and no image"
        )
        raise DatasetError(
            f"folder:{root} {f'has no sub-folder, {told}' if entries else 'is empty'}",
            expected=_LAYOUT,
            fix="put the images of each class into a sub-folder of its own"
            if loose
            else "check the path",
        )
    return below


def _class_names(root: Path, sub_folders: list[str]) -> list[str]:
    file = root / "classes.txt"
    if not os.path.lexists(file):
        return sub_folders
    try:
        lines = [
            line for line in read_text(file, encoding="utf-8-sig").splitlines() if line.strip()
        ]
    except OSError as error:
        raise DatasetError(
            f"{file} cannot be read: {error.strerror}", expected="a class name a line"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 text: {error}", fix="save it as UTF-8") from error
    table = [line.partition("\t")[::2] for line in lines if "\t" in line]
    pairs = table or zip(sub_folders, lines, strict=False)
    names = {sub_folder.strip(): name.strip() for sub_folder, name in pairs}
    if len(lines) != len(sub_folders) or set(names) != set(sub_folders):
        raise DatasetError(
            f"{file} has {len(lines)} lines that name {len(names)} of {len(sub_folders)} "
            f"sub-folders",
            expected="one line for each sub-folder: its class name, in the order of the "
            "sub-folders,"
            " or sub-folder, tab, class name",
            fix=f"the sub-folders are {listed(sub_folders)}",
        )
    return [names[sub_folder] for sub_folder in sub_folders]


def _report_others(root: Path, paths: list[Path]) -> None:
    """Name what may be images and is not read: a set that lost its .heic files is another set."""
    others = [
        path
        for path in paths
        if not _is_image(path.name) and path.suffix.lower() not in _NO_PICTURES
    ]
    if others:
        endings = ", ".join(sorted({path.suffix.lower() or "no ending" for path in others})[:8])
        first = name_below(root, others[0])
        warnings.warn(
            f"folder:{root}: {len(others)} files are no images by their names ({endings}) and are "
            f"left out, first "
            f"{first}; read are {', '.join(_EXTENSIONS)}",
            stacklevel=3,
        )


def _report_left_out(root: Path, left_out: list[Path], what: str) -> None:
    """Name the links or folders below `root` that are passed over."""
    if left_out:
        names = listed([name_below(root, path) for path in left_out])
        warnings.warn(f"folder:{root}: {len(left_out)} {what} are left out: {names}", stacklevel=3)


def _refuse_splits(root: Path, below: ClassFiles) -> None:
    """Refuse a folder whose sub-folders are splits: each would be a class."""
    filled = [
        name for name, files in below.files.items() if any(_is_image(path.name) for path in files)
    ]
    if not any(map(_is_split, filled)) or not all(
        _words(name) <= {*_SPLITS, *_BESIDE_SPLITS} for name in filled
    ):
        return
    test = next((name for name in filled if re.search("test", name, re.IGNORECASE)), filled[-1])
    raise DatasetError(
        f"folder:{root} has the sub-folders {listed(filled)}, which are splits, not classes",
        expected=_LAYOUT,
        fix=f"name the split: folder:{root / test}",
    )


def _warn_of_same_sub_folders(root: Path, below: ClassFiles) -> None:
    """Warn where what may be the classes lies one level deeper, the same below each sub-folder."""
    inner: dict[str, set[str]] = {}
    for name, files in below.files.items():
        parts = [path.relative_to(root / name).parts for path in files if _is_image(path.name)]
        if any(len(part) == 1 for part in parts):
            return
        inner |= {name: {part[0] for part in parts}} if parts else {}
    shared = set.intersection(*inner.values()) if len(inner) > 1 else set()
    if len(shared) > 1:
        warnings.warn(
            f"folder:{root}: all of its {len(inner)} sub-folders have the sub-folders "
            f"{listed(sorted(shared))}: if "
            f"those are the classes, name one of the {len(inner)}, as "
            f"folder:{root / next(iter(inner))}",
            stacklevel=3,
        )


def _is_split(name: str) -> bool:
    """Tell whether a folder is called like a split.

    Examples:
        >>> [_is_split(name) for name in ("train", "seg_test", "val2017", "Training Set", "trainer", "test tube")]
        [True, True, True, True, False, False]
    """
    return bool(_words(name) & {*_SPLITS}) and _words(name) <= {*_SPLITS, *_BESIDE_SPLITS}


def _words(name: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", name.lower()))


def _is_image(file: str) -> bool:
    return file.lower().endswith(_EXTENSIONS)


def _empty_classes(root: Path, classes: list[str], found: list[list[Path]]) -> list[str]:
    empty = [name for name, files in zip(classes, found, strict=True) if not files]
    if len(empty) == len(classes):
        raise DatasetError(
            f"folder:{root} has {len(classes)} sub-folders and no image in them",
            expected=f"files in {', '.join(_EXTENSIONS)}",
            fix="check the path, or convert images of other formats",
        )
    if empty:
        _log.warning(
            "folder:%s: no image in %d of %d sub-folders: %s", root, len(empty), len(classes), empty
        )
    return empty
