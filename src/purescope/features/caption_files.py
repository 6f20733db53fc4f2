"""Read and write features of captions in ``.npz`` or ``.safetensors`` files, of ours or of others.

A file has the arrays ``image`` [image, neuron], ``text`` [caption, neuron] and ``image_of``
[caption], whole numbers from 0. The captions are optional: a JSON list under the metadata key
``captions``, or in npz an array of strings ``captions``. The rest is as in features files.
"""

import json
import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch
from torch import Tensor

from purescope.datasets.captions.dataset import MAX_CAPTION_LENGTH
from purescope.errors import InputError
from purescope.features.captions import CaptionFeatures, check_pairs
from purescope.features.features import are_unit_rows, unit_rows
from purescope.features.metadata import (
    UNREADABLE,
    Metadata,
    parse_metadata,
    read_metadata_array,
    read_text_array,
    to_int64,
)
from purescope.files.npz import Npz, npz_bytes
from purescope.files.reading import POINTER, check_safetensors, is_pointer
from purescope.files.writing import write_bytes
from purescope.specs import exists, is_text, to_path

SUFFIXES = (".npz", ".safetensors")

_UNIT_TOLERANCE = 1e-5  # rows this close to length 1 are not scaled
_ARRAYS = ("image", "text", "image_of")
_TEXTS = ("captions", "metadata", "model", "dataset")  # arrays of strings in an npz
_CAPTION_BYTES, _LETTER_COPIES = 200, 6  # memory for captions


def save_caption_features(features: CaptionFeatures, path: str | os.PathLike[str]) -> Path:
    """Write features of captions to a ``.npz`` or ``.safetensors`` file, which appears when it is
    complete.

    Args:
        features: features of images and captions; arrays, captions, names, identity and seconds are
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
        >>> features = CaptionFeatures(eye, eye, torch.tensor([0, 1]), ("a cat", "a dog"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = save_caption_features(features, Path(folder, "pets.npz"))
        ...     read_caption_features(file).captions
        ('a cat', 'a dog')
    """
    file = to_path(path)
    _check_suffix(file)
    arrays = {name: np.ascontiguousarray(getattr(features, name).numpy()) for name in _ARRAYS}
    metadata = {
        "model": features.model,
        "dataset": features.dataset,
        "identity": json.dumps(dict(features.identity)),
        "seconds": repr(features.seconds),
    }
    if features.captions:
        metadata["captions"] = json.dumps(features.captions)
    if file.suffix == ".npz":
        content = npz_bytes({**arrays, "metadata": np.array(json.dumps(metadata))})
    else:
        content = safetensors.numpy.save(arrays, metadata)
    write_bytes(content, file)
    return file


def read_caption_features(path: str | os.PathLike[str]) -> CaptionFeatures:
    """Read features of captions from a ``.npz`` or ``.safetensors`` file; nothing in it is
    executed.

    Args:
        path: path of a file with arrays ``image`` ``[image, neuron]``, ``text`` ``[caption,
            neuron]`` and ``image_of`` ``[caption]``, whole numbers from 0; optional are
            ``captions`` and the names ``model`` and ``dataset``.

    Returns:
        Float32 on the cpu. Rows of another length are scaled to unit length, and
        `CaptionFeatures.identity` says so.

    Raises:
        InputError: the file is missing or damaged, lacks an array, or its arrays do not fit
            `CaptionFeatures`.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "mine.npz")
        ...     np.savez(file, image=3 * np.eye(2), text=np.eye(2), image_of=np.array([1, 0]))
        ...     mine = read_caption_features(file)
        >>> mine.dataset, mine.image, mine.identity["scaled_to_unit"]
        ('mine', tensor([[1., 0.],
                [0., 1.]]), 'image')
    """
    file = to_path(path)
    _check_suffix(file)
    if not exists(file):
        raise InputError(f"there is no file {file}", fix="check the path")
    try:
        if is_pointer(file):
            raise InputError(POINTER, fix="git lfs pull")
        read = _read_npz if file.suffix == ".npz" else _read_safetensors
        return _features(*read(file), name=file.stem)
    except InputError as error:
        raise InputError(f"{file}: {error.came}", expected=error.expected, fix=error.fix) from error
    except UNREADABLE as error:
        raise InputError(
            f"{file} cannot be read: "
            f"{getattr(error, 'strerror', None) or error or type(error).__name__}",
            expected=f"a complete {file.suffix} file of numeric arrays image, text and image_of",
            fix="write it again, for example with purescope.save_caption_features",
        ) from error


def _features(arrays: Mapping[str, Tensor], metadata: Metadata, *, name: str) -> CaptionFeatures:
    image, text = arrays["image"], arrays["text"]
    image_of = to_int64(arrays["image_of"], "image", "caption")
    check_pairs(image, text, image_of)
    captions = tuple(metadata.names or ())
    for row, caption in enumerate(captions):
        if not isinstance(caption, str) or not is_text(caption):
            raise InputError(f"caption {row} is {caption!r}", expected="a text")
        if len(caption) > MAX_CAPTION_LENGTH:
            raise InputError(
                f"caption {row} has {len(caption):,} characters",
                expected=f"at most {MAX_CAPTION_LENGTH:,}",
            )
    units, identity = {}, dict(metadata.identity)
    for tower, array in (("image", image), ("text", text)):
        if are_unit_rows(array, _UNIT_TOLERANCE):
            units[tower] = array.float()
        else:
            units[tower] = unit_rows(array)
            scaled = filter(None, [identity.get("scaled_to_unit"), tower])
            identity["scaled_to_unit"] = ", ".join(scaled)
    return CaptionFeatures(
        **units,
        image_of=image_of,
        captions=captions,
        model=metadata.model or "features",
        dataset=metadata.dataset or name,
        identity=identity,
        seconds=metadata.seconds,
    )


def _check_suffix(file: Path) -> None:
    if file.suffix not in SUFFIXES:
        raise InputError(
            f"features file {file}", expected=f"a name that ends in {' or '.join(SUFFIXES)}"
        )


def _check_names(names: Collection[str]) -> None:
    missing = [name for name in _ARRAYS if name not in names]
    if missing:
        raise InputError(
            f"no array {' or '.join(missing)}, only {', '.join(names) or 'none'}",
            expected="image [image, neuron], text [caption, neuron], image_of [caption]",
            fix="a file with classes is read as features:FILE" if "labels" in names else "",
        )


def _read_npz(file: Path) -> tuple[dict[str, Tensor], Metadata]:
    with Npz(file, (*_ARRAYS, *_TEXTS)) as content:
        _check_names(content.names)
        members = content.members
        texts = [name for name in _TEXTS if name in members]
        for name in texts:
            dimensions = 1 if name == "captions" else 0
            if members[name].dtype.kind not in "US" or len(members[name].shape) != dimensions:
                raise InputError(
                    f"{name} is {members[name].dtype} of shape {list(members[name].shape)}",
                    expected="an array of texts" if dimensions else "one text",
                )
        rows = math.prod(members["text"].shape[:1])
        _check_rows("image_of", math.prod(members["image_of"].shape), rows)
        if "captions" in members:
            _check_rows("captions", members["captions"].shape[0], rows)
        arrays = sum(member.bytes for member in members.values())
        copies = sum(8 * math.prod(members[name].shape) for name in _ARRAYS)
        letters = _LETTER_COPIES * sum(members[name].bytes for name in texts)
        content.require_room(arrays + copies + letters + _CAPTION_BYTES * rows)
        metadata: dict[str, Any] = read_metadata_array(content)
        if "captions" in members:
            metadata["captions"] = json.dumps(content.read("captions").astype(str).tolist())
        names = [name for name in ("model", "dataset") if name in members]
        metadata |= {name: read_text_array(content, name) for name in names}
        parsed = parse_metadata(metadata, "captions")
        return {name: _tensor(name, content.read(name)) for name in _ARRAYS}, parsed


def _check_rows(name: str, count: int, rows: int) -> None:
    """Refuse an array of another length before it is unpacked: zeros are small in the file."""
    if count != rows:
        raise InputError(f"{name} has {count:,} entries for {rows:,} rows of text")


def _tensor(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "biufc":
        raise InputError(f"{name} holds {array.dtype} and no numbers", expected="numbers")
    return torch.from_numpy(array)


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], Metadata]:
    check_safetensors(file)
    with safetensors.safe_open(file, framework="pt") as content:
        _check_names(content.keys())
        metadata = parse_metadata(content.metadata() or {}, "captions")
        return {name: content.get_tensor(name) for name in _ARRAYS}, metadata
