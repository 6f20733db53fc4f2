"""Describe single neurons in tables from which a page can show them.

The tables hold for each neuron its overlaps and ranks, the images that activate it most and least,
as thumbnails too, the words closest to it, its place in the order of each strategy, and its cosines
with the other neurons. A reader of the tables needs neither the model nor the images.
"""

import io
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float16, Int64
from PIL import Image
from torch import Tensor

from purescope.datasets.dataset import Dataset, make_names_unique
from purescope.datasets.prompts import vocabulary
from purescope.errors import DatasetError, InputError, near_miss
from purescope.features.cache import Cache
from purescope.features.extraction import Progress, quiet, text_features
from purescope.features.features import Features
from purescope.files.npz import TOWERS
from purescope.maths.bases import is_basis
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import (
    Projections,
    centre,
    cosine_gram,
    neuron_scores,
    overlap,
)
from purescope.maths.strategies import order_neurons
from purescope.models.model import Model
from purescope.parallel import on_each_core, per_turn
from purescope.studies.importance import importance_tables
from purescope.studies.sanity import confusion_table
from purescope.studies.sweeps import Measured
from purescope.tables.columns import VOCABULARY
from purescope.tables.files import check_table
from purescope.tables.schema import STRINGS, stack_tables
from purescope.tables.schemas import (
    CLASS_IMPORTANCE,
    CONFUSIONS,
    EXAMPLES,
    IMPORTANCE,
    NEURONS,
    ORDERS,
    THUMBNAILS,
    WORDS,
)

EXAMPLES_EACH = 5  # images at each end of a neuron
WORDS_EACH = 8  # words of a neuron
SIDE = 48  # pixels of the longer side of a thumbnail

_QUALITY = 50  # of WebP: a drawing or photograph of 48 pixels takes about 500 bytes
_BLOCK = 1 << 18  # numbers that a core copies at a time of some neurons' activations

PORTRAIT = (IMPORTANCE, CLASS_IMPORTANCE, CONFUSIONS, EXAMPLES, WORDS, ORDERS)
"""The schemas of the tables that `portrait` returns."""


def neuron_table(projections: Projections, *, measures: Iterable[str] = ()) -> pd.DataFrame:
    """Return one row for each neuron, purest first, in the experiment's order.

    Args:
        projections: projections of both towers.
        measures: names in `purescope.maths.measures.MEASURES`, each of which adds the columns
            ``image_NAME`` and ``text_NAME``.

    Returns:
        Columns ``rank`` (1 = purest), ``neuron`` (index), ``image_overlap``, ``text_overlap`` (0 to
        1), ``total_overlap`` (the experiment's score), ``image_purity``, ``text_purity`` (from 1
        up). NaN where a neuron is dead.

    Raises:
        InputError: a measure is unknown.

    Examples:
        >>> import torch
        >>> table = neuron_table(Projections(torch.eye(2), torch.ones(2, 3)), measures=["linf"])
        >>> table.neuron.tolist(), table.image_linf.tolist(), table.text_linf.tolist()
        ([0, 1], [0.0, 0.0], [1.0, 1.0])
    """
    order = order_neurons(projections, "high_purity")
    image, text = projections.image, projections.text
    columns = neuron_scores(projections)
    for name in measures:
        if name not in MEASURES:
            raise InputError(f"unknown measure {name!r}", **near_miss(name, MEASURES))
        columns |= {
            f"image_{name}": MEASURES[name].of(image),
            f"text_{name}": MEASURES[name].of(text),
        }
    table = pd.DataFrame({name: values[order].numpy() for name, values in columns.items()})
    table.insert(0, "neuron", order.numpy())
    table.insert(0, "rank", range(1, len(order) + 1))
    return table


def cosine_maps(projections: Projections) -> dict[str, Float16[np.ndarray, "neuron neuron"]]:
    """Return the cosines between the neurons of each tower, ``image`` and ``text``.

    Rows and columns are neurons by index; a dead neuron has cosine 0 with all. Half precision is
    enough: a picture does not show a thousandth of a cosine.

    Examples:
        >>> import torch
        >>> cosine_maps(Projections(torch.eye(2), torch.ones(2, 3)))["text"].tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    return {tower: cosine_gram(getattr(projections, tower)).half().numpy() for tower in TOWERS}


def example_table(features: Features) -> pd.DataFrame:
    """Return the `EXAMPLES_EACH` images at both ends of each neuron.

    Of images with equal activations the one of lower index comes first. If there are fewer images,
    all stand at both ends.

    Returns:
        The table `purescope.tables.schemas.EXAMPLES`.
    """
    images, neurons = features.image.shape
    each = min(EXAMPLES_EACH, images)
    examples = _images_at_ends(features.image, each)
    activation = features.image.T[torch.arange(neurons)[:, None, None], examples]
    places = torch.arange(1, each + 1)
    index = pd.MultiIndex.from_product(
        [range(neurons), torch.stack([places, -places]).flatten().tolist()],
        names=["neuron", "place"],
    )
    image = examples.flatten()
    table = pd.DataFrame(
        {"image": image, "activation": activation.flatten().double()}, index=index
    ).reset_index()
    names = pd.array(features.classes, dtype=STRINGS)
    table["class"] = names[features.labels[image].numpy()]
    return check_table(table.assign(model=features.model, dataset=features.dataset), EXAMPLES)


def _images_at_ends(
    image: Float[Tensor, "image neuron"], each: int
) -> Int64[Tensor, "neuron 2 each"]:
    """Return the images at the upper and at the lower end of each neuron."""
    # In place: small results among large copies would leave holes in memory.
    ends = torch.empty(image.shape[1], 2, each, dtype=torch.int64)

    def find(places: slice) -> None:
        rows = image[:, places].T.clone(memory_format=torch.contiguous_format)
        ends[places, 0] = _largest(rows, each)
        ends[places, 1] = _largest(rows.neg_(), each)

    count = per_turn(_BLOCK, len(image), most=64)
    parts = [slice(start, start + count) for start in range(0, image.shape[1], count)]
    for _ in on_each_core(find, parts):
        pass
    return ends


def _largest(rows: Float[Tensor, "neuron image"], count: int) -> Int64[Tensor, "neuron count"]:
    """Return the places of the largest values in each row, in descending order.

    Of equal values the one of lower index comes first, which topk does not promise; and topk copies
    16 bytes for each value.
    """
    smallest = np.partition(rows.numpy(), -count, axis=1)[:, -count]
    is_large = rows >= torch.from_numpy(smallest)[:, None]
    if is_large.sum() == count * len(rows):
        columns = is_large.nonzero()[:, 1].view(-1, count)
        descending = rows.gather(1, columns).argsort(dim=1, descending=True, stable=True)
        return columns.gather(1, descending)
    return rows.argsort(dim=1, descending=True, stable=True)[:, :count]


def thumbnail_table(
    examples: pd.DataFrame, sets: Iterable[Dataset], *, progress: Progress = quiet
) -> pd.DataFrame:
    """Return a thumbnail of every image that stands among the examples.

    Args:
        examples: rows of `purescope.tables.schemas.EXAMPLES`, of any models.
        sets: datasets that have images; each example is read once more.
        progress: wraps the reading, for a progress bar.

    Returns:
        The table `purescope.tables.schemas.THUMBNAILS`.

    Warns:
        UserWarning: an image cannot be read any more; it has no thumbnail.
    """
    tables = [pd.DataFrame(columns=list(THUMBNAILS.columns))]
    for dataset in sets:
        images = sorted({int(image) for image in examples.image[examples.dataset == dataset.name]})
        label = f"Thumbnails of {dataset.name}"
        files = [*progress(_thumbnails(dataset, images), label, len(images))]
        columns = {"dataset": dataset.name, "image": images, "thumbnail": files}
        table = pd.DataFrame(columns)
        missing = table.thumbnail.isna()
        if missing.any():
            what = f"{missing.sum()} image{'s' if missing.sum() > 1 else ''} of {dataset.name}"
            first = table.image[missing].iloc[0]
            warnings.warn(f"{what} cannot be shown, first {first}", stacklevel=2)
        tables.append(table[~missing])
    return check_table(stack_tables(tables), THUMBNAILS)


def thumbnail(image: Image.Image) -> bytes:
    """Return a WebP file of the image, with sides of at most `SIDE` pixels.

    Transparent parts become white.

    Examples:
        >>> len(thumbnail(Image.new("RGB", (640, 480), "red"))) < 200
        True
    """
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")  # a copy, because the next line works in place
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, method=2)
    return file.getvalue()


def _thumbnails(dataset: Dataset, images: Sequence[int]) -> Iterable[bytes | None]:
    def make(index: int) -> bytes | None:
        try:
            return thumbnail(dataset.images[index])
        except DatasetError:
            return None

    return on_each_core(make, images)


def neuron_portraits(label: str, projections: Projections | None, *, seed: int = 0) -> pd.DataFrame:
    """Return the model's neurons, purest first, beside the overlaps of random weights.

    Args:
        label: label of the model.
        projections: projections of the model; None gives no rows.
        seed: seed of the random weights.

    Returns:
        The table `purescope.tables.schemas.NEURONS`.
    """
    if projections is None:
        return check_table(pd.DataFrame(columns=list(NEURONS.columns)), NEURONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dead neurons, because the sweep has warned
        table = neuron_table(projections)
    generator = torch.Generator().manual_seed(seed)
    for tower, weights in (("image", projections.image), ("text", projections.text)):
        random = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
        table[f"{tower}_random"] = overlap(random).sort().values.numpy()
    return check_table(table.assign(model=label), NEURONS)


def order_table(measured: Measured) -> pd.DataFrame:
    """Return the neurons in the order of each strategy that was swept.

    A strategy that uses labels is fitted on all images here; the sweep fits it on one half and
    evaluates it on the other.

    Args:
        measured: the sweep of a model on a dataset.

    Returns:
        The table `purescope.tables.schemas.ORDERS`.
    """
    features, bench = measured.features, measured.bench
    names = [name for name in measured.strategies if not is_basis(name)]
    orders = [bench.order(name) for name in names]
    table = pd.DataFrame(
        {
            "model": features.model,
            "dataset": features.dataset,
            "strategy": pd.array(names, dtype=STRINGS).repeat(bench.neurons),
            "place": torch.arange(1, bench.neurons + 1).repeat(len(names)).numpy(),
            "neuron": torch.cat([torch.empty(0, dtype=torch.int64), *orders]).numpy(),
        }
    )
    return check_table(table, ORDERS)


def word_table(
    text: Float[Tensor, "word neuron"], words: Sequence[str], *, model: str, dataset: str
) -> pd.DataFrame:
    """Return the `WORDS_EACH` words that activate each neuron most, relative to other words.

    The score is the activation by a word minus the neuron's mean over all words, in units of their
    standard deviation, because most neurons lean to one side whatever the word. Of equal words the
    first is closer; a neuron with the same activation for all words has none.

    Args:
        text: unit rows, one for each word; two or more.
        words: the words, all different.
        model, dataset: names for the table.

    Returns:
        The table `purescope.tables.schemas.WORDS`.
    """
    deviation = centre(text.T, "words")
    spread = deviation.square().mean(dim=1, keepdim=True).sqrt()
    varying = (spread[:, 0] > 0).nonzero()[:, 0]
    scores = deviation[varying] / spread[varying]
    each = min(WORDS_EACH, len(words))
    closest = scores.argsort(dim=1, descending=True, stable=True)[:, :each]
    table = pd.DataFrame(
        {
            "model": model,
            "dataset": dataset,
            "neuron": varying.repeat_interleave(each).numpy(),
            "place": torch.arange(1, each + 1).repeat(len(varying)).numpy(),
            "word": pd.array(words, dtype=STRINGS)[closest.flatten().numpy()],
            "score": scores.gather(1, closest).flatten().numpy(),
        }
    )
    return check_table(table, WORDS)


def vocabulary_table(
    model: Model, protocol: str, cache: Cache | str | os.PathLike[str] | None = None
) -> pd.DataFrame:
    """Return `word_table` of a general vocabulary, see `purescope.datasets.prompts.vocabulary`.

    It encodes a thousand sentences, once for each model.

    Args:
        model: the model whose text tower encodes the words.
        protocol: ``native`` or ``paper``; the words are put into its plain template.
        cache: a folder where features are kept, as for `purescope.features.extraction.extract`.
    """
    words = vocabulary(protocol)
    return word_table(
        text_features(model, words, cache), words.names, model=model.label, dataset=VOCABULARY
    )


def portrait(measured: Measured) -> dict[str, pd.DataFrame]:
    """Describe a sweep neuron by neuron and class by class.

    Args:
        measured: the sweep of a model on a dataset; importance uses its ablation and seed.

    Returns:
        The tables `PORTRAIT` by name, see `purescope.tables.schemas`. Classes of the same name get
        a number.

    Raises:
        InputError: the projections are of another number of neurons.
    """
    features = replace(measured.features, classes=make_names_unique(measured.features.classes))
    options = measured.options
    importance, of_classes = importance_tables(
        features, measured.bench.projections, ablation=options.ablation, seed=options.seed
    )
    changed = of_classes.recall_drop.notna() & (of_classes.recall_drop != 0)
    return {
        "importance": check_table(importance.reindex(columns=list(IMPORTANCE.columns)), IMPORTANCE),
        "class_importance": check_table(of_classes[changed], CLASS_IMPORTANCE),
        "confusions": confusion_table(measured),
        "examples": example_table(features),
        "words": word_table(
            features.text, features.classes, model=features.model, dataset=features.dataset
        ),
        "orders": order_table(measured),
    }
