"""Options that several commands take."""

import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from purescope.cli.paths import FILE, FOLDER, RESULTS
from purescope.errors import OutputError
from purescope.specs import exists, to_path

if TYPE_CHECKING:
    from pathlib import Path

    from purescope.runs.inputs import Settings, Sources

Command = TypeVar("Command", bound=Callable[..., Any])
Option: TypeAlias = Callable[[Callable[..., Any]], Any]

_OPTIONS: dict[str, Option] = {
    "data": click.option(
        "--data",
        multiple=True,
        required=True,
        metavar="DATASET",
        help="A dataset to evaluate on; give it once for each, or several separated by commas.",
    ),
    "out": click.option(
        "--out",
        type=RESULTS,
        required=True,
        metavar="DIR",
        help="Folder for the results: one without results, or that of the same run.",
    ),
    "overwrite": click.option(
        "--overwrite", is_flag=True, help="Replace the results of another run in --out."
    ),
    "no-figures": click.option(
        "--no-figures", is_flag=True, help="Draw no figures; `purescope plot DIR` does later."
    ),
    "no-report": click.option(
        "--no-report", is_flag=True, help="Draw no report; `purescope report DIR` does later."
    ),
    "keep": click.option(
        "--keep",
        metavar="KS",
        help="Neurons to keep: numbers and ranges FIRST:LAST:STEP, separated by commas. "
        "Default: 200:500:50 of 512, and the same fractions of any other number.",
    ),
    "strategies": click.option(
        "--strategies",
        metavar="NAMES",
        default="high_purity,low_purity",
        show_default=True,
        help="How neurons are chosen, separated by commas, or all: high_purity low_purity first_k "
        "weight_norm "
        "activation_variance greedy_purity pivoted_qr ape importance random_rotation svd pca.",
    ),
    "draws": click.option(
        "--draws",
        type=click.IntRange(min=0),
        default=50,
        show_default=True,
        metavar="N",
        help="Random orders to compare with; silhouettes are measured for the first 50.",
    ),
    "seed": click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        metavar="SEED",
        help="Seed of the first random order.",
    ),
    "protocol": click.option(
        "--protocol",
        type=click.Choice(["native", "paper"]),
        default="native",
        show_default=True,
        help="Preprocess and prompts: the checkpoint's and the dataset's own, or those of the "
        "experiment's script.",
    ),
    "space": click.option(
        "--space",
        type=click.Choice(["weights", "activations", "centred"]),
        default="weights",
        show_default=True,
        help="Where overlap is measured: the projections' weights, or the neurons' activations "
        "over each dataset "
        "(as they are, or with their means taken away).",
    ),
    "measure": click.option(
        "--measure",
        metavar="NAME",
        default="l1",
        show_default=True,
        help="What makes a neuron impure: l1 (the experiment's) l2 linf median signed_mean r2 "
        "interference "
        "superposition pearson polysemanticity.",
    ),
    "towers": click.option(
        "--towers",
        type=click.Choice(["both", "image", "text", "z_sum", "rank_mean"]),
        default="both",
        show_default=True,
        help="Whose overlap counts; both is the sum, the experiment's.",
    ),
    "ablation": click.option(
        "--ablation",
        type=click.Choice(["zero", "mean", "resample"]),
        default="zero",
        show_default=True,
        help="What dropped neurons are set to: zero, their mean, or their values on another image.",
    ),
    "renormalise": click.option(
        "--renormalise",
        is_flag=True,
        help="Give class features unit norm again over the kept neurons.",
    ),
    "resamples": click.option(
        "--resamples",
        type=click.IntRange(min=1),
        default=10_000,
        show_default=True,
        metavar="N",
        help="Of the bootstrap over images that gives intervals.",
    ),
    "rotations": click.option(
        "--rotations",
        type=click.IntRange(min=0),
        metavar="N",
        help="Random rotations, and orders of the same norms, that ask whether it is purity that "
        "does it; 0 does not "
        "ask. Default: 200 where they take seconds, else 0.",
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="Precision of the encoders; auto is bf16 on GPUs that have it, else fp32.",
    ),
    "arch": click.option(
        "--arch",
        metavar="ARCH",
        help="Architecture of bare files of open_clip's weights: its name, ARCH/TAG for the "
        "preprocess of one of its "
        "tags, or a file of your own, FILE.json, with a model_cfg. Where only some files need it, "
        "name them "
        "open_clip:ARCH/FILE.",
    ),
    "offline": click.option(
        "--offline", is_flag=True, help="Fetch nothing, and say what is missing."
    ),
    "classnames": click.option(
        "--classnames",
        type=FILE,
        metavar="FILE",
        help="JSON of class names, as CLIP_benchmark has them.",
    ),
    "templates": click.option(
        "--templates",
        type=FILE,
        metavar="FILE",
        help="JSON of templates, as CLIP_benchmark has them.",
    ),
    "data-root": click.option(
        "--data-root", type=FOLDER, metavar="DIR", help="Folder of the torchvision datasets."
    ),
    "download": click.option(
        "--download", is_flag=True, help="Fetch a missing torchvision dataset into --data-root."
    ),
    "on-bad-image": click.option(
        "--on-bad-image",
        type=click.Choice(["error", "skip"]),
        default="error",
        show_default=True,
        help="Stop at a broken image, or leave it out and report it.",
    ),
    "batch-size": click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=256,
        show_default=True,
        metavar="N",
        help="Images encoded at a time; less needs less memory.",
    ),
    "device": click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="DEVICE",
        help="Where to encode: auto (an accelerator if there is one), cpu, cuda, cuda:0,cuda:1, ...",
    ),
    "cache": click.option(
        "--cache",
        type=FOLDER,
        metavar="DIR",
        help="Folder where features are kept, so that none is encoded twice; `purescope cache ls` "
        "shows the default.",
    ),
    "no-cache": click.option("--no-cache", is_flag=True, help="Keep no features."),
}
_MEASURED = (
    "keep", "strategies", "draws", "seed", "protocol", "space", "measure", "towers", "ablation", "renormalise",
    "resamples", "precision",
)  # fmt: skip
_TRACKED = ("keep", "draws", "seed", "protocol", "space", "renormalise", "precision")
_ABLATED = ("data", "out", "protocol", "ablation", "seed", "precision")
_DRAWN = ("no-figures", "no-report")
_REPRODUCED = (
    "overwrite", *_DRAWN, "rotations", "draws", "seed", "resamples", "precision", "arch", "offline", "data-root",
    "download", "on-bad-image", "batch-size", "device", "cache", "no-cache",
)  # fmt: skip
_NAMED = ("arch", "offline")
_ENCODED = (
    *_NAMED, "classnames", "templates", "data-root", "download", "on-bad-image", "batch-size", "device",
)  # fmt: skip


def evaluated(command: Command) -> Command:
    """Add the options of a run: what it is evaluated on, where its results go, and what is drawn of
    them.
    """
    return _add(("data", "out", "overwrite", *_DRAWN), command)


def attributed(command: Command) -> Command:
    """Add the option to ask whether it is purity that does it."""
    return _add(("rotations",), command)


def drawn(command: Command) -> Command:
    """Add the options to draw nothing."""
    return _add(_DRAWN, command)


def no_report(command: Command) -> Command:
    """Add the option of a command that draws a report and no figures."""
    return _add(("no-report",), command)


def measured(command: Command) -> Command:
    """Add the options that change numbers: the fields of `purescope.runs.inputs.Settings`."""
    return _add(_MEASURED, command)


def tracked(command: Command) -> Command:
    """Add those of `measured` that checkpoints of a training are measured by."""
    return _add(_TRACKED, command)


def ablated(command: Command) -> Command:
    """Add what single neurons are left out by, and where the results go."""
    return _add(_ABLATED, command)


def reproduced(command: Command) -> Command:
    """Add what a repetition of the experiment leaves open: nothing that changes what is
    measured.
    """
    return _add(_REPRODUCED, command)


def read(command: Command) -> Command:
    """Add the options for finding, reading and keeping data: the fields of
    `purescope.runs.inputs.Sources`.
    """
    return _add((*_ENCODED, "cache", "no-cache"), command)


def encoded(command: Command) -> Command:
    """Add those of `read` for a command that keeps nothing of what it encodes."""
    return _add(_ENCODED, command)


def named(command: Command) -> Command:
    """Add the options for finding models by name."""
    return _add(_NAMED, command)


def _add(names: tuple[str, ...], command: Command) -> Command:
    for name in reversed(names):
        command = _OPTIONS[name](command)
    return command


def settings(options: dict[str, Any]) -> "Settings":
    """Take the options of `measured`, or those of them that a command has, out of its options."""
    from purescope.runs.inputs import Settings
    from purescope.specs import parse_keep
    from purescope.studies.settings import all_strategies

    found = {
        field.name: options.pop(field.name) for field in fields(Settings) if field.name in options
    }
    if found.get("keep") is not None:
        found["keep"] = parse_keep(found["keep"])
    if "strategies" in found:
        names = found["strategies"]
        found["strategies"] = (
            all_strategies() if names == "all" else [name.strip() for name in names.split(",")]
        )
    return Settings(**found)


def drawing(options: dict[str, Any]) -> dict[str, bool]:
    """Take what is to be drawn out of a command's options, as the arguments ``figures`` and
    ``report`` of a run.
    """
    return {name: not options.pop(f"no_{name}") for name in ("figures", "report")}


def sources(options: dict[str, Any]) -> "Sources":
    """Take the options of `read`, or of `encoded`, out of a command's options."""
    from purescope.runs.inputs import Sources

    if options.pop("no_cache", False):
        options["cache"] = None
    elif options.get("cache", "") is None:
        options["cache"] = default_cache()
    return Sources(
        **{
            field.name: options.pop(field.name)
            for field in fields(Sources)
            if field.name in options
        }
    )


def places(options: dict[str, Any]) -> dict[str, Any]:
    """Where a command's datasets are to be found, as `purescope.cli.paths.check_named` asks;
    nothing is taken out.
    """
    return {name: options[name] for name in ("data_root", "download") if name in options}


def default_cache() -> "Path | None":
    """Where features are kept by default; nowhere, with a note, for a user without a home."""
    from purescope.features.cache import default_folder

    try:
        return default_folder()
    except OutputError as error:
        warnings.warn(f"{error.came}: features are not kept; --cache DIR keeps them", stacklevel=2)
        return None


def datasets(data: tuple[str, ...]) -> list[str]:
    """The names that ``--data`` holds: a path may have commas in it; a list of plain names is split
    at them.
    """
    return [name for item in data for name in _split(item)]


def _split(item: str) -> list[str]:
    return [item] if exists(to_path(item.partition(":")[2] or item)) else item.split(",")
