"""The text tower of transformers that a model of open_clip names: its configuration, from a folder or the hub."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from purescope.errors import ModelError
from purescope.files.hub import fetch_file
from purescope.models._transformers_config import rebuilt_text_tower
from purescope.models._vocabulary import require_transformers


@dataclass(frozen=True)
class TextTower:
    """A text tower of transformers.

    Args:
        path: of its config.json.
        config: what is left of that.
        place: where it lies in the folder of the model; empty where it is on the hub.
    """

    path: Path
    config: Mapping[str, Any]
    place: str = ""


def find_text_tower(name: str, folder: Path | None, where: str, *, offline: bool) -> TextTower:
    """The text tower of a name, in the model's own folder or on the hub.

    Args:
        name: a folder in `folder`, or a repository.
        folder: of the model, where it is one.
        where: what messages call the model.
        offline: fetch nothing.

    Raises:
        ModelError: it is not there, cannot be fetched, or is none of open_clip's.
        MissingExtraError: transformers is not installed.
    """
    require_transformers()
    place = Path(name) / "config.json"
    if folder is not None and (folder / place).exists():
        return TextTower(folder / place, rebuilt_text_tower(folder / place), place.as_posix())
    try:
        path = fetch_file(name, ["config.json"], offline=offline)
    except ModelError as error:
        came = f"{where}: wants the text tower {name}. {error.came}"
        raise ModelError(came, expected=error.expected, fix=error.fix) from error
    return TextTower(path, rebuilt_text_tower(path))
