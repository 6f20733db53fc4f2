"""Options that several commands take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_MEASURED = (
    click.option(
        "--keep",
        metavar="KS",
        help="Neurons to keep: numbers and ranges FIRST:LAST:STEP, separated by commas. "
        "Default: 200:500:50 of 512, and the same fractions of any other number.",
    ),
    click.option(
        "--draws", type=click.IntRange(min=0), default=50, show_default=True, help="Random orders to compare with."
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the first random order."),
    click.option(
        "--protocol",
        type=click.Choice(["native", "paper"]),
        default="native",
        show_default=True,
        help="Preprocess and prompts: the checkpoint's and the dataset's own, or those of the experiment's script.",
    ),
    click.option("--renormalise", is_flag=True, help="Give class features unit norm again over the kept neurons."),
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        default="float32",
        show_default=True,
        help="Precision of the encoders.",
    ),
)
_READ = (
    click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the torchvision datasets."),
    click.option("--download", is_flag=True, help="Fetch a missing torchvision dataset into --data-root."),
    click.option(
        "--on-bad-image",
        type=click.Choice(["error", "skip"]),
        default="error",
        show_default=True,
        help="Stop at a broken image, or leave it out and report it.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=256,
        show_default=True,
        help="Images encoded at a time; less needs less memory.",
    ),
    click.option("--device", default="cpu", show_default=True, help="Where to encode: cpu, cuda, cuda:1, ..."),
)


def measured(command: Command) -> Command:
    """Add the options that change numbers: the fields of `purescope.runs.Settings`."""
    return _add(_MEASURED, command)


def read(command: Command) -> Command:
    """Add the options for finding and reading data: the fields of `purescope.runs.Sources`."""
    return _add(_READ, command)


def _add(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
