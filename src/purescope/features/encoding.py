"""Images through a model's image tower: a batch on each core, or decoding ahead of an
accelerator.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Lock
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from purescope.datasets.images import Images
from purescope.errors import ModelError
from purescope.features.features import check_finite, unit_rows
from purescope.models.model import Model, Preprocess
from purescope.parallel import in_order, on_each_core

Inputs: TypeAlias = Tensor | Sequence[str]
Batch: TypeAlias = tuple[range, UInt8[Tensor, "n 3 size size"]]

_SHARE = 64  # images that a core encodes at a time: larger activations leave its cache


def batch_length(model: Model, batch_size: int) -> int:
    """How many of the images that the model gets at a time go into one call of `encode_image`."""
    return (
        min(_SHARE, -(-batch_size // torch.get_num_threads())) if model.lanes == 0 else batch_size
    )


def encode_images(
    model: Model, images: Images, preprocess: Preprocess, batches: Iterable[range], *, name: str
) -> Iterator[Float[Tensor, "n neuron"]]:
    """Unit rows of the features of each batch, in order; `batches` is read a few ahead of what is
    asked for.

    A batch that does not fit into memory is halved, and so are all after it; a warning says so.

    Raises:
        InputError: a feature is NaN or infinite.
        ModelError: one image alone does not fit into memory.
        DatasetError: an image cannot be read.
    """
    # Much of decoding holds Python's lock: on all cores at once it is slower than on half of them.
    decoders = BoundedSemaphore(max(1, torch.get_num_threads() // 2))
    rows_of = Halving(
        lambda pixels: model.encode_image(preprocess.normalise(pixels)), name, "image"
    )

    def encode(batch: Batch) -> Tensor:
        return rows_of(*batch)

    def decode(rows: range) -> Batch:
        with decoders:  # channels stay last, as images have them and convolutions want them
            pixels = np.stack(
                [preprocess.pixels(images[row]).permute(1, 2, 0).numpy() for row in rows]
            )
        return rows, torch.from_numpy(pixels).permute(0, 3, 1, 2)

    if model.lanes == 0:
        # Several small batches side by side, one a core, wait for nobody; one batch on all cores
        # has them meet after every operation, and decoders beside it would take a core from each
        # meeting.
        yield from on_each_core(lambda rows: encode(decode(rows)), batches)
    elif model.lanes == 1:
        yield from map(encode, on_each_core(decode, batches))
    else:
        with ThreadPoolExecutor(model.lanes, "encode") as lanes:
            yield from in_order(lanes, encode, on_each_core(decode, batches), ahead=model.lanes)


class Halving:
    """An encoder that gives unit rows, in batches that fit into memory: what does not is halved.

    Args:
        encode: features of a batch of inputs.
        name: what to call it in errors and warnings, and `kind` its inputs: "image", "sentence".
    """

    def __init__(self, encode: Callable[[Any], Tensor], name: str, kind: str) -> None:
        self.encode, self.name, self.kind = encode, name, kind
        self.largest: int | None = None  # batch, once memory has run out
        self.lock = Lock()

    def __call__(self, rows: range, inputs: Inputs) -> Float[Tensor, "n neuron"]:
        """Unit rows of inputs, which have these numbers.

        Raises:
            InputError: a feature is NaN or infinite.
            ModelError: one input alone does not fit into memory.
        """
        if self.largest is not None and len(rows) > self.largest:
            return self._halves(rows, inputs)
        try:
            features = self.encode(inputs)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        else:
            check_finite(features, f"{self.name}: {self.kind}", first_row=rows.start)
            return unit_rows(features)
        # Out of the handler: what it held of the failed attempt is free by now.
        if len(rows) == 1:
            raise ModelError(
                f"{self.name}: no memory for a single {self.kind}: {reason}",
                fix="use another device, a lower --precision or a smaller model",
            )
        self._shrink(len(rows))
        return self._halves(rows, inputs)

    def _halves(self, rows: range, inputs: Inputs) -> Float[Tensor, "n neuron"]:
        middle = -(-len(rows) // 2)
        return torch.cat(
            [self(rows[:middle], inputs[:middle]), self(rows[middle:], inputs[middle:])]
        )

    def _shrink(self, failed: int) -> None:
        largest = -(-failed // 2)
        with self.lock:
            if self.largest is None or largest < self.largest:
                self.largest = largest
                message = f"{self.name}: out of memory with {failed} {self.kind}s at a time, on with {largest}"
                warnings.warn(message, stacklevel=2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    # The cpu's allocator has no class of its own.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(
        error
    )
