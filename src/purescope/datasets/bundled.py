"""``bundled:NAME``: the evaluation sets that come with purescope, Parquet files of WebP images.

Columns: ``image`` (WebP bytes), ``label``, ``class_name``, ``source``, ``version``, ``licence``.
Other ways to class the same images are views, in ``label_VIEW`` and ``class_name_VIEW``; an image
without a label there is no part of that view. ``index.json`` names the sets: file, view, title,
templates and, where a class name is no good in a sentence, a better one.
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


def names() -> list[str]:
    """The bundled sets, in the order of the index."""
    return list(_index())


def describe(name: str) -> tuple[int, int, str]:
    """Number of images, number of classes and title of a bundled set; reads its labels only."""
    entry = _index()[name]
    labels = _column(_table(_bytes(entry), [_view(entry, "label")]), _view(entry, "label"))
    labelled = [label for label in labels if label is not None]
    return len(labelled), len(set(labelled)), entry["title"]


def load(name: str) -> Dataset:
    """The set called `name` in the index.

    Raises:
        DatasetError: there is none of that name.
    """
    index = _index()
    if name not in index:
        raise DatasetError(f"no bundled data set is called {name!r}", **near_miss(name, index))
    entry = index[name]
    content = _bytes(entry)
    label, class_name = _view(entry, "label"), _view(entry, "class_name")
    table = _table(content, [label, class_name, "image", "source", "version", "licence"])
    table = table.filter(table[label].is_valid())
    names = dict(zip(_column(table, label), _column(table, class_name), strict=True))
    if sorted(names) != list(range(len(names))):
        raise DatasetError(f"the labels of bundled:{name} have gaps", fix="install purescope anew")
    classes = tuple(names[label] for label in range(len(names)))
    labels = torch.tensor(_column(table, label), dtype=torch.int64)
    files = _column(table, "image")

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
                key: "; ".join(sorted(set(_column(table, key))))
                for key in ("source", "version", "licence")
            },
            "fingerprint_of": "the Parquet file and the view",
        },
        fingerprint=fingerprint(classes, labels, [entry["view"].encode(), content]),
    )


def _folder() -> Traversable:
    return importlib.resources.files("purescope") / "bundled" / "data"


def _index() -> dict[str, typing.Any]:
    try:
        index: dict[str, typing.Any] = json.loads(
            (_folder() / "index.json").read_text(encoding="utf-8")
        )
    except FileNotFoundError:
        return {}
    return index


def _bytes(entry: dict[str, typing.Any]) -> bytes:
    file: str = entry["file"]
    return (_folder() / file).read_bytes()


def _view(entry: dict[str, typing.Any], column: str) -> str:
    return f"{column}_{entry['view']}" if entry["view"] else column


def _table(content: bytes, columns: list[str]) -> "pyarrow.Table":
    import pyarrow
    import pyarrow.parquet

    return pyarrow.parquet.read_table(pyarrow.BufferReader(content), columns=columns)


def _column(table: "pyarrow.Table", name: str) -> list[typing.Any]:
    values: list[typing.Any] = table[name].to_pylist()
    return values
