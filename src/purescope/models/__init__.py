"""Models by name: `load_model(spec)` finds the format from the name or the file and returns a
`Model`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

import torch

from purescope.errors import ModelError, PurescopeError, near_miss
from purescope.models import open_clip as _open_clip
from purescope.models import sources, transformers
from purescope.models.architectures import split_file
from purescope.models.checkpoint import one_line
from purescope.models.model import OPENAI_PREPROCESS as OPENAI_PREPROCESS
from purescope.models.model import Model
from purescope.models.model import Preprocess as Preprocess
from purescope.models.towers import Towers, to_model
from purescope.specs import (
    WEIGHTS,
    closest_beside,
    exists,
    is_folder,
    is_label,
    meant_by,
    split_label,
    split_part,
    to_path,
)

BUNDLED = {"clip": "Bundled CLIP", "laclip": "Bundled LaCLIP"}
_HUB = "hf-hub:"
_SPELLINGS = ("CLIP", "LaCLIP", "SLIP", "CC3M", "CC12M", "RedCaps", "LAION400M", "ViT")
_WORDS = {word.lower(): word for word in _SPELLINGS}


@dataclass(frozen=True)
class AvailableModel:
    """One row of `purescope models`; `present` is None where it depends on what PATH is."""

    spec: str
    description: str
    present: bool | None


def load_model(
    spec: str,
    *,
    label: str | None = None,
    device: str | torch.device = "cpu",
    precision: str = "auto",
    arch: str | None = None,
    offline: bool = False,
) -> Model:
    """Load a model by its name; no code that is stored with weights is run.

    Args:
        spec: `bundled:NAME`, `open_clip:ARCH/TAG`, `open_clip:ARCH/FILE`,
            `open_clip:hf-hub:ORG/NAME`, `hf:ORG/NAME`, `local-dir:FOLDER`, or the path of a
            checkpoint or of a folder with a model; `LABEL=` may stand before it. See
            `available_models`. ``FILE#PART`` is one of several models in a file.
        label: what to call it; without one, the label in `spec`, or one made of the name.
        device: where to encode; features always come back to the cpu.
        precision: "fp32", or "bf16" or "fp16" by autocast; "auto" is fp32 on the cpu and bf16 on
            accelerators that have it. Features are float32 in any case.
        arch: architecture of a bare file of open_clip's weights: open_clip's name, ``ARCH/TAG`` for
            the preprocess of one of its tags, or a file of JSON with a model_cfg.
        offline: fetch nothing, as HF_HUB_OFFLINE in the environment says, too; what was fetched
            before is found.

    Returns:
        The model: encoders, projections, preprocess and identity.

    Raises:
        ModelError: the name is unknown, or the file is missing, broken, unsafe, of another format
            or misfits.
        MissingExtraError: the model needs transformers, which is not installed.

    Examples:
        >>> model = load_model("mine=bundled:clip")
        >>> model.label, model.neurons, list(model.projections.image.shape)
        ('mine', 512, [512, 768])
        >>> load_model("bundled:clap")
        Traceback (most recent call last):
        purescope.errors.ModelError: no bundled model 'clap'
          expected: one of clip, laclip
          to fix:   did you mean 'clip' or 'laclip'?
    """
    named, name = split_label(spec)
    label = label if label is not None else named
    towers, default = find_towers(name, arch=arch, offline=offline)
    label = default if label is None else label.strip()
    if not is_label(label):
        raise ModelError(
            f"label {label!r}",
            expected="a name that can be part of a file name",
            fix="give another: LABEL=MODEL",
        )
    return to_model(towers, label=label, spec=spec, device=device, precision=precision)


def available_models() -> list[AvailableModel]:
    """What `load_model` takes, and whether it is on this disk."""
    return [
        *(
            AvailableModel(
                f"bundled:{name}", label, (_bundled_folder(name) / sources.CONFIG).is_file()
            )
            for name, label in BUNDLED.items()
        ),
        AvailableModel("open_clip:ARCH/TAG", "one of open_clip's pretrained models", None),
        AvailableModel(
            "open_clip:ARCH/FILE",
            "a bare file of weights that does not tell its architecture",
            None,
        ),
        AvailableModel(
            "open_clip:hf-hub:ORG/NAME", "a repository of the hub in open_clip's form", None
        ),
        AvailableModel(
            "hf:ORG/NAME", "a CLIP or SigLIP of transformers, on the hub or in a folder", None
        ),
        AvailableModel("local-dir:PATH", "a folder in open_clip's form", None),
        AvailableModel(
            "PATH",
            "a checkpoint of LaCLIP, SLIP, OpenAI or open_clip, or a folder with a model",
            None,
        ),
    ]


def find_towers(name: str, *, arch: str | None = None, offline: bool = False) -> tuple[Towers, str]:
    """The towers of a name without a label, and the label they get by default; see `load_model`."""
    prefix, colon, rest = name.partition(":")
    known = colon and prefix in _LOADERS
    file, part = (name, None) if known else split_part(name)
    path = to_path(file)
    if not known and not (file and exists(path)):
        raise ModelError(
            f"no model or file {name!r}",
            expected="a path that exists, or one of the forms that `purescope models` lists",
            fix=_suggest(name),
        )
    if arch is not None and (known or path.is_dir()):
        raise ModelError(
            f"{name} with the architecture {arch}",
            expected="an architecture for a bare file only",
            fix=f"name it with the file that needs it: open_clip:{arch}/FILE",
        )
    try:
        if known:
            return _LOADERS[prefix](rest, offline)
        if path.is_dir():
            _refuse_part(path, part)
            return sources.load_folder(path, offline=offline), _label(path.resolve().name)
        return sources.load_file(path, arch, offline=offline, part=part), _label(
            f"{path.stem} {part or ''}"
        )
    except PurescopeError:
        raise
    # A configuration can hold anything at any depth, and open_clip and transformers then raise
    # anything.
    except Exception as error:
        raise ModelError(
            f"{name}: what it holds makes no model: {one_line(error)}",
            expected="the configuration and weights as they were published",
            fix="download or copy it again",
        ) from error


def _load_bundled(name: str, offline: bool) -> tuple[Towers, str]:
    if name not in BUNDLED:
        raise ModelError(f"no bundled model {name!r}", **near_miss(name, BUNDLED))
    return _open_clip.towers(sources.from_folder(_bundled_folder(name), offline=offline)), BUNDLED[
        name
    ]


def _load_local_dir(name: str, offline: bool) -> tuple[Towers, str]:
    folder = to_path(name)
    return _open_clip.towers(sources.from_folder(folder, offline=offline)), _label(
        folder.resolve().name
    )


def _load_open_clip(name: str, offline: bool) -> tuple[Towers, str]:
    if name.startswith(_HUB):
        repository = name.removeprefix(_HUB)
        return _open_clip.towers(
            sources.from_hub(repository, offline=offline)
        ), repository.rpartition("/")[2]
    for file, part in ((name, None), split_part(name)):
        if (found := split_file(file)) is not None and exists(to_path(found[1])):
            arch, path = found[0], to_path(found[1])
            return sources.load_file(path, arch, offline=offline, part=part), _label(
                f"{path.stem} {part or ''}"
            )
    arch, slash, tag = name.rpartition("/")
    if not slash:
        raise ModelError(
            f"open_clip:{name}", expected="open_clip:ARCH/TAG, ARCH/FILE or hf-hub:ORG/NAME"
        )
    arch = arch.replace("/", "-")  # ViT-B/32, as OpenAI spells it
    return _open_clip.towers(sources.from_tag(arch, tag, offline=offline)), f"{arch} {tag}"


def _refuse_part(folder: Path, part: str | None) -> None:
    if part is not None:
        raise ModelError(
            f"{folder}#{part}", expected="#PART after a file; a folder holds one model"
        )


def _load_hf(name: str, offline: bool) -> tuple[Towers, str]:
    if not name:
        raise ModelError("hf: without a name", expected="hf:ORG/NAME, or hf:FOLDER")
    path = to_path(name)
    folder = path if path.is_dir() else transformers.fetch(name, offline=offline)
    return transformers.load(folder), name.rstrip("/").rpartition("/")[2]


_LOADERS: dict[str, Callable[[str, bool], tuple[Towers, str]]] = {
    "bundled": _load_bundled,
    "local-dir": _load_local_dir,
    "open_clip": _load_open_clip,
    "hf": _load_hf,
}


def _bundled_folder(name: str) -> Path:
    return Path(str(files("purescope") / "bundled" / "models" / name))


def _label(stem: str) -> str:
    """Words as this field spells them, from a file or folder name.

    Examples:
        >>> _label("cc3m_laclip"), _label("my-run")
        ('CC3M LaCLIP', 'my run')
    """
    return " ".join(_WORDS.get(word.lower(), word) for word in re.split(r"[_\-\s]+", stem) if word)


def _suggest(name: str) -> str:
    """The closest of the files beside a path, or the name as it should have been; nothing where
    none is close.
    """
    path = to_path(name)
    meant = closest_beside(path)
    prefix, colon, rest = name.partition(":")
    if colon:
        meant += [f"{close}:{rest}" for close in get_close_matches(prefix, _LOADERS)]
    elif name.lower() in BUNDLED:
        meant.append(f"bundled:{name.lower()}")
    elif not path.suffix and _is_architecture(name.replace("/", "-")):
        meant.append(f"open_clip:{name}/TAG")
    on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", name) and path.suffix not in WEIGHTS
    if not meant and on_hub and not is_folder(path.parent):
        meant = [f"hf:{name}"]
    return meant_by(meant)


def _is_architecture(name: str) -> bool:
    import open_clip  # takes seconds

    return name in open_clip.list_models()
