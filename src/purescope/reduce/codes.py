"""Name the codes in which an index stores vectors, and say how many bytes a vector takes.

``f32`` and ``f16`` are floats, ``int8`` is one byte a dimension between the least and the greatest
value of that dimension, ``binary`` is one bit a dimension, and ``pqN`` is product quantization
(Jégou et al. 2011) with N bytes a vector, whose codewords are chosen for the queries that are
likely to ask for a vector (Guo et al. 2020); ``pq`` is ``pq64``.
"""

import re
from collections.abc import Iterable

from purescope.errors import InputError, near_miss

CODES = ("f32", "f16", "int8", "binary", "pq")
DEFAULT = "f32,f16,int8,binary,pq"

_PQ_BYTES, _MOST_BYTES = 64, 1024
_BITS = {"f32": 32, "f16": 16, "int8": 8, "binary": 1}


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


def parts_of(code: str, k: int) -> int:
    """Return into how many parts product quantization cuts k dimensions: at most one for each.

    Examples:
        >>> parts_of("pq64", 512), parts_of("pq64", 48)
        (64, 48)
    """
    return min(int(code.removeprefix("pq")), k)


def bytes_of(code: str, k: int) -> int:
    """Return the bytes of a vector of k dimensions.

    Collections of fewer than 256 vectors take less in ``pq``: their parts have fewer than 8 bits.

    Examples:
        >>> [bytes_of(code, 256) for code in ("f32", "f16", "int8", "binary", "pq64")]
        [1024, 512, 256, 32, 64]
    """
    return parts_of(code, k) if code.startswith("pq") else -(-k * _BITS[code] // 8)
