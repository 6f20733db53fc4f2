"""Looks of lines and sizes of figures, for a screen or for a paper."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import matplotlib

from purescope.errors import InputError, near_miss
from purescope.formats import Look

# No two lines share both line style and marker, since two colours of the palette look alike in grey
# print.
INK, AXIS, GRID = "#262626", "#8A8A8A", "#E3E3E3"
BAND, RANGE = "#CFCFCF", "#ECECEC"  # the middle 90 % of the random orders, and all of them
# Even in lightness, also for colour-blind readers; small values are as light as paper.
COLOUR_MAP = "magma_r"

DASHED, DOTTED, DASH_DOTTED = (0, (6, 1.5)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5))
_OPEN = {"markerfacecolor": "white", "markeredgewidth": 1.7}
# Widths are in points on a screen; `Style.line` scales them.
LINES: dict[str, dict[str, Any]] = {
    "high_purity": {"linestyle": "-", "marker": "o", "linewidth": 2, "markersize": 6, "zorder": 5},
    "low_purity": {
        "linestyle": DASHED,
        "marker": "s",
        "linewidth": 2,
        "markersize": 6,
        "zorder": 4,
        **_OPEN,
    },
    "random": {"linestyle": "-", "marker": "", "linewidth": 1.3, "markersize": 5, "zorder": 3},
    "full": {
        "linestyle": (0, (3, 2)),
        "marker": "",
        "linewidth": 1.3,
        "markersize": 5,
        "zorder": 2.5,
    },
    "gap": {"linestyle": "-", "marker": "^", "linewidth": 2, "markersize": 7, "zorder": 5},
    "gap_to_random": {
        "linestyle": DASHED,
        "marker": "o",
        "linewidth": 2,
        "markersize": 6,
        "zorder": 5,
        **_OPEN,
    },
    "other": {"linestyle": "-", "marker": "D", "linewidth": 2, "markersize": 6, "zorder": 4},
    "order": {"linestyle": "-", "marker": "^", "linewidth": 2, "markersize": 7, "zorder": 5},
    "image": {"linestyle": "-", "marker": "o", "linewidth": 2, "markersize": 6, "zorder": 5},
    "text": {
        "linestyle": DASHED,
        "marker": "s",
        "linewidth": 2,
        "markersize": 6,
        "zorder": 4,
        **_OPEN,
    },
}
LABELS = {"high_purity": "highest purity kept", "low_purity": "lowest purity kept"}
_MARKERS = {"diamond": "D", "triangle-up": "^", "cross": "P", "triangle-down": "v", "stroke": "_"}


def look_of(look: Look) -> tuple[str, dict[str, Any]]:
    """Return the line of `LINES` for a strategy, and what is changed of it.

    Examples:
        >>> from purescope.formats import looks
        >>> look_of(looks(["high_purity"])[0])
        ('high_purity', {})
        >>> name, changes = look_of(looks(["svd"])[0])
        >>> name, changes["color"], changes["marker"]
        ('other', '#009E73', 'D')
    """
    if look.name in LINES:
        return look.name, {}
    solid = look.dash[1] == 0
    changes = {
        "color": look.value,
        "markeredgecolor": look.value,
        "marker": _MARKERS[look.shape],
        "linestyle": "-" if solid else (0, tuple(look.dash)),
    }
    return "other", changes


# Widths of a column and of the text of a page, in inches, from the class files of the venues.
VENUES: dict[str, tuple[float, float]] = {
    "neurips": (5.5, 5.5),  # neurips_2025.sty: textwidth=5.5in
    "iclr": (5.5, 5.5),  # iclr2025_conference.sty: \textwidth 5.5in
    "icml": (3.25, 6.75),  # icml2025.sty: \textwidth 6.75in, \columnsep 0.25in
    "cvpr": (
        3.28125,
        6.875,
    ),  # cvpr.sty (ICCV and WACV too): \textwidth 6.875in, \columnsep 0.3125in
    "eccv": (12.2 / 2.54, 12.2 / 2.54),  # llncs.cls: \textwidth 12.2cm
    "acl": (7.7 / 2.54, 16 / 2.54),  # acl.sty: A4 with margin=2.5cm, \columnsep 0.6cm
    "aaai": (3.3125, 7.0),  # aaai25.sty: \textwidth 7.0in, \columnsep 0.375in
    "ieee": (252 / 72.27, 516 / 72.27),  # IEEEtran.cls: \columnwidth 252pt, \textwidth 516pt
    "tmlr": (6.5, 6.5),  # tmlr.sty: \textwidth 6.5in
    "jmlr": (6.0, 6.0),  # jmlr2e.sty: \textwidth 6in
}
WIDTHS = ("column", "text")


@dataclass(frozen=True)
class Style:
    """Sizes of figures in inches, and of text in points."""

    name: str = "screen"
    column: float = 6.8  # width of a figure with one panel
    wide: float = 9.0  # width of a figure with several panels side by side
    single: float = 4.4  # height of a figure with one panel
    row: float = 3.1  # height of each row of panels
    margin: float = 0.9  # height of heading and legend
    across: int = 4  # panels in a row, at most
    stack: int = 0  # up to this number, panels stand one above another in a column
    title: float = 10.5
    label: float = 10.0
    small: float = 9.0  # ticks and legend
    spacing: float = 1.2  # between lines of text
    letter: float = 0.53  # width of a letter, relative to the size of the type
    line: float = 1.0  # widths of lines and markers, relative to `LINES`
    pad: float = 0.08
    dpi: int = 200
    headings: bool = True  # a paper has captions instead
    svg_text: str = "none"  # "path" draws outlines, which need no font where the file is opened
    font: tuple[str, ...] = ()  # empty for the settings of the user

    @property
    def settings(self) -> Any:
        """Settings of matplotlib while figures of this style are drawn and saved."""
        settings: dict[str, Any] = {
            "svg.fonttype": self.svg_text,
            "svg.hashsalt": "purescope",
            "pdf.fonttype": 42,
        }
        if self.name == "paper":
            thin = {"axes.linewidth": 0.6, "hatch.linewidth": 0.5, "patch.linewidth": 0.6}
            ticks = {
                f"{axis}tick.major.{what}": size
                for axis in "xy"
                for what, size in (("width", 0.6), ("size", 2.5))
            }
            settings |= (
                thin
                | ticks
                | {"font.family": list(self.font), "axes.labelpad": 2.5, "axes.titlepad": 3.5}
            )
        return settings


SCREEN = Style()
_current: ContextVar[Style] = ContextVar("style", default=SCREEN)


def paper(venue: str = "neurips", width: str = "column") -> Style:
    """Return the style for papers of a venue: as wide as its columns, with thin lines.

    The type is similar to Times, in 8 and 9 points.

    Raises:
        InputError: the venue or the width is unknown.
    """
    for given, known in ((venue, VENUES), (width, WIDTHS)):
        if given not in known:
            raise InputError(
                f"unknown {'width' if known is WIDTHS else 'venue'} {given!r}",
                **near_miss(given, known),
            )
    column, text = VENUES[venue]
    # STIX comes with matplotlib, so figures are the same on every machine. DejaVu has the letters
    # that STIX lacks.
    font = ("STIXGeneral", "DejaVu Sans")
    sizes: dict[str, Any] = {
        "single": 0.3 + min(0.65 * column, 2.5),
        "row": 1.65,
        "margin": 0.5,
        "across": 3,
    }
    sizes["stack"] = 4 if width == "column" and column < text else 0
    type_sizes: dict[str, Any] = {
        "title": 9.0,
        "label": 9.0,
        "small": 8.0,
        "spacing": 1.0,
        "letter": 0.43,
    }
    look: dict[str, Any] = {
        "line": 0.55,
        "pad": 0.02,
        "dpi": 400,
        "headings": False,
        "svg_text": "path",
    }
    return Style("paper", column, text, font=font, **sizes, **type_sizes, **look)


def current() -> Style:
    """Return the style in which figures are drawn now."""
    return _current.get()


@contextmanager
def style(
    name: str = "screen", *, venue: str = "neurips", width: str = "column"
) -> Iterator[Style]:
    """Draw and save figures in a style within a ``with`` block.

    Args:
        name: ``screen``, or ``paper``, which has no headings, since papers have captions.
        venue: size figures for the columns of this venue, a name in `VENUES`.
        width: for a venue with two columns, ``column`` stacks up to four panels in one column, and
            only wider figures span both; ``text`` sets panels side by side, over both columns.

    Raises:
        InputError: one of them is unknown.

    Examples:
        >>> with style("paper", venue="icml") as chosen:
        ...     chosen.column, chosen.wide
        (3.25, 6.75)
    """
    if name not in ("screen", "paper"):
        raise InputError(f"unknown style {name!r}", expected="screen or paper")
    with drawn_in(paper(venue, width) if name == "paper" else SCREEN) as chosen:
        yield chosen


@contextmanager
def drawn_in(chosen: Style) -> Iterator[Style]:
    """Draw figures in a given `Style` within a ``with`` block."""
    token = _current.set(chosen)
    try:
        with matplotlib.rc_context(chosen.settings):
            yield chosen
    finally:
        _current.reset(token)
