"""Paths on the command line: what every option and argument that takes one reads it by."""

import os
from pathlib import Path

import click

from purescope.cli.outlets import Outlets
from purescope.errors import InputError, PurescopeError
from purescope.specs import exists, to_folder, to_path


class _Path(click.ParamType):  # type: ignore[type-arg]  # of which older releases of click have none
    """As typed, before `Path` drops "./": ``~`` is home, also where no shell has expanded it (``--out=~/results``)."""

    name = "path"

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Path:
        name = f"{param.opts[-1]}: " if isinstance(param, click.Option) else ""
        try:
            return self._read(os.fspath(value))
        except PurescopeError as error:
            raise type(error)(f"{name}{error.came}", expected=error.expected, fix=error.fix) from error

    def _read(self, value: str) -> Path:
        raise NotImplementedError


class _Folder(_Path):
    """A folder, to read from or to write into.

    Args:
        results: whether the results of the command are in it.
    """

    def __init__(self, *, results: bool = False) -> None:
        self._results = results

    def _read(self, value: str) -> Path:
        path = to_folder(value)
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file", expected="a folder", fix="name another")
        if self._results:
            _check_above(path)
            Outlets.results = path
        return path


class _File(_Path):
    """A file to read."""

    def _read(self, value: str) -> Path:
        if not value.strip() or "\0" in value:
            raise InputError(f"a file called {value!r}", expected="the path of a file", fix="name one")
        path = to_path(value)
        if path.is_dir():
            raise InputError(f"{path} is a folder", expected="a file", fix="name a file in it")
        if not exists(path):
            raise InputError(f"there is no file {path}", fix="check the path")
        return path


def _check_above(path: Path) -> None:
    """Refuse a folder to write into that would lie in a file."""
    for above in path.parents:
        if above.is_file():
            raise InputError(f"{path} cannot be used: {above} is a file", expected="a folder", fix="name another")


FOLDER = _Folder()
RESULTS = _Folder(results=True)
FILE = _File()
