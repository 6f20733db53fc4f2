"""CLIP and SigLIP models of transformers: a folder, or a repository of the hub, with config.json
and safetensors.

The modules and tokenizers are those of transformers, built by the names in our table: no code that
lies beside the weights runs, and nothing but safetensors is read for weights. SigLIP 2 with one
image size is a SigLIP here as there; its variants for images of any size take other inputs and are
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
from purescope.models.checkpoint import (
    fingerprint,
    fit,
    read_part,
    read_tensors,
    refuse,
    require_fit,
)
from purescope.models.configuration import require_attention, require_layers
from purescope.models.model import Tower
from purescope.models.processor import find_preprocess, read_dictionary
from purescope.models.towers import Towers, Unfilled
from purescope.models.transformers_config import layers_of, rebuilt_model
from purescope.models.vocabulary import HF_FILES, require_transformers, transformers_tokenizer
from purescope.models.wrappers import find_weights

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_INDEX = f"{WEIGHTS}.index.json"
_FETCHED = (*HF_FILES, "model*.safetensors")
_FAMILIES = {"clip": ("CLIPConfig", "CLIPModel"), "siglip": ("SiglipConfig", "SiglipModel")}
# What a configuration may hold that is not the model: how to load it, and with whose code.
_NO_PART = {
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
    """A folder with the files of a repository of the hub that a model is read from.

    Raises:
        ModelError: it cannot be reached or, offline, is not on this disk.
    """
    return fetch_folder(repository, _FETCHED, offline=offline)


def load(folder: Path) -> Towers:
    """The towers of a CLIPModel or SiglipModel folder.

    Raises:
        ModelError: a file is missing or broken, or asks for something that is not supported.
        MissingExtraError: transformers is not installed.
    """
    require_transformers()
    with guarded(folder, what=str(folder)):
        return _load(folder)


def _load(folder: Path) -> Towers:
    config = read_dictionary(folder / CONFIG)
    family = config.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        raise ModelError(
            f"{folder / CONFIG}: model_type {family!r}",
            expected=f"{' or '.join(_FAMILIES)}, SigLIP 2 among the latter where it has one image "
            f"size",
        )
    told = f"{folder / CONFIG}: transformers cannot build this {family} model: it"
    rebuilt = rebuilt_model(config, told)
    weights_path, stored = _read_weights(folder)
    require_layers(str(folder / CONFIG), layers_of(rebuilt), stored)
    weights = {
        name: tensor for name, tensor in stored.items() if not name.endswith(".position_ids")
    }  # 0, 1, 2, ...
    with torch.device("meta"):  # without memory first
        plan = _build(folder / CONFIG, family, rebuilt)
    require_fit(weights_path, weights, plan.state_dict())
    for part, tokens in (
        (
            "vision_config",
            (plan.config.vision_config.image_size // plan.config.vision_config.patch_size) ** 2,
        ),
        ("text_config", plan.config.text_config.max_position_embeddings),
    ):
        require_attention(
            str(folder / CONFIG), part, tokens, getattr(plan.config, part).num_attention_heads
        )
    module = _build(folder / CONFIG, family, rebuilt)
    module.load_state_dict(fit(weights_path, weights, module.state_dict()), assign=True)
    text, vision = module.config.text_config, module.config.vision_config
    tokenizer = transformers_tokenizer(folder, text.max_position_embeddings, family=family)
    if tokenizer.vocab_size > text.vocab_size:
        raise ModelError(
            f"{folder}: {tokenizer.vocab_size} tokens for a vocab_size of {text.vocab_size}",
            expected="a tokenizer and a config.json of one model",
            fix="copy the folder again",
        )
    preprocess = find_preprocess(folder)
    if preprocess.size != vision.image_size:
        raise ModelError(
            f"{folder}: images of {preprocess.size} pixels for a tower of {vision.image_size}",
            expected="a preprocessor_config.json and a config.json of one model",
        )
    is_clip = family == "clip"
    neurons = module.config.projection_dim if is_clip else vision.hidden_size
    if not is_clip and (
        text.projection_size != neurons or not getattr(vision, "vision_use_head", True)
    ):
        raise ModelError(
            f"{folder / CONFIG}: {neurons} image neurons, {text.projection_size} text neurons, "
            f"vision_use_head {getattr(vision, 'vision_use_head', True)}",
            expected="towers that pool to embeddings of one width",
        )
    pair = _Pair(module)
    return Towers(
        module=pair,
        encode_image=pair.encode_image,
        encode_text=pair.encode_text,
        tokenize=tokenizer,
        weight_space=_projections(module)
        if is_clip
        else "the image tower ends without a projection",
        neurons=neurons,
        preprocess=preprocess,
        identity={
            "format": "transformers",
            "architecture": json.dumps(_model_only(config), sort_keys=True),
            "activation": f"image {vision.hidden_act}, text {text.hidden_act}",
            "weights": fingerprint(stored),
            "tokenizer": tokenizer.identity,
            "logit_scale": f"{module.logit_scale.exp().item():.6g}",
            "projection_bias": "none"
            if is_clip or not module.text_model.head.bias.any()
            else "text",
        },
        towers={
            "image": Tower({"vision_model": module.vision_model}, "first" if is_clip else "mean"),
            "text": Tower(
                {"text_model": module.text_model}, "end" if is_clip else "last", end=_end(text)
            ),
        },
        configurations={CONFIG: rebuilt},
    )


def _end(text: Any) -> int | None:
    """The id that CLIP's text tower looks for; 2 stands in old configurations, and means the
    highest id.
    """
    return None if text.eos_token_id == 2 else text.eos_token_id


class _Pair(nn.Module):
    """A model of transformers by its two encoders; SigLIP's pooled output is its embedding, CLIP's
    is projected.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.image_end = getattr(model, "visual_projection", nn.Identity())
        self.text_end = getattr(model, "text_projection", nn.Identity())

    def encode_image(self, images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n neuron"]:
        features: Tensor = self.image_end(
            self.model.vision_model(pixel_values=images, return_dict=True).pooler_output
        )
        return features

    def encode_text(self, tokens: Int64[Tensor, "n context"]) -> Float[Tensor, "n neuron"]:
        features: Tensor = self.text_end(
            self.model.text_model(input_ids=tokens, return_dict=True).pooler_output
        )
        return features


def _projections(module: Any) -> Projections:
    """A Linear keeps its weight as `[neuron, width]`."""
    image, text = module.visual_projection.weight, module.text_projection.weight
    return Projections(image=image.detach().clone(), text=text.detach().clone())


def _build(path: Path, family: str, config: Mapping[str, Any]) -> Any:
    import transformers

    config_class, model_class = (getattr(transformers, name) for name in _FAMILIES[family])
    try:
        with torch.random.fork_rng(devices=[]), Unfilled():
            return model_class(
                config_class.from_dict(dict(config), attn_implementation="sdpa")
            ).float()
    except Exception as error:  # an impossible configuration can make transformers raise anything
        raise ModelError(
            f"{path}: transformers cannot build this {family} model: {type(error).__name__}: "
            f"{error}",
            expected="a config.json of CLIPModel or SiglipModel",
        ) from error


def _model_only(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what says how to load it, at any depth: what tells models apart,
    handed to nobody.
    """
    return {
        key: _model_only(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in _NO_PART
    }


def _read_weights(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The one file of weights, or the parts that an index names."""
    if (folder / WEIGHTS).exists():
        return folder / WEIGHTS, read_tensors(folder / WEIGHTS)
    if not (folder / _INDEX).exists():
        there = listed(sorted(path.name for path in folder.iterdir()))
        raise ModelError(
            f"{folder}: no {WEIGHTS} among {there}",
            expected="weights as safetensors; others could hold code and are not read",
            fix="take a revision with safetensors, or save the model again with transformers",
        )
    parts = read_dictionary(folder / _INDEX).get("weight_map")
    parts = parts if isinstance(parts, dict) else {}
    names = set(map(str, parts.values()))
    if not names or not all(re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
        raise ModelError(
            f"{folder / _INDEX}: no list of parts",
            expected="weight_map with names of files of safetensors beside it",
        )
    tensors: dict[str, Tensor] = {}
    for name in sorted(names):
        part = read_part(folder / name)
        strays = [tensor for tensor in part if tensor in tensors or parts.get(tensor, name) != name]
        refuse(folder / name, {"in another part, too": strays})
        tensors |= part
    return folder / _INDEX, find_weights(folder / _INDEX, tensors)
