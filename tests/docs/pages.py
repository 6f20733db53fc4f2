"""What stands in the pages: commands with the output they show, and Python examples."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
_FENCE = re.compile(r"^( *)(`{3,})(\w+)\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One command of a page, and what the page shows of its output."""

    page: str
    line: int
    command: str
    shown: str

    @property
    def words(self) -> list[str]:
        """Everything after ``purescope``."""
        return shlex.split(self.command)[1:]

    @property
    def fails(self) -> bool:
        """Whether the page shows an error."""
        return self.shown.startswith(("purescope:", "Usage:"))


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """The fenced blocks of a language, and the lines they begin on."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        if found[3] == language:
            yield text.count("\n", 0, found.start()) + 2, found[4]


def examples() -> list[Example]:
    """Every ``$ purescope`` in a console block of any page; a line that ends in a backslash goes
    on.
    """
    found = []
    for page in PAGES:
        for start, block in blocks(page, "console"):
            joined = block.replace("\\\n", "  ")
            first, *parts = re.split(r"^\$ ", joined, flags=re.MULTILINE)
            assert not first.strip(), f"{page}, line {start}: output without a command"
            for part in parts:
                command, _, shown = part.partition("\n")
                found.append(
                    Example(page.relative_to(ROOT).as_posix(), start, command, shown.strip())
                )
    return found
