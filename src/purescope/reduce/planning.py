"""Say which file is made of which, before anything is written."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from purescope.errors import InputError, OutputError, listed
from purescope.reduce import records
from purescope.reduce.collections.formats import FORMATS, find_vectors, format_of
from purescope.reduce.collections.job import Job, names_of
from purescope.specs import exists, to_path

_INDEXES = (".index", ".faiss", ".ann", ".hnsw")  # of the long vectors


@dataclass(frozen=True)
class Task:
    """A file to write, and what it is made of."""

    source: Path
    target: Path
    is_copy: bool = False


def source_paths(vectors: Any) -> list[Path]:
    """Return the sources; each exists.

    Raises:
        InputError: there are none, or one does not exist.
    """
    given = [vectors] if isinstance(vectors, str | os.PathLike) else list(vectors)
    if not given:
        raise InputError("no vectors", expected="a file or folder of them", fix="name one")
    paths = [to_path(name) for name in given]
    for path in paths:
        if not exists(path):
            raise InputError(
                f"there is no file or folder {path}",
                expected=f"a file ({' '.join(FORMATS)}), or a folder of them",
                fix="check the path",
            )
    return paths


def target_path(out: Any) -> Path:
    """Return the path of the output.

    Raises:
        OutputError: it has no name.
    """
    if not os.fspath(out).strip():
        raise OutputError("an output without a name", expected="a file or folder", fix="name one")
    return to_path(out)


def check_places(sources: list[Path], out: Path, *, is_folder: bool) -> None:
    """Refuse an output that is one of the sources, or lies in one.

    Raises:
        OutputError, InputError: it does, or two sources would be written to the same place.
    """
    place = out.resolve()
    for source in sources:
        inside = place.is_relative_to(source.resolve())
        if inside or (len(sources) == 1 and source.resolve().is_relative_to(place)):
            raise OutputError(
                f"{out} is, holds or lies in {source}, which is read",
                expected="another place",
                fix="choose another --out",
            )
    names = [source.resolve().name for source in sources]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"two of the inputs are called {repeated[0]}",
            expected="different names, since each is written to OUT under its own",
            fix="shrink them one by one",
        )
    _check_out(sources[0], out, is_folder)


def _check_out(source: Path, out: Path, is_folder: bool) -> None:
    if is_folder and exists(out) and not out.is_dir():
        raise OutputError(f"{out} is a file", expected="a folder", fix="choose another --out")
    if not is_folder and out.is_dir():
        raise OutputError(
            f"{out} is a folder",
            expected="a file, for one file of vectors",
            fix=f"--out {out / source.name}",
        )
    if not is_folder and format_of(source) is not None and format_of(source) != format_of(out):
        raise OutputError(
            f"{out} has not the format of {source}",
            expected=f"a name that ends in {source.suffix}",
            fix=f"--out {out.with_suffix(source.suffix)}",
        )


def plan_tasks(sources: list[Path], out: Path, job: Job) -> Iterator[Task]:
    """Return the files to write, each source checked.

    Raises:
        InputError: a source holds no vectors of the right width, or its tower is not known.
    """
    for source in sources:
        target = out if len(sources) == 1 else out / source.resolve().name
        if source.is_dir():
            yield from _plan_folder(source, target, job)
            continue
        if not _holds_vectors(source, job):
            raise InputError(
                f"{source} holds no vectors",
                expected="rows of floating-point numbers, in a file that ends in "
                f"{' '.join(FORMATS)}",
                fix="name a file or folder of embeddings",
            )
        yield Task(source, target)


def _plan_folder(folder: Path, target: Path, job: Job) -> Iterator[Task]:
    tasks, left_out = [], []
    for file in _walk(folder):
        place = target / file.relative_to(folder)
        if _holds_vectors(file, job):
            tasks.append(Task(file, place))
        elif file.suffix.lower() in _INDEXES or not _is_own(file, folder):
            left_out.append(file.relative_to(folder).as_posix())
        else:
            tasks.append(Task(file, place, is_copy=True))
    if all(task.is_copy for task in tasks):
        raise InputError(
            f"{folder}: no file in it holds vectors",
            expected=f"files that end in {' '.join(FORMATS)}",
            fix="name a folder of embeddings",
        )
    if left_out:
        warnings.warn(
            f"{folder}: not copied: {listed(left_out)}; an index of the long vectors is of no use "
            "for the short ones, and links out of the folder are not followed",
            stacklevel=2,
        )
    yield from tasks


def _walk(folder: Path) -> Iterator[Path]:
    """Return the files below a folder in the order of their names; hidden ones and records not.

    Raises:
        InputError: a folder cannot be read.
    """

    def stop(error: OSError) -> None:
        raise InputError(
            f"{error.filename} cannot be read: {error.strerror}", fix="check its permissions"
        ) from error

    for place, folders, files in os.walk(folder, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and not name.endswith(records.SUFFIX):
                yield Path(place, name)


def _is_own(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def _holds_vectors(file: Path, job: Job) -> bool:
    names = find_vectors(file, job)
    for name in names:
        job.tower_of((name, *names_of(file)))
    return bool(names)


def note_strangers(out: Path, tasks: list[Task]) -> None:
    """Warn of files in OUT that an earlier run made of sources which are gone."""
    planned = {task.target for task in tasks}
    if not out.is_dir():
        return
    known = (path.with_name(path.name.removesuffix(records.SUFFIX)) for path in _records(out))
    gone = sorted(str(path.relative_to(out)) for path in known if path not in planned)
    if gone:
        warnings.warn(
            f"{out} holds vectors of an earlier run whose sources are not among these: "
            f"{listed(gone)}",
            stacklevel=2,
        )


def _records(out: Path) -> Iterator[Path]:
    return out.rglob(f"*{records.SUFFIX}")
