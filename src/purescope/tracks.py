"""Reading the table of a training from the folder where it is kept."""

from pathlib import Path

import numpy as np
import pandas as pd

from purescope.errors import InputError
from purescope.schemas import TRACK
from purescope.specs import to_path
from purescope.tables import parquet_name, read_table


def read_track(out: str | Path) -> pd.DataFrame:
    """The table that `purescope.dynamics` wrote into a folder; columns as in `purescope.schemas.TRACK`.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    table = read_table(to_path(out), TRACK)
    neurons = [len(order) if isinstance(order, np.ndarray) else -1 for order in table.order]
    if neurons != table.neurons.tolist():
        raise InputError(
            f"{to_path(out) / parquet_name(TRACK)}: an order of another number of neurons than its row says",
            expected="the table of purescope track",
            fix="make it again: purescope track, with --overwrite (overwrite=True)",
        )
    return table
