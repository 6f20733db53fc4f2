"""Encode a dataset with a model, and reuse what a cache holds already."""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import BoundedSemaphore, Lock
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from purescope.datasets.dataset import Dataset
from purescope.datasets.images import Images, images_for
from purescope.datasets.prompts import Prompts, prompts_for
from purescope.errors import InputError, ModelError
from purescope.features.cache import Cache, complete
from purescope.features.entry import split
from purescope.features.features import Features, check_finite, unit_rows
from purescope.models.model import OPENAI_PREPROCESS, Model, Preprocess
from purescope.parallel import in_order, on_each_core

_SENTENCES = 256  # sentences that the model gets at a time
_CORE_BATCH = 64  # images that a core encodes at a time: larger activations leave its cache

Progress: TypeAlias = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Returns an iterable and reports its progress; it gets the iterable, a label and the total."""

Inputs: TypeAlias = Tensor | Sequence[str]
Batch: TypeAlias = tuple[range, UInt8[Tensor, "n 3 size size"]]


def quiet(iterable: Iterable[Any], label: str, total: int) -> Iterable[Any]:
    """Return the iterable itself: the `Progress` that reports nothing.

    Examples:
        >>> list(quiet([1, 2], "counting", total=2))
        [1, 2]
    """
    return iterable


def extract(
    model: Model,
    dataset: Dataset,
    *,
    protocol: str = "native",
    batch_size: int = 256,
    cache: Cache | str | os.PathLike[str] | None = None,
    progress: Progress = quiet,
) -> Features:
    """Encode every image and every class of a dataset.

    Args:
        model: the model that encodes.
        dataset: the images and classes to encode.
        protocol: ``native``, the checkpoint's own preprocess and the dataset's own prompts; or
            ``paper``, OpenAI's preprocess at the model's own input size, and "a photo of a {}" with
            raw class names.
        batch_size: images that the model gets at a time; the result does not depend on it beyond
            rounding.
        cache: a folder where features are kept, to be read again or to continue after an
            interruption.
        progress: wraps the batches that have to be encoded, for a progress bar.

    Returns:
        Unit rows ``[image, neuron]`` and ``[class, neuron]``, float32 on the cpu, with labels,
        names and identity.

    Raises:
        InputError: the protocol is unknown, the batch size is below 1, or the model gives NaN,
            infinity, or different numbers of neurons for images and text.
        DatasetError: an image cannot be read.
        ModelError: there is no memory for a single image or sentence.
        OutputError: the cache cannot be written.

    Examples:
        A model with a red and a blue neuron, for images and for words:

        >>> from PIL import Image
        >>> from purescope.maths.overlaps import Projections
        >>> model = Model(
        ...     label="eye",
        ...     spec="made by hand",
        ...     weight_space=Projections(torch.eye(2), torch.eye(2)),
        ...     neurons=2,
        ...     preprocess=Preprocess(size=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        ...     encode_image=lambda pixels: pixels[:, [0, 2], 0, 0],
        ...     encode_text=lambda texts: torch.tensor(
        ...         [["red" in text, "blue" in text] for text in texts]
        ...     ).float(),
        ...     identity={},
        ... )
        >>> colours = Dataset(
        ...     name="colours",
        ...     spec="made by hand",
        ...     classes=("red", "blue"),
        ...     labels=torch.tensor([1, 0]),
        ...     images=[Image.new("RGB", (2, 2), "blue"), Image.new("RGB", (2, 2), "red")],
        ...     display_names=("red", "blue"),
        ...     templates=("something {}.",),
        ...     source={},
        ...     fingerprint="",
        ... )
        >>> features = extract(model, colours)
        >>> features.image @ features.text.T
        tensor([[0., 1.],
                [1., 0.]])
    """
    if batch_size < 1:
        raise InputError(f"batch size {batch_size}", expected="at least 1")
    cache = _open(cache)
    prompts = prompts_for(dataset, protocol)
    preprocess = model.preprocess
    if protocol == "paper":
        # 224 is the input size of the paper's models; a model of another size takes only its own.
        preprocess = replace(OPENAI_PREPROCESS, size=model.preprocess.size, resize_first=True)
    name = f"{model.label} on {dataset.name}"
    start = time.perf_counter()
    text = text_features(model, prompts, cache)
    batch = batch_length(model, min(batch_size, len(dataset)))
    images = images_for(dataset.images, protocol)
    image = _image_features(model, dataset, images, preprocess, cache, batch, progress, name)
    if image.shape[1] != text.shape[1]:
        raise InputError(
            f"{model.label} has {image.shape[1]} neurons for images, {text.shape[1]} for text",
            expected="the same number: both towers end in one space",
        )
    return Features(
        image=image,
        text=text,
        labels=dataset.labels,
        classes=dataset.classes,
        model=model.label,
        dataset=dataset.name,
        identity=_identity(model, dataset, protocol, preprocess, prompts),
        seconds=time.perf_counter() - start,
    )


def text_features(
    model: Model, prompts: Prompts, cache: Cache | str | os.PathLike[str] | None = None
) -> Float[Tensor, "class neuron"]:
    """Return one row for each class: the mean over templates of unit text features, renormalised.

    Arguments and errors as in `extract`.
    """
    cache = _open(cache)
    encode_sentences = Encoder(model.encode_text, model.label, "sentence")

    def encode(classes: range) -> Float[Tensor, "class neuron"]:
        texts = Prompts(prompts.names[classes.start : classes.stop], prompts.templates).texts()
        batches = split(range(len(texts)), _SENTENCES)
        rows = torch.cat(
            [encode_sentences(batch, texts[batch.start : batch.stop]) for batch in batches]
        )
        return unit_rows(rows.unflatten(0, (len(classes), -1)).mean(dim=1))

    classes = range(len(prompts.names))
    if cache is None:
        return encode(classes)
    entry = cache.entry(
        "text",
        _weights(model) | {"prompts": _digest(prompts)},
        rows=len(classes),
        neurons=model.neurons,
        about={"model": model.label, "templates": " | ".join(prompts.templates[:3])},
    )
    return complete(entry, lambda batches: map(encode, batches), batch=len(classes))


def _open(cache: Cache | str | os.PathLike[str] | None) -> Cache | None:
    return Cache(cache) if isinstance(cache, str | os.PathLike) else cache


def _image_features(
    model: Model,
    dataset: Dataset,
    images: Images,
    preprocess: Preprocess,
    cache: Cache | None,
    batch: int,
    progress: Progress,
    name: str,
) -> Float[Tensor, "image neuron"]:
    def encode(batches: Iterable[range]) -> Iterator[Float[Tensor, "n neuron"]]:
        return encode_images(model, images, preprocess, batches, name=name)

    if cache is None:
        batches = split(range(len(dataset)), batch)
        return torch.cat([*progress(encode(batches), name, len(batches))])
    # A part of the cache key.
    reading = {} if images is dataset.images else {"read": "as protocol paper does"}
    entry = cache.entry(
        "images",
        _weights(model) | {"preprocess": str(preprocess), "dataset": dataset.fingerprint} | reading,
        rows=len(dataset),
        neurons=model.neurons,
        about={"model": model.label, "dataset": dataset.name},
    )
    return complete(
        entry, encode, batch=batch, progress=lambda batches, total: progress(batches, name, total)
    )


def _weights(model: Model) -> dict[str, str]:
    """Return what a model's features depend on, whatever its name and its path."""
    if "weights" not in model.identity:
        raise InputError(
            f"the identity of {model.label} has no hash of its weights",
            expected="identity['weights'], which keeps cached features of different models apart",
            fix="add one, or encode without a cache",
        )
    return _model_identity(model)


def _model_identity(model: Model) -> dict[str, str]:
    return {f"model_{key}": value for key, value in model.identity.items()}


def _digest(prompts: Prompts) -> str:
    return hashlib.sha256(json.dumps([prompts.names, prompts.templates]).encode()).hexdigest()


def _identity(
    model: Model, dataset: Dataset, protocol: str, preprocess: Preprocess, prompts: Prompts
) -> Mapping[str, str]:
    return {
        "model": model.spec,
        **_model_identity(model),
        "dataset": dataset.spec,
        "dataset_fingerprint": dataset.fingerprint,
        "dataset_skipped": str(len(dataset.skipped)),
        "protocol": protocol,
        "preprocess": str(preprocess),
        "templates": " | ".join(prompts.templates),
        "prompts": _digest(prompts),
    }


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
