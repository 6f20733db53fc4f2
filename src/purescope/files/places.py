"""Whose code a file is: that of this Python and its libraries, or that of a model's folder."""

import functools
import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import purescope

_CODE = (".py", ".pyc", ".pyw", ".so", ".pyd", ".dll", ".dylib")
_DYNAMIC = (
    "transformers_modules",
    "datasets_modules",
)  # packages that are made of code of repositories


class Places:
    """Folders that nobody vouches for, among those that hold libraries.

    Args:
        roots: the folders; those where transformers and datasets keep code of repositories are
            added.

    Examples:
        >>> places = Places(["/data/model"])
        >>> places.are_above("/data/model/custom.py"), places.are_above(os.__file__), places.are_above("<string>")
        (True, False, False)
    """

    def __init__(self, roots: Iterable[str]) -> None:
        self._foreign = _both_spellings([*roots, *_module_caches()])
        self._own = own_folders() | _imported()

    def are_above(self, path: Any) -> bool:
        """Whether the deepest known folder above a file is one of these, and not one of Python's
        own.

        A model's folder may hold the environment of Python, and the environment a model's folder.
        """
        if not isinstance(path, str | bytes) or os.fsdecode(path).startswith("<"):
            return False
        depths = ((_deepest(spelling, self._foreign), spelling) for spelling in _spellings(path))
        return any(
            depth >= 0 and depth > _deepest(spelling, self._own) for depth, spelling in depths
        )


def is_code(path: Any) -> bool:
    """Whether a file is called like a module or a shared library.

    Examples:
        >>> is_code("a/custom.py"), is_code(b"a/native.so"), is_code("a/config.json"), is_code(3)
        (True, True, False, False)
    """
    return isinstance(path, str | bytes) and os.fsdecode(path).lower().endswith(_CODE)


@functools.cache
def own_folders() -> frozenset[str]:
    """Where the code of this Python lies, of its environment and of purescope."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_path(name) for name in names] + [str(Path(purescope.__file__).parent)]
    folders += [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    folders += [
        entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")
    ]
    return _both_spellings(folders)


def _imported() -> frozenset[str]:
    """Where packages lie that have been imported already: their modules may be, too, wherever they
    are developed.
    """
    paths = [
        path
        for name, module in list(sys.modules.items())
        if "." not in name and name not in _DYNAMIC
        for path in list(getattr(module, "__path__", []))
    ]
    return _kept_spellings(frozenset(path for path in paths if isinstance(path, str)))


def _module_caches() -> list[str]:
    """Where transformers and datasets put the code of a repository before they import it."""
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    modules = [sys.modules.get(name) for name in ("transformers.utils.hub", "datasets.config")]
    named = [getattr(module, "HF_MODULES_CACHE", "") for module in modules]
    paths = [*named, os.environ.get("HF_MODULES_CACHE", ""), Path(home, "modules")]
    return [os.path.expanduser(path) for path in paths if path]  # noqa: PTH111 it takes any text


def _spellings(path: str | bytes) -> set[str]:
    """A path as it is named, and as it is when its links are followed; both lower-case where the
    system says so.
    """
    try:
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 pathlib would leave ".." as it is
        return {os.path.normcase(name), os.path.normcase(os.path.realpath(name))}
    except (OSError, ValueError):
        return {os.path.normcase(os.fsdecode(path))}


def _both_spellings(folders: Iterable[str]) -> frozenset[str]:
    return frozenset(spelling for folder in folders if folder for spelling in _spellings(folder))


@functools.lru_cache(maxsize=4)
def _kept_spellings(folders: frozenset[str]) -> frozenset[str]:
    """The same, kept: there are hundreds of packages, the same ones from model to model."""
    return _both_spellings(folders)


def _deepest(path: str, folders: frozenset[str]) -> int:
    """The length of the longest of the folders that hold a file; -1 where none does."""
    return max(
        (len(folder) for folder in folders if path.startswith(folder.rstrip(os.sep) + os.sep)),
        default=-1,
    )
