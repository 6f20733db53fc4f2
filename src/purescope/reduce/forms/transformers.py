"""Write a model as a CLIPModel of transformers: its own, or one of open_clip with plain towers.

A CLIPModel has a ViT with a class token and CLIP's text tower, both of which end in a linear map
without a bias. open_clip builds the same from a plain configuration, under other names.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from purescope.errors import ModelError, listed
from purescope.models.convert import write_json, write_weights, written_weights
from purescope.models.open_clip_config import to_sides
from purescope.models.towers import Towers
from purescope.models.transformers import WEIGHTS
from purescope.models.transformers_config import CONFIG, PROCESSOR, to_processor_config

# What open_clip's configuration may say beside the sizes: all of it is so in a CLIPModel.
_PLAIN: dict[str, Any] = {
    "vision_cfg": {
        "attentional_pool": False,
        "final_ln_after_pool": False,
        "no_ln_pre": False,
        "pool_type": "tok",
        "timm_model_name": None,
    },
    "text_cfg": {
        "embed_cls": False,
        "hf_model_name": None,
        "no_causal_mask": False,
        "pool_type": "argmax",
        "proj_bias": False,
        "proj_type": "linear",
    },
    "both": {
        "act_kwargs": None,
        "block_type": None,
        "ls_init_value": None,
        "norm_kwargs": None,
        "qk_norm": False,
        "scale_attn": False,
        "scale_attn_inner": False,
        "scale_fc": False,
        "scale_heads": False,
        "scaled_cosine_attn": False,
    },
}
_PARTS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.": "vision_model.pre_layrnorm.",  # as transformers spells it
    "visual.ln_post.": "vision_model.post_layernorm.",
    "visual.transformer.resblocks.": "vision_model.encoder.layers.",
    "visual.proj": "visual_projection.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "transformer.resblocks.": "text_model.encoder.layers.",
    "ln_final.": "text_model.final_layer_norm.",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
_IN_LAYERS = {
    ".ln_1.": ".layer_norm1.",
    ".ln_2.": ".layer_norm2.",
    ".attn.out_proj.": ".self_attn.out_proj.",
    ".mlp.c_fc.": ".mlp.fc1.",
    ".mlp.c_proj.": ".mlp.fc2.",
}
_IN_PROJECTION = re.compile(r"\.attn\.in_proj_(weight|bias)$")


def to_transformers(towers: Towers) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the configuration and the weights of the same model as a CLIPModel.

    Args:
        towers: a model of transformers, or one of open_clip or OpenAI with plain towers.

    Raises:
        ModelError: there is no such CLIPModel.

    Examples:
        >>> from purescope.models import find_towers
        >>> to_transformers(find_towers("bundled:clip")[0])
        Traceback (most recent call last):
        purescope.errors.ModelError: a model whose image tower is a ResNet has no transformers form
          expected: a ViT with a class token and CLIP's own text tower
          to fix:   leave transformers out of --to
    """
    require_transformers_form(towers)
    if towers.identity["format"] == "transformers":
        return dict(towers.configurations[CONFIG]), written_weights(towers)
    config = _to_config(json.loads(towers.identity["architecture"]), towers)
    return config, _rename(written_weights(towers))


def write_transformers(towers: Towers, folder: Path) -> None:
    """Write a model into a folder that `transformers.CLIPModel` loads, with its tokenizer.

    Raises:
        ModelError: there is no such CLIPModel.
    """
    config, weights = to_transformers(towers)
    write_json(folder / CONFIG, config)
    write_weights(folder / WEIGHTS, weights)
    write_json(folder / PROCESSOR, to_processor_config(towers.preprocess))
    if towers.tokenize.save_plain is not None:
        towers.tokenize.save_plain(folder)


def require_transformers_form(towers: Towers) -> None:
    """Refuse a model that transformers has no CLIPModel for.

    Raises:
        ModelError: there is none; the message says why.
    """
    reason = _find_reason(towers)
    if reason:
        raise ModelError(
            f"a model {reason} has no transformers form",
            expected="a ViT with a class token and CLIP's own text tower",
            fix="leave transformers out of --to",
        )


def _find_reason(towers: Towers) -> str:
    """Return what of a model transformers' CLIPModel does not have; empty if nothing."""
    if towers.identity["format"] == "transformers":
        return ""
    if towers.identity["format"] == "laclip":
        return "of LaCLIP, whose image tower has a bias in its patches and other layer norms,"
    model = json.loads(towers.identity["architecture"])
    vision, text = model["vision_cfg"], model["text_cfg"]
    if "multimodal_cfg" in model:
        return "of CoCa, which has a caption decoder,"
    if vision.get("timm_model_name"):
        return f"with the image tower {vision['timm_model_name']} of timm"
    if isinstance(vision.get("layers"), list):
        return "whose image tower is a ResNet"
    if text.get("hf_model_name"):
        return f"with the text tower {text['hf_model_name']}"
    if model.get("init_logit_bias") is not None:
        return "with a bias of its logits"
    sides = to_sides(vision.get("image_size", 224))
    others = [
        f"{section}.{key} {config[key]!r}"
        for section, config in (("vision_cfg", vision), ("text_cfg", text))
        for key, plain in {**_PLAIN[section], **_PLAIN["both"]}.items()
        if config.get(key, plain) != plain
    ]
    others += [f"images of {sides[0]} x {sides[1]} pixels"] if len(set(sides)) > 1 else []
    if others:
        return f"with {listed(others, 3)}"
    if towers.tokenize.save_plain is None:
        return f"with the tokenizer options {text.get('tokenizer_kwargs')}"
    return ""


def _to_config(model: Mapping[str, Any], towers: Towers) -> dict[str, Any]:
    """Return the configuration, with the number of neurons at all three places."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    width, text_width = vision.get("width", 768), text.get("width", 512)
    shared = {"hidden_act": activation, "projection_dim": towers.neurons, "layer_norm_eps": 1e-5}
    end = towers.tokenize.vocab_size - 1  # of the sentence: open_clip reads the highest number
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": towers.neurons,
        "vision_config": {
            **shared,
            "hidden_size": width,
            "intermediate_size": int(width * vision.get("mlp_ratio", 4.0)),
            "num_hidden_layers": vision.get("layers", 12),
            "num_attention_heads": width // vision.get("head_width", 64),
            "image_size": to_sides(vision.get("image_size", 224))[0],
            "patch_size": vision.get("patch_size", 16),
        },
        "text_config": {
            **shared,
            "hidden_size": text_width,
            "intermediate_size": int(text_width * text.get("mlp_ratio", 4.0)),
            "num_hidden_layers": text.get("layers", 12),
            "num_attention_heads": text.get("heads", 8),
            "max_position_embeddings": text.get("context_length", 77),
            "vocab_size": text.get("vocab_size", 49408),
            "bos_token_id": end - 1,
            "eos_token_id": end,
            "pad_token_id": end,
        },
    }


def _rename(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return open_clip's weights under the names of transformers."""
    renamed: dict[str, Tensor] = {}
    for given, weight in weights.items():
        # A CustomTextCLIP has a prefix before the names of its text tower.
        name = given.removeprefix("text.")
        part = next(part for part in _PARTS if name.startswith(part))
        name = _PARTS[part] + name.removeprefix(part)
        for old, new in _IN_LAYERS.items():
            name = name.replace(old, new)
        if match := _IN_PROJECTION.search(name):
            for letter, rows in zip("qkv", weight.chunk(3), strict=True):
                renamed[f"{name[: match.start()]}.self_attn.{letter}_proj.{match[1]}"] = rows
        elif part in ("visual.proj", "text_projection"):
            renamed[name] = weight.T
        else:
            renamed[name] = weight.reshape(()) if part == "logit_scale" else weight
    return renamed
