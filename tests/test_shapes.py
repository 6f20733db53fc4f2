"""Shapes in signatures are checked, wherever there are some."""

import importlib
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation

from tests.shapes import CheckingLoader, modules_with_shapes


def test_every_module_with_shapes_has_them_checked() -> None:
    """The others are left out, for time."""
    modules = modules_with_shapes()
    assert "purescope.maths.overlaps" in modules and "purescope.models.pickles" not in modules
    for name in modules:
        assert type(importlib.import_module(name).__loader__) is CheckingLoader, name


_MODULE = """
from dataclasses import dataclass
from functools import cached_property
from jaxtyping import Float
import torch
from torch import Tensor

def function(square: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    return square

def answer(square: Tensor) -> Float[Tensor, "n n"]:
    return square

def generator(square: Float[Tensor, "n n"]):
    yield square

@dataclass
class Fields:
    square: Float[Tensor, "n n"]

class Kinds:
    def method(self, square: Float[Tensor, "n n"]) -> None: ...
    @classmethod
    def of_class(cls, square: Float[Tensor, "n n"]) -> None: ...
    @staticmethod
    def static(square: Float[Tensor, "n n"]) -> None: ...
    @property
    def value(self) -> Float[Tensor, "n n"]:
        return torch.ones(2, 3)
    @cached_property
    def cached(self) -> Float[Tensor, "n n"]:
        return torch.ones(2, 3)
"""


@pytest.mark.parametrize(
    "wrong",
    [
        lambda made: made.function(torch.ones(2, 3)),
        lambda made: made.answer(torch.ones(2, 3)),
        lambda made: next(made.generator(torch.ones(2, 3))),
        lambda made: made.Fields(torch.ones(2, 3)),
        lambda made: made.Kinds().method(torch.ones(2, 3)),
        lambda made: made.Kinds.of_class(torch.ones(2, 3)),
        lambda made: made.Kinds.static(torch.ones(2, 3)),
        lambda made: made.Kinds().value,
        lambda made: made.Kinds().cached,
    ],
)
def test_a_wrong_shape_is_noticed(
    wrong: Callable[[Any], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made.py").write_text(_MODULE, encoding="utf-8")
    loader = CheckingLoader("made", str(tmp_path / "made.py"))
    spec = spec_from_loader("made", loader)
    assert spec is not None
    made = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "made", made)
    loader.exec_module(made)
    assert made.function(torch.ones(2, 2)).shape == (2, 2)
    with pytest.raises((BeartypeCallHintViolation, jaxtyping.TypeCheckError), match=r"\bn\b"):
        wrong(made)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    wrong(made)
