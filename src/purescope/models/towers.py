"""Turn two towers with weights into a `Model`: device, precision, batches of sentences.

`Unfilled` builds modules without drawing random weights, which a checkpoint replaces anyway.
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
from purescope.models.checkpoint import summarise_error
from purescope.models.configuration import IMAGE, require_at_most
from purescope.models.model import Model, Preprocess, Tower
from purescope.models.sentences import cut_padding
from purescope.models.tokenizer import Tokenizer

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_DEVICES = "auto, cpu or a device of this machine, such as cuda; several as cuda:0,cuda:1"
_SENTENCES = 256  # encoded at once


@dataclass(frozen=True)
class Towers:
    """Hold what an adapter makes from a checkpoint; see `Model` for the fields that it shares.

    Args:
        module: the module with both towers, on the cpu in float32.
        encode_image: turns normalised pixels into features.
        encode_text: turns tokens into features.
        tokenize: turns sentences into tokens.
        reads_to_end: whether the text tower takes rows of any length, and what is behind the end
            of a sentence changes nothing.
        configurations: the rebuilt configurations of transformers that a copy of the model needs
            beside its weights, by the names of their files.
        last_maps: the place in the module of the last linear map of "image" and of "text", see
            `purescope.models.last_maps`; a tower without one is left out.
    """

    module: nn.Module
    encode_image: Callable[[Float[Tensor, "n 3 size size"]], Float[Tensor, "n neuron"]]
    encode_text: Callable[[Int64[Tensor, "n context"]], Float[Tensor, "n neuron"]]
    tokenize: Tokenizer
    weight_space: Projections | str
    neurons: int
    preprocess: Preprocess
    identity: Mapping[str, str]
    towers: Mapping[str, Tower]
    configurations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    last_maps: Mapping[str, str] = field(default_factory=dict)
    reads_to_end: bool = False


def to_model(
    towers: Towers, *, label: str, spec: str, device: str | torch.device, precision: str
) -> Model:
    """Put the towers on a device, or a copy on each of several, and make a `Model` of them.

    Raises:
        ModelError: a device or the precision is unknown or not available.
    """
    devices = _parse_devices(device)
    precision = _choose_precision(precision, devices)
    dtype = PRECISIONS[precision]
    replicas = [towers, *(copy.deepcopy(towers) for _ in devices[1:])]
    free: SimpleQueue[tuple[Towers, torch.device]] = SimpleQueue()
    for replica, place in zip(replicas, devices, strict=True):
        replica.module.eval().requires_grad_(False)
        if dtype:
            _cast_image_tower(replica.module, dtype)
        _move_module(replica.module, place)
        free.put((replica, place))
    on_cpu = devices == [torch.device("cpu")]

    @contextmanager
    def reserve() -> Iterator[tuple[Towers, torch.device]]:
        """Reserve a device: the cpu for all threads at once, an accelerator for one."""
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

    # Features are cloned outside inference mode: its tensors can be used neither in place nor in
    # autograd.
    def encode_image(images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n neuron"]:
        with reserve() as (replica, place), torch.inference_mode(), arithmetic(place):
            is_cuda = place.type == "cuda"
            if is_cuda:
                images = images.pin_memory()
            images = images.to(place, memory_format=torch.channels_last, non_blocking=is_cuda)
            features = replica.encode_image(images).float().cpu()
        return features.clone()

    def encode_text(sentences: Sequence[str]) -> Float[Tensor, "n neuron"]:
        if isinstance(sentences, str):
            raise InputError(
                f"one string, {sentences!r}", expected="a list of them", fix=f"[{sentences!r}]"
            )
        batches = []
        with reserve() as (replica, place), torch.inference_mode(), arithmetic(place):
            for start in range(0, len(sentences), _SENTENCES):
                tokens = replica.tokenize(list(sentences[start : start + _SENTENCES]))
                if replica.reads_to_end:
                    tokens = cut_padding(tokens, replica.towers["text"].end)
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
        identity={**towers.identity, "precision": precision},
        lanes=0 if on_cpu else len(devices),
        device=",".join(map(str, devices)),
        towers=towers.towers,
        are_cut=towers.tokenize.are_cut,
    )
    _require_running(model)
    return model


def _require_running(model: Model) -> None:
    """Encode a black image and a word: some faults of a configuration only show when towers run.

    Raises:
        ModelError: the towers do not run, or the number of neurons differs from the configuration.
    """
    size = model.preprocess.size
    require_at_most(model.spec, "the side of its images", size, IMAGE)
    try:
        image, text = model.encode_image(torch.zeros(1, 3, size, size)), model.encode_text(["a"])
    except Exception as error:  # modules of other libraries can raise anything
        raise ModelError(
            f"{model.spec}: its towers do not run: {summarise_error(error)}",
            expected="a configuration that fits the weights, and a device with memory for one "
            "image",
        ) from error
    neurons = {image.shape[1], text.shape[1]}
    if neurons != {model.neurons}:
        raise ModelError(
            f"{model.spec}: features of {sorted(neurons)} neurons",
            expected=f"embed_dim, {model.neurons}",
        )


def _parse_devices(device: str | torch.device) -> list[torch.device]:
    """Return the devices of a text; "auto" is the accelerator of this machine, else the cpu."""
    if str(device) == "auto":
        accelerator = (
            torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        )
        return [torch.device("cpu") if accelerator is None else accelerator]
    try:
        devices = [torch.device(name.strip()) for name in str(device).split(",")]
    except RuntimeError as error:
        raise ModelError(f"device {str(device)!r}", expected=_DEVICES) from error
    if any(place.type == "meta" for place in devices):
        raise ModelError(f"device {str(device)!r} holds no numbers", expected=_DEVICES)
    return devices


def _choose_precision(precision: str, devices: list[torch.device]) -> str:
    """Return the name of a precision; "auto" is bf16 if every device has it, and fp32 otherwise."""
    if precision != "auto":
        if precision not in PRECISIONS:
            raise ModelError(
                f"precision {precision!r}", **near_miss(precision, ("auto", *PRECISIONS))
            )
        return precision
    cuda = all(place.type == "cuda" for place in devices) and torch.cuda.is_available()
    return "bf16" if cuda and torch.cuda.is_bf16_supported() else "fp32"


def _cast_image_tower(module: nn.Module, dtype: torch.dtype) -> None:
    """Cast weights once that autocast would cast in every call.

    This doubles the speed on the cpu and is as close to float32. The text tower is left to
    autocast: open_clip's takes the type of all its arithmetic from its weights.
    """
    tower = getattr(module, "visual", None)  # in open_clip and LaCLIP
    for layer in tower.modules() if isinstance(tower, nn.Module) else ():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.to(dtype)
        elif isinstance(layer, nn.MultiheadAttention):
            for parameter in (layer.in_proj_weight, layer.in_proj_bias):
                if parameter is not None:
                    parameter.data = parameter.data.to(dtype)


def _move_module(module: nn.Module, device: torch.device) -> None:
    try:
        # Convolutions on the cpu get a quarter faster, and equal up to rounding.
        module.to(device).to(memory_format=torch.channels_last)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA raises AssertionError
        reason = str(error).splitlines()[0]
        raise ModelError(f"device {str(device)!r}: {reason}", expected=_DEVICES) from error


_FILLS: set[Callable[..., Any]] = {
    Tensor.normal_,
    Tensor.uniform_,
    Tensor.erfinv_,  # used for a truncated normal distribution
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.trunc_normal_,
    nn.init.kaiming_uniform_,
    nn.init.kaiming_normal_,
    nn.init.xavier_uniform_,
    nn.init.xavier_normal_,
}
# The steps of a truncated normal distribution that follow: on the meta device a tensor has no
# values, and torch takes longer for each of these than for building a layer.
_CHANGES: set[Callable[..., Any]] = {Tensor.mul_, Tensor.add_, Tensor.clamp_}


class Unfilled(TorchFunctionMode):
    """Skip the initialisation of random weights within a `with` block, for weights loaded later.

    Drawing the weights of a model with a billion of them takes half a minute, and memory that
    nothing is written to is not even allocated.

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
        """Return the tensor of an initialisation as it is, and run any other function."""
        kwargs = kwargs or {}
        if func in _FILLS or (func in _CHANGES and args[0].is_meta):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
