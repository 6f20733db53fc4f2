"""From two towers with weights in them to a `Model`: device, precision, batches of sentences."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from purescope.errors import InputError, ModelError, did_you_mean
from purescope.models.model import Model, Preprocess
from purescope.purity import Projections

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}

_SENTENCES = 256  # encoded at once


@dataclass(frozen=True)
class Towers:
    """What an adapter makes of a checkpoint: a module on the cpu in float32, and what to call on it."""

    module: nn.Module
    encode_image: Callable[[Float[Tensor, "n 3 size size"]], Float[Tensor, "n neuron"]]
    encode_text: Callable[[Int64[Tensor, "n context"]], Float[Tensor, "n neuron"]]
    tokenize: Callable[[list[str]], Int64[Tensor, "n context"]]
    weight_space: Projections | str  # as in `Model`
    neurons: int
    preprocess: Preprocess
    identity: Mapping[str, str]


def to_model(towers: Towers, *, label: str, spec: str, device: str | torch.device, precision: str) -> Model:
    """Put the towers on the device and wrap them; see `Model` for what the encoders promise.

    Raises:
        ModelError: the device or the precision is unknown or not there.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"precision {precision!r}", fix=did_you_mean(precision, PRECISIONS))
    dtype = PRECISIONS[precision]
    try:
        device = torch.device(device)
        # A quarter faster for convolutions on the cpu, and equal to rounding.
        towers.module.to(device).to(memory_format=torch.channels_last)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ModelError(f"device {str(device)!r}: {reason}", fix="use cpu, or a device there is") from error
    towers.module.eval().requires_grad_(False)

    def arithmetic() -> AbstractContextManager[object]:
        return torch.autocast(device.type, dtype) if dtype else nullcontext()

    # What leaves inference mode is cloned: its own tensors could be used neither in place nor in autograd.
    def encode_image(images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n neuron"]:
        with torch.inference_mode(), arithmetic():
            images = images.to(device, memory_format=torch.channels_last)
            features = towers.encode_image(images).float().cpu()
        return features.clone()

    def encode_text(sentences: Sequence[str]) -> Float[Tensor, "n neuron"]:
        if isinstance(sentences, str):
            raise InputError(f"one string, {sentences!r}", expected="a list of them", fix=f"[{sentences!r}]")
        batches = [torch.empty(0, towers.neurons)]
        with torch.inference_mode(), arithmetic():
            for start in range(0, len(sentences), _SENTENCES):
                tokens = towers.tokenize(list(sentences[start : start + _SENTENCES]))
                batches.append(towers.encode_text(tokens.to(device)).float().cpu())
        return torch.cat(batches)

    return Model(
        label=label,
        spec=spec,
        weight_space=towers.weight_space,
        neurons=towers.neurons,
        preprocess=towers.preprocess,
        encode_image=encode_image,
        encode_text=encode_text,
        identity={**towers.identity, "precision": precision},
        parallel=device.type == "cpu",
    )
