"""Features in files: ``.npz`` or ``.safetensors``, written by us or by anyone.

Arrays ``image`` [image, neuron], ``text`` [class, neuron] and ``labels`` [image]. Class names are
optional: an array of strings ``classes`` in npz, a JSON list under the metadata key ``classes`` in
safetensors. So are the names ``model`` and ``dataset``: strings in npz, metadata in safetensors.
What else we write is metadata, all strings; npz has it as one JSON string, the array ``metadata``.
"""

import io
import json
import math
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

from purescope.datasets.dataset import check_class_count, warn_of_equal_names
from purescope.errors import InputError
from purescope.features.features import Features, are_unit_rows, check_arrays, unit_rows
from purescope.features.metadata import Metadata, parse
from purescope.files.npz import Member, Npz
from purescope.files.reading import CONFIGURATION, POINTER, is_pointer, open_regular, unique_keys
from purescope.files.writing import write_bytes
from purescope.specs import exists, to_path

# What the readers raise for a file that is cut short, damaged or something else altogether.
_UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, MemoryError, OverflowError,
    struct.error, zlib.error, zipfile.BadZipFile, safetensors.SafetensorError,
)  # fmt: skip

# Rows this close to length 1 are taken as they are: what we wrote is read back to the bit.
_UNIT_TOLERANCE = 1e-5

_ARRAYS = ("image", "text", "labels")
_WORDS = ("classes", "metadata", "model", "dataset")  # of an npz

_NAME = 200  # bytes that the name of a class takes beside its letters, in the lists that it passes through
_TIMES = 6  # how often those letters stand there at most, in bytes of the array


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
    file = to_path(path)
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
    write_bytes(content, file)
    return file


def read_features(path: str | os.PathLike[str]) -> Features:
    """Read features from a ``.npz`` or ``.safetensors`` file; nothing in it is executed.

    Args:
        path: with arrays ``image`` ``[image, neuron]``, ``text`` ``[class, neuron]`` and ``labels``
            ``[image]``, whole numbers from 0; and, where they are known, the names ``classes``,
            ``model`` and ``dataset``.

    Returns:
        Float32 on the cpu. Without class names in the file, classes are called by their numbers.
        Rows that are not of unit length are scaled to it, and `Features.identity` says so.

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
    except _UNREADABLE as error:
        raise InputError(
            f"{file} cannot be read: "
            f"{getattr(error, 'strerror', None) or error or type(error).__name__}",
            expected=f"a complete {file.suffix} file of numeric arrays image, text and labels",
            fix="write it again, for example with purescope.save_features",
        ) from error
    warn_of_equal_names(features.classes, str(file))
    return features


def _features(arrays: Mapping[str, Tensor], metadata: Metadata, *, name: str) -> Features:
    image, text, labels = arrays["image"], arrays["text"], _int64(arrays["labels"])
    names = metadata.classes
    check_arrays(image, text, labels, len(text) if names is None else len(names))
    classes = tuple(map(str, range(len(text)))) if names is None else names
    units, identity = {}, dict(metadata.identity)
    for tower, array in (("image", image), ("text", text)):
        # Looked at as float32, which is what they become; lengths that float32 does not hold are
        # scaled before.
        if are_unit_rows(array, _UNIT_TOLERANCE):
            units[tower] = array.float()
        else:
            units[tower] = unit_rows(array, out=array if array.dtype == torch.float32 else None)
            identity["scaled_to_unit"] = ", ".join(
                filter(None, [identity.get("scaled_to_unit"), tower])
            )
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


def _int64(array: Tensor) -> Tensor:
    if array.dtype == torch.uint64:
        # As int64 what is beyond it is negative: -1 would stand for 18,446,744,073,709,551,615.
        beyond = (array.view(torch.int64) < 0).nonzero()
        if len(beyond):
            row = int(beyond[0, 0])
            raise InputError(
                f"the label {int(array.view(torch.int64)[row]) + 2**64} of image {row}",
                expected="the number of the class of each image, from 0 on",
            )
    whole = not (array.is_floating_point() or array.is_complex() or array.dtype == torch.bool)
    return array.long() if whole else array


def _check_names(names: Collection[str], written: str) -> None:
    missing = [wanted for wanted in _ARRAYS if wanted not in names]
    if missing:
        raise InputError(
            f"no array {' or '.join(missing)}, only {', '.join(names) or 'none'}",
            expected="image [image, neuron], text [class, neuron], labels [image]; classes [class] "
            "for their names",
            fix=f"write it with {written}",
        )


def _read_npz(file: Path) -> tuple[dict[str, Tensor], Metadata]:
    with Npz(file, (*_ARRAYS, *_WORDS)) as content:
        _check_names(content.names, f"np.savez({file.name!r}, image=..., text=..., labels=...)")
        members = content.members
        for name in _WORDS:
            if name in members:
                _check_words(name, members[name])
        _check_rows(members)
        # Those of another type than they become stand beside it.
        copies = sum(
            4 * math.prod(m.shape)
            for m in (members["image"], members["text"])
            if m.dtype != np.float32
        )
        copies += (
            8 * math.prod(members["labels"].shape) if members["labels"].dtype != np.int64 else 0
        )
        copies += _NAME * math.prod(members["text"].shape[:1])
        copies += _TIMES * sum(members[name].bytes for name in _WORDS if name in members)
        content.require_room(sum(member.bytes for member in members.values()) + copies)
        texts = (
            json.loads(_text(content, "metadata"), object_pairs_hook=unique_keys)
            if "metadata" in members
            else {}
        )
        if not isinstance(texts, dict):
            raise InputError(
                "its array metadata is no object in JSON", expected="one whose values are texts"
            )
        if "classes" in members:
            texts["classes"] = json.dumps(content.read("classes").astype(str).tolist())
        for name in ("model", "dataset"):
            if name in members:
                texts[name] = _text(content, name)
        metadata = parse(texts)
        return {name: _tensor(name, content.read(name)) for name in _ARRAYS}, metadata


def _check_rows(members: Mapping[str, Member]) -> None:
    """Refuse names and labels that fit no other array before they are unpacked: zeros in any number
    are small here.
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


def _check_words(name: str, member: Member) -> None:
    dimensions = 1 if name == "classes" else 0
    if member.dtype.kind not in "US" or len(member.shape) != dimensions:
        what = "an array of names, one for each class" if dimensions else "one text"
        raise InputError(
            f"{name} is {member.dtype} of shape {list(member.shape)}",
            expected=what,
            fix="np.array(['cat', 'dog'])" if dimensions else f"{name}='...'",
        )


def _text(content: Npz, name: str) -> str:
    return str(content.read(name).astype(str))


def _tensor(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "biufc":
        wanted = "whole numbers from 0, one for each image" if name == "labels" else "numbers"
        fix = (
            "number the classes from 0, and give their names as the array classes"
            if name == "labels"
            else ""
        )
        raise InputError(f"{name} holds {array.dtype} and no numbers", expected=wanted, fix=fix)
    return torch.from_numpy(array)


def _write_npz(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    classes = np.array(json.loads(metadata.pop("classes")))
    buffer = io.BytesIO()
    np.savez(
        buffer,
        **arrays,
        classes=classes,
        metadata=np.array(json.dumps(metadata)),
        allow_pickle=False,
    )
    return buffer.getvalue()


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], Metadata]:
    _check_header(file)
    with safetensors.safe_open(file, framework="pt") as content:
        tensors = "{'image': ..., 'text': ..., 'labels': ...}"
        _check_names(content.keys(), f"safetensors.torch.save_file({tensors}, {file.name!r})")
        metadata = parse(content.metadata() or {})
        return {name: content.get_tensor(name) for name in _ARRAYS}, metadata


def _check_header(file: Path) -> None:
    """Refuse a header of which the library would take one of two entries, or none in words."""
    with open_regular(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, CONFIGURATION):
            raise ValueError(f"its header has {length:,} bytes, the file {size:,}")
        header = json.loads(stream.read(length), object_pairs_hook=unique_keys)
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise ValueError("its header is no object of tensors and texts")
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise ValueError(f"its metadata {name} is no text")


def _write_safetensors(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(contiguous, metadata)


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
