"""Load ``hf:REPO`` and ``hf:FOLDER``: image datasets of the hub, or saved by `datasets`.

Options follow a question mark: ``hf:uoft-cs/cifar100?split=test&label=fine_label``. Images are read
from the Arrow table and decoded here, never by `datasets`, so that formats and errors are the same
for all datasets.
"""

from pathlib import Path

import torch

from purescope.datasets.dataset import (
    Dataset,
    check_class_names,
    fingerprint,
    sort_names,
    warn_of_number_order,
)
from purescope.datasets.hub_tables import (
    LABELS,
    Split,
    choose_column,
    how_to_cast,
    open_split,
    read_columns,
    read_images,
    type_name,
)
from purescope.datasets.images import FINGERPRINTED
from purescope.datasets.prompts import PLAIN_TEMPLATES, clean_name
from purescope.errors import DatasetError
from purescope.specs import short_name

_OPTIONS = ("split", "config", "revision", "image", "label")


def load(name: str, *, offline: bool = False) -> Dataset:
    """Load a split that has one column of images and one of class labels.

    Args:
        name: OWNER/REPO on the hub, or a folder: one that `save_to_disk` wrote, or one of files
            that `datasets.load_dataset` reads. Options: ``split`` (default: test, or the only one),
            ``config``, ``revision``, and ``image`` and ``label``, the columns to use where there
            are several.
        offline: use what is on this disk, and fail before anything is asked of the hub.

    Raises:
        MissingExtraError: `datasets` is not installed.
        DatasetError: the dataset cannot be found or read; or the split or a column is missing or
            ambiguous.
    """
    where, options, split, data = open_split(name, _OPTIONS, offline=offline)
    image = choose_column(name, data, "Image", options.get("image"))
    label = _label_column(name, data, options.get("label"))
    table = read_columns(name, data, [image, label])
    values = table[label].to_pylist()
    if None in values:
        raise DatasetError(
            f"hf:{name}: image {values.index(None)} of split {split} has no label",
            expected="a label for each image",
            fix="name a split that has them: hf:NAME?split=SPLIT",
        )
    feature = data.features[label]
    classes = tuple(feature.names if type_name(feature) == "ClassLabel" else sort_names(values))
    check_class_names(classes, DatasetError, where=f"hf:{name}: ")
    if isinstance(values[0], str):
        warn_of_number_order(classes, f"hf:{name}")
        label_of = {class_name: index for index, class_name in enumerate(classes)}
        values = [label_of[class_name] for class_name in values]
    labels = torch.tensor(values, dtype=torch.int64)
    images, contents = read_images(name, table[image], where)
    return Dataset(
        name=short_name(Path(where).resolve().name),
        spec=f"hf:{name}",
        classes=classes,
        labels=labels,
        images=images,
        display_names=tuple(map(clean_name, classes)),
        templates=PLAIN_TEMPLATES,
        source={
            "split": split,
            "licence": data.info.license or "not stated",
            "version": str(options.get("revision") or data.info.version or "not stated"),
            "columns": f"{image}, {label}",
            "fingerprint_of": FINGERPRINTED,
        },
        fingerprint=fingerprint(classes, labels, contents),
    )


def _label_column(name: str, data: Split, wanted: str | None) -> str:
    """Return the column of class labels.

    Where no column has the type ClassLabel, or where the wanted one has another type, a column of
    class names as text is used: the wanted one, or the only one with a usual name for labels.

    Raises:
        DatasetError: there is no such column, or there are several; or it holds numbers without
            class names.
    """
    features = data.features
    if wanted is not None:
        candidates = [wanted]
    elif any(type_name(feature) == "ClassLabel" for feature in features.values()):
        candidates = []
    else:
        candidates = [column for column in LABELS if column in features]
    if len(candidates) != 1 or type_name(features.get(candidates[0])) != "Value":
        return choose_column(name, data, "ClassLabel", wanted)
    (column,) = candidates
    dtype = features[column].dtype
    if dtype not in ("string", "large_string"):
        raise DatasetError(
            f"hf:{name}: the column {column} holds {dtype}, without the names of the classes",
            expected="class labels (ClassLabel), or the names of classes as text",
            fix=how_to_cast(column, "ClassLabel"),
        )
    return column
