"""Load models by name: `load_model(spec)` finds the format from the name or the file."""

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
from purescope.models.checkpoint import summarise_error
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
    """Describe one row of `purescope models`.

    `present` says whether the model is on this disk; None if that depends on the rest of the name.
    """

    spec: str
    description: str
    present: bool | None


def load_model(
    spec: str,
    *,
    label: str | None = None,
    device: str | torch.device = "auto",
    precision: str = "auto",
    arch: str | None = None,
    offline: bool = False,
) -> Model:
    """Load a model by its name, without running code that is stored with its weights.

    Args:
        spec: `bundled:NAME`, `open_clip:ARCH/TAG`, `open_clip:ARCH/FILE`,
            `open_clip:hf-hub:ORG/NAME`, `hf:ORG/NAME`, `local-dir:FOLDER`, or the path of a
            checkpoint or of a folder with a model; `LABEL=` may precede it. See `available_models`.
            ``FILE#PART`` names one of several models in a file.
        label: the name of the model in tables and plots; by default the label in `spec`, or one
            made from the name.
        device: the device for encoding: "cpu", "cuda", several as "cuda:0,cuda:1"; "auto" is the
            accelerator of this machine, else the cpu. Features always come back to the cpu.
        precision: "fp32", or "bf16" or "fp16" by autocast; "auto" is fp32 on the cpu and bf16 on
            accelerators that have it. Features are float32 in any case.
        arch: the architecture of a bare file of open_clip's weights: open_clip's name, ``ARCH/TAG``
            for the preprocess of one of its tags, or a JSON file with a model_cfg.
        offline: download nothing, as with HF_HUB_OFFLINE in the environment; earlier downloads are
            used.

    Returns:
        The model: encoders, projections, preprocess and identity.

    Raises:
        ModelError: the name is unknown, or the file is missing, broken or unsafe, has another
            format, or does not fit its architecture.
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
    spec_label, name = split_label(spec)
    label = label if label is not None else spec_label
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
    """List the forms of names that `load_model` takes, and whether each model is on this disk."""
    bundled = [
        AvailableModel(
            f"bundled:{name}", label, (_find_bundled_folder(name) / sources.CONFIG).is_file()
        )
        for name, label in BUNDLED.items()
    ]
    return bundled + [AvailableModel(spec, text, None) for spec, text in _FORMS.items()]


def find_towers(name: str, *, arch: str | None = None, offline: bool = False) -> tuple[Towers, str]:
    """Load the towers of a name without a label, and make their default label; see `load_model`."""
    prefix, colon, rest = name.partition(":")
    has_prefix = colon and prefix in _LOADERS
    file, part = (name, None) if has_prefix else split_part(name)
    path = to_path(file)
    if not has_prefix and not (file and exists(path)):
        raise ModelError(
            f"no model or file {name!r}",
            expected="a path that exists, or one of the forms that `purescope models` lists",
            fix=_suggest(name),
        )
    if arch is not None and (has_prefix or path.is_dir()):
        raise ModelError(
            f"{name} with the architecture {arch}",
            expected="an architecture for a bare file only",
            fix=f"name it with the file that needs it: open_clip:{arch}/FILE",
        )
    try:
        if has_prefix:
            return _LOADERS[prefix](rest, offline)
        if path.is_dir():
            _refuse_part(path, part)
            return sources.load_folder(path, offline=offline), _make_label(path.resolve().name)
        return _load_file(path, arch, offline=offline, part=part)
    except PurescopeError:
        raise
    # Configurations can hold anything, so open_clip and transformers can raise anything.
    except Exception as error:
        raise ModelError(
            f"{name}: no model can be built from it: {summarise_error(error)}",
            expected="the configuration and weights as they were published",
            fix="download or copy it again",
        ) from error


def _load_file(
    path: Path, arch: str | None, *, offline: bool, part: str | None
) -> tuple[Towers, str]:
    towers = sources.load_file(path, arch, offline=offline, part=part)
    return towers, _make_label(f"{path.stem} {part or ''}")


def _load_bundled(name: str, offline: bool) -> tuple[Towers, str]:
    if name not in BUNDLED:
        raise ModelError(f"no bundled model {name!r}", **near_miss(name, BUNDLED))
    source = sources.from_folder(_find_bundled_folder(name), offline=offline)
    return _open_clip.load(source), BUNDLED[name]


def _load_local_dir(name: str, offline: bool) -> tuple[Towers, str]:
    folder = to_path(name)
    source = sources.from_folder(folder, offline=offline)
    return _open_clip.load(source), _make_label(folder.resolve().name)


def _load_open_clip(name: str, offline: bool) -> tuple[Towers, str]:
    if name.startswith(_HUB):
        repository = name.removeprefix(_HUB)
        source = sources.from_hub(repository, offline=offline)
        return _open_clip.load(source), repository.rpartition("/")[2]
    # A file whose name contains "#" takes precedence over a part of a file.
    for file, part in ((name, None), split_part(name)):
        arch_and_path = _split_file(file)
        if arch_and_path is not None and exists(arch_and_path[1]):
            arch, path = arch_and_path
            return _load_file(path, arch, offline=offline, part=part)
    arch, slash, tag = name.rpartition("/")
    if not slash:
        raise ModelError(
            f"open_clip:{name}", expected="open_clip:ARCH/TAG, ARCH/FILE or hf-hub:ORG/NAME"
        )
    arch = arch.replace("/", "-")  # ViT-B/32, as OpenAI spells it
    return _open_clip.load(sources.from_tag(arch, tag, offline=offline)), f"{arch} {tag}"


def _split_file(name: str) -> tuple[str, Path] | None:
    """Split ``ARCH/FILE``, ``ARCH/TAG/FILE`` or ``OWN.json/FILE``; None if it is none of these.

    Raises:
        ModelError: the name has a JSON file, and that file or the weights do not exist.
    """
    own = [name[: match.end() - 1] for match in re.finditer(r"\.json/", name, re.IGNORECASE)]
    if own:
        arch = next((arch for arch in own if to_path(arch).is_file()), own[0])
        file = name[len(arch) + 1 :]
        for needed in (arch, split_part(file)[0]):
            if not to_path(needed).is_file():
                raise ModelError(
                    f"open_clip:{name}: no file {needed}",
                    expected="open_clip:ARCH.json/FILE",
                    fix="check both",
                )
        return arch, to_path(file)
    arch, _, file = name.partition("/")
    path = to_path(file)
    is_file = exists(path) if path.suffix else path.is_file() and not _is_tag(arch, file)
    if file and is_file:
        return arch, path
    tag, _, rest = file.partition("/")
    if rest and exists(to_path(rest)) and _is_tag(arch, tag):
        return f"{arch}/{tag}", to_path(rest)
    return None


def _is_tag(arch: str, tag: str) -> bool:
    """Return whether open_clip has a tag of an architecture."""
    from open_clip.pretrained import get_pretrained_cfg

    return bool(get_pretrained_cfg(arch, tag))


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


_FORMS = {
    "open_clip:ARCH/TAG": "one of open_clip's pretrained models",
    "open_clip:ARCH/FILE": "a bare file of weights whose architecture is not in the file",
    "open_clip:hf-hub:ORG/NAME": "a repository of the hub in open_clip's form",
    "hf:ORG/NAME": "a CLIP or SigLIP of transformers, on the hub or in a folder",
    "local-dir:PATH": "a folder in open_clip's form",
    "PATH": "a checkpoint of LaCLIP, SLIP, OpenAI or open_clip, or a folder with a model",
}
_LOADERS: dict[str, Callable[[str, bool], tuple[Towers, str]]] = {
    "bundled": _load_bundled,
    "local-dir": _load_local_dir,
    "open_clip": _load_open_clip,
    "hf": _load_hf,
}


def _find_bundled_folder(name: str) -> Path:
    return Path(str(files("purescope") / "bundled" / "models" / name))


def _make_label(stem: str) -> str:
    """Make a label from the name of a file or folder, in the usual spelling of its words.

    Examples:
        >>> _make_label("cc3m_laclip"), _make_label("my-run")
        ('CC3M LaCLIP', 'my run')
    """
    return " ".join(_WORDS.get(word.lower(), word) for word in re.split(r"[_\-\s]+", stem) if word)


def _suggest(name: str) -> str:
    """Suggest the closest files beside a path, or a corrected name; empty if none is close."""
    path = to_path(name)
    suggestions = closest_beside(path)
    prefix, colon, rest = name.partition(":")
    if colon:
        suggestions += [f"{close}:{rest}" for close in get_close_matches(prefix, _LOADERS)]
    elif name.lower() in BUNDLED:
        suggestions.append(f"bundled:{name.lower()}")
    elif not path.suffix and _is_architecture(name.replace("/", "-")):
        suggestions.append(f"open_clip:{name}/TAG")
    on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", name) and path.suffix not in WEIGHTS
    if not suggestions and on_hub and not is_folder(path.parent):
        suggestions = [f"hf:{name}"]
    return meant_by(suggestions)


def _is_architecture(name: str) -> bool:
    import open_clip  # here, because it takes seconds

    return name in open_clip.list_models()
