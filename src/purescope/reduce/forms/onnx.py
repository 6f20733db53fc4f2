"""Write a model as two ONNX files, one for each tower, which onnxruntime runs without torch.

- ``image.onnx``: ``pixels`` float32 [batch, 3, size, size] to ``image_embedding`` [batch, k].
- ``text.onnx``: ``tokens`` int64 [batch, context] to ``text_embedding`` [batch, k].
- ``tokenizer.json``: makes the tokens, see `purescope.reduce.forms.tokens`.
- ``purescope_onnx.json``: how pixels and tokens are made, and what the numbers are.

Embeddings are not scaled to unit length: dot products compare them once each is divided by its
length. A tower above 1.8 GB has its weights beside it, in ``image.onnx.data``: a file of ONNX holds
no more than 2 GB.
"""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from purescope import __version__
from purescope.errors import ModelError
from purescope.models.checkpoint import summarise_error
from purescope.models.open_clip_config import to_preprocess_config
from purescope.models.towers import Towers
from purescope.reduce.forms.checking import (
    make_pixels,
    make_sentences,
    make_tokens,
    require_equal,
)
from purescope.reduce.forms.tokens import write_tokenizer
from purescope.reduce.forms.writing import new_folder, quiet, require_extra, write_json

CONFIG = "purescope_onnx.json"
OPSET = 18
LIBRARIES = ("onnx", "onnxscript", "onnxruntime", "tokenizers")  # of the extra

_LARGE = 1_800_000_000  # bytes of weights
_ROWS = 2  # traced with so many, and checked with others
_LOUD = ("onnxscript", "onnx_ir", "torch.onnx", "torch.export", "torch.__trace")
_ANOTHER = "export it in another form: --to open_clip, transformers or rotation"


def write_onnx(towers: Towers, folder: Path) -> None:
    """Write a model as ONNX, compare it with the model in onnxruntime, and only then keep it.

    Args:
        towers: the model; it is put into the mode of evaluation.
        folder: the folder, which does not exist or is empty. It appears when it is complete.

    Raises:
        MissingExtraError: the extra ``onnx`` is not installed.
        ModelError: torch cannot export a tower, the exported one computes something else, or no
            tokenizer.json makes the same tokens.
        OutputError: the folder holds something, or cannot be written.
    """
    require_extra("onnx", *LIBRARIES)
    module = towers.module.eval().requires_grad_(False)
    inputs = {"image": make_pixels(towers), "text": make_tokens(towers)}
    encoders = {"image": towers.encode_image, "text": towers.encode_text}
    with new_folder(folder) as partial:
        errors = {}
        for tower, rows in inputs.items():
            path = partial / f"{tower}.onnx"
            _write_tower(_Tower(module, encoders[tower]), tower, rows[:_ROWS], path)
            with torch.inference_mode():
                wanted = encoders[tower](rows)
            for count in (1, len(rows)):
                exported = _run(path, rows[:count])
                errors[tower] = require_equal(f"{path.name}", tower, exported, wanted[:count])
        tokenizer = write_tokenizer(towers.tokenize, partial, make_sentences(towers))
        write_json(partial / CONFIG, _describe(towers, tokenizer, errors))


class _Tower(nn.Module):
    """Make one encoder the forward pass of a module that has its weights."""

    def __init__(self, module: nn.Module, encode: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module = module
        self.encode = encode

    def forward(self, rows: Tensor) -> Tensor:
        return self.encode(rows)


def _write_tower(module: nn.Module, tower: str, rows: Tensor, path: Path) -> None:
    try:
        with quiet(*_LOUD), torch.no_grad():
            program: Any = torch.onnx.export(
                module.eval(),
                (rows,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["pixels" if tower == "image" else "tokens"],
                output_names=[f"{tower}_embedding"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except Exception as error:  # an exporter of any module can raise anything
        raise ModelError(
            f"torch cannot export the {tower} tower to ONNX: {summarise_error(error)}",
            expected="a tower whose steps do not depend on the numbers that it computes",
            fix=_ANOTHER,
        ) from error
    _remove_traces(program.model, tower)
    weights = sum(weight.numel() * weight.element_size() for weight in module.parameters())
    program.save(str(path), external_data=weights > _LARGE)


def _remove_traces(model: Any, tower: str) -> None:
    """Remove what the exporter says of each step: lines of code and paths of this machine."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    model.metadata_props.clear()
    model.metadata_props.update(
        purescope=__version__, tower=tower, unit_length="no: divide each embedding by its length"
    )


def _run(path: Path, rows: Tensor) -> Tensor:
    """Compute embeddings in onnxruntime, on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        (name,) = (entry.name for entry in session.get_inputs())
        (embeddings,) = session.run(None, {name: rows.numpy()})
    except Exception as error:  # its errors have no common base
        raise ModelError(
            f"onnxruntime cannot run {path.name}: {summarise_error(error)}",
            expected=f"a runtime that knows opset {OPSET}",
            fix=f"update it: pip install -U onnxruntime; or {_ANOTHER}",
        ) from error
    return torch.from_numpy(embeddings)


def _describe(
    towers: Towers, tokenizer: dict[str, Any], errors: dict[str, float]
) -> dict[str, Any]:
    """Return what a program must know to run the files."""
    size = towers.preprocess.size
    shapes = {"image": ["batch", 3, size, size], "text": ["batch", towers.tokenize.context]}
    return {
        "form": "purescope's two ONNX files, one for each tower",
        "opset": OPSET,
        "towers": {
            tower: {
                "file": f"{tower}.onnx",
                "input": "pixels" if tower == "image" else "tokens",
                "input_type": "float32" if tower == "image" else "int64",
                "input_shape": shape,
                "output": f"{tower}_embedding",
                "output_type": "float32",
                "output_shape": ["batch", towers.neurons],
                "largest_difference_from_torch": float(f"{errors[tower]:.2g}"),
            }
            for tower, shape in shapes.items()
        },
        "unit_length": False,
        "logit_scale": towers.identity["logit_scale"],
        "preprocess": {
            **to_preprocess_config(towers.preprocess),
            "steps": "convert to RGB, resize, crop the centre if resize_mode is shortest, "
            "divide by 255, subtract mean, divide by std, channels first",
        },
        "tokenizer": tokenizer,
        "versions": {
            "purescope": __version__,
            **{name: version(name) for name in ("torch", "onnx", "onnxruntime")},
        },
    }
