"""Install the lowest version of every direct requirement, and run the quick tier of the tests with
them.

The floors are given as constraints: by itself uv takes the newest of what is indirect first, and
then direct ones that are newer than their floors, without a word. So a floor that cannot be
installed beside the others is an error here.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from versions import environment, project

# Old libraries warn of what newer neighbours are about to drop: theirs to mend, and mended since.
# Other warnings are errors, as in every run.
_WARNINGS = ("-W", "default::DeprecationWarning", "-W", "default::PendingDeprecationWarning")
_QUICK = ("-m", "not slow")

# Tests that need a newer neighbour than the floors bring, and why purescope itself does not.
_LEFT_OUT = {
    "tests/datasets/test_hub_folders.py::test_the_guard_holds_where_a_card_has_led_astray": "fsspec refuses by itself "
    "what the guard is tested with",
    "tests/models/test_configuration.py::test_a_tokenizer_is_what_transformers_makes_of_its_own_files[RobertaTokenizerFast]": "transformers cannot make the empty tokenizer that the test trains",
}


def main(chosen: Sequence[str]) -> int:
    """Run the tests with the floors.

    Args:
        chosen: pytest's arguments; the quick tier if there are none.

    Returns:
        pytest's exit code, or 1 where the floors could not be installed.
    """
    python = project.lowest_python()
    interpreter = environment.find_interpreter(python)
    if interpreter is None:
        print(
            f"lowest: Python {python} is not at hand: name it python{python} on PATH",
            file=sys.stderr,
        )
        return 1
    made = environment.Environment(environment.FOLDER / "lowest")
    print(
        f"lowest: {len(project.floors())} floors of pyproject.toml, Python {python}, in "
        f"{made.folder}",
        flush=True,
    )
    try:
        install(made, interpreter=interpreter)
    except environment.StepError as error:
        print(f"lowest: the floors cannot be installed together:\n{error}", file=sys.stderr)
        return 1
    for test, reason in _LEFT_OUT.items():
        print(f"lowest: left out: {test}: {reason}", flush=True)
    left_out = [argument for test in _LEFT_OUT for argument in ("--deselect", test)]
    command: list[str | Path] = [
        made.python,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        *_WARNINGS,
        *left_out,
        *(chosen or _QUICK),
    ]
    return subprocess.run(command, cwd=environment.ROOT, check=False).returncode


def install(made: environment.Environment, *, interpreter: Path) -> None:
    """Install purescope, editable, with all extras at their floors."""
    made.make(interpreter)
    constraints = made.folder / "floors.txt"
    lines = [f"{name}=={version}\n" for name, version in project.floors().items()]
    constraints.write_text("".join(lines), encoding="utf-8")
    wanted = f".[{project.extras()}]"
    made.install(
        "--resolution", "lowest-direct", "--constraints", str(constraints), "--editable", wanted
    )
