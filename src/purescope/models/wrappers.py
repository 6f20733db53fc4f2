"""Weights inside what training scripts put around them: a key of the file, a prefix before every
name.

A whole model is told by its `logit_scale`, which every CLIP and SigLIP has once: what stands before
it is the prefix of that model. Where a file holds several models, or several dictionaries of
weights, none is chosen for the user: ``FILE#PART`` names the one that is meant.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from purescope.errors import ModelError, listed

# torch.compile, FSDP and activation checkpointing put these before the name of whatever they wrap,
# at any depth.
_INNER = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_PARALLEL = "module."
_SCALE = "logit_scale"
_DEPTH = 2  # keys in keys: an optimizer's tensors lie deeper
_MARKS = (
    "input_resolution",
    "context_length",
    "vocab_size",
)  # OpenAI's, which some scripts save as plain numbers
_SAVE = "save the weights alone: torch.save(model.state_dict(), FILE)"


@dataclass(frozen=True)
class _Whole:
    """One whole model in a file: the key of its dictionary, and the prefix of its names."""

    key: str
    prefix: str

    @property
    def part(self) -> str:
        """What stands after ``FILE#``."""
        return f"{self.key}.{self.prefix}".strip(".")


def find_weights(path: Path, content: object, part: str | None = None) -> dict[str, Tensor]:
    """Find the one dictionary of named tensors in what a file holds, without what is wrapped around
    the names.

    Args:
        path: of the file, for messages.
        content: what was read from it: tensors by name, or a dictionary that has such dictionaries.
        part: which of several models, as ``FILE#PART`` names it: a key, a prefix, or both with a
            dot between.

    Returns:
        The weights of that model, under its own names.

    Raises:
        ModelError: there is none, there are several and none is named, or one has values that are
            no plain tensors.

    Warns:
        UserWarning: weights beside the model are left out.
    """
    if not isinstance(content, dict) or content == {}:
        raise _no_weights(path, content)
    if "state_dict" in content and (
        not isinstance(content["state_dict"], dict) or content["state_dict"] == {}
    ):
        raise _no_weights(path, content["state_dict"])
    tables = dict(_tables(content)) or {"": content.get("state_dict", content)}
    renamed = {key: _without_inner(path, table) for key, table in tables.items()}
    found = [_Whole(key, prefix) for key, table in renamed.items() for prefix in _prefixes(table)]
    whole = _choose(path, found or [_Whole(_no_model(renamed), "")], part)
    table = renamed.get(whole.key, content)
    return _weights(path, table, whole, [other for other in found if other.key == whole.key])


def _no_weights(path: Path, content: object) -> ModelError:
    return ModelError(
        f"{path}: holds {'an empty' if content == {} else 'a'} {type(content).__name__}, no "
        f"weights",
        expected="a dictionary of named tensors, or one under a key such as 'state_dict'",
        fix=_SAVE,
    )


def _tables(
    content: Mapping[Any, Any], key: str = "", depth: int = 0
) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The dictionaries that have tensors in them, with the keys that lead there."""
    if any(isinstance(value, Tensor) for value in content.values()):
        yield key, content
    if depth < _DEPTH:
        for name, value in content.items():
            if isinstance(value, dict) and isinstance(name, str):
                yield from _tables(value, f"{key}.{name}".strip("."), depth + 1)


def _without_inner(path: Path, table: Mapping[Any, Any]) -> dict[Any, Any]:
    renamed = {
        _INNER.sub("", name) if isinstance(name, str) else name: value
        for name, value in table.items()
    }
    if len(renamed) < len(table):
        names = [str(name) for name in table if isinstance(name, str) and _INNER.search(name)]
        raise ModelError(
            f"{path}: holds weights twice, as such and as {listed(names, 3)}", fix=_SAVE
        )
    return renamed


def _prefixes(table: Mapping[Any, Any]) -> list[str]:
    """What stands before the names of each whole model."""
    names = [name for name in table if isinstance(name, str)]
    return [
        name.removesuffix(_SCALE) for name in names if name == _SCALE or name.endswith(f".{_SCALE}")
    ]


def _no_model(tables: Mapping[str, Mapping[Any, Any]]) -> str:
    """The key of the weights where none are a whole model: what is missing in them is told
    later.
    """
    plain = [key for key, table in tables.items() if not _strange(table)]
    return next((key for key in ("state_dict", *plain, *tables) if key in tables), "")


def _choose(path: Path, found: list[_Whole], part: str | None) -> _Whole:
    meant = found if part is None else [whole for whole in found if whole.part == part]
    if part and not meant:
        meant = [whole for whole in found if part in (whole.key, whole.prefix.removesuffix("."))]
    if len(meant) == 1:
        return meant[0]
    of_one_key = len({whole.key for whole in found}) == 1
    names = [
        f"{path.name}#{whole.prefix.removesuffix('.') if of_one_key else whole.part}"
        for whole in found
    ]
    if len(found) == 1:
        raise ModelError(
            f"{path}: no part {part!r}",
            expected="one model, which is all that it holds",
            fix=f"{path}",
        )
    raise ModelError(
        f"{path}: holds {len(found)} models"
        + ("" if part is None else f", none or several of which are {part!r}"),
        expected=f"one of {listed(names)}",
        fix=f"name the one that is meant, such as {path.with_name(names[0])}",
    )


def _weights(
    path: Path, table: Mapping[Any, Any], whole: _Whole, all_there: list[_Whole]
) -> dict[str, Tensor]:
    """Those of one model, without its prefix."""
    prefix = whole.prefix
    inner = [other.prefix for other in all_there if len(other.prefix) > len(prefix)]
    own = {
        name: value
        for name, value in table.items()
        if not prefix or (isinstance(name, str) and name.startswith(prefix))
        if not (isinstance(name, str) and name.startswith(tuple(inner)))
    }
    if strange := _strange(own):
        raise ModelError(
            f"{path}: not plain tensors: {listed(strange, 3)}",
            expected="a dictionary of named dense tensors, or one under a key such as 'state_dict'",
            fix=_SAVE,
        )
    others = tuple(
        other.prefix for other in all_there if other != whole
    )  # one of them may be the file as a whole
    beside = [str(name) for name in table if name not in own and not str(name).startswith(others)]
    if beside:
        warnings.warn(
            f"{path}: left out what lies beside the model {prefix}*: {listed(beside, 3)}",
            stacklevel=2,
        )
    weights = {name.removeprefix(prefix): torch.as_tensor(value) for name, value in own.items()}
    while weights and all(name.startswith(_PARALLEL) for name in weights):
        weights = {name.removeprefix(_PARALLEL): tensor for name, tensor in weights.items()}
    return weights


def _strange(table: Mapping[Any, Any]) -> list[str]:
    """The names of what is no plain tensor."""
    return [
        str(name)
        for name, value in table.items()
        if not (isinstance(name, str) and _is_plain(name, value))
    ]


def _is_plain(name: str, value: object) -> bool:
    if not isinstance(value, Tensor):
        return name.rpartition(".")[2] in _MARKS and type(value) is int
    dense = value.layout is torch.strided and value.device.type == "cpu"
    return dense and not (value.is_quantized or value.is_complex())
