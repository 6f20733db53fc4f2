"""Checkpoint files in the formats that exist, small and with random weights, written without
purescope.
"""

import argparse
import copy
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

VOCABULARY = 49408  # CLIP's

Tensors = dict[str, Tensor]


def laclip_tensors(
    *,
    width: int = 64,
    depth: int = 2,
    head_width: int | None = 16,
    image: int = 32,
    text_width: int = 64,
    text_depth: int = 2,
    neurons: int = 24,
    seed: int = 0,
    device: str = "cpu",
) -> Tensors:
    """The weights of a LaCLIP checkpoint, named as in the file; `head_width=None` leaves query
    norms out.
    """
    tokens = (image // 16) ** 2 + 1
    shapes: dict[str, tuple[int, ...]] = {
        "image_projection": (width, neurons),
        "text_projection": (text_width, neurons),
        "logit_scale": (),
        "positional_embedding": (77, text_width),
        "token_embedding.weight": (VOCABULARY, text_width),
        "visual.cls_token": (1, 1, width),
        "visual.pos_embed": (1, tokens, width),
        "visual.patch_embed.proj.weight": (width, 3, 16, 16),
        "visual.patch_embed.proj.bias": (width,),
        **_norm("visual.norm", width),
        **_norm("ln_final", text_width),
    }
    for i in range(depth):
        block = f"visual.blocks.{i}"
        shapes |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
        shapes |= _linear(f"{block}.attn.qkv", width, 3 * width)
        shapes |= _linear(f"{block}.attn.proj", width, width)
        shapes |= _linear(f"{block}.mlp.fc1", width, 4 * width)
        shapes |= _linear(f"{block}.mlp.fc2", 4 * width, width)
        if head_width:
            shapes |= _norm(f"{block}.attn.q_norm", head_width) | _norm(
                f"{block}.attn.k_norm", head_width
            )
    for i in range(text_depth):
        block = f"transformer.resblocks.{i}"
        shapes |= _norm(f"{block}.ln_1", text_width) | _norm(f"{block}.ln_2", text_width)
        shapes[f"{block}.attn.in_proj_weight"] = (3 * text_width, text_width)
        shapes[f"{block}.attn.in_proj_bias"] = (3 * text_width,)
        shapes |= _linear(f"{block}.attn.out_proj", text_width, text_width)
        shapes |= _linear(f"{block}.mlp.c_fc", text_width, 4 * text_width)
        shapes |= _linear(f"{block}.mlp.c_proj", 4 * text_width, text_width)
    generator = None if device == "meta" else torch.Generator().manual_seed(seed)
    return {name: _draw(shape, generator, device) for name, shape in shapes.items()}


def write_laclip(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    prefix: str = "module.",
    extras: Mapping[str, Any] | None = None,
) -> Path:
    """A file as LaCLIP's training writes it; `extras` is what lies beside the state_dict."""
    torch.save(
        {
            "state_dict": {prefix + name: tensor for name, tensor in tensors.items()},
            **(extras or {}),
        },
        path,
    )
    return path


def training_extras(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Everything that a training script saves beside the weights."""
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in list(tensors.values())[:2]]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {
        "epoch": 35,
        "best_acc1": np.float64(21.5),
        "args": argparse.Namespace(
            model="CLIP_VITB16", lr=3e-3, betas=(0.9, 0.98), output_dir="out"
        ),
        "optimizer": optimizer.state_dict(),
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": np.int64(3)},
    }


def write_open_clip(
    folder: Path,
    model_config: Mapping[str, Any],
    *,
    preprocess: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Any:
    """An open_clip `local-dir:` folder with random weights and statistics; returns open_clip's
    model.
    """
    import open_clip
    from safetensors.torch import save_file

    build = open_clip.CustomTextCLIP if model_config.get("custom_text") else open_clip.CLIP
    build = open_clip.CoCa if "multimodal_cfg" in model_config else build
    with _undrawn():
        model = build(**{key: value for key, value in model_config.items() if key != "custom_text"})
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: tensor if tensor.dtype == torch.int64 else _draw(tensor.shape, generator).to(dtype)
        for name, tensor in model.state_dict().items()
    }
    for name in tensors:
        if name.endswith("running_var"):
            tensors[name] = tensors[name].abs() + 0.5
    model.load_state_dict(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": dict(model_config), "preprocess_cfg": dict(preprocess or {})}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "open_clip_model.safetensors")
    return model.eval()


def openai_model(*, vision: Mapping[str, Any] | None = None, seed: int = 0) -> Any:
    """A small model as OpenAI made them, in open_clip's words: QuickGELU, heads 64 wide, float16
    values in float32.
    """
    import open_clip

    config = {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": vision or {"image_size": 32, "layers": 2, "width": 128, "patch_size": 16},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": VOCABULARY,
            "width": 64,
            "heads": 1,
            "layers": 1,
        },
    }
    with _undrawn():
        model = open_clip.CLIP(**config)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            drawn = _draw(tensor.shape, generator).half()
            tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
    return model.eval()


def openai_marks(image_size: int = 32) -> Tensors:
    """What lies beside the weights in OpenAI's files."""
    numbers = {"input_resolution": image_size, "context_length": 16, "vocab_size": VOCABULARY}
    return {name: torch.tensor(number) for name, number in numbers.items()}


def write_torchscript(
    path: Path, model: Any, *, marks: Tensors | None = None, mask_is_weight: bool = False
) -> Path:
    """A model as a traced program of TorchScript in float16, as OpenAI published theirs."""
    model = copy.deepcopy(model)
    mask = model.attn_mask
    del model.attn_mask
    if mask_is_weight:
        model.register_buffer("attn_mask", mask)
    else:
        model.attn_mask = mask
    for name, number in (openai_marks() if marks is None else marks).items():
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, number)
    size = model.visual.image_size
    size = size if isinstance(size, int) else size[0]
    inputs = {
        "encode_image": torch.zeros(1, 3, size, size),
        "encode_text": torch.zeros(1, 16, dtype=torch.long),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and traces shapes
        program = torch.jit.trace_module(model, inputs, check_trace=False)
        program.half().save(str(path))
    return path


def _undrawn() -> Any:
    """Modules are built without drawing their weights, all of which are drawn again."""
    names = ("normal_", "uniform_", "trunc_normal_", "kaiming_uniform_", "xavier_uniform_")
    return patch.multiple(torch.nn.init, **dict.fromkeys(names, lambda tensor, *_, **__: tensor))


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _draw(shape: Sequence[int], generator: torch.Generator | None, device: str = "cpu") -> Tensor:
    """Signed values of a size that keeps a forward pass in range, whatever a weight is for; on
    meta, none.
    """
    if device == "meta":
        return torch.empty(shape, device=device)
    fan_in = math.prod(shape[1:]) if len(shape) > 1 else 4
    return torch.randn(shape, generator=generator) / math.sqrt(fan_in)
