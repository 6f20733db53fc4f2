"""What a card says of a neuron, by number instead of by name, so that names stand on the page once.

Cards give activations, scores and cosines to four decimals, since there are tens of thousands;
tables have them whole.

Which pairs of classes are confused more, and which less, than with all neurons, is told by number,
too.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from purescope.tables import schemas
from purescope.tables.results import Results

NEAREST = 6  # neurons
SHOWN = 4  # images at each end of a data set
_CHANGED = 4  # classes whose recall changes most
_WORDS = 5

Details = dict[str, Any]


def neurons_of(folder: Results, model: str) -> Details:
    """All neurons of a model, by their own numbering: columns, place in the null, and who is near.

    ``rank``, ``total_overlap``, and for each tower: ``overlap``, ``purity``, ``below`` (per cent of
    random neurons whose overlap is larger; none for a dead neuron), ``near`` (the neurons of
    largest absolute cosine) and ``cosine`` (theirs).
    """
    table = folder.rows(schemas.NEURONS)
    table = table[table.model == model].sort_values("neuron")
    if table.empty:
        return {}
    found: Details = {
        "rank": table["rank"].to_list(),
        "total_overlap": table.total_overlap.to_list(),
    }
    for tower in ("image", "text"):
        overlap, null = (
            table[f"{tower}_overlap"].to_numpy(float),
            table[f"{tower}_random"].dropna().to_numpy(float),
        )
        tower_details: Details = {
            "overlap": overlap.tolist(),
            "purity": table[f"{tower}_purity"].to_list(),
        }
        if len(null):
            tower_details["below"] = _larger(null, overlap)
            tower_details["null"] = [float(null.min()), float(null.max())]
        if model in folder.cosines:
            near, cosine = _nearest(folder.cosines[model][tower])
            tower_details |= {"near": near.tolist(), "cosine": _short(cosine)}
        found[tower] = tower_details
    return found


def details_of(folder: Results, model: str, dataset: str) -> Details:
    """What a data set says of each neuron of a model: ``names`` (of classes or words) and lists
    over the neurons.

    ``most`` and ``least``: [image, name, activation] each; ``words``: [name, score]; ``drop``,
    ``low``, ``high``: accuracy lost without it; ``classes``: [name, recall lost]. And ``orders``:
    by strategy, which is kept first.
    """
    names = _Names()
    parts: Details = {}
    examples = folder.pair(schemas.EXAMPLES, model, dataset)
    if len(examples):
        for end, rows in (
            ("most", examples[examples.place > 0]),
            ("least", examples[examples.place < 0]),
        ):
            rows = rows[rows.place.abs() <= SHOWN].sort_values("place", key=abs)
            triples = zip(
                rows.image.to_list(),
                names.numbers(rows["class"]),
                _short(rows.activation),
                strict=True,
            )
            parts[end] = _by_neuron(
                rows.neuron, ([int(image), name, value] for image, name, value in triples)
            )
    words = folder.pair(schemas.WORDS, model, dataset)
    if len(words):
        words = words[words.place <= _WORDS].sort_values("place")
        pairs = zip(names.numbers(words.word), _short(words.score), strict=True)
        parts["words"] = _by_neuron(words.neuron, map(list, pairs))
    importance = folder.pair(schemas.IMPORTANCE, model, dataset)
    if len(importance):
        importance = importance[importance.ablation == importance.ablation.iloc[0]].sort_values(
            "neuron"
        )
        parts |= {
            "drop": importance.accuracy_drop.to_list(),
            "low": importance.low.to_list(),
            "high": importance.high.to_list(),
        }
    classes = folder.pair(schemas.CLASS_IMPORTANCE, model, dataset)
    if len(classes):
        classes = classes[classes.ablation == classes.ablation.iloc[0]]
        classes = classes.sort_values("recall_drop", key=lambda drop: -drop.abs(), kind="stable")
        classes = classes.groupby("neuron").head(_CHANGED)
        pairs = zip(names.numbers(classes["class"]), _short(classes.recall_drop), strict=True)
        parts["classes"] = _by_neuron(classes.neuron, map(list, pairs))
    orders = folder.pair(schemas.ORDERS, model, dataset).sort_values("place", kind="stable")
    if len(orders):
        parts["orders"] = {
            str(name): part.neuron.to_list()
            for name, part in orders.groupby("strategy", sort=False)
        }
    return parts | {"names": names.texts} if parts else {}


class _Names:
    """Texts by number, each once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def texts(self) -> list[str]:
        return list(self._numbers)

    def numbers(self, texts: Iterable[Any]) -> list[int]:
        return [self._numbers.setdefault(str(text), len(self._numbers)) for text in texts]


def _by_neuron(neurons: Iterable[Any], items: Iterable[Any]) -> list[list[Any]]:
    """The items of each neuron, in the order they come."""
    numbers = [int(neuron) for neuron in neurons]
    found: list[list[Any]] = [[] for _ in range(max(numbers, default=-1) + 1)]
    for neuron, item in zip(numbers, items, strict=True):
        found[neuron].append(item)
    return found


def _nearest(cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each neuron the others of largest absolute cosine, and those cosines."""
    size = np.abs(cosines)
    np.fill_diagonal(size, -1.0)
    near = np.argsort(-size, axis=1, kind="stable")[:, : min(NEAREST, len(cosines) - 1)]
    return near, np.take_along_axis(cosines, near, axis=1)


def _larger(null: np.ndarray, overlap: np.ndarray) -> list[float | None]:
    """Per cent of the random overlaps above each one, to a decimal; 0 and 100 are none and all of
    them.
    """
    count = len(null) - np.searchsorted(np.sort(null), overlap, side="right")
    tenths = np.clip((1000 * count / len(null)).round(), np.sign(count), 999 + (count == len(null)))
    return [
        None if dead else value
        for value, dead in zip((tenths / 10).tolist(), np.isnan(overlap), strict=True)
    ]


def _short(values: Any) -> Any:
    return np.asarray(values, dtype=float).round(4).tolist()


def thumbnails_by_need(details: Mapping[str, Details], first: Mapping[str, list[int]]) -> list[int]:
    """The images of one data set, those of the cards that always show first, then by how near the
    ends they stand.

    Args:
        details: of each model on the data set.
        first: of each model, the neurons whose cards always show.
    """
    needed: dict[int, None] = {}
    for model, part in details.items():
        for end in ("most", "least"):
            lists = part.get(end, [])
            for neuron in first.get(model, []):
                if neuron < len(lists):
                    needed |= {entry[0]: None for entry in lists[neuron]}
    for place in range(SHOWN):
        for part in details.values():
            for end in ("most", "least"):
                needed |= {
                    entries[place][0]: None for entries in part.get(end, []) if len(entries) > place
                }
    return list(needed)


EACH = 6  # pairs


def confusion_changes(folder: Results) -> dict[str, dict[str, list[list[Any]]]]:
    """By "model/data set" and then "strategy/k", in numbers: [truth, predicted, with all neurons,
    then].

    The pairs whose count changed most, `EACH` of those that are confused more and as many of those
    confused less.
    """
    table = folder.rows(schemas.CONFUSIONS)
    table = table[table.truth != table.predicted]
    found: dict[str, dict[str, list[list[Any]]]] = {}
    for (model, dataset), part in table.groupby(["model", "dataset"], sort=False):
        pairs = part.groupby(["truth", "predicted"], sort=True)
        of_row = pairs.ngroup().to_numpy()
        names = [[str(truth), str(predicted)] for truth, predicted in pairs.size().index]
        counts, strategy, k = part["count"].to_numpy(), part.strategy.to_numpy(), part.k.to_numpy()

        def counted(
            rows: np.ndarray, size: int = len(names), of_row: Any = of_row, counts: Any = counts
        ) -> np.ndarray:
            return np.bincount(of_row[rows], counts[rows], minlength=size).astype(int)

        full = counted(strategy == "full")
        place = f"{folder.models.index(str(model))}/{folder.datasets.index(str(dataset))}"
        kept = part[part.strategy != "full"][["strategy", "k"]].drop_duplicates()
        found[place] = {
            f"{name}/{number}": _changes(names, full, counted((strategy == name) & (k == number)))
            for name, number in kept.itertuples(index=False)
        }
    return found


def _changes(names: list[list[str]], full: np.ndarray, then: np.ndarray) -> list[list[Any]]:
    change = then - full
    more, less = np.argsort(-change, kind="stable")[:EACH], np.argsort(change, kind="stable")[:EACH]
    ends = [*(at for at in more if change[at] > 0), *(at for at in less if change[at] < 0)]
    return [[*names[at], int(full[at]), int(then[at])] for at in ends]
