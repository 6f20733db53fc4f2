"""What the commands share: tables, verdicts and last lines on a terminal."""

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from purescope.cli.printing import WIDTH, clear, plain, progress, say, telling
from purescope.looks import PALETTE

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from purescope.cli.screen import Screen, Table
    from purescope.runs.inputs import Settings
    from purescope.tables.results import Results
    from purescope.tables.verdicts import Verdict

__all__ = [
    "clear",
    "plain",
    "progress",
    "say",
    "telling",
]  # what comes from `printing`; the rest is below

NARROW = 100  # columns: a terminal with fewer is shown less of each
CHOICES = ("high_purity", "random", "low_purity")
_CHOSEN = {"high_purity": "high purity", "random": "random", "low_purity": "low purity"}
# Numbers have the terminal's own colour; these can be told apart on a dark one and on a light one.
_COLOURS = {
    "high_purity": PALETTE["high_purity"],
    "random": "default",
    "low_purity": PALETTE["low_purity"],
}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_SPACES = {"weights": "weights", "activations": "activations", "centred": "centred activations"}
_PROTOCOLS = {
    "native": "native: each checkpoint's preprocess, each dataset's prompts and cleaned class "
    "names",
    "paper": "paper: OpenAI's preprocess, 'a photo of a {}' and raw class names, whatever the "
    "checkpoint",
}


def console() -> "Screen":
    """Standard output."""
    from purescope.cli.screen import Screen

    return Screen()


def table(title: str, *columns: str, **options: Any) -> "Table":
    """An empty table; a cell is markup of ours, or what `plain` makes of a name."""
    from purescope.cli.screen import Table

    return Table(title, *columns, **options)


def result_table(points: "pd.DataFrame", width: int = WIDTH) -> "Table":
    """Return one model's accuracies in per cent, with a small curve of each choice over the ks.

    Each dataset has a row with chance, all neurons, and each choice at the fewest and at the most
    neurons; of several random orders it is the median. The curves of a dataset share one scale,
    from the least to the most accurate value in them. Where `width` is narrow, images and chance
    are left out, and curves are shorter.

    Args:
        points: the model's rows of `purescope.tables.schemas.CURVE_POINTS`.
        width: of the terminal, in characters.
    """
    narrow = width < NARROW
    rows = points[points.metric == "accuracy"]
    ks = [int(k) for k in sorted(rows[rows.strategy != "full"].k.unique())]
    first = rows.iloc[0]
    screen = table(
        f"{first.model}: zero-shot accuracy in %, keeping {_k_range(ks)} of {first.neurons:,} neurons"
    )
    for name in ("dataset", "all") if narrow else ("dataset", "images", "chance", "all"):
        screen.add_column(name, justify="left" if name == "dataset" else "right", no_wrap=True)
    chosen = [name for name in CHOICES if (rows.strategy == name).any()]
    for name in chosen:
        draws = rows[rows.strategy == name].draws.max()
        heading = _CHOSEN[name] + (f", of {draws:,}" if draws > 1 else "")
        screen.add_column(heading, no_wrap=True)
    for dataset, of_dataset in rows.groupby("dataset", sort=False):
        first = of_dataset.iloc[0]
        by_strategy = {
            str(name): 100 * values.set_index("k").value.sort_index()
            for name, values in of_dataset.groupby("strategy", sort=False)
        }
        curves = {name: by_strategy[name].tolist() for name in chosen if name in by_strategy}
        values = [value for curve in curves.values() for value in curve]
        most = 8 if narrow else 16
        cells = [
            _course(curves.get(name, []), min(values), max(values), _COLOURS[name], most)
            for name in chosen
        ]
        about = [] if narrow else [f"{first.n:,}", f"{100 / first.classes:.1f}"]
        screen.add_row(plain(str(dataset)), *about, f"{by_strategy['full'].iloc[0]:.1f}", *cells)
    return screen


def _k_range(ks: list[int]) -> str:
    """Return the range of the ks as text."""
    return f"{ks[0]:,}" if len(ks) == 1 else f"{ks[0]:,} to {ks[-1]:,}"


def _course(curve: list[float], low: float, high: float, colour: str, most: int) -> str:
    """Return the first value, the curve and the last value."""
    if len(curve) < 2:
        return f"{curve[0]:4.1f}" if curve else ""
    return f"{curve[0]:4.1f} [{colour}]{sparkline(curve, low, high, most)}[/] {curve[-1]:4.1f}"


def sparkline(values: Sequence[float], low: float, high: float, most: int = 16) -> str:
    """A curve in block characters, one a value; at most `most` of them are shown.

    Examples:
        >>> sparkline([0.0, 0.5, 1.0], low=0.0, high=1.0)
        '▁▄█'
        >>> sparkline([0.3, 0.3], low=0.3, high=0.3)
        '▄▄'
    """
    step = -(-len(values) // most)
    if high <= low:
        return "▄" * len(values[::step])
    return "".join(
        _BLOCKS[1 + round(7 * (value - low) / (high - low) - 1e-9)] for value in values[::step]
    )


def verdict_line(verdict: "Verdict", about: str = "") -> str:
    """A verdict in a sentence and its numbers, as rich's markup.

    Args:
        verdict: of one model.
        about: what to call it, in place of the model.
    """
    claim = f"{about}: {verdict.conclusion}" if about else verdict.claim
    return f"[bold]{plain(claim)}[/bold] {plain(verdict.evidence)}"


def summary(results: "Results", settings: "Settings") -> None:
    """Print the accuracies and the verdict of each model, and all strategies if a run has more than
    the two of purity.
    """
    screen = console()
    screen.print(f"Protocol {_PROTOCOLS[settings.protocol]}.\nPurity of {_purity(settings)}.\n")
    accuracies(screen, results)
    if len(settings.strategies) > 2:
        for _, standings in results.table("standings").groupby("model", sort=False):
            screen.print(strategy_table(standings, int(results.table("results").k.min())))
            screen.print()
    conclusions(screen, results)
    run_ends(screen, results.path)


def conclusions(screen: "Console", results: "Results") -> None:
    """Print what half of the neurons keeps, and what the tests say of the claim, for each model."""
    from purescope.tables.schemas import STANDINGS
    from purescope.tables.verdicts import half_sentence

    standings = results.rows(STANDINGS)
    for model in results.models:
        half = half_sentence(standings[standings.model == model])
        if half:
            screen.print(plain(f"{model}: {half}"))
        if model in results.verdicts:
            screen.print(verdict_line(results.verdicts[model]))


def accuracies(screen: "Console", results: "Results") -> None:
    """Print the accuracies of each model."""
    for _, points in results.table("curve_points").groupby("model", sort=False):
        screen.print(result_table(points, screen.width))
        screen.print()


def run_ends(screen: "Console", out: Path, **more: str) -> None:
    """What to do with the folder of a run."""
    there = "Tables, figures, manifest" if (out / "figures").is_dir() else "Tables, manifest"
    next_steps(screen, page(out) | {there: str(out)} | more)


def page(out: Path) -> dict[str, str]:
    """The report among the last lines of a command, where it was drawn."""
    report = out / "report.html"
    return {"Look": str(report)} if report.is_file() else {}


def next_steps(screen: "Console", steps: Mapping[str, str]) -> None:
    """The last lines of a command: what to open or to type."""
    screen.print()
    width = max(map(len, steps)) + 1
    for name, what in steps.items():
        screen.print(f"[bold]{name + ':':<{width}}[/bold] {plain(what)}", soft_wrap=True)


def typed(command: str) -> str:
    """A command that begins with ``purescope`` as it works here: by its path where PATH has another
    one, or none.
    """
    running, found = Path.cwd() / sys.argv[0], shutil.which("purescope")
    if running.stem != "purescope" or (
        found is not None and Path(found).resolve() == running.resolve()
    ):
        return command
    shown = running.relative_to(Path.cwd()) if running.is_relative_to(Path.cwd()) else running
    return f"{shlex.quote(str(shown))}{command.removeprefix('purescope')}"


def strategy_table(standings: "pd.DataFrame", fewest: int) -> "Table":
    """Return all strategies of one model, best first.

    Args:
        standings: its rows of `purescope.tables.schemas.STANDINGS`.
        fewest: the smallest k that was tried: fewer neurons may be enough, so it is an upper bound.
    """
    from purescope.formats import Difference
    from purescope.tables.schema import each_row
    from purescope.tables.verdicts import best_sentence

    model, sets = standings.model.iloc[0], int(standings.sets.iloc[0])
    screen = table(f"{model}: strategies, over all k and {sets} dataset{'s' if sets > 1 else ''}")
    for name in ("strategy", "accuracy %", "minus random (95 % interval)", "p", "neurons for 95 %"):
        screen.add_column(name, justify="left" if name == "strategy" else "right")
    board = standings[standings.place > 0]
    for row in each_row(board):
        tested = row.over_random == row.over_random
        ends = (row.over_random, row.over_random_low, row.over_random_high)
        screen.add_row(
            plain(str(row.strategy)) + (" *" if row.labels else ""),
            f"{100 * row.area:.2f}",
            str(Difference(*ends)) if tested else "",
            f"{row.p:.2g}" if tested else "",
            f"≤ {row.needed:.0f}" if row.needed <= fewest else f"{row.needed:.0f}",
        )
    marked = "* looks at labels, of images that it is not judged on. " if board.labels.any() else ""
    screen.caption = marked + best_sentence(board)
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
    lines = [
        "".join(_BLOCKS[min(8, max(0, e - 8 * row))] for e in eighths)
        for row in reversed(range(height))
    ]
    return "\n".join([*lines, f"{edges[0]:.4f} .. {edges[-1]:.4f} {title}"])
