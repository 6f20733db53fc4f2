"""Kills and crowds: nothing computed is lost, and nothing wrong is read. ``make torture`` runs them
long.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LONG = bool(os.environ.get("PURESCOPE_TORTURE"))
CROWDS = 20 if LONG else 2
pytestmark = pytest.mark.slow


def run(module: str, folder: Path, *numbers: int) -> list[dict[str, int]]:
    """The counts that a module of this folder prints, run in a process of its own."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        f"tests.torture.{module}",
        str(folder),
        *map(str, numbers),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    counts = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    print(module, counts)
    return counts


@pytest.mark.parametrize("seed", range(5 if LONG else 1))
def test_nothing_is_lost_by_kills(seed: int, tmp_path: Path) -> None:
    kills = 50 if LONG else 6
    (counts,) = run("killed", tmp_path, kills, seed)
    assert counts["kills"] == kills
    assert counts["ends"] > 0
    assert counts["ends_that_differ"] == counts["shards_damaged"] == counts["tables_damaged"] == 0
    assert counts["left_behind"] == 0


@pytest.fixture(scope="module")
def crowds(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, int]]:
    """The counts of each crowd of eight; one process starts them all, one after another."""
    return run("crowd", tmp_path_factory.mktemp("crowds"), 8, CROWDS)


@pytest.mark.parametrize("seed", range(CROWDS))
def test_processes_share_a_cache(seed: int, crowds: list[dict[str, int]]) -> None:
    counts = crowds[seed]
    assert counts["ended"] >= 6, "two of the eight kill themselves, if they live long enough"
    assert counts["results"] == 1
    assert counts["failed"] == counts["damaged"] == counts["missing"] == 0
