"""The pairs of classes whose count changes most when neurons are dropped."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from purescope import formats

_CHANGES = 6  # pairs of classes that are confused more often, and as many confused less often


@dataclass(frozen=True)
class Change:
    """A pair of classes, and how many images are confused.

    Args:
        truth, predicted: the classes.
        full: number of images with all neurons.
        count: number of images with k neurons.
    """

    truth: str
    predicted: str
    full: int
    count: int

    @property
    def kind(self) -> str:
        """The class of its HTML element: whether there are more images, or fewer."""
        return "more" if self.count > self.full else "less"

    @property
    def difference(self) -> str:
        """The change in the number of images, with its sign."""
        return formats.minus(f"{self.count - self.full:+d}")


def confusion_changes(table: pd.DataFrame) -> dict[str, list[Change]]:
    """Return the pairs of classes whose count changes most, by "strategy/k".

    Args:
        table: the confusions of one model and dataset.

    Returns:
        Up to `_CHANGES` pairs that are confused more often, and as many that are confused less
        often.
    """
    pairs = table.groupby(["truth", "predicted"], sort=True)
    pair_of_row = pairs.ngroup().to_numpy()
    names = [(str(truth), str(predicted)) for truth, predicted in pairs.size().index]
    images = table["count"].to_numpy()
    kept: Any = table.groupby(["strategy", "k"], sort=False).indices
    counts = {
        (str(strategy), k): np.bincount(pair_of_row[rows], images[rows], len(names)).astype(int)
        for (strategy, k), rows in kept.items()
    }
    none = np.zeros(len(names), int)
    full = sum((count for (name, _), count in counts.items() if name == "full"), none)
    changes = {}
    for (strategy, k), count in counts.items():
        if strategy == "full":
            continue
        change = count - full
        more, less = np.argsort(-change, kind="stable"), np.argsort(change, kind="stable")
        ends = [i for i in more[:_CHANGES] if change[i] > 0]
        ends += [i for i in less[:_CHANGES] if change[i] < 0]
        changes[f"{strategy}/{k}"] = [
            Change(truth, predicted, int(full[i]), int(count[i]))
            for i in ends
            for truth, predicted in [names[i]]
        ]
    return changes
