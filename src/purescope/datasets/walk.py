"""The files below class folders, each counted once, whatever links there are.

Links are followed where they lead to something new. One that leads to a folder above it, or to what is counted already,
would count its images again, in the worst case each of them forty times, until the system has enough.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from purescope.datasets.names import in_order

_Id = tuple[int, int]  # device and number: what a file is, by whatever path


# What systems and programs put beside the files of users, thumbnails of them among it; in small letters.
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
    """Tell whether a folder is none of the user's: a bin, thumbnails, or what an archive of macOS leaves.

    Examples:
        >>> [is_system_folder(name) for name in ("__MACOSX", "@eaDir", "lost+found", "#recycle", "macos", "@home")]
        [True, True, True, True, False, False]
    """
    return name.lower() in _SYSTEM or bool(_SYSTEM_PATTERN.fullmatch(name))


@dataclass
class ClassFiles:
    """What lies below the sub-folders of a root.

    Args:
        files: of each sub-folder that is a class, by folders and then by names; of any kind and any ending.
        left_out: links to what is counted elsewhere, and folders that a link has led to before.
        system: folders that are passed over, for `is_system_folder` says that they are none of the user's.
    """

    files: dict[str, list[Path]] = field(default_factory=dict)
    left_out: list[Path] = field(default_factory=list)
    system: list[Path] = field(default_factory=list)


def class_files(root: Path) -> ClassFiles:
    """Find all files below each sub-folder of `root`, but for folders of the system and what begins with a dot.

    Folders come before links to them, and links among the classes before those within one: what comes first counts.

    Raises:
        OSError: a folder cannot be read.
    """
    walk = _Walk(root)
    with os.scandir(root) as entries:
        folders = sorted((e for e in entries if e.name[0] != "." and _is_dir(e)), key=lambda entry: entry.name)
    for entry in sorted(folders, key=lambda entry: entry.is_symlink()):
        if is_system_folder(entry.name):
            walk.system.append(root / entry.name)
        else:
            walk.class_folder(entry.name)
    walk.follow_links()
    found = {name: sorted(paths, key=lambda path: (str(path.parent), path.name)) for name, paths in walk.found.items()}
    return ClassFiles({name: found[name] for name in in_order(found)}, sorted(walk.left_out), sorted(walk.system))


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
        self.links: list[tuple[str, Path]] = []  # with the class that each belongs to, still to be followed

    def class_folder(self, name: str) -> None:
        """Walk a sub-folder of the root; a link to what is counted already makes no class."""
        if self._is_new(self.root / name):
            self.found[name] = []
            self._walk(name, self.root / name)

    def follow_links(self) -> None:
        """Walk what links have led to so far, in the order of their paths, and what links in there lead to."""
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
