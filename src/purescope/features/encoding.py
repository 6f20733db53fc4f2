"""Encode batches of images and sentences: on all cores, or ahead of an accelerator."""

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

_CORE_BATCH = 64  # images that a core encodes at a time: larger activations leave its cache

Inputs: TypeAlias = Tensor | Sequence[str]
Batch: TypeAlias = tuple[range, UInt8[Tensor, "n 3 size size"]]


def batch_length(model: Model, batch_size: int) -> int:
    """Return how many of the images of a batch go into one call of `encode_image`."""
    if model.lanes:
        return batch_size
    return min(_CORE_BATCH, -(-batch_size // torch.get_num_threads()))


def encode_images(
    model: Model, images: Images, preprocess: Preprocess, batches: Iterable[range], *, name: str
) -> Iterator[Float[Tensor, "n neuron"]]:
    """Return the features of each batch as unit rows, in order.

    Batches run on all cores, or images are decoded ahead of an accelerator, so `batches` is read a
    few ahead. A batch that does not fit into memory is halved, and so are all later ones.

    Raises:
        InputError: a feature is NaN or infinite.
        ModelError: one image alone does not fit into memory.
        DatasetError: an image cannot be read.

    Warns:
        UserWarning: a batch did not fit into memory.
    """
    # Much of decoding holds Python's lock: on all cores at once it is slower than on half of them.
    decoders = BoundedSemaphore(max(1, torch.get_num_threads() // 2))
    encoder = Encoder(
        lambda pixels: model.encode_image(preprocess.normalise(pixels)), name, "image"
    )

    def encode(batch: Batch) -> Tensor:
        return encoder(*batch)

    def decode(rows: range) -> Batch:
        with decoders:  # channels stay last in memory, as in images and as convolutions prefer
            pixels = np.stack(
                [preprocess.pixels(images[row]).permute(1, 2, 0).numpy() for row in rows]
            )
        return rows, torch.from_numpy(pixels).permute(0, 3, 1, 2)

    if model.lanes == 0:
        # Small batches, one on each core, never wait for each other. The threads of one batch on
        # all cores would wait for the slowest after every operation, and decoders would slow one.
        yield from on_each_core(lambda rows: encode(decode(rows)), batches)
    elif model.lanes == 1:
        yield from map(encode, on_each_core(decode, batches))
    else:
        with ThreadPoolExecutor(model.lanes, "encode") as lanes:
            yield from in_order(lanes, encode, on_each_core(decode, batches), ahead=model.lanes)


class Encoder:
    """Encodes batches into unit rows, and halves batches that do not fit into memory.

    Args:
        encode: returns the features of a batch of inputs.
        name: name of the model in errors and warnings.
        kind: name of an input there: "image" or "sentence".
    """

    def __init__(self, encode: Callable[[Any], Tensor], name: str, kind: str) -> None:
        self.encode, self.name, self.kind = encode, name, kind
        self.largest: int | None = None  # length of a batch, once memory has run out
        self.lock = Lock()

    def __call__(self, rows: range, inputs: Inputs) -> Float[Tensor, "n neuron"]:
        """Return unit rows of the inputs, whose row numbers are `rows`.

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
        # Outside of the handler, which keeps the memory of the failed attempt.
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
                warnings.warn(
                    f"{self.name}: out of memory with {failed} {self.kind}s at a time, on with "
                    f"{largest}",
                    stacklevel=2,
                )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    # The error of the cpu's allocator has no class of its own.
    is_named = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_named or "DefaultCPUAllocator" in str(error)
