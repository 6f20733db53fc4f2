"""Write the folder of an export: it appears whole, and the library behind it stays quiet."""

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from purescope.errors import MissingExtraError
from purescope.files.writing import atomic_folder, refuse_existing


def require_extra(extra: str, *packages: str) -> None:
    """Refuse to go on without the packages of an extra.

    Raises:
        MissingExtraError: one of them is not installed.

    Examples:
        >>> require_extra("onnx", "torch", "onnx_of_tomorrow")
        Traceback (most recent call last):
        purescope.errors.MissingExtraError: the package 'onnx_of_tomorrow' is not installed
          expected: purescope with its extra 'onnx'
          to fix:   pip install 'purescope[onnx]'
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Provide a temporary folder that becomes `folder` if the block succeeds, else is removed.

    Raises:
        OutputError: the folder holds something, or cannot be written.
    """
    folder = folder.resolve()  # "." has no name to derive that of the temporary folder from
    refuse_existing(folder)
    with atomic_folder(folder) as partial:
        yield partial
        if folder.exists():  # empty; a rename onto it fails on some systems
            folder.rmdir()


def write_json(path: Path, content: Any) -> None:
    """Write a file of JSON, as people read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


@contextmanager
def quiet(*libraries: str) -> Iterator[None]:
    """Silence the warnings and the log of libraries within the block, errors excepted.

    What they say is about their own insides, and a failure is told by purescope.

    Examples:
        >>> with quiet("onnxscript"):
        ...     logging.getLogger("onnxscript.optimizer").isEnabledFor(logging.WARNING)
        False
        >>> logging.getLogger("onnxscript.optimizer").isEnabledFor(logging.WARNING)
        True
    """
    levels: Mapping[str, int] = {name: logging.getLogger(name).level for name in libraries}
    try:
        for name in libraries:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def without_bars() -> Iterator[None]:
    """Hide the progress bars of transformers within the block."""
    from transformers.utils import logging as module

    bars: Any = module
    was_enabled = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            bars.enable_progress_bar()
