"""Write numbers as text, and describe objects in the HTML of a notebook.

Tables of the report keep the whole number beside its text. Everything that comes from outside, such
as labels and class names, is escaped here: it is text, never markup.
"""

import math
from collections.abc import Mapping
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
