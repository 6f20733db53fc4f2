"""Load datasets by name: one adapter for each source, and one frozen `Dataset` as the result."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from purescope.datasets import bundled, folder, huggingface, manifest, torchvision, webdataset
from purescope.datasets.dataset import Dataset, drop_bad_images, warn_of_equal_names
from purescope.datasets.prompts import replace_words
from purescope.errors import DatasetError, InputError, noting
from purescope.files.hub import is_offline
from purescope.specs import is_folder, is_label, split_label, to_path


@dataclass(frozen=True)
class Listing:
    """Describe one row of `available_datasets`; numbers are None where the user's data decides.

    Args:
        spec: the name or form that `load_dataset` takes.
        images, classes: their numbers.
        what: a short description.
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
    """Load the dataset that `spec` names.

    Args:
        spec: ``bundled:NAME``; ``folder:DIR``, a sub-folder of images for each class;
            ``manifest:FILE``, a CSV or Parquet table of paths and labels; ``wds:DIR`` or
            ``wds:PATTERN``, tar shards as the CLIP benchmark has them; ``hf:OWNER/REPO`` or
            ``hf:DIR``; or one of ``cifar10``, ``cifar100``, ``food101``, ``caltech101``, ``pets``,
            ``dtd``, ``eurosat``, ``stl10``, in any case. A ``NAME=`` before it gives the dataset
            another name.
        data_root: the folder of these last eight, in the layout of torchvision.
        download: download a missing one of these eight into `data_root`.
        offline: do not use the network; HF_HUB_OFFLINE in the environment does the same. Without
            it, only ``hf:OWNER/REPO`` uses the network unless `download` is set.
        on_bad_image: ``error`` stops at a broken image when it is reached, and names the file;
            ``skip`` reads every image now, leaves the broken ones out and lists them in
            `Dataset.skipped`.
        classnames, templates: JSON files in the format of CLIP_benchmark; they replace the class
            names and templates of protocol native.

    Returns:
        A dataset with labels ``[image]`` and class names; each image is read when it is needed.

    Raises:
        DatasetError: the dataset is unknown, missing, empty or broken; the message names the place
            that was searched.
        MissingExtraError: ``hf:`` without the extra.
        InputError: `on_bad_image` is neither value, or `download` is set while offline.

    Examples:
        >>> flags = load_dataset("bundled:flags")
        >>> len(flags), len(flags.classes), flags.images[0].size, flags.classes[flags.labels[0]]
        (457, 258, (64, 64), 'flag of ascension island')
        >>> load_dataset("cifar-10")
        Traceback (most recent call last):
        purescope.errors.DatasetError: unknown dataset 'cifar-10'
          expected: a name or form that `purescope datasets` lists
          to fix:   did you mean 'cifar10' or 'cifar100'?
    """
    if on_bad_image not in ("error", "skip"):
        raise InputError(f"on_bad_image = {on_bad_image!r}", expected="'error' or 'skip'")
    offline = is_offline(offline)
    if download and offline:
        raise InputError(
            "a download is requested, and the network must not be used",
            expected="--download (download=True), or --offline (offline=True) or HF_HUB_OFFLINE in "
            "the environment",
            fix="leave one of the two out",
        )
    label, name = split_label(spec)
    if label is not None and not is_label(label):
        raise DatasetError(
            f"label {label!r}",
            expected="a name that can be part of a file name",
            fix="choose another: NAME=DATASET",
        )
    root = to_path(data_root) if data_root is not None else None
    with noting() as notes:
        dataset = _load(name, root, download, offline)
        _warn_of_names(dataset, spec, own_names=classnames is not None)
        own_name = dataset.name
        if label is not None:
            dataset = replace(dataset, name=label.strip(), spec=spec)
        dataset = replace_words(
            dataset, classnames=classnames, templates=templates, names=[own_name]
        )
        if on_bad_image == "skip":
            dataset = drop_bad_images(dataset)
    return replace(dataset, notes=tuple(notes))


def _warn_of_names(dataset: Dataset, spec: str, *, own_names: bool) -> None:
    """Warn of equal class names, and of equal display names unless the user gives others."""
    warn_of_equal_names(dataset.classes, spec)
    if not own_names and len({*dataset.classes}) == len(dataset.classes):
        warn_of_equal_names(dataset.display_names, f"{spec}, in prompts")


def available_datasets(data_root: str | os.PathLike[str] | None = None) -> list[Listing]:
    """List every dataset that can be named, and whether it is on this disk.

    Args:
        data_root: the folder of torchvision's datasets.

    Raises:
        DatasetError: `data_root` is not a folder.

    Examples:
        >>> [row.spec for row in available_datasets() if row.spec.startswith("c")]
        ['cifar10', 'cifar100', 'caltech101', 'captions:PATH']
    """
    root = torchvision.data_folder(data_root) if data_root is not None else None
    rows = []
    for name in bundled.list_names():
        images, classes, title = bundled.describe(name)
        rows.append(Listing(f"bundled:{name}", images, classes, title, present=True))
    for name, benchmark in torchvision.BENCHMARKS.items():
        present = torchvision.is_present(name, root)
        get = "" if present else "--data-root DIR if you have it, with --download if not"
        rows.append(
            Listing(name, benchmark.images, benchmark.classes, benchmark.title, present, get)
        )
    rows += [Listing(spec, None, None, what, present=True) for spec, what in _FORMS.items()]
    return rows


_FORMS = {
    "folder:DIR": "your images, a sub-folder for each class",
    "manifest:FILE": "your images, a .csv, .tsv or .parquet of paths and labels",
    "wds:DIR": "tar shards as the CLIP benchmark publishes them; or a pattern",
    "hf:OWNER/REPO": "images of the Hugging Face hub, with the extra [hf]; or a folder",
    "features:FILE": "your features, .npz or .safetensors",
    "captions:PATH": "images with captions: shards, tables, JSON, text files; or bundled:NAME",
}
_SUFFIXES = {
    "manifest": (".csv", ".tsv", ".parquet"),
    "wds": (".tar",),
    "features": (".npz", ".safetensors"),
}
_BY_PREFIX: dict[str, Callable[[str], Dataset]] = {
    "bundled": bundled.load,
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
            fix="read it with purescope.read_features, or pass it to `purescope sweep`",
        )
    if colon and prefix == "captions":
        raise DatasetError(
            f"{name} holds captions, not classes",
            expected="images and their labels",
            fix="measure its retrieval with `purescope sweep`, or read it with "
            "purescope.load_captions",
        )
    suggestions = " or ".join(map(repr, _suggest(name)))
    raise DatasetError(
        f"unknown dataset {name!r}",
        expected="a name or form that `purescope datasets` lists",
        fix=f"did you mean {suggestions}?" if suggestions else "",
    )


def _suggest(spec: str) -> list[str]:
    """Return the specs that the user may mean: with the missing prefix, or the closest names."""
    if spec in bundled.list_names():
        return [f"bundled:{spec}"]
    for prefix, suffixes in _SUFFIXES.items():
        if spec.lower().endswith(suffixes):
            return [f"{prefix}:{spec}"]
    if spec and is_folder(to_path(spec)):
        return [f"folder:{spec}"]
    known = {row.spec: row.spec for row in available_datasets()}
    known |= {name: f"bundled:{name}" for name in bundled.list_names()}
    return list(dict.fromkeys(known[name] for name in get_close_matches(spec.lower(), known)))
