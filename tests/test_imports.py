"""What importing purescope must not cost, and that the guards of this suite can fail."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation

import purescope as ps
from purescope.errors import InputError
from purescope.maths.overlaps import overlap

WEB = {
    "aiohttp",
    "fastapi",
    "flask",
    "httpx",
    "httpx2",
    "huggingface_hub",
    "requests",
    "tornado",
    "urllib3",
}
HEAVY = WEB | {
    "matplotlib",
    "numba",
    "open_clip",
    "pandas",
    "pyarrow",
    "ray",
    "timm",
    "torchvision",
    "transformers",
}

# One process does all this in turn and says after each step what it holds. The console script
# imports the package first, and its --help is to answer before torch could be imported.
STEPS = {
    "package": "import purescope",
    "command": "import purescope.cli",
    "help": """
try:
    purescope.cli.main(["--help"])
except SystemExit as stop:
    assert not stop.code
""",
    "maths": "import purescope.maths.overlaps, purescope.maths.strategies, "
    "purescope.maths.accuracy, purescope.maths.retrieval",
    "models": "import purescope.models",
    "plots": """
import io, torch
from purescope.plots.neurons import plot_overlap
from purescope.maths.overlaps import Projections
plot_overlap(Projections(torch.eye(3), torch.eye(3))).figure.savefig(io.BytesIO())
""",
    "all": """
import importlib, pkgutil, types
import purescope
for found in pkgutil.walk_packages(purescope.__path__, "purescope."):
    if not found.name.endswith("__main__") and "lightning" not in found.name:
        importlib.import_module(found.name)
wrong = [name for name in dir(purescope) if isinstance(getattr(purescope, name), types.ModuleType)]
assert len(dir(purescope)) > 30 and not wrong, wrong
from purescope import purity, sweep
assert callable(purity) and callable(sweep)
""",
}
FORBIDDEN = {step: HEAVY | {"torch"} for step in ("package", "command", "help")} | {
    "maths": HEAVY,
    "models": {"open_clip", "timm", "torchvision", "safetensors"},
}
Steps: TypeAlias = dict[str, tuple[set[str], str]]

RUN = """
import contextlib, io, json, sys, traceback
for step, code in json.load(sys.stdin).items():
    fault = ""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            exec(code)
        except BaseException:
            fault = said.getvalue() + traceback.format_exc()
    print(json.dumps([step, sorted(sys.modules), fault]))
"""


@pytest.fixture(scope="module")
def steps() -> Steps:
    """The modules that a fresh interpreter holds after each step, and what went wrong in it."""
    run = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(STEPS),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = [json.loads(line) for line in run.stdout.splitlines()]
    return {step: (set(modules), fault) for step, modules, fault in told}


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.mark.slow
@pytest.mark.parametrize("step", FORBIDDEN)
def test_import_stays_light(step: str, steps: Steps) -> None:
    modules, fault = steps[step]
    assert not fault and not packages(modules) & FORBIDDEN[step]


@pytest.mark.slow
def test_the_import_guard_can_fail(steps: Steps) -> None:
    assert (
        "torch" in packages(steps["maths"][0])
        and {"pandas", "matplotlib"} <= packages(steps["plots"][0]) & HEAVY
    )


@pytest.mark.slow
def test_figures_are_drawn_without_pyplot(steps: Steps) -> None:
    modules, fault = steps["plots"]
    assert not fault and "matplotlib.figure" in modules and "matplotlib.pyplot" not in modules


@pytest.mark.slow
def test_no_module_takes_the_place_of_a_public_function(steps: Steps) -> None:
    """Whatever was imported before, and by whatever version of lazy-loader."""
    assert not steps["all"][1]


def test_no_module_is_called_like_a_public_function() -> None:
    """An import of such a module could put it in the function's place."""
    package = Path(ps.__file__).parent
    modules = {path.with_suffix("").name for path in package.rglob("*.py")} | {
        path.name for path in package.iterdir()
    }
    assert "overlaps" in modules and not modules & set(ps.__all__)


def test_shapes_are_checked_while_testing() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        overlap(torch.zeros(3))


@pytest.mark.usefixtures("unchecked")
def test_a_user_gets_our_own_words_about_a_shape() -> None:
    with pytest.raises(InputError, match=r"shape \[3\]"):
        overlap(torch.zeros(3))
