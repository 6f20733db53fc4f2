"""Data sets by name: one table of where they come from, one frozen `Dataset` that comes out."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from purescope.datasets import bundled as _bundled
from purescope.datasets import folder, huggingface, manifest, torchvision, webdataset
from purescope.datasets.dataset import Dataset, without_bad_images
from purescope.datasets.names import warn_of_equal_names
from purescope.datasets.torchvision import data_folder
from purescope.datasets.words import with_words
from purescope.errors import DatasetError, InputError, noting
from purescope.files.hub import is_offline
from purescope.specs import is_folder, is_label, split_label, to_path


@dataclass(frozen=True)
class Listing:
    """One row of `available_datasets`; numbers are None where they depend on what the user has.

    Args:
        spec: what to write.
        images, classes: how many.
        what: in a few words.
        present: whether it can be loaded now.
        get: how to get it where it cannot.
    """

    spec: str
    images: int | None
    classes: int | None
    what: str
    present: bool
    get: str = ""


def load_dataset(
    spec: str,
    *,
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    offline: bool = False,
    on_bad_image: Literal["error", "skip"] | str = "error",
    classnames: str | os.PathLike[str] | None = None,
    templates: str | os.PathLike[str] | None = None,
) -> Dataset:
    """The data set that `spec` names.

    Args:
        spec: ``bundled:NAME``; ``folder:DIR``, a sub-folder of images for each class;
            ``manifest:FILE``, a CSV or Parquet table of paths and labels; ``wds:DIR`` or
            ``wds:PATTERN``, tar shards as the CLIP benchmark has them; ``hf:OWNER/REPO`` or
            ``hf:DIR``; or one of ``cifar10``, ``cifar100``, ``food101``, ``caltech101``, ``pets``,
            ``dtd``, ``eurosat``, ``stl10``, in any case. ``NAME=`` before it is what to call the
            data set.
        data_root: the folder that has the last eight, as torchvision lays them out.
        download: fetch those there if they are missing.
        offline: ask nothing of any network, as HF_HUB_OFFLINE in the environment says, too;
            otherwise only ``hf:OWNER/REPO`` does unasked.
        on_bad_image: ``error`` stops at a broken image when it is reached, naming the file;
            ``skip`` looks at every image now, leaves the broken ones out and lists them in
            `Dataset.skipped`.
        classnames, templates: JSON files in the format of CLIP_benchmark, in place of the class
            names and templates that protocol native has for this data set.

    Returns:
        Labels ``[image]`` and class names; an image is read when its turn comes.

    Raises:
        DatasetError: it is unknown, missing, empty or broken; the message says where it was looked
            for.
        MissingExtraError: ``hf:`` without the extra.
        InputError: `on_bad_image` is neither; or `download` is asked for offline.

    Examples:
        >>> flags = load_dataset("bundled:flags")
        >>> len(flags), len(flags.classes), flags.images[0].size, flags.classes[flags.labels[0]]
        (457, 258, (64, 64), 'flag of ascension island')
        >>> load_dataset("cifar-10")
        Traceback (most recent call last):
        purescope.errors.DatasetError: unknown data set 'cifar-10'
          expected: a name or form that `purescope datasets` lists
          to fix:   did you mean 'cifar10' or 'cifar100'?
    """
    if on_bad_image not in ("error", "skip"):
        raise InputError(f"on_bad_image = {on_bad_image!r}", expected="'error' or 'skip'")
    offline = is_offline(offline)
    if download and offline:
        raise InputError(
            "a download is asked for, and nothing may be fetched",
            expected="--download (download=True), or --offline (offline=True) or HF_HUB_OFFLINE in "
            "the environment",
            fix="leave one of the two out",
        )
    label, name = split_label(spec)
    if label is not None and not is_label(label):
        raise DatasetError(
            f"label {label!r}",
            expected="a name that can be part of a file name",
            fix="give another: NAME=DATASET",
        )
    with noting() as notes:
        dataset = _load(
            name, to_path(data_root) if data_root is not None else None, download, offline
        )
        dataset = _worded(dataset, spec, label, classnames, templates)
        dataset = without_bad_images(dataset) if on_bad_image == "skip" else dataset
    return replace(dataset, notes=tuple(notes))


def _worded(
    dataset: Dataset,
    spec: str,
    label: str | None,
    classnames: str | os.PathLike[str] | None,
    templates: str | os.PathLike[str] | None,
) -> Dataset:
    """The data set under its label, with the words that are given for it."""
    warn_of_equal_names(dataset.classes, spec)
    if classnames is None and len({*dataset.classes}) == len(dataset.classes):
        warn_of_equal_names(dataset.display_names, f"{spec}, as prompts have them")
    own_name = dataset.name
    if label is not None:
        dataset = replace(dataset, name=label.strip(), spec=spec)
    return with_words(dataset, classnames=classnames, templates=templates, names=[own_name])


def available_datasets(data_root: str | os.PathLike[str] | None = None) -> list[Listing]:
    """Every data set that can be named, and whether it is on this disk.

    Args:
        data_root: the folder to look for torchvision's data sets in.

    Raises:
        DatasetError: `data_root` is no folder.

    Examples:
        >>> [row.spec for row in available_datasets() if row.spec.startswith("c")]
        ['cifar10', 'cifar100', 'caltech101']
    """
    root = data_folder(data_root) if data_root is not None else None
    rows = []
    for name in _bundled.names():
        images, classes, title = _bundled.describe(name)
        rows.append(Listing(f"bundled:{name}", images, classes, title, present=True))
    for name, benchmark in torchvision.BENCHMARKS.items():
        present = torchvision.is_present(name, root)
        get = "" if present else "--data-root DIR if you have it, with --download if not"
        rows.append(
            Listing(name, benchmark.images, benchmark.classes, benchmark.title, present, get)
        )
    return [
        *rows,
        *(Listing(spec, None, None, what, present=True) for spec, what in _YOURS.items()),
    ]


_YOURS = {
    "folder:DIR": "your images, a sub-folder for each class",
    "manifest:FILE": "your images, a .csv, .tsv or .parquet of paths and labels",
    "wds:DIR": "tar shards as the CLIP benchmark publishes them; or a pattern",
    "hf:OWNER/REPO": "images of the Hugging Face hub, with the extra [hf]; or a folder",
    "features:FILE": "your features, .npz or .safetensors",
}
_SUFFIXES = {
    "manifest": (".csv", ".tsv", ".parquet"),
    "wds": (".tar",),
    "features": (".npz", ".safetensors"),
}
_BY_PREFIX: dict[str, Callable[[str], Dataset]] = {
    "bundled": _bundled.load,
    "folder": folder.load,
    "manifest": manifest.load,
    "wds": webdataset.load,
}


def _load(name: str, data_root: Path | None, download: bool, offline: bool) -> Dataset:
    prefix, colon, rest = name.partition(":")
    if colon and prefix in _BY_PREFIX:
        return _BY_PREFIX[prefix](rest)
    if colon and prefix == "hf":
        return huggingface.load(rest, offline=offline)
    if name.lower() in torchvision.BENCHMARKS:
        return torchvision.load(name.lower(), data_root, download=download)
    if colon and prefix == "features":
        raise DatasetError(
            f"{name} holds features, not images",
            expected="images and their labels",
            fix="read it with purescope.read_features, or name it to `purescope sweep`",
        )
    meant = " or ".join(map(repr, _meant(name)))
    raise DatasetError(
        f"unknown data set {name!r}",
        expected="a name or form that `purescope datasets` lists",
        fix=f"did you mean {meant}?" if meant else "",
    )


def _meant(spec: str) -> list[str]:
    """A file, a folder or a bundled set without its prefix; otherwise the closest of the names."""
    if spec in _bundled.names():
        return [f"bundled:{spec}"]
    for prefix, suffixes in _SUFFIXES.items():
        if spec.lower().endswith(suffixes):
            return [f"{prefix}:{spec}"]
    if spec and is_folder(to_path(spec)):
        return [f"folder:{spec}"]
    bundled = {name: f"bundled:{name}" for name in _bundled.names()}
    known = {row.spec: row.spec for row in available_datasets()} | bundled
    return list(dict.fromkeys(known[name] for name in get_close_matches(spec.lower(), known)))
