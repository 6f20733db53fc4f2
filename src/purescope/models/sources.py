"""Where models of open_clip come from: folders, bare files of weights, its list of pretrained tags,
the hub.

Of a checkpoint given by a path, the format is told by what it holds.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from purescope.errors import ModelError, listed
from purescope.files.hub import fetch_file, is_offline, missing_offline
from purescope.models import laclip, open_clip, transformers
from purescope.models.architectures import (
    OWN,
    checked_config,
    find_architecture,
    fitted_sizes,
    named_model,
    own_merges,
    pretrained,
)
from purescope.models.checkpoint import read_json, read_tensors
from purescope.models.clip_layout import (
    OPENAI_MARKS,
    arch_of_shapes,
    config_of_shapes,
    is_clip_layout,
    is_openai,
)
from purescope.models.open_clip import Source
from purescope.models.towers import Towers

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
    """A folder in open_clip's `local-dir:` form: open_clip_config.json, weights, and a vocabulary
    if not CLIP's.

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
        str(where),
        model,
        preprocess,
        weights,
        tensors,
        offline=offline,
        folder=folder,
        merges=merges,
        twin=twin,
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
    return Source(
        where, model, preprocess, weights, read_tensors(weights), offline=offline, merges=merges
    )


def from_tag(arch: str, tag: str, *, offline: bool) -> Source:
    """One of open_clip's pretrained models, by its architecture and tag.

    Raises:
        ModelError: open_clip has no such pair, their activations differ, or the weights cannot be
            fetched.
    """
    config, found = named_model(arch), pretrained(arch, tag)
    where = f"{arch}/{tag}"
    if found.get("quick_gelu"):
        _require_quick_gelu(arch, config, f"{where} was trained with it")
    weights = _fetch(where, found, offline=offline)
    tensors = without_marks(read_tensors(weights))
    return Source(where, config, found, weights, tensors, offline=offline)


def from_file(path: Path, tensors: Mapping[str, Tensor], arch: str, *, offline: bool) -> Source:
    """A bare file of weights of one of open_clip's architectures, or of one that a file of the
    user's own describes.

    Sizes of images and sentences are those of the weights; see `find_architecture` for the
    preprocess.

    Raises:
        ModelError: the architecture is unknown, or the file is OpenAI's and the architecture has no
            QuickGELU.
    """
    found = find_architecture(arch)
    if is_openai(tensors):
        _require_quick_gelu(found.where, found.model, f"{path} is OpenAI's, whose models have it")
    if found.preprocess.get("quick_gelu"):
        _require_quick_gelu(found.where, found.model, f"{found.tag} was trained with it")
    model = fitted_sizes(path, found, tensors)
    weights = without_marks(tensors)
    return Source(
        found.where, model, found.preprocess, path, weights, offline=offline, merges=found.merges
    )


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
    named = (
        twin
        if twin in open_clip.list_models()
        else 'an architecture that has it ("quick_gelu": true)'
    )
    raise ModelError(
        f"open_clip's {arch} has no QuickGELU, and {why}",
        expected="the activation that the weights were trained with; another gives other, worse "
        "features",
        fix=f"give {named} in place of {arch}",
    )


def _fetch(where: str, pretrained: Mapping[str, Any], *, offline: bool) -> Path:
    """The file of a tag, from the hub where it is there, otherwise from the address open_clip
    has.
    """
    repository, _, name = str(pretrained.get("hf_hub") or "").rpartition("/")
    if repository:
        safe = (
            [str(Path(name).with_suffix(".safetensors"))] if name.endswith((".bin", ".pth")) else []
        )
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
        raise ModelError(
            f"{url} cannot be downloaded: {error}", fix="check the connection and the disk"
        ) from error


_MERGE = "merge the adapter into its model first, and save that: model.merge_and_unload().save_pretrained(FOLDER)"
LACLIP_CONFIG, LACLIP_WEIGHTS = "purescope_laclip.json", "model.safetensors"


def load_file(path: Path, arch: str | None, *, offline: bool, part: str | None = None) -> Towers:
    """The towers in a bare file of weights; `part` names one of several models in it.

    Raises:
        ModelError: it is unreadable, of no known format, or its weights do not fit its
            architecture.
    """
    tensors = read_tensors(path, part)
    if arch is None and laclip.is_laclip(tensors):
        return laclip.load(path, tensors)
    if arch is None and not is_clip_layout(tensors):
        fix = f"name open_clip's architecture: --arch NAME (arch='NAME'), {OWN}"
        if _is_adapter(tensors):
            fix = _MERGE
        elif "visual_projection.weight" in tensors:
            fix = "give the whole folder of transformers, with its config.json"
        raise ModelError(
            f"{path}: not a checkpoint that tells its architecture (it holds {listed(tensors, 3)})",
            expected="the weights of LaCLIP (image_projection, visual.blocks.*), or of CLIP "
            "(visual.conv1.weight)",
            fix=fix,
        )
    if arch is None and is_openai(tensors):
        config = {**config_of_shapes(path, tensors), "quick_gelu": True}
        weights = without_marks(tensors)
        source = open_clip.Source(
            str(path), config, {}, path, weights, offline=offline, form="openai"
        )
        return open_clip.towers(source)
    arch = arch or arch_of_shapes(path, tensors)
    return open_clip.towers(from_file(path, tensors, arch, offline=offline))


def load_folder(folder: Path, *, offline: bool) -> Towers:
    """The towers in a folder, in the form of the first configuration that lies in it.

    Raises:
        ModelError: there is none, a file is missing or broken, or asks for something that is not
            supported.
    """
    for name, load in _FOLDERS.items():
        if (folder / name).exists():
            return load(folder, offline)
    came, fix = _other_folder(folder)
    raise ModelError(
        f"{folder}: {came}", expected=f"a folder with {' or '.join(_FOLDERS)}", fix=fix
    )


def _other_folder(folder: Path) -> tuple[str, str]:
    """What a folder without a configuration is instead, and what to do."""
    below = sorted(
        path for path in folder.iterdir() if any((path / name).is_file() for name in _FOLDERS)
    )
    if (folder / "adapter_config.json").exists():
        return "an adapter, which is a change of a model and no model", _MERGE
    if (folder / ".metadata").exists() or any(folder.glob("*.distcp")):
        return "a distributed checkpoint of torch (DCP), in pieces", (
            "write it as one file first: python -m torch.distributed.checkpoint.format_utils "
            "dcp_to_torch "
            f"{folder} FILE.pt"
        )
    if below:
        return (
            "no model, but one below",
            f"name the inner folder: {' or '.join(map(str, below[:3]))}",
        )
    if any(folder.glob("mp_rank_*_model_states.pt")):
        return (
            "no model, but a checkpoint of DeepSpeed",
            f"name the file: {folder}/mp_rank_00_model_states.pt",
        )
    return "no model", "check the path, or name a checkpoint file in it"


def _is_adapter(tensors: Mapping[str, object]) -> bool:
    return any(".lora_" in name or name.startswith("base_model.") for name in tensors)


def _load_open_clip(folder: Path, offline: bool) -> Towers:
    return open_clip.towers(from_folder(folder, offline=offline))


def _load_laclip(folder: Path, offline: bool) -> Towers:
    """The form that `purescope convert` writes: a configuration that says so, and LaCLIP's weights
    as safetensors.
    """
    path = folder / LACLIP_WEIGHTS
    tensors = read_tensors(path)
    if not laclip.is_laclip(tensors):
        raise ModelError(
            f"{path}: not LaCLIP's weights (it holds {listed(tensors, 3)})",
            expected=f"those that {LACLIP_CONFIG} beside it is of",
            fix="convert the checkpoint again: purescope convert CKPT OUT",
        )
    return laclip.load(path, tensors)


def _load_transformers(folder: Path, offline: bool) -> Towers:
    return transformers.load(folder)


_FOLDERS: dict[str, Callable[[Path, bool], Towers]] = {
    CONFIG: _load_open_clip,
    LACLIP_CONFIG: _load_laclip,
    transformers.CONFIG: _load_transformers,
}
