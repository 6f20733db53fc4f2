"""Encode a dataset with a model, and reuse what a cache holds already."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from purescope.datasets.dataset import Dataset
from purescope.datasets.images import Images, images_for
from purescope.datasets.prompts import Prompts, prompts_for
from purescope.errors import InputError
from purescope.features.cache import Cache, complete
from purescope.features.encoding import Encoder, batch_length, encode_images
from purescope.features.entry import split
from purescope.features.features import Features, unit_rows
from purescope.models.model import OPENAI_PREPROCESS, Model, Preprocess

_SENTENCES = 256  # sentences that the model gets at a time
_CLASSES = 1024  # classes that are encoded between two reports of progress: a shard of the cache

Progress: TypeAlias = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Returns an iterable and reports its progress; it gets the iterable, a label and the total."""


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
    check_batch_size(batch_size)
    cache = open_cache(cache)
    prompts = prompts_for(dataset, protocol)
    preprocess = model.preprocess
    if protocol == "paper":
        # 224 is the input size of the paper's models; a model of another size takes only its own.
        preprocess = replace(OPENAI_PREPROCESS, size=model.preprocess.size, resize_first=True)
    start = time.perf_counter()
    text = text_features(model, prompts, cache)
    images = images_for(dataset.images, protocol)
    # A part of the cache key.
    reading = {} if images is dataset.images else {"read": "as protocol paper does"}
    image_set = ImageSet(dataset.name, images, dataset.fingerprint, reading)
    image = image_features(model, image_set, preprocess, cache, batch_size, progress)
    check_same_space(model, image, text)
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
    model: Model,
    prompts: Prompts,
    cache: Cache | str | os.PathLike[str] | None = None,
    *,
    progress: Progress = quiet,
    name: str = "",
) -> Float[Tensor, "class neuron"]:
    """Return one row for each class: the mean over templates of unit text features, renormalised.

    Other arguments and errors as in `extract`.

    Args:
        name: a label for the progress.
    """
    cache = open_cache(cache)
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
        pieces = split(classes, _CLASSES)
        return torch.cat([*progress(map(encode, pieces), name, len(pieces))])
    entry = cache.entry(
        "text",
        _weights(model) | {"prompts": _digest(prompts)},
        rows=len(classes),
        neurons=model.neurons,
        about={"model": model.label, "templates": " | ".join(prompts.templates[:3])},
    )
    return complete(
        entry,
        lambda batches: map(encode, batches),
        batch=_CLASSES,
        progress=lambda batches, total: progress(batches, name, total),
    )


def check_batch_size(batch_size: int) -> None:
    """Refuse a batch size below 1.

    Raises:
        InputError: it is below 1.
    """
    if batch_size < 1:
        raise InputError(f"batch size {batch_size}", expected="at least 1")


def check_same_space(model: Model, image: Tensor, text: Tensor) -> None:
    """Refuse towers that end in spaces of different sizes.

    Raises:
        InputError: the numbers of neurons differ.
    """
    if image.shape[1] != text.shape[1]:
        raise InputError(
            f"{model.label} has {image.shape[1]} neurons for images, {text.shape[1]} for text",
            expected="the same number: both towers end in one space",
        )


def open_cache(cache: Cache | str | os.PathLike[str] | None) -> Cache | None:
    """Return a cache, given one or its folder."""
    return Cache(cache) if isinstance(cache, str | os.PathLike) else cache


@dataclass(frozen=True)
class ImageSet:
    """Hold the images of an entry of the cache.

    Args:
        name: the name of their dataset.
        images: gives the image at an index.
        fingerprint: a hash of their content.
        reading: another part of the key of the cache, for images that are read in another way.
    """

    name: str
    images: Images
    fingerprint: str
    reading: Mapping[str, str] = field(default_factory=dict)


def image_features(
    model: Model,
    image_set: ImageSet,
    preprocess: Preprocess,
    cache: Cache | None,
    batch_size: int,
    progress: Progress,
) -> Float[Tensor, "image neuron"]:
    """Return one unit row for each image; arguments and errors as in `extract`."""
    images = image_set.images
    batch = batch_length(model, min(batch_size, len(images)))
    name = f"{model.label} on {image_set.name}"

    def encode(batches: Iterable[range]) -> Iterator[Float[Tensor, "n neuron"]]:
        return encode_images(model, images, preprocess, batches, name=name)

    if cache is None:
        batches = split(range(len(images)), batch)
        return torch.cat([*progress(encode(batches), name, len(batches))])
    key = {"preprocess": str(preprocess), "dataset": image_set.fingerprint}
    entry = cache.entry(
        "images",
        _weights(model) | key | dict(image_set.reading),
        rows=len(images),
        neurons=model.neurons,
        about={"model": model.label, "dataset": image_set.name},
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
    return model_identity(model)


def model_identity(model: Model) -> dict[str, str]:
    """Return the properties of a model that affect its numbers, each after ``model_``."""
    return {f"model_{key}": value for key, value in model.identity.items()}


def _digest(prompts: Prompts) -> str:
    return hashlib.sha256(json.dumps([prompts.names, prompts.templates]).encode()).hexdigest()


def _identity(
    model: Model, dataset: Dataset, protocol: str, preprocess: Preprocess, prompts: Prompts
) -> Mapping[str, str]:
    return {
        "model": model.spec,
        **model_identity(model),
        "dataset": dataset.spec,
        "dataset_fingerprint": dataset.fingerprint,
        "dataset_skipped": str(len(dataset.skipped)),
        "protocol": protocol,
        "preprocess": str(preprocess),
        "templates": " | ".join(prompts.templates),
        "prompts": _digest(prompts),
    }
