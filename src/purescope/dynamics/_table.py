"""The table of a training: its columns, and the folder where it is kept row by row.

The folder only grows: a row stays when its checkpoint is gone, and is measured again when its checkpoint, its data or
purescope has changed. Rows measured by other settings are not mixed with it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from purescope.errors import InputError, OutputError
from purescope.schemas import Column
from purescope.statistics import spearman
from purescope.tables import read_manifest, read_parquet, versions, write_csv, write_manifest, write_parquet

_TOWER = {
    "overlap": "mean over the neurons that live",
    "relative_overlap": "overlap in units of what random weights of that width have",
    "purity": "mean over the neurons that live",
    "purity_sd": "standard deviation over the neurons that live",
    "effective_rank": "of the projection",
}

# In the order in the files. After these come high_purity_K, low_purity_K and random_K, accuracies at each k.
COLUMNS: dict[str, Column] = {
    "model": Column("string", "the label of the series"),
    "step": Column("int64", "step or epoch"),
    "checkpoint": Column("string", "what was named; empty in a training loop"),
    "dataset": Column("string", "empty where purity alone was measured"),
    "identity": Column(
        "string", "a hash of all that the row depends on besides the settings; empty in a training loop"
    ),
    "neurons": Column("int64", "neurons of the model, d"),
    **{f"image_{name}": Column("float64", f"image tower: {about}") for name, about in _TOWER.items()},
    **{f"text_{name}": Column("float64", f"text tower: {about}") for name, about in _TOWER.items()},
    "n": Column("int64", "images"),
    "classes": Column("int64", "classes"),
    "accuracy": Column("float64", "all neurons"),
    "silhouette": Column("float64", "all neurons"),
    "high_purity": Column("float64", "accuracy, mean over k: the area below the curve by the range of k"),
    "low_purity": Column("float64", "the same of low purity"),
    "random": Column("float64", "the same of the median draw at each k"),
    "random_low": Column("float64", "5 % quantile of the draws' means"),
    "random_high": Column("float64", "95 % quantile of the draws' means"),
    "gap": Column("float64", "high_purity - low_purity"),
    "gap_to_random": Column("float64", "high_purity - random"),
    "rank_previous": Column("float64", "Spearman's rho of the neurons' order with that of the step before"),
    "rank_last": Column("float64", "the same with that of the last step"),
    "order": Column("object", "the neurons, purest first; not in the CSV file"),
}
_TYPES = {name: column.dtype for name, column in COLUMNS.items()}
KEY = ("model", "step", "dataset")
_FILE = "track.parquet"


class Log:
    """The rows measured so far, on disk after each one where there is a folder.

    Raises:
        OutputError: the folder holds something measured otherwise, and `overwrite` is not set.
        InputError: its table cannot be read.
    """

    def __init__(self, out: Path | None, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.out, self.rows = out, dict[tuple[str, int, str], dict[str, Any]]()
        if out is None:
            return
        if not overwrite:
            _refuse_another(out, settings)
            if (out / _FILE).is_file():
                self.rows = {_key(row): row for row in _records(read_track(out))}
        write_manifest({"settings": dict(settings), "versions": versions()}, out)

    def add(self, row: dict[str, Any]) -> None:
        """Take a row in, in the place of an earlier one of that model, step and dataset."""
        model, step, dataset = _key(row)
        if dataset:
            self.rows.pop((model, step, ""), None)  # it had purity alone
        self.rows[model, step, dataset] = row
        if self.out is not None:
            _write(self.table(), self.out)

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether the row of this model, step and dataset is there and depends on the same things."""
        return bool(self.rows.get(_key(row), {}).get("identity") == row["identity"])

    def table(self) -> pd.DataFrame:
        """Series in the order they came, each by step."""
        missing = {"n": 0, "classes": 0}
        table = pd.DataFrame([{**missing, **row} for row in self.rows.values()])
        series = {model: i for i, model in enumerate(table.model.unique())}
        table = table.sort_values(
            ["model", "step"], key=lambda c: c.map(series) if c.name == "model" else c, kind="stable"
        )
        table = table.assign(**_rank_correlations(table)).reindex(columns=[*COLUMNS, *_by_k(table)])
        return table.astype(_TYPES).reset_index(drop=True)


def read_track(out: str | Path) -> pd.DataFrame:
    """The table that `track` or `Tracker` wrote into a folder; columns as in `COLUMNS`.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = Path(out) / _FILE
    table = read_parquet(path)
    try:
        return table.astype(_TYPES)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is another table: {error}", expected="the table of purescope track") from error


def _rank_correlations(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Of each row with the step before and with the last, of that model and dataset; the first has none before.

    Places in the order are compared, so dead neurons count too: they stand last.
    """
    found = {name: pd.Series(np.nan, table.index) for name in ("rank_previous", "rank_last")}
    for _, part in table.groupby(["model", "dataset", "neurons"], sort=False):
        places = torch.tensor(np.stack(part.order.to_list())).argsort(dim=1).double()
        if places.shape[1] > 1:
            found["rank_last"][part.index] = spearman(places, places[-1]).numpy()
            found["rank_previous"][part.index[1:]] = spearman(places[1:], places[:-1]).numpy()
    return found


def _by_k(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table if str(name) not in COLUMNS]


def _key(row: Mapping[str, Any]) -> tuple[str, int, str]:
    return row["model"], row["step"], row["dataset"]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _refuse_another(out: Path, settings: Mapping[str, Any]) -> None:
    earlier = read_manifest(out)
    if (earlier is None and not (out / _FILE).exists()) or (earlier or {}).get("settings") == settings:
        return
    raise OutputError(
        f"{out} holds {'a table' if earlier is None else 'what was'} measured by other settings",
        expected="a folder without results, or that of an earlier call with the same settings",
        fix="choose another --out, or replace what is there with --overwrite (overwrite=True)",
    )


def _write(table: pd.DataFrame, out: Path) -> None:
    write_parquet(table, out / _FILE)
    write_csv(table.drop(columns="order"), out / "track.csv")
