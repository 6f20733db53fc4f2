"""Encoding a data set with a model: a batch on each core, or decoding ahead of an accelerator."""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import BoundedSemaphore
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from purescope.datasets.dataset import Dataset
from purescope.datasets.images import Images
from purescope.errors import InputError
from purescope.features.features import Features, check_finite, unit_rows
from purescope.models.model import OPENAI_PREPROCESS, Model, Preprocess
from purescope.prompts import Prompts, prompts_for

_SHARE = 64  # images that a core encodes at a time: larger activations leave its cache

Progress: TypeAlias = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Passes an iterable on, and tells someone how far it is; called with a label and the total."""


def quiet(iterable: Iterable[Any], label: str, total: int) -> Iterable[Any]:
    """The `Progress` that tells nobody.

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
    progress: Progress = quiet,
) -> Features:
    """Encode every image and every class of a data set.

    A batch is shared out among the cores, each decoding and encoding its share, where the model allows that; else
    images are decoded in threads while the model works on those before. They keep their order.

    Args:
        model: what to encode with.
        dataset: what to encode.
        protocol: ``native``, the checkpoint's own preprocess and the data set's own prompts; or ``paper``,
            OpenAI's preprocess at the model's own input size, and "a photo of a {}" with raw class names.
        batch_size: images that the model gets at a time; the result does not depend on it beyond rounding.
        progress: wraps the batches, for a progress bar.

    Raises:
        InputError: the protocol is unknown, the batch size is below 1, or the model gives NaN, infinity, or
            different numbers of neurons for images and text.
        DatasetError: an image cannot be read.

    Examples:
        A model that sees a red and a blue neuron in images, and in words:

        >>> from PIL import Image
        >>> from purescope.purity import Projections
        >>> model = Model(
        ...     label="eye", spec="made by hand", weight_space=Projections(torch.eye(2), torch.eye(2)), neurons=2,
        ...     preprocess=Preprocess(size=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        ...     encode_image=lambda pixels: pixels[:, [0, 2], 0, 0],
        ...     encode_text=lambda texts: torch.tensor([["red" in t, "blue" in t] for t in texts]).float(),
        ...     identity={},
        ... )
        >>> colours = Dataset(
        ...     name="colours", spec="made by hand", classes=("red", "blue"), labels=torch.tensor([1, 0]),
        ...     images=[Image.new("RGB", (2, 2), "blue"), Image.new("RGB", (2, 2), "red")],
        ...     display_names=("red", "blue"), templates=("something {}.",), source={}, fingerprint="",
        ... )
        >>> features = extract(model, colours)
        >>> features.image @ features.text.T
        tensor([[0., 1.],
                [1., 0.]])
    """
    if batch_size < 1:
        raise InputError(f"batch size {batch_size}", expected="at least 1")
    prompts = prompts_for(dataset, protocol)
    preprocess = model.preprocess
    if protocol == "paper":
        # The paper's 224 is the input of its models; one that takes another size can be given no other.
        preprocess = replace(OPENAI_PREPROCESS, size=model.preprocess.size)
    name = f"{model.label} on {dataset.name}"
    start = time.perf_counter()
    text = _encode_classes(model, prompts)
    share = min(_SHARE, -(-batch_size // torch.get_num_threads())) if model.parallel else batch_size
    batches = [range(first, min(first + share, len(dataset))) for first in range(0, len(dataset), share)]

    def encode(rows: range, pixels: UInt8[Tensor, "n 3 s s"]) -> Float[Tensor, "n neuron"]:
        features = model.encode_image(preprocess.normalise(pixels))
        check_finite(features, f"{name}: image", first_row=rows.start)
        if features.shape[1] != text.shape[1]:
            raise InputError(
                f"{model.label} has {features.shape[1]} neurons for images, {text.shape[1]} for text",
                expected="the same number: both towers end in one space",
            )
        return unit_rows(features)

    encoded = _encoded(dataset.images, preprocess, batches, encode, parallel=model.parallel)
    image = torch.cat([*progress(encoded, name, len(batches))])
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


def _encode_classes(model: Model, prompts: Prompts) -> Float[Tensor, "class neuron"]:
    features = model.encode_text(prompts.texts())
    check_finite(features, f"{model.label}: text")
    by_class = unit_rows(features).unflatten(0, (len(prompts.names), len(prompts.templates)))
    return unit_rows(by_class.mean(dim=1))


def _encoded(
    images: Images,
    preprocess: Preprocess,
    batches: list[range],
    encode: Callable[[range, UInt8[Tensor, "n 3 s s"]], Float[Tensor, "n neuron"]],
    *,
    parallel: bool,
) -> Iterator[Float[Tensor, "n neuron"]]:
    # Much of decoding holds Python's lock: on all cores at once it is slower than on half of them.
    decoders = BoundedSemaphore(max(1, torch.get_num_threads() // 2))

    def decode(rows: range) -> UInt8[Tensor, "n 3 s s"]:
        with decoders:  # channels stay last, as images have them and convolutions want them
            pixels = np.stack([preprocess.pixels(images[row]).permute(1, 2, 0).numpy() for row in rows])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    if parallel:
        # Several small batches side by side, one a core, wait for nobody; one batch on all cores has them meet after
        # every operation, and decoders beside it would take a core from each meeting.
        yield from _on_each_core(lambda rows: encode(rows, decode(rows)), batches)
    else:
        yield from map(encode, batches, _on_each_core(decode, batches))


def _on_each_core(work: Callable[[range], Tensor], batches: list[range]) -> Iterator[Tensor]:
    """``map(work, batches)`` with one thread a core, few batches ahead of what is asked for."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "encode", initializer=torch.set_num_threads, initargs=(1,))
    ahead: deque[Future[Tensor]] = deque()
    try:
        for rows in batches:
            ahead.append(pool.submit(work, rows))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        # After an error, or when the caller stops early, nobody wants what is still queued.
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what the workers set for themselves is also what a new thread begins with


def _identity(
    model: Model, dataset: Dataset, protocol: str, preprocess: Preprocess, prompts: Prompts
) -> Mapping[str, str]:
    size, mean, std = preprocess.size, preprocess.mean, preprocess.std
    return {
        "model": model.spec,
        **{f"model_{key}": value for key, value in model.identity.items()},
        "dataset": dataset.spec,
        "dataset_fingerprint": dataset.fingerprint,
        "dataset_skipped": str(len(dataset.skipped)),
        "protocol": protocol,
        "preprocess": f"{preprocess.interpolation} {size}, centre crop, mean {mean}, std {std}",
        "templates": " | ".join(prompts.templates),
        "prompts": hashlib.sha256("\n".join(prompts.texts()).encode()).hexdigest(),
    }
