"""Check open_clip's model_cfg and preprocess_cfg of unknown origin: keys, types and sizes.

open_clip builds what a model_cfg says, downloads what it names, and passes `tokenizer_kwargs` on to
transformers, which has options that unpickle. The tables here are therefore the fields of
open_clip's own `CLIPVisionCfg`, `CLIPTextCfg` and `MultimodalCfg`, and nothing else gets through.

A folder can hold the tokenizer of a model's own merges twice: as the merges, and as its *twin*, the
same tokenizer in the files of transformers. open_clip opens `bpe_path` relative to the working
directory, not to the model; the only tokenizer that it takes from the folder of a model is one of
transformers. With both, open_clip can load the folder from anywhere, and purescope needs no
transformers: it reads the merges, and the twin must have the same vocabulary.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from purescope.errors import InputError, ModelError
from purescope.models.configuration import (
    CONTEXT,
    DICTIONARY,
    FLAG,
    IMAGE,
    NOTHING,
    NUMBER,
    TEXT,
    WHOLE,
    Kind,
    dictionary_of,
    list_of,
    one_of,
    require_at_most,
    require_attention,
    require_known,
    require_layers,
    require_numbers,
)
from purescope.models.model import OPENAI_PREPROCESS, Preprocess, to_rgb
from purescope.models.tokenizer_files import OPTIONS
from purescope.specs import is_inside

_NAME = Kind(
    "a name on the Hugging Face hub, or a folder inside the folder of the model",
    lambda value: (
        isinstance(value, str) and len(value) <= 200 and (value == "" or is_inside(value))
    ),
    fix="copy its files into a folder inside the folder of the model, and name that",
)
_FILE = Kind(
    "the name of a file inside the folder of the model",
    lambda value: isinstance(value, str) and len(value) <= 200 and is_inside(value),
    fix="copy the file into the folder of the model, and give its plain name",
)
# open_clip builds a regular expression from these.
_WORD = Kind(
    "a token without special characters of regular expressions",
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
    "tokenizer_kwargs": DICTIONARY | NOTHING,  # its keys are checked in `check_model`
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
MODEL: Mapping[str, Kind] = {
    "embed_dim": WHOLE,
    "vision_cfg": DICTIONARY,
    "text_cfg": DICTIONARY,
    "multimodal_cfg": DICTIONARY,
    "custom_text": FLAG,
    "quick_gelu": FLAG,
    "init_logit_scale": NUMBER,
    "init_logit_bias": NUMBER | NOTHING,
    "nonscalar_logit_scale": FLAG,
    "output_dict": FLAG,
    "pad_id": WHOLE,
}
_SECTIONS = {"vision_cfg": VISION, "text_cfg": TEXT_TOWER, "multimodal_cfg": DECODER}
_TOWERS = ("vision_cfg", "text_cfg")
_TWIN_NAME = "."  # open_clip takes the tokenizer in the folder of the model, whatever the name
_TWIN_CLEAN = "lower"  # the default of SimpleTokenizer, which HFTokenizer does not share


def check_config(config: Any, path: Path) -> dict[str, Any]:
    """Check an open_clip_config.json and rebuild its model_cfg from known keys.

    Args:
        config: the content of the file.
        path: the path of the file, for messages.

    Returns:
        The configuration, its model_cfg without a twin. The key `has_twin` says whether the folder
        holds one.

    Raises:
        ModelError: the configuration holds no model, or something unknown.
    """
    model = config.get("model_cfg") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not all(
        isinstance(model.get(tower), dict) for tower in _TOWERS
    ):
        raise ModelError(
            f"{path}: no model", expected="model_cfg with embed_dim, vision_cfg and text_cfg"
        )
    if not isinstance(config.get("preprocess_cfg") or {}, dict):
        raise ModelError(
            f"{path}: preprocess_cfg {config['preprocess_cfg']!r}", expected="a dictionary"
        )
    model = check_model(model, str(path))
    return {
        **config,
        "model_cfg": without_twin(model) if has_twin(model) else model,
        "has_twin": has_twin(model),
    }


def check_model(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Rebuild a model_cfg from known keys; a good one stays as it is.

    Raises:
        ModelError: a key is unknown, a value has another type, or a name leads out of the folder of
            the model.
    """
    subject = f"{where}: open_clip cannot build this model_cfg: it"
    model = require_known(config, MODEL, subject)
    for section, known in _SECTIONS.items():
        if section in model:
            section_subject = f"{subject.removesuffix('it')}{section}"
            model[section] = require_known(model[section], known, section_subject)
    text = model["text_cfg"]
    if options := text.get("tokenizer_kwargs"):
        uses_transformers = text.get("hf_tokenizer_name") and not has_twin(model)
        text["tokenizer_kwargs"] = require_known(
            options,
            _HF if uses_transformers else _SIMPLE,
            f"{where}: no tokenizer from text_cfg.tokenizer_kwargs: it",
            expected="an option of the tokenizer itself, not of how it is loaded",
        )
    return model


def to_sides(size: Any) -> tuple[int, int]:
    """Return height and width of an image_size, which is a number or a list of both.

    Examples:
        >>> to_sides(224), to_sides([224, 336])
        ((224, 224), (224, 336))
    """
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return height, width


def require_sizes(where: str, model: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a model_cfg that cannot fit its weights, before anything is built from it.

    Raises:
        ModelError: the model_cfg has more layers than the number of tensors allows, a weight of
            more numbers than all stored ones, or sentences or images of a size that no model has.
    """
    vision, text, decoder = model["vision_cfg"], model["text_cfg"], model.get("multimodal_cfg")
    context = text.get("context_length", 77)
    sides = to_sides(vision.get("image_size", 224))
    require_at_most(where, "text_cfg.context_length", context, CONTEXT)
    for side in sides:
        require_at_most(where, "vision_cfg.image_size", side, IMAGE)
    depths, sizes, attention = [], dict[str, int](), dict[str, tuple[int, int]]()
    if not vision.get("timm_model_name"):
        depth, width = vision.get("layers", 12), vision.get("width", 768)
        depths += [depth] if isinstance(depth, int) else list(depth)
        patch = vision.get("patch_size") or 1
        # A vision transformer has a position for each patch; a ResNet has a list of depths.
        if isinstance(depth, int) and patch > 0:
            tokens = math.prod(side // patch for side in sides)
            sizes["vision_cfg"] = width * tokens
            attention["vision_cfg"] = tokens, width // max(1, vision.get("head_width", 64))
    if not text.get("hf_model_name"):
        depths.append(text.get("layers", 12))
        sizes["text_cfg"] = text.get("width", 512) * max(text.get("vocab_size", 49408), context)
        attention["text_cfg"] = context, text.get("heads", 8)
    if decoder is not None:
        depths.append(decoder.get("layers", 12))
        sizes["multimodal_cfg"] = decoder.get("width", 512) * decoder.get("context_length", 77)
    require_layers(where, sum(max(0, depth) for depth in depths), tensors)
    require_numbers(where, sizes, tensors)
    for tower, (tokens, heads) in attention.items():
        require_attention(where, tower, tokens, heads)


def find_merges_name(model: Mapping[str, Any]) -> str:
    """Return the name of the model's own list of merges; empty if it has CLIP's vocabulary."""
    text = model["text_cfg"]
    options = text.get("tokenizer_kwargs") or {}
    return "" if text.get("hf_tokenizer_name") else str(options.get("bpe_path", ""))


def choose_merges_name(path: str) -> str:
    """Choose the name for a copy of a list of merges.

    It keeps its name unless that could be another file of a model.

    Examples:
        >>> choose_merges_name("words/mine.txt.gz")
        'mine.txt.gz'
        >>> choose_merges_name("words/open_clip_model.safetensors")
        'merges.txt.gz'
    """
    name = Path(path).name
    return name if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.gz", name) else "merges.txt.gz"


def can_have_twin(model: Mapping[str, Any]) -> bool:
    """Return whether a model_cfg has its own merges and no other option of its tokenizer."""
    return (model["text_cfg"].get("tokenizer_kwargs") or {}).keys() == {"bpe_path"}


def has_twin(model: Mapping[str, Any]) -> bool:
    """Return whether a model_cfg names both merges and a tokenizer of transformers."""
    text = model["text_cfg"]
    options = text.get("tokenizer_kwargs") or {}
    return bool(text.get("hf_tokenizer_name")) and "bpe_path" in options


def with_twin(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model_cfg for a folder that also holds the twin."""
    text = dict(model["text_cfg"])
    text |= {
        "hf_tokenizer_name": _TWIN_NAME,
        "tokenizer_kwargs": {**text["tokenizer_kwargs"], "clean": _TWIN_CLEAN},
    }
    return {**model, "text_cfg": text}


def without_twin(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model_cfg exactly as it was before `with_twin`."""
    text = {key: value for key, value in model["text_cfg"].items() if key != "hf_tokenizer_name"}
    options = {
        key: value
        for key, value in text["tokenizer_kwargs"].items()
        if (key, value) != ("clean", _TWIN_CLEAN)
    }
    return {**model, "text_cfg": {**text, "tokenizer_kwargs": options}}


def read_preprocess(
    config: Mapping[str, Any], image_size: int | tuple[int, int], where: str
) -> Preprocess:
    """Read a preprocess_cfg.

    Args:
        config: the preprocess_cfg; open_clip's defaults replace missing keys.
        image_size: the size of the image tower, which the preprocess always takes.
        where: what messages call the configuration.

    Raises:
        ModelError: `Preprocess` cannot do the same.
    """
    sizes = {image_size} if isinstance(image_size, int) else set(image_size)
    mean, std = (
        to_rgb(config.get(key) or getattr(OPENAI_PREPROCESS, key)) for key in ("mean", "std")
    )
    resize = config.get("resize_mode") or "shortest"
    if len(sizes) > 1 or resize not in ("shortest", "squash") or mean is None or std is None:
        raise ModelError(
            f"{where}: preprocess_cfg {dict(config)}, image size {image_size}",
            expected="square images by resize_mode 'shortest' or 'squash'; mean and std of three "
            "numbers each",
        )
    # open_clip takes any other interpolation as bicubic.
    interpolation = "bilinear" if config.get("interpolation") == "bilinear" else "bicubic"
    try:
        return Preprocess(sizes.pop(), mean, std, interpolation, resize)
    except InputError as error:
        raise ModelError(
            f"{where}: preprocess_cfg: {error.came}", expected=error.expected
        ) from error


def to_preprocess_config(preprocess: Preprocess) -> dict[str, Any]:
    """Return the preprocess_cfg that `read_preprocess` and open_clip read as this preprocess."""
    return {
        "size": preprocess.size,
        "mean": preprocess.mean,
        "std": preprocess.std,
        "interpolation": preprocess.interpolation,
        "resize_mode": preprocess.resize,
    }
