"""Fit the axes of a model or of embeddings by name, and write the rotated model."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from purescope.datasets.dataset import Dataset
from purescope.errors import InputError, ModelError
from purescope.features.clip_retrieval import IMAGE, TEXT
from purescope.features.extraction import Progress, quiet
from purescope.features.features import Features
from purescope.files.writing import refuse_existing
from purescope.maths.overlaps import Projections
from purescope.maths.scores import StrategyInput
from purescope.models import find_towers
from purescope.models.convert import own_form, write_towers
from purescope.models.model import Model, no_encoder
from purescope.models.towers import Towers
from purescope.reduce.collections.vectors import Vectors, open_vectors
from purescope.reduce.cutting import cut, require_last_maps
from purescope.reduce.fitting import Moments, Sums, fit_to_moments
from purescope.reduce.forms.table import compare_copy
from purescope.reduce.forms.writing import new_folder
from purescope.reduce.rotation import FILE, Rotation, fit_rotation, write_rotation
from purescope.runs.inputs import (
    Settings,
    Sources,
    dataset_name,
    features_of,
    named_model,
    open_data,
)
from purescope.specs import split_label, to_folder, to_path

_log = logging.getLogger("purescope")
_FEATURES = "features:"
_FILES = (".npz", ".safetensors")  # of features, with texts and labels
_BLOCK = 1 << 13  # rows of features at a time


@dataclass(frozen=True)
class Fit:
    """How axes are fitted.

    Args:
        axes: ``svd``, ``cross``, ``pca`` or ``random_rotation``, or a band of one, such as
            ``svd@8``, see `purescope.maths.bases.make_basis`.
        data: datasets, or embeddings as ``features:PATH``, to fit to in place of the weights.
        part: the share of the images or embeddings to fit to, above 0 and at most 1.
        seed: the seed of the part, and of axes that are drawn.
        normalise: scale each embedding to length 1 before.
        column, array: name the vectors in files that hold several.
    """

    axes: str = "svd"
    data: Sequence[str | Dataset | Features] = ()
    part: float = 1.0
    seed: int = 0
    normalise: bool = True
    column: str | None = None
    array: str | None = None


def rebase(
    model: str | None = None,
    *,
    out: str | Path,
    axes: str = "svd",
    data: Sequence[str | Dataset | Features] = (),
    fit_on: float = 1.0,
    seed: int = 0,
    normalise: bool = True,
    column: str | None = None,
    array: str | None = None,
    sources: Sources | None = None,
    progress: Progress = quiet,
) -> Rotation:
    """Rotate the embedding of a model, so that its first dimensions keep most; no logit changes.

    The folder gets the rotated model in its own safe form, as `purescope convert` writes it, and
    ``rotation.safetensors``, which rotates embeddings that exist already. Without a model it gets
    only that file, fitted to the embeddings. No mean is taken away, which would change products.

    Args:
        model: its name, as in `purescope.load_model`; None for embeddings alone.
        out: the folder, which does not exist or is empty. It appears when it is complete.
        axes: ``svd`` keeps the most of the squared length of the weights, or of the embeddings in
            `data`; ``cross`` the most of the products of both towers; ``pca`` the most of the
            variance of the images in `data`. ``svd@8`` puts the 8 strongest axes last.
        data: datasets to fit the axes to, in place of the weights; or embeddings: ``features:FILE``
            (.npz or .safetensors, see `purescope.read_features`), and ``features:PATH`` of vectors
            alone, in any file that `purescope.shrink` reads, a folder of them, or a folder of
            clip-retrieval.
        fit_on: the share of the images or embeddings to fit to, drawn by the seed.
        seed: the seed of `fit_on`, and of axes that are drawn.
        normalise: scale embeddings to length 1 before they are fitted to; those of a model always
            are.
        column: the column of vectors in a table that has several.
        array: the array of vectors in a ``.npz`` or ``.safetensors`` file, which is then read for
            that array only.
        sources: where and how models and data are read.
        progress: as in `purescope.extract`.

    Returns:
        The rotation, its `spectrum` and its `recipe`.

    Raises:
        ModelError: the model cannot be loaded, or does not end in linear maps.
        InputError: the axes are unknown, or need data that is missing.
        OutputError: the folder is not empty, or cannot be written.

    Examples:
        >>> import tempfile, torch
        >>> import numpy as np
        >>> rows = np.array([[3.0, 4.0], [6.0, 8.0], [0.0, 1.0]], dtype=np.float32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "mine.npy"), rows)
        ...     mine = rebase(data=[f"features:{folder}/mine.npy"], out=Path(folder, "rotated"))
        >>> mine.spectrum.round(decimals=2), mine.apply(torch.tensor([[3.0, 4.0]]))
        (tensor([0.9100, 0.0900]), tensor([[0.9802, 0.1979]]))
    """
    folder = to_folder(out).resolve()
    refuse_existing(folder)
    fit = Fit(axes, data, fit_on, seed, normalise, column, array)
    sources = sources or Sources()
    if model is None:
        rotation = _fit_alone(fit, sources)
        with new_folder(folder) as unfinished:
            write_rotation(rotation, unfinished / FILE)
        return rotation
    towers, label = open_towers(model, sources)
    require_last_maps(towers)
    rotation = fit_axes(model, label, towers, fit, sources, progress)
    with new_folder(folder) as unfinished:
        rotated = cut(towers, rotation)
        write_towers(rotated, unfinished)
        write_rotation(rotation, unfinished / FILE)
        _log.info("checking the copy")
        compare_copy(own_form(towers), rotated, unfinished)
    return rotation


def open_towers(model: str, sources: Sources) -> tuple[Towers, str]:
    """Load the towers of a model by its name, and its label."""
    label, name = split_label(model)
    towers, default = find_towers(name, arch=sources.arch, offline=sources.offline)
    return towers, default if label is None else label


def fit_axes(
    model: str, label: str, towers: Towers, fit: Fit, sources: Sources, progress: Progress
) -> Rotation:
    """Fit axes to the weights of a model, or to its embeddings of data.

    Raises:
        ModelError: a tower has no weights to fit to, and there is no data.
        InputError: the axes are unknown, or the data is not of this model.
    """
    recipe = {"model": label, "model_weights": towers.identity["weights"]}
    if not fit.data:
        if not isinstance(towers.weight_space, Projections):
            raise ModelError(
                f"{label}: {towers.weight_space}",
                expected="weights at the end of both towers, to find axes in",
                fix="find them in embeddings: --data DATASET (data=[...])",
            )
        given = StrategyInput(towers.weight_space)
        rotation = fit_rotation(fit.axes, given, seed=fit.seed)
        return _with_recipe(rotation, recipe | {"fitted_on": "weights", "seed": str(fit.seed)})
    if any(map(_needs_model, fit.data)):
        maker = named_model(model, sources)
    else:  # embeddings are there, and only have to be of this model
        maker = _describe(model, label, towers)
    collections = [_open(item, fit, sources, maker, progress) for item in fit.data]
    return _fit_collections(collections, fit, recipe)


def _describe(spec: str, label: str, towers: Towers) -> Model:
    """Return a model without its encoders."""
    return Model(
        label=label,
        spec=spec,
        weight_space=towers.weight_space,
        neurons=towers.neurons,
        preprocess=towers.preprocess,
        encode_image=no_encoder,
        encode_text=no_encoder,
        identity=towers.identity,
    )


def _fit_alone(fit: Fit, sources: Sources) -> Rotation:
    """Fit axes to embeddings, without a model.

    Raises:
        ModelError: some data is images.
        InputError: there is no data.
    """
    if not fit.data:
        raise InputError(
            "no MODEL and no --data",
            expected="a model, or embeddings to fit axes to",
            fix="purescope rebase MODEL, or --data features:PATH",
        )
    if any(map(_needs_model, fit.data)):
        raise ModelError(
            "no MODEL was named",
            expected="one; none only if all --data are features:PATH",
            fix="`purescope models` lists what can be named",
        )
    collections = [_open(item, fit, sources, None, quiet) for item in fit.data]
    return _fit_collections(collections, fit, {})


# Hands embeddings ``[row, neuron]`` to a function, block by block.
_Feed: TypeAlias = Callable[[Callable[[Tensor], None]], None]


@dataclass(frozen=True)
class _Collection:
    """Embeddings of images, or of anything, and of texts."""

    name: str
    identity: str
    image: _Feed
    text: _Feed | None


def _needs_model(item: str | Dataset | Features) -> bool:
    if isinstance(item, str):
        return not split_label(item)[1].startswith(_FEATURES)
    return isinstance(item, Dataset)


def _open(
    item: str | Dataset | Features,
    fit: Fit,
    sources: Sources,
    maker: Model | None,
    progress: Progress,
) -> _Collection:
    """Open embeddings, or make them of a dataset.

    Args:
        item: the data.
        fit: names the column or array of vectors.
        sources: where and how to read.
        maker: the model that makes the embeddings, or has made them; None if none is named.
        progress: as in `rebase`.

    Raises:
        InputError: they are not of this model, as far as they say.
    """
    if isinstance(item, str) and (vectors := _open_vectors(item, fit)):
        name, image, text = vectors
        _check_width(name, image.neurons, maker)
        return _Collection(name, "", _feed_of(image), None if text is None else _feed_of(text))
    data = open_data(item, sources, alone=maker is None)
    features = data
    if maker is not None:
        # Any protocol will do: axes are fitted to whatever rows there are.
        protocol = data.identity.get("protocol", "native") if isinstance(data, Features) else ""
        settings = Settings(protocol=protocol or "native")
        features = features_of(maker, data, settings, sources, progress)
    if not isinstance(features, Features):
        raise ModelError("images without a MODEL", expected="a model to encode them")
    identity = features.identity.get("dataset_fingerprint", "")
    feeds = (partial(_feed, rows.split(_BLOCK)) for rows in (features.image, features.text))
    return _Collection(dataset_name(data), identity, *feeds)


def _feed(blocks: Iterable[Tensor], take: Callable[[Tensor], None]) -> None:
    for block in blocks:
        take(block)


def _feed_of(vectors: Vectors) -> _Feed:
    return lambda take: vectors.each_block(lambda block: take(torch.from_numpy(block)))


def _open_vectors(item: str, fit: Fit) -> tuple[str, Vectors, Vectors | None] | None:
    """Open ``features:PATH`` if it holds vectors and nothing else; None otherwise.

    A folder of clip-retrieval has those of images and those of texts. Without the name of an array,
    a ``.npz`` or ``.safetensors`` file holds features with texts and labels.

    Raises:
        InputError: there are none, or they cannot be read, or the widths of both differ.
    """
    label, name = split_label(item)
    path = to_path(name.removeprefix(_FEATURES))
    is_of_features = path.suffix.lower() in _FILES and fit.array is None
    if not name.startswith(_FEATURES) or is_of_features:
        return None
    named = {"column": fit.column, "array": fit.array}
    if not (path / IMAGE).is_dir():
        return label or path.name, open_vectors(path, **named), None
    image = open_vectors(path / IMAGE, **named)
    text = open_vectors(path / TEXT, **named) if (path / TEXT).is_dir() else None
    if text is not None and text.neurons != image.neurons:
        raise InputError(
            f"{path}: {image.neurons:,} dimensions in {IMAGE}, {text.neurons:,} in {TEXT}",
            expected="embeddings of one model",
        )
    return label or path.name, image, text


def _check_width(name: str, neurons: int, maker: Model | None) -> None:
    if maker is not None and neurons != maker.neurons:
        raise InputError(
            f"the embeddings of {name} have {neurons:,} dimensions, {maker.label} "
            f"{maker.neurons:,}",
            expected="embeddings that this model made",
            fix="name the model that made them, or no MODEL",
        )


def _fit_collections(
    collections: Sequence[_Collection], fit: Fit, recipe: dict[str, str]
) -> Rotation:
    """Fit axes to all collections together; each row has the same weight.

    Texts count only if all collections have some.
    """
    image, text = _sum_up(collections, fit)
    recipe |= {
        "fitted_on": ", ".join(collection.name for collection in collections),
        "fitted_on_fingerprints": " ".join(filter(None, (item.identity for item in collections))),
        "fitted_on_images": f"{image.rows} ({image.digest})",
        "fitted_on_texts": "none" if text is None else f"{text.rows} ({text.digest})",
        "part": f"{fit.part:g}",
        "seed": str(fit.seed),
        "rows": "of length 1" if fit.normalise else "as they are",
    }
    return _with_recipe(fit_to_moments(fit.axes, image, text, seed=fit.seed), recipe)


def _with_recipe(rotation: Rotation, recipe: Mapping[str, str]) -> Rotation:
    return replace(rotation, recipe={**rotation.recipe, **recipe})


def _sum_up(collections: Sequence[_Collection], fit: Fit) -> tuple[Moments, Moments | None]:
    images, texts = [], []
    for collection in collections:
        _log.info("%s: fitting the axes", collection.name)
        images.append(
            _moments(collection.image, Sums(normalise=fit.normalise, part=fit.part, seed=fit.seed))
        )
        if collection.text is not None:
            texts.append(
                _moments(collection.text, Sums(normalise=fit.normalise, part=1, seed=fit.seed))
            )
    widths = {len(moments.total): moments for moments in images}
    if len(widths) > 1:
        raise InputError(
            f"embeddings of {' and '.join(f'{width:,}' for width in widths)} dimensions",
            expected="embeddings of one model",
        )
    image = _add(images)
    return image, _add(texts) if len(texts) == len(images) else None


def _moments(feed: _Feed, sums: Sums) -> Moments:
    feed(sums.take)
    return sums.moments()


def _add(moments: Sequence[Moments]) -> Moments:
    total = moments[0]
    for more in moments[1:]:
        total = total + more
    return total
