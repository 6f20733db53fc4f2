"""Folders in open_clip's `local-dir:` form: open_clip_config.json, weights, and a vocabulary if not CLIP's.

The modules, the tokenizer and the meaning of the configuration are open_clip's; reading and checking the
weights is ours, so that a folder runs no code, reaches no network, and what is wrong in it is named.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from purescope.errors import ModelError
from purescope.models._checkpoint import fingerprint, fit, read_tensors
from purescope.models._towers import Towers
from purescope.models._vocabulary import simple_tokenizer
from purescope.models.model import OPENAI_PREPROCESS, Preprocess
from purescope.purity import Projections

CONFIG = "open_clip_config.json"
_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
)
_NOT_YET = "not included in this version"


def load(folder: Path) -> Towers:
    """The towers of an open_clip folder.

    Raises:
        ModelError: a file is missing or broken, or asks for something that is not supported.
    """
    config = _read_config(folder / CONFIG)
    model_config, weights_path = config["model_cfg"], _find_weights(folder)
    text_config = model_config["text_cfg"]
    module = _build(folder / CONFIG, model_config)
    stored, wanted = read_tensors(weights_path), module.state_dict()
    # A batch norm's counter has no part in a forward pass, and may be missing as it may for torch.
    counters = {name: value for name, value in wanted.items() if name.endswith(".num_batches_tracked")}
    module.load_state_dict(fit(weights_path, counters | stored, wanted), assign=True)
    tokenizer = simple_tokenizer(module.context_length, text_config.get("tokenizer_kwargs"), folder=folder)
    if tokenizer.vocab_size > module.vocab_size:
        raise ModelError(
            f"{folder / CONFIG}: {tokenizer.vocab_size} tokens for a vocab_size of {module.vocab_size}",
            expected="a tokenizer with no more entries than the text tower has",
            fix="name the model's own merges in text_cfg.tokenizer_kwargs.bpe_path",
        )
    image, image_bias = _image_projection(weights_path, module.visual)
    text, text_bias = _text_projection(weights_path, getattr(module, "text", module))
    biases = {"image": image_bias, "text": text_bias}
    biased = [tower for tower, bias in biases.items() if bias is not None and bias.any()]
    return Towers(
        module=module,
        encode_image=module.encode_image,
        encode_text=module.encode_text,
        tokenize=tokenizer,
        weight_space=Projections(image=image.detach().clone(), text=text.detach().clone()),
        neurons=len(image),
        preprocess=_preprocess(folder / CONFIG, config.get("preprocess_cfg") or {}, module.visual.image_size),
        identity={
            "format": "open_clip",
            "architecture": json.dumps(model_config, sort_keys=True),
            "activation": _activation(model_config),
            "weights": fingerprint(stored),
            "tokenizer": tokenizer.identity,
            "logit_scale": f"{module.logit_scale.exp().item():.6g}",
            "projection_bias": " ".join(biased) or "none",
        },
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror}", expected=f"a folder with {CONFIG} and open_clip_model.safetensors"
        ) from error
    except ValueError as error:
        raise ModelError(f"{path}: no JSON: {error}", fix="copy the folder again") from error
    model = config.get("model_cfg") if isinstance(config, dict) else None
    towers = ("vision_cfg", "text_cfg")
    if not isinstance(model, dict) or not all(isinstance(model.get(tower), dict) for tower in towers):
        raise ModelError(f"{path}: no model", expected="model_cfg with embed_dim, vision_cfg and text_cfg")
    return dict(config)


def _find_weights(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    there = ", ".join(sorted(path.name for path in folder.iterdir()))
    raise ModelError(f"{folder}: no weights among {there}", expected=f"one of {', '.join(_WEIGHTS)}")


def _build(path: Path, config: Mapping[str, Any]) -> Any:
    """open_clip's own module, its weights still drawn at random; the random state is left as it was."""
    import open_clip

    vision, text = dict(config["vision_cfg"]), config["text_cfg"]
    from_hub = ":" in (vision.get("timm_model_name") or "")
    beyond = {
        "a text tower of transformers (text_cfg.hf_model_name)": text.get("hf_model_name"),
        "a tokenizer of transformers (text_cfg.hf_tokenizer_name)": text.get("hf_tokenizer_name"),
        "CoCa (multimodal_cfg)": config.get("multimodal_cfg"),
        "an image tower from a hub (vision_cfg.timm_model_name)": from_hub,
    }
    for what, is_wanted in beyond.items():
        if is_wanted:
            expected = f"towers of open_clip and timm; this is {_NOT_YET}"
            raise ModelError(f"{path}: wants {what}", expected=expected)
    vision["timm_model_pretrained"] = False  # true would download
    arguments = {key: value for key, value in config.items() if key != "custom_text"} | {"vision_cfg": vision}
    build = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
    try:
        with torch.random.fork_rng(devices=[]):
            return build(**arguments)
    except Exception as error:  # an impossible configuration can make open_clip and timm raise anything
        raise ModelError(
            f"{path}: open_clip cannot build this model_cfg: {type(error).__name__}: {error}",
            expected="a model_cfg of the installed open_clip",
        ) from error


def _image_projection(path: Path, visual: Any) -> tuple[Tensor, Tensor | None]:
    """The tower's last linear map with rows as neurons, and its bias if it has one."""
    if isinstance(getattr(visual, "proj", None), Tensor):  # open_clip's ViT: features @ proj
        return visual.proj.T, None
    modules = dict(visual.named_modules())
    for name in ("attnpool.c_proj", "head.proj"):  # ModifiedResNet, and a timm tower
        linear = modules.get(name)
        if isinstance(linear, nn.Linear):
            return linear.weight, linear.bias
    last = list(modules)[-1]
    raise ModelError(
        f"{path}: the image tower ends with visual.{last}, a {type(modules[last]).__name__}",
        expected="a linear projection: visual.proj, visual.attnpool.c_proj or visual.head.proj",
    )


def _text_projection(path: Path, text: Any) -> tuple[Tensor, Tensor | None]:
    projection = text.text_projection
    if isinstance(projection, nn.Linear):
        return projection.weight, projection.bias
    if isinstance(projection, Tensor):
        return projection.T, None
    raise ModelError(f"{path}: the text tower ends without a projection", expected="a text_projection")


def _activation(config: Mapping[str, Any]) -> str:
    gelu = "QuickGELU" if config.get("quick_gelu") else "GELU"
    vision = config["vision_cfg"]
    image = "timm's own" if vision.get("timm_model_name") else gelu
    return f"image {'ReLU' if isinstance(vision.get('layers'), list) else image}, text {gelu}"


def _preprocess(path: Path, config: Mapping[str, Any], image_size: int | tuple[int, int]) -> Preprocess:
    """The configuration's; what it leaves out is open_clip's default, and the size is always the tower's."""
    sizes = {image_size} if isinstance(image_size, int) else set(image_size)
    if len(sizes) > 1 or config.get("resize_mode", "shortest") != "shortest":
        raise ModelError(
            f"{path}: preprocess_cfg {dict(config)}, image size {image_size}",
            expected=f"square images by resize_mode 'shortest'; anything else is {_NOT_YET}",
        )
    mean, std = (tuple(config.get(key) or getattr(OPENAI_PREPROCESS, key)) for key in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3:
        raise ModelError(f"{path}: preprocess_cfg mean {mean}, std {std}", expected="three values each")
    # Whatever is not bilinear is bicubic to open_clip.
    interpolation = "bilinear" if config.get("interpolation") == "bilinear" else "bicubic"
    return Preprocess(sizes.pop(), mean, std, interpolation)
