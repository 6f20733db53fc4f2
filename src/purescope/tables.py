"""The tidy result table: one row a cell, its schema, and its files.

A cell is one (model, dataset, strategy, draw, k, metric). Everything that is shown is read from this table, and every
file is written beside its place and renamed into it, so a reader never sees half a file.
"""

import json
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from purescope.errors import InputError, OutputError
from purescope.notebook import ResultTable
from purescope.schemas import RESULTS, Schema
from purescope.specs import exists

_LIBRARIES = ("purescope", "torch", "torchvision", "open_clip_torch", "timm", "numpy", "pandas", "pillow")

_WIDE_COLUMNS = {
    "full": "Full Features",
    "high_purity": "Min Sparse Features",
    "low_purity": "Max Sparse Features",
}


def check_table(table: pd.DataFrame, schema: Schema = RESULTS) -> pd.DataFrame:
    """The same table with columns in order and of the right types.

    Raises:
        InputError: a column is missing or of another type, or a row stands twice.
    """
    missing = [column for column in schema.columns if column not in table]
    if missing:
        raise InputError(
            f"a table without the columns {', '.join(missing)}",
            expected=f"purescope's table of {schema.name}: {', '.join(schema.columns)}",
        )
    table = table[[*schema.columns, *(c for c in table if c not in schema.columns)]].reset_index(drop=True)
    try:
        typed = table.astype(dict(schema.columns))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"a table of {schema.name} with a wrong type: {error}", expected=str(dict(schema.columns))
        ) from error
    for column, dtype in schema.columns.items():
        lost = typed[column].isna() if dtype == "string" else typed[column] != table[column]
        if dtype != "float64" and lost.any():
            raise InputError(
                f"{table[column][lost].iloc[0]!r} in the column {column} of a table of {schema.name}",
                expected=f"{dtype} throughout",
            )
    twice = typed.duplicated(list(schema.key))
    if twice.any():
        first = ", ".join(f"{column} {value}" for column, value in typed[twice].iloc[0][list(schema.key)].items())
        raise InputError(
            f"{int(twice.sum())} {schema.row}s stand twice, first {first}",
            expected=f"one row for each {', '.join(schema.key[:-1])} and {schema.key[-1]}",
        )
    return typed


def write_table(table: pd.DataFrame, out: Path, schema: Schema, *, csv: bool = True) -> None:
    """Write the table as Parquet with page checksums, to be read back, and as CSV, to be looked at."""
    table = check_table(table, schema)
    if csv:
        write_csv(table, out / f"{schema.name}.csv")
    write_parquet(table, out / f"{schema.name}.parquet")


def read_table(out: Path, schema: Schema) -> pd.DataFrame:
    """A table of a run's folder.

    Raises:
        InputError: there is none, or it is not a purescope table.
    """
    path = out / f"{schema.name}.parquet"
    if not path.is_file():
        raise InputError(
            f"no {path.name} in {out}",
            expected="the --out folder of a purescope run",
            fix="check the path",
        )
    return check_table(read_parquet(path), schema)


def write_results(table: pd.DataFrame, out: Path) -> None:
    """Write ``results.csv``, ``results.parquet`` and, for each model and dataset, the experiment's wide CSV files.

    Raises:
        InputError: the table is not one, or two labels would write the same file; nothing is written then.
        OutputError: the folder or the disk does not take it.

    Examples:
        The wide files of the label "CC3M LaCLIP" and the dataset "cifar10":
        ``result_cc3m_laclip/cifar10_laclip_accuracy_vs_sam.csv`` and ``..._silhouette_vs_sam.csv``.
    """
    table = check_table(table)
    _check_wide_paths(table, out)
    write_table(table, out, RESULTS)
    for (model, dataset), part in table.groupby(["model", "dataset"], sort=False):
        for metric in ("accuracy", "silhouette"):
            write_csv(wide_table(part, metric), wide_path(out, str(model), str(dataset), metric))


def read_results(out: Path) -> pd.DataFrame:
    """The tidy table of a run's folder, as `purescope.run_sweep` returned it.

    Args:
        out: the folder, with ``results.parquet`` in it.

    Returns:
        One row for each model, data set, strategy, draw, k and metric: `purescope.schemas.RESULTS`.

    Raises:
        InputError: there is none, its checksums do not fit, or it is not a purescope table.

    Examples:
        >>> import purescope as ps
        >>> from purescope.planted import plant
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_results(ps.sweep(made.features, made.projections, keep=[4, 8], draws=2), Path(folder))
        ...     table = read_results(Path(folder))
        >>> table[table.metric == "accuracy"].groupby("strategy").size().to_dict()
        {'full': 1, 'high_purity': 2, 'low_purity': 2, 'random': 4}
    """
    return ResultTable(read_table(out, RESULTS))


def wide_table(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The experiment's table of one model and dataset: a row for each ``sam``, a column for each of its strategies."""
    rows = table[(table.metric == metric) & table.strategy.isin(_WIDE_COLUMNS)]
    full = rows[rows.strategy == "full"].value.iloc[0]
    wide = rows[rows.strategy != "full"].pivot(index="k", columns="strategy", values="value")
    wide = wide.rename(columns=_WIDE_COLUMNS).rename_axis(index="sam", columns=None).reset_index()
    wide.insert(1, "Model", rows.model.iloc[0])
    wide.insert(2, "Full Features", full)
    return wide.reindex(columns=["sam", "Model", *_WIDE_COLUMNS.values()])  # empty where a strategy was not swept


def wide_path(out: Path, model: str, dataset: str, metric: str) -> Path:
    """Where a wide CSV file stands: the folder is the model's label, the file's tag the label's last word."""
    label = slug(model)
    return out / f"result_{label}" / f"{slug(dataset)}_{label.rsplit('_', 1)[-1]}_{metric}_vs_sam.csv"


def slug(text: str) -> str:
    """A label as part of a file name.

    Examples:
        >>> slug("CC3M LaCLIP")
        'cc3m_laclip'
    """
    return re.sub(r"[\W_]+", "_", text.lower()).strip("_") or "unnamed"


def write_manifest(manifest: Mapping[str, Any], out: Path) -> None:
    """Write ``manifest.json``: settings, identities, versions and timings of a run."""
    with atomic_path(out / "manifest.json") as temporary:
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        # A byte of a path that is no UTF-8 is a lone surrogate, which JSON writes as this escape.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def versions() -> dict[str, str]:
    """What numbers depend on besides settings: purescope, the libraries that make them, and Python."""
    return {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()}


def read_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest of a folder, or None where there is none.

    Raises:
        OutputError: it is there but cannot be read.
    """
    path = out / "manifest.json"
    if not exists(path):
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError, OSError) as error:
        raise OutputError(
            f"{path} cannot be read: {error}", expected="a purescope manifest", fix="choose another --out"
        ) from error


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table with a checksum for each page."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False, write_page_checksum=True)


def read_parquet(path: Path) -> pd.DataFrame:
    """A table that `write_parquet` wrote, its checksums verified.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return pd.read_parquet(path, page_checksum_verification=True)
    except Exception as error:  # a damaged file can make pandas and pyarrow raise anything
        raise InputError(
            f"{path} cannot be read: {error}",
            expected="the Parquet file of a purescope run",
            fix="make it again: run the command that wrote it, with --overwrite (overwrite=True)",
        ) from error


def nothing_in(folder: Path, holds: Callable[[Path], bool]) -> InputError:
    """What to say of a folder that is not there, or without results: those near it that hold some may have been meant.

    Args:
        folder: that was named.
        holds: whether a folder has what is looked for.
    """
    there = folder.is_dir()
    near = {path.name: path for path in sorted((folder if there else folder.parent).glob("*")) if path.is_dir()}
    names = near if there else get_close_matches(folder.name, near)
    meant = [str(near[name]) for name in names if holds(near[name])]
    return InputError(
        f"no results in {folder}" if there else f"there is no folder {folder}",
        expected="the --out folder of purescope sweep, demo, compare, evidence, track, layers or reproduce",
        fix=f"did you mean {' or '.join(meant[:3])}?" if meant else "name one, or make one: `purescope demo`",
    )


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table, and the folder it stands in if that is new."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A file to write in place of `path`, renamed into its place when the block ends well, removed when it does not.

    Raises:
        OutputError: the folder or the disk does not take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", fix="choose another --out") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}", fix="free some space, or choose another --out"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(pattern: str) -> str:
    """The pattern of what `atomic_path` leaves of such files where the process is killed.

    Examples:
        >>> unfinished("figures/purity_gap_*.png")
        'figures/.purity_gap_*-????????.png'
    """
    path = PurePosixPath(pattern)
    return str(path.with_name(f".{path.stem}-????????{path.suffix}"))


def _check_wide_paths(table: pd.DataFrame, out: Path) -> None:
    """Labels that differ only in what `slug` drops would overwrite one another's files."""
    taken: dict[Path, tuple[str, str]] = {}
    for model, dataset in table[["model", "dataset"]].drop_duplicates().itertuples(index=False):
        path = wide_path(out, model, dataset, "accuracy")
        if taken.setdefault(path, (model, dataset)) != (model, dataset):
            raise InputError(
                f"{model!r} on {dataset!r} and {taken[path][0]!r} on {taken[path][1]!r} share the file {path}",
                expected="labels that differ in their letters or digits",
                fix="give one of them another label: label=MODEL",
            )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
