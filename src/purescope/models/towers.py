"""From two towers with weights in them to a `Model`: device, precision, batches of sentences.

Modules whose weights are to be replaced are built without drawing random ones first (`Unfilled`).
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from purescope.errors import InputError, ModelError, near_miss
from purescope.maths.overlaps import Projections
from purescope.models.checkpoint import one_line
from purescope.models.configuration import IMAGE, require_at_most
from purescope.models.model import Model, Preprocess, Tower
from purescope.models.vocabulary import Tokenizer

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_DEVICES = "cpu or a device of this machine, such as cuda; several as cuda:0,cuda:1"

_SENTENCES = 256  # encoded at once


@dataclass(frozen=True)
class Towers:
    """What an adapter makes of a checkpoint: a module on the cpu in float32, and what to call on
    it.
    """

    module: nn.Module
    encode_image: Callable[[Float[Tensor, "n 3 size size"]], Float[Tensor, "n neuron"]]
    encode_text: Callable[[Int64[Tensor, "n context"]], Float[Tensor, "n neuron"]]
    tokenize: Tokenizer
    weight_space: Projections | str  # as in `Model`
    neurons: int
    preprocess: Preprocess
    identity: Mapping[str, str]
    towers: Mapping[str, Tower]  # as in `Model`
    # What a copy needs beside its weights, by the names of the files: what is left of
    # configurations of transformers.
    configurations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def to_model(
    towers: Towers, *, label: str, spec: str, device: str | torch.device, precision: str
) -> Model:
    """Put the towers on the device or devices and wrap them; see `Model` for what the encoders
    promise.

    Raises:
        ModelError: a device or the precision is unknown or not there.
    """
    devices = _devices(device)
    dtype = PRECISIONS[_resolve(precision, devices)]
    replicas = [towers, *(copy.deepcopy(towers) for _ in devices[1:])]
    free: SimpleQueue[tuple[Towers, torch.device]] = SimpleQueue()
    for replica, place in zip(replicas, devices, strict=True):
        replica.module.eval().requires_grad_(False)
        if dtype:
            _cast_image_tower(replica.module, dtype)
        _move(replica.module, place)
        free.put((replica, place))
    on_cpu = devices == [torch.device("cpu")]

    @contextmanager
    def turn() -> Iterator[tuple[Towers, torch.device]]:
        """The cpu serves every thread at once, an accelerator one."""
        if on_cpu:
            yield towers, devices[0]
            return
        lane = free.get()
        try:
            yield lane
        finally:
            free.put(lane)

    def arithmetic(place: torch.device) -> AbstractContextManager[object]:
        return torch.autocast(place.type, dtype) if dtype else nullcontext()

    # What leaves inference mode is cloned: its own tensors could be used neither in place nor in
    # autograd.
    def encode_image(images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n neuron"]:
        with turn() as (replica, place), torch.inference_mode(), arithmetic(place):
            if place.type == "cuda":
                images = images.pin_memory()
            images = images.to(
                place, memory_format=torch.channels_last, non_blocking=place.type == "cuda"
            )
            features = replica.encode_image(images).float().cpu()
        return features.clone()

    def encode_text(sentences: Sequence[str]) -> Float[Tensor, "n neuron"]:
        if isinstance(sentences, str):
            raise InputError(
                f"one string, {sentences!r}", expected="a list of them", fix=f"[{sentences!r}]"
            )
        batches = []
        with turn() as (replica, place), torch.inference_mode(), arithmetic(place):
            for start in range(0, len(sentences), _SENTENCES):
                tokens = replica.tokenize(list(sentences[start : start + _SENTENCES]))
                batches.append(replica.encode_text(tokens.to(place)).float().cpu())
        return torch.cat(batches) if batches else torch.empty(0, towers.neurons)

    model = Model(
        label=label,
        spec=spec,
        weight_space=towers.weight_space,
        neurons=towers.neurons,
        preprocess=towers.preprocess,
        encode_image=encode_image,
        encode_text=encode_text,
        identity={**towers.identity, "precision": _resolve(precision, devices)},
        lanes=0 if on_cpu else len(devices),
        towers=towers.towers,
    )
    _try(model)
    return model


def _try(model: Model) -> None:
    """Encode a black image and a word: what a configuration gets wrong may show only when the
    towers run.

    Raises:
        ModelError: they do not, or give features of other numbers of neurons than the configuration
            says.
    """
    size = model.preprocess.size
    require_at_most(model.spec, "the side of its images", size, IMAGE)
    try:
        image, text = model.encode_image(torch.zeros(1, 3, size, size)), model.encode_text(["a"])
    except Exception as error:  # which the modules of other libraries choose
        raise ModelError(
            f"{model.spec}: its towers do not run: {one_line(error)}",
            expected="a configuration that fits the weights, and a device with memory for one "
            "image",
        ) from error
    found = {image.shape[1], text.shape[1]}
    if found != {model.neurons}:
        raise ModelError(
            f"{model.spec}: features of {sorted(found)} neurons",
            expected=f"embed_dim, {model.neurons}",
        )


def _devices(device: str | torch.device) -> list[torch.device]:
    try:
        devices = [torch.device(name.strip()) for name in str(device).split(",")]
    except RuntimeError as error:
        raise ModelError(f"device {str(device)!r}", expected=_DEVICES) from error
    if any(place.type == "meta" for place in devices):
        raise ModelError(f"device {str(device)!r} holds no numbers", expected=_DEVICES)
    return devices


def _resolve(precision: str, devices: list[torch.device]) -> str:
    """The name of a precision; "auto" is the fastest that each device has, and float32 on the
    cpu.
    """
    if precision != "auto":
        if precision not in PRECISIONS:
            raise ModelError(
                f"precision {precision!r}", **near_miss(precision, ("auto", *PRECISIONS))
            )
        return precision
    cuda = all(place.type == "cuda" for place in devices) and torch.cuda.is_available()
    return "bf16" if cuda and torch.cuda.is_bf16_supported() else "fp32"


def _cast_image_tower(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast once what autocast would cast in every call: twice the speed on the cpu, and as close to
    float32.

    The text tower is left to autocast: open_clip's takes the type of all its arithmetic from its
    weights.
    """
    tower = getattr(module, "visual", None)  # of open_clip and LaCLIP
    for layer in tower.modules() if isinstance(tower, nn.Module) else ():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.to(dtype)
        elif isinstance(layer, nn.MultiheadAttention):
            for parameter in (layer.in_proj_weight, layer.in_proj_bias):
                if parameter is not None:
                    parameter.data = parameter.data.to(dtype)


def _move(module: nn.Module, device: torch.device) -> None:
    try:
        # A quarter faster for convolutions on the cpu, and equal to rounding.
        module.to(device).to(memory_format=torch.channels_last)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ModelError(f"device {str(device)!r}: {reason}", expected=_DEVICES) from error


_FILLS: set[Callable[..., Any]] = {
    Tensor.normal_,
    Tensor.uniform_,
    Tensor.erfinv_,  # of a truncated normal distribution
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.trunc_normal_,
    nn.init.kaiming_uniform_,
    nn.init.kaiming_normal_,
    nn.init.xavier_uniform_,
    nn.init.xavier_normal_,
}


class Unfilled(TorchFunctionMode):
    """A context in which random weights stay as they lie in memory: for what is loaded over them in
    a moment.

    A model of a billion weights is there at once, where numbers for them take half a minute to
    draw; memory that nothing is written to is not even taken.

    Examples:
        >>> import torch
        >>> weight = torch.zeros(2)
        >>> with Unfilled():
        ...     torch.nn.init.normal_(weight)
        tensor([0., 0.])
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Hand back the tensor that was to be filled, and run all else."""
        kwargs = kwargs or {}
        if func in _FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
