"""Which class is taken for which, at each k."""

from collections.abc import Iterator
from typing import TypeAlias

import pandas as pd
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from purescope.datasets.dataset import make_names_unique
from purescope.maths.accuracy import best_other_by_k
from purescope.parallel import on_each_core
from purescope.studies.settings import PURITY
from purescope.studies.sweeps import Measured
from purescope.tables.files import check_table
from purescope.tables.schema import STRINGS
from purescope.tables.schemas import CONFUSIONS

# A strategy, its order, its ks, and which images it gets right at each.
_Answers: TypeAlias = tuple[str, Int64[Tensor, " neuron"], list[int], Bool[Tensor, "k image"]]


def confusion_table(measured: Measured) -> pd.DataFrame:
    """How many images of each class were taken for each class:
    `purescope.tables.schemas.CONFUSIONS`.

    For all neurons, for high and low purity as far as they were swept, and for the first random
    order. What is right is what the sweep found right, so the share of images on the diagonal is
    its accuracy, exactly.

    Args:
        measured: the sweep of a model on a data set.
    """
    features, options = measured.features, measured.options
    labels, classes = features.labels, len(features.text)
    names = pd.array(make_names_unique(features.classes), dtype=STRINGS)

    def count(answers: _Answers) -> pd.DataFrame:
        strategy, order, ks, right = answers
        others = best_other_by_k(
            features.image,
            features.text,
            labels,
            order,
            ks,
            renormalise=options.renormalise,
            dropped=measured.bench.dropped,
        )[0]
        parts = []
        for k, right_at_k, other in zip(ks, right, others, strict=True):
            cells, counts = (labels * classes + torch.where(right_at_k, labels, other)).unique(
                return_counts=True
            )
            columns = {
                "strategy": strategy,
                "k": k,
                "truth": names[(cells // classes).numpy()],
                "predicted": names[(cells % classes).numpy()],
                "count": counts.numpy(),
            }
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    table = pd.concat([*on_each_core(count, _answers(measured))], ignore_index=True)
    return check_table(table.assign(model=features.model, dataset=features.dataset), CONFUSIONS)


def _answers(measured: Measured) -> Iterator[_Answers]:
    bench, ks = measured.bench, list(measured.ks)
    yield "full", torch.arange(bench.neurons), [bench.neurons], measured.full_right[None]
    for name in PURITY:
        if name in measured.strategies:
            right = measured.right[measured.strategies.index(name)]
            yield name, bench.order(name), ks, right
    if len(measured.draws):
        yield "random", bench.random_orders(1)[0], ks, measured.random.first_right
