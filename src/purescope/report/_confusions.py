"""Which pairs of classes are confused more, and which less, than with all neurons."""

from typing import Any

import numpy as np

from purescope.tables import schemas
from purescope.tables.results import Folder

EACH = 6  # pairs


def confusion_changes(folder: Folder) -> dict[str, dict[str, list[list[Any]]]]:
    """By "model/data set" and then "strategy/k", in numbers: [truth, predicted, with all neurons, then].

    The pairs whose count changed most, `EACH` of those that are confused more and as many of those confused less.
    """
    table = folder.table(schemas.CONFUSIONS)
    table = table[table.truth != table.predicted]
    found: dict[str, dict[str, list[list[Any]]]] = {}
    for (model, dataset), part in table.groupby(["model", "dataset"], sort=False):
        pairs = part.groupby(["truth", "predicted"], sort=True)
        of_row = pairs.ngroup().to_numpy()
        names = [[str(truth), str(predicted)] for truth, predicted in pairs.size().index]
        counts, strategy, k = part["count"].to_numpy(), part.strategy.to_numpy(), part.k.to_numpy()

        def counted(rows: np.ndarray, size: int = len(names), of_row: Any = of_row, counts: Any = counts) -> np.ndarray:
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
