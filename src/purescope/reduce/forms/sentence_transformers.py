"""Write a model as a folder of sentence-transformers, which encodes images and texts.

The folder holds the CLIP or SigLIP of transformers, then if asked a linear map to fewer dimensions
(`Dense`, the rotation), then `Normalize`. sentence-transformers 5.4 and later load it by itself,
without the network and without code of others. Images are prepared by Pillow, as purescope does.

The rows of a full-width rotated model can be cut when they are used: `truncate_dim=64` keeps the
first 64 axes, and `normalize_embeddings=True` scales them to unit length again.
"""

from importlib.metadata import version
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from purescope.errors import InputError, ModelError
from purescope.files.guard import guarded
from purescope.models.checkpoint import summarise_error
from purescope.models.convert import write_weights
from purescope.models.towers import Towers
from purescope.models.transformers import WEIGHTS
from purescope.reduce.forms.checking import make_pictures, make_sentences, require_equal
from purescope.reduce.forms.transformers import require_transformers_form, write_transformers
from purescope.reduce.forms.writing import (
    new_folder,
    quiet,
    require_extra,
    without_bars,
    write_json,
)
from purescope.reduce.rotation import Rotation

_FORM = "sentence-transformers"
_MODULES = "sentence_transformers.models"  # a name that old and new versions know
_LIBRARIES = ("sentence_transformers", "transformers")
_KEY = "sentence_embedding"


def write_sentence_transformers(
    towers: Towers,
    folder: Path,
    *,
    rotation: Rotation | None = None,
    normalise: bool = True,
) -> None:
    """Write a model for sentence-transformers, compare it with the model, and only then keep it.

    Args:
        towers: the model, cut or not; it is put into the mode of evaluation.
        folder: the folder, which does not exist or is empty. It appears when it is complete.
        rotation: a linear map behind the model, for a model that cannot be cut itself (SigLIP).
        normalise: scale the embeddings to unit length over the axes that are kept.

    Raises:
        MissingExtraError: the extra ``sentence-transformers`` is not installed.
        InputError: the rotation is of another number of dimensions.
        ModelError: transformers has no such model, or the exported one computes something else.
        OutputError: the folder holds something, or cannot be written.
    """
    require_extra(_FORM, "sentence_transformers", "transformers")
    if rotation is not None and rotation.neurons != towers.neurons:
        raise InputError(
            f"a rotation of {rotation.neurons:,} dimensions",
            expected=f"{towers.neurons:,}, as the model has",
            fix="use the rotation that was fitted to this model",
        )
    towers.module.eval().requires_grad_(False)
    require_sentence_transformers_form(towers)
    with new_folder(folder) as partial:
        shared = rotation is None or torch.equal(rotation.image, rotation.text)
        route = "" if shared else "text_0_Transformer"
        _write_transformer(partial / route, towers)
        modules = [("Transformer", "")] if shared else [("Router", "")]
        if rotation is not None and shared:
            modules.append(("Dense", "1_Dense"))
            _write_dense(partial / "1_Dense", rotation.image)
        elif rotation is not None:
            _write_router(partial, route, rotation)
        if normalise:
            place = f"{len(modules)}_Normalize"
            modules.append(("Normalize", place))
            names = {"module_input_name": _KEY, "module_output_name": _KEY}
            write_json(partial / place / "config.json", names)
        _write_modules(partial, modules)
        _check(partial, towers, rotation, normalise=normalise)


def require_sentence_transformers_form(towers: Towers) -> None:
    """Refuse a model that transformers has no form for, and say what works instead.

    Raises:
        ModelError: there is none.
    """
    try:
        require_transformers_form(towers)
    except ModelError as error:
        raise ModelError(
            f"{_FORM}: {error.came}",
            expected=error.expected,
            fix="--to onnx, which takes every model, or --to rotation, behind the model you have",
        ) from error


def _write_transformer(folder: Path, towers: Towers) -> None:
    """Write the module that has the towers, the tokenizer and the preprocess."""
    folder.mkdir(exist_ok=True)
    write_transformers(towers, folder)
    encoders = {
        tower: {"method": f"get_{tower}_features", "method_output_name": "pooler_output"}
        for tower in ("text", "image")
    }
    # Rows are padded to the whole context and nothing is masked: SigLIP was trained so, and for
    # CLIP it makes no difference.
    text = {
        "padding": "max_length",
        "truncation": True,
        "max_length": towers.tokenize.context,
        "return_attention_mask": False,
    }
    settings = {
        "transformer_task": "feature-extraction",
        "modality_config": encoders,
        "module_output_name": _KEY,
        "processing_kwargs": {"text": text},
        "processor_kwargs": {"backend": "pil"},
        "do_lower_case": _ignores_case(towers),
    }
    write_json(folder / "sentence_bert_config.json", settings)


def _ignores_case(towers: Towers) -> bool:
    """Return whether sentences are lower-cased, by their tokenizer or for it."""
    cased, lower = towers.tokenize(["A Red FLAG", "a red flag"])
    return bool(cased.equal(lower))


def _write_dense(folder: Path, axes: Float[Tensor, "neuron axis"]) -> None:
    """Write a linear map without bias and without activation."""
    neurons, kept = axes.shape
    settings = {
        "in_features": neurons,
        "out_features": kept,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
        "module_input_name": _KEY,
        "module_output_name": _KEY,
    }
    write_json(folder / "config.json", settings)
    write_weights(folder / WEIGHTS, {"linear.weight": axes.T})


def _write_router(folder: Path, transformer: str, rotation: Rotation) -> None:
    """Write a linear map for each tower, behind one and the same model."""
    dense = {tower: f"{tower}_1_Dense" for tower in ("text", "image")}
    for tower, place in dense.items():
        _write_dense(folder / place, getattr(rotation, tower))
    types = {transformer: f"{_MODULES}.Transformer"}
    settings = {
        "types": types | dict.fromkeys(dense.values(), f"{_MODULES}.Dense"),
        "structure": {tower: [transformer, place] for tower, place in dense.items()},
        "parameters": {"default_route": "text", "allow_empty_key": True},
    }
    write_json(folder / "router_config.json", settings)


def _write_modules(folder: Path, modules: list[tuple[str, str]]) -> None:
    """Write which modules follow one another, and how embeddings are compared."""
    entries = [
        {"idx": number, "name": str(number), "path": place, "type": f"{_MODULES}.{kind}"}
        for number, (kind, place) in enumerate(modules)
    ]
    write_json(folder / "modules.json", entries)
    versions = {
        "pytorch": version("torch"),
        "sentence_transformers": version("sentence-transformers"),
        "transformers": version("transformers"),
    }
    settings = {
        "__version__": versions,
        "model_type": "SentenceTransformer",
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    write_json(folder / "config_sentence_transformers.json", settings)


def _check(folder: Path, towers: Towers, rotation: Rotation | None, *, normalise: bool) -> None:
    """Load the folder as its users do, and compare images and sentences with the model."""
    sentences, pictures = make_sentences(towers), make_pictures(towers)
    try:
        exported = _encode(folder, sentences, pictures)
    except ModelError:
        raise
    except Exception as error:  # the library can raise anything
        raise ModelError(
            f"{_FORM} cannot load or run the export: {summarise_error(error)}",
            expected="sentence-transformers 5.4 or later, and a model that it knows",
            fix="update it: pip install -U 'purescope[sentence-transformers]'; or --to onnx",
        ) from error
    with torch.inference_mode():
        pixels = torch.stack([towers.preprocess.pixels(picture) for picture in pictures])
        expected = {
            "text": towers.encode_text(towers.tokenize(sentences)),
            "image": towers.encode_image(towers.preprocess.normalise(pixels)),
        }
    for tower, rows in expected.items():
        if rotation is not None:
            rows = rotation.apply(rows, tower=tower, normalise=False)
        if normalise:
            rows = torch.nn.functional.normalize(rows, dim=1)
        require_equal(_FORM, tower, exported[tower], rows)


def _encode(folder: Path, sentences: list[str], pictures: list[Image.Image]) -> dict[str, Tensor]:
    """Encode with sentence-transformers, on the processor and without the network."""
    with quiet(*_LIBRARIES), without_bars():
        from sentence_transformers import SentenceTransformer

        with guarded(folder, what=_FORM, network=False):
            model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
            return {
                tower: torch.from_numpy(model.encode(inputs, show_progress_bar=False))
                for tower, inputs in (("text", sentences), ("image", pictures))
            }
