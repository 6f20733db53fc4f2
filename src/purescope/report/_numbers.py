"""Numbers as the page shows them; the page's tables keep the whole ones beside them."""

import math

_MINUS = "\u2212"
NONE = "–"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in per cent, without the sign.

    Examples:
        >>> percent(0.1234), percent(float("nan"))
        ('12.3', '–')
    """
    return NONE if _missing(value) else _signed(f"{100 * value:.{digits}f}")  # type: ignore[operator]


def points(value: float | None, digits: int = 2) -> str:
    """A difference of fractions in percentage points, with its sign.

    Examples:
        >>> points(0.0125)
        '+1.25'
    """
    return NONE if _missing(value) else _signed(f"{100 * value:+.{digits}f}")  # type: ignore[operator]


def plain(value: float | None, digits: int = 3) -> str:
    """A number to so many decimals."""
    return NONE if _missing(value) else _signed(f"{value:.{digits}f}")


def short(value: float | None, digits: int = 3) -> str:
    """A number to so many significant digits; p-values and whatever has its own scale."""
    return NONE if _missing(value) else _signed(f"{value:.{digits}g}")


def measure(value: float | None, metric: str) -> str:
    """A value of a metric: silhouettes as they are, all else in per cent."""
    return plain(value) if metric == "silhouette" else percent(value)


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _signed(text: str) -> str:
    return text.replace("-", _MINUS)
