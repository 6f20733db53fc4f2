"""LaCLIP's forward pass from the definition of its format: one image, one sentence, one head at a
time.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def quick_gelu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-1.702 * x))


def image_features(
    weights: Weights,
    image: Tensor,
    *,
    heads: int,
    eps: float = 1e-6,
    normed: bool = True,
    activation: Callable[[Tensor], Tensor] = gelu,
) -> Tensor:
    """`[neuron]` of one normalised image `[3, size, size]`."""
    kernel = weights["visual.patch_embed.proj.weight"]
    patch, width = kernel.shape[-1], kernel.shape[0]
    tokens = [weights["visual.cls_token"][0, 0]]
    for top in range(0, image.shape[1], patch):
        for left in range(0, image.shape[2], patch):
            square = image[:, top : top + patch, left : left + patch]
            tokens.append(kernel.reshape(width, -1) @ square.reshape(-1))
            tokens[-1] = tokens[-1] + weights["visual.patch_embed.proj.bias"]
    x = torch.stack(tokens) + weights["visual.pos_embed"][0]
    for i in range(count(weights, "visual.blocks.")):
        block = f"visual.blocks.{i}"
        qkv = linear(weights, f"{block}.attn.qkv", layer_norm(weights, f"{block}.norm1", x, eps))
        outputs = []
        for q, k, v in heads_of(qkv, heads):
            if normed and f"{block}.attn.q_norm.weight" in weights:
                q = layer_norm(weights, f"{block}.attn.q_norm", q, eps)
                k = layer_norm(weights, f"{block}.attn.k_norm", k, eps)
            outputs.append(attend(q, k, v, causal=False))
        x = x + linear(weights, f"{block}.attn.proj", torch.cat(outputs, dim=1))
        hidden = linear(weights, f"{block}.mlp.fc1", layer_norm(weights, f"{block}.norm2", x, eps))
        x = x + linear(weights, f"{block}.mlp.fc2", activation(hidden))
    return layer_norm(weights, "visual.norm", x, eps)[0] @ weights["image_projection"]


def text_features(weights: Weights, tokens: Tensor) -> Tensor:
    """`[neuron]` of one row of tokens."""
    x = weights["token_embedding.weight"][tokens] + weights["positional_embedding"]
    heads = x.shape[1] // 64
    for i in range(count(weights, "transformer.resblocks.")):
        block = f"transformer.resblocks.{i}"
        normed = layer_norm(weights, f"{block}.ln_1", x, 1e-5)
        qkv = (
            normed @ weights[f"{block}.attn.in_proj_weight"].T
            + weights[f"{block}.attn.in_proj_bias"]
        )
        outputs = [attend(q, k, v, causal=True) for q, k, v in heads_of(qkv, heads)]
        x = x + linear(weights, f"{block}.attn.out_proj", torch.cat(outputs, dim=1))
        hidden = linear(weights, f"{block}.mlp.c_fc", layer_norm(weights, f"{block}.ln_2", x, 1e-5))
        x = x + linear(weights, f"{block}.mlp.c_proj", quick_gelu(hidden))
    end = tokens.tolist().index(max(tokens.tolist()))
    return layer_norm(weights, "ln_final", x, 1e-5)[end] @ weights["text_projection"]


def count(weights: Weights, prefix: str) -> int:
    return 1 + max(
        int(name.removeprefix(prefix).split(".")[0]) for name in weights if name.startswith(prefix)
    )


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(weights: Weights, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / (variance + eps).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def heads_of(qkv: Tensor, heads: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Queries, keys and values lie side by side; each is cut into heads."""
    q, k, v = qkv.chunk(3, dim=1)
    return list(
        zip(q.chunk(heads, dim=1), k.chunk(heads, dim=1), v.chunk(heads, dim=1), strict=True)
    )


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
    rows = []
    for i in range(len(q)):
        seen = i + 1 if causal else len(q)
        scores = [float(q[i] @ k[j]) / math.sqrt(q.shape[1]) for j in range(seen)]
        weights = torch.tensor(scores, dtype=q.dtype).softmax(0)
        rows.append(weights @ v[:seen])
    return torch.stack(rows)
