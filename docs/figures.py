"""The drawings of the documentation, each for a light and a dark page: `python docs/figures.py`
writes docs/figures/.

The 3-neuron example is that of docs/idea.md, whose numbers a doctest works out; the histogram is of
the bundled pair.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from purescope.formats import PALETTE
from purescope.maths.overlaps import (
    Projections,
    cosine_gram,
    overlap,
    random_overlap,
    total_overlap,
)
from purescope.models import load_model

IMAGE = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
TEXT = torch.tensor([[4.0, 3.0], [0.0, 2.0], [-1.0, 0.0]])
_NEURONS = (
    PALETTE["image"],
    PALETTE["text"],
    PALETTE["gap"],
)  # of the palette, those that are far apart
_INKS = {"light": "#262626", "dark": "#D6D6D6"}


def pipeline(ink: str) -> Figure:
    """What happens to a picture and to a class name, and where neurons are dropped."""
    figure = Figure(figsize=(9.0, 2.9))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 90), ylim=(0, 29))
    axes.axis("off")
    for y, words, colour in (
        (20, ("a picture", "image\ntower"), "image"),
        (7, ("“a photo of\na cat”", "text\ntower"), "text"),
    ):
        for x, width, word in ((1, 12, words[0]), (18, 11, words[1])):
            _box(axes, x, y - 3.5, width, 7, word, ink)
        _box(axes, 34, y - 3.5, 12, 7, "projection\n$d$ rows", ink, PALETTE[colour])
        for start, end in ((13.6, 17.4), (29.6, 33.4), (46.6, 50.4)):
            axes.annotate(
                "", (end, y), (start, y), arrowprops={"arrowstyle": "-|>", "color": ink, "lw": 1.2}
            )
        for i in range(12):
            kept = i not in (2, 5, 6, 10)
            face = PALETTE[colour] if kept else "none"
            axes.add_patch(
                FancyBboxPatch(
                    (51 + 1.45 * i, y - 2),
                    0.95,
                    4,
                    "round,pad=0,rounding_size=0.3",
                    fc=face,
                    ec=ink,
                    lw=0.7,
                )
            )
    axes.text(
        59.5,
        13.5,
        "$d$ neurons: keep $k$ of them,\nthe same in both towers",
        color=ink,
        ha="center",
        va="center",
    )
    for y in (18, 9):
        axes.annotate(
            "",
            (75.4, 15 if y > 14 else 12),
            (69.6, y),
            arrowprops={"arrowstyle": "-|>", "color": ink, "lw": 1.2},
        )
    axes.text(
        82.4, 13.5, "which class\nfits best?", color=ink, ha="center", va="center", weight="bold"
    )
    return figure


def neurons(ink: str) -> Figure:
    """The rows of both towers as arrows."""
    figure = Figure(figsize=(8.2, 2.6), layout="constrained")
    for axes, name, rows in zip(
        figure.subplots(1, 2), ("image tower", "text tower"), (IMAGE, TEXT), strict=True
    ):
        axes.set(aspect="equal", xlim=(-1.75, 1.75), ylim=(-0.15, 1.25))
        axes.axis("off")
        axes.set_title(name, color=ink)
        turn = np.linspace(0, np.pi, 100)
        axes.plot(np.cos(turn), np.sin(turn), color=ink, lw=0.6, alpha=0.5)
        for j, (row, colour) in enumerate(
            zip(rows / rows.norm(dim=1, keepdim=True), _NEURONS, strict=True)
        ):
            x, y = row.tolist()
            axes.annotate(
                "",
                (x, y),
                (0, 0),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": colour,
                    "lw": 3,
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
            )
            beside = (
                "center" if abs(x) < 0.3 else "left" if x > 0 else "right"
            )  # never on the head of its arrow
            axes.text(
                1.06 * x,
                1.06 * y,
                f"neuron {j}",
                color=ink,
                ha=beside,
                va="bottom" if y > 0.3 else "center",
            )
    return figure


def cosines(ink: str) -> Figure:
    """Absolute cosines in both towers, and the sums by which neurons are ranked."""
    figure = Figure(figsize=(8.2, 2.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
    for axes, name, rows in (
        (left, "image tower, |cos|", IMAGE),
        (middle, "text tower, |cos|", TEXT),
    ):
        gram = cosine_gram(rows).abs()
        axes.imshow(gram.fill_diagonal_(0), cmap="Blues", vmin=0, vmax=1.6)
        for i in range(3):
            for j in range(3):
                axes.text(
                    j,
                    i,
                    "–" if i == j else f"{gram[i, j]:.1f}",
                    ha="center",
                    va="center",
                    color="#262626",
                    size=12,
                )
        axes.set_title(name, color=ink)
        _ticks(axes, ink)
    totals = total_overlap(Projections(IMAGE, TEXT)).tolist()
    right.barh(range(3), totals, color=_NEURONS, height=0.62)
    ranks = np.argsort(np.argsort(totals))
    for j, (total, rank) in enumerate(zip(totals, ranks, strict=True)):
        right.text(0.06, j, f"{total:.1f}", va="center", color="#262626", weight="bold")
        right.text(
            total + 0.06, j, ("purest", "second", "least pure")[rank], va="center", color=ink
        )
    right.set(
        xlim=(0, 3.1),
        ylim=(2.5, -0.5),
        yticks=range(3),
        yticklabels=["neuron 0", "neuron 1", "neuron 2"],
        xticks=[],
    )
    right.set_title("sum over both towers", color=ink)
    right.tick_params(colors=ink, length=0)
    right.spines[:].set_visible(False)
    return figure


def overlaps(ink: str) -> Figure:
    """Overlap of the bundled pair's neurons, against random weights of each tower's width."""
    figure = Figure(figsize=(7.6, 2.9), layout="constrained")
    for axes, name in zip(
        figure.subplots(1, 2, sharex=True, sharey=True), ("clip", "laclip"), strict=True
    ):
        model = load_model(f"bundled:{name}")
        for tower, rows in (("image", model.projections.image), ("text", model.projections.text)):
            axes.hist(
                overlap(rows).numpy(),
                bins=np.linspace(0.02, 0.2, 46),
                color=PALETTE[tower],
                alpha=0.85,
                label=f"{tower} tower",
            )
            axes.axvline(
                random_overlap(rows.shape[1]),
                color=ink,
                lw=1.2,
                ls="--" if tower == "text" else "-",
                label=f"random weights, {tower} tower",
            )
        axes.set_title(model.label, color=ink)
        axes.set_xlabel("overlap: mean |cos| with the others", color=ink)
        axes.tick_params(colors=ink)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color(ink)
    figure.axes[0].set(ylim=(0, 160))
    figure.axes[0].set_ylabel("neurons", color=ink)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        frameon=False,
        labelcolor=ink,
        loc="outside lower center",
        ncols=4,
        fontsize=9,
    )
    return figure


def _ticks(axes: Axes, ink: str) -> None:
    axes.set(xticks=range(3), yticks=range(3))
    axes.tick_params(colors=ink, length=0)
    axes.spines[:].set_visible(False)


def _box(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    words: str,
    ink: str,
    colour: str = "none",
) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height, "round,pad=0,rounding_size=1", fc=colour, ec=ink, lw=1.1
        )
    )
    axes.text(
        x + width / 2,
        y + height / 2,
        words,
        ha="center",
        va="center",
        color="#262626" if colour != "none" else ink,
    )


DRAWINGS: dict[str, Callable[[str], Figure]] = {
    "pipeline": pipeline,
    "neurons": neurons,
    "cosines": cosines,
    "overlaps": overlaps,
}


def write(folder: Path) -> None:
    """Write each drawing twice, the same bytes every time."""
    folder.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        for page, ink in _INKS.items():
            with rc_context(
                {"svg.hashsalt": "purescope", "font.size": 11, "mathtext.fontset": "dejavusans"}
            ):
                metadata = {"Date": None, "Creator": "purescope"}
                draw(ink).savefig(
                    folder / f"{name}-{page}.svg", transparent=True, metadata=metadata
                )


if __name__ == "__main__":
    write(Path(__file__).parent / "figures")
