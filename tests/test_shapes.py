"""Shapes in signatures are checked, wherever there are some."""

import importlib

import jaxtyping
import pytest
import torch

from purescope.maths.overlaps import unit_rows
from tests.shapes import modules_with_shapes


def test_every_module_with_shapes_has_them_checked() -> None:
    """The others are left out, for time."""
    modules = modules_with_shapes()
    assert "purescope.maths.overlaps" in modules and "purescope.models.pickles" not in modules
    for name in modules:
        loader = importlib.import_module(name).__loader__
        assert type(loader).__module__.startswith("jaxtyping"), name


def test_a_wrong_shape_is_noticed() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="neuron width"):
        unit_rows(torch.ones(3))
