"""Options that several commands take."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from purescope.runs import Sources

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
    click.option(
        "--space",
        type=click.Choice(["weights", "activations", "centred"]),
        default="weights",
        show_default=True,
        help="Where overlap is measured: the projections' weights, or the neurons' activations over each dataset "
        "(as they are, or with their means taken away).",
    ),
    click.option("--renormalise", is_flag=True, help="Give class features unit norm again over the kept neurons."),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="Precision of the encoders; auto is bf16 on GPUs that have it, else fp32.",
    ),
)
_NAMED = (
    click.option(
        "--arch", metavar="NAME", help="open_clip's name of the architecture, for a bare file of its weights."
    ),
    click.option("--offline", is_flag=True, help="Fetch nothing, and say what is missing."),
)
_FILE = click.Path(path_type=Path, dir_okay=False)
_READ = (
    *_NAMED,
    click.option("--classnames", type=_FILE, metavar="FILE", help="JSON of class names, as CLIP_benchmark has them."),
    click.option("--templates", type=_FILE, metavar="FILE", help="JSON of templates, as CLIP_benchmark has them."),
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
    click.option("--device", default="cpu", show_default=True, help="Where to encode: cpu, cuda, cuda:0,cuda:1, ..."),
    click.option(
        "--cache",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder where features are kept, so that none is encoded twice; `purescope cache ls` shows the default.",
    ),
    click.option("--no-cache", is_flag=True, help="Keep no features."),
)


def measured(command: Command) -> Command:
    """Add the options that change numbers: the fields of `purescope.runs.Settings`."""
    return _add(_MEASURED, command)


def read(command: Command) -> Command:
    """Add the options for finding and reading data: the fields of `purescope.runs.Sources`."""
    return _add(_READ, command)


def named(command: Command) -> Command:
    """Add the options for finding models by name."""
    return _add(_NAMED, command)


def _add(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def sources(options: dict[str, Any]) -> "Sources":
    """Take the options of `read` out of a command's options."""
    from purescope.features.cache import default_folder
    from purescope.runs import Sources

    if options.pop("no_cache"):
        options["cache"] = None
    elif options["cache"] is None:
        options["cache"] = default_folder()
    return Sources(**{field.name: options.pop(field.name) for field in fields(Sources)})
