"""Find the open_clip architecture of a bare file of weights: by name, by file, or by shapes.

A bare file holds neither its architecture nor the preprocess that it was trained with. The name of
an architecture gives the first. The preprocess is that of open_clip's tags of this architecture if
they all agree; otherwise ``ARCH/TAG`` says which one to take. A JSON file can describe another
architecture: a model_cfg as in open_clip's folder of configurations, or an open_clip_config.json
with a preprocess_cfg.

The shapes show most of the architecture of files in the layout of OpenAI's CLIP, which open_clip
kept. OpenAI's own files (TorchScript archives, or state dicts made from them) hold three numbers
beside the weights; these models have QuickGELU and heads of width 64. Files without those numbers
are open_clip's, and so are LaCLIP's models of LAION-400M. Their heads are those of open_clip's
architecture with the same shapes. Nothing in the file shows the activation: it is taken to be GELU,
with a warning.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from purescope.errors import ModelError, did_you_mean, near_miss
from purescope.models.checkpoint import read_json
from purescope.models.open_clip_config import check_config, find_merges_name, to_sides
from purescope.models.weights import raise_faults
from purescope.specs import to_path

OWN_FILE = "or give a file of your own: --arch FILE.json (arch='FILE.json') with its model_cfg"
"""Advice about an architecture that open_clip does not know."""

OPENAI_NUMBERS = frozenset({"input_resolution", "context_length", "vocab_size"})
_LIST = 'python -c "import open_clip; print(*open_clip.list_models())"'
_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Architecture:
    """Hold what is known about the model in a bare file.

    Args:
        where: what messages call it: open_clip's name, or the path of a file.
        model: open_clip's model_cfg.
        preprocess: open_clip's preprocess_cfg; open_clip's defaults replace missing keys.
        tag: the tag with that preprocess, if one was named.
        merges: the model's own vocabulary, if it has one.
    """

    where: str
    model: dict[str, Any]
    preprocess: Mapping[str, Any]
    tag: str = ""
    merges: Path | None = None


def find_architecture(name: str) -> Architecture:
    """Find an architecture by ``ARCH``, ``ARCH/TAG`` or ``FILE.json``.

    Raises:
        ModelError: open_clip has no such architecture or tag, or the file is no model_cfg.

    Warns:
        UserWarning: the preprocess is a guess: the tags of the architecture disagree, or the file
            has none.
    """
    if name.lower().endswith(".json"):
        return _read_architecture(to_path(name))
    arch, tag = _split_tag(name)
    model = get_model_config(arch)
    if tag:
        return Architecture(arch, model, get_tag_config(arch, tag), tag)
    return Architecture(arch, model, _find_common_preprocess(arch))


def get_model_config(arch: str) -> dict[str, Any]:
    """Return open_clip's model_cfg of a named architecture.

    Raises:
        ModelError: open_clip has no such architecture.
    """
    import open_clip

    config: dict[str, Any] | None = (
        open_clip.get_model_config(arch) if arch in open_clip.list_models() else None
    )
    if config is None:
        close = get_close_matches(arch, open_clip.list_models())
        raise ModelError(
            f"open_clip has no architecture {arch!r}",
            expected="one that it lists, such as ViT-B-32",
            fix=f"{did_you_mean(arch, close)} All: {_LIST}; {OWN_FILE}"
            if close
            else f"list them all: {_LIST}; {OWN_FILE}",
        )
    return config


def get_tag_config(arch: str, tag: str) -> Mapping[str, Any]:
    """Return open_clip's configuration of the pretrained weights of a tag.

    Raises:
        ModelError: the architecture has no such tag.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    config: Mapping[str, Any] = get_pretrained_cfg(arch, tag)
    if not config:
        came = f"open_clip has no weights {tag!r} of {arch}"
        tags = list_pretrained_tags_by_model(arch)
        if tags:
            raise ModelError(came, **near_miss(tag, tags))
        raise ModelError(came, fix=f"give a file of weights: open_clip:{arch}/FILE")
    return config


def _split_tag(name: str) -> tuple[str, str]:
    """Split a name into architecture and tag; the tag is empty if none is named.

    OpenAI spells one name with a slash: ViT-B/32.
    """
    import open_clip

    if "/" not in name or name.replace("/", "-") in open_clip.list_models():
        return name.replace("/", "-"), ""
    arch, _, tag = name.rpartition("/")
    return arch.replace("/", "-"), tag


def _read_architecture(path: Path) -> Architecture:
    config = read_json(path, "a file of JSON with open_clip's model_cfg of the architecture")
    if isinstance(config, dict) and "model_cfg" not in config and "vision_cfg" in config:
        config = {"model_cfg": config}
    config = check_config(config, path)
    preprocess = config.get("preprocess_cfg") or {}
    if not preprocess.get("mean") or not preprocess.get("std"):
        warnings.warn(
            f"{path}: has no mean and standard deviation of images, so OpenAI's are taken. If the "
            f'model was trained with others, add "preprocess_cfg": {{"mean": [...], '
            f'"std": [...]}} beside "model_cfg"',
            stacklevel=4,
        )
    merges = find_merges_name(config["model_cfg"])
    return Architecture(
        str(path), config["model_cfg"], preprocess, merges=path.parent / merges if merges else None
    )


def _find_common_preprocess(arch: str) -> dict[str, Any]:
    """Return the preprocess of all tags of an architecture.

    It is empty, which is open_clip's default, if they disagree.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    choices: dict[tuple[Any, ...], list[str]] = {}
    for tag in list_pretrained_tags_by_model(arch):
        config = get_pretrained_cfg(arch, tag)
        choices.setdefault(tuple(config[key] for key in _PREPROCESS), []).append(tag)
    if len(choices) == 1:
        return dict(zip(_PREPROCESS, next(iter(choices)), strict=True))
    if choices:
        summaries = []
        for (mean, _, _, resize), tags in choices.items():
            more = f" and {len(tags) - 1} more" if len(tags) > 1 else ""
            numbers = ", ".join(f"{value:.3g}" for value in mean)
            summaries.append(f"{tags[0]}{more}: mean {numbers}, {resize}")
        warnings.warn(
            f"the file does not hold its preprocess, and open_clip's weights of {arch} have "
            f"different ones ({'; '.join(summaries)}); open_clip's default is taken, OpenAI's mean "
            f"and the shortest side. If it was trained with another, name a tag that has it: "
            f"{arch}/TAG in place of {arch}",
            stacklevel=4,
        )
    return {}


def fit_sizes(path: Path, found: Architecture, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the model_cfg with the sizes of images and sentences of the position embeddings.

    Warns:
        UserWarning: a size differs from that of the architecture.
    """
    vision, text = dict(found.model["vision_cfg"]), dict(found.model["text_cfg"])
    changes = []
    size, patch = _find_image_size(tensors)
    height, width = to_sides(vision.get("image_size", 224)) if patch else (0, 0)
    if patch and (height // patch) * (width // patch) != (size // patch) ** 2:
        changes.append(f"images of {size} pixels, not {vision.get('image_size', 224)}")
        vision["image_size"] = size
    context = _find_context(tensors, text)
    if context and context != text.get("context_length", 77):
        changes.append(f"sentences of {context} tokens, not {text.get('context_length', 77)}")
        text["context_length"] = context
    if not changes:
        return found.model
    warnings.warn(
        f"{path}: takes {' and '.join(changes)} as {found.where}: its position embeddings have "
        f"these sizes",
        stacklevel=2,
    )
    return {**found.model, "vision_cfg": vision, "text_cfg": text}


def _find_image_size(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return the side of images and of a patch; zeros if no position embedding shows them."""
    for positions, patches in (
        ("visual.positional_embedding", "visual.conv1.weight"),
        ("visual.attnpool.positional_embedding", ""),
        ("visual.trunk.pos_embed", "visual.trunk.patch_embed.proj.weight"),
    ):
        if positions in tensors and (not patches or patches in tensors):
            patch = tensors[patches].shape[-1] if patches and tensors[patches].ndim else 32
            rows = tensors[positions].shape[-2] if tensors[positions].ndim > 1 else 0
            # With the position of a class token, or without.
            for count in (rows - 1, rows):
                grid = isqrt(max(0, count))
                if grid and grid**2 == count:
                    return grid * patch, patch
            return 0, 0
    return 0, 0


def _find_context(tensors: Mapping[str, Tensor], text: Mapping[str, Any]) -> int:
    """Return the number of tokens of a sentence that have a position; zero if it is not known."""
    names = ("positional_embedding", "text.positional_embedding")
    positions = next((tensors[name] for name in names if name in tensors), None)
    if positions is None or positions.ndim != 2 or text.get("hf_model_name"):
        return 0
    return int(positions.shape[0]) - bool(text.get("embed_cls"))


_HEAD_WIDTH = 64
# The number of dimensions of the weights that give the shapes of a model.
_TEXT_DIMENSIONS = {"text_projection": 2, "positional_embedding": 2, "token_embedding.weight": 2}
_VIT_DIMENSIONS = {"visual.conv1.weight": 4, "visual.positional_embedding": 2}
_RESNET_DIMENSIONS = {"visual.layer1.0.conv1.weight": 4, "visual.attnpool.positional_embedding": 2}


def is_clip_layout(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the weights have the names of CLIP's towers."""
    return {"visual.conv1.weight", "text_projection"} <= tensors.keys()


def is_openai(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the file is one of OpenAI's, by the three numbers in it."""
    return tensors.keys() >= OPENAI_NUMBERS


def find_config_by_shapes(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Find open_clip's model_cfg from the shapes of weights, with heads of width 64.

    Raises:
        ModelError: a weight that gives a shape is missing, or no model has these shapes.
    """
    is_vit = "visual.proj" in tensors
    dimensions = {**_TEXT_DIMENSIONS, **(_VIT_DIMENSIONS if is_vit else _RESNET_DIMENSIONS)}
    raise_faults(path, {"missing": [name for name in dimensions if name not in tensors]})
    shapes = {name: tensors[name].shape for name in dimensions}
    wrong = [
        f"{name} {list(shape)}"
        for name, shape in shapes.items()
        if len(shape) != dimensions[name] or 0 in shape
    ]
    raise_faults(path, {"wrong shape": wrong})
    context, text_width = shapes["positional_embedding"]
    # One position is that of the class token, or of the mean that the attention pooling adds.
    vision: dict[str, Any]
    if is_vit:
        width, _, _, patch = shapes["visual.conv1.weight"]
        grid = isqrt(shapes["visual.positional_embedding"][0] - 1)
        layers = _count(tensors, r"visual\.transformer\.resblocks\.(\d+)\.")
        vision = {"image_size": grid * patch, "layers": layers, "width": width, "patch_size": patch}
    else:
        width = shapes["visual.layer1.0.conv1.weight"][0]
        grid = isqrt(shapes["visual.attnpool.positional_embedding"][0] - 1)
        blocks = [_count(tensors, rf"visual\.layer{stage}\.(\d+)\.") for stage in range(1, 5)]
        vision = {"image_size": grid * 32, "layers": blocks, "width": width, "patch_size": None}
    widths = {"text": text_width, "image": width if is_vit else width * 32}
    uneven = [f"{tower} width {value}" for tower, value in widths.items() if value % _HEAD_WIDTH]
    if uneven or grid < 1:
        raise ModelError(
            f"{path}: {', '.join(uneven) or 'no positions of patches'}",
            expected=f"CLIP's towers, whose heads are {_HEAD_WIDTH} wide",
            fix=f"name its architecture: --arch NAME (arch='NAME'), {OWN_FILE}",
        )
    return {
        "embed_dim": shapes["text_projection"][1],
        "vision_cfg": vision,
        "text_cfg": {
            "context_length": context,
            "vocab_size": shapes["token_embedding.weight"][0],
            "width": text_width,
            "heads": text_width // _HEAD_WIDTH,
            "layers": _count(tensors, r"transformer\.resblocks\.(\d+)\."),
        },
    }


def find_name_by_shapes(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Find the name of open_clip's only architecture with these shapes and GELU.

    Raises:
        ModelError: there is no such architecture, or several; or the precisions are those of
            OpenAI's models, and nothing shows the activation.

    Warns:
        UserWarning: always; the activation is a guess.
    """
    import open_clip

    shapes = _keep_shapes(find_config_by_shapes(path, tensors))
    known = {
        name: _keep_shapes(config)
        for name in open_clip.list_models()
        if not (config := open_clip.get_model_config(name)).get("quick_gelu")
    }
    names = [name for name, other in known.items() if other == shapes]
    if not names and shapes:
        # Trained with images or sentences of another size: all shapes but the positions agree.
        names = [
            name
            for name, other in known.items()
            if other and _drop_sizes(other) == _drop_sizes(shapes)
        ]
    if len(names) != 1:
        raise ModelError(
            f"{path}: {'several' if names else 'none'} of open_clip's architectures"
            f"{' (' + ', '.join(names) + ')' if names else ''} has these shapes: {shapes}",
            fix=f"name its architecture, as open_clip.list_models() has it: --arch NAME "
            f"(arch='NAME'), {OWN_FILE}",
        )
    name = str(names[0])
    is_half = tensors["visual.conv1.weight"].dtype == torch.float16
    if is_half and tensors["positional_embedding"].dtype != torch.float16:
        raise ModelError(
            f"{path}: nothing in it shows whether it was trained with GELU or QuickGELU, and half "
            f"of its weights are in float16, as in OpenAI's files",
            fix=f"--arch {name}-quickgelu (arch='{name}-quickgelu') if they are OpenAI's, --arch "
            f"{name} if not",
        )
    warnings.warn(
        f"{path}: taken for open_clip's {name} with GELU; if it was trained with QuickGELU, "
        f"give --arch {name}-quickgelu (arch='{name}-quickgelu')",
        stacklevel=2,
    )
    return name


def _keep_shapes(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the parts of a model_cfg that shapes show; None if it has more than CLIP's towers."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    known = {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}
    plain_vision = {"image_size", "layers", "width", "patch_size", "head_width"}
    plain_text = {"context_length", "vocab_size", "width", "heads", "layers"}
    if config.keys() - known or vision.keys() - plain_vision or text.keys() - plain_text:
        return None
    return {
        "embed_dim": config["embed_dim"],
        "image": [vision.get(key) for key in ("image_size", "layers", "width", "patch_size")],
        "text": [text.get(key) for key in ("context_length", "vocab_size", "width", "layers")],
    }


def _drop_sizes(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shapes without the sizes of images and sentences, which come first."""
    return {**shapes, "image": shapes["image"][1:], "text": shapes["text"][1:]}


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in tensors if (match := re.match(pattern, name))})
