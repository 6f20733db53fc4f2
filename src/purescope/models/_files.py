"""Checkpoints given by a path: which format a file or a folder is in, told by what it holds."""

from collections.abc import Callable, Mapping
from pathlib import Path

from purescope.errors import ModelError, listed
from purescope.models import _laclip, _open_clip, _sources, _transformers
from purescope.models._architectures import OWN
from purescope.models._checkpoint import read_tensors
from purescope.models._clip_layout import arch_of_shapes, config_of_shapes, is_clip_layout, is_openai
from purescope.models._towers import Towers

_MERGE = "merge the adapter into its model first, and save that: model.merge_and_unload().save_pretrained(FOLDER)"
LACLIP_CONFIG, LACLIP_WEIGHTS = "purescope_laclip.json", "model.safetensors"


def load_file(path: Path, arch: str | None, *, offline: bool, part: str | None = None) -> Towers:
    """The towers in a bare file of weights; `part` names one of several models in it.

    Raises:
        ModelError: it is unreadable, of no known format, or its weights do not fit its architecture.
    """
    tensors = read_tensors(path, part)
    if arch is None and _laclip.is_laclip(tensors):
        return _laclip.load(path, tensors)
    if arch is None and not is_clip_layout(tensors):
        fix = f"name open_clip's architecture: --arch NAME (arch='NAME'), {OWN}"
        if _is_adapter(tensors):
            fix = _MERGE
        elif "visual_projection.weight" in tensors:
            fix = "give the whole folder of transformers, with its config.json"
        raise ModelError(
            f"{path}: not a checkpoint that tells its architecture (it holds {listed(tensors, 3)})",
            expected="the weights of LaCLIP (image_projection, visual.blocks.*), or of CLIP (visual.conv1.weight)",
            fix=fix,
        )
    if arch is None and is_openai(tensors):
        config = {**config_of_shapes(path, tensors), "quick_gelu": True}
        weights = _sources.without_marks(tensors)
        source = _open_clip.Source(str(path), config, {}, path, weights, offline=offline, form="openai")
        return _open_clip.towers(source)
    arch = arch or arch_of_shapes(path, tensors)
    return _open_clip.towers(_sources.from_file(path, tensors, arch, offline=offline))


def load_folder(folder: Path, *, offline: bool) -> Towers:
    """The towers in a folder, in the form of the first configuration that lies in it.

    Raises:
        ModelError: there is none, a file is missing or broken, or asks for something that is not supported.
    """
    for name, load in _FOLDERS.items():
        if (folder / name).exists():
            return load(folder, offline)
    came, fix = _other_folder(folder)
    raise ModelError(f"{folder}: {came}", expected=f"a folder with {' or '.join(_FOLDERS)}", fix=fix)


def _other_folder(folder: Path) -> tuple[str, str]:
    """What a folder without a configuration is instead, and what to do."""
    below = sorted(path for path in folder.iterdir() if any((path / name).is_file() for name in _FOLDERS))
    if (folder / "adapter_config.json").exists():
        return "an adapter, which is a change of a model and no model", _MERGE
    if (folder / ".metadata").exists() or any(folder.glob("*.distcp")):
        return "a distributed checkpoint of torch (DCP), in pieces", (
            "write it as one file first: python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
            f"{folder} FILE.pt"
        )
    if below:
        return "no model, but one below", f"name the inner folder: {' or '.join(map(str, below[:3]))}"
    if any(folder.glob("mp_rank_*_model_states.pt")):
        return "no model, but a checkpoint of DeepSpeed", f"name the file: {folder}/mp_rank_00_model_states.pt"
    return "no model", "check the path, or name a checkpoint file in it"


def _is_adapter(tensors: Mapping[str, object]) -> bool:
    return any(".lora_" in name or name.startswith("base_model.") for name in tensors)


def _load_open_clip(folder: Path, offline: bool) -> Towers:
    return _open_clip.towers(_sources.from_folder(folder, offline=offline))


def _load_laclip(folder: Path, offline: bool) -> Towers:
    """The form that `purescope convert` writes: a configuration that says so, and LaCLIP's weights as safetensors."""
    path = folder / LACLIP_WEIGHTS
    tensors = read_tensors(path)
    if not _laclip.is_laclip(tensors):
        raise ModelError(
            f"{path}: not LaCLIP's weights (it holds {listed(tensors, 3)})",
            expected=f"those that {LACLIP_CONFIG} beside it is of",
            fix="convert the checkpoint again: purescope convert CKPT OUT",
        )
    return _laclip.load(path, tensors)


def _load_transformers(folder: Path, offline: bool) -> Towers:
    return _transformers.load(folder)


_FOLDERS: dict[str, Callable[[Path, bool], Towers]] = {
    _sources.CONFIG: _load_open_clip,
    LACLIP_CONFIG: _load_laclip,
    _transformers.CONFIG: _load_transformers,
}
