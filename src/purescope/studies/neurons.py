"""What single neurons are like, in tables from which a page can show them.

Of each neuron: its overlaps and ranks, the images that activate it most and least, the words
closest to it, the strategies that keep it, its cosines with the others. Everything that is shown of
a neuron comes from here, so that a reader of the tables needs neither model nor images.
"""

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float16, Int64
from torch import Tensor

from purescope.datasets.dataset import make_names_unique
from purescope.datasets.prompts import vocabulary
from purescope.errors import InputError, near_miss
from purescope.features.cache import Cache
from purescope.features.extraction import text_features
from purescope.features.features import Features
from purescope.maths.bases import BASES
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import (
    Projections,
    centre,
    cosine_gram,
    overlap,
    purity,
    total_overlap,
)
from purescope.maths.strategies import order_neurons
from purescope.models.model import Model
from purescope.parallel import on_each_core
from purescope.studies.confusions import confusion_table
from purescope.studies.importance import importance_tables
from purescope.studies.sweeps import Measured
from purescope.tables.columns import VOCABULARY
from purescope.tables.cosines import TOWERS
from purescope.tables.files import check_table
from purescope.tables.schema import STRINGS
from purescope.tables.schemas import (
    CLASS_IMPORTANCE,
    CONFUSIONS,
    EXAMPLES,
    IMPORTANCE,
    NEURONS,
    ORDERS,
    WORDS,
)


def neuron_table(projections: Projections, *, measures: Iterable[str] = ()) -> pd.DataFrame:
    """One row a neuron, purest first, in the experiment's order.

    Columns: ``rank`` (1 = purest), ``neuron`` (index), ``image_overlap``, ``text_overlap`` (0 to
    1), ``total_overlap`` (the experiment's score), ``image_purity``, ``text_purity`` (from 1 up).
    NaN where a neuron is dead.

    Args:
        projections: both towers'.
        measures: more columns, ``image_NAME`` and ``text_NAME`` of each name in
            `purescope.maths.measures.MEASURES`.

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
    columns = {
        "image_overlap": overlap(image),
        "text_overlap": overlap(text),
        "total_overlap": total_overlap(projections),
        "image_purity": purity(image),
        "text_purity": purity(text),
    }
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
    """Cosines of the neurons of each tower, ``image`` and ``text``, in their own numbering; 0 for a
    dead one.

    Half precision: a thousandth of a cosine is more than a picture shows.

    Examples:
        >>> import torch
        >>> cosine_maps(Projections(torch.eye(2), torch.ones(2, 3)))["text"].tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    return {tower: cosine_gram(getattr(projections, tower)).half().numpy() for tower in TOWERS}


EXAMPLES_EACH = 5  # images at either end

_NUMBERS = 1 << 20  # that a core takes at a time, of a copy of some neurons' activations


def example_table(features: Features) -> pd.DataFrame:
    """The `EACH` images at either end of each neuron: `purescope.tables.schemas.EXAMPLES`; of equal
    ones the lower index.

    Of fewer images, all stand at both ends.
    """
    images, neurons = features.image.shape
    each = min(EXAMPLES_EACH, images)
    found = _ends(features.image, each)
    activation = features.image.T[torch.arange(neurons)[:, None, None], found]
    places = torch.arange(1, each + 1)
    index = pd.MultiIndex.from_product(
        [range(neurons), torch.stack([places, -places]).flatten().tolist()],
        names=["neuron", "place"],
    )
    chosen = found.flatten()
    table = pd.DataFrame(
        {"image": chosen, "activation": activation.flatten().double()}, index=index
    ).reset_index()
    names = pd.array(features.classes, dtype=STRINGS)
    table["class"] = names[features.labels[chosen].numpy()]
    return check_table(table.assign(model=features.model, dataset=features.dataset), EXAMPLES)


def _ends(image: Float[Tensor, "image neuron"], each: int) -> Int64[Tensor, "neuron 2 each"]:
    """The images at the upper and at the lower end of each neuron."""

    def of_some(block: Tensor) -> Tensor:
        rows = block.T.contiguous()
        return torch.stack([_largest(rows, each), _largest(-rows, each)], dim=1)

    neurons = max(1, min(64, _NUMBERS // len(image)))
    return torch.cat([*on_each_core(of_some, image.split(neurons, dim=1))])


def _largest(rows: Float[Tensor, "neuron image"], count: int) -> Int64[Tensor, "neuron count"]:
    """Where they are in each row, from the largest on; of equal ones the lower index, which topk
    does not promise.
    """
    near = rows >= rows.topk(count).values[:, -1:]
    if near.sum() == count * len(rows):
        columns = near.nonzero()[:, 1].view(-1, count)
        return columns.gather(
            1, rows.gather(1, columns).argsort(dim=1, descending=True, stable=True)
        )
    return rows.argsort(dim=1, descending=True, stable=True)[:, :count]


def neuron_portraits(label: str, projections: Projections | None, *, seed: int = 0) -> pd.DataFrame:
    """The model's neurons, purest first, beside what random weights overlap:
    `purescope.tables.schemas.NEURONS`.

    Args:
        label: the model's.
        projections: None gives no rows.
        seed: of the random weights.
    """
    if projections is None:
        return check_table(pd.DataFrame(columns=list(NEURONS.columns)), NEURONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dead neurons, which the sweep has told
        table = neuron_table(projections)
    generator = torch.Generator().manual_seed(seed)
    for tower, weights in (("image", projections.image), ("text", projections.text)):
        drawn = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
        table[f"{tower}_random"] = overlap(drawn).sort().values.numpy()
    return check_table(table.assign(model=label), NEURONS)


def order_table(measured: Measured) -> pd.DataFrame:
    """The neurons in the order of each strategy that was swept: `purescope.tables.schemas.ORDERS`.

    A strategy that looks at labels is fitted on all images here; the sweep fits it on one half and
    judges it on the other.

    Args:
        measured: the sweep of a model on a data set.
    """
    features, bench = measured.features, measured.bench
    names = [name for name in measured.strategies if name not in BASES]
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


WORDS_EACH = 8  # words of a neuron


def word_table(
    text: Float[Tensor, "word neuron"], words: Sequence[str], *, model: str, dataset: str
) -> pd.DataFrame:
    """The `EACH` words that activate each neuron most beyond what words do:
    `purescope.tables.schemas.WORDS`.

    The score is the activation by a word less the neuron's mean over all words, in their standard
    deviations: most neurons lean to one side whatever is said. Of equal words the first is closer;
    a neuron that tells none apart has none.

    Args:
        text: unit rows, one for each word; two or more.
        words: no two the same.
        model, dataset: names for the table.
    """
    deviation = centre(text.T, "words")
    spread = deviation.square().mean(dim=1, keepdim=True).sqrt()
    tells = (spread[:, 0] > 0).nonzero()[:, 0]
    scores = deviation[tells] / spread[tells]
    each = min(WORDS_EACH, len(words))
    closest = scores.argsort(dim=1, descending=True, stable=True)[:, :each]
    table = pd.DataFrame(
        {
            "model": model,
            "dataset": dataset,
            "neuron": tells.repeat_interleave(each).numpy(),
            "place": torch.arange(1, each + 1).repeat(len(tells)).numpy(),
            "word": pd.array(words, dtype=STRINGS)[closest.flatten().numpy()],
            "score": scores.gather(1, closest).flatten().numpy(),
        }
    )
    return check_table(table, WORDS)


def vocabulary_table(
    model: Model, protocol: str, cache: Cache | str | os.PathLike[str] | None = None
) -> pd.DataFrame:
    """`word_table` of a general vocabulary, see `purescope.datasets.prompts.vocabulary`; once a
    model, a thousand sentences.

    Args:
        model: whose text tower says what a word activates.
        protocol: whose plain template the words are put into, ``native`` or ``paper``.
        cache: a folder where features are kept, as for `purescope.features.extraction.extract`.
    """
    words = vocabulary(protocol)
    return word_table(
        text_features(model, words, cache), words.names, model=model.label, dataset=VOCABULARY
    )


PORTRAIT = (IMPORTANCE, CLASS_IMPORTANCE, CONFUSIONS, EXAMPLES, WORDS, ORDERS)
"""What `portrait` gives."""


def portrait(measured: Measured) -> dict[str, pd.DataFrame]:
    """What a sweep was made of, neuron by neuron and class by class.

    Args:
        measured: the sweep of a model on a data set; its ablation and seed are those of the
            importance too.

    Returns:
        The tables `PORTRAIT` by name, see `purescope.tables.schemas`. Classes of one name are told
        apart by a number.

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
