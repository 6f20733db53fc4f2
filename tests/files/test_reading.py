"""Available memory, also in a container."""

from pathlib import Path

import pytest

from purescope.files import reading
from purescope.files.reading import available_memory


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the files in which Linux states the limit and the use of a container."""
    monkeypatch.setattr(reading, "_CONTROL_GROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("950000\n")
    (tmp_path / "memory.stat").write_text(
        "anon 100000\nfile 850000\ninactive_file 500000\nactive_file 300000\n"
    )
    return tmp_path


@pytest.mark.usefixtures("container")
def test_files_that_are_kept_in_memory_make_room() -> None:
    assert available_memory() == 1_000_000 - 950_000 + 800_000


def test_a_container_without_a_limit(container: Path) -> None:
    (container / "memory.max").write_text("max\n")
    assert available_memory() > 1_000_000


@pytest.mark.parametrize("content", ["", "x", "inactive_file"])
def test_a_container_of_another_kind(content: str, container: Path) -> None:
    for name in ("memory.max", "memory.stat"):
        (container / name).write_text(content)
        assert available_memory() > 1_000_000
