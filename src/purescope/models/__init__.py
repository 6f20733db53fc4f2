"""Models by name: `load_model(spec)` finds the format from the name or the file and returns a `Model`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch

from purescope.errors import ModelError, did_you_mean
from purescope.models import _laclip, _open_clip
from purescope.models._towers import Towers, to_model
from purescope.models.model import OPENAI_PREPROCESS, Model, Preprocess

__all__ = ["OPENAI_PREPROCESS", "AvailableModel", "Model", "Preprocess", "available_models", "load_model"]

BUNDLED = {"clip": "Bundled CLIP", "laclip": "Bundled LaCLIP"}
_PLANNED = {"open_clip": "models that open_clip downloads", "hf": "models of the Hugging Face hub"}
_SPELLINGS = ("CLIP", "LaCLIP", "SLIP", "CC3M", "CC12M", "RedCaps", "LAION400M", "ViT")
_WORDS = {word.lower(): word for word in _SPELLINGS}


@dataclass(frozen=True)
class AvailableModel:
    """One row of `purescope models`; `present` is None where it depends on what PATH is."""

    spec: str
    description: str
    present: bool | None


def load_model(
    spec: str, *, label: str | None = None, device: str | torch.device = "cpu", precision: str = "float32"
) -> Model:
    """Load a model by its name; no code that is stored with weights is run, and nothing is downloaded.

    Args:
        spec: `bundled:NAME`, `local-dir:FOLDER` (open_clip's form), or the path of a LaCLIP checkpoint or of
            such a folder; `LABEL=` may stand before it.
        label: what to call it; without one, the label in `spec`, or one made of the file name.
        device: where to encode; features always come back to the cpu.
        precision: "float32", or "bfloat16" or "float16" by autocast; features are float32 in any case.

    Returns:
        The model: encoders, projections, preprocess and identity.

    Raises:
        ModelError: the name is unknown, or the file is missing, broken, unsafe, of another format or misfits.
    """
    named, name = _split_label(spec)
    label = label if label is not None else named
    towers, default = _find(name)
    label = default if label is None else label.strip()
    if not label or re.search(r"[/\\\x00-\x1f]", label):
        raise ModelError(f"label {label!r}", expected="a name that can be part of a file name")
    return to_model(towers, label=label, spec=spec, device=device, precision=precision)


def available_models() -> list[AvailableModel]:
    """What `load_model` takes, and whether it is on this disk."""
    return [
        *(
            AvailableModel(f"bundled:{name}", label, (_bundled_folder(name) / _open_clip.CONFIG).is_file())
            for name, label in BUNDLED.items()
        ),
        AvailableModel("local-dir:PATH", "a folder in open_clip's form", None),
        AvailableModel("PATH", "a LaCLIP checkpoint (.pt), or a folder in open_clip's form", None),
    ]


def _split_label(spec: str) -> tuple[str | None, str]:
    """A label ends at the first "=", unless that is part of a path or of what follows a prefix.

    Examples:
        >>> _split_label("CC3M LaCLIP=runs/lr=3/best.pt"), _split_label("runs/lr=3/best.pt")
        (('CC3M LaCLIP', 'runs/lr=3/best.pt'), (None, 'runs/lr=3/best.pt'))
    """
    label, equals, name = spec.partition("=")
    if not equals or re.search(r"[:/\\]", label) or _exists(Path(spec)):
        return None, spec
    return label, name


def _find(name: str) -> tuple[Towers, str]:
    prefix, colon, rest = name.partition(":")
    if colon and prefix in _LOADERS:
        return _LOADERS[prefix](rest)
    if colon and prefix in _PLANNED:
        raise ModelError(
            f"{name}: {_PLANNED[prefix]} are not included in this version",
            fix=f"give one of: {', '.join(_known())}",
        )
    if name and _exists(_path(name)):
        return _load_path(name)
    raise ModelError(f"no model or file {name!r}", fix=_suggest(name))


def _load_bundled(name: str) -> tuple[Towers, str]:
    if name not in BUNDLED:
        raise ModelError(f"no bundled model {name!r}", fix=did_you_mean(name, BUNDLED))
    return _open_clip.load(_bundled_folder(name)), BUNDLED[name]


def _load_folder(name: str) -> tuple[Towers, str]:
    folder = _path(name)
    return _open_clip.load(folder), _label(folder.resolve().name)


def _load_path(name: str) -> tuple[Towers, str]:
    path = _path(name)
    return _load_folder(name) if path.is_dir() else (_laclip.load(path), _label(path.stem))


_LOADERS: dict[str, Callable[[str], tuple[Towers, str]]] = {
    "bundled": _load_bundled,
    "local-dir": _load_folder,
}


def _bundled_folder(name: str) -> Path:
    return Path(str(files("purescope") / "bundled" / "models" / name))


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # "~name" of nobody on this machine
        return Path(name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for a file is none
        return False


def _label(stem: str) -> str:
    """Words as this field spells them, from a file or folder name.

    Examples:
        >>> _label("cc3m_laclip"), _label("my-run")
        ('CC3M LaCLIP', 'my run')
    """
    return " ".join(_WORDS.get(word.lower(), word) for word in re.split(r"[_\-\s]+", stem) if word)


def _suggest(name: str) -> str:
    """The closest of the files beside a path, or of the names there are."""
    folder = _path(name).parent
    siblings = [str(path) for path in folder.glob("*")] if folder != Path() else []
    return did_you_mean(name, siblings or _known())


def _known() -> list[str]:
    return [row.spec for row in available_models()]
