"""The experiment's seven benchmarks and STL-10, read with torchvision from a folder of data sets.

The images evaluated are the test split; Caltech-101 and EuroSAT have none, and are taken whole.
Which of them are on this disk, whether they are whole, and how to get those that are not, says
`check_datasets`.

"""

import hashlib
import json
import os
import pickle
import shlex
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from PIL import Image

from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.decoding import Convert, as_stored
from purescope.datasets.images import FINGERPRINTED, LazyImages, open_files
from purescope.datasets.prompts import words_for
from purescope.errors import DatasetError
from purescope.files.guard import guarded
from purescope.specs import is_folder, to_path

_LAYOUT = (
    "the folder of torchvision's data sets, with cifar-10-batches-py/, food-101/ or others in it"
)

# The arrays in CIFAR's files, which are pickles: torchvision holds their sums against the published
# ones first.
_PICKLES = (
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
)

# What torchvision raises for files that are missing, incomplete or damaged, and for a download that
# fails.
_UNREADABLE = (
    RuntimeError,
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    EOFError,
    pickle.UnpicklingError,
)


@dataclass(frozen=True)
class Benchmark:
    """How torchvision spells one benchmark.

    Args:
        kind: its class in ``torchvision.datasets``.
        folder: where it is, below the folder of data sets.
        title, images, classes, licence, page: what to say about it.
        files: what must be in the folder; torchvision says only that something is missing, or does
            not look.
        split: which images are taken, and `options` what torchvision calls that.
        labels, names: the attributes with the labels and the class names.
        paths: the image files, for benchmarks that are files; None for those that are one array.
        paper: how protocol paper converts them, where torchvision does not make RGB of them as it
            does of all others.
    """

    kind: str
    folder: str
    title: str
    images: int
    classes: int
    licence: str
    page: str
    files: tuple[str, ...] = ()
    split: str = "test"
    options: Mapping[str, typing.Any] = field(default_factory=dict)
    labels: str = "_labels"
    names: str = "classes"
    paths: Callable[[typing.Any], Iterable[str | Path]] | None = None
    paper: Convert | None = None


def _caltech101_paths(data: typing.Any) -> list[Path]:
    root = Path(data.root) / "101_ObjectCategories"
    return [
        root / data.categories[y] / f"image_{i:04d}.jpg"
        for y, i in zip(data.y, data.index, strict=True)
    ]


_WHOLE = "all images (it has no test split)"

BENCHMARKS = {
    "cifar10": Benchmark(
        "CIFAR10", "cifar-10-batches-py", "10 kinds of object, 32 x 32", 10_000, 10, "not stated",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        files=("batches.meta", *(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
        options={"train": False}, labels="targets",
    ),
    "cifar100": Benchmark(
        "CIFAR100", "cifar-100-python", "100 kinds of object, 32 x 32", 10_000, 100, "not stated",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        files=("meta", "train", "test"),
        options={"train": False}, labels="targets",
    ),
    "food101": Benchmark(
        "Food101", "food-101", "101 dishes", 25_250, 101, "scientific fair use, images of their "
            "owners",
        "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        files=("images", "meta/test.json"),
        options={"split": "test"}, paths=lambda data: data._image_files,
    ),
    "caltech101": Benchmark(
        "Caltech101", "caltech101/101_ObjectCategories", "101 kinds of object", 8_677, 101, "CC BY 4.0",
        "https://data.caltech.edu/records/mzrjq-6wc02",
        files=("BACKGROUND_Google",),  # left out, but torchvision will not do without it
        split=_WHOLE, labels="y", names="categories", paths=_caltech101_paths, paper=as_stored,
    ),
    "pets": Benchmark(
        "OxfordIIITPet", "oxford-iiit-pet", "37 breeds of cat and dog", 3_669, 37, "CC BY-SA 4.0",
        "https://www.robots.ox.ac.uk/~vgg/data/pets/",
        files=("images", "annotations/test.txt"),
        options={"split": "test"}, paths=lambda data: data._images,
    ),
    "dtd": Benchmark(
        "DTD", "dtd/dtd", "47 textures", 1_880, 47, "research purposes",
        "https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        files=("images", "labels/test1.txt"),
        split="test, the first of ten partitions", options={"split": "test"}, paths=lambda data: data._image_files,
    ),
    "eurosat": Benchmark(
        "EuroSAT", "eurosat/2750", "10 kinds of land from a satellite, RGB", 27_000, 10, "MIT",
        "https://zenodo.org/records/7711810",
        split=_WHOLE, labels="targets", paths=lambda data: [path for path, _ in data.samples],
    ),
    "stl10": Benchmark(
        "STL10", "stl10_binary", "10 kinds of object, 96 x 96", 8_000, 10, "not stated",
        "https://cs.stanford.edu/~acoates/stl10/",
        files=("class_names.txt", "test_X.bin", "test_y.bin", "train_X.bin", "train_y.bin", "unlabeled_X.bin"),
        options={"split": "test"}, labels="labels",
    ),
}  # fmt: skip


def data_folder(data_root: str | os.PathLike[str], *, fix: str = "check the path") -> Path:
    """The folder of torchvision's data sets.

    Args:
        data_root: its path.
        fix: what to do where it is not there.

    Raises:
        DatasetError: it is not there.
    """
    folder = to_path(data_root)
    if not is_folder(folder):
        raise DatasetError(f"there is no folder {folder}", expected=_LAYOUT, fix=fix)
    return folder


def is_present(name: str, data_root: Path | None) -> bool:
    """Whether the folder of this benchmark is there; its files are checked when it is loaded."""
    return data_root is not None and is_folder(data_root / BENCHMARKS[name].folder)


def load(name: str, data_root: Path | None, *, download: bool = False) -> Dataset:
    """The benchmark called `name` in `BENCHMARKS`.

    Raises:
        DatasetError: no folder was given; it is not there; it is damaged; or its download failed.

    Warns:
        UserWarning: it has more or fewer images or classes than the published set.
    """
    benchmark = BENCHMARKS[name]
    if data_root is None:
        raise DatasetError(
            f"{name} is no part of purescope, and no folder of data sets was given",
            expected=f"DIR with {benchmark.folder}/ in it",
            fix="--data-root DIR (data_root='DIR'); and --download (download=True) to fetch it "
            "there",
        )
    data = open_benchmark(name, data_root, download=download)
    classes = tuple(getattr(data, benchmark.names))
    labels = torch.as_tensor(
        [int(label) for label in getattr(data, benchmark.labels)], dtype=torch.int64
    )
    if benchmark.paths:
        paths = image_paths(name, data, data_root)
        images, looked = open_files(paths, data_root, name, paper=benchmark.paper)
        contents, fingerprint_of = looked.contents, FINGERPRINTED
    else:
        images = LazyImages(lambda index: _from_array(data, index), len(data))
        contents = [hashlib.sha256(data.data.tobytes()).digest()]
        fingerprint_of = "class names, labels and pixels"
    _warn_of_parts(name, len(labels), len(classes))
    words = words_for(name)
    return Dataset(
        name=name,
        spec=name,
        classes=classes,
        labels=labels,
        images=images,
        display_names=words.clean(classes),
        templates=words.templates,
        source={
            "title": benchmark.title,
            "licence": benchmark.licence,
            "package": f"torchvision.datasets.{benchmark.kind}",
            "split": benchmark.split,
            "words": words.source,
            "fingerprint_of": fingerprint_of,
        },
        fingerprint=fingerprint(classes, labels, contents),
    )


def _warn_of_parts(name: str, images: int, classes: int) -> None:
    """Warn of a benchmark that is not the published one: its numbers are those of another set."""
    benchmark = BENCHMARKS[name]
    if (images, classes) != (benchmark.images, benchmark.classes):
        warnings.warn(
            f"{name} is not whole: {images:,} images of {classes:,} classes, where the published "
            f"set has "
            f"{benchmark.images:,} of {benchmark.classes:,}; its numbers cannot be compared with "
            f"published ones",
            stacklevel=3,
        )


def open_benchmark(name: str, data_root: Path, *, download: bool = False) -> typing.Any:
    """The benchmark as torchvision's own object.

    Raises:
        DatasetError: it is not there, not whole, damaged; or its download failed.
    """
    import torchvision.datasets

    benchmark = BENCHMARKS[name]
    folder = data_root / benchmark.folder
    # Asked before torchvision is: it makes folders even where it finds nothing.
    if not download and not is_folder(folder):
        there = is_folder(data_root)
        raise DatasetError(
            f"{name} is not in {data_root}"
            if there
            else f"there is no folder {data_root} to find {name} in",
            expected=f"the folder {folder}",
            fix="--data-root DIR (data_root='DIR') if it is elsewhere; or --download "
            "(download=True) to fetch it there",
        )
    _check_kinds(name, folder)
    if not download:
        _check_files(name, folder)
    try:
        kind = getattr(torchvision.datasets, benchmark.kind)
        with guarded(data_root, error=DatasetError, what=f"{name} in {folder}", pickles=_PICKLES):
            data = kind(root=str(data_root), download=download, **benchmark.options)
    except _UNREADABLE as error:
        raise DatasetError(
            f"{name} in {folder} cannot be {'fetched or read' if download else 'read'}: {error}",
            expected="the files that torchvision downloads, complete and unchanged",
            fix="remove the folder and fetch it again with --download (download=True)",
        ) from error
    _check_files(name, folder)
    return data


def image_paths(name: str, data: typing.Any, data_root: Path) -> list[Path]:
    """The image files of a benchmark; none for those that are one array.

    Raises:
        DatasetError: its lists name a file outside of its folder; links in the folder may lead
            anywhere.
    """
    benchmark = BENCHMARKS[name]
    folder = data_root / benchmark.folder
    paths = [Path(path) for path in benchmark.paths(data)] if benchmark.paths else []
    out = [
        path
        for path in paths
        if not path.is_relative_to(folder) or ".." in path.relative_to(folder).parts
    ]
    if out:
        raise DatasetError(
            f"{name} in {folder} lists {len(out)} images outside of its folder, first {out[0]}",
            expected="the files that torchvision downloads, complete and unchanged",
            fix="remove the folder and fetch it again with --download (download=True)",
        )
    return paths


def _check_files(name: str, folder: Path) -> None:
    gone = [file for file in BENCHMARKS[name].files if not (folder / file).exists()]
    if gone:
        raise DatasetError(
            f"{name} in {folder} is incomplete: {', '.join(gone)} missing",
            expected="the files that torchvision downloads",
            fix="remove the folder and fetch it again with --download (download=True)",
        )


def _check_kinds(name: str, folder: Path) -> None:
    """Refuse what never ends before torchvision opens it."""
    paths = [folder / file for file in BENCHMARKS[name].files]
    odd = [path for path in paths if path.exists() and not path.is_file() and not path.is_dir()]
    if odd:
        raise DatasetError(
            f"{name}: {odd[0]} is not a regular file", fix="remove the folder and fetch it again"
        )


def _from_array(data: typing.Any, index: int) -> Image.Image:
    image: Image.Image = data[index][0]
    return image


@dataclass(frozen=True)
class Checked:
    """One row of `check_datasets`.

    Args:
        name: of the benchmark.
        state: ``missing`` where its folder is not there, ``incomplete`` where `problem` says what
            is wrong.
        images, classes: how many were found; None where they cannot be counted.
        expected_images, expected_classes: how many there are as published.
        problem: the missing file, the count that differs, or what torchvision says.
        get: the command or page that gets it; empty where nothing is wrong.
    """

    name: str
    state: Literal["present", "incomplete", "missing"]
    images: int | None
    classes: int | None
    expected_images: int
    expected_classes: int
    problem: str
    get: str


def check_datasets(root: str | os.PathLike[str]) -> list[Checked]:
    """Every benchmark of torchvision below `root`: opened, its files looked for and its images
    counted.

    An empty image counts as one that is not there. Images are not decoded; `load_dataset` with
    ``on_bad_image="skip"`` does that.

    Raises:
        DatasetError: `root` is no folder.
    """
    folder = data_folder(root)
    return [_check(name, folder) for name in BENCHMARKS]


def _check(name: str, root: Path) -> Checked:
    benchmark = BENCHMARKS[name]
    state: Literal["present", "incomplete", "missing"] = "present"
    images = classes = None
    problem = ""
    if not is_present(name, root):
        state, problem = "missing", f"{root / benchmark.folder} is not there"
    else:
        try:
            images, classes, problem = _count(name, root)
        except DatasetError as error:
            problem = error.came
        state = "incomplete" if problem else "present"
    return Checked(
        name,
        state,
        images,
        classes,
        benchmark.images,
        benchmark.classes,
        problem,
        get=_how_to_get(name, root, state) if problem else "",
    )


def _count(name: str, root: Path) -> tuple[int, int, str]:
    benchmark = BENCHMARKS[name]
    data = open_benchmark(name, root)
    listed, classes = len(getattr(data, benchmark.labels)), len(getattr(data, benchmark.names))
    paths = image_paths(name, data, root)
    gone = [path for path in paths if not _has_bytes(path)]
    if gone:
        return (
            listed - len(gone),
            classes,
            f"{len(gone)} images are not there or empty, first {gone[0]}",
        )
    if (listed, classes) != (benchmark.images, benchmark.classes):
        return listed, classes, "not as many images or classes as published"
    return listed, classes, ""


def _has_bytes(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def _how_to_get(name: str, root: Path, state: str) -> str:
    benchmark = BENCHMARKS[name]
    first = f"remove {root / benchmark.folder}, then " if state == "incomplete" else ""
    where = json.dumps(
        str(root), ensure_ascii=False
    )  # in double quotes, as a shell's single ones stand around it
    fetch = f'import purescope; purescope.load_dataset("{name}", data_root={where}, download=True)'
    return f"{first}python -c {shlex.quote(fetch)}, or see {benchmark.page}"
