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
    from purescope.studies.verdict import Verdict

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


def result_table(results: "pd.DataFrame", model: str, width: int = WIDTH) -> "Table":
    """One model's accuracy in per cent: for each data set, chance, all neurons, and each choice's
    way over the ks.

    Of several random orders it is the median. The curves of a data set share one scale, from the
    least to the most accurate that it shows. Where `width` is narrow, images and chance are left
    out, and curves are shorter.
    """
    narrow = width < NARROW
    rows = results[(results.model == model) & (results.metric == "accuracy")]
    medians = 100 * rows.groupby(["dataset", "strategy", "k"], sort=False).value.median()
    ks = [int(k) for k in sorted(rows[rows.strategy != "full"].k.unique())]
    screen = table(
        f"{model}: zero-shot accuracy in %, keeping {_ks_said(ks)} of {rows.neurons.iloc[0]:,} "
        f"neurons"
    )
    for name in ("dataset", "all") if narrow else ("dataset", "images", "chance", "all"):
        screen.add_column(name, justify="left" if name == "dataset" else "right", no_wrap=True)
    chosen = [name for name in CHOICES if (rows.strategy == name).any()]
    for name in chosen:
        draws = rows[rows.strategy == name].draw.nunique()
        said = _CHOSEN[name] + (f", of {draws:,}" if draws > 1 else "")
        screen.add_column(said, no_wrap=True)
    for dataset, part in rows.groupby("dataset", sort=False):
        first = part.iloc[0]
        curves = {name: [medians.get((dataset, name, k)) for k in ks] for name in chosen}
        seen = [value for curve in curves.values() for value in curve if value is not None]
        most = 8 if narrow else 16
        cells = [
            _course(curve, min(seen), max(seen), _COLOURS[name], most)
            for name, curve in curves.items()
        ]
        about = [] if narrow else [f"{first.n:,}", f"{100 / first.classes:.1f}"]
        full = medians[(dataset, "full", first.neurons)]
        screen.add_row(plain(str(dataset)), *about, f"{full:.1f}", *cells)
    return screen


def _ks_said(ks: list[int]) -> str:
    """Which ks there are, in a few words."""
    return f"{ks[0]:,}" if len(ks) == 1 else f"{ks[0]:,} to {ks[-1]:,}"


def _course(curve: list[float | None], low: float, high: float, colour: str, most: int) -> str:
    """First value, curve and last value."""
    there = [value for value in curve if value is not None]
    if len(there) < 2:
        return f"{there[0]:4.1f}" if there else ""
    return f"{there[0]:4.1f} [{colour}]{sparkline(there, low, high, most)}[/] {there[-1]:4.1f}"


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


def verdicts(out: Path) -> "list[Verdict]":
    """One verdict a model, where there are random draws and both purities to compare; `out` is the
    run's folder.
    """
    from purescope.studies.verdict import read_verdicts
    from purescope.tables.files import read_table
    from purescope.tables.schemas import VERDICTS

    return read_verdicts(read_table(out, VERDICTS))


def verdict_line(verdict: "Verdict", about: str = "") -> str:
    """A verdict in a sentence and its numbers, as rich's markup.

    Args:
        verdict: of one model.
        about: what to call it, in place of the model.
    """
    claim = f"{about}: {verdict.said}" if about else verdict.claim
    return f"[bold]{plain(claim)}[/bold] {plain(verdict.evidence)}"


def summary(results: "pd.DataFrame", out: Path, settings: "Settings") -> None:
    """What a run found: accuracies and a verdict for each model, and its strategies if there are
    more than two.
    """
    screen = console()
    screen.print(f"Protocol {_PROTOCOLS[settings.protocol]}.\nPurity of {_purity(settings)}.\n")
    accuracies(screen, results)
    for model in results.model.unique():
        if len(settings.strategies) > 2:
            screen.print(strategy_table(results, out, str(model)))
            screen.print()
    conclusions(screen, results, out)
    run_ends(screen, out)


def conclusions(screen: "Console", results: "pd.DataFrame", out: Path) -> None:
    """What half of the neurons keeps, and then what the tests say of the claim, for each model."""
    from purescope.studies.leaderboard import half_kept
    from purescope.tables.files import read_table
    from purescope.tables.schemas import CURVES

    said, curves = {verdict.model: verdict for verdict in verdicts(out)}, read_table(out, CURVES)
    for model in results.model.unique():
        half = half_kept(results, curves, model=str(model))
        if half:
            screen.print(plain(f"{model}: {half}"))
        if model in said:
            screen.print(verdict_line(said[model]))


def accuracies(screen: "Console", results: "pd.DataFrame") -> None:
    """The table of each model."""
    for model in results.model.unique():
        screen.print(result_table(results, str(model), screen.width))
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


def strategy_table(results: "pd.DataFrame", out: Path, model: str) -> "Table":
    """All strategies of one model, best first."""
    from purescope.studies.judging import above_chance
    from purescope.studies.leaderboard import leaderboard, winner
    from purescope.tables.files import read_table
    from purescope.tables.schemas import COMPARISONS, CURVES

    curves = read_table(out, CURVES)
    board = leaderboard(results, read_table(out, COMPARISONS), curves, model=model)
    best = winner(results, curves, model=model)
    sets, fewest = (
        len(above_chance(results, model)),
        results.k.min(),
    )  # the fewest that were tried are an upper bound
    screen = table(f"{model}: strategies, over all k and {sets} data set{'s' if sets > 1 else ''}")
    for name in ("strategy", "accuracy %", "minus random (95 % interval)", "p", "neurons for 95 %"):
        screen.add_column(name, justify="left" if name == "strategy" else "right")
    for row in board:
        difference, p = (
            ("" if row.over_random is None else str(row.over_random)),
            f"{row.p:.2g}" if row.p else "",
        )
        needed = f"≤ {row.needed:.0f}" if row.needed <= fewest else f"{row.needed:.0f}"
        screen.add_row(
            plain(row.strategy) + (" *" if row.labels else ""),
            f"{100 * row.area:.2f}",
            difference,
            p,
            needed,
        )
    marked = (
        "* looks at labels, of images that it is not judged on. "
        if any(row.labels for row in board)
        else ""
    )
    screen.caption = marked + (str(best) if best else "")
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
