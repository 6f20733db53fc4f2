"""How much memory there is, and the refusal of what says that it needs more, or more than its file
can mean.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from purescope.errors import PurescopeError

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

SMALL = 256_000_000
"""Bytes that are unpacked whatever the size of their file."""

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Bytes that this process can still take: what is free on the machine, within its control group
    and its limits.

    Examples:
        >>> available_memory() > 0
        True
    """
    limits = [int(psutil.virtual_memory().available), *_in_control_group()]
    if sys.platform != "win32":
        import resource

        used = psutil.Process().memory_info()
        for kind, of_it in ((resource.RLIMIT_AS, used.vms), (resource.RLIMIT_DATA, used.rss)):
            soft, _ = resource.getrlimit(kind)
            limits += [soft - of_it] if soft != resource.RLIM_INFINITY else []
    return max(0, min(limits))


def _in_control_group() -> list[int]:
    """What a container has left: files that the system keeps in memory count as taken, and make
    room when needed.
    """
    names = (f"memory.{name}" for name in ("max", "current", "stat"))
    try:
        most, taken, parts = ((_CONTROL_GROUP / name).read_text() for name in names)
        files = [
            line.split()
            for line in parts.splitlines()
            if line.startswith(("active_file", "inactive_file"))
        ]
        return (
            [int(most) - int(taken) + sum(int(size) for _, size in files)]
            if most.strip() != "max"
            else []
        )
    except (OSError, ValueError):  # none here, or of another kind
        return []


def require_room(
    declared: int,
    *,
    stored: int,
    what: str,
    most_per_byte: int,
    error: type[PurescopeError],
    needed: int = 0,
) -> None:
    """Refuse to unpack what a header declares, before anything is unpacked.

    Args:
        declared: bytes that it says that there are.
        stored: bytes of the file.
        what: what to call it.
        most_per_byte: how many bytes come out of one at most, where the file is what it should be.
        error: which error to raise.
        needed: bytes that working with it takes; what is declared, by default.

    Raises:
        PurescopeError: there is no such memory, or no such file is meant.

    Examples:
        >>> from purescope.errors import InputError
        >>> require_room(10**15, stored=10**15, what="mine.npz", most_per_byte=2, error=InputError)
        Traceback (most recent call last):
        purescope.errors.InputError: mine.npz declares 1,000,000 GB
          expected: no more than the ... GB of memory that are free here
          to fix:   use a machine with more memory, or give a part of it
    """
    if declared > max(SMALL, stored * most_per_byte):
        raise error(
            f"{what} declares {_size(declared)} in a file of {_size(stored)}",
            expected=f"at most {most_per_byte:,} bytes of content for each byte of the file",
            fix="make the file again; if it is from somewhere else, do not trust it",
        )
    free = available_memory()
    if max(declared, needed) > free:
        takes = f", and working with them takes {_size(needed)}" if needed > declared else ""
        raise error(
            f"{what} declares {_size(declared)}{takes}",
            expected=f"no more than the {_size(free)} of memory that are free here",
            fix="use a machine with more memory, or give a part of it",
        )


def unpacked_bytes(footer: "pyarrow.parquet.FileMetaData") -> int:
    """Return how many bytes a Parquet file unpacks to, as its footer says of each group of rows.

    What it says of a column is not asked for: where that is damaged, pyarrow ends the process.
    """
    return sum(
        max(0, int(footer.row_group(place).total_byte_size))
        for place in range(footer.num_row_groups)
    )


def text_bytes(array: "pyarrow.Array") -> int:
    """Return how many bytes the texts of an array have, once each row has its own: a dictionary has
    one for all.
    """
    import pyarrow
    import pyarrow.compute

    shared = isinstance(array, pyarrow.DictionaryArray)
    lengths = pyarrow.compute.binary_length(array.dictionary if shared else array).cast(
        pyarrow.int64()
    )
    return int(pyarrow.compute.sum(lengths.take(array.indices) if shared else lengths).as_py() or 0)


def _size(number: int) -> str:
    """Bytes as a person says them."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if number >= scale:
            return f"{number / scale:,.{0 if number >= 100 * scale else 1}f} {unit}"
    return f"{number} bytes"
