"""Memory that is freed goes back to the system, in a process of the command line's own that reads many features."""

import ctypes
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # as glibc's malloc.h numbers them
_LARGE = 1 << 19  # bytes
_MANY = 1 << 24  # bytes of a file of features


def return_freed_memory(arguments: Sequence[str] | None) -> None:
    """Have the system take large arrays back as soon as they are freed, from now on, where a large file is named.

    glibc keeps what was freed, for each thread apart. As torch asks for aligned memory, the next array of the same size
    does not fit into it: an array that is made in turns takes a new place each time, up to several times all features.
    To give it back takes up to half as much time again, which is well spent on features that fill the memory. Where
    there is no glibc nothing changes.

    Args:
        arguments: of the command; None for those of the process.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if any(_is_large(name) for word in words for name in str(word).split(",")):
        with suppress(OSError, AttributeError, TypeError):
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP_THRESHOLD, _LARGE)
            library.mallopt(_ARENA_MAX, 1)


def _is_large(word: str) -> bool:
    _, named, path = word.partition("features:")
    try:
        return bool(named) and Path(path).stat().st_size > _MANY
    except (OSError, ValueError):  # told by those who open it
        return False
