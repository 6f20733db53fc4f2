"""``purescope shrink``: make a collection of embeddings smaller that exists already."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, output
from purescope.cli.paths import OUTPUT
from purescope.errors import InputError, OutputError

if TYPE_CHECKING:
    from purescope.reduce.shrinking import Shrunk


@click.command(short_help="Keep the first axes of embeddings that are stored already.")
@click.argument("vectors", nargs=-1, required=True, metavar="VECTORS...")
@click.option(
    "--by",
    required=True,
    metavar="FILE",
    help="The rotation: rotation.safetensors, or the folder that holds it.",
)
@click.option(
    "--keep",
    type=int,
    required=True,
    metavar="K",
    help="Number of axes to keep, which are the dimensions afterwards.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    help="Type of the numbers that are written. Default: float16 for vectors of float16, and "
    "float32 for all others.",
)
@click.option(
    "--no-normalise",
    is_flag=True,
    help="Do not scale the rows to unit length over the kept axes.",
)
@click.option(
    "--tower",
    type=click.Choice(["image", "text"]),
    help="Tower that made the vectors, if the rotation has different axes for each. Default: as "
    "the name of the array, column, file or folder says.",
)
@options.add_options("column")
@click.option(
    "--array",
    metavar="NAME",
    help="Array to shrink in a .npz or .safetensors file. Default: all of the right width.",
)
@click.option(
    "--out",
    type=OUTPUT,
    required=True,
    metavar="OUT",
    help="File for one file; folder for a folder or several files; - for standard output.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace what an earlier run made with other options or another rotation.",
)
def shrink(
    vectors: tuple[str, ...],
    by: str,
    keep: int,
    dtype: str | None,
    no_normalise: bool,
    tower: str | None,
    column: str | None,
    array: str | None,
    out: Path,
    overwrite: bool,
) -> None:
    """Express stored embeddings in the axes of a rotation, and write the first K numbers of each.

    VECTORS are files (.npy, .npz, .safetensors, .parquet, .arrow or .feather), folders of such
    files, or - for standard input: an array of numpy.save, or an Arrow IPC stream. Order, ids and
    other columns stay. The same command goes on where a stopped run ended, also within a file of
    .npy or safetensors.

    \b
    Example:
      purescope shrink embeddings.npy --by rebased --keep 256 --dtype float16 --out short.npy
    """  # noqa: D301 click does not wrap a paragraph after this mark
    if "-" in vectors and len(vectors) > 1:
        raise click.UsageError("standard input (-) and files together")
    _use_one_thread_for_each_product()
    from purescope.reduce.shrinking import shrink

    is_piped = str(out) == "-"
    if not is_piped:
        output.Streams.results = out
    with output.show_messages():
        done = shrink(
            _standard_input() if vectors == ("-",) else vectors,
            _standard_output() if is_piped else out,
            by=by,
            keep=keep,
            dtype=dtype,
            normalise=not no_normalise,
            tower=tower,
            column=column,
            array=array,
            overwrite=overwrite,
        )
    output.print_line(_summary(done, "standard output" if is_piped else out, keep), err=is_piped)


def _summary(done: "Shrunk", out: object, keep: int) -> str:
    files = f" in {len(done.files):,} files" if len(done.files) > 1 else ""
    parts = [f"{out}: {done.rows:,} rows of {keep:,} dimensions{files}"]
    if done.bytes_before:
        parts.append(f"{_size(done.bytes_before)} became {_size(done.bytes_after)}")
    if done.kept:
        parts.append(f"{done.kept:,} of the files were finished already")
    if done.copied:
        parts.append(f"{len(done.copied):,} other files were copied")
    return "; ".join(parts)


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} KB"


def _use_one_thread_for_each_product() -> None:
    """Let blocks of rows be multiplied side by side, instead of parts of one block.

    The threads of OpenBLAS wait for each other in loops, which costs as much again. It reads the
    variable when NumPy is imported.
    """
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _standard_input() -> Any:
    if os.isatty(0):
        raise InputError(
            "standard input is a terminal",
            expected="a pipe or a file, such as `purescope shrink - ... < vectors.npy`",
            fix="name a file",
        )
    return os.fdopen(os.dup(0), "rb")


def _standard_output() -> Any:
    if os.isatty(1):
        raise OutputError(
            "standard output is a terminal",
            expected="a pipe or a file, such as `--out - > short.npy`",
            fix="name a file with --out",
        )
    return os.fdopen(os.dup(1), "wb")
