"""Which of torchvision's benchmarks are on this disk, whether they are whole, and how to get those that are not."""

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from purescope.datasets import torchvision
from purescope.datasets.torchvision import data_folder
from purescope.errors import DatasetError


@dataclass(frozen=True)
class Checked:
    """One row of `check_datasets`.

    Args:
        name: of the benchmark.
        state: ``missing`` where its folder is not there, ``incomplete`` where `problem` says what is wrong.
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
    """Every benchmark of torchvision below `root`: opened, its files looked for and its images counted.

    An empty image counts as one that is not there. Images are not decoded; `load_dataset` with
    ``on_bad_image="skip"`` does that.

    Raises:
        DatasetError: `root` is no folder.
    """
    folder = data_folder(root)
    return [_check(name, folder) for name in torchvision.BENCHMARKS]


def _check(name: str, root: Path) -> Checked:
    benchmark = torchvision.BENCHMARKS[name]
    state: Literal["present", "incomplete", "missing"] = "present"
    images = classes = None
    problem = ""
    if not torchvision.is_present(name, root):
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
    benchmark = torchvision.BENCHMARKS[name]
    data = torchvision.open_benchmark(name, root)
    listed, classes = len(getattr(data, benchmark.labels)), len(getattr(data, benchmark.names))
    paths = torchvision.image_paths(name, data, root)
    gone = [path for path in paths if not _has_bytes(path)]
    if gone:
        return listed - len(gone), classes, f"{len(gone)} images are not there or empty, first {gone[0]}"
    if (listed, classes) != (benchmark.images, benchmark.classes):
        return listed, classes, "not as many images or classes as published"
    return listed, classes, ""


def _has_bytes(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def _how_to_get(name: str, root: Path, state: str) -> str:
    benchmark = torchvision.BENCHMARKS[name]
    first = f"remove {root / benchmark.folder}, then " if state == "incomplete" else ""
    where = json.dumps(str(root), ensure_ascii=False)  # in double quotes, as a shell's single ones stand around it
    fetch = f'import purescope; purescope.load_dataset("{name}", data_root={where}, download=True)'
    return f"{first}python -c {shlex.quote(fetch)}, or see {benchmark.page}"
