"""Options that several commands have."""

import warnings
from collections.abc import Callable, Iterable
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
        help="Dataset to evaluate on. Give the option once for each dataset, or separate datasets "
        "by commas.",
    ),
    "out": click.option(
        "--out",
        type=RESULTS,
        required=True,
        metavar="DIR",
        help="Folder for the results. It must hold no results, or those of the same run.",
    ),
    "overwrite": click.option(
        "--overwrite", is_flag=True, help="Replace the results of another run in --out."
    ),
    "no-figures": click.option(
        "--no-figures", is_flag=True, help="Draw no figures. `purescope plot DIR` draws them later."
    ),
    "no-report": click.option(
        "--no-report",
        is_flag=True,
        help="Write no report. `purescope report DIR` writes it later.",
    ),
    "keep": click.option(
        "--keep",
        metavar="KS",
        help="Numbers of neurons to keep: numbers and ranges FIRST:LAST:STEP, separated by commas. "
        "Default: 200:500:50 of 512 neurons, and the same fractions of any other number.",
    ),
    "strategies": click.option(
        "--strategies",
        metavar="NAMES",
        default="high_purity,low_purity",
        show_default=True,
        help="Strategies that choose the neurons, separated by commas, or all: high_purity "
        "low_purity first_k weight_norm activation_variance greedy_purity pivoted_qr ape "
        "importance random_rotation svd cross pca.",
    ),
    "draws": click.option(
        "--draws",
        type=click.IntRange(min=0),
        default=50,
        show_default=True,
        metavar="N",
        help="Number of random orders to compare with. Silhouettes use the first 50.",
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
        help="Preprocess and prompts. native uses those of the checkpoint and of the dataset, "
        "paper uses those of the experiment's script.",
    ),
    "space": click.option(
        "--space",
        type=click.Choice(["weights", "activations", "centred"]),
        default="weights",
        show_default=True,
        help="Vectors whose overlap is measured: weights of the projections, activations of the "
        "neurons over each dataset, or centred activations, whose means are subtracted.",
    ),
    "measure": click.option(
        "--measure",
        metavar="NAME",
        default="l1",
        show_default=True,
        help="Measure of overlap: l1 (the experiment's) l2 linf median signed_mean r2 interference "
        "superposition pearson polysemanticity.",
    ),
    "towers": click.option(
        "--towers",
        type=click.Choice(["both", "image", "text", "z_sum", "rank_mean"]),
        default="both",
        show_default=True,
        help="Towers whose overlap counts. both is the sum, as in the experiment.",
    ),
    "ablation": click.option(
        "--ablation",
        type=click.Choice(["zero", "mean", "resample"]),
        default="zero",
        show_default=True,
        help="Value of dropped neurons: zero, their mean, or their value on another image.",
    ),
    "renormalise": click.option(
        "--renormalise/--no-renormalise",
        default=None,
        help="Scale features to unit norm again over the kept neurons, as a smaller model does. "
        "Default: captions and their images yes, class features no.",
    ),
    "metrics": click.option(
        "--metrics",
        metavar="NAMES",
        help="More metrics of the images by their labels, separated by commas, or all: knn (vote "
        "of the nearest images), map (mean average precision of a search by image), probe "
        "(linear probe). The time of knn and map grows with the square of the number of images.",
    ),
    "resamples": click.option(
        "--resamples",
        type=click.IntRange(min=1),
        default=10_000,
        show_default=True,
        metavar="N",
        help="Number of bootstrap resamples for the confidence intervals.",
    ),
    "rotations": click.option(
        "--rotations",
        type=click.IntRange(min=0),
        metavar="N",
        help="Number of random rotations, and of orders with the same norms, that test whether "
        "purity is the reason. 0 skips the test. Default: 200 if they take seconds, else 0.",
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        show_default=True,
        help="Precision of the encoders. auto is bf16 on GPUs that support it, else fp32.",
    ),
    "arch": click.option(
        "--arch",
        metavar="ARCH",
        help="Architecture of checkpoints that hold only open_clip weights: its name, ARCH/TAG for "
        "the preprocess of one of its tags, or your own file FILE.json with a model_cfg. If only "
        "some checkpoints need it, name them open_clip:ARCH/FILE.",
    ),
    "offline": click.option(
        "--offline", is_flag=True, help="Download nothing, and report what is missing."
    ),
    "column": click.option(
        "--column",
        metavar="NAME",
        help="Column of vectors in a table that has several such columns.",
    ),
    "array": click.option(
        "--array",
        metavar="NAME",
        help="Array of vectors in a .npz or .safetensors file with several.",
    ),
    "fit-on": click.option(
        "--fit-on",
        type=click.FloatRange(0, 1, min_open=True),
        default=1.0,
        show_default=True,
        metavar="SHARE",
        help="Share of the images or embeddings in --data to fit to, drawn by --seed.",
    ),
    "classnames": click.option(
        "--classnames",
        type=FILE,
        metavar="FILE",
        help="JSON file of class names, in the format of CLIP_benchmark.",
    ),
    "templates": click.option(
        "--templates",
        type=FILE,
        metavar="FILE",
        help="JSON file of prompt templates, in the format of CLIP_benchmark.",
    ),
    "data-root": click.option(
        "--data-root",
        type=FOLDER,
        metavar="DIR",
        help="Folder that holds the torchvision datasets.",
    ),
    "download": click.option(
        "--download", is_flag=True, help="Download a missing torchvision dataset into --data-root."
    ),
    "on-bad-image": click.option(
        "--on-bad-image",
        type=click.Choice(["error", "skip"]),
        default="error",
        show_default=True,
        help="Action at a broken image: error stops the run, skip leaves the image out and "
        "reports it.",
    ),
    "batch-size": click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=256,
        show_default=True,
        metavar="N",
        help="Number of images that are encoded at a time. Fewer images need less memory.",
    ),
    "device": click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="DEVICE",
        help="Device that encodes: auto (an accelerator if there is one), cpu, cuda, "
        "cuda:0,cuda:1, ...",
    ),
    "cache": click.option(
        "--cache",
        type=FOLDER,
        metavar="DIR",
        help="Folder that keeps features, so that nothing is encoded twice. `purescope cache ls` "
        "shows the default.",
    ),
    "no-cache": click.option(
        "--no-cache", is_flag=True, help="Read and keep no features in the cache."
    ),
}

DRAWING = ("no-figures", "no-report")
"""Options to draw nothing."""

RUN = ("data", "out", "overwrite", *DRAWING)
"""Options of a run: its datasets, the folder of its results, and what is drawn of them."""

SETTINGS = (
    "keep", "strategies", "draws", "seed", "protocol", "space", "measure", "towers", "ablation",
    "renormalise", "resamples", "precision",
)  # fmt: skip
"""Options that change numbers: the fields of `purescope.runs.inputs.Settings`."""

TRACK_SETTINGS = ("keep", "draws", "seed", "protocol", "space", "renormalise", "precision")
"""Settings that apply to the checkpoints of a training."""

IMPORTANCE = ("data", "out", "protocol", "ablation", "seed", "precision")
"""Options for leaving out single neurons."""

ENCODING = (
    "arch", "offline", "classnames", "templates", "data-root", "download", "on-bad-image",
    "batch-size", "device",
)  # fmt: skip
"""Options for finding, reading and encoding data."""

SOURCES = (*ENCODING, "cache", "no-cache")
"""Options for finding, reading, encoding and keeping data: `purescope.runs.inputs.Sources`."""

AXES = (
    "arch", "offline", "data-root", "download", "on-bad-image", "batch-size", "device", "cache",
    "no-cache",
)  # fmt: skip
"""Options for finding, reading and encoding the data that axes are fitted to."""

REPRODUCTION = (
    "overwrite", *DRAWING, "rotations", "draws", "seed", "resamples", "precision", "arch",
    "offline", "data-root", "download", "on-bad-image", "batch-size", "device", "cache", "no-cache",
)  # fmt: skip
"""Options of a repetition of the experiment: none of them changes what is measured."""


def add_options(*names: str) -> Callable[[Command], Command]:
    """Return a decorator that adds options of this file to a command, in this order."""

    def add(command: Command) -> Command:
        for name in reversed(names):
            command = _OPTIONS[name](command)
        return command

    return add


def pop_settings(options: dict[str, Any]) -> "Settings":
    """Remove the options of `SETTINGS` that a command has from its options, and return them."""
    from purescope.runs.inputs import Settings
    from purescope.specs import parse_keep
    from purescope.studies.settings import all_strategies
    from purescope.tables.metrics import IMAGE_METRICS

    values = {
        field.name: options.pop(field.name) for field in fields(Settings) if field.name in options
    }
    if values.get("keep") is not None:
        values["keep"] = parse_keep(values["keep"])
    if "metrics" in values:
        asked = values["metrics"]
        values["metrics"] = () if asked is None else _names(asked, IMAGE_METRICS)
    if "strategies" in values:
        values["strategies"] = _names(values["strategies"], all_strategies())
    return Settings(**values)


def _names(text: str, known: Iterable[str]) -> list[str]:
    """Return names that are separated by commas; all of them for ``all``."""
    return [*known] if text == "all" else [name.strip() for name in text.split(",")]


def pop_drawing(options: dict[str, Any]) -> dict[str, bool]:
    """Remove the options of `DRAWING`, and return the arguments ``figures`` and ``report``."""
    return {name: not options.pop(f"no_{name}") for name in ("figures", "report")}


def pop_sources(options: dict[str, Any]) -> "Sources":
    """Remove the options of `SOURCES`, or of `ENCODING`, and return them."""
    from purescope.runs.inputs import Sources

    if options.pop("no_cache", False):
        options["cache"] = None
    elif options.get("cache", "") is None:
        options["cache"] = default_cache()
    names = [field.name for field in fields(Sources) if field.name in options]
    return Sources(**{name: options.pop(name) for name in names})


def pop_run(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the options that all runs of a sweep have, and return the arguments of `run_sweep`."""
    arguments: dict[str, Any] = pop_drawing(options)
    return arguments | {"sources": pop_sources(options), "settings": pop_settings(options)}


def data_folder(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments ``data_root`` and ``download`` of `purescope.cli.paths.check_named`.

    The options keep them.
    """
    return {name: options[name] for name in ("data_root", "download") if name in options}


def default_cache() -> "Path | None":
    """Return the default folder of the cache.

    For a user without a home folder it is None, with a warning.
    """
    from purescope.features.cache import default_folder

    try:
        return default_folder()
    except OutputError as error:
        warnings.warn(f"{error.came}: features are not kept; --cache DIR keeps them", stacklevel=2)
        return None


def dataset_names(data: tuple[str, ...]) -> list[str]:
    """Return the names in ``--data``: lists are split at commas, except in an existing path."""
    return [name for item in data for name in _split(item)]


def _split(item: str) -> list[str]:
    return [item] if exists(to_path(item.partition(":")[2] or item)) else item.split(",")
