"""Shapes in signatures are checked, by jaxtyping and beartype, in every module that has some."""

import functools
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import jaxtyping
from beartype import beartype

_SOURCE = Path(__file__).parents[1] / "src"


def modules_with_shapes() -> list[str]:
    """The names of the modules whose signatures have shapes."""
    return [
        ".".join(path.relative_to(_SOURCE).with_suffix("").parts)
        for path in sorted(_SOURCE.rglob("*.py"))
        if "from jaxtyping import" in path.read_text(encoding="utf-8")
    ]


def check_shapes() -> None:
    """Check them from now on, in modules that are not imported yet, where jaxtyping is not told
    otherwise.
    """
    jaxtyping.install_import_hook(modules_with_shapes(), "tests.shapes.lazily")


def lazily(checked: Any) -> Any:
    """Beartype's check of a signature, prepared when it is first asked for.

    To prepare all functions takes seconds in each process, and a function within another is
    prepared at every call of that.
    """
    if not isinstance(checked, FunctionType):
        return beartype(checked)
    prepared: list[Callable[..., Any]] = []

    @functools.wraps(checked)
    def check(*given: Any, **named: Any) -> Any:
        if not prepared:
            prepared.append(beartype(checked))
        return prepared[0](*given, **named)

    return check
