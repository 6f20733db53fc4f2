"""The table of a training: its columns, and the folder where it is kept row by row.

The folder only grows: a row stays when its checkpoint is gone, and is measured again when its
checkpoint, its data or purescope has changed. Rows measured by other settings are not mixed with
it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from purescope.errors import OutputError
from purescope.files.manifest import own_manifest, versions, write_manifest
from purescope.maths.significance import spearman
from purescope.tables.files import check_table, parquet_name, write_csv, write_parquet
from purescope.tables.results import read_track
from purescope.tables.schemas import TRACK

COLUMNS = TRACK.described
"""The columns of the table; after these come high_purity_K, low_purity_K and random_K, accuracies
at each k.
"""
KEY = TRACK.key
_FILE = parquet_name(TRACK)


class Log:
    """The rows measured so far, on disk after each one where there is a folder.

    Args:
        out: the folder.
        settings: by which all rows are measured.
        overwrite: forget what the folder holds.
        notes: what the manifest is to say of the data, beside what it says already.

    Raises:
        OutputError: the folder holds something measured otherwise, and `overwrite` is not set.
        InputError: its table cannot be read.
    """

    def __init__(
        self,
        out: Path | None,
        settings: Mapping[str, Any],
        *,
        overwrite: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        self.out, self.rows = out, dict[tuple[str, int, str], dict[str, Any]]()
        if out is None:
            return
        earlier = _refuse_another(out, settings, overwrite=overwrite)
        if not overwrite and (out / _FILE).exists():
            self.rows = {_key(row): row for row in _records(read_track(out))}
        notes = list(dict.fromkeys([*earlier.get("notes", []), *notes]))
        told = {"notes": notes} if notes else {}
        write_manifest({"settings": dict(settings), "versions": versions()} | told, out)

    def add(self, row: dict[str, Any]) -> None:
        """Take a row in, in the place of an earlier one of that model, step and dataset."""
        model, step, dataset = _key(row)
        if dataset:
            self.rows.pop((model, step, ""), None)  # it had purity alone
        self.rows[model, step, dataset] = row
        if self.out is not None:
            _write(self.table(), self.out)

    def has(self, row: Mapping[str, Any]) -> bool:
        """Whether the row of this model, step and dataset is there and depends on the same
        things.
        """
        return bool(self.rows.get(_key(row), {}).get("identity") == row["identity"])

    def table(self) -> pd.DataFrame:
        """Series in the order they came, each by step."""
        missing = {"n": 0, "classes": 0}
        table = pd.DataFrame([{**missing, **row} for row in self.rows.values()])
        series = {model: i for i, model in enumerate(table.model.unique())}
        table = table.sort_values(
            ["model", "step"],
            key=lambda c: c.map(series) if c.name == "model" else c,
            kind="stable",
        )
        table = table.assign(**_rank_correlations(table)).reindex(columns=[*COLUMNS, *_by_k(table)])
        return check_table(table, TRACK)


def _rank_correlations(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Of each row with the step before and with the last, of that model and dataset; the first has
    none before.

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


def _refuse_another(
    out: Path, settings: Mapping[str, Any], *, overwrite: bool
) -> Mapping[str, Any]:
    """Refuse a folder of other settings, or that no manifest of ours explains; return its manifest.

    Raises:
        OutputError: it is one.
    """
    earlier = own_manifest(out, overwrite=overwrite)
    if earlier is None and (out / _FILE).exists():
        raise OutputError(
            f"{out} holds {_FILE}, of no known training",
            expected="a folder without results, or that of an earlier call: it has a manifest.json "
            "that says so",
            fix="choose another --out, or move this file away",
        )
    if overwrite or earlier is None or earlier.get("settings") == settings:
        return {} if overwrite else earlier or {}
    raise OutputError(
        f"{out} holds what was measured by other settings",
        expected="a folder without results, or that of an earlier call with the same settings",
        fix="choose another --out, or replace what is there with --overwrite (overwrite=True)",
    )


def _write(table: pd.DataFrame, out: Path) -> None:
    write_parquet(table, out / _FILE)
    write_csv(table.drop(columns="order"), out / "track.csv")
