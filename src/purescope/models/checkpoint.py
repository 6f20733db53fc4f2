"""Read files of weights of unknown origin: no code in them runs, and faults are named.

A zip must be as torch writes it, with one list of files at its end, so that every reader finds the
same files in it.
"""

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from purescope.errors import ModelError
from purescope.files import reading
from purescope.files.guard import guarded
from purescope.files.reading import require_room
from purescope.models.pickles import LARGEST, is_torchscript, read_torchscript, require_harmless
from purescope.models.weights import SAVE_WEIGHTS, find_weights

READABLE = (
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)
"""Classes that training scripts save beside the weights and torch refuses: the arguments of a
command line, and scores that are numpy scalars. An inert object replaces each of them.
"""

_NAMES = 10_000_000  # bytes of the list of names in safetensors: ten times the largest known
_TORCH_FIX = (
    "give a checkpoint as torch.save or safetensors writes it; download or copy the file again"
)


class _Inert:
    """Take the arguments of a pickled object and do nothing with them."""

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def read_tensors(path: Path, part: str | None = None) -> dict[str, Tensor]:
    """Read named weights from a file of safetensors, `torch.save` or TorchScript, without its code.

    From a training checkpoint only the weights of the model are taken, under the names that the
    model has for them; see `find_weights`.

    Raises:
        ModelError: the file is missing or broken, has another format, needs code to be read, or
            holds several models and `part` names none of them.
    """
    return _require_memory(path, find_weights(path, _read(path), part))


def read_shard(path: Path) -> dict[str, Tensor]:
    """Read one of the files that together hold a model; names stay as they are.

    Raises:
        ModelError: the file is missing or broken.
    """
    return _require_memory(path, _read(path))


def _require_memory(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # A tensor is a view: many can show one number or share numbers, and all are copied later.
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
    """Read the whole content of a file of weights."""
    if path.is_dir():
        raise ModelError(
            f"{path}: a folder", expected="a checkpoint file", fix="name the file in it"
        )
    if not path.is_file():
        problem = "not a regular file" if path.exists() else "no such file"
        raise ModelError(f"{path}: {problem}", expected="a checkpoint file", fix="check the path")
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
    """Read a configuration.

    Args:
        path: the file.
        expected: what the error says was expected if the file cannot be read.

    Raises:
        ModelError: the file is missing or is not JSON.
    """
    try:
        return reading.read_json(path)
    except OSError as error:
        raise ModelError(
            f"{path}: {error.strerror}", expected=expected, fix="check the path"
        ) from error
    except ValueError as error:
        raise ModelError(f"{path}: no JSON: {error}", fix="copy the folder again") from error


def read_dictionary(path: Path, expected: str) -> dict[str, Any]:
    """Read a configuration that is a dictionary; see `read_json`.

    Raises:
        ModelError: the file is missing, is not JSON, or holds another type.
    """
    content = read_json(path, expected)
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}", expected="a dictionary")
    return content


def summarise_error(error: Exception) -> str:
    r"""Summarise an error of another library in one line of at most 300 characters.

    Examples:
        >>> summarise_error(KeyError("width")), summarise_error(ValueError("no width\nat all"))
        ("KeyError: 'width'", 'ValueError: no width')
    """
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:300]


def _is_safetensors(path: Path) -> bool:
    """Return whether a file has the suffix of safetensors or begins like one.

    Such a file begins with a length of eight bytes and a list of names.
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
        _check_names(path)
        return load_file(path)
    except SafetensorError as error:
        raise ModelError(
            f"{path}: not a readable safetensors file: {error}", fix=_TORCH_FIX
        ) from error


def _check_names(path: Path) -> None:
    """Refuse a list of names that is too large or has a name twice: readers take either.

    Raises:
        ModelError: the list is one of these.
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
    except (ValueError, RecursionError):  # safetensors reports this fault itself
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
        _check_torch_file(path, is_zip=is_zip)
        with torch.serialization.safe_globals(stand_ins):
            # Mapped into memory, so that the state of the optimizer, twice the size of the weights,
            # is never read.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except ModelError:
        raise
    # torch's reader can raise anything for bytes that are no checkpoint.
    except Exception as error:
        raise _unreadable(path, start, str(error)) from error


def _check_torch_file(path: Path, *, is_zip: bool) -> None:
    """Refuse a file that torch does not write, or that costs more than its size to read.

    Raises:
        ModelError: a zip differs from those of torch.
        pickle.UnpicklingError: a pickle is harmful or broken.
    """
    if not is_zip:
        with path.open("rb") as file:
            require_harmless(file.read(LARGEST), several=True)
    elif fault := find_zip_fault(path):
        raise ModelError(
            f"{path}: holds {fault}",
            expected="a zip of uncompressed files, as torch writes it",
            fix=SAVE_WEIGHTS,
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
    # torch wraps the reason in advice on how to read unsafely; the reason follows this mark.
    reason = message.split("WeightsUnpickler error:")[-1].strip() or "it ends too early"
    return ModelError(
        f"{path}: not a readable torch checkpoint (begins with {start!r}): "
        f"{reason.splitlines()[0][:200]}",
        fix=_TORCH_FIX,
    )


_END = struct.Struct("<4s4H2LH")  # the end of a zip; torch writes no comment after it
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")


def find_zip_fault(path: Path) -> str:
    """Find what differs in a zip from those that torch writes, and check its pickle.

    Python takes the list of files next to the end, torch the one at the stated position, and they
    take different files of two with the same name. The files checked here must be those that torch
    reads.

    Args:
        path: the path of a zip.

    Returns:
        A noun phrase for the first difference; empty if there is none.

    Raises:
        pickle.UnpicklingError: its pickle is harmful or broken.
        zipfile.BadZipFile: the file is no zip.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
        if packed:
            return f"{packed[0]} compressed"
        size = path.stat().st_size
        if sum(entry.file_size for entry in entries) > size:
            return f"a list of files that declares more than its {size:,} bytes"
        if fault := _find_list_fault(path, entries):
            return fault
        for entry in entries:
            if entry.filename.lower().endswith("/data.pkl"):
                with archive.open(entry) as file:
                    require_harmless(file.read(LARGEST))
    return ""


def _find_list_fault(path: Path, entries: list[zipfile.ZipInfo]) -> str:
    """Find a reason why two readers would find different files in a zip; empty if none."""
    names = {entry.filename.lower() for entry in entries}  # torch's reader ignores case
    if len(names) < len(entries):
        return "two files with one name"
    if any(entry.filename != entry.orig_filename for entry in entries):
        return "a file with two names"
    with path.open("rb") as file:
        start = file.read(4)
        size = file.seek(0, 2)
        tail = min(size, _END.size + _LOCATOR_64.size + _END_64.size)
        file.seek(size - tail)
        end = file.read(tail)
    if start != b"PK\x03\x04":
        return "something before its first file"
    signature, *_, count, length, offset, comment = _END.unpack(end[-_END.size :])
    if signature != b"PK\x05\x06" or comment:
        return "something after its list of files"
    end_offset = size - _END.size
    before = end[: -_END.size]
    # A large zip has another end and its locator before this one.
    if before[-_LOCATOR_64.size :][:4] == b"PK\x06\x07":
        *_, stated, _ = _LOCATOR_64.unpack(before[-_LOCATOR_64.size :])
        end_offset -= _LOCATOR_64.size + _END_64.size
        signature, rest, *_, count, length, offset = _END_64.unpack(before[: _END_64.size])
        if signature != b"PK\x06\x06" or rest != _END_64.size - 12 or stated != end_offset:
            return "two lists of files"
    if offset + length != end_offset or count != len(entries):
        return "two lists of files"
    return ""
