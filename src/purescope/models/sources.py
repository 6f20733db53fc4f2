"""Find the configuration and weights of models in folders, bare files, open_clip's tags or the hub.

The format of a checkpoint given by a path is recognised by its content.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from purescope.errors import ModelError, listed
from purescope.files.hub import fetch_file, is_offline, missing_offline
from purescope.models import laclip, open_clip, transformers, transformers_config
from purescope.models.architectures import (
    OPENAI_NUMBERS,
    OWN_FILE,
    find_architecture,
    find_config_by_shapes,
    find_name_by_shapes,
    fit_sizes,
    get_model_config,
    get_tag_config,
    is_clip_layout,
    is_openai,
)
from purescope.models.checkpoint import read_json, read_tensors
from purescope.models.open_clip import Source
from purescope.models.open_clip_config import check_config, find_merges_name
from purescope.models.towers import Towers

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
LACLIP_CONFIG, LACLIP_WEIGHTS = "purescope_laclip.json", "model.safetensors"
_WEIGHTS = (
    WEIGHTS,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
)
_ON_HUB = (WEIGHTS, "open_clip_pytorch_model.bin")
_MERGE_ADAPTER = (
    "merge the adapter into its model first, and save that: "
    "model.merge_and_unload().save_pretrained(FOLDER)"
)


def from_folder(folder: Path, *, offline: bool) -> Source:
    """Find a model in a folder in open_clip's `local-dir:` form.

    Such a folder holds open_clip_config.json, weights, and a vocabulary if it is not CLIP's.

    Raises:
        ModelError: a file is missing or broken.
    """
    config = _read_config(folder / CONFIG)
    weights = next((folder / name for name in _WEIGHTS if (folder / name).exists()), None)
    if weights is None:
        names = ", ".join(sorted(path.name for path in folder.iterdir()))
        raise ModelError(
            f"{folder}: no weights among {names}",
            expected=f"one of {', '.join(_WEIGHTS)}",
            fix="copy the whole folder again",
        )
    merges = find_merges_name(config["model_cfg"])
    return Source(
        str(folder / CONFIG),
        config["model_cfg"],
        config.get("preprocess_cfg") or {},
        weights,
        read_tensors(weights),
        offline=offline,
        folder=folder,
        merges=folder / merges if merges else None,
        twin=folder if config["has_twin"] else None,
    )


def from_hub(repository: str, *, offline: bool) -> Source:
    """Find a model in a repository of the hub in open_clip's form.

    Raises:
        ModelError: a file is missing or broken, or cannot be downloaded.
    """
    config = _read_config(fetch_file(repository, [CONFIG], offline=offline))
    weights = fetch_file(repository, _ON_HUB, offline=offline)
    merges = find_merges_name(config["model_cfg"])
    merges_path = fetch_file(repository, [merges], offline=offline) if merges else None
    return Source(
        f"{CONFIG} of {repository}",
        config["model_cfg"],
        config.get("preprocess_cfg") or {},
        weights,
        read_tensors(weights),
        offline=offline,
        merges=merges_path,
    )


def from_tag(arch: str, tag: str, *, offline: bool) -> Source:
    """Find one of open_clip's pretrained models by its architecture and tag.

    Raises:
        ModelError: open_clip has no such pair, their activations differ, or the weights cannot be
            downloaded.
    """
    model, tag_config = get_model_config(arch), get_tag_config(arch, tag)
    where = f"{arch}/{tag}"
    if tag_config.get("quick_gelu"):
        _require_quick_gelu(arch, model, f"{where} was trained with it")
    weights = _fetch_weights(where, tag_config, offline=offline)
    tensors = _drop_openai_numbers(read_tensors(weights))
    return Source(where, model, tag_config, weights, tensors, offline=offline)


def from_file(path: Path, tensors: Mapping[str, Tensor], arch: str, *, offline: bool) -> Source:
    """Combine a bare file of weights with a named architecture or one that a file describes.

    The weights decide the sizes of images and sentences; see `find_architecture` for the
    preprocess.

    Raises:
        ModelError: the architecture is unknown, or it has no QuickGELU and the file is OpenAI's.
    """
    found = find_architecture(arch)
    if is_openai(tensors):
        _require_quick_gelu(found.where, found.model, f"{path} is OpenAI's, whose models have it")
    if found.preprocess.get("quick_gelu"):
        _require_quick_gelu(found.where, found.model, f"{found.tag} was trained with it")
    return Source(
        found.where,
        fit_sizes(path, found, tensors),
        found.preprocess,
        path,
        _drop_openai_numbers(tensors),
        offline=offline,
        merges=found.merges,
    )


def _drop_openai_numbers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the three numbers that OpenAI's files hold among their weights."""
    return {name: tensor for name, tensor in tensors.items() if name not in OPENAI_NUMBERS}


def _read_config(path: Path) -> dict[str, Any]:
    return check_config(read_json(path, f"a folder with {CONFIG} and {WEIGHTS}"), path)


def _require_quick_gelu(arch: str, config: Mapping[str, Any], reason: str) -> None:
    if config.get("quick_gelu"):
        return
    import open_clip

    name = f"{arch}-quickgelu"
    if name not in open_clip.list_models():
        name = 'an architecture that has it ("quick_gelu": true)'
    raise ModelError(
        f"open_clip's {arch} has no QuickGELU, and {reason}",
        expected="the activation that the weights were trained with; others give worse features",
        fix=f"give {name} in place of {arch}",
    )


def _fetch_weights(where: str, tag_config: Mapping[str, Any], *, offline: bool) -> Path:
    """Download the weights of a tag from the hub, or else from open_clip's URL."""
    repository, _, name = str(tag_config.get("hf_hub") or "").rpartition("/")
    if repository:
        if not name:
            return fetch_file(repository, _ON_HUB, offline=offline)
        is_pickle = name.endswith((".bin", ".pth"))
        safe = [str(Path(name).with_suffix(".safetensors"))] if is_pickle else []
        return fetch_file(repository, [*safe, name], offline=offline)
    from open_clip.pretrained import download_pretrained_from_url

    url = str(tag_config["url"])
    cached = Path("~/.cache/clip").expanduser() / url.rpartition("/")[2]  # open_clip's own cache
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


def load_file(path: Path, arch: str | None, *, offline: bool, part: str | None = None) -> Towers:
    """Load the towers from a bare file of weights.

    Args:
        path: the file.
        arch: the architecture; None to recognise it from the weights.
        offline: download nothing.
        part: which of several models in the file.

    Raises:
        ModelError: the file is not readable or has no known format, or its weights do not fit its
            architecture.
    """
    tensors = read_tensors(path, part)
    if arch is None and laclip.is_laclip(tensors):
        return laclip.load(path, tensors)
    if arch is None and not is_clip_layout(tensors):
        raise _unknown_architecture(path, tensors)
    if arch is None and is_openai(tensors):
        config = {**find_config_by_shapes(path, tensors), "quick_gelu": True}
        weights = _drop_openai_numbers(tensors)
        source = Source(str(path), config, {}, path, weights, offline=offline, form="openai")
    else:
        arch = arch or find_name_by_shapes(path, tensors)
        source = from_file(path, tensors, arch, offline=offline)
    return open_clip.load(source)


def _unknown_architecture(path: Path, tensors: Mapping[str, Tensor]) -> ModelError:
    fix = f"name open_clip's architecture: --arch NAME (arch='NAME'), {OWN_FILE}"
    if any(".lora_" in name or name.startswith("base_model.") for name in tensors):
        fix = _MERGE_ADAPTER
    elif "visual_projection.weight" in tensors:
        fix = "give the whole folder of transformers, with its config.json"
    return ModelError(
        f"{path}: the architecture of this checkpoint is unknown (it holds {listed(tensors, 3)})",
        expected="the weights of LaCLIP (image_projection, visual.blocks.*), or of CLIP "
        "(visual.conv1.weight)",
        fix=fix,
    )


def load_folder(folder: Path, *, offline: bool) -> Towers:
    """Load the towers from a folder, in the form of the first configuration in it.

    Raises:
        ModelError: there is no configuration, a file is missing or broken, or it asks for something
            that is not supported.
    """
    for name, load in _FOLDERS.items():
        if (folder / name).exists():
            return load(folder, offline)
    problem, fix = _diagnose_folder(folder)
    raise ModelError(
        f"{folder}: {problem}", expected=f"a folder with {' or '.join(_FOLDERS)}", fix=fix
    )


def _diagnose_folder(folder: Path) -> tuple[str, str]:
    """Say what a folder without a configuration is, and what to do."""
    models = sorted(
        path for path in folder.iterdir() if any((path / name).is_file() for name in _FOLDERS)
    )
    if (folder / "adapter_config.json").exists():
        return "an adapter, which changes a model and is not one itself", _MERGE_ADAPTER
    if (folder / ".metadata").exists() or any(folder.glob("*.distcp")):
        return "a distributed checkpoint of torch (DCP), in several files", (
            "write it as one file first: python -m torch.distributed.checkpoint.format_utils "
            f"dcp_to_torch {folder} FILE.pt"
        )
    if models:
        names = " or ".join(map(str, models[:3]))
        return "no model, but a folder in it holds one", f"name the inner folder: {names}"
    if any(folder.glob("mp_rank_*_model_states.pt")):
        file = folder / "mp_rank_00_model_states.pt"
        return "no model, but a checkpoint of DeepSpeed", f"name the file: {file}"
    return "no model", "check the path, or name a checkpoint file in it"


def _load_open_clip(folder: Path, offline: bool) -> Towers:
    return open_clip.load(from_folder(folder, offline=offline))


def _load_laclip(folder: Path, offline: bool) -> Towers:
    """Load the form that `purescope convert` writes.

    It has a configuration that says so, and LaCLIP's weights as safetensors.
    """
    path = folder / LACLIP_WEIGHTS
    tensors = read_tensors(path)
    if not laclip.is_laclip(tensors):
        raise ModelError(
            f"{path}: not LaCLIP's weights (it holds {listed(tensors, 3)})",
            expected=f"the weights that {LACLIP_CONFIG} in the same folder describes",
            fix="convert the checkpoint again: purescope convert CKPT OUT",
        )
    return laclip.load(path, tensors)


def _load_transformers(folder: Path, offline: bool) -> Towers:
    return transformers.load(folder)


_FOLDERS: dict[str, Callable[[Path, bool], Towers]] = {
    CONFIG: _load_open_clip,
    LACLIP_CONFIG: _load_laclip,
    transformers_config.CONFIG: _load_transformers,
}
