"""The goldens: a text of what each door of purescope does, kept beside this file, and what it says
now.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from tests.goldens import commands, compare, public

KEPT = Path(__file__).parent / "kept"


def _command(name: str) -> Callable[[], Iterable[str]]:
    return lambda: [line for command in commands.COMMANDS[name] for line in commands.told(command)]


GOLDENS: dict[str, Callable[[], Iterable[str]]] = {
    "help": public.helps,
    "signatures": public.signatures,
    "public": public.results,
    **{name: _command(name) for name in commands.COMMANDS},
}
"""What makes each golden, in the order in which they are made: some read what others wrote."""


def kept(name: str) -> list[str]:
    """The lines that are kept; none yet of a new golden."""
    path = KEPT / f"{name}.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def accept(name: str, found: list[str]) -> None:
    """Keep what was found; lines that say the same stay as they are."""
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.txt").write_text(
        "\n".join(compare.settled(kept(name), found)) + "\n", encoding="utf-8"
    )
