"""A table of searches, made at random."""

import math
from itertools import product

import numpy as np
import pandas as pd

from purescope.tables.files import check_table
from purescope.tables.searches import SEARCHES

RNG = np.random.default_rng(0)


def made_searches(task: str = "same_label", dataset: str = "a_$b$") -> pd.DataFrame:
    """Return rows of two numbers of axes, three codes and both stages.

    Args:
        task: what the task measures; empty for none.
        dataset: the name of the dataset.
    """
    rows = []
    for k, (code, size), stage in product(
        (8, 16), (("f32", 32), ("int8", 8), ("pq4", 0)), ("single", "reranked")
    ):
        recall, right = RNG.random(2) if task else (RNG.random(), math.nan)
        rows.append(
            {"model": "m", "dataset": dataset, "queries": "held-out", "axes": "svd"}
            | {"k": k, "code": code, "stage": stage, "bytes": size * k // 8 or 4}
            | {"recall": recall, "recall_low": recall / 2, "recall_high": (1 + recall) / 2}
            | {"task": right, "task_low": right / 2, "task_high": (1 + right) / 2}
            | {"task_exact": 0.75 if task else math.nan}
            | {"task_metric": task, "shared_bytes": 0, "build_seconds": 1.0, "query_ms": 0.5}
            | {"candidates": 100, "vectors": 900, "n": 50, "neurons": 16}
            | {"normalise": True, "seed": 0}
        )
    return check_table(pd.DataFrame(rows), SEARCHES)
