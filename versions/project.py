"""What pyproject.toml claims: floors of libraries, and versions of Python."""

import re
import tomllib
from functools import cache
from typing import Any

from packaging.requirements import Requirement

from versions.environment import ROOT


@cache
def _project() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["project"])


def requirements() -> list[Requirement]:
    """Return every direct requirement, those of the extras too."""
    extras = _project()["optional-dependencies"].values()
    return [Requirement(line) for lines in (_project()["dependencies"], *extras) for line in lines]


def extras() -> str:
    """Return all extras as a requirement has them: "bundle,dev,hf,lightning"."""
    return ",".join(sorted(_project()["optional-dependencies"]))


def floors() -> dict[str, str]:
    """Return the lowest version allowed of each direct requirement, by name.

    Raises:
        ValueError: a requirement has no floor.
    """
    lowest = {}
    for requirement in requirements():
        versions = [part.version for part in requirement.specifier if part.operator == ">="]
        if len(versions) != 1:
            raise ValueError(f"{requirement}: expected one >= in it")
        lowest[requirement.name] = versions[0]
    return lowest


def claimed() -> list[str]:
    """Return the versions of Python that the classifiers name, as "3.12"."""
    lines = (
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line)
        for line in _project()["classifiers"]
    )
    return [line[1] for line in lines if line is not None]


def lowest_python() -> str:
    """Return the lowest version of Python that is allowed, as "3.11"."""
    return str(_project()["requires-python"]).removeprefix(">=")
