"""``purescope index``: what a search finds, by dimensions kept, code and bytes of a vector."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from purescope.cli import options, output, terminal
from purescope.cli.paths import RESULTS, check_named
from purescope.errors import InputError
from purescope.specs import exists, split_label, to_path

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

_STAGES = {"single": "found", "reranked": "reranked"}


@click.command(short_help="Measure what a search finds among smaller vectors.")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option(
    "--model",
    metavar="MODEL",
    help="Model that encodes DATA, if it is a dataset or captions: of images.",
)
@click.option(
    "--keep",
    metavar="KS",
    help="Numbers of axes to keep: numbers and ranges FIRST:LAST:STEP, separated by commas. "
    "Default: eighths of all, 64:512:64 of 512.",
)
@click.option(
    "--codes",
    default="f32,f16,int8,binary,pq",
    show_default=True,
    metavar="CODES",
    help="Codes of the vectors, separated by commas: f32 and f16 (floats), int8 (a byte a "
    "dimension), binary (a bit a dimension), pq (product quantization, 64 bytes a vector), or pqN "
    "(N bytes).",
)
@click.option(
    "--axes",
    default="svd",
    show_default=True,
    metavar="AXES",
    help="Axes to keep the first of, fitted to the vectors in the index: svd, pca, "
    "random_rotation, a band such as svd@8, or first_k (the dimensions as they are).",
)
@click.option(
    "--by",
    metavar="ROTATION",
    help="Rotation of `purescope rebase` to keep the first axes of, in place of --axes: "
    "rotation.safetensors, or its folder.",
)
@click.option(
    "--ask",
    type=click.Choice(["held-out", "text"]),
    help="Queries: vectors that are left out of the index, or texts (captions or classes). "
    "Default: captions where there are some, else held-out.",
)
@click.option(
    "--queries",
    type=click.IntRange(2),
    default=1000,
    show_default=True,
    metavar="N",
    help="Number of queries, at most; of vectors that are left out, at most a fifth.",
)
@click.option(
    "--rows",
    type=click.IntRange(10),
    default=100_000,
    show_default=True,
    metavar="N",
    help="Number of vectors to search in, at most. Larger collections are sampled.",
)
@click.option(
    "--candidates",
    type=click.IntRange(10),
    default=100,
    show_default=True,
    metavar="N",
    help="Number of vectors that are ordered again by all their dimensions.",
)
@click.option(
    "--no-normalise",
    is_flag=True,
    help="Do not scale vectors and queries to unit length over the kept axes.",
)
@options.add_options("column", "array")
@click.option(
    "--out",
    type=RESULTS,
    required=True,
    metavar="DIR",
    help="Folder for table, figures and report. It must not exist, or be empty.",
)
@options.add_options(*options.DRAWING, "seed", "resamples", *options.AXES)
def index(
    data: tuple[str, ...],
    model: str | None,
    keep: str | None,
    codes: str,
    axes: str,
    by: str | None,
    ask: str | None,
    queries: int,
    rows: int,
    candidates: int,
    no_normalise: bool,
    column: str | None,
    array: str | None,
    out: Path,
    seed: int,
    resamples: int,
    **rest: Any,
) -> None:
    """Measure recall, bytes and time of a search in DATA, by axes kept and by code.

    DATA is a file or folder of vectors (.npy, .npz, .safetensors, .parquet, .arrow or .feather),
    features:PATH, captions:PATH, a dataset with --model, or the folder of results of a sweep.
    recall@10 compares with an exact search with all dimensions: of what the index finds, and of its
    candidates after they were ordered again by the whole vectors. Vectors and queries are scaled to
    unit length over the kept axes, as a smaller model does. It needs the extra index (faiss).

    \b
    Examples:
      purescope index vectors.npy --keep 64:512:64 --codes f16,int8,pq --out searched
      purescope index bundled:emoji --model bundled:clip --by rotated --out searched
    """  # noqa: D301 click does not wrap a paragraph after this mark
    names = options.dataset_names(data)
    check_named([model] if model else [], names, **options.data_folder(rest))
    _check_vectors(names, by)
    from purescope.runs.indexes import index
    from purescope.specs import parse_keep

    sources, drawing = options.pop_sources(rest), options.pop_drawing(rest)
    with output.show_messages():
        results = index(
            names,
            out=out,
            model=model,
            keep=None if keep is None else parse_keep(keep),
            codes=codes,
            axes=axes,
            by=by,
            ask=ask or "",
            queries=queries,
            rows=rows,
            candidates=candidates,
            normalise=not no_normalise,
            seed=seed,
            resamples=resamples,
            column=column,
            array=array,
            **drawing,
            sources=sources,
            progress=output.show_progress,
        )
    console = terminal.make_console()
    for (_, dataset), found in results.table("searches").groupby(["model", "dataset"], sort=False):
        console.print(_frontier_table(found, str(dataset)))
        console.print()
    files = {"Table": str(out / "searches.csv")}
    if drawing["figures"]:
        files["Figures"] = str(out / "figures")
    terminal.print_next_steps(console, terminal.report_line(out) | files)


def _check_vectors(names: list[str], by: str | None) -> None:
    """Raise an error for vectors or a rotation that do not exist.

    Raises:
        InputError: there is no such path.
    """
    from purescope.reduce.collections.formats import format_of

    paths = [to_path(split_label(name)[1]) for name in names if ":" not in name]
    wanted = [path for path in paths if format_of(path) is not None]
    for path in [*wanted, *([to_path(by)] if by is not None else [])]:
        if not exists(path):
            raise InputError(f"there is no file or folder {path}", fix="check the path")


def _frontier_table(rows: "pd.DataFrame", dataset: str) -> "Table":
    """Return a line for each row of which no other finds more with as few bytes."""
    from purescope.formats import percent
    from purescope.tables.schema import each_row
    from purescope.tables.searches import find_frontier

    first = rows.iloc[0]
    title = f"{dataset}: {first.vectors:,} vectors of {first.neurons:,}, {first.n:,} queries"
    table = terminal.make_table(title)
    has_task = bool(rows.task.notna().any())
    for name in ("", "bytes", "axes kept", "code", "recall@10 (%)", "95 % interval"):
        table.add_column(name, justify="left" if name in ("", "code") else "right")
    if has_task:
        exact = f"exact {percent(first.task_exact)}"
        table.add_column(f"{first.task_metric.replace('_', ' ')} (%, {exact})", justify="right")
    for stage, name in _STAGES.items():
        for row in each_row(find_frontier(rows, stage)):
            cells = [name, f"{row.bytes:,}", f"{row.k:,}", output.escape(row.code)]
            cells += [percent(row.recall)]
            cells += [f"{percent(row.recall_low)} to {percent(row.recall_high)}"]
            cells += [percent(row.task)] if has_task else []
            terminal.add_row(table, *cells)
            name = ""
        table.add_section()
    return table
