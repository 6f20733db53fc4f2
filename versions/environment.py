"""Make an environment of its own for a trial, by uv; the project's own environment is never
changed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "versions"
UV = Path(sys.executable).with_name("uv")


class StepError(Exception):
    """A command failed; the text is the end of what it said."""


@dataclass(frozen=True)
class Environment:
    """A folder with a Python of its own.

    Attributes:
        folder: where it is; what was there before is replaced.
    """

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def make(self, interpreter: Path) -> None:
        """Begin anew, with nothing installed."""
        run([UV, "venv", "--quiet", "--clear", "--python", interpreter, self.folder])

    def install(self, *requirements: str) -> None:
        """Install requirements and options of ``uv pip install``, with paths as from the project's
        folder.
        """
        run([UV, "pip", "install", "--quiet", "--python", self.python, *requirements])

    def command(self, name: str) -> Path:
        """Return the path of an installed command."""
        return self.folder / "bin" / name

    def remove(self) -> None:
        """Remove it: with torch it takes gigabytes."""
        shutil.rmtree(self.folder, ignore_errors=True)


def run(command: Sequence[str | Path], *, folder: Path = ROOT, **variables: str) -> str:
    """Run a command and return its standard output.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        variables: added to the environment; PYTHONPATH is never handed on.

    Raises:
        StepError: it failed.
    """
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONPATH"
    } | variables
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-20:]
        raise StepError("\n".join([" ".join(map(str, command[:6])), *last]))
    return done.stdout


def find_interpreter(version: str) -> Path | None:
    """Find an interpreter on this machine; nothing is downloaded.

    Args:
        version: "3.12", for example.

    Returns:
        The first that runs and is of that version: this one, those on PATH, pyenv's, those that uv
        finds.
    """
    return next(
        (candidate for candidate in _candidates(version) if version_of(candidate) == version), None
    )


def _candidates(version: str) -> Iterator[Path]:
    name = f"python{version}"
    yield Path(sys.executable)
    for folder in os.get_exec_path():
        yield Path(folder) / name
    # pyenv puts a name on PATH that fails unless that version is selected.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted((pyenv / "versions").glob(f"{version}.*/bin/{name}"))
    if UV.exists():
        found = subprocess.run(
            [UV, "python", "find", "--no-project", "--no-python-downloads", version],
            capture_output=True,
            text=True,
            check=False,
        )
        yield from map(Path, found.stdout.splitlines())


def version_of(interpreter: Path) -> str | None:
    """Return an interpreter's version, as "3.12"; None if it is none that runs."""
    code = "import sys; print(*sys.version_info[:2], sep='.')"
    try:
        told = subprocess.run(
            [interpreter, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()
