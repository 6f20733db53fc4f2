"""Build models of open_clip from its modules, its tokenizers and its configuration.

purescope reads and checks the weights itself, so that no code in them runs and every fault is
named. `sources` finds the configuration and the weights.
"""

import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from purescope.errors import ModelError
from purescope.files.guard import guarded
from purescope.files.hub import fetch_folder
from purescope.maths.overlaps import Projections
from purescope.models.configuration import require_attention, require_layers
from purescope.models.last_maps import read_last_map
from purescope.models.model import Tower
from purescope.models.open_clip_config import read_preprocess, require_sizes
from purescope.models.sentences import encode_causal
from purescope.models.tokenizer import Tokenizer
from purescope.models.tokenizer_files import private_folder
from purescope.models.tokenizers import (
    HF_FILES,
    open_clip_hf_tokenizer,
    simple_tokenizer,
)
from purescope.models.towers import Towers, Unfilled
from purescope.models.transformers_config import TextTower, find_text_tower
from purescope.models.weights import fingerprint, fit, require_fit

_CONTEXT = 77  # tokens of a sentence, where a configuration says nothing, as for open_clip


@dataclass(frozen=True)
class Source:
    """Hold everything that a model of open_clip is built from.

    Args:
        where: what messages call its configuration: a path, or the name of an architecture.
        model: open_clip's model_cfg.
        preprocess: open_clip's preprocess_cfg; open_clip's defaults replace missing keys.
        weights: the file of weights.
        tensors: the weights in it.
        offline: download nothing.
        folder: a `local-dir:` folder, which may hold a text tower and a tokenizer.
        merges: the model's own list of merges, if it has one.
        twin: the folder of the same tokenizer in the files of transformers, if there is one.
        form: the name of the format in the identity.
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


def load(source: Source) -> Towers:
    """Build the towers of an open_clip model and load their weights.

    Raises:
        ModelError: the configuration or the weights are broken, do not fit, or ask for something
            that is not supported.
        MissingExtraError: the model has a text tower or a tokenizer of transformers, which is not
            installed.
    """
    import open_clip  # noqa: F401 before the guard: its import may start processes

    tower = None
    if name := source.model["text_cfg"].get("hf_model_name"):
        tower = find_text_tower(name, source.folder, source.where, offline=source.offline)
    tokenizer_folder = _find_tokenizer_folder(source)
    folders = [source.folder, source.weights.parent, tokenizer_folder]
    folders += [tower.path.parent] if tower else []
    with guarded(*filter(None, folders), what=source.where):
        return _load(source, tower, tokenizer_folder)


def _load(source: Source, tower: TextTower | None, tokenizer_folder: Path | None) -> Towers:
    module, stored = _prepare(source, tower)
    module.load_state_dict(fit(source.weights, stored, module.state_dict()), assign=True)
    text = getattr(module, "text", module)
    tokenizer = _make_tokenizer(source, tokenizer_folder)
    if tokenizer.vocab_size > text.vocab_size:
        raise ModelError(
            f"{source.where}: {tokenizer.vocab_size} tokens for a vocab_size of {text.vocab_size}",
            expected="a tokenizer with no more entries than the text tower has",
            fix="name the model's own merges in text_cfg.tokenizer_kwargs.bpe_path",
        )
    text_tower = _find_text_tower(module)
    reads_to_end = _reads_to_end(module, text_tower)
    last_maps = _find_last_maps(module, source.where)
    weight_space, biased = _find_projections(module, last_maps)
    return Towers(
        module=module,
        # CoCa's encoders return unit rows by default.
        encode_image=partial(module.encode_image, normalize=False),
        encode_text=partial(encode_causal, text, end=text_tower.end)
        if reads_to_end
        else partial(module.encode_text, normalize=False),
        tokenize=tokenizer,
        reads_to_end=reads_to_end,
        weight_space=weight_space,
        neurons=source.model["embed_dim"],
        preprocess=read_preprocess(source.preprocess, module.visual.image_size, source.where),
        identity={
            "format": source.form,
            "architecture": json.dumps(source.model, sort_keys=True),
            "activation": _describe_activation(source.model),
            "weights": fingerprint(source.tensors),
            "tokenizer": tokenizer.identity,
            "logit_scale": f"{module.logit_scale.exp().item():.6g}",
            "projection_bias": biased,
        },
        towers={"image": _find_image_tower(module.visual), "text": text_tower},
        configurations={tower.place: tower.config} if tower and tower.place else {},
        last_maps=last_maps,
    )


def _reads_to_end(module: Any, tower: Tower) -> bool:
    """Tell whether `encode_causal` does what open_clip's own encoder of texts does."""
    from open_clip.model import CLIP, CustomTextCLIP
    from open_clip.transformer import TextTransformer

    text = getattr(module, "text", module)
    is_known = type(module) in (CLIP, CustomTextCLIP) and type(text) in (CLIP, TextTransformer)
    return is_known and text.attn_mask is not None and tower.token == "end"


def _prepare(source: Source, tower: TextTower | None) -> tuple[Any, dict[str, Tensor]]:
    """Check the sizes of a model, build it, and return it with the stored weights that fit it."""
    config = dict(source.model)
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    if re.search("[:/\\\\]", str(vision.get("timm_model_name") or "")):
        raise ModelError(
            f"{source.where}: wants an image tower from a hub (vision_cfg.timm_model_name)",
            expected="the plain name of a tower that the installed timm has",
        )
    require_sizes(source.where, config, source.tensors)
    vision["timm_model_pretrained"] = False  # True would download
    kind = "CustomTextCLIP" if config.pop("custom_text", False) or tower else "CLIP"
    if kind == "CustomTextCLIP" and "multimodal_cfg" in config:
        kind = "CoCa"
    config |= {"vision_cfg": vision, "text_cfg": text}
    if tower is None:
        return _build(source, kind, config)
    require_layers(str(tower.path), tower.layers, source.tensors)
    require_attention(str(tower.path), "it", text.get("context_length", _CONTEXT), tower.heads)
    with private_folder() as folder:
        (folder / "config.json").write_text(json.dumps(tower.config), encoding="utf-8")
        text |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
        return _build(source, kind, config)


def _build(source: Source, kind: str, config: Mapping[str, Any]) -> tuple[Any, dict[str, Tensor]]:
    """Build open_clip's module, once it is known to fit the stored weights.

    The random state stays as it was.

    Args:
        source: the model.
        kind: the name of a class of open_clip.
        config: the arguments of that class.

    Returns:
        The module, whose weights have no values yet, and the stored weights under its names.
    """
    import open_clip

    build = partial(getattr(open_clip, kind), **config)
    try:
        with torch.random.fork_rng(devices=[]), Unfilled():
            plan = _build_without_memory(build)
            stored = _rename_weights(source, plan)
            require_fit(source.weights, stored, plan.state_dict())
            return build(), stored
    except ModelError:
        raise
    # open_clip and timm can raise anything for an impossible configuration.
    except Exception as error:
        raise ModelError(
            f"{source.where}: open_clip cannot build this model_cfg: {type(error).__name__}: "
            f"{error}",
            expected="a model_cfg of the installed open_clip",
        ) from error


def _build_without_memory(build: Callable[[], Any]) -> Any:
    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, NotImplementedError) as error:
        if "meta" not in str(error):
            raise
        return build()  # towers of an older timm read numbers while they are built


def _rename_weights(source: Source, module: Any) -> dict[str, Tensor]:
    """Return the stored weights under the names and shapes that open_clip's loader gives them."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    tensors: dict[str, Tensor] = dict(source.tensors)
    try:
        tensors = convert_state_dict(module, tensors)  # for MobileCLIP
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
    # The position ids 0, 1, 2, ... are not weights.
    tensors.pop("text.transformer.embeddings.position_ids", None)
    # The counter of a batch norm is not used in a forward pass and may be missing, as in torch.
    counters = [name for name in module.state_dict() if name.endswith(".num_batches_tracked")]
    return {name: torch.tensor(0) for name in counters} | dict(tensors)


def _find_tokenizer_folder(source: Source) -> Path | None:
    """Return the folder of a tokenizer of transformers; None if the tokenizer is open_clip's."""
    name = source.model["text_cfg"].get("hf_tokenizer_name")
    if not name:
        return None
    # As in open_clip, the tokenizer of a folder is in that folder, whatever its name.
    return source.folder or fetch_folder(name, HF_FILES, offline=source.offline)


def _make_tokenizer(source: Source, folder: Path | None) -> Tokenizer:
    text = source.model["text_cfg"]
    context, options = text.get("context_length", _CONTEXT), text.get("tokenizer_kwargs") or {}
    if folder is None:
        return simple_tokenizer(context, options, merges=source.merges, twin=source.twin)
    return open_clip_hf_tokenizer(folder, context, options, mode=text.get("tokenizer_mode"))


def _describe_activation(config: Mapping[str, Any]) -> str:
    gelu = "QuickGELU" if config.get("quick_gelu") else "GELU"
    vision = config["vision_cfg"]
    image = "timm's own" if vision.get("timm_model_name") else gelu
    if isinstance(vision.get("layers"), list):  # a ResNet
        image = "ReLU"
    text = config["text_cfg"].get("hf_model_name")
    return f"image {image}, text {'that of ' + str(text) if text else gelu}"


# The word of `Tower` for open_clip's pool_type of a text tower.
_TEXT_TOKENS = {"first": "first", "last": "last", "argmax": "end", "eos": "end", "none": "mean"}


def _find_image_tower(visual: Any) -> Tower:
    trunk = getattr(visual, "trunk", None)  # of timm
    has_token = (
        getattr(visual, "pool_type", None) == "tok"
        or getattr(trunk, "global_pool", None) == "token"
    )
    # The attention pooling of CoCa reads every token.
    is_first = has_token and getattr(visual, "attn_pool", None) is None
    return Tower({"visual": visual}, "first" if is_first else "mean")


def _find_text_tower(module: Any) -> Tower:
    """Find the text tower of a CLIP, CustomTextCLIP or CoCa, without the decoder of CoCa."""
    if not hasattr(module, "text"):  # CLIP has the modules of its text tower at the top level
        modules = {"token_embedding": module.token_embedding, "transformer": module.transformer}
        return _describe_text_tower(modules, module.text_pool_type, module.text_eos_id)
    text = module.text
    if not hasattr(text, "pooler"):
        # A class token is appended to the sentence and read whatever pool_type says.
        pool = text.pool_type if text.cls_emb is None else "last"
        return _describe_text_tower({"text": text}, pool, text.eos_id)
    # A tower of transformers.
    is_first = getattr(text.pooler, "cls_token_position", None) == 0
    is_first = is_first or "Cls" in type(text.pooler).__name__
    token = "first" if is_first else "mean"
    return Tower({"text": text}, token, padding=text.config.pad_token_id)


def _describe_text_tower(modules: Mapping[str, Any], pool: str, eos_id: int | None) -> Tower:
    # Only pool_type "eos" looks for the id that the configuration names.
    return Tower(modules, _TEXT_TOKENS[pool], end=eos_id if pool == "eos" else None)


# In a timm tower and in a ModifiedResNet, in the order of the search.
_IMAGE_LINEARS = ("attnpool.c_proj", "head.proj", "head.mlp.fc2", "head.pool.proj")


def _find_projections(module: Any, last_maps: Mapping[str, str]) -> tuple[Projections | str, str]:
    """Copy the projections of both towers.

    Returns:
        The projections, or a sentence that says which tower has none; and the towers whose
        projection has a bias, or "none".
    """
    maps = {tower: read_last_map(module, name) for tower, name in last_maps.items()}
    biased = [tower for tower, (_, bias) in maps.items() if bias is not None and bool(bias.any())]
    without = [tower for tower in ("image", "text") if tower not in maps]
    if without:
        towers = f"{' and '.join(without)} {'towers end' if len(without) > 1 else 'tower ends'}"
        return f"the {towers} without a projection", " ".join(biased) or "none"
    image, text = (maps[tower].rows.clone().contiguous() for tower in ("image", "text"))
    return Projections(image=image, text=text), " ".join(biased) or "none"


def _find_last_maps(module: Any, where: str) -> dict[str, str]:
    """Find the place of the last linear map of each tower; a tower without one is left out.

    Warns:
        UserWarning: a head has several layers. Its last layer is taken, whose inputs are no longer
            the features of the tower.
    """
    has_text = hasattr(module, "text")
    names = {
        "image": _find_image_linear(module.visual, where),
        "text": _find_text_linear(module.text if has_text else module, where),
    }
    prefixes = {"image": "visual.", "text": "text." if has_text else ""}
    return {tower: prefixes[tower] + name for tower, name in names.items() if name}


def _find_image_linear(visual: Any, where: str) -> str | None:
    if isinstance(getattr(visual, "proj", None), Tensor):  # open_clip's ViT: features @ proj
        return "proj"
    modules = dict(visual.named_modules())
    for name in _IMAGE_LINEARS:
        if isinstance(modules.get(name), nn.Linear):
            if name == "head.mlp.fc2":
                _warn_of_head(where, f"visual.{name}")
            return name
    # With timm_proj "" the classifier of the trunk is the projection.
    get_classifier: Callable[[], Any] | None = getattr(modules.get("trunk"), "get_classifier", None)
    linear = get_classifier() if get_classifier and not len(visual.head) else None
    if not isinstance(linear, nn.Linear):
        return None
    places = [name for name, module in visual.named_modules() if module is linear]
    return str(places[0])


def _find_text_linear(text: Any, where: str) -> str | None:
    # A text tower of transformers has `proj`, open_clip's own has `text_projection`.
    name = "text_projection" if hasattr(text, "text_projection") else "proj"
    projection = getattr(text, name)
    if isinstance(projection, nn.Sequential):
        _warn_of_head(where, "text.proj")
        name, projection = f"{name}.{len(projection) - 1}", projection[-1]
    return name if isinstance(projection, nn.Linear | Tensor) else None


def _warn_of_head(where: str, name: str) -> None:
    warnings.warn(
        f"{where}: {name} is the last of several layers; its purity is that of this layer alone",
        stacklevel=2,
    )
