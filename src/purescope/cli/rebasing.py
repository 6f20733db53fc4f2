"""``purescope rebase``: better axes for an embedding, which change no logit."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, output, terminal
from purescope.cli.paths import RESULTS, check_named

if TYPE_CHECKING:
    from purescope.reduce.rotation import Rotation

_PARTS = (16, 8, 4, 2)  # of the axes, whose share of the length is printed


@click.command(short_help="Rotate the embedding of a model: its first dimensions keep most.")
@click.argument("model", required=False, metavar="[MODEL]")
@click.option(
    "--axes",
    default="svd",
    show_default=True,
    metavar="AXES",
    help="Axes of the new embedding, the first kept first: svd (most of the squared length), cross "
    "(most of the products of both towers), pca (most of the variance of the images in --data), or "
    "a band of one: svd@8 puts the 8 strongest axes last.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="DATASET",
    help="Dataset whose embeddings the axes are fitted to, in place of the weights. Without MODEL: "
    "features:PATH of features, or of vectors in any file that `purescope shrink` reads, or of a "
    "folder of them.",
)
@options.add_options("column", "array", "fit-on")
@click.option(
    "--no-normalise",
    is_flag=True,
    help="Fit to embeddings as they are. By default each is scaled to length 1, as a search by "
    "cosine does.",
)
@click.option(
    "--out",
    type=RESULTS,
    required=True,
    metavar="DIR",
    help="Folder for the model and rotation.safetensors. It must not exist, or be empty.",
)
@options.add_options("seed", *options.AXES)
def rebase(
    model: str | None,
    axes: str,
    data: tuple[str, ...],
    fit_on: float,
    no_normalise: bool,
    column: str | None,
    array: str | None,
    out: Path,
    seed: int,
    **rest: Any,
) -> None:
    """Rotate the embedding of MODEL by one orthogonal matrix for both towers.

    Every logit stays what it was, and a prefix of the new embedding keeps most. DIR gets the
    rotated model, in the form that `purescope convert` writes, and rotation.safetensors, which
    rotates embeddings that exist already. Without MODEL it gets only that file.

    \b
    Examples:
      purescope rebase bundled:clip --out rotated
      purescope rebase --data features:vectors.npy --fit-on 0.5 --out rotated
    """  # noqa: D301 click does not wrap a paragraph after this mark
    names = options.dataset_names(data)
    check_named([model] if model else [], names, **options.data_folder(rest))
    from purescope.runs.rotations import rebase

    sources = options.pop_sources(rest)
    with output.show_messages():
        rotation = rebase(
            model,
            out=out,
            axes=axes,
            data=names,
            fit_on=fit_on,
            seed=seed,
            normalise=not no_normalise,
            column=column,
            array=array,
            sources=sources,
            progress=output.show_progress,
        )
    what = "rotation.safetensors" if model is None else "the rotated model, rotation.safetensors"
    output.print_line(f"{out}: {what}")
    output.print_line(f"  {describe_spectrum(rotation)}")
    if model is not None:
        words = ["purescope", "export", model, "--rotation", str(out), "--out", "smaller"]
        words += ["--keep", str(max(1, rotation.axes // 4))]
        step = {"Make it smaller": terminal.runnable(shlex.join(words))}
        terminal.print_next_steps(terminal.make_console(), step)


def describe_spectrum(rotation: "Rotation") -> str:
    """Return what share of the squared length the first axes hold."""
    shares = rotation.spectrum.cumsum(dim=0)
    counts = dict.fromkeys(max(1, rotation.axes // part) for part in _PARTS)
    held = ", ".join(f"{count:,} {float(shares[count - 1]):.0%}" for count in counts)
    return f"of {rotation.axes:,} axes, the first hold of the squared length: {held}"
