"""Find the weights of one model among named tensors, and compare them with an architecture.

Training scripts wrap weights: under a key of the file, and with a prefix before every name. Every
CLIP and SigLIP model has exactly one `logit_scale`, so the text before that name is the prefix of
the model. If a file holds several models, or several dictionaries of weights, none is chosen for
the user: ``FILE#PART`` names one of them.
"""

import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from purescope.errors import ModelError, listed

SAVE_WEIGHTS = "save the weights alone: torch.save(model.state_dict(), FILE)"
"""Advice for a file that holds more than the weights."""

# torch.compile, FSDP and activation checkpointing put these before the name of the module that they
# wrap, at any depth.
_INNER = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_PARALLEL = "module."
_SCALE = "logit_scale"
_DEPTH = 2  # keys within keys; the tensors of an optimizer are deeper
# Three numbers in OpenAI's files, which some scripts save as plain integers.
_OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True)
class _ModelPlace:
    """Locate one model in a file by the key of its dictionary and the prefix of its names."""

    key: str
    prefix: str

    @property
    def part(self) -> str:
        """Return the PART of ``FILE#PART``."""
        return f"{self.key}.{self.prefix}".strip(".")


def find_weights(path: Path, content: object, part: str | None = None) -> dict[str, Tensor]:
    """Find the one dictionary of named tensors in the content of a file, without wrappers.

    Args:
        path: the path of the file, for messages.
        content: the content of the file: tensors by name, or a dictionary of such dictionaries.
        part: which of several models, as in ``FILE#PART``: a key, a prefix, or both with a dot
            between them.

    Returns:
        The weights of that model, under the names that the model has for them.

    Raises:
        ModelError: there are no weights, there are several models and `part` names none of them, or
            a value is no plain tensor.

    Warns:
        UserWarning: weights that do not belong to the model are left out.
    """
    if not isinstance(content, dict) or content == {}:
        raise _no_weights(path, content)
    if "state_dict" in content and (
        not isinstance(content["state_dict"], dict) or content["state_dict"] == {}
    ):
        raise _no_weights(path, content["state_dict"])
    tables = dict(_find_tables(content)) or {"": content.get("state_dict", content)}
    tables = {key: _remove_inner_wrappers(path, table) for key, table in tables.items()}
    models = [
        _ModelPlace(key, prefix)
        for key, table in tables.items()
        for prefix in _find_prefixes(table)
    ]
    chosen = _choose_model(path, models or [_ModelPlace(_choose_key(tables), "")], part)
    others = [model for model in models if model.key == chosen.key and model != chosen]
    return _extract_weights(path, tables.get(chosen.key, content), chosen, others)


def _no_weights(path: Path, content: object) -> ModelError:
    return ModelError(
        f"{path}: holds {'an empty' if content == {} else 'a'} {type(content).__name__}, no "
        f"weights",
        expected="a dictionary of named tensors, or one under a key such as 'state_dict'",
        fix=SAVE_WEIGHTS,
    )


def _find_tables(
    content: Mapping[Any, Any], key: str = "", depth: int = 0
) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Find the dictionaries that hold tensors, each with its dotted key."""
    if any(isinstance(value, Tensor) for value in content.values()):
        yield key, content
    if depth < _DEPTH:
        for name, value in content.items():
            if isinstance(value, dict) and isinstance(name, str):
                yield from _find_tables(value, f"{key}.{name}".strip("."), depth + 1)


def _remove_inner_wrappers(path: Path, table: Mapping[Any, Any]) -> dict[Any, Any]:
    renamed = {
        _INNER.sub("", name) if isinstance(name, str) else name: value
        for name, value in table.items()
    }
    if len(renamed) < len(table):
        names = [str(name) for name in table if isinstance(name, str) and _INNER.search(name)]
        raise ModelError(
            f"{path}: holds weights twice, under their own names and as {listed(names, 3)}",
            fix=SAVE_WEIGHTS,
        )
    return renamed


def _find_prefixes(table: Mapping[Any, Any]) -> list[str]:
    """Find the prefix of each model in a dictionary."""
    names = [name for name in table if isinstance(name, str)]
    scales = [name for name in names if name == _SCALE or name.endswith(f".{_SCALE}")]
    return [name.removesuffix(_SCALE) for name in scales]


def _choose_key(tables: Mapping[str, Mapping[Any, Any]]) -> str:
    """Choose a dictionary if none is a whole model; `require_fit` later names what is missing."""
    plain = [key for key, table in tables.items() if not _find_strange(table)]
    return next((key for key in ("state_dict", *plain, *tables) if key in tables), "")


def _choose_model(path: Path, models: list[_ModelPlace], part: str | None) -> _ModelPlace:
    matches = models if part is None else [model for model in models if model.part == part]
    if part and not matches:
        matches = [model for model in models if part in (model.key, model.prefix.removesuffix("."))]
    if len(matches) == 1:
        return matches[0]
    if len(models) == 1:
        raise ModelError(
            f"{path}: no part {part!r}",
            expected="one model, the only one in the file",
            fix=f"{path}",
        )
    one_key = len({model.key for model in models}) == 1
    names = [
        f"{path.name}#{model.prefix.removesuffix('.') if one_key else model.part}"
        for model in models
    ]
    mismatch = "" if part is None else f", none or several of which are {part!r}"
    raise ModelError(
        f"{path}: holds {len(models)} models{mismatch}",
        expected=f"one of {listed(names)}",
        fix=f"name the one to load, such as {path.with_name(names[0])}",
    )


def _extract_weights(
    path: Path, table: Mapping[Any, Any], model: _ModelPlace, others: list[_ModelPlace]
) -> dict[str, Tensor]:
    """Return the weights of one model without its prefix."""
    prefix = model.prefix
    inner = tuple(other.prefix for other in others if len(other.prefix) > len(prefix))
    own = {
        name: value
        for name, value in table.items()
        if not prefix or (isinstance(name, str) and name.startswith(prefix))
        if not (isinstance(name, str) and name.startswith(inner))
    }
    if strange := _find_strange(own):
        raise ModelError(
            f"{path}: not plain tensors: {listed(strange, 3)}",
            expected="a dictionary of named dense tensors, or one under a key such as 'state_dict'",
            fix=SAVE_WEIGHTS,
        )
    # One of the other models can be the whole file: its prefix is empty.
    prefixes = tuple(other.prefix for other in others)
    ignored = [str(name) for name in table if name not in own]
    ignored = [name for name in ignored if not name.startswith(prefixes)]
    if ignored:
        warnings.warn(
            f"{path}: left out weights that are not part of the model {prefix}*: "
            f"{listed(ignored, 3)}",
            stacklevel=2,
        )
    weights = {name.removeprefix(prefix): torch.as_tensor(value) for name, value in own.items()}
    while weights and all(name.startswith(_PARALLEL) for name in weights):
        weights = {name.removeprefix(_PARALLEL): tensor for name, tensor in weights.items()}
    return weights


def _find_strange(table: Mapping[Any, Any]) -> list[str]:
    """Return the names of values that are no plain tensors."""
    return [
        str(name)
        for name, value in table.items()
        if not (isinstance(name, str) and _is_plain(name, value))
    ]


def _is_plain(name: str, value: object) -> bool:
    if not isinstance(value, Tensor):
        return name.rpartition(".")[2] in _OPENAI_NUMBERS and type(value) is int
    is_dense = value.layout is torch.strided and value.device.type == "cpu"
    return is_dense and not (value.is_quantized or value.is_complex())


def fit(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy the weights of a file in the dtypes of an architecture, if they fit it.

    Args:
        path: the path of the file, for messages.
        found: the weights of the file.
        wanted: the weights of the architecture, whose values do not matter.

    Returns:
        Contiguous copies by name.

    Raises:
        ModelError: names are missing or surplus, shapes differ, or a weight is NaN or infinite. The
            message has the first few names of each fault and their number.
    """
    require_fit(path, found, wanted)
    copies = {
        name: found[name].to(like.dtype, copy=True).contiguous() for name, like in wanted.items()
    }
    infinite = [name for name, copy in copies.items() if not _is_finite(copy)]
    raise_faults(path, {"NaN or infinite": infinite})
    return copies


def require_fit(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Compare the names, shapes and types of weights as in `fit`, without copies.

    The wanted weights may be on the meta device, which allocates nothing.

    Raises:
        ModelError: names are missing or surplus, shapes differ, or weights are quantised.
    """
    both = [name for name in wanted if name in found]
    shapes = [
        f"{name} {list(found[name].shape)} instead of {list(wanted[name].shape)}"
        for name in both
        if found[name].shape != wanted[name].shape
    ]
    quantised = [
        f"{name} {found[name].dtype}"
        for name in both
        if wanted[name].is_floating_point() and not _is_exact(found[name])
    ]
    faults = {
        "missing": [name for name in wanted if name not in found],
        "surplus": [name for name in found if name not in wanted],
        "wrong shape": shapes,
        "wrong type": quantised,
    }
    raise_faults(path, faults)


def raise_faults(path: Path, faults: Mapping[str, list[str]]) -> None:
    """Raise one ModelError with every fault; return if there are none."""
    lines = [f"{kind}: {listed(names, 3)}" for kind, names in faults.items() if names]
    if lines:
        fix = "give the whole, unchanged checkpoint of a supported format (see `purescope models`)"
        raise ModelError(
            f"{path}: the weights do not fit. {'; '.join(lines)}",
            expected="exactly the weights of its architecture, all finite",
            fix="give the weights before they were quantised: float32, float16 or bfloat16"
            if faults.get("wrong type")
            else fix,
        )


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of all weights as they are stored: name, dtype, shape and bytes.

    They are hashed in the order of their names.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _is_finite(weights: Tensor) -> bool:
    # The sum settles nearly every case in one quick pass.
    return bool(weights.sum().isfinite() or weights.isfinite().all())


def _is_exact(weight: Tensor) -> bool:
    """Return whether a weight is stored as trained; integers and 8-bit floats need a scale."""
    return weight.is_floating_point() and weight.element_size() > 1
