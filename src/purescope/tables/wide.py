"""Write the experiment's wide CSV files.

There is one file for each model, dataset and metric, with a row for each k and a column for each
strategy.
"""

import io
from collections.abc import Mapping
from csv import DictReader
from csv import Error as CsvError
from pathlib import Path

import pandas as pd

from purescope.errors import InputError, OutputError
from purescope.files.reading import open_regular
from purescope.files.writing import slug
from purescope.specs import exists
from purescope.tables.files import write_csv

_WIDE_COLUMNS = {
    "full": "Full Features",
    "high_purity": "Min Sparse Features",
    "low_purity": "Max Sparse Features",
}


def write_wide(table: pd.DataFrame, out: Path) -> None:
    """Write the experiment's wide CSV files of a table of results, for each model and dataset."""
    for (model, dataset), rows in table.groupby(["model", "dataset"], sort=False):
        for metric in ("accuracy", "silhouette"):
            write_csv(wide_table(rows, metric), wide_path(out, str(model), str(dataset), metric))


def wide_table(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the experiment's table of one model and dataset.

    It has a row for each ``sam`` (k), and a column for each strategy of the experiment.
    """
    rows = table[(table.metric == metric) & table.strategy.isin(_WIDE_COLUMNS)]
    full = rows[rows.strategy == "full"].value.iloc[0]
    wide = rows[rows.strategy != "full"].pivot(index="k", columns="strategy", values="value")
    wide = wide.rename(columns=_WIDE_COLUMNS).rename_axis(index="sam", columns=None).reset_index()
    wide.insert(1, "Model", rows.model.iloc[0])
    wide.insert(2, "Full Features", full)
    # A strategy that was not swept has an empty column.
    return wide.reindex(columns=["sam", "Model", *_WIDE_COLUMNS.values()])


def wide_path(out: Path, model: str, dataset: str, metric: str) -> Path:
    """Return the path of a wide CSV file.

    The folder has the label of the model, and the name of the file its last word.
    """
    label = slug(model)
    tag = label.rsplit("_", 1)[-1]
    return out / f"result_{label}" / f"{slug(dataset)}_{tag}_{metric}_vs_sam.csv"


def refuse_others_file(path: Path, owner: Mapping[str, str]) -> None:
    """Refuse to replace a CSV file of another model or dataset whose label gives the same name.

    Args:
        path: the file that is to be written.
        owner: the values that the first row of an existing file must have, by column.

    Raises:
        OutputError: the file belongs to another model or dataset.
    """
    if not exists(path):
        return
    try:
        with open_regular(path) as file:
            rows = DictReader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
            first = next(rows, {})
            theirs = {name: first.get(name) for name in owner}
    except (OSError, ValueError, CsvError):
        theirs = {}
    if theirs != dict(owner):
        known = ", ".join(repr(value) for value in theirs.values() if value) or "something else"
        raise OutputError(
            f"{path} holds {known}, and would be replaced by "
            f"{', '.join(map(repr, owner.values()))}",
            expected="a file name of its own for each model and dataset",
            fix="give one of them another label (LABEL=MODEL, NAME=DATASET), choose another --out, "
            "or remove the file",
        )


def check_wide_paths(table: pd.DataFrame, out: Path) -> None:
    """Refuse labels that would overwrite each other's files: they differ only in what `slug` drops.

    Raises:
        InputError: there are such labels.
    """
    taken: dict[Path, tuple[str, str]] = {}
    for model, dataset in table[["model", "dataset"]].drop_duplicates().itertuples(index=False):
        path = wide_path(out, model, dataset, "accuracy")
        if taken.setdefault(path, (model, dataset)) != (model, dataset):
            raise InputError(
                f"{model!r} on {dataset!r} and {taken[path][0]!r} on {taken[path][1]!r} share the "
                f"file {path}",
                expected="labels that differ in their letters or digits",
                fix="give one of them another label: label=MODEL",
            )
