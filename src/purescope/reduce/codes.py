"""Name the codes in which an index stores vectors, and say how many bytes a vector takes.

``f32`` and ``f16`` are floats, ``int8`` is one byte a dimension between the least and the greatest
value of that dimension, ``binary`` is one bit a dimension, and ``pqN`` is product quantization
(Jégou et al. 2011) with N bytes a vector, whose codewords are chosen for the queries that are
likely to ask for a vector (Guo et al. 2020); ``pq`` is ``pq64``. Of large collections two of these
bytes say which cluster a vector is in, and the others what it has beyond the centre of that.
"""

import re
from collections.abc import Iterable

from purescope.errors import InputError, near_miss

CODES = ("f32", "f16", "int8", "binary", "pq")
DEFAULT = "f32,f16,int8,binary,pq"

CLUSTER_BYTES = 2
"""Bytes of the number of a cluster."""

_PQ_BYTES, _MOST_BYTES = 64, 1024
_LEAST_CLUSTERS, _MOST_CLUSTERS, _ROWS_EACH = 256, 4096, 24
_CLUSTERED_BYTES = 4


def parse_codes(codes: str | Iterable[str]) -> tuple[str, ...]:
    """Return the codes of a text or a list, each once; ``pq`` becomes ``pq64``.

    Raises:
        InputError: a code is unknown, or there is none.

    Examples:
        >>> parse_codes("f32, pq,pq16")
        ('f32', 'pq64', 'pq16')
        >>> parse_codes("int4")
        Traceback (most recent call last):
        purescope.errors.InputError: unknown code 'int4'
          expected: one of binary, f16, f32, int8, pq
          to fix:   did you mean 'int8'?
    """
    names = [name.strip() for name in (codes.split(",") if isinstance(codes, str) else codes)]
    if not any(names):
        raise InputError("no code", expected=f"one or more of {', '.join(CODES)}")
    return tuple(dict.fromkeys(map(_parse, names)))


def _parse(name: str) -> str:
    match = re.fullmatch(r"pq([0-9]{0,6})", name)
    if match is None:
        if name not in CODES:
            raise InputError(f"unknown code {name!r}", **near_miss(name, CODES))
        return name
    size = int(match[1] or _PQ_BYTES)
    if not 1 <= size <= _MOST_BYTES:
        raise InputError(f"code {name!r}", expected=f"pq1 to pq{_MOST_BYTES}: bytes a vector")
    return f"pq{size}"


def clusters_of(code: str, rows: int) -> int:
    """Return into how many clusters product quantization sorts rows before it cuts them into parts:
    a power of two up to 4,096 with at least 24 rows each, or 1 for none.

    With fewer rows than 256 clusters have, or fewer than four bytes, there are none, and none for
    another code.

    Examples:
        >>> clusters_of("pq64", 100_000), clusters_of("pq64", 8_000), clusters_of("pq3", 100_000)
        (4096, 256, 1)
    """
    if not code.startswith("pq") or rows < _ROWS_EACH * _LEAST_CLUSTERS:
        return 1
    if int(code.removeprefix("pq")) < _CLUSTERED_BYTES:
        return 1
    return min(_MOST_CLUSTERS, 1 << (rows // _ROWS_EACH).bit_length() - 1)


def parts_of(code: str, k: int, rows: int) -> int:
    """Return into how many parts product quantization cuts k dimensions: at most one for each.

    Examples:
        >>> parts_of("pq64", 512, 1000), parts_of("pq64", 512, 100_000), parts_of("pq64", 48, 1000)
        (64, 62, 48)
    """
    size = int(code.removeprefix("pq"))
    return min(size if clusters_of(code, rows) == 1 else size - CLUSTER_BYTES, k)
