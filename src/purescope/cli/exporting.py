"""``purescope export``: a model whose embedding is smaller, for several libraries."""

from pathlib import Path
from typing import Any

import click

from purescope.cli import options, output
from purescope.cli.paths import FOLDER, RESULTS, check_named, check_results
from purescope.errors import InputError
from purescope.specs import exists, to_path

_LOADERS = {
    "open_clip": "open_clip loads it as local-dir:{}",
    "transformers": "transformers.CLIPModel.from_pretrained({!r}) loads it",
    "sentence-transformers": "SentenceTransformer({!r}) loads it",
    "onnx": "onnxruntime loads its image.onnx and text.onnx",
    "purescope": "purescope loads it by its path",
    "rotation": "its rotation.safetensors takes embeddings that exist already to these dimensions",
}


@click.command(short_help="Write a model whose embedding has fewer dimensions.")
@click.argument("model", metavar="MODEL")
@click.option(
    "--keep",
    type=int,
    required=True,
    metavar="K",
    help="Number of dimensions of the smaller embedding.",
)
@click.option(
    "--to",
    metavar="FORMS",
    help="Forms, separated by commas: open_clip transformers sentence-transformers onnx purescope "
    "(of LaCLIP checkpoints) rotation (for embeddings that exist already). Default: the model's "
    "own form, and rotation.",
)
@click.option(
    "--axes",
    metavar="AXES",
    help="Axes to keep the first K of, as in `purescope rebase`. Default: svd.",
)
@click.option(
    "--order",
    metavar="ORDER",
    help="Neurons to keep the first K of, in place of axes: a file with their numbers (.csv with a "
    "column neuron, .json, .txt, .npy), or a strategy, such as high_purity.",
)
@click.option(
    "--rotation",
    metavar="ROTATION",
    help="Rotation of `purescope rebase` to keep the first K axes of: rotation.safetensors, or its "
    "folder.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="DATASET",
    help="Dataset whose embeddings the axes are fitted to, in place of the weights.",
)
@options.add_options("fit-on")
@click.option(
    "--results",
    type=FOLDER,
    metavar="DIR",
    help="Results of `purescope sweep --renormalise` of MODEL, whose numbers for K dimensions go "
    "into the model cards.",
)
@click.option(
    "--out",
    type=RESULTS,
    required=True,
    metavar="DIR",
    help="Folder that gets a folder for each form. It must not exist, or be empty.",
)
@options.add_options("seed", *options.AXES)
def export(
    model: str,
    keep: int,
    to: str | None,
    axes: str | None,
    order: str | None,
    rotation: str | None,
    data: tuple[str, ...],
    fit_on: float,
    results: Path | None,
    out: Path,
    seed: int,
    **rest: Any,
) -> None:
    """Write MODEL with an embedding of K dimensions, in the forms of several libraries.

    The last weights of both towers are multiplied by the axes that are kept, so the model itself
    makes the smaller embedding. Each form is loaded again and compared before DIR appears, and has
    a model card. A form that cannot hold the model is refused by name.

    \b
    Examples:
      purescope export bundled:clip --keep 128 --to open_clip,rotation --out smaller
      purescope export bundled:clip --keep 128 --order high_purity --out purest
    """  # noqa: D301 click does not wrap a paragraph after this mark
    names = options.dataset_names(data)
    check_named([model], names, **options.data_folder(rest))
    for option, path in (("--order", order), ("--rotation", rotation)):
        if path is not None and (option == "--rotation" or to_path(path).suffix):
            _require_path(option, path)
    if results is not None:
        check_results(results)
    from purescope.runs.exports import export

    sources = options.pop_sources(rest)
    with output.show_messages():
        folders = export(
            model,
            keep=keep,
            out=out,
            to=to or (),
            axes=axes,
            order=order,
            rotation=rotation,
            data=names,
            fit_on=fit_on,
            seed=seed,
            results=results,
            sources=sources,
            progress=output.show_progress,
        )
    for form in folders:
        output.print_line(f"{out / form}: {keep:,} dimensions, in the form of {form}")
        output.print_line(f"  {_LOADERS[form].format(str(out / form))}")


def _require_path(option: str, path: str) -> None:
    if not exists(to_path(path)):
        raise InputError(f"{option}: there is no file {to_path(path)}", fix="check the path")
