"""Encoding a data set with a model, from a cache where it has been done before."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from purescope.datasets.dataset import Dataset
from purescope.datasets.images import Images, images_for
from purescope.datasets.prompts import Prompts, prompts_for
from purescope.errors import InputError
from purescope.features.cache import Cache, complete
from purescope.features.encoding import Halving, batch_length, encode_images
from purescope.features.entry import split
from purescope.features.features import Features, unit_rows
from purescope.models.model import OPENAI_PREPROCESS, Model, Preprocess

_SENTENCES = 256  # that the model gets at a time

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
    cache: Cache | str | os.PathLike[str] | None = None,
    progress: Progress = quiet,
) -> Features:
    """Encode every image and every class of a data set.

    Args:
        model: what to encode with.
        dataset: what to encode.
        protocol: ``native``, the checkpoint's own preprocess and the data set's own prompts; or
            ``paper``, OpenAI's preprocess at the model's own input size, and "a photo of a {}" with
            raw class names.
        batch_size: images that the model gets at a time; the result does not depend on it beyond
            rounding.
        cache: a folder where features are kept, to be read again or to go on with after an
            interruption.
        progress: wraps the batches that must be encoded, for a progress bar.

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
        A model that sees a red and a blue neuron in images, and in words:

        >>> from PIL import Image
        >>> from purescope.maths.overlaps import Projections
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
    cache = _opened(cache)
    prompts = prompts_for(dataset, protocol)
    preprocess = model.preprocess
    if protocol == "paper":
        # The paper's 224 is the input of its models; one that takes another size can be given no
        # other.
        preprocess = replace(OPENAI_PREPROCESS, size=model.preprocess.size, resize_first=True)
    name = f"{model.label} on {dataset.name}"
    start = time.perf_counter()
    text = text_features(model, prompts, cache)
    batch = batch_length(model, min(batch_size, len(dataset)))
    images = images_for(dataset.images, protocol)
    image = _image_rows(model, dataset, images, preprocess, cache, batch, progress, name)
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
    """One row a class: the mean over templates of unit text features, renormalised.

    Arguments and errors as of `extract`.
    """
    cache = _opened(cache)
    unit_rows_of = Halving(model.encode_text, model.label, "sentence")

    def encode(classes: range) -> Float[Tensor, "class neuron"]:
        texts = Prompts(prompts.names[classes.start : classes.stop], prompts.templates).texts()
        batches = split(range(len(texts)), _SENTENCES)
        rows = torch.cat(
            [unit_rows_of(batch, texts[batch.start : batch.stop]) for batch in batches]
        )
        return unit_rows(rows.unflatten(0, (len(classes), -1)).mean(dim=1))

    whole = range(len(prompts.names))
    if cache is None:
        return encode(whole)
    entry = cache.entry(
        "text",
        _weights(model) | {"prompts": _digest(prompts)},
        rows=len(whole),
        neurons=model.neurons,
        about={"model": model.label, "templates": " | ".join(prompts.templates[:3])},
    )
    return complete(entry, lambda batches: map(encode, batches), batch=len(whole))


def _opened(cache: Cache | str | os.PathLike[str] | None) -> Cache | None:
    return Cache(cache) if isinstance(cache, str | os.PathLike) else cache


def _image_rows(
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
    read = {} if images is dataset.images else {"read": "as protocol paper does"}
    entry = cache.entry(
        "images",
        _weights(model) | {"preprocess": str(preprocess), "dataset": dataset.fingerprint} | read,
        rows=len(dataset),
        neurons=model.neurons,
        about={"model": model.label, "dataset": dataset.name},
    )
    return complete(
        entry, encode, batch=batch, progress=lambda batches, total: progress(batches, name, total)
    )


def _weights(model: Model) -> dict[str, str]:
    """What a model's features depend on, whatever it is called and wherever it lies."""
    if "weights" not in model.identity:
        raise InputError(
            f"the identity of {model.label} has no hash of its weights",
            expected="identity['weights'], by which cached features are told from those of other "
            "models",
            fix="add one, or encode without a cache",
        )
    return {f"model_{key}": value for key, value in model.identity.items()}


def _digest(prompts: Prompts) -> str:
    return hashlib.sha256(json.dumps([prompts.names, prompts.templates]).encode()).hexdigest()


def _identity(
    model: Model, dataset: Dataset, protocol: str, preprocess: Preprocess, prompts: Prompts
) -> Mapping[str, str]:
    return {
        "model": model.spec,
        **{f"model_{key}": value for key, value in model.identity.items()},
        "dataset": dataset.spec,
        "dataset_fingerprint": dataset.fingerprint,
        "dataset_skipped": str(len(dataset.skipped)),
        "protocol": protocol,
        "preprocess": str(preprocess),
        "templates": " | ".join(prompts.templates),
        "prompts": _digest(prompts),
    }
