"""Reading weight files that nobody vouches for: no code in them runs, and what does not fit is
named.
"""

import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from purescope.errors import ModelError, listed
from purescope.files import reading
from purescope.files.guard import guarded
from purescope.files.reading import require_room
from purescope.models.pickles import LARGEST, require_harmless, require_plain
from purescope.models.torchscript import is_torchscript, read_torchscript
from purescope.models.wrappers import find_weights

# What training scripts save beside the weights and torch does not read by itself: the arguments of
# a command line, and scores that are numpy scalars. Not even these run: an inert stand-in takes the
# place of each.
READABLE = (
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)

_NAMES = (
    10_000_000  # bytes of the list of names of safetensors: ten times the largest that is known
)
_SAVE = "save the weights alone: torch.save(model.state_dict(), FILE)"
_TORCH_FIX = (
    "give a checkpoint as torch.save or safetensors writes it; download or copy the file again"
)


class _Inert:
    """Takes whatever a pickle wants to build something from, and does nothing with it."""

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def read_tensors(path: Path, part: str | None = None) -> dict[str, Tensor]:
    """Read the named weights in a file of safetensors, `torch.save` or TorchScript, without running
    any code in it.

    Of a training checkpoint only the weights of the model are taken, under the model's own names:
    see `find_weights`.

    Raises:
        ModelError: the file is missing, broken, something else, needs code to be read, or holds
            several models of which `part` names none.
    """
    return _with_room(path, find_weights(path, _read(path), part))


def read_part(path: Path) -> dict[str, Tensor]:
    """Read one of several files of safetensors that are one model together; the names stay as they
    are.

    Raises:
        ModelError: the file is missing or broken.
    """
    return _with_room(path, _read(path))


def _with_room(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # A tensor is a view: many can show one number, or each other's, and all are copied to work
    # with.
    require_room(
        sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
        stored=path.stat().st_size,
        what=str(path),
        most_per_byte=4,
        needed=4 * sum(tensor.numel() for tensor in tensors.values()),
        error=ModelError,
    )
    return tensors


def _read(path: Path) -> Any:
    """All that is in such a file, as it is."""
    if not path.is_file():
        what = (
            "a folder"
            if path.is_dir()
            else "not a regular file"
            if path.exists()
            else "no such file"
        )
        fix = "name the file in it" if path.is_dir() else "check the path"
        raise ModelError(f"{path}: {what}", expected="a checkpoint file", fix=fix)
    try:
        if reading.is_pointer(path):
            raise ModelError(
                f"{path}: {reading.POINTER}", expected="the weights themselves", fix="git lfs pull"
            )
        with guarded(path.parent, what=str(path)):
            return _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read: {error}", fix="check its permissions, or copy it again"
        ) from error


def read_json(path: Path, expected: str) -> Any:
    """What stands in a configuration; `expected` is told where it cannot be read.

    Raises:
        ModelError: the file is missing or no JSON.
    """
    try:
        return reading.read_json(path)
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror}", expected=expected, fix="check the path"
        ) from error
    except ValueError as error:
        raise ModelError(f"{path}: no JSON: {error}", fix="copy the folder again") from error


def fit(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the found weights in the dtypes of the wanted ones, once names, shapes and values
    are right.

    Raises:
        ModelError: names are missing or surplus, shapes differ, or a weight is NaN or infinite;
            each kind of fault with the first few names and a count.
    """
    require_fit(path, found, wanted)
    copies = {
        name: found[name].to(like.dtype, copy=True).contiguous() for name, like in wanted.items()
    }
    refuse(
        path, {"NaN or infinite": [name for name, copy in copies.items() if not _is_finite(copy)]}
    )
    return copies


def _is_finite(weights: Tensor) -> bool:
    return bool(
        weights.sum().isfinite() or weights.isfinite().all()
    )  # the sum settles it in one quick pass


def require_fit(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Names and shapes of `fit`; the wanted weights may be on the meta device, where nothing is
    allocated.

    Raises:
        ModelError: names are missing or surplus, or shapes differ.
    """
    shapes = [
        f"{name} {list(found[name].shape)} instead of {list(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    coarse = [
        f"{name} {found[name].dtype}"
        for name in wanted
        if name in found and wanted[name].is_floating_point() and not _is_exact(found[name])
    ]
    faults = {
        "missing": [name for name in wanted if name not in found],
        "surplus": [name for name in found if name not in wanted],
        "wrong shape": shapes,
        "wrong type": coarse,
    }
    refuse(path, faults)


def refuse(path: Path, faults: Mapping[str, list[str]]) -> None:
    """Raise one ModelError that tells every fault there is; return where there is none."""
    told = [f"{kind}: {listed(names, 3)}" for kind, names in faults.items() if names]
    if told:
        fix = "give the whole, unchanged checkpoint of a supported format (see `purescope models`)"
        raise ModelError(
            f"{path}: the weights do not fit. {'; '.join(told)}",
            expected="exactly the weights of its architecture, all finite",
            fix="give the weights before they were quantised: float32, float16 or bfloat16"
            if faults.get("wrong type")
            else fix,
        )


def one_line(error: Exception) -> str:
    r"""What to say of an error of another library.

    Examples:
        >>> one_line(KeyError("width")), one_line(ValueError("no width\nat all"))
        ("KeyError: 'width'", 'ValueError: no width')
    """
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:300]


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of every weight as it is stored (name, dtype, shape, bytes), in the order of the
    names.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _is_safetensors(path: Path) -> bool:
    """Whether a file is called so, or begins like one: a length of eight bytes, and a list of
    names.
    """
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        _require_names(path)
        return load_file(path)
    except SafetensorError as error:
        raise ModelError(
            f"{path}: not a readable safetensors file: {error}", fix=_TORCH_FIX
        ) from error


def _require_names(path: Path) -> None:
    """Refuse a list of names that is larger than any, or has one twice: readers differ in which
    they take.

    Raises:
        ModelError: it is one.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        names = file.read(min(length, _NAMES + 1))
    fault = f"a list of names of {length:,} bytes" if len(names) > _NAMES else ""
    try:
        if not fault:
            json.loads(names, object_pairs_hook=reading.unique_keys)
    except reading.RepeatedKeyError:
        fault = "a name twice"
    except (ValueError, RecursionError):  # safetensors says what is wrong
        return
    if fault:
        raise ModelError(f"{path}: not a readable safetensors file: {fault}", fix=_TORCH_FIX)


def _read_torch(path: Path) -> object:
    with path.open("rb") as file:
        start = file.read(4)
    is_zip = zipfile.is_zipfile(path)
    if start == b"PK\x03\x04" and not is_zip:
        raise ModelError(
            f"{path}: truncated, the end of the file is missing", fix="download or copy it again"
        )
    if start and not is_zip and start[:1] != pickle.PROTO:
        raise ModelError(f"{path}: no torch checkpoint, it begins with {start!r}", fix=_TORCH_FIX)
    stand_ins: list[Callable[..., object] | tuple[Callable[..., object], str]]
    stand_ins = [(_Inert, name) for name in READABLE]
    try:
        if is_torchscript(path):
            return read_torchscript(path)
        _require_harmless(path, is_zip=is_zip)
        with torch.serialization.safe_globals(stand_ins):
            # Mapped, so that the optimizer's state, twice the size of the weights, is never read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except ModelError:
        raise
    except (
        Exception
    ) as error:  # bytes that are no checkpoint can make torch's reader raise anything
        raise _unreadable(path, start, str(error)) from error


def _require_harmless(path: Path, *, is_zip: bool) -> None:
    """Refuse what torch would not have written, and what takes more than its size to read.

    Raises:
        ModelError: a zip is another than torch's own.
        pickle.UnpicklingError: a pickle is harmful or broken.
    """
    if not is_zip:
        with path.open("rb") as file:
            require_harmless(file.read(LARGEST), several=True)
    elif wrong := require_plain(path):
        raise ModelError(
            f"{path}: holds {wrong}",
            expected="a zip as torch writes it, of files as they are",
            fix=_SAVE,
        )


def _unreadable(path: Path, start: bytes, message: str) -> ModelError:
    code = re.search(r"GLOBAL (\S+)", message)
    if code:
        return ModelError(
            f"{path}: refused, reading it would run {code[1]}",
            expected=f"tensors and plain values; besides, {READABLE[0]} and numpy scalars",
            fix="if you trust the file, load it in Python and save its state_dict alone with "
            "torch.save",
        )
    # torch wraps what it found in advice on how to read unsafely; what it found stands behind this
    # mark.
    reason = (
        message.split("WeightsUnpickler error:")[-1].strip() or "it ends too early"
    ).splitlines()[0][:200]
    return ModelError(
        f"{path}: not a readable torch checkpoint (begins with {start!r}): {reason}", fix=_TORCH_FIX
    )


def _is_exact(weight: Tensor) -> bool:
    """Whether a weight is what it was trained as: whole numbers, bits and floats of a byte want a
    scale.
    """
    return weight.is_floating_point() and weight.element_size() > 1
