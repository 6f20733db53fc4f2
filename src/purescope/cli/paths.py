"""Paths on the command line: how options and arguments read them, and whether they exist.

Paths are checked before torch is imported, so that a mistyped path is answered at once. Only what a
look at the disk decides is refused here, with the error that opening the path would raise. The code
that opens a path reports everything else.
"""

import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

import click

from purescope.cli.output import Streams
from purescope.errors import DatasetError, InputError, ModelError, PurescopeError
from purescope.specs import WEIGHTS, exists, is_folder, no_model, split_label, to_folder, to_path


class _Path(click.ParamType):  # type: ignore[type-arg]  # not generic in older releases of click
    """A path as it was typed, because `Path` would drop "./".

    ``~`` is the home folder, even if no shell has expanded it (``--out=~/results``).
    """

    name = "path"

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        name = f"{param.opts[-1]}: " if isinstance(param, click.Option) else ""
        try:
            return self._read(os.fspath(value))
        except PurescopeError as error:
            raise type(error)(
                f"{name}{error.came}", expected=error.expected, fix=error.fix
            ) from error

    def _read(self, value: str) -> Path:
        raise NotImplementedError


class _Folder(_Path):
    """A folder to read from or to write to.

    Args:
        results: whether the folder holds the results of the command.
    """

    def __init__(self, *, results: bool = False) -> None:
        self._results = results

    def _read(self, value: str) -> Path:
        path = to_folder(value)
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file", expected="a folder", fix="name another")
        if self._results:
            _check_parents(path)
            Streams.results = path
        return path


class _File(_Path):
    """A file to read."""

    def _read(self, value: str) -> Path:
        if not value.strip() or "\0" in value:
            raise InputError(
                f"a file called {value!r}", expected="the path of a file", fix="name one"
            )
        path = to_path(value)
        if path.is_dir():
            raise InputError(f"{path} is a folder", expected="a file", fix="name a file in it")
        if not exists(path):
            raise InputError(f"there is no file {path}", fix="check the path")
        return path


class _Output(_Path):
    """A file or a folder to write, or ``-`` for standard output."""

    def _read(self, value: str) -> Path:
        if value == "-":
            return Path(value)
        path = to_folder(value)
        _check_parents(path)
        return path


def _check_parents(path: Path) -> None:
    """Raise an error for an output folder that would lie in a file."""
    for parent in path.parents:
        if parent.is_file():
            raise InputError(
                f"{path} cannot be used: {parent} is a file",
                expected="a folder",
                fix="name another",
            )


FOLDER = _Folder()
RESULTS = _Folder(results=True)
FILE = _File()
OUTPUT = _Output()


MODEL_PREFIXES = ("bundled", "open_clip", "hf", "local-dir")
"""Prefixes that `purescope.models.load_model` knows; a test compares them."""

_TABLES = (".csv", ".tsv", ".parquet")
_FEATURES = (".npz", ".safetensors", ".npy")


def check_named(
    models: Sequence[str] = (),
    data: Iterable[str] = (),
    *,
    data_root: Path | None = None,
    download: bool = False,
) -> None:
    """Raise an error for models and datasets that are paths and do not exist.

    Args:
        models: models as they were typed.
        data: datasets as they were typed, one dataset in each item.
        data_root: the folder of the torchvision datasets.
        download: whether that folder may be made.

    Raises:
        ModelError, DatasetError, InputError: a path does not exist.
    """
    for spec in models:
        _check_model(split_label(spec)[1])
    for spec in data:
        name = split_label(spec)[1]
        _check_data(name)
        if ":" not in name and data_root is not None and not download:
            check_root(data_root, f" to find {name} in")


def check_root(folder: Path, purpose: str = "") -> None:
    """Raise an error if the folder of the torchvision datasets does not exist.

    Args:
        folder: the folder.
        purpose: text after its name in the error.

    Raises:
        DatasetError: the folder does not exist.
    """
    if not is_folder(folder):
        raise DatasetError(
            f"there is no folder {folder}{purpose}",
            expected="the folder of the torchvision datasets, which holds cifar-10-batches-py/, "
            "food-101/ or others",
            fix="check the path",
        )


def check_results(folder: Path) -> None:
    """Raise an error if a folder of results does not exist, and no folder beside it is similar.

    If there is a folder with a similar name, the code that opens the folder suggests it.

    Raises:
        InputError: the folder does not exist.
    """
    siblings = [path.name for path in folder.parent.glob("*")] if is_folder(folder.parent) else []
    if not is_folder(folder) and not get_close_matches(folder.name, siblings):
        raise InputError(
            f"there is no folder {folder}",
            expected="the --out folder of purescope sweep, demo, compare, evidence, track, layers "
            "or reproduce",
            fix="name one, or make one: `purescope demo`",
        )


def _check_model(name: str) -> None:
    prefix, colon, rest = name.partition(":")
    if colon and prefix == "local-dir" and not is_folder(to_path(rest)):
        raise ModelError(
            f"{name}: there is no folder {to_path(rest)}",
            expected="a folder with open_clip_config.json and open_clip_model.safetensors",
            fix="check the path",
        )
    # For a name without such an ending, only code that knows all architectures can suggest one.
    is_path = not (colon and prefix in MODEL_PREFIXES) and to_path(name).suffix in WEIGHTS
    if is_path and not exists(to_path(name)):
        raise no_model(name)


def _check_data(name: str) -> None:
    prefix, _, rest = name.partition(":")
    path = to_path(rest)
    if prefix == "features" and path.suffix in _FEATURES and not exists(path):
        raise InputError(f"there is no file {path}", fix="check the path")
    if prefix == "folder" and rest and not is_folder(path):
        raise DatasetError(
            f"folder:{path} is not a folder",
            expected="a folder with a sub-folder of images for each class: DIR/cat/1.jpg, "
            "DIR/dog/1.jpg",
            fix="check the path",
        )
    names_path = not rest.startswith(("bundled:", "hf:")) and not set("#?*{") & set(rest)
    if prefix == "captions" and rest and names_path and not exists(path):
        raise DatasetError(
            f"{name}: there is no {path}",
            expected="captions:PATH, captions:PATH#SPLIT or captions:PATH?images=DIR&...",
            fix="check the path, or quote it",
        )
    if prefix == "manifest" and path.suffix.lower() in _TABLES and not exists(path):
        raise DatasetError(
            f"there is no file {path}", expected="a table with a header", fix="check the path"
        )
