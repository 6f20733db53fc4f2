"""Load ``bundled:NAME``: evaluation sets in the package, as Parquet files of WebP images.

Columns: ``image`` (WebP bytes), ``label``, ``class_name``, ``source``, ``version``, ``licence``.
A view sorts the same images into other classes, in the columns ``label_VIEW`` and
``class_name_VIEW``; an image without a label there does not belong to the view. ``index.json``
lists the sets: file, view, title, templates and, where a class name does not fit into a sentence, a
better one.
"""

import importlib.resources
import io
import json
import typing
from importlib.resources.abc import Traversable

import torch
from PIL import Image

from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.images import LazyImages, open_rgb
from purescope.datasets.prompts import Words
from purescope.errors import DatasetError, near_miss

if typing.TYPE_CHECKING:
    import pyarrow


def list_names() -> list[str]:
    """Return the names of the bundled sets, in the order of the index."""
    return list(_index())


def describe(name: str) -> tuple[int, int, str]:
    """Return the number of images, the number of classes and the title; only labels are read."""
    entry = _index()[name]
    column = _view_column(entry, "label")
    labels = _values(_read_table(_read_file(entry), [column]), column)
    labelled = [label for label in labels if label is not None]
    return len(labelled), len(set(labelled)), entry["title"]


def load(name: str) -> Dataset:
    """Load the bundled set of this name.

    Raises:
        DatasetError: no set has this name.
    """
    index = _index()
    if name not in index:
        raise DatasetError(f"no bundled dataset is called {name!r}", **near_miss(name, index))
    entry = index[name]
    content = _read_file(entry)
    label, class_name = _view_column(entry, "label"), _view_column(entry, "class_name")
    table = _read_table(content, [label, class_name, "image", "source", "version", "licence"])
    table = table.filter(table[label].is_valid())
    names = dict(zip(_values(table, label), _values(table, class_name), strict=True))
    if sorted(names) != list(range(len(names))):
        raise DatasetError(f"the labels of bundled:{name} have gaps", fix="install purescope again")
    classes = tuple(names[label] for label in range(len(names)))
    labels = torch.tensor(_values(table, label), dtype=torch.int64)
    files = _values(table, "image")

    def read(index: int) -> Image.Image:
        return open_rgb(io.BytesIO(files[index]), f"{index} of bundled:{name}", formats=("WEBP",))

    words = Words(f"bundled:{name}", tuple(entry["templates"]), entry.get("display_names", {}))
    return Dataset(
        name=name,
        spec=f"bundled:{name}",
        classes=classes,
        labels=labels,
        images=LazyImages(read, len(files)),
        display_names=words.clean(classes),
        templates=words.templates,
        source={
            "title": entry["title"],
            **{
                key: "; ".join(sorted(set(_values(table, key))))
                for key in ("source", "version", "licence")
            },
            "fingerprint_of": "the Parquet file and the view",
        },
        fingerprint=fingerprint(classes, labels, [entry["view"].encode(), content]),
    )


def image_names(name: str) -> list[str | None]:
    """Return the own name of each image of a bundled set, in its order; None where it has none."""
    entry = _index()[name]
    label, own = _view_column(entry, "label"), "class_name_name"
    content = _read_file(entry)
    if own not in _column_names(content):
        own = label
    table = _read_table(content, list(dict.fromkeys([label, own])))
    table = table.filter(table[label].is_valid())
    return _values(table, own) if own != label else [None] * len(table)


def _folder() -> Traversable:
    return importlib.resources.files("purescope") / "bundled" / "data"


def _index() -> dict[str, typing.Any]:
    try:
        text = (_folder() / "index.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    index: dict[str, typing.Any] = json.loads(text)
    return index


def _read_file(entry: dict[str, typing.Any]) -> bytes:
    file: str = entry["file"]
    return (_folder() / file).read_bytes()


def _view_column(entry: dict[str, typing.Any], column: str) -> str:
    return f"{column}_{entry['view']}" if entry["view"] else column


def _read_table(content: bytes, columns: list[str]) -> "pyarrow.Table":
    import pyarrow.parquet

    return pyarrow.parquet.read_table(pyarrow.BufferReader(content), columns=columns)


def _column_names(content: bytes) -> list[str]:
    import pyarrow.parquet

    return list(pyarrow.parquet.read_schema(pyarrow.BufferReader(content)).names)


def _values(table: "pyarrow.Table", column: str) -> list[typing.Any]:
    values: list[typing.Any] = table[column].to_pylist()
    return values
