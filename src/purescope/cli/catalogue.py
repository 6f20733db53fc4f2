"""``purescope models``, ``datasets``, ``cache`` and ``convert``: list, check and copy."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from purescope.cli import output, terminal
from purescope.cli.paths import FOLDER, RESULTS, check_named, check_root

if TYPE_CHECKING:
    from purescope.features.cache import Cache


@click.command(short_help="List the models that can be named.")
def models() -> None:
    """List what MODEL can be, and which models are on this disk."""
    from purescope.models import available_models

    table = terminal.make_table("Models", "MODEL", "what it is", "here")
    for row in available_models():
        here = {True: "yes", False: "no", None: ""}[row.present]
        terminal.add_row(table, output.escape(row.spec), output.escape(row.description), here)
    terminal.make_console().print(table)


@click.command(short_help="List the datasets that can be named, or check those on this disk.")
@click.option(
    "--data-root",
    type=FOLDER,
    metavar="DIR",
    help="Folder that holds the torchvision datasets.",
)
@click.option(
    "--check",
    type=FOLDER,
    metavar="DIR",
    help="Open each torchvision dataset in DIR, and print whether it is complete, and how to get "
    "it if it is not.",
)
def datasets(data_root: Path | None, check: Path | None) -> None:
    """List what DATASET can be, and which datasets are on this disk.

    With --check, the exit code is 2 if a dataset is incomplete. A missing dataset is no error.
    """
    root = data_root if check is None else check
    if root is not None:
        check_root(root)
    if check is None:
        _list_datasets(data_root)
    else:
        _check_datasets(check)


def _list_datasets(data_root: Path | None) -> None:
    from purescope.datasets import available_datasets

    table = terminal.make_table("Datasets")
    for name in ("DATASET", "what it is", "images", "classes", "here"):
        is_count = name in {"images", "classes"}
        table.add_column(name, justify="right" if is_count else "left", overflow="fold")
    for row in available_datasets(data_root):
        counts = [f"{count:,}" if count is not None else "" for count in (row.images, row.classes)]
        here = output.escape("yes" if row.present else row.get)
        terminal.add_row(table, output.escape(row.spec), output.escape(row.what), *counts, here)
    terminal.make_console().print(table)


def _check_datasets(root: Path) -> None:
    from purescope.datasets.torchvision import check_datasets
    from purescope.errors import DatasetError

    rows = check_datasets(root)
    table = terminal.make_table(f"Datasets in {root}")
    for name in ("DATASET", "state", "images", "classes"):
        is_count = name in {"images", "classes"}
        table.add_column(name, justify="right" if is_count else "left", overflow="fold")
    for row in rows:
        images = _count(row.images, row.expected_images)
        classes = _count(row.classes, row.expected_classes)
        terminal.add_row(table, output.escape(row.name), row.state, images, classes)
    terminal.make_console().print(table)
    for row in rows:
        if row.problem:
            output.print_line(f"{row.name}: {row.problem}")
            output.print_line(f"  to get it: {row.get}")
    incomplete = [row.name for row in rows if row.state == "incomplete"]
    if incomplete:
        raise DatasetError(
            f"incomplete in {root}: {', '.join(incomplete)}", fix="see the lines above"
        )


def _count(number: int | None, expected: int) -> str:
    return f"{number:,} of {expected:,}" if number is not None else f"- of {expected:,}"


_CACHE_FOLDER = click.option(
    "--cache", "folder", type=FOLDER, metavar="DIR", help="Folder of another cache."
)


@click.group(short_help="List, remove or check the features that are kept on disk.")
def cache() -> None:
    """Manage the features that commands keep, so that nothing is encoded twice."""


@cache.command("ls")
@_CACHE_FOLDER
def list_entries(folder: Path | None) -> None:
    """List the entries, last used first."""
    from purescope.features.entry import size_on_disk

    opened = _open_cache(folder)
    console = terminal.make_console()
    table = terminal.make_table(f"Features in {opened.folder}")
    for name in ("key", "tower", "model", "of", "rows", "kept", "MB"):
        table.add_column(name, justify="right" if name in ("rows", "kept", "MB") else "left")
    total = 0
    for entry in opened.entries():
        kept = sum(map(len, entry.present))
        source = entry.about.get("dataset", entry.about.get("templates", ""))
        size = size_on_disk(entry.folder)
        cells = (
            entry.folder.name[:8],
            entry.kind,
            entry.about.get("model", ""),
            source,
            f"{entry.rows:,}",
            f"{kept / entry.rows:.0%}",
        )
        terminal.add_row(table, *map(output.escape, cells), f"{size / 1e6:.1f}")
        total += size
    for damaged in opened.damaged():
        size = size_on_disk(damaged.folder)
        tower = damaged.folder.parent.name
        cells = (damaged.folder.name[:8], tower, "damaged", damaged.why, "", "")
        terminal.add_row(table, *map(output.escape, cells), f"{size / 1e6:.1f}")
        total += size
    console.print(table)
    console.print(f"{table.row_count} entries, {total / 1e6:.1f} MB")


@cache.command("rm")
@click.argument("keys", nargs=-1, metavar="KEY...")
@click.option("--all", "everything", is_flag=True, help="Remove every entry.")
@_CACHE_FOLDER
def remove(keys: tuple[str, ...], everything: bool, folder: Path | None) -> None:
    """Remove entries by their keys, or by the beginnings of keys."""
    opened = _open_cache(folder)
    if bool(keys) == everything:
        raise click.UsageError("name the keys to remove, or give --all")
    removed = opened.remove([folder.name for folder in opened.folders()] if everything else keys)
    output.print_line(f"removed {len(removed)} entries from {opened.folder}")


@cache.command("verify")
@_CACHE_FOLDER
def verify(folder: Path | None) -> None:
    """Check every file against its checksum; the exit code is 2 if one is damaged."""
    from purescope.errors import InputError

    opened = _open_cache(folder)
    entries, unreadable = opened.entries(), opened.damaged()
    shards = [(entry, shard) for entry in entries for shard in entry.present]
    damaged = [entry.folder for entry, shard in shards if entry.is_damaged(shard)]
    if damaged or unreadable:
        folders = {*damaged, *(entry.folder for entry in unreadable)}
        keys = sorted({folder.name[:8] for folder in folders})
        raise InputError(
            f"{len(damaged)} of {len(shards)} shards and {len(unreadable)} of "
            f"{len(entries) + len(unreadable)} manifests in {opened.folder} are damaged, in the "
            f"entries {', '.join(keys)}",
            fix="let them be made again when they are needed, or remove them: "
            f"purescope cache rm {' '.join(keys)}",
        )
    output.print_line(
        f"{len(shards)} shards of {len(entries)} entries in {opened.folder} are whole"
    )


def _open_cache(folder: Path | None) -> "Cache":
    from purescope.features.cache import Cache, default_folder

    return Cache(folder or default_folder())


@click.command(short_help="Write a safe copy of a checkpoint: safetensors and a configuration.")
@click.argument("checkpoint", metavar="CKPT")
@click.argument("out", type=RESULTS, metavar="OUT")
@click.option(
    "--arch",
    metavar="ARCH",
    help="Architecture of a checkpoint that holds only open_clip weights: its name, ARCH/TAG for "
    "the preprocess of one of its tags, or your own file FILE.json with a model_cfg.",
)
@click.option("--offline", is_flag=True, help="Download nothing.")
def convert(checkpoint: str, out: Path, arch: str | None, offline: bool) -> None:
    """Write a copy of CKPT into the new folder OUT, which can be read without running its code.

    CKPT is anything that loads. OUT has open_clip's local-dir: form if open_clip has the
    architecture, transformers' form for models of transformers, and purescope's own form for LaCLIP
    checkpoints.

    \b
    Example:
      purescope convert ViT-B-16.pt vit-b-16
    """  # noqa: D301 click does not wrap a paragraph after this mark
    check_named((checkpoint,))
    from purescope.models.convert import convert

    with output.show_messages():
        form = convert(checkpoint, out, arch=arch, offline=offline)
    output.print_line(f"{out}: in the form of {form}")
    if form == "open_clip":
        output.print_line(f"  open_clip loads it as local-dir:{out}")
