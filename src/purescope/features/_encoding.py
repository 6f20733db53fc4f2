"""Images through a model's image tower: a batch on each core, or decoding ahead of an accelerator."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore, Lock
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from purescope.datasets.images import Images
from purescope.errors import ModelError
from purescope.features.features import check_finite, unit_rows
from purescope.models.model import Model, Preprocess

Item = TypeVar("Item")
Result = TypeVar("Result")
Batch: TypeAlias = tuple[range, UInt8[Tensor, "n 3 size size"]]

_SHARE = 64  # images that a core encodes at a time: larger activations leave its cache


def batch_length(model: Model, batch_size: int) -> int:
    """How many of the images that the model gets at a time go into one call of `encode_image`."""
    return min(_SHARE, -(-batch_size // torch.get_num_threads())) if model.lanes == 0 else batch_size


def encode_images(
    model: Model, images: Images, preprocess: Preprocess, batches: Iterable[range], *, name: str
) -> Iterator[Float[Tensor, "n neuron"]]:
    """Unit rows of the features of each batch, in order; `batches` is read a few ahead of what is asked for.

    A batch that does not fit into memory is halved, and so are all after it; a warning says so.

    Raises:
        InputError: a feature is NaN or infinite.
        ModelError: one image alone does not fit into memory.
        DatasetError: an image cannot be read.
    """
    # Much of decoding holds Python's lock: on all cores at once it is slower than on half of them.
    decoders = BoundedSemaphore(max(1, torch.get_num_threads() // 2))
    encode = _Encoder(model, preprocess, name)

    def decode(rows: range) -> Batch:
        with decoders:  # channels stay last, as images have them and convolutions want them
            pixels = np.stack([preprocess.pixels(images[row]).permute(1, 2, 0).numpy() for row in rows])
        return rows, torch.from_numpy(pixels).permute(0, 3, 1, 2)

    if model.lanes == 0:
        # Several small batches side by side, one a core, wait for nobody; one batch on all cores has them meet after
        # every operation, and decoders beside it would take a core from each meeting.
        yield from _on_each_core(lambda rows: encode(decode(rows)), batches)
    elif model.lanes == 1:
        yield from map(encode, _on_each_core(decode, batches))
    else:
        with ThreadPoolExecutor(model.lanes, "encode") as lanes:
            yield from _in_order(lanes, encode, _on_each_core(decode, batches), ahead=model.lanes)


class _Encoder:
    """Pixels to unit rows, in batches that fit into memory."""

    def __init__(self, model: Model, preprocess: Preprocess, name: str) -> None:
        self.model, self.preprocess, self.name = model, preprocess, name
        self.largest: int | None = None  # batch, once memory has run out
        self.lock = Lock()

    def __call__(self, batch: Batch) -> Float[Tensor, "n neuron"]:
        rows, pixels = batch
        if self.largest is not None and len(rows) > self.largest:
            return self._halves(rows, pixels)
        try:
            features = self.model.encode_image(self.preprocess.normalise(pixels))
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        else:
            check_finite(features, f"{self.name}: image", first_row=rows.start)
            return unit_rows(features)
        # Out of the handler: what it held of the failed attempt is free by now.
        if len(rows) == 1:
            raise ModelError(
                f"{self.name}: no memory for a single image: {reason}",
                fix="use another device, a lower --precision or a smaller model",
            )
        self._shrink(len(rows))
        return self._halves(rows, pixels)

    def _halves(self, rows: range, pixels: Tensor) -> Tensor:
        middle = -(-len(rows) // 2)
        return torch.cat([self((rows[:middle], pixels[:middle])), self((rows[middle:], pixels[middle:]))])

    def _shrink(self, failed: int) -> None:
        largest = -(-failed // 2)
        with self.lock:
            if self.largest is None or largest < self.largest:
                self.largest = largest
                message = f"{self.name}: out of memory with {failed} images at a time, on with {largest}"
                warnings.warn(message, stacklevel=2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    # The cpu's allocator has no class of its own.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def _on_each_core(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``map(work, items)`` with one thread a core, each of which torch leaves to itself."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "core", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from _in_order(pool, work, items, ahead=threads)
    finally:
        # After an error, or when the caller stops early, nobody wants what is still queued.
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what the workers set for themselves is also what a new thread begins with


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Iterator[Result]:
    """``map(work, items)`` in the pool, with at most `ahead` results waiting beyond the one asked for."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
