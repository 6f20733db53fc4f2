"""Read and write features in ``.npz`` or ``.safetensors`` files, of ours or of others.

A file has the arrays ``image`` [image, neuron], ``text`` [class, neuron] and ``labels`` [image].
Class names are optional: an array of strings ``classes`` in npz, a JSON list under the metadata key
``classes`` in safetensors. So are the names ``model`` and ``dataset``: strings in npz, metadata in
safetensors. Our files have more metadata, all strings; npz has it as one JSON string, the array
``metadata``.
"""

import json
import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch
from torch import Tensor

from purescope.datasets.dataset import check_class_count, check_class_names, warn_of_equal_names
from purescope.errors import InputError
from purescope.features.features import Features, are_unit_rows, check_arrays, unit_rows
from purescope.features.metadata import (
    UNREADABLE,
    Metadata,
    parse_metadata,
    read_metadata_array,
    read_text_array,
    to_int64,
)
from purescope.files.npz import Member, Npz, npz_bytes
from purescope.files.reading import POINTER, check_safetensors, is_pointer
from purescope.files.writing import write_bytes
from purescope.specs import exists, to_path

# Rows this close to length 1 are not scaled, so that our own files are read back to the bit.
_UNIT_TOLERANCE = 1e-5

_ARRAYS = ("image", "text", "labels")
_TEXTS = ("classes", "metadata", "model", "dataset")  # arrays of strings in an npz

# Memory for class names: bytes of a name beside its letters, and the most copies of the letters.
_NAME_BYTES, _LETTER_COPIES = 200, 6


def save_features(features: Features, path: str | os.PathLike[str]) -> Path:
    """Write features to a ``.npz`` or ``.safetensors`` file, which appears when it is complete.

    Args:
        features: features of one model on one dataset; arrays, names, identity and seconds are
            kept.
        path: path of the file; its suffix determines the format.

    Returns:
        The path of the file.

    Raises:
        InputError: the file name has another suffix.
        OutputError: the file cannot be written; an earlier file is unharmed.

    Examples:
        >>> import tempfile
        >>> eye = torch.eye(2)
        >>> features = Features(eye, eye, torch.tensor([0, 1]), ("cat", "dog"), model="clip")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = read_features(save_features(features, Path(folder, "pets.safetensors")))
        >>> again.model, again.classes, bool((again.image == features.image).all())
        ('clip', ('cat', 'dog'), True)
    """
    file = to_path(path)
    content = _format(file).write(
        {name: getattr(features, name).numpy() for name in _ARRAYS},
        {
            "classes": json.dumps(features.classes),
            "model": features.model,
            "dataset": features.dataset,
            "identity": json.dumps(dict(features.identity)),
            "seconds": repr(features.seconds),
        },
    )
    write_bytes(content, file)
    return file


def read_features(path: str | os.PathLike[str]) -> Features:
    """Read features from a ``.npz`` or ``.safetensors`` file; nothing in it is executed.

    Args:
        path: path of a file with arrays ``image`` ``[image, neuron]``, ``text`` ``[class, neuron]``
            and ``labels`` ``[image]``, whole numbers from 0; optional are the names ``classes``,
            ``model`` and ``dataset``.

    Returns:
        Float32 on the cpu. Without class names in the file, the names are the numbers of the
        classes. Rows of another length are scaled to unit length, and `Features.identity` says so.

    Raises:
        InputError: the file is missing or damaged, lacks an array, or its arrays do not fit
            `Features`.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "mine.npz")
        ...     np.savez(file, image=np.array([[3.0, 4.0]]), text=np.eye(2), labels=np.array([1]))
        ...     mine = read_features(file)
        >>> mine.image, mine.classes, mine.identity["scaled_to_unit"]
        (tensor([[0.6000, 0.8000]]), ('0', '1'), 'image')
    """
    file = to_path(path)
    reader = _format(file).read
    if not exists(file):
        raise InputError(f"there is no file {file}", fix="check the path")
    try:
        if is_pointer(file):
            raise InputError(POINTER, fix="git lfs pull")
        features = _features(*reader(file), name=file.stem)
    except InputError as error:
        raise InputError(f"{file}: {error.came}", expected=error.expected, fix=error.fix) from error
    except UNREADABLE as error:
        raise InputError(
            f"{file} cannot be read: "
            f"{getattr(error, 'strerror', None) or error or type(error).__name__}",
            expected=f"a complete {file.suffix} file of numeric arrays image, text and labels",
            fix="write it again, for example with purescope.save_features",
        ) from error
    warn_of_equal_names(features.classes, str(file))
    return features


def _features(arrays: Mapping[str, Tensor], metadata: Metadata, *, name: str) -> Features:
    image, text, labels = (
        arrays["image"],
        arrays["text"],
        to_int64(arrays["labels"], "label", "image"),
    )
    names = metadata.names
    check_arrays(image, text, labels, len(text) if names is None else len(names))
    classes = tuple(map(str, range(len(text)))) if names is None else tuple(names)
    units, identity = {}, dict(metadata.identity)
    for tower, array in (("image", image), ("text", text)):
        # Lengths are measured in float32, the type that the rows get; rows that float32 cannot hold
        # are scaled before.
        if are_unit_rows(array, _UNIT_TOLERANCE):
            units[tower] = array.float()
        else:
            units[tower] = unit_rows(array, out=array if array.dtype == torch.float32 else None)
            scaled = filter(None, [identity.get("scaled_to_unit"), tower])
            identity["scaled_to_unit"] = ", ".join(scaled)
    return Features(
        image=units["image"],
        text=units["text"],
        labels=labels,
        classes=classes,
        model=metadata.model or "features",
        dataset=metadata.dataset or name,
        identity=identity,
        seconds=metadata.seconds,
    )


def _check_names(names: Collection[str], fix: str) -> None:
    missing = [name for name in _ARRAYS if name not in names]
    if missing:
        raise InputError(
            f"no array {' or '.join(missing)}, only {', '.join(names) or 'none'}",
            expected="image [image, neuron], text [class, neuron], labels [image]; classes [class] "
            "for their names",
            fix=f"write it with {fix}",
        )


def _read_npz(file: Path) -> tuple[dict[str, Tensor], Metadata]:
    with Npz(file, (*_ARRAYS, *_TEXTS)) as content:
        _check_names(content.names, f"np.savez({file.name!r}, image=..., text=..., labels=...)")
        members = content.members
        texts = [name for name in _TEXTS if name in members]
        for name in texts:
            _check_text(name, members[name])
        _check_rows(members)
        # Arrays of another type are converted, so both are in memory together.
        copies = [
            (4 if name != "labels" else 8) * math.prod(members[name].shape)
            for name in _ARRAYS
            if members[name].dtype != (np.float32 if name != "labels" else np.int64)
        ]
        names = _NAME_BYTES * math.prod(members["text"].shape[:1])
        names += _LETTER_COPIES * sum(members[name].bytes for name in texts)
        arrays = sum(member.bytes for member in members.values())
        content.require_room(arrays + sum(copies) + names)
        metadata = read_metadata_array(content)
        if "classes" in members:
            metadata["classes"] = json.dumps(content.read("classes").astype(str).tolist())
        metadata |= {
            name: read_text_array(content, name) for name in ("model", "dataset") if name in members
        }
        parsed = _parse(metadata)
        return {name: _tensor(name, content.read(name)) for name in _ARRAYS}, parsed


def _check_rows(members: Mapping[str, Member]) -> None:
    """Refuse names and labels that do not fit the other arrays, before they are unpacked.

    Any number of zeros is small in the file.
    """
    image, text, labels = (members[name].shape for name in _ARRAYS)
    classes = math.prod(text[:1])
    check_class_count(classes, InputError)
    if "classes" in members and members["classes"].shape[0] != classes:
        raise InputError(
            f"{members['classes'].shape[0]} class names for {classes} rows of text",
            expected="one for each row",
        )
    if math.prod(labels) > max((*image, *text), default=0):
        raise InputError(
            f"labels is {members['labels'].dtype} of shape {list(labels)}, and image is of shape "
            f"{list(image)}",
            expected="one for each image",
        )


def _check_text(name: str, member: Member) -> None:
    dimensions = 1 if name == "classes" else 0
    if member.dtype.kind not in "US" or len(member.shape) != dimensions:
        raise InputError(
            f"{name} is {member.dtype} of shape {list(member.shape)}",
            expected="an array of names, one for each class" if dimensions else "one text",
            fix="np.array(['cat', 'dog'])" if dimensions else f"{name}='...'",
        )


def _tensor(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "biufc":
        expected, fix = "numbers", ""
        if name == "labels":
            expected = "whole numbers from 0, one for each image"
            fix = "number the classes from 0, and give their names as the array classes"
        raise InputError(f"{name} holds {array.dtype} and no numbers", expected=expected, fix=fix)
    return torch.from_numpy(array)


def _write_npz(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    classes = np.array(json.loads(metadata.pop("classes")))
    return npz_bytes({**arrays, "classes": classes, "metadata": np.array(json.dumps(metadata))})


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], Metadata]:
    check_safetensors(file)
    with safetensors.safe_open(file, framework="pt") as content:
        tensors = "{'image': ..., 'text': ..., 'labels': ...}"
        _check_names(content.keys(), f"safetensors.torch.save_file({tensors}, {file.name!r})")
        metadata = _parse(content.metadata() or {})
        return {name: content.get_tensor(name) for name in _ARRAYS}, metadata


def _write_safetensors(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(contiguous, metadata)


def _parse(texts: Mapping[str, Any]) -> Metadata:
    metadata = parse_metadata(texts, "classes")
    if metadata.names is not None:
        check_class_names(metadata.names, InputError)
    return metadata


@dataclass(frozen=True)
class _Format:
    read: Callable[[Path], tuple[dict[str, Tensor], Metadata]]
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
