"""A tiny package with tiny tests: one change is caught, one survives, one runs for ever.

One is caught by what a test finds in another Python that it starts.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mutants.__main__ import ROOT

MODULE = """\
def clip(a):
    while a > 9:
        a -= 1
    return max(a, 0)


if __name__ == "__main__":
    print(clip(20))
"""
TEST = """\
import subprocess
import sys

from tiny import clip


def test_clip():
    assert clip(12) == 9
    assert clip(-3) == 0


def test_another_process():
    told = subprocess.run([sys.executable, "-m", "tiny"], stdout=subprocess.PIPE, check=True)
    assert int(told.stdout) == 9
"""
CHANGES = {
    "unchanged": None,
    "caught": MODULE.replace("max(a, 0)", "a"),
    "survived": MODULE.replace("a > 9", "a >= 10"),
    "for ever": MODULE.replace("a -= 1", "a += 1"),
    "caught in another process": MODULE.replace("clip(20)", "clip(2)"),
    "no module": "import nothing_of_that_name\n",
}
# In a process of its own: this one has imported the package that is to be changed, and has threads.
DRIVER = """
import json, sys
from pathlib import Path
from mutants.trial import Trial, import_libraries, run_trials

root, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
import_libraries(root, ["pytest", "hypothesis", "jaxtyping"])
module = root / "src" / "tiny.py"
trials = [Trial(name, ("tests/test_tiny.py",), module, text, 2) for name, text in changes.items()]
run_trials(
    trials, processes=2, folder=root.parent / "made",
    done=lambda trial, outcome: print(json.dumps([trial.name, outcome.passed, outcome.why])),
)
"""


@pytest.mark.slow
def test_changes_are_caught_or_survive_and_the_tree_is_not_written_to(tmp_path: Path) -> None:
    root = tmp_path / "root"
    files = {
        "src/tiny.py": MODULE,
        "tests/test_tiny.py": TEST,
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = ['--import-mode=importlib', '-p', "
        "'no:xdist']\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "made").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(root), json.dumps(CHANGES)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    outcomes = {
        name: (passed, why) for name, passed, why in map(json.loads, done.stdout.splitlines())
    }
    failed = "tests/test_tiny.py::test_clip"
    assert outcomes == {
        "unchanged": (True, ""),
        "caught": (False, failed),
        "survived": (True, ""),
        "caught in another process": (False, "tests/test_tiny.py::test_another_process"),
        "for ever": (False, "took more of the processor's time than it may"),
        "no module": (False, "tests/test_tiny.py"),
    }
    left = {
        path.relative_to(root).as_posix(): path.read_text()
        for path in root.rglob("*")
        if path.is_file()
    }
    assert left == files
