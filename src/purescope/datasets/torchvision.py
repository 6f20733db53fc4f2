"""Load the experiment's seven benchmarks and STL-10 with torchvision.

The test split is evaluated; Caltech-101 and EuroSAT have none, and all their images are. To see
which benchmarks are on this disk and complete, and how to get the others, call `check_datasets`.
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

import torch

from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.decoding import Convert, keep_grey_and_cmyk
from purescope.datasets.images import FINGERPRINTED, LazyImages, open_files
from purescope.datasets.prompts import words_for
from purescope.errors import DatasetError
from purescope.files.guard import guarded
from purescope.specs import is_folder, to_path

_LAYOUT = "the folder of torchvision's datasets, with cifar-10-batches-py/, food-101/ or others"
_DOWNLOADED = "the files that torchvision downloads, complete and unchanged"
_FETCH_AGAIN = "remove the folder and fetch it again with --download (download=True)"

# What the pickles of CIFAR may load: arrays. torchvision first compares their checksums with the
# published ones.
_PICKLES = (
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "numpy.ndarray", "numpy.dtype", "_codecs.encode",
)  # fmt: skip

# What torchvision raises for missing, incomplete or damaged files, and for a failed download.
_UNREADABLE = (
    RuntimeError, OSError, ValueError, LookupError, AttributeError, TypeError, EOFError,
    pickle.UnpicklingError,
)  # fmt: skip


@dataclass(frozen=True)
class Benchmark:
    """Describe one benchmark, and how torchvision reads it.

    Args:
        kind: its class in ``torchvision.datasets``.
        folder: its place below the folder of datasets.
        title, licence, page: for users; `page` is its web page.
        images, classes: the published numbers.
        files: those that must be in the folder; torchvision names no missing one, or ignores it.
        split: which images are evaluated, in words.
        options: the arguments that make torchvision read that split.
        labels, names: the attributes with the labels and the class names.
        paths: gives the image files; None for benchmarks stored as one array.
        paper: the conversion under protocol paper, where it is not the usual one: torchvision
            converts the images of all other benchmarks to RGB when it opens them.
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
        root / data.categories[label] / f"image_{number:04d}.jpg"
        for label, number in zip(data.y, data.index, strict=True)
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
        files=("meta", "train", "test"), options={"train": False}, labels="targets",
    ),
    "food101": Benchmark(
        "Food101", "food-101", "101 dishes", 25_250, 101,
        "scientific fair use, images of their owners",
        "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        files=("images", "meta/test.json"),
        options={"split": "test"}, paths=lambda data: data._image_files,
    ),
    "caltech101": Benchmark(
        "Caltech101", "caltech101/101_ObjectCategories", "101 kinds of object", 8_677, 101,
        "CC BY 4.0",
        "https://data.caltech.edu/records/mzrjq-6wc02", split=_WHOLE,
        files=("BACKGROUND_Google",),  # no class here, but torchvision requires it
        labels="y", names="categories", paths=_caltech101_paths, paper=keep_grey_and_cmyk,
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
        files=("images", "labels/test1.txt"), paths=lambda data: data._image_files,
        split="test, the first of ten partitions", options={"split": "test"},
    ),
    "eurosat": Benchmark(
        "EuroSAT", "eurosat/2750", "10 kinds of land from a satellite, RGB", 27_000, 10, "MIT",
        "https://zenodo.org/records/7711810",
        split=_WHOLE, labels="targets", paths=lambda data: [path for path, _ in data.samples],
    ),
    "stl10": Benchmark(
        "STL10", "stl10_binary", "10 kinds of object, 96 x 96", 8_000, 10, "not stated",
        "https://cs.stanford.edu/~acoates/stl10/",
        files=("class_names.txt", "test_X.bin", "test_y.bin", "train_X.bin", "train_y.bin",
               "unlabeled_X.bin"),
        options={"split": "test"}, labels="labels",
    ),
}  # fmt: skip


def data_folder(data_root: str | os.PathLike[str], *, fix: str = "check the path") -> Path:
    """Return the folder of torchvision's datasets.

    Args:
        data_root: its path.
        fix: the advice in the error.

    Raises:
        DatasetError: there is no such folder.
    """
    folder = to_path(data_root)
    if not is_folder(folder):
        raise DatasetError(f"there is no folder {folder}", expected=_LAYOUT, fix=fix)
    return folder


def is_present(name: str, data_root: Path | None) -> bool:
    """Tell whether the folder of this benchmark exists; its files are checked on loading."""
    return data_root is not None and is_folder(data_root / BENCHMARKS[name].folder)


def load(name: str, data_root: Path | None, *, download: bool = False) -> Dataset:
    """Load the benchmark that is called `name` in `BENCHMARKS`.

    Raises:
        DatasetError: no folder was given; the benchmark is missing or damaged; or its download
            failed.

    Warns:
        UserWarning: it has more or fewer images or classes than were published.
    """
    benchmark = BENCHMARKS[name]
    if data_root is None:
        raise DatasetError(
            f"{name} does not come with purescope, and no folder of datasets was given",
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
        images, scan = open_files(paths, data_root, name, paper=benchmark.paper)
        contents, fingerprint_of = scan.contents, FINGERPRINTED
    else:
        images = LazyImages(lambda index: data[index][0], len(data))
        contents = [hashlib.sha256(data.data.tobytes()).digest()]
        fingerprint_of = "class names, labels and pixels"
    _warn_if_incomplete(name, len(labels), len(classes))
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


def _warn_if_incomplete(name: str, images: int, classes: int) -> None:
    """Warn of a benchmark with other numbers of images or classes than were published."""
    benchmark = BENCHMARKS[name]
    if (images, classes) != (benchmark.images, benchmark.classes):
        warnings.warn(
            f"{name} is not complete: it has {images:,} images of {classes:,} classes, the "
            f"published set has {benchmark.images:,} of {benchmark.classes:,}; its results cannot "
            "be compared with published ones",
            stacklevel=3,
        )


def open_benchmark(name: str, data_root: Path, *, download: bool = False) -> typing.Any:
    """Open a benchmark as torchvision's own object.

    Raises:
        DatasetError: it is missing, incomplete or damaged; or its download failed.
    """
    import torchvision.datasets

    benchmark = BENCHMARKS[name]
    folder = data_root / benchmark.folder
    # Checked first: torchvision makes folders even where it finds nothing.
    if not download and not is_folder(folder):
        raise DatasetError(
            f"{name} is not in {data_root}"
            if is_folder(data_root)
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
            expected=_DOWNLOADED,
            fix=_FETCH_AGAIN,
        ) from error
    _check_files(name, folder)
    return data


def image_paths(name: str, data: typing.Any, data_root: Path) -> list[Path]:
    """Return the image files of a benchmark; none for one that is stored as one array.

    Raises:
        DatasetError: its lists name a file outside of its folder; links in it may lead anywhere.
    """
    benchmark = BENCHMARKS[name]
    folder = data_root / benchmark.folder
    paths = [Path(path) for path in benchmark.paths(data)] if benchmark.paths else []
    outside = [
        path
        for path in paths
        if not path.is_relative_to(folder) or ".." in path.relative_to(folder).parts
    ]
    if outside:
        raise DatasetError(
            f"{name} in {folder} lists {len(outside)} images outside of its folder, the first is "
            f"{outside[0]}",
            expected=_DOWNLOADED,
            fix=_FETCH_AGAIN,
        )
    return paths


def _check_files(name: str, folder: Path) -> None:
    missing = [file for file in BENCHMARKS[name].files if not (folder / file).exists()]
    if missing:
        raise DatasetError(
            f"{name} in {folder} is incomplete: {', '.join(missing)} missing",
            expected="the files that torchvision downloads",
            fix=_FETCH_AGAIN,
        )


def _check_kinds(name: str, folder: Path) -> None:
    """Refuse pipes and devices before torchvision opens them: reading them may never end."""
    paths = [folder / file for file in BENCHMARKS[name].files]
    special = [path for path in paths if path.exists() and not (path.is_file() or path.is_dir())]
    if special:
        raise DatasetError(
            f"{name}: {special[0]} is not a regular file",
            fix="remove the folder and fetch it again",
        )


@dataclass(frozen=True)
class DatasetCheck:
    """Hold one row of `check_datasets`.

    Args:
        name: of the benchmark.
        state: ``missing`` without its folder, ``incomplete`` where `problem` says what is wrong.
        images, classes: the numbers on this disk; None where they cannot be counted.
        expected_images, expected_classes: the published numbers.
        problem: the missing file, the number that differs, or the error of torchvision.
        get: the command or page to get the benchmark; empty where nothing is wrong.
    """

    name: str
    state: typing.Literal["present", "incomplete", "missing"]
    images: int | None
    classes: int | None
    expected_images: int
    expected_classes: int
    problem: str
    get: str


def check_datasets(root: str | os.PathLike[str]) -> list[DatasetCheck]:
    """Check every benchmark of torchvision below `root`: open it and count its images.

    An empty image file counts as missing. Images are not decoded; `load_dataset` with
    ``on_bad_image="skip"`` does that.

    Raises:
        DatasetError: `root` is not a folder.
    """
    folder = data_folder(root)
    return [_check(name, folder) for name in BENCHMARKS]


def _check(name: str, root: Path) -> DatasetCheck:
    benchmark = BENCHMARKS[name]
    state: typing.Literal["present", "incomplete", "missing"]
    images = classes = None
    if not is_present(name, root):
        state, problem = "missing", f"{root / benchmark.folder} does not exist"
    else:
        try:
            images, classes, problem = _count(name, root)
        except DatasetError as error:
            problem = error.came
        state = "incomplete" if problem else "present"
    return DatasetCheck(
        name=name,
        state=state,
        images=images,
        classes=classes,
        expected_images=benchmark.images,
        expected_classes=benchmark.classes,
        problem=problem,
        get=_how_to_get(name, root, state) if problem else "",
    )


def _count(name: str, root: Path) -> tuple[int, int, str]:
    """Return the number of images, the number of classes, and what is wrong, or nothing."""
    benchmark = BENCHMARKS[name]
    data = open_benchmark(name, root)
    images, classes = len(getattr(data, benchmark.labels)), len(getattr(data, benchmark.names))
    missing = [path for path in image_paths(name, data, root) if not _has_bytes(path)]
    problem = ""
    if missing:
        problem = f"{len(missing)} images are missing or empty, the first is {missing[0]}"
    elif (images, classes) != (benchmark.images, benchmark.classes):
        problem = "not the published numbers of images and classes"
    return images - len(missing), classes, problem


def _has_bytes(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def _how_to_get(name: str, root: Path, state: str) -> str:
    benchmark = BENCHMARKS[name]
    first = f"remove {root / benchmark.folder}, then " if state == "incomplete" else ""
    # In double quotes: the shell's single quotes are around it.
    where = json.dumps(str(root), ensure_ascii=False)
    fetch = f'import purescope; purescope.load_dataset("{name}", data_root={where}, download=True)'
    return f"{first}python -c {shlex.quote(fetch)}, or see {benchmark.page}"
