"""The version stands in one place, ``purescope/__init__.py``: everything else reads it there, or is
held to it here.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

from purescope import __version__
from purescope.cli.run import cli
from purescope.files import manifest

ROOT = Path(__file__).parents[1]


def test_what_is_built_has_it() -> None:
    assert ProjectMetadata(str(ROOT), PluginManager()).version == __version__


def test_a_source_tree_has_it_without_any_installation(tmp_path: Path) -> None:
    code = "import purescope; print(purescope.__version__)"
    command = [sys.executable, "-S", "-c", code]  # -S: no installed package can be found
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout == f"{__version__}\n"


def test_the_command_line_and_manifests_say_it() -> None:
    shown = CliRunner().invoke(cli, ["--version"], prog_name="purescope")
    assert shown.output == f"purescope, version {__version__}\n"
    assert manifest.versions()["purescope"] == __version__


# Files that no program of ours reads the version into.
COPIES = {
    "CITATION.cff": r"^version: (\S+)$",
    "CHANGELOG.md": r"^## (\S+)",  # the newest release stands first
}


@pytest.mark.parametrize("file", COPIES)
def test_a_copy_for_other_readers_is_the_same(file: str) -> None:
    copy = re.search(COPIES[file], (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert copy is not None and copy[1] == __version__


def test_no_second_place_states_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" not in project and project["dynamic"] == ["version"]
    places = [file for folder in ("src", "docs") for file in sorted((ROOT / folder).rglob("*.py"))]
    installed = re.compile(r"version\w*\(\s*(package_name\s*=\s*)?[\"']purescope[\"']")
    literal = re.compile(r"^__version__\s*=", flags=re.MULTILINE)
    texts = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in places}
    assert not [name for name, text in texts.items() if installed.search(text)]
    assert [name for name, text in texts.items() if literal.search(text)] == [
        "src/purescope/__init__.py"
    ]
