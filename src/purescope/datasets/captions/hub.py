"""Read captions from a dataset of the Hugging Face hub, or one that `datasets` saved to disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from purescope.datasets.captions.dataset import CaptionDataset, hash_contents
from purescope.datasets.captions.listing import CAPTION_NAMES, Where
from purescope.datasets.hub_tables import (
    Split,
    choose_column,
    open_split,
    read_columns,
    read_images,
    type_name,
)
from purescope.errors import DatasetError, listed
from purescope.files.reading import require_room
from purescope.specs import short_name

if TYPE_CHECKING:
    import pyarrow

_OPTIONS = ("split", "config", "revision", "image", "caption")
_CAPTION_BYTES = 150  # memory that a caption takes beside its letters
_EXPECTED = "one of texts, or of lists of texts, with a usual name such as caption"


def load(where: Where, name: str, *, offline: bool = False) -> CaptionDataset:
    """Load a split that has one column of images and one of captions.

    Args:
        where: what the user named.
        name: OWNER/REPO or a folder, with its options behind a question mark.
        offline: use what is on this disk.

    Raises:
        MissingExtraError: `datasets` is not installed.
        DatasetError: the dataset cannot be found or read; or the split or a column is missing or
            ambiguous.
    """
    place, options, split, data = open_split(name, _OPTIONS, offline=offline)
    image = choose_column(name, data, "Image", options.get("image"))
    column = _choose_captions(where, data, options.get("caption"))
    table = read_columns(name, data, [image, column])
    captions = tuple(
        _to_texts(where, index, value) for index, value in enumerate(_values(where, table[column]))
    )
    images, contents = read_images(name, table[image], place)
    return CaptionDataset(
        name=short_name(Path(place).resolve().name),
        spec=where.spec,
        images=images,
        captions=captions,
        source={
            "format": "Hugging Face dataset",
            "split": split,
            "columns": f"{image}, {column}",
            "version": str(options.get("revision") or data.info.version or "not stated"),
            "fingerprint_of": "names and contents of the images",
        },
        image_fingerprint=hash_contents(contents),
    )


def _choose_captions(where: Where, data: Split, wanted: str | None) -> str:
    """Return the wanted column, or the only one with a usual name, of texts or lists of them."""
    kinds = {field.name: field.type for field in data.features.arrow_schema}
    fitting = [name for name, kind in kinds.items() if _holds_texts(kind)]
    usual = [wanted] if wanted is not None else [name for name in CAPTION_NAMES if name in kinds]
    chosen = [name for name in usual if name in fitting]
    if len(chosen) == 1:
        return chosen[0]
    columns = listed(f"{name} ({type_name(kind)})" for name, kind in data.features.items())
    raise DatasetError(
        f"{where.spec} has the columns {columns}",
        expected=f"{wanted!r} of texts, or of lists of texts" if wanted is not None else _EXPECTED,
        fix="name it: captions:DIR?caption=COLUMN",
    )


def _holds_texts(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    kind = kind.value_type if is_list else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _values(where: Where, column: "pyarrow.ChunkedArray") -> Sequence[Any]:
    stored = int(column.nbytes)
    require_room(
        stored,
        stored=stored,
        what=f"the captions of {where.spec}",
        most_per_byte=1,
        error=DatasetError,
        needed=4 * stored + _CAPTION_BYTES * len(column),
    )
    values: Sequence[Any] = column.to_pylist()
    return values


def _to_texts(where: Where, index: int, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise DatasetError(
            f"{where.spec}: image {index} has the captions {value!r}",
            expected="at least one text for each image",
            fix="leave such images out and save the dataset again",
        )
    return tuple(text.strip() for text in texts)
