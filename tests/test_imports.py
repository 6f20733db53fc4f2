"""What importing purescope must not cost, and that the guards of this suite can fail."""

import subprocess
import sys

import jaxtyping
import pytest
import torch

from purescope.errors import InputError
from purescope.purity import overlap

WEB = {"aiohttp", "fastapi", "flask", "httpx", "httpx2", "huggingface_hub", "requests", "tornado", "urllib3"}
HEAVY = WEB | {"matplotlib", "open_clip", "pandas", "pyarrow", "ray", "timm", "torchvision", "transformers"}
HELP = """
from purescope.cli import main
try:
    main(["--help"])
except SystemExit as stop:
    assert not stop.code
"""

# The console script imports the package first, and its --help is to answer before torch could be imported.
DOORS = {
    "package": ("import purescope", HEAVY | {"torch"}),
    "maths": ("import purescope.purity, purescope.ordering, purescope.evaluation", HEAVY),
    "command": ("import purescope.cli", HEAVY | {"torch"}),
    "help": (HELP, HEAVY | {"torch"}),
}


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running `code`."""
    report = "\nimport sys; print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("door", DOORS)
def test_import_stays_light(door: str) -> None:
    code, forbidden = DOORS[door]
    assert not loaded_by(code) & forbidden


def test_the_import_guard_can_fail() -> None:
    assert {"pandas", "matplotlib"} <= loaded_by("import purescope\nimport pandas, matplotlib.figure") & HEAVY


EVERY_MODULE = """
import importlib, pkgutil, types
import purescope
for found in pkgutil.walk_packages(purescope.__path__, "purescope."):
    if not found.name.endswith("__main__") and "lightning" not in found.name:
        importlib.import_module(found.name)
wrong = [name for name in dir(purescope) if isinstance(getattr(purescope, name), types.ModuleType)]
assert len(dir(purescope)) > 30 and not wrong, wrong
from purescope import purity, sweep
assert callable(purity) and callable(sweep)
"""


def test_no_module_takes_the_place_of_a_public_function() -> None:
    """Whatever was imported before, and by whatever version of lazy-loader."""
    loaded_by(EVERY_MODULE)


BOTH_ORDERS = """
import torch, purescope as ps
import purescope.sweep  # the module first
from purescope import sweep
assert sweep is ps.sweep and callable(sweep)
assert ps.purity(torch.eye(3)).shape == (3,)  # the function first
import purescope.purity
assert ps.purity(torch.eye(3)).shape == (3,)
"""


def test_a_public_function_is_itself_before_and_after_its_module_is_imported() -> None:
    loaded_by(BOTH_ORDERS)


def test_shapes_are_checked_while_testing() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        overlap(torch.zeros(3))


@pytest.mark.usefixtures("unchecked")
def test_a_user_gets_our_own_words_about_a_shape() -> None:
    with pytest.raises(InputError, match=r"shape \[3\]"):
        overlap(torch.zeros(3))
