"""Load CLIP and SigLIP models of transformers from a folder or a repository of the hub.

The modules and tokenizers are those of transformers, built by the names in our tables: no code
beside the weights runs, and weights are only read from safetensors. SigLIP 2 with one image size is
a SigLIP here as in transformers; its variants for images of any size take other inputs and are
refused.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from purescope.errors import ModelError, listed
from purescope.files.guard import guarded
from purescope.files.hub import fetch_folder
from purescope.maths.overlaps import Projections
from purescope.models.checkpoint import read_dictionary, read_shard, read_tensors
from purescope.models.configuration import require_attention, require_layers
from purescope.models.model import Preprocess, Tower
from purescope.models.tokenizer import Tokenizer
from purescope.models.tokenizers import HF_FILES, transformers_tokenizer
from purescope.models.towers import Towers, Unfilled
from purescope.models.transformers_config import (
    CONFIG,
    count_layers,
    read_config,
    read_processor,
    rebuild_model,
    require_transformers,
)
from purescope.models.weights import find_weights, fingerprint, fit, raise_faults, require_fit

WEIGHTS = "model.safetensors"
_INDEX = f"{WEIGHTS}.index.json"
_FETCHED = (*HF_FILES, "model*.safetensors")
_FAMILIES = {"clip": ("CLIPConfig", "CLIPModel"), "siglip": ("SiglipConfig", "SiglipModel")}
# Keys of a configuration that do not describe the model: how to load it, and with which code.
_LOADING_KEYS = {
    "_attn_implementation",
    "_attn_implementation_internal",
    "_name_or_path",
    "architectures",
    "attn_implementation",
    "auto_map",
    "dtype",
    "quantization_config",
    "torch_dtype",
    "transformers_version",
}


def fetch(repository: str, *, offline: bool) -> Path:
    """Download the files of a model from a repository of the hub, and return their folder.

    Raises:
        ModelError: the repository cannot be reached or, offline, is not on this disk.
    """
    return fetch_folder(repository, _FETCHED, offline=offline)


def load(folder: Path) -> Towers:
    """Load the towers from a folder of a CLIPModel or SiglipModel.

    Raises:
        ModelError: a file is missing or broken, or asks for something that is not supported.
        MissingExtraError: transformers is not installed.
    """
    require_transformers()
    with guarded(folder, what=str(folder)):
        return _load(folder)


def _load(folder: Path) -> Towers:
    path = folder / CONFIG
    config = read_config(folder)
    family = config.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        raise ModelError(
            f"{path}: model_type {family!r}",
            expected=f"{' or '.join(_FAMILIES)}; SigLIP 2 with one image size is a siglip",
        )
    rebuilt = rebuild_model(config, f"{path}: transformers cannot build this {family} model: it")
    weights_path, stored = _read_weights(folder)
    require_layers(str(path), count_layers(rebuilt), stored)
    module = _load_module(path, family, rebuilt, weights_path, stored)
    tokenizer, preprocess = _load_inputs(folder, family, module.config)
    is_clip = family == "clip"
    text, vision = module.config.text_config, module.config.vision_config
    pair = _Pair(module)
    has_text_bias = not is_clip and bool(module.text_model.head.bias.any())
    return Towers(
        module=pair,
        encode_image=pair.encode_image,
        encode_text=pair.encode_text,
        tokenize=tokenizer,
        reads_to_end=is_clip,
        weight_space=_copy_projections(module)
        if is_clip
        else "the image tower ends without a projection",
        neurons=_count_neurons(path, family, module.config),
        preprocess=preprocess,
        identity={
            "format": "transformers",
            "architecture": json.dumps(_remove_loading_keys(config), sort_keys=True),
            "activation": f"image {vision.hidden_act}, text {text.hidden_act}",
            "weights": fingerprint(stored),
            "tokenizer": tokenizer.identity,
            "logit_scale": f"{module.logit_scale.exp().item():.6g}",
            "projection_bias": "text" if has_text_bias else "none",
        },
        towers={
            "image": Tower({"vision_model": module.vision_model}, "first" if is_clip else "mean"),
            "text": Tower(
                {"text_model": module.text_model},
                "end" if is_clip else "last",
                end=_find_end(module),
            ),
        },
        configurations={CONFIG: rebuilt},
        last_maps={"image": "model.visual_projection", "text": "model.text_projection"}
        if is_clip
        else {},
    )


def _load_module(
    path: Path,
    family: str,
    config: Mapping[str, Any],
    weights_path: Path,
    stored: Mapping[str, Tensor],
) -> Any:
    """Build the module and load its weights, once both are known to fit without memory for it."""
    # The position ids 0, 1, 2, ... are not weights.
    weights = {
        name: tensor for name, tensor in stored.items() if not name.endswith(".position_ids")
    }
    with torch.device("meta"):
        plan = _build(path, family, config)
    require_fit(weights_path, weights, plan.state_dict())
    text, vision = plan.config.text_config, plan.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    require_attention(str(path), "vision_config", patches, vision.num_attention_heads)
    positions = text.max_position_embeddings
    require_attention(str(path), "text_config", positions, text.num_attention_heads)
    module = _build(path, family, config)
    module.load_state_dict(fit(weights_path, weights, module.state_dict()), assign=True)
    return module


def _load_inputs(folder: Path, family: str, config: Any) -> tuple[Tokenizer, Preprocess]:
    """Load the tokenizer and the preprocess, and compare them with the configuration."""
    text, vision = config.text_config, config.vision_config
    tokenizer = transformers_tokenizer(folder, text.max_position_embeddings, family=family)
    if tokenizer.vocab_size > text.vocab_size:
        raise ModelError(
            f"{folder}: {tokenizer.vocab_size} tokens for a vocab_size of {text.vocab_size}",
            expected="a tokenizer and a config.json of one model",
            fix="copy the folder again",
        )
    preprocess = read_processor(folder)
    if preprocess.size != vision.image_size:
        raise ModelError(
            f"{folder}: images of {preprocess.size} pixels for a tower of {vision.image_size}",
            expected="a preprocessor_config.json and a config.json of one model",
        )
    return tokenizer, preprocess


def _count_neurons(path: Path, family: str, config: Any) -> int:
    """Return the number of neurons of both towers, and refuse towers whose numbers differ."""
    if family == "clip":
        return int(config.projection_dim)
    text, vision = config.text_config, config.vision_config
    has_head = getattr(vision, "vision_use_head", True)
    if text.projection_size != vision.hidden_size or not has_head:
        raise ModelError(
            f"{path}: {vision.hidden_size} image neurons, {text.projection_size} text neurons, "
            f"vision_use_head {has_head}",
            expected="towers that pool to embeddings of one width",
        )
    return int(vision.hidden_size)


class _Pair(nn.Module):
    """Wrap a model of transformers as two encoders.

    The pooled output of a SigLIP is its embedding; that of a CLIP is projected.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.image_end = getattr(model, "visual_projection", nn.Identity())
        self.text_end = getattr(model, "text_projection", nn.Identity())

    def encode_image(self, images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n neuron"]:
        output = self.model.vision_model(pixel_values=images, return_dict=True)
        features: Tensor = self.image_end(output.pooler_output)
        return features

    def encode_text(self, tokens: Int64[Tensor, "n context"]) -> Float[Tensor, "n neuron"]:
        output = self.model.text_model(input_ids=tokens, return_dict=True)
        features: Tensor = self.text_end(output.pooler_output)
        return features


def _find_end(module: Any) -> int | None:
    """Return the id of the end-of-text token; None for the highest id."""
    end: int | None = module.config.text_config.eos_token_id
    return None if end == 2 else end  # in old configurations of CLIP


def _copy_projections(module: Any) -> Projections:
    """Copy the projections; a Linear stores its weight as `[neuron, width]`."""
    image, text = module.visual_projection.weight, module.text_projection.weight
    return Projections(image=image.detach().clone(), text=text.detach().clone())


def _build(path: Path, family: str, config: Mapping[str, Any]) -> Any:
    import transformers

    config_class, model_class = (getattr(transformers, name) for name in _FAMILIES[family])
    try:
        with torch.random.fork_rng(devices=[]), Unfilled():
            model_config = config_class.from_dict(dict(config), attn_implementation="sdpa")
            return model_class(model_config).float()
    except Exception as error:  # transformers can raise anything for an impossible configuration
        raise ModelError(
            f"{path}: transformers cannot build this {family} model: {type(error).__name__}: "
            f"{error}",
            expected="a config.json of CLIPModel or SiglipModel",
        ) from error


def _remove_loading_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the keys that say how to load a model, at any depth.

    The rest distinguishes models in their identity. No library gets it.
    """
    return {
        key: _remove_loading_keys(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in _LOADING_KEYS
    }


def _read_weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """Read the weights from one file, or from the files that an index names."""
    if (folder / WEIGHTS).exists():
        return folder / WEIGHTS, read_tensors(folder / WEIGHTS)
    index = folder / _INDEX
    if not index.exists():
        names = listed(sorted(path.name for path in folder.iterdir()))
        raise ModelError(
            f"{folder}: no {WEIGHTS} among {names}",
            expected="weights as safetensors; others could hold code and are not read",
            fix="take a revision with safetensors, or save the model again with transformers",
        )
    weight_map = read_dictionary(index, "a list of files of weights").get("weight_map")
    weight_map = weight_map if isinstance(weight_map, dict) else {}
    files = set(map(str, weight_map.values()))
    if not files or not all(re.fullmatch(r"[\w.-]+\.safetensors", file) for file in files):
        raise ModelError(
            f"{index}: no list of files of weights",
            expected="weight_map with names of safetensors files in the same folder",
        )
    tensors: dict[str, Tensor] = {}
    for file in sorted(files):
        shard = read_shard(folder / file)
        repeated = [name for name in shard if name in tensors or weight_map.get(name, file) != file]
        raise_faults(folder / file, {"also in another file": repeated})
        tensors |= shard
    return index, find_weights(index, tensors)
