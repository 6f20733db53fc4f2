"""How interpreters are found, and what a failing step says."""

import sys
from pathlib import Path

import pytest

from versions.environment import StepError, find_interpreter, run, version_of

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_the_running_interpreter_is_of_its_version() -> None:
    assert version_of(Path(sys.executable)) == THIS
    assert find_interpreter(THIS) == Path(sys.executable)


def fake(folder: Path, name: str, line: str) -> Path:
    """A program that prints a version, or fails as pyenv's names do for a version that is not
    selected.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)
    return file


def test_a_name_that_fails_or_lies_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path / "shims", "python3.99", "exit 127")
    fake(tmp_path / "old", "python3.99", "echo 3.98")
    selected = fake(tmp_path / "pyenv" / "versions" / "3.99.1" / "bin", "python3.99", "echo 3.99")
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{tmp_path / 'old'}:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    assert find_interpreter("3.99") is None
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert find_interpreter("3.99") == selected


def test_a_failing_step_says_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no such thing"):
        run([sys.executable, "-c", "raise SystemExit('no such thing')"], folder=tmp_path)
    assert run([sys.executable, "-c", "print(1)"], folder=tmp_path) == "1\n"


def test_sources_on_pythonpath_do_not_stand_in_for_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    code = "import os; print(os.environ.get('PYTHONPATH'), os.environ['ADDED'])"
    assert run([sys.executable, "-c", code], ADDED="too") == "None too\n"
