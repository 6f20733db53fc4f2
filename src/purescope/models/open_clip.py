"""Models of open_clip: its modules, its tokenizers and the meaning of its configuration.

Reading and checking the weights is ours, so that no code in them runs and what does not fit is
named. Where a configuration and its weights come from is in `_sources.py`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from purescope.errors import InputError, ModelError
from purescope.files.guard import guarded
from purescope.files.hub import fetch_folder
from purescope.models.checkpoint import fingerprint, fit, require_fit
from purescope.models.configuration import require_attention, require_layers, require_sizes
from purescope.models.model import OPENAI_PREPROCESS, Preprocess, as_rgb
from purescope.models.parts import TextTower, find_projections, find_text_tower, find_towers
from purescope.models.tokenizer_files import private_folder
from purescope.models.towers import Towers, Unfilled
from purescope.models.transformers_config import heads_of_tower, layers_of_tower
from purescope.models.vocabulary import (
    HF_FILES,
    Tokenizer,
    open_clip_hf_tokenizer,
    simple_tokenizer,
)


@dataclass(frozen=True)
class Source:
    """What a model of open_clip is made of.

    Args:
        where: what messages call its configuration: a path, or the name of an architecture.
        model: open_clip's model_cfg.
        preprocess: open_clip's preprocess_cfg; what it leaves out is open_clip's default.
        weights: the file of weights.
        tensors: what is in it.
        offline: download nothing.
        folder: a `local-dir:` folder, in which a text tower and a tokenizer may lie.
        merges: the model's own list of merges, where it has one.
        twin: the folder of the same tokenizer in the files of transformers, where there is one.
        form: what the identity calls the format.
    """

    where: str
    model: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    weights: Path
    tensors: Mapping[str, Tensor]
    offline: bool = field(kw_only=True)
    folder: Path | None = None
    merges: Path | None = None
    twin: Path | None = None
    form: str = "open_clip"


def towers(source: Source) -> Towers:
    """The towers of an open_clip model.

    Raises:
        ModelError: the configuration or the weights are broken, do not fit, or ask for what is not
            supported.
        MissingExtraError: it has a text tower or a tokenizer of transformers, which is not
            installed.
    """
    import open_clip  # noqa: F401 before the guard: as it is imported, it may start processes

    name = source.model["text_cfg"].get("hf_model_name")
    tower = (
        find_text_tower(name, source.folder, source.where, offline=source.offline) if name else None
    )
    tokenizer_files = _tokenizer_folder(source)
    roots = [
        source.folder,
        source.weights.parent,
        tokenizer_files,
        tower.path.parent if tower else None,
    ]
    with guarded(*filter(None, roots), what=source.where):
        return _towers(source, tower, tokenizer_files)


def _towers(source: Source, tower: TextTower | None, tokenizer_files: Path | None) -> Towers:
    module, stored = _build(source, tower)
    module.load_state_dict(fit(source.weights, stored, module.state_dict()), assign=True)
    text = getattr(module, "text", module)
    tokenizer = _tokenizer(source, tokenizer_files)
    if tokenizer.vocab_size > text.vocab_size:
        raise ModelError(
            f"{source.where}: {tokenizer.vocab_size} tokens for a vocab_size of {text.vocab_size}",
            expected="a tokenizer with no more entries than the text tower has",
            fix="name the model's own merges in text_cfg.tokenizer_kwargs.bpe_path",
        )
    weight_space, biased = find_projections(module.visual, text, source.where)
    preprocess = _preprocess(source, module.visual.image_size)
    # CoCa would give unit rows.
    encode_image, encode_text = (
        partial(f, normalize=False) for f in (module.encode_image, module.encode_text)
    )
    return Towers(
        module=module,
        encode_image=encode_image,
        encode_text=encode_text,
        tokenize=tokenizer,
        weight_space=weight_space,
        neurons=source.model["embed_dim"],
        preprocess=preprocess,
        identity={
            "format": source.form,
            "architecture": json.dumps(source.model, sort_keys=True),
            "activation": _activation(source.model),
            "weights": fingerprint(source.tensors),
            "tokenizer": tokenizer.identity,
            "logit_scale": f"{module.logit_scale.exp().item():.6g}",
            "projection_bias": " ".join(biased) or "none",
        },
        towers=find_towers(module),
        configurations={tower.place: tower.config} if tower and tower.place else {},
    )


def _build(source: Source, tower: TextTower | None) -> tuple[Any, dict[str, Tensor]]:
    """open_clip's own module, its weights still drawn at random, and the stored ones that fit
    it.
    """
    config = dict(source.model)
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    if re.search("[:/\\\\]", str(vision.get("timm_model_name") or "")):
        raise ModelError(
            f"{source.where}: wants an image tower from a hub (vision_cfg.timm_model_name)",
            expected="a tower that the installed timm has by its plain name",
        )
    require_sizes(source.where, config, source.tensors)
    vision["timm_model_pretrained"] = False  # true would download
    kind = "CustomTextCLIP" if config.pop("custom_text", False) or tower else "CLIP"
    if kind == "CustomTextCLIP" and "multimodal_cfg" in config:
        kind = "CoCa"
    config |= {"vision_cfg": vision, "text_cfg": text}
    if tower is None:
        return _built(source, kind, config)
    require_layers(str(tower.path), layers_of_tower(tower.config), source.tensors)
    require_attention(
        str(tower.path), "it", text.get("context_length", 77), heads_of_tower(tower.config)
    )
    with private_folder() as folder:
        (folder / "config.json").write_text(json.dumps(tower.config), encoding="utf-8")
        text |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
        return _built(source, kind, config)


def _built(source: Source, kind: str, config: Mapping[str, Any]) -> tuple[Any, dict[str, Tensor]]:
    """The same; it is built without memory first, and held against the stored weights, which
    replace all of its own.

    The random state is left as it was.
    """
    import open_clip

    build = partial(getattr(open_clip, kind), **config)
    try:
        with torch.random.fork_rng(devices=[]), Unfilled():
            plan = _without_memory(build)
            stored = _stored(source, plan)
            require_fit(source.weights, stored, plan.state_dict())
            return build(), stored
    except ModelError:
        raise
    except (
        Exception
    ) as error:  # an impossible configuration can make open_clip and timm raise anything
        raise ModelError(
            f"{source.where}: open_clip cannot build this model_cfg: {type(error).__name__}: "
            f"{error}",
            expected="a model_cfg of the installed open_clip",
        ) from error


def _without_memory(build: Callable[[], Any]) -> Any:
    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, NotImplementedError) as error:
        if "meta" not in str(error):
            raise
        return build()  # a tower of an older timm, which asks for numbers while it is built


def _stored(source: Source, module: Any) -> dict[str, Tensor]:
    """The stored weights; a batch norm's counter has no part in a forward pass, and may be missing
    as for torch.
    """
    wanted = module.state_dict()
    counters = {name: torch.tensor(0) for name in wanted if name.endswith(".num_batches_tracked")}
    return counters | _renamed(source, module)


def _renamed(source: Source, module: Any) -> dict[str, Tensor]:
    """The stored weights under the names and shapes that open_clip's loader would give them."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    tensors: dict[str, Tensor] = dict(source.tensors)
    try:
        tensors = convert_state_dict(module, tensors)  # MobileCLIP's
    except (KeyError, RuntimeError, IndexError) as error:
        raise ModelError(
            f"{source.weights}: open_clip cannot convert it: {error!r}",
            expected="weights as their authors published them",
            fix="download or copy it again",
        ) from error
    if "positional_embedding" in tensors and not hasattr(module, "positional_embedding"):
        tensors = convert_to_custom_text_state_dict(tensors)
    for name in ("logit_scale", "logit_bias"):  # a number, or a list of one
        if name in tensors and tensors[name].numel() == 1 and getattr(module, name) is not None:
            tensors[name] = tensors[name].reshape(getattr(module, name).shape)
    tensors.pop("text.transformer.embeddings.position_ids", None)  # no weight: 0, 1, 2, ...
    return dict(tensors)


def _tokenizer_folder(source: Source) -> Path | None:
    """Where the files of a tokenizer of transformers are; None where it is open_clip's own."""
    name = source.model["text_cfg"].get("hf_tokenizer_name")
    if not name:
        return None
    # As in open_clip, the tokenizer of a folder lies in it, whatever its name.
    return source.folder or fetch_folder(name, HF_FILES, offline=source.offline)


def _tokenizer(source: Source, folder: Path | None) -> Tokenizer:
    text = source.model["text_cfg"]
    context, options = text.get("context_length", 77), text.get("tokenizer_kwargs") or {}
    if folder is None:
        return simple_tokenizer(context, options, merges=source.merges, twin=source.twin)
    return open_clip_hf_tokenizer(folder, context, options, mode=text.get("tokenizer_mode"))


def _activation(config: Mapping[str, Any]) -> str:
    gelu = "QuickGELU" if config.get("quick_gelu") else "GELU"
    vision = config["vision_cfg"]
    image = "timm's own" if vision.get("timm_model_name") else gelu
    text = config["text_cfg"].get("hf_model_name")
    return (
        f"image {'ReLU' if isinstance(vision.get('layers'), list) else image}, "
        f"text {'that of ' + str(text) if text else gelu}"
    )


def _preprocess(source: Source, image_size: int | tuple[int, int]) -> Preprocess:
    """The configuration's; what it leaves out is open_clip's default, and the size is always the
    tower's.
    """
    config = source.preprocess
    sizes = {image_size} if isinstance(image_size, int) else set(image_size)
    mean, std = (
        as_rgb(config.get(key) or getattr(OPENAI_PREPROCESS, key)) for key in ("mean", "std")
    )
    resize = config.get("resize_mode") or "shortest"
    if len(sizes) > 1 or resize not in ("shortest", "squash") or mean is None or std is None:
        raise ModelError(
            f"{source.where}: preprocess_cfg {dict(config)}, image size {image_size}",
            expected="square images by resize_mode 'shortest' or 'squash'; mean and std of three "
            "numbers each",
        )
    # Whatever is not bilinear is bicubic to open_clip.
    interpolation = "bilinear" if config.get("interpolation") == "bilinear" else "bicubic"
    try:
        return Preprocess(sizes.pop(), mean, std, interpolation, resize)
    except InputError as error:
        raise ModelError(
            f"{source.where}: preprocess_cfg: {error.came}", expected=error.expected
        ) from error
