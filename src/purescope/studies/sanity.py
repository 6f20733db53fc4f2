"""Is a result what it seems? Signs that class names stand in another order than the labels, or mean
nothing.

Class names and labels come from different files for most data sets, and nothing fails when their
orders differ: the accuracy is low, and that is all. Yet the confusions then have a pattern that
weak models do not have. Images of each class are called by one other name, a different one for each
class, so another assignment of names to labels is right far more often. Such an assignment is
looked for on one half of the images and judged on the other: on the same images it would find one
by chance, the more classes the better.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.features.features import Features
from purescope.maths.accuracy import distinct_rows
from purescope.maths.curves import halves
from purescope.maths.significance import against_chance

# When another assignment is right so much more often that weakness does not explain it. Honest
# results of the bundled pair, of 7 % to 78 % accuracy, could be lifted by 8 points and to 1.8 times
# at most; the same with names shuffled or shifted by one are beyond one of these limits wherever a
# class has two images.
_POINTS, _TIMES = 0.15, 2.5
_STANDARD_ERRORS = 3
_EXPECTED_RIGHT = (
    5  # a class is expected to have one right image if, at mean accuracy, it would have five
)

_BLOCK = 4096
_NAMED = 3


def doubts(features: Features) -> list[str]:
    """What looks wrong with the zero-shot result of these features, one sentence each; nothing for
    most results.

    - Accuracy that cannot be told from chance, one in the number of classes, or is below it.
    - Classes with recall 0 that have images enough for five of them to be right at mean accuracy.
    - Another assignment of names to labels that would lift accuracy by 15 points or to 2.5 times,
      and by more than chance explains. It is found greedily, so the best one may lift it further;
      with fewer than two images a class none is found.

    Examples:
        >>> eye = torch.eye(3).repeat(20, 1)
        >>> labels = torch.arange(60) % 3
        >>> names = ("cat", "dog", "owl")
        >>> doubts(Features(eye, torch.eye(3), labels, names, model="a", dataset="pets"))
        []
        >>> swapped = Features(eye, torch.eye(3)[[1, 0, 2]], labels, names, model="a", dataset="pets")
        >>> for doubt in doubts(swapped):
        ...     print(doubt)
        accuracy 33.3 % of 60 images cannot be told from chance, 33.3 % for 3 classes: no verdict or average counts it
        recall is 0 for 2 of 3 classes: 'cat', 'dog'
        accuracy 33.3 % would be 100.0 % or more with the names in another order, images of 'cat' called 'dog', of 'dog'
        called 'cat': are the class names in the right order?
    """
    predicted = predictions(features.image, features.text)
    found = (
        _chance(features, predicted),
        _never_right(features, predicted),
        _other_order(features, predicted),
    )
    return [doubt for doubt in found if doubt]


def predictions(
    image: Float[Tensor, "image neuron"], text: Float[Tensor, "class neuron"]
) -> Int64[Tensor, " image"]:
    """The class of each image with the largest logit."""
    first, _ = distinct_rows(text)  # of classes that share a feature the first, as everywhere
    return first[torch.cat([(block @ text[first].T).argmax(1) for block in image.split(_BLOCK)])]


def _chance(features: Features, predicted: Tensor) -> str:
    images, classes = len(predicted), len(features.classes)
    accuracy, chance = _share(predicted == features.labels), 1 / classes
    where = against_chance(accuracy, chance, images)
    if where == "above":
        return ""
    said = "cannot be told from chance" if where == "at chance" else "is below chance"
    return (
        f"accuracy {_percent(accuracy)} of {images:,} images {said}, {_percent(chance)} for "
        f"{classes:,} classes: no "
        f"verdict or average counts it"
    )


def _never_right(features: Features, predicted: Tensor) -> str:
    right = predicted == features.labels
    sizes = features.labels.bincount(minlength=len(features.classes))
    hits = features.labels[right].bincount(minlength=len(features.classes))
    never = ((hits == 0) & (sizes * _share(right) >= _EXPECTED_RIGHT)).nonzero()[:, 0].tolist()
    if not never:
        return ""
    names = ", ".join(repr(features.classes[label]) for label in never[:_NAMED])
    more = ", ..." if len(never) > _NAMED else ""
    return f"recall is 0 for {len(never)} of {len(features.classes)} classes: {names}{more}"


def _other_order(features: Features, predicted: Tensor) -> str:
    labels, classes = features.labels, len(features.classes)
    right = predicted == labels
    lifted = torch.zeros_like(right)
    half = halves(labels)
    for part in (0, 1):
        names = assign_names(labels[half == part], predicted[half == part], classes)
        lifted |= (half != part) & (predicted == names[labels])
    accuracy, other = _share(right), _share(lifted)
    gained, lost = int((lifted & ~right).sum()), int((right & ~lifted).sum())
    surely = gained - lost > _STANDARD_ERRORS * math.sqrt(gained + lost)  # McNemar's test
    if not surely or other < min(accuracy + _POINTS, accuracy * _TIMES):
        return ""
    moved = [
        (features.classes[label], features.classes[name])
        for label, name in enumerate(assign_names(labels, predicted, classes).tolist())
        if name not in (label, -1)
    ]
    pairs = ", ".join(f"of {label!r} called {name!r}" for label, name in moved[:_NAMED])
    return (
        f"accuracy {_percent(accuracy)} would be {_percent(other)} or more with the names in "
        f"another order, "
        f"images {pairs}: are the class names in the right order?"
    )


def assign_names(
    labels: Int64[Tensor, " image"], predicted: Int64[Tensor, " image"], classes: int
) -> Int64[Tensor, " class"]:
    """A name for each label, each name once, such that many images are called by it; greedy, so not
    always the most.

    The pair of label and predicted name with the most images is taken first; among equals a class's
    own name, then the lower label. A label without images keeps its own name if no other has it,
    and else has none: -1.

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


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
