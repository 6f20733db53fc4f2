"""Data sets by name: one table of where they come from, one frozen `Dataset` that comes out."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from purescope.datasets import _bundled, _folder, _torchvision
from purescope.datasets.dataset import Dataset, without_bad_images
from purescope.errors import DatasetError, InputError, did_you_mean

__all__ = ["Dataset", "Listing", "available_datasets", "load_dataset"]


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
    on_bad_image: Literal["error", "skip"] | str = "error",
) -> Dataset:
    """The data set that `spec` names.

    Args:
        spec: ``bundled:NAME``; ``folder:DIR``, a sub-folder of images for each class; or one of ``cifar10``,
            ``cifar100``, ``food101``, ``caltech101``, ``pets``, ``dtd``, ``eurosat``, ``stl10``, in any case.
        data_root: the folder that has the last eight, as torchvision lays them out.
        download: fetch them there if they are missing; nothing is ever fetched otherwise.
        on_bad_image: ``error`` stops at a broken image when it is reached, naming the file; ``skip`` looks at
            every image now, leaves the broken ones out and lists them in `Dataset.skipped`.

    Raises:
        DatasetError: it is unknown, missing, empty or broken; the message says where it was looked for.
        InputError: `on_bad_image` is neither.

    Examples:
        >>> load_dataset("cifar-10")
        Traceback (most recent call last):
        purescope.errors.DatasetError: unknown data set 'cifar-10'
          expected: did you mean 'cifar10' or 'cifar100'?
    """
    if on_bad_image not in ("error", "skip"):
        raise InputError(f"on_bad_image = {on_bad_image!r}", expected="'error' or 'skip'")
    dataset = _load(spec, Path(data_root).expanduser() if data_root is not None else None, download)
    return without_bad_images(dataset) if on_bad_image == "skip" else dataset


def available_datasets(data_root: str | os.PathLike[str] | None = None) -> list[Listing]:
    """Every data set that can be named, and whether it is on this disk.

    Args:
        data_root: the folder to look for torchvision's data sets in.

    Examples:
        >>> [row.spec for row in available_datasets() if row.spec.startswith("c")]
        ['cifar10', 'cifar100', 'caltech101']
    """
    root = Path(data_root).expanduser() if data_root is not None else None
    rows = []
    for name in _bundled.names():
        images, classes, title = _bundled.describe(name)
        rows.append(Listing(f"bundled:{name}", images, classes, title, present=True))
    for name, benchmark in _torchvision.BENCHMARKS.items():
        present = _torchvision.is_present(name, root)
        get = "" if present else "--data-root DIR if you have it, with --download if not"
        rows.append(Listing(name, benchmark.images, benchmark.classes, benchmark.title, present, get))
    rows.append(Listing("folder:DIR", None, None, "your images, a sub-folder for each class", present=True))
    rows.append(Listing("features:FILE", None, None, "your features, .npz or .safetensors", present=True))
    return rows


_BY_PREFIX: dict[str, Callable[[str], Dataset]] = {"bundled": _bundled.load, "folder": _folder.load}


def _load(spec: str, data_root: Path | None, download: bool) -> Dataset:
    prefix, colon, rest = spec.partition(":")
    if colon and prefix in _BY_PREFIX:
        return _BY_PREFIX[prefix](rest)
    if spec.lower() in _torchvision.BENCHMARKS:
        return _torchvision.load(spec.lower(), data_root, download=download)
    if colon and prefix == "features":
        raise DatasetError(
            f"{spec} holds features, not images",
            fix="read it with purescope.read_features, or name it to `purescope sweep`",
        )
    raise DatasetError(f"unknown data set {spec!r}", expected=_suggestion(spec))


def _suggestion(spec: str) -> str:
    if spec in _bundled.names():
        return f"did you mean 'bundled:{spec}'?"
    if spec and Path(spec).is_dir():
        return f"did you mean 'folder:{spec}'?"
    return did_you_mean(spec.lower(), [row.spec for row in available_datasets()])
