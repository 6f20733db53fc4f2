"""The card of each neuron: what the tables say of it, and the one form in which it is shown.

The page shows the same card with and without scripts. The buttons of a card are disabled, so that
without scripts they are plain text; the page's script enables those that lead to a neuron.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from purescope import formats
from purescope.report.neurons import TOWERS, Details, ModelNeurons
from purescope.report.pieces import Piece, text
from purescope.tables import schemas
from purescope.tables.columns import VOCABULARY
from purescope.tables.results import Results

IMAGES = 4  # images of a dataset at each end of the activations
_CLASSES = 4  # classes whose recall changes most
_WORDS = 5  # words of a dataset or vocabulary

_SHOWN = (
    schemas.EXAMPLES,
    schemas.WORDS,
    schemas.IMPORTANCE,
    schemas.CLASS_IMPORTANCE,
    schemas.ORDERS,
)

_HEADER = (
    '<header><h4><button type="button" data-neuron="{0}" disabled>Neuron {0}</button></h4>'
    '<p>rank {1} of {2}, {3}</p></header><dl class="towers">'
)
_TOWER = "<div><dt>{0} tower</dt><dd><b>{1}</b> overlap, {2}"
_NEAREST = (
    '<div class="near"><span aria-hidden="true">nearest, by cosine</span> '
    '<ul aria-label="nearest neurons in the {0} tower, with their cosine">'
)
_NEAR = (
    '<li><button type="button" data-neuron="{0}" aria-label="Neuron {0}, cosine {1}" disabled>'
    "{0} <small>({1})</small></button></li>"
)
_END_NEAREST, _END_TOWER, _END_TOWERS = "</ul></div>", "</dd></div>", "</dl>"
_WORDS_LINE = '<p class="words"><span>Words</span> <span>{0} ({1})'
_WORD, _END_WORDS = ", {0} ({1})", "</span></p>"
_SETS, _END_SETS = '<div class="sets">', "</div>"
_DATASET = '<section class="seen"><header><h5>{0}</h5></header>'
_END_DATASET = "</section>"
_STRIPS, _END_STRIPS = '<div class="strips">', "</div>"
_STRIP = (
    '<div class="strip {0}"><span aria-hidden="true">{0}</span>'
    '<ul class="thumbs" aria-label="images that activate it {0}">'
)
_END_STRIP = "</ul></div>"
_THUMB = (
    '<li class="thumb t{0}-{1}" role="img" title="{2}, activation {3}" '
    'aria-label="{2}, activation {3}"></li>'
)
_NO_THUMB = '<li class="thumb none" title="image {0}: {1}, activation {2}">{1}</li>'
_CLASSES_LINE, _CLASS, _END_CLASSES = "<p>Classes: {0}", ", {0}", "</p>"
_LOST = '<p>Lost without it: <span class="lost">{0} ({1})</span></p>'
_RECALL, _AND_RECALL, _END_RECALL = "<p>Recall lost by class: {0} {1}", ", {0} {1}", " points</p>"


def model_cards(
    model: ModelNeurons,
    datasets: Sequence[str],
    details: Mapping[str, Details],
    shown: Container[str],
) -> list[list[Piece]]:
    """Write the card of each neuron of a model, by the neurons' own numbering.

    Args:
        model: the model.
        datasets: names of the datasets.
        details: what the cards show, see `card_details`.
        shown: style rules of the thumbnails that are on the page; a card names the class of every
            other image.
    """
    ranks, label = model.data["rank"], text(model.label)
    by_place = {
        place: own | {"names": [text(name) for name in own["names"]]}
        for place in range(len(datasets) + 1)
        if (own := details.get(f"{model.number}/{place}"))
    }
    vocabulary = by_place.pop(len(datasets), {})
    sets = [(place, text(datasets[place]), own) for place, own in by_place.items()]
    return [
        [
            (_HEADER, (neuron, rank, len(ranks), label)),
            *(piece for tower in TOWERS for piece in _tower(tower, model.data[tower], neuron)),
            (_END_TOWERS, ()),
            *_listed(
                [(vocabulary["names"][word], score) for word, _, score in words],
                (_WORDS_LINE, _WORD, _END_WORDS),
            ),
            (_SETS, ()),
            *(piece for own in sets for piece in _dataset(*own, neuron, shown)),
            (_END_SETS, ()),
        ]
        for neuron, rank in enumerate(ranks)
        for words in [_at(vocabulary, "words", neuron)]
    ]


def _listed(values: Sequence[tuple[object, ...]], forms: tuple[str, str, str]) -> Iterator[Piece]:
    """Write a list with its forms for the first value, for each other one, and for the end."""
    first, other, end = forms
    for place, each in enumerate(values):
        yield (other if place else first), each
    if values:
        yield end, ()


def _tower(tower: str, own: Details, neuron: int) -> Iterator[Piece]:
    """Write the overlap, the purity and the nearest neurons in one tower."""
    yield _TOWER, (tower, own["overlap"][neuron], own["purity"][neuron])
    if near := _at(own, "near", neuron):
        yield _NEAREST, (tower,)
        for other, cosine in near:
            yield _NEAR, (other, cosine)
        yield _END_NEAREST, ()
    yield _END_TOWER, ()


def _dataset(
    place: int, dataset: str, own: Details, neuron: int, shown: Container[str]
) -> Iterator[Piece]:
    """Write what one dataset says of a neuron; nothing where no table has it."""
    names = own["names"]
    most, least, words, lost, recall = (
        _at(own, name, neuron) for name in ("most", "least", "words", "lost", "classes")
    )
    if not (most or least or words or lost or recall):
        return
    yield _DATASET, (dataset,)
    if most or least:
        yield _STRIPS, ()
        yield from _strip("most", place, most, names, shown)
        yield from _strip("least", place, least, names, shown)
        yield _END_STRIPS, ()
    yield from _listed(
        [(names[word],) for word, *_ in words], (_CLASSES_LINE, _CLASS, _END_CLASSES)
    )
    if lost:
        yield _LOST, (*lost,)
    yield from _listed(
        [(names[name], drop) for name, drop in recall], (_RECALL, _AND_RECALL, _END_RECALL)
    )
    yield _END_DATASET, ()


def _strip(
    end: str, place: int, entries: list[list[Any]], names: list[str], shown: Container[str]
) -> Iterator[Piece]:
    """Write the images at one end of the activations."""
    if not entries:
        return
    yield _STRIP, (end,)
    for image, name, activation in entries:
        if f"t{place}-{image}" in shown:
            yield _THUMB, (place, image, names[name], activation)
        else:
            yield _NO_THUMB, (image, names[name], activation)
    yield _END_STRIP, ()


def _at(own: Details, name: str, neuron: int) -> Any:
    """Return the entry of a neuron in a list; nothing where the list or the entry is missing."""
    entries = own.get(name, ())
    return entries[neuron] if neuron < len(entries) else ()


def card_details(folder: Results) -> dict[str, Details]:
    """Return what the cards show for each model and dataset, by "model/dataset" as numbers.

    The number after the last dataset is that of the general vocabulary.
    """
    details = {}
    for number, model in enumerate(folder.models):
        for place, dataset in enumerate([*folder.datasets, VOCABULARY]):
            own = _details(*(folder.pair(schema, model, dataset) for schema in _SHOWN))
            if own:
                details[f"{number}/{place}"] = own
    return details


def _details(
    examples: pd.DataFrame,
    words: pd.DataFrame,
    importance: pd.DataFrame,
    classes: pd.DataFrame,
    orders: pd.DataFrame,
) -> Details:
    """Return what the cards of a model show for one dataset, as lists over the neurons.

    Returns:
        ``most`` and ``least``: [image, name, activation as text] of each example; ``words``: [name,
        score, score as text]; ``drop``, ``low`` and ``high``: accuracy lost without the neuron;
        ``lost``: the loss and its interval as text; ``classes``: [name, recall lost as text];
        ``orders``: all neurons by strategy, those that are kept first; ``names``: classes and
        words, by number.
    """
    numbers: dict[str, int] = {}

    def numbered(texts: Iterable[Any]) -> list[int]:
        return [numbers.setdefault(str(text), len(numbers)) for text in texts]

    parts: Details = {}
    if len(examples):
        near = examples[examples.place.abs() <= IMAGES].sort_values("place", key=abs)
        for end, rows in (("most", near[near.place > 0]), ("least", near[near.place < 0])):
            activations = [formats.plain(value, 4) for value in rows.activation]
            parts[end] = _by_neuron(
                rows.neuron, rows.image.to_list(), numbered(rows["class"]), activations
            )
    if len(words):
        words = words[words.place <= _WORDS].sort_values("place")
        scores = words.score.round(4).to_list()
        shown = [formats.plain(score, 1) for score in scores]
        parts["words"] = _by_neuron(words.neuron, numbered(words.word), scores, shown)
    if len(importance):
        importance = importance[importance.ablation == importance.ablation.iloc[0]]
        importance = importance.sort_values("neuron")
        columns = [importance[name].to_list() for name in ("accuracy_drop", "low", "high")]
        parts |= dict(zip(("drop", "low", "high"), columns, strict=True))
        texts = zip(*(map(formats.points, column) for column in columns), strict=True)
        parts["lost"] = [[f"{drop} points", f"{low} to {high}"] for drop, low, high in texts]
    if len(classes):
        classes = classes[classes.ablation == classes.ablation.iloc[0]]
        classes = classes.sort_values("recall_drop", key=lambda drop: -drop.abs(), kind="stable")
        classes = classes.groupby("neuron").head(_CLASSES)
        classes = classes.assign(text=[formats.points(drop, 0) for drop in classes.recall_drop])
        classes = classes[classes.text != formats.points(0.0, 0)]
        parts["classes"] = _by_neuron(classes.neuron, numbered(classes["class"]), classes.text)
    if len(orders):
        kept = orders.sort_values("place", kind="stable").groupby("strategy", sort=False)
        parts["orders"] = {str(name): rows.neuron.to_list() for name, rows in kept}
    return parts | {"names": [*numbers]} if parts else {}


def _by_neuron(neurons: Iterable[Any], *columns: Iterable[Any]) -> list[list[Any]]:
    """Collect the rows of each neuron, in their order; a row has one value of each column."""
    numbers = [int(neuron) for neuron in neurons]
    lists: list[list[Any]] = [[] for _ in range(max(numbers, default=-1) + 1)]
    for neuron, row in zip(numbers, zip(*columns, strict=True), strict=True):
        lists[neuron].append([*row])
    return lists
