"""Read the embeddings of a folder of clip-retrieval, without encoding anything.

The layout; the numbers of the files belong together, and row i of all of them is a pair::

    DIR/img_emb/img_emb_0.npy, 1, ...        [pair, neuron], usually float16
    DIR/text_emb/text_emb_0.npy, 1, ...      [pair, neuron]
    DIR/metadata/metadata_0.parquet, ...     a column caption; optional
"""

import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from purescope.datasets.captions.dataset import hash_contents
from purescope.datasets.images import hash_files
from purescope.datasets.tables import read_parquet
from purescope.datasets.webdataset import by_number
from purescope.errors import InputError, listed
from purescope.features.captions import CaptionFeatures
from purescope.features.features import are_unit_rows, check_finite, unit_rows
from purescope.files.npz import read_header
from purescope.files.reading import open_whole, require_room
from purescope.specs import is_folder, short_name

IMAGE, TEXT, _METADATA = "img_emb", "text_emb", "metadata"  # folders
# Rows of half precision are this close to length 1 when they were scaled before.
_UNIT_TOLERANCE = 2e-3
_CAPTION_BYTES = 250
_EXPECTED = "DIR/img_emb/*.npy and DIR/text_emb/*.npy, as clip-retrieval writes them"


@dataclass(frozen=True)
class _Shard:
    """An array in a file, mapped into memory."""

    path: Path
    array: np.ndarray


def is_clip_retrieval(folder: Path) -> bool:
    """Tell whether a folder has embeddings of images and of texts as clip-retrieval names them."""
    return is_folder(folder / IMAGE) and is_folder(folder / TEXT)


def read_clip_retrieval(folder: Path) -> CaptionFeatures:
    """Read the pairs of a folder of clip-retrieval.

    One file of each kind is mapped into memory: rows are read when they are used, in the type that
    they are stored in. Several files are read together. Rows of another length than 1 are scaled,
    and become float32.

    Raises:
        InputError: a file is missing, damaged or holds no numbers, or numbers of rows or neurons
            differ.

    Warns:
        UserWarning: there are no captions, only their embeddings.
    """
    try:
        files = {kind: _find(folder / kind, ".npy") for kind in (IMAGE, TEXT)}
        tables = _find(folder / _METADATA, ".parquet") if is_folder(folder / _METADATA) else []
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read: {error}", expected=_EXPECTED, fix="check its permissions"
        ) from error
    if not files[IMAGE] or len(files[IMAGE]) != len(files[TEXT]):
        raise InputError(
            f"{folder} has {len(files[IMAGE])} files in {IMAGE} and {len(files[TEXT])} in {TEXT}",
            expected=f"the same number, at least one: {_EXPECTED}",
        )
    images, texts = ([_map(path) for path in files[kind]] for kind in (IMAGE, TEXT))
    for image, text in zip(images, texts, strict=True):
        if image.array.shape != text.array.shape:
            raise InputError(
                f"{image.path} is of shape {list(image.array.shape)}, {text.path.name} of "
                f"{list(text.array.shape)}",
                expected="the same: row i of both is a pair",
            )
    rows = [len(image.array) for image in images]
    captions = _read_captions(folder, tables, rows)
    identity = {
        "format": "clip-retrieval",
        "embeddings": hash_contents(
            hash_files([*files[IMAGE], *files[TEXT], *tables], folder, max_bytes=sys.maxsize)
        ),
    }
    towers: dict[str, Tensor] = {}
    for tower, shards in (("image", images), ("text", texts)):
        towers[tower], is_scaled = _join(shards, tower)
        if is_scaled:
            scaled = filter(None, [identity.get("scaled_to_unit"), tower])
            identity["scaled_to_unit"] = ", ".join(scaled)
    return CaptionFeatures(
        image=towers["image"],
        text=towers["text"],
        image_of=torch.arange(sum(rows)),
        captions=captions,
        model="features",
        dataset=short_name(folder.resolve().name),
        identity=identity,
    )


def _find(folder: Path, suffix: str) -> list[Path]:
    """Return the files of a folder with this suffix, in the order of their numbers."""
    paths = (path for path in folder.iterdir() if path.suffix == suffix and path.name[0] != ".")
    return sorted(paths, key=by_number)


def _map(path: Path) -> _Shard:
    """Map an array of floating-point rows into memory, without copying it."""
    try:
        with open_whole(path) as stream:
            header = read_header(stream, path.name, size=os.fstat(stream.fileno()).st_size)
            if header.dtype.kind != "f" or not header.dtype.isnative or header.dtype.itemsize > 8:
                raise ValueError(f"it holds {header.dtype}")
            if len(header.shape) != 2 or 0 in header.shape:
                raise ValueError(f"it is of shape {list(header.shape)}")
            # A private copy of each page that is written to, so that the file stays as it is.
            array = np.memmap(
                stream,
                header.dtype,
                mode="c",
                offset=header.length,
                shape=header.shape,
                order="F" if header.fortran_order else "C",
            )
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}",
            expected="a whole .npy of float16, float32 or float64 [pair, neuron]",
            fix="write it again",
        ) from error
    return _Shard(path, array)


def _join(shards: Sequence[_Shard], tower: str) -> tuple[Tensor, bool]:
    """Return the rows of all shards, and whether they had to be scaled to length 1."""
    for shard in shards[1:]:
        if shard.array.shape[1] != shards[0].array.shape[1]:
            raise InputError(
                f"{shard.path} has {shard.array.shape[1]} neurons, {shards[0].path.name} "
                f"{shards[0].array.shape[1]}",
                expected="the same number in all files",
            )
    stored = sum(shard.array.nbytes for shard in shards)
    if len(shards) > 1:
        _require_room(tower, stored, stored)
    mapped = [torch.from_numpy(shard.array) for shard in shards]
    rows = mapped[0] if len(mapped) == 1 else torch.cat(mapped)
    check_finite(rows, tower)
    if rows.dtype != torch.float64 and are_unit_rows(rows, _UNIT_TOLERANCE):
        return rows, False
    _require_room(tower, stored, 4 * rows.numel())
    return unit_rows(rows), True


def _require_room(tower: str, stored: int, needed: int) -> None:
    require_room(
        stored,
        stored=stored,
        what=f"the embeddings of {tower}s",
        most_per_byte=1,
        error=InputError,
        needed=needed,
    )


def _read_captions(folder: Path, tables: Sequence[Path], rows: Sequence[int]) -> tuple[str, ...]:
    """Read the captions; none where there are no tables, or no such column in them."""
    if not tables:
        warnings.warn(f"{folder}: there are no captions, only their embeddings", stacklevel=3)
        return ()
    if len(tables) != len(rows):
        raise InputError(
            f"{folder / _METADATA} has {len(tables)} files for {len(rows)} of embeddings",
            expected="one for each",
        )
    import pyarrow

    captions: list[str] = []
    for path, count in zip(tables, rows, strict=True):
        try:
            table = read_parquet(path, {"caption"})
        except (OSError, ValueError, LookupError, TypeError, pyarrow.ArrowException) as error:
            raise InputError(
                f"{path} cannot be read: {getattr(error, 'strerror', None) or error}",
                expected="a whole Parquet file with a column caption",
            ) from error
        if len(table.lines) != count:
            raise InputError(
                f"{path} has {len(table.lines):,} rows for {count:,} of embeddings",
                expected="one for each",
            )
        if not table.columns:
            warnings.warn(
                f"{path} has no column caption, only {listed(table.header)}: the texts are not "
                "known",
                stacklevel=3,
            )
            return ()
        captions += table.columns["caption"]
    return tuple(captions)
