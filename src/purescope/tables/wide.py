"""The experiment's wide CSV files: one for each model, dataset and metric, a row a k, a column a
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
    for (model, dataset), part in table.groupby(["model", "dataset"], sort=False):
        for metric in ("accuracy", "silhouette"):
            write_csv(wide_table(part, metric), wide_path(out, str(model), str(dataset), metric))


def wide_table(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The experiment's table of one model and dataset: a row for each ``sam``, a column for each of
    its strategies.
    """
    rows = table[(table.metric == metric) & table.strategy.isin(_WIDE_COLUMNS)]
    full = rows[rows.strategy == "full"].value.iloc[0]
    wide = rows[rows.strategy != "full"].pivot(index="k", columns="strategy", values="value")
    wide = wide.rename(columns=_WIDE_COLUMNS).rename_axis(index="sam", columns=None).reset_index()
    wide.insert(1, "Model", rows.model.iloc[0])
    wide.insert(2, "Full Features", full)
    return wide.reindex(
        columns=["sam", "Model", *_WIDE_COLUMNS.values()]
    )  # empty where a strategy was not swept


def wide_path(out: Path, model: str, dataset: str, metric: str) -> Path:
    """Where a wide CSV file stands: the folder is the model's label, the file's tag the label's
    last word.
    """
    label = slug(model)
    return (
        out / f"result_{label}" / f"{slug(dataset)}_{label.rsplit('_', 1)[-1]}_{metric}_vs_sam.csv"
    )


def refuse_others_file(path: Path, owner: Mapping[str, str]) -> None:
    """Refuse to replace a CSV file of another model or dataset, whose label makes the same file
    name.

    Args:
        path: where a table is to be written.
        owner: columns whose values must be these in the first row of a table that is there already.

    Raises:
        OutputError: the file is somebody else's.
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
    """Labels that differ only in what `slug` drops would overwrite one another's files."""
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
