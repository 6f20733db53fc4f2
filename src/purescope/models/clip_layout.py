"""Bare files in the layout of OpenAI's CLIP, which open_clip kept: the shapes tell the
architecture, or most of it.

OpenAI's own files (TorchScript archives, or state dicts made of them) hold three numbers beside the
weights; they are models with QuickGELU and heads 64 wide. Without those numbers a file is
open_clip's (so are LaCLIP's models of LAION-400M): the heads come from open_clip's architecture of
these shapes, and the activation is GELU, with a note, as nothing in the file tells it.
"""

import re
import warnings
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from purescope.errors import ModelError
from purescope.models.architectures import OWN
from purescope.models.checkpoint import refuse

OPENAI_MARKS = frozenset({"input_resolution", "context_length", "vocab_size"})
_HEAD_WIDTH = 64
_SHAPE_GIVING = {  # and how many dimensions each has
    "text_projection": 2,
    "positional_embedding": 2,
    "token_embedding.weight": 2,
}
_VIT_SHAPES = {"visual.conv1.weight": 4, "visual.positional_embedding": 2}
_RESNET_SHAPES = {"visual.layer1.0.conv1.weight": 4, "visual.attnpool.positional_embedding": 2}


def is_clip_layout(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the weights have the names of CLIP's towers."""
    return {"visual.conv1.weight", "text_projection"} <= tensors.keys()


def is_openai(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the file says that it is one of OpenAI's."""
    return tensors.keys() >= OPENAI_MARKS


def config_of_shapes(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """open_clip's model_cfg of the architecture that the shapes tell; heads are taken to be 64
    wide.

    Raises:
        ModelError: a weight that gives a shape is missing, or the shapes give no model.
    """
    is_vit = "visual.proj" in tensors
    wanted = {**_SHAPE_GIVING, **(_VIT_SHAPES if is_vit else _RESNET_SHAPES)}
    refuse(path, {"missing": [name for name in wanted if name not in tensors]})
    shapes = {name: tensors[name].shape for name in wanted}
    odd = [name for name, shape in shapes.items() if len(shape) != wanted[name] or 0 in shape]
    refuse(path, {"wrong shape": [f"{name} {list(shapes[name])}" for name in odd]})
    context, text_width = shapes["positional_embedding"]
    vision: dict[str, Any]
    if is_vit:
        width, _, _, patch = shapes["visual.conv1.weight"]
        grid = isqrt(
            shapes["visual.positional_embedding"][0] - 1
        )  # one position is the class token's
        layers = _count(tensors, r"visual\.transformer\.resblocks\.(\d+)\.")
        vision = {"image_size": grid * patch, "layers": layers, "width": width, "patch_size": patch}
    else:
        width = shapes["visual.layer1.0.conv1.weight"][0]
        grid = isqrt(shapes["visual.attnpool.positional_embedding"][0] - 1)
        blocks = [_count(tensors, rf"visual\.layer{stage}\.(\d+)\.") for stage in range(1, 5)]
        vision = {"image_size": grid * 32, "layers": blocks, "width": width, "patch_size": None}
    wide = {"text": text_width, "image": width if is_vit else width * 32}
    uneven = [f"{tower} width {value}" for tower, value in wide.items() if value % _HEAD_WIDTH]
    if uneven or grid < 1:
        raise ModelError(
            f"{path}: {', '.join(uneven) or 'no positions of patches'}",
            expected=f"CLIP's towers, whose heads are {_HEAD_WIDTH} wide",
            fix=f"name its architecture: --arch NAME (arch='NAME'), {OWN}",
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


def arch_of_shapes(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """The name of open_clip's one architecture with these shapes, and GELU.

    Raises:
        ModelError: there is none, or several; or the precisions are those in which OpenAI's models
            are kept, and nothing tells the activation.
    """
    import open_clip

    shapes = _shapes_only(config_of_shapes(path, tensors))
    known = {
        name: _shapes_only(config)
        for name in open_clip.list_models()
        if not (config := open_clip.get_model_config(name)).get("quick_gelu")
    }
    found = [name for name, its in known.items() if its == shapes]
    # Trained with images or sentences of another size: more positions, and all else as it was.
    found = found or [
        name for name, its in known.items() if its and _sizeless(its) == _sizeless(shapes)
    ]
    if len(found) != 1:
        raise ModelError(
            f"{path}: {'several' if found else 'none'} of open_clip's architectures"
            f"{' (' + ', '.join(found) + ')' if found else ''} has these shapes: {shapes}",
            fix=f"name its architecture, as open_clip.list_models() has it: --arch NAME "
            f"(arch='NAME'), {OWN}",
        )
    name = str(found[0])
    if (
        tensors["visual.conv1.weight"].dtype
        == torch.float16
        != tensors["positional_embedding"].dtype
    ):
        raise ModelError(
            f"{path}: nothing in it tells whether it was trained with GELU or QuickGELU, and half "
            f"of its weights are"
            " in float16, as OpenAI keeps its own",
            fix=f"--arch {name}-quickgelu (arch='{name}-quickgelu') if they are OpenAI's, --arch "
            f"{name} if not",
        )
    warnings.warn(
        f"{path}: taken for open_clip's {name} with GELU; if it was trained with QuickGELU, "
        f"give --arch {name}-quickgelu (arch='{name}-quickgelu')",
        stacklevel=2,
    )
    return name


def _shapes_only(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What shapes can tell of a model_cfg; None where it is more than CLIP's two towers."""
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


def _sizeless(shapes: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same without the sizes of images and sentences."""
    shapes = dict(shapes or {})
    return {**shapes, "image": shapes["image"][1:], "text": shapes["text"][1:]} if shapes else {}


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in tensors if (match := re.match(pattern, name))})
