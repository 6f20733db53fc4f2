"""Install purescope with the newest libraries on each version of Python, try it out, and print what
worked.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from versions import environment, project

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_SMOKE = Path(__file__).with_name("smoke.py")
TESTS = (
    "tests/test_imports.py",
    "tests/maths/test_overlaps.py",
    "tests/maths/test_accuracy.py",
    "tests/tables/test_files.py",
    "tests/test_version.py",
    "tests/models/test_laclip.py",
    "tests/maths/test_intervals.py",
)
_SWEEP = (
    "sweep",
    "bundled:clip",
    "bundled:laclip",
    "--data",
    "bundled:flags",
    "--draws",
    "5",
    "--out",
    "results",
)


@dataclass(frozen=True)
class Outcome:
    """What came of one version of Python: each field is shown as it is.

    Attributes:
        python: "3.12", for example.
        installed: "yes" with the version of torch, "no", or "not at hand".
        smoke: the commands and the public names: "ok" or the step that failed.
        tests: pytest's last line, or "failed".
        problem: the end of what the failing step said.
    """

    python: str
    installed: str
    smoke: str = "-"
    tests: str = "-"
    problem: str = ""

    @property
    def works(self) -> bool:
        return self.smoke == "ok" and not self.problem

    @property
    def at_hand(self) -> bool:
        return self.installed != "not at hand"


def main(chosen: Sequence[str]) -> int:
    """Try versions of Python, one after the other; each environment is removed when it is done.

    Args:
        chosen: the versions, all of `PYTHONS` if there are none.

    Returns:
        1 where a version that was tried does not work, or works otherwise than pyproject.toml
        claims; else 0.
    """
    outcomes = []
    for python in chosen or PYTHONS:
        outcome = try_python(python)
        print(
            f"Python {python}: {outcome.installed}, smoke {outcome.smoke}, tests {outcome.tests}",
            file=sys.stderr,
        )
        outcomes.append(outcome)
    show(outcomes)
    return 1 if any(problems(outcomes)) else 0


def try_python(python: str) -> Outcome:
    """Make an environment, install, run the commands, the public names and a few tests."""
    interpreter = environment.find_interpreter(python)
    if interpreter is None:
        return Outcome(python, "not at hand")
    made = environment.Environment(environment.FOLDER / python)
    work = environment.FOLDER / f"{python}-run"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    started = time.monotonic()
    try:
        made.make(interpreter)
        made.install(
            f".[{project.extras()}]"
        )  # a wheel, as a user gets it: the tests below do not see the sources
    except environment.StepError as error:
        made.remove()
        return Outcome(python, "no", problem=str(error))
    code = "import importlib.metadata as m; print(m.version('torch'))"
    torch = environment.run([made.python, "-I", "-c", code]).strip()
    installed = f"torch {torch}, {time.monotonic() - started:.0f} s"
    smoke = "ok"
    try:
        for step, command in steps(made).items():
            smoke = f"{step} failed"
            environment.run(
                command, folder=work, PURESCOPE_CACHE=str(work / "cache"), HF_HUB_OFFLINE="1"
            )
        smoke = "ok"
        tests = environment.run(
            [made.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
        )
        return Outcome(python, installed, smoke, tests.strip().splitlines()[-1])
    except environment.StepError as error:
        return Outcome(python, installed, smoke, "failed" if smoke == "ok" else "-", str(error))
    finally:
        made.remove()
        shutil.rmtree(work, ignore_errors=True)


def steps(made: environment.Environment) -> dict[str, list[str | Path]]:
    """Return the commands of the smoke test by name."""
    purescope = made.command("purescope")
    return {
        "version": [purescope, "--version"],
        "purity": [purescope, "purity", "bundled:laclip"],
        "sweep": [purescope, *_SWEEP],
        "names": [made.python, "-I", _SMOKE],
    }


def problems(outcomes: Sequence[Outcome]) -> list[str]:
    """Say what does not fit together: what was tried, and what the classifiers of pyproject.toml
    claim.
    """
    claimed = project.claimed()
    tried = [one for one in outcomes if one.at_hand]
    return [
        *(f"Python {one.python} does not work:\n{one.problem}" for one in tried if not one.works),
        *(
            f"Python {one.python} works and is not claimed"
            for one in tried
            if one.works and one.python not in claimed
        ),
        *(
            f"Python {one.python} is claimed"
            for one in tried
            if not one.works and one.python in claimed
        ),
    ]


def show(outcomes: Sequence[Outcome]) -> None:
    """Print a table, and below it what is wrong."""
    screen, claimed = Console(width=120, highlight=False), project.claimed()
    table = Table("Python", "claimed", "installed", "smoke", "a few tests")
    for one in outcomes:
        claim = "yes" if one.python in claimed else "no"
        if claim == "yes" and not one.at_hand:
            claim = "yes, not tried"
        table.add_row(one.python, claim, one.installed, one.smoke, one.tests)
    screen.print(table)
    for problem in problems(outcomes):
        screen.print(problem, markup=False)
