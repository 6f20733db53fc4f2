"""Memory that is freed goes back to the system, in a process of the command line's own."""

import ctypes
from contextlib import suppress

_MMAP_THRESHOLD = -3  # glibc's M_MMAP_THRESHOLD
_LARGE = 1 << 19  # bytes


def return_freed_memory() -> None:
    """Have the system take large arrays back as soon as they are freed, from now on.

    glibc keeps what was freed. As torch asks for aligned memory, the next array of the same size does not fit into it:
    an array that is made in turns takes a new place each time, up to several times all features. Where there is no
    glibc nothing changes.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
