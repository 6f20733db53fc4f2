"""Compile loops over arrays of NumPy into machine code."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

Given = ParamSpec("Given")
Result = TypeVar("Result")


def compiled(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Compile a function when it is first called; threads run it side by side.

    The machine code is kept beside the module, or in numba's own cache. Where neither can be
    written, each process compiles anew.

    Examples:
        >>> import numpy as np
        >>> @compiled
        ... def total(values):
        ...     result = 0.0
        ...     for value in values:
        ...         result += value
        ...     return result
        >>> total(np.ones(3))
        3.0
    """
    try:
        result = njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:
        result = njit(nogil=True, error_model="numpy")(function)
    return cast(Callable[Given, Result], result)
