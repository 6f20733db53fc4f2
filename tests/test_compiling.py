"""Loops are compiled wherever they run."""

from typing import Any

import numba
import pytest

from purescope import compiling


def test_loops_are_compiled_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    monkeypatch.setattr(compiling, "njit", refuse)
    assert compiling.compiled(lambda number: number + 1)(2) == 3
