"""Shapes in signatures are checked, by jaxtyping and beartype, in every module that has some."""

import functools
import inspect
import sys
from collections.abc import Callable
from functools import cached_property
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import FunctionType, ModuleType
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

    jaxtyping's own hook does so for functions without shapes too, and prepares a function within
    another at every call of that, also where it is told otherwise: a sixth of all time.
    """
    sys.meta_path.insert(0, _Finder(frozenset(modules_with_shapes())))


class _Finder(MetaPathFinder):
    def __init__(self, modules: frozenset[str]) -> None:
        self._modules = modules

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname not in self._modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = CheckingLoader(fullname, spec.origin)
        return spec


class CheckingLoader(SourceFileLoader):
    """Loads a module and puts a check around each of its functions and methods with shapes."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _check_all(module, module.__name__)
        for one in list(vars(module).values()):
            if isinstance(one, type) and one.__module__ == module.__name__:
                _check_all(one, module.__name__)


def _check_all(owner: ModuleType | type, module: str) -> None:
    for name, one in list(vars(owner).items()):
        if isinstance(one, FunctionType) and one.__module__ == module:
            setattr(owner, name, _checked(one))
        elif isinstance(one, classmethod | staticmethod):
            setattr(owner, name, type(one)(_checked(one.__func__)))
        elif isinstance(one, property):
            setattr(owner, name, property(_checked(one.fget), doc=one.__doc__))
        elif isinstance(one, cached_property):
            one.func = _checked(one.func)


def _checked(function: Any) -> Any:
    """The function with a check of its shapes, prepared when it is first asked for."""
    if not any("jaxtyping" in str(one) for one in function.__annotations__.values()):
        return function
    prepared: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def check(*given: Any, **named: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return function(*given, **named)
        if not prepared:
            prepared.append(_prepared(function))
        return prepared[0](*given, **named)

    return check


def _prepared(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function):  # is checked as it goes on, after the call
        return jaxtyping.jaxtyped(function, typechecker=beartype)
    checked = beartype(function)  # checks each argument once

    def within_a_context(*given: Any, **named: Any) -> Any:
        with jaxtyping.jaxtyped("context"):
            return checked(*given, **named)

    return within_a_context  # as a decorator, jaxtyping would bind arguments at every call too
