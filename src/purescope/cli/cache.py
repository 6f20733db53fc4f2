"""``purescope cache``: the features that are kept on disk."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from purescope.cli import terminal
from purescope.cli.paths import FOLDER

if TYPE_CHECKING:
    from purescope.features.cache import Cache

_FOLDER = click.option("--cache", "folder", type=FOLDER, metavar="DIR", help="Another cache.")


@click.group(short_help="List, remove or check the features that are kept on disk.")
def cache() -> None:
    """The features that `sweep` and `demo` keep, so that nothing is encoded twice."""


@cache.command("ls")
@_FOLDER
def show(folder: Path | None) -> None:
    """List what is kept, last used first."""
    from purescope.features.entry import size_on_disk

    opened = _open(folder)
    screen = terminal.console()
    table = terminal.table(f"Features in {opened.folder}")
    for name in ("key", "tower", "model", "of", "rows", "kept", "MB"):
        table.add_column(name, justify="right" if name in ("rows", "kept", "MB") else "left")
    total = 0
    for entry in opened.entries():
        kept = sum(map(len, entry.present))
        about = entry.about.get("dataset", entry.about.get("templates", ""))
        model = entry.about.get("model", "")
        size = size_on_disk(entry.folder)
        row = (
            entry.folder.name[:8],
            entry.kind,
            model,
            about,
            f"{entry.rows:,}",
            f"{kept / entry.rows:.0%}",
        )
        table.add_row(*map(terminal.plain, row), f"{size / 1e6:.1f}")
        total += size
    for damaged in opened.damaged():
        size = size_on_disk(damaged.folder)
        row = (damaged.folder.name[:8], damaged.folder.parent.name, "damaged", damaged.why, "", "")
        table.add_row(*map(terminal.plain, row), f"{size / 1e6:.1f}")
        total += size
    screen.print(table)
    screen.print(f"{table.row_count} entries, {total / 1e6:.1f} MB")


@cache.command("rm")
@click.argument("keys", nargs=-1, metavar="KEY...")
@click.option("--all", "everything", is_flag=True, help="Remove every entry.")
@_FOLDER
def remove(keys: tuple[str, ...], everything: bool, folder: Path | None) -> None:
    """Remove entries by their keys, or the beginnings of keys."""
    opened = _open(folder)
    if bool(keys) == everything:
        raise click.UsageError("name the keys to remove, or give --all")
    removed = opened.remove([folder.name for folder in opened.folders()] if everything else keys)
    terminal.say(f"removed {len(removed)} entries from {opened.folder}")


@cache.command("verify")
@_FOLDER
def verify(folder: Path | None) -> None:
    """Check every file against its checksum; exit code 2 where one is damaged."""
    from purescope.errors import InputError

    opened = _open(folder)
    entries, broken = opened.entries(), opened.damaged()
    there = [(entry, shard) for entry in entries for shard in entry.present]
    damaged = [entry.folder for entry, shard in there if entry.is_damaged(shard)]
    if damaged or broken:
        keys = sorted(
            {folder.name[:8] for folder in (*damaged, *(entry.folder for entry in broken))}
        )
        raise InputError(
            f"{len(damaged)} of {len(there)} shards and {len(broken)} of "
            f"{len(entries) + len(broken)} manifests in "
            f"{opened.folder} are damaged, of {', '.join(keys)}",
            fix=f"they are made again when they are needed; or remove them: purescope cache rm "
            f"{' '.join(keys)}",
        )
    terminal.say(f"{len(there)} shards of {len(entries)} entries in {opened.folder} are whole")


def _open(folder: Path | None) -> "Cache":
    from purescope.features.cache import Cache, default_folder

    return Cache(folder or default_folder())
