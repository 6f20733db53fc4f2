"""Names, styles and numbers as text: how each thing is called, coloured and written everywhere.

Tables of the report keep the whole number beside its text. Everything that comes from outside, such
as labels and class names, is escaped here: it is text, never markup. The palette is that of Okabe
and Ito, whose colours can be distinguished by colour-blind readers; on the page, colours are CSS
variables, so themes are CSS.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from html import escape

_MINUS = "\u2212"
NONE = "–"


def percent(value: float | None, digits: int = 1) -> str:
    """Write a fraction in per cent, without the sign of per cent.

    Examples:
        >>> percent(0.1234), percent(float("nan"))
        ('12.3', '–')
    """
    return NONE if _missing(value) else minus(f"{100 * value:.{digits}f}")  # type: ignore[operator]


def points(value: float | None, digits: int = 2) -> str:
    """Write a difference of fractions in percentage points, with its sign unless it rounds to 0.

    Examples:
        >>> points(0.0125), points(-0.00001)
        ('+1.25', '0.00')
    """
    if _missing(value):
        return NONE
    text = f"{100 * value:+.{digits}f}"  # type: ignore[operator]
    return minus(text if text.strip("+-0.") else text[1:])


def plain(value: float | None, digits: int = 3) -> str:
    """Write a number with a fixed number of decimals."""
    return NONE if _missing(value) else minus(f"{value:.{digits}f}")


def short(value: float | None, digits: int = 3) -> str:
    """Write a number with a fixed number of significant digits, such as a p-value.

    Examples:
        >>> short(0.01234), short(1536.7)
        ('0.0123', '1,537')
    """
    if _missing(value):
        return NONE
    return minus(f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}")  # type: ignore[arg-type]


def measure(value: float | None, metric: str) -> str:
    """Write a value of a metric: a silhouette as it is, all others in per cent."""
    return plain(value) if metric == "silhouette" else percent(value)


@dataclass(frozen=True)
class Difference:
    """A difference of two mean accuracies, as a fraction, with its 95 % interval over images.

    Examples:
        >>> str(Difference(-0.0125, -0.02, 0.005))
        '-1.25 points (-2.00 to +0.50)'
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{signed_points(self.value)} points ({signed_interval(self.low, self.high)})"


def signed_points(value: float) -> str:
    """Write a difference of accuracies in percentage points, always with its sign, for a terminal.

    Examples:
        >>> signed_points(-0.0125)
        '-1.25'
    """
    return f"{100 * value:+.2f}"


def signed_interval(low: float, high: float) -> str:
    """Write an interval of differences of accuracies in percentage points.

    Examples:
        >>> signed_interval(-0.02, 0.005)
        '-2.00 to +0.50'
    """
    return f"{signed_points(low)} to {signed_points(high)}"


def purer(below: float | None) -> str:
    """Say in words how an overlap compares with those of random neurons.

    Args:
        below: per cent of random neurons whose overlap is larger.

    Examples:
        >>> purer(0.0), purer(36.5)
        ('more overlap than every random neuron', 'less overlap than 37 % of random neurons')
    """
    if below is None or math.isnan(below):
        return ""
    if below in (0, 100):
        return f"{'less' if below else 'more'} overlap than every random neuron"
    digits = 0 if 1 <= below <= 99 else 1
    rounded = math.floor(below * 10**digits + 0.5) / 10**digits
    return f"less overlap than {rounded:.{digits}f} % of random neurons"


def minus(text: str) -> str:
    """Replace hyphens by minus signs."""
    return text.replace("-", _MINUS)


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


_ROW = '<tr><th style="text-align:left">{}</th><td style="text-align:left">{}</td></tr>'


def definitions(title: str, entries: Mapping[str, object]) -> str:
    """Return a title and a table of two columns, as HTML.

    Examples:
        >>> definitions("a <b>", {"neurons": 512})
        '<div><b>a &lt;b&gt;</b><table><tbody><tr><th style="text-align:left">neurons</th>...'
    """
    rows = "".join(_ROW.format(escape(name), escape(str(value))) for name, value in entries.items())
    return f"<div><b>{escape(title)}</b><table><tbody>{rows}</tbody></table></div>"


# Colours of Okabe and Ito, and two more, for strategies without a colour in `PALETTE`.
_MORE = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A7B00", "#7A4FA3")
_DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3))
_SHAPES = ("diamond", "triangle-up", "cross", "triangle-down", "stroke")

_AXES = {
    "svd": "SVD basis",
    "cross": "shared basis",
    "pca": "PCA basis",
    "random_rotation": "random rotation",
}
NAMES = {
    "high_purity": "highest purity",
    "low_purity": "lowest purity",
    "random": "random",
    "full": "all neurons",
    "weight_norm": "largest weight norm",
    "activation_variance": "largest variance",
    "first_k": "first by index",
    "greedy_purity": "greedy purity",
    "pivoted_qr": "pivoted QR",
    "ape": "APE",
    "importance": "importance (by labels)",
    **_AXES,
}
METRIC_NAMES = {
    "accuracy": "Accuracy",
    "top5_accuracy": "Top-5 accuracy",
    "mean_class_recall": "Mean class recall",
    "silhouette": "Silhouette",
    "knn_accuracy@1": "Vote of the nearest image",
    "knn_accuracy@5": "Vote of the 5 nearest images",
    "knn_accuracy@20": "Vote of the 20 nearest images",
    "mean_average_precision": "Mean average precision",
    "linear_probe_accuracy": "Accuracy of a linear probe",
    **{f"image_retrieval_recall@{n}": f"Image retrieval, recall at {n}" for n in (1, 5, 10)},
    **{f"text_retrieval_recall@{n}": f"Text retrieval, recall at {n}" for n in (1, 5, 10)},
    **{
        f"text_retrieval_true_recall@{n}": f"Text retrieval, true recall at {n}" for n in (1, 5, 10)
    },
    "image_retrieval_ndcg@10": "Image retrieval, nDCG at 10",
    "text_retrieval_ndcg@10": "Text retrieval, nDCG at 10",
}


@dataclass(frozen=True)
class Look:
    """Name and style of one strategy.

    Args:
        name: name in the tables.
        label: name for readers.
        colour: a CSS value, ``var(--...)``.
        value: the value of that variable on a light page.
        dash: lengths of strokes and gaps.
        shape: shape of its points, by Vega's names; empty for none.
        filled: whether the points are filled.
        shown: whether it is shown at first.
    """

    name: str
    label: str
    colour: str
    value: str
    dash: tuple[int, ...]
    shape: str
    filled: bool = True
    shown: bool = True


def strategy_name(name: str) -> str:
    """Return the name of a strategy for readers.

    Examples:
        >>> strategy_name("svd@8")
        'SVD basis without its 8 strongest axes'
    """
    basis, band, dropped = name.partition("@")
    if band and is_axes(name):
        axes = "axis" if int(dropped) == 1 else f"{int(dropped)} strongest axes"
        return f"{NAMES[basis]} without its {axes}".replace("its axis", "its strongest axis")
    return NAMES.get(name, name.replace("_", " "))


def is_axes(name: str) -> bool:
    """Tell whether a strategy keeps axes and not neurons, as `purescope.maths.bases.is_basis` does
    with torch.

    Examples:
        >>> is_axes("svd@8"), is_axes("high_purity@8")
        (True, False)
    """
    basis, band, dropped = name.partition("@")
    return basis in _AXES and (not band or (dropped.isascii() and dropped.isdecimal()))


def looks(strategies: list[str]) -> list[Look]:
    """Return one look for each strategy, no two alike.

    High and low purity are shown first. Where a sweep lacks one of them, all strategies are.

    Examples:
        >>> [(look.name, look.shown) for look in looks(["random", "svd"])]
        [('random', True), ('svd', True)]
        >>> [look.shown for look in looks(["high_purity", "low_purity", "random", "svd"])]
        [True, True, True, False]
    """
    fixed: dict[str, tuple[tuple[int, ...], str, bool]] = {
        "high_purity": ((1, 0), "circle", True),
        "low_purity": ((6, 2), "square", False),
        "random": ((1, 0), "", True),
    }
    others = [name for name in strategies if name not in fixed]
    shown = not has_both_purities(strategies)
    styles = []
    for name in strategies:
        label = strategy_name(name)
        if name in fixed:
            dash, shape, filled = fixed[name]
            look = Look(name, label, _variable(name), PALETTE[name], dash, shape, filled)
        else:
            more = others.index(name)
            colour = more % len(_MORE)
            dash, shape = _DASHES[more % len(_DASHES)], _SHAPES[more % len(_SHAPES)]
            variable = f"var(--more-{colour + 1})"
            look = Look(name, label, variable, _MORE[colour], dash, shape, shown=shown)
        styles.append(look)
    return styles


def has_both_purities(strategies: Collection[str]) -> bool:
    """Tell whether high and low purity, which the experiment compares, are among strategies."""
    return {"high_purity", "low_purity"} <= set(strategies)


def variables() -> dict[str, str]:
    """Return the CSS variables of all colours on a light page.

    The stylesheet derives those of the dark page from them.
    """
    named = {
        name.replace("_", "-"): PALETTE[name]
        for name in ("high_purity", "low_purity", "random", "image", "text")
    }
    more = {f"more-{number}": value for number, value in enumerate(_MORE, start=1)}
    return {f"--light-{name}": value for name, value in (named | more).items()}


def _variable(name: str) -> str:
    return f"var(--{name.replace('_', '-')})"


PALETTE = {
    "high_purity": "#0072B2",
    "low_purity": "#D55E00",
    "random": "#6E6E6E",
    "full": "#000000",
    "gap": "#009E73",
    "gap_to_random": "#0072B2",
    "order": "#000000",
    "other": "#000000",
    "image": "#56B4E9",
    "text": "#E69F00",
}
"""Colour of each strategy, curve or tower. Blue and vermilion are equally dark in grey print, and
both can be read on black and on white.
"""
