"""open_clip's model_cfg from somebody else: which keys it may have, of which types, and which
sizes.

open_clip builds what a model_cfg says, downloads what it names and hands `tokenizer_kwargs` on to
transformers, which has options that unpickle. Therefore a model_cfg of a folder or of a repository
is held against the tables here, which are the fields of open_clip's own `CLIPVisionCfg`,
`CLIPTextCfg` and `MultimodalCfg`.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from purescope.errors import ModelError
from purescope.models.plain import (
    FLAG,
    NOTHING,
    NUMBER,
    TEXT,
    WHOLE,
    Kind,
    dictionary_of,
    list_of,
    one_of,
    require_known,
)
from purescope.models.tokenizer_files import OPTIONS
from purescope.models.twin import has_twin
from purescope.specs import is_inside

CONTEXT, IMAGE = 4096, 2048
"""Tokens of a sentence and pixels of a side at most: sixteen and four times what the largest known
models have.
"""

ATTENTION = 2 * 10**9
"""Bytes of one input's attention at most: twenty times what the largest of open_clip's own towers
takes.
"""

_LAYERS, _FREE = 256, 64  # the deepest known models have 92 in both towers
_PER_LAYER = 8  # tensors: T5's have 8, all others more


_NAME = Kind(
    "a name on the Hugging Face hub, or a folder in the model's own",
    lambda value: (
        isinstance(value, str) and len(value) <= 200 and (value == "" or is_inside(value))
    ),
    fix="copy its files into a folder in the model's own, and name that",
)
_FILE = Kind(
    "the name of a file in the model's own folder",
    lambda value: isinstance(value, str) and len(value) <= 200 and is_inside(value),
    fix="copy the file into the model's own folder, and give its plain name",
)
# open_clip makes a regular expression of them.
_WORD = Kind(
    "a token without signs of regular expressions",
    lambda value: (
        isinstance(value, str) and bool(re.fullmatch(r"[^\\.^$*+?{}\[\]|()\s]{1,100}", value))
    ),
)
_CLEAN = one_of("canonicalize", "lower", "whitespace")
_SIMPLE = {
    "bpe_path": _FILE,
    "additional_special_tokens": list_of(_WORD, most=1000) | NOTHING,
    "context_length": WHOLE,
    "clean": _CLEAN,
    "reduction_mask": one_of("", "simple", "random", "shuffle"),  # "syntax" downloads and unpickles
}
_HF = {**OPTIONS, "clean": _CLEAN, "strip_sep_token": FLAG, "language": TEXT | NOTHING}
_BLOCKS = {
    "block_type": TEXT | NOTHING,
    "qk_norm": FLAG,
    "scaled_cosine_attn": FLAG,
    "scale_heads": FLAG,
    "scale_attn_inner": FLAG,
    "scale_attn": FLAG,
    "scale_fc": FLAG,
    "act_kwargs": dictionary_of({"approximate": TEXT, "inplace": FLAG}) | NOTHING,
    "norm_kwargs": dictionary_of({"eps": NUMBER, "elementwise_affine": FLAG, "bias": FLAG})
    | NOTHING,
    "mlp_ratio": NUMBER,
    "ls_init_value": NUMBER | NOTHING,
    "output_tokens": FLAG,
    "final_ln_after_pool": FLAG,
    "pool_type": TEXT,
    "width": WHOLE,
}
VISION: Mapping[str, Kind] = {
    **_BLOCKS,
    "layers": WHOLE | list_of(WHOLE, most=4),
    "head_width": WHOLE,
    "patch_size": WHOLE | NOTHING,
    "image_size": WHOLE | list_of(WHOLE, least=2, most=2),
    "patch_dropout": NUMBER,
    "attentional_pool": FLAG | TEXT,
    "attn_pooler_queries": WHOLE,
    "attn_pooler_heads": WHOLE,
    "no_ln_pre": FLAG,
    "pos_embed_type": TEXT,
    "timm_model_name": TEXT | NOTHING,
    "timm_model_pretrained": FLAG,
    "timm_pool": TEXT | NOTHING,
    "timm_proj": TEXT | NOTHING,
    "timm_proj_bias": FLAG,
    "timm_drop": NUMBER,
    "timm_drop_path": NUMBER | NOTHING,
}
_TOKENIZER = {"hf_tokenizer_name": _NAME | NOTHING, "tokenizer_mode": one_of("", "clips") | NOTHING}
TEXT_TOWER: Mapping[str, Kind] = {
    **_BLOCKS,
    **_TOKENIZER,
    "tokenizer_kwargs": Kind("a dictionary", lambda value: isinstance(value, dict))
    | NOTHING,  # looked into below
    "context_length": WHOLE,
    "vocab_size": WHOLE,
    "heads": WHOLE,
    "layers": WHOLE,
    "embed_cls": FLAG,
    "pad_id": WHOLE,
    "eos_id": WHOLE,
    "no_causal_mask": FLAG,
    "proj_bias": FLAG,
    "proj_type": TEXT,
    "hf_model_name": _NAME | NOTHING,
    "hf_model_pretrained": FLAG,
    "hf_proj_type": TEXT | NOTHING,
    "hf_pooler_type": TEXT | NOTHING,
}
DECODER: Mapping[str, Kind] = {
    **TEXT_TOWER,
    "dim_head": WHOLE,
    "n_queries": WHOLE,
    "attn_pooler_heads": WHOLE,
}
_SECTION = Kind("a dictionary", lambda value: isinstance(value, dict))
MODEL: Mapping[str, Kind] = {
    "embed_dim": WHOLE,
    "vision_cfg": _SECTION,
    "text_cfg": _SECTION,
    "multimodal_cfg": _SECTION,
    "custom_text": FLAG,
    "quick_gelu": FLAG,
    "init_logit_scale": NUMBER,
    "init_logit_bias": NUMBER | NOTHING,
    "nonscalar_logit_scale": FLAG,
    "output_dict": FLAG,
    "pad_id": WHOLE,
}
_SECTIONS = {"vision_cfg": VISION, "text_cfg": TEXT_TOWER, "multimodal_cfg": DECODER}


def checked_model(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Rebuild a model_cfg from what is known; of a good one nothing is left out.

    Raises:
        ModelError: it has an unknown key, a value of another type, a name that leads out of its
            folder, or sizes of no model.
    """
    cannot = f"{where}: open_clip cannot build this model_cfg: it"
    model = require_known(config, MODEL, cannot)
    for section, known in _SECTIONS.items():
        if section in model:
            model[section] = require_known(model[section], known, f"{cannot[:-2]}{section}")
    text = model["text_cfg"]
    options = text.get("tokenizer_kwargs")
    if options:
        known = _HF if text.get("hf_tokenizer_name") and not has_twin(model) else _SIMPLE
        told = f"{where}: no tokenizer from text_cfg.tokenizer_kwargs: it"
        expected = "an option of the tokenizer itself, none of how it is loaded"
        text["tokenizer_kwargs"] = require_known(options, known, told, expected=expected)
    return model


def as_sides(size: Any) -> tuple[int, int]:
    """Height and width of an image_size, which is a number or a list of both.

    Examples:
        >>> as_sides(224), as_sides([224, 336])
        ((224, 224), (224, 336))
    """
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return height, width


def require_sizes(where: str, model: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a model_cfg whose weights cannot be these, before anything is built of it.

    Raises:
        ModelError: it has more layers than so many tensors can be, a weight of more numbers than
            all of them have, or sentences or images of a size that no model has.
    """
    vision, text, decoder = model["vision_cfg"], model["text_cfg"], model.get("multimodal_cfg")
    require_at_most(where, "text_cfg.context_length", text.get("context_length", 77), CONTEXT)
    for side in as_sides(vision.get("image_size", 224)):
        require_at_most(where, "vision_cfg.image_size", side, IMAGE)
    layers, weights, attention = [], dict[str, int](), dict[str, tuple[int, int]]()
    if not vision.get("timm_model_name"):
        depth, width = vision.get("layers", 12), vision.get("width", 768)
        layers += [depth] if isinstance(depth, int) else list(depth)
        patch, size = vision.get("patch_size") or 1, vision.get("image_size", 224)
        if (
            isinstance(depth, int) and patch > 0
        ):  # a vision transformer, and the positions of its patches
            tokens = math.prod(side // patch for side in as_sides(size))
            weights["vision_cfg"] = width * tokens
            attention["vision_cfg"] = tokens, width // max(1, vision.get("head_width", 64))
    if not text.get("hf_model_name"):
        layers.append(text.get("layers", 12))
        width = text.get("width", 512)
        attention["text_cfg"] = text.get("context_length", 77), text.get("heads", 8)
        weights["text_cfg"] = width * max(
            text.get("vocab_size", 49408), text.get("context_length", 77)
        )
    if decoder is not None:
        layers.append(decoder.get("layers", 12))
        weights["multimodal_cfg"] = decoder.get("width", 512) * decoder.get("context_length", 77)
    require_layers(where, sum(max(0, depth) for depth in layers), tensors)
    require_numbers(where, weights, tensors)
    for part, (tokens, heads) in attention.items():
        require_attention(where, part, tokens, heads)


def require_at_most(where: str, name: str, size: Any, most: int) -> None:
    """Refuse a size that no model has.

    Raises:
        ModelError: it is one.
    """
    if not isinstance(size, int) or not 1 <= size <= most:
        told = f"{size:,}" if isinstance(size, int) else repr(size)
        raise ModelError(f"{where}: {name} is {told}", expected=f"1 to {most:,}")


def require_attention(where: str, part: str, tokens: int, heads: int) -> None:
    """Refuse a tower in which each token looks at each other one and that takes gigabytes, whatever
    its weights.

    Raises:
        ModelError: three arrays of float32, a number for each head and pair of tokens, are larger
            than that.
    """
    needed = 12 * tokens**2 * heads
    if needed > ATTENTION:
        raise ModelError(
            f"{where}: {part} has {heads:,} heads over {tokens:,} tokens: {needed:,} bytes for one "
            f"input",
            expected=f"at most {ATTENTION:,}",
            fix="give the whole, unchanged model; if it is from somewhere else, do not trust it",
        )


def require_layers(where: str, layers: int, tensors: Mapping[str, Tensor]) -> None:
    """Refuse so many layers where so many tensors are stored; up to 64, what is missing is told by
    name later.

    Raises:
        ModelError: there are too many.
    """
    most = min(_LAYERS, max(_FREE, len(tensors) // _PER_LAYER))
    if layers > most:
        raise ModelError(
            f"{where}: {layers:,} layers, and {len(tensors):,} tensors of weights",
            expected=f"at most {most:,} layers: {_PER_LAYER} tensors or more for each, and no more "
            f"than {_LAYERS}",
            fix="give the whole, unchanged model; if it is from somewhere else, do not trust it",
        )


def require_numbers(where: str, weights: Mapping[str, int], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a part with a weight of more numbers than all the stored weights have, with room for a
    wrong width.

    Raises:
        ModelError: there is such a part.
    """
    stored = sum(tensor.numel() for tensor in tensors.values())
    for part, numbers in weights.items():
        if numbers > max(4 * stored, 10**7):
            raise ModelError(
                f"{where}: {part} has a weight of {numbers:,} numbers, and {stored:,} numbers are "
                f"stored",
                expected="a configuration and weights of one model",
                fix="give the whole, unchanged model; if it is from somewhere else, do not trust "
                "it",
            )
