"""What the commands share: progress, warnings and tables on a terminal."""

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from purescope.runs import Settings
    from purescope.verdict import Verdict

_SPACES = {"weights": "weights", "activations": "activations", "centred": "centred activations"}
_PROTOCOLS = {
    "native": "native: each checkpoint's preprocess, each dataset's prompts and cleaned class names",
    "paper": "paper: OpenAI's preprocess, 'a photo of a {}' and raw class names, whatever the checkpoint",
}


def progress(iterable: Iterable[Any], label: str, total: int) -> Iterable[Any]:
    """A bar with rate and time left, once something takes over two seconds; none when not on a terminal."""
    from tqdm import tqdm

    bar = "{desc}: {percentage:3.0f}% {bar} {n_fmt}/{total_fmt} batches [{elapsed}<{remaining}, {rate_fmt}]"
    shown: Iterable[Any] = tqdm(
        iterable, label, total, delay=2, disable=None, leave=False, bar_format=bar, unit="batch"
    )
    return shown


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print warnings as one line each, where a user looks, in place of Python's two with a file name."""

    def show(message: Warning | str, *_: object) -> None:
        click.secho(f"note: {message}", fg="yellow", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def console() -> "Console":
    """Standard output; as wide as the terminal, or wide enough for every table when it is a file."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def result_table(table: "pd.DataFrame", model: str) -> "Table":
    """One model's accuracy in per cent: for each dataset the full embedding, then three ks and three strategies."""
    from rich.table import Table

    rows = table[(table.model == model) & (table.metric == "accuracy")]
    ks = sorted(rows[rows.strategy != "full"].k.unique())
    shown = sorted({ks[0], ks[len(ks) // 2], ks[-1]})
    medians = 100 * rows.groupby(["dataset", "strategy", "k"], sort=False).value.median()
    screen = Table(title=f"{model}: zero-shot accuracy in %", title_justify="left", title_style="bold")
    for name in ("dataset", "images", "chance", f"all {rows.neurons.iloc[0]}"):
        screen.add_column(name, justify="left" if name == "dataset" else "right")
    for k in shown:
        screen.add_column(f"k={k}\nhigh", justify="right", style="bold")
        screen.add_column("\nrandom", justify="right")
        screen.add_column("\nlow", justify="right")
    for dataset, part in rows.groupby("dataset", sort=False):
        first = part.iloc[0]
        full = medians[(dataset, "full", first.neurons)]
        cells = [
            f"{medians[(dataset, s, k)]:.1f}" if (dataset, s, k) in medians else "-"
            for k in shown
            for s in ("high_purity", "random", "low_purity")
        ]
        screen.add_row(str(dataset), f"{first.n:,}", f"{100 / first.classes:.1f}", f"{full:.1f}", *cells)
    return screen


def verdicts(table: "pd.DataFrame", out: "Path") -> "list[Verdict]":
    """One verdict a model, where there are random draws and both purities to compare; `out` is the run's folder."""
    from purescope.schemas import COMPARISONS
    from purescope.tables import read_table
    from purescope.verdict import judge

    if not {"random", "high_purity", "low_purity"} <= set(table.strategy):
        return []
    comparisons = read_table(out, COMPARISONS)
    return [judge(table, comparisons, model=str(model)) for model in table.model.unique()]


def summary(table: "pd.DataFrame", out: "Path", settings: "Settings") -> None:
    """What a run found: accuracies and a verdict for each model, and its strategies if there are more than two."""
    screen = console()
    screen.print(f"Protocol {_PROTOCOLS[settings.protocol]}.\nPurity of {_purity(settings)}.\n")
    for model in table.model.unique():
        screen.print(result_table(table, str(model)))
        if len(settings.strategies) > 2:
            screen.print(strategy_table(table, out, str(model)))
    for verdict in verdicts(table, out):
        screen.print(verdict.sentence)
    screen.print(f"\nTables, figures and manifest: {out}", soft_wrap=True)


def strategy_table(table: "pd.DataFrame", out: "Path", model: str) -> "Table":
    """All strategies of one model, best first."""
    from rich.table import Table

    from purescope.leaderboard import leaderboard
    from purescope.schemas import COMPARISONS, CURVES
    from purescope.tables import read_table

    board = leaderboard(table, read_table(out, COMPARISONS), read_table(out, CURVES), model=model)
    title = f"{model}: strategies, over all k and {table.dataset.nunique()} data sets"
    screen = Table(title=title, title_justify="left", title_style="bold")
    for name in ("strategy", "accuracy %", "minus random (95 % interval)", "p", "neurons for 95 %"):
        screen.add_column(name, justify="left" if name == "strategy" else "right")
    for row in board:
        difference, p = ("" if row.over_random is None else str(row.over_random)), f"{row.p:.2g}" if row.p else ""
        screen.add_row(row.strategy, f"{100 * row.area:.2f}", difference, p, f"{row.needed:.0f}")
    return screen


def _purity(settings: "Settings") -> str:
    """How purity was measured, and what else differs from the experiment."""
    said = _SPACES[settings.space]
    if settings.measure != "l1":
        said += f", by {settings.measure}"
    if settings.towers != "both":
        said += f", of towers: {settings.towers}"
    if settings.ablation != "zero":
        said += f"; dropped neurons are set to: {settings.ablation}"
    if settings.renormalise:
        said += "; class features renormalised over the kept neurons"
    return said


def histogram(values: "pd.Series[float]", title: str, *, bins: int = 24, height: int = 5) -> str:
    """A histogram in block characters, `height` lines tall, with the range below it.

    Examples:
        >>> import pandas as pd
        >>> print(histogram(pd.Series([0.0, 0.0, 1.0]), "overlap", bins=2, height=1))
        █▄
        0.0000 .. 1.0000 overlap
    """
    import numpy as np

    counts, edges = np.histogram(values.dropna(), bins)
    eighths = np.ceil(counts * 8 * height / max(counts.max(), 1)).astype(int)
    blocks = " ▁▂▃▄▅▆▇█"
    lines = ["".join(blocks[min(8, max(0, e - 8 * row))] for e in eighths) for row in reversed(range(height))]
    return "\n".join([*lines, f"{edges[0]:.4f} .. {edges[-1]:.4f} {title}"])


def points(value: float) -> str:
    """A difference of accuracies in percentage points.

    Examples:
        >>> points(-0.0125)
        '-1.25'
    """
    return f"{100 * value:+.2f}"


def interval(low: float, high: float) -> str:
    """An interval of differences of accuracies in percentage points.

    Examples:
        >>> interval(-0.02, 0.005)
        '-2.00 to +0.50'
    """
    return f"{points(low)} to {points(high)}"
