"""NumPy's ``.npz``: the vectors are unpacked and packed in blocks, everything else is copied."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

from purescope.files.npz import Npz
from purescope.reduce.collections import npy
from purescope.reduce.collections.job import Job, names_of
from purescope.reduce.rows import Counts


def find_vectors(file: Path, job: Job) -> list[str]:
    """Return the names of the arrays that are vectors.

    Raises:
        InputError: no matrix has the right width.
        OSError, ValueError, zipfile.BadZipFile: it cannot be read.
    """
    with Npz(file, ()) as content:
        return job.choose(_widths(content), str(file))


def widths(file: Path) -> dict[str, int]:
    """Return the width of each matrix of floating-point numbers.

    Raises:
        OSError, ValueError, zipfile.BadZipFile: it cannot be read.
    """
    with Npz(file, ()) as content:
        return _widths(content)


def write(file: Path, target: Any, job: Job, counts: Counts) -> None:
    """Write a file with shorter vectors; other arrays keep their bytes and order.

    Raises:
        InputError: a row cannot be used.
        OSError, ValueError, zipfile.BadZipFile: it cannot be read.
    """
    chosen = find_vectors(file, job)
    with Npz(file, ()) as content, zipfile.ZipFile(target, "w") as written:
        for name in content.names:
            known = content.info(name)
            info = zipfile.ZipInfo(known.filename)  # of no date: the same input, the same file
            info.compress_type = known.compress_type
            with content.open(name) as stream, written.open(info, "w", force_zip64=True) as sink:
                if name in chosen:
                    names = (name, *names_of(file))
                    npy.write_stream(stream, sink, job, counts, names)
                else:
                    shutil.copyfileobj(stream, sink, 1 << 20)


def _widths(content: Npz) -> dict[str, int]:
    """Return the width of each matrix of floating-point numbers; objects are never opened."""
    widths = {}
    for name in content.names:
        try:
            member = content.declare(name)
        except ValueError:  # no array of numbers; it is copied as it is
            continue
        if member.dtype.kind == "f" and len(member.shape) == 2:
            widths[name] = member.shape[1]
    return widths
