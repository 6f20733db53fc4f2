"""Features in files: ``.npz`` or ``.safetensors``, written by us or by anyone.

Arrays ``image`` [image, neuron], ``text`` [class, neuron] and ``labels`` [image]. Class names are optional:
an array of strings ``classes`` in npz, a JSON list under the metadata key ``classes`` in safetensors. So are
the names ``model`` and ``dataset``: strings in npz, metadata in safetensors. What else we write is metadata,
all strings; npz has it as one JSON string, the array ``metadata``.
"""

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.features.features import Features, check_arrays, unit_rows
from purescope.tables import atomic_path

# What the readers raise for a file that is cut short, damaged or something else altogether.
_UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError,
    struct.error, zlib.error, zipfile.BadZipFile, safetensors.SafetensorError,
)  # fmt: skip

# Rows this close to length 1 are taken as they are: what we wrote is read back to the bit.
_UNIT_TOLERANCE = 1e-5

_ARRAYS = ("image", "text", "labels")


def save_features(features: Features, path: str | os.PathLike[str]) -> Path:
    """Write features to a ``.npz`` or ``.safetensors`` file, which appears when it is complete.

    Args:
        features: of one model on one data set; arrays, names, identity and seconds are all kept.
        path: the file; its suffix says which format.

    Returns:
        Where it stands.

    Raises:
        InputError: the file name has another suffix.
        OutputError: the file cannot be written; what was there before is unharmed.

    Examples:
        >>> import tempfile
        >>> eye = torch.eye(2)
        >>> features = Features(eye, eye, torch.tensor([0, 1]), ("cat", "dog"), model="clip", dataset="pets")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = read_features(save_features(features, Path(folder, "pets.safetensors")))
        >>> again.model, again.classes, bool((again.image == features.image).all())
        ('clip', ('cat', 'dog'), True)
    """
    file = Path(path)
    content = _format(file).write(
        {name: getattr(features, name).numpy() for name in ("image", "text", "labels")},
        {
            "classes": json.dumps(features.classes),
            "model": features.model,
            "dataset": features.dataset,
            "identity": json.dumps(dict(features.identity)),
            "seconds": repr(features.seconds),
        },
    )
    with atomic_path(file) as unfinished:
        unfinished.write_bytes(content)
    return file


def read_features(path: str | os.PathLike[str]) -> Features:
    """Read features from a ``.npz`` or ``.safetensors`` file; nothing in it is executed.

    Args:
        path: with arrays ``image`` ``[image, neuron]``, ``text`` ``[class, neuron]`` and ``labels`` ``[image]``, whole
            numbers from 0; and, where they are known, the names ``classes``, ``model`` and ``dataset``.

    Returns:
        Float32 on the cpu. Without class names in the file, classes are called by their numbers. Rows that are not of
        unit length are scaled to it, and `Features.identity` says so.

    Raises:
        InputError: the file is missing or damaged, lacks an array, or its arrays do not fit `Features`.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "mine.npz")
        ...     np.savez(file, image=np.array([[3.0, 4.0]]), text=np.eye(2), labels=np.array([1]))
        ...     mine = read_features(file)
        >>> mine.image, mine.classes, mine.identity["scaled_to_unit"]
        (tensor([[0.6000, 0.8000]]), ('0', '1'), 'image')
    """
    file = Path(path)
    reader = _format(file).read
    if not file.is_file():
        raise InputError(f"there is no file {file}", fix="check the path")
    try:
        return _features(*reader(file), name=file.stem)
    except InputError as error:
        raise InputError(f"{file}: {error.came}", expected=error.expected, fix=error.fix) from error
    except _UNREADABLE as error:
        raise InputError(
            f"{file} cannot be read: {error}",
            expected=f"a complete {file.suffix} file of numeric arrays image, text and labels",
            fix="write it again, for example with purescope.save_features",
        ) from error


def _features(arrays: Mapping[str, Tensor], metadata: Mapping[str, str], *, name: str) -> Features:
    image, text, labels = _float32(arrays["image"]), _float32(arrays["text"]), _int64(arrays["labels"])
    classes = tuple(map(str, json.loads(metadata["classes"]) if "classes" in metadata else range(len(text))))
    check_arrays(image, text, labels, len(classes))
    identity = dict(json.loads(metadata.get("identity", "{}")))
    scaled = [tower for tower, array in (("image", image), ("text", text)) if not _is_unit(array)]
    if scaled:
        identity["scaled_to_unit"] = ", ".join(scaled)
    return Features(
        image=unit_rows(image) if "image" in scaled else image,
        text=unit_rows(text) if "text" in scaled else text,
        labels=labels,
        classes=classes,
        model=metadata.get("model", "features"),
        dataset=metadata.get("dataset", name),
        identity=identity,
        seconds=float(metadata.get("seconds", 0)),
    )


def _is_unit(array: Tensor) -> bool:
    norms = array.norm(dim=1)
    return bool(((norms - 1).abs() <= _UNIT_TOLERANCE).logical_or(norms == 0).all())


def _float32(array: Tensor) -> Tensor:
    return array.float() if array.is_floating_point() else array


def _int64(array: Tensor) -> Tensor:
    whole = not (array.is_floating_point() or array.is_complex() or array.dtype == torch.bool)
    return array.long() if whole else array


def _check_names(names: Collection[str], written: str) -> None:
    missing = [wanted for wanted in _ARRAYS if wanted not in names]
    if missing:
        raise InputError(
            f"no array {' or '.join(missing)}, only {', '.join(names) or 'none'}",
            expected="image [image, neuron], text [class, neuron], labels [image]; classes [class] for their names",
            fix=f"write it with {written}",
        )


def _read_npz(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    # Opened here: NumPy leaves a file open when it is damaged.
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
        _check_names(content.files, f"np.savez({file.name!r}, image=..., text=..., labels=...)")
        metadata = json.loads(str(content["metadata"])) if "metadata" in content else {}
        if "classes" in content:
            metadata["classes"] = json.dumps(content["classes"].astype(str).tolist())
        for name in ("model", "dataset"):
            if name in content:
                metadata[name] = str(content[name])
        return {name: _tensor(name, content[name]) for name in _ARRAYS}, metadata


def _tensor(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "biufc":
        wanted = "whole numbers from 0, one for each image" if name == "labels" else "numbers"
        fix = "number the classes from 0, and give their names as the array classes" if name == "labels" else ""
        raise InputError(f"{name} holds {array.dtype} and no numbers", expected=wanted, fix=fix)
    return torch.from_numpy(array)


def _write_npz(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    classes = np.array(json.loads(metadata.pop("classes")))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, classes=classes, metadata=np.array(json.dumps(metadata)), allow_pickle=False)
    return buffer.getvalue()


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safetensors.safe_open(file, framework="pt") as content:
        tensors = "{'image': ..., 'text': ..., 'labels': ...}"
        _check_names(content.keys(), f"safetensors.torch.save_file({tensors}, {file.name!r})")
        return {name: content.get_tensor(name) for name in _ARRAYS}, dict(content.metadata() or {})


def _write_safetensors(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(contiguous, metadata)


@dataclass(frozen=True)
class _Format:
    read: Callable[[Path], tuple[dict[str, Tensor], dict[str, str]]]
    write: Callable[[dict[str, np.ndarray], dict[str, str]], bytes]


_FORMATS = {
    ".npz": _Format(_read_npz, _write_npz),
    ".safetensors": _Format(_read_safetensors, _write_safetensors),
}


def _format(file: Path) -> _Format:
    if file.suffix not in _FORMATS:
        raise InputError(
            f"features file {file}",
            expected=f"a name that ends in {' or '.join(_FORMATS)}",
            fix=f"write one file with np.savez('{file.stem}.npz', image=..., text=..., labels=...)",
        )
    return _FORMATS[file.suffix]
