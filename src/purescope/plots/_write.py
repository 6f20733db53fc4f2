"""The figures that a run and a training write by themselves."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from purescope.errors import InputError
from purescope.files.writing import slug
from purescope.plots._figures import dynamics_figure, gap_figure, pruning_figure
from purescope.plots._save import save_figure
from purescope.tables.files import check_table


def write_figures(table: pd.DataFrame, out: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``figures/neuron_pruning_<dataset>`` and ``figures/purity_gap_<dataset>`` below `out`, in each format.

    The first has accuracy and silhouette side by side, a row for each model; the second one panel for each model.

    Returns:
        The files written, dataset by dataset.

    Raises:
        InputError: the table is empty, a format is unknown, or two datasets would share a file.
        OutputError: the folder does not take them.
    """
    table = check_table(table)
    datasets = [str(name) for name in table.dataset.unique()]
    names = [slug(dataset) for dataset in datasets]
    if not datasets or len(set(names)) < len(names):
        raise InputError(
            f"a result table with the datasets {datasets}", expected="one or more, each with a file name of its own"
        )
    written = []
    for dataset, name in zip(datasets, names, strict=True):
        part = table[table.dataset == dataset]
        written += save_figure(pruning_figure(part), out / "figures" / f"neuron_pruning_{name}", formats)
        written += save_figure(gap_figure(part), out / "figures" / f"purity_gap_{name}", formats)
    return written


def write_dynamics(table: pd.DataFrame, out: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``dynamics.png`` and so on below `out`.

    For each model overlap and order, and beside them for each dataset accuracy and gap, see `plot_dynamics`.

    Raises:
        InputError: a format is unknown.
        OutputError: the folder does not take it.
    """
    return save_figure(dynamics_figure(table), out / "dynamics", formats)
