"""Where models of open_clip come from: folders, bare files of weights, its list of pretrained tags, the hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from purescope.errors import ModelError
from purescope.files.hub import fetch_file, is_offline, missing_offline
from purescope.models._architectures import (
    checked_config,
    find_architecture,
    fitted_sizes,
    named_model,
    own_merges,
    pretrained,
)
from purescope.models._checkpoint import read_json, read_tensors
from purescope.models._clip_layout import OPENAI_MARKS, is_openai
from purescope.models._open_clip import Source

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
_WEIGHTS = (
    WEIGHTS,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
)
_ON_HUB = (WEIGHTS, "open_clip_pytorch_model.bin")


def from_folder(folder: Path, *, offline: bool) -> Source:
    """A folder in open_clip's `local-dir:` form: open_clip_config.json, weights, and a vocabulary if not CLIP's.

    Raises:
        ModelError: a file is missing or broken.
    """
    where = folder / CONFIG
    config = _read_config(where)
    weights = next((folder / name for name in _WEIGHTS if (folder / name).exists()), None)
    if weights is None:
        there = ", ".join(sorted(path.name for path in folder.iterdir()))
        raise ModelError(
            f"{folder}: no weights among {there}",
            expected=f"one of {', '.join(_WEIGHTS)}",
            fix="copy the whole folder again",
        )
    preprocess, model = config.get("preprocess_cfg") or {}, config["model_cfg"]
    merges = folder / bpe if (bpe := own_merges(model)) else None
    tensors = read_tensors(weights)
    twin = folder if config["has_twin"] else None
    return Source(
        str(where), model, preprocess, weights, tensors, offline=offline, folder=folder, merges=merges, twin=twin
    )


def from_hub(repository: str, *, offline: bool) -> Source:
    """A repository of the hub in open_clip's form.

    Raises:
        ModelError: a file is missing or broken, or cannot be fetched.
    """
    path = fetch_file(repository, [CONFIG], offline=offline)
    config = _read_config(path)
    weights = fetch_file(repository, _ON_HUB, offline=offline)
    preprocess, model = config.get("preprocess_cfg") or {}, config["model_cfg"]
    merges = fetch_file(repository, [bpe], offline=offline) if (bpe := own_merges(model)) else None
    where = f"{CONFIG} of {repository}"
    return Source(where, model, preprocess, weights, read_tensors(weights), offline=offline, merges=merges)


def from_tag(arch: str, tag: str, *, offline: bool) -> Source:
    """One of open_clip's pretrained models, by its architecture and tag.

    Raises:
        ModelError: open_clip has no such pair, their activations differ, or the weights cannot be fetched.
    """
    config, found = named_model(arch), pretrained(arch, tag)
    where = f"{arch}/{tag}"
    if found.get("quick_gelu"):
        _require_quick_gelu(arch, config, f"{where} was trained with it")
    weights = _fetch(where, found, offline=offline)
    tensors = without_marks(read_tensors(weights))
    return Source(where, config, found, weights, tensors, offline=offline)


def from_file(path: Path, tensors: Mapping[str, Tensor], arch: str, *, offline: bool) -> Source:
    """A bare file of weights of one of open_clip's architectures, or of one that a file of the user's own describes.

    Sizes of images and sentences are those of the weights; see `find_architecture` for the preprocess.

    Raises:
        ModelError: the architecture is unknown, or the file is OpenAI's and the architecture has no QuickGELU.
    """
    found = find_architecture(arch)
    if is_openai(tensors):
        _require_quick_gelu(found.where, found.model, f"{path} is OpenAI's, whose models have it")
    if found.preprocess.get("quick_gelu"):
        _require_quick_gelu(found.where, found.model, f"{found.tag} was trained with it")
    model = fitted_sizes(path, found, tensors)
    weights = without_marks(tensors)
    return Source(found.where, model, found.preprocess, path, weights, offline=offline, merges=found.merges)


def without_marks(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights only: OpenAI's archives hold three numbers among them."""
    return {name: tensor for name, tensor in tensors.items() if name not in OPENAI_MARKS}


def _read_config(path: Path) -> dict[str, Any]:
    return checked_config(read_json(path, f"a folder with {CONFIG} and {WEIGHTS}"), path)


def _require_quick_gelu(arch: str, config: Mapping[str, Any], why: str) -> None:
    if config.get("quick_gelu"):
        return
    import open_clip

    twin = f"{arch}-quickgelu"
    named = twin if twin in open_clip.list_models() else 'an architecture that has it ("quick_gelu": true)'
    raise ModelError(
        f"open_clip's {arch} has no QuickGELU, and {why}",
        expected="the activation that the weights were trained with; another gives other, worse features",
        fix=f"give {named} in place of {arch}",
    )


def _fetch(where: str, pretrained: Mapping[str, Any], *, offline: bool) -> Path:
    """The file of a tag, from the hub where it is there, otherwise from the address open_clip has."""
    repository, _, name = str(pretrained.get("hf_hub") or "").rpartition("/")
    if repository:
        safe = [str(Path(name).with_suffix(".safetensors"))] if name.endswith((".bin", ".pth")) else []
        return fetch_file(repository, [*safe, name] if name else _ON_HUB, offline=offline)
    from open_clip.pretrained import download_pretrained_from_url

    url = str(pretrained["url"])
    cached = Path("~/.cache/clip").expanduser() / url.rpartition("/")[2]  # open_clip's own place
    if is_offline(offline):
        if cached.is_file():
            return cached
        raise missing_offline(f"{cached}, the weights of {where},")
    try:
        return Path(download_pretrained_from_url(url))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{url} cannot be downloaded: {error}", fix="check the connection and the disk") from error
