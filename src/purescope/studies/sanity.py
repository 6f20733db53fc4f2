"""Is a result what it seems? Confusions of classes, doubts about class names, and other options.

Class names and labels come from different files for most datasets. If their orders differ, nothing
fails; only the accuracy is low. But the confusions then have a pattern that weak models do not
have: the images of each class are called by one other name, which differs from class to class. So
another assignment of names to labels is right far more often. Such an assignment is searched for on
one half of the images and tested on the other. On the same images the search would find one by
chance, and the more classes, the better it would look.
"""

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from purescope.datasets.dataset import make_names_unique
from purescope.features.features import Features
from purescope.maths.accuracy import apart, distinct_rows
from purescope.maths.cells import ABLATIONS, count_dtype, halves, mean_over_k
from purescope.maths.measures import MEASURES
from purescope.maths.scores import TOWERS
from purescope.maths.significance import against_chance, percentile_of, permutation_p
from purescope.studies.bench import Bench
from purescope.studies.settings import PURITY
from purescope.studies.sweeps import Measured
from purescope.tables.columns import SPACES
from purescope.tables.files import check_table
from purescope.tables.schema import STRINGS, stack_tables
from purescope.tables.schemas import CONFUSIONS, VARIANTS

# Another assignment is reported if it is right so much more often that weakness does not explain
# it. Honest results of the bundled pair, of 7 % to 78 % accuracy, gain at most 8 points and a
# factor of 1.8. With names shuffled or shifted by one, they exceed one of these limits wherever a
# class has two images.
_POINTS, _TIMES = 0.15, 2.5
_STANDARD_ERRORS = 3
# A class should have a right image if five would be right at mean accuracy.
_EXPECTED_RIGHT = 5

_BATCH = 4096  # images
_NAMES_SHOWN = 3
VARIANT_DRAWS = 100  # random orders, where those of the sweep were evaluated with other options

# A strategy, its order, its ks, and which images it gets right at each k.
_Answers: TypeAlias = tuple[str, Int64[Tensor, " neuron"], list[int], Bool[Tensor, "k image"]]


def confusion_table(measured: Measured) -> pd.DataFrame:
    """Count the images of each class that are taken for each class.

    The strategies are all neurons, high and low purity as far as they were swept, and the first
    random order. The sweep decides which images are right, so the fraction of images on the
    diagonal is exactly its accuracy.

    Args:
        measured: the sweep of a model on a dataset.

    Returns:
        The table `purescope.tables.schemas.CONFUSIONS`.
    """
    features, bench = measured.features, measured.bench
    classes = len(features.text)
    labels = features.labels.to(count_dtype(classes**2))  # holds each pair of classes as a number
    names = pd.array(make_names_unique(features.classes), dtype=STRINGS)

    def count(answers: _Answers) -> pd.DataFrame:
        strategy, order, ks, right = answers
        found = []
        for is_right, other in zip(right, bench.best_others(order, ks), strict=True):
            pairs = labels * classes + torch.where(is_right, labels, other.to(labels.dtype))
            found.append(pairs.unique(return_counts=True))
        cells, counts = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        columns = {
            "strategy": strategy,
            "k": np.repeat(ks, [len(pairs) for pairs, _ in found]),
            "truth": names[cells // classes],
            "predicted": names[cells % classes],
            "count": counts,
        }
        return pd.DataFrame(columns)

    table = stack_tables([*bench.for_each(count, _answers(measured))])
    return check_table(table.assign(model=features.model, dataset=features.dataset), CONFUSIONS)


def _answers(measured: Measured) -> Iterator[_Answers]:
    bench = measured.bench
    yield "full", torch.arange(bench.neurons), [bench.neurons], measured.full_right[None]
    for name in PURITY:
        if name in measured.strategies:
            yield name, bench.order(name), bench.ks, measured.right_of(name)
    if len(measured.draws):
        (first,) = bench.random_orders(1)
        yield "random", first, bench.ks, measured.random.first_right


def doubts(features: Features) -> list[str]:
    """Return what looks wrong with the zero-shot result of these features, as sentences.

    Most results have none of these:

    - Accuracy that cannot be told from chance, one in the number of classes, or is below it.
    - Classes with recall 0 that have enough images for five of them to be right at mean accuracy.
    - Another assignment of names to labels that would raise accuracy by 15 points or to 2.5 times,
      and by more than chance explains. The search is greedy, so the best assignment may raise it
      further. With fewer than two images in each class none is found.

    Examples:
        >>> eye = torch.eye(3).repeat(20, 1)
        >>> labels = torch.arange(60) % 3
        >>> names = ("cat", "dog", "owl")
        >>> doubts(Features(eye, torch.eye(3), labels, names))
        []
        >>> swapped = Features(eye, torch.eye(3)[[1, 0, 2]], labels, names)
        >>> for doubt in doubts(swapped):
        ...     print(doubt)
        accuracy 33.3 % of 60 images cannot be told from chance, 33.3 % for 3 classes:
        no verdict or average counts it
        recall is 0 for 2 of 3 classes: 'cat', 'dog'
        accuracy 33.3 % would be 100.0 % or more with the names in another order,
        images of 'cat' called 'dog', of 'dog' called 'cat': are the class names in the right order?
    """
    predicted = predictions(features.image, features.text)
    sentences = (
        _doubt_of_chance(features, predicted),
        _doubt_of_recall(features, predicted),
        _doubt_of_names(features, predicted),
    )
    return [sentence for sentence in sentences if sentence]


def predictions(
    image: Float[Tensor, "image neuron"], text: Float[Tensor, "class neuron"]
) -> Int64[Tensor, " image"]:
    """Return the class with the largest logit of each image."""
    text = apart(text)
    first, _ = distinct_rows(text)  # the first of classes with equal features, as everywhere
    return first[torch.cat([(batch @ text[first].T).argmax(1) for batch in image.split(_BATCH)])]


def _doubt_of_chance(features: Features, predicted: Tensor) -> str:
    images, classes = len(predicted), len(features.classes)
    accuracy, chance = _fraction(predicted == features.labels), 1 / classes
    position = against_chance(accuracy, chance, images)
    if position == "above":
        return ""
    verdict = "cannot be told from chance" if position == "at chance" else "is below chance"
    return (
        f"accuracy {_percent(accuracy)} of {images:,} images {verdict}, {_percent(chance)} for "
        f"{classes:,} classes: no verdict or average counts it"
    )


def _doubt_of_recall(features: Features, predicted: Tensor) -> str:
    right, classes = predicted == features.labels, len(features.classes)
    sizes = features.labels.bincount(minlength=classes)
    hits = features.labels[right].bincount(minlength=classes)
    never_right = (hits == 0) & (sizes * _fraction(right) >= _EXPECTED_RIGHT)
    labels = never_right.nonzero()[:, 0].tolist()
    if not labels:
        return ""
    names = ", ".join(repr(features.classes[label]) for label in labels[:_NAMES_SHOWN])
    more = ", ..." if len(labels) > _NAMES_SHOWN else ""
    return f"recall is 0 for {len(labels)} of {classes} classes: {names}{more}"


def _doubt_of_names(features: Features, predicted: Tensor) -> str:
    labels, classes = features.labels, len(features.classes)
    right = predicted == labels
    renamed_right = torch.zeros_like(right)
    half = halves(labels)
    for fitted in (0, 1):
        names = assign_names(labels[half == fitted], predicted[half == fitted], classes)
        renamed_right |= (half != fitted) & (predicted == names[labels])
    accuracy, other = _fraction(right), _fraction(renamed_right)
    gained, lost = int((renamed_right & ~right).sum()), int((right & ~renamed_right).sum())
    is_significant = gained - lost > _STANDARD_ERRORS * math.sqrt(gained + lost)  # McNemar's test
    if not is_significant or other < min(accuracy + _POINTS, accuracy * _TIMES):
        return ""
    moved = [
        (features.classes[label], features.classes[name])
        for label, name in enumerate(assign_names(labels, predicted, classes).tolist())
        if name not in (label, -1)
    ]
    pairs = ", ".join(f"of {label!r} called {name!r}" for label, name in moved[:_NAMES_SHOWN])
    return (
        f"accuracy {_percent(accuracy)} would be {_percent(other)} or more with the names in "
        f"another order, images {pairs}: are the class names in the right order?"
    )


def assign_names(
    labels: Int64[Tensor, " image"], predicted: Int64[Tensor, " image"], classes: int
) -> Int64[Tensor, " class"]:
    """Assign a name to each label, each name once, so that many images are called by it.

    The pair of label and predicted name with the most images is taken first. Among equal pairs it
    is a class's own name, then the lower label. This is greedy, so it is not always the best
    assignment. A label without images keeps its own name if no other label has it, and otherwise
    has none: -1.

    Examples:
        >>> assign_names(torch.tensor([0, 0, 1, 1]), torch.tensor([2, 2, 1, 0]), classes=4)
        tensor([ 2,  1, -1,  3])
    """
    pairs, counts = torch.unique(labels * classes + predicted, return_counts=True)
    own = pairs % (classes + 1) == 0  # label * classes + label
    by_count = pairs[(2 * counts + own).argsort(descending=True, stable=True)].tolist()
    names: dict[int, int] = {}
    taken: set[int] = set()
    for label, name in (divmod(pair, classes) for pair in by_count):
        if label not in names and name not in taken:
            names[label] = name
            taken.add(name)
    return torch.tensor(
        [names.get(label, -1 if label in taken else label) for label in range(classes)]
    )


def _fraction(right: Tensor) -> float:
    return float(right.double().mean())


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def variant_table(measured: Measured) -> pd.DataFrame:
    """Evaluate high, low and random with one option of the experiment changed at a time.

    The options are the measure of overlap, how the towers are joined, the space, the value of
    dropped neurons, and whether class features are renormalised. The last two do not go together,
    so where one differs from the experiment the other is not varied. The first row is the sweep
    itself.

    Returns:
        The table `purescope.tables.schemas.VARIANTS`.
    """
    bench, options = measured.bench, measured.options
    swept = mean_over_k(measured.draws[:, :, 0], bench.ks)
    orders = bench.purity_orders(options.measure, options.towers)
    rows = [_variant(bench, "as swept", "", orders, swept)]
    for name in MEASURES:
        if name != options.measure:
            others = bench.purity_orders(name, options.towers)
            rows.append(_variant(bench, "measure", name, others, swept))
    for name in TOWERS:
        if name != options.towers:
            others = bench.purity_orders(options.measure, name)
            rows.append(_variant(bench, "towers", name, others, swept))
    for space in SPACES:
        if space != options.space and (space != "weights" or bench.projections is not None):
            in_space = bench.with_options(space=space)
            others = in_space.purity_orders(options.measure, options.towers)
            rows.append(_variant(bench, "space", space, others, swept))
    # The other options change the evaluation, so random orders are evaluated again.
    changes: list[tuple[str, str, object]] = []
    if not options.renormalise:
        others_of = [name for name in ABLATIONS if name != options.ablation]
        changes += [("ablation", name, name) for name in others_of]
    if options.ablation == "zero":
        renormalise = not options.renormalise
        changes.append(("renormalise", str(renormalise).lower(), renormalise))
    random = bench.random_orders(VARIANT_DRAWS)
    for option, choice, value in changes:
        other = bench.with_options(**{option: value})
        rows.append(_variant(other, option, choice, orders, other.areas_on_each_core(random)))
    table = pd.DataFrame(rows, columns=list(VARIANTS.columns))
    features = measured.features
    return check_table(table.assign(model=features.model, dataset=features.dataset), VARIANTS)


def _variant(
    bench: Bench, option: str, choice: str, orders: Tensor, random: Tensor
) -> dict[str, object]:
    """Return the areas of the orders of high and low purity, and their place among random ones."""
    high, low = bench.areas(orders)
    row = {
        "option": option,
        "choice": choice,
        "high": high.item(),
        "low": low.item(),
        "draws": len(random),
    }
    if not len(random):
        return row
    return row | {
        "random": random.mean().item(),
        "percentile": percentile_of(high, random).item(),
        "permutation_p": permutation_p(high, random).item(),
    }
