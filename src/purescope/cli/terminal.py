"""Tables, verdicts and last lines that several commands print."""

import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from purescope.cli.output import WIDTH, escape, to_line
from purescope.formats import METRIC_NAMES, PALETTE

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, RenderableType
    from rich.table import Table

    from purescope.runs.inputs import Settings
    from purescope.tables.results import Results
    from purescope.tables.verdicts import Verdict

_NARROW = 100  # columns: a narrower terminal shows less of each table
_MIN_WIDTH = 40  # columns: with fewer, the columns of a table would be one letter wide
_STRATEGIES = {"high_purity": "high purity", "random": "random", "low_purity": "low purity"}
# Numbers have the terminal's own colour. These colours can be read on dark and light terminals.
_COLOURS = {
    "high_purity": PALETTE["high_purity"],
    "random": "default",
    "low_purity": PALETTE["low_purity"],
}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_SPACES = {"weights": "weights", "activations": "activations", "centred": "centred activations"}
_TITLES = {"accuracy": "zero-shot accuracy"}
_PROTOCOLS = {
    "native": "native: each checkpoint's preprocess, each dataset's prompts and cleaned class "
    "names",
    "paper": "paper: OpenAI's preprocess, 'a photo of a {}' and raw class names, whatever the "
    "checkpoint",
}


def make_console() -> "Console":
    """Return standard output for rich.

    It is as wide as the terminal. A file or pipe is wide enough for every table.
    """
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    width = max(_MIN_WIDTH, shutil.get_terminal_size().columns) if is_terminal else WIDTH
    # Without emoji, because ":cat:" may be the name of a class.
    return Console(width=width, highlight=False, emoji=False)


def make_table(title: str, *columns: str, **options: Any) -> "Table":
    """Return an empty table with a rule below the headings and no boxes.

    Args:
        title: title, which is printed as it is.
        columns: headings of the columns.
        options: options of `rich.table.Table`.
    """
    from rich import box
    from rich.table import Table

    style: dict[str, Any] = {
        "title_justify": "left",
        "title_style": "bold",
        "caption_justify": "left",
        "caption_style": "",
        "header_style": "",
        "padding": (0, 1),
        "box": box.SIMPLE_HEAD,
        "show_edge": False,
        "pad_edge": False,
    }
    return Table(*columns, title=escape(title), **style | options)


def add_row(table: "Table", *cells: "RenderableType | None") -> None:
    """Add a row to a table; each text becomes one line.

    A cell is markup of ours, or a name from outside in `purescope.cli.output.escape`.
    """
    table.add_row(*(to_line(cell) if isinstance(cell, str) else cell for cell in cells))


def accuracy_table(points: "pd.DataFrame", width: int = WIDTH, metric: str = "accuracy") -> "Table":
    """Return one model's accuracies in per cent, with a small curve of each strategy over the ks.

    Each dataset has a row with the accuracy of chance, of all neurons, and of each strategy at the
    smallest and at the largest k. Of several random orders it is the median. The curves of a
    dataset share one scale, from the smallest to the largest value in them. If `width` is small,
    images and chance are left out, and curves are shorter.

    Args:
        points: the model's rows of `purescope.tables.schemas.CURVE_POINTS`.
        width: width of the terminal, in characters.
        metric: accuracy, or another metric that is a fraction.
    """
    narrow = width < _NARROW
    rows = points[points.metric == metric]
    ks = [int(k) for k in sorted(rows[rows.strategy != "full"].k.unique())]
    first = rows.iloc[0]
    table = make_table(
        f"{first.model}: {_TITLES.get(metric) or METRIC_NAMES[metric]} in %, "
        f"keeping {_k_range(ks)} of {first.neurons:,} neurons"
    )
    for name in ("dataset", "all") if narrow else ("dataset", "images", "chance", "all"):
        table.add_column(name, justify="left" if name == "dataset" else "right", no_wrap=True)
    strategies = [name for name in _STRATEGIES if (rows.strategy == name).any()]
    for name in strategies:
        draws = rows[rows.strategy == name].draws.max()
        heading = _STRATEGIES[name] + (f", of {draws:,}" if draws > 1 else "")
        table.add_column(heading, no_wrap=True)
    for dataset, dataset_rows in rows.groupby("dataset", sort=False):
        first = dataset_rows.iloc[0]
        by_strategy = {
            str(name): 100 * strategy_rows.set_index("k").value.sort_index()
            for name, strategy_rows in dataset_rows.groupby("strategy", sort=False)
        }
        curves = {name: by_strategy[name].tolist() for name in strategies if name in by_strategy}
        values = [value for curve in curves.values() for value in curve]
        low, high = min(values, default=0.0), max(values, default=0.0)
        most = 8 if narrow else 16
        cells = [
            _curve_cell(curves.get(name, []), low, high, _COLOURS[name], most)
            for name in strategies
        ]
        counts = [] if narrow else [f"{first.n:,}", f"{100 * first.chance:.1f}"]
        full = f"{by_strategy['full'].iloc[0]:.1f}"
        add_row(table, escape(str(dataset)), *counts, full, *cells)
    return table


def _k_range(ks: list[int]) -> str:
    """Return the range of the ks as text."""
    return f"{ks[0]:,}" if len(ks) == 1 else f"{ks[0]:,} to {ks[-1]:,}"


def _curve_cell(curve: list[float], low: float, high: float, colour: str, most: int) -> str:
    """Return the first value, the curve and the last value."""
    if len(curve) < 2:
        return f"{curve[0]:4.1f}" if curve else ""
    return f"{curve[0]:4.1f} [{colour}]{sparkline(curve, low, high, most)}[/] {curve[-1]:4.1f}"


def sparkline(values: Sequence[float], low: float, high: float, most: int = 16) -> str:
    """Return a curve in block characters, one for each value, and at most `most` of them.

    Examples:
        >>> sparkline([0.0, 0.5, 1.0], low=0.0, high=1.0)
        '▁▄█'
        >>> sparkline([0.3, 0.3], low=0.3, high=0.3)
        '▄▄'
    """
    step = -(-len(values) // most)
    if high <= low:
        return "▄" * len(values[::step])
    heights = [round(7 * (value - low) / (high - low) - 1e-9) for value in values[::step]]
    return "".join(_BLOCKS[1 + height] for height in heights)


def verdict_line(verdict: "Verdict", name: str = "") -> str:
    """Return a verdict as a sentence and its numbers, as markup of rich.

    Args:
        verdict: verdict on one model.
        name: name to print in place of the model's label.
    """
    claim = f"{name}: {verdict.conclusion}" if name else verdict.claim
    return f"[bold]{escape(claim)}[/bold] {escape(verdict.evidence)}"


def print_summary(
    results: "Results",
    settings: "Settings",
    print_more: "Callable[[Console, Results], None] | None" = None,
) -> None:
    """Print the settings, and the accuracies and verdict of each model.

    If a run has more strategies than high and low purity, all strategies are printed too.
    `print_more` prints what else was measured, above the verdicts.
    """
    from purescope.tables.schemas import STANDINGS

    console = make_console()
    console.print(f"Protocol {_PROTOCOLS[settings.protocol]}.\nPurity of {_purity(settings)}.\n")
    print_accuracies(console, results)
    if len(settings.strategies) > 2:
        smallest_k = int(results.table("results").k.min())
        for _, standings in results.rows(STANDINGS).groupby("model", sort=False):
            console.print(strategy_table(standings, smallest_k))
            console.print()
    if print_more is not None:
        print_more(console, results)
    print_conclusions(console, results)
    print_files(console, results.path)


def print_conclusions(console: "Console", results: "Results") -> None:
    """Print, for each model, what half of the neurons keep, and the verdict on the claim."""
    from purescope.tables.schemas import STANDINGS
    from purescope.tables.verdicts import half_sentence

    standings = results.rows(STANDINGS)
    for model in results.models:
        half = half_sentence(standings[standings.model == model])
        if half:
            console.print(escape(f"{model}: {half}"))
        if model in results.verdicts:
            console.print(verdict_line(results.verdicts[model]))


def print_accuracies(console: "Console", results: "Results") -> None:
    """Print the accuracies of each model."""
    every = results.table("curve_points")
    for _, points in every[every.metric == "accuracy"].groupby("model", sort=False):
        console.print(accuracy_table(points, console.width))
        console.print()


def print_files(console: "Console", out: Path, **more: str) -> None:
    """Print what the folder of a run holds, and further lines."""
    tables = "Tables, figures, manifest" if (out / "figures").is_dir() else "Tables, manifest"
    print_next_steps(console, report_line(out) | {tables: str(out)} | more)


def report_line(out: Path) -> dict[str, str]:
    """Return the line for `print_next_steps` that names the report, if there is one."""
    report = out / "report.html"
    return {"Look": str(report)} if report.is_file() else {}


def print_next_steps(console: "Console", steps: Mapping[str, str]) -> None:
    """Print the last lines of a command: what to open or to type."""
    console.print()
    width = max(map(len, steps)) + 1
    for name, what in steps.items():
        console.print(f"[bold]{name + ':':<{width}}[/bold] {escape(what)}", soft_wrap=True)


def runnable(command: str) -> str:
    """Return a command that begins with ``purescope`` as the user can type it here.

    If PATH has no purescope, or another one, it begins with the path of the running one.
    """
    running, on_path = Path.cwd() / sys.argv[0], shutil.which("purescope")
    if running.stem != "purescope" or (
        on_path is not None and Path(on_path).resolve() == running.resolve()
    ):
        return command
    shown = running.relative_to(Path.cwd()) if running.is_relative_to(Path.cwd()) else running
    return f"{shlex.quote(str(shown))}{command.removeprefix('purescope')}"


def strategy_table(standings: "pd.DataFrame", smallest_k: int) -> "Table":
    """Return all strategies of one model, best first.

    Args:
        standings: the model's rows of `purescope.tables.schemas.STANDINGS`.
        smallest_k: smallest k of the run. Fewer neurons may be enough, so it is an upper bound.
    """
    from purescope.formats import Difference
    from purescope.tables.schema import each_row
    from purescope.tables.verdicts import best_sentence

    model, sets = standings.model.iloc[0], int(standings.sets.iloc[0])
    table = make_table(
        f"{model}: strategies, over all k and {sets} dataset{'s' if sets > 1 else ''}"
    )
    for name in ("strategy", "accuracy %", "minus random (95 % interval)", "p", "neurons for 95 %"):
        table.add_column(name, justify="left" if name == "strategy" else "right")
    ranked = standings[standings.place > 0]
    for row in each_row(ranked):
        tested = row.over_random == row.over_random  # not NaN
        difference = Difference(row.over_random, row.over_random_low, row.over_random_high)
        add_row(
            table,
            escape(str(row.strategy)) + (" *" if row.labels else ""),
            f"{100 * row.area:.2f}",
            str(difference) if tested else "",
            f"{row.p:.2g}" if tested else "",
            f"≤ {row.needed:.0f}" if row.needed <= smallest_k else f"{row.needed:.0f}",
        )
    footnote = "* uses labels, of other images than it is evaluated on. "
    table.caption = (footnote if ranked.labels.any() else "") + best_sentence(ranked)
    return table


def _purity(settings: "Settings") -> str:
    """Describe how purity was measured, and which settings differ from the experiment."""
    text = _SPACES[settings.space]
    if settings.measure != "l1":
        text += f", by {settings.measure}"
    if settings.towers != "both":
        text += f", of towers: {settings.towers}"
    if settings.ablation != "zero":
        text += f"; dropped neurons are set to: {settings.ablation}"
    if settings.renormalise:
        text += "; class features renormalised over the kept neurons"
    return text


def histogram(values: "pd.Series[float]", title: str, *, bins: int = 24, height: int = 5) -> str:
    """Return a histogram in block characters, `height` lines tall, with the range below it.

    Examples:
        >>> import pandas as pd
        >>> print(histogram(pd.Series([0.0, 0.0, 1.0]), "overlap", bins=2, height=1))
        █▄
        0.0000 .. 1.0000 overlap
    """
    import numpy as np

    counts, edges = np.histogram(values.dropna(), bins)
    # Each line of text is eight eighths of a block tall.
    eighths = np.ceil(counts * 8 * height / max(counts.max(), 1)).astype(int)
    lines = [
        "".join(_BLOCKS[min(8, max(0, count - 8 * row))] for count in eighths)
        for row in reversed(range(height))
    ]
    return "\n".join([*lines, f"{edges[0]:.4f} .. {edges[-1]:.4f} {title}"])
