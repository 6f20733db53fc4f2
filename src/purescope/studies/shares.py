"""Measure which share of the accuracy each strategy keeps at each k, on each half of the images."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from purescope.maths.cells import halves
from purescope.maths.intervals import NORMAL_975
from purescope.maths.shares import mean_share_interval, share_interval
from purescope.studies.sweeps import Measured
from purescope.tables.files import check_table
from purescope.tables.shares import HALVES, SHARES


def share_table(measured: Measured) -> pd.DataFrame:
    """Return the share of the accuracy that each strategy and the random orders keep.

    The halves are those of `purescope.maths.cells.halves`, so both have images of every class with
    two. A dataset of which one half has no image has no rows.

    Args:
        measured: the sweep of a model on a dataset.

    Returns:
        The table `purescope.tables.shares.SHARES`.
    """
    half = halves(measured.features.labels)
    blocks = [
        _half_columns(measured, half == place, name)
        for place, name in enumerate(HALVES)
        if int((half == 0).sum()) and int((half == 1).sum())
    ]
    names = [name for name in SHARES.columns if name not in ("model", "dataset")]
    columns: dict[str, Any] = {
        name: np.concatenate([block[name] for block in blocks]) if blocks else [] for name in names
    }
    table = pd.DataFrame(columns).assign(
        model=measured.features.model, dataset=measured.features.dataset
    )
    return check_table(table, SHARES)


def _half_columns(measured: Measured, inside: Bool[Tensor, " image"], half: str) -> dict[str, Any]:
    """Return the columns of one half: strategy by strategy, then the random orders."""
    right, full = measured.right[:, :, inside], measured.full_right[inside]
    images, ks = len(full), measured.ks
    kept, both = right.sum(2), (right & full).sum(2)
    low, high = share_interval(kept, both, full.sum().expand_as(kept))
    share = torch.where(full.sum() > 0, kept / full.sum(), torch.nan).double()
    rows = {"value": kept / images, "share": share, "low": low, "high": high}
    over = {name: torch.full_like(share, torch.nan) for name in ("", "_low", "_high")}
    strategies = list(measured.strategies)
    if len(measured.draws):
        random = measured.random_right[:, inside]
        differences = right.double() - random
        mean = differences.mean(2)
        error = NORMAL_975 * differences.std(2) / images**0.5
        over = {"": mean, "_low": mean - error, "_high": mean + error}
        drawn = dict(zip(("share", "low", "high"), mean_share_interval(random, full), strict=True))
        drawn["value"] = random.mean(1)
        rows = {name: torch.cat([rows[name], drawn[name][None]]) for name in rows}
        blank = torch.full((1, len(ks)), torch.nan, dtype=torch.float64)
        over = {name: torch.cat([values, blank]) for name, values in over.items()}
        strategies.append("random")
    rows |= {f"over_random{name}": values for name, values in over.items()}
    cells = len(strategies) * len(ks)
    return {
        "strategy": np.repeat(np.array(strategies, dtype=object), len(ks)),
        "k": np.tile(np.array(ks), len(strategies)),
        "metric": np.array(["accuracy"] * cells, dtype=object),
        "half": np.array([half] * cells, dtype=object),
        **{name: values.double().flatten().numpy() for name, values in rows.items()},
        "full": np.full(cells, float(full.double().mean())),
        "n": np.full(cells, images),
        "neurons": np.full(cells, measured.bench.neurons),
    }
